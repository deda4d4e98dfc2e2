//! Reading each file once, and remembering the version of what was read.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::inventory::{KeyFacts, PublicKey};
use crate::observe::{key_facts, place};
use crate::pki::cert::Cert;
use crate::pki::digest::Digest;
use crate::pki::key::{self, PrivateKey};
use crate::pki::pem;
use crate::place::{Blob, Kind, Meta, Observed, Place, Version};
use crate::store::StoreError;
use crate::store::disk::Disk;

/// A file's bytes, wiped when dropped.
type Bytes = Zeroizing<Vec<u8>>;

/// Reads files below a root.
pub(super) struct Reader<'a> {
    disk: &'a Disk,
    objects: RefCell<BTreeMap<Place, Observed<Version>>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(disk: &'a Disk) -> Self {
        Self {
            disk,
            objects: RefCell::default(),
        }
    }

    /// The content of a file that a plan may depend on.
    pub(super) fn bytes(&self, path: &Path) -> Result<Observed<Bytes>, StoreError> {
        let at = place(path);
        if path.as_os_str().is_empty() {
            return Ok(Observed::Absent);
        }
        // Flags hold whatever somebody wrote there.
        if !is_usable(path) {
            return Ok(Observed::Unknown("is no absolute path".to_owned()));
        }
        let seen = self.disk.read(&at)?;
        let (version, bytes) = match seen {
            Observed::Absent => (Observed::Absent, Observed::Absent),
            Observed::Unknown(why) => (Observed::Unknown(why.clone()), Observed::Unknown(why)),
            Observed::Present((version, Blob::File(bytes))) => {
                (Observed::Present(version), Observed::Present(bytes))
            },
            Observed::Present((_, Blob::Link(_))) => {
                let why = "is a symbolic link".to_owned();
                (Observed::Unknown(why.clone()), Observed::Unknown(why))
            },
            Observed::Present((version, Blob::EmptyDirectory)) => {
                let why = "is an empty directory".to_owned();
                (Observed::Present(version), Observed::Unknown(why))
            },
        };
        self.objects.borrow_mut().insert(at, version);
        Ok(bytes)
    }

    /// The content of a file that no plan depends on.
    pub(super) fn glance(&self, path: &Path) -> Result<Observed<(Meta, Bytes)>, StoreError> {
        Ok(match self.disk.read(&place(path))? {
            Observed::Present((version, Blob::File(bytes))) => {
                Observed::Present((version.meta, bytes))
            },
            Observed::Unknown(why) => Observed::Unknown(why),
            Observed::Absent | Observed::Present(_) => Observed::Absent,
        })
    }

    /// The name itself, not what it points at.
    pub(super) fn entry(&self, path: &Path) -> Result<Option<Version>, StoreError> {
        let at = Place::Entry(path.to_path_buf());
        let seen = self.disk.read(&at)?.map(|(version, _)| version);
        let version = seen.present().cloned();
        self.objects.borrow_mut().insert(at, seen);
        Ok(version)
    }

    pub(super) fn certs(&self, path: &Path) -> Result<Observed<Vec<Cert>>, StoreError> {
        Ok(flatten(self.bytes(path)?, parsed_certs))
    }

    pub(super) fn key(&self, path: &Path) -> Result<Observed<KeyFacts>, StoreError> {
        Ok(flatten(self.bytes(path)?, parsed_key))
    }

    /// The digest of the bits of a public key, which a certificate or a private key may stand for.
    pub(super) fn public(&self, path: &Path) -> Result<Observed<Digest>, StoreError> {
        Ok(flatten(self.bytes(path)?, parsed_public))
    }

    /// The keys of a file that holds nothing but public keys; otherwise none.
    pub(super) fn public_keys(&self, path: &Path) -> Result<Vec<PublicKey>, StoreError> {
        let Observed::Present(text) = self.bytes(path)? else {
            return Ok(Vec::new());
        };
        Ok(public_keys(&text).unwrap_or_default())
    }

    /// The names in a directory that are UTF-8: others are nobody's certificates.
    pub(super) fn list(&self, dir: &Path) -> Result<Vec<(String, Kind)>, StoreError> {
        // A directory that cannot be listed, because it is none or is not ours, is as good as empty for a search.
        let listed = match self.disk.list(dir) {
            Err(StoreError::List { .. }) => Vec::new(),
            other => other?,
        };
        let utf8 = |(name, kind): (OsString, Kind)| Some((name.into_string().ok()?, kind));
        Ok(listed.into_iter().filter_map(utf8).collect())
    }

    pub(super) fn expand(&self, pattern: &str) -> Result<Vec<PathBuf>, StoreError> {
        self.disk.expand(pattern)
    }

    pub(super) fn exists(&self, path: &Path) -> Result<bool, StoreError> {
        Ok(is_usable(path) && self.disk.kind(path)? != Observed::Absent)
    }

    /// Where a path leads when all links are followed; itself if nothing is there.
    pub(super) fn real(&self, path: &Path) -> Result<PathBuf, StoreError> {
        if !is_usable(path) {
            return Ok(path.to_path_buf());
        }
        let real = self.disk.real_path(path)?;
        Ok(real.unwrap_or_else(|| path.to_path_buf()))
    }

    pub(super) fn owner(&self, dir: &Path) -> Result<Option<(u32, u32)>, StoreError> {
        Ok(self
            .disk
            .metadata(dir)?
            .present()
            .map(|meta| (meta.uid, meta.gid)))
    }

    pub(super) fn is_live(&self) -> bool {
        self.disk.is_live()
    }

    /// The text of a file that the kernel makes up; empty if it has none.
    pub(super) fn kernel(&self, path: &Path) -> Result<String, StoreError> {
        let text = self.glance(path)?.map(|(_, bytes)| bytes);
        Ok(text
            .present()
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            .unwrap_or_default())
    }

    /// Every path that was read so far, and where those that are links lead.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let objects = self.objects.borrow();
        let links = objects.iter().filter_map(|(at, seen)| {
            let target = seen.present()?.link.as_ref()?;
            Some(at.path().parent()?.join(target))
        });
        objects
            .keys()
            .map(|at| at.path().to_path_buf())
            .chain(links)
            .collect()
    }

    /// The versions of everything that was read so far.
    pub(super) fn objects(&self) -> BTreeMap<Place, Observed<Version>> {
        self.objects.borrow().clone()
    }
}

