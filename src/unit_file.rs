//! Reading what a systemd unit starts: its command line with everything filled in, as systemd would (`systemd.service(5)`,
//! `systemd.exec(5)`, `systemd.syntax(7)`). Read only, never written.
//!
//! Shells are looked into as far as `sh -c 'exec PROGRAM ...'`; what a script computes stays unknown.

use std::collections::BTreeMap;

use crate::manifest::{self, Flags};

/// Directories of unit files, the one that wins first.
pub const DIRECTORIES: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// More words than this has no command line, only an attempt to exhaust memory.
const MAX_WORDS: usize = 4096;

/// Flags that name a file or a directory end so, in every component.
const PATHS: [&str; 9] = [
    "authority",
    "ca",
    "cert",
    "certificate",
    "config",
    "dir",
    "file",
    "key",
    "kubeconfig",
];

/// Variables by name.
pub type Environment = BTreeMap<String, String>;

/// The section `[Service]` of a unit, its drop-ins laid over it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Service {
    /// The name without `.service`.
    name: String,
    /// The last command to start, as it is written.
    command: Option<String>,
    /// Assignments of `Environment=`, as they are written.
    environment: Vec<String>,
    /// The files of `EnvironmentFile=`, without the `-` that makes them optional; may hold `*`.
    pub environment_files: Vec<String>,
    /// Where relative paths start.
    directory: Option<String>,
}

impl Service {
    /// Reads a unit file and its drop-ins, in the order in which systemd reads them.
    pub fn read(name: &str, texts: &[&[u8]]) -> Self {
        let mut service = Self {
            name: name.to_owned(),
            ..Self::default()
        };
        for text in texts {
            let mut section = String::new();
            for line in joined(&String::from_utf8_lossy(text)) {
                if let Some(name) = line.strip_prefix('[') {
                    name.trim_end_matches(']').clone_into(&mut section);
                } else if section == "Service"
                    && let Some((key, value)) = line.split_once('=')
                {
                    service.assign(key.trim(), value.trim());
                }
            }
        }
        service
    }

    /// An empty value takes back what was assigned before.
    fn assign(&mut self, key: &str, value: &str) {
        match key {
            "ExecStart" => self.command = (!value.is_empty()).then(|| value.to_owned()),
            "WorkingDirectory" => {
                let path = value.trim_start_matches('-');
                self.directory = path.starts_with('/').then(|| path.to_owned());
            },
            "Environment" if value.is_empty() => self.environment.clear(),
            "Environment" => self.environment.push(value.to_owned()),
            "EnvironmentFile" if value.is_empty() => self.environment_files.clear(),
            "EnvironmentFile" => {
                let path = self.specified(value.trim_start_matches('-'), "");
                self.environment_files.push(path);
            },
            _ => {},
        }
    }

    /// The flags of the command; `files` are the contents of the environment files, which win over `Environment=`.
    pub fn flags(&self, files: &[&[u8]], hostname: &str) -> Flags {
        let assignments = self.environment.iter().flat_map(|line| split(line));
        let assignments = assignments.map(|word| self.specified(&word.text, hostname));
        let mut environment: Environment = assignments
            .filter_map(|assignment| {
                let (name, value) = assignment.split_once('=')?;
                Some((name.to_owned(), value.to_owned()))
            })
            .collect();
        for file in files {
            environment.extend(variables(file));
        }
        let Some(command) = &self.command else {
            return Flags::new();
        };
        let (literal, command) = unprefixed(command);
        let command = self.specified(command, hostname);
        let mut words: Vec<String> = Vec::new();
        for word in split(&command) {
            // A lone semicolon ends a command.
            if word.text == ";" && !word.quoted {
                break;
            }
            if literal {
                words.push(word.text);
            } else {
                words.extend(filled(&word, &environment));
            }
        }
        self.placed(flags_of(&words, &environment))
    }

