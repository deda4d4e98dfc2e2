//! Authorities: which are renewed with their own keys, or get a certificate that was renewed elsewhere, and what the node
//! looks like to the rest of the plan once that is done.
//!
//! A renewed authority differs from the old one in serial number, validity and signature alone, so that everything it
//! signed stays valid. Whoever verifies with a copy of the old certificate has to get the new one.

use crate::defect;
use crate::finding::{Code, Finding, Severity};
use crate::inventory::{AuthorityState, Inventory};
use crate::pki::anchor;
use crate::pki::cert::Cert;
use crate::place::{Observed, Place};
use crate::plan::replacement::Replacement;
use crate::plan::step::{KeyPlan, Origin, Recipe, Slot, Source, Stage};
use crate::plan::{Policy, Renewal};

/// Why an authority's certificate is replaced; none if it stays.
pub(super) fn reason(
    authority: &AuthorityState,
    inventory: &Inventory,
    policy: &Policy,
) -> Option<String> {
    let old = authority.cert()?;
    if let Some(given) = policy.given.get(&authority.id) {
        let is_new = given.chain.first().is_some_and(|cert| cert.der != old.der);
        return is_new.then(|| "was renewed elsewhere (--ca-from)".to_owned());
    }
    match &policy.renewal {
        Renewal::None => None,
        Renewal::Named(ids) => ids
            .iter()
            .any(|id| authority.is(id))
            .then(|| "is renewed on demand".to_owned()),
        Renewal::Due => {
            let ends = defect::validity(old, inventory.at, policy.renew_before)?;
            Some(ends.text(inventory.at))
        },
    }
}

/// What the authority's new certificate will be.
///
/// # Errors
///
/// A finding that says why it cannot be renewed here.
pub(super) fn recipe(
    authority: &AuthorityState,
    inventory: &Inventory,
    policy: &Policy,
) -> Result<Recipe, Finding> {
    let refuse = |text: &str, hint: &str| {
        let path = authority.cert_path.display();
        Err(Finding {
            code: Code::CaUnusable,
            severity: Severity::Critical,
            subject: authority.id.clone(),
            text: format!("CA {} ({path}) {text}", authority.id),
            hint: hint.to_owned(),
        })
    };
    let Some(old) = authority.cert() else {
        return refuse("cannot be read", "restore it from a backup");
    };
    let given = policy.given.get(&authority.id).map(|given| &given.chain);
    if let Some(new) = given.and_then(|chain| chain.first()) {
        if !anchor::succeeds(new, old) {
            let hint = "a CA with another key or name needs a rotation: rescue-kit ca rotate";
            return refuse(
                "has another key, name or key identifier than the certificate to take its place",
                hint,
            );
        }
    } else if authority.external {
        return refuse("is somebody else's", "have it renewed there: --ca-from DIR");
    } else if !old.self_issued() {
        let hint = "have it renewed by the CA above it, and bring it here: --ca-from DIR";
        return refuse("is no root: its own key cannot renew it", hint);
    }
    let wished = policy
        .authority_validity
        .unwrap_or_else(|| old.not_after.since(old.not_before));
    let new = given.and_then(|chain| chain.first());
    Ok(Recipe {
        issuer: authority.id.clone(),
        origin: Origin::Old(Box::new(old.clone())),
        given: given.cloned().unwrap_or_default(),
        add: Vec::new(),
        names: Vec::new(),
        key: KeyPlan::Reuse,
        not_before: new.map_or_else(|| inventory.at.backdated(), |new| new.not_before),
        not_after: new.map_or_else(|| inventory.at.plus(wished), |new| new.not_after),
        capped: false,
        chain: false,
    })
}

/// Where the authority's certificate stands: its own file, and the others that flags and kubeconfigs name.
pub(super) fn replacements(authority: &AuthorityState, stage: &Stage) -> Vec<Replacement> {
    let own = std::iter::once(&authority.cert_path);
    own.chain(&authority.copies)
        .map(|path| Replacement {
            at: Place::File(path.clone()),
            parts: vec![(Slot::Anchor, Source::Staged(stage.id.clone()))],
            mode: 0o644,
            why: "new CA certificate, same key",
        })
        .collect()
}

/// The node as the authorities that are staged leave it. A certificate that is not made yet is stood in for by the old one
/// with the new dates and a byte too many, which is nobody's trust anchor.
pub(super) fn projected(inventory: &Inventory, stages: &[Stage]) -> Inventory {
    let mut projected = inventory.clone();
    for stage in stages {
        let mut authorities = projected.authorities.iter_mut();
        let Some(authority) = authorities.find(|known| known.id == stage.credential) else {
            continue;
        };
        let Observed::Present(chain) = &mut authority.chain else {
            continue;
        };
        let made = stage.recipe.given.first().cloned();
        chain[0] = made.unwrap_or_else(|| stand_in(&chain[0], &stage.recipe));
        let chain = authority.chain.clone();
        let mut files = authority.copies.clone();
        files.push(authority.cert_path.clone());
        let kubeconfigs = projected.credentials.iter_mut();
        for kubeconfig in kubeconfigs.filter_map(|credential| credential.kubeconfig.as_mut()) {
            let file = kubeconfig.ca_file.as_ref();
            if file.is_some_and(|file| files.contains(file)) {
                kubeconfig.ca = chain.clone();
            }
        }
    }
    projected
}

fn stand_in(old: &Cert, recipe: &Recipe) -> Cert {
    let mut new = old.clone();
    new.not_before = recipe.not_before;
    new.not_after = recipe.not_after;
    new.der.push(0);
    new
}
