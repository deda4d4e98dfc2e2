//! PHASE: backup, a copy of everything that a rescue may touch, and of what it stands on.
//! INPUTS: the store; a profile; an inventory.
//! OUTPUTS: one archive, read back and compared with its sources.
//!
//! The archive holds `manifest.json` (a [`Manifest`]) and the files' bytes under `files/`. Links and metadata are in the
//! manifest alone: nothing is ever unpacked by a tar program's rules.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::archive::{self, ArchiveError};
use crate::inventory::{Inventory, Node};
use crate::pki::digest::Digest;
use crate::pki::utc::Utc;
use crate::place::{Blob, Kind, Observed, Place, Version};
use crate::profile::Profile;
use crate::store::{Disk, StoreError};

/// The version of the manifest that this build writes and reads.
pub const FORMAT: u16 = 1;

/// The manifest's name in the archive.
const MANIFEST: &str = "manifest.json";

/// How deep directories are followed.
const DEPTH: u8 = 8;

/// What a backup holds.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The format's version; [`FORMAT`].
    pub format: u16,
    /// Whose files these are.
    pub node: Node,
    /// The profile that named them.
    pub profile: String,
    /// When it was made.
    pub at: Utc,
    /// Every file and link, sorted by place.
    pub entries: BTreeMap<Place, Version>,
    /// Permission bits of the directories that hold them; older backups lack them.
    #[serde(default)]
    pub directories: BTreeMap<String, u32>,
    /// What is left out, and why.
    pub left_out: BTreeMap<String, String>,
}

/// A backup in memory. Its bytes may hold private keys and are wiped when dropped.
pub struct Backup {
    /// What it holds.
    pub manifest: Manifest,
    files: BTreeMap<String, Zeroizing<Vec<u8>>>,
}

/// Whether CA keys are part of a backup.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AuthorityKeys {
    /// On the node itself they are already.
    Kept,
    /// They do not leave the node in clear.
    LeftOut,
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The archive cannot be written or read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// What was written is not what is on the disk.
    #[error("the backup of {0} is not what is on the disk")]
    Differs(String),
    /// The archive is damaged, or no backup of ours.
    #[error("the archive is not intact: {0}")]
    Foreign(String),
    /// Reading a source failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Backup {
    /// Reads everything that the profile and the inventory name.
    pub fn collect(
        disk: &Disk,
        profile: &Profile,
        inventory: &Inventory,
        keys: AuthorityKeys,
    ) -> Result<Self, BackupError> {
        let mut collector = Collector::new(disk);
        if keys == AuthorityKeys::LeftOut {
            let paths = inventory.authorities.iter().map(|a| a.key_path.clone());
            collector.secret = paths.collect();
        }
        for place in inventory.objects.keys() {
            collector.add(place)?;
        }
        for pattern in &profile.backup {
            for path in disk.expand(pattern)? {
                collector.below(&path, DEPTH)?;
            }
        }
        let manifest = Manifest {
            format: FORMAT,
            node: inventory.node.clone(),
            profile: profile.name.clone(),
            at: inventory.at,
            entries: collector.entries,
            directories: collector.directories,
            left_out: collector.left_out,
        };
        Ok(Self {
            manifest,
            files: collector.files,
        })
    }

    /// The archive's bytes; the same content gives the same bytes.
    pub fn pack(&self) -> Result<Zeroizing<Vec<u8>>, BackupError> {
        let manifest = serde_json::to_vec_pretty(&self.manifest).unwrap_or_default();
        let entry = |name: &str, bytes: Zeroizing<Vec<u8>>| archive::Entry {
            name: name.to_owned(),
            mode: 0o600,
            bytes,
        };
        let mut entries = vec![entry(MANIFEST, manifest.into())];
        entries.extend(
            self.files
                .iter()
                .map(|(name, bytes)| entry(name, bytes.clone())),
        );
        let mut packed = Zeroizing::new(Vec::new());
        archive::pack(&entries, self.manifest.at, &mut *packed)?;
        Ok(packed)
    }

    /// Reads an archive and checks every file against its manifest. Nothing is written anywhere.
    pub fn unpack(bytes: &[u8]) -> Result<Self, BackupError> {
        let mut files: BTreeMap<String, Zeroizing<Vec<u8>>> = archive::unpack(bytes)?
            .into_iter()
            .map(|entry| (entry.name, entry.bytes))
            .collect();
        let foreign = |why: &str| BackupError::Foreign(why.to_owned());
        let manifest = files
            .remove(MANIFEST)
            .ok_or_else(|| foreign("it has no manifest"))?;
        let manifest: Manifest = serde_json::from_slice(&manifest)
            .map_err(|error| BackupError::Foreign(error.to_string()))?;
        if manifest.format != FORMAT {
            return Err(BackupError::Foreign(format!(
                "it has format {}",
                manifest.format
            )));
        }
        let backup = Self { manifest, files };
        for (place, version) in &backup.manifest.entries {
            if version.link.is_none()
                && backup.bytes(place).map(|bytes| Digest::of(bytes)) != Some(version.sha256)
            {
                return Err(BackupError::Foreign(format!(
                    "the bytes of {place} are not those of its manifest"
                )));
            }
        }
        let named = backup
            .manifest
            .entries
            .values()
            .filter(|v| v.link.is_none())
            .count();
        if named != backup.files.len() {
            return Err(foreign("it holds files that its manifest does not name"));
        }
        Ok(backup)
    }

    /// The bytes of a file.
    pub fn bytes(&self, place: &Place) -> Option<&Zeroizing<Vec<u8>>> {
        self.files.get(&entry_name(place))
    }

    /// The bytes by the name that [`entry_name`] gives.
    pub fn entry(&self, name: &str) -> Option<Zeroizing<Vec<u8>>> {
        self.files.get(name).cloned()
    }

    /// Compares every file with the disk.
    pub fn compare(&self, disk: &Disk) -> Result<(), BackupError> {
        for (place, version) in &self.manifest.entries {
            let seen = disk.read(place)?.map(|(version, _)| version);
            if !seen
                .present()
                .is_some_and(|seen| seen.same_content(version))
            {
                return Err(BackupError::Differs(place.to_string()));
            }
        }
        Ok(())
    }
}

