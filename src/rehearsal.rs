//! PHASE: rehearsal, asking the files whether this node would come back after a power cut, without touching what runs.
//! INPUTS: an inventory; on a running node, also what the runtime and systemd say.
//! OUTPUTS: checks, one for everything that a cold start needs.

use std::path::{Path, PathBuf};

use crate::access::{Access, with_causes};
use crate::live::{Check, ObstacleKind};
use crate::manifest;
use crate::place::{Blob, Kind, Observed, Place};
use crate::profile::{RestartKind, Role};
use crate::systemd;

/// Endings of flags whose value is a file that must exist when the component starts.
const INPUTS: [&str; 9] = [
    "-file",
    "cafile",
    "certfile",
    "keyfile",
    "-certificate",
    "-key",
    "kubeconfig",
    "-certificate-authority",
    "config",
];
/// Flags that end like that and name a file that may be absent.
const OPTIONAL: [&str; 2] = ["bootstrap-kubeconfig", "audit-policy-file"];

/// Rehearses a cold start.
pub fn rehearse(access: &Access) -> Vec<Check> {
    let mut checks = credentials(access);
    checks.extend(units(access));
    checks.extend(pods(access));
    checks.extend(inputs(access));
    checks.extend(single_signer(access));
    checks.extend(obstacles(access));
    checks
}

/// Every credential that a process reads at its start is valid; the kubelet exits without a valid one.
fn credentials(access: &Access) -> Vec<Check> {
    let inventory = access.inventory;
    let used = |id: &str| {
        let mut consumers = access.profile.consumer.iter();
        consumers.any(|consumer| consumer.uses.contains_key(id))
    };
    let credentials = inventory
        .credentials
        .iter()
        .filter(|credential| used(&credential.id));
    credentials
        .filter_map(|credential| {
            let defects = crate::defect::of_credential(credential, inventory, 0);
            let stops = defects.iter().find(|defect| defect.is_due());
            let why = stops.map(|defect| defect.text(inventory.at));
            let absent = credential.cert().is_none() && why.is_none();
            (!absent).then(|| Check::new("cold start", &credential.id, why))
        })
        .collect()
}

/// Units start at boot.
fn units(access: &Access) -> Vec<Check> {
    let consumers = access.profile.consumer.iter();
    let units = consumers.filter_map(|consumer| match &consumer.restart {
        RestartKind::Systemd(unit) => Some(unit.as_str()),
        RestartKind::Cri(_) | RestartKind::Command(_) => None,
    });
    units
        .map(|unit| {
            if access.inventory.live.is_none() || !systemd::is_running() {
                let why = "whether it is enabled can only be asked on the running node";
                return Check::unchecked("cold start", unit, why);
            }
            let why = match systemd::show(unit) {
                Err(error) => Some(with_causes(&error)),
                Ok(shown) => match shown.unit_file_state.as_str() {
                    "enabled" | "enabled-runtime" | "static" | "alias" | "generated" => None,
                    state => Some(format!(
                        "is {state}, so that nobody starts it: systemctl enable {unit}"
                    )),
                },
            };
            Check::new("cold start", unit, why)
        })
        .collect()
}

/// Each static pod's manifest is there and is one.
fn pods(access: &Access) -> Vec<Check> {
    let consumers = access.profile.consumer.iter();
    let pods = consumers.filter(|consumer| matches!(consumer.restart, RestartKind::Cri(_)));
    pods.map(|consumer| {
        let component = access.profile.component.get(&consumer.id);
        let path = component.and_then(|component| component.manifest.as_deref());
        let why = path.map_or_else(
            || Some("has no manifest in this layout".to_owned()),
            |path| match bytes(access, Path::new(path)) {
                Ok(text) => manifest::pod_needs(&text)
                    .err()
                    .map(|why| format!("{path} {why}")),
                Err(why) => Some(why),
            },
        );
        Check::new("cold start", &format!("manifest of {}", consumer.id), why)
    })
    .collect()
}

/// Every file that a flag names exists; a component exits without it.
fn inputs(access: &Access) -> Vec<Check> {
    let flags = access.inventory.facts.iter().filter_map(|(key, values)| {
        let (component, flag) = key.strip_prefix("flag:")?.split_once(':')?;
        let is_input = INPUTS.iter().any(|ending| flag.ends_with(ending));
        (is_input && !OPTIONAL.contains(&flag)).then_some((component, flag, values))
    });
    let mut checks = Vec::new();
    for (component, flag, values) in flags {
        for value in values.iter().filter(|fact| fact.value.starts_with('/')) {
            let path = PathBuf::from(&value.value);
            let real = access.disk.real_path(&path).ok().flatten();
            let kind = real.and_then(|real| access.disk.kind(&real).ok()?.present().copied());
            let why = match kind {
                Some(Kind::File) => None,
                Some(_) => Some(format!("{} is no file", value.value)),
                None => Some(format!("{} does not exist", value.value)),
            };
            checks.push(Check::new(
                "cold start",
                &format!("--{flag} of {component}"),
                why,
            ));
        }
    }
    checks
}

/// Two certificates in the signer's file kill the controller manager just after it took its lease
/// (kubernetes/kubernetes, `pkg/controller/certificates/signer/ca_provider.go`).
fn single_signer(access: &Access) -> Option<Check> {
    let flag = "flag:kube-controller-manager:cluster-signing-cert-file";
    let path = &access.inventory.facts.first(flag)?.value;
    let why = match access.certs(Path::new(path)) {
        Ok(certs) if certs.len() == 1 => None,
        Ok(certs) => Some(format!(
            "{path} holds {} certificates, and must hold one",
            certs.len()
        )),
        Err(why) => Some(format!("{path}: {why}")),
    };
    Some(Check::new(
        "cold start",
        "signer of kube-controller-manager",
        why,
    ))
}

/// Images, mounts, disks and the runtime, as a running node shows them.
fn obstacles(access: &Access) -> Vec<Check> {
    let Some(live) = &access.inventory.live else {
        let why = "images can only be looked for on the running node";
        return vec![Check::unchecked("cold start", "images", why)];
    };
    let pods = access.profile.with_role(Role::Kubelet).is_some();
    let kinds = [
        (ObstacleKind::Disk, "disks", true),
        (ObstacleKind::Runtime, "container runtime", pods),
        (ObstacleKind::Image, "images", pods),
        (ObstacleKind::Mount, "mounts", pods),
    ];
    let kinds = kinds.into_iter().filter(|(_, _, is_asked)| *is_asked);
    kinds
        .map(|(kind, subject, _)| {
            let found = live.obstacles.iter().find(|obstacle| obstacle.kind == kind);
            Check::new(
                "cold start",
                subject,
                found.map(|obstacle| obstacle.text.clone()),
            )
        })
        .collect()
}

fn bytes(access: &Access, path: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>, String> {
    match access.disk.read(&Place::File(path.to_path_buf())) {
        Ok(Observed::Present((_, Blob::File(bytes)))) => Ok(bytes),
        Ok(Observed::Unknown(why)) => Err(format!("{} {why}", path.display())),
        Ok(_) => Err(format!("{} does not exist", path.display())),
        Err(error) => Err(with_causes(&error)),
    }
}
