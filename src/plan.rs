//! Plan: every change, in order, with no choice left open. Made by a pure function; saved, read, applied later.
//!
//! Random by nature, keys and serial numbers are drawn when a certificate is issued, and journaled.

mod authority;
pub mod check;
mod convergence;
pub mod recipe;
mod refusal;
mod replacement;
pub mod rotation;
pub mod step;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::defect::{self, Defect};
use crate::finding::{self, Code, Finding, Severity};
use crate::inventory::{AuthorityState, CredentialState, Inventory, Node, Placement};
use crate::live::{Obstacle, ObstacleKind, Outcome};
use crate::pki::cert::Cert;
use crate::pki::csr::Template;
use crate::pki::digest::Digest;
use crate::pki::key::KeyAlgorithm;
use crate::pki::san::San;
use crate::pki::utc::Utc;
use crate::place::Observed;
use crate::profile::{Consumer, Profile, Reads, RestartKind};

use convergence::Convergence;
use refusal::inability;
pub use refusal::unusable_place;
use replacement::{Issued, Replacement};
use rotation::Rotation;
use step::{Act, Commit, Converge, Hold, MetaPlan, Phases, Remaining, Stage, Way};

/// The version of the plan format that this build writes and reads.
pub const FORMAT: u16 = 1;

/// How the way out begins where an authority that has expired can be renewed on this node.
pub const RENEWABLE: &str = "renew it with its own key: --ca renew";

/// Every change, in order.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The format's version; [`FORMAT`].
    pub format: u16,
    /// What the plan is for.
    pub purpose: Purpose,
    /// The name of the profile.
    pub profile: String,
    /// Whose files are changed.
    pub node: Node,
    /// The digest of what the plan was made from; another inventory needs another plan.
    pub inventory: Digest,
    /// When it was made, and what new certificates are dated by.
    pub at: Utc,
    /// The steps.
    pub phases: Phases,
    /// Permission bits of directories that must be made; others get 0755.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub directories: BTreeMap<String, u32>,
    /// What remains to be done on the node, in restart order.
    pub remaining: Vec<Remaining>,
    /// Seconds for which the API server is expected not to answer because of this plan, as measured on an idle node.
    #[serde(default)]
    pub downtime_seconds: u32,
}

/// What a plan is for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Access for somebody: nothing of the node changes, and the journal tells the rest.
    Access,
    /// New certificates.
    Rescue,
    /// The files of a backup: its path.
    Restore(String),
}

/// What the operator wants.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// What ends within this many seconds is due.
    pub renew_before: i64,
    /// Everything is due.
    pub all: bool,
    /// Seconds of validity; the template's or a year, if not given.
    pub validity: Option<i64>,
    /// Old keys are kept where they can be.
    pub reuse_keys: bool,
    /// The algorithm of new keys; that of the old ones, if not given.
    pub key_algorithm: Option<KeyAlgorithm>,
    /// Names to add: to one credential, or to all that serve.
    pub sans: Vec<(Option<String>, San)>,
    /// Nothing but these ids.
    pub only: Vec<String>,
    /// Not these ids.
    pub skip: Vec<String>,
    /// Templates that override what a certificate says, by id.
    pub templates: BTreeMap<String, Template>,
    /// Which authorities are renewed.
    pub renewal: Renewal,
    /// Seconds of validity of a renewed authority; as long as the old one's, if not given.
    pub authority_validity: Option<i64>,
    /// Certificates that somebody else issued, by id: of credentials, or of authorities that were renewed elsewhere.
    pub given: BTreeMap<String, Given>,
    /// Which authorities or key pairs give way to others, and how far; then nothing else is due.
    pub rotation: Option<Rotation>,
    /// What is done to running processes.
    pub restart: Restart,
    /// Whoever evicts pods is kept back until every kubelet reports.
    pub hold_controllers: bool,
    /// Processes are restarted although another member of etcd does not answer.
    pub despite_peers: bool,
}

/// A certificate that somebody else issued: it is put in place, not made.
#[derive(Clone, Debug)]
pub struct Given {
    /// The certificate, then what follows it in its file.
    pub chain: Vec<Cert>,
    /// The file of the key that was made for it, absolute below the root; none if the key that is in place stays.
    pub key: Option<PathBuf>,
}

/// Which authorities are renewed: the same key and name, another validity.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Renewal {
    /// None.
    #[default]
    None,
    /// Those that are due, as leaves are.
    Due,
    /// These.
    Named(Vec<String>),
}

/// Which processes are restarted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Restart {
    /// All of them.
    Always,
    /// Those that do not read what changed again by themselves.
    #[default]
    Auto,
    /// None; what is to be done is said.
    Never,
}