/// The name of a place's bytes in the archive.
pub fn entry_name(place: &Place) -> String {
    let path = place
        .path()
        .strip_prefix("/")
        .unwrap_or_else(|_| place.path());
    format!("files/{}", path.display())
}

struct Collector<'a> {
    disk: &'a Disk,
    entries: BTreeMap<Place, Version>,
    files: BTreeMap<String, Zeroizing<Vec<u8>>>,
    directories: BTreeMap<String, u32>,
    left_out: BTreeMap<String, String>,
    secret: BTreeSet<PathBuf>,
    real: BTreeSet<PathBuf>,
}

impl<'a> Collector<'a> {
    fn new(disk: &'a Disk) -> Self {
        Self {
            disk,
            entries: BTreeMap::new(),
            files: BTreeMap::new(),
            directories: BTreeMap::new(),
            left_out: BTreeMap::new(),
            secret: BTreeSet::new(),
            real: BTreeSet::new(),
        }
    }

    fn add(&mut self, place: &Place) -> Result<(), BackupError> {
        let path = place.path();
        if self.entries.contains_key(place) || path.to_str().is_none() {
            return Ok(());
        }
        if self.secret.contains(path) {
            let why = "a CA key does not leave the node in clear".to_owned();
            self.left_out.insert(place.to_string(), why);
            return Ok(());
        }
        match self.disk.read(place)? {
            Observed::Absent => {},
            Observed::Unknown(why) => {
                self.left_out.insert(place.to_string(), why);
            },
            // A name that is no link is the same file as the content at its path.
            Observed::Present((version, _))
                if matches!(place, Place::Entry(_)) && version.link.is_none() => {},
            // Nothing is in it, and a mount of a missing file makes it again.
            Observed::Present((version, _)) if version.directory => {
                let why = "is an empty directory".to_owned();
                self.left_out.insert(place.to_string(), why);
            },
            Observed::Present((version, blob)) => {
                if let Blob::File(bytes) = blob {
                    self.files.insert(entry_name(place), bytes);
                }
                self.entries.insert(place.clone(), version);
            },
        }
        Ok(())
    }

    /// A file, a link, or a directory with everything below it.
    fn below(&mut self, path: &Path, depth: u8) -> Result<(), BackupError> {
        match self.disk.kind(path)? {
            Observed::Present(Kind::File) => self.add(&Place::File(path.to_path_buf())),
            Observed::Present(Kind::Directory) => self.inside(path, depth),
            Observed::Present(Kind::Link) => {
                self.add(&Place::Entry(path.to_path_buf()))?;
                match self.disk.real_path(path)? {
                    Some(real) if self.real.insert(real.clone()) => match self.disk.kind(&real)? {
                        Observed::Present(Kind::Directory) => self.inside(path, depth),
                        _ => Ok(()),
                    },
                    _ => Ok(()),
                }
            },
            _ => Ok(()),
        }
    }

    fn inside(&mut self, directory: &Path, depth: u8) -> Result<(), BackupError> {
        let Some(depth) = depth.checked_sub(1) else {
            let why = "the directories are too deep".to_owned();
            self.left_out.insert(directory.display().to_string(), why);
            return Ok(());
        };
        if let Observed::Present(meta) = self.disk.metadata(directory)? {
            self.directories
                .insert(directory.display().to_string(), meta.mode);
        }
        for (name, _) in self.disk.list(directory)? {
            self.below(&directory.join(name), depth)?;
        }
        Ok(())
    }
}