    /// The flags of a process with this command line: words that end in a zero byte.
    pub fn running(&self, cmdline: &[u8]) -> Flags {
        let words = cmdline.split(|byte| *byte == 0);
        let words = words.map(|word| String::from_utf8_lossy(word).into_owned());
        let words: Vec<String> = words.take(MAX_WORDS).collect();
        self.placed(flags_of(&words, &Environment::new()))
    }

    /// Whether it says what is started.
    pub fn is_known(&self) -> bool {
        self.command.is_some()
    }

    /// Relative paths are relative to the working directory.
    fn placed(&self, flags: Flags) -> Flags {
        let directory = self.directory.as_deref().unwrap_or("/");
        let is_path = |flag: &str| PATHS.iter().any(|ending| flag.ends_with(ending));
        let absolute = |flag: &str, value: String| {
            let is_relative = !value.is_empty()
                && !value.starts_with('/')
                && !value.contains("://")
                && !matches!(value.as_str(), "true" | "false");
            if is_relative && is_path(flag) {
                let value = value.trim_start_matches("./");
                format!("{}/{value}", directory.trim_end_matches('/'))
            } else {
                value
            }
        };
        flags
            .into_iter()
            .map(|(flag, value)| {
                let value = absolute(&flag, value);
                (flag, value)
            })
            .collect()
    }

    /// Fills in the specifiers that have a meaning here; others stay as they are.
    fn specified(&self, text: &str, hostname: &str) -> String {
        let mut said = String::new();
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            if letter != '%' {
                said.push(letter);
                continue;
            }
            match letters.next() {
                Some('%') | None => said.push('%'),
                Some('n') => said.push_str(&format!("{}.service", self.name)),
                Some('N' | 'p') => said.push_str(&self.name),
                Some('H') if !hostname.is_empty() => said.push_str(hostname),
                Some('l') if !hostname.is_empty() => {
                    said.push_str(hostname.split('.').next().unwrap_or(hostname));
                },
                Some(other) => said.extend(['%', other]),
            }
        }
        said
    }
}

/// The variables of an environment file.
pub fn variables(text: &[u8]) -> Environment {
    let mut all = Environment::new();
    for line in joined(&String::from_utf8_lossy(text)) {
        let Some((name, value)) = line.split_once('=') else {
            continue;
        };
        let words: Vec<String> = split(value).into_iter().map(|word| word.text).collect();
        all.insert(name.trim().to_owned(), words.join(" "));
    }
    all
}

/// Lines without comments, those that end in a backslash joined with the next.
fn joined(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut open = false;
    for line in text.lines() {
        let trimmed = line.trim();
        // A comment between continued lines does not end them.
        if trimmed.starts_with(['#', ';']) || (trimmed.is_empty() && !open) {
            continue;
        }
        let (part, continues) = match trimmed.strip_suffix('\\') {
            Some(part) => (part, true),
            None => (trimmed, false),
        };
        match lines.last_mut() {
            Some(last) if open => {
                last.push(' ');
                last.push_str(part);
            },
            _ => lines.push(part.to_owned()),
        }
        open = continues;
    }
    lines
}

/// The command without the letters before it, and whether `:` among them forbids variables.
fn unprefixed(command: &str) -> (bool, &str) {
    let rest = command.trim_start_matches(['@', '-', ':', '+', '!', '|']);
    let prefix = &command[..command.len() - rest.len()];
    (prefix.contains(':'), rest)
}

/// A word of a command line.
struct Word {
    text: String,
    quoted: bool,
}

/// Splits into words as systemd does: at white space, quotes removed, C escapes taken.
fn split(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut letters = text.chars().peekable();
    while words.len() < MAX_WORDS {
        while letters.next_if(|letter| letter.is_whitespace()).is_some() {}
        if letters.peek().is_none() {
            break;
        }
        let mut word = Word {
            text: String::new(),
            quoted: false,
        };
        let mut quote = None;
        while let Some(letter) = letters.next() {
            match (letter, quote) {
                ('\\', _) => word.text.push_str(&escaped(&mut letters)),
                ('"' | '\'', None) => {
                    quote = Some(letter);
                    word.quoted = true;
                },
                (letter, Some(open)) if letter == open => quote = None,
                (letter, None) if letter.is_whitespace() => break,
                (letter, _) => word.text.push(letter),
            }
        }
        words.push(word);
    }
    words
}

