//! `explain` and `runbook`: what a code or somebody else's error means, and what mends it. Neither looks at a node.

use std::io::{self, Read as _};

use serde_json::json;

use crate::cli::context::Context;
use crate::error::{Failure, meant};
use crate::exit::Exit;
use crate::render::text::{Paint as _, Tone};
use crate::runbook::{self, Entry, Page};
use crate::terminal::say;

/// How much of stdin is read, in bytes: the log of a kubelet that failed for a day.
const LIMIT: u64 = 64 << 20;

pub(super) fn explain(context: &Context, words: &[String]) -> Result<Exit, Failure> {
    let text = if words == ["-"] {
        pasted()?
    } else {
        words.join(" ")
    };
    let codes = runbook::codes(&text);
    let pages: Vec<Page> = codes
        .iter()
        .filter_map(|code| runbook::page(code))
        .collect();
    let errors = runbook::matches(&text);
    if pages.is_empty() && errors.is_empty() {
        return Err(unknown(&codes));
    }
    if context.json() {
        let payload = json!({ "pages": pages, "errors": errors });
        context.answer("explain", None, false, payload);
    } else {
        let pages = pages.iter().map(|page| page_text(context, page));
        let errors = errors.iter().map(|error| error_text(context, error));
        say(&pages.chain(errors).collect::<Vec<_>>().join("\n"));
    }
    Ok(Exit::Done)
}

/// The page of a code, for people; nothing if the runbook has none.
pub(super) fn code(context: &Context, code: &str) -> String {
    runbook::page(code).map_or_else(String::new, |page| page_text(context, &page))
}

pub(super) fn runbook(context: &Context, space: Option<&str>) -> Result<Exit, Failure> {
    if let Some(name) = space {
        return of_space(context, name);
    }
    all(context);
    Ok(Exit::Done)
}

fn all(context: &Context) {
    let spaces = runbook::spaces();
    if context.json() {
        return context.answer("runbook", None, false, json!({ "spaces": spaces }));
    }
    let mut text = String::new();
    for space in &spaces {
        let head = format!("{:<13} {}", space.name, space.title);
        text.push_str(&format!(
            "{}\n",
            context.painter.paint(Tone::Heading, &head)
        ));
        for page in &space.pages {
            text.push_str(&format!("  {}  {}\n", page.code, page.title));
        }
    }
    say(&text);
}

fn of_space(context: &Context, name: &str) -> Result<Exit, Failure> {
    let spaces = runbook::spaces();
    let Some(space) = spaces.iter().find(|space| space.name == name) else {
        let known = spaces.iter().map(|space| space.name);
        let hint = meant(name, known, "rescue-kit runbook");
        let text = format!("the runbook has no space `{name}`");
        return Err(Failure::usage(text, &hint));
    };
    if context.json() {
        context.answer("runbook", None, false, json!({ "spaces": [space] }));
    } else {
        let pages = space.pages.iter().map(|page| page_text(context, page));
        say(&pages.collect::<Vec<_>>().join("\n"));
    }
    Ok(Exit::Done)
}

/// What was pasted into stdin.
fn pasted() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let read = io::stdin().take(LIMIT).read_to_end(&mut bytes);
    read.map_err(|error| Failure::unreadable("-".as_ref(), &error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn page_text(context: &Context, page: &Page) -> String {
    let head = format!("{}  {}", page.code, page.title);
    let head = context.painter.paint(Tone::Heading, &head);
    format!("{head}\n\n{}\n", page.text)
}

fn error_text(context: &Context, error: &Entry) -> String {
    let paint = |says: &&str| context.painter.paint(Tone::Heading, says);
    let says = error
        .says
        .iter()
        .map(|says| format!("says    {}\n", paint(says)));
    format!("{}{}\n", says.collect::<String>(), error.text)
}

fn unknown(codes: &[String]) -> Failure {
    match codes {
        [] => Failure::usage(
            "this is none of the errors that are known here",
            "what is broken on this node: rescue-kit inspect",
        ),
        codes => Failure::usage(
            format!("the runbook has no {}", codes.join(", ")),
            "rescue-kit runbook",
        ),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::args::Arguments;

    #[test]
    fn every_command_of_the_runbook_is_one_that_is_taken() {
        let pages = runbook::spaces().into_iter().flat_map(|space| space.pages);
        let pages: Vec<Page> = pages.collect();
        let typed = pages.iter().flat_map(|page| page.commands.clone());
        // In a sentence, commands stand between backquotes.
        let named = pages
            .iter()
            .flat_map(|page| page.text.split('`').skip(1).step_by(2));
        let errors = runbook::errors::all();
        let of_errors = errors.iter().flat_map(|error| error.commands.clone());
        let commands = typed.chain(named).chain(of_errors);
        let own: Vec<&str> = commands
            .filter(|line| line.starts_with("rescue-kit "))
            .collect();
        assert!(own.len() > 100, "{}", own.len());
        for command in own {
            if let Err(error) = Arguments::try_parse_from(command.split_whitespace()) {
                panic!("{command}: {error}");
            }
        }
    }
}
