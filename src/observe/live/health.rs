//! How the components are: each is asked in its own way. What could not be asked is said, and is no pass.

pub(crate) mod cluster;
pub(crate) mod copies;
pub(crate) mod proof;
pub(crate) mod worker;

use std::net::SocketAddr;
use std::time::Duration;

use crate::access::{Access, with_causes};
use crate::https;
use crate::live::{self, Check, Live, Member, Obstacle, ObstacleKind, Outcome};
use crate::observe::live::Depth;
use crate::profile::{Profile, Role};

/// How long one answer may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Asks etcd and the API server, and through it everybody else, all at once: whoever does not answer costs its whole
/// patience.
pub(super) fn look(access: &Access, depth: Depth, live: &mut Live) {
    let has = |role: Role| access.profile.with_role(role).is_some();
    let seen = &*live;
    let silent = silent_member(access, seen);
    let asked = std::thread::scope(|scope| {
        let own = has(Role::Etcd);
        let own = own.then(|| scope.spawn(|| etcd(access, silent.as_deref(), depth)));
        let is_asked = depth == Depth::Proof || silent.is_none();
        let others = scope.spawn(move || members(access, seen, is_asked));
        let is_asked = has(Role::ApiServer) && depth != Depth::Local;
        let api = is_asked.then(|| scope.spawn(|| api(access, depth)));
        let is_alone = !has(Role::ApiServer) && has(Role::Kubelet);
        let worker = || (worker::look(access, depth, PATIENCE), Vec::new());
        let kubelet = is_alone.then(|| scope.spawn(worker));
        let all = [own, Some(others), api, kubelet];
        // A thread that panicked has ended the process: panics abort.
        let all = all.into_iter().flatten().filter_map(|one| one.join().ok());
        all.collect::<Vec<_>>()
    });
    for (health, obstacles) in asked {
        live.health.extend(health);
        live.obstacles.extend(obstacles);
    }
    let silent = silent_ports(access.profile, live);
    live.health.extend(silent);
}

/// What was asked, and what no certificate mends.
type Asked = (Vec<Check>, Vec<Obstacle>);

/// This node's member, and its alarms.
fn etcd(access: &Access, silent: Option<&str>, depth: Depth) -> Asked {
    let mut alarms = None;
    let client = silent.is_none().then(|| access.etcd(PATIENCE));
    let check = match client {
        None => Check::new("health", "etcd", silent.map(str::to_owned)),
        Some(Err(why)) => Check::unchecked("health", "etcd", why),
        Some(Ok(client)) => {
            let failure = match client.health() {
                Ok(true) => None,
                Ok(false) => Some("says that it is not healthy".to_owned()),
                Err(error) => Some(with_causes(&error)),
            };
            alarms = client.alarms().ok();
            Check::new("health", "etcd", failure)
        },
    };
    let alarms = alarms.map(|all| all.into_iter().map(|(_, kind)| kind).collect());
    let mut kinds: Vec<String> = alarms.unwrap_or_else(|| match depth {
        Depth::Local => Vec::new(),
        _ => alarms_in_clear(access),
    });
    kinds.sort();
    kinds.dedup();
    (vec![check], kinds.iter().map(|kind| alarm(kind)).collect())
}

/// Why this node's member cannot be asked at its port for clients, as was just seen: without a quorum it takes
/// connections and says nothing, and to ask it again only takes time.
fn silent_member(access: &Access, live: &Live) -> Option<String> {
    let etcd = access.profile.with_role(Role::Etcd)?;
    let port = live.ports.iter().find(|port| port.consumer == etcd.id)?;
    live::unserved(port.at, &port.served, None)
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
/// A member that works with this node's own is asked, too; without its own a node has nobody's word to check.
fn members(access: &Access, live: &Live, is_asked: bool) -> Asked {
    let mut health = Vec::new();
    for member in live.members.iter().filter(|member| !member.here) {
        health.push(Check {
            name: "member".to_owned(),
            subject: member.name.clone(),
            outcome: member.state.clone(),
        });
        if let (true, Outcome::Pass, Some(at)) = (is_asked, &member.state, member.peer) {
            health.push(of_member(access, member, at));
        }
    }
    (health, Vec::new())
}

fn of_member(access: &Access, member: &Member, at: SocketAddr) -> Check {
    let subject = format!("etcd on {}", member.name);
    match access
        .etcd_on(at.ip(), PATIENCE)
        .map(|client| client.health())
    {
        Err(why) => Check::unchecked("health", &subject, why),
        Ok(Ok(true)) => Check::new("health", &subject, None),
        Ok(Ok(false)) => {
            let why = "says that it is not healthy".to_owned();
            Check::new("health", &subject, Some(why))
        },
        Ok(Err(error)) => Check::unchecked("health", &subject, with_causes(&error)),
    }
}

fn api(access: &Access, depth: Depth) -> Asked {
    let mut health = Vec::new();
    ask_api(access, depth, &mut health);
    (health, Vec::new())
}

fn ask_api(access: &Access, depth: Depth, health: &mut Vec<Check>) {
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
        copies::look(access, &kube, health);
    }
}

/// Ports whose certificate is the process's own business: whether somebody speaks TLS there.
fn silent_ports(profile: &Profile, live: &Live) -> Vec<Check> {
    let own = live.ports.iter().filter(|port| port.credential.is_none());
    let own = own.filter(|port| profile.consumer(&port.consumer).is_some());
    own.map(|port| {
        let failure = port.served.present().is_none();
        let failure = failure.then(|| "nobody speaks TLS there".to_owned());
        let subject = format!("{} on {}", port.consumer, port.at);
        Check::new("listens", &subject, failure)
    })
    .collect()
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
