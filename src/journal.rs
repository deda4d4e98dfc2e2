//! Journal: what was intended, done, failed, undone.
//!
//! One JSON object a line, each naming the digest of the line before. An intent is on disk before the act, an outcome
//! after it. Run, resume and rollback are the same loop over [`next`], which is a pure function.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::grant::{Grant, Standing};
use crate::live::Check;
use crate::pki::cert::Cert;
use crate::pki::digest::Digest;
use crate::pki::key::KeyAlgorithm;
use crate::pki::utc::Utc;
use crate::place::{FileTime, Observed, Version};
use crate::plan::Plan;
pub use crate::plan::step::Way;
use crate::plan::step::{Act, StepId};

/// The version of the journal format that this build writes and reads.
pub const FORMAT: u16 = 1;

/// One line of a journal.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Record {
    /// The format's version; [`FORMAT`].
    pub format: u16,
    /// The number of the line, from 0.
    pub seq: u64,
    /// The digest of the line before, without its line end; of nothing for the first.
    pub prev: Digest,
    /// When, by the clock that the run was judged by.
    pub at: Utc,
    /// Milliseconds since the process began, by a clock that nobody sets.
    pub elapsed_ms: u64,
    /// What.
    pub body: Body,
}

/// What a line says.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// A run begins.
    Begin(Box<Begin>),
    /// A backup was written, read back and compared.
    Backup {
        /// The archive's name in the run directory, or its path elsewhere.
        path: String,
        /// The archive's digest.
        sha256: Digest,
        /// How many files it holds.
        files: usize,
    },
    /// A process takes up the run again.
    Resume {
        /// Where it goes.
        goal: Way,
        /// Who took it up, if a person did; otherwise it is the run's own doing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        operator: Option<String>,
    },
    /// A step is about to be done or undone.
    Intent {
        /// The step.
        step: StepId,
        /// Done or undone.
        way: Way,
        /// What is in its place now; for a stage step nothing.
        before: Observed<Version>,
        /// The name that the new content has before it is complete.
        temp: String,
    },
    /// A step was done or undone, or was not.
    Outcome {
        /// The step.
        step: StepId,
        /// Done or undone.
        way: Way,
        /// What is there now, or why it failed.
        result: Result<Evidence, String>,
    },
    /// Everything is issued and checked; the new content of each commit step has this digest, absent if it has none.
    Staged {
        /// By step.
        contents: BTreeMap<StepId, Option<Digest>>,
    },
    /// Access is about to be given: everything that has to be taken back, named before it is made.
    Granting {
        /// What is given.
        grant: Box<Grant>,
        /// The certificates that are issued for it, those included that only make its objects and are never written.
        issued: Vec<Issued>,
    },
    /// The access works.
    Granted {
        /// Who the API server saw; nobody if it was not asked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seen: Option<String>,
        /// When it ends by itself; none if it does not.
        not_after: Option<Utc>,
        /// The serial number of the certificate, hexadecimal, or the name of the token; empty if it has none.
        serial: String,
    },
    /// The access was taken back.
    Revoked {
        /// The paths of what was there and is gone.
        removed: Vec<String>,
        /// What was seen of it afterwards, each a sentence fragment.
        seen: Vec<String>,
        /// The certificates that were issued to take it back, never written.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        issued: Vec<Issued>,
    },
    /// A copy of an administrator's kubeconfig got the credential of the original.
    Refreshed {
        /// The copy.
        path: PathBuf,
        /// Where the old one is kept.
        kept: PathBuf,
        /// The serial number of the certificate that it holds now, hexadecimal.
        serial: String,
        /// The end of that certificate.
        not_after: Utc,
    },
    /// How available the API server was.
    Meter(Meter),
    /// The run is over, for now: a rollback may follow a success.
    End(Verdict),
}

