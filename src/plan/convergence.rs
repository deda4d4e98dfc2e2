//! Convergence: which processes have to be restarted, in which order, and how each proves that it uses the new files.
//!
//! A process that reads its files again by itself is not restarted; what it serves proves it. The kubelet writes its own
//! credential and starts every static pod, so it stands still while its files and the pods' sandboxes are replaced: then
//! it brings everything back at once, also when the API server is down, which it would otherwise wait for before it
//! removes anything (kubernetes/kubernetes, pkg/kubelet/kubelet.go, `deletePod`).

use crate::defect::{self, Status};
use crate::inventory::{CredentialState, Inventory, Placement};
use crate::live::{Check, Live, Member, ObstacleKind, Outcome};
use crate::pki::digest::Digest;
use crate::place::Observed;
use crate::plan::step::{Act, Converge, Hold, Proof, Remaining};
use crate::plan::{Policy, Restart};
use crate::profile::{Consumer, Profile, Reads, RestartKind, Role};
use crate::stale;

/// Seconds in which a process re-reads its files by itself; measured: a tenth of a second, unless a watch was lost. On a busy
/// node it may take long, and to wait costs less than a restart that was not needed.
const RELOAD: u32 = 15;
/// Seconds that a restarted process has to come back, on a slow node under load.
const BACK: u32 = 180;

/// Seconds that the kubelets of all nodes have to report.
const NODES: u32 = 600;

/// The steps around and after the replacements.
#[derive(Default)]
pub(super) struct Convergence {
    pub(super) hold: Vec<Hold>,
    pub(super) converge: Vec<Converge>,
    /// What has to be mended before anything can be started.
    pub(super) waits: Option<Remaining>,
}

impl Convergence {
    /// Seconds for which the API server is expected not to answer: a little more if etcd stops, too.
    pub(super) fn downtime(&self, profile: &Profile) -> u32 {
        let stops = |role: Role| {
            let who = profile.with_role(role).map(|consumer| consumer.id.as_str());
            let mut steps = self
                .converge
                .iter()
                .filter(|step| Some(step.who.as_str()) == who);
            steps.any(|step| matches!(step.act, Act::Restart | Act::Stop))
        };
        match (stops(Role::ApiServer), stops(Role::Etcd)) {
            (_, true) => 5,
            (true, false) => 4,
            (false, false) => 0,
        }
    }
}

/// Why a kubelet that needs nothing else is started.
const HELD: &str = "stood still while files and pods were replaced";

/// What a consumer needs.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Need {
    Nothing,
    /// To be looked at: it reads what changed by itself.
    Proof(String),
    /// To be stopped and started.
    Restart(String),
    /// To be started: it does not run.
    Start(String),
}

/// Plans how the consumers of changed credentials come to use them.
pub(super) fn plan(
    changed: &[String],
    (former, coming): (&[Digest], &[Digest]),
    inventory: &Inventory,
    profile: &Profile,
    policy: &Policy,
) -> Convergence {
    let Some(live) = &inventory.live else {
        return Convergence::default();
    };
    if policy.restart == Restart::Never {
        return Convergence::default();
    }
    if let Some(waits) = waiting(changed, inventory, live, profile) {
        return Convergence {
            waits: Some(waits),
            ..Convergence::default()
        };
    }
    let needs: Vec<(&Consumer, Need)> = profile
        .consumer
        .iter()
        .map(|consumer| {
            (
                consumer,
                need(consumer, changed, inventory, live, policy, profile),
            )
        })
        .collect();
    if needs.iter().all(|(_, need)| *need == Need::Nothing) {
        return Convergence::default();
    }
    let held = held(&needs, inventory, live, profile);
    let mut draft = Draft {
        live,
        steps: Vec::new(),
    };
    if held.is_some() {
        draft.stop_pods(&needs);
    }
    let kept = needs.iter().filter(|(consumer, need)| {
        policy.hold_controllers
            && consumer.evicts
            && matches!(need, Need::Restart(_) | Need::Start(_))
            && (held.is_some() || !matches!(consumer.restart, RestartKind::Cri(_)))
    });
    let kept: Vec<&Consumer> = kept.map(|(consumer, _)| *consumer).collect();
    let pods = kept
        .iter()
        .filter(|consumer| matches!(consumer.restart, RestartKind::Cri(_)));
    for consumer in pods {
        draft.push(
            &consumer.id,
            Act::SetAside,
            "evicts the pods of nodes that do not report (--hold-controllers)",
        );
    }
    for (consumer, need) in &needs {
        if kept.iter().any(|kept| kept.id == consumer.id) {
            draft.release(consumer);
        }
        draft.bring(consumer, need, held.is_some());
    }
    let steady = match profile.with_role(Role::ApiServer) {
        Some(_) => "everything stays up and holds its leases",
        None => "the kubelet reports to the control plane",
    };
    draft.push("node", Act::Settle, steady);
    let renewed = inventory
        .authorities
        .iter()
        .any(|known| changed.contains(&known.id));
    if renewed && profile.with_role(Role::ApiServer).is_some() {
        let (former, coming) = (former.to_vec(), coming.to_vec());
        let why = "the API holds copies of the CAs";
        draft.push("node", Act::Publish { former, coming }, why);
    }
    let steps = held.map(|(who, why)| Hold {
        id: "h01".to_owned(),
        who: who.id.clone(),
        why,
    });
    Convergence {
        hold: steps.into_iter().collect(),
        converge: draft.steps,
        waits: None,
    }
}

