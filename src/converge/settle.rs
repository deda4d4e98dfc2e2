//! The last gate: everything stays up, and whoever leads goes on leading.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::access::with_causes;
use crate::clock;
use crate::converge::control::millis;
use crate::converge::{ANSWER, Actor, ConvergeError};
use crate::journal::Converged;
use crate::kube::Lease;
use crate::observe::live::cluster;
use crate::profile::Consumer;

/// Seconds of silence after which no holder can think that it still leads: twice the lease, so that clocks may differ a
/// little (client-go, tools/leaderelection: a holder gives up after ten seconds without a renewal).
const DEAD: i64 = 30;
/// How often a lease is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// How many renewals of each lease are awaited.
const RENEWALS: usize = 3;
/// How long leaders are watched at least: a controller manager that cannot start its controllers dies within two seconds
/// of taking the lease.
const STEADY: Duration = Duration::from_secs(10);
/// How long all of it may take; a lease of a dead holder elsewhere takes up to half a minute to change hands.
const ALL: Duration = Duration::from_secs(90);

impl Actor<'_> {
    /// A lease is held by somebody who renewed it lately; a holder that was stopped here and is dead is struck out,
    /// so that nobody waits for it.
    pub(super) fn lease(&self, consumer: &Consumer) -> Result<String, String> {
        let Some(name) = consumer.lease.as_deref() else {
            return Ok("needs no lease".to_owned());
        };
        let kube = self.access().kube(ANSWER)?;
        let lease = kube
            .lease("kube-system", name)
            .map_err(|error| with_causes(&error))?;
        let lease = lease.ok_or_else(|| format!("the lease {name} does not exist yet"))?;
        if self.is_of_the_dead(name, &lease) {
            let cleared = kube.clear_holder("kube-system", name, &lease);
            cleared.map_err(|error| with_causes(&error))?;
            return Err(format!(
                "the lease {name} was held by a process that is gone"
            ));
        }
        if let Some(why) = cluster::unheld(&lease, clock::system_now()) {
            return Err(format!("the lease {name} {why}"));
        }
        let holder = lease.holder.unwrap_or_default();
        let mut seen = format!("the lease {name} is held by {holder}");
        let silent = consumer
            .evicts
            .then(|| self.silent_nodes().unwrap_or_default());
        if let Some(silent) = silent.filter(|silent| !silent.is_empty()) {
            seen.push_str(&format!(
                "; {} nodes do not report yet ({}), and lose their pods in five minutes",
                silent.len(),
                cluster::first_few(&silent)
            ));
        }
        Ok(seen)
    }

    /// The holder was a process of this node, and has not renewed since that was stopped; or nobody renewed for long.
    fn is_of_the_dead(&self, name: &str, lease: &Lease) -> bool {
        let Some(holder) = lease.holder.as_deref().filter(|holder| !holder.is_empty()) else {
            return false;
        };
        if cluster::silence(lease, clock::system_now()).is_some_and(|seconds| seconds > DEAD) {
            return true;
        }
        let facts = &self.inventory.facts;
        let hostnames = facts
            .all("fact:hostname")
            .iter()
            .chain(facts.all("fact:node-name"));
        let mut hostnames = hostnames.map(|fact| format!("{}_", fact.value));
        let stopped = self.stopped.borrow();
        let since = stopped
            .iter()
            .rev()
            .find(|(known, _)| known == name)
            .map(|(_, at)| *at);
        hostnames.any(|host| holder.starts_with(&host))
            && since
                .zip(cluster::renewed_ns(lease))
                .is_some_and(|(stopped, renewed)| renewed < stopped)
    }

    /// Watches until each lease was renewed three times by the same holder and nothing was restarted meanwhile. Whatever
    /// ends is started again by its supervisor, and watched anew: a scheduler that had lost its API server may die once
    /// more when that is back.
    pub(super) fn settle(&self) -> Result<Converged, ConvergeError> {
        let watch = Instant::now();
        if self.local.get() {
            let seen = vec!["waits for the other members of etcd: rescue the next node".to_owned()];
            return Ok(Converged {
                seen,
                local: true,
                ..Converged::default()
            });
        }
        let by = self.until(ALL);
        let within = u32::try_from(ALL.as_secs()).unwrap_or(u32::MAX);
        let restarted = !self.stopped.borrow().is_empty();
        let mut watched = Watched::new(self.identities());
        let settled = self.wait(by, LOOK, || {
            if !self.look_at_leases(&mut watched, restarted)? {
                return Err(format!(
                    "not every lease was renewed {RENEWALS} times by one holder yet"
                ));
            }
            if restarted && watched.since.elapsed() < STEADY {
                return Err("it has not been steady for long enough yet".to_owned());
            }
            watched.same(self.identities())
        });
        settled.map_err(|why| why.of("the control plane", within))?;
        Ok(Converged {
            seen: watched.told(),
            took_ms: millis(watch),
            ..Converged::default()
        })
    }

    /// The identities of everything that runs, by consumer.
    fn identities(&self) -> BTreeMap<String, String> {
        let consumers = self.profile.consumer.iter();
        consumers
            .filter_map(|consumer| Some((consumer.id.clone(), self.name_of(consumer)?)))
            .collect()
    }

    /// Notes renewals; whether every lease had enough of them.
    fn look_at_leases(&self, watched: &mut Watched, restarted: bool) -> Result<bool, String> {
        let kube = self.access().kube(ANSWER)?;
        let mut enough = true;
        for consumer in &self.profile.consumer {
            let Some(name) = consumer.lease.as_deref() else {
                continue;
            };
            self.lease(consumer)?;
            let lease = kube
                .lease("kube-system", name)
                .map_err(|error| with_causes(&error))?;
            let lease = lease.ok_or_else(|| format!("the lease {name} does not exist"))?;
            enough &= watched.note(name, &lease) >= if restarted { RENEWALS } else { 0 };
        }
        Ok(enough)
    }
}

