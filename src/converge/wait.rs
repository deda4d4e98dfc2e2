//! Waits that end with a good answer, with the time that there is, or with a signal.

use std::time::{Duration, Instant};

use crate::clock::wait_for;
use crate::converge::{Actor, ConvergeError};

/// Why there was no good answer.
pub(super) enum Stopped {
    /// Somebody asked to stop.
    Signal(i32),
    /// The time is over; what the last bad answer said.
    Time(String),
}

impl Stopped {
    /// The error of somebody who had that long to prove itself.
    pub(super) fn of(self, who: &str, within: u32) -> ConvergeError {
        match self {
            Self::Signal(signal) => ConvergeError::Interrupted(signal),
            Self::Time(why) => ConvergeError::Unproved {
                who: who.to_owned(),
                within,
                why,
            },
        }
    }
}

impl Actor<'_> {
    /// Asks until there is a good answer; the last bad one says why there was none. It is asked at least once, unless
    /// somebody has asked to stop.
    pub(super) fn wait<T>(
        &self,
        by: Instant,
        every: Duration,
        mut question: impl FnMut() -> Result<T, String>,
    ) -> Result<T, Stopped> {
        let mut last = String::new();
        let answer = wait_for(by, every, || {
            if let Some(signal) = (self.stop)() {
                return Some(Err(Stopped::Signal(signal)));
            }
            question().map(Ok).map_err(|why| last = why).ok()
        });
        answer.unwrap_or(Err(Stopped::Time(last)))
    }
}
