//! The listing of rotations: where each CA and each key pair of a node stands, and what comes next.

use serde::Serialize;

use crate::inventory::{AuthorityState, Inventory, KeyPairState};
use crate::pki::cert::Cert;
use crate::pki::digest::Digest;
use crate::pki::utc::Utc;
use crate::rotation::{Generations, Position, is_of};

/// One authority.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The profile's id.
    pub id: String,
    /// The file of its certificates, on the node.
    pub path: String,
    /// The phase that the files show.
    pub position: Position,
    /// The key that signs is not kept on this node.
    pub external: bool,
    /// Machines join the cluster by what they know of it: kubeconfigs are its leaves.
    pub joins: bool,
    /// The CA that signs, or the first one where no key is.
    pub signing: Ca,
    /// The other CAs that are trusted.
    pub other: Vec<Ca>,
}

/// A CA and what it signed on this node.
#[derive(Clone, Debug, Serialize)]
pub struct Ca {
    /// Its name.
    pub subject: String,
    /// The last second of its validity.
    pub not_after: Utc,
    /// The digest of the certificate.
    pub sha256: Digest,
    /// The digest of its public key as `kubeadm join --discovery-token-ca-cert-hash` wants it, without `sha256:`.
    pub pin: Digest,
    /// The ids of the leaves that it signed.
    pub leaves: Vec<String>,
}

/// One key pair.
#[derive(Clone, Debug, Serialize)]
pub struct Pair {
    /// The profile's id.
    pub id: String,
    /// The file of its public keys, on the node.
    pub path: String,
    /// The digest of the public half of the key that signs.
    pub signing: Option<Digest>,
    /// The digests of the other keys that are believed.
    pub other: Vec<Digest>,
}

/// Every authority whose certificate can be read.
pub fn authorities(inventory: &Inventory) -> Vec<Row> {
    let readable = inventory.authorities.iter();
    readable
        .filter_map(|authority| row(authority, inventory))
        .collect()
}

/// Every key pair.
pub fn pairs(inventory: &Inventory) -> Vec<Pair> {
    inventory.key_pairs.iter().map(pair).collect()
}

fn row(authority: &AuthorityState, inventory: &Inventory) -> Option<Row> {
    let generations = Generations::of(authority)?;
    let of = |cert: &&Cert| ca(cert, authority, inventory);
    Some(Row {
        id: authority.id.clone(),
        path: authority.cert_path.display().to_string(),
        position: generations.position(),
        external: authority.external,
        joins: inventory
            .credentials
            .iter()
            .any(|leaf| authority.is(&leaf.signer) && leaf.kubeconfig.is_some()),
        signing: of(generations.signing.first()?),
        other: generations.other.iter().map(of).collect(),
    })
}

fn ca(cert: &Cert, authority: &AuthorityState, inventory: &Inventory) -> Ca {
    let leaves = inventory.credentials.iter();
    let own = leaves.filter(|leaf| authority.is(&leaf.signer) && is_of(leaf, &[cert]));
    Ca {
        subject: cert.subject.to_string(),
        not_after: cert.not_after,
        sha256: cert.sha256(),
        pin: Digest::of(&cert.spki),
        leaves: own.map(|leaf| leaf.id.clone()).collect(),
    }
}

fn pair(pair: &KeyPairState) -> Pair {
    let signing = pair.private.present().map(|key| key.public);
    let keys = pair.public_keys.iter().map(|key| key.digest);
    Pair {
        id: pair.id.clone(),
        path: pair.public_path.display().to_string(),
        other: keys.filter(|key| Some(*key) != signing).collect(),
        signing,
    }
}