fn need(
    consumer: &Consumer,
    changed: &[String],
    inventory: &Inventory,
    live: &Live,
    policy: &Policy,
    profile: &Profile,
) -> Need {
    let used = |reads: fn(&Reads) -> bool| -> Vec<&str> {
        let used = consumer.uses.iter();
        let used = used.filter(|(id, how)| changed.contains(id) && reads(how));
        used.map(|(id, _)| id.as_str()).collect()
    };
    let concerned = consumer.uses.keys().any(|id| changed.contains(id));
    if policy.is_narrowed() && !concerned {
        return Need::Nothing;
    }
    // A worker's kubelet waits for an answer to a request. A control plane's is started, unless nothing at all runs there.
    let is_worker = profile.with_role(Role::ApiServer).is_none();
    let is_kubelet = consumer.role == Some(Role::Kubelet);
    if is_worker && is_kubelet && broken_at_start(consumer, changed, inventory).is_some() {
        return Need::Nothing;
    }
    let is_unit = !matches!(consumer.restart, RestartKind::Cri(_));
    let kubelet = profile.with_role(Role::Kubelet);
    let kubelet_is_down = kubelet.is_some_and(|kubelet| is_down(&kubelet.id, live));
    if live.identity(&consumer.id).is_none() && (is_unit || !changed.is_empty() || kubelet_is_down)
    {
        let state = live.consumer(&consumer.id).map_or("", |c| c.state.as_str());
        return Need::Start(format!("does not run ({state})"));
    }
    if policy.restart == Restart::Always {
        return Need::Restart("all are restarted (--restart always)".to_owned());
    }
    let at_start = used(|reads| *reads == Reads::Start);
    if !at_start.is_empty() {
        return Need::Restart(format!("reads {} only when it starts", at_start.join(", ")));
    }
    if let Some(id) = stale::outdated(consumer, inventory) {
        return Need::Restart(format!("started before {id} was renewed"));
    }
    if stale::manifest_changed(consumer, profile, inventory) {
        return Need::Restart("started before its manifest was changed".to_owned());
    }
    if consumer.role == Some(Role::Kubelet) && lost_heartbeat(live) {
        return Need::Restart("reports nothing although the API server answers".to_owned());
    }
    if let Some(port) = stale::unserved(consumer, inventory, live) {
        return Need::Proof(format!("does not serve the certificate of {port}'s file"));
    }
    match used(|reads| *reads != Reads::Start) {
        by_itself if by_itself.is_empty() => Need::Nothing,
        by_itself => Need::Proof(format!("reads {} again by itself", by_itself.join(", "))),
    }
}

/// What keeps everything from being started: nothing runs, and the kubelet, which starts all the rest, would exit because a
/// credential of its own is left as broken as it is.
fn waiting(
    changed: &[String],
    inventory: &Inventory,
    live: &Live,
    profile: &Profile,
) -> Option<Remaining> {
    // A worker's runs nothing else that is known here, and is told by itself.
    profile.with_role(Role::ApiServer)?;
    let kubelet = profile.with_role(Role::Kubelet)?;
    let starts_all = |consumer: &Consumer| {
        consumer.id == kubelet.id || matches!(consumer.restart, RestartKind::Cri(_))
    };
    let mut consumers = profile.consumer.iter();
    if !consumers.all(|consumer| starts_all(consumer) && is_down(&consumer.id, live)) {
        return None;
    }
    let broken = broken_at_start(kubelet, changed, inventory)?;
    Some(Remaining {
        consumer: kubelet.id.clone(),
        command: Some(format!("rescue-kit csr generate --out DIR --only {broken}")),
        why: format!(
            "would exit, since {broken} is left out; renew that, here or where its CA's key is"
        ),
    })
}

