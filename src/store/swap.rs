//! The one replace function.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, RenameFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

use super::disk::{Disk, LIMIT, check};
use super::look::{self, LABEL, Spot};
use super::{StoreError, failed, is_plain, retry};
use crate::place::{Blob, FileTime, Meta, Observed, Place, Version};

/// What becomes of the times of a file that is replaced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Times {
    /// They say when it was replaced.
    Now,
    /// They become what its metadata says, to the nanosecond.
    Restore,
}

impl Disk {
    /// Replaces, creates or (`new` is `None`) removes what is at `at`, and tells what is there afterwards, read again.
    ///
    /// What is there must still have the content of `expect`; metadata does not count. A file is written beside its target
    /// under the name `temp`, gets owner, mode and security label *before* its content, is brought to the disk, and renamed
    /// over the target; then the directory is brought to the disk. A crash leaves the old or the new file, and perhaps
    /// `temp`; call this again, or [`Disk::remove_temp`]. `temp` is one name, best with a leading dot, which the kubelet
    /// ignores. Without a label in `meta` the file keeps the one that the system's policy gives it.
    ///
    /// Missing directories are not made, and a directory's own times are not restored: the caller does both.
    ///
    /// # Errors
    ///
    /// [`StoreError::Changed`] if something else than `expect` is there, always if `expect` is `Unknown`;
    /// [`StoreError::Refused`] if a directory, device or dangling link is there, or a link is to be put at a
    /// [`Place::File`]; [`StoreError::BadPath`]; [`StoreError::BadName`] for a `temp` that is not one name; otherwise the step that failed. After an
    /// error before the rename nothing has changed.
    pub fn swap(
        &self,
        at: &Place,
        expect: &Observed<Version>,
        new: Option<&Blob>,
        meta: &Meta,
        times: Times,
        temp: &str,
    ) -> Result<Observed<Version>, StoreError> {
        let spot = self.spot_to_replace(at, temp)?;
        if matches!((at, new), (Place::File(_), Some(Blob::Link(_)))) {
            let why = "cannot become a symbolic link where a file is followed".to_owned();
            return Err(StoreError::Refused {
                path: at.path().to_path_buf(),
                why,
            });
        }
        compare(&spot, at, expect)?;
        let Some(new) = new else {
            remove(&spot)?;
            return Ok(Observed::Absent);
        };
        let draft = Draft {
            spot: &spot,
            temp: OsStr::new(temp),
            meta,
            times,
        };
        let made = draft.make(new).and_then(|()| draft.put_in_place());
        if let Err(error) = made {
            // Best effort: the name is in the journal, so that a leftover will be removed later.
            let _ = remove_name(&spot, OsStr::new(temp));
            return Err(error);
        }
        sync_directory(spot.directory.as_fd(), &spot.path)?;
        draft.look_again()
    }

    /// Removes the leftover of a crash inside [`Disk::swap`] with the same `at` and `temp`. None is fine.
    ///
    /// # Errors
    ///
    /// [`StoreError::BadName`], [`StoreError::Remove`].
    pub fn remove_temp(&self, at: &Place, temp: &str) -> Result<(), StoreError> {
        check_names(at, temp)?;
        let Observed::Present(spot) = look::find(self, at)? else {
            return Ok(());
        };
        match remove_name(&spot, OsStr::new(temp))? {
            Removed::Nothing => Ok(()),
            Removed::Name => sync_directory(spot.directory.as_fd(), &spot.path),
        }
    }

    fn spot_to_replace(&self, at: &Place, temp: &str) -> Result<Spot, StoreError> {
        check_names(at, temp)?;
        let path = at.path().to_path_buf();
        match look::find(self, at)? {
            Observed::Present(spot) if spot.name == OsStr::new(temp) => Err(StoreError::BadName {
                path,
                name: temp.to_owned(),
            }),
            Observed::Present(spot) => Ok(spot),
            Observed::Absent => Err(StoreError::Write {
                path,
                source: Errno::NOENT.into(),
            }),
            Observed::Unknown(why) => Err(StoreError::Refused { path, why }),
        }
    }
}

