//! Errors of kubectl, kubelet, API server, etcd and others: which of the known ones are in a text that was pasted.

use serde::Serialize;

use super::commands;

/// The known errors, the first causes first; consequences, and what only wraps another error, come last.
pub(super) const TEXT: &str = include_str!("../../runbook/errors.txt");

/// How many bytes the gap in a pattern may be long: what is further apart belongs to two messages.
const GAP: usize = 500;

/// An error that is known.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// What it says; `*` stands for a part that differs.
    pub says: Vec<&'static str>,
    /// Who says it.
    pub by: String,
    /// What it means on a node.
    pub means: String,
    /// What shows or mends it.
    pub commands: Vec<&'static str>,
    /// The codes that may be behind it.
    pub pages: Vec<String>,
    /// Where the message is made.
    pub source: String,
    /// All of it but what it says, as it is printed.
    #[serde(skip)]
    pub text: &'static str,
}

/// All known errors.
pub fn all() -> Vec<Entry> {
    TEXT.trim().split("\n\n").map(entry).collect()
}

/// The known errors in a text, the first cause first, each with those of its sayings that are in it. Case, line ends and the number of blanks make no difference. What is
/// a part of a message that is known more exactly is left out.
pub fn matches(text: &str) -> Vec<Entry> {
    let text = folded(text);
    let mut taken: Vec<(usize, usize)> = Vec::new();
    let mut found = Vec::new();
    for mut entry in all() {
        entry.says.retain(|says| {
            let mut spans = spans(&text, &folded(says));
            spans.retain(|span| {
                !taken
                    .iter()
                    .any(|other| span.0 < other.1 && other.0 < span.1)
            });
            taken.extend_from_slice(&spans);
            !spans.is_empty()
        });
        if !entry.says.is_empty() {
            found.push(entry);
        }
    }
    found
}

fn entry(text: &'static str) -> Entry {
    let says = text.lines().filter_map(|line| line.strip_prefix("says "));
    let begin = text.find("\nby ").map_or(text.len(), |at| at + 1);
    let rest = &text[begin..];
    Entry {
        says: says.map(str::trim).collect(),
        by: field(rest, "by"),
        means: field(rest, "means"),
        commands: commands(
            rest.get(rest.find("mend ").map_or(0, |at| at + 4)..)
                .unwrap_or(rest),
        ),
        pages: super::codes(&field(rest, "pages")),
        source: field(rest, "source"),
        text: rest,
    }
}

/// The words of a field and of the lines that go on with it.
fn field(text: &str, name: &str) -> String {
    let lines = text.lines().skip_while(|line| !is_of(line, name));
    let (first, more) = (lines.clone().take(1), lines.skip(1));
    let more = more.take_while(|line| line.starts_with(' '));
    let words = first.flat_map(|line| line.split_whitespace().skip(1));
    let words = words.chain(more.flat_map(str::split_whitespace));
    words.collect::<Vec<&str>>().join(" ")
}

fn is_of(line: &str, name: &str) -> bool {
    line.split(' ').next() == Some(name)
}

/// Small letters, one blank between words.
fn folded(text: &str) -> String {
    let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
    words.join(" ")
}

/// Where a pattern is in a text.
fn spans(text: &str, pattern: &str) -> Vec<(usize, usize)> {
    let (first, rest) = pattern.split_once('*').unwrap_or((pattern, ""));
    let starts = text.match_indices(first.trim());
    let ends = starts.filter_map(|(start, first)| {
        let mut end = start + first.len();
        for part in rest.split('*').map(str::trim) {
            let gap = text[end..].find(part).filter(|gap| *gap <= GAP)?;
            end += gap + part.len();
        }
        Some((start, end))
    });
    ends.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(text: &str) -> Vec<&'static str> {
        let found = matches(text);
        found.iter().map(|entry| entry.says[0]).collect()
    }

    #[test]
    fn gaps_are_bounded() {
        let near = format!("x509: certificate is valid for {}, not b", "a".repeat(400));
        assert_eq!(says(&near), ["x509: certificate is valid for *, not"]);
        let far = format!("x509: certificate is valid for {}, not b", "a".repeat(600));
        assert!(says(&far).is_empty());
    }

    #[test]
    fn a_message_that_is_known_exactly_is_not_known_roughly_too() {
        let early = "x509: certificate has expired or is not yet valid: current time 2026-01-01T00:00:00Z is before 2026-02-01T00:00:00Z";
        assert_eq!(
            says(early),
            ["certificate has expired or is not yet valid: current time * is before"]
        );
    }
}