/// A credential without which a consumer exits at its start, and which is not mended.
fn broken_at_start<'a>(
    consumer: &Consumer,
    changed: &[String],
    inventory: &'a Inventory,
) -> Option<&'a str> {
    // One that it serves it can do without.
    let is_served = |id: &str| {
        let mut served = consumer.serves.iter();
        served.any(|port| port.credential.as_deref() == Some(id))
    };
    let is_broken = |credential: &&CredentialState| {
        let id = credential.id.as_str();
        let defects = defect::of_credential(credential, inventory, 0);
        consumer.uses.get(id) == Some(&Reads::Start)
            && !matches!(credential.placement, Placement::Delegated { .. })
            && !is_served(id)
            && !changed.iter().any(|known| known == id)
            && defect::status(&defects) != Status::Ok
    };
    let mut credentials = inventory.credentials.iter();
    credentials
        .find(is_broken)
        .map(|credential| credential.id.as_str())
}

fn is_down(id: &str, live: &Live) -> bool {
    live.consumer(id)
        .is_some_and(|consumer| consumer.identity == Observed::Absent)
}

/// The API server answers and says that this node's kubelet is silent.
fn lost_heartbeat(live: &Live) -> bool {
    let mut checks = live.health.iter().filter(|check| check.name == "heartbeat");
    checks.any(|check| matches!(check.outcome, Outcome::Fail(_)))
}

/// The kubelet, if it has to stand still: it is restarted anyway, or etcd is, which only ends quickly without clients, or
/// the API server is down: a kubelet that started meanwhile would not start pods again whose manifests were edited.
/// One that neither starts the control plane nor writes its own credential is restarted like everybody else.
fn held<'a>(
    needs: &[(&'a Consumer, Need)],
    inventory: &Inventory,
    live: &Live,
    profile: &'a Profile,
) -> Option<(&'a Consumer, String)> {
    let kubelet = profile.with_role(Role::Kubelet)?;
    let starts_pods = profile
        .consumer
        .iter()
        .any(|consumer| matches!(consumer.restart, RestartKind::Cri(_)));
    let writes = inventory.credentials.iter().any(|credential| {
        kubelet.uses.contains_key(&credential.id)
            && matches!(credential.placement, Placement::Pem { .. })
            && credential.chain != Observed::Absent
    });
    if !starts_pods && !writes {
        return None;
    }
    let of = |role: Role| {
        let mut needs = needs
            .iter()
            .filter(|(consumer, _)| consumer.role == Some(role));
        needs
            .next()
            .map(|(consumer, need)| (&consumer.restart, need))
    };
    match of(Role::Kubelet)?.1 {
        Need::Restart(why) | Need::Start(why) => return Some((kubelet, why.clone())),
        Need::Nothing | Need::Proof(_) => {},
    }
    if let Some((RestartKind::Cri(_), Need::Restart(_))) = of(Role::Etcd) {
        let why = "would start again what has to stop together with etcd";
        return Some((kubelet, why.to_owned()));
    }
    let mut pods = needs
        .iter()
        .filter(|(consumer, _)| matches!(consumer.restart, RestartKind::Cri(_)));
    let goes = pods.any(|(_, need)| matches!(need, Need::Restart(_) | Need::Start(_)));
    let why = "would wait for the API server before it starts anything whose manifest was edited";
    (goes && !is_ready(live)).then(|| (kubelet, why.to_owned()))
}

/// Whether the API server was asked and said that it is ready.
fn is_ready(live: &Live) -> bool {
    let mut checks = live.health.iter().filter(|check| check.name == "readyz");
    let asked = checks.clone().next().is_some();
    asked && checks.all(Check::passed)
}

/// Converge steps in the making.
struct Draft<'a> {
    live: &'a Live,
    steps: Vec<Converge>,
}