/// Why there is no plan: every reason, not the first.
#[derive(Clone, Debug)]
pub struct Refusals(pub Vec<Finding>);

impl Plan {
    /// Whether applying it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.phases.commit.is_empty() && self.phases.converge.is_empty()
    }

    /// What a step does, as a sentence fragment: `replace /etc/kubernetes/pki/apiserver.crt`, `restart kube-apiserver`.
    pub fn deed(&self, id: &str, way: Way) -> Option<String> {
        if let Some(commit) = self.commit(id) {
            return Some(match way {
                Way::Forward => format!("replace {}", commit.at),
                Way::Back => format!("put {} back", commit.at),
            });
        }
        if let Some(stage) = self.stage(id) {
            return Some(format!("issue {}", stage.credential));
        }
        if let Some(hold) = self.hold(id) {
            return Some(match way {
                Way::Forward => format!("stop {} for a while", hold.who),
                Way::Back => format!("start {} again", hold.who),
            });
        }
        let step = self.converge(id)?;
        Some(match (&step.act, way) {
            (Act::Publish { .. }, _) => "mend the copies of CAs that live in the API".to_owned(),
            (Act::Settle, _) => "watch until everything is steady".to_owned(),
            (_, Way::Back) => format!("let {} use the old files again", step.who),
            (Act::Prove(_), _) => format!("wait until {} proves itself", step.who),
            (Act::Restart, _) => format!("restart {}", step.who),
            (Act::Start, _) => format!("start {}", step.who),
            (Act::Stop, _) => format!("stop {}", step.who),
            (Act::SetAside, _) => format!("keep {} from starting", step.who),
            (Act::PutBack, _) => format!("let {} start", step.who),
            (Act::Nodes(_), _) => "wait until every kubelet reports".to_owned(),
        })
    }

    /// How many steps it has.
    pub fn steps(&self) -> usize {
        let phases = &self.phases;
        phases.stage.len() + phases.hold.len() + phases.commit.len() + phases.converge.len()
    }

    /// The bytes whose digest names the plan: its JSON.
    pub fn to_json(&self) -> Vec<u8> {
        // Serialising plain values into memory has no way to fail.
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }

    /// The stage step with this name.
    pub fn stage(&self, id: &str) -> Option<&Stage> {
        self.phases.stage.iter().find(|step| step.id == id)
    }

    /// The hold step with this name.
    pub fn hold(&self, id: &str) -> Option<&Hold> {
        self.phases.hold.iter().find(|step| step.id == id)
    }

    /// The converge step with this name.
    pub fn converge(&self, id: &str) -> Option<&Converge> {
        self.phases.converge.iter().find(|step| step.id == id)
    }

    /// The commit step with this name.
    pub fn commit(&self, id: &str) -> Option<&Commit> {
        self.phases.commit.iter().find(|step| step.id == id)
    }
}

impl Policy {
    /// Whether the operator asked for a part only.
    pub fn is_narrowed(&self) -> bool {
        !(self.only.is_empty() && self.skip.is_empty())
    }

    /// Whether the operator's `--only` and `--skip` leave this id in.
    pub fn selects(&self, id: &str) -> bool {
        let listed = |list: &[String]| list.iter().any(|known| known == id);
        (self.only.is_empty() || listed(&self.only)) && !listed(&self.skip)
    }
}

/// Plans the rescue of a node. Reads no file, clock, environment or randomness.
///
/// # Errors
///
/// Every reason why certificates that are due cannot be issued or put in place.
pub fn plan(inventory: &Inventory, profile: &Profile, policy: &Policy) -> Result<Plan, Refusals> {
    let mut draft = Draft::default();
    let seen = inventory;
    for authority in &seen.authorities {
        draft.renew(authority, seen, policy);
    }
    // From here on the plan is made for a node whose authorities are renewed or rotated.
    let mut after = authority::projected(seen, &draft.phases.stage);
    if let Some(rotation) = &policy.rotation {
        draft.rotate(rotation, &mut after, profile);
        if !draft.refusals.is_empty() {
            return Err(Refusals(draft.refusals));
        }
    }
    let inventory = &after;
    for credential in in_restart_order(inventory, profile) {
        if policy.selects(&credential.id) {
            draft.add(credential, inventory, profile, policy);
        }
    }
    if draft.is_changing()
        && let Err(why) = inventory.clock.judge(inventory.at)
    {
        let hint = "set the clock, or state the true time: --now RFC3339";
        draft.refuse(Code::Clock, "clock", why, hint);
    }
    draft.refuse_authorities(inventory);
    if !draft.refusals.is_empty() {
        draft
            .refusals
            .sort_by(|a, b| (a.code, &a.subject).cmp(&(b.code, &b.subject)));
        return Err(Refusals(draft.refusals));
    }
    let convergence = convergence::plan(
        &draft.changed,
        (&draft.former, &draft.coming),
        inventory,
        profile,
        policy,
    );
    draft.refuse_hindered(&convergence, inventory, policy);
    if !draft.refusals.is_empty() {
        return Err(Refusals(draft.refusals));
    }
    let mut remaining = match &convergence.waits {
        Some(waits) => vec![waits.clone()],
        None if convergence.converge.is_empty() => remaining(&draft.changed, profile),
        None => Vec::new(),
    };
    remaining.extend(of_others(&draft.phases.commit, inventory));
    let downtime_seconds = convergence.downtime(profile);
    draft.phases.hold = convergence.hold;
    draft.phases.converge = convergence.converge;
    Ok(Plan {
        format: FORMAT,
        purpose: Purpose::Rescue,
        profile: profile.name.clone(),
        node: inventory.node.clone(),
        inventory: inventory.digest(profile.digest()),
        at: inventory.at,
        phases: draft.phases,
        directories: BTreeMap::new(),
        remaining,
        downtime_seconds,
    })
}

