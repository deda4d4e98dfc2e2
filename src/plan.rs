//! Plan: every change, in order, with no choice left open. Made by a pure function; saved, read, applied later.
//!
//! Random by nature, keys and serial numbers are drawn when a certificate is issued, and journaled.

pub mod check;
pub mod recipe;
pub mod step;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::defect::{self, Defect};
use crate::finding::{Code, Finding, Severity};
use crate::inventory::{AuthorityState, CredentialState, Inventory, Node, Placement};
use crate::pki::csr::Template;
use crate::pki::digest::Digest;
use crate::pki::key::KeyAlgorithm;
use crate::pki::san::San;
use crate::pki::utc::Utc;
use crate::place::{Observed, Place};
use crate::profile::{Consumer, Profile, Reads, RestartKind};

use step::{Commit, MetaPlan, Phases, Remaining, Slot, Source, Stage, StepId};

/// The version of the plan format that this build writes and reads.
pub const FORMAT: u16 = 1;

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
}

/// What a plan is for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// New certificates.
    Rescue,
    /// The files of a backup: its path.
    Restore(String),
}

/// What the operator wants.
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
}

/// Why there is no plan: every reason, not the first.
#[derive(Clone, Debug)]
pub struct Refusals(pub Vec<Finding>);

impl Plan {
    /// Whether applying it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.phases.commit.is_empty()
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

    /// The commit step with this name.
    pub fn commit(&self, id: &str) -> Option<&Commit> {
        self.phases.commit.iter().find(|step| step.id == id)
    }
}

impl Policy {
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
    let remaining = remaining(&draft.changed, profile);
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
    })
}