pub(super) fn parsed_certs(text: &[u8]) -> Observed<Vec<Cert>> {
    match Cert::all_from_pem(text) {
        Ok(chain) => Observed::Present(chain),
        Err(error) => Observed::Unknown(error.to_string()),
    }
}

pub(super) fn parsed_key(text: &[u8]) -> Observed<KeyFacts> {
    match PrivateKey::from_pem(text) {
        Err(error) => Observed::Unknown(error.to_string()),
        Ok(key) => match key_facts(&key) {
            Ok(facts) => Observed::Present(facts),
            Err(error) => Observed::Unknown(error.to_string()),
        },
    }
}

fn is_usable(path: &Path) -> bool {
    path.is_absolute() && !path.as_os_str().as_bytes().contains(&0)
}

/// The keys of a text of nothing but `PUBLIC KEY` blocks (RFC 7468, section 13).
pub fn public_keys(text: &[u8]) -> Option<Vec<PublicKey>> {
    let blocks = pem::blocks(text).ok()?;
    let keys = blocks.iter().map(|block| {
        let (_, bits) = key::read_spki(&block.der).filter(|_| block.tag == "PUBLIC KEY")?;
        Some(PublicKey {
            pem: pem::encode(&block.tag, &block.der).to_string(),
            digest: Digest::of(bits),
        })
    });
    keys.collect()
}

/// As the API server reads `--service-account-key-file` (client-go `util/keyutil`, `ParsePublicKeysPEM`).
fn parsed_public(text: &[u8]) -> Observed<Digest> {
    let blocks = match pem::blocks(text) {
        Ok(blocks) => blocks,
        Err(error) => return Observed::Unknown(error.to_string()),
    };
    if let Some((_, bits)) = key::read_spki(&blocks[0].der) {
        return Observed::Present(Digest::of(bits));
    }
    if let Observed::Present(certs) = parsed_certs(text) {
        return Observed::Present(Digest::of(certs[0].public_bits()));
    }
    match parsed_key(text) {
        Observed::Present(key) => Observed::Present(key.public),
        _ => Observed::Unknown("is no public key".to_owned()),
    }
}

fn flatten<T>(bytes: Observed<Bytes>, parse: impl Fn(&[u8]) -> Observed<T>) -> Observed<T> {
    match bytes {
        Observed::Absent => Observed::Absent,
        Observed::Unknown(why) => Observed::Unknown(why),
        Observed::Present(bytes) => parse(&bytes),
    }
}
