//! Stopping and starting: sandboxes through the container runtime, units through systemd, the rest by its command.

use std::time::{Duration, Instant};

use crate::access::with_causes;
use crate::clock;
use crate::command;
use crate::converge::{Actor, ConvergeError, TICK, control};
use crate::cri::{ContainerState, Cri};
use crate::journal::Converged;
use crate::observe::live::processes;
use crate::profile::{Consumer, RestartKind, Role};
use crate::systemd;

/// How long a unit may take to stop or start.
const UNIT: Duration = Duration::from_secs(90);

impl Actor<'_> {
    /// Stops a consumer.
    pub(super) fn stop(&self, consumer: &Consumer) -> Result<Converged, ConvergeError> {
        let watch = Instant::now();
        let mut done = Converged {
            before: self.name_of(consumer),
            ..Converged::default()
        };
        if consumer.role == Some(Role::Etcd) {
            done.seen.extend(self.hand_over());
        }
        match &consumer.restart {
            RestartKind::Cri(name) => {
                // A crash while its manifest was away has left it hidden.
                if self.manifest(consumer).is_ok() {
                    self.put_back(consumer)?;
                }
                let removed = self.remove_pod(consumer, name);
                done.seen
                    .push(removed.or_else(|_| self.cycle_manifest(consumer))?);
            },
            RestartKind::Systemd(unit) => {
                let shown =
                    systemd::show(unit).map_err(|e| control("stop", unit, with_causes(&e)))?;
                systemd::stop(unit, UNIT).map_err(|e| control("stop", unit, with_causes(&e)))?;
                done.seen
                    .push(format!("was {} ({})", shown.active, shown.sub));
            },
            RestartKind::Command(_) => {},
        }
        self.note_lease(consumer);
        // The next holder need not wait for the one that has just gone. If the API server does not answer now, this is
        // done when it does.
        self.lease(consumer).unwrap_or_default();
        done.took_ms = millis(watch);
        Ok(done)
    }

    /// Starts a unit that was stopped or has died; a start limit is lifted first.
    pub(super) fn start(&self, consumer: &Consumer) -> Result<Converged, ConvergeError> {
        let watch = Instant::now();
        let before = self.name_of(consumer);
        self.note_lease(consumer);
        match &consumer.restart {
            RestartKind::Systemd(unit) => {
                let fail = |e: systemd::SystemdError| control("start", unit, with_causes(&e));
                // A unit that systemd has not loaded has nothing to be reset, which it calls a failure.
                systemd::reset_failed(unit).ok();
                let old = systemd::show(unit).map_or(0, |unit| unit.pid);
                systemd::restart(unit).map_err(fail)?;
                hasten(unit, old, consumer);
            },
            RestartKind::Command(argv) => run(argv, consumer)?,
            RestartKind::Cri(_) => {},
        }
        Ok(Converged {
            before,
            after: self.name_of(consumer),
            seen: vec!["was started".to_owned()],
            took_ms: millis(watch),
            ..Converged::default()
        })
    }

    /// Stops and starts a consumer; a static pod is started by the kubelet.
    pub(super) fn restart(&self, consumer: &Consumer) -> Result<Converged, ConvergeError> {
        if matches!(consumer.restart, RestartKind::Cri(_)) {
            return self.stop(consumer);
        }
        self.start(consumer)
    }

    /// The name of a consumer's identity now, if it runs.
    pub(super) fn name_of(&self, consumer: &Consumer) -> Option<String> {
        match &consumer.restart {
            RestartKind::Systemd(unit) => {
                let unit = systemd::show(unit).ok()?;
                Some(processes::identity(&unit)?.name)
            },
            RestartKind::Cri(name) => {
                let all = self.access().runtime().ok()?.containers().ok()?;
                let newest = processes::newest(name, &all)?;
                (newest.state == ContainerState::Running).then(|| newest.id.clone())
            },
            RestartKind::Command(_) => None,
        }
    }

    /// Removes the sandboxes of a static pod, after its containers had their grace. What is left of a pod that exited
    /// goes too: it would make the kubelet wait.
    fn remove_pod(&self, consumer: &Consumer, name: &str) -> Result<String, ConvergeError> {
        let fail = |why: String| control("stop", &consumer.id, why);
        let mut cri = self.access().runtime().map_err(fail)?;
        let remove = |cri: &mut Cri| -> Result<usize, crate::cri::CriError> {
            let prefix = format!("{name}-");
            let sandboxes = cri.sandboxes()?;
            let own = sandboxes
                .iter()
                .filter(|pod| pod.namespace == "kube-system" && pod.name.starts_with(&prefix));
            let own: Vec<&str> = own
                .filter(|pod| {
                    pod.labels
                        .get("component")
                        .is_none_or(|label| label == name)
                })
                .map(|pod| pod.id.as_str())
                .collect();
            if consumer.grace > 0 {
                let containers = cri.containers()?;
                let running = containers.iter().filter(|container| {
                    own.contains(&container.sandbox.as_str())
                        && container.state == ContainerState::Running
                });
                for container in running {
                    cri.stop_container(&container.id, Duration::from_secs(consumer.grace.into()))?;
                }
            }
            for sandbox in &own {
                cri.stop_sandbox(sandbox)?;
                cri.remove_sandbox(sandbox)?;
            }
            Ok(own.len())
        };
        let removed = remove(&mut cri).map_err(|error| fail(with_causes(&error)))?;
        Ok(format!("{removed} sandbox(es) removed"))
    }

    /// Remembers that whoever held this lease here is gone.
    fn note_lease(&self, consumer: &Consumer) {
        if let (Some(lease), Some(Role::Controller)) = (&consumer.lease, consumer.role) {
            let mut stopped = self.stopped.borrow_mut();
            stopped.push((lease.clone(), clock::now_ns()));
        }
    }
}

/// Ends a unit's old process when its grace is over: an API server waits for its clients' watches for a minute, and answers
/// nobody meanwhile.
fn hasten(unit: &str, old: u32, consumer: &Consumer) {
    if old == 0 || consumer.grace == 0 {
        return;
    }
    let by = Instant::now() + Duration::from_secs(consumer.grace.into());
    let gone = clock::wait_for(by, TICK, || {
        let now = systemd::show(unit).map_or(old, |unit| unit.pid);
        (now != old).then_some(())
    });
    if gone.is_none() {
        // If it ended in this moment, there is nobody to kill.
        systemd::kill(unit).ok();
    }
}

fn run(argv: &[String], consumer: &Consumer) -> Result<(), ConvergeError> {
    let output = command::run(argv, &[], UNIT);
    let output = output.map_err(|error| control("restart", &consumer.id, with_causes(&error)))?;
    if output.is_success() {
        return Ok(());
    }
    let said = output
        .stderr
        .lines()
        .next_back()
        .unwrap_or_default()
        .to_owned();
    let why = format!("its command ended with status {}: {said}", output.code);
    Err(control("restart", &consumer.id, why))
}

pub(super) fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
