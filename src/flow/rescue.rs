//! The rescue: look, plan, back up, issue, replace, verify, audit; and the ways back.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::access::Access;
use crate::apply::{self, ApplyError, Event, Hands};
use crate::audit::{self, Written};
use crate::backup::{AuthorityKeys, Backup};
use crate::clock::{self, Stopwatch};
use crate::converge::Actor;
use crate::diff::{self, Diff};
use crate::flow::failure::RescueError;
use crate::flow::site::Site;
use crate::inventory::Inventory;
use crate::journal::{self, Body, Converged, Meter, Verdict, Way};
use crate::live::{Check, Outcome};
use crate::meter;
use crate::observe::Depth;
use crate::pki::digest::Digest;
use crate::place::Place;
use crate::plan::step::{Remaining, Slot};
use crate::plan::{self, Plan, Policy};
use crate::profile::Role;
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
    /// When everything must have ended.
    pub deadline: Option<Instant>,
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
    /// How available the API server was meanwhile; none where nothing runs.
    pub meter: Option<Meter>,
    /// What was done to processes and seen of them: the consumer, and what its step left.
    pub converged: Vec<(String, Converged)>,
    /// Milliseconds from the process's start to the end.
    pub elapsed_ms: u64,
}

impl Done {
    /// What remains to be done: on this node, then on others.
    pub fn next(&self) -> Vec<Remaining> {
        let mut next = self.plan.remaining.clone();
        let members = self.after.live.iter().flat_map(|live| &live.members);
        for member in members.filter(|member| !member.here) {
            if let Outcome::Fail(why) = &member.state {
                let at = member
                    .peer
                    .map_or(String::new(), |at| format!(" ({})", at.ip()));
                next.push(Remaining {
                    consumer: format!("{}{at}", member.name),
                    command: Some("rescue-kit run".to_owned()),
                    why: format!("the etcd member there {why}"),
                });
            }
        }
        next
    }
}

