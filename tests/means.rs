//! Means of the tests: bounded runs, mounts that end, what differs between two looks, what a judge says.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::harness::{BINARY, Node, Ran, lab, lab_program, other};

/// The one certificate that quick tests renew.
pub(crate) const ONE: [&str; 2] = ["--only", "scheduler.conf"];

/// A user without rights, as Debian's `nobody`.
pub(crate) const NOBODY: [&str; 5] = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];

/// Runs rescue-kit on a node; a run that hangs is ended after a minute and has code 124.
pub(crate) fn bounded(node: &Node, words: &[&str]) -> Ran {
    let root = node.root.to_str().unwrap();
    bounded_on(root, words, &[])
}

/// As [`bounded`], on any root and behind another program such as `setpriv` with its words.
pub(crate) fn bounded_on(root: &str, words: &[&str], behind: &[&str]) -> Ran {
    let start = ["60", "env", "-i", "PATH=/usr/bin:/bin"];
    other(
        "timeout",
        &[&start, behind, &[BINARY, "--root", root], words].concat(),
        Path::new("/"),
    )
}

/// Asserts that a command is refused with a code, a sentence and a hint, and that nothing was written.
#[track_caller]
pub(crate) fn refused(node: &Node, words: &[&str], code: i32, text: &str) -> Ran {
    let before = node.snapshot();
    let ran = bounded(node, words).exits(code).says(text).says("hint:");
    assert_same(&before, &node.snapshot());
    let state = node.path("/var/lib/rescue-kit");
    assert!(
        fs::symlink_metadata(&state).is_err(),
        "{} was made",
        state.display()
    );
    ran
}

/// Asserts that two snapshots are the same, naming what differs.
#[track_caller]
pub(crate) fn assert_same(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) {
    let names = before.keys().chain(after.keys());
    let mut differ: Vec<String> = names
        .filter(|name| before.get(*name) != after.get(*name))
        .map(|name| {
            let face = |all: &BTreeMap<String, String>| {
                all.get(name)
                    .map_or("absent", String::as_str)
                    .chars()
                    .take(60)
                    .collect::<String>()
            };
            format!("{name}: {} | {}", face(before), face(after))
        })
        .collect();
    differ.dedup();
    assert_eq!(differ, Vec::<String>::new());
}

/// Asserts that Go's crypto/x509 finds nothing wrong with the node's tree, but for the kubelet's serving certificate:
/// the kubelet signs that itself when it starts.
#[track_caller]
pub(crate) fn assert_judged(node: &Node) {
    let root = node.root.to_str().unwrap();
    let said = other(lab_program("judge"), &["tree", root], &lab()).stdout;
    let bad = |line: &&str| !line.starts_with("ok ") && !line.starts_with("bad kubelet-serving: ");
    assert_eq!(
        said.lines().filter(bad).collect::<Vec<_>>(),
        Vec::<&str>::new()
    );
    assert!(said.lines().count() > 10, "{said}");
}

/// What the run directories of a node are called, oldest first.
pub(crate) fn runs(node: &Node) -> Vec<String> {
    let runs = node.path("/var/lib/rescue-kit/runs");
    let Ok(entries) = fs::read_dir(runs) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Paths below the root whose name is that of an unfinished replacement.
pub(crate) fn leftovers(node: &Node) -> Vec<String> {
    let all = node.snapshot();
    all.into_keys()
        .filter(|name| name.contains(".rescue-kit-"))
        .collect()
}

/// A file system of memory, or a bind mount; it is unmounted at the end.
pub(crate) struct Mount {
    pub(crate) at: PathBuf,
    _dir: Option<TempDir>,
}

impl Mount {
    /// An empty file system of this size, such as `4m`, on a directory of its own.
    pub(crate) fn memory(size: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let mount = Self::memory_on(dir.path(), size);
        Self {
            at: mount.leak(),
            _dir: Some(dir),
        }
    }

    /// An empty file system of this size on a directory that exists.
    pub(crate) fn memory_on(at: &Path, size: &str) -> Self {
        let size = format!("size={size},mode=755");
        let words = ["-t", "tmpfs", "-o", &size, "none", at.to_str().unwrap()];
        other("mount", &words, Path::new("/")).exits(0);
        Self {
            at: at.to_owned(),
            _dir: None,
        }
    }

    /// A directory bound onto itself, read-only.
    pub(crate) fn read_only(at: &Path) -> Self {
        let text = at.to_str().unwrap();
        other("mount", &["--bind", text, text], Path::new("/")).exits(0);
        let mount = Self {
            at: at.to_owned(),
            _dir: None,
        };
        other("mount", &["-o", "remount,ro,bind", text], Path::new("/")).exits(0);
        mount
    }

    /// Copies a tree into it, and gives the root of the copy.
    pub(crate) fn fill(&self, tree: &Path) -> String {
        let root = self.at.join("root");
        let words = ["-a", tree.to_str().unwrap(), root.to_str().unwrap()];
        other("cp", &words, Path::new("/")).exits(0);
        root.to_str().unwrap().to_owned()
    }

    /// From now on nothing can be written to it.
    pub(crate) fn freeze(&self) {
        let words = ["-o", "remount,ro", self.at.to_str().unwrap()];
        other("mount", &words, Path::new("/")).exits(0);
    }

    fn leak(mut self) -> PathBuf {
        let at = std::mem::take(&mut self.at);
        std::mem::forget(self);
        at
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let done = other("umount", &["-l", self.at.to_str().unwrap()], Path::new("/"));
        // A second panic while the first one unwinds would hide it.
        assert!(
            done.code == 0 || std::thread::panicking(),
            "{}",
            done.stderr
        );
    }
}

/// What openssl says of a certificate file.
pub(crate) fn x509(file: &Path, words: &[&str]) -> String {
    let file = file.to_str().unwrap();
    let said = other(
        "openssl",
        &[&["x509", "-noout", "-in", file], words].concat(),
        Path::new("/"),
    );
    said.exits(0).stdout
}

/// Makes an openssl key or certificate; the words are openssl's.
pub(crate) fn openssl(words: &[&str], directory: &Path) {
    other("openssl", words, directory).exits(0);
}
