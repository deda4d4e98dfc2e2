//! The private directory of a run: journal, what is staged, what undo puts back, archives.
//!
//! Names are `name` or `directory/name`; the one directory is made on the first write. Files have mode 0600 unless they are
//! published, directories 0700, and links are never followed.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use zeroize::Zeroizing;

use super::disk::entries;
use super::look::{file_type, open_quietly, read_bounded};
use super::swap::{sync_directory, write_all};
use super::{StoreError, failed, is_plain, retry};

/// The largest file of a run directory that is read, in bytes: 64 MiB.
pub const LIMIT: u64 = 64 << 20;

/// The mode of files: for their owner only.
const OWNER: Mode = Mode::RUSR.union(Mode::WUSR);

/// How many files are brought to the disk at once.
const SYNCERS: usize = 8;

/// How deep [`RunDir::remove_tree`] goes. Run directories are two levels deep.
const MAX_DEPTH: usize = 8;

/// A directory of which everything inside is ours. Clones share the same directory.
#[derive(Clone, Debug)]
pub struct RunDir(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    directory: OwnedFd,
    path: PathBuf,
    unsynced: Mutex<BTreeSet<String>>,
}

impl RunDir {
    /// Takes an open directory and its path on this host.
    pub(super) fn new(directory: OwnedFd, path: PathBuf) -> Self {
        Self(Arc::new(Inner {
            directory,
            path,
            unsynced: Mutex::default(),
        }))
    }

