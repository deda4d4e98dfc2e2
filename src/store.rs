//! Files under a root: looking, replacing, locking, and the private directory of a run.
//!
//! Every path is absolute, as the node itself would say it. The root may be `/` or any other directory, such as a mounted
//! disk; no name, link or `..` ever leads out of it. Nothing here decides anything: what to replace, and whether what was
//! seen is good, is the caller's business. Looking never changes anything, access times of files included where the system
//! allows it.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

mod directory;
pub mod disk;
pub mod lock;
mod look;
pub mod rundir;
mod stick;
mod swap;
mod walk;

pub use disk::Disk;
pub use lock::{Holder, Lock};
pub use rundir::RunDir;
pub use swap::Times;

use lock::Held;

/// Why the store could not do what it was asked.
///
/// Paths are the node's, without the root's prefix; for files of a run directory they are the host's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A path that cannot name a place: relative, or without a last name.
    #[error("`{}` is not the absolute path of a file or directory", path.display())]
    BadPath {
        /// The path as it was given.
        path: PathBuf,
    },
    /// A name that is empty, too deep, or leads elsewhere.
    #[error("`{}` is not a name that may be used in {}", name.escape_debug(), path.display())]
    BadName {
        /// The directory it was meant for.
        path: PathBuf,
        /// The name as it was given.
        name: String,
    },
    /// A place no longer holds what the caller expected.
    #[error("{} has changed since it was looked at", path.display())]
    Changed {
        /// The place.
        path: PathBuf,
    },
    /// Setting the `security.selinux` attribute failed.
    #[error("cannot set the SELinux label of {}", path.display())]
    Label {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// Listing a directory failed.
    #[error("cannot list {}", path.display())]
    List {
        /// The directory.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// Taking the lock failed for another reason than that somebody holds it.
    #[error("cannot lock {}", path.display())]
    Lock {
        /// The directory that serves as the lock.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// Somebody else holds the lock.
    #[error("{} is locked by {}", path.display(), Held(holder.as_ref()))]
    Locked {
        /// The directory that serves as the lock.
        path: PathBuf,
        /// Who holds it, if the system says.
        holder: Option<Holder>,
    },
    /// Creating a directory failed.
    #[error("cannot create the directory {}", path.display())]
    MakeDirectory {
        /// The directory.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// Setting permission bits failed.
    #[error("cannot set the mode of {} to {mode:o}", path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// The mode that was wanted, octal in the message.
        mode: u32,
        /// What the system answered.
        source: io::Error,
    },
    /// Opening a directory, or the root itself, failed.
    #[error("cannot open the directory {}", path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// Setting owner and group failed.
    #[error("cannot give {} to {uid}:{gid}", path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// The owner that was wanted.
        uid: u32,
        /// The group that was wanted.
        gid: u32,
        /// What the system answered.
        source: io::Error,
    },
    /// Reading an existing file failed.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// A place holds something that is never replaced; `why` completes the sentence.
    #[error("{} {why}", path.display())]
    Refused {
        /// The place.
        path: PathBuf,
        /// A predicate, such as `is a directory`.
        why: String,
    },
    /// Removing a file or directory failed.
    #[error("cannot remove {}", path.display())]
    Remove {
        /// The file or directory.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// Asking for the free space failed.
    #[error("cannot ask for the free space at {}", path.display())]
    Space {
        /// The directory.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// Bringing data to the disk failed.
    #[error("cannot bring {} to the disk", path.display())]
    Sync {
        /// The file or directory.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// Reading or setting times failed.
    #[error("cannot set the times of {}", path.display())]
    Times {
        /// The file or directory.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// A file of a run directory is larger than it may be.
    #[error("{} is larger than {limit} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// A directory has more entries than can be looked at.
    #[error("{} has more than {limit} entries", path.display())]
    TooMany {
        /// The directory.
        path: PathBuf,
        /// The limit.
        limit: usize,
    },
    /// Writing or renaming a file failed, or a directory cannot be written to.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
}

/// Gives a variant of [`StoreError`] that has only a path and a cause.
macro_rules! failed {
    ($variant:ident, $path:expr) => {
        |error: rustix::io::Errno| StoreError::$variant {
            path: $path.to_path_buf(),
            source: error.into(),
        }
    };
}
use failed;

/// Calls again what a signal interrupted.
fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {},
            other => return other,
        }
    }
}

/// Whether `name` is one plain component: not empty, not `.` or `..`, without `/` and NUL.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0'])
}
