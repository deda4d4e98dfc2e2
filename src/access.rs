//! PHASE: access, asking the running cluster with the node's own credentials.
//! INPUTS: the files as they are now, and the inventory that says where they are.
//! OUTPUTS: clients of the API server and of etcd.

mod login;

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use crate::cri::Cri;
use crate::etcd::Etcd;
use crate::https::{Client, Endpoint};
use crate::inventory::{CredentialState, Inventory, Placement};
use crate::kube::Kube;
use crate::pki::cert::Cert;
use crate::pki::key::PrivateKey;
use crate::pki::kubeconfig::{Kubeconfig, Material};
use crate::pki::san::San;
use crate::place::{Blob, Observed, Place};
use crate::profile::{Consumer, Profile, Role};
use crate::store::Disk;
use crate::tls::ClientIdentity;

pub use login::Login;

/// Where container runtimes listen: containerd, CRI-O, cri-dockerd.
const SOCKETS: [&str; 3] = [
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/cri-dockerd.sock",
];
/// How long the runtime may take to answer; stopping a pod takes longest.
const RUNTIME: Duration = Duration::from_secs(15);

/// Makes clients. Files are read each time, so that what was replaced meanwhile is used.
#[derive(Clone, Copy)]
pub struct Access<'a> {
    /// The files.
    pub disk: &'a Disk,
    /// Who is asked with what.
    pub profile: &'a Profile,
    /// Where everything is.
    pub inventory: &'a Inventory,
}

impl<'a> Access<'a> {
    /// A client of this node's API server, with the first administrator's credential that is valid now.
    ///
    /// # Errors
    ///
    /// Why there is none, as a sentence fragment.
    pub fn kube(&self, timeout: Duration) -> Result<Kube, String> {
        let now = crate::clock::system_now();
        let is_valid = |id: &&String| {
            let chain = self
                .material(id)
                .map(|(chain, _)| chain)
                .unwrap_or_default();
            chain
                .first()
                .is_some_and(|leaf| leaf.not_before <= now && now <= leaf.not_after)
        };
        let first = self.profile.admin.first();
        let chosen = self.profile.admin.iter().find(is_valid).or(first);
        let id = chosen.ok_or("the profile names no administrator")?;
        self.kube_as(id, timeout)
    }

    /// A client of this node's API server with one credential.
    ///
    /// # Errors
    ///
    /// As [`Access::kube`].
    pub fn kube_as(&self, id: &str, timeout: Duration) -> Result<Kube, String> {
        let server = self.with_role(Role::ApiServer)?;
        let (at, shown) = self.port(&server.id)?;
        let client = self.client(at, shown, id, timeout)?;
        Ok(Kube::new(client))
    }

    /// A client of this node's API server with a credential that is in no file.
    ///
    /// # Errors
    ///
    /// As [`Access::kube`].
    pub fn kube_with(&self, identity: &ClientIdentity, timeout: Duration) -> Result<Kube, String> {
        let server = self.with_role(Role::ApiServer)?;
        let (at, shown) = self.port(&server.id)?;
        let name = name_at(&self.leaf(shown)?, at);
        let client = self.known_client(at, name, shown, identity, timeout)?;
        Ok(Kube::new(client))
    }

    /// A client of this node's etcd.
    ///
    /// # Errors
    ///
    /// As [`Access::kube`].
    pub fn etcd(&self, timeout: Duration) -> Result<Etcd, String> {
        let etcd = self.with_role(Role::Etcd)?;
        let (at, served) = self.port(&etcd.id)?;
        let id = etcd.ask.as_deref().unwrap_or(served);
        Ok(Etcd::new(self.client(at, served, id, timeout)?))
    }

    /// A client of another member of etcd, at the port that this node's own has for clients.
    ///
    /// # Errors
    ///
    /// As [`Access::kube`].
    pub fn etcd_on(&self, host: IpAddr, timeout: Duration) -> Result<Etcd, String> {
        let etcd = self.with_role(Role::Etcd)?;
        let (own, served) = self.port(&etcd.id)?;
        let id = etcd.ask.as_deref().unwrap_or(served);
        let at = SocketAddr::new(host, own.port());
        Ok(Etcd::new(self.named_client(
            at,
            host.to_string(),
            served,
            id,
            timeout,
        )?))
    }

