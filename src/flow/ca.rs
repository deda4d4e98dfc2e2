//! Certificate authorities outside of a run: carried to other nodes, begun anew, bundled.
//!
//! A new authority is only ever written where nothing is, and nobody trusts it by being made: that takes a rotation.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::crypto::{self, CryptoError};
use crate::defect;
use crate::flow::site::Site;
use crate::inventory::AuthorityState;
use crate::issue::{self, IssueError};
use crate::observe::Depth;
use crate::pki::cert::{Cert, CertError};
use crate::pki::csr::Template;
use crate::pki::key::{KeyAlgorithm, KeyForm};
use crate::pki::name::NameError;
use crate::pki::utc::Utc;
use crate::store::{Disk, RunDir, StoreError};

/// The validity of a new authority unless somebody says otherwise, in seconds: ten years, as kubeadm's.
const TEN_YEARS: i64 = 3650 * Utc::DAY;

/// A file that was written.
#[derive(Clone, Debug, Serialize)]
pub struct Made {
    /// Where.
    pub path: PathBuf,
    /// What it holds, in words.
    pub what: String,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaError {
    /// The place is taken.
    #[error("{0} exists, and is not replaced")]
    Exists(PathBuf),
    /// An authority of the node cannot be read.
    #[error("{} cannot be read", .0.display())]
    Unreadable(PathBuf),
    /// An authority of the node is no root.
    #[error("{} is no root: the CA above it has to make its successor", .0.display())]
    NoRoot(PathBuf),
    /// A file holds no certificate.
    #[error("{} {source}", path.display())]
    Cert {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: CertError,
    },
    /// A certificate that nobody may be trusted for.
    #[error("{} {why}", path.display())]
    NoAnchor {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The template's names cannot be written.
    #[error("the template's subject cannot be written")]
    Name(#[from] NameError),
    /// Keys or randomness.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// Signing.
    #[error("cannot issue the CA")]
    Issue(#[from] IssueError),
    /// Looking, or writing.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl CaError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Exists(_) => "name a place where nothing is",
            Self::Unreadable(_) => "restore it from a backup, or leave it out: name the others",
            Self::NoRoot(_) => {
                "have it made there, then on every node: rescue-kit ca rotate trust --from DIR"
            },
            Self::Store(_) => "check the path and your permissions",
            Self::Cert { .. } | Self::NoAnchor { .. } => "name files with CA certificates in PEM",
            Self::Name(_) | Self::Crypto(_) | Self::Issue(_) => {
                "see templates/ca.json for the format"
            },
        }
    }
}

impl Site {
    /// Writes the certificate of each authority to `DIR/ID.crt`: what other control-plane nodes and workers get by
    /// `--ca-from`. No key leaves the node.
    ///
    /// # Errors
    ///
    /// [`CaError::Exists`], [`CaError::Store`].
    pub fn export_authorities(&self, out: &Path) -> Result<Vec<Made>, CaError> {
        let inventory = self.observe(false, Depth::Files)?;
        let readable = inventory
            .authorities
            .iter()
            .filter_map(|authority| Some((authority, authority.cert()?)));
        readable
            .map(|(AuthorityState { id, .. }, cert)| {
                let mut made = write_new(&out.join(format!("{id}.crt")), &cert.to_pem())?;
                made.what = format!("{} until {}", cert.subject, cert.not_after.date());
                Ok(made)
            })
            .collect()
    }
}

/// Makes a self-signed authority from a template: `DIR/NAME.key`, then `DIR/NAME.crt`.
///
/// # Errors
///
/// All of [`CaError`]; nothing is left half-written.
pub fn init(
    template: &Template,
    name: &str,
    out: &Path,
    at: Utc,
    validity: Option<i64>,
) -> Result<Vec<Made>, CaError> {
    let (key_path, cert_path) = (
        out.join(format!("{name}.key")),
        out.join(format!("{name}.crt")),
    );
    if let Some(taken) = [&key_path, &cert_path]
        .into_iter()
        .find(|path| path.exists())
    {
        return Err(CaError::Exists(taken.clone()));
    }
    let algorithm = template.key.clone().unwrap_or(KeyAlgorithm::EcdsaP256);
    let key = crypto::generate(&algorithm, KeyForm::Pkcs8)?;
    let own = template.ca.as_ref();
    let lasts = validity
        .or_else(|| own.and_then(|ca| ca.expiry))
        .or(template.expiry)
        .unwrap_or(TEN_YEARS);
    let path_len = own.and_then(|ca| ca.path_len);
    let subject = template.subject()?;
    let cert = issue::new_authority(&subject, &key, at.backdated(), at.plus(lasts), path_len)?;
    let mut made = vec![write_new(&key_path, &key.to_pem())?];
    made[0].what = format!("its {algorithm} key: keep it where the CA is kept, and nowhere else");
    let mut public = write_new(&cert_path, &cert.to_pem())?;
    public.what = format!("{} until {}", cert.subject, cert.not_after.date());
    made.push(public);
    Ok(made)
}

/// One text of several authorities' certificates, in the order of the files, each once; as a `ConfigMap` with the key
/// `ca.crt` if a name and a namespace are given.
///
/// # Errors
///
/// [`CaError::Cert`]; [`CaError::NoAnchor`] for what is no CA or has expired.
pub fn bundle(
    texts: &[(PathBuf, Vec<u8>)],
    config_map: Option<(&str, &str)>,
    at: Utc,
) -> Result<String, CaError> {
    let mut kept: Vec<Cert> = Vec::new();
    for (path, text) in texts {
        let certs = Cert::all_from_pem(text).map_err(|source| CaError::Cert {
            path: path.clone(),
            source,
        })?;
        for cert in certs {
            let unfit = if cert.is_ca {
                defect::validity(&cert, at, 0).map(|defect| defect.text(at))
            } else {
                Some("is no CA".to_owned())
            };
            if let Some(why) = unfit {
                return Err(CaError::NoAnchor {
                    path: path.clone(),
                    why: format!("holds {}, which {why}", cert.subject),
                });
            }
            if kept.iter().all(|known| known.der != cert.der) {
                kept.push(cert);
            }
        }
    }
    let pem: String = kept.iter().map(Cert::to_pem).collect();
    Ok(match config_map {
        None => pem,
        Some((name, namespace)) => manifest(name, namespace, &pem),
    })
}

fn manifest(name: &str, namespace: &str, pem: &str) -> String {
    let lines: String = pem.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  namespace: {namespace}\ndata:\n  ca.crt: |\n{lines}"
    )
}

/// Writes a file where nothing is, readable for its owner alone; makes its directory.
///
/// # Errors
///
/// [`CaError::Exists`], [`CaError::Store`].
pub fn write_new(path: &Path, text: &str) -> Result<Made, CaError> {
    let at = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let taken = || CaError::Exists(path.to_path_buf());
    let (Some(directory), Some(name)) =
        (at.parent(), at.file_name().and_then(|name| name.to_str()))
    else {
        return Err(taken());
    };
    Disk::open(Path::new("/"))?.make_directory(directory, 0o700)?;
    let directory = RunDir::on_host(directory)?;
    if directory.exists(name)? {
        return Err(taken());
    }
    directory.write(name, text.as_bytes())?;
    Ok(Made {
        path: path.to_path_buf(),
        what: String::new(),
    })
}
