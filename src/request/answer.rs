//! Answers: whether a certificate that came back is the one that was asked for.

use std::collections::BTreeSet;
use std::fmt;

use crate::pki::cert::Cert;
use crate::pki::chain;
use crate::pki::name::{Name, printable};
use crate::pki::san::San;
use crate::pki::utc::Utc;
use crate::request::Entry;

/// What is wrong with an answer. Displayed after its file's name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Objection {
    /// Basic constraints make it an authority.
    Authority,
    /// The subject's CN is another one.
    CommonName {
        /// What it says.
        have: Option<String>,
        /// What was asked for.
        want: Option<String>,
    },
    /// It has expired.
    Expired(Utc),
    /// It ends too soon to be worth a change.
    EndsSoon(Utc),
    /// The subject's O are others.
    Groups {
        /// What it says.
        have: Vec<String>,
        /// What was asked for.
        want: Vec<String>,
    },
    /// A certificate between it and the trusted authority, or that one itself, is not valid now.
    Issuer {
        /// Whose.
        subject: Name,
        /// Its last second.
        not_after: Utc,
    },
    /// An intermediate is missing.
    LeafOnly {
        /// The issuer whose certificate is needed.
        issuer: Name,
    },
    /// Names are missing.
    Names(Vec<San>),
    /// Its time has not come.
    NotYet(Utc),
    /// Somebody else signed it.
    OtherAuthority {
        /// Whoever signed.
        issuer: Name,
        /// Who should have.
        want: Option<Name>,
    },
    /// It carries another key.
    OtherKey,
    /// It cannot be used for everything that it is needed for.
    Usages(Vec<String>),
    /// Extensions are malformed.
    Unreadable(Vec<String>),
}

/// Judges an answer: the certificates of its file, in whatever order, by what was asked for and by whom the node trusts.
/// `trusted` is the file of the authority, the signing certificate first; `signed(cert, issuer)` tells whether the issuer's
/// key made the certificate's signature.
///
/// Returns what belongs into the credential's file: the leaf, then the intermediates that whoever trusts that file's
/// authority needs. Roots are dropped.
///
/// # Errors
///
/// Everything that is wrong, not the first.
pub fn judge(
    certs: &[Cert],
    entry: &Entry,
    trusted: &[Cert],
    now: Utc,
    signed: &dyn Fn(&Cert, &Cert) -> bool,
) -> Result<Vec<Cert>, Vec<Objection>> {
    let Some(leaf) = leaf(certs, entry) else {
        return Err(vec![Objection::OtherKey]);
    };
    let mut objections = of_leaf(leaf, entry, now);
    match above(leaf, certs, entry, trusted, now, signed) {
        Ok(above) if objections.is_empty() => {
            Ok(std::iter::once(leaf.clone()).chain(above).collect())
        },
        Ok(_) => Err(objections),
        Err(objection) => {
            objections.push(objection);
            Err(objections)
        },
    }
}

/// The certificate with the key of the request; without one, the one that looks most like a leaf.
pub fn leaf<'a>(certs: &'a [Cert], entry: &Entry) -> Option<&'a Cert> {
    let own = certs.iter().find(|cert| entry.has_key_of(cert));
    own.or_else(|| certs.iter().find(|cert| !cert.is_ca))
        .or_else(|| certs.first())
}

fn of_leaf(leaf: &Cert, entry: &Entry, now: Utc) -> Vec<Objection> {
    let asks = &entry.asks;
    let mut found = Vec::new();
    if !entry.has_key_of(leaf) {
        found.push(Objection::OtherKey);
    }
    let (have, want) = (leaf.subject.common_name(), asks.common_name.clone());
    if have != want {
        found.push(Objection::CommonName { have, want });
    }
    let set = |groups: &[String]| groups.iter().cloned().collect::<BTreeSet<_>>();
    let have = leaf.subject.organizations();
    if set(&have) != set(&asks.groups) {
        let want = asks.groups.clone();
        found.push(Objection::Groups { have, want });
    }
    let carried = |name: &&San| leaf.sans.iter().any(|san| san.covers(name));
    let missing: Vec<San> = asks.sans.iter().filter(|n| !carried(n)).cloned().collect();
    if !missing.is_empty() {
        found.push(Objection::Names(missing));
    }
    let usages = missing_usages(leaf, entry);
    if !usages.is_empty() {
        found.push(Objection::Usages(usages));
    }
    if leaf.is_ca {
        found.push(Objection::Authority);
    }
    if !leaf.unreadable.is_empty() {
        found.push(Objection::Unreadable(leaf.unreadable.clone()));
    }
    found.extend(of_time(leaf, now));
    found
}

/// Extended usages must be said, although their absence would mean any: a signer that dropped them dropped more. Of the key
/// usages TLS needs one; signers leave out others that a kind of key has no use for.
fn missing_usages(leaf: &Cert, entry: &Entry) -> Vec<String> {
    let asks = &entry.asks;
    let extended = asks.extended_usages.iter();
    let mut missing: Vec<String> = extended
        .filter(|usage| !leaf.extended_usages.contains(usage))
        .cloned()
        .collect();
    let signs = "digitalSignature".to_owned();
    let restricted = !leaf.key_usages.is_empty() && !leaf.key_usages.contains(&signs);
    if restricted && asks.key_usages.contains(&signs) {
        missing.push(signs);
    }
    missing
}

