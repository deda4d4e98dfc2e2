//! The rescue: look, plan, back up, issue, replace, verify, audit; and the ways back.

use std::path::{Path, PathBuf};

use crate::apply::{self, ApplyError, Event, Hands};
use crate::audit::{self, Written};
use crate::backup::{AuthorityKeys, Backup};
use crate::clock::Stopwatch;
use crate::diff::{self, Diff};
use crate::flow::failure::RescueError;
use crate::flow::site::Site;
use crate::inventory::Inventory;
use crate::journal::{self, Body, Verdict, Way};
use crate::pki::digest::Digest;
use crate::plan::{self, Plan, Policy};
use crate::run::{self, Run};
use crate::sign::AuditKey;
use crate::store::{Lock, StoreError};
use crate::verification::{self, Verification};

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
    /// What was seen at the end.
    pub after: Inventory,
    /// What was proved at the end.
    pub verification: Verification,
    /// What differs.
    pub diff: Diff,
    /// The audit.
    pub audit: Written,
    /// Milliseconds from the process's start to the end.
    pub elapsed_ms: u64,
}

/// The record of a person who takes up a run again.
fn taken_up(goal: Way, means: &Means) -> Body {
    Body::Resume {
        goal,
        operator: Some(means.circumstances.operator.clone()),
    }
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
        let name = self.free_run_name(plan.at)?;
        let mut directories = self.directories(&plan)?;
        directories.extend(self.state_directory()?);
        let dir = self.state.run_dir(&self.run_path(&name), true)?;
        let begin = self.begin(&name, &plan, means, directories)?;
        let mut run = Run::begin(dir, plan, begin, means.watch)?;
        run.dir
            .write(run::BEFORE, run::json(inventory).as_bytes())?;
        self.keep(&mut run, inventory, &backup, &packed, means)?;
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
        // From here on files differ, so that whatever fails is no refusal.
        let unproved = |source: StoreError| RescueError::Audit {
            run: name.clone(),
            source: source.into(),
        };
        let (after, verification, diff) = self.prove(&run).map_err(unproved)?;
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
                        self.prove(&run).map_err(unproved)?;
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
            after,
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
        match self.prove(&run).map(|_| self.evidence(&run, &name, means)) {
            Ok(Err(unwritten)) => unwritten,
            Ok(Ok(_)) | Err(_) => RescueError::Failed { run: name, source },
        }
    }

    /// Looks again and writes down what is proved.
    fn prove(&self, run: &Run) -> Result<(Inventory, Verification, Diff), StoreError> {
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
        Ok((after, verification, diff))
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

    fn backup_of(&self, run: &Run) -> Result<Option<Backup>, RescueError> {
        let plan::Purpose::Restore(path) = &run.plan.purpose else {
            return Ok(None);
        };
        let bytes = self.read_backup(path)?;
        Backup::unpack(&bytes)
            .map(Some)
            .map_err(RescueError::Backup)
    }
}

/// Going back is not stopped half-way by the signal that made it necessary.
fn uninterrupted<'a>(hands: &'a Hands<'a>) -> Hands<'a> {
    Hands {
        stop: &|| None,
        ..*hands
    }
}