/// Why a credential is due, each a sentence fragment; empty if it is not.
pub fn reasons(
    credential: &CredentialState,
    inventory: &Inventory,
    policy: &Policy,
) -> Vec<String> {
    if let Some(given) = policy.given.get(&credential.id) {
        let is_new = given.chain.first().map(|cert| &cert.der) != credential.cert().map(|c| &c.der);
        return Vec::from_iter(is_new.then(|| "was issued elsewhere".to_owned()));
    }
    if let Some(rotation) = &policy.rotation {
        let is_former = rotation.reissues(credential, inventory);
        return Vec::from_iter(is_former.then(|| "is of the former CA".to_owned()));
    }
    let defects = defect::of_credential(credential, inventory, policy.renew_before);
    if credential.external || matches!(credential.placement, Placement::Delegated { .. }) {
        return Vec::new();
    }
    let mut reasons: Vec<String> = defects
        .iter()
        .filter(|d| d.is_due())
        .map(|d| d.text(inventory.at))
        .collect();
    let absent = credential.chain == Observed::Absent;
    if reasons.is_empty() && policy.all && !absent {
        reasons.push("all are renewed (--all)".to_owned());
    }
    if policy.templates.contains_key(&credential.id) {
        reasons.push("has a template of its own (--template)".to_owned());
    }
    if let Some(cert) = credential.cert() {
        let asked = recipe::asked_names(credential, policy);
        let new = asked.filter(|name| !cert.sans.iter().any(|san| san.covers(name)));
        reasons.extend(new.map(|name| format!("lacks {name} (--san)")));
    }
    reasons
}

/// What the consumers of changed credentials need, in restart order.
fn remaining(changed: &[String], profile: &Profile) -> Vec<Remaining> {
    profile
        .consumer
        .iter()
        .filter_map(|consumer| remaining_of(consumer, changed))
        .collect()
}

fn remaining_of(consumer: &Consumer, changed: &[String]) -> Option<Remaining> {
    let uses = |reads: fn(&Reads) -> bool| -> Vec<&str> {
        let used = consumer
            .uses
            .iter()
            .filter(|(id, how)| changed.contains(id) && reads(how));
        used.map(|(id, _)| id.as_str()).collect()
    };
    let at_start = uses(|reads| *reads == Reads::Start);
    let by_itself = uses(|reads| *reads != Reads::Start);
    let command = match &consumer.restart {
        RestartKind::Command(argv) => argv.join(" "),
        RestartKind::Systemd(unit) => format!("systemctl restart {unit}"),
        RestartKind::Cri(name) => {
            format!(
                "crictl pods --namespace kube-system --name '^{name}-' -q | xargs -r crictl rmp -f"
            )
        },
    };
    if !at_start.is_empty() {
        let why = format!("reads {} only when it starts", at_start.join(", "));
        return Some(Remaining {
            consumer: consumer.id.clone(),
            command: Some(command),
            why,
        });
    }
    let why = format!("reads {} again by itself, if it runs", by_itself.join(", "));
    let remaining = Remaining {
        consumer: consumer.id.clone(),
        command: None,
        why,
    };
    (!by_itself.is_empty()).then_some(remaining)
}