    /// Opens a directory of this host that exists: a stick, or wherever a backup is.
    ///
    /// # Errors
    ///
    /// [`StoreError::Open`].
    pub fn on_host(path: &Path) -> Result<Self, StoreError> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory =
            rustix::fs::open(path, flags, Mode::empty()).map_err(failed!(Open, path))?;
        Ok(Self::new(directory, path.to_path_buf()))
    }

    /// The directory's path on this host, root included, for messages.
    pub fn path(&self) -> PathBuf {
        self.0.path.clone()
    }

    /// Writes a file whole or not at all, and brings it to the disk.
    ///
    /// # Errors
    ///
    /// [`StoreError::BadName`], [`StoreError::Write`], [`StoreError::Sync`].
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.put(name, bytes, OWNER, Durable::Now)?;
        self.pending().remove(name);
        Ok(())
    }

    /// As [`RunDir::write`], for everybody to read: nothing secret.
    ///
    /// # Errors
    ///
    /// As [`RunDir::write`].
    pub fn publish(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let everybody = OWNER | Mode::RGRP | Mode::ROTH;
        self.put(name, bytes, everybody, Durable::Now)
    }

    /// Writes a file that is only safe after the next [`RunDir::sync`]: for many files at once.
    ///
    /// # Errors
    ///
    /// As [`RunDir::write`].
    pub fn write_unsynced(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.put(name, bytes, OWNER, Durable::Later)?;
        self.pending().insert(name.to_owned());
        Ok(())
    }

    /// Brings everything that [`RunDir::write_unsynced`] wrote to the disk. Nothing to do is fine.
    ///
    /// # Errors
    ///
    /// [`StoreError::Sync`]; what is not on the disk is tried again by the next call.
    pub fn sync(&self) -> Result<(), StoreError> {
        let mut pending = self.pending();
        let names: Vec<&String> = pending.iter().collect();
        // Together they share the file system's commits; one after the other, each waits for its own.
        thread::scope(|scope| {
            let sync_every = |first: usize| {
                let mut mine = names.iter().skip(first).step_by(SYNCERS);
                mine.try_for_each(|name| self.sync_file(name))
            };
            let others: Vec<_> = (1..SYNCERS.min(names.len()))
                .map(|first| scope.spawn(move || sync_every(first)))
                .collect();
            let mut mine = sync_every(0);
            for other in others {
                // A panic in there ends the process, as any does.
                let theirs = other.join().unwrap_or(Ok(()));
                mine = mine.and(theirs);
            }
            mine
        })?;
        let directories: BTreeSet<&str> = pending
            .iter()
            .map(|name| name.rsplit_once('/').map_or("", |(directory, _)| directory))
            .collect();
        for directory in directories {
            let open = self
                .open_directory(directory)
                .map_err(failed!(Sync, self.join(directory)));
            sync_directory(open?.as_fd(), &self.join(directory))?;
        }
        pending.clear();
        Ok(())
    }

    /// Brings everything on the directory's file system to the disk at once, whoever wrote it: for ten thousand files this is
    /// one wait instead of as many.
    ///
    /// # Errors
    ///
    /// [`StoreError::Sync`].
    pub fn sync_all(&self) -> Result<(), StoreError> {
        retry(|| rustix::fs::syncfs(&self.0.directory)).map_err(failed!(Sync, self.0.path))?;
        self.pending().clear();
        Ok(())
    }

    fn sync_file(&self, name: &str) -> Result<(), StoreError> {
        let spot = self.spot(name, Missing::Fails)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        retry(|| rustix::fs::openat(spot.directory(), spot.name, flags, Mode::empty()))
            .and_then(|file| retry(|| rustix::fs::fsync(&file)))
            .map_err(failed!(Sync, spot.path))
    }

    /// Reads a file of at most [`LIMIT`] bytes; `None` if it is absent.
    ///
    /// # Errors
    ///
    /// [`StoreError::TooLarge`]; [`StoreError::Read`], also if it is no regular file.
    pub fn read(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        self.read_within(name, LIMIT)
    }

    /// As [`RunDir::read`], of at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// As [`RunDir::read`].
    pub fn read_within(
        &self,
        name: &str,
        limit: u64,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let Some((file, size)) = self.open_to_read(name)? else {
            return Ok(None);
        };
        let path = self.join(name);
        let bytes = read_bounded(file.as_fd(), size, limit);
        match bytes.map_err(failed!(Read, path))? {
            Some(bytes) => Ok(Some(bytes)),
            None => Err(StoreError::TooLarge { path, limit }),
        }
    }

    /// Opens a directory in this one; `None` if there is none of this name, such as a link to one.
    ///
    /// # Errors
    ///
    /// [`StoreError::BadName`], [`StoreError::Open`].
    pub fn inside(&self, name: &str) -> Result<Option<Self>, StoreError> {
        self.check(is_plain(name), name)?;
        match self.open_directory(name) {
            Ok(directory) => Ok(Some(Self::new(directory, self.join(name)))),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(error) => Err(failed!(Open, self.join(name))(error)),
        }
    }

    /// Whether anything has this name.
    ///
    /// # Errors
    ///
    /// [`StoreError::BadName`], [`StoreError::Read`].
    pub fn exists(&self, name: &str) -> Result<bool, StoreError> {
        let Some(spot) = self.spot_if_there(name)? else {
            return Ok(false);
        };
        match rustix::fs::statat(spot.directory(), spot.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(failed!(Read, spot.path)(error)),
        }
    }

    /// Opens a file, made if absent, for reading and for appending. Syncing what is appended is the caller's duty.
    ///
    /// # Errors
    ///
    /// [`StoreError::BadName`], [`StoreError::Write`], [`StoreError::Sync`].
    pub fn append(&self, name: &str) -> Result<File, StoreError> {
        self.open_to_write(name, OFlags::RDWR | OFlags::APPEND)
    }

    /// Opens a file, made if absent and emptied if not, for writing and reading back. Syncing is the caller's duty.
    ///
    /// # Errors
    ///
    /// As [`RunDir::append`].
    pub fn create(&self, name: &str) -> Result<File, StoreError> {
        self.open_to_write(name, OFlags::RDWR | OFlags::TRUNC)
    }

    /// Opens a file for reading from its start, for what is larger than [`LIMIT`]; `None` if it is absent.
    ///
    /// # Errors
    ///
    /// [`StoreError::BadName`], [`StoreError::Read`].
    pub fn open(&self, name: &str) -> Result<Option<File>, StoreError> {
        let opened = self.open_to_read(name)?;
        Ok(opened.map(|(file, _)| file.into()))
    }

    /// Opens a regular file and tells its size; `None` if it is absent.
    fn open_to_read(&self, name: &str) -> Result<Option<(OwnedFd, u64)>, StoreError> {
        let Some(spot) = self.spot_if_there(name)? else {
            return Ok(None);
        };
        let open = || {
            let directory = spot.directory().as_fd();
            let file = open_quietly(directory, OsStr::new(spot.name), OFlags::empty())?;
            let stat = rustix::fs::fstat(&file)?;
            match file_type(&stat) {
                FileType::RegularFile => Ok((file, u64::try_from(stat.st_size).unwrap_or(0))),
                _ => Err(Errno::INVAL),
            }
        };
        match open() {
            Ok(opened) => Ok(Some(opened)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(failed!(Read, spot.path)(error)),
        }
    }

    /// Removes a file or a directory with all that is in it. Nothing to remove is fine.
    ///
    /// # Errors
    ///
    /// [`StoreError::BadName`]; [`StoreError::Remove`], with part of it removed.
    pub fn remove_tree(&self, name: &str) -> Result<(), StoreError> {
        let Some(spot) = self.spot_if_there(name)? else {
            return Ok(());
        };
        remove_below(
            spot.directory(),
            OsStr::new(spot.name),
            &spot.path,
            MAX_DEPTH,
        )?;
        let inside = format!("{name}/");
        self.pending()
            .retain(|other| other != name && !other.starts_with(&inside));
        sync_directory(spot.directory().as_fd(), &spot.path)
    }

    /// Lists the names in a directory (`""` is this one), sorted; names that are not UTF-8 are left out. Absent is empty.
    ///
    /// # Errors
    ///
    /// [`StoreError::BadName`], [`StoreError::List`], [`StoreError::TooMany`].
    pub fn list(&self, name: &str) -> Result<Vec<String>, StoreError> {
        self.check(name.is_empty() || is_plain(name), name)?;
        let path = self.join(name);
        let open = match self.open_directory(name) {
            Err(Errno::NOENT) => return Ok(Vec::new()),
            other => other.map_err(failed!(List, path))?,
        };
        let names = entries(&open, &path)?.into_iter();
        Ok(names
            .filter_map(|(name, _)| name.into_string().ok())
            .collect())
    }

    fn put(
        &self,
        name: &str,
        bytes: &[u8],
        mode: Mode,
        durable: Durable,
    ) -> Result<(), StoreError> {
        let spot = self.spot(name, Missing::Made)?;
        let temp = format!(".{}.new", spot.name);
        let directory = spot.directory();
        let write = || {
            let flags =
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let open = || rustix::fs::openat(directory, &temp, flags, OWNER);
            let file = match open() {
                // A write that died left it.
                Err(Errno::EXIST) => {
                    rustix::fs::unlinkat(directory, &temp, AtFlags::empty())?;
                    open()?
                },
                other => other?,
            };
            if mode != OWNER {
                // Not by openat itself, which subtracts the umask.
                rustix::fs::fchmod(&file, mode)?;
            }
            write_all(file.as_fd(), bytes)?;
            if durable == Durable::Now {
                retry(|| rustix::fs::fsync(&file))?;
            }
            rustix::fs::renameat(directory, &temp, directory, spot.name)
        };
        if let Err(error) = write() {
            // Best effort: the next write of the same name removes it too.
            let _ = rustix::fs::unlinkat(directory, &temp, AtFlags::empty());
            return Err(failed!(Write, spot.path)(error));
        }
        match durable {
            Durable::Now => sync_directory(directory.as_fd(), &spot.path),
            Durable::Later => Ok(()),
        }
    }

    fn open_to_write(&self, name: &str, how: OFlags) -> Result<File, StoreError> {
        let spot = self.spot(name, Missing::Made)?;
        let flags = how | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = retry(|| rustix::fs::openat(spot.directory(), spot.name, flags, OWNER))
            .map_err(failed!(Write, spot.path))?;
        sync_directory(spot.directory().as_fd(), &spot.path)?;
        Ok(file.into())
    }

    pub(super) fn spot<'a>(
        &'a self,
        name: &'a str,
        missing: Missing,
    ) -> Result<Spot<'a>, StoreError> {
        let (above, last) = name.rsplit_once('/').unwrap_or(("", name));
        self.check(
            is_plain(last) && (!name.contains('/') || is_plain(above)),
            name,
        )?;
        if above.is_empty() {
            let path = self.join(name);
            return Ok(Spot {
                own: &self.0.directory,
                below: None,
                name: last,
                path,
            });
        }
        let mut below = self.open_directory(above);
        if missing == Missing::Made && matches!(below, Err(Errno::NOENT)) {
            let make = rustix::fs::mkdirat(&self.0.directory, above, Mode::RWXU);
            make.map_err(failed!(MakeDirectory, self.join(above)))?;
            sync_directory(self.0.directory.as_fd(), &self.0.path)?;
            below = self.open_directory(above);
        }
        let below = below.map_err(failed!(Open, self.join(above)))?;
        let path = self.join(name);
        Ok(Spot {
            own: &self.0.directory,
            below: Some(below),
            name: last,
            path,
        })
    }

    /// As [`RunDir::spot`]; `None` if its directory is absent.
    fn spot_if_there<'a>(&'a self, name: &'a str) -> Result<Option<Spot<'a>>, StoreError> {
        match self.spot(name, Missing::Fails) {
            Err(StoreError::Open { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                Ok(None)
            },
            other => other.map(Some),
        }
    }

    pub(super) fn open_directory(&self, name: &str) -> Result<OwnedFd, Errno> {
        let name = if name.is_empty() { "." } else { name };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        retry(|| rustix::fs::openat(&self.0.directory, name, flags, Mode::empty()))
    }

    fn check(&self, good: bool, name: &str) -> Result<(), StoreError> {
        if good {
            return Ok(());
        }
        Err(StoreError::BadName {
            path: self.path(),
            name: name.to_owned(),
        })
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.path.join(name)
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.0
            .unsynced
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name in the run directory or in one of its directories.
pub(super) struct Spot<'a> {
    own: &'a OwnedFd,
    below: Option<OwnedFd>,
    pub(super) name: &'a str,
    path: PathBuf,
}

impl Spot<'_> {
    pub(super) fn directory(&self) -> &OwnedFd {
        self.below.as_ref().unwrap_or(self.own)
    }
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Durable {
    Later,
    Now,
}

/// What becomes of a directory that is not there.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Missing {
    Fails,
    Made,
}

