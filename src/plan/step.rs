//! Steps: each is the unit of reversion, and describes itself.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::inventory::WantedName;
use crate::pki::cert::Cert;
use crate::pki::csr::Template;
use crate::pki::digest::Digest;
use crate::pki::key::{KeyAlgorithm, KeyForm};
use crate::pki::utc::Utc;
use crate::place::{Meta, Observed, Place, Version};

/// Names a step inside its plan: `s03`, `c11`.
pub type StepId = String;

/// In which direction.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Undo.
    Back,
    /// Do.
    Forward,
}

/// The steps of a plan in their phases.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Phases {
    /// Invisible: issuing into the run's own directory, in any order.
    pub stage: Vec<Stage>,
    /// Units that stand still from before the first replacement until a later step starts them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hold: Vec<Hold>,
    /// Reversible: replacing files, in order.
    pub commit: Vec<Commit>,
    /// Forward: making running processes use the new files. Empty where nothing runs.
    pub converge: Vec<Converge>,
}

/// Issues one credential.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Stage {
    /// The step's name.
    pub id: StepId,
    /// The credential's id.
    pub credential: String,
    /// What is issued.
    pub recipe: Recipe,
    /// Why it is due, each a sentence fragment.
    pub why: Vec<String>,
}

/// Everything about a certificate that is decided before its key and serial are drawn.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Recipe {
    /// The id of the authority that signs.
    pub issuer: String,
    /// What it is modelled on.
    pub origin: Origin,
    /// The certificate itself, then what follows it in its file, if somebody else issued it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given: Vec<Cert>,
    /// Names that are added to those of the origin, each with its reason.
    pub add: Vec<WantedName>,
    /// Every name that the certificate will carry, each with all that asks for it.
    pub names: Vec<WantedName>,
    /// The key.
    pub key: KeyPlan,
    /// First second of validity.
    pub not_before: Utc,
    /// Last second of validity.
    pub not_after: Utc,
    /// The end was cut to that of the authority.
    pub capped: bool,
    /// The authority's intermediates follow the leaf in its file.
    pub chain: bool,
}

/// What a certificate is modelled on.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A template: nothing is left of the old one, or the operator overrides it.
    New(Template),
    /// The old certificate, of which every byte is kept that need not change.
    Old(Box<Cert>),
}

/// Which key a certificate gets.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyPlan {
    /// The one that was made when the certificate was requested: its file, below the root.
    File(PathBuf),
    /// A new one.
    New {
        /// Algorithm and size.
        algorithm: KeyAlgorithm,
        /// How its file encodes it.
        form: KeyForm,
    },
    /// The one that is there.
    Reuse,
}

/// Replaces one place atomically.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Commit {
    /// The step's name.
    pub id: StepId,
    /// The id of the credential that it serves.
    pub credential: String,
    /// Where.
    pub at: Place,
    /// What is there when the plan is made; the content must be the same when it is applied.
    pub expect: Observed<Version>,
    /// What the new content is made of.
    pub parts: Vec<(Slot, Source)>,
    /// Mode, owner and times of the new content.
    pub meta: MetaPlan,
    /// What is changed and why, as a sentence fragment.
    pub why: String,
}

/// Which part of a place's content.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Slot {
    /// An authority's certificate in a file of certificates, in the place of the one with the same name and key.
    Anchor,
    /// A certificate file: the leaf, then its chain.
    Cert,
    /// A kubeconfig's `client-certificate-data`.
    ClientCert,
    /// A kubeconfig's `client-key-data`.
    ClientKey,
    /// The directory entry itself.
    Entry,
    /// Flags in a static pod's manifest.
    Flags,
    /// A private key file.
    Key,
    /// Certificate and key in one file.
    Pem,
    /// A kubeconfig's `certificate-authority-data`.
    Trust,
    /// The whole file, byte for byte.
    Whole,
}

/// Where a part's bytes come from.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// An entry of the archive that a restore reads.
    Archive(String),
    /// A kubeconfig without credential, for a user and a server.
    Blank {
        /// The user's name: the common name.
        user: String,
        /// The server's URL.
        server: String,
    },
    /// The certificates of these authorities' files.
    Bundle(Vec<String>),
    /// The private key in this file of the host, which the operator brought.
    Carried(PathBuf),
    /// These flags get these paths, said as the host sees them, or are taken out.
    Flags(BTreeMap<String, Option<PathBuf>>),
    /// A symbolic link with this target.
    Link(PathBuf),
    /// Nothing: the place becomes absent.
    Nothing,
    /// What a stage step issued.
    Staged(StepId),
    /// This text: certificates or public keys in PEM.
    Text(String),
}

/// Mode, owner and times of new content.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MetaPlan {
    /// A new file, with these permission bits and this owner (the process's own, if none was seen).
    Create {
        /// Permission bits.
        mode: u32,
        /// Numeric owner and group.
        owner: Option<(u32, u32)>,
    },
    /// As the file that is replaced; the time of change is now.
    Keep,
    /// Exactly this, times included.
    Restore(Meta),
}

/// Stops a unit that would write where the plan replaces, or restart what the plan stops.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// The step's name.
    pub id: StepId,
    /// The consumer's id.
    pub who: String,
    /// Why, as a sentence fragment.
    pub why: String,
}

/// Makes a running consumer use what was committed. How a consumer is restarted is the profile's business.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Converge {
    /// The step's name.
    pub id: StepId,
    /// The consumer's id; of the last step, the node.
    pub who: String,
    /// What is done.
    pub act: Act,
    /// Why, as a sentence fragment.
    pub why: String,
}

/// What is done to a consumer.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// It is stopped and started again by whoever starts it.
    Restart,
    /// It is stopped, and stays so until a held unit is started again.
    Stop,
    /// A held or dead unit is started.
    Start,
    /// It is kept from being started: its manifest gets a name that the kubelet does not see.
    SetAside,
    /// It may be started again: its manifest gets its name back.
    PutBack,
    /// Nothing is done to it; what it serves and answers proves that it uses the new files.
    Prove(Proof),
    /// The copies of authorities that live in the API are mended.
    Publish {
        /// The digests of certificates that no copy may hold any longer.
        former: Vec<Digest>,
        /// The digests of certificates that no copy held before, and that none may hold if the run is undone.
        coming: Vec<Digest>,
    },
    /// The whole control plane is watched until it is steady.
    Settle,
    /// Nothing is done until every kubelet reports: it has the seconds of the proof.
    Nodes(Proof),
}

impl Act {
    /// How long it usually takes, in whole seconds, as seen on nodes of two cores that do nothing else.
    pub fn usual_seconds(&self) -> u32 {
        match self {
            Self::PutBack | Self::SetAside | Self::Start | Self::Stop => 1,
            Self::Restart => 3,
            Self::Prove(_) => 5,
            Self::Settle => 20,
            Self::Publish { .. } => 60,
            Self::Nodes(proof) => proof.within,
        }
    }
}

/// What a consumer has to prove.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// The name of its identity when the plan was made, if it must have another one now.
    pub was: Option<String>,
    /// Seconds that it has to read the files again by itself; then it is restarted. None if it was restarted anyway.
    pub reload: Option<u32>,
    /// Seconds that it has in all.
    pub within: u32,
}

/// What has to be done on the node itself, because its processes cannot be reached from here.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Remaining {
    /// The consumer's id.
    pub consumer: String,
    /// The command to type on the node; none if the consumer reads the files again by itself.
    pub command: Option<String>,
    /// Why, as a sentence.
    pub why: String,
}
