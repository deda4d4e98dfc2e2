//! What a signing leaves: a row for each request.

use serde::Serialize;

use crate::pki::name::printable;
use crate::pki::utc::Utc;
use crate::request::Entry;

/// What was done.
#[derive(Debug, Default, Serialize)]
pub struct Signed {
    /// One row a request, by folder, then in the manifest's order.
    pub requests: Vec<Row>,
    /// How long each part took.
    pub milliseconds: Times,
}

/// Milliseconds of each part.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Times {
    /// Reading, verifying, judging and signing all requests, and writing the answers.
    pub sign: u64,
    /// Bringing the answers to the disk.
    pub sync: u64,
}

/// What became of a request.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its folder's name below the one that was named; empty for that one itself.
    pub folder: String,
    /// The credential's id; of a file that is no request of the manifest, its name.
    pub id: String,
    /// The name of its file.
    pub file: String,
    /// How it ended.
    pub state: State,
    /// The last second of the new certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Utc>,
    /// What cut the validity that was wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capped: Option<Cap>,
    /// Why it was refused: each a predicate about its file, and what to do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<(String, String)>,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It has an answer already.
    Answered,
    /// It is for another authority.
    Elsewhere,
    /// It could be signed, but something in its folder is refused.
    Held,
    /// It must not be signed.
    Refused,
    /// It was signed.
    Signed,
}

/// What cut a validity.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cap {
    /// The authority's own end.
    Authority,
    /// The longest validity that is allowed.
    Policy,
}

impl Signed {
    /// What was refused.
    pub fn refused(&self) -> impl Iterator<Item = &Row> {
        let refused = |row: &&Row| row.state == State::Refused;
        self.requests.iter().filter(refused)
    }

    /// How many requests ended so.
    pub fn count(&self, state: State) -> usize {
        let so = |row: &&Row| row.state == state;
        self.requests.iter().filter(so).count()
    }
}

impl Row {
    /// A request of a manifest.
    pub(super) fn of(folder: &str, entry: &Entry, state: State) -> Self {
        Self {
            folder: folder.to_owned(),
            id: entry.id.clone(),
            file: entry.request_file(),
            state,
            not_after: None,
            capped: None,
            why: Vec::new(),
        }
    }

    /// A file of a folder that must not be signed, and why.
    pub(super) fn refused(folder: &str, file: &str, why: &str, hint: &str) -> Self {
        Self {
            folder: folder.to_owned(),
            id: printable(file.strip_suffix(".csr").unwrap_or(file)),
            file: printable(file),
            state: State::Refused,
            not_after: None,
            capped: None,
            why: vec![(why.to_owned(), hint.to_owned())],
        }
    }
}