/// What stands behind a backslash.
fn escaped(letters: &mut std::iter::Peekable<std::str::Chars>) -> String {
    let Some(letter) = letters.next() else {
        return "\\".to_owned();
    };
    let hex = |letters: &mut std::iter::Peekable<std::str::Chars>| {
        let digits: String = (0..2)
            .map_while(|_| letters.next_if(char::is_ascii_hexdigit))
            .collect();
        u8::from_str_radix(&digits, 16).map_or_else(|_| digits, |byte| char::from(byte).to_string())
    };
    match letter {
        // systemd takes no such byte, and no path has one.
        'x' if letters.peek() == Some(&'0') => hex(letters).replace('\0', ""),
        'n' => "\n".to_owned(),
        't' => "\t".to_owned(),
        's' => " ".to_owned(),
        'x' => hex(letters),
        '\\' | '"' | '\'' | ' ' | ';' => letter.to_string(),
        other => format!("\\{other}"),
    }
}

/// A word with its variables: `${NAME}` anywhere, `$NAME` as a word of its own, which becomes as many words as it holds.
fn filled(word: &Word, environment: &Environment) -> Vec<String> {
    let whole = word.text.strip_prefix('$').filter(|name| is_name(name));
    if let Some(name) = whole {
        let value = environment.get(name).map_or("", String::as_str);
        return split(value).into_iter().map(|word| word.text).collect();
    }
    vec![braced(&word.text, environment)]
}

fn braced(text: &str, environment: &Environment) -> String {
    let mut said = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        said.push_str(before);
        let name = after
            .strip_prefix('{')
            .and_then(|inner| inner.split_once('}'));
        match name {
            Some((name, tail)) if is_name(name) => {
                said.push_str(environment.get(name).map_or("", String::as_str));
                rest = tail;
            },
            _ => {
                said.push('$');
                rest = after.strip_prefix('$').unwrap_or(after);
            },
        }
    }
    said.push_str(rest);
    said
}

fn is_name(text: &str) -> bool {
    let mut letters = text.chars();
    letters
        .next()
        .is_some_and(|letter| letter.is_ascii_alphabetic() || letter == '_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

/// The flags of a command line. etcd takes each of its flags from the environment, too, and what is on the command line
/// wins (etcd-io/etcd, pkg/flags/flag.go, `SetFlagsFromEnv`).
fn flags_of(words: &[String], environment: &Environment) -> Flags {
    let words = inside_shell(words, environment);
    let program = words.first().and_then(|word| word.rsplit('/').next());
    let is_etcd = program == Some("etcd");
    let plain: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut flags = manifest::flags(&plain);
    let from_environment = environment.iter().filter_map(|(name, value)| {
        let flag = name.strip_prefix("ETCD_").filter(|_| is_etcd)?;
        Some((flag.to_ascii_lowercase().replace('_', "-"), value.clone()))
    });
    for (flag, value) in from_environment {
        if flags.iter().all(|(known, _)| *known != flag) {
            flags.push((flag, value));
        }
    }
    flags
}

/// The words of `sh -c 'exec PROGRAM ...'`, else the words as they are.
fn inside_shell(words: &[String], environment: &Environment) -> Vec<String> {
    let shell = words.first().and_then(|program| program.rsplit('/').next());
    if !matches!(shell, Some("sh" | "bash" | "dash")) {
        return words.to_vec();
    }
    let mut after = words
        .iter()
        .skip_while(|word| !(word.starts_with('-') && word.ends_with('c')));
    let Some(line) = after.nth(1) else {
        return words.to_vec();
    };
    let inner = split(line).into_iter();
    let inner = inner.flat_map(|word| filled(&word, environment));
    inner.skip_while(|word| word == "exec").collect()
}

#[cfg(test)]
mod tests;
