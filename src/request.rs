//! Requests: what a node asks a certificate authority elsewhere for, how that one judges it, and how its answer is judged.
//!
//! A folder travels on a stick. Nothing in it is secret, and nothing in it is believed.
//!
//! ```text
//! manifest.json   what is asked for: a Manifest
//! <id>.csr        PKCS#10 in PEM
//! <id>.crt        the answer: the leaf in PEM, then its intermediates
//! ```
//!
//! The format is that of [`SCHEMA`]; whoever reads it passes over fields that it does not know. The node keeps its own copy
//! of the manifest beside the keys, and judges answers by that one.

pub mod answer;
pub mod terms;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::pki::cert::Cert;
use crate::pki::digest::Digest;
use crate::pki::key::KeyAlgorithm;
use crate::pki::name::printable;
use crate::pki::request::Request;
use crate::pki::san::San;
use crate::pki::utc::Utc;

/// The version of the format that this build writes and reads.
pub const SCHEMA: &str = "rescue-kit/requests/v1";

/// The manifest's name in its folder.
pub const MANIFEST: &str = "manifest.json";

/// What a node asks for.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: String,
    /// Name and version of what wrote it.
    pub tool: String,
    /// The request's name on its node.
    pub request: String,
    /// Who asks.
    pub node: Node,
    /// The name of the profile whose credentials these are.
    pub profile: String,
    /// When it was made.
    pub at: Utc,
    /// The certificates of the authorities that are asked, by id: each file's, the signing one first.
    pub authorities: BTreeMap<String, Vec<Issuer>>,
    /// What is asked for, one entry a request.
    pub requests: Vec<Entry>,
}

/// Who asks.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Node {
    /// The Kubernetes node name, if it is known.
    pub name: Option<String>,
    /// The node's identity, as in plans.
    pub id: Digest,
}

/// A certificate of an authority.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Issuer {
    /// Its subject, for people.
    pub subject: String,
    /// Its fingerprint.
    pub sha256: Digest,
    /// Its PEM.
    pub pem: String,
}

/// One request.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Entry {
    /// The id of the credential.
    pub id: String,
    /// The request's file: the id and `.csr`.
    pub file: String,
    /// The id of the authority that is asked.
    pub signer: String,
    /// The ids of all credentials that this certificate will be; it decides which usages are due to it.
    pub serves: Vec<String>,
    /// What the request says.
    #[serde(flatten)]
    pub asks: Asks,
    /// The validity that is wanted, in seconds.
    pub validity_seconds: i64,
    /// The authority's intermediates followed the old leaf in its file, and are to follow the new one.
    pub chain: bool,
}

/// What a request says.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Asks {
    /// The whole subject, for people.
    pub subject: String,
    /// The name that Kubernetes takes from the subject.
    pub common_name: Option<String>,
    /// The groups that Kubernetes takes from the subject.
    pub groups: Vec<String>,
    /// Alternative names.
    pub sans: Vec<San>,
    /// RFC 5280's names of the key usages.
    pub key_usages: Vec<String>,
    /// RFC 5280's names of the extended key usages.
    pub extended_usages: Vec<String>,
    /// The dotted identifiers of all extensions.
    pub extensions: Vec<String>,
    /// The kind of key.
    pub key: KeyAlgorithm,
    /// The digest of the DER of the `SubjectPublicKeyInfo`.
    pub spki_sha256: Digest,
    /// The digest of the request's DER.
    pub sha256: Digest,
}

/// Why a text is no manifest. Displayed after its path.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// It is not JSON, or lacks a field.
    #[error("is no manifest of requests: {0}")]
    Json(String),
    /// It is of another version.
    #[error("is of the format `{0}`, and this build reads {SCHEMA}")]
    Schema(String),
    /// Two entries have the same id.
    #[error("names `{0}` twice")]
    Twice(String),
    /// An id cannot be a file's name.
    #[error("has the id `{0}`, which is no plain name")]
    Id(String),
    /// An entry's file is not named by its id.
    #[error("names the file `{file}` for `{id}` instead of {id}.csr")]
    File {
        /// The entry's id.
        id: String,
        /// What it says, filtered.
        file: String,
    },
}