/// Who began a run, and under which circumstances.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Begin {
    /// The run's name: UTC and a random part.
    pub run: String,
    /// The digest of the plan's bytes.
    pub plan: Digest,
    /// The tool's version.
    pub version: String,
    /// The digest of the running binary, if it could be read.
    pub binary: Option<Digest>,
    /// Who, as they said or as the system knows them.
    pub operator: String,
    /// The ticket, if one was named.
    pub ticket: Option<String>,
    /// The reason, if one was given.
    pub reason: Option<String>,
    /// The command line, without values that could be secret.
    pub command: Vec<String>,
    /// Access and change times of the directories that the run changes, by path: what an exact undo puts back last.
    pub directories: BTreeMap<String, (FileTime, FileTime)>,
    /// Directories that the run makes, outermost first.
    pub made: Vec<String>,
    /// How the node was before: an undo must not leave it worse.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub baseline: Vec<Check>,
}

/// What a step left behind.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// A process: what was done to it and seen of it.
    Converged(Box<Converged>),
    /// A certificate.
    Issued(Box<Issued>),
    /// What is in the place now.
    Placed(Observed<Version>),
}

/// What was done to a process and seen of it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Converged {
    /// The name of its identity before, if it ran.
    pub before: Option<String>,
    /// The name of its identity after, if it runs.
    pub after: Option<String>,
    /// What was seen at each gate, each a sentence fragment.
    pub seen: Vec<String>,
    /// The cluster has no quorum, so that nothing beyond this node could be proved.
    #[serde(default, skip_serializing_if = "is_false")]
    pub local: bool,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// How long the API server did not answer a client certificate while a run worked.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Meter {
    /// How many requests were made.
    pub requests: u64,
    /// How many of them failed.
    pub failed: u64,
    /// Milliseconds without an answer, in all.
    pub down_ms: u64,
    /// How long the slowest answer took, in milliseconds.
    #[serde(default)]
    pub slowest_ms: u64,
    /// The milliseconds at which an outage began and ended; an end is missing if it went on.
    pub outages: Vec<(u64, Option<u64>)>,
}

impl Meter {
    /// Seconds without an answer, in all.
    pub fn down_seconds(&self) -> f64 {
        // Exact for every outage of less than three hundred thousand years.
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of a run are few")]
        let seconds = self.down_ms as f64 / 1000.0;
        seconds
    }
}

/// The facts of an issued certificate. Nothing of its private key.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Issued {
    /// The credential's id.
    pub credential: String,
    /// The subject, for people.
    pub subject: String,
    /// The issuer, for people.
    pub issuer: String,
    /// The serial number, hexadecimal.
    pub serial: String,
    /// First second of validity.
    pub not_before: Utc,
    /// Last second of validity.
    pub not_after: Utc,
    /// The key's algorithm.
    pub key: KeyAlgorithm,
    /// The digest of the public key's bits.
    pub public: Digest,
    /// The digest of the certificate.
    pub sha256: Digest,
    /// Whether a certificate was there before.
    pub replaces: Option<Digest>,
}

impl Issued {
    /// The facts of a certificate that took the place of another, or of none.
    pub fn of(credential: &str, cert: &Cert, replaces: Option<Digest>) -> Self {
        Self {
            credential: credential.to_owned(),
            subject: cert.subject.to_string(),
            issuer: cert.issuer.to_string(),
            serial: cert.serial_hex(),
            not_before: cert.not_before,
            not_after: cert.not_after,
            key: cert.key.clone(),
            public: Digest::of(cert.public_bits()),
            sha256: cert.sha256(),
            replaces,
        }
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every step is done.
    Done,
    /// Every step is undone.
    RolledBack,
}

/// What to do next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Move {
    /// The place of this step holds what neither we nor the plan put there: a person must look.
    Blocked(StepId),
    /// Do or undo this commit step.
    Commit(StepId, Way),
    /// Do this converge step, or make its consumer use the old files again.
    Converge(StepId, Way),
    /// Stop this unit for a while, or start it again.
    Hold(StepId, Way),
    /// Nothing is left to do.
    Finish(Verdict),
    /// The step was interrupted, and what is there says that it did (`true`) or did not (`false`) happen.
    Settle(StepId, Way, bool),
    /// Issue everything.
    Stage,
}

