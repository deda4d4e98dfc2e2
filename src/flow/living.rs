//! Access that still lives: what makes and removes the objects of a grant.

use std::path::Path;

use crate::access::{Access, Login};
use crate::flow::certify::Client;
use crate::flow::failure::AccessError;
use crate::flow::kubeconfigs::{TIMEOUT, acceptance};
use crate::flow::site::Site;
use crate::grant::NAMESPACE;
use crate::issue::Authority;
use crate::journal::Issued;
use crate::kube::{Kube, KubeError};
use crate::listing::kubeconfig::Answer;
use crate::pki::key::KeyAlgorithm;
use crate::store::Disk;

use super::user::MASTERS;

/// The user of the certificate that only makes and removes objects; the run's name follows.
const HELPER: &str = "rescue-kit:break-glass-helper:";
/// How long that certificate is valid, in seconds, a minute for clocks that are behind included.
const HELP: i64 = 180;
/// How long before now short-lived certificates begin, in seconds.
pub(super) const SLACK: i64 = 60;

/// What has to be allowed to whoever makes a grant: verb, group, resource, namespace.
const NEEDED: [(&str, &str, &str, &str); 3] = [
    (
        "create",
        "rbac.authorization.k8s.io",
        "clusterrolebindings",
        "",
    ),
    ("create", "", "serviceaccounts", NAMESPACE),
    ("create", "", "serviceaccounts/token", NAMESPACE),
];

/// A client that may make and remove the objects of a grant.
pub(super) struct Hands {
    pub(super) kube: Kube,
    /// Whose access it is, for people and for the audit.
    pub(super) who: String,
    /// The certificate that was issued for it, if one was.
    pub(super) issued: Option<Issued>,
}

impl Site {
    /// With the CA's key anybody can be anybody: a certificate of `system:masters` for three minutes, which is written
    /// nowhere. Its issue is in the journal.
    pub(super) fn helper(
        access: &Access,
        authority: &Authority,
        run: &str,
    ) -> Result<Hands, AccessError> {
        let now = access.inventory.at;
        let name = format!("{HELPER}{run}");
        let client = Client {
            name: &name,
            groups: &[MASTERS.to_owned()],
            valid: (now.plus(-SLACK), now.plus(HELP - SLACK)),
            key: KeyAlgorithm::EcdsaP256,
        };
        let refused = |why: String| AccessError::refused(why, "rescue-kit verify");
        let made = client.certify(authority);
        let made = made.map_err(|error| refused(error.to_string()))?;
        let identity = made
            .identity()
            .map_err(|error| refused(error.to_string()))?;
        let kube = access.kube_with(&identity, TIMEOUT).map_err(refused)?;
        let end = made.cert.not_after;
        Ok(Hands {
            kube,
            who: format!("a certificate of {MASTERS} that lives in memory only and ends at {end}"),
            issued: Some(made.facts("break-glass-helper")),
        })
    }

    /// The first kubeconfig whose credential the API server still takes and which may make a grant; with `with` only that
    /// one, a path of this host. `hint` says what else there is.
    pub(super) fn living(
        &self,
        access: &Access,
        with: Option<&Path>,
        hint: &str,
    ) -> Result<Hands, AccessError> {
        let host = Disk::open(Path::new("/"))?;
        let candidates = if let Some(path) = with {
            vec![(&host, path.to_path_buf())]
        } else {
            let found = self.kubeconfig_paths(access.inventory)?;
            found.into_iter().map(|path| (&self.disk, path)).collect()
        };
        let mut reasons = Vec::new();
        for (disk, path) in candidates {
            match hands_of(access, disk, &path) {
                Ok(hands) => return Ok(hands),
                Err(why) => reasons.push(format!("{}: {why}", path.display())),
            }
        }
        let why = match reasons.as_slice() {
            [] => "there is no kubeconfig to go by".to_owned(),
            reasons => format!("no access that lives may do this; {}", reasons.join("; ")),
        };
        Err(AccessError::refused(why, hint))
    }
}

/// A client with the credential of a kubeconfig, or why it cannot make a grant.
fn hands_of(access: &Access, disk: &Disk, path: &Path) -> Result<Hands, String> {
    let login = Login::open(disk, path)?;
    let accepted = acceptance(access, &login);
    if accepted.answer != Answer::Yes {
        return Err(accepted.why.unwrap_or_else(|| "it is not taken".to_owned()));
    }
    let kube = access.kube_of(&login, TIMEOUT)?;
    for (verb, group, resource, namespace) in NEEDED {
        let may = kube.may(verb, group, resource, namespace);
        if !may.map_err(|error: KubeError| error.to_string())? {
            return Err(format!("it may not {verb} {resource}"));
        }
    }
    let user = accepted.seen.unwrap_or_else(|| "its user".to_owned());
    Ok(Hands {
        kube,
        who: format!("the access of {user} in {}", path.display()),
        issued: None,
    })
}
