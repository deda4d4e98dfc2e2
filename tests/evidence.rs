//! The audit tarball: stock tools verify it, damage shows, it can be rebuilt to the byte, and its signer is who it says.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::cases;
use crate::harness::{Node, Ran, other};

/// What VERIFY.txt asks for.
const STOCK: [&str; 5] = ["tar", "sha256sum", "openssl", "ssh-keygen", "cut"];

#[test]
fn every_command_of_verify_txt_succeeds_on_a_fresh_audit() {
    let audit = Unpacked::of(&cases::rescued("p256"));
    let commands = audit.commands();
    assert_eq!(commands.len(), 5, "{commands:?}");
    for command in &commands {
        audit.shell(command).exits(0);
    }
}

#[test]
fn verify_txt_leads_to_the_signer_that_the_run_named() {
    let node = Node::real("p256", "expired");
    let ran = node
        .run(&["run", "--yes", "--output", "json"])
        .exits(0)
        .json();
    let audit = Unpacked::of(&node);
    let signer = ran["audit"]["signer"].as_str().unwrap();
    let shown = audit.shell(&audit.commands()[3]).exits(0).stdout;
    assert!(shown.contains(signer), "{signer} is not in {shown}");
    let sum = other(
        "sha256sum",
        &[node.tarball().to_str().unwrap()],
        Path::new("/"),
    )
    .stdout;
    assert!(
        sum.starts_with(ran["audit"]["sha256"].as_str().unwrap()),
        "{sum}"
    );
    let public = fs::read_to_string(audit.dir.join("signer.pub")).unwrap();
    assert_eq!(ran["audit"]["public_key"], public.as_str());
}

#[test]
fn one_flipped_byte_in_any_file_makes_the_right_command_fail() {
    let audit = Unpacked::of(&cases::rescued("p256"));
    let commands = audit.commands();
    let files = audit.files();
    assert!(files.len() > 40, "{files:?}");
    for file in files {
        let path = audit.dir.join(&file);
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        // Inside the base64 of the texts, so that it is the content that is damaged, not a line that is ignored.
        let at = bad.len() / 2;
        bad[at] = if bad[at] == b'A' { b'B' } else { b'A' };
        fs::write(&path, &bad).unwrap();
        let failed: Vec<usize> = (0..3)
            .filter(|i| audit.shell(&commands[*i]).code != 0)
            .collect();
        let expected: &[usize] = match file.as_str() {
            "SHA256SUMS" => &[0, 1, 2],
            "SHA256SUMS.sig" | "signer.pub" => &[1],
            "SHA256SUMS.sshsig" | "allowed_signers" => &[2],
            _ => &[0],
        };
        assert_eq!(failed, expected, "{file}");
        fs::write(&path, &good).unwrap();
    }
}

#[test]
fn audit_verify_accepts_what_is_intact_and_rejects_any_damaged_file() {
    let node = cases::rescued("p256");
    let audit = Unpacked::of(&node);
    let tarball = node.tarball();
    node.run(&["audit", "verify", tarball.to_str().unwrap()])
        .exits(0)
        .prints("intact:");
    assert_eq!(
        audit.verdict_of_repacked(&node).code,
        0,
        "tar's own form is accepted, too"
    );
    let mut accepted = Vec::new();
    for file in audit.files() {
        let path = audit.dir.join(&file);
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        let at = bad.len() / 2;
        bad[at] = if bad[at] == b'A' { b'B' } else { b'A' };
        fs::write(&path, &bad).unwrap();
        if audit.verdict_of_repacked(&node).code != 3 {
            accepted.push(file);
        }
        fs::write(&path, &good).unwrap();
    }
    assert_eq!(accepted, Vec::<String>::new(), "damaged, but found intact");
}

#[test]
fn audit_verify_rejects_what_was_added_or_left_out() {
    let node = cases::rescued("p256");
    let audit = Unpacked::of(&node);
    let extra = audit.dir.join("extra.txt");
    fs::write(&extra, "more\n").unwrap();
    assert_eq!(
        audit.verdict_of_repacked(&node).code,
        3,
        "a file more in the directory"
    );
    fs::remove_file(extra).unwrap();
    let beside = audit.dir.with_file_name("beside.txt");
    fs::write(&beside, "more\n").unwrap();
    assert_eq!(
        audit.verdict_of_repacked(&node).code,
        3,
        "a file beside the directory"
    );
    fs::remove_file(beside).unwrap();
    fs::remove_file(audit.dir.join("report.html")).unwrap();
    assert_eq!(audit.verdict_of_repacked(&node).code, 3, "a file less");
}

#[test]
fn audit_verify_rejects_a_tarball_that_is_cut_or_flipped() {
    let node = cases::rescued("p256");
    let good = fs::read(node.tarball()).unwrap();
    for (at, claim) in [
        (good.len() / 2, "a byte in the middle"),
        (good.len() - 6, "its checksum"),
    ] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert_eq!(node.verdict(&bad).code, 3, "{claim}");
    }
    assert_eq!(node.verdict(&good[..good.len() / 2]).code, 3, "cut");
    assert_eq!(node.verdict(b"").code, 3, "empty");
    node.verdict(b"nonsense").exits(3).says("is not intact");
}