/// Processes that are not the profile's, and into which something that changes is mounted: whether they read it again is
/// not known here.
fn of_others(commits: &[Commit], inventory: &Inventory) -> Vec<Remaining> {
    let others = inventory.live.iter().flat_map(|live| &live.others);
    let affected = others.filter(|other| {
        let mut places = commits.iter().map(|commit| commit.at.path());
        places.any(|path| other.mounts.iter().any(|mount| path.starts_with(mount)))
    });
    affected
        .map(|other| Remaining {
            consumer: other.name.clone(),
            command: None,
            why: format!(
                "has {} mounted: restart it if it does not read new files by itself",
                other.mounts.join(", ")
            ),
        })
        .collect()
}

fn in_restart_order<'a>(inventory: &'a Inventory, profile: &Profile) -> Vec<&'a CredentialState> {
    let mut ordered: Vec<&CredentialState> = inventory.credentials.iter().collect();
    // The sort is stable: what nobody uses stays in the profile's order, at the end.
    ordered.sort_by_key(|credential| profile.rank(&credential.id));
    ordered
}

/// A plan in the making.
#[derive(Default)]
struct Draft {
    phases: Phases,
    changed: Vec<String>,
    /// Certificates that nobody is to trust any more.
    former: Vec<Digest>,
    /// Certificates that are to be trusted from now on.
    coming: Vec<Digest>,
    refusals: Vec<Finding>,
}

impl Draft {
    fn add(
        &mut self,
        credential: &CredentialState,
        inventory: &Inventory,
        profile: &Profile,
        policy: &Policy,
    ) {
        // What was issued for one credential is what lies in the same file for the others.
        if self.changed.contains(&credential.id) {
            return;
        }
        let why = reasons(credential, inventory, policy);
        let defects = defect::of_credential(credential, inventory, policy.renew_before);
        let mistrusts = defects.contains(&Defect::TrustMismatch);
        if why.is_empty() {
            if mistrusts && !credential.external {
                self.mend_trust(credential, inventory);
            }
            return;
        }
        if let Some(refusal) = unusable_place(credential, inventory) {
            self.refusals.push(refusal);
            return;
        }
        if let Some(refusal) = recipe::unknown_server(credential, inventory, profile) {
            self.refusals.push(refusal);
            return;
        }
        match recipe::recipe(credential, inventory, profile, policy) {
            Ok(recipe) => {
                let id = format!("s{:02}", self.phases.stage.len() + 1);
                let stage = Stage {
                    id,
                    credential: credential.id.clone(),
                    recipe,
                    why,
                };
                let issued = Issued {
                    credential,
                    stage: &stage,
                    inventory,
                    profile,
                    mistrusts,
                };
                self.replace(&credential.id, issued.replacements(), inventory);
                self.phases.stage.push(stage);
                let sharing = inventory.sharing(credential);
                self.changed.extend(sharing.map(|other| other.id.clone()));
            },
            Err(refusal) => self.refusals.push(refusal),
        }
    }

    /// Plans the renewal of an authority, if it is wanted.
    fn renew(&mut self, authority: &AuthorityState, inventory: &Inventory, policy: &Policy) {
        let reason = authority::reason(authority, inventory, policy);
        let Some(why) = reason.filter(|_| policy.selects(&authority.id)) else {
            return;
        };
        match authority::recipe(authority, inventory, policy) {
            Ok(recipe) => {
                let stage = Stage {
                    id: format!("s{:02}", self.phases.stage.len() + 1),
                    credential: authority.id.clone(),
                    recipe,
                    why: vec![why],
                };
                let replacements = authority::replacements(authority, &stage);
                self.replace(&authority.id, replacements, inventory);
                self.phases.stage.push(stage);
                self.changed.push(authority.id.clone());
                self.changed.extend(authority.aliases.iter().cloned());
            },
            Err(refusal) => self.refusals.push(refusal),
        }
    }

    /// Plans a phase of a rotation, and shows the node as it is then to the rest of the plan.
    fn rotate(&mut self, rotation: &Rotation, inventory: &mut Inventory, profile: &Profile) {
        let seen = inventory.clone();
        for (id, successor) in &rotation.authorities {
            let Some(authority) = seen.authority(id) else {
                continue;
            };
            let new = successor.as_ref();
            match rotation::turn(authority, new, rotation, &seen, profile) {
                Ok(turn) => {
                    if !turn.chain.is_empty() {
                        rotation::project(inventory, &authority.id, &turn.chain);
                    }
                    self.take_turn(turn, &authority.aliases, &seen);
                },
                Err(refusal) => self.refusals.push(refusal),
            }
        }
        for (id, new) in &rotation.pairs {
            let Some(pair) = seen.key_pairs.iter().find(|pair| pair.id == *id) else {
                continue;
            };
            match rotation::pair_turn(pair, new.as_ref(), rotation.phase) {
                Ok(turn) => self.take_turn(turn, &[], &seen),
                Err(refusal) => self.refusals.push(refusal),
            }
        }
    }

