//! Who runs: units as systemd knows them, static pods as the container runtime knows them.

use std::path::Path;

use crate::access::{Access, with_causes};
use crate::clock;
use crate::cri::{Container, ContainerState, Cri};
use crate::inventory::CredentialState;
use crate::live::{Identity, Obstacle, ObstacleKind, Other, Running};
use crate::place::{Blob, Observed, Place};
use crate::profile::{Profile, RestartKind};
use crate::systemd::{self, Unit};

/// Nanoseconds that a unit which was restarted has to run before it counts as running: one that exits in a loop runs
/// for a second of every ten.
const STEADY_NS: i64 = 5_000_000_000;

/// Looks at every consumer.
pub(super) fn look(
    profile: &Profile,
    cri: Option<&mut Cri>,
    obstacles: &mut Vec<Obstacle>,
) -> Vec<Running> {
    let containers = cri.map(|cri| {
        let listed = cri.containers().map_err(|error| with_causes(&error));
        listed.map(|all| (all, cri))
    });
    let mut containers = containers;
    let consumers = profile.consumer.iter();
    consumers
        .map(|consumer| {
            let (identity, state) = match &consumer.restart {
                RestartKind::Systemd(unit) => of_unit(unit, obstacles),
                RestartKind::Cri(name) => match &mut containers {
                    Some(Ok((all, cri))) => of_pod(name, all, cri),
                    Some(Err(why)) => (Observed::Unknown(why.clone()), why.clone()),
                    None => {
                        let why = "the container runtime does not answer".to_owned();
                        (Observed::Unknown(why.clone()), why)
                    },
                },
                RestartKind::Command(_) => {
                    let why = "is started by a command, and not watched".to_owned();
                    (Observed::Unknown(why.clone()), why)
                },
            };
            Running {
                id: consumer.id.clone(),
                identity,
                state,
            }
        })
        .collect()
}

fn of_unit(name: &str, obstacles: &mut Vec<Obstacle>) -> (Observed<Identity>, String) {
    if !systemd::is_running() {
        let why = "systemd does not run here".to_owned();
        return (Observed::Unknown(why.clone()), why);
    }
    let unit = match systemd::show(name) {
        Ok(unit) => unit,
        Err(error) => {
            let why = with_causes(&error);
            obstacles.push(Obstacle {
                kind: ObstacleKind::Systemd,
                subject: name.to_owned(),
                text: format!("systemd does not answer: {why}"),
                hint: "systemctl daemon-reexec; then look at: systemctl status".to_owned(),
            });
            return (Observed::Unknown(why.clone()), why);
        },
    };
    obstacles.extend(of_refusal(&unit));
    let state = state_of(&unit);
    match identity(&unit) {
        Some(identity) => (Observed::Present(identity), state),
        None => (Observed::Absent, state),
    }
}

/// The start of a unit's main process that is still running, and not about to exit again.
pub(crate) fn identity(unit: &Unit) -> Option<Identity> {
    let started_ns = clock::boot_ns() + i64::try_from(unit.started_us).ok()? * 1000;
    let ran_ns = clock::now_ns() - started_ns;
    let is_up = unit.active == "active" && unit.pid != 0;
    (is_up && (unit.restarts == 0 || ran_ns > STEADY_NS)).then(|| Identity {
        name: format!("pid {} started {}", unit.pid, unit.started_us),
        started_ns,
    })
}

fn state_of(unit: &Unit) -> String {
    match (unit.active.as_str(), unit.sub.as_str()) {
        ("active", _) if unit.restarts > 0 => format!("was restarted {} times", unit.restarts),
        ("active", sub) => sub.to_owned(),
        ("activating", "auto-restart") => format!(
            "exits again and again, {} times so far, with status {}",
            unit.restarts, unit.exit_status
        ),
        (active, _) if unit.result != "success" => format!("{active}: {}", unit.result),
        (active, sub) => format!("{active} ({sub})"),
    }
}

/// What keeps systemd from starting a unit.
fn of_refusal(unit: &Unit) -> Option<Obstacle> {
    let name = &unit.name;
    let (kind, text, hint) = if unit.load == "masked" {
        let hint = format!("systemctl unmask {name}");
        (ObstacleKind::Unit, format!("{name} is masked"), hint)
    } else if unit.load == "not-found" {
        let hint = format!("install {name}, or name the layout: --profile");
        (
            ObstacleKind::Unit,
            format!("systemd knows no unit {name}"),
            hint,
        )
    } else if unit.result == "start-limit-hit" || (unit.active == "failed" && unit.restarts > 0) {
        // The result stays that of the last end (systemd, src/core/service.c, `service_enter_dead`), but what systemd restarts
        // by itself fails for good only so.
        let text = format!("systemd gave up on {name} after too many starts");
        let hint = format!("systemctl reset-failed {name}; rescue-kit run does it");
        (ObstacleKind::StartLimit, text, hint)
    } else {
        return None;
    };
    Some(Obstacle {
        kind,
        subject: name.clone(),
        text,
        hint,
    })
}