fn remove_below(
    directory: &OwnedFd,
    name: &OsStr,
    path: &Path,
    depth: usize,
) -> Result<(), StoreError> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR) if depth > 0 => {},
        Err(error) => return Err(failed!(Remove, path)(error)),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = retry(|| rustix::fs::openat(directory, name, flags, Mode::empty()))
        .map_err(failed!(Remove, path))?;
    for (inside, _) in entries(&open, path)? {
        remove_below(&open, &inside, &path.join(&inside), depth - 1)?;
    }
    rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR).map_err(failed!(Remove, path))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    use super::*;
    use crate::store::Disk;

    fn run_dir() -> (tempfile::TempDir, RunDir) {
        let root = tempfile::tempdir().unwrap();
        let disk = Disk::open(root.path()).unwrap();
        let run = disk
            .run_dir(Path::new("/var/lib/kit/runs/1"), true)
            .unwrap();
        (root, run)
    }

    fn mode(path: PathBuf) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn is_private_and_knows_its_path() {
        let (root, run) = run_dir();
        assert_eq!(run.path(), root.path().join("var/lib/kit/runs/1"));
        run.write("staged/s03", b"secret").unwrap();
        assert_eq!(mode(run.path()), 0o700);
        assert_eq!(mode(run.path().join("staged")), 0o700);
        assert_eq!(mode(run.path().join("staged/s03")), 0o600);
        let disk = Disk::open(root.path()).unwrap();
        assert!(disk.run_dir(Path::new("/none"), false).is_err());
    }

    #[test]
    fn reads_back_what_was_written_synced_or_not() {
        let (_root, run) = run_dir();
        run.write("plan.json", b"{}").unwrap();
        for i in 0..20 {
            run.write_unsynced(&format!("undo/{i:02}"), &[i]).unwrap();
        }
        run.sync().unwrap();
        run.sync().unwrap();
        assert_eq!(run.read("plan.json").unwrap().unwrap().as_slice(), b"{}");
        assert_eq!(run.read("undo/07").unwrap().unwrap().as_slice(), [7]);
        assert_eq!(run.read("undo/none").unwrap(), None);
        assert_eq!(run.read("none/none").unwrap(), None);
        assert_eq!(run.list("").unwrap(), ["plan.json", "undo"]);
        assert_eq!(run.list("undo").unwrap().len(), 20);
        assert_eq!(run.list("none").unwrap(), [""; 0]);
        assert!(run.exists("undo").unwrap() && !run.exists("undo/none").unwrap());
    }

    #[test]
    fn removes_trees_without_following_links() {
        let (root, run) = run_dir();
        fs::write(root.path().join("precious"), "x").unwrap();
        run.write("undo/a", b"1").unwrap();
        run.write_unsynced("undo/b", b"1").unwrap();
        symlink(root.path(), run.path().join("undo/link")).unwrap();
        run.remove_tree("undo").unwrap();
        run.remove_tree("undo").unwrap();
        run.sync().unwrap();
        assert!(!run.exists("undo").unwrap());
        assert!(root.path().join("precious").exists());
    }

    #[test]
    fn refuses_names_that_lead_elsewhere_and_links() {
        let (root, run) = run_dir();
        for name in [
            "", ".", "..", "/etc/x", "a/../b", "a/b/c", "a//b", "a/", "a\0b",
        ] {
            let error = run.write(name, b"x").unwrap_err();
            assert!(matches!(error, StoreError::BadName { .. }), "{name:?}");
        }
        symlink(root.path(), run.path().join("out")).unwrap();
        symlink(root.path().join("x"), run.path().join("file")).unwrap();
        assert!(run.write("out/x", b"x").is_err());
        assert!(run.append("file").is_err() && run.read("file").is_err());
        fs::create_dir(run.path().join("dir")).unwrap();
        assert!(run.read("dir").is_err() && run.create("dir").is_err());
        assert!(!root.path().join("x").exists());
    }

    #[test]
    fn appends_creates_and_bounds_what_it_reads() {
        let (_root, run) = run_dir();
        run.append("log").unwrap().write_all(b"one").unwrap();
        run.append("log").unwrap().write_all(b"two").unwrap();
        assert_eq!(run.read("log").unwrap().unwrap().as_slice(), b"onetwo");
        run.create("log").unwrap().set_len(LIMIT + 1).unwrap();
        assert!(matches!(run.read("log"), Err(StoreError::TooLarge { .. })));
        assert!(run.open("log").unwrap().is_some() && run.open("none").unwrap().is_none());
    }
}
