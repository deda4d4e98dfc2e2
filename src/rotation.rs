//! Rotations: a CA with another key takes the place of the one that is trusted now, over days and in phases.
//!
//! Nothing is noted down anywhere: which certificates the CA's file holds, whose key lies beside it and who signed the
//! leaves say where a node is. A file with two generations trusts both, the one whose key is here signs.

use serde::Serialize;

use crate::inventory::{AuthorityState, CredentialState, Inventory};
use crate::pki::cert::Cert;
use crate::pki::digest::Digest;

/// The certificates of an authority's file, by generation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Generations<'a> {
    /// The one that signs, or stands first where no key is, then those above it.
    pub signing: Vec<&'a Cert>,
    /// Every other one: still to come, or still to go.
    pub other: Vec<&'a Cert>,
}

/// Where an authority stands on a node.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// One CA signs and is trusted.
    Settled,
    /// A younger CA is trusted besides the one that signs.
    Trusted,
    /// The younger CA signs, the older one is trusted still.
    Signing,
}

impl<'a> Generations<'a> {
    /// Those of an authority whose file can be read.
    pub fn of(authority: &'a AuthorityState) -> Option<Self> {
        let chain = authority.chain.present()?;
        let mut signing = vec![chain.first()?];
        // Above an intermediate stands whoever issued it; a root issued itself.
        while let Some(last) = signing.last()
            && !last.self_issued()
            && let Some(above) = chain.iter().find(|cert| cert.subject == last.issuer)
            && !signing.contains(&above)
        {
            signing.push(above);
        }
        let other = chain.iter().filter(|cert| !signing.contains(cert));
        Some(Self {
            other: other.collect(),
            signing,
        })
    }

    /// The phase that the certificates show: whoever begins later is the one to come.
    pub fn position(&self) -> Position {
        let begins = |certs: &[&Cert]| certs.iter().map(|cert| cert.not_before).max();
        match self.other.is_empty() {
            true => Position::Settled,
            false if begins(&self.other) > begins(&self.signing) => Position::Trusted,
            false => Position::Signing,
        }
    }
}

/// Whether one of these certificates' keys is the one that a leaf's way ends at.
pub fn is_of(leaf: &CredentialState, certs: &[&Cert]) -> bool {
    let is_its = |cert: &&Cert| leaf.anchor == Some(Digest::of(cert.public_bits()));
    certs.iter().any(is_its)
}

/// The leaves of an authority that somebody else than these certificates signed.
pub fn strangers<'a>(
    authority: &'a AuthorityState,
    certs: &'a [&Cert],
    inventory: &'a Inventory,
) -> impl Iterator<Item = &'a CredentialState> {
    let leaves = inventory.credentials.iter();
    leaves.filter(move |leaf| {
        authority.is(&leaf.signer) && leaf.cert().is_some() && !is_of(leaf, certs)
    })
}
