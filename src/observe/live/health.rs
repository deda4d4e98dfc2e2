//! How the components are: each is asked in its own way. What could not be asked is said, and is no pass.

pub(crate) mod cluster;
pub(crate) mod proof;

use std::time::Duration;

use crate::access::{Access, with_causes};
use crate::https;
use crate::live::{Check, Live, Obstacle, ObstacleKind, Outcome};
use crate::observe::live::Depth;
use crate::profile::{Profile, Role};

/// How long one answer may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Asks etcd and the API server, and through it everybody else.
pub(super) fn look(access: &Access, depth: Depth, live: &mut Live) {
    let (mut health, mut obstacles) = (Vec::new(), Vec::new());
    if access.profile.with_role(Role::Etcd).is_some() {
        etcd(access, &mut health, &mut obstacles);
    }
    members(access, live, &mut health);
    if access.profile.with_role(Role::ApiServer).is_some() {
        api(access, depth, &mut health);
    }
    silent_ports(access.profile, live, &mut health);
    live.health = health;
    live.obstacles.extend(obstacles);
}

/// This node's member, and its alarms.
fn etcd(access: &Access, health: &mut Vec<Check>, obstacles: &mut Vec<Obstacle>) {
    let alarms = match access.etcd(PATIENCE) {
        Err(why) => {
            health.push(Check::unchecked("health", "etcd", why));
            None
        },
        Ok(client) => {
            let failure = match client.health() {
                Ok(true) => None,
                Ok(false) => Some("says that it is not healthy".to_owned()),
                Err(error) => Some(with_causes(&error)),
            };
            health.push(Check::new("health", "etcd", failure));
            client.alarms().ok()
        },
    };
    let alarms = alarms.map(|all| all.into_iter().map(|(_, kind)| kind).collect());
    let mut kinds: Vec<String> = alarms.unwrap_or_else(|| alarms_in_clear(access));
    kinds.sort();
    kinds.dedup();
    obstacles.extend(kinds.iter().map(|kind| alarm(kind)));
}

fn alarm(kind: &str) -> Obstacle {
    let hint = if kind == "NOSPACE" {
        "etcdctl defrag; etcdctl alarm disarm; or raise --quota-backend-bytes in its manifest"
    } else {
        "restore this member from a snapshot: etcdutl snapshot restore"
    };
    Obstacle {
        kind: ObstacleKind::Etcd,
        subject: "etcd".to_owned(),
        text: format!("etcd refuses writes: alarm {kind}; no certificate mends that"),
        hint: hint.to_owned(),
    }
}

/// The alarms as the listener for metrics tells them, which asks for no certificate: `"reason":"ALARM NOSPACE"`
/// (etcd-io/etcd, `server/etcdserver/api/etcdhttp/health.go`).
fn alarms_in_clear(access: &Access) -> Vec<String> {
    let told = || {
        let urls = access
            .inventory
            .facts
            .first("flag:etcd:listen-metrics-urls")?;
        let mut clear = urls
            .value
            .split(',')
            .filter_map(|url| url.strip_prefix("http://"));
        let at = clear.find_map(|url| url.trim_end_matches('/').parse().ok())?;
        let answer = https::get_in_clear(at, "/health", PATIENCE).ok()?;
        let said: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
        Some(said["reason"].as_str()?.to_owned())
    };
    let reason = told().unwrap_or_default();
    let known = ["NOSPACE", "CORRUPT"].into_iter();
    known
        .filter(|kind| reason.contains(&format!("ALARM {kind}")))
        .map(str::to_owned)
        .collect()
}

/// The other members: whether they answer their peers, and whether they say that they are healthy.
fn members(access: &Access, live: &Live, health: &mut Vec<Check>) {
    for member in live.members.iter().filter(|member| !member.here) {
        health.push(Check {
            name: "member".to_owned(),
            subject: member.name.clone(),
            outcome: member.state.clone(),
        });
        let (Outcome::Pass, Some(at)) = (&member.state, member.peer) else {
            continue;
        };
        let subject = format!("etcd on {}", member.name);
        health.push(match access.etcd_on(at.ip(), PATIENCE) {
            Err(why) => Check::unchecked("health", &subject, why),
            Ok(client) => match client.health() {
                Ok(true) => Check::new("health", &subject, None),
                Ok(false) => Check::new(
                    "health",
                    &subject,
                    Some("says that it is not healthy".to_owned()),
                ),
                Err(error) => Check::unchecked("health", &subject, with_causes(&error)),
            },
        });
    }
}

fn api(access: &Access, depth: Depth, health: &mut Vec<Check>) {
    let kube = match access.kube(PATIENCE) {
        Ok(kube) => kube,
        Err(why) => return health.push(Check::unchecked("readyz", "kube-apiserver", why)),
    };
    match kube.readyz() {
        Ok(checks) => {
            for (name, passed) in checks {
                let failure = (!passed).then(|| "says that it is not ready".to_owned());
                health.push(Check::new(
                    "readyz",
                    &format!("kube-apiserver {name}"),
                    failure,
                ));
            }
        },
        Err(error) => {
            let why = with_causes(&error);
            return health.push(Check::new("readyz", "kube-apiserver", Some(why)));
        },
    }
    match kube.who_am_i() {
        Ok((user, groups)) => {
            let who = format!("{user} of {}", groups.join(", "));
            health.push(Check::new("client", &who, None));
        },
        Err(error) => {
            let why = with_causes(&error);
            health.push(Check::new("client", "administrator", Some(why)));
        },
    }
    cluster::look(access, &kube, health);
    if depth == Depth::Proof {
        proof::look(access, &kube, health);
    }
}

/// Ports whose certificate is the process's own business: whether somebody speaks TLS there.
fn silent_ports(profile: &Profile, live: &Live, health: &mut Vec<Check>) {
    let own = live.ports.iter().filter(|port| port.credential.is_none());
    for port in own.filter(|port| profile.consumer(&port.consumer).is_some()) {
        let failure = port.served.present().is_none();
        let failure = failure.then(|| "nobody speaks TLS there".to_owned());
        let subject = format!("{} on {}", port.consumer, port.at);
        health.push(Check::new("listens", &subject, failure));
    }
}

/// A check whose answer is an error's text.
pub(super) fn answered<T>(
    name: &str,
    subject: &str,
    answer: Result<T, impl std::error::Error>,
) -> (Check, Option<T>) {
    match answer {
        Ok(value) => (Check::new(name, subject, None), Some(value)),
        Err(error) => {
            let outcome = Outcome::Fail(with_causes(&error));
            let (name, subject) = (name.to_owned(), subject.to_owned());
            (
                Check {
                    name,
                    subject,
                    outcome,
                },
                None,
            )
        },
    }
}
