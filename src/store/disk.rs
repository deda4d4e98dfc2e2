//! A tree of files below a root: looking.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::lock::{self, Lock};
use super::look;
use super::rundir::RunDir;
use super::walk::{self, HANDLE, Resolver};
use super::{StoreError, failed, retry};
use crate::place::{Blob, Kind, Meta, Observed, Place, Version};

/// The largest file that is read, in bytes: 16 MiB. A kubeconfig or bundle has some kilobytes.
pub const LIMIT: u64 = 16 << 20;

/// How many entries of one directory are looked at.
pub const MAX_ENTRIES: usize = 200_000;

/// A root and how paths below it are resolved.
#[derive(Debug)]
pub struct Disk {
    handle: OwnedFd,
    root: PathBuf,
    resolver: Resolver,
    is_live: bool,
}

impl Disk {
    /// Opens a root: `/`, a mounted disk, or a copy of a node's files.
    ///
    /// # Errors
    ///
    /// [`StoreError::Open`] if it is no directory or may not be entered.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let failed_open = |source| StoreError::Open {
            path: root.to_path_buf(),
            source,
        };
        let real = root.canonicalize().map_err(failed_open)?;
        let handle = rustix::fs::open(&real, HANDLE, Mode::empty()).map_err(failed!(Open, root))?;
        let resolver = Resolver::detect(handle.as_fd());
        let root = std::path::absolute(root).map_err(failed_open)?;
        Ok(Self {
            handle,
            root,
            resolver,
            is_live: real == Path::new("/"),
        })
    }

    /// The root, as an absolute path of this host.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether the root is this host's own `/`: only then do its files belong to what runs here.
    pub fn is_live(&self) -> bool {
        self.is_live
    }

    /// Reads a file, or with [`Place::Entry`] also a link. Never waits, and never changes an access time that it may keep.
    ///
    /// `Unknown` for what is no regular file, larger than [`LIMIT`], not readable for this user, a loop of links, or a
    /// dangling link.
    ///
    /// # Errors
    ///
    /// [`StoreError::BadPath`]; [`StoreError::Read`] for real failures of the disk only.
    pub fn read(&self, at: &Place) -> Result<Observed<(Version, Blob)>, StoreError> {
        check(at.path())?;
        match look::find(self, at)? {
            Observed::Absent => Ok(Observed::Absent),
            Observed::Present(spot) => look::read(&spot, LIMIT),
            Observed::Unknown(why) => Ok(Observed::Unknown(why)),
        }
    }

    /// Tells what kind of thing a path names. The last name is not followed, those before it are.
    ///
    /// # Errors
    ///
    /// As [`Disk::read`].
    pub fn kind(&self, path: &Path) -> Result<Observed<Kind>, StoreError> {
        check(path)?;
        if path.file_name().is_none() {
            let there = self.exists(path)?;
            return Ok(if there {
                Observed::Present(Kind::Directory)
            } else {
                Observed::Absent
            });
        }
        Ok(match look::find(self, &Place::Entry(path.to_path_buf()))? {
            Observed::Present(spot) => match spot.stat {
                Some(stat) => Observed::Present(kind_of(look::file_type(&stat))),
                None => Observed::Absent,
            },
            Observed::Absent => Observed::Absent,
            Observed::Unknown(why) => Observed::Unknown(why),
        })
    }

    /// Tells mode, owner, label and times of whatever a path names, directories included, without reading it.
    ///
    /// # Errors
    ///
    /// As [`Disk::read`].
    pub fn metadata(&self, path: &Path) -> Result<Observed<Meta>, StoreError> {
        check(path)?;
        Ok(match look::find(self, &Place::Entry(path.to_path_buf()))? {
            Observed::Present(spot) => match spot.stat {
                Some(stat) => Observed::Present(look::meta(&stat, None)),
                None => Observed::Absent,
            },
            Observed::Absent => Observed::Absent,
            Observed::Unknown(why) => Observed::Unknown(why),
        })
    }

    /// Lists a directory, sorted by name (bytes), without `.` and `..`. Links are listed as links. An absent one is empty.
    ///
    /// # Errors
    ///
    /// [`StoreError::List`], also if it is no directory; [`StoreError::TooMany`] above [`MAX_ENTRIES`].
    pub fn list(&self, directory: &Path) -> Result<Vec<(OsString, Kind)>, StoreError> {
        check(directory)?;
        let handle = match self.directory(directory) {
            Ok(handle) => handle,
            Err(Errno::NOENT) => return Ok(Vec::new()),
            Err(error) => return Err(failed!(List, directory)(error)),
        };
        let open = look::open_quietly(handle.as_fd(), OsStr::new("."), OFlags::DIRECTORY)
            .map_err(failed!(List, directory))?;
        entries(&open, directory)
    }

    /// Follows all links of a path, the last name included; `None` if it leads to nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError::Read`]; a loop of links is no error, it leads to nothing.
    pub fn real_path(&self, path: &Path) -> Result<Option<PathBuf>, StoreError> {
        check(path)?;
        let directory = |path: &Path| walk::walk(self.handle.as_fd(), path);
        match directory(path) {
            Ok((_, real)) => return Ok(Some(real)),
            // A loop of links leads to nothing, too.
            Err(Errno::NOENT | Errno::LOOP) => return Ok(None),
            Err(Errno::NOTDIR) => {},
            Err(error) => return Err(failed!(Read, path)(error)),
        }
        match look::find(self, &Place::File(path.to_path_buf()))? {
            Observed::Present(look::Spot {
                path: found,
                name,
                stat: Some(_),
                ..
            }) => {
                let (_, real) = directory(found.parent().unwrap_or_else(|| Path::new("/")))
                    .map_err(failed!(Read, path))?;
                Ok(Some(real.join(name)))
            },
            _ => Ok(None),
        }
    }

    /// Locks a directory that exists against other runs, without waiting and without writing.
    ///
    /// # Errors
    ///
    /// [`StoreError::Locked`] names who holds it; [`StoreError::Open`], [`StoreError::Lock`].
    pub fn lock(&self, directory: &Path) -> Result<Lock, StoreError> {
        check(directory)?;
        lock::lock(self.open_directory(directory)?, directory)
    }

    /// Opens a private directory. With `create`, it and what is missing above it are made with mode 0700; modes of what
    /// exists are left alone.
    ///
    /// # Errors
    ///
    /// [`StoreError::Open`], [`StoreError::MakeDirectory`].
    pub fn run_dir(&self, directory: &Path, create: bool) -> Result<RunDir, StoreError> {
        check(directory)?;
        if create {
            self.make_directory(directory, 0o700)?;
        }
        let below = directory.strip_prefix("/").unwrap_or(directory);
        Ok(RunDir::new(
            self.open_directory(directory)?,
            self.root.join(below),
        ))
    }

    /// Opens a directory as a handle, links followed.
    pub(super) fn directory(&self, path: &Path) -> Result<OwnedFd, Errno> {
        self.resolver.directory(self.handle.as_fd(), path)
    }

    fn open_directory(&self, path: &Path) -> Result<OwnedFd, StoreError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        self.directory(path)
            .and_then(|handle| retry(|| rustix::fs::openat(&handle, ".", flags, Mode::empty())))
            .map_err(failed!(Open, path))
    }

    fn exists(&self, path: &Path) -> Result<bool, StoreError> {
        match self.directory(path) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
            Err(error) => Err(failed!(Read, path)(error)),
        }
    }
}

