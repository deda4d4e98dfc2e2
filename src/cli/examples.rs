//! Examples at the end of every `--help`: `examples.txt`, one paragraph for a command, headed by it.

use clap::{Command, CommandFactory as _};

use crate::cli::args::Arguments;

const TEXT: &str = include_str!("examples.txt");

/// The command line with its examples: what is parsed, helped with, completed and described in man pages.
pub(super) fn command() -> Command {
    with_examples(Arguments::command(), "rescue-kit")
}

/// The examples of a command by its full name, one a line, indented by two; what follows two blanks is a remark.
pub(super) fn of(name: &str) -> Option<&'static str> {
    TEXT.split("\n\n").find_map(|paragraph| {
        let (head, lines) = paragraph.split_once('\n')?;
        (head == name).then(|| lines.trim_end())
    })
}

fn with_examples(command: Command, name: &str) -> Command {
    let command = match of(name) {
        Some(lines) => command.after_help(format!("Examples:\n{lines}")),
        None => command,
    };
    command.mut_subcommands(|sub| {
        let name = format!("{name} {}", sub.get_name());
        with_examples(sub, &name)
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn names(command: &Command, name: &str, all: &mut Vec<String>) {
        all.push(name.to_owned());
        for sub in command.get_subcommands() {
            names(sub, &format!("{name} {}", sub.get_name()), all);
        }
    }

    /// As a shell splits: at blanks, but for those between single quotes.
    fn words(line: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        for (index, part) in line.split('\'').enumerate() {
            for (blank, piece) in part.split(' ').enumerate() {
                if index % 2 == 0 && blank > 0 {
                    words.push(String::new());
                } else if blank > 0 {
                    words.last_mut().unwrap().push(' ');
                }
                words.last_mut().unwrap().push_str(piece);
            }
        }
        words
    }

    #[test]
    fn every_command_has_examples_and_every_example_is_taken() {
        let mut all = Vec::new();
        names(&Arguments::command(), "rescue-kit", &mut all);
        assert!(all.len() > 50, "{}", all.len());
        for name in &all {
            let lines = of(name).unwrap_or_else(|| panic!("{name} has no examples"));
            let count = lines.lines().count();
            assert!(
                (1..=3).contains(&count) || name == "rescue-kit",
                "{name}: {count}"
            );
            for line in lines.lines() {
                assert!(line.chars().count() <= 80, "{line}");
                let line = line.strip_prefix("  ").unwrap();
                let line = line.split_once("  ").map_or(line, |(typed, _)| typed);
                let bare = line.replace(" --root /mnt/disk", "");
                assert!(bare.starts_with(name.as_str()), "{name}: {line}");
                if let Err(error) = Arguments::try_parse_from(words(line)) {
                    panic!("{line}: {error}");
                }
            }
        }
        assert_eq!(TEXT.split("\n\n").count(), all.len());
    }

    #[test]
    fn help_ends_with_the_examples() {
        let mut command = command();
        let sub = command.find_subcommand_mut("ca").unwrap();
        let help = sub.find_subcommand_mut("export").unwrap().render_help();
        let end = "Examples:\n  rescue-kit ca export --out /media/stick/ca  for: rescue-kit run --ca-from DIR";
        assert!(help.to_string().trim_end().ends_with(end), "{help}");
    }
}