impl Manifest {
    /// Reads a manifest. Its ids are plain names, each once, and its files are named by them.
    pub fn parse(json: &[u8]) -> Result<Self, ManifestError> {
        let read: Self = serde_json::from_slice(json)
            .map_err(|error| ManifestError::Json(printable(&error.to_string())))?;
        if read.schema != SCHEMA {
            return Err(ManifestError::Schema(printable(&read.schema)));
        }
        let mut known = BTreeSet::new();
        for entry in &read.requests {
            if !is_id(&entry.id) {
                return Err(ManifestError::Id(printable(&entry.id)));
            }
            if entry.file != entry.request_file() {
                let (id, file) = (entry.id.clone(), printable(&entry.file));
                return Err(ManifestError::File { id, file });
            }
            if !known.insert(entry.id.as_str()) {
                return Err(ManifestError::Twice(entry.id.clone()));
            }
        }
        Ok(read)
    }

    /// The text of the file.
    pub fn to_json(&self) -> Vec<u8> {
        // Serialising plain values into memory has no way to fail.
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        text
    }

    /// The entry with this id.
    pub fn entry(&self, id: &str) -> Option<&Entry> {
        self.requests.iter().find(|entry| entry.id == id)
    }

    /// Who asks, for messages; filtered.
    pub fn asker(&self) -> String {
        let name = self.node.name.as_deref();
        printable(name.unwrap_or("a node without a name"))
    }
}

impl Issuer {
    /// Describes a certificate.
    pub fn of(cert: &Cert) -> Self {
        Self {
            subject: cert.subject.to_string(),
            sha256: cert.sha256(),
            pem: cert.to_pem(),
        }
    }

    /// The certificate itself; `None` if the PEM holds none.
    pub fn cert(&self) -> Option<Cert> {
        Cert::all_from_pem(self.pem.as_bytes()).ok()?.pop()
    }
}

impl Entry {
    /// The name of the request's file.
    pub fn request_file(&self) -> String {
        format!("{}.csr", self.id)
    }

    /// The name of the answer's file.
    pub fn answer_file(&self) -> String {
        format!("{}.crt", self.id)
    }

    /// The name of the key's file, which never leaves the node.
    pub fn key_file(&self) -> String {
        format!("{}.key", self.id)
    }

    /// Whether a certificate carries the key that this request was made for.
    pub fn has_key_of(&self, cert: &Cert) -> bool {
        Digest::of(&cert.spki) == self.asks.spki_sha256
    }
}

impl Asks {
    /// What a request says.
    pub fn of(request: &Request) -> Self {
        let wish = &request.wish;
        Self {
            subject: wish.subject.to_string(),
            common_name: wish.subject.common_name(),
            groups: wish.subject.organizations(),
            sans: wish.sans.clone(),
            key_usages: wish.key_usages.clone(),
            extended_usages: wish.extended_usages.clone(),
            extensions: request.extensions(),
            key: wish.key.clone(),
            spki_sha256: Digest::of(&wish.spki),
            sha256: request.sha256(),
        }
    }

    /// In which parts two requests differ; empty only if they are the same bytes.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let subject = (&self.subject, &self.common_name, &self.groups)
            == (&other.subject, &other.common_name, &other.groups);
        let usages = (&self.key_usages, &self.extended_usages)
            == (&other.key_usages, &other.extended_usages);
        let key = (&self.key, self.spki_sha256) == (&other.key, other.spki_sha256);
        let parts = [
            ("public key", key),
            ("subject", subject),
            ("names", self.sans == other.sans),
            ("usages", usages),
            ("extensions", self.extensions == other.extensions),
            ("digest", self.sha256 == other.sha256),
        ];
        let differing = parts.into_iter().filter(|(_, same)| !same);
        differing.map(|(part, _)| part).collect()
    }
}

/// Whether a text can be a credential's id and the beginning of a file's name.
pub fn is_id(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=100).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(plain)
}
