//! Breaking the glass: access for an hour at most, for whoever has none left while the cluster is fine.
//!
//! | what still is there | what is made |
//! | --- | --- |
//! | the CA's key on this node | a client certificate of its own user, without a group, and a binding for that user |
//! | any access that lives | a service account, a binding for it, a token that ends by itself |
//! | the key that signs tokens | a token of a service account that exists; nothing in the cluster changes |

mod draft;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::access::{Access, Login, with_causes};
use crate::audit::Written;
use crate::clock;
use crate::flow::failure::AccessError;
use crate::flow::granting::{refuse_existing, remove, write_new};
use crate::flow::kubeconfigs::{TIMEOUT, is_refusal};
use crate::flow::rescue::Means;
use crate::flow::site::Site;
use crate::flow::user::Cluster;
use crate::grant::Grant;
use crate::inventory::Inventory;
use crate::journal::{Body, Verdict, Way};
use crate::kube::Kube;
use crate::observe::Depth;
use crate::pki::token::Token;
use crate::pki::utc::Utc;
use crate::run::{self, Run};
use crate::store::Disk;
use crate::template::kubeconfig::{Credential, NewKubeconfig};

pub use draft::LONGEST;
pub(super) use draft::between;
use draft::{Draft, Proof, by_account, by_certificate, minted};

/// The name of the kubeconfig in the run's directory, unless another file is named.
const KUBECONFIG: &str = "kubeconfig";
/// What else there is.
const OTHER: &str = "name another: --with KUBECONFIG";
const LAST: &str =
    "--with KUBECONFIG names another; without any: --mint-token --service-account NAMESPACE/NAME";
/// What is said of a role without rules.
const EMPTY: &str = "; at this moment the role allows nothing: where it is made of others, the controller manager fills it";
/// How long informers of the API server may take to know what was made.
const KNOWN: Duration = Duration::from_secs(15);
/// How often it is asked meanwhile.
const EVERY: Duration = Duration::from_millis(100);

/// What access is wanted.
pub struct Wish<'a> {
    /// The `ClusterRole`.
    pub role: &'a str,
    /// Seconds of validity.
    pub seconds: i64,
    /// By which way.
    pub way: Passage<'a>,
    /// The token is to stand in a Secret and not end by itself.
    pub lasting: bool,
    /// The file of this host for the kubeconfig; otherwise it is in the run's directory.
    pub out: Option<&'a Path>,
}

