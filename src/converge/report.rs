//! The last gate of a node without an API server: its kubelet reports.

use std::time::{Duration, Instant};

use crate::clock::{self, wait_for};
use crate::converge::control::millis;
use crate::converge::{Actor, ConvergeError};
use crate::journal::Converged;
use crate::observe::live::cluster;
use crate::observe::live::worker::{self, Unseen};

/// How often is asked.
const LOOK: Duration = Duration::from_millis(500);
/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(2);
/// How long the kubelet has to report: it does so every ten seconds, and may have to register first.
const ALL: Duration = Duration::from_secs(90);
/// How long a control plane that does not answer is asked again: it may be what is broken.
const AWAY: Duration = Duration::from_secs(15);

/// What came of asking.
enum Report {
    /// It renewed its lease.
    Seen,
    /// Nobody could be asked, and why.
    Nobody(String),
    /// Somebody asked to stop.
    Stopped(i32),
}

impl Actor<'_> {
    /// Waits until the kubelet has renewed its lease from now on, as the control plane says; where none answers, that is said.
    pub(super) fn reports(&self) -> Result<Converged, ConvergeError> {
        let (watch, since) = (Instant::now(), clock::now_ns());
        let mut last = String::new();
        let report = wait_for(self.until(ALL), LOOK, || {
            if let Some(signal) = (self.stop)() {
                return Some(Report::Stopped(signal));
            }
            match worker::own_lease(&self.access(), ANSWER) {
                Ok(lease) if cluster::renewed_ns(&lease).is_some_and(|at| at > since) => {
                    return Some(Report::Seen);
                },
                Err(Unseen::Unasked(why)) if watch.elapsed() > AWAY => {
                    return Some(Report::Nobody(why));
                },
                Ok(_) => "its lease is not renewed".clone_into(&mut last),
                Err(Unseen::Gone) => "it has no lease".clone_into(&mut last),
                Err(Unseen::Refused(why) | Unseen::Unasked(why)) => last = why,
            }
            None
        });
        let seen = match report {
            Some(Report::Seen) => "the kubelet renews its lease".to_owned(),
            Some(Report::Nobody(why)) => {
                format!("whether the kubelet reports could not be asked: {why}")
            },
            Some(Report::Stopped(signal)) => return Err(ConvergeError::Interrupted(signal)),
            None => {
                return Err(ConvergeError::Unproved {
                    who: "kubelet".to_owned(),
                    within: u32::try_from(ALL.as_secs()).unwrap_or(u32::MAX),
                    why: last,
                });
            },
        };
        Ok(Converged {
            seen: vec![seen],
            took_ms: millis(watch),
            ..Converged::default()
        })
    }
}
