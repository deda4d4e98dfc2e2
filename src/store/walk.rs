//! Resolving directories inside the root: by the kernel, or step by step on kernels without `openat2` (before 5.6).
//!
//! Both ways mean the same: absolute links are read relative to the root, `..` stops there, magic links of `/proc` lead
//! nowhere, at most 40 links are followed.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::retry;

/// How many links a path may lead through, as in the kernel (`MAXSYMLINKS`).
pub(super) const MAX_LINKS: usize = 40;

/// A handle that can only be walked from: needs no read permission and touches no access time.
pub(super) const HANDLE: OFlags = OFlags::PATH
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Who resolves paths.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Resolver {
    /// `openat2` with `RESOLVE_IN_ROOT`.
    Kernel,
    /// [`walk`], component by component.
    Steps,
}

impl Resolver {
    /// Asks the kernel once. Without `openat2` it answers ENOSYS; an old seccomp filter answers EPERM.
    pub(super) fn detect(root: BorrowedFd<'_>) -> Self {
        match by_kernel(root, Path::new("/")) {
            Ok(_) => Self::Kernel,
            Err(_) => Self::Steps,
        }
    }

    /// Opens the directory that `path` leads to, links followed, as a handle.
    pub(super) fn directory(self, root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
        if self == Self::Steps {
            return walk(root, path).map(|(directory, _)| directory);
        }
        // The kernel gives up with EAGAIN when a rename elsewhere races with a `..`.
        for _ in 0..16 {
            match by_kernel(root, path) {
                Err(Errno::AGAIN | Errno::INTR) => {},
                other => return other,
            }
        }
        walk(root, path).map(|(directory, _)| directory)
    }
}

/// Opens the directory that `path` leads to and tells its path without links.
pub(super) fn walk(root: BorrowedFd<'_>, path: &Path) -> Result<(OwnedFd, PathBuf), Errno> {
    let mut trail = Trail {
        root,
        inside: Vec::new(),
    };
    let mut ahead: VecDeque<OsString> = components(path).collect();
    let mut links = 0;
    while let Some(name) = ahead.pop_front() {
        if name == ".." {
            trail.inside.pop();
            continue;
        }
        let Some(target) = trail.enter(name)? else {
            continue;
        };
        links += 1;
        if links > MAX_LINKS {
            return Err(Errno::LOOP);
        }
        if target.is_absolute() {
            trail.inside.clear();
        }
        for name in components(&target).rev() {
            ahead.push_front(name);
        }
    }
    let real = Path::new("/").join(
        trail
            .inside
            .iter()
            .map(|(name, _)| name)
            .collect::<PathBuf>(),
    );
    let directory = retry(|| rustix::fs::openat(trail.here(), ".", HANDLE, Mode::empty()))?;
    Ok((directory, real))
}

/// Reads the text of the link `name`.
pub(super) fn read_link(directory: BorrowedFd<'_>, name: &OsStr) -> Result<PathBuf, Errno> {
    let text = retry(|| rustix::fs::readlinkat(directory, name, Vec::new()))?;
    Ok(PathBuf::from(OsString::from_vec(text.into_bytes())))
}

/// The directories from the root to where the walk stands. Kept open, so that `..` leads back the way it came.
struct Trail<'a> {
    root: BorrowedFd<'a>,
    inside: Vec<(OsString, OwnedFd)>,
}

impl Trail<'_> {
    fn here(&self) -> BorrowedFd<'_> {
        self.inside
            .last()
            .map_or(self.root, |(_, directory)| directory.as_fd())
    }

    /// Steps into `name`; if that is a link, stays and gives its target.
    fn enter(&mut self, name: OsString) -> Result<Option<PathBuf>, Errno> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let next = retry(|| rustix::fs::openat(self.here(), &name, flags, Mode::empty()))?;
        match FileType::from_raw_mode(rustix::fs::fstat(&next)?.st_mode) {
            FileType::Directory => {
                self.inside.push((name, next));
                Ok(None)
            },
            // An empty name reads the link that the handle itself is: nobody can exchange it in between.
            FileType::Symlink => read_link(next.as_fd(), OsStr::new("")).map(Some),
            _ => Err(Errno::NOTDIR),
        }
    }
}

fn by_kernel(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::openat2(
        root,
        path,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    )
}

fn components(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::CurDir | Component::Prefix(_) | Component::RootDir => None,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn tree() -> (tempfile::TempDir, OwnedFd) {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/b/c")).unwrap();
        fs::write(root.path().join("a/file"), "x").unwrap();
        for (target, name) in [
            ("/a/b", "absolute"),
            ("../../../../../../a", "a/above"),
            ("b/../b/c", "a/inside"),
            ("ring2", "ring1"),
            ("ring1", "ring2"),
            ("/etc", "host"),
        ] {
            symlink(target, root.path().join(name)).unwrap();
        }
        let handle = rustix::fs::open(root.path(), HANDLE, Mode::empty()).unwrap();
        (root, handle)
    }

    #[test]
    fn both_ways_resolve_alike_and_never_leave_the_root() {
        let (_root, handle) = tree();
        let cases = [
            ("/", Ok("/")),
            ("/a/./b", Ok("/a/b")),
            ("/absolute/c", Ok("/a/b/c")),
            ("/a/above/b", Ok("/a/b")),
            ("/a/inside", Ok("/a/b/c")),
            ("/../../../a/b/..", Ok("/a")),
            ("/absolute/..", Ok("/a")),
            ("/ring1/x", Err(Errno::LOOP)),
            ("/host", Err(Errno::NOENT)),
            ("/../../etc", Err(Errno::NOENT)),
            ("/a/file", Err(Errno::NOTDIR)),
            ("/a/file/x", Err(Errno::NOTDIR)),
            ("/a/none/x", Err(Errno::NOENT)),
        ];
        for (path, want) in cases {
            let path = Path::new(path);
            let walked = walk(handle.as_fd(), path);
            let inode = |fd: OwnedFd| rustix::fs::fstat(fd).unwrap().st_ino;
            let kernel = Resolver::Kernel.directory(handle.as_fd(), path).map(inode);
            let steps = Resolver::Steps.directory(handle.as_fd(), path).map(inode);
            assert_eq!(kernel, steps, "{}", path.display());
            assert_eq!(
                walked.map(|(_, real)| real),
                want.map(PathBuf::from),
                "{}",
                path.display()
            );
        }
    }

    #[test]
    fn this_kernel_resolves_by_itself() {
        let (_root, handle) = tree();
        assert_eq!(Resolver::detect(handle.as_fd()), Resolver::Kernel);
    }
}