/// By which way.
#[derive(Clone, Copy)]
pub enum Passage<'a> {
    /// The CA's key if it is there, else access that lives.
    Best,
    /// A token of this service account: namespace, name, and uid if it is known, signed here.
    Mint(&'a str, &'a str, Option<&'a str>),
    /// The access of this kubeconfig of this host.
    With(&'a Path),
}

/// Access that was given.
pub struct Given {
    /// What was seen.
    pub inventory: Inventory,
    /// The run that tells of it, and takes it back.
    pub run: String,
    /// What was given.
    pub grant: Grant,
    /// How it was made.
    pub how: String,
    /// Who the API server saw.
    pub seen: Option<String>,
    /// The audit.
    pub audit: Written,
    /// Its path.
    pub evidence: PathBuf,
}

/// What was seen of access that works.
struct Tried {
    seen: Option<String>,
    /// Whether its role allows anything at this moment.
    useful: bool,
    not_after: Option<Utc>,
    serial: String,
}

impl Site {
    /// Decides what would be given and how, and makes nothing.
    pub fn rehearse_break_glass(
        &self,
        wish: &Wish,
    ) -> Result<(Inventory, Grant, String), AccessError> {
        let inventory = self.observe(false, Depth::Running)?;
        let name = self.free_run_name(inventory.at)?;
        let draft = self.draft(&inventory, wish, &name)?;
        Ok((inventory, draft.grant, draft.how))
    }

    /// Gives access; the site is locked. What was made is gone again if it does not work.
    pub fn break_glass(&self, wish: &Wish, means: &Means) -> Result<Given, AccessError> {
        let inventory = self.observe(false, Depth::Running)?;
        let name = self.free_run_name(inventory.at)?;
        let mut draft = self.draft(&inventory, wish, &name)?;
        let cluster = self.cluster(&inventory)?;
        if let Some(out) = wish.out {
            refuse_existing(out)?;
        }
        let mut run = self.begin_access(&name, &inventory, means)?;
        let out = wish
            .out
            .map_or_else(|| run.dir.path().join(KUBECONFIG), Path::to_path_buf);
        draft.grant.kubeconfig = Some(out.clone());
        run.append(Body::Granting {
            grant: Box::new(draft.grant.clone()),
            issued: std::mem::take(&mut draft.issued),
        })?;
        let tried = match self.make(&draft, &cluster, &out, &inventory) {
            Ok(tried) => tried,
            Err(why) => return Err(self.unmake(run, &name, &draft, why, means)),
        };
        draft.grant.not_after = tried.not_after;
        if !tried.useful {
            draft.how.push_str(EMPTY);
        }
        run.append(Body::Granted {
            seen: tried.seen.clone(),
            not_after: tried.not_after,
            serial: tried.serial,
        })?;
        run.append(Body::End(Verdict::Done))?;
        let audit = self.testify(&run, &name, means)?;
        Ok(Given {
            inventory,
            run: name,
            grant: draft.grant,
            how: draft.how,
            seen: tried.seen,
            audit,
            evidence: run.dir.path().join(run::AUDIT),
        })
    }

    fn draft(&self, inventory: &Inventory, wish: &Wish, name: &str) -> Result<Draft, AccessError> {
        if inventory.live.is_none() {
            let why = "nothing runs below this root, so nobody can be asked for access";
            let hint = "--print prints the manifest; or make a user: rescue-kit kubeconfig user";
            return Err(AccessError::refused(why, hint));
        }
        Self::refuse_clock(inventory)?;
        let access = self.access(inventory);
        let draft = match wish.way {
            Passage::Mint(namespace, account, uid) => {
                let token = self.mint(&access, (namespace, account, uid), wish.seconds)?;
                return Ok(minted(
                    token,
                    namespace,
                    account,
                    wish.seconds,
                    inventory.at,
                ));
            },
            Passage::With(path) => by_account(
                self.living(&access, Some(path), OTHER)?,
                wish,
                name,
                inventory,
            )?,
            Passage::Best if wish.lasting => {
                let hands = match self.client_authority(inventory) {
                    Ok(authority) => Self::helper(&access, &authority, name)?,
                    Err(_) => self.living(&access, None, LAST)?,
                };
                by_account(hands, wish, name, inventory)?
            },
            Passage::Best => match self.client_authority(inventory) {
                Ok(authority) => by_certificate(&access, &authority, wish, name)?,
                Err(_) => by_account(self.living(&access, None, LAST)?, wish, name, inventory)?,
            },
        };
        draft.refuse_unknown_role(wish.role)?;
        Ok(draft)
    }

    /// Makes objects, credential and kubeconfig, and tries it.
    fn make(
        &self,
        draft: &Draft,
        cluster: &Cluster,
        out: &Path,
        inventory: &Inventory,
    ) -> Result<Tried, String> {
        if let Some(kube) = &draft.kube {
            for object in &draft.manifests {
                let made = kube.create_from(object.collection, &object.text);
                made.map_err(|error| with_causes(&error))?;
            }
        }
        let (token, mut not_after) = draft.token()?;
        let pems = draft.certificate();
        let by = match (&token, &pems) {
            (Some(token), _) => Credential::Token(token),
            (None, Some((cert, key))) => Credential::Certificate(cert.as_bytes(), key.as_bytes()),
            (None, None) => return Err("there is no credential".to_owned()),
        };
        let kubeconfig = NewKubeconfig {
            cluster: &cluster.name,
            server: &cluster.server,
            ca: &cluster.ca,
            user: &draft.grant.user,
            by,
        };
        let text = kubeconfig.text();
        write_new(out, text.as_bytes()).map_err(|error| with_causes(&error))?;
        let host = Disk::open(Path::new("/")).map_err(|error| with_causes(&error))?;
        let login = Login::parse(&host, out, text.as_bytes())?;
        let right = draft.right();
        let seen = self.try_out(&login, draft, right.as_ref(), inventory)?;
        let claims = token.as_ref().and_then(Token::claims).unwrap_or_default();
        let serial = match &draft.proof {
            Proof::Certificate(made) => {
                not_after = Some(made.cert.not_after);
                made.cert.serial_hex()
            },
            _ => claims.id.unwrap_or_default(),
        };
        Ok(Tried {
            seen,
            useful: right.is_some() || draft.grant.role.is_none(),
            not_after,
            serial,
        })
    }

    /// Asks until the API server knows both the user and what the role allows.
    fn try_out(
        &self,
        login: &Login,
        draft: &Draft,
        right: Option<&(String, String, String)>,
        inventory: &Inventory,
    ) -> Result<Option<String>, String> {
        let kube = self.access(inventory).kube_of(login, TIMEOUT)?;
        let by = Instant::now() + KNOWN;
        let mut last = "it did not answer".to_owned();
        let seen = clock::wait_for(by, EVERY, || match kube.accepts_us() {
            Ok(seen) => Some(Ok(seen)),
            Err(error) => {
                last = with_causes(&error);
                // A new account is refused until it is known; whatever else is no matter of time.
                (!is_refusal(&error)).then(|| Err(last.clone()))
            },
        });
        let seen = seen.unwrap_or(Err(last))?;
        if seen.as_ref().is_some_and(|seen| *seen != draft.grant.user) {
            let seen = seen.unwrap_or_default();
            return Err(format!(
                "the API server sees {seen}, not {}",
                draft.grant.user
            ));
        }
        let allowed = clock::wait_for(by, EVERY, || {
            let Some((verb, group, resource)) = right else {
                return Some(());
            };
            kube.may(verb, group, resource, "").ok()?.then_some(())
        });
        allowed.ok_or("its role is not in force yet")?;
        Ok(seen)
    }

    /// Takes back what was made of access that does not work.
    fn unmake(
        &self,
        mut run: Run,
        name: &str,
        draft: &Draft,
        why: String,
        means: &Means,
    ) -> AccessError {
        let run_name = || name.to_owned();
        let mut undo = || {
            run.append(Body::Resume {
                goal: Way::Back,
                operator: None,
            })?;
            let mut removed = Vec::new();
            if let Some(kube) = &draft.kube {
                removed = delete(kube, &draft.grant.objects)?;
            }
            if let Some(path) = &draft.grant.kubeconfig {
                remove(path)?;
            }
            run.append(Body::Revoked {
                removed,
                seen: vec![why.clone()],
                issued: Vec::new(),
            })?;
            run.append(Body::End(Verdict::RolledBack))?;
            self.testify(&run, name, means)?;
            Ok::<(), AccessError>(())
        };
        match undo() {
            Ok(()) => AccessError::Failed {
                run: run_name(),
                why,
            },
            Err(error) => AccessError::Stuck {
                run: run_name(),
                why: format!("{why}; then {}", with_causes(&error)),
            },
        }
    }

    pub(super) fn access<'a>(&'a self, inventory: &'a Inventory) -> Access<'a> {
        Access {
            disk: &self.disk,
            profile: &self.profile,
            inventory,
        }
    }
}

/// Deletes objects, the last one first; tells which were there.
pub(super) fn delete(kube: &Kube, objects: &[String]) -> Result<Vec<String>, AccessError> {
    let mut removed = Vec::new();
    for path in objects.iter().rev() {
        let gone = kube.delete(path).map_err(|error| {
            AccessError::refused(with_causes(&error), "try again, or --with KUBECONFIG")
        })?;
        if gone {
            removed.push(path.clone());
        }
    }
    Ok(removed)
}
