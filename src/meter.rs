//! PHASE: meter, measuring how available the API server is while a run works.
//! INPUTS: the node's own API server, an administrator's credential as its file holds it at each moment.
//! OUTPUTS: when it did not answer, and how slow it was when it did.
//!
//! Each request is made on a new connection with a client certificate and reads from etcd: an anonymous `/readyz` answers
//! while every client is locked out.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use crate::access::Access;
use crate::clock::Stopwatch;
use crate::journal::Meter;

/// Time between two requests.
const EVERY: Duration = Duration::from_millis(100);
/// How long an answer may take before it counts as none: so long waits whoever renews a lease in kube-system (client-go,
/// tools/leaderelection: half of the ten seconds within which it must succeed). A server that is slow is not away.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same while the API server is away, so that its return is seen soon.
const IMPATIENCE: Duration = Duration::from_secs(1);
/// What is asked for: small, always there, and read from etcd.
const PATH: &str = "/api/v1/namespaces/kube-system";

/// A meter that runs.
pub struct Running<'scope> {
    stop: Sender<()>,
    thread: ScopedJoinHandle<'scope, Meter>,
}

/// Starts measuring; the times are those of the run's journal.
pub fn start<'scope>(
    scope: &'scope Scope<'scope, '_>,
    access: Access<'scope>,
    watch: Stopwatch,
) -> Running<'scope> {
    let (stop, stopped) = mpsc::channel::<()>();
    let thread = scope.spawn(move || {
        let mut meter = Meter::default();
        loop {
            let asked = watch.millis();
            let patience = if is_away(&meter) {
                IMPATIENCE
            } else {
                PATIENCE
            };
            let answered = answers(&access, patience);
            note(&mut meter, answered, asked, watch.millis());
            match stopped.recv_timeout(EVERY) {
                Err(RecvTimeoutError::Timeout) => {},
                Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                    return closed(meter, watch.millis());
                },
            }
        }
    });
    Running { stop, thread }
}

impl Running<'_> {
    /// Stops measuring.
    pub fn stop(self) -> Meter {
        drop(self.stop);
        self.thread.join().unwrap_or_default()
    }
}

fn answers(access: &Access, patience: Duration) -> bool {
    let kube = access.kube(patience);
    kube.is_ok_and(|kube| kube.get(PATH).is_ok())
}

fn is_away(meter: &Meter) -> bool {
    matches!(meter.outages.last(), Some((_, None)))
}

/// An outage begins when the first request that fails is made, and ends with the next answer.
fn note(meter: &mut Meter, answered: bool, asked_ms: u64, now_ms: u64) {
    meter.requests += 1;
    meter.failed += u64::from(!answered);
    if answered {
        meter.slowest_ms = meter.slowest_ms.max(now_ms - asked_ms);
    }
    let open = meter.outages.last_mut().filter(|(_, end)| end.is_none());
    match (open, answered) {
        (Some((begun, end)), true) => {
            meter.down_ms += now_ms - *begun;
            *end = Some(now_ms);
        },
        (None, false) => meter.outages.push((asked_ms, None)),
        _ => {},
    }
}

/// What still lasts at the end has lasted until then.
fn closed(mut meter: Meter, now_ms: u64) -> Meter {
    if let Some((begun, None)) = meter.outages.last() {
        meter.down_ms += now_ms - *begun;
    }
    meter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_up_outages() {
        let mut meter = Meter::default();
        for (asked, now, answered) in [
            (0, 20, true),
            (100, 150, false),
            (250, 260, false),
            (290, 300, true),
            (400, 410, false),
        ] {
            note(&mut meter, answered, asked, now);
        }
        assert!(is_away(&meter));
        let meter = closed(meter, 450);
        assert_eq!((meter.requests, meter.failed, meter.down_ms), (5, 3, 250));
        assert_eq!(meter.outages, [(100, Some(300)), (400, None)]);
        assert_eq!(meter.slowest_ms, 20);
    }
}
