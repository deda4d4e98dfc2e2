//! A tree of files in memory, and the one function that writes it.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, FileTimes, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use zeroize::Zeroizing;

use crate::drill::DrillError;
use crate::pki::utc::Utc;

/// Everything below a root, by path without the root and without a leading slash; parents before children.
#[derive(Default)]
pub(super) struct Tree(BTreeMap<PathBuf, Entry>);

enum Entry {
    Directory {
        mode: u32,
    },
    File {
        mode: u32,
        at: Utc,
        bytes: Zeroizing<Vec<u8>>,
    },
    Link {
        target: PathBuf,
    },
}

impl Tree {
    /// Adds a directory; its parents, where they are not named, get mode 0755.
    pub(super) fn directory(&mut self, path: &str, mode: u32) {
        self.put(path, Entry::Directory { mode });
    }

    /// Adds a file, last changed at `at`.
    pub(super) fn file(&mut self, path: &str, mode: u32, at: Utc, bytes: &[u8]) {
        self.put(
            path,
            Entry::File {
                mode,
                at,
                bytes: bytes.to_vec().into(),
            },
        );
    }

    /// Adds a symbolic link.
    pub(super) fn link(&mut self, path: &str, target: &str) {
        self.put(
            path,
            Entry::Link {
                target: target.into(),
            },
        );
    }

    /// Changes the content of a file that is there; its mode stays.
    pub(super) fn edit(&mut self, path: &str, now: Utc, change: impl FnOnce(&mut Vec<u8>)) {
        if let Some(Entry::File { at, bytes, .. }) = self.0.get_mut(Path::new(path)) {
            *at = now;
            change(bytes);
        }
    }

    /// Takes a file out.
    pub(super) fn remove(&mut self, path: &str) {
        self.0.remove(Path::new(path));
    }

    /// Writes everything below `root`, which is an empty directory.
    pub(super) fn write(&self, root: &Path) -> Result<(), DrillError> {
        for (path, entry) in &self.0 {
            let path = root.join(path);
            let made = match entry {
                Entry::Directory { mode } => make_directory(&path, *mode),
                Entry::File { mode, at, bytes } => make_file(&path, *mode, *at, bytes),
                Entry::Link { target } => symlink(target, &path),
            };
            made.map_err(|source| DrillError::Make { path, source })?;
        }
        Ok(())
    }

    fn put(&mut self, path: &str, entry: Entry) {
        let path = PathBuf::from(path);
        for parent in path
            .ancestors()
            .skip(1)
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            let default = || Entry::Directory { mode: 0o755 };
            self.0.entry(parent.to_path_buf()).or_insert_with(default);
        }
        self.0.insert(path, entry);
    }
}

/// Makes `root`, or sees that it is an empty directory.
pub(super) fn claim(root: &Path) -> Result<(), DrillError> {
    match make_directory(root, 0o700) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {},
        made => {
            return made.map_err(|source| DrillError::Make {
                path: root.to_path_buf(),
                source,
            });
        },
    }
    let look = |source| DrillError::Look {
        path: root.to_path_buf(),
        source,
    };
    match root.read_dir().map_err(look)?.next() {
        None => Ok(()),
        Some(_) => Err(DrillError::NotEmpty {
            path: root.to_path_buf(),
        }),
    }
}

/// The mode is given twice: the umask cuts the first, and a key must not be readable before the second.
fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().mode(mode).create(path)?;
    File::open(path)?.set_permissions(Permissions::from_mode(mode))
}

fn make_file(path: &Path, mode: u32, at: Utc, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    let at = system_time(at);
    file.set_times(FileTimes::new().set_accessed(at).set_modified(at))
}

fn system_time(at: Utc) -> SystemTime {
    let distance = Duration::from_secs(at.unix().unsigned_abs());
    let shifted = if at.unix() < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    };
    shifted.unwrap_or(SystemTime::UNIX_EPOCH)
}
