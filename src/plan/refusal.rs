//! Refusals: what makes a plan impossible, and the way out.

use std::path::Path;

use crate::defect::{self, Defect};
use crate::finding::{BY_REQUEST, Code, Finding, Severity};
use crate::inventory::{AuthorityState, CredentialState, Inventory, Placement};
use crate::pki::cert::Cert;
use crate::place::{Observed, Place};
use crate::plan::RENEWABLE;

/// Why an authority cannot sign: code, sentence fragment, way out.
pub(super) fn inability(
    authority: &AuthorityState,
    inventory: &Inventory,
) -> Option<(Code, String, &'static str)> {
    let now = inventory.at;
    let about =
        |path: &Path, text: String| format!("CA {} ({}) {text}", authority.id, path.display());
    let (cert, key) = (&authority.cert_path, &authority.key_path);
    let defects = defect::of_authority(authority, now, 0);
    let Some(first) = defects.first() else {
        if is_foreign(authority, inventory) {
            let why = "signed none of the certificates that are here: it is another cluster's";
            let way =
                "put this cluster's own CA back, or remove the certificates that it did not sign";
            return Some((Code::CaUnusable, about(cert, why.to_owned()), way));
        }
        let why = "has its key elsewhere";
        return authority
            .is_elsewhere()
            .then(|| (Code::CaKeyMissing, about(cert, why.to_owned()), BY_REQUEST));
    };
    let text = first.text(now);
    Some(match first {
        Defect::Expired(_) => {
            let way = if authority.pairs() == Some(true)
                && authority.cert().is_some_and(Cert::self_issued)
            {
                RENEWABLE
            } else {
                "bring a certificate of it that was renewed where its key is: --ca-from DIR"
            };
            (Code::CaExpired, about(cert, text), way)
        },
        Defect::KeyMissing => {
            let way = "put the CA's key there for the rescue, or have the certificates signed where it is";
            (Code::CaKeyMissing, about(key, text), way)
        },
        Defect::KeyMismatch => (
            Code::CaKeyUnusable,
            about(key, text),
            "put the key of this very CA there",
        ),
        Defect::KeyUnreadable(_) => (
            Code::CaKeyUnusable,
            about(key, text),
            "put the key there, unencrypted, for the rescue",
        ),
        Defect::NotYetValid(_) => (Code::CaUnusable, about(cert, text), "check the clock"),
        _ => (
            Code::CaUnusable,
            about(cert, text),
            "restore it from a backup or another control plane",
        ),
    })
}

/// Whether there are leaves of this authority and it signed none of them.
fn is_foreign(authority: &AuthorityState, inventory: &Inventory) -> bool {
    let leaves = inventory
        .credentials
        .iter()
        .filter(|leaf| leaf.signer == authority.id);
    let mut signed = leaves.filter_map(|leaf| leaf.signed.present()).peekable();
    signed.peek().is_some() && signed.all(|signed| !signed)
}

/// A place that is no regular file, or a kubeconfig that cannot be edited: nothing is written over it.
pub fn unusable_place(credential: &CredentialState, inventory: &Inventory) -> Option<Finding> {
    let kubeconfig = matches!(credential.placement, Placement::Embedded { .. });
    let mut places: Vec<&Path> = vec![credential.path()];
    if let Placement::Pair { key, .. } = &credential.placement {
        places.push(key);
    }
    let pem = matches!(credential.placement, Placement::Pem { .. });
    let refuse = |path: &Path, why: &str| Finding {
        code: Code::Unreadable,
        severity: Severity::Critical,
        subject: credential.id.clone(),
        text: format!("{} ({}) {why}", credential.id, path.display()),
        hint: format!(
            "mend or move {} away, or leave it out: --skip {}",
            path.display(),
            credential.id
        ),
    };
    let entry = inventory
        .objects
        .get(&Place::Entry(credential.path().clone()));
    if let Some(Observed::Unknown(why)) = entry {
        return Some(refuse(credential.path(), why));
    }
    for path in places {
        match inventory.objects.get(&Place::File(path.to_path_buf())) {
            // A link whose target is gone is replaced; the name itself must be a file or a link.
            Some(Observed::Unknown(why)) if !pem => return Some(refuse(path, why)),
            Some(Observed::Present(version)) if kubeconfig && version.size > 0 => {
                if let Observed::Unknown(why) = &credential.chain
                    && credential.kubeconfig.is_none()
                {
                    return Some(refuse(path, why));
                }
            },
            _ => {},
        }
    }
    None
}
