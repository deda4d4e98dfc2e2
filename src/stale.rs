//! Processes that do not use what is on disk: started before it was renewed, or serving something else.

use std::path::Path;

use crate::inventory::{Inventory, Placement};
use crate::live::Live;
use crate::pki::digest::Digest;
use crate::place::FileTime;
use crate::profile::{Consumer, Profile, Reads, Role};

/// Whether a process started before a file that it reads only at its start was last changed, and which.
///
/// The kubelet is left out: it writes its own files while it runs.
pub fn outdated(consumer: &Consumer, inventory: &Inventory) -> Option<String> {
    let started = inventory.live.as_ref()?.identity(&consumer.id)?.started_ns;
    if consumer.role == Some(Role::Kubelet) {
        return None;
    }
    let newer = |id: &str| changed_at(id, inventory).is_some_and(|at| at > i128::from(started));
    let mut at_start = consumer
        .uses
        .iter()
        .filter(|(_, reads)| **reads == Reads::Start);
    at_start.find(|(id, _)| newer(id)).map(|(id, _)| id.clone())
}

/// Whether a static pod started before its manifest was last changed: its kubelet has not taken the change up, as one that
/// started while the API server was down does not.
pub fn manifest_changed(consumer: &Consumer, profile: &Profile, inventory: &Inventory) -> bool {
    let changed = || {
        let started = inventory.live.as_ref()?.identity(&consumer.id)?.started_ns;
        let manifest = profile.component.get(&consumer.id)?.manifest.as_deref()?;
        let at = nanos(inventory.version(Path::new(manifest))?.meta.mtime);
        Some(at > i128::from(started))
    };
    changed().unwrap_or(false)
}

/// The credential of a port of this consumer that serves something else than its file holds.
pub fn unserved<'a>(consumer: &Consumer, inventory: &Inventory, live: &'a Live) -> Option<&'a str> {
    let mut ports = live
        .ports
        .iter()
        .filter(|port| port.consumer == consumer.id);
    ports.find_map(|port| {
        let id = port.credential.as_deref()?;
        let file = inventory.credential(id)?.cert()?;
        let served = port.served.present()?;
        (served.sha256 != Digest::of(&file.der)).then_some(id)
    })
}

/// When a credential, authority or key pair was last changed on disk, in nanoseconds since 1970.
fn changed_at(id: &str, inventory: &Inventory) -> Option<i128> {
    let time = |path: &Path| Some(nanos(inventory.version(path)?.meta.mtime));
    if let Some(credential) = inventory.credential(id) {
        return match &credential.placement {
            Placement::Pair { cert, key } | Placement::Referenced { cert, key, .. } => {
                time(cert).max(time(key))
            },
            Placement::Delegated { kubeconfig, .. } | Placement::Embedded { kubeconfig } => {
                time(kubeconfig)
            },
            Placement::Pem { path, .. } => time(path),
        };
    }
    if let Some(authority) = inventory.authority(id) {
        return time(&authority.cert_path);
    }
    let pair = inventory.key_pairs.iter().find(|pair| pair.id == id)?;
    time(&pair.private_path).max(time(&pair.public_path))
}

fn nanos(time: FileTime) -> i128 {
    i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos)
}
