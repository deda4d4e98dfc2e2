//! A run: its directory, its journal and the files that an auditor will want to see.
//!
//! | name | what |
//! | --- | --- |
//! | `plan.json` | the plan, as it was confirmed |
//! | `journal.jsonl` | the journal |
//! | `before.json`, `after.json` | the inventory before and after |
//! | `verification.json` | what was proved |
//! | `staged/` | new content, by commit step |
//! | `undo/` | old content, by commit step |
//! | `backup.tar.gz` | everything, for `backup restore` |
//! | `signature.json` | the audit's signatures, so that it can be rebuilt to the byte |
//! | `audit.tar.gz` | the audit |

use crate::clock::Stopwatch;
use crate::crypto;
use crate::journal::{self, Begin, Body, Record};
use crate::journal_file::{JournalFile, JournalFileError};
use crate::pki::digest::{Digest, hex};
use crate::pki::utc::Utc;
use crate::plan::Plan;
use crate::store::{RunDir, StoreError};

/// The plan's name in a run directory.
pub const PLAN: &str = "plan.json";
/// The name of the inventory that the plan was made from.
pub const BEFORE: &str = "before.json";
/// The name of the inventory at the end.
pub const AFTER: &str = "after.json";
/// The name of what was proved.
pub const VERIFICATION: &str = "verification.json";
/// The name of the backup.
pub const BACKUP: &str = "backup.tar.gz";
/// The name of the audit's signatures.
pub const SIGNATURE: &str = "signature.json";
/// The name of the audit.
pub const AUDIT: &str = "audit.tar.gz";

/// The name of a second copy of a run's backup, elsewhere.
pub fn copy(run: &str) -> String {
    format!("backup-{run}.tar.gz")
}

/// An open run.
pub struct Run {
    /// Its directory.
    pub dir: RunDir,
    /// Its plan.
    pub plan: Plan,
    journal: JournalFile,
    records: Vec<Record>,
    last: Digest,
    base: Utc,
    watch: Stopwatch,
}

/// Why a run cannot be begun, read or written.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The journal is damaged beyond its last line.
    #[error("the journal of run {run} {why}")]
    Damaged {
        /// The run's name.
        run: String,
        /// What is wrong with it.
        why: String,
    },
    /// The journal has no first line: the process died before it changed anything.
    #[error("the run {run} died before it began")]
    Unbegun {
        /// The run's name.
        run: String,
    },
    /// The journal's file cannot be read or written.
    #[error(transparent)]
    Journal(#[from] JournalFileError),
    /// The plan in the run directory is missing or not the one that the journal names.
    #[error("the plan of run {run} {why}")]
    Plan {
        /// The run's name.
        run: String,
        /// What is wrong with it.
        why: String,
    },
    /// The run directory cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Run {
    /// Begins a run: the plan is on disk before the journal that names it.
    pub fn begin(
        dir: RunDir,
        plan: Plan,
        begin: Begin,
        watch: Stopwatch,
    ) -> Result<Self, RunError> {
        dir.write(PLAN, &plan.to_json())?;
        let (journal, _) = JournalFile::open(&dir)?;
        let (base, last) = (plan.at, Digest::of(b""));
        let mut run = Self {
            dir,
            plan,
            journal,
            records: Vec::new(),
            last,
            base,
            watch,
        };
        run.append(Body::Begin(Box::new(begin)))?;
        Ok(run)
    }

    /// Opens a run that was begun. `now` dates what is appended.
    pub fn open(dir: RunDir, name: &str, now: Utc, watch: Stopwatch) -> Result<Self, RunError> {
        let (journal, lines) = JournalFile::open(&dir)?;
        let records = journal::read(&lines).map_err(|why| RunError::Damaged {
            run: name.to_owned(),
            why,
        })?;
        let unbegun = || RunError::Unbegun {
            run: name.to_owned(),
        };
        let begin = journal::begin(&records).ok_or_else(unbegun)?;
        let bad = |why: String| RunError::Plan {
            run: name.to_owned(),
            why,
        };
        let bytes = dir
            .read(PLAN)?
            .ok_or_else(|| bad("is missing".to_owned()))?;
        if begin.plan != Digest::of(&bytes) {
            return Err(bad("is not the one that its journal names".to_owned()));
        }
        let plan = serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
        let last = lines
            .last()
            .map_or_else(|| Digest::of(b""), |line| Digest::of(line.as_bytes()));
        Ok(Self {
            dir,
            plan,
            journal,
            records,
            last,
            base: now,
            watch,
        })
    }

    /// Everything that the journal says.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Milliseconds since the process began.
    pub fn elapsed_ms(&self) -> u64 {
        self.watch.millis()
    }

    /// Appends a record; it is on disk when this returns.
    pub fn append(&mut self, body: Body) -> Result<(), RunError> {
        self.append_unsynced(body)?;
        Ok(self.journal.sync()?)
    }

    /// Appends a record that may be lost with those after it, for what changes nothing by itself.
    pub fn append_unsynced(&mut self, body: Body) -> Result<(), RunError> {
        let elapsed_ms = self.watch.millis();
        let seconds = i64::try_from(elapsed_ms / 1000).unwrap_or(0);
        let record = Record {
            format: journal::FORMAT,
            seq: self.records.len() as u64,
            prev: self.last,
            at: self.base.plus(seconds),
            elapsed_ms,
            body,
        };
        let line = json(&record);
        self.journal.append_unsynced(&line)?;
        self.last = Digest::of(line.as_bytes());
        self.records.push(record);
        Ok(())
    }
}

/// A new run's name: `20261122T081543Z-1f2e3d`. Sorts by time.
pub fn name(at: Utc) -> Result<String, crypto::CryptoError> {
    let mut random = [0u8; 3];
    crypto::random(&mut random)?;
    Ok(format!("{}-{}", at.compact(), hex(&random)))
}

/// Whether a text could be a run's name, and nothing else, such as a path.
pub fn is_name(text: &str) -> bool {
    text.len() > 8 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// The JSON of a plain value, on one line.
pub fn json<T: serde::Serialize>(value: &T) -> String {
    // Serialising plain values into memory has no way to fail.
    serde_json::to_string(value).unwrap_or_default()
}
