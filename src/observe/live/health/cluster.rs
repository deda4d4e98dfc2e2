//! What the API server says of the others: leases that are held, kubelets that report.

use crate::access::{Access, with_causes};
use crate::kube::{Kube, Lease};
use crate::live::Check;
use crate::pki::utc::Utc;

/// Seconds after which the controllers take a silent kubelet's node for lost (`--node-monitor-grace-period`).
pub(super) const GRACE: i64 = 50;
/// Nanoseconds.
const SECOND: i64 = 1_000_000_000;

/// Leases of the controllers, of this node and of all others.
pub(super) fn look(access: &Access, kube: &Kube, health: &mut Vec<Check>) {
    let leases = access
        .profile
        .consumer
        .iter()
        .filter_map(|consumer| consumer.lease.as_deref());
    let now = crate::clock::system_now();
    for name in leases {
        health.push(match kube.lease("kube-system", name) {
            Ok(Some(lease)) => Check::new("lease", name, unheld(&lease, now)),
            Ok(None) => Check::new("lease", name, Some("does not exist".to_owned())),
            Err(error) => Check::new("lease", name, Some(with_causes(&error))),
        });
    }
    let node = access
        .inventory
        .node
        .name
        .as_ref()
        .map(|fact| fact.value.as_str());
    match kube.leases("kube-node-lease") {
        Ok(leases) => nodes(&leases, node, now, health),
        Err(error) => {
            let why = with_causes(&error);
            health.push(Check::new("heartbeat", node.unwrap_or("node"), Some(why)));
        },
    }
}

/// Why a lease is not held, if so.
pub(crate) fn unheld(lease: &Lease, now: Utc) -> Option<String> {
    let holder = lease.holder.as_deref().unwrap_or_default();
    if holder.is_empty() {
        return Some("is held by nobody".to_owned());
    }
    let silent = silence(lease, now)?;
    let allowed = i64::try_from(lease.seconds).unwrap_or(15).max(15);
    (silent > allowed).then(|| format!("was not renewed for {silent} s by {holder}"))
}

/// Seconds since a lease was renewed.
pub(crate) fn silence(lease: &Lease, now: Utc) -> Option<i64> {
    Some(now.since(Utc::from_unix(renewed_ns(lease)?.div_euclid(SECOND))))
}

/// When a lease was renewed, in nanoseconds since 1970. The API writes microseconds.
pub(crate) fn renewed_ns(lease: &Lease) -> Option<i64> {
    let renewed = lease.renewed.as_deref()?.trim_end_matches('Z');
    let (seconds, micros) = renewed.split_once('.').unwrap_or((renewed, "0"));
    let seconds = Utc::parse(&format!("{seconds}Z"))?;
    Some(seconds.unix() * SECOND + micros.parse::<i64>().ok()? * 1000)
}

/// Nodes whose kubelets have not reported for so long that the controllers take them for lost.
pub(crate) fn silent(leases: &[(String, Lease)], now: Utc) -> Vec<String> {
    let is_silent = |lease: &Lease| silence(lease, now).is_none_or(|seconds| seconds > GRACE);
    let silent = leases.iter().filter(|(_, lease)| is_silent(lease));
    silent.map(|(name, _)| name.clone()).collect()
}

/// The first five names, which is enough to know where to look.
pub(crate) fn first_few(names: &[String]) -> String {
    names[..names.len().min(5)].join(", ")
}

fn nodes(leases: &[(String, Lease)], own: Option<&str>, now: Utc, health: &mut Vec<Check>) {
    let late = |lease: &Lease| silence(lease, now).filter(|seconds| *seconds > GRACE);
    if let Some(own) = own {
        health.push(match leases.iter().find(|(name, _)| name == own) {
            Some((_, lease)) => {
                let failure = late(lease).map(|s| format!("was silent for {s} s"));
                Check::new("heartbeat", own, failure)
            },
            None => Check::new(
                "heartbeat",
                own,
                Some("has no lease in kube-node-lease".to_owned()),
            ),
        });
    }
    let silent = silent(leases, now);
    let others = silent.into_iter().filter(|name| Some(name.as_str()) != own);
    let others: Vec<String> = others.collect();
    if !others.is_empty() {
        let why = format!(
            "{} of {} nodes do not report ({}): their pods are evicted five minutes after the controllers work again",
            others.len(),
            leases.len(),
            first_few(&others)
        );
        health.push(Check::new("heartbeats", "other nodes", Some(why)));
    }
}
