//! Completions and man pages, made from the command line's definition.

use std::io;

use clap::Command;
use clap::builder::Resettable;
use clap_complete::{generate, shells};
use clap_mangen::Man;

use crate::cli::args::Shell;
use crate::cli::examples;

/// The name that is completed.
const NAME: &str = "rescue-kit";

/// What a shell reads to complete commands and flags.
pub(super) fn completions(shell: Shell) -> String {
    let (mut command, mut out) = (examples::command(), Vec::new());
    match shell {
        Shell::Bash => generate(shells::Bash, &mut command, NAME, &mut out),
        Shell::Fish => generate(shells::Fish, &mut command, NAME, &mut out),
        Shell::Zsh => generate(shells::Zsh, &mut command, NAME, &mut out),
    }
    // For bash, clap_complete 4.6.11 writes the hyphen of the tool's own name in two ways, and finds no command by that.
    String::from_utf8_lossy(&out).replace("rescue__subcmd__kit", "rescue__kit")
}

/// A page for the tool and for each command, by its file's name: `rescue-kit-ca-renew.1`.
///
/// # Errors
///
/// None in practice: pages are written to memory.
pub(super) fn man() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut command = examples::command().disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    describe(&command, NAME, &mut pages)?;
    Ok(pages)
}

fn describe(command: &Command, name: &str, pages: &mut Vec<(String, Vec<u8>)>) -> io::Result<()> {
    // Filled lines would run examples together, so they get a section of their own.
    let man = Man::new(command.clone().after_help(Resettable::Reset));
    let mut page = Vec::new();
    man.render(&mut page)?;
    page.extend(section(examples::of(name).unwrap_or_default()).bytes());
    pages.push((man.get_filename(), page));
    for sub in command.get_subcommands() {
        describe(sub, &format!("{name} {}", sub.get_name()), pages)?;
    }
    Ok(())
}

/// Lines as they stand (`man groff_man`): a backslash would begin an escape, a hyphen is a minus sign to be copied.
fn section(lines: &str) -> String {
    let lines = lines.replace('\\', "\\e").replace('-', "\\-");
    format!(".SH EXAMPLES\n.nf\n{}\n.fi\n", lines.replace('\'', "\\(aq"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_its_examples() {
        let pages = man().unwrap();
        assert!(pages.len() > 50, "{}", pages.len());
        let page = |name: &str| {
            let found = pages.iter().find(|(known, _)| known == name);
            String::from_utf8(found.unwrap().1.clone()).unwrap()
        };
        let export = page("rescue-kit-ca-export.1");
        assert!(export.contains(".SH EXAMPLES\n.nf\n  rescue\\-kit ca export \\-\\-out"));
        assert!(!export.contains("Examples:"));
        assert!(page("rescue-kit.1").contains("\\-\\-operator \\(aqJ. Doe\\(aq"));
    }
}
