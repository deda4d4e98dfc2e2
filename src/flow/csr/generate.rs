//! Requests for what is due: keys and a copy of the manifest into the state directory, the rest into a folder for the stick.

use std::path::{Path, PathBuf};

use crate::cores;
use crate::crypto::{self, Signer};
use crate::finding::{Code, Finding, Severity};
use crate::flow::csr::{CsrError, KEPT};
use crate::flow::site::Site;
use crate::inventory::{AuthorityState, CredentialState, Inventory};
use crate::issue;
use crate::observe::Depth;
use crate::pki::key::PrivateKey;
use crate::pki::request::{self, Request};
use crate::pki::san::San;
use crate::pki::utc::Utc;
use crate::place::{Blob, Observed, Place};
use crate::plan::step::{KeyPlan, Origin, Recipe};
use crate::plan::{self, Policy, recipe};
use crate::request::{Asks, Entry, Issuer, MANIFEST, Manifest, Node, SCHEMA};
use crate::run;
use crate::store::Disk;

/// A credential for which a certificate is to be requested.
#[derive(Clone, Debug)]
pub struct Due {
    /// Its id.
    pub id: String,
    /// Every credential in the same file, itself included.
    pub serves: Vec<String>,
    /// What is requested.
    pub recipe: Recipe,
    /// Why, each a sentence fragment.
    pub why: Vec<String>,
}

/// Requests that were made.
pub struct Generated {
    /// What they say.
    pub manifest: Manifest,
    /// Where the keys are, on this host.
    pub keys: PathBuf,
}

/// A request and the key that was made for it; none if the key that is in place stays.
struct Made {
    csr: Request,
    key: Option<PrivateKey>,
}

impl Site {
    /// Looks, and decides what is to be requested. No authority's key is needed for that.
    ///
    /// # Errors
    ///
    /// [`CsrError::Refused`] with every reason why something that is due cannot be requested.
    pub fn due_requests(&self, policy: &Policy) -> Result<(Inventory, Vec<Due>), CsrError> {
        let inventory = self.observe(false, Depth::Running)?;
        let mut credentials: Vec<&CredentialState> = inventory.credentials.iter().collect();
        // As the plan goes: of several credentials in one file, the first one stands for all.
        credentials.sort_by_key(|credential| self.profile.rank(&credential.id));
        let (mut due, mut refusals): (Vec<Due>, Vec<Finding>) = (Vec::new(), Vec::new());
        for credential in credentials {
            let why = plan::reasons(credential, &inventory, policy);
            let known = due.iter().any(|due| due.serves.contains(&credential.id));
            if why.is_empty() || known || !policy.selects(&credential.id) {
                continue;
            }
            match self.recipe(credential, &inventory, policy) {
                Ok(recipe) => due.push(Due {
                    id: credential.id.clone(),
                    serves: inventory
                        .sharing(credential)
                        .map(|c| c.id.clone())
                        .collect(),
                    recipe,
                    why,
                }),
                Err(finding) => refusals.push(finding),
            }
        }
        if refusals.is_empty() {
            Ok((inventory, due))
        } else {
            Err(CsrError::Refused(refusals))
        }
    }

    fn recipe(
        &self,
        credential: &CredentialState,
        inventory: &Inventory,
        policy: &Policy,
    ) -> Result<Recipe, Finding> {
        let unknown = || recipe::unknown_server(credential, inventory, &self.profile);
        // An answer that could not be installed is not worth a key.
        if let Some(refusal) = plan::unusable_place(credential, inventory).or_else(unknown) {
            return Err(refusal);
        }
        let authority = inventory.authority(&credential.signer);
        if authority.and_then(AuthorityState::cert).is_none() {
            let at = authority.map(|authority| authority.cert_path.display().to_string());
            let at = at.unwrap_or_else(|| credential.signer.clone());
            return Err(Finding {
                code: Code::CaUnusable,
                severity: Severity::Critical,
                subject: credential.id.clone(),
                text: format!(
                    "{at} cannot be read, so nobody could tell who may sign {}",
                    credential.id
                ),
                hint: "put the CA's certificate there, or leave its leaves out: --skip".to_owned(),
            });
        }
        recipe::recipe(credential, inventory, &self.profile, policy)
    }