#[test]
fn an_audit_is_rebuilt_to_the_byte() {
    let node = cases::rescued("p256");
    let written = fs::read(node.tarball()).unwrap();
    fs::remove_file(node.tarball()).unwrap();
    node.run(&["audit", "pack"]).exits(0);
    assert!(
        fs::read(node.tarball()).unwrap() == written,
        "rebuilt, it is another"
    );
    // By another process of another copy of the node, at another place.
    let copy = Node::copy_of(&node.root);
    fs::remove_file(copy.tarball()).unwrap();
    copy.run(&["audit", "pack"]).exits(0);
    assert!(
        fs::read(copy.tarball()).unwrap() == written,
        "rebuilt elsewhere, it is another"
    );
}

#[test]
fn an_openssh_key_signs_and_is_the_signer() {
    signs_with(&[
        "ssh-keygen",
        "-q",
        "-t",
        "ed25519",
        "-N",
        "",
        "-C",
        "a comment",
        "-f",
        "key",
    ]);
}

#[test]
fn a_pkcs8_key_signs_and_is_the_signer() {
    signs_with(&["openssl", "genpkey", "-algorithm", "ed25519", "-out", "key"]);
}

/// A run signed by the key that a stock program makes; the public half comes from that program as well.
fn signs_with(make: &[&str]) {
    let keys = TempDir::new().unwrap();
    other(make[0], &make[1..], keys.path()).exits(0);
    let key = keys.path().join("key");
    let node = Node::real("p256", "expired");
    let words = [
        "run",
        "--yes",
        "--sign-key",
        key.to_str().unwrap(),
        "--output",
        "json",
    ];
    let ran = node.run(&words).exits(0).json();
    let audit = Unpacked::of(&node);
    for command in audit.commands() {
        audit.shell(&command).exits(0);
    }
    let signer = audit.dir.join("signer.pub");
    if make[0] == "openssl" {
        let public = other("openssl", &["pkey", "-in", "key", "-pubout"], keys.path()).exits(0);
        assert_eq!(fs::read_to_string(&signer).unwrap(), public.stdout);
    } else {
        let shown = other("ssh-keygen", &["-l", "-f", "key.pub"], keys.path())
            .exits(0)
            .stdout;
        assert!(
            shown.contains(ran["audit"]["signer"].as_str().unwrap()),
            "{shown}"
        );
    }
    let tarball = node.tarball();
    let verify = ["audit", "verify", tarball.to_str().unwrap(), "--signer"];
    let own = [&verify[..], &[signer.to_str().unwrap()]].concat();
    node.run(&own)
        .exits(0)
        .prints("that is the expected signer");
    let another = Unpacked::of(&cases::rescued("p256"));
    let foreign = another.dir.join("signer.pub");
    let foreign = [&verify[..], &[foreign.to_str().unwrap()]].concat();
    node.run(&foreign)
        .exits(3)
        .prints("that is NOT the expected signer");
}

/// A tarball in a directory, unpacked by stock tar.
pub(crate) struct Unpacked {
    _holder: TempDir,
    pub(crate) dir: PathBuf,
}

impl Unpacked {
    pub(crate) fn of(node: &Node) -> Self {
        let holder = TempDir::new().unwrap();
        let tarball = node.tarball();
        other("tar", &["xzf", tarball.to_str().unwrap()], holder.path()).exits(0);
        let mut tops = fs::read_dir(holder.path())
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let dir = tops.next().unwrap();
        assert!(tops.next().is_none(), "more than one directory");
        Self {
            _holder: holder,
            dir,
        }
    }

    /// The lines of VERIFY.txt that are indented are commands.
    fn commands(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.join("VERIFY.txt")).unwrap();
        text.lines()
            .filter_map(|line| line.strip_prefix("   "))
            .map(str::to_owned)
            .collect()
    }

    fn shell(&self, line: &str) -> Ran {
        cases::shell(line, &STOCK, &self.dir)
    }

    /// The names of all files, sorted.
    pub(crate) fn files(&self) -> Vec<String> {
        let found = other("find", &[".", "-type", "f", "-printf", "%P\n"], &self.dir).exits(0);
        let mut names: Vec<String> = found.stdout.lines().map(str::to_owned).collect();
        names.sort();
        names
    }

    /// What `audit verify` says of the directory, packed again by stock tar.
    fn verdict_of_repacked(&self, node: &Node) -> Ran {
        let above = self.dir.parent().unwrap();
        // Files alone: ours has no entries for directories, and none are accepted.
        let pack =
            "find * -type f | LC_ALL=C sort | tar -cz --owner=0 --group=0 --format=ustar -T -";
        let packed = above.with_extension("tar.gz");
        cases::shell(
            &format!("{pack} > '{}'", packed.display()),
            &["tar", "find"],
            above,
        )
        .exits(0);
        let verdict = node.run(&["audit", "verify", packed.to_str().unwrap()]);
        fs::remove_file(packed).unwrap();
        verdict
    }
}

impl Node {
    /// The audit of the newest run.
    pub(crate) fn tarball(&self) -> PathBuf {
        self.newest_run().join("audit.tar.gz")
    }

    /// What `audit verify` says of these bytes.
    fn verdict(&self, bytes: &[u8]) -> Ran {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("audit.tar.gz");
        fs::write(&file, bytes).unwrap();
        self.run(&["audit", "verify", file.to_str().unwrap()])
    }
}
