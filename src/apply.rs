//! PHASE: apply, doing or undoing a plan under its journal.
//! INPUTS: a run with its plan and journal; the store; the keys of the authorities.
//! OUTPUTS: every place of the plan as planned, or as it was; an intent before and an outcome after each change.

mod content;
mod fail;
mod process;
mod stage;

use std::time::Instant;

use crate::converge::{Actor, ConvergeError};
use crate::crypto::CryptoError;
use crate::inventory::{AuthorityState, CredentialState};
use crate::issue::IssueError;
use crate::journal::{self, Body, Content, Evidence, Move, Verdict, Way};
use crate::pki::kubeconfig::KubeconfigError;
use crate::place::{Blob, Meta, Observed, Place, Version};
use crate::plan::step::{Commit, MetaPlan, Source};
use crate::run::{Run, RunError};
use crate::store::{Disk, StoreError, Times};

/// What happens while a plan is applied, for whoever shows it.
#[derive(Clone, Debug)]
pub enum Event {
    /// A process is about to be stopped, started, or looked at until it proves itself.
    Converging {
        /// The consumer's id.
        who: String,
        /// What is done, as a word.
        what: &'static str,
        /// How long that usually takes, in seconds.
        usual: u32,
    },
    /// A process was seen to be what it should be.
    Converged {
        /// The consumer's id.
        who: String,
        /// What was seen last.
        seen: String,
        /// Milliseconds that it took.
        took_ms: u64,
    },
    /// A certificate is issued.
    Issued(String),
    /// A place is replaced, or put back.
    Placed {
        /// The place.
        at: Place,
        /// Done or undone.
        way: Way,
    },
}

/// The archive that a restore takes its content from: bytes by entry name.
pub type Archive<'a> = &'a dyn Fn(&str) -> Option<zeroize::Zeroizing<Vec<u8>>>;

/// What applying needs beside the run.
pub struct Hands<'a> {
    /// The files.
    pub disk: &'a Disk,
    /// Whoever does things to processes; none where nothing runs.
    pub actor: Option<&'a Actor<'a>>,
    /// Where the authorities are.
    pub authorities: &'a [AuthorityState],
    /// Where the old keys are that are kept.
    pub credentials: &'a [CredentialState],
    /// When everything must have ended.
    pub deadline: Option<Instant>,
    /// Set when somebody asked to stop; the signal's number.
    pub stop: &'a dyn Fn() -> Option<i32>,
    /// Takes events.
    pub tell: &'a dyn Fn(Event),
    /// The content of a restore.
    pub archive: Archive<'a>,
}

/// Why a plan could not be applied, or undone, to its end.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A place holds what neither the plan nor the run put there.
    #[error("{0} was changed by somebody else since the run began")]
    Blocked(Place),
    /// The content of a step cannot be made.
    #[error("cannot make the new content of {at}: {why}")]
    Content {
        /// The place.
        at: Place,
        /// Why.
        why: String,
    },
    /// A process did not come back, or cannot be stopped or started.
    #[error(transparent)]
    Converge(ConvergeError),
    /// Keys or randomness.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// Signing.
    #[error("cannot issue {id}")]
    Issue {
        /// The credential.
        id: String,
        /// Why.
        source: IssueError,
    },
    /// A signal came.
    #[error("stopped by signal {0}")]
    Interrupted(i32),
    /// A kubeconfig cannot be edited.
    #[error("cannot edit {at}")]
    Kubeconfig {
        /// The file.
        at: Place,
        /// Why.
        source: KubeconfigError,
    },
    /// The time that the operator gave has run out.
    #[error("the deadline has passed")]
    Late,
    /// Something that the run directory must hold is missing or damaged.
    #[error("{0} in the run directory is missing or damaged")]
    Missing(String),
    /// The run directory or journal.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Does (or undoes) the plan from wherever its journal says it is, to the end.
