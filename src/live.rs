//! What runs on a node at one moment, beside the files: processes, what their ports serve, whether they are well.
//!
//! Everything here comes from somebody else's mouth: texts may hold anything, and are filtered before they are shown.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::pki::digest::Digest;
use crate::pki::utc::Utc;
use crate::place::Observed;

/// What was seen of a running node.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Live {
    /// Who uses credentials, in the profile's restart order.
    pub consumers: Vec<Running>,
    /// What each port serves, in the consumers' order.
    pub ports: Vec<Port>,
    /// What would keep a restarted process from coming back, or is no certificate's fault at all; the worst first.
    pub obstacles: Vec<Obstacle>,
    /// How the components are, each asked in its own way.
    pub health: Vec<Check>,
    /// The members of etcd, if one of them told.
    pub members: Vec<Member>,
    /// Processes outside of the profile that hold files of the PKI open through a mount.
    pub others: Vec<Other>,
}

/// A consumer as it runs.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Running {
    /// The consumer's id.
    pub id: String,
    /// Absent if it does not run.
    pub identity: Observed<Identity>,
    /// Why it does not run, or how often it was started, for people.
    pub state: String,
}

/// What tells one start of a process from the next.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Identity {
    /// A container's id, or `pid 812` and the time of its start.
    pub name: String,
    /// When it started, in nanoseconds since 1970.
    pub started_ns: i64,
}

/// A port that serves TLS.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Port {
    /// The consumer's id.
    pub consumer: String,
    /// The credential that it should serve; none if its certificate is its own business.
    pub credential: Option<String>,
    /// Where.
    pub at: SocketAddr,
    /// What it serves; absent if nothing listens.
    pub served: Observed<Served>,
}

/// A certificate as it is served.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Served {
    /// The digest of the leaf.
    pub sha256: Digest,
    /// The leaf's subject, for people.
    pub subject: String,
    /// The leaf's end.
    pub not_after: Utc,
}

/// Why a port does not serve the leaf with this digest; if there is no leaf to compare with, it has only to answer.
pub fn unserved(
    at: SocketAddr,
    served: &Observed<Served>,
    leaf: Option<&Digest>,
) -> Option<String> {
    match served {
        Observed::Absent => Some(format!("nothing listens on {at}")),
        Observed::Unknown(why) => Some(why.clone()),
        Observed::Present(served) => {
            let other = leaf.is_some_and(|leaf| *leaf != served.sha256);
            let end = served.not_after;
            other.then(|| format!("{at} serves another certificate, which ends {end}"))
        },
    }
}

/// What would keep a node from coming back.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Obstacle {
    /// What kind.
    pub kind: ObstacleKind,
    /// What it is about: a component, a path, a unit.
    pub subject: String,
    /// One sentence.
    pub text: String,
    /// What to type.
    pub hint: String,
}

/// The kinds of obstacles, the most fundamental first.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ObstacleKind {
    /// A file system is full or read-only.
    Disk,
    /// systemd does not answer.
    Systemd,
    /// The container runtime does not answer or is not ready.
    Runtime,
    /// A static pod's manifest is no pod.
    Manifest,
    /// An image is not in the runtime's store.
    Image,
    /// A file that a static pod mounts does not exist.
    Mount,
    /// etcd refuses writes (NOSPACE, CORRUPT).
    Etcd,
    /// systemd gave up on a unit.
    StartLimit,
    /// A unit is masked or was stopped by somebody.
    Unit,
    /// Another tool that changes certificates is at work.
    Rival,
    /// What the controller manager signs with is a bundle, or has no key.
    Signer,
}

impl ObstacleKind {
    /// Whether a restart now would leave the node worse than it is.
    pub fn forbids_restart(self) -> bool {
        !matches!(self, Self::StartLimit | Self::Rival | Self::Unit)
    }
}

/// One thing that was asked.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Check {
    /// What was asked: `pair`, `signature`, `validity`, `names`, `trust`, `readable`, `served`, `readyz`, `lease`.
    pub name: String,
    /// Of what: an id, a component, an address.
    pub subject: String,
    /// The answer.
    pub outcome: Outcome,
}

/// The answer to a check.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is so.
    Pass,
    /// It is not so, and why.
    Fail(String),
    /// It could not be checked, and why.
    Unchecked(String),
}

/// A member of etcd.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Member {
    /// Its name; empty before it has joined.
    pub name: String,
    /// Whether it is this node's own.
    pub here: bool,
    /// Where its peers reach it.
    pub peer: Option<SocketAddr>,
    /// Whether it answers with a certificate that is valid and of this node's CA.
    pub state: Outcome,
}

/// A process outside of the profile that a changed file matters to.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Other {
    /// The container's pod and name, or the program and its process id.
    pub name: String,
    /// Files or directories of the PKI that are mounted into it.
    pub mounts: Vec<String>,
}

impl Check {
    /// A check that passed, or failed with a reason.
    pub fn new(name: &str, subject: &str, failure: Option<String>) -> Self {
        Self {
            name: name.to_owned(),
            subject: subject.to_owned(),
            outcome: failure.map_or(Outcome::Pass, Outcome::Fail),
        }
    }

    /// A check that could not be made.
    pub fn unchecked(name: &str, subject: &str, why: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            subject: subject.to_owned(),
            outcome: Outcome::Unchecked(why.into()),
        }
    }

    /// Whether it passed.
    pub fn passed(&self) -> bool {
        self.outcome == Outcome::Pass
    }
}

impl Live {
    /// The consumer with this id.
    pub fn consumer(&self, id: &str) -> Option<&Running> {
        self.consumers.iter().find(|consumer| consumer.id == id)
    }

    /// The identity of a consumer that runs.
    pub fn identity(&self, id: &str) -> Option<&Identity> {
        self.consumer(id)?.identity.present()
    }

    /// What would keep this consumer, or any, from coming back.
    pub fn forbidding(&self) -> impl Iterator<Item = &Obstacle> {
        self.obstacles
            .iter()
            .filter(|obstacle| obstacle.kind.forbids_restart())
    }

    /// Members other than this node's that do not answer.
    pub fn silent_peers(&self) -> impl Iterator<Item = &Member> {
        self.members
            .iter()
            .filter(|member| !member.here && member.state != Outcome::Pass)
    }
}
