//! A token that is signed here, with the key that signs the tokens of service accounts.
//!
//! Whoever has that key can be any service account of the cluster, for as long as they like, without a trace in the cluster:
//! neither a binding nor an object tells of it, and the API server's log shows the service account itself. It is the last
//! way, behind its own flag. The API server takes such a token as long as the service account exists with the same uid, the
//! issuer is one of `--service-account-issuer`, and an audience is one of `--api-audiences`
//! (`kubernetes/pkg/serviceaccount/{jwt,claims}.go`).

use crate::access::{Access, with_causes};
use crate::crypto::{self, Signer};
use crate::etcd::EtcdError;
use crate::flow::break_glass::between;
use crate::flow::failure::AccessError;
use crate::flow::kubeconfigs::TIMEOUT;
use crate::flow::site::Site;
use crate::inventory::Inventory;
use crate::kube::stored_uid;
use crate::pki::digest::hex;
use crate::pki::key::PrivateKey;
use crate::pki::token::{self, Draft, Token};
use crate::place::{Blob, Observed, Place};

/// The shortest life of a token, in seconds: nobody but us has a say.
const SHORTEST: i64 = 60;

/// What it is, for whoever is about to do it.
pub const EXPLANATION: &str = "\
Neither the CA's key nor access that lives is asked for here. The last way is a token that is signed on this node with the \
cluster's own key for tokens (sa.key). With it one can be any ServiceAccount of the cluster. What speaks against it: nothing in \
the cluster shows that such a token was made, its requests look like those of the ServiceAccount, and nobody can take it back \
before it ends but by deleting that ServiceAccount. So it is made for one existing ServiceAccount that you name, for an hour at \
most, and it is in the audit and in the ledger of this node. Best use it only to make access that can be taken back: \
--with KUBECONFIG.";

impl Site {
    /// Signs a token for a service account that exists; nothing in the cluster changes.
    pub(super) fn mint(
        &self,
        access: &Access,
        (namespace, name, uid): (&str, &str, Option<&str>),
        seconds: i64,
    ) -> Result<Token, AccessError> {
        between(seconds, SHORTEST)?;
        let inventory = access.inventory;
        let uid = match uid {
            Some(uid) => uid.to_owned(),
            None => uid_of(access, namespace, name)?,
        };
        let issuers = flags(inventory, "service-account-issuer");
        let issuer = issuers.first().ok_or_else(|| {
            let why = "the API server's flags name no --service-account-issuer";
            AccessError::refused(why, "rescue-kit profile detect")
        })?;
        let audiences: Vec<String> = flags(inventory, "api-audiences")
            .iter()
            .flat_map(|list| list.split(','))
            .map(str::to_owned)
            .collect();
        // Without the flag the issuers are the audiences.
        let audiences = if audiences.is_empty() {
            issuers.clone()
        } else {
            audiences
        };
        let signer = self.token_signer(inventory)?;
        let id = random_id()?;
        let draft = Draft {
            account: (namespace, name, &uid),
            issuer,
            audiences: &audiences,
            id: &id,
            not_before: inventory.at,
            not_after: inventory.at.plus(seconds),
        };
        let unusable = || {
            let why = format!("a key of the kind {} signs no tokens", signer.algorithm());
            AccessError::refused(why, "rescue-kit inspect")
        };
        let algorithm = signer.algorithm();
        let to_sign = draft
            .to_sign(&algorithm, signer.spki())
            .ok_or_else(unusable)?;
        let signature = signer.sign(to_sign.as_bytes());
        let failed = |error: crypto::CryptoError| {
            AccessError::refused(error.to_string(), "rescue-kit inspect")
        };
        token::signed(&to_sign, &algorithm, &signature.map_err(failed)?).ok_or_else(unusable)
    }

    /// The key that signs tokens, where the API server's flags say it is.
    fn token_signer(&self, inventory: &Inventory) -> Result<Signer, AccessError> {
        let refused = |why: String| AccessError::refused(why, "on a node that has it");
        let pair = inventory.key_pairs.first();
        let path = &pair
            .ok_or_else(|| refused("the layout has no key for tokens".to_owned()))?
            .private_path;
        let name = path.display();
        let pem = match self.disk.read(&Place::File(path.clone()))? {
            Observed::Present((_, Blob::File(pem))) => pem,
            Observed::Unknown(why) => return Err(refused(format!("{name} {why}"))),
            _ => return Err(refused(format!("{name} does not exist"))),
        };
        let key = PrivateKey::from_pem(&pem).map_err(|e| refused(format!("{name} {e}")))?;
        Signer::load(&key).map_err(|e| refused(format!("{name}: {e}")))
    }
}

/// The uid of a service account, read where the API server keeps it: it cannot be asked.
fn uid_of(access: &Access, namespace: &str, name: &str) -> Result<String, AccessError> {
    let hint = "name it: --uid UID (kubectl get serviceaccount NAME -o jsonpath={.metadata.uid})";
    let refused = |why: String| AccessError::refused(why, hint);
    let prefix = flags(access.inventory, "etcd-prefix").pop();
    let prefix = prefix.unwrap_or_else(|| "/registry".to_owned());
    let key = format!(
        "{}/serviceaccounts/{namespace}/{name}",
        prefix.trim_end_matches('/')
    );
    let etcd = access.etcd(TIMEOUT);
    let etcd = etcd.map_err(|why| refused(format!("etcd cannot be asked for the uid: {why}")))?;
    let failed = |error: EtcdError| refused(with_causes(&error));
    let stored = etcd.value(&key).map_err(failed)?;
    let stored =
        stored.ok_or_else(|| refused(format!("there is no ServiceAccount {namespace}/{name}")))?;
    stored_uid(&stored).ok_or_else(|| refused(format!("etcd's {key} tells no uid")))
}

fn flags(inventory: &Inventory, name: &str) -> Vec<String> {
    let all = inventory.facts.all(&format!("flag:kube-apiserver:{name}"));
    all.iter().map(|fact| fact.value.clone()).collect()
}

/// A random UUID (RFC 9562, version 4), as Kubernetes names its tokens.
fn random_id() -> Result<String, AccessError> {
    let mut bytes = [0u8; 16];
    crypto::random(&mut bytes).map_err(|error| AccessError::Rescue(error.into()))?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let parts = [
        &bytes[..4],
        &bytes[4..6],
        &bytes[6..8],
        &bytes[8..10],
        &bytes[10..],
    ];
    Ok(parts.map(hex).join("-"))
}