///
/// # Errors
///
/// [`ApplyError::Interrupted`] between two steps; any other at the step that failed. The journal says where.
pub fn drive(run: &mut Run, hands: &Hands, goal: Way) -> Result<Verdict, ApplyError> {
    loop {
        if let Some(signal) = (hands.stop)() {
            return Err(ApplyError::Interrupted(signal));
        }
        let step = journal::next(&run.plan, run.records(), pending_content(run, hands)?, goal);
        if goal == Way::Forward && is_late(hands, &step) {
            return Err(ApplyError::Late);
        }
        match step {
            Move::Blocked(id) => return Err(ApplyError::Blocked(place_of(run, &id))),
            Move::Commit(id, Way::Forward) => {
                if !has_replaced(run) {
                    refuse_changed(run, hands)?;
                }
                forward(run, hands, &id)?;
            },
            Move::Commit(id, Way::Back) => back(run, hands, &id)?,
            Move::Converge(id, way) => process::converge(run, hands, &id, way)?,
            Move::Hold(id, way) => process::hold(run, hands, &id, way)?,
            Move::Finish(verdict) => {
                if verdict == Verdict::RolledBack {
                    put_directories_back(run, hands)?;
                }
                run.append(Body::End(verdict))?;
                return Ok(verdict);
            },
            Move::Settle(id, way, happened) => settle(run, hands, &id, way, happened)?,
            Move::Stage => {
                stage::stage(run, hands)?;
                fail::point("outcome", "stage", Way::Forward)?;
            },
        }
    }
}

/// Whether a replacement was begun.
pub fn has_replaced(run: &Run) -> bool {
    let mut commits = run.plan.phases.commit.iter();
    commits.any(|commit| journal::before(run.records(), &commit.id).is_some())
}

/// Whoever writes the same files stands still by now: what it wrote since the plan was made is found before anything is
/// replaced, not half-way.
fn refuse_changed(run: &Run, hands: &Hands) -> Result<(), ApplyError> {
    for commit in &run.plan.phases.commit {
        let seen = hands.disk.read(&commit.at)?.map(|(version, _)| version);
        if Content::of(&seen) != Content::of(&commit.expect) {
            return Err(ApplyError::Blocked(commit.at.clone()));
        }
    }
    Ok(())
}

/// Nothing new is begun after the deadline; what only has to be written down is.
fn is_late(hands: &Hands, step: &Move) -> bool {
    let begins = matches!(step, Move::Commit(..) | Move::Hold(..) | Move::Stage);
    begins
        && hands
            .deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
}

/// Places whose content is neither what the run found nor what it put there: undoing would overwrite somebody's change.
pub fn foreign_changes(run: &Run, disk: &Disk) -> Result<Vec<Place>, StoreError> {
    let mut foreign = Vec::new();
    let records = run.records();
    let Some(staged) = journal::staged(records) else {
        return Ok(foreign);
    };
    let open = journal::pending(records).map(|(step, _)| step);
    for commit in &run.plan.phases.commit {
        let is_open = open == Some(&commit.id);
        if !is_open && !journal::is_placed(records, &commit.id) {
            continue;
        }
        let seen = Content::of(&disk.read(&commit.at)?.map(|(version, _)| version));
        let ours = staged
            .get(&commit.id)
            .map(|d| d.map_or(Content::Absent, Content::Digest));
        // A step that was interrupted, forward or back, left either state; which one is settled by the journal's loop.
        let old = journal::before(records, &commit.id)
            .map(Content::of)
            .filter(|_| is_open);
        if ours != Some(seen) && old != Some(seen) {
            foreign.push(commit.at.clone());
        }
    }
    Ok(foreign)
}

