//! The kit: what is on a stick, the same to the byte each time, and never in the place of anything else.

mod carried;
mod sticks;
mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::harness::{BINARY, Ran, other, run};

/// A directory with a key of OpenSSH, a small program in the place of the binary, and room for kits.
pub(super) struct Bench(TempDir);

impl Bench {
    pub(super) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let bench = Self(dir);
        fs::write(bench.path("program"), "#!/bin/sh\nexit 0\n").unwrap();
        bench.key("key");
        bench
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub(super) fn key(&self, name: &str) {
        let words = ["-q", "-t", "ed25519", "-N", "", "-f", name];
        other("ssh-keygen", &words, self.0.path()).exits(0);
    }

    /// The words that build a kit of the small program.
    pub(super) fn words(&self, out: &str, more: &[&str]) -> Vec<String> {
        let (out, program) = (self.text(out), self.text("program"));
        let words = ["kit", "build", "--out", &out, "--binary", &program];
        [&words[..], more]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect()
    }

    pub(super) fn build(&self, out: &str, more: &[&str]) -> Ran {
        let words = self.words(out, more);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        run(&words, &[])
    }

    pub(super) fn signed(&self, out: &str) -> PathBuf {
        self.build(out, &["--sign-key", &self.text("key")]).exits(0);
        self.path(out)
    }

    pub(super) fn verify(&self, out: &str, more: &[&str]) -> Ran {
        run(&[&["kit", "verify", &self.text(out)], more].concat(), &[])
    }

    /// Builds under strace, which makes system calls fail or kills the program there.
    pub(super) fn under(&self, inject: &[&str], out: &str, more: &[&str]) -> Ran {
        let words = self.words(out, more);
        let inject = inject.iter().map(|what| format!("--inject={what}"));
        let strace = ["-f", "-o", "/dev/null"].map(str::to_owned);
        let words: Vec<String> = strace
            .into_iter()
            .chain(inject)
            .chain([BINARY.to_owned()])
            .chain(words)
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        other("strace", &words, Path::new("/"))
    }
}