/// What a place holds, as far as a step is concerned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Content {
    /// Nothing.
    Absent,
    /// Something with this digest.
    Digest(Digest),
    /// It cannot be seen.
    Unknown,
}

impl Content {
    /// The content of what was seen.
    pub fn of(seen: &Observed<Version>) -> Self {
        match seen {
            Observed::Absent => Self::Absent,
            Observed::Present(version) => Self::Digest(version.sha256),
            Observed::Unknown(_) => Self::Unknown,
        }
    }
}

/// The commit step that was begun and not ended, whose place must be looked at before [`next`].
pub fn pending(log: &[Record]) -> Option<(&StepId, Way)> {
    let mut pending = None;
    for record in log {
        match &record.body {
            Body::Intent { step, way, .. } if is_commit(step) => pending = Some((step, *way)),
            Body::Outcome { step, .. } if is_commit(step) => pending = None,
            _ => {},
        }
    }
    pending
}

/// Decides the next move. `seen` is what the place of the [`pending`] step holds now, if one is pending.
pub fn next(plan: &Plan, log: &[Record], seen: Option<Content>, goal: Way) -> Move {
    if let Some((step, way)) = pending(log) {
        let (Some(before), Some(after)) = (content_before(log, step), content_after(log, step))
        else {
            return Move::Blocked(step.clone());
        };
        let (from, to) = if way == Way::Forward {
            (before, after)
        } else {
            (after, before)
        };
        return match seen {
            Some(content) if content == to => Move::Settle(step.clone(), way, true),
            Some(content) if content == from => Move::Settle(step.clone(), way, false),
            _ => Move::Blocked(step.clone()),
        };
    }
    match goal {
        Way::Forward => forward(plan, log),
        Way::Back => back(plan, log),
    }
}

/// Issue, hold, replace, converge.
fn forward(plan: &Plan, log: &[Record]) -> Move {
    let phases = &plan.phases;
    if staged(log).is_none() && !phases.commit.is_empty() {
        return Move::Stage;
    }
    let to_replace = phases.commit.iter().find(|step| !is_placed(log, &step.id));
    // What was started again by a later step is not stopped a second time for nothing.
    let begun = phases.converge.iter().any(|step| is_placed(log, &step.id));
    let mut holds = phases.hold.iter();
    if (to_replace.is_some() || !begun)
        && let Some(hold) = holds.find(|step| !is_placed(log, &step.id))
    {
        return Move::Hold(hold.id.clone(), Way::Forward);
    }
    if let Some(commit) = to_replace {
        return Move::Commit(commit.id.clone(), Way::Forward);
    }
    phases
        .converge
        .iter()
        .find(|step| !is_placed(log, &step.id))
        .map_or(Move::Finish(Verdict::Done), |step| {
            Move::Converge(step.id.clone(), Way::Forward)
        })
}

/// Put files back while whoever writes them stands still, then let what was restarted use them again.
fn back(plan: &Plan, log: &[Record]) -> Move {
    let phases = &plan.phases;
    let mut placed = phases.commit.iter().rev();
    if let Some(commit) = placed.find(|step| is_placed(log, &step.id)) {
        let unheld = phases
            .hold
            .iter()
            .find(|step| !is_held(plan, log, &step.id));
        if let Some(hold) = unheld {
            return Move::Hold(hold.id.clone(), Way::Forward);
        }
        return Move::Commit(commit.id.clone(), Way::Back);
    }
    let touched = phases.converge.iter().filter(|step| is_act(&step.act));
    if let Some(step) = touched.into_iter().find(|step| is_begun(log, &step.id)) {
        return Move::Converge(step.id.clone(), Way::Back);
    }
    if let Some(hold) = phases.hold.iter().find(|step| is_begun(log, &step.id)) {
        return Move::Hold(hold.id.clone(), Way::Back);
    }
    // The API, which must work for that, comes last.
    let mut published = phases
        .converge
        .iter()
        .filter(|step| changes_trust(&step.act));
    published
        .find(|step| is_begun(log, &step.id))
        .map_or(Move::Finish(Verdict::RolledBack), |step| {
            Move::Converge(step.id.clone(), Way::Back)
        })
}