/// The first undo content that is missing or damaged, by its name in the run directory: without it nothing is put back.
pub fn lost_undo(run: &Run) -> Result<Option<String>, RunError> {
    let open = journal::pending(run.records()).map(|(step, _)| step);
    for commit in &run.plan.phases.commit {
        let is_touched = open == Some(&commit.id) || journal::is_placed(run.records(), &commit.id);
        let Some(Observed::Present(before)) = journal::before(run.records(), &commit.id) else {
            continue;
        };
        if !is_touched || before.link.is_some() || before.directory {
            continue;
        }
        let name = format!("undo/{}", commit.id);
        let kept = run.dir.read(&name)?.map(|bytes| Blob::File(bytes).digest());
        if kept != Some(before.sha256) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

fn pending_content(run: &Run, hands: &Hands) -> Result<Option<Content>, ApplyError> {
    let Some((id, _)) = journal::pending(run.records()) else {
        return Ok(None);
    };
    let Some(commit) = run.plan.commit(id) else {
        return Ok(Some(Content::Unknown));
    };
    Ok(Some(Content::of(
        &hands.disk.read(&commit.at)?.map(|(version, _)| version),
    )))
}

/// An interrupted step left its place in one of two states; write down which, and clear what lies beside it.
fn settle(
    run: &mut Run,
    hands: &Hands,
    id: &str,
    way: Way,
    happened: bool,
) -> Result<(), ApplyError> {
    let commit = commit_of(run, id)?;
    hands.disk.remove_temp(&commit.at, &temp_name(run, id))?;
    let seen = hands.disk.read(&commit.at)?.map(|(version, _)| version);
    let why = "was interrupted before it changed anything".to_owned();
    let result = if happened {
        Ok(Evidence::Placed(seen))
    } else {
        Err(why)
    };
    Ok(run.append(Body::Outcome {
        step: id.to_owned(),
        way,
        result,
    })?)
}

fn forward(run: &mut Run, hands: &Hands, id: &str) -> Result<(), ApplyError> {
    let commit = commit_of(run, id)?;
    let before = hands.disk.read(&commit.at)?.map(|(version, _)| version);
    if Content::of(&before) != Content::of(&commit.expect) && !was_undone(run, id, &before) {
        return Err(ApplyError::Blocked(commit.at));
    }
    make_parents(run, hands, &commit)?;
    let new = new_content(run, &commit)?;
    let (meta, times) = meta(&commit, &before);
    replace(
        run,
        hands,
        &commit,
        Way::Forward,
        &before,
        new.as_ref(),
        &meta,
        times,
    )
}

/// Makes the directories that the run's beginning says are missing above this place.
fn make_parents(run: &Run, hands: &Hands, commit: &Commit) -> Result<(), ApplyError> {
    let parent = commit
        .at
        .path()
        .parent()
        .map(|parent| parent.display().to_string());
    let made = journal::begin(run.records()).map_or(&[][..], |begin| &begin.made);
    if let Some(parent) = parent.filter(|parent| made.contains(parent)) {
        // Those above it were made by an earlier step, or get the same bits.
        let bits = run.plan.directories.get(&parent).copied().unwrap_or(0o755);
        hands.disk.make_directory(parent.as_ref(), bits)?;
    }
    Ok(())
}

/// After a rollback the place holds what it held before, which a later run may plan from again.
fn was_undone(run: &Run, id: &str, seen: &Observed<Version>) -> bool {
    journal::before(run.records(), id).is_some_and(|b| Content::of(b) == Content::of(seen))
}

fn back(run: &mut Run, hands: &Hands, id: &str) -> Result<(), ApplyError> {
    let commit = commit_of(run, id)?;
    let now = hands.disk.read(&commit.at)?.map(|(version, _)| version);
    let ours = journal::staged(run.records()).and_then(|contents| contents.get(id).copied());
    if ours.map(|d| d.map_or(Content::Absent, Content::Digest)) != Some(Content::of(&now)) {
        return Err(ApplyError::Blocked(commit.at));
    }
    let lost = || ApplyError::Missing(format!("undo/{id}"));
    let before = journal::before(run.records(), id).ok_or_else(lost)?.clone();
    let old = match &before {
        Observed::Present(Version {
            link: Some(target), ..
        }) => Some(Blob::Link(target.clone())),
        Observed::Present(Version {
            directory: true, ..
        }) => Some(Blob::EmptyDirectory),
        Observed::Present(version) => {
            let bytes = run
                .dir
                .read(&format!("undo/{id}"))
                .map_err(RunError::from)?;
            let blob = Blob::File(bytes.ok_or_else(lost)?);
            if blob.digest() != version.sha256 {
                return Err(lost());
            }
            Some(blob)
        },
        Observed::Absent => None,
        Observed::Unknown(_) => return Err(lost()),
    };
    let meta = before
        .present()
        .map_or_else(nobody, |version| version.meta.clone());
    replace(
        run,
        hands,
        &commit,
        Way::Back,
        &now,
        old.as_ref(),
        &meta,
        Times::Restore,
    )
}

/// Intent, act, outcome. An act that failed is looked at before its outcome is written.
#[expect(
    clippy::too_many_arguments,
    reason = "each is a different part of one replacement"
)]
fn replace(
    run: &mut Run,
    hands: &Hands,
    commit: &Commit,
    way: Way,
    before: &Observed<Version>,
    new: Option<&Blob>,
    meta: &Meta,
    times: Times,
) -> Result<(), ApplyError> {
    let (step, temp) = (commit.id.clone(), temp_name(run, &commit.id));
    run.append(Body::Intent {
        step: step.clone(),
        way,
        before: before.clone(),
        temp: temp.clone(),
    })?;
    fail::point("intent", &step, way)?;
    match hands.disk.swap(&commit.at, before, new, meta, times, &temp) {
        Ok(after) => {
            fail::point("act", &step, way)?;
            let result = Ok(Evidence::Placed(after));
            run.append(Body::Outcome {
                step: step.clone(),
                way,
                result,
            })?;
            fail::point("outcome", &step, way)?;
            (hands.tell)(Event::Placed {
                at: commit.at.clone(),
                way,
            });
            Ok(())
        },
        Err(error) => {
            let seen = pending_content(run, hands)?;
            if let Move::Settle(_, _, false) = journal::next(&run.plan, run.records(), seen, way) {
                let result = Err(error.to_string());
                run.append(Body::Outcome { step, way, result })?;
            }
            Err(error.into())
        },
    }
}

