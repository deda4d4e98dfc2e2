//! Proof: a process runs anew, serves the certificates of its files, and does its work.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::access::with_causes;
use crate::clock;
use crate::converge::control::millis;
use crate::converge::wait::Stopped;
use crate::converge::{ANSWER, Actor, ConvergeError, TICK};
use crate::journal::Converged;
use crate::live::{self, Member, Outcome};
use crate::observe::live::{peers, ports, proof};
use crate::pki::cert::Cert;
use crate::plan::step::Proof;
use crate::profile::{Consumer, Role};

/// How long peers that worked may be away for a moment before the quorum is called lost.
const PEERS: Duration = Duration::from_secs(3);
/// How long etcd's port for clients may lag behind the one for peers while the members elect a leader.
const ELECTION: Duration = Duration::from_secs(20);

impl Actor<'_> {
    /// Waits until a consumer has proved itself; restarts it once if it does not read its files again by itself.
    pub(super) fn prove(
        &self,
        consumer: &Consumer,
        proof: &Proof,
    ) -> Result<Converged, ConvergeError> {
        let watch = Instant::now();
        let mut done = Converged::default();
        let mut proof = proof.clone();
        if let Some(reload) = proof.reload {
            let by = self.until(Duration::from_secs(reload.into()));
            let reloaded = self.wait(by, TICK, || self.serves_files(consumer));
            if reloaded.is_err() {
                proof.was = self.name_of(consumer);
                done.before.clone_from(&proof.was);
                self.restart(consumer)?;
                done.seen.push(format!(
                    "did not read its files within {reload} s, and was restarted"
                ));
            }
        }
        let by = self.until(Duration::from_secs(proof.within.into()));
        let gates = self.gates(consumer, &proof);
        for gate in gates {
            let passed = self.wait(by, TICK, || gate.look(self, consumer));
            let seen = passed.map_err(|why| self.late(consumer, &proof, why))?;
            done.seen.push(seen);
        }
        done.after = self.name_of(consumer);
        done.local = self.local.get();
        done.took_ms = millis(watch);
        Ok(done)
    }

    fn gates(&self, consumer: &Consumer, proof: &Proof) -> Vec<Gate> {
        let mut gates = Vec::new();
        if proof.was.is_some() {
            gates.push(Gate::Anew(proof.was.clone()));
        }
        let only_local = self.local.get();
        match consumer.role {
            Some(Role::Etcd) => gates.push(Gate::Member(Instant::now())),
            // Without a quorum neither starts to work, and neither is to blame.
            Some(Role::ApiServer | Role::Controller) if only_local => {},
            Some(Role::ApiServer) => gates.extend([Gate::Serves, Gate::Ready, Gate::Write]),
            Some(Role::Controller) => gates.extend([Gate::Serves, Gate::Lease]),
            Some(Role::Kubelet) | None => gates.push(Gate::Serves),
        }
        gates
    }

    fn late(&self, consumer: &Consumer, proof: &Proof, stopped: Stopped) -> ConvergeError {
        match (stopped, self.deadline) {
            (Stopped::Time(why), Some(deadline)) if Instant::now() >= deadline => {
                ConvergeError::Deadline(format!("{} came back: {why}", consumer.id))
            },
            (stopped, _) => stopped.of(&consumer.id, proof.within),
        }
    }

    /// Every port of the consumer serves its file's certificate; one without a file only has to answer.
    fn serves_files(&self, consumer: &Consumer) -> Result<String, String> {
        let access = self.access();
        let own = self.inventory.live.iter().flat_map(|live| &live.ports);
        let mut served = Vec::new();
        for port in own.filter(|port| port.consumer == consumer.id) {
            let leaf = port
                .credential
                .as_deref()
                .and_then(|id| access.leaf(id).ok());
            serves(port.at, leaf.as_ref())?;
            served.push(port.at.to_string());
        }
        Ok(format!("serves its files on {}", served.join(", ")))
    }

    /// This node's member works; or it has to wait for others, which is no fault of this node.
    fn member(&self, consumer: &Consumer, since: Instant) -> Result<String, String> {
        let access = self.access();
        if access.ports(&consumer.id).next().is_none() {
            return self
                .name_of(consumer)
                .map(|name| format!("runs as {}, without TLS", short(&name)))
                .ok_or_else(|| "does not run".to_owned());
        }
        let peer_port = access.ports(&consumer.id).nth(1);
        if let Some((at, id)) = peer_port {
            serves(at, Some(&access.leaf(id)?))?;
        }
        if self.was_down(consumer)
            && let Some(seen) = self.lost_quorum(since)
        {
            return Ok(seen);
        }
        let healthy = access
            .etcd(ANSWER)
            .and_then(|client| match client.health() {
                Ok(true) => Ok(()),
                Ok(false) => Err("etcd says that it is not healthy".to_owned()),
                Err(error) => Err(with_causes(&error)),
            });
        if healthy.is_ok() {
            let served = self.serves_files(consumer)?;
            return Ok(format!("{served}; the member is healthy"));
        }
        let lost = || self.lost_quorum(since);
        let lost = (since.elapsed() > PEERS).then(lost).flatten();
        lost.map_or_else(|| healthy.map(|()| String::new()), Ok)
    }

    /// Whether this node's member did not work when the plan was made: if its peers do not answer now, either, then there
    /// was no quorum before.
    fn was_down(&self, consumer: &Consumer) -> bool {
        let live = self.inventory.live.as_ref();
        live.is_some_and(|live| live.identity(&consumer.id).is_none())
    }

    /// What was seen, if too few members answer for a quorum; the actor then expects nothing beyond this node.
    fn lost_quorum(&self, since: Instant) -> Option<String> {
        let members = peers::look(&self.access(), clock::system_now());
        let answers = |member: &&Member| member.state == Outcome::Pass;
        let (all, answering) = (members.len(), members.iter().filter(answers).count());
        // A bare majority elects a leader in seconds; if it does not, one of them is no use.
        let patient = usize::from(since.elapsed() > ELECTION);
        let is_lost = all > 1 && 2 * answering <= all + patient;
        is_lost.then(|| {
            self.local.set(true);
            format!(
                "serves its file to its peers; {answering} of {all} members answer, which is no quorum"
            )
        })
    }

    /// Every named check of `/readyz` passes, asked with a client certificate: an anonymous answer proves nothing.
    fn ready(&self) -> Result<String, String> {
        let kube = self.access().kube(ANSWER)?;
        let checks = kube.readyz().map_err(|error| with_causes(&error))?;
        let failed: Vec<&str> = checks
            .iter()
            .filter(|(_, passed)| !passed)
            .map(|(name, _)| name.as_str())
            .collect();
        if !failed.is_empty() {
            return Err(format!("is not ready: {}", failed.join(", ")));
        }
        Ok(format!("is ready ({} checks)", checks.len()))
    }

    fn write(&self) -> Result<String, String> {
        let kube = self.access().kube(ANSWER)?;
        let node = self.inventory.node.name.as_ref();
        let node = node.map_or("node", |fact| fact.value.as_str());
        match proof::round_trip(&kube, node).outcome {
            Outcome::Pass => Ok("a write was read back".to_owned()),
            Outcome::Fail(why) | Outcome::Unchecked(why) => Err(why),
        }
    }
}

