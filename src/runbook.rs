//! The runbook: a page for each code, and the errors of others that can be pasted. All of it is text in `runbook/`, and
//! is printed as it stands there.
//!
//! A space is a file: its first line is its title, and each page in it begins with a code. The sections of a page have
//! the names of [`SECTIONS`], and their lines are indented by two; commands begin with `$`. An entry of `errors.txt` has
//! the fields that [`Entry`] has.

pub mod errors;

use serde::Serialize;

pub use errors::{Entry, matches};

/// Name and text of each space, in the order in which a node needs the things.
const SPACES: [(&str, &str); 11] = [
    ("clock", include_str!("../runbook/clock.txt")),
    ("node", include_str!("../runbook/node.txt")),
    ("etcd", include_str!("../runbook/etcd.txt")),
    ("ca", include_str!("../runbook/ca.txt")),
    ("certificates", include_str!("../runbook/certificates.txt")),
    ("processes", include_str!("../runbook/processes.txt")),
    ("files", include_str!("../runbook/files.txt")),
    ("tokens", include_str!("../runbook/tokens.txt")),
    ("access", include_str!("../runbook/access.txt")),
    ("requests", include_str!("../runbook/requests.txt")),
    ("strays", include_str!("../runbook/strays.txt")),
];

/// The sections of every page: what it means, how it is seen, what it costs to leave it, what mends it, what the tool does
/// not do.
pub const SECTIONS: [&str; 5] = ["Means", "See", "If left", "Mend", "Limits"];

/// Pages about one theme.
#[derive(Clone, Debug, Serialize)]
pub struct Space {
    /// Its name.
    pub name: &'static str,
    /// What it is about.
    pub title: &'static str,
    /// Its pages, in the order of the text.
    pub pages: Vec<Page>,
}

/// What there is to know about one code.
#[derive(Clone, Debug, Serialize)]
pub struct Page {
    /// `RK0201`.
    pub code: &'static str,
    /// One sentence without its full stop.
    pub title: &'static str,
    /// Its space.
    pub space: &'static str,
    /// The sections, each with its heading, as they are printed.
    pub text: &'static str,
    /// The commands in it, in order.
    pub commands: Vec<&'static str>,
}

/// Every text as it stands in `runbook/`, with its name.
pub fn texts() -> impl Iterator<Item = (&'static str, &'static str)> {
    SPACES.into_iter().chain([("errors", errors::TEXT)])
}

/// All spaces.
pub fn spaces() -> Vec<Space> {
    SPACES
        .iter()
        .map(|(name, text)| space(name, text))
        .collect()
}

/// The page of a code, in capitals.
pub fn page(code: &str) -> Option<Page> {
    let mut pages = spaces().into_iter().flat_map(|space| space.pages);
    pages.find(|page| page.code == code)
}

/// The codes that a text names, in its order, each once; whether they exist is not asked.
pub fn codes(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for word in text.split(|c: char| !c.is_ascii_alphanumeric()) {
        let word = word.to_ascii_uppercase();
        if is_code(&word) && !found.contains(&word) {
            found.push(word);
        }
    }
    found
}

/// Whether a word has the form of a code: `RK` and four digits.
fn is_code(word: &str) -> bool {
    let digits = word.strip_prefix("RK").unwrap_or_default();
    digits.len() == 4 && digits.bytes().all(|digit| digit.is_ascii_digit())
}

fn space(name: &'static str, text: &'static str) -> Space {
    let (title, rest) = text.split_once('\n').unwrap_or((text, ""));
    let mut starts: Vec<usize> = rest.match_indices("\nRK").map(|(at, _)| at + 1).collect();
    starts.push(rest.len());
    let pages = starts.windows(2);
    let pages = pages.filter_map(|ends| page_of(name, rest.get(ends[0]..ends[1])?));
    Space {
        name,
        title,
        pages: pages.collect(),
    }
}

fn page_of(space: &'static str, text: &'static str) -> Option<Page> {
    let (head, body) = text.split_once('\n')?;
    let (code, title) = head.split_once("  ")?;
    Some(Page {
        code,
        title,
        space,
        text: body.trim_matches('\n'),
        commands: commands(body),
    })
}

/// The commands of a text: what follows a `$`.
fn commands(text: &'static str) -> Vec<&'static str> {
    let lines = text.lines().map(str::trim_start);
    lines.filter_map(|line| line.strip_prefix("$ ")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_wherever_they_stand() {
        assert_eq!(
            codes("critical RK0201, see rk0101; RK0201 and not RK02011, XRK0201"),
            ["RK0201", "RK0101"]
        );
        assert!(codes("RK ABCD").is_empty());
    }
}
