//! A second pair of eyes: checks over a plan that share nothing with the planner.
//!
//! A violation is a bug of the planner, or a plan file that somebody edited; either way nothing is applied.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::inventory::{AuthorityState, CredentialState, Inventory, Placement};
use crate::place::Place;
use crate::plan::rotation::is_own_file;
use crate::plan::step::{Act, Commit, Converge, Origin, Slot, Source};
use crate::plan::{FORMAT, Plan};

/// Every rule that the plan breaks, as sentence fragments; empty when it is sound.
pub fn violations(plan: &Plan, inventory: &Inventory) -> Vec<String> {
    let mut broken = Vec::new();
    if plan.format != FORMAT {
        broken.push(format!(
            "the plan has format {}, this build reads {FORMAT}",
            plan.format
        ));
    }
    unique_names(plan, &mut broken);
    sources_exist(plan, &mut broken);
    own_places(plan, inventory, &mut broken);
    whole_credentials(plan, &mut broken);
    sound_certificates(plan, inventory, &mut broken);
    whole_restarts(plan, inventory, &mut broken);
    broken
}

/// Only consumers that were seen are touched, and whatever is stopped is started and proves itself later.
fn whole_restarts(plan: &Plan, inventory: &Inventory, broken: &mut Vec<String>) {
    let steps = &plan.phases.converge;
    let is_known = |who: &str| {
        let live = inventory.live.as_ref();
        live.is_some_and(|live| live.consumer(who).is_some())
    };
    for (index, step) in steps.iter().enumerate() {
        let of_node = matches!(step.act, Act::Nodes(_) | Act::Publish { .. } | Act::Settle);
        if !of_node && !is_known(&step.who) {
            broken.push(format!(
                "{} is about {}, which does not run here",
                step.id, step.who
            ));
        }
        let mut later = steps[index + 1..]
            .iter()
            .filter(|other| other.who == step.who);
        let proved = later.any(|other| matches!(other.act, Act::Prove(_)));
        if !(of_node || proved || matches!(step.act, Act::Prove(_))) {
            broken.push(format!("{} is touched and never proves itself", step.who));
        }
    }
    for hold in &plan.phases.hold {
        let starts = |step: &Converge| step.who == hold.who && step.act == Act::Start;
        if !is_known(&hold.who) || !steps.iter().any(starts) {
            broken.push(format!("{} is held and never started again", hold.who));
        }
    }
}

fn unique_names(plan: &Plan, broken: &mut Vec<String>) {
    let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
    let stages = plan.phases.stage.iter().map(|step| &step.id);
    let commits = plan.phases.commit.iter().map(|step| &step.id);
    let holds = plan.phases.hold.iter().map(|step| &step.id);
    let restarts = plan.phases.converge.iter().map(|step| &step.id);
    for id in stages.chain(commits).chain(holds).chain(restarts) {
        if !ids.insert(id) {
            broken.push(format!("two steps are called {id}"));
        }
        if id.is_empty() || !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
            broken.push(format!("`{id}` is no name of a step"));
        }
    }
    for commit in &plan.phases.commit {
        if !places.insert(commit.at.path()) {
            broken.push(format!("{} is replaced twice", commit.at));
        }
        if !commit.at.path().is_absolute() {
            broken.push(format!("{} is not absolute", commit.at));
        }
    }
}

fn sources_exist(plan: &Plan, broken: &mut Vec<String>) {
    for commit in &plan.phases.commit {
        for (_, source) in &commit.parts {
            if let Source::Staged(id) = source
                && plan.stage(id).is_none()
            {
                broken.push(format!(
                    "{} takes from {id}, which issues nothing",
                    commit.id
                ));
            }
        }
        if commit.parts.is_empty() {
            broken.push(format!("{} puts nothing into {}", commit.id, commit.at));
        }
    }
}

/// A plan touches the places of its own credentials and nothing else, and removes nothing.
fn own_places(plan: &Plan, inventory: &Inventory, broken: &mut Vec<String>) {
    for commit in &plan.phases.commit {
        let credential = inventory.credential(&commit.credential);
        let authority = inventory.authority(&commit.credential);
        let of_authority = |ca: &AuthorityState| {
            let path = commit.at.path();
            let carried = matches!(commit.parts[..], [(Slot::Key, Source::Carried(_))]);
            path == ca.cert_path
                || ca.copies.iter().any(|copy| path == copy)
                || (carried && path == ca.key_path)
                || is_signers(commit, ca)
        };
        let mut pairs = inventory.key_pairs.iter();
        let of_pair = pairs.any(|pair| {
            let path = commit.at.path();
            pair.id == commit.credential && (path == pair.public_path || path == pair.private_path)
        });
        if !(of_pair
            || credential.is_some_and(|credential| owns(credential, &commit.at))
            || authority.is_some_and(of_authority))
        {
            broken.push(format!(
                "{} is no place of {}",
                commit.at, commit.credential
            ));
        }
        if commit
            .parts
            .iter()
            .any(|(_, s)| matches!(s, Source::Archive(_) | Source::Nothing))
            && !authority.is_some_and(|ca| is_signers(commit, ca))
        {
            broken.push(format!(
                "{} would not put a certificate into {}",
                commit.id, commit.at
            ));
        }
    }
}

