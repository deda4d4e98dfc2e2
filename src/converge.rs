//! PHASE: converge, making running processes use the new files, and proving that they do.
//! INPUTS: a step of a plan; the node as it is now.
//! OUTPUTS: what was done to each process and seen of it.
//!
//! Nothing here decides what is to be done: the plan does. Every step may be done again after a crash.

mod aside;
mod control;
mod leadership;
mod prove;
mod publish;
mod report;
mod settle;
mod wait;

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use crate::access::Access;
use crate::inventory::Inventory;
use crate::journal::{Converged, Way};
use crate::observe::Depth;
use crate::plan::step::{Act, Converge, Hold};
use crate::profile::{Consumer, Profile, Role};
use crate::store::Disk;

/// How often a condition is looked at.
pub const TICK: Duration = Duration::from_millis(50);
/// How long one answer may take while a process comes back: it is asked again at once.
const ANSWER: Duration = Duration::from_secs(2);

/// Why a process could not be made to use the new files, or could not prove it.
#[derive(Debug, thiserror::Error)]
pub enum ConvergeError {
    /// The time that the operator gave has run out.
    #[error("the deadline has passed before {0}")]
    Deadline(String),
    /// It could not be stopped or started.
    #[error("cannot {what} {who}: {why}")]
    Control {
        /// What was to be done.
        what: &'static str,
        /// The consumer.
        who: String,
        /// Why not.
        why: String,
    },
    /// Somebody asked to stop.
    #[error("stopped by signal {0}")]
    Interrupted(i32),
    /// It did not prove itself in time.
    #[error("{who} did not come back within {within} s: {why}")]
    Unproved {
        /// The consumer.
        who: String,
        /// The time that it had.
        within: u32,
        /// The gate that was last seen closed.
        why: String,
    },
}

/// Whoever does things to processes.
pub struct Actor<'a> {
    /// The files.
    pub disk: &'a Disk,
    /// How each consumer is restarted and proved.
    pub profile: &'a Profile,
    /// Where everything is, and what ran before.
    pub inventory: &'a Inventory,
    /// Set when somebody asked to stop; the signal's number.
    pub stop: &'a dyn Fn() -> Option<i32>,
    /// When everything must have ended.
    pub deadline: Option<Instant>,
    /// The leases of processes that were stopped here: name, and when.
    stopped: RefCell<Vec<(String, i64)>>,
    /// The cluster has no quorum: nothing beyond this node can be proved.
    local: Cell<bool>,
}

impl<'a> Actor<'a> {
    /// Somebody who works on a running node.
    pub fn new(
        disk: &'a Disk,
        profile: &'a Profile,
        inventory: &'a Inventory,
        stop: &'a dyn Fn() -> Option<i32>,
        deadline: Option<Instant>,
    ) -> Self {
        Self {
            disk,
            profile,
            inventory,
            stop,
            deadline,
            stopped: RefCell::default(),
            local: Cell::new(false),
        }
    }

    /// How deep a look proves what was done: no deeper than this node, if the cluster turned out to have no quorum.
    pub fn depth(&self) -> Depth {
        if self.local.get() {
            Depth::Local
        } else {
            Depth::Proof
        }
    }

    /// Stops a unit for a while, or starts it again: if it was failing before, it fails again.
    ///
    /// # Errors
    ///
    /// [`ConvergeError::Control`].
    pub fn hold(&self, hold: &Hold, way: Way) -> Result<Converged, ConvergeError> {
        let consumer = self.consumer(&hold.who)?;
        match way {
            Way::Forward => self.stop(consumer),
            Way::Back => self.start(consumer),
        }
    }

    /// Does a step; backwards, makes its consumer use the files that were put back.
    ///
    /// # Errors
    ///
    /// All of [`ConvergeError`].
    pub fn act(&self, step: &Converge, way: Way, held: bool) -> Result<Converged, ConvergeError> {
        if way == Way::Forward {
            self.in_time(&step.who)?;
        }
        if step.act == Act::Settle {
            return match self.profile.with_role(Role::ApiServer) {
                Some(_) => self.settle(),
                None => self.reports(),
            };
        }
        if let Act::Publish { former, coming } = &step.act {
            return self.publish(match way {
                Way::Forward => former,
                Way::Back => coming,
            });
        }
        if let Act::Nodes(proof) = &step.act {
            return self.nodes(proof);
        }
        let consumer = self.consumer(&step.who)?;
        match (&step.act, way) {
            (Act::SetAside, Way::Forward) => self.set_aside(consumer),
            (Act::SetAside, Way::Back) | (Act::PutBack, _) => self.put_back(consumer),
            (Act::Stop, Way::Forward) => self.stop(consumer),
            // With the kubelet held, what is stopped is started when it is released.
            (Act::Restart | Act::Stop | Act::Prove(_), Way::Back) if held => self.stop(consumer),
            (Act::Restart | Act::Stop | Act::Prove(_), Way::Back)
            | (Act::Restart, Way::Forward) => self.restart(consumer),
            (Act::Start, _) => self.start(consumer),
            (Act::Prove(proof), Way::Forward) => self.prove(consumer, proof),
            (Act::Nodes(_) | Act::Publish { .. } | Act::Settle, _) => Ok(Converged::default()),
        }
    }

    /// The node as it can be asked now, with the files that are there now.
    fn access(&self) -> Access<'a> {
        Access {
            disk: self.disk,
            profile: self.profile,
            inventory: self.inventory,
        }
    }

    fn consumer(&self, id: &str) -> Result<&'a Consumer, ConvergeError> {
        let consumer = self.profile.consumer(id);
        consumer.ok_or_else(|| control("find", id, "the profile does not have it"))
    }

    /// The end of a wait that may last this long, but never past the deadline.
    fn until(&self, wait: Duration) -> Instant {
        let end = Instant::now() + wait;
        self.deadline.map_or(end, |deadline| deadline.min(end))
    }

    fn in_time(&self, who: &str) -> Result<(), ConvergeError> {
        if let Some(signal) = (self.stop)() {
            return Err(ConvergeError::Interrupted(signal));
        }
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => {
                Err(ConvergeError::Deadline(who.to_owned()))
            },
            _ => Ok(()),
        }
    }
}

fn control(what: &'static str, who: &str, why: impl Into<String>) -> ConvergeError {
    ConvergeError::Control {
        what,
        who: who.to_owned(),
        why: why.into(),
    }
}
