//! PHASE: kit, everything that a rescue needs in one directory, such as a stick.
//! INPUTS: the binary and what is made from the command line's definition; what is compiled in; a key that signs.
//! OUTPUTS: files, the same to the byte whenever they are built from the same inputs, as `SHA256SUMS` lists them.
//!
//! The list comes first, as `SHA256SUMS.unfinished`, and gets its own name last: a stick that was pulled out in between says what it
//! should have. Names are those that FAT keeps: no links, one directory deep, no two that differ in case alone.

mod contents;
mod list;
pub mod verify;

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::pki::utc::Utc;
use crate::sign::{self, AuditKey, Signatures};
use crate::store::{Disk, RunDir, StoreError};

pub use contents::contents;
use list::List;

/// The list of checksums.
pub const SUMS: &str = "SHA256SUMS";
/// The same while the kit is not finished.
const UNFINISHED: &str = "SHA256SUMS.unfinished";
/// The binary.
pub const BINARY: &str = "rescue-kit";
/// The manual.
const MANUAL: &str = "rescue-kit.md";

/// A file of a kit.
pub struct File {
    /// Its name, with at most one directory.
    pub name: String,
    /// What it holds.
    pub bytes: Vec<u8>,
    /// Whether it is a program.
    pub runs: bool,
}

impl File {
    /// A file that is read.
    pub fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.into(),
            bytes: bytes.into(),
            runs: false,
        }
    }

    /// A file that is run.
    pub fn program(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            runs: true,
            ..Self::new(name, bytes)
        }
    }
}

/// What becomes of a kit that is there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Former {
    /// It stays, and none is built.
    Kept,
    /// It is replaced; what is no part of it stays.
    Replaced,
}

/// A kit that was built.
#[derive(Clone, Debug, Serialize)]
pub struct Built {
    /// Where.
    pub path: PathBuf,
    /// Every file, sorted.
    pub files: Vec<String>,
    /// Their bytes together.
    pub bytes: u64,
    /// The signer's fingerprint, if somebody signed.
    pub signer: Option<String>,
}

/// Why no kit was built, or none can be checked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KitError {
    /// Half of a new kit is in the place of another.
    #[error("{} is half replaced", .path.display())]
    Half {
        /// The directory.
        path: PathBuf,
        /// What failed.
        source: StoreError,
    },
    /// There is one.
    #[error("{} holds a kit", .0.display())]
    Kit(PathBuf),
    /// There is none.
    #[error("{} holds no kit: it has no SHA256SUMS", .0.display())]
    NoKit(PathBuf),
    /// There is something else.
    #[error("{} holds other files and no kit", .0.display())]
    Others(PathBuf),
    /// Too little space.
    #[error("{} has {free} bytes free, and a kit needs {needed}", path.display())]
    Space {
        /// The directory.
        path: PathBuf,
        /// How much there is.
        free: u64,
        /// How much is needed.
        needed: u64,
    },
    /// Nothing was written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Writing failed; nothing of it is left.
    #[error("no kit was made, and nothing of it is left")]
    Undone(#[source] StoreError),
    /// Writing failed, and what was written could not be removed.
    #[error("no kit was made, and what was written could not be removed from {}", path.display())]
    Left {
        /// The directory.
        path: PathBuf,
        /// What failed first.
        source: StoreError,
    },
}

/// Builds a kit in a directory that is absent or empty, or holds a kit that is replaced: `files` and [`contents()`].
/// Everything gets the time `at`.
///
/// # Errors
///
/// All of [`KitError`] but [`KitError::NoKit`].
pub fn build(
    out: &Path,
    files: Vec<File>,
    key: Option<&AuditKey>,
    at: Utc,
    former: Former,
) -> Result<Built, KitError> {
    let kit = Kit::new(files, key);
    let out = std::path::absolute(out).unwrap_or_else(|_| out.to_path_buf());
    let disk = Disk::open(Path::new("/"))?;
    let old = claim(&disk, &out, kit.bytes(), former)?;
    let made = disk.make_directory(&out, 0o755)?;
    let filled = RunDir::on_host(&out).and_then(|stick| kit.write(&stick, old.as_deref(), at));
    match filled {
        Ok(()) => Ok(kit.built(out)),
        Err(source) if old.is_some() => Err(KitError::Half { path: out, source }),
        Err(source) => Err(match clear(&disk, &out, &made) {
            Ok(()) => KitError::Undone(source),
            Err(_) => KitError::Left { path: out, source },
        }),
    }
}