/// Whether a step makes others trust, or no longer trust, another key.
fn changes_trust(act: &Act) -> bool {
    matches!(act, Act::Publish { former, coming } if !(former.is_empty() && coming.is_empty()))
}

/// Whether a step does something to a process, so that going back has something to do, too.
fn is_act(act: &Act) -> bool {
    match act {
        Act::Restart | Act::SetAside | Act::Stop => true,
        // Its fallback is a restart.
        Act::Prove(proof) => proof.reload.is_some(),
        Act::Nodes(_) | Act::Publish { .. } | Act::PutBack | Act::Settle | Act::Start => false,
    }
}

/// Whether a unit stands still: stopped by its step and started by no later one.
pub fn is_held(plan: &Plan, log: &[Record], id: &str) -> bool {
    let Some(step) = plan.hold(id) else {
        return false;
    };
    let who = &step.who;
    let starts = |step: &str| {
        plan.converge(step)
            .is_some_and(|step| step.who == *who && matches!(step.act, Act::Start))
    };
    let mut held = false;
    for record in log {
        match &record.body {
            Body::Outcome {
                step,
                way,
                result: Ok(_),
            } if step == id => held = *way == Way::Forward,
            // Also a start that failed, or of which the end is not known.
            Body::Intent { step, .. } if starts(step) => held = false,
            _ => {},
        }
    }
    held
}

/// Whether a step was begun, done or not, and not undone since.
fn is_begun(log: &[Record], id: &str) -> bool {
    let mut begun = false;
    for record in log {
        match &record.body {
            Body::Intent {
                step,
                way: Way::Forward,
                ..
            } if step == id => begun = true,
            Body::Outcome {
                step,
                way: Way::Back,
                result: Ok(_),
            } if step == id => begun = false,
            _ => {},
        }
    }
    begun
}

/// Whether a step is done and not undone.
pub fn is_placed(log: &[Record], id: &str) -> bool {
    let mut placed = false;
    for record in log {
        if let Body::Outcome {
            step,
            way,
            result: Ok(_),
        } = &record.body
            && step == id
        {
            placed = *way == Way::Forward;
        }
    }
    placed
}

/// The digests of what the commit steps put in place, once everything is staged.
pub fn staged(log: &[Record]) -> Option<&BTreeMap<StepId, Option<Digest>>> {
    log.iter().rev().find_map(|record| match &record.body {
        Body::Staged { contents } => Some(contents),
        _ => None,
    })
}

/// What was in a step's place before the run first touched it.
pub fn before<'a>(log: &'a [Record], id: &str) -> Option<&'a Observed<Version>> {
    log.iter().find_map(|record| match &record.body {
        Body::Intent {
            step,
            way: Way::Forward,
            before,
            ..
        } if step == id => Some(before),
        _ => None,
    })
}

/// Who began the run.
pub fn begin(log: &[Record]) -> Option<&Begin> {
    log.iter().find_map(|record| match &record.body {
        Body::Begin(begin) => Some(&**begin),
        _ => None,
    })
}

/// How the run ended, if nothing came after its end.
pub fn verdict(log: &[Record]) -> Option<Verdict> {
    let mut bodies = log.iter().rev().map(|record| &record.body);
    match bodies.find(|body| !matches!(body, Body::Meter(_)))? {
        Body::End(verdict) => Some(*verdict),
        _ => None,
    }
}

/// The last failure that the journal tells of.
pub fn failure(log: &[Record]) -> Option<(&StepId, &str)> {
    log.iter().rev().find_map(|record| match &record.body {
        Body::Outcome {
            step,
            result: Err(why),
            ..
        } => Some((step, why.as_str())),
        _ => None,
    })
}

/// What the processes showed, by step, in order; a step that was done again shows the last.
pub fn converged(log: &[Record]) -> Vec<(&StepId, &Converged)> {
    let mut all: Vec<(&StepId, &Converged)> = Vec::new();
    for record in log {
        if let Body::Outcome {
            step,
            way: Way::Forward,
            result: Ok(Evidence::Converged(seen)),
        } = &record.body
        {
            all.retain(|(known, _)| *known != step);
            all.push((step, seen));
        }
    }
    all
}