impl Draft<'_> {
    /// With the kubelet held: the pods that must go, clients before servers, so that each ends quickly and cleanly.
    fn stop_pods(&mut self, needs: &[(&Consumer, Need)]) {
        let etcd_goes = needs.iter().any(|(consumer, need)| {
            consumer.role == Some(Role::Etcd) && matches!(need, Need::Restart(_) | Need::Start(_))
        });
        for (consumer, need) in needs.iter().rev() {
            if !matches!(consumer.restart, RestartKind::Cri(_)) {
                continue;
            }
            match need {
                Need::Restart(why) => self.push(&consumer.id, Act::Stop, why),
                Need::Start(_) => {
                    let why = "the kubelet would wait for what is left of it";
                    self.push(&consumer.id, Act::Stop, why);
                },
                _ if etcd_goes && consumer.role == Some(Role::ApiServer) => {
                    self.push(&consumer.id, Act::Stop, "etcd ends only after its clients");
                },
                Need::Nothing | Need::Proof(_) => {},
            }
        }
    }

    /// Starts or restarts what needs it, and lets it prove itself.
    fn bring(&mut self, consumer: &Consumer, need: &Need, held: bool) {
        let is_pod = matches!(consumer.restart, RestartKind::Cri(_));
        let was = self
            .live
            .identity(&consumer.id)
            .map(|identity| identity.name.clone());
        let stopped = self.steps.iter().any(|step| step.who == consumer.id);
        let anew = |was| Proof {
            was,
            reload: None,
            within: BACK,
        };
        let (act, proof, why) = match need {
            Need::Nothing | Need::Proof(_) if held && consumer.role == Some(Role::Kubelet) => {
                (None, anew(was), HELD)
            },
            Need::Nothing if stopped => (None, anew(was), "was stopped for etcd's sake"),
            Need::Nothing => return,
            Need::Proof(why) if stopped => (None, anew(was), why.as_str()),
            Need::Proof(why) => {
                let proof = Proof {
                    was: None,
                    reload: Some(RELOAD),
                    within: BACK,
                };
                (None, proof, why.as_str())
            },
            Need::Restart(why) | Need::Start(why) if is_pod && held => {
                (None, anew(was), why.as_str())
            },
            Need::Restart(why) if consumer.role == Some(Role::Kubelet) => {
                (Some(Act::Start), anew(was), why.as_str())
            },
            Need::Start(why) if !is_pod => (Some(Act::Start), anew(None), why.as_str()),
            Need::Restart(why) | Need::Start(why) => (Some(Act::Restart), anew(was), why.as_str()),
        };
        if held && consumer.role == Some(Role::Kubelet) && act.is_none() {
            self.push(&consumer.id, Act::Start, HELD);
        }
        if let Some(act) = act {
            self.push(&consumer.id, act, why);
        }
        self.push(&consumer.id, Act::Prove(proof), why);
    }

    /// Lets start what was kept back, once nobody's pods are in danger.
    fn release(&mut self, consumer: &Consumer) {
        let patience = Proof {
            within: NODES,
            ..Proof::default()
        };
        self.push(
            "node",
            Act::Nodes(patience),
            "late kubelets are not lost ones",
        );
        if matches!(consumer.restart, RestartKind::Cri(_)) {
            self.push(&consumer.id, Act::PutBack, "was kept back");
        }
    }

    fn push(&mut self, who: &str, act: Act, why: &str) {
        self.steps.push(Converge {
            id: format!("r{:02}", self.steps.len() + 1),
            who: who.to_owned(),
            act,
            why: why.to_owned(),
        });
    }
}

/// Another member of etcd that does not answer while this node's own is part of a working quorum and would be stopped.
pub(super) fn endangered<'a>(convergence: &Convergence, live: &'a Live) -> Option<&'a Member> {
    let stops = convergence
        .converge
        .iter()
        .any(|step| matches!(step.act, Act::Restart | Act::Stop));
    let mut health = live.health.iter();
    let works =
        health.any(|check| check.name == "health" && check.subject == "etcd" && check.passed());
    if !(stops && works) {
        return None;
    }
    live.silent_peers()
        .find(|member| matches!(member.state, Outcome::Fail(_)))
}

/// Obstacles that forbid what the plan would stop or start; without such steps none matters.
pub(super) fn hindrances<'a>(
    convergence: &Convergence,
    live: &'a Live,
) -> Vec<&'a crate::live::Obstacle> {
    let acts = convergence
        .converge
        .iter()
        .any(|step| matches!(step.act, Act::Restart | Act::Stop | Act::Start));
    let forbidding = live.forbidding().filter(|obstacle| {
        acts || matches!(obstacle.kind, ObstacleKind::Disk | ObstacleKind::Etcd)
    });
    forbidding.collect()
}