/// Times of directories come last: every change inside them touches them.
fn put_directories_back(run: &Run, hands: &Hands) -> Result<(), ApplyError> {
    let Some(begin) = journal::begin(run.records()) else {
        return Ok(());
    };
    for made in begin.made.iter().rev() {
        match hands.disk.remove_directory(made.as_ref()) {
            // Somebody else put something there meanwhile: it is theirs now.
            Err(StoreError::Remove { source, .. })
                if source.kind() == std::io::ErrorKind::DirectoryNotEmpty => {},
            other => other?,
        }
    }
    for (directory, (atime, mtime)) in &begin.directories {
        hands
            .disk
            .set_directory_times(directory.as_ref(), *atime, *mtime)?;
    }
    Ok(())
}

fn new_content(run: &Run, commit: &Commit) -> Result<Option<Blob>, ApplyError> {
    let lost = || ApplyError::Missing(format!("staged/{}", commit.id));
    let digest = journal::staged(run.records()).and_then(|contents| contents.get(&commit.id));
    let Some(digest) = digest.ok_or_else(lost)? else {
        return Ok(None);
    };
    let link = commit.parts.iter().find_map(|(_, source)| match source {
        Source::Link(target) => Some(Blob::Link(target.clone())),
        _ => None,
    });
    let blob = if let Some(link) = link {
        link
    } else {
        let bytes = run
            .dir
            .read(&format!("staged/{}", commit.id))
            .map_err(RunError::from)?;
        Blob::File(bytes.ok_or_else(lost)?)
    };
    if blob.digest() == *digest {
        Ok(Some(blob))
    } else {
        Err(lost())
    }
}

fn meta(commit: &Commit, before: &Observed<Version>) -> (Meta, Times) {
    match (&commit.meta, before.present()) {
        (MetaPlan::Restore(meta), _) => (meta.clone(), Times::Restore),
        (MetaPlan::Keep, Some(version)) => (version.meta.clone(), Times::Now),
        (MetaPlan::Create { mode, owner }, _) => {
            let (uid, gid) = owner.unwrap_or_else(process_owner);
            (
                Meta {
                    mode: *mode,
                    uid,
                    gid,
                    ..nobody()
                },
                Times::Now,
            )
        },
        (MetaPlan::Keep, None) => (nobody(), Times::Now),
    }
}

fn nobody() -> Meta {
    let (uid, gid) = process_owner();
    let epoch = crate::place::FileTime {
        seconds: 0,
        nanos: 0,
    };
    Meta {
        mode: 0o600,
        uid,
        gid,
        label: None,
        atime: epoch,
        mtime: epoch,
    }
}

fn process_owner() -> (u32, u32) {
    use rustix::process::{getegid, geteuid};
    (geteuid().as_raw(), getegid().as_raw())
}

fn commit_of(run: &Run, id: &str) -> Result<Commit, ApplyError> {
    run.plan
        .commit(id)
        .cloned()
        .ok_or_else(|| ApplyError::Missing(format!("step {id}")))
}

fn place_of(run: &Run, id: &str) -> Place {
    run.plan
        .commit(id)
        .map_or_else(|| Place::File(id.into()), |commit| commit.at.clone())
}

/// Hidden, so that a kubelet that watches the directory ignores it; named, so that a crash's leftover is found.
fn temp_name(run: &Run, id: &str) -> String {
    let name = journal::begin(run.records()).map_or("run", |begin| begin.run.as_str());
    format!(".rescue-kit-{name}-{id}")
}
