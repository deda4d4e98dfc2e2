//! Consumers: who uses credentials, when each is read again, how it is restarted and what it has to prove.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::profile::OneOrMany;

/// A process that uses credentials.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Consumer {
    /// The component's name.
    pub id: String,
    /// How it is restarted.
    pub restart: RestartKind,
    /// Not every node of this layout has its unit.
    #[serde(default, skip_serializing_if = "is_false")]
    pub optional: bool,
    /// When it reads each credential or authority again.
    pub uses: IndexMap<String, Reads>,
    /// What a half-replaced pair does to it.
    #[serde(default)]
    pub tears: Tears,
    /// What it is to the cluster, which decides how it is proved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Its ports that speak TLS.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub serves: Vec<Serves>,
    /// The credential that its clients show to it: what it is asked with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask: Option<String>,
    /// The lease in `kube-system` that one of its kind holds while it works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<String>,
    /// It evicts the pods of nodes that do not report.
    #[serde(default, skip_serializing_if = "is_false")]
    pub evicts: bool,
    /// Seconds that it gets to end by itself when it is stopped; a unit without them is left to systemd.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub grace: u32,
}

/// What a consumer is to the cluster.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Everybody's door: proved by a request with a client certificate and by a write that is read back.
    ApiServer,
    /// Works only while it holds a lease.
    Controller,
    /// A member of the datastore: proved by its health; restarted after its API server, never below quorum.
    Etcd,
    /// Starts the static pods, and writes its own credential: it stands still while that is replaced.
    Kubelet,
}

/// A port that speaks TLS.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Serves {
    /// The address to reach it at; an unspecified one is taken as the loopback.
    pub host: OneOrMany,
    /// The port.
    pub port: OneOrMany,
    /// What it serves; without it, a certificate of its own making.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

/// How a consumer is restarted.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RestartKind {
    /// A static pod: its sandbox is removed through the container runtime.
    Cri(String),
    /// A systemd unit.
    Systemd(String),
    /// A command: absolute path, then arguments; no shell reads it.
    Command(Vec<String>),
}

/// When a consumer reads a credential again.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reads {
    /// At every new TLS handshake.
    Handshake,
    /// Only when it starts.
    Start,
    /// Soon after the file changes.
    Watch,
}

/// What happens to a consumer that sees a new certificate beside an old key.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tears {
    /// It dies if it starts in that moment.
    FatalAtStart,
    /// It keeps the old pair until both files have landed.
    #[default]
    Tolerates,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde asks for"
)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde asks for"
)]
fn is_false(flag: &bool) -> bool {
    !*flag
}
