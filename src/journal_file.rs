//! The journal on disk: an append-only file of JSON lines, each on the disk before its step goes on.
//!
//! Format: UTF-8, one JSON value a line, each line ended by `\n`; what the values mean and how they are chained is the
//! caller's business. A crash may tear the last line: it is then dropped, and cut away before the next line is appended.
//! Any other damage is an error.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use serde::de::IgnoredAny;

use crate::store::{RunDir, StoreError};

/// The journal's name in its run directory.
pub const NAME: &str = "journal.jsonl";

/// Why the journal could not be read or continued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalFileError {
    /// Appending failed; what was written of the line has been cut away, or will be when the journal is opened again.
    #[error("cannot append to the journal {}", path.display())]
    Append {
        /// The journal.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// A line other than the last is no JSON.
    #[error("line {line} of the journal {} is damaged", path.display())]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// The line's number, from 1.
        line: usize,
    },
    /// A line to append is no single line of JSON: a bug of the caller.
    #[error("a record for the journal {} is not one line of JSON; this is a bug", path.display())]
    NotALine {
        /// The journal.
        path: PathBuf,
    },
    /// Reading or opening the file failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Bringing lines to the disk failed.
    #[error("cannot bring the journal {} to the disk", path.display())]
    Sync {
        /// The journal.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
}

/// A journal that can be continued. The file is made, and a torn line cut away, by the first append only.
#[derive(Debug)]
pub struct JournalFile {
    directory: RunDir,
    file: Option<File>,
    /// Bytes of whole lines; anything behind them is torn.
    whole: u64,
    tail: Tail,
}

/// What may lie behind the whole lines.
#[derive(Debug, Eq, PartialEq)]
enum Tail {
    Clean,
    Torn,
}

impl JournalFile {
    /// Opens the journal of a run and gives its whole lines, without their ends. An absent journal has none.
    ///
    /// # Errors
    ///
    /// [`JournalFileError::Damaged`] names the first line that is no JSON, unless it is the last;
    /// [`JournalFileError::Store`], also above 64 MiB.
    pub fn open(directory: &RunDir) -> Result<(Self, Vec<String>), JournalFileError> {
        let bytes = directory.read(NAME)?.unwrap_or_default();
        let path = || directory.path().join(NAME);
        let mut lines = Vec::new();
        let mut whole = 0;
        for (i, line) in bytes.split_inclusive(|b| *b == b'\n').enumerate() {
            let is_last = whole + line.len() == bytes.len();
            match complete(line) {
                Some(text) => {
                    lines.push(text.to_owned());
                    whole += line.len();
                },
                None if is_last => break,
                None => {
                    return Err(JournalFileError::Damaged {
                        path: path(),
                        line: i + 1,
                    });
                },
            }
        }
        let tail = if whole == bytes.len() {
            Tail::Clean
        } else {
            Tail::Torn
        };
        let directory = directory.clone();
        Ok((
            Self {
                directory,
                file: None,
                whole: whole as u64,
                tail,
            },
            lines,
        ))
    }

    /// Appends a line (without its end) and returns when it is on the disk.
    ///
    /// # Errors
    ///
    /// As [`JournalFile::append_unsynced`] and [`JournalFile::sync`].
    pub fn append(&mut self, line: &str) -> Result<(), JournalFileError> {
        self.append_unsynced(line)?;
        self.sync()
    }

    /// Appends a line (without its end) that is only safe after the next [`JournalFile::sync`].
    ///
    /// # Errors
    ///
    /// [`JournalFileError::NotALine`], [`JournalFileError::Append`], [`JournalFileError::Store`].
    pub fn append_unsynced(&mut self, line: &str) -> Result<(), JournalFileError> {
        let text = format!("{line}\n");
        if complete(text.as_bytes()).is_none() || line.contains('\n') {
            return Err(JournalFileError::NotALine { path: self.path() });
        }
        let whole = self.whole;
        let is_torn = self.tail == Tail::Torn;
        let file = self.file()?;
        let written = if is_torn { file.set_len(whole) } else { Ok(()) }
            .and_then(|()| file.write_all(text.as_bytes()));
        match written {
            Ok(()) => {
                self.whole += text.len() as u64;
                self.tail = Tail::Clean;
                Ok(())
            },
            Err(source) => {
                // If the cut fails too, the next append or the next opening does it.
                let is_cut = file.set_len(whole).is_ok();
                self.tail = if is_cut { Tail::Clean } else { Tail::Torn };
                Err(JournalFileError::Append {
                    path: self.path(),
                    source,
                })
            },
        }
    }

