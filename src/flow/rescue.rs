//! The rescue: look, plan, back up, issue, replace, verify, audit; and the ways back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::apply::{self, ApplyError, Event, Hands};
use crate::audit::{self, AuditError, Written};
use crate::backup::{AuthorityKeys, Backup, BackupError};
use crate::clock::Stopwatch;
use crate::crypto::CryptoError;
use crate::diff::{self, Diff};
use crate::finding::{Code, Finding, Severity};
use crate::flow::site::Site;
use crate::inventory::Inventory;
use crate::journal::{self, Begin, Body, Verdict, Way};
use crate::pki::digest::Digest;
use crate::place::{Observed, Place};
use crate::plan::step::MetaPlan;
use crate::plan::{self, Plan, Policy, Refusals};
use crate::run::{self, Run, RunError};
use crate::sign::AuditKey;
use crate::store::{Lock, RunDir, StoreError};
use crate::verification::{self, Verification};

/// Space that a run needs beside the backup, in bytes: journal, reports, audit.
const HEADROOM: u64 = 8 << 20;

/// Circumstances of a run that its journal tells.
#[derive(Clone, Debug, Default)]
pub struct Circumstances {
    /// Who.
    pub operator: String,
    /// The ticket.
    pub ticket: Option<String>,
    /// The reason.
    pub reason: Option<String>,
    /// The command line.
    pub command: Vec<String>,
    /// The digest of the running binary.
    pub binary: Option<Digest>,
}

/// What a run needs beside its plan.
pub struct Means<'a> {
    /// Who and why.
    pub circumstances: Circumstances,
    /// A directory of this host that gets a second copy of the backup, without CA keys.
    pub backup_to: Option<&'a Path>,
    /// The key that signs the audit; without one, a key is made for it and forgotten.
    pub sign_key: Option<&'a AuditKey>,
    /// Set when somebody asked to stop; the signal's number.
    pub stop: &'a dyn Fn() -> Option<i32>,
    /// Takes events.
    pub tell: &'a dyn Fn(Event),
    /// When the process began.
    pub watch: Stopwatch,
}

/// What a run did.
pub struct Done {
    /// Its name.
    pub run: String,
    /// Its directory on this host.
    pub path: PathBuf,
    /// Its plan.
    pub plan: Plan,
    /// How it ended.
    pub verdict: Verdict,
    /// What was proved at the end.
    pub verification: Verification,
    /// What differs.
    pub diff: Diff,
    /// The audit.
    pub audit: Written,
    /// Milliseconds from the process's start to the end.
    pub elapsed_ms: u64,
}

/// Why a rescue did not happen, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum RescueError {
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

impl From<Refusals> for RescueError {
    fn from(refusals: Refusals) -> Self {
        Self::Refused(refusals.0)
    }
}

/// The record of a person who takes up a run again.
fn taken_up(goal: Way, means: &Means) -> Body {
    Body::Resume {
        goal,
        operator: Some(means.circumstances.operator.clone()),
    }
}

