//! Certificates from an authority elsewhere: requests go out on a stick, answers come back. Keys stay on the node.

pub mod generate;
pub mod install;
pub mod sign;
pub mod signed;

use std::path::PathBuf;

use crate::crypto::CryptoError;
use crate::finding::Finding;
use crate::flow::failure::RescueError;
use crate::flow::site::Site;
use crate::issue::IssueError;
use crate::pki::cert::Cert;
use crate::pki::name::NameError;
use crate::pki::request::RequestError;
use crate::request::{Manifest, ManifestError};
use crate::run;
use crate::store::{RunDir, StoreError};

/// The largest manifest that is read, in bytes: 64 MiB, room for 40,000 requests.
const MANIFEST_LIMIT: u64 = 64 << 20;

/// The largest request or answer that is read, in bytes.
const PEM_LIMIT: u64 = 1 << 20;

/// The name under which a node keeps what it asked for, beside the keys.
const KEPT: &str = "request.json";

/// Why requests were not made, signed or answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CsrError {
    /// Keys, signatures, random numbers.
    #[error("a cryptographic operation failed")]
    Crypto(#[from] CryptoError),
    /// The state directory is not below the root, so that a key in it cannot be put in place.
    #[error("the state directory {} is not below the root, and new keys must stay on the node", .0.display())]
    Elsewhere(PathBuf),
    /// A request cannot be made.
    #[error("cannot make a request for {id}")]
    Issue {
        /// The credential.
        id: String,
        /// Why.
        source: IssueError,
    },
    /// A manifest cannot be used.
    #[error("{} {source}", path.display())]
    Manifest {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: ManifestError,
    },
    /// There is nothing to install.
    #[error("{} holds no answers: no file is named like a certificate and .crt", .0.display())]
    NoAnswers(PathBuf),
    /// There is nothing to sign.
    #[error("{} holds no requests: there is no manifest.json in it or in a folder of it", .0.display())]
    NoRequests(PathBuf),
    /// The requests are another node's.
    #[error("{} holds the requests of another node: {asker}", path.display())]
    OtherNode {
        /// The folder.
        path: PathBuf,
        /// Who asked.
        asker: String,
    },
    /// Everything that is wrong with requests or answers.
    #[error("refused before any change")]
    Refused(Vec<Finding>),
    /// What was just made cannot be read: a bug.
    #[error("the new request for {id} cannot be read again, which is a bug")]
    Reread {
        /// The credential.
        id: String,
        /// Why.
        source: RequestError,
    },
    /// Looking or planning failed.
    #[error(transparent)]
    Rescue(#[from] RescueError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The folder is in use.
    #[error("{} holds requests already", .0.display())]
    Taken(PathBuf),
}

impl CsrError {
    fn name(id: &str, source: NameError) -> Self {
        let id = id.to_owned();
        Self::Issue {
            id,
            source: source.into(),
        }
    }
}

/// Requests of this node whose keys wait for their certificates.
struct Pending {
    /// Where they are kept, as the node says it.
    path: PathBuf,
    dir: RunDir,
    manifest: Manifest,
}

impl Site {
    /// The directory of all requests, as the node says it.
    fn requests_dir(&self) -> PathBuf {
        self.look.state_dir.join("requests")
    }

    /// Keys go from the state directory to their places, and places lie below the root.
    fn refuse_state_elsewhere(&self) -> Result<(), CsrError> {
        if self.state.root() == self.disk.root() {
            return Ok(());
        }
        Err(CsrError::Elsewhere(self.look.state_dir.clone()))
    }

    /// All requests of this node, the newest first. What was not written to its end is passed over.
    fn pending(&self) -> Result<Vec<Pending>, CsrError> {
        let listed = self.state.list(&self.requests_dir())?;
        let names = listed.into_iter().rev();
        let names = names.filter_map(|(name, _)| name.into_string().ok());
        let mut pending = Vec::new();
        for name in names.filter(|name| run::is_name(name)) {
            let path = self.requests_dir().join(name);
            let dir = self.state.run_dir(&path, false)?;
            if let Some(json) = dir.read_within(KEPT, MANIFEST_LIMIT)? {
                let manifest = Manifest::parse(&json).map_err(|source| CsrError::Manifest {
                    path: path.join(KEPT),
                    source,
                })?;
                pending.push(Pending {
                    path,
                    dir,
                    manifest,
                });
            }
        }
        Ok(pending)
    }

    /// What was requested and is not answered yet, the newest first.
    pub fn waiting_requests(&self) -> Result<Vec<Manifest>, CsrError> {
        let pending = self.pending()?.into_iter();
        Ok(pending.map(|pending| pending.manifest).collect())
    }

    /// Forgets the keys that these certificates carry, since they live in place now, and requests without any key left.
    pub fn forget_installed(&self, certs: &[&Cert]) -> Result<(), CsrError> {
        for pending in self.pending()? {
            let entries = &pending.manifest.requests;
            let installed = entries
                .iter()
                .filter(|entry| certs.iter().any(|cert| entry.has_key_of(cert)));
            for entry in installed {
                pending.dir.remove_tree(&entry.key_file())?;
            }
            let keys = pending.dir.list("")?;
            if !keys.iter().any(|name| name.strip_suffix(".key").is_some()) {
                let all = self.state.run_dir(&self.requests_dir(), false)?;
                all.remove_tree(&pending.manifest.request)?;
            }
        }
        Ok(())
    }
}
