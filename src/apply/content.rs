//! The new content of a place, out of the parts that its step names.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use crate::apply::{ApplyError, Hands};
use crate::inventory::AuthorityState;
use crate::issue::Authority;
use crate::pki::cert::Cert;
use crate::pki::digest::Digest;
use crate::pki::key::PrivateKey;
use crate::pki::kubeconfig::{Edit, Kubeconfig, NewMaterial};
use crate::place::{Blob, Observed, Place};
use crate::plan::step::{Commit, Slot, Source, StepId};
use crate::template;

/// A certificate that was just issued, with its key.
pub(super) struct Fresh {
    pub(super) cert: Cert,
    pub(super) key: PrivateKey,
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
            (_, Source::Bundle(ids)) => edit.trust = Some(bundle(ids, authorities, hands)?),
            (Slot::ClientCert, Source::Staged(id)) => edit.cert = Some(certificates(issued(id)?)),
            (Slot::ClientKey, Source::Staged(id)) => {
                edit.key = Some(issued(id)?.key.to_pem().as_bytes().to_vec().into());
            },
            (slot, Source::Staged(id)) => text = Some(pem(*slot, issued(id)?)),
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

fn pem(slot: Slot, fresh: &Fresh) -> Bytes {
    let key = fresh.key.to_pem();
    match slot {
        Slot::Key => key.as_bytes().to_vec().into(),
        Slot::Pem => [certificates(fresh).as_slice(), key.as_bytes()]
            .concat()
            .into(),
        _ => certificates(fresh),
    }
}

fn certificates(fresh: &Fresh) -> Bytes {
    let all = std::iter::once(&fresh.cert).chain(&fresh.chain);
    all.map(Cert::to_pem)
        .collect::<String>()
        .into_bytes()
        .into()
}

/// The certificates of the authorities' files, each once, without whatever else the files say.
fn bundle(
    ids: &[String],
    authorities: &BTreeMap<String, Authority>,
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
