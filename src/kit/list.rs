//! `SHA256SUMS`, as `sha256sum` writes and reads it: a digest, two blanks, a name.

use std::collections::BTreeSet;

use crate::kit::{BINARY, File, MANUAL, SUMS, UNFINISHED};
use crate::pki::digest::Digest;
use crate::store::{RunDir, StoreError};

/// A kit's list.
pub(super) struct List {
    /// What it says, line for line; `None` for a line that is none of its own.
    pub(super) lines: Vec<Option<(Digest, String)>>,
    /// Whether everything was written when the list was.
    pub(super) finished: bool,
    /// Its bytes.
    pub(super) text: Vec<u8>,
}

impl List {
    /// The list of the kit in a directory; `None` if there is none.
    pub(super) fn of(stick: &RunDir) -> Result<Option<Self>, StoreError> {
        // The one that is not finished is the newer one.
        for (name, finished) in [(UNFINISHED, false), (SUMS, true)] {
            if let Some(text) = stick.read(name)? {
                let list = Self::parse(&text, finished);
                return Ok(list.is_kit().then_some(list));
            }
        }
        Ok(None)
    }

    fn parse(text: &[u8], finished: bool) -> Self {
        let line = |line: &str| {
            let (digest, name) = line.split_once("  ")?;
            Some((Digest::parse(digest)?, name.to_owned()))
        };
        Self {
            lines: String::from_utf8_lossy(text).lines().map(line).collect(),
            finished,
            text: text.to_vec(),
        }
    }

    /// Every name in it.
    pub(super) fn names(&self) -> Vec<String> {
        let lines = self.lines.iter().flatten();
        lines.map(|(_, name)| name.clone()).collect()
    }

    /// Other tools write lists of this name, too.
    fn is_kit(&self) -> bool {
        let names = self.names();
        [BINARY, MANUAL]
            .iter()
            .all(|own| names.iter().any(|name| name == own))
    }
}

/// The list of these files, in their order.
pub(super) fn text(files: &[File]) -> String {
    let line = |file: &File| format!("{}  {}\n", Digest::of(&file.bytes), file.name);
    files.iter().map(line).collect()
}

/// The directories that these files are in.
pub(super) fn directories(files: &[File]) -> BTreeSet<&str> {
    let above = files.iter().filter_map(|file| file.name.split_once('/'));
    above.map(|(directory, _)| directory).collect()
}
