//! The beginning of a rotation: new CAs and key pairs in a directory that is carried from node to node. Nobody trusts them by
//! their being made.

use std::path::Path;

use crate::crypto::{self, Signer};
use crate::flow::ca::{CaError, Made, write_new};
use crate::flow::site::Site;
use crate::inventory::{AuthorityState, KeyFacts};
use crate::issue;
use crate::observe::Depth;
use crate::pki::cert::Cert;
use crate::pki::key::{KeyAlgorithm, KeyForm};
use crate::pki::pem;
use crate::pki::utc::Utc;

/// How the new ones are to be.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// The ids of authorities; without any those whose key or certificate says how to make another.
    pub ids: Vec<String>,
    /// The algorithm of the new keys; that of the old ones, if not given.
    pub algorithm: Option<KeyAlgorithm>,
    /// Seconds of validity; as long as the old one's, if not given.
    pub validity: Option<i64>,
}

impl Site {
    /// Makes a CA for each authority: `DIR/ID.key` and `DIR/ID.crt`. It has the old one's name and extensions, and a key of its
    /// own.
    ///
    /// # Errors
    ///
    /// All of [`CaError`].
    pub fn begin_rotation(&self, wish: &Wish, out: &Path) -> Result<Vec<Made>, CaError> {
        let inventory = self.observe(false, Depth::Files)?;
        let named = |known: &&AuthorityState| {
            wish.ids.iter().any(|id| known.is(id)) || (wish.ids.is_empty() && !known.external)
        };
        let mut made = Vec::new();
        for authority in inventory.authorities.iter().filter(named) {
            let old = authority
                .cert()
                .ok_or_else(|| CaError::Unreadable(authority.cert_path.clone()))?;
            if !old.self_issued() {
                return Err(CaError::NoRoot(authority.cert_path.clone()));
            }
            made.extend(successor(authority, old, wish, inventory.at, out)?);
        }
        Ok(made)
    }

    /// Makes a pair for each key pair of the node: `DIR/ID.key` and `DIR/ID.pub`.
    ///
    /// # Errors
    ///
    /// All of [`CaError`].
    pub fn begin_pair_rotation(
        &self,
        algorithm: Option<&KeyAlgorithm>,
        out: &Path,
    ) -> Result<Vec<Made>, CaError> {
        let inventory = self.observe(false, Depth::Files)?;
        let mut made = Vec::new();
        for pair in &inventory.key_pairs {
            let (algorithm, form) = like(pair.private.present(), algorithm, None);
            let key = crypto::generate(&algorithm, form)?;
            let public = pem::encode("PUBLIC KEY", Signer::load(&key)?.spki());
            let at = |ending: &str| out.join(format!("{}.{ending}", pair.id));
            let mut private = write_new(&at("key"), &key.to_pem())?;
            private.what = format!("its {algorithm} key: for control planes alone");
            let mut public = write_new(&at("pub"), &public)?;
            public.what = format!("what verifies the tokens of {}", pair.id);
            made.extend([private, public]);
        }
        Ok(made)
    }
}

fn successor(
    authority: &AuthorityState,
    old: &Cert,
    wish: &Wish,
    at: Utc,
    out: &Path,
) -> Result<[Made; 2], CaError> {
    let (algorithm, form) = like(authority.key.present(), wish.algorithm.as_ref(), Some(old));
    let key = crypto::generate(&algorithm, form)?;
    let lasts = wish
        .validity
        .unwrap_or_else(|| old.not_after.since(old.not_before));
    let new = issue::successor(old, &key, at.backdated(), at.plus(lasts))?;
    let file = |ending: &str| out.join(format!("{}.{ending}", authority.id));
    let mut private = write_new(&file("key"), &key.to_pem())?;
    private.what = format!("its {algorithm} key: for control planes alone");
    let mut public = write_new(&file("crt"), &new.to_pem())?;
    public.what = format!("{} until {}", new.subject, new.not_after.date());
    Ok([private, public])
}

/// The algorithm and the encoding of a new key: as wished, as the old key's, else as the old certificate's.
fn like(
    old: Option<&KeyFacts>,
    wish: Option<&KeyAlgorithm>,
    cert: Option<&Cert>,
) -> (KeyAlgorithm, KeyForm) {
    let known = old.map(|key| key.algorithm.clone());
    let known = known.or_else(|| cert.map(|cert| cert.key.clone()));
    let algorithm = wish.cloned().or(known);
    let algorithm = algorithm
        .filter(KeyAlgorithm::can_be_made)
        .unwrap_or(KeyAlgorithm::EcdsaP256);
    let form = match old {
        Some(old) if old.algorithm == algorithm => old.form,
        _ => KeyForm::Pkcs8,
    };
    (algorithm, form)
}
