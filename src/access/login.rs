//! A kubeconfig, the credential that it holds or names, and the way to its server.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

use super::{Access, name_at, read, with_causes};
use crate::https::{Client, Endpoint};
use crate::kube::Kube;
use crate::pki::cert::Cert;
use crate::pki::key::PrivateKey;
use crate::pki::kubeconfig::{Bearer, Kubeconfig, Material};
use crate::pki::token::Token;
use crate::profile::Role;
use crate::store::Disk;
use crate::tls::ClientIdentity;

/// The names that a system without name service knows (`hosts(5)`).
const HOSTS: &str = "/etc/hosts";

/// A kubeconfig and the disk on which the files are that it names. Cannot be shown.
pub struct Login<'a> {
    disk: &'a Disk,
    path: PathBuf,
    /// Its current context.
    pub kubeconfig: Kubeconfig,
}

impl<'a> Login<'a> {
    /// Reads a kubeconfig.
    ///
    /// # Errors
    ///
    /// Why it cannot be read, as a sentence that begins with its path.
    pub fn open(disk: &'a Disk, path: &Path) -> Result<Self, String> {
        Self::parse(disk, path, &read(disk, path)?)
    }

    /// Takes a kubeconfig's text; `path` is where it is or will be.
    ///
    /// # Errors
    ///
    /// As [`Login::open`].
    pub fn parse(disk: &'a Disk, path: &Path, text: &[u8]) -> Result<Self, String> {
        let parsed = Kubeconfig::parse(text);
        Ok(Self {
            disk,
            path: path.to_path_buf(),
            kubeconfig: parsed.map_err(|error| format!("{} {error}", path.display()))?,
        })
    }

    /// The client certificate with its chain; empty if there is none.
    ///
    /// # Errors
    ///
    /// Why it cannot be read, as a sentence fragment; likewise the others.
    pub fn chain(&self) -> Result<Vec<Cert>, String> {
        let Some(pem) = self.bytes(&self.kubeconfig.cert)? else {
            return Ok(Vec::new());
        };
        Cert::all_from_pem(&pem).map_err(|error| format!("its client certificate {error}"))
    }

    /// The client's key.
    pub fn key(&self) -> Result<Option<PrivateKey>, String> {
        let Some(pem) = self.bytes(&self.kubeconfig.key)? else {
            return Ok(None);
        };
        let key = PrivateKey::from_pem(&pem);
        key.map(Some)
            .map_err(|error| format!("its client key {error}"))
    }

    /// The PEM text of the client certificate or key, as it is.
    pub fn bytes(&self, material: &Material) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
        match material {
            Material::Absent => Ok(None),
            Material::Embedded(bytes) => Ok(Some(bytes.clone())),
            Material::File(path) => read(self.disk, &self.beside(path)).map(Some),
        }
    }

    /// The certificates that it trusts to issue the server's; empty if it names none.
    pub fn trust(&self) -> Result<Vec<Cert>, String> {
        let Some(pem) = self.bytes(&self.kubeconfig.ca)? else {
            return Ok(Vec::new());
        };
        Cert::all_from_pem(&pem).map_err(|error| format!("its CA {error}"))
    }

    /// The token.
    pub fn token(&self) -> Result<Option<Token>, String> {
        let text = match &self.kubeconfig.bearer {
            Bearer::Absent => return Ok(None),
            Bearer::Embedded(text) => text.clone(),
            Bearer::File(path) => {
                let bytes = read(self.disk, &self.beside(path))?;
                Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned())
            },
        };
        let token = Token::new(&text);
        token
            .map(Some)
            .ok_or_else(|| "its token is none".to_owned())
    }

    /// Certificate and key, which must belong together.
    pub fn identity(&self) -> Result<Option<ClientIdentity>, String> {
        let (chain, key) = (self.chain()?, self.key()?);
        let Some(key) = key.filter(|_| !chain.is_empty()) else {
            return Ok(None);
        };
        let chain = chain.into_iter().map(|cert| cert.der).collect();
        let identity = ClientIdentity::new(chain, &key);
        identity.map(Some).map_err(|error| error.to_string())
    }

    fn beside(&self, path: &Path) -> PathBuf {
        let directory = self.path.parent().unwrap_or_else(|| Path::new("/"));
        directory.join(path)
    }
}

impl Access<'_> {
    /// A client of the server that a kubeconfig names, with its credential. Where the kubeconfig is of this node's cluster,
    /// this node's own API server is asked: a balancer in front of it may be what is broken.
    ///
    /// # Errors
    ///
    /// Why there is none, as a sentence fragment.
    pub fn kube_of(&self, login: &Login, timeout: Duration) -> Result<Kube, String> {
        let (identity, token) = (login.identity()?, login.token()?);
        if identity.is_none() && token.is_none() {
            let runs = login.kubeconfig.exec;
            let why = if runs {
                "it runs a program to log in, which is not done here"
            } else {
                "it holds no credential"
            };
            return Err(why.to_owned());
        }
        let trust = login.trust()?;
        let endpoint = match self.own_port(&trust) {
            Some(endpoint) => endpoint,
            None => endpoint(login)?,
        };
        let roots: Vec<Vec<u8>> = trust.into_iter().map(|cert| cert.der).collect();
        let client = Client::new(endpoint, &roots, identity.as_ref(), timeout);
        let client = client.map_err(|error| with_causes(&error))?;
        Ok(Kube::new(match token {
            Some(token) => client.with_bearer(token),
            None => client,
        }))
    }

    /// This node's API server, if whoever certified it is among those that are trusted.
    fn own_port(&self, trust: &[Cert]) -> Option<Endpoint> {
        let server = self.profile.with_role(Role::ApiServer)?;
        let (at, shown) = self.ports(&server.id).next()?;
        let signer = &self.inventory.credential(shown)?.signer;
        let own = self.inventory.authority(signer)?.cert()?;
        let same = |cert: &Cert| cert.public_bits() == own.public_bits();
        let name = name_at(&self.leaf(shown).ok()?, at);
        trust.iter().any(same).then_some(Endpoint { at, name })
    }
}

/// Where the server of a kubeconfig is, without a name service.
fn endpoint(login: &Login) -> Result<Endpoint, String> {
    let server = login.kubeconfig.server.as_deref();
    let server = server.ok_or("it names no server")?;
    let authority = server
        .strip_prefix("https://")
        .ok_or("its server is not reached by https")?;
    let (authority, path) = authority.split_once('/').unwrap_or((authority, ""));
    if !path.is_empty() {
        return Err("its server is behind a path, which is not tried here".to_owned());
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => {
            let port = port.parse();
            (host, port.map_err(|_| "its server has no port number")?)
        },
        _ => (authority, 443),
    };
    let name = host.trim_matches(['[', ']']).to_owned();
    let ip = name.parse().ok().or_else(|| known(login.disk, &name));
    let ip = ip.ok_or_else(|| format!("{name} is not in {HOSTS}, and no name service is asked"))?;
    Ok(Endpoint {
        at: SocketAddr::new(ip, port),
        name,
    })
}

/// The first address of a name in the file of names.
fn known(disk: &Disk, name: &str) -> Option<IpAddr> {
    let text = read(disk, Path::new(HOSTS)).ok()?;
    let text = String::from_utf8_lossy(&text);
    let line = |line: &str| {
        let mut words = line.split('#').next()?.split_whitespace();
        let ip = words.next()?.parse().ok()?;
        words
            .any(|word| word.eq_ignore_ascii_case(name))
            .then_some(ip)
    };
    text.lines().find_map(line)
}