/// Why a credential is due, each a sentence fragment; empty if it is not.
pub fn reasons(
    credential: &CredentialState,
    inventory: &Inventory,
    policy: &Policy,
) -> Vec<String> {
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
                self.commits(credential, &stage, inventory, profile, mistrusts);
                self.phases.stage.push(stage);
                self.changed.push(credential.id.clone());
            },
            Err(refusal) => self.refusals.push(refusal),
        }
    }

    /// The replacements that put one issued credential in place.
    fn commits(
        &mut self,
        credential: &CredentialState,
        stage: &Stage,
        inventory: &Inventory,
        profile: &Profile,
        mistrusts: bool,
    ) {
        let staged = Source::Staged(stage.id.clone());
        let id = &credential.id;
        let reuses = stage.recipe.key == step::KeyPlan::Reuse;
        let modes = profile
            .credential
            .get(id)
            .map(|c| c.create.mode.clone())
            .unwrap_or_default();
        let mode = |index: usize| modes.get(index).copied().unwrap_or(0o600);
        let mut new = NewCommit {
            draft: self,
            inventory,
            credential: id,
        };
        match &credential.placement {
            Placement::Delegated { .. } => {},
            Placement::Embedded { kubeconfig } => {
                let mut parts = Vec::new();
                let blank = inventory
                    .version(kubeconfig)
                    .is_none_or(|version| version.size == 0);
                if blank {
                    parts.extend(recipe::blank(credential, stage, inventory, profile));
                }
                parts.push((Slot::ClientCert, staged.clone()));
                if !reuses {
                    parts.push((Slot::ClientKey, staged));
                }
                if mistrusts || blank {
                    parts.push((Slot::Trust, Source::Bundle(vec![credential.signer.clone()])));
                }
                new.file(kubeconfig, parts, mode(0), "new credential");
            },
            Placement::Pair { cert, key } => {
                if !reuses {
                    new.file(key, vec![(Slot::Key, staged.clone())], mode(1), "new key");
                }
                new.file(cert, vec![(Slot::Cert, staged)], mode(0), "new certificate");
            },
            Placement::Referenced { cert, key, .. } if cert == key => {
                new.file(
                    cert,
                    vec![(Slot::Pem, staged)],
                    mode(0),
                    "new certificate and key",
                );
            },
            Placement::Referenced {
                kubeconfig,
                cert,
                key,
            } => {
                if !reuses {
                    new.file(key, vec![(Slot::Key, staged.clone())], mode(0), "new key");
                }
                new.file(cert, vec![(Slot::Cert, staged)], mode(0), "new certificate");
                if mistrusts {
                    new.trust(kubeconfig, &credential.signer);
                }
            },
            Placement::Pem { path, link } => {
                let target = path.with_file_name(free_name(credential, link, inventory.at));
                let entry = Place::Entry(path.clone());
                let old = inventory.objects.get(&entry).and_then(Observed::present);
                let old = old.and_then(|version| version.link.as_deref());
                new.entry(
                    &target,
                    (Slot::Pem, staged),
                    mode(0),
                    "new certificate and key",
                );
                let link = Source::Link(link_text(old, &target));
                new.entry(path, (Slot::Entry, link), 0o777, "link to the new file");
            },
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
        let mut new = NewCommit {
            draft: self,
            inventory,
            credential: &credential.id,
        };
        new.trust(&kubeconfig.path, &credential.signer);
        self.changed.push(credential.id.clone());
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

    /// One refusal for each authority that has something to sign and cannot.
    fn refuse_authorities(&mut self, inventory: &Inventory) {
        for authority in &inventory.authorities {
            let due = self
                .phases
                .stage
                .iter()
                .filter(|stage| stage.recipe.issuer == authority.id);
            let due: Vec<&str> = due.map(|stage| stage.credential.as_str()).collect();
            if due.is_empty() {
                continue;
            }
            if let Some((code, why, way)) = inability(authority, inventory) {
                let text = format!("{why}, so it cannot sign {}", due.join(", "));
                let hint = format!(
                    "{way}; or name what you want: --only ID; to rescue the rest without them: --skip {}",
                    due.join(",")
                );
                self.refuse(code, &authority.id, text, &hint);
            }
        }
    }
}

/// Why an authority cannot sign: code, sentence fragment, way out.
fn inability(
    authority: &AuthorityState,
    inventory: &Inventory,
) -> Option<(Code, String, &'static str)> {
    let now = inventory.at;
    let about =
        |path: &Path, text: String| format!("CA {} ({}) {text}", authority.id, path.display());
    let (cert, key) = (&authority.cert_path, &authority.key_path);
    let defects = defect::of_authority(authority, now, 0);
    let Some(first) = defects.first() else {
        let why = "signed none of the certificates that are here: it is another cluster's";
        let way = "put this cluster's own CA back, or remove the certificates that it did not sign";
        return is_foreign(authority, inventory)
            .then(|| (Code::CaUnusable, about(cert, why.to_owned()), way));
    };
    let text = first.text(now);
    Some(match first {
        Defect::Expired(_) => {
            let way =
                "put a CA certificate with the same key and subject and a later end in its place";
            (Code::CaExpired, about(cert, text), way)
        },
        Defect::KeyMissing => {
            let way = "put the CA's key there for the rescue, or have the certificates signed where it is";
            (Code::CaKeyMissing, about(key, text), way)
        },
        Defect::KeyMismatch => (
            Code::CaKeyUnusable,
            about(key, text),
            "put the key of this very CA there",
        ),
        Defect::KeyUnreadable(_) => (
            Code::CaKeyUnusable,
            about(key, text),
            "put the key there, unencrypted, for the rescue",
        ),
        Defect::NotYetValid(_) => (Code::CaUnusable, about(cert, text), "check the clock"),
        _ => (
            Code::CaUnusable,
            about(cert, text),
            "restore it from a backup or another control plane",
        ),
    })
}

/// Whether there are leaves of this authority and it signed none of them.
fn is_foreign(authority: &AuthorityState, inventory: &Inventory) -> bool {
    let leaves = inventory
        .credentials
        .iter()
        .filter(|leaf| leaf.signer == authority.id);
    let mut signed = leaves.filter_map(|leaf| leaf.signed.present()).peekable();
    signed.peek().is_some() && signed.all(|signed| !signed)
}

/// A place that is no regular file, or a kubeconfig that cannot be edited: nothing is written over it.
fn unusable_place(credential: &CredentialState, inventory: &Inventory) -> Option<Finding> {
    let kubeconfig = matches!(credential.placement, Placement::Embedded { .. });
    let mut places: Vec<&Path> = vec![credential.path()];
    if let Placement::Pair { key, .. } = &credential.placement {
        places.push(key);
    }
    let pem = matches!(credential.placement, Placement::Pem { .. });
    let refuse = |path: &Path, why: &str| Finding {
        code: Code::Unreadable,
        severity: Severity::Critical,
        subject: credential.id.clone(),
        text: format!("{} ({}) {why}", credential.id, path.display()),
        hint: format!(
            "mend or move {} away, or leave it out: --skip {}",
            path.display(),
            credential.id
        ),
    };
    let entry = inventory
        .objects
        .get(&Place::Entry(credential.path().clone()));
    if let Some(Observed::Unknown(why)) = entry {
        return Some(refuse(credential.path(), why));
    }
    for path in places {
        match inventory.objects.get(&Place::File(path.to_path_buf())) {
            // A link whose target is gone is replaced; the name itself must be a file or a link.
            Some(Observed::Unknown(why)) if !pem => return Some(refuse(path, why)),
            Some(Observed::Present(version)) if kubeconfig && version.size > 0 => {
                if let Observed::Unknown(why) = &credential.chain
                    && credential.kubeconfig.is_none()
                {
                    return Some(refuse(path, why));
                }
            },
            _ => {},
        }
    }
    None
}

/// The name of a versioned file: the kubelet's, of the first second from `at` on whose name is not taken.
fn free_name(credential: &CredentialState, link: &str, at: Utc) -> String {
    let name = |second: i64| link.replace("{stamp}", &at.plus(second).kubelet_stamp());
    let free = |name: &String| !credential.taken.contains(name);
    let seconds = 0..=i64::try_from(credential.taken.len()).unwrap_or(0);
    seconds.map(name).find(free).unwrap_or_else(|| name(0))
}

/// The link's text in the form that the old one had: relative if that was, else absolute, as the kubelet writes it.
fn link_text(old: Option<&Path>, target: &Path) -> std::path::PathBuf {
    match (old, target.file_name()) {
        (Some(old), Some(name)) if old.is_relative() => name.into(),
        _ => target.to_path_buf(),
    }
}

/// Appends commits to a draft.
struct NewCommit<'a> {
    draft: &'a mut Draft,
    inventory: &'a Inventory,
    credential: &'a str,
}