    fn take_turn(&mut self, turn: rotation::Turn, aliases: &[String], inventory: &Inventory) {
        if !turn.replacements.is_empty() {
            self.changed.extend(aliases.iter().cloned());
        }
        self.former.extend(turn.former);
        self.coming.extend(turn.coming);
        for (id, replacement) in turn.replacements {
            self.replace(&id, vec![replacement], inventory);
            if !self.changed.contains(&id) {
                self.changed.push(id);
            }
        }
    }

    /// A kubeconfig whose credential is right but which trusts another CA.
    fn mend_trust(&mut self, credential: &CredentialState, inventory: &Inventory) {
        let Some(kubeconfig) = &credential.kubeconfig else {
            return;
        };
        if kubeconfig.ca_file.is_some() {
            return;
        }
        let mended = Replacement::trust(&kubeconfig.path, &credential.signer);
        self.replace(&credential.id, vec![mended], inventory);
        self.changed.push(credential.id.clone());
    }

    /// Appends the replacements as numbered steps.
    fn replace(&mut self, credential: &str, replacements: Vec<Replacement>, inventory: &Inventory) {
        for Replacement {
            at,
            parts,
            mode,
            why,
        } in replacements
        {
            // Two ids that name the same file share what the first one puts there.
            if self.phases.commit.iter().any(|commit| commit.at == at) {
                continue;
            }
            let expect = inventory
                .objects
                .get(&at)
                .cloned()
                .unwrap_or(Observed::Absent);
            let meta = match &expect {
                Observed::Present(version) if !version.is_blank() => MetaPlan::Keep,
                _ => MetaPlan::Create {
                    mode,
                    owner: inventory.owner,
                },
            };
            self.phases.commit.push(Commit {
                id: format!("c{:02}", self.phases.commit.len() + 1),
                credential: credential.to_owned(),
                at,
                expect,
                parts,
                meta,
                why: why.to_owned(),
            });
        }
    }

    fn is_changing(&self) -> bool {
        !self.phases.stage.is_empty() || !self.phases.commit.is_empty()
    }

    fn refuse(&mut self, code: Code, subject: &str, text: String, hint: &str) {
        let (subject, hint) = (subject.to_owned(), hint.to_owned());
        self.refusals.push(Finding {
            code,
            severity: Severity::Critical,
            subject,
            text,
            hint,
        });
    }

    /// What is stopped must be able to come back, and what is no certificate's fault is not mended by certificates.
    fn refuse_hindered(
        &mut self,
        convergence: &Convergence,
        inventory: &Inventory,
        policy: &Policy,
    ) {
        let Some(live) = &inventory.live else { return };
        if !policy.despite_peers
            && let Some(peer) = convergence::endangered(convergence, live)
        {
            let Outcome::Fail(why) = &peer.state else {
                return;
            };
            let text = format!(
                "etcd member {} {why}, and this node would stop its own",
                peer.name
            );
            let hint = "rescue that node first; or, if it is gone for good: --despite-peers";
            self.refuse(Code::Peer, &peer.name, text, hint);
        }
        let mends = |obstacle: &&Obstacle| {
            let mut commits = self.phases.commit.iter();
            obstacle.kind == ObstacleKind::Signer
                && commits.any(|commit| commit.at.path() == Path::new(&obstacle.subject))
        };
        let hindrances = convergence::hindrances(convergence, live);
        for obstacle in hindrances.into_iter().filter(|obstacle| !mends(obstacle)) {
            let mut refusal = Finding::of_obstacle(obstacle);
            refusal
                .hint
                .push_str("; or renew the files alone: --restart never");
            self.refusals.push(refusal);
        }
    }

    /// One refusal for each authority that has something to sign and cannot.
    fn refuse_authorities(&mut self, inventory: &Inventory) {
        for authority in &inventory.authorities {
            let due = self.phases.stage.iter().filter(|stage| {
                stage.recipe.issuer == authority.id && stage.recipe.given.is_empty()
            });
            let due: Vec<&str> = due.map(|stage| stage.credential.as_str()).collect();
            if due.is_empty() {
                continue;
            }
            if let Some((code, why, way)) = inability(authority, inventory) {
                let text = format!("{why}, so it cannot sign {}", due.join(", "));
                let hint = format!(
                    "{way}; or name what you want: --only ID; to rescue the rest without them: {}",
                    finding::skipping(&due)
                );
                self.refuse(code, &authority.id, text, &hint);
            }
        }
    }
}
