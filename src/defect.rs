//! Defects: everything that can be wrong with one certificate, judged from an inventory at a moment.

use serde::{Deserialize, Serialize};

use crate::inventory::{
    AuthorityState, CredentialState, Inventory, KeyFacts, Placement, WantedName,
};
use crate::pki::cert::Cert;
use crate::pki::san::San;
use crate::pki::utc::Utc;
use crate::place::Observed;

/// Something wrong with a certificate, its key or the file around it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Defect {
    /// It ended at this moment.
    Expired(Utc),
    /// It ends at this moment, inside the renewal window.
    Expiring(Utc),
    /// It was issued to the node of this name, and lacks this one's.
    ForeignNode(String),
    /// Its key's file is absent.
    KeyMissing,
    /// Its key is not the one it certifies.
    KeyMismatch,
    /// Its key cannot be read, and why.
    KeyUnreadable(String),
    /// The name that must be a link is a regular file, which the kubelet cannot update.
    LinkIsFile,
    /// Its file is absent.
    Missing,
    /// It lacks names that the node's own files require.
    NamesMissing(Vec<WantedName>),
    /// It begins at this moment, which has not come.
    NotYetValid(Utc),
    /// It ends after the authority that signed it, which ends at this moment.
    OutlivesIssuer(Utc),
    /// The kubeconfig trusts other authorities than the node's own, though its credential is right.
    TrustMismatch,
    /// It cannot be read, and why.
    Unreadable(String),
    /// The node's authority did not sign it.
    WrongIssuer,
}

/// The state of a certificate, in order of precedence.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It cannot be read.
    Unreadable,
    /// It is not there.
    Missing,
    /// Key, issuer or trust do not fit.
    Mismatch,
    /// Its time has not come.
    NotYetValid,
    /// Its time is over.
    Expired,
    /// Its time is nearly over.
    Expiring,
    /// Nothing is wrong with it.
    Ok,
}

impl Defect {
    /// The state that a certificate with this defect is in.
    pub fn status(&self) -> Status {
        match self {
            Self::Expired(_) => Status::Expired,
            Self::Expiring(_) => Status::Expiring,
            Self::KeyMissing | Self::Missing => Status::Missing,
            Self::ForeignNode(_) | Self::KeyMismatch | Self::TrustMismatch | Self::WrongIssuer => {
                Status::Mismatch
            },
            Self::KeyUnreadable(_) | Self::Unreadable(_) => Status::Unreadable,
            Self::LinkIsFile | Self::NamesMissing(_) | Self::OutlivesIssuer(_) => Status::Ok,
            Self::NotYetValid(_) => Status::NotYetValid,
        }
    }

    /// Whether a new certificate mends it, and is owed.
    pub fn is_due(&self) -> bool {
        !matches!(self, Self::OutlivesIssuer(_) | Self::TrustMismatch)
    }

    /// What is wrong, as a sentence fragment that follows the certificate's name.
    pub fn text(&self, now: Utc) -> String {
        match self {
            Self::Expired(at) => format!("expired {} ago ({})", span(now.since(*at)), at.date()),
            Self::Expiring(at) => format!("expires in {} ({})", span(at.since(now)), at.date()),
            Self::ForeignNode(name) => format!("belongs to the node {name}"),
            Self::KeyMissing => "has no private key beside it".to_owned(),
            Self::KeyMismatch => "does not match its private key".to_owned(),
            Self::KeyUnreadable(why) => format!("has a private key that {why}"),
            Self::LinkIsFile => "is a regular file where the kubelet needs a link".to_owned(),
            Self::Missing => "is missing".to_owned(),
            Self::NamesMissing(names) => {
                let names: Vec<String> = names.iter().map(|name| name.san.to_string()).collect();
                format!("lacks the names {}", names.join(", "))
            },
            Self::NotYetValid(at) => format!("is not valid before {at}"),
            Self::OutlivesIssuer(at) => format!("ends after its CA, which ends on {}", at.date()),
            Self::TrustMismatch => "trusts another CA than this node's".to_owned(),
            Self::Unreadable(why) => why.clone(),
            Self::WrongIssuer => "was not signed by this node's CA".to_owned(),
        }
    }
}

impl Status {
    /// As the table and the JSON say it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Missing => "missing",
            Self::Mismatch => "mismatch",
            Self::NotYetValid => "not_yet_valid",
            Self::Expired => "expired",
            Self::Expiring => "expiring",
            Self::Ok => "ok",
        }
    }
}

/// The worst state that `defects` put a certificate in.
pub fn status(defects: &[Defect]) -> Status {
    defects
        .iter()
        .map(Defect::status)
        .min()
        .unwrap_or(Status::Ok)
}

/// Everything wrong with a credential. `renew_before` is in seconds.
pub fn of_credential(
    credential: &CredentialState,
    inventory: &Inventory,
    renew_before: i64,
) -> Vec<Defect> {
    if matches!(credential.placement, Placement::Delegated { .. }) {
        return kubeconfig_defects(credential, inventory);
    }
    let cert = match &credential.chain {
        Observed::Absent if credential.optional && !wanted_by_another(credential, inventory) => {
            return Vec::new();
        },
        Observed::Absent => return vec![Defect::Missing],
        Observed::Unknown(why) => return vec![Defect::Unreadable(why.clone())],
        Observed::Present(chain) => &chain[0],
    };
    let mut defects = key_defects(&credential.key, credential.pairs());
    if credential.signed == Observed::Present(false) {
        defects.push(Defect::WrongIssuer);
    }
    defects.extend(validity(cert, inventory.at, renew_before));
    let missing: Vec<WantedName> = credential.missing_names().into_iter().cloned().collect();
    if let Some(other) = foreign_node(credential, inventory) {
        defects.push(Defect::ForeignNode(other));
    }
    if !missing.is_empty() {
        defects.push(Defect::NamesMissing(missing));
    }
    if let Some(issuer) = inventory
        .authority(&credential.signer)
        .and_then(AuthorityState::cert)
        && cert.not_after > issuer.not_after
    {
        defects.push(Defect::OutlivesIssuer(issuer.not_after));
    }
    defects.extend(kubeconfig_defects(credential, inventory));
    defects.extend(link_defect(credential, inventory));
    defects
}