impl NewCommit<'_> {
    fn file(&mut self, path: &Path, parts: Vec<(Slot, Source)>, mode: u32, why: &str) {
        self.push(Place::File(path.to_path_buf()), parts, mode, why);
    }

    fn entry(&mut self, path: &Path, part: (Slot, Source), mode: u32, why: &str) {
        self.push(Place::Entry(path.to_path_buf()), vec![part], mode, why);
    }

    fn trust(&mut self, kubeconfig: &Path, authority: &str) {
        let bundle = Source::Bundle(vec![authority.to_owned()]);
        self.file(
            kubeconfig,
            vec![(Slot::Trust, bundle)],
            0o600,
            "the node's own CA",
        );
    }

    fn push(&mut self, at: Place, parts: Vec<(Slot, Source)>, mode: u32, why: &str) {
        // Two ids that name the same file share what the first one puts there.
        if self
            .draft
            .phases
            .commit
            .iter()
            .any(|commit| commit.at == at)
        {
            return;
        }
        let expect = self
            .inventory
            .objects
            .get(&at)
            .cloned()
            .unwrap_or(Observed::Absent);
        let meta = match &expect {
            Observed::Present(_) => MetaPlan::Keep,
            _ => MetaPlan::Create {
                mode,
                owner: self.inventory.owner,
            },
        };
        let id: StepId = format!("c{:02}", self.draft.phases.commit.len() + 1);
        let (credential, why) = (self.credential.to_owned(), why.to_owned());
        self.draft.phases.commit.push(Commit {
            id,
            credential,
            at,
            expect,
            parts,
            meta,
            why,
        });
    }
}
