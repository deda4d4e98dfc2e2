//! Client certificates outside of a plan: for people, and to break the glass.

use crate::crypto::{self, Signer};
use crate::flow::failure::AccessError;
use crate::flow::site::Site;
use crate::inventory::{AuthorityState, Inventory};
use crate::issue::{self, Authority, IssueError};
use crate::journal::Issued;
use crate::pki::cert::Cert;
use crate::pki::csr::Template;
use crate::pki::key::{KeyAlgorithm, KeyForm, PrivateKey};
use crate::pki::name::Attribute;
use crate::pki::utc::Utc;
use crate::place::{Blob, Observed, Place};
use crate::template;
use crate::tls::{ClientIdentity, TlsError};

/// What a client certificate is to say.
pub(super) struct Client<'a> {
    /// The user.
    pub(super) name: &'a str,
    /// The groups.
    pub(super) groups: &'a [String],
    /// First and last second of validity.
    pub(super) valid: (Utc, Utc),
    /// The kind of its key.
    pub(super) key: KeyAlgorithm,
}

/// A client certificate that was just issued, and its key. Cannot be shown.
pub(super) struct Certified {
    pub(super) cert: Cert,
    pub(super) key: PrivateKey,
}

impl Client<'_> {
    /// Issues it.
    pub(super) fn certify(&self, authority: &Authority) -> Result<Certified, IssueError> {
        let text = template::text("client").unwrap_or_default();
        let base = Template::parse(text.as_bytes()).unwrap_or_default();
        let groups = self.groups.iter();
        let template = Template {
            common_name: Some(self.name.to_owned()),
            names: groups
                .map(|group| (Attribute::Organization, group.clone()))
                .collect(),
            ..base
        };
        let key = crypto::generate(&self.key, KeyForm::Pkcs1)?;
        let signer = Signer::load(&key)?;
        let prototype = issue::from_template(&template, &[])?;
        let (begin, end) = self.valid;
        let spki = signer.spki();
        let cert = issue::reissue(&prototype, authority, spki, begin, end, None, &[])?;
        Ok(Certified { cert, key })
    }
}

impl Certified {
    /// Its facts, for the journal.
    pub(super) fn facts(&self, credential: &str) -> Issued {
        Issued::of(credential, &self.cert, None)
    }

    /// For a connection.
    pub(super) fn identity(&self) -> Result<ClientIdentity, TlsError> {
        ClientIdentity::new(vec![self.cert.der.clone()], &self.key)
    }
}

impl Site {
    /// The CA that certifies clients of the API server, as the layout says it.
    pub(super) fn client_ca<'a>(&self, inventory: &'a Inventory) -> Option<&'a AuthorityState> {
        let mut admins = self.profile.admin.iter();
        let rule = admins.find_map(|id| self.profile.credential.get(id))?;
        inventory.authority(&rule.signer)
    }

    /// The same with its key.
    ///
    /// # Errors
    ///
    /// Why it cannot sign, as a sentence fragment.
    pub(super) fn client_authority(&self, inventory: &Inventory) -> Result<Authority, String> {
        let ca = self.client_ca(inventory);
        let ca = ca.ok_or("the layout names no CA for clients")?;
        let key_path = ca.key_path.display();
        let cert = ca
            .cert()
            .ok_or_else(|| format!("the CA {} cannot be read", ca.id))?;
        if inventory.at > cert.not_after || inventory.at < cert.not_before {
            let (begin, end) = (cert.not_before, cert.not_after);
            return Err(format!(
                "the CA {} is valid from {begin} to {end} only",
                ca.id
            ));
        }
        match &ca.key {
            Observed::Absent => return Err(format!("the CA's key is not here: no {key_path}")),
            Observed::Unknown(why) => return Err(format!("{key_path} {why}")),
            Observed::Present(_) => {},
        }
        let read = self.disk.read(&Place::File(ca.key_path.clone()));
        let Ok(Observed::Present((_, Blob::File(pem)))) = read else {
            return Err(format!("{key_path} cannot be read"));
        };
        let key = PrivateKey::from_pem(&pem).map_err(|error| format!("{key_path} {error}"))?;
        let chain = ca.chain.present().cloned().unwrap_or_default();
        let authority = Authority::load(cert.clone(), chain, &key);
        authority.map_err(|error| format!("{key_path}: {error}"))
    }

    /// Refuses to date anything by a clock that cannot be right.
    pub(super) fn refuse_clock(inventory: &Inventory) -> Result<(), AccessError> {
        let judged = inventory.clock.judge(inventory.at);
        let hint = "set the clock, or state the true time: --now RFC3339";
        judged.map_err(|why| AccessError::refused(why, hint))
    }
}