/// What a consumer has to pass, in order.
enum Gate {
    /// It runs, and is not the one that ran before.
    Anew(Option<String>),
    /// It holds its lease, or another node's does.
    Lease,
    /// It is a healthy member of etcd.
    Member(Instant),
    /// It is ready.
    Ready,
    /// It serves its files.
    Serves,
    /// It takes a write.
    Write,
}

impl Gate {
    fn look(&self, actor: &Actor, consumer: &Consumer) -> Result<String, String> {
        match self {
            Self::Anew(was) => match actor.name_of(consumer) {
                None => Err("does not run".to_owned()),
                Some(now) if Some(&now) == was.as_ref() => {
                    Err("is still the same process".to_owned())
                },
                Some(now) => Ok(format!("runs anew as {}", short(&now))),
            },
            Self::Lease => actor.lease(consumer),
            Self::Member(since) => actor.member(consumer, *since),
            Self::Ready => actor.ready(),
            Self::Serves => actor.serves_files(consumer),
            Self::Write => actor.write(),
        }
    }
}

/// Whether a port serves a leaf; without one, whether it answers.
fn serves(at: SocketAddr, leaf: Option<&Cert>) -> Result<(), String> {
    let served = ports::served(at, ANSWER);
    let failure = live::unserved(at, &served, leaf.map(Cert::sha256).as_ref());
    failure.map_or(Ok(()), Err)
}

/// The first twelve letters of a container's id, as everybody's tools show it.
fn short(name: &str) -> &str {
    let is_id = name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit());
    if is_id { &name[..12] } else { name }
}
