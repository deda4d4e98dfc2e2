//! Inventory: what is there at one moment. Possibly incomplete, and outdated as soon as it is made.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::facts::{Fact, Facts};
use crate::live::Live;
use crate::pki::cert::Cert;
use crate::pki::digest::Digest;
use crate::pki::key::{KeyAlgorithm, KeyForm, PrivateKey};
use crate::pki::kubeconfig::{Kubeconfig, Material};
use crate::pki::san::San;
use crate::pki::utc::Utc;
use crate::place::{Meta, Observed, Place, Version};

/// What was seen of a node's PKI. Holds no secret: of a private key only its public half's digest.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Inventory {
    /// The name of the profile that said where to look.
    pub profile: String,
    /// Whose files these are.
    pub node: Node,
    /// Whether they are those of this running system, or of a disk or copy.
    pub scope: Scope,
    /// The time that everything is judged at.
    pub at: Utc,
    /// What speaks for and against that time.
    pub clock: ClockFacts,
    /// What manifests, flags and files say.
    pub facts: Facts,
    /// Every place that was read, with its version.
    pub objects: BTreeMap<Place, Observed<Version>>,
    /// The owner of the profile's anchor directory: the expected owner of everything.
    pub owner: Option<(u32, u32)>,
    /// Certificate authorities, in the profile's order.
    pub authorities: Vec<AuthorityState>,
    /// Leaf certificates, in the profile's order.
    pub credentials: Vec<CredentialState>,
    /// Key pairs without certificate, in the profile's order.
    pub key_pairs: Vec<KeyPairState>,
    /// Certificates that the profile does not own, sorted by path.
    pub found: Vec<Found>,
    /// What runs; only on a running system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Live>,
}

/// The identity of a node.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Node {
    /// The Kubernetes node name, and where it was read.
    pub name: Option<Fact>,
    /// The digest of its machine-id; without one, of hostname and CA key. Tells nodes apart without telling the machine-id.
    pub id: Digest,
}

/// Whose tree is looked at.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Files below another root: nothing runs, nothing is probed, nothing is restarted.
    Files,
    /// This running system.
    Live,
    /// This running system, whose cluster has no quorum yet: other members have to be rescued, too.
    Local,
}

/// Times that bear witness to the true time.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ClockFacts {
    /// The system's clock.
    pub system: Utc,
    /// What the operator says the time is (`--now`).
    pub stated: Option<Utc>,
    /// Moments that have certainly passed, each with its source; the newest first.
    pub witnesses: Vec<Witness>,
    /// The hardware clock, on a live root.
    pub hardware: Option<Utc>,
}

/// A moment that has certainly passed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Witness {
    /// When.
    pub at: Utc,
    /// What says so: `modification time of /etc/kubernetes/pki/ca.crt`.
    pub source: String,
    /// It is the beginning of a certificate's validity, dated by whoever issued it.
    pub certificate: bool,
}

/// A certificate authority as seen.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct AuthorityState {
    /// The profile's id.
    pub id: String,
    /// The certificate's file.
    pub cert_path: PathBuf,
    /// The key's file.
    pub key_path: PathBuf,
    /// The signing certificate, then the others of its file.
    pub chain: Observed<Vec<Cert>>,
    /// The private key.
    pub key: Observed<KeyFacts>,
    /// Somebody else's: its key is not expected here.
    pub external: bool,
    /// Other files, named by flags or kubeconfigs, that hold its certificate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<PathBuf>,
    /// Other ids of the profile that turned out to be the same authority.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
}

/// A leaf certificate with its key, as seen.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct CredentialState {
    /// The profile's id.
    pub id: String,
    /// The id of its authority.
    pub signer: String,
    /// Where certificate and key are.
    pub placement: Placement,
    /// The leaf, then the others of its file.
    pub chain: Observed<Vec<Cert>>,
    /// The private key.
    pub key: Observed<KeyFacts>,
    /// Whether the authority's key made the leaf's signature.
    pub signed: Observed<bool>,
    /// The digest of the key at the end of its way, if the authority issued it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor: Option<Digest>,
    /// Names that it must carry.
    pub wanted: Vec<WantedName>,
    /// Sources of required names that did not resolve.
    pub unresolved: Vec<String>,
    /// Names that might be meant.
    pub advised: Vec<WantedName>,
    /// The kubeconfig around it.
    pub kubeconfig: Option<KubeconfigState>,
    /// The first credential of the profile whose certificate is in the same file, if that is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<String>,
    /// Names beside a versioned link that are taken.
    #[serde(default)]
    pub taken: Vec<String>,
    /// Not every node has it.
    pub optional: bool,
    /// Somebody else supplies it.
    pub external: bool,
}

