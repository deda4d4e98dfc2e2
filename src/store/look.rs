//! Looking at a place without changing or waiting for anything.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use zeroize::Zeroizing;

use super::disk::Disk;
use super::walk::{MAX_LINKS, read_link};
use super::{StoreError, failed, retry};
use crate::pki::digest::Digest;
use crate::place::{Blob, FileTime, Meta, Observed, Place, Version};

/// The extended attribute that holds the security label (`selinux(8)`).
pub(super) const LABEL: &str = "security.selinux";

const LOOP: &str = "is a loop of symbolic links";

/// Where a place's content lies, links followed as the place says.
pub(super) struct Spot {
    /// The directory, as a handle.
    pub(super) directory: OwnedFd,
    /// The name in it, which is no link unless the place is an entry.
    pub(super) name: OsString,
    /// The node path, for messages; its directories may be links.
    pub(super) path: PathBuf,
    /// What the name had; `None` if nothing has this name.
    pub(super) stat: Option<Stat>,
}

/// Finds where a place's content lies. `Present` also where nothing has the name, as long as its directory is there.
pub(super) fn find(disk: &Disk, at: &Place) -> Result<Observed<Spot>, StoreError> {
    let mut path = at.path().to_path_buf();
    let mut last: Option<PathBuf> = None;
    for _ in 0..=MAX_LINKS {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(match disk.directory(&path) {
                Ok(_) => Observed::Unknown("is a directory".to_owned()),
                Err(error) => unseen(error, at, last.as_deref())?,
            });
        };
        let directory = match disk.directory(parent) {
            Ok(directory) => directory,
            Err(error) => return unseen(error, at, last.as_deref()),
        };
        let stat = match retry(|| rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)) {
            Ok(stat) => Some(stat),
            Err(Errno::NOENT) if last.is_none() => None,
            Err(error) => return unseen(error, at, last.as_deref()),
        };
        let is_link = stat.is_some_and(|s| file_type(&s) == FileType::Symlink);
        if !is_link || matches!(at, Place::Entry(_)) {
            let name = name.to_owned();
            return Ok(Observed::Present(Spot {
                directory,
                name,
                path,
                stat,
            }));
        }
        let target = match read_link(directory.as_fd(), name) {
            Ok(target) => target,
            Err(error) => return unseen(error, at, last.as_deref()),
        };
        path = parent.join(&target);
        last = Some(target);
    }
    Ok(Observed::Unknown(LOOP.to_owned()))
}

/// Reads what lies at `spot`.
pub(super) fn read(spot: &Spot, limit: u64) -> Result<Observed<(Version, Blob)>, StoreError> {
    let Some(stat) = &spot.stat else {
        return Ok(Observed::Absent);
    };
    let result = match file_type(stat) {
        FileType::RegularFile if size(stat) > limit => Ok(Observed::Unknown(too_large(limit))),
        FileType::RegularFile => read_file(spot, limit),
        FileType::Symlink => read_link_at(spot, stat),
        FileType::Directory => read_directory(spot),
        other => Ok(Observed::Unknown(describe(other).to_owned())),
    };
    match result {
        Ok(seen) => Ok(seen),
        // It was there a moment ago.
        Err(Errno::NOENT) => Ok(Observed::Absent),
        Err(error) => unseen(error, &Place::Entry(spot.path.clone()), None),
    }
}

/// Reads an open file to its end; `None` if that is further than `limit` bytes. `hint` is the expected size.
///
/// Buffers that turn out too small are wiped: the file may hold a private key.
pub(super) fn read_bounded(
    file: BorrowedFd<'_>,
    hint: u64,
    limit: u64,
) -> Result<Option<Zeroizing<Vec<u8>>>, Errno> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let room = usize::try_from(hint).unwrap_or(usize::MAX).min(limit) + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    loop {
        if bytes.len() == bytes.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(bytes.capacity() * 2 + 4096));
            larger.extend_from_slice(&bytes);
            bytes = larger;
        }
        let n = retry(|| rustix::io::read(file, rustix::buffer::spare_capacity(&mut *bytes)))?;
        if bytes.len() > limit {
            return Ok(None);
        }
        if n == 0 {
            return Ok(Some(bytes));
        }
    }
}

/// Opens for reading what is no link, without waiting (a FIFO's writer) and without touching the access time.
pub(super) fn open_quietly(
    directory: BorrowedFd<'_>,
    name: &OsStr,
    more: OFlags,
) -> Result<OwnedFd, Errno> {
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let open =
        |extra| retry(|| rustix::fs::openat(directory, name, flags | more | extra, Mode::empty()));
    match open(OFlags::NOATIME) {
        // Only the owner and root may ask for that.
        Err(Errno::PERM) => open(OFlags::empty()),
        other => other,
    }
}

