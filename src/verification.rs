//! Verification: what was proved, what failed, and what could not be checked, which is never a pass.

use serde::{Deserialize, Serialize};

use crate::defect::{self, Defect};
use crate::inventory::{CredentialState, Inventory, Placement, Scope};
use crate::live::{self, Port};
pub use crate::live::{Check, Outcome};
use crate::pki::digest::Digest;
use crate::pki::utc::Utc;

/// The names of the checks that files alone answer.
pub const OF_FILES: [&str; 6] = [
    "readable",
    "pair",
    "signature",
    "validity",
    "names",
    "trust",
];

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

impl Verification {
    /// The same for a node whose cluster has no quorum yet: what waits for the other members is no failure of this node.
    #[must_use]
    pub fn local(mut self) -> Self {
        self.scope = Scope::Local;
        for check in &mut self.checks {
            if let (false, Outcome::Fail(why)) = (OF_FILES.contains(&&*check.name), &check.outcome)
            {
                check.outcome = Outcome::Unchecked(format!("waits for a quorum of etcd: {why}"));
            }
        }
        self
    }
}

/// Verifies what an inventory shows.
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
        checks.push(Check::new("validity", &authority.id, first));
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
        checks.push(Check::new("pair", &pair.id, why));
    }
    checks.extend(of_processes(inventory));
    Verification {
        scope: inventory.scope,
        at: inventory.at,
        checks,
    }
}

/// What the processes of a running node show.
fn of_processes(inventory: &Inventory) -> Vec<Check> {
    let Some(live) = &inventory.live else {
        let why = "can only be seen on the running node";
        return vec![
            Check::unchecked("served", "node", format!("what each port serves {why}")),
            Check::unchecked(
                "health",
                "node",
                format!("whether the components are healthy {why}"),
            ),
        ];
    };
    let served = live.ports.iter().filter_map(|port| served(port, inventory));
    served.chain(live.health.iter().cloned()).collect()
}

/// Whether a port serves the certificate of its credential's file.
pub fn served(port: &Port, inventory: &Inventory) -> Option<Check> {
    let id = port.credential.as_deref()?;
    let credential = inventory.credential(id)?;
    let file = credential.cert().map(|cert| Digest::of(&cert.der));
    let subject = format!("{id} on {}", port.at);
    let Some(file) = file else {
        let why = "there is no certificate to compare with";
        return (!credential.optional).then(|| Check::unchecked("served", &subject, why));
    };
    let failure = live::unserved(port.at, &port.served, Some(&file));
    Some(Check::new("served", &subject, failure))
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
        .map(|name| Check::new(name, &credential.id, failure(name)))
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
        Defect::ForeignNode(_) | Defect::NamesMissing(_) => Some("names"),
        Defect::TrustMismatch => Some("trust"),
        Defect::WrongIssuer => Some("signature"),
        Defect::Expiring(_) | Defect::LinkIsFile | Defect::OutlivesIssuer(_) => None,
    }
}