/// Where a credential's certificate and key are.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// The kubeconfig names files that are another credential of the profile.
    Delegated {
        /// The kubeconfig.
        kubeconfig: PathBuf,
        /// The other credential's id.
        to: String,
    },
    /// In a kubeconfig as base64.
    Embedded {
        /// The kubeconfig.
        kubeconfig: PathBuf,
    },
    /// Two files.
    Pair {
        /// Certificate.
        cert: PathBuf,
        /// Key.
        key: PathBuf,
    },
    /// One PEM file behind a versioned link.
    Pem {
        /// The name that is read.
        path: PathBuf,
        /// The pattern of the file behind it, beside `path`.
        link: String,
    },
    /// In files that a kubeconfig names.
    Referenced {
        /// The kubeconfig.
        kubeconfig: PathBuf,
        /// Certificate.
        cert: PathBuf,
        /// Key; may be the same file.
        key: PathBuf,
    },
}

/// What may be known of a private key.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct KeyFacts {
    /// Algorithm and size.
    pub algorithm: KeyAlgorithm,
    /// How the file encodes it.
    pub form: KeyForm,
    /// The digest of the public key's bits.
    pub public: Digest,
}

/// A name that a certificate must or might carry.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct WantedName {
    /// The name.
    pub san: San,
    /// Where it comes from.
    pub why: String,
}

/// What a kubeconfig says beside the credential.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct KubeconfigState {
    /// The file.
    pub path: PathBuf,
    /// The server's URL of the current context.
    pub server: Option<String>,
    /// The current context's user.
    pub user: String,
    /// The trust anchors that it embeds or names.
    pub ca: Observed<Vec<Cert>>,
    /// The file of the trust anchors, if it names one.
    pub ca_file: Option<PathBuf>,
}

/// A key pair without certificate, as seen.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct KeyPairState {
    /// The profile's id.
    pub id: String,
    /// The public key's file.
    pub public_path: PathBuf,
    /// The private key's file.
    pub private_path: PathBuf,
    /// The digest of the public file's key bits: of the private key's own half, if it is among several, else of the first.
    pub public: Observed<Digest>,
    /// Every key of a file of public keys: whoever signs with one of them is believed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub public_keys: Vec<PublicKey>,
    /// The private key.
    pub private: Observed<KeyFacts>,
}

/// A public key in a file of such keys.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PublicKey {
    /// Its block in PEM, with the final newline.
    pub pem: String,
    /// The digest of its bits.
    pub digest: Digest,
}

/// A certificate outside of the profile.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Found {
    /// The file.
    pub path: PathBuf,
    /// What the file is.
    pub kind: FoundKind,
    /// Its certificates, or why they could not be read.
    pub chain: Observed<Vec<Cert>>,
    /// Mode and owner of the file; not known if it cannot be read.
    #[serde(default)]
    pub meta: Option<Meta>,
}

/// What a file that the profile does not own holds.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FoundKind {
    /// Several authorities.
    Bundle,
    /// A leaf, with its chain or alone.
    Certificate,
    /// A kubeconfig with a client certificate.
    Kubeconfig,
    /// A kubeconfig as it was before a refresh, which keeps it.
    KubeconfigOld,
    /// A credential that the kubelet used before; it keeps its old ones.
    KubeletOld,
    /// The kubelet's self-signed serving certificate.
    KubeletServing,
}

impl Placement {
    /// The file that holds the private key; of a credential that is another one's, the kubeconfig that says so.
    pub fn key_path(&self) -> &Path {
        match self {
            Self::Delegated { kubeconfig, .. } | Self::Embedded { kubeconfig } => kubeconfig,
            Self::Pair { key, .. } | Self::Referenced { key, .. } => key,
            Self::Pem { path, .. } => path,
        }
    }

    /// The private key in the text of that file.
    ///
    /// # Errors
    ///
    /// Why there is none, as a sentence fragment.
    pub fn key_in(&self, text: &[u8]) -> Result<PrivateKey, String> {
        let of_pem = |pem: &[u8]| PrivateKey::from_pem(pem).map_err(|error| error.to_string());
        match self {
            Self::Pair { .. } | Self::Referenced { .. } | Self::Pem { .. } => of_pem(text),
            Self::Delegated { .. } | Self::Embedded { .. } => {
                match Kubeconfig::parse(text)
                    .map_err(|error| error.to_string())?
                    .key
                {
                    Material::Embedded(pem) => of_pem(&pem),
                    _ => Err("has no client key".to_owned()),
                }
            },
        }
    }
}