fn list(places: &[Place]) -> String {
    places
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

impl Site {
    /// Locks the site for one operator. The lock ends with its value.
    pub fn lock(&self) -> Result<Lock, StoreError> {
        self.disk.lock(&self.profile.anchor)
    }

    /// Looks, plans, and lets a second pair of eyes look over the plan.
    pub fn plan(&self, policy: &Policy) -> Result<(Inventory, Plan), RescueError> {
        let inventory = self.observe(false)?;
        let plan = plan::plan(&inventory, &self.profile, policy)?;
        match plan::check::violations(&plan, &inventory) {
            broken if broken.is_empty() => Ok((inventory, plan)),
            broken => Err(RescueError::Bug(broken)),
        }
    }

    /// Checks that a saved plan was made from exactly what is here now.
    pub fn adopt(&self, plan: &Plan) -> Result<Inventory, RescueError> {
        let inventory = self.observe(false)?;
        if plan.node.id != inventory.node.id {
            let name = plan
                .node
                .name
                .as_ref()
                .map_or("another node", |name| &name.value);
            return Err(RescueError::Stale(format!(
                "the plan was made for {name}, not for this node"
            )));
        }
        let digest = inventory.digest(self.profile.digest());
        if plan.inventory != digest {
            let why = "the plan was made from other files, another profile or another version of this tool";
            return Err(RescueError::Stale(why.to_owned()));
        }
        if plan.purpose != plan::Purpose::Rescue {
            let why = "the plan restores a backup, and is only made and applied by: rescue-kit backup restore";
            return Err(RescueError::Stale(why.to_owned()));
        }
        match plan::check::violations(plan, &inventory) {
            broken if broken.is_empty() => Ok(inventory),
            broken => Err(RescueError::Stale(broken.join("; "))),
        }
    }

    /// Refuses while an earlier run is half-way.
    pub fn refuse_unfinished(&self) -> Result<(), RescueError> {
        self.unfinished_run()?
            .map_or(Ok(()), |run| Err(RescueError::Unfinished(run)))
    }

    /// Applies a plan that changes something: backup, issue, replace, verify, audit. The site is locked.
    pub fn execute(
        &self,
        inventory: &Inventory,
        plan: Plan,
        means: &Means,
        archive: apply::Archive,
    ) -> Result<Done, RescueError> {
        let backup = Backup::collect(&self.disk, &self.profile, inventory, AuthorityKeys::Kept)
            .map_err(RescueError::Backup)?;
        let packed = backup.pack().map_err(RescueError::Backup)?;
        self.refuse_hopeless(&plan, packed.len() as u64)?;
        let name = run::name(plan.at)?;
        let mut directories = self.directories(&plan)?;
        directories.extend(self.state_directory()?);
        let dir = self.state.run_dir(&self.run_path(&name), true)?;
        let begin = self.begin(&name, &plan, means, directories)?;
        let mut run = Run::begin(dir, plan, begin, means.watch)?;
        run.dir
            .write(run::BEFORE, run::json(inventory).as_bytes())?;
        self.keep(&mut run, &backup, &packed, means)?;
        let hands = self.hands(inventory, means, archive);
        let driven = apply::drive(&mut run, &hands, Way::Forward);
        self.conclude(run, &name, driven, means, &hands)
    }

    /// Finishes a run that stopped half-way. The site is locked.
    pub fn resume(&self, name: &str, means: &Means) -> Result<Done, RescueError> {
        let mut run = self.open_run(name)?;
        let inventory = self.observe(false)?;
        run.append(taken_up(Way::Forward, means))?;
        let backup = self.backup_of(&run)?;
        let archive = |entry: &str| backup.as_ref().and_then(|backup| backup.entry(entry));
        let hands = self.hands(&inventory, means, &archive);
        let driven = apply::drive(&mut run, &hands, Way::Forward);
        self.conclude(run, name, driven, means, &hands)
    }

    /// Puts everything back that a run changed. The site is locked.
    pub fn roll_back(&self, name: &str, means: &Means) -> Result<Done, RescueError> {
        let mut run = self.open_run(name)?;
        let places = apply::foreign_changes(&run, &self.disk)?;
        if !places.is_empty() {
            return Err(RescueError::Foreign {
                run: name.to_owned(),
                places,
            });
        }
        if let Some(what) = apply::lost_undo(&run)? {
            return Err(RescueError::Lost {
                run: name.to_owned(),
                what,
            });
        }
        run.append(taken_up(Way::Back, means))?;
        let hands = Hands {
            disk: &self.disk,
            authorities: &[],
            credentials: &[],
            stop: means.stop,
            tell: means.tell,
            archive: &|_| None,
        };
        let driven = apply::drive(&mut run, &hands, Way::Back);
        self.conclude(run, name, driven, means, &hands)
    }

    fn hands<'a>(
        &'a self,
        inventory: &'a Inventory,
        means: &Means<'a>,
        archive: apply::Archive<'a>,
    ) -> Hands<'a> {
        Hands {
            disk: &self.disk,
            authorities: &inventory.authorities,
            credentials: &inventory.credentials,
            stop: means.stop,
            tell: means.tell,
            archive,
        }
    }

    /// Verifies and audits what was driven to its end; undoes what failed.
    fn conclude(
        &self,
        mut run: Run,
        name: &str,
        driven: Result<Verdict, ApplyError>,
        means: &Means,
        hands: &Hands,
    ) -> Result<Done, RescueError> {
        let name = name.to_owned();
        let verdict = match driven {
            Ok(verdict) => verdict,
            Err(ApplyError::Interrupted(signal)) => {
                // Before anything is staged nothing is begun that a resumption could finish.
                if journal::staged(run.records()).is_none()
                    && apply::drive(&mut run, &uninterrupted(hands), Way::Back).is_ok()
                {
                    return Err(RescueError::Stopped { run: name, signal });
                }
                return Err(RescueError::Interrupted { run: name, signal });
            },
            Err(source) => return Err(self.undo(run, name, source, means, hands)),
        };
        let (verification, diff) = self.prove(&run)?;
        if verdict == Verdict::Done
            && let Some(why) = Self::regression(&run, &verification)
        {
            run.append(Body::Resume {
                goal: Way::Back,
                operator: None,
            })?;
            return Err(
                match apply::drive(&mut run, &uninterrupted(hands), Way::Back) {
                    Ok(_) => {
                        self.prove(&run)?;
                        self.evidence(&run, &name, means)?;
                        RescueError::Unproved { run: name, why }
                    },
                    Err(source) => RescueError::Stuck { run: name, source },
                },
            );
        }
        let audit = self.evidence(&run, &name, means)?;
        let (path, elapsed_ms) = (run.dir.path(), run.elapsed_ms());
        Ok(Done {
            run: name,
            path,
            plan: run.plan,
            verdict,
            verification,
            diff,
            audit,
            elapsed_ms,
        })
    }

    /// A failure before anything was restarted always goes back.
    fn undo(
        &self,
        mut run: Run,
        name: String,
        source: ApplyError,
        means: &Means,
        hands: &Hands,
    ) -> RescueError {
        let back = apply::foreign_changes(&run, &self.disk).is_ok_and(|places| places.is_empty())
            && apply::drive(&mut run, &uninterrupted(hands), Way::Back).is_ok();
        if !back {
            return RescueError::Stuck { run: name, source };
        }
        let evidence = self
            .prove(&run)
            .and_then(|_| self.evidence(&run, &name, means));
        match evidence {
            Err(RescueError::Audit { run, source }) => RescueError::Audit { run, source },
            Ok(_) | Err(_) => RescueError::Failed { run: name, source },
        }
    }

    /// Looks again and writes down what is proved.
    fn prove(&self, run: &Run) -> Result<(Verification, Diff), RescueError> {
        let after = self.observe(false)?;
        let verification = verification::verify(&after);
        run.dir.write(run::AFTER, run::json(&after).as_bytes())?;
        run.dir
            .write(run::VERIFICATION, run::json(&verification).as_bytes())?;
        let before = run.dir.read(run::BEFORE)?;
        let before = before.and_then(|bytes| serde_json::from_slice::<Inventory>(&bytes).ok());
        let diff = before
            .map(|before| diff::between(&before, &after))
            .unwrap_or_default();
        Ok((verification, diff))
    }

    /// The first check of a changed credential that fails now. What was left out on purpose may stay broken.
    fn regression(run: &Run, now: &Verification) -> Option<String> {
        let changed: Vec<&str> = run
            .plan
            .phases
            .commit
            .iter()
            .map(|commit| commit.credential.as_str())
            .collect();
        let failed = now.checks.iter().find_map(|check| match &check.outcome {
            verification::Outcome::Fail(why) if changed.contains(&check.subject.as_str()) => {
                Some(format!("{} {why}", check.subject))
            },
            _ => None,
        });
        // A restore puts back what was there, right or wrong.
        failed.filter(|_| run.plan.purpose == plan::Purpose::Rescue)
    }

    fn evidence(&self, run: &Run, name: &str, means: &Means) -> Result<Written, RescueError> {
        audit::write(run, &self.profile, means.sign_key).map_err(|source| RescueError::Audit {
            run: name.to_owned(),
            source,
        })
    }

    /// Writes the backup, reads it back and compares it with its sources, before the first change.
    fn keep(
        &self,
        run: &mut Run,
        backup: &Backup,
        packed: &[u8],
        means: &Means,
    ) -> Result<(), RescueError> {
        run.dir.write(run::BACKUP, packed)?;
        let read = run.dir.read(run::BACKUP)?.unwrap_or_default();
        let again = Backup::unpack(&read).map_err(RescueError::Backup)?;
        again.compare(&self.disk).map_err(RescueError::Backup)?;
        let files = backup.manifest.entries.len();
        let sha256 = Digest::of(packed);
        run.append(Body::Backup {
            path: run::BACKUP.to_owned(),
            sha256,
            files,
        })?;
        if let Some(directory) = means.backup_to {
            self.carry_away(run, directory)?;
        }
        Ok(())
    }

    /// A second copy for the stick, without CA keys.
    fn carry_away(&self, run: &mut Run, directory: &Path) -> Result<(), RescueError> {
        let inventory = self.observe(false)?;
        let backup = Backup::collect(
            &self.disk,
            &self.profile,
            &inventory,
            AuthorityKeys::LeftOut,
        )
        .map_err(RescueError::Backup)?;
        let packed = backup.pack().map_err(RescueError::Backup)?;
        let name = journal::begin(run.records()).map(|begin| begin.run.clone());
        let name = format!("backup-{}.tar.gz", name.unwrap_or_default());
        let stick = RunDir::on_host(directory)?;
        stick.write(&name, &packed)?;
        let read = stick.read(&name)?.unwrap_or_default();
        Backup::unpack(&read).map_err(RescueError::Backup)?;
        let path = directory.join(name).display().to_string();
        let (sha256, files) = (Digest::of(&packed), backup.manifest.entries.len());
        Ok(run.append(Body::Backup {
            path,
            sha256,
            files,
        })?)
    }

    fn backup_of(&self, run: &Run) -> Result<Option<Backup>, RescueError> {
        let plan::Purpose::Restore(path) = &run.plan.purpose else {
            return Ok(None);
        };
        let bytes = self.read_backup(path)?;
        Backup::unpack(&bytes)
            .map(Some)
            .map_err(RescueError::Backup)
    }

    /// Refuses what cannot end well: a target that cannot be written, too little space.
    fn refuse_hopeless(&self, plan: &Plan, backup: u64) -> Result<(), RescueError> {
        let mut refusals = Vec::new();
        let refuse = |subject: &Path, text: String, hint: &str| Finding {
            code: Code::Unwritable,
            severity: Severity::Critical,
            subject: subject.display().to_string(),
            text,
            hint: hint.to_owned(),
        };
        let mut parents: Vec<&Path> = plan
            .phases
            .commit
            .iter()
            .filter_map(|commit| commit.at.path().parent())
            .collect();
        parents.sort_unstable();
        parents.dedup();
        let state = (&self.state, self.look.state_dir.as_path());
        for (disk, parent) in parents
            .into_iter()
            .map(|parent| (&self.disk, parent))
            .chain([state])
        {
            if let Err(error) = disk.writable(parent) {
                let why = std::error::Error::source(&error)
                    .map_or_else(|| error.to_string(), ToString::to_string);
                let text = format!("{} cannot be written: {why}", parent.display());
                refusals.push(refuse(parent, text, "mount it writable, or run as root"));
            }
        }
        let (needed, free) = (
            2 * backup + HEADROOM,
            self.state.free_bytes(&self.look.state_dir)?,
        );
        if free < needed {
            let dir = &self.look.state_dir;
            let text = format!(
                "{} has {} MiB free, backup and journal need {} MiB",
                dir.display(),
                free >> 20,
                (needed >> 20) + 1
            );
            refusals.push(refuse(
                dir,
                text,
                "free some space, or name another place: --state-dir DIR",
            ));
        }
        if refusals.is_empty() {
            Ok(())
        } else {
            Err(RescueError::Refused(refusals))
        }
    }

    /// Times of the directories that the plan changes, by their real paths.
    fn directories(&self, plan: &Plan) -> Result<Directories, RescueError> {
        let mut times = BTreeMap::new();
        for commit in &plan.phases.commit {
            let at = match &commit.at {
                Place::File(path) => self.disk.real_path(path)?.unwrap_or_else(|| path.clone()),
                Place::Entry(path) => path.clone(),
            };
            times.extend(self.nearest(at.parent())?);
        }
        Ok(times)
    }

    /// The directory in which the state directory will be made.
    fn state_directory(&self) -> Result<Directories, RescueError> {
        let elsewhere = self.state.root() != self.disk.root();
        let exists = !matches!(self.state.kind(&self.look.state_dir)?, Observed::Absent);
        if elsewhere || exists {
            Ok(BTreeMap::new())
        } else {
            self.nearest(self.look.state_dir.parent())
        }
    }

    /// The nearest directory that exists, with its times.
    fn nearest(&self, from: Option<&Path>) -> Result<Directories, RescueError> {
        let mut at = from;
        while let Some(directory) = at {
            if let Some(times) = self.disk.directory_times(directory)? {
                return Ok([(directory.display().to_string(), times)].into());
            }
            at = directory.parent();
        }
        Ok(BTreeMap::new())
    }

    fn begin(
        &self,
        name: &str,
        plan: &Plan,
        means: &Means,
        directories: Directories,
    ) -> Result<Begin, RescueError> {
        let mut made = Vec::new();
        for commit in &plan.phases.commit {
            let creates = matches!(commit.meta, MetaPlan::Create { .. } | MetaPlan::Restore(_));
            let mut parent = commit.at.path().parent().filter(|_| creates);
            while let Some(directory) = parent {
                if !matches!(self.disk.kind(directory)?, Observed::Absent) {
                    break;
                }
                made.push(directory.display().to_string());
                parent = directory.parent();
            }
        }
        made.sort();
        made.dedup();
        let who = &means.circumstances;
        Ok(Begin {
            run: name.to_owned(),
            plan: Digest::of(&plan.to_json()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            binary: who.binary,
            operator: who.operator.clone(),
            ticket: who.ticket.clone(),
            reason: who.reason.clone(),
            command: who.command.clone(),
            directories,
            made,
        })
    }
}

/// Times of directories by path: access, change.
type Directories = BTreeMap<String, (crate::place::FileTime, crate::place::FileTime)>;

/// Going back is not stopped half-way by the signal that made it necessary.
fn uninterrupted<'a>(hands: &'a Hands<'a>) -> Hands<'a> {
    Hands {
        stop: &|| None,
        ..*hands
    }
}