/// Whether the first process was touched: before that, a failure always goes back.
pub fn has_restarted(plan: &Plan, log: &[Record]) -> bool {
    let mut acts = plan
        .phases
        .converge
        .iter()
        .filter(|step| !matches!(step.act, Act::Publish { .. } | Act::Settle));
    acts.any(|step| is_begun(log, &step.id))
}

/// How available the API server was.
pub fn meter(log: &[Record]) -> Option<&Meter> {
    log.iter().rev().find_map(|record| match &record.body {
        Body::Meter(meter) => Some(meter),
        _ => None,
    })
}

/// What the run issued, in order.
pub fn issued(log: &[Record]) -> impl Iterator<Item = &Issued> {
    log.iter().flat_map(|record| match &record.body {
        Body::Outcome {
            result: Ok(Evidence::Issued(issued)),
            ..
        } => std::slice::from_ref(&**issued),
        Body::Granting { issued, .. } | Body::Revoked { issued, .. } => issued,
        _ => &[],
    })
}

/// The access that the run gave, as it was found to be.
pub fn grant(log: &[Record]) -> Option<Grant> {
    let mut given: Option<Grant> = None;
    for record in log {
        match &record.body {
            Body::Granting { grant, .. } => given = Some((**grant).clone()),
            Body::Granted { not_after, .. } => {
                if let Some(grant) = &mut given {
                    grant.not_after = *not_after;
                }
            },
            _ => {},
        }
    }
    given
}

/// The access that the run gave and that was not taken back.
pub fn standing(log: &[Record]) -> Option<Standing> {
    let any = |wanted: fn(&Body) -> bool| log.iter().any(|record| wanted(&record.body));
    if any(|body| matches!(body, Body::Revoked { .. })) {
        return None;
    }
    Some(Standing {
        run: begin(log)?.run.clone(),
        grant: grant(log)?,
        tried: any(|body| matches!(body, Body::Granted { .. })),
    })
}

/// Reads the lines of a journal and checks that each names the one before.
///
/// # Errors
///
/// A sentence fragment that names the first line that is damaged.
pub fn read(lines: &[String]) -> Result<Vec<Record>, String> {
    let mut records: Vec<Record> = Vec::with_capacity(lines.len());
    let mut prev = Digest::of(b"");
    for (index, line) in lines.iter().enumerate() {
        let number = index + 1;
        let record: Record = serde_json::from_str(line)
            .map_err(|error| format!("line {number} is damaged: {error}"))?;
        if record.format != FORMAT {
            return Err(format!("line {number} has format {}", record.format));
        }
        if record.prev != prev || record.seq != index as u64 {
            return Err(format!("line {number} does not follow the line before"));
        }
        prev = Digest::of(line.as_bytes());
        records.push(record);
    }
    Ok(records)
}

/// Stage steps are called `s…`, holds `h…`, converge steps `r…`, commit steps `c…`; only the last change a place.
fn is_commit(step: &str) -> bool {
    step.starts_with('c')
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde asks for"
)]
fn is_false(flag: &bool) -> bool {
    !*flag
}

fn content_before(log: &[Record], step: &str) -> Option<Content> {
    before(log, step).map(Content::of)
}