impl AuthorityState {
    /// The certificate that signs.
    pub fn cert(&self) -> Option<&Cert> {
        self.chain.present().and_then(|chain| chain.first())
    }

    /// Whether key and certificate are both readable and belong together.
    pub fn pairs(&self) -> Option<bool> {
        pairs(self.cert(), &self.key)
    }

    /// Whether it is somebody else's, and what it is to sign has to be asked for there.
    pub fn is_elsewhere(&self) -> bool {
        self.external && self.pairs() != Some(true)
    }

    /// Whether the profile means this authority by an id.
    pub fn is(&self, id: &str) -> bool {
        self.id == id || self.aliases.iter().any(|alias| alias == id)
    }
}

impl CredentialState {
    /// The files of certificate and key, if they are files of their own.
    pub fn files(&self) -> Option<(&Path, &Path)> {
        match &self.placement {
            Placement::Pair { cert, key } | Placement::Referenced { cert, key, .. } => {
                Some((cert, key))
            },
            _ => None,
        }
    }

    /// The id of the credential that stands for all in the same file.
    pub fn group(&self) -> &str {
        self.shares.as_deref().unwrap_or(&self.id)
    }

    /// The leaf.
    pub fn cert(&self) -> Option<&Cert> {
        self.chain.present().and_then(|chain| chain.first())
    }

    /// Whether key and certificate are both readable and belong together.
    pub fn pairs(&self) -> Option<bool> {
        pairs(self.cert(), &self.key)
    }

    /// The file that people know the credential by.
    pub fn path(&self) -> &PathBuf {
        match &self.placement {
            Placement::Delegated { kubeconfig, .. }
            | Placement::Embedded { kubeconfig }
            | Placement::Referenced { kubeconfig, .. } => kubeconfig,
            Placement::Pair { cert, .. } => cert,
            Placement::Pem { path, .. } => path,
        }
    }

    /// Required names that the leaf does not carry.
    pub fn missing_names(&self) -> Vec<&WantedName> {
        let Some(cert) = self.cert() else {
            return Vec::new();
        };
        self.wanted
            .iter()
            .filter(|w| !cert.sans.iter().any(|san| san.covers(&w.san)))
            .collect()
    }
}

impl KeyPairState {
    /// Whether the two halves belong together, if both are readable.
    pub fn pairs(&self) -> Option<bool> {
        Some(*self.public.present()? == self.private.present()?.public)
    }
}

impl Inventory {
    /// The authority with this id.
    pub fn authority(&self, id: &str) -> Option<&AuthorityState> {
        self.authorities.iter().find(|authority| authority.is(id))
    }

    /// The credential with this id.
    pub fn credential(&self, id: &str) -> Option<&CredentialState> {
        self.credentials
            .iter()
            .find(|credential| credential.id == id)
    }

    /// Every credential in the same file as this one, itself included.
    pub fn sharing<'a>(
        &'a self,
        credential: &'a CredentialState,
    ) -> impl Iterator<Item = &'a CredentialState> {
        let group = credential.group();
        self.credentials
            .iter()
            .filter(move |other| other.group() == group)
    }

    /// Whether a credential's key signs or verifies service-account tokens, too: a new one would end all of them.
    pub fn signs_tokens(&self, credential: &CredentialState) -> bool {
        let key = credential.key.present().map(|key| key.public);
        let of = |pair: &KeyPairState| {
            [
                pair.public.present().copied(),
                pair.private.present().map(|key| key.public),
            ]
        };
        key.is_some() && self.key_pairs.iter().flat_map(of).any(|known| known == key)
    }

    /// The version of a file that was read.
    pub fn version(&self, path: &Path) -> Option<&Version> {
        self.objects
            .get(&Place::File(path.to_path_buf()))
            .and_then(Observed::present)
    }

    /// What a plan depends on: the content of every object, the node, the profile and the tool; no times.
    pub fn digest(&self, profile: Digest) -> Digest {
        let contents: BTreeMap<String, Observed<Digest>> = self
            .objects
            .iter()
            .map(|(at, seen)| {
                (
                    format!("{at:?}"),
                    seen.clone().map(|version| version.sha256),
                )
            })
            .collect();
        let basis = (&self.node.id, profile, env!("CARGO_PKG_VERSION"), contents);
        // Serialising plain tables and strings into memory has no way to fail.
        Digest::of(&serde_json::to_vec(&basis).unwrap_or_default())
    }
}

fn pairs(cert: Option<&Cert>, key: &Observed<KeyFacts>) -> Option<bool> {
    Some(Digest::of(cert?.public_bits()) == key.present()?.public)
}
