//! Diff: what a run changed, without any secret.

use serde::Serialize;

use crate::inventory::{CredentialState, Inventory};
use crate::pki::cert::Cert;
use crate::pki::digest::Digest;
use crate::pki::utc::Utc;
use crate::plan::Plan;
use crate::plan::step::Origin;

/// The certificates that differ, as they were and as they are.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Diff {
    /// As they were.
    pub before: Vec<Face>,
    /// As they are, or as a plan will make them.
    pub after: Vec<Face>,
}

/// What can be seen of a certificate.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Face {
    /// The credential's id.
    pub id: String,
    /// The subject.
    pub subject: String,
    /// The serial number, hexadecimal; absent while it is not drawn.
    pub serial: Option<String>,
    /// First second of validity.
    pub not_before: Utc,
    /// Last second of validity.
    pub not_after: Utc,
    /// The names that it carries.
    pub sans: Vec<String>,
    /// The digest of the certificate; absent while it is not made.
    pub sha256: Option<Digest>,
}

/// What differs between two inventories.
pub fn between(before: &Inventory, after: &Inventory) -> Diff {
    let mut diff = Diff::default();
    for new in &after.credentials {
        let (was, is) = (before.credential(&new.id).and_then(face), face(new));
        if was != is {
            diff.before.extend(was);
            diff.after.extend(is);
        }
    }
    diff
}

/// What a plan will change.
pub fn planned(inventory: &Inventory, plan: &Plan) -> Diff {
    let mut diff = Diff::default();
    for stage in &plan.phases.stage {
        diff.before
            .extend(inventory.credential(&stage.credential).and_then(face));
        let recipe = &stage.recipe;
        let (subject, mut sans) = match &recipe.origin {
            Origin::Old(cert) => (cert.subject.to_string(), words(&cert.sans)),
            Origin::New(template) => (
                template.common_name.clone().unwrap_or_default(),
                words(&template.hosts),
            ),
        };
        sans.extend(recipe.add.iter().map(|name| name.san.to_string()));
        diff.after.push(Face {
            id: stage.credential.clone(),
            subject,
            serial: None,
            not_before: recipe.not_before,
            not_after: recipe.not_after,
            sans,
            sha256: None,
        });
    }
    diff
}

impl Face {
    /// What can be seen of this certificate.
    pub fn of(id: &str, cert: &Cert) -> Self {
        Self {
            id: id.to_owned(),
            subject: cert.subject.to_string(),
            serial: Some(cert.serial_hex()),
            not_before: cert.not_before,
            not_after: cert.not_after,
            sans: words(&cert.sans),
            sha256: Some(cert.sha256()),
        }
    }
}

fn face(credential: &CredentialState) -> Option<Face> {
    Some(Face::of(&credential.id, credential.cert()?))
}

fn words(sans: &[crate::pki::san::San]) -> Vec<String> {
    sans.iter().map(ToString::to_string).collect()
}
