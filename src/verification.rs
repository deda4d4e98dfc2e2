//! Verification: what was proved, what failed, and what could not be checked, which is never a pass.

use serde::{Deserialize, Serialize};

use crate::defect::{self, Defect};
use crate::inventory::{CredentialState, Inventory, Placement, Scope};
use crate::pki::utc::Utc;

/// What was proved about a node.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Verification {
    /// How far the proof reaches.
    pub scope: Scope,
    /// When.
    pub at: Utc,
    /// Every check, in the profile's order.
    pub checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Check {
    /// What was asked: `pair`, `signature`, `validity`, `names`, `trust`, `readable`, `served`, `health`.
    pub name: String,
    /// Of what: an id.
    pub subject: String,
    /// The answer.
    pub outcome: Outcome,
}

/// The answer to a check.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is so.
    Pass,
    /// It is not so, and why.
    Fail(String),
    /// It could not be checked, and why.
    Unchecked(String),
}

impl Verification {
    /// Whether nothing failed.
    pub fn passed(&self) -> bool {
        !self
            .checks
            .iter()
            .any(|check| matches!(check.outcome, Outcome::Fail(_)))
    }

    /// How many checks passed, failed, could not be made.
    pub fn counts(&self) -> (usize, usize, usize) {
        let count = |f: fn(&Outcome) -> bool| self.checks.iter().filter(|c| f(&c.outcome)).count();
        (
            count(|o| *o == Outcome::Pass),
            count(|o| matches!(o, Outcome::Fail(_))),
            count(|o| matches!(o, Outcome::Unchecked(_))),
        )
    }
}

/// Verifies what an inventory shows; what runs and what is served cannot be seen from files.
pub fn verify(inventory: &Inventory) -> Verification {
    let mut checks = Vec::new();
    for authority in &inventory.authorities {
        let defects = defect::of_authority(authority, inventory.at, 0);
        // A CA key that is elsewhere by policy is no failure of the node.
        let about_cert = |d: &&Defect| !matches!(d, Defect::KeyMissing | Defect::KeyUnreadable(_));
        let first = defects
            .iter()
            .find(about_cert)
            .map(|d| d.text(inventory.at));
        checks.push(check("validity", &authority.id, first));
    }
    for credential in &inventory.credentials {
        checks.extend(of_credential(credential, inventory));
    }
    for pair in &inventory.key_pairs {
        let why = match pair.pairs() {
            Some(true) => None,
            Some(false) => Some("the halves do not belong together".to_owned()),
            None => Some("a half is missing or unreadable".to_owned()),
        };
        checks.push(check("pair", &pair.id, why));
    }
    for (name, what) in [
        ("served", "what each port serves"),
        ("health", "whether the components are healthy"),
    ] {
        let why = format!("{what} can only be seen on the running node");
        let outcome = Outcome::Unchecked(why);
        checks.push(Check {
            name: name.to_owned(),
            subject: "node".to_owned(),
            outcome,
        });
    }
    Verification {
        scope: inventory.scope,
        at: inventory.at,
        checks,
    }
}

fn of_credential(credential: &CredentialState, inventory: &Inventory) -> Vec<Check> {
    let defects = defect::of_credential(credential, inventory, 0);
    let absent_by_right = credential.cert().is_none() && defects.is_empty();
    let delegated = matches!(credential.placement, Placement::Delegated { .. });
    if absent_by_right && !delegated {
        return Vec::new();
    }
    let names: &[&str] = if delegated {
        &["trust"]
    } else if credential.kubeconfig.is_some() {
        &["readable", "pair", "signature", "validity", "trust"]
    } else if credential.wanted.is_empty() {
        &["readable", "pair", "signature", "validity"]
    } else {
        &["readable", "pair", "signature", "validity", "names"]
    };
    let failure = |name: &str| {
        let mut failed = defects
            .iter()
            .filter(|defect| check_of(defect) == Some(name));
        failed.next().map(|defect| defect.text(inventory.at))
    };
    names
        .iter()
        .map(|name| check(name, &credential.id, failure(name)))
        .collect()
}

/// The check that a defect fails.
fn check_of(defect: &Defect) -> Option<&'static str> {
    match defect {
        Defect::Expired(_) | Defect::NotYetValid(_) => Some("validity"),
        Defect::KeyMismatch => Some("pair"),
        Defect::KeyMissing | Defect::KeyUnreadable(_) | Defect::Missing | Defect::Unreadable(_) => {
            Some("readable")
        },
        Defect::NamesMissing(_) => Some("names"),
        Defect::TrustMismatch => Some("trust"),
        Defect::WrongIssuer => Some("signature"),
        Defect::Expiring(_) | Defect::LinkIsFile | Defect::OutlivesIssuer(_) => None,
    }
}

fn check(name: &str, subject: &str, failure: Option<String>) -> Check {
    let outcome = failure.map_or(Outcome::Pass, Outcome::Fail);
    Check {
        name: name.to_owned(),
        subject: subject.to_owned(),
        outcome,
    }
}