fn content_after(log: &[Record], step: &str) -> Option<Content> {
    let digest = staged(log)?.get(step)?;
    Some(digest.map_or(Content::Absent, Content::Digest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Fact;
    use crate::inventory::Node;
    use crate::place::Place;
    use crate::plan::step::{Commit, MetaPlan, Phases, Slot, Source};
    use crate::plan::{self, Purpose};

    fn plan() -> Plan {
        let commit = |id: &str| Commit {
            id: id.to_owned(),
            credential: "apiserver".to_owned(),
            at: Place::File(format!("/{id}").into()),
            expect: Observed::Absent,
            parts: vec![(Slot::Whole, Source::Nothing)],
            meta: MetaPlan::Keep,
            why: "test".to_owned(),
        };
        Plan {
            format: plan::FORMAT,
            purpose: Purpose::Rescue,
            profile: "kubeadm".to_owned(),
            node: Node {
                name: Some(Fact {
                    value: "cp1".to_owned(),
                    why: "test".to_owned(),
                }),
                id: Digest::of(b"node"),
            },
            inventory: Digest::of(b"inventory"),
            at: Utc::from_unix(0),
            phases: Phases {
                commit: vec![commit("c01"), commit("c02")],
                ..Phases::default()
            },
            directories: BTreeMap::new(),
            remaining: Vec::new(),
            downtime_seconds: 0,
        }
    }

    fn log(bodies: Vec<Body>) -> Vec<Record> {
        let staged = Body::Staged {
            contents: [("c01", b"new1"), ("c02", b"new2")]
                .map(|(id, new)| (id.to_owned(), Some(Digest::of(new))))
                .into(),
        };
        let at = Utc::from_unix(0);
        std::iter::once(staged)
            .chain(bodies)
            .enumerate()
            .map(|(seq, body)| Record {
                format: FORMAT,
                seq: seq as u64,
                prev: Digest::of(b""),
                at,
                elapsed_ms: 0,
                body,
            })
            .collect()
    }

    fn intent(step: &str, way: Way) -> Body {
        let (step, temp) = (step.to_owned(), String::new());
        Body::Intent {
            step,
            way,
            before: Observed::Absent,
            temp,
        }
    }

    fn done(step: &str, way: Way) -> Body {
        let result = Ok(Evidence::Placed(Observed::Absent));
        Body::Outcome {
            step: step.to_owned(),
            way,
            result,
        }
    }

    #[test]
    fn goes_forward_in_order_and_back_in_reverse() {
        let forward = [intent("c01", Way::Forward), done("c01", Way::Forward)];
        let log1 = log(forward.to_vec());
        let c02 = "c02".to_owned();
        assert_eq!(
            next(&plan(), &log1, None, Way::Forward),
            Move::Commit(c02, Way::Forward)
        );
        let c01 = "c01".to_owned();
        assert_eq!(
            next(&plan(), &log1, None, Way::Back),
            Move::Commit(c01, Way::Back)
        );
        let back = [
            forward.to_vec(),
            vec![intent("c01", Way::Back), done("c01", Way::Back)],
        ];
        let log2 = log(back.concat());
        assert_eq!(
            next(&plan(), &log2, None, Way::Back),
            Move::Finish(Verdict::RolledBack)
        );
    }

    #[test]
    fn an_interrupted_step_is_settled_by_what_is_there() {
        let log = log(vec![intent("c01", Way::Forward)]);
        let look = |seen| next(&plan(), &log, Some(seen), Way::Forward);
        let id = "c01".to_owned();
        let new = Content::Digest(Digest::of(b"new1"));
        assert_eq!(look(new), Move::Settle(id.clone(), Way::Forward, true));
        assert_eq!(
            look(Content::Absent),
            Move::Settle(id.clone(), Way::Forward, false)
        );
        let foreign = Content::Digest(Digest::of(b"somebody else's"));
        assert_eq!(look(foreign), Move::Blocked(id.clone()));
        assert_eq!(look(Content::Unknown), Move::Blocked(id));
    }

    #[test]
    fn issues_everything_before_the_first_change() {
        assert_eq!(next(&plan(), &[], None, Way::Forward), Move::Stage);
        assert_eq!(
            next(&plan(), &[], None, Way::Back),
            Move::Finish(Verdict::RolledBack)
        );
    }

    #[test]
    fn a_line_that_does_not_follow_is_refused() {
        let records = log(vec![intent("c01", Way::Forward)]);
        let lines: Vec<String> = records
            .iter()
            .map(|r| serde_json::to_string(r).unwrap())
            .collect();
        assert_eq!(
            read(&lines).unwrap_err(),
            "line 2 does not follow the line before"
        );
    }
}
