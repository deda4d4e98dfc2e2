//! The answers file: TOML whose keys are the long names of flags. The command line and the environment win over it.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::cli::{context, examples};
use crate::config;
use crate::error::Failure;
use crate::profile::nearest;

/// The command with the answers as its defaults.
pub(super) fn apply(words: &[OsString]) -> Result<clap::Command, Failure> {
    let mut command = examples::command();
    let Some(path) = path(words) else {
        return Ok(command);
    };
    let bytes = config::bounded(&path, 1 << 20)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let refuse =
        |why: String| Failure::usage(format!("{} {why}", path.display()), "rescue-kit run --help");
    let table: toml::Table = toml::from_str(&text)
        .map_err(|error| refuse(format!("is not TOML: {}", error.message())))?;
    let known = flags(&command);
    for (key, value) in table {
        let flag = key.replace('_', "-");
        if !known.contains(&flag) {
            let why = match nearest(&flag, known.iter().map(String::as_str)) {
                Some(near) => format!("has an unknown key `{key}`; did you mean `{near}`?"),
                None => format!("has an unknown key `{key}`"),
            };
            return Err(refuse(why));
        }
        let words =
            words_of(value).ok_or_else(|| refuse(format!("has no plain value for `{key}`")))?;
        command = with_default(command, &flag, &words);
    }
    Ok(command)
}

fn path(words: &[OsString]) -> Option<PathBuf> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "--answers" {
            return words.next().map(PathBuf::from);
        }
        if let Some(path) = word
            .to_str()
            .and_then(|word| word.strip_prefix("--answers="))
        {
            return Some(PathBuf::from(path));
        }
    }
    context::variable("ANSWERS").map(PathBuf::from)
}

fn flags(command: &clap::Command) -> Vec<String> {
    let mut names: Vec<String> = command
        .get_arguments()
        .filter_map(|arg| arg.get_long().map(str::to_owned))
        .collect();
    names.extend(command.get_subcommands().flat_map(flags));
    names.sort();
    names.dedup();
    names
}

fn with_default(command: clap::Command, flag: &str, words: &[String]) -> clap::Command {
    let ids: Vec<clap::Id> = command
        .get_arguments()
        .filter(|arg| arg.get_long() == Some(flag))
        .map(|arg| arg.get_id().clone())
        .collect();
    let mut command = command;
    for id in ids {
        let words = words.to_vec();
        command = command.mut_arg(id, |arg| arg.default_values(words));
    }
    let names: Vec<String> = command
        .get_subcommands()
        .map(|sub| sub.get_name().to_owned())
        .collect();
    for name in names {
        command = command.mut_subcommand(name, |sub| with_default(sub, flag, words));
    }
    command
}

fn words_of(value: toml::Value) -> Option<Vec<String>> {
    match value {
        toml::Value::String(text) => Some(vec![text]),
        toml::Value::Boolean(truth) => Some(vec![truth.to_string()]),
        toml::Value::Integer(number) => Some(vec![number.to_string()]),
        toml::Value::Datetime(at) => Some(vec![at.to_string()]),
        toml::Value::Array(items) => {
            let words: Option<Vec<Vec<String>>> = items.into_iter().map(words_of).collect();
            Some(words?.concat())
        },
        toml::Value::Float(_) | toml::Value::Table(_) => None,
    }
}