    /// A client of etcd's port for its peers, which tells the members even without a quorum.
    ///
    /// # Errors
    ///
    /// As [`Access::kube`].
    pub fn peer(&self, timeout: Duration) -> Result<Client, String> {
        let etcd = self.with_role(Role::Etcd)?;
        let mut ports = self.ports(&etcd.id);
        let (at, served) = ports.nth(1).ok_or("etcd has no port for its peers")?;
        self.client(at, served, served, timeout)
    }

    /// The container runtime, at the socket that the kubelet is told, else at the first that is there.
    ///
    /// # Errors
    ///
    /// Which socket does not answer, and why.
    pub fn runtime(&self) -> Result<Cri, String> {
        let flags = ["container-runtime-endpoint", "containerRuntimeEndpoint"];
        let told = flags
            .iter()
            .find_map(|flag| self.inventory.facts.first(&format!("flag:kubelet:{flag}")));
        let told = told.map(|fact| fact.value.trim_start_matches("unix://").to_owned());
        let is_there = |path: &&str| {
            let kind = self.disk.kind(Path::new(path));
            matches!(kind, Ok(Observed::Present(_)))
        };
        let found = SOCKETS.iter().find(|path| is_there(path));
        let socket = told.unwrap_or_else(|| found.unwrap_or(&SOCKETS[0]).to_string());
        Cri::connect(Path::new(&socket), RUNTIME).map_err(|error| with_causes(&error))
    }

    /// The credential of a client, from its files.
    ///
    /// # Errors
    ///
    /// Why it cannot be loaded, as a sentence fragment.
    pub fn identity(&self, id: &str) -> Result<ClientIdentity, String> {
        let (chain, key) = self.material(id)?;
        let chain = chain.into_iter().map(|cert| cert.der).collect();
        ClientIdentity::new(chain, &key).map_err(|error| format!("{id}: {error}"))
    }

    /// The certificates and the key of a credential, as its files hold them now.
    fn material(&self, id: &str) -> Result<(Vec<Cert>, PrivateKey), String> {
        let credential = self.credential(id)?;
        let fail = |why: &dyn std::fmt::Display| format!("{id}: {why}");
        let placement = &credential.placement;
        let certs = match placement {
            Placement::Pair { cert, .. } | Placement::Referenced { cert, .. } => self.read(cert)?,
            Placement::Pem { path, .. } => self.read(path)?,
            Placement::Delegated { to, .. } => return self.material(to),
            Placement::Embedded { kubeconfig } => {
                let parsed = Kubeconfig::parse(&self.read(kubeconfig)?).map_err(|e| fail(&e))?;
                match parsed.cert {
                    Material::Embedded(cert) => cert,
                    _ => return Err(fail(&"has no client certificate")),
                }
            },
        };
        let chain = Cert::all_from_pem(&certs).map_err(|e| fail(&e))?;
        let key = self.read(placement.key_path())?;
        let key = placement.key_in(&key).map_err(|e| fail(&e))?;
        Ok((chain, key))
    }

    /// The leaf of a credential as its file holds it now.
    ///
    /// # Errors
    ///
    /// Why it cannot be read, as a sentence fragment.
    pub fn leaf(&self, id: &str) -> Result<Cert, String> {
        let credential = self.credential(id)?;
        let path = match &credential.placement {
            Placement::Pair { cert, .. } | Placement::Referenced { cert, .. } => cert,
            Placement::Pem { path, .. } => path,
            Placement::Delegated { .. } | Placement::Embedded { .. } => {
                return Err(format!("{id} serves nothing"));
            },
        };
        let certs = Cert::all_from_pem(&self.read(path)?).map_err(|e| e.to_string())?;
        certs
            .into_iter()
            .next()
            .ok_or_else(|| format!("{id} is empty"))
    }