/// What was seen since the last start of anything.
struct Watched {
    since: Instant,
    identities: BTreeMap<String, String>,
    /// The holder of each lease, and the renewals that were seen of it.
    leases: BTreeMap<String, (String, Vec<String>)>,
}

impl Watched {
    fn new(identities: BTreeMap<String, String>) -> Self {
        Self {
            since: Instant::now(),
            identities,
            leases: BTreeMap::new(),
        }
    }

    /// The same runs as before, and nothing else. If not, the watch begins anew; what has ended must come back.
    fn same(&mut self, now: BTreeMap<String, String>) -> Result<(), String> {
        let mut ids = self.identities.keys().chain(now.keys());
        let Some(id) = ids.find(|id| self.identities.get(*id) != now.get(*id)) else {
            return Ok(());
        };
        let why = format!("{id} was restarted or ended while it was watched");
        let mut identities = std::mem::take(&mut self.identities);
        identities.extend(now);
        *self = Self::new(identities);
        Err(why)
    }

    /// Notes a renewal; how many were seen since the first look at this holder.
    fn note(&mut self, name: &str, lease: &Lease) -> usize {
        let holder = lease.holder.clone().unwrap_or_default();
        let renewed = lease.renewed.clone().unwrap_or_default();
        let entry = self.leases.entry(name.to_owned()).or_default();
        if entry.0 != holder {
            *entry = (holder, Vec::new());
        }
        if entry.1.last() != Some(&renewed) {
            entry.1.push(renewed);
        }
        entry.1.len() - 1
    }

    fn told(&self) -> Vec<String> {
        let leases = self.leases.iter();
        leases
            .map(|(name, (holder, renewed))| {
                format!(
                    "the lease {name} was renewed {} times by {holder}",
                    renewed.len() - 1
                )
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pairs = pairs.iter();
        pairs
            .map(|(id, name)| ((*id).to_owned(), (*name).to_owned()))
            .collect()
    }

    #[test]
    fn what_is_started_or_restarted_is_watched_anew() {
        let mut watched = Watched::new(running(&[("etcd", "a")]));
        watched.leases.entry("kept".to_owned()).or_default();
        assert_eq!(watched.same(running(&[("etcd", "a")])), Ok(()));
        assert!(watched.leases.contains_key("kept"));
        for now in [
            running(&[("etcd", "a"), ("kubelet", "b")]),
            running(&[("etcd", "c"), ("kubelet", "b")]),
        ] {
            watched.leases.entry("kept".to_owned()).or_default();
            assert!(watched.same(now.clone()).is_err());
            assert!(
                watched.leases.is_empty(),
                "what was seen before counts no more"
            );
            assert_eq!(watched.same(now), Ok(()));
        }
    }

    #[test]
    fn what_has_ended_must_come_back() {
        let mut watched = Watched::new(running(&[("etcd", "a"), ("kubelet", "b")]));
        for _ in 0..2 {
            let why = "kubelet was restarted or ended while it was watched";
            assert_eq!(watched.same(running(&[("etcd", "a")])), Err(why.to_owned()));
        }
        let back = running(&[("etcd", "a"), ("kubelet", "c")]);
        assert!(
            watched.same(back.clone()).is_err(),
            "it is watched from now on"
        );
        assert_eq!(watched.same(back), Ok(()));
    }
}