fn of_pod(name: &str, all: &[Container], cri: &mut Cri) -> (Observed<Identity>, String) {
    let Some(newest) = newest(name, all) else {
        return (Observed::Absent, "there is no container of it".to_owned());
    };
    let detail = cri.container(&newest.id).ok().flatten();
    if newest.state == ContainerState::Running {
        let started_ns = detail.map_or(newest.created_ns, |detail| detail.started_ns);
        let identity = Identity {
            name: newest.id.clone(),
            started_ns,
        };
        return (
            Observed::Present(identity),
            format!("attempt {}", newest.attempt),
        );
    }
    let code = detail.map_or(-1, |detail| detail.exit_code);
    let state = format!(
        "its container ended with status {code}, attempt {}",
        newest.attempt
    );
    (Observed::Absent, state)
}

/// The newest container of a static pod.
pub(crate) fn newest<'a>(name: &str, all: &'a [Container]) -> Option<&'a Container> {
    all.iter()
        .filter(|container| container.namespace == "kube-system" && container.name == name)
        .max_by_key(|container| container.created_ns)
}

/// Containers and other processes outside of the profile into which files of the PKI are mounted.
pub(super) fn others(access: &Access, cri: Option<&mut Cri>) -> Vec<Other> {
    let mut pods = Vec::new();
    let mut others = cri.map_or_else(Vec::new, |cri| {
        let containers = cri.containers().unwrap_or_default();
        pods = containers
            .iter()
            .map(|container| container.id.clone())
            .collect();
        in_containers(access, &containers, cri)
    });
    others.extend(in_namespaces(access, &pods));
    others
}

fn in_containers(access: &Access, all: &[Container], cri: &mut Cri) -> Vec<Other> {
    let known: Vec<&str> = access
        .profile
        .consumer
        .iter()
        .map(|consumer| consumer.id.as_str())
        .collect();
    let running = all.iter().filter(|container| {
        container.state == ContainerState::Running && !known.contains(&container.name.as_str())
    });
    let mut others = Vec::new();
    for container in running {
        let detail = cri.container(&container.id).ok().flatten();
        let mounts = detail.map(|detail| detail.mounts).unwrap_or_default();
        let mounts: Vec<String> = mounts
            .into_iter()
            .map(|mount| mount.host_path)
            .filter(|path| concerns(Path::new(path), access))
            .collect();
        if !mounts.is_empty() {
            let name = format!(
                "{}/{} {}",
                container.namespace, container.pod, container.name
            );
            others.push(Other { name, mounts });
        }
    }
    others
}

/// Processes with mounts of their own that no pod's container explains: a load balancer under another runtime, a sandboxed
/// unit. The fourth word of a line of `mountinfo` is the path on its file system (proc(5)).
fn in_namespaces(access: &Access, pods: &[String]) -> Vec<Other> {
    let mounts_of = |pid: &str| -> Vec<String> {
        let text = text_of(access, &format!("/proc/{pid}/mountinfo"));
        let roots = text
            .lines()
            .filter_map(|line| line.split_ascii_whitespace().nth(3));
        let roots = roots.filter(|root| concerns(Path::new(root), access));
        roots.map(str::to_owned).collect()
    };
    let own = mounts_of("self");
    let listed = access.disk.list(Path::new("/proc")).unwrap_or_default();
    let names = listed
        .into_iter()
        .filter_map(|(name, _)| name.into_string().ok());
    let mut others: Vec<Other> = Vec::new();
    for pid in names.filter(|name| name.bytes().all(|b| b.is_ascii_digit())) {
        let mut mounts = mounts_of(&pid);
        mounts.retain(|mount| !own.contains(mount));
        if mounts.is_empty() {
            continue;
        }
        let group = text_of(access, &format!("/proc/{pid}/cgroup"));
        let program = text_of(access, &format!("/proc/{pid}/comm"));
        let name = format!("the process {}", program.trim());
        let is_pod =
            group.contains("kubepods") || pods.iter().any(|id| group.contains(id.as_str()));
        if !is_pod && others.iter().all(|other| other.name != name) {
            others.push(Other { name, mounts });
        }
    }
    others
}

/// A text that the kernel makes up; empty if the process has gone.
fn text_of(access: &Access, path: &str) -> String {
    match access.disk.read(&Place::File(path.into())) {
        Ok(Observed::Present((_, Blob::File(bytes)))) => {
            String::from_utf8_lossy(&bytes).into_owned()
        },
        _ => String::new(),
    }
}

/// Whether a mounted path is a credential's file, its directory, or the layout's: whoever mounts more, such as all of
/// `/etc`, is hardly after the PKI.
fn concerns(mounted: &Path, access: &Access) -> bool {
    let mut paths = access
        .inventory
        .credentials
        .iter()
        .map(CredentialState::path);
    mounted == access.profile.anchor
        || paths.any(|path| mounted == path || Some(mounted) == path.parent())
}