/// Every file and directory below: mode, time and content.
pub(super) fn faces(root: &Path) -> BTreeMap<String, (u32, i64, Vec<u8>)> {
    let mut faces = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let name = path
            .strip_prefix(root)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let bytes = if meta.is_file() {
            fs::read(&path).unwrap()
        } else {
            Vec::new()
        };
        faces.insert(name, (meta.permissions().mode(), meta.mtime(), bytes));
        if meta.is_dir() {
            open.extend(
                fs::read_dir(path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
    }
    faces
}

pub(super) fn names(root: &Path) -> BTreeSet<String> {
    faces(root).into_keys().collect()
}

/// The commands in CONTENTS.txt under a heading.
fn commands(readme: &str, heading: &str) -> Vec<String> {
    let after = readme.split_once(heading).unwrap().1.replace("\\\n", " ");
    let lines = after.lines().filter_map(|line| line.strip_prefix("    "));
    lines.map(str::to_owned).collect()
}

#[test]
fn a_kit_has_everything_and_the_commands_of_its_contents_take_it() {
    let bench = Bench::new();
    let kit = bench.signed("kit");
    let names = names(&kit);
    for name in [
        "CONTENTS.txt",
        "LICENSE-MIT",
        "README.txt",
        "SHA256SUMS",
        "SHA256SUMS.sig",
        "SHA256SUMS.sshsig",
        "allowed_signers",
        "ansible/hosts.ini",
        "ansible/rescue.yml",
        "completions/_rescue-kit",
        "completions/rescue-kit.bash",
        "completions/rescue-kit.fish",
        "man/rescue-kit.1",
        "man/rescue-kit-ca-rotate-begin.1",
        "man/rescue-kit-kit-verify.1",
        "profiles/kubeadm.toml",
        "profiles/systemd.toml",
        "rescue-kit",
        "rescue-kit.html",
        "rescue-kit.md",
        "runbook/ca.txt",
        "runbook/errors.txt",
        "scripts/install.sh",
        "scripts/nodes.sh",
        "signer.pub",
        "templates/ca.json",
        "templates/server.json",
    ] {
        assert!(names.contains(name), "{name} is not in {names:?}");
    }
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["profiles", "runbook"] {
        for entry in fs::read_dir(own.join(folder)).unwrap() {
            let name = format!("{folder}/{}", entry.unwrap().file_name().to_str().unwrap());
            assert_eq!(
                fs::read(kit.join(&name)).unwrap(),
                fs::read(own.join(&name)).unwrap(),
                "{name}"
            );
        }
    }
    let readme = fs::read_to_string(kit.join("README.txt")).unwrap();
    assert!(readme.lines().count() < 24, "it leaves a console");
    let list = fs::read_to_string(kit.join("CONTENTS.txt")).unwrap();
    let mut lines = readme.lines().chain(list.lines());
    assert!(lines.all(|line| line.chars().count() <= 80));
    let commands = commands(&list, "Is it whole");
    assert_eq!(commands.len(), 4, "{commands:?}");
    for command in commands {
        let command = command.replace("rescue-kit kit", &format!("{BINARY} kit"));
        other("sh", &["-ec", &command], &kit).exits(0);
    }
    for name in names {
        let told =
            list.contains(&name) || name.split('/').next().is_some_and(|top| list.contains(top));
        assert!(
            told || name == "CONTENTS.txt" || name.starts_with("LICENSE"),
            "CONTENTS.txt does not name {name}"
        );
    }
}

#[test]
fn two_builds_are_the_same_to_the_byte() {
    let bench = Bench::new();
    let (one, two) = (faces(&bench.signed("one")), faces(&bench.signed("two")));
    assert!(one.len() > 80);
    assert_eq!(one, two);
    for (name, (mode, time, bytes)) in &one {
        assert_eq!(*time, 946_684_800, "{name}");
        let runs = name == "rescue-kit" || name.starts_with("scripts/");
        let wanted = if bytes.is_empty() {
            0o40755
        } else if runs {
            0o100_755
        } else {
            0o100_644
        };
        assert_eq!(*mode, wanted, "{name}: {mode:o}");
    }
    let words = bench.words("three", &[]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    run(&words, &[("SOURCE_DATE_EPOCH", "1700000000")])
        .exits(0)
        .prints("not signed");
    let three = faces(&bench.path("three"));
    assert!(three.values().all(|(_, time, _)| *time == 1_700_000_000));
    assert_eq!(three["SHA256SUMS"].2, one["SHA256SUMS"].2);
    run(&words, &[("SOURCE_DATE_EPOCH", "soon")])
        .exits(2)
        .says("`soon`, which is no number");
}

#[test]
fn names_are_those_that_fat_keeps() {
    let bench = Bench::new();
    let names = names(&bench.signed("kit"));
    let folded: BTreeSet<String> = names.iter().map(|name| name.to_lowercase()).collect();
    assert_eq!(folded.len(), names.len());
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._/".contains(c);
    let wrong: Vec<&String> = names
        .iter()
        .filter(|name| !name.chars().all(plain))
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn nothing_but_a_kit_is_replaced_and_only_when_asked() {
    let bench = Bench::new();
    fs::create_dir(bench.path("kit")).unwrap();
    fs::write(bench.path("kit/thesis.txt"), "mine").unwrap();
    for more in [&[][..], &["--again"]] {
        bench
            .build("kit", more)
            .exits(5)
            .says("holds other files and no kit");
    }
    assert_eq!(names(&bench.path("kit")).len(), 2);
    fs::remove_file(bench.path("kit/thesis.txt")).unwrap();
    let kit = bench.signed("kit");
    let before = faces(&kit);
    bench
        .build("kit", &[])
        .exits(5)
        .says("holds a kit")
        .says("--again");
    assert_eq!(faces(&kit), before);
    // A former kit had a page more, named something outside, and somebody keeps a file beside it.
    fs::write(kit.join("man/former.1"), "").unwrap();
    fs::write(kit.join("w1.csr"), "mine").unwrap();
    fs::write(bench.path("precious"), "mine").unwrap();
    fs::create_dir(kit.join("w2")).unwrap();
    let mut sums = fs::read_to_string(kit.join("SHA256SUMS")).unwrap();
    let digest = sums[..64].to_owned();
    for name in ["man/former.1", "../precious", "w2"] {
        sums.push_str(&format!("{digest}  {name}\n"));
    }
    fs::write(kit.join("SHA256SUMS"), sums).unwrap();
    bench
        .verify("kit", &[])
        .exits(3)
        .prints("../precious is a name that no kit has");
    bench.build("kit", &["--again"]).exits(0);
    assert!(!kit.join("man/former.1").exists() && !kit.join("signer.pub").exists());
    assert!(bench.path("precious").exists() && kit.join("w2").exists());
    assert_eq!(fs::read(kit.join("w1.csr")).unwrap(), b"mine");
    bench.verify("kit", &[]).exits(0).prints("besides: w1.csr");
}

#[test]
fn a_check_writes_nothing() {
    let bench = Bench::new();
    let listed = bench.build("kit", &["--check"]).exits(0).stdout;
    assert!(!bench.path("kit").exists());
    bench.build("kit", &[]).exits(0);
    let files = names(&bench.path("kit")).into_iter();
    let files: Vec<String> = files
        .filter(|name| bench.path("kit").join(name).is_file())
        .collect();
    assert_eq!(listed.lines().collect::<Vec<_>>(), files);
}