    /// The certificates of each authority as its file holds them now.
    pub fn anchors(&self) -> Vec<Vec<Cert>> {
        let authorities = self.inventory.authorities.iter();
        authorities
            .filter_map(|known| self.certs(&known.cert_path).ok())
            .collect()
    }

    /// The certificates of a file as it is now.
    ///
    /// # Errors
    ///
    /// Why it cannot be read, as a sentence fragment.
    pub fn certs(&self, path: &Path) -> Result<Vec<Cert>, String> {
        Cert::all_from_pem(&self.read(path)?).map_err(|error| error.to_string())
    }

    /// A consumer's ports that serve a credential of the profile: the address, and the credential's id.
    pub fn ports(&self, consumer: &str) -> impl Iterator<Item = (SocketAddr, &'a str)> {
        let ports = self.inventory.live.iter().flat_map(|live| &live.ports);
        let consumer = consumer.to_owned();
        ports
            .filter(move |port| port.consumer == consumer)
            .filter_map(|port| Some((port.at, port.credential.as_deref()?)))
    }

    fn port(&self, consumer: &str) -> Result<(SocketAddr, &'a str), String> {
        let first = self.ports(consumer).next();
        first.ok_or_else(|| format!("{consumer} has no port that is known"))
    }

    fn client(
        &self,
        at: SocketAddr,
        served: &str,
        identity: &str,
        timeout: Duration,
    ) -> Result<Client, String> {
        let name = name_at(&self.leaf(served)?, at);
        self.named_client(at, name, served, identity, timeout)
    }

    /// A client of whoever calls itself `name` and was certified by the CA of `served`.
    fn named_client(
        &self,
        at: SocketAddr,
        name: String,
        served: &str,
        identity: &str,
        timeout: Duration,
    ) -> Result<Client, String> {
        self.known_client(at, name, served, &self.identity(identity)?, timeout)
    }

    fn known_client(
        &self,
        at: SocketAddr,
        name: String,
        served: &str,
        identity: &ClientIdentity,
        timeout: Duration,
    ) -> Result<Client, String> {
        let shown = self.credential(served)?;
        let authority = self.inventory.authority(&shown.signer);
        let anchors = authority.ok_or_else(|| format!("{served} has no CA"))?;
        let roots = Cert::all_from_pem(&self.read(&anchors.cert_path)?);
        let roots = roots.map_err(|error| format!("{}: {error}", anchors.id))?;
        let roots: Vec<Vec<u8>> = roots.into_iter().map(|cert| cert.der).collect();
        let client = Client::new(Endpoint { at, name }, &roots, Some(identity), timeout);
        client.map_err(|error| with_causes(&error))
    }

    fn with_role(&self, role: Role) -> Result<&'a Consumer, String> {
        let consumer = self.profile.with_role(role);
        consumer.ok_or_else(|| "this layout has none".to_owned())
    }

    fn credential(&self, id: &str) -> Result<&'a CredentialState, String> {
        let credential = self.inventory.credential(id);
        credential.ok_or_else(|| format!("there is no {id}"))
    }

    fn read(&self, path: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>, String> {
        read(self.disk, path)
    }
}

/// A file's bytes, or a sentence that begins with its path.
fn read(disk: &Disk, path: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>, String> {
    match disk.read(&Place::File(path.to_path_buf())) {
        Ok(Observed::Present((_, Blob::File(bytes)))) => Ok(bytes),
        Ok(Observed::Unknown(why)) => Err(format!("{} {why}", path.display())),
        Ok(_) => Err(format!("{} does not exist", path.display())),
        Err(error) => Err(error.to_string()),
    }
}

/// An error and what caused it, in one line.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

/// The name to expect from a server: the address if its certificate has it, else the first name that it has.
fn name_at(leaf: &Cert, at: SocketAddr) -> String {
    let wanted = San::Ip(at.ip());
    if leaf.sans.contains(&wanted) {
        return at.ip().to_string();
    }
    let mut names = leaf.sans.iter().filter_map(|san| match san {
        San::Dns(name) if !name.starts_with('*') => Some(name.clone()),
        San::Ip(ip) => Some(ip.to_string()),
        _ => None,
    });
    names.next().unwrap_or_else(|| at.ip().to_string())
}
