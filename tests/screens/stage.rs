//! The stage: a directory with the binary on its path, a terminal, and what is seen in it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use tempfile::{Builder, TempDir};

use crate::cases::redacted;
use crate::harness::BINARY;
use crate::means::Mount;
use crate::pty::{Key, MORE, Row, Size, Terminal};

/// What changes from run to run, each at the width that it has: `9` is a digit, `h` a hexadecimal one, `@` one of base64.
const VARYING: [&str; 20] = [
    "9999-99-99T99:99:99Z",
    "9999-99-99-99-99-99",
    "9999-99-99",
    "99999999T999999Z-hhhhhh",
    "99999999t999999z-hhhhhh",
    "hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh",
    "hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh",
    ":hhhhhhhhhhhhhhhh",
    "SHA256:@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@",
    "/tmp/seen-@@@@@@",
    " 9999 days",
    " 999 days",
    "(999 days",
    " 9.999 s",
    " 99999 bytes",
    " 99.9 MB",
    "(99.9 MiB",
    "rescued in 9.9 s",
    "after 9 min 9 s",
    " 9:99  ",
];

/// A directory to type in.
pub(crate) struct Stage {
    _disk: Option<Mount>,
    dir: TempDir,
}

/// What a line that was typed showed.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) line: String,
    pub(crate) transcript: String,
    size: Size,
    rows: Vec<Row>,
    pub(crate) code: i32,
}

impl Stage {
    pub(crate) fn new() -> Self {
        // Paths are on the screens, so they have one length everywhere.
        Self::on(|_| None)
    }

    /// On a disk of its own with so little room that its free space has as many digits everywhere.
    pub(crate) fn small() -> Self {
        Self::on(|at| Some(Mount::memory_on(at, "64m")))
    }

    fn on(disk: impl Fn(&Path) -> Option<Mount>) -> Self {
        let dir = Builder::new().prefix("seen-").tempdir_in("/tmp").unwrap();
        let disk = disk(dir.path());
        let bin = dir.path().join("bin");
        fs::create_dir(&bin).unwrap();
        symlink(BINARY, bin.join("rescue-kit")).unwrap();
        fs::create_dir(dir.path().join("tmp")).unwrap();
        Self { _disk: disk, dir }
    }

    /// Runs a line that nobody sees.
    pub(crate) fn prepare(&self, line: &str) {
        let output = Command::new("sh")
            .args(["-ec", line])
            .current_dir(self.dir.path())
            .env_clear()
            .envs(self.variables())
            .output()
            .unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
    }

    /// Types a line, and looks.
    pub(crate) fn shown(&self, line: &str, size: Size, env: &[(&str, &str)]) -> Shown {
        self.asked(line, size, env, &[])
    }

    /// Types a line, then each answer when its question is there, and looks.
    pub(crate) fn asked(
        &self,
        line: &str,
        size: Size,
        env: &[(&str, &str)],
        answers: &[(&str, &str)],
    ) -> Shown {
        let at = self.dir.path().to_str().unwrap();
        let own = self.variables();
        let own = own.iter().map(|(name, value)| (*name, value.as_str()));
        let env: Vec<(&str, &str)> = own.chain(env.iter().copied()).collect();
        let words = ["env", "-C", at, "sh", "-c", line];
        let mut terminal = Terminal::start(size, &words, &env);
        for (question, answer) in answers {
            terminal.wait_for_prompt(question, "(< back, q quit):");
            terminal.type_text(answer);
            terminal.press(Key::Enter);
        }
        let code = terminal.exit();
        Shown {
            line: line.to_owned(),
            size,
            transcript: terminal.transcript(),
            rows: terminal.rows(),
            code,
        }
    }

    fn variables(&self) -> [(&'static str, String); 5] {
        let at = |name: &str| self.dir.path().join(name).display().to_string();
        [
            ("PATH", format!("{}:/usr/bin:/bin", at("bin"))),
            ("TMPDIR", at("tmp")),
            ("HOME", at("home")),
            ("USER", "root".to_owned()),
            ("SOURCE_DATE_EPOCH", "946684800".to_owned()),
        ]
    }
}

impl Shown {
    /// The golden form: what was typed, what was seen, how it ended.
    pub(crate) fn text(&self) -> String {
        let lines: Vec<String> = self.whole().iter().map(|line| self.cut(line)).collect();
        let seen = lines.join("\n");
        format!("$ {}\n{}\n[{}]\n", self.line, seen.trim_end(), self.code)
    }

    /// A line without what changes, broken where the terminal broke it.
    fn cut(&self, line: &str) -> String {
        let redacted: Vec<char> = redacted(line, &VARYING).chars().collect();
        let width = usize::from(self.size.columns);
        let rows: Vec<String> = redacted.chunks(width).map(String::from_iter).collect();
        rows.join("\n")
    }

    /// Lines that the terminal broke at its edge, although they could have been wrapped: what is no path, no name, no
    /// command to copy.
    pub(crate) fn too_long(&self) -> Vec<String> {
        let width = usize::from(self.size.columns);
        let long = |line: &String| line.chars().count() > width && !cannot_be_wrapped(line);
        self.whole().into_iter().filter(long).collect()
    }

    /// The words, wherever lines end.
    pub(crate) fn words(&self) -> Vec<String> {
        let text = redacted(&self.whole().join("\n"), &VARYING);
        text.split_whitespace().map(str::to_owned).collect()
    }

    /// The lines as they were printed: what the terminal broke is whole again.
    fn whole(&self) -> Vec<String> {
        let mut lines = vec![String::new()];
        // Where a page ends is the terminal's.
        let more = |row: &&Row| row.text.as_bytes().starts_with(MORE.trim_ascii_end());
        for row in self.rows.iter().filter(|row| !more(row)) {
            if let Some(line) = lines.last_mut() {
                line.push_str(&row.text);
            }
            if !row.broken {
                lines.push(String::new());
            }
        }
        lines
    }
}

/// Whether a line is a command to copy, or a path or a list without blanks behind at most a label.
fn cannot_be_wrapped(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    let is_command = |word: &&str| matches!(*word, "crictl" | "kubectl" | "rescue-kit");
    let is_long = |word: &&str| word.len() > 60 || word.len() > 20 && word.contains(['/', ',']);
    let copied = words.iter().take(2).any(is_command);
    copied || words.len() <= 3 && words.last().is_some_and(is_long)
}