    /// Brings all appended lines to the disk.
    ///
    /// # Errors
    ///
    /// [`JournalFileError::Sync`]; the lines may or may not be there after a crash.
    pub fn sync(&mut self) -> Result<(), JournalFileError> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        file.sync_data().map_err(|source| JournalFileError::Sync {
            path: self.path(),
            source,
        })
    }

    /// The journal's path on this host, for messages.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join(NAME)
    }

    fn file(&mut self) -> Result<&mut File, JournalFileError> {
        let file = match self.file.take() {
            Some(file) => file,
            None => self.directory.append(NAME)?,
        };
        Ok(self.file.insert(file))
    }
}

/// A line's text if it has its end and is one JSON value.
fn complete(line: &[u8]) -> Option<&str> {
    let text = str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    serde_json::from_str::<IgnoredAny>(text).ok().map(|_| text)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::store::Disk;

    fn run(content: &str) -> (tempfile::TempDir, RunDir) {
        let root = tempfile::tempdir().unwrap();
        let run = Disk::open(root.path())
            .unwrap()
            .run_dir(Path::new("/run"), true)
            .unwrap();
        if !content.is_empty() {
            fs::write(run.path().join(NAME), content).unwrap();
        }
        (root, run)
    }

    fn content(run: &RunDir) -> String {
        fs::read_to_string(run.path().join(NAME)).unwrap()
    }

    #[test]
    fn gives_back_what_was_appended() {
        let (_root, run) = run("");
        let (mut journal, lines) = JournalFile::open(&run).unwrap();
        assert!(lines.is_empty() && !run.exists(NAME).unwrap());
        journal.append(r#"{"seq":0}"#).unwrap();
        journal.append_unsynced(r#"{"seq":1}"#).unwrap();
        journal.sync().unwrap();
        let (mut journal, lines) = JournalFile::open(&run).unwrap();
        assert_eq!(lines, [r#"{"seq":0}"#, r#"{"seq":1}"#]);
        journal.append("2").unwrap();
        assert_eq!(content(&run), "{\"seq\":0}\n{\"seq\":1}\n2\n");
    }

    #[test]
    fn drops_a_torn_last_line_and_cuts_it_away_before_the_next() {
        for torn in ["{\"se", "{\"seq\":1}", "{\"se\n", "\0\0\0\0", "\n"] {
            let (_root, run) = run(&format!("{{\"seq\":0}}\n{torn}"));
            let (mut journal, lines) = JournalFile::open(&run).unwrap();
            assert_eq!(lines, [r#"{"seq":0}"#], "{torn:?}");
            assert!(content(&run).ends_with(torn), "looking changes nothing");
            journal.append("[]").unwrap();
            assert_eq!(content(&run), "{\"seq\":0}\n[]\n");
        }
    }

    #[test]
    fn names_a_damaged_line() {
        let (_root, run) = run("1\n2 x\n3\n");
        let error = JournalFile::open(&run).unwrap_err();
        assert!(
            matches!(error, JournalFileError::Damaged { line: 2, .. }),
            "{error}"
        );
    }

    #[test]
    fn takes_single_lines_of_json_only() {
        let (_root, run) = run("");
        let (mut journal, _) = JournalFile::open(&run).unwrap();
        for line in ["", "x", "1\n2", "{\n}"] {
            let error = journal.append(line).unwrap_err();
            assert!(
                matches!(error, JournalFileError::NotALine { .. }),
                "{line:?}"
            );
        }
        assert!(!run.exists(NAME).unwrap());
    }
}