fn of_time(leaf: &Cert, now: Utc) -> Option<Objection> {
    if now > leaf.not_after {
        Some(Objection::Expired(leaf.not_after))
    } else if now < leaf.not_before {
        Some(Objection::NotYet(leaf.not_before))
    } else if leaf.not_after < now.plus(Utc::DAY) {
        Some(Objection::EndsSoon(leaf.not_after))
    } else {
        None
    }
}

/// What is to follow the leaf in its file.
fn above(
    leaf: &Cert,
    certs: &[Cert],
    entry: &Entry,
    trusted: &[Cert],
    now: Utc,
    signed: &dyn Fn(&Cert, &Cert) -> bool,
) -> Result<Vec<Cert>, Objection> {
    let way = chain::way(leaf, certs, trusted, signed)
        .map_err(|end| no_way(leaf, end, entry, trusted))?;
    let issuers = way.between.iter().chain([&way.anchor]);
    if let Some(bad) = issuers
        .clone()
        .find(|ca| now > ca.not_after || now < ca.not_before)
    {
        return Err(Objection::Issuer {
            subject: bad.subject.clone(),
            not_after: bad.not_after,
        });
    }
    let mut above: Vec<Cert> = way.between.iter().map(|cert| (*cert).clone()).collect();
    if entry.chain {
        // Whoever reads this file may trust only the root: the trusted intermediates followed the old leaf, too.
        let mut link = way.anchor;
        while !link.self_issued() && !above.contains(link) {
            above.push(link.clone());
            let issuer = |by: &&Cert| by.subject == link.issuer && signed(link, by);
            match trusted.iter().find(issuer) {
                Some(next) => link = next,
                None => break,
            }
        }
    }
    Ok(above)
}

/// Why no way leads on from `end`.
fn no_way(leaf: &Cert, end: &Cert, entry: &Entry, trusted: &[Cert]) -> Objection {
    let want = trusted.first().map(|ca| ca.subject.clone());
    let issuer = end.issuer.clone();
    let known = trusted.iter().any(|ca| ca.subject == issuer);
    // A leaf below the node's own intermediate or with a chain before it is taken to be below another intermediate now.
    let below = entry.chain || trusted.first().is_some_and(|ca| !ca.self_issued());
    if end == leaf && below && !known && !leaf.self_issued() {
        return Objection::LeafOnly { issuer };
    }
    Objection::OtherAuthority { issuer, want }
}

/// A predicate about the answer's file.
impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authority => f.write_str("is the certificate of an authority (CA:TRUE)"),
            Self::CommonName { have, want } => {
                let (have, want) = (named(have.as_ref()), named(want.as_ref()));
                write!(f, "is for {have} (CN) instead of {want}")
            },
            Self::Expired(at) => write!(f, "expired at {at}"),
            Self::EndsSoon(at) => write!(f, "ends at {at}, in less than a day"),
            Self::Groups { have, want } => {
                let (have, want) = (listed(have), listed(want));
                write!(f, "is in the groups (O) {have} instead of {want}")
            },
            Self::Issuer { subject, not_after } => {
                write!(
                    f,
                    "was issued below {subject}, whose certificate is not valid now (it ends at {not_after})"
                )
            },
            Self::LeafOnly { issuer } => {
                write!(
                    f,
                    "holds the leaf alone, and the certificate of its issuer {issuer} is needed, too"
                )
            },
            Self::Names(names) => {
                let names: Vec<String> = names.iter().map(ToString::to_string).collect();
                write!(f, "lacks the names {}", names.join(", "))
            },
            Self::NotYet(at) => write!(f, "is not valid before {at}"),
            Self::OtherAuthority { issuer, want } => {
                write!(f, "was signed by another authority, {issuer}")?;
                match want {
                    // The bytes may differ in ways that nobody sees.
                    Some(want) if want.to_string() == issuer.to_string() => {
                        f.write_str(", which only has the name of this node's")
                    },
                    Some(want) => write!(f, ", instead of {want}"),
                    None => Ok(()),
                }
            },
            Self::OtherKey => f.write_str("carries another public key than its request"),
            Self::Usages(usages) => {
                write!(f, "may not be used for {}", printable(&usages.join(", ")))
            },
            Self::Unreadable(ids) => write!(
                f,
                "has malformed extensions: {}",
                printable(&ids.join(", "))
            ),
        }
    }
}

impl Objection {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::LeafOnly { .. } => "append the intermediate's certificate to the file",
            Self::OtherAuthority { .. } => {
                "have it signed by the authority that this node trusts; if an intermediate below it signed, append its certificate"
            },
            Self::OtherKey => {
                "have the request of this very file signed, or make new ones: rescue-kit csr generate"
            },
            Self::NotYet(_) => "check the clock here and where it was signed",
            Self::Issuer { .. } => "the authority must be renewed first",
            Self::Names(_) | Self::Usages(_) => {
                "have it signed with the extensions of the request: openssl x509 -req -copy_extensions copyall"
            },
            _ => "have the request signed again, with what it asks for",
        }
    }
}

fn named(name: Option<&String>) -> String {
    name.map_or_else(
        || "nobody".to_owned(),
        |name| format!("`{}`", printable(name)),
    )
}

fn listed(groups: &[String]) -> String {
    if groups.is_empty() {
        return "none".to_owned();
    }
    format!("`{}`", printable(&groups.join("`, `")))
}