/// The names that a build would write, sorted.
pub fn names(files: Vec<File>, key: Option<&AuditKey>) -> Vec<String> {
    Kit::new(files, key).built(PathBuf::new()).files
}

/// Sees that a kit may be built there, without writing; returns the files of the one that it replaces.
fn claim(
    disk: &Disk,
    out: &Path,
    needed: u64,
    former: Former,
) -> Result<Option<Vec<String>>, KitError> {
    disk.writable(out)?;
    let mut old = None;
    if out.is_dir() {
        let stick = RunDir::on_host(out)?;
        match List::of(&stick)? {
            Some(_) if former == Former::Kept => return Err(KitError::Kit(out.to_path_buf())),
            Some(list) => {
                let mut names = list.names();
                // Whoever wrote that list: it never leads out of the kit, and names no directory.
                names.retain(|name| matches!(stick.open(name), Ok(Some(_))));
                old = Some(names);
            },
            // What an interruption at the very beginning left is no file of anybody's.
            None if stick
                .list("")?
                .iter()
                .all(|name| *name == format!(".{UNFINISHED}.new")) => {},
            None => return Err(KitError::Others(out.to_path_buf())),
        }
    }
    let free = disk.free_bytes(out)?;
    if free < needed {
        return Err(KitError::Space {
            path: out.to_path_buf(),
            free,
            needed,
        });
    }
    Ok(old)
}

/// Takes back everything in a directory that was empty, and the directories that were made for it.
fn clear(disk: &Disk, out: &Path, made: &[PathBuf]) -> Result<(), StoreError> {
    let stick = RunDir::on_host(out)?;
    for name in stick.list("")? {
        stick.remove_tree(&name)?;
    }
    made.iter()
        .rev()
        .try_for_each(|directory| disk.remove_directory(directory))
}

/// Everything that is written.
struct Kit {
    files: Vec<File>,
    sums: String,
    signer: Option<String>,
    signatures: Vec<File>,
}

impl Kit {
    fn new(mut files: Vec<File>, key: Option<&AuditKey>) -> Self {
        files.extend(contents());
        files.sort_by(|a, b| a.name.cmp(&b.name));
        let sums = list::text(&files);
        let signed = key.map(|key| Signatures::over(&sums, key));
        Self {
            files,
            sums,
            signer: signed.as_ref().map(|signed| signed.fingerprint.clone()),
            signatures: signed
                .into_iter()
                .flat_map(Signatures::files)
                .map(|(name, bytes)| File::new(name, bytes))
                .collect(),
        }
    }

    fn all(&self) -> impl Iterator<Item = &File> {
        self.files.iter().chain(&self.signatures)
    }

    /// With the list twice, and some room for directories.
    fn bytes(&self) -> u64 {
        let all: usize = self.all().map(|file| file.bytes.len()).sum();
        (all + 2 * self.sums.len() + (64 << 10)) as u64
    }

    fn write(&self, stick: &RunDir, old: Option<&[String]>, at: Utc) -> Result<(), StoreError> {
        stick.write(UNFINISHED, self.sums.as_bytes())?;
        let kept: Vec<&str> = self.all().map(|file| file.name.as_str()).collect();
        let obsolete = old.into_iter().flatten().map(String::as_str);
        let obsolete = obsolete.chain(old.map_or(&[][..], |_| &sign::FILES).iter().copied());
        for name in obsolete.filter(|name| !kept.contains(name)) {
            stick.remove_tree(name)?;
        }
        for file in self.all() {
            stick.write(&file.name, &file.bytes)?;
            stick.dress(&file.name, if file.runs { 0o755 } else { 0o644 }, at)?;
        }
        stick.write(SUMS, self.sums.as_bytes())?;
        stick.dress(SUMS, 0o644, at)?;
        stick.remove_tree(UNFINISHED)?;
        for directory in list::directories(&self.files) {
            stick.dress(directory, 0o755, at)?;
        }
        stick.dress("", 0o755, at)?;
        stick.sync_all()
    }

    fn built(&self, path: PathBuf) -> Built {
        let mut files: Vec<String> = self.all().map(|file| file.name.clone()).collect();
        files.push(SUMS.to_owned());
        files.sort();
        Built {
            path,
            bytes: self.all().map(|file| file.bytes.len() as u64).sum::<u64>()
                + self.sums.len() as u64,
            files,
            signer: self.signer.clone(),
        }
    }
}