/// The other node that a certificate was issued to: its common name is one of the names that it serves, and this node's
/// name, which it must serve, is not.
pub fn foreign_node(credential: &CredentialState, inventory: &Inventory) -> Option<String> {
    let own = San::parse(&inventory.node.name.as_ref()?.value)?;
    let lacks_own = credential
        .missing_names()
        .iter()
        .any(|name| name.san == own);
    let cert = credential.cert().filter(|_| lacks_own)?;
    let name = cert.subject.common_name()?;
    let serves = San::parse(&name).is_some_and(|name| cert.sans.contains(&name));
    serves.then_some(name)
}

/// Everything wrong with an authority's certificate and key. `renew_before` is in seconds.
pub fn of_authority(authority: &AuthorityState, now: Utc, renew_before: i64) -> Vec<Defect> {
    let cert = match &authority.chain {
        Observed::Absent => return vec![Defect::Missing],
        Observed::Unknown(why) => return vec![Defect::Unreadable(why.clone())],
        Observed::Present(chain) => &chain[0],
    };
    let mut defects = Vec::new();
    if !authority.external {
        defects = key_defects(&authority.key, authority.pairs());
    }
    defects.extend(validity(cert, now, renew_before));
    defects
}

/// What the validity alone says.
pub fn validity(cert: &Cert, now: Utc, renew_before: i64) -> Option<Defect> {
    if now < cert.not_before {
        Some(Defect::NotYetValid(cert.not_before))
    } else if now > cert.not_after {
        Some(Defect::Expired(cert.not_after))
    } else if cert.not_after.since(now) < renew_before {
        Some(Defect::Expiring(cert.not_after))
    } else {
        None
    }
}

/// A duration for people, in its two largest units at most: `35 days`, `23 h`, `12 min`, `9 s`.
pub fn span(seconds: i64) -> String {
    match seconds.abs() {
        s if s >= 2 * Utc::DAY => format!("{} days", s / Utc::DAY),
        s if s >= 3600 => format!("{} h", s / 3600),
        s if s >= 60 => format!("{} min", s / 60),
        s => format!("{s} s"),
    }
}

fn key_defects(key: &Observed<KeyFacts>, pairs: Option<bool>) -> Vec<Defect> {
    match (key, pairs) {
        (Observed::Absent, _) => vec![Defect::KeyMissing],
        (Observed::Unknown(why), _) => vec![Defect::KeyUnreadable(why.clone())],
        (_, Some(false)) => vec![Defect::KeyMismatch],
        _ => Vec::new(),
    }
}

/// A kubeconfig must trust the certificate that signs; one that names a root above it needs leaves that carry their chain.
fn kubeconfig_defects(credential: &CredentialState, inventory: &Inventory) -> Vec<Defect> {
    let Some(kubeconfig) = &credential.kubeconfig else {
        return match &credential.chain {
            Observed::Unknown(why) => vec![Defect::Unreadable(why.clone())],
            _ => Vec::new(),
        };
    };
    let Some(own) = inventory
        .authority(&credential.signer)
        .and_then(|a| a.chain.present())
    else {
        return Vec::new();
    };
    match &kubeconfig.ca {
        Observed::Present(trusted) if trusts(trusted, own, credential) => Vec::new(),
        _ => vec![Defect::TrustMismatch],
    }
}

fn trusts(trusted: &[Cert], own: &[Cert], credential: &CredentialState) -> bool {
    let holds = |cert: &Cert| trusted.iter().any(|anchor| anchor.der == cert.der);
    let chained = credential
        .chain
        .present()
        .is_some_and(|chain| chain.len() > 1);
    holds(&own[0]) || (chained && own.iter().any(holds))
}

fn link_defect(credential: &CredentialState, inventory: &Inventory) -> Option<Defect> {
    let Placement::Pem { path, .. } = &credential.placement else {
        return None;
    };
    let entry = crate::place::Place::Entry(path.clone());
    let version = inventory.objects.get(&entry).and_then(Observed::present)?;
    version.link.is_none().then_some(Defect::LinkIsFile)
}

fn wanted_by_another(credential: &CredentialState, inventory: &Inventory) -> bool {
    inventory.credentials.iter().any(
        |other| matches!(&other.placement, Placement::Delegated { to, .. } if *to == credential.id),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_state_wins() {
        let at = Utc::from_unix(0);
        assert_eq!(
            status(&[Defect::Expired(at), Defect::KeyMismatch]),
            Status::Mismatch
        );
        assert_eq!(status(&[Defect::OutlivesIssuer(at)]), Status::Ok);
        assert_eq!(status(&[]), Status::Ok);
    }

    #[test]
    fn durations_are_said_in_one_unit() {
        assert_eq!(span(35 * Utc::DAY + 7), "35 days");
        assert_eq!(span(Utc::DAY), "24 h");
        assert_eq!(span(-61), "1 min");
    }
}
