//! A kubeconfig for somebody, certified by the node's own CA.

use std::path::Path;

use zeroize::Zeroizing;

use crate::access::Login;
use crate::flow::certify::Client;
use crate::flow::failure::AccessError;
use crate::flow::granting::{refuse_existing, write_new};
use crate::flow::rescue::Means;
use crate::flow::site::Site;
use crate::grant::{Grant, Kind};
use crate::inventory::Inventory;
use crate::journal::{Body, Issued, Verdict};
use crate::pki::cert::Cert;
use crate::pki::key::KeyAlgorithm;
use crate::template::kubeconfig::{Credential, NewKubeconfig};

/// The administrator of kubeadm.
pub const ADMIN: &str = "kubernetes-admin";
/// The group that is above authorization: a certificate that names it cannot be limited any more.
pub const MASTERS: &str = "system:masters";

/// The first minor release whose administrators are a group that can be taken away (kubeadm PR 121305).
const CLUSTER_ADMINS: u32 = 29;

/// Who is to get a kubeconfig.
pub struct Wish<'a> {
    /// The user's name.
    pub name: &'a str,
    /// The groups; as kubeadm of the node's version gives them, if not said.
    pub groups: Option<&'a [String]>,
    /// Seconds of validity; cut to the CA's end.
    pub seconds: i64,
    /// The file of this host that it is written to; otherwise it is given back.
    pub out: Option<&'a Path>,
}

/// A kubeconfig that was made.
pub struct Made {
    /// What was seen.
    pub inventory: Inventory,
    /// The run that tells of it.
    pub run: String,
    /// Its certificate.
    pub cert: Cert,
    /// The groups that the certificate names.
    pub groups: Vec<String>,
    /// Whether the validity was cut to the CA's end.
    pub capped: bool,
    /// The kubeconfig.
    pub text: Zeroizing<String>,
}

/// What every new kubeconfig says of its cluster.
pub(super) struct Cluster {
    pub(super) name: String,
    pub(super) server: String,
    pub(super) ca: Vec<u8>,
}

impl Site {
    /// Makes a kubeconfig; the site is locked.
    pub fn make_user(&self, wish: &Wish, means: &Means) -> Result<Made, AccessError> {
        let inventory = self.observe(false, crate::observe::Depth::Running)?;
        Self::refuse_clock(&inventory)?;
        let hint = "on a node that has the CA's key, or: rescue-kit kubeconfig break-glass";
        let authority = self.client_authority(&inventory);
        let authority = authority.map_err(|why| AccessError::refused(why, hint))?;
        let cluster = self.cluster(&inventory)?;
        if let Some(out) = wish.out {
            refuse_existing(out)?;
        }
        let groups = match wish.groups {
            Some(groups) => groups.to_vec(),
            None => self.groups_of(wish.name, &inventory),
        };
        let (begin, end) = (inventory.at.backdated(), inventory.at.plus(wish.seconds));
        let ca = &authority.cert;
        let valid = (begin.max(ca.not_before), end.min(ca.not_after));
        let client = Client {
            name: wish.name,
            groups: &groups,
            valid,
            key: self.key_of_admins(&inventory),
        };
        let made = client.certify(&authority);
        let made =
            made.map_err(|error| AccessError::refused(error.to_string(), "choose another name"))?;
        let (cert, key) = (made.cert.to_pem(), made.key.to_pem());
        let kubeconfig = NewKubeconfig {
            cluster: &cluster.name,
            server: &cluster.server,
            ca: &cluster.ca,
            user: wish.name,
            by: Credential::Certificate(cert.as_bytes(), key.as_bytes()),
        };
        let text = kubeconfig.text();
        let grant = Grant {
            kind: Kind::User,
            user: wish.name.to_owned(),
            groups: groups.clone(),
            role: None,
            not_after: Some(made.cert.not_after),
            objects: Vec::new(),
            kubeconfig: wish.out.map(Path::to_path_buf),
        };
        let facts = made.facts("user");
        let run = self.hand_over(grant, facts, &text, &inventory, means)?;
        Ok(Made {
            inventory,
            run,
            cert: made.cert,
            groups,
            capped: end > valid.1,
            text,
        })
    }