/// Brings a directory's entries to the disk. `path` is the directory or a file in it, for the message.
pub(super) fn sync_directory(directory: BorrowedFd<'_>, path: &Path) -> Result<(), StoreError> {
    // A handle for walking cannot be synced.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = retry(|| rustix::fs::openat(directory, ".", flags, Mode::empty()));
    open.and_then(|open| retry(|| rustix::fs::fsync(&open)))
        .map_err(failed!(Sync, path))
}

/// Writes all bytes.
pub(super) fn write_all(file: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let n = retry(|| rustix::io::write(file, bytes))?;
        if n == 0 {
            return Err(Errno::IO);
        }
        bytes = &bytes[n..];
    }
    Ok(())
}

/// Both times, for the calls that set them.
pub(super) fn timestamps(atime: FileTime, mtime: FileTime) -> Timestamps {
    let convert = |t: FileTime| Timespec {
        tv_sec: t.seconds,
        tv_nsec: t.nanos.into(),
    };
    Timestamps {
        last_access: convert(atime),
        last_modification: convert(mtime),
    }
}

/// A file on its way into its place.
struct Draft<'a> {
    spot: &'a Spot,
    temp: &'a OsStr,
    meta: &'a Meta,
    times: Times,
}

impl Draft<'_> {
    fn make(&self, new: &Blob) -> Result<(), StoreError> {
        remove_name(self.spot, self.temp)?;
        match new {
            Blob::File(bytes) => self.make_file(bytes),
            Blob::Link(target) => self.make_link(target),
            Blob::EmptyDirectory => self.make_directory(),
        }
    }

    fn make_file(&self, bytes: &[u8]) -> Result<(), StoreError> {
        let path = &self.path();
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = retry(|| {
            rustix::fs::openat(self.directory(), self.temp, flags, Mode::RUSR | Mode::WUSR)
        })
        .map_err(failed!(Write, path))?;
        self.own(&file)?;
        // After the owner, because a new owner clears the set-ID bits.
        self.set_mode(&file)?;
        if let Some(label) = self.label_to_set(|| look::label_of(file.as_fd())) {
            rustix::fs::fsetxattr(&file, LABEL, &label, XattrFlags::empty())
                .map_err(failed!(Label, path))?;
        }
        write_all(file.as_fd(), bytes).map_err(failed!(Write, path))?;
        if self.meta.mode & 0o6000 != 0 {
            // Writing clears the set-ID bits too, unless root writes.
            self.set_mode(&file)?;
        }
        if self.times == Times::Restore {
            let times = timestamps(self.meta.atime, self.meta.mtime);
            rustix::fs::futimens(&file, &times).map_err(failed!(Times, path))?;
        }
        retry(|| rustix::fs::fsync(&file)).map_err(failed!(Sync, path))
    }

    fn make_link(&self, target: &Path) -> Result<(), StoreError> {
        let (directory, path) = (self.directory(), &self.path());
        rustix::fs::symlinkat(target, directory, self.temp).map_err(failed!(Write, path))?;
        let handle = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let link = rustix::fs::openat(directory, self.temp, handle, Mode::empty())
            .map_err(failed!(Write, path))?;
        self.own(&link)?;
        if let Some(label) = self.label_to_set(|| look::label_of_link(directory, self.temp)) {
            let link = look::by_proc(directory, self.temp);
            rustix::fs::lsetxattr(&link, LABEL, &label, XattrFlags::empty())
                .map_err(failed!(Label, path))?;
        }
        self.restore_times(self.temp)
    }

    fn make_directory(&self) -> Result<(), StoreError> {
        let path = &self.path();
        rustix::fs::mkdirat(self.directory(), self.temp, Mode::RWXU)
            .map_err(failed!(Write, path))?;
        let made = look::open_quietly(self.directory(), self.temp, OFlags::DIRECTORY)
            .map_err(failed!(Write, path))?;
        self.own(&made)?;
        self.set_mode(&made)?;
        if let Some(label) = self.label_to_set(|| look::label_of(made.as_fd())) {
            rustix::fs::fsetxattr(&made, LABEL, &label, XattrFlags::empty())
                .map_err(failed!(Label, path))?;
        }
        self.restore_times(self.temp)
    }

    fn set_mode(&self, file: &OwnedFd) -> Result<(), StoreError> {
        let mode = self.meta.mode & 0o7777;
        rustix::fs::fchmod(file, Mode::from_raw_mode(mode)).map_err(|error| StoreError::Mode {
            path: self.path(),
            mode,
            source: error.into(),
        })
    }

    /// Sets owner and group, unless they are right already: then nobody needs to be root.
    fn own(&self, file: &OwnedFd) -> Result<(), StoreError> {
        let (uid, gid) = (self.meta.uid, self.meta.gid);
        let stat = rustix::fs::fstat(file).map_err(failed!(Read, self.path()))?;
        if (stat.st_uid, stat.st_gid) == (uid, gid) {
            return Ok(());
        }
        // By name, because the handle of a link takes no `fchown`; nobody else knows the name.
        rustix::fs::chownat(
            self.directory(),
            self.temp,
            Some(Uid::from_raw(uid)),
            Some(Gid::from_raw(gid)),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .map_err(|error| StoreError::Owner {
            path: self.path(),
            uid,
            gid,
            source: error.into(),
        })
    }

    /// The label with its final NUL, as libselinux stores it, if one is wanted and not there yet.
    fn label_to_set(&self, now: impl FnOnce() -> Option<String>) -> Option<Vec<u8>> {
        let want = self.meta.label.as_ref()?;
        (now().as_ref() != Some(want)).then(|| [want.as_bytes(), b"\0"].concat())
    }

    fn restore_times(&self, name: &OsStr) -> Result<(), StoreError> {
        if self.times == Times::Now {
            return Ok(());
        }
        let times = timestamps(self.meta.atime, self.meta.mtime);
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(self.directory(), name, &times, flags)
            .map_err(failed!(Times, self.path()))
    }

    fn put_in_place(&self) -> Result<(), StoreError> {
        let path = &self.spot.path;
        let changed = || StoreError::Changed { path: path.clone() };
        let directory = self.directory();
        let Some(before) = &self.spot.stat else {
            let flags = RenameFlags::NOREPLACE;
            let name = &self.spot.name;
            match rustix::fs::renameat_with(directory, self.temp, directory, name, flags) {
                Err(Errno::EXIST) => return Err(changed()),
                // Some file systems do not know the flag.
                Err(Errno::INVAL | Errno::NOSYS) => {},
                other => return other.map_err(failed!(Write, path)),
            }
            return self.rename();
        };
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        match rustix::fs::statat(directory, &self.spot.name, flags) {
            Ok(now) if is_same(before, &now) => self.replace(&now),
            Ok(_) | Err(Errno::NOENT) => Err(changed()),
            Err(error) => Err(failed!(Read, path)(error)),
        }
    }

    /// Renames over what is there. A file and a directory cannot replace each other: they change places in one step, and
    /// what was there goes, unless somebody put something into it meanwhile.
    fn replace(&self, before: &Stat) -> Result<(), StoreError> {
        let path = &self.spot.path;
        let directory = self.directory();
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let new =
            rustix::fs::statat(directory, self.temp, flags).map_err(failed!(Read, self.path()))?;
        let is_directory = |stat: &Stat| look::file_type(stat) == FileType::Directory;
        if is_directory(before) == is_directory(&new) {
            return self.rename();
        }
        let exchange = || {
            let flags = RenameFlags::EXCHANGE;
            let name = &self.spot.name;
            rustix::fs::renameat_with(directory, self.temp, directory, name, flags)
                .map_err(failed!(Write, path))
        };
        exchange()?;
        if let Err(error) = remove_name(self.spot, self.temp) {
            exchange()?;
            return Err(error);
        }
        Ok(())
    }

    fn rename(&self) -> Result<(), StoreError> {
        let directory = self.directory();
        rustix::fs::renameat(directory, self.temp, directory, &self.spot.name)
            .map_err(failed!(Write, self.spot.path))
    }

    fn look_again(&self) -> Result<Observed<Version>, StoreError> {
        let (directory, name) = (self.directory(), &self.spot.name);
        let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(failed!(Read, self.spot.path))?;
        let again = Spot {
            directory: rustix::io::fcntl_dupfd_cloexec(directory, 0)
                .map_err(failed!(Read, self.spot.path))?,
            name: name.clone(),
            path: self.spot.path.clone(),
            stat: Some(stat),
        };
        let seen = look::read(&again, LIMIT)?.map(|(version, _)| version);
        if seen.present().is_some_and(|version| version.link.is_some()) {
            // Reading a link touches its access time, and there is no way to avoid it.
            self.restore_times(name)?;
        }
        Ok(seen)
    }

    fn directory(&self) -> BorrowedFd<'_> {
        self.spot.directory.as_fd()
    }

    fn path(&self) -> PathBuf {
        self.spot.path.with_file_name(self.temp)
    }
}