/// A run that gave access has nothing that could be finished or put back.
fn refuse_access(run: &Run, name: &str) -> Result<(), RescueError> {
    if run.plan.purpose == plan::Purpose::Access {
        return Err(RescueError::Access(name.to_owned()));
    }
    Ok(())
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
        let inventory = self.observe(false, Depth::Running)?;
        let plan = plan::plan(&inventory, &self.profile, policy)?;
        match plan::check::violations(&plan, &inventory) {
            broken if broken.is_empty() => Ok((inventory, plan)),
            broken => Err(RescueError::Bug(broken)),
        }
    }

    /// Checks that a saved plan was made from exactly what is here now.
    pub fn adopt(&self, plan: &Plan) -> Result<Inventory, RescueError> {
        let inventory = self.observe(false, Depth::Running)?;
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
        let why = match plan.purpose {
            plan::Purpose::Rescue => None,
            plan::Purpose::Restore(_) => Some(
                "the plan restores a backup, and is only made and applied by: rescue-kit backup restore",
            ),
            plan::Purpose::Access => Some("the plan gives access, and changes nothing of the node"),
        };
        if let Some(why) = why {
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
        let begin = self.begin(&name, &plan, means, directories, inventory)?;
        let mut run = Run::begin(dir, plan, begin, means.watch)?;
        run.dir
            .write(run::BEFORE, run::json(inventory).as_bytes())?;
        self.keep(&mut run, inventory, &backup, &packed, means)?;
        let actor = self.actor(inventory, means);
        let hands = self.hands(inventory, actor.as_ref(), means, archive);
        self.drive(run, &name, Way::Forward, means, &hands)
    }

    /// Finishes a run that stopped half-way, or puts everything back that a run changed. The site is locked.
    pub fn go(&self, name: &str, way: Way, means: &Means) -> Result<Done, RescueError> {
        match way {
            Way::Forward => self.resume(name, means),
            Way::Back => self.roll_back(name, means),
        }
    }

    /// Finishes a run that stopped half-way. The site is locked.
    fn resume(&self, name: &str, means: &Means) -> Result<Done, RescueError> {
        let mut run = self.open_run(name)?;
        refuse_access(&run, name)?;
        let inventory = self.observe(false, Depth::Running)?;
        run.append(taken_up(Way::Forward, means))?;
        let backup = self.backup_of(&run)?;
        let archive = |entry: &str| backup.as_ref().and_then(|backup| backup.entry(entry));
        let actor = self.actor(&inventory, means);
        let hands = self.hands(&inventory, actor.as_ref(), means, &archive);
        self.drive(run, name, Way::Forward, means, &hands)
    }

    /// Puts everything back that a run changed. The site is locked.
    fn roll_back(&self, name: &str, means: &Means) -> Result<Done, RescueError> {
        let mut run = self.open_run(name)?;
        refuse_access(&run, name)?;
        self.refuse_irreversible(&run, name)?;
        let inventory = self.observe(false, Depth::Running)?;
        run.append(taken_up(Way::Back, means))?;
        let actor = self.actor(&inventory, means);
        let hands = self.hands(&inventory, actor.as_ref(), means, &|_| None);
        self.drive(run, name, Way::Back, means, &hands)
    }

    /// The places that going on with a run, or back, leads to, in order. Nothing is changed; what would be refused is.
    pub fn ahead(&self, name: &str, way: Way) -> Result<Vec<Place>, RescueError> {
        let run = self.open_run(name)?;
        refuse_access(&run, name)?;
        let commits = run.plan.phases.commit.iter();
        let open = journal::pending(run.records()).map(|(step, _)| step);
        let placed = |id| open == Some(id) || journal::is_placed(run.records(), id);
        if way == Way::Forward {
            let left = commits.filter(|commit| !journal::is_placed(run.records(), &commit.id));
            return Ok(left.map(|commit| commit.at.clone()).collect());
        }
        self.refuse_irreversible(&run, name)?;
        let done = commits.rev().filter(|commit| placed(&commit.id));
        Ok(done.map(|commit| commit.at.clone()).collect())
    }

    /// Refuses to go back where that would overwrite somebody's change, or where what it needs is gone.
    fn refuse_irreversible(&self, run: &Run, name: &str) -> Result<(), RescueError> {
        let places = apply::foreign_changes(run, &self.disk)?;
        if !places.is_empty() {
            return Err(RescueError::Foreign {
                run: name.to_owned(),
                places,
            });
        }
        if let Some(what) = apply::lost_undo(run)? {
            return Err(RescueError::Lost {
                run: name.to_owned(),
                what,
            });
        }
        Ok(())
    }

    /// Whoever does things to processes; nobody on a root that is not this system's.
    fn actor<'a>(&'a self, inventory: &'a Inventory, means: &Means<'a>) -> Option<Actor<'a>> {
        inventory.live.as_ref()?;
        Some(Actor::new(
            &self.disk,
            &self.profile,
            inventory,
            means.stop,
            means.deadline,
        ))
    }

    /// Drives a run to its end, with a meter beside it where something runs.
    fn drive(
        &self,
        mut run: Run,
        name: &str,
        goal: Way,
        means: &Means,
        hands: &Hands,
    ) -> Result<Done, RescueError> {
        let has_server = self.profile.with_role(Role::ApiServer).is_some();
        let is_metered =
            has_server && hands.actor.is_some() && !run.plan.phases.converge.is_empty();
        let (driven, meter) = std::thread::scope(|scope| {
            let meter = hands.actor.filter(|_| is_metered).map(|actor| {
                let access = Access {
                    disk: &self.disk,
                    profile: &self.profile,
                    inventory: actor.inventory,
                };
                meter::start(scope, access, means.watch)
            });
            let driven = apply::drive(&mut run, hands, goal);
            (driven, meter.map(meter::Running::stop))
        });
        if let Some(meter) = meter {
            run.append(Body::Meter(meter))?;
        }
        self.conclude(run, name, driven, means, hands)
    }

    fn hands<'a>(
        &'a self,
        inventory: &'a Inventory,
        actor: Option<&'a Actor<'a>>,
        means: &Means<'a>,
        archive: apply::Archive<'a>,
    ) -> Hands<'a> {
        Hands {
            disk: &self.disk,
            actor,
            authorities: &inventory.authorities,
            credentials: &inventory.credentials,
            deadline: means.deadline,
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
        if verdict == Verdict::RolledBack {
            self.recover(&run);
        }
        let depth = hands.actor.map_or(Depth::Proof, Actor::depth);
        let (after, verification, diff) = self.prove(&run, depth).map_err(unproved)?;
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
                        self.recover(&run);
                        self.prove(&run, Depth::Proof).map_err(unproved)?;
                        self.evidence(&run, &name, means)?;
                        RescueError::Unproved { run: name, why }
                    },
                    Err(source) => RescueError::Stuck { run: name, source },
                },
            );
        }
        let audit = self.evidence(&run, &name, means)?;
        let (path, elapsed_ms) = (run.dir.path(), run.elapsed_ms());
        let meter = journal::meter(run.records()).cloned();
        let converged = journal::converged(run.records()).into_iter();
        let who = |id: &str| {
            let hold = run.plan.hold(id).map(|step| &step.who);
            let who = run.plan.converge(id).map(|step| &step.who).or(hold);
            who.map_or_else(|| id.to_owned(), Clone::clone)
        };
        let converged = converged
            .map(|(id, seen)| (who(id), seen.clone()))
            .collect();
        Ok(Done {
            meter,
            converged,
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

    /// A failure before anything was started with the new files always goes back; later, only if something that worked does
    /// not work now. While a unit is held nothing that was stopped can come back, and there is nothing to wait for.
    fn undo(
        &self,
        mut run: Run,
        name: String,
        source: ApplyError,
        means: &Means,
        hands: &Hands,
    ) -> RescueError {
        let baseline = baseline(&run);
        let is_overtaken = matches!(source, ApplyError::Blocked(_)) && !apply::has_replaced(&run);
        let mut holds = run.plan.phases.hold.iter();
        let is_held = holds.any(|hold| journal::is_held(&run.plan, run.records(), &hold.id));
        if !is_held
            && journal::has_restarted(&run.plan, run.records())
            && (baseline.is_empty() || self.holds(&baseline, RECOVERY))
        {
            return RescueError::Kept { run: name, source };
        }
        let back = apply::foreign_changes(&run, &self.disk).is_ok_and(|places| places.is_empty())
            && apply::drive(&mut run, &uninterrupted(hands), Way::Back).is_ok()
            && self.recover(&run);
        if !back {
            return RescueError::Stuck { run: name, source };
        }
        match self
            .prove(&run, Depth::Proof)
            .map(|_| self.evidence(&run, &name, means))
        {
            Ok(Err(unwritten)) => unwritten,
            Ok(Ok(_)) | Err(_) if is_overtaken => RescueError::Overtaken { run: name, source },
            Ok(Ok(_)) | Err(_) => RescueError::Failed { run: name, source },
        }
    }

    /// Gives what worked with the old files the time to work with them again. What does not is told by the proof.
    fn recover(&self, run: &Run) -> bool {
        self.holds(&baseline(run), RECOVERY)
    }

    /// Waits until everything that passed before passes again.
    fn holds(&self, baseline: &[Check], within: Duration) -> bool {
        if baseline.is_empty() {
            return true;
        }
        let by = Instant::now() + within;
        let held = clock::wait_for(by, Duration::from_millis(500), || {
            let now = self.observe(false, Depth::Running).ok()?;
            let live = now.live.as_ref()?;
            let passes = |wanted: &Check| live.health.iter().any(|check| check == wanted);
            baseline.iter().all(passes).then_some(())
        });
        held.is_some()
    }

    /// Looks again and writes down what is proved; without a quorum only what concerns this node.
    fn prove(
        &self,
        run: &Run,
        depth: Depth,
    ) -> Result<(Inventory, Verification, Diff), StoreError> {
        let after = self.observe(false, depth)?;
        let verification = verification::verify(&after);
        let verification = match depth {
            Depth::Local => verification.local(),
            _ => verification,
        };
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

    /// The first check of a changed credential that fails now. What was left out on purpose may stay broken, and so may the
    /// credential in a kubeconfig of which only the CAs were changed.
    fn regression(run: &Run, now: &Verification) -> Option<String> {
        let answers_for = |check: &Check| {
            let mut commits = run.plan.phases.commit.iter();
            commits.any(|commit| {
                let trust = commit.parts.iter().all(|(slot, _)| *slot == Slot::Trust);
                commit.credential == check.subject && (!trust || check.name == "trust")
            })
        };
        let failed = now.checks.iter().find_map(|check| match &check.outcome {
            Outcome::Fail(why) if answers_for(check) => Some(format!("{} {why}", check.subject)),
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

/// How long a control plane may take to be as well as it was.
const RECOVERY: Duration = Duration::from_secs(120);

/// What passed before the run.
fn baseline(run: &Run) -> Vec<Check> {
    let begin = journal::begin(run.records());
    let passed = begin.into_iter().flat_map(|begin| begin.baseline.iter());
    passed.filter(|check| check.passed()).cloned().collect()
}

/// Going back is not stopped half-way by the signal that made it necessary.
fn uninterrupted<'a>(hands: &'a Hands<'a>) -> Hands<'a> {
    Hands {
        stop: &|| None,
        ..*hands
    }
}
