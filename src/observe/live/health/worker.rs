//! A node without an API server: its kubelet is asked itself, and the cluster's API server as far as the kubelet's own
//! credential may.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::access::{Access, Login, with_causes};
use crate::clock;
use crate::https::{self, HttpsError};
use crate::inventory::CredentialState;
use crate::kube::{Kube, KubeError, Lease};
use crate::live::Check;
use crate::observe::live::Depth;
use crate::observe::live::health::cluster::{GRACE, silence};
use crate::profile::Role;

/// The kubelet's port for its health unless it is told otherwise (kubernetes/kubernetes, pkg/cluster/ports).
const HEALTHZ: u16 = 10248;

/// Why the lease of this node's kubelet cannot be seen.
pub(crate) enum Unseen {
    /// There is none.
    Gone,
    /// The API server refuses the kubelet's credential, and why.
    Refused(String),
    /// Nobody answers, or there is nothing to ask with, and why: perhaps no fault of this node.
    Unasked(String),
}

/// The kubelet's health and its heartbeat.
pub(super) fn look(access: &Access, depth: Depth, patience: Duration) -> Vec<Check> {
    let mut health = Vec::from_iter(healthz(access, patience));
    if depth != Depth::Local {
        health.push(heartbeat(access, patience));
    }
    health
}

/// What the kubelet says of itself on the loopback, in clear; nothing where that is switched off.
fn healthz(access: &Access, patience: Duration) -> Option<Check> {
    let told = |flags: [&str; 2]| {
        let facts = &access.inventory.facts;
        let mut keys = flags.iter().map(|flag| format!("flag:kubelet:{flag}"));
        keys.find_map(|key| facts.first(&key))
            .map(|fact| fact.value.as_str())
    };
    let ip: Option<IpAddr> =
        told(["healthz-bind-address", "healthzBindAddress"]).and_then(|ip| ip.parse().ok());
    let ip = ip.filter(|ip| !ip.is_unspecified());
    let port = told(["healthz-port", "healthzPort"]).and_then(|port| port.parse().ok());
    let port = port.unwrap_or(HEALTHZ);
    let at = SocketAddr::new(ip.unwrap_or_else(|| Ipv4Addr::LOCALHOST.into()), port);
    let failure = match https::get_in_clear(at, "/healthz", patience) {
        Ok(answer) if answer.status == 200 => None,
        Ok(answer) => Some(format!("says that it is not healthy ({})", answer.status)),
        Err(error) => Some(with_causes(&error)),
    };
    (port != 0).then(|| Check::new("health", "kubelet", failure))
}

/// Whether the kubelet has renewed its lease lately, or what hinders it: a credential that is refused is mended by no restart.
fn heartbeat(access: &Access, patience: Duration) -> Check {
    let name = access.inventory.node.name.as_ref();
    let name = name.map_or("node", |fact| fact.value.as_str());
    let failed = |why: String| Check::new("heartbeat", name, Some(why));
    match own_lease(access, patience) {
        Ok(lease) => {
            let silent = silence(&lease, clock::system_now()).filter(|seconds| *seconds > GRACE);
            let why = silent.map(|seconds| format!("was silent for {seconds} s"));
            Check::new("heartbeat", name, why)
        },
        Err(Unseen::Gone) => failed("has no lease in kube-node-lease".to_owned()),
        Err(Unseen::Refused(why)) => Check::new("client", name, Some(why)),
        Err(Unseen::Unasked(why)) => Check::unchecked("heartbeat", name, why),
    }
}

/// The lease of this node's kubelet, asked for with the kubelet's own credential, which may read no other.
///
/// # Errors
///
/// [`Unseen`].
pub(crate) fn own_lease(access: &Access, patience: Duration) -> Result<Lease, Unseen> {
    let kube = as_kubelet(access, patience).map_err(Unseen::Unasked)?;
    let name = access.inventory.node.name.as_ref();
    let name = name.ok_or_else(|| Unseen::Unasked("the node's name is not known".to_owned()))?;
    let lease = kube.lease("kube-node-lease", &name.value);
    lease
        .map_err(|error| match (error.code(), &error) {
            (Some(401 | 403), _) | (_, KubeError::Https(HttpsError::Rejected { .. })) => {
                Unseen::Refused(with_causes(&error))
            },
            _ => Unseen::Unasked(with_causes(&error)),
        })?
        .ok_or(Unseen::Gone)
}

/// A client of the server that the kubelet's kubeconfig names.
fn as_kubelet(access: &Access, patience: Duration) -> Result<Kube, String> {
    let kubelet = access.profile.with_role(Role::Kubelet);
    let kubelet = kubelet.ok_or("this layout has no kubelet")?;
    let is_its = |credential: &&CredentialState| kubelet.uses.contains_key(&credential.id);
    let mut own = access.inventory.credentials.iter().filter(is_its);
    let path = own.find_map(|credential| Some(&credential.kubeconfig.as_ref()?.path));
    let path = path.ok_or("the kubelet has no kubeconfig that can be read")?;
    access.kube_of(&Login::open(access.disk, path)?, patience)
}