enum Removed {
    Name,
    Nothing,
}

fn check_names(at: &Place, temp: &str) -> Result<(), StoreError> {
    check(at.path())?;
    if is_plain(temp) {
        return Ok(());
    }
    let path = at
        .path()
        .parent()
        .unwrap_or_else(|| at.path())
        .to_path_buf();
    Err(StoreError::BadName {
        path,
        name: temp.to_owned(),
    })
}

fn compare(spot: &Spot, at: &Place, expect: &Observed<Version>) -> Result<(), StoreError> {
    let same = match (look::read(spot, LIMIT)?, expect) {
        (Observed::Unknown(why), _) => {
            return Err(StoreError::Refused {
                path: at.path().to_path_buf(),
                why,
            });
        },
        (Observed::Absent, Observed::Absent) => true,
        (Observed::Present((now, _)), Observed::Present(expect)) => now.same_content(expect),
        _ => false,
    };
    if same {
        Ok(())
    } else {
        Err(StoreError::Changed {
            path: at.path().to_path_buf(),
        })
    }
}

fn remove(spot: &Spot) -> Result<(), StoreError> {
    match remove_name(spot, &spot.name)? {
        Removed::Nothing => Ok(()),
        Removed::Name => sync_directory(spot.directory.as_fd(), &spot.path),
    }
}

/// Removes a file, a link, or a directory with nothing in it.
fn remove_name(spot: &Spot, name: &OsStr) -> Result<Removed, StoreError> {
    let remove = |flags| rustix::fs::unlinkat(&spot.directory, name, flags);
    let removed = match remove(AtFlags::empty()) {
        Err(Errno::ISDIR) => remove(AtFlags::REMOVEDIR),
        other => other,
    };
    match removed {
        Ok(()) => Ok(Removed::Name),
        Err(Errno::NOENT) => Ok(Removed::Nothing),
        Err(error) => Err(failed!(Remove, spot.path.with_file_name(name))(error)),
    }
}

/// Whether nobody wrote, replaced or touched the file in between.
fn is_same(before: &Stat, now: &Stat) -> bool {
    let key = |s: &Stat| {
        (
            s.st_dev,
            s.st_ino,
            s.st_size,
            s.st_mtime,
            s.st_mtime_nsec,
            s.st_ctime,
            s.st_ctime_nsec,
        )
    };
    key(before) == key(now)
}

#[cfg(test)]
mod tests;