/// The file that the controller manager has to sign with while others trust two CAs, or the manifest that names it.
fn is_signers(commit: &Commit, ca: &AuthorityState) -> bool {
    let path = commit.at.path();
    let mut parts = commit.parts.iter();
    match parts.next() {
        Some((Slot::Flags, Source::Flags(values))) => {
            let own = |path: &PathBuf| *path == ca.cert_path || is_own_file(ca, path);
            values.values().flatten().all(own)
        },
        Some((_, Source::Nothing)) => is_own_file(ca, path) || path == ca.key_path,
        _ => is_own_file(ca, path),
    }
}

fn owns(credential: &CredentialState, at: &Place) -> bool {
    let is = |path: &Path| *at == Place::File(path.to_path_buf());
    if credential
        .kubeconfig
        .as_ref()
        .is_some_and(|kubeconfig| is(&kubeconfig.path))
    {
        return true;
    }
    match &credential.placement {
        Placement::Delegated { .. } => false,
        Placement::Embedded { kubeconfig } => is(kubeconfig),
        Placement::Pair { cert, key } | Placement::Referenced { cert, key, .. } => {
            is(cert) || is(key)
        },
        Placement::Pem { path, link } => {
            // The link, or the file beside it that it will lead to.
            let (head, tail) = link.split_once("{stamp}").unwrap_or((link, ""));
            let name = at
                .path()
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            let stamped = name.starts_with(head) && name.ends_with(tail);
            let beside = at.path().parent() == path.parent();
            matches!(at, Place::Entry(_)) && (at.path() == path || (beside && stamped))
        },
    }
}

/// Everything that is issued is put in place with its key, and nothing is put in place without its certificate.
fn whole_credentials(plan: &Plan, broken: &mut Vec<String>) {
    for stage in &plan.phases.stage {
        let mut slots = Vec::new();
        for (slot, source) in plan.phases.commit.iter().flat_map(|commit| &commit.parts) {
            if *source == Source::Staged(stage.id.clone()) {
                slots.push(*slot);
            }
        }
        let holds = |any: &[Slot]| any.iter().any(|slot| slots.contains(slot));
        let cert = holds(&[Slot::Anchor, Slot::Cert, Slot::ClientCert, Slot::Pem]);
        let key = holds(&[Slot::Key, Slot::ClientKey, Slot::Pem]);
        let reuses = stage.recipe.key == crate::plan::step::KeyPlan::Reuse;
        if !cert || !(key || reuses) {
            broken.push(format!(
                "{} is issued but not put in place whole",
                stage.credential
            ));
        }
    }
}

fn sound_certificates(plan: &Plan, inventory: &Inventory, broken: &mut Vec<String>) {
    for stage in &plan.phases.stage {
        let (id, recipe) = (&stage.credential, &stage.recipe);
        if recipe.not_before >= recipe.not_after {
            broken.push(format!("{id} would never be valid"));
        }
        // What others issued is theirs to date, and a root is nobody's to outlive.
        let renewed = plan
            .phases
            .stage
            .iter()
            .find(|s| s.credential == recipe.issuer);
        let end = renewed.map(|renewed| renewed.recipe.not_after);
        match inventory
            .authority(&recipe.issuer)
            .and_then(AuthorityState::cert)
        {
            _ if !recipe.given.is_empty() => {},
            None => broken.push(format!(
                "{id} would be signed by {}, which is absent",
                recipe.issuer
            )),
            Some(ca) if recipe.not_after > end.unwrap_or(ca.not_after) => {
                broken.push(format!("{id} would outlive its CA"));
            },
            Some(_) => {},
        }
        let seen = inventory.credential(id).map(CredentialState::cert);
        let seen = seen.or_else(|| inventory.authority(id).map(AuthorityState::cert));
        if let (Origin::Old(old), Some(seen)) = (&recipe.origin, seen)
            && recipe.given.is_empty()
            && seen.is_none_or(|cert| cert.der != old.der)
        {
            broken.push(format!(
                "{id} is not modelled on the certificate that is there"
            ));
        }
    }
}
