//! One run at a time: an advisory lock on a directory, and who holds it.

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::{StoreError, failed, retry};

/// A lock that is held. Dropping it gives it up; so does the end of the process, however it ends.
#[derive(Debug)]
pub struct Lock {
    _directory: OwnedFd,
    path: PathBuf,
}

impl Lock {
    /// The locked directory, as the node says it.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The process that holds a lock.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Holder {
    /// Its process ID.
    pub pid: u32,
    /// Its command line, control characters replaced; empty if the process does not show it.
    pub command: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.pid)?;
        if self.command.is_empty() {
            Ok(())
        } else {
            write!(f, " ({})", self.command)
        }
    }
}

/// A holder in an error message, known or not.
pub(super) struct Held<'a>(pub(super) Option<&'a Holder>);

impl fmt::Display for Held<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(holder) => holder.fmt(f),
            None => f.write_str("another process"),
        }
    }
}

/// Locks an open directory (`flock(2)`, exclusive, without waiting).
pub(super) fn lock(directory: OwnedFd, path: &Path) -> Result<Lock, StoreError> {
    match retry(|| rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive)) {
        Ok(()) => Ok(Lock {
            _directory: directory,
            path: path.to_path_buf(),
        }),
        Err(Errno::WOULDBLOCK) => {
            let stat = rustix::fs::fstat(&directory).map_err(failed!(Lock, path))?;
            let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
            let holder = holder_in(&locks, stat.st_ino).map(|pid| Holder {
                pid,
                command: fs::read(format!("/proc/{pid}/cmdline")).map_or(String::new(), shown),
            });
            Err(StoreError::Locked {
                path: path.to_path_buf(),
                holder,
            })
        },
        Err(error) => Err(StoreError::Lock {
            path: path.to_path_buf(),
            source: error_of(error),
        }),
    }
}

/// Finds the process in the text of `/proc/locks` (`proc_locks(5)`): `1: FLOCK ADVISORY WRITE 123 08:01:456 0 EOF`.
///
/// The device is not compared: on btrfs and overlayfs it differs from what `stat` says.
fn holder_in(locks: &str, inode: u64) -> Option<u32> {
    locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, "FLOCK", _, _, pid, file, ..] = fields.as_slice() else {
            return None;
        };
        let is_ours = file.rsplit(':').next()?.parse() == Ok(inode);
        if is_ours {
            pid.parse().ok().filter(|pid| *pid != 0)
        } else {
            None
        }
    })
}

/// A command line whose words end with NUL, as text for a message.
fn shown(mut words: Vec<u8>) -> String {
    words.truncate(200);
    let text = String::from_utf8_lossy(&words);
    text.trim_end_matches('\0')
        .chars()
        .map(|c| match c {
            '\0' => ' ',
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect()
}

fn error_of(error: Errno) -> io::Error {
    match error {
        Errno::OPNOTSUPP => io::Error::new(
            io::ErrorKind::Unsupported,
            "this file system does not support locks",
        ),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Disk;

    #[test]
    fn a_second_lock_is_refused_and_names_the_first() {
        let root = tempfile::tempdir().unwrap();
        let (one, two) = (
            Disk::open(root.path()).unwrap(),
            Disk::open(root.path()).unwrap(),
        );
        let held = one.lock(Path::new("/")).unwrap();
        let error = two.lock(Path::new("/")).unwrap_err();
        let text = error.to_string();
        let StoreError::Locked {
            holder: Some(holder),
            ..
        } = error
        else {
            panic!("{error:?}");
        };
        assert_eq!(holder.pid, std::process::id());
        assert!(
            text.starts_with(&format!("/ is locked by process {} (", holder.pid)),
            "{text}"
        );
        drop(held);
        two.lock(Path::new("/")).unwrap();
    }

    #[test]
    fn finds_the_holder_of_this_inode_only() {
        let locks = "1: POSIX  ADVISORY  WRITE 11 08:01:77 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 12 08:01:78 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 14 08:01:77 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 13 08:01:77 0 EOF\nnonsense\n";
        assert_eq!(holder_in(locks, 77), Some(13));
        assert_eq!(holder_in(locks, 79), None);
    }

    #[test]
    fn a_hostile_command_line_cannot_move_the_cursor() {
        assert_eq!(shown(b"sh\0-c\0\x1b[2J\0".to_vec()), "sh -c \u{fffd}[2J");
    }
}
