//! Directories: times, making, removing, space.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;

use super::disk::{Disk, check};
use super::look;
use super::stick::if_kept;
use super::swap::{sync_directory, timestamps};
use super::{StoreError, failed};
use crate::place::FileTime;

impl Disk {
    /// The paths that a pattern stands for; `*` is one name. What cannot be listed holds nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError::TooMany`].
    pub fn expand(&self, pattern: &str) -> Result<Vec<PathBuf>, StoreError> {
        let mut paths = vec![PathBuf::from("/")];
        for name in pattern.split('/').filter(|name| !name.is_empty()) {
            let mut next = Vec::new();
            for path in paths {
                if name != "*" {
                    next.push(path.join(name));
                    continue;
                }
                let listed = match self.list(&path) {
                    Err(StoreError::List { .. }) => Vec::new(),
                    other => other?,
                };
                next.extend(listed.into_iter().map(|(name, _)| path.join(name)));
            }
            paths = next;
        }
        Ok(paths)
    }

    /// Tells access and modification time of a directory, links followed; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Read`].
    pub fn directory_times(
        &self,
        directory: &Path,
    ) -> Result<Option<(FileTime, FileTime)>, StoreError> {
        check(directory)?;
        match self.directory(directory).and_then(rustix::fs::fstat) {
            Ok(stat) => Ok(Some((
                look::time(stat.st_atime, stat.st_atime_nsec),
                look::time(stat.st_mtime, stat.st_mtime_nsec),
            ))),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(failed!(Read, directory)(error)),
        }
    }

    /// Sets access and modification time of a directory.
    ///
    /// # Errors
    ///
    /// [`StoreError::Times`].
    pub fn set_directory_times(
        &self,
        directory: &Path,
        atime: FileTime,
        mtime: FileTime,
    ) -> Result<(), StoreError> {
        check(directory)?;
        self.directory(directory)
            .and_then(|handle| {
                rustix::fs::utimensat(&handle, ".", &timestamps(atime, mtime), AtFlags::empty())
            })
            .map_err(failed!(Times, directory))
    }

    /// Makes a directory and those above it, each with `mode`, and tells which were made, outermost first.
    ///
    /// # Errors
    ///
    /// [`StoreError::MakeDirectory`]; what was made until then stays.
    pub fn make_directory(&self, directory: &Path, mode: u32) -> Result<Vec<PathBuf>, StoreError> {
        check(directory)?;
        let mut above: Vec<&Path> = directory.ancestors().collect();
        above.reverse();
        let mut new = Vec::new();
        for path in above {
            match self.directory(path) {
                Ok(_) => {},
                Err(Errno::NOENT) => {
                    self.make_one(path, mode)?;
                    new.push(path.to_path_buf());
                },
                Err(error) => return Err(failed!(MakeDirectory, path)(error)),
            }
        }
        Ok(new)
    }

    /// Removes a directory if it is empty. An absent one is fine; a link is never followed.
    ///
    /// # Errors
    ///
    /// [`StoreError::Remove`].
    pub fn remove_directory(&self, directory: &Path) -> Result<(), StoreError> {
        check(directory)?;
        let (Some(parent), Some(name)) = (directory.parent(), directory.file_name()) else {
            return Err(StoreError::BadPath {
                path: directory.to_path_buf(),
            });
        };
        let removed = self.directory(parent).and_then(|parent| {
            rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR).map(|()| parent)
        });
        match removed {
            Ok(parent) => sync_directory(parent.as_fd(), directory),
            Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(failed!(Remove, directory)(error)),
        }
    }

    /// Tells how many bytes an unprivileged process could still write on the file system of a directory, or of the nearest
    /// one above it that exists.
    ///
    /// # Errors
    ///
    /// [`StoreError::Space`].
    pub fn free_bytes(&self, directory: &Path) -> Result<u64, StoreError> {
        let space = self
            .nearest(directory)
            .and_then(|handle| rustix::fs::fstatvfs(&handle));
        let space = space.map_err(failed!(Space, directory))?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }

    /// Tells, without writing, whether files could be made in a directory, or in the nearest one above it that exists.
    ///
    /// # Errors
    ///
    /// [`StoreError::Write`] with the reason: a read-only file system or missing permission.
    pub fn writable(&self, directory: &Path) -> Result<(), StoreError> {
        let check = || {
            let handle = self.nearest(directory)?;
            let flags = rustix::fs::fstatvfs(&handle)?.f_flag;
            if flags.contains(StatVfsMountFlags::RDONLY) {
                return Err(Errno::ROFS);
            }
            let access = Access::WRITE_OK | Access::EXEC_OK;
            rustix::fs::accessat(&handle, ".", access, AtFlags::empty())
        };
        check().map_err(failed!(Write, directory))
    }

    fn nearest(&self, path: &Path) -> Result<OwnedFd, Errno> {
        for path in path.ancestors() {
            match self.directory(path) {
                Err(Errno::NOENT | Errno::NOTDIR) => {},
                other => return other,
            }
        }
        self.directory(Path::new("/"))
    }

    fn make_one(&self, path: &Path, mode: u32) -> Result<(), StoreError> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(StoreError::BadPath {
                path: path.to_path_buf(),
            });
        };
        let make = || {
            let parent = self.directory(parent)?;
            rustix::fs::mkdirat(&parent, name, Mode::RWXU)?;
            // Not by mkdirat itself, which subtracts the umask.
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let open = rustix::fs::openat(&parent, name, flags, Mode::empty())?;
            if_kept(rustix::fs::fchmod(
                &open,
                Mode::from_raw_mode(mode & 0o7777),
            ))?;
            Ok(parent)
        };
        let parent = make().map_err(failed!(MakeDirectory, path))?;
        sync_directory(parent.as_fd(), path)
    }
}