#[cfg(test)]
impl Disk {
    /// As on a kernel without `openat2`.
    pub(crate) fn open_without_openat2(root: &Path) -> Result<Self, StoreError> {
        Self::open(root).map(|disk| Self {
            resolver: Resolver::Steps,
            ..disk
        })
    }
}

/// Lists an open directory, sorted.
pub(super) fn entries(open: &OwnedFd, path: &Path) -> Result<Vec<(OsString, Kind)>, StoreError> {
    let mut found = Vec::new();
    for entry in Dir::read_from(open).map_err(failed!(List, path))? {
        let entry = entry.map_err(failed!(List, path))?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        if found.len() == MAX_ENTRIES {
            return Err(StoreError::TooMany {
                path: path.to_path_buf(),
                limit: MAX_ENTRIES,
            });
        }
        let kind = match entry.file_type() {
            // Some file systems do not tell; a name that has gone meanwhile is left out.
            FileType::Unknown => match rustix::fs::statat(open, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => look::file_type(&stat),
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(failed!(List, path)(error)),
            },
            known => known,
        };
        found.push((name.to_owned(), kind_of(kind)));
    }
    found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

fn kind_of(kind: FileType) -> Kind {
    match kind {
        FileType::Directory => Kind::Directory,
        FileType::RegularFile => Kind::File,
        FileType::Symlink => Kind::Link,
        _ => Kind::Special,
    }
}

/// Whether a path can be resolved at all.
pub(super) fn check(path: &Path) -> Result<(), StoreError> {
    if path.is_absolute() && !path.as_os_str().as_bytes().contains(&0) {
        return Ok(());
    }
    Err(StoreError::BadPath {
        path: path.to_path_buf(),
    })
}

#[cfg(test)]
mod tests;
