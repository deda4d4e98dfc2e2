//! Failures of a rescue, each with what it left behind.

use crate::apply::ApplyError;
use crate::audit::AuditError;
use crate::backup::BackupError;
use crate::crypto::CryptoError;
use crate::finding::Finding;
use crate::place::Place;
use crate::plan::Refusals;
use crate::run::RunError;
use crate::store::StoreError;

/// Why a rescue did not happen, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum RescueError {
    /// The run gave somebody access, which is not undone by putting files back.
    #[error("the run {0} gave access, and changed no file of the node")]
    Access(String),
    /// The audit cannot be written; the rest is done.
    #[error("the run {run} is done, but its audit could not be written")]
    Audit {
        /// The run.
        run: String,
        /// Why.
        source: AuditError,
    },
    /// There is no usable backup, so nothing was changed.
    #[error("there is no backup, so nothing was changed")]
    Backup(#[source] BackupError),
    /// The plan breaks its own rules.
    #[error("the plan is not sound: {}", .0.join("; "))]
    Bug(Vec<String>),
    /// Randomness.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// A step failed; everything is as it was.
    #[error("the run {run} failed and was rolled back")]
    Failed {
        /// The run.
        run: String,
        /// Why.
        source: ApplyError,
    },
    /// Undoing would overwrite what somebody changed since.
    #[error("{} changed after the run {run}", list(.places))]
    Foreign {
        /// The run.
        run: String,
        /// Where.
        places: Vec<Place>,
    },
    /// A signal came between two steps.
    #[error("the run {run} was stopped by signal {signal}")]
    Interrupted {
        /// The run.
        run: String,
        /// The signal.
        signal: i32,
    },
    /// A process did not prove itself after it was touched; nothing that worked before stopped working.
    #[error("the run {run} replaced all files, but is not done")]
    Kept {
        /// The run.
        run: String,
        /// Why it stopped.
        source: ApplyError,
    },
    /// What an undo needs was pruned or damaged.
    #[error("the run {run} cannot be undone: {what} in its directory is missing or damaged")]
    Lost {
        /// The run.
        run: String,
        /// The file.
        what: String,
    },
    /// There is no run to work on.
    #[error("there is no run to {0}")]
    NoRun(&'static str),
    /// Nothing can be planned.
    #[error("refused before any change")]
    Refused(Vec<Finding>),
    /// The run directory or journal failed before any change.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Somebody else changed a file between the look and the first replacement; nothing was changed here.
    #[error("the run {run} was overtaken and changed nothing")]
    Overtaken {
        /// The run.
        run: String,
        /// The file that was changed.
        source: ApplyError,
    },
    /// The plan was made from something else.
    #[error("{0}")]
    Stale(String),
    /// A signal came before the first change.
    #[error("the run {run} was stopped by signal {signal} before it changed anything")]
    Stopped {
        /// The run.
        run: String,
        /// The signal.
        signal: i32,
    },
    /// The store failed before any change.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A step failed, and so did going back, or going back is not ours to decide.
    #[error("the run {run} is stuck half-way")]
    Stuck {
        /// The run.
        run: String,
        /// Why it stopped.
        source: ApplyError,
    },
    /// An earlier run is neither done nor undone.
    #[error("the run {0} is neither done nor undone")]
    Unfinished(String),
    /// What was written does not prove right.
    #[error("the run {run} did not prove right and was rolled back: {why}")]
    Unproved {
        /// The run.
        run: String,
        /// The first check that failed.
        why: String,
    },
}

/// Why access was not given, renewed or taken back.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// It did not work, and what was made for it is gone again.
    #[error("the run {run} gave no access and was undone: {why}")]
    Failed {
        /// The run.
        run: String,
        /// Why.
        why: String,
    },
    /// It was refused before anything was made.
    #[error("{why}")]
    Refused {
        /// Why, as a sentence fragment.
        why: String,
        /// What to type or do next.
        hint: String,
    },
    /// Runs, journals, audits.
    #[error(transparent)]
    Rescue(#[from] RescueError),
    /// What was made for it may still be there.
    #[error("the access of the run {run} could not be taken back: {why}")]
    Stuck {
        /// The run.
        run: String,
        /// Why.
        why: String,
    },
}

impl AccessError {
    pub(super) fn refused(why: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Refused {
            why: why.into(),
            hint: hint.into(),
        }
    }
}

impl From<StoreError> for AccessError {
    fn from(error: StoreError) -> Self {
        Self::Rescue(error.into())
    }
}

impl From<RunError> for AccessError {
    fn from(error: RunError) -> Self {
        Self::Rescue(error.into())
    }
}

impl From<Refusals> for RescueError {
    fn from(refusals: Refusals) -> Self {
        Self::Refused(refusals.0)
    }
}

fn list(places: &[Place]) -> String {
    places
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}