    /// Makes the keys and requests, keeps the keys, and writes the folder. The site is locked.
    ///
    /// # Errors
    ///
    /// [`CsrError::Taken`] if the folder has a manifest. After any error no key is kept.
    pub fn generate(
        &self,
        inventory: &Inventory,
        due: &[Due],
        out: &Path,
    ) -> Result<Generated, CsrError> {
        self.refuse_state_elsewhere()?;
        let host = Disk::open(Path::new("/"))?;
        let out = std::path::absolute(out).unwrap_or_else(|_| out.to_path_buf());
        let folder = host.run_dir(&out, true)?;
        if folder.exists(MANIFEST)? {
            return Err(CsrError::Taken(out));
        }
        // RSA keys take longer than all the rest, so every core is at it.
        let made = cores::each(due, 1, |due| self.make_one(inventory, due))?;
        let name = run::name(inventory.at)?;
        let manifest = manifest(&name, inventory, &self.profile.name, due, &made);
        let all = self.state.run_dir(&self.requests_dir(), true)?;
        let dir = self.state.run_dir(&self.requests_dir().join(&name), true)?;
        let write = || {
            for (entry, made) in manifest.requests.iter().zip(&made) {
                if let Some(key) = &made.key {
                    dir.write_unsynced(&entry.key_file(), key.to_pem().as_bytes())?;
                }
                let pem = request::to_pem(&made.csr.der);
                folder.write_unsynced(&entry.request_file(), pem.as_bytes())?;
            }
            dir.sync()?;
            // Whoever sees a manifest sees all that it names.
            dir.write(KEPT, &manifest.to_json())?;
            folder.sync()?;
            folder.write(MANIFEST, &manifest.to_json())
        };
        if let Err(error) = write() {
            all.remove_tree(&name)?;
            return Err(error.into());
        }
        let keys = dir.path();
        Ok(Generated { manifest, keys })
    }

    fn make_one(&self, inventory: &Inventory, due: &Due) -> Result<Made, CsrError> {
        let issue = |source| CsrError::Issue {
            id: due.id.clone(),
            source,
        };
        let recipe = &due.recipe;
        let (key, is_new) = if let KeyPlan::New { algorithm, form } = &recipe.key {
            (crypto::generate(algorithm, *form)?, true)
        } else {
            (self.key_in_place(inventory, &due.id)?, false)
        };
        let model = match &recipe.origin {
            Origin::Old(cert) => (**cert).clone(),
            Origin::New(template) => {
                let subject = template.subject();
                let subject = subject.map_err(|source| CsrError::name(&due.id, source))?;
                issue::prototype(&subject, &template.usages, &template.hosts).map_err(issue)?
            },
        };
        let add: Vec<San> = recipe.add.iter().map(|name| name.san.clone()).collect();
        let signer = Signer::load(&key)?;
        let der = issue::request(&model, &signer, None, &add).map_err(issue)?;
        let csr = Request::from_der(&der).map_err(|source| CsrError::Reread {
            id: due.id.clone(),
            source,
        })?;
        crypto::verify_request(&csr)?;
        let key = is_new.then_some(key);
        Ok(Made { csr, key })
    }

    /// The private key that a credential has now.
    fn key_in_place(&self, inventory: &Inventory, id: &str) -> Result<PrivateKey, CsrError> {
        let lost = || {
            CsrError::Refused(vec![Finding {
                code: Code::Unreadable,
                severity: Severity::Critical,
                subject: id.to_owned(),
                text: format!("the key of {id} cannot be read"),
                hint: "have a new one made: --key new".to_owned(),
            }])
        };
        let credential = inventory.credential(id).ok_or_else(lost)?;
        let placement = &credential.placement;
        let at = Place::File(placement.key_path().to_path_buf());
        match self.disk.read(&at)? {
            Observed::Present((_, Blob::File(text))) => placement.key_in(&text).map_err(|_| lost()),
            _ => Err(lost()),
        }
    }
}

fn manifest(
    name: &str,
    inventory: &Inventory,
    profile: &str,
    due: &[Due],
    made: &[Made],
) -> Manifest {
    let requests: Vec<Entry> = due
        .iter()
        .zip(made)
        .map(|(due, made)| entry(due, made, inventory))
        .collect();
    let asked = |authority: &&AuthorityState| requests.iter().any(|e| e.signer == authority.id);
    let authorities = inventory.authorities.iter().filter(asked).map(|authority| {
        let chain = authority.chain.present().into_iter().flatten();
        (authority.id.clone(), chain.map(Issuer::of).collect())
    });
    Manifest {
        schema: SCHEMA.to_owned(),
        tool: format!("rescue-kit {}", env!("CARGO_PKG_VERSION")),
        request: name.to_owned(),
        node: Node {
            name: inventory.node.name.as_ref().map(|name| name.value.clone()),
            id: inventory.node.id,
        },
        profile: profile.to_owned(),
        at: inventory.at,
        authorities: authorities.collect(),
        requests,
    }
}

fn entry(due: &Due, made: &Made, inventory: &Inventory) -> Entry {
    Entry {
        id: due.id.clone(),
        file: format!("{}.csr", due.id),
        signer: due.recipe.issuer.clone(),
        serves: due.serves.clone(),
        asks: Asks::of(&made.csr),
        validity_seconds: validity(&due.recipe, inventory),
        chain: due.recipe.chain,
    }
}

/// The validity that is wanted. Where the authority itself has expired, that is a year: it is to be renewed first.
fn validity(recipe: &Recipe, inventory: &Inventory) -> i64 {
    match recipe.not_after.since(inventory.at) {
        seconds if seconds > 0 => seconds,
        _ => 365 * Utc::DAY,
    }
}
