//! Terms: what a certificate authority agrees to sign.

use std::fmt;

use crate::pki::csr::Usage;
use crate::pki::name::printable;
use crate::pki::request::Request;
use crate::profile::Profile;
use crate::request::{Asks, Entry};
use crate::template;

/// What the authority's owner allows beyond, and within, what the profile says.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// Patterns of names, `*` being any text; empty allows every name. They hold for common names, groups and alternative
    /// names.
    pub names: Vec<String>,
    /// Usages that are allowed besides those of the profile.
    pub usages: Vec<Usage>,
}

/// Why a request is not signed. Displayed after its file's name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// It asks to become an authority.
    Authority,
    /// It is not what the manifest says: in these parts.
    Differs(Vec<&'static str>),
    /// It asks for extensions that are malformed.
    Malformed(Vec<String>),
    /// It asks for names that are not allowed.
    Names(Vec<String>),
    /// The profile has no credential of this id.
    Unknown {
        /// The id, filtered.
        id: String,
        /// The profile's name.
        profile: String,
    },
    /// It asks for usages that the profile's credential does not have.
    Usages(Vec<String>),
}

impl Terms {
    /// Every reason why a request is not signed; that it is signed by its own key is not judged here.
    pub fn refusals(&self, request: &Request, entry: &Entry, profile: &Profile) -> Vec<Refusal> {
        let asks = Asks::of(request);
        let mut found = Vec::new();
        match asks.differences(&entry.asks) {
            parts if parts.is_empty() => {},
            parts => found.push(Refusal::Differs(parts)),
        }
        if request.wish.is_ca {
            found.push(Refusal::Authority);
        }
        if !request.wish.unreadable.is_empty() {
            found.push(Refusal::Malformed(request.wish.unreadable.clone()));
        }
        found.extend(self.usages_refused(&asks, entry, profile).err());
        let names: Vec<String> = every_name(&asks).filter(|n| !self.allows(n)).collect();
        if !names.is_empty() {
            found.push(Refusal::Names(names));
        }
        found
    }

    fn usages_refused(&self, asks: &Asks, entry: &Entry, profile: &Profile) -> Result<(), Refusal> {
        let mut allowed = self.usages.clone();
        let others = entry.serves.iter().filter(|id| **id != entry.id);
        for id in std::iter::once(&entry.id).chain(others) {
            let rule = profile.credential.get(id);
            let rule = rule.ok_or_else(|| Refusal::Unknown {
                id: printable(id),
                profile: profile.name.clone(),
            })?;
            allowed.extend(template::usages(&rule.create.template));
        }
        let wanted = asks.key_usages.iter().chain(&asks.extended_usages);
        let known = |usage: &&String| allowed.iter().any(|known| known.rfc_name() == **usage);
        match wanted
            .filter(|usage| !known(usage))
            .cloned()
            .collect::<Vec<_>>()
        {
            refused if refused.is_empty() => Ok(()),
            refused => Err(Refusal::Usages(refused)),
        }
    }

    fn allows(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|pattern| matches(pattern, name))
    }
}

/// Every name that a certificate would speak for.
fn every_name(asks: &Asks) -> impl Iterator<Item = String> {
    let subject = asks.common_name.iter().chain(&asks.groups).cloned();
    subject.chain(asks.sans.iter().map(ToString::to_string))
}

/// Whether a pattern stands for a name, letter case aside.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.to_lowercase(), name.to_lowercase());
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// A predicate about the request's file.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |texts: &[String]| printable(&texts.join(", "));
        match self {
            Self::Authority => f.write_str("asks to become an authority (CA:TRUE)"),
            Self::Differs(parts) => {
                write!(
                    f,
                    "is not the request that the manifest names: {} differ",
                    parts.join(", ")
                )
            },
            Self::Malformed(ids) => write!(f, "asks for malformed extensions: {}", shown(ids)),
            Self::Names(names) => {
                write!(f, "asks for names that are not allowed: {}", shown(names))
            },
            Self::Unknown { id, profile } => {
                write!(
                    f,
                    "asks for `{id}`, which the profile {profile} does not have"
                )
            },
            Self::Usages(usages) => {
                write!(
                    f,
                    "asks for usages that the profile does not give it: {}",
                    shown(usages)
                )
            },
        }
    }
}

impl Refusal {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Authority | Self::Malformed(_) => "do not sign it; ask who made it",
            Self::Differs(_) => "do not sign it; ask for the folder again",
            Self::Names(_) => "allow them if they are right: --allow-name PATTERN",
            Self::Unknown { .. } => "name the layout of the node: --profile FILE",
            Self::Usages(_) => {
                "allow them if they are right: --allow-usage NAME, such as 'client auth'"
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, name) in [
            ("*", ""),
            ("*", "x"),
            ("cp1", "CP1"),
            ("cp*", "cp1"),
            ("*.example.test", "api.example.test"),
            ("10.*.1", "10.96.0.1"),
            ("a*b*c", "a-b-b-c"),
            ("*a*", "a"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("", "x"),
            ("cp1", "cp10"),
            ("a*a", "a"),
            ("*b", "bc"),
            ("a*b*c", "ac"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
