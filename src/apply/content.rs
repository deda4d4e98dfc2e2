//! The new content of a place, out of the parts that its step names.

use std::collections::BTreeMap;
use std::path::Path;

use zeroize::Zeroizing;

use crate::apply::{ApplyError, Hands};
use crate::inventory::AuthorityState;
use crate::issue::Authority;
use crate::manifest;
use crate::pki::anchor;
use crate::pki::cert::Cert;
use crate::pki::digest::Digest;
use crate::pki::key::PrivateKey;
use crate::pki::kubeconfig::{Edit, Kubeconfig, NewMaterial};
use crate::place::{Blob, Observed, Place};
use crate::plan::step::{Commit, Slot, Source, StepId};
use crate::store::Disk;
use crate::template;

/// A certificate that was just issued, with its key.
pub(super) struct Fresh {
    pub(super) cert: Cert,
    /// None if it stays where it is.
    pub(super) key: Option<PrivateKey>,
    /// Intermediates that follow the leaf in its file.
    pub(super) chain: Vec<Cert>,
    /// The certificate whose successor it is.
    pub(super) replaces: Option<Digest>,
}

/// Bytes that may hold a key.
type Bytes = Zeroizing<Vec<u8>>;

/// Makes the new content of a step's place; `None` if the place becomes absent.
pub(super) fn blob(
    commit: &Commit,
    old: Option<&Blob>,
    authorities: &BTreeMap<String, Authority>,
    fresh: &BTreeMap<StepId, Fresh>,
    hands: &Hands,
) -> Result<Option<Blob>, ApplyError> {
    let fail = |why: &str| ApplyError::Content {
        at: commit.at.clone(),
        why: why.to_owned(),
    };
    let issued = |id: &str| {
        fresh
            .get(id)
            .ok_or_else(|| fail("nothing was issued for it"))
    };
    let mut text: Option<Bytes> = None;
    let mut edit = Parts::default();
    for (slot, source) in &commit.parts {
        match (slot, source) {
            (_, Source::Nothing) => return Ok(None),
            (_, Source::Link(target)) => return Ok(Some(Blob::Link(target.clone()))),
            (_, Source::Archive(entry)) => {
                text = Some((hands.archive)(entry).ok_or_else(|| fail("it is not in the backup"))?);
            },
            (_, Source::Blank { user, server }) => text = Some(blank(user, server)),
            (Slot::Trust, Source::Text(pem)) => edit.trust = Some(pem.as_bytes().to_vec().into()),
            (_, Source::Text(new)) => text = Some(new.as_bytes().to_vec().into()),
            (_, Source::Carried(path)) => {
                text = Some(carried(path)?.to_pem().as_bytes().to_vec().into());
            },
            (_, Source::Flags(values)) => {
                let Some(Blob::File(bytes)) = old else {
                    return Err(fail("there is no manifest"));
                };
                let new = manifest::with_flags(bytes, values).map_err(|why| fail(&why))?;
                text = Some(new.into_bytes().into());
            },
            (_, Source::Bundle(ids)) => edit.trust = Some(bundle(ids, authorities, fresh, hands)?),
            (Slot::ClientCert, Source::Staged(id)) => edit.cert = Some(certificates(issued(id)?)),
            (Slot::ClientKey, Source::Staged(id)) => {
                let key = issued(id)?.key.as_ref();
                let key = key.ok_or_else(|| fail("there is no key for it"))?;
                edit.key = Some(key.to_pem().as_bytes().to_vec().into());
            },
            (Slot::Anchor, Source::Staged(id)) => {
                let Some(Blob::File(bytes)) = old else {
                    return Err(fail("there is no file of certificates"));
                };
                let certs = Cert::all_from_pem(bytes).map_err(|error| fail(&error.to_string()))?;
                text = Some(pem_of(&anchor::renewed(certs, &issued(id)?.cert)));
            },
            (slot, Source::Staged(id)) => {
                let pem = pem(*slot, issued(id)?);
                text = Some(pem.ok_or_else(|| fail("there is no key for it"))?);
            },
        }
    }
    if edit.is_empty() {
        return text
            .map(|text| Some(Blob::File(text)))
            .ok_or_else(|| fail("it has no parts"));
    }
    let base = match (&text, old) {
        (Some(text), _) => text,
        (None, Some(Blob::File(bytes))) => bytes,
        _ => return Err(fail("there is no kubeconfig to edit")),
    };
    Ok(Some(Blob::File(edit.splice(base, &commit.at)?)))
}