    /// Writes the file, if one is wanted, between the two lines of the journal that tell of it; gives the run's name.
    fn hand_over(
        &self,
        grant: Grant,
        issued: Issued,
        text: &str,
        inventory: &Inventory,
        means: &Means,
    ) -> Result<String, AccessError> {
        let name = self.free_run_name(inventory.at)?;
        let mut run = self.begin_access(&name, inventory, means)?;
        let (out, not_after) = (grant.kubeconfig.clone(), grant.not_after);
        let serial = issued.serial.clone();
        run.append(Body::Granting {
            grant: Box::new(grant),
            issued: vec![issued],
        })?;
        if let Some(out) = out {
            write_new(&out, text.as_bytes())?;
        }
        run.append(Body::Granted {
            seen: None,
            not_after,
            serial,
        })?;
        run.append(Body::End(Verdict::Done))?;
        self.testify(&run, &name, means)?;
        Ok(name)
    }

    /// Name, server and CA of the cluster, as the administrator's kubeconfig and the node's files have them.
    pub(super) fn cluster(&self, inventory: &Inventory) -> Result<Cluster, AccessError> {
        let refused = |why: String| AccessError::refused(why, "rescue-kit inspect");
        let admin = self.admin_kubeconfig(inventory).ok();
        let admin = admin.and_then(|path| Login::open(&self.disk, &path).ok());
        let named = admin.map(|login| (login.kubeconfig.cluster.clone(), login.kubeconfig.server));
        let (name, server) = named.unwrap_or_else(|| ("kubernetes".to_owned(), None));
        let known = || inventory.facts.first("kubeconfig").map(|f| f.value.clone());
        let server = server.or_else(known);
        let server = server.ok_or_else(|| refused("no kubeconfig names the server".to_owned()))?;
        let ca = self.client_ca(inventory);
        let ca = ca.and_then(|ca| ca.chain.present());
        let ca = ca.ok_or_else(|| refused("the CA cannot be read".to_owned()))?;
        let ca: String = ca.iter().map(Cert::to_pem).collect();
        Ok(Cluster {
            name,
            server,
            ca: ca.into_bytes(),
        })
    }

    /// The groups that kubeadm of the node's version gives to the users that it makes itself; others have none.
    fn groups_of(&self, user: &str, inventory: &Inventory) -> Vec<String> {
        let group = match user {
            ADMIN => {
                let minor = self.minor();
                let admins = self.profile.admin.iter();
                let mut certs = admins.filter_map(|id| inventory.credential(id)?.cert());
                let own = certs.find(|cert| cert.subject.common_name().as_deref() == Some(ADMIN));
                match (minor, own) {
                    (Some(minor), _) if minor < CLUSTER_ADMINS => MASTERS,
                    (None, Some(own)) => return own.subject.organizations(),
                    _ => "kubeadm:cluster-admins",
                }
            },
            "kubernetes-super-admin" => MASTERS,
            user if user.starts_with("system:node:") => "system:nodes",
            _ => return Vec::new(),
        };
        vec![group.to_owned()]
    }

    /// The minor release of the API server: 34 of `v1.34.4`.
    fn minor(&self) -> Option<u32> {
        let version = self.version()?;
        let minor = version.strip_prefix("v1.")?;
        minor.split('.').next()?.parse().ok()
    }

    /// New keys are of the kind of the administrator's.
    fn key_of_admins(&self, inventory: &Inventory) -> KeyAlgorithm {
        let mut admins = self.profile.admin.iter();
        let own = admins.find_map(|id| Some(inventory.credential(id)?.cert()?.key.clone()));
        let own = own.filter(KeyAlgorithm::can_be_made);
        own.unwrap_or(KeyAlgorithm::Rsa(2048))
    }
}
