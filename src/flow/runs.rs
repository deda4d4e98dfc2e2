//! Runs on disk: listing, opening, choosing, pruning.

use std::path::PathBuf;

use serde::Serialize;

use crate::clock::Stopwatch;
use crate::flow::failure::RescueError;
use crate::flow::site::Site;
use crate::grant::{Kind, Standing};
use crate::journal::{self, Verdict};
use crate::pki::utc::Utc;
use crate::plan::Purpose;
use crate::run::{self, Run, RunError};
use crate::store::StoreError;

/// What `runs list` says of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Its name.
    pub run: String,
    /// Where it stands: `done`, `rolled_back`, `unfinished`, `damaged`.
    pub state: &'static str,
    /// When it began.
    pub begun: Option<Utc>,
    /// Who began it.
    pub operator: Option<String>,
    /// What it was for.
    pub purpose: Option<Purpose>,
    /// How many certificates it issued.
    pub issued: usize,
    /// How many places it changed.
    pub changed: usize,
    /// Whether it can still be undone.
    pub undo: bool,
    /// Why it cannot be read, if so.
    pub damage: Option<String>,
}

/// What earlier runs left for somebody to end.
#[derive(Debug, Default)]
pub struct LeftOpen {
    /// The newest run that is neither done nor undone.
    pub half_way: Option<String>,
    /// Access that was given and not taken back, the oldest first. What was given to users by name is theirs to keep.
    pub standing: Vec<Standing>,
}

impl Site {
    /// The names of all runs, oldest first.
    pub fn run_names(&self) -> Result<Vec<String>, StoreError> {
        let names = self.state.list(&self.runs_dir())?;
        let names = names
            .into_iter()
            .filter_map(|(name, _)| name.into_string().ok());
        Ok(names.filter(|name| run::is_name(name)).collect())
    }

    /// A name for a new run that sorts after all others, also after one that began in the same second.
    pub(super) fn free_run_name(&self, at: Utc) -> Result<String, RescueError> {
        let newest = self.run_names()?.pop().unwrap_or_default();
        let mut name = run::name(at)?;
        // The clock gate has refused a time that lies further behind the last run than this.
        for second in 1..=600 {
            if name > newest {
                break;
            }
            name = run::name(at.plus(second))?;
        }
        Ok(name)
    }

    /// The directory of a run, as the node says it.
    pub fn run_path(&self, name: &str) -> PathBuf {
        self.runs_dir().join(name)
    }

    /// Opens a run that was begun.
    pub fn open_run(&self, name: &str) -> Result<Run, RunError> {
        let dir = self.state.run_dir(&self.run_path(name), false)?;
        Run::open(dir, name, self.look.now, Stopwatch::start())
    }

    /// The newest run that changed something, or is in the middle of it.
    pub fn newest_run(&self) -> Result<Option<String>, RunError> {
        for name in self.run_names()?.into_iter().rev() {
            let run = match self.open_run(&name) {
                Err(RunError::Unbegun { .. }) => continue,
                // An older run must not be undone in place of one that cannot be read.
                other => other?,
            };
            let touched = run
                .plan
                .phases
                .commit
                .iter()
                .any(|commit| journal::before(run.records(), &commit.id).is_some());
            let undone = journal::verdict(run.records()) == Some(Verdict::RolledBack);
            // What `run` refuses to begin beside can be undone, too, even if nothing was replaced yet.
            if is_half_way(&run) || (touched && !undone) {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// The run that is neither done nor undone, if there is one.
    pub fn unfinished_run(&self) -> Result<Option<String>, RunError> {
        for name in self.run_names()?.into_iter().rev() {
            match self.open_run(&name) {
                Ok(run) if is_half_way(&run) => return Ok(Some(name)),
                Ok(_) | Err(RunError::Unbegun { .. }) => {},
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// What earlier runs left, in one pass over their journals. A run that cannot be read is told by `runs list`.
    pub fn left_open(&self) -> Result<LeftOpen, StoreError> {
        let mut left = LeftOpen::default();
        for name in self.run_names()? {
            let Ok(run) = self.open_run(&name) else {
                continue;
            };
            let standing = journal::standing(run.records());
            left.standing
                .extend(standing.filter(|standing| standing.grant.kind != Kind::User));
            if is_half_way(&run) {
                left.half_way = Some(name);
            }
        }
        Ok(left)
    }

    /// What is known of each run, oldest first.
    pub fn summaries(&self) -> Result<Vec<Summary>, StoreError> {
        let names = self.run_names()?;
        Ok(names
            .into_iter()
            .map(|name| summary(name.clone(), self.open_run(&name)))
            .collect())
    }

    /// Removes what only an undo needs from finished runs, but for the newest `keep`. Journals and audits stay.
    pub fn prune(&self, keep: usize) -> Result<Vec<String>, RunError> {
        let names = self.run_names()?;
        let old = names.len().saturating_sub(keep);
        let mut pruned = Vec::new();
        for name in names.into_iter().take(old) {
            let Ok(run) = self.open_run(&name) else {
                continue;
            };
            let finished = journal::verdict(run.records()).is_some();
            if finished && (run.dir.exists("undo")? || run.dir.exists(run::BACKUP)?) {
                for part in ["undo", "staged", run::BACKUP] {
                    run.dir.remove_tree(part)?;
                }
                pruned.push(name);
            }
        }
        Ok(pruned)
    }

    fn runs_dir(&self) -> PathBuf {
        self.look.state_dir.join("runs")
    }
}

/// A run that died while it was being prepared changed nothing, and leaves nothing to be ended.
fn is_half_way(run: &Run) -> bool {
    journal::verdict(run.records()).is_none() && journal::staged(run.records()).is_some()
}

fn summary(name: String, run: Result<Run, RunError>) -> Summary {
    let blank = Summary {
        run: name,
        state: "damaged",
        begun: None,
        operator: None,
        purpose: None,
        issued: 0,
        changed: 0,
        undo: false,
        damage: None,
    };
    let run = match run {
        Ok(run) => run,
        Err(error) => {
            return Summary {
                damage: Some(error.to_string()),
                ..blank
            };
        },
    };
    let records = run.records();
    let placed = |id: &str| journal::is_placed(records, id);
    Summary {
        state: match journal::verdict(records) {
            Some(Verdict::Done) => "done",
            Some(Verdict::RolledBack) => "rolled_back",
            None => "unfinished",
        },
        begun: Some(run.plan.at),
        operator: journal::begin(records).map(|begin| begin.operator.clone()),
        purpose: Some(run.plan.purpose.clone()),
        issued: journal::issued(records).count(),
        changed: run
            .plan
            .phases
            .commit
            .iter()
            .filter(|commit| placed(&commit.id))
            .count(),
        undo: run.dir.exists("undo").unwrap_or(false),
        ..blank
    }
}