/// A private key that the operator brought, from a file of this host.
///
/// # Errors
///
/// [`ApplyError::Content`] if there is no such key.
pub(super) fn carried(path: &Path) -> Result<PrivateKey, ApplyError> {
    let at = Place::File(path.to_path_buf());
    let fail = |why: &str| ApplyError::Content {
        at: at.clone(),
        why: why.to_owned(),
    };
    match Disk::open(Path::new("/"))?.read(&at)? {
        Observed::Present((_, Blob::File(bytes))) => {
            PrivateKey::from_pem(&bytes).map_err(|error| fail(&error.to_string()))
        },
        _ => Err(fail("the key that was brought is not there any more")),
    }
}

/// New values of a kubeconfig, each PEM.
#[derive(Default)]
struct Parts {
    cert: Option<Bytes>,
    key: Option<Bytes>,
    trust: Option<Bytes>,
}

impl Parts {
    fn is_empty(&self) -> bool {
        self.cert.is_none() && self.key.is_none() && self.trust.is_none()
    }

    fn splice(&self, text: &[u8], at: &Place) -> Result<Bytes, ApplyError> {
        let failed = |source| ApplyError::Kubeconfig {
            at: at.clone(),
            source,
        };
        let embedded = |part: &'_ Option<Bytes>| part.clone();
        let (cert, key, trust) = (
            embedded(&self.cert),
            embedded(&self.key),
            embedded(&self.trust),
        );
        let edit = Edit {
            cert: cert.as_deref().map(|pem| NewMaterial::Embedded(pem)),
            key: key.as_deref().map(|pem| NewMaterial::Embedded(pem)),
            ca: trust.as_deref().map(|pem| NewMaterial::Embedded(pem)),
        };
        Kubeconfig::parse(text)
            .map_err(failed)?
            .splice(&edit)
            .map_err(failed)
    }
}

/// What goes into a file; none if that needs a key and there is none.
fn pem(slot: Slot, fresh: &Fresh) -> Option<Bytes> {
    let key = || Some(fresh.key.as_ref()?.to_pem());
    Some(match slot {
        Slot::Key => key()?.as_bytes().to_vec().into(),
        Slot::Pem => [certificates(fresh).as_slice(), key()?.as_bytes()]
            .concat()
            .into(),
        _ => certificates(fresh),
    })
}

fn certificates(fresh: &Fresh) -> Bytes {
    pem_of(std::iter::once(&fresh.cert).chain(&fresh.chain))
}

fn pem_of<'a>(certs: impl IntoIterator<Item = &'a Cert>) -> Bytes {
    let text: String = certs.into_iter().map(Cert::to_pem).collect();
    text.into_bytes().into()
}

/// The certificates of the authorities' files, each once, without whatever else the files say.
fn bundle(
    ids: &[String],
    authorities: &BTreeMap<String, Authority>,
    fresh: &BTreeMap<StepId, Fresh>,
    hands: &Hands,
) -> Result<Bytes, ApplyError> {
    let mut pem = String::new();
    for AuthorityState { id, cert_path, .. } in hands.authorities {
        if !ids.contains(id) {
            continue;
        }
        let at = Place::File(cert_path.clone());
        let read = hands.disk.read(&at)?;
        let Observed::Present((_, Blob::File(bytes))) = read else {
            return Err(ApplyError::Blocked(at));
        };
        let mut certs = Cert::all_from_pem(&bytes).map_err(|error| ApplyError::Content {
            at,
            why: error.to_string(),
        })?;
        for new in fresh.values().filter(|new| new.cert.is_ca) {
            certs = anchor::renewed(certs, &new.cert);
        }
        // The signing certificate first: kubeadm and the kubelet look at the first one only.
        if let Some(authority) = authorities.get(id) {
            certs.sort_by_key(|cert| cert.der != authority.cert.der);
        }
        pem.extend(certs.iter().map(Cert::to_pem));
    }
    Ok(pem.into_bytes().into())
}

/// A kubeconfig whose credential values are still to be put in.
fn blank(user: &str, server: &str) -> Bytes {
    let context = format!("{user}@kubernetes");
    let holes = [
        ("{context}", context.as_str()),
        ("{cluster}", "kubernetes"),
        ("{server}", server),
        ("{user}", user),
        ("{ca}", "AA=="),
        ("{cert}", "AA=="),
        ("{key}", "AA=="),
    ];
    let filled = holes
        .iter()
        .fold(template::KUBECONFIG.to_owned(), |text, (hole, value)| {
            text.replace(hole, value)
        });
    filled.into_bytes().into()
}
