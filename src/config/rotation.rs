//! What a rotation brings along: the directory that every node gets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::config::{authorities, bounded};
use crate::crypto::Signer;
use crate::error::Failure;
use crate::exit::Exit;
use crate::observe::public_keys;
use crate::pki::digest::Digest;
use crate::pki::key::PrivateKey;
use crate::plan::Given;
use crate::plan::rotation::{NewPair, Successor};
use crate::profile::Profile;

/// The CAs that take over: `ID.crt` in a directory, and `ID.key` where it is at hand.
pub fn successors(
    dir: &Path,
    ids: &[String],
    profile: &Profile,
) -> Result<BTreeMap<String, Successor>, Failure> {
    let mut given = authorities(dir, profile)?;
    if let Some(id) = ids.iter().find(|id| !given.contains_key(*id)) {
        let text = format!("{} has no {id}.crt", dir.display());
        return Err(Failure::usage(text, "rescue-kit ca rotate begin --out DIR"));
    }
    given.retain(|id, _| ids.is_empty() || ids.contains(id));
    let each = given.into_iter().map(|(id, Given { chain, .. })| {
        let key = brought(
            dir,
            &id,
            chain.first().map(|cert| Digest::of(cert.public_bits())),
        )?;
        Ok((id, Successor { chain, key }))
    });
    each.collect()
}

/// The key pairs that take over: `ID.pub` in a directory, and `ID.key` where it is at hand.
pub fn new_pairs(dir: &Path, profile: &Profile) -> Result<BTreeMap<String, NewPair>, Failure> {
    let mut pairs = BTreeMap::new();
    for id in profile.keypair.keys() {
        let path = dir.join(format!("{id}.pub"));
        let hint = "rescue-kit sa rotate begin --out DIR";
        if !path.exists() {
            let text = format!("{} has no {id}.pub", dir.display());
            return Err(Failure::usage(text, hint));
        }
        let keys = public_keys(&bounded(&path, 1 << 20)?);
        let Some([public]) = keys.as_deref() else {
            let text = format!("{} is not one public key in PEM", path.display());
            return Err(Failure::new(Exit::Refused, text, hint));
        };
        let private = brought(dir, id, Some(public.digest))?;
        let public = public.clone();
        pairs.insert(id.clone(), NewPair { public, private });
    }
    Ok(pairs)
}

/// `ID.key` in a directory: its absolute path, if it is there and the key of what has this digest.
fn brought(dir: &Path, id: &str, public: Option<Digest>) -> Result<Option<PathBuf>, Failure> {
    let path = dir.join(format!("{id}.key"));
    if !path.exists() {
        return Ok(None);
    }
    let refuse = |why: &str| {
        let text = format!("{} {why}", path.display());
        let hint = "bring the key of that very directory's public half, unencrypted: openssl pkey -in FILE";
        Failure::new(Exit::Refused, text, hint)
    };
    let key = PrivateKey::from_pem(&bounded(&path, 1 << 20)?);
    let key = key.map_err(|error| refuse(&error.to_string()))?;
    let signer = Signer::load(&key).map_err(|error| refuse(&error.to_string()))?;
    if Some(Digest::of(signer.public_bits())) != public {
        return Err(refuse("is the key of something else"));
    }
    let path = std::path::absolute(&path).map_err(|error| Failure::unreadable(&path, &error))?;
    Ok(Some(path))
}