/// Mode, owner and times.
pub(super) fn meta(stat: &Stat, label: Option<String>) -> Meta {
    Meta {
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        label,
        atime: time(stat.st_atime, stat.st_atime_nsec),
        mtime: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

/// A file time out of the two numbers of `stat`, whose types differ between architectures.
pub(super) fn time(seconds: impl Into<i64>, nanos: impl TryInto<u32>) -> FileTime {
    FileTime {
        seconds: seconds.into(),
        nanos: nanos.try_into().unwrap_or(0),
    }
}

/// The label of an open file or directory. Where labels are not supported, there is none.
pub(super) fn label_of(file: BorrowedFd<'_>) -> Option<String> {
    let mut text = [0u8; 512];
    let n = rustix::fs::fgetxattr(file, LABEL, &mut text[..]).ok()?;
    label_text(&text[..n])
}

/// The label of a link, which has no file descriptor of its own that could be asked.
pub(super) fn label_of_link(directory: BorrowedFd<'_>, name: &OsStr) -> Option<String> {
    let mut text = [0u8; 512];
    let n = rustix::fs::lgetxattr(by_proc(directory, name), LABEL, &mut text[..]).ok()?;
    label_text(&text[..n])
}

/// A host path for `name` in an open directory, for the calls that take no directory.
pub(super) fn by_proc(directory: BorrowedFd<'_>, name: &OsStr) -> PathBuf {
    use std::os::fd::AsRawFd;
    Path::new("/proc/self/fd")
        .join(directory.as_raw_fd().to_string())
        .join(name)
}

/// What kind of file a `stat` describes.
pub(super) fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn read_file(spot: &Spot, limit: u64) -> Result<Observed<(Version, Blob)>, Errno> {
    let file = open_quietly(spot.directory.as_fd(), &spot.name, OFlags::empty())?;
    let stat = rustix::fs::fstat(&file)?;
    if file_type(&stat) != FileType::RegularFile {
        return Ok(Observed::Unknown(describe(file_type(&stat)).to_owned()));
    }
    let Some(bytes) = read_bounded(file.as_fd(), size(&stat), limit)? else {
        return Ok(Observed::Unknown(too_large(limit)));
    };
    let version = Version {
        sha256: Digest::of(&bytes),
        size: bytes.len() as u64,
        link: None,
        directory: false,
        meta: meta(&stat, label_of(file.as_fd())),
    };
    Ok(Observed::Present((version, Blob::File(bytes))))
}

/// A directory with nothing in it is as good as a file: it can be replaced and made again.
fn read_directory(spot: &Spot) -> Result<Observed<(Version, Blob)>, Errno> {
    let directory = open_quietly(spot.directory.as_fd(), &spot.name, OFlags::DIRECTORY)?;
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            return Ok(Observed::Unknown(describe(FileType::Directory).to_owned()));
        }
    }
    let stat = rustix::fs::fstat(&directory)?;
    let blob = Blob::EmptyDirectory;
    let version = Version {
        sha256: blob.digest(),
        size: 0,
        link: None,
        directory: true,
        meta: meta(&stat, label_of(directory.as_fd())),
    };
    Ok(Observed::Present((version, blob)))
}

fn read_link_at(spot: &Spot, stat: &Stat) -> Result<Observed<(Version, Blob)>, Errno> {
    let target = read_link(spot.directory.as_fd(), &spot.name)?;
    let blob = Blob::Link(target.clone());
    let version = Version {
        sha256: blob.digest(),
        size: target.as_os_str().len() as u64,
        link: Some(target),
        directory: false,
        meta: meta(stat, label_of_link(spot.directory.as_fd(), &spot.name)),
    };
    Ok(Observed::Present((version, blob)))
}

/// What an error at `at` means to somebody who only looked. `last` is the text of the link that led there.
fn unseen<T>(error: Errno, at: &Place, last: Option<&Path>) -> Result<Observed<T>, StoreError> {
    let why = match (error, last) {
        (Errno::NOENT, None) => return Ok(Observed::Absent),
        (Errno::NOENT, Some(target)) => {
            format!(
                "is a symbolic link to {}, which does not exist",
                printable(target)
            )
        },
        (Errno::ACCESS | Errno::PERM, _) => "permission denied".to_owned(),
        (Errno::LOOP, _) => LOOP.to_owned(),
        (Errno::NOTDIR, _) => "lies below something that is not a directory".to_owned(),
        (Errno::NAMETOOLONG, _) => "has a name that is too long".to_owned(),
        (Errno::AGAIN, _) => "cannot be read without waiting".to_owned(),
        _ => return Err(failed!(Read, at.path())(error)),
    };
    Ok(Observed::Unknown(why))
}

/// A path as text that cannot move the terminal's cursor.
fn printable(path: &Path) -> String {
    let text = String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned();
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

fn describe(kind: FileType) -> &'static str {
    match kind {
        FileType::Directory => "is a directory",
        FileType::Fifo => "is a FIFO",
        FileType::Socket => "is a socket",
        FileType::BlockDevice => "is a block device",
        FileType::CharacterDevice => "is a character device",
        FileType::RegularFile => "is a regular file",
        FileType::Symlink => "is a symbolic link",
        FileType::Unknown => "is of an unknown kind",
    }
}

fn too_large(limit: u64) -> String {
    format!("is larger than {} MiB", limit >> 20)
}

fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

fn label_text(text: &[u8]) -> Option<String> {
    let text = text.strip_suffix(b"\0").unwrap_or(text);
    String::from_utf8(text.to_vec()).ok()
}
