//! The lab's cases: which there are, which certificates each has, and one claim tried on all of them.

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::harness::{Node, Ran, lab, lab_program, other};

/// Every case, so that none silently vanishes.
pub(crate) const ALL: [&str; 24] = [
    "ca-ed25519",
    "ca-p521",
    "ca-rsa4096",
    "embedded",
    "exotic-san",
    "external-etcd",
    "intermediate",
    "key-nopub",
    "key-pkcs8",
    "key-sec1-params",
    "long-name",
    "masters",
    "multi-rdn",
    "no-ski",
    "p256",
    "p384",
    "pathlen0",
    "pem-bom",
    "pem-crlf",
    "repeated-ou",
    "rsa",
    "subject-full",
    "symlink",
    "utf8",
];

/// Most of a run is waiting for the disk, so more cases than cores are at work.
const WORKERS: usize = 6;

/// The tree of a case, never to be written to.
pub(crate) fn tree(case: &str, state: &str) -> PathBuf {
    lab().join("trees").join(case).join(state)
}

/// The cases that lie on the disk, sorted.
pub(crate) fn on_disk() -> Vec<String> {
    let entries = fs::read_dir(lab().join("trees")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names: BTreeSet<String> = names.filter(|name| !name.starts_with('.')).collect();
    names.into_iter().collect()
}

/// Tries a claim on every case. A case that fails hides no other: all of them are named at the end.
#[track_caller]
pub(crate) fn each(claim: impl Fn(&str) + Sync) {
    let left = Mutex::new(ALL.to_vec());
    let failed = Mutex::new(BTreeSet::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let Some(case) = left.lock().unwrap().pop() else {
                        break;
                    };
                    if let Err(why) = catch_unwind(AssertUnwindSafe(|| claim(case))) {
                        failed
                            .lock()
                            .unwrap()
                            .insert(format!("{case}: {}", message(&*why)));
                    }
                }
            });
        }
    });
    let failed: Vec<String> = failed.into_inner().unwrap().into_iter().collect();
    assert!(
        failed.is_empty(),
        "{} cases failed:\n{}",
        failed.len(),
        failed.join("\n")
    );
}

fn message(why: &(dyn std::any::Any + Send)) -> String {
    let text = why.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| why.downcast_ref::<&str>().copied())
        .unwrap_or("panic")
        .to_owned()
}

/// A certificate that a rescue issues, as kubeadm lays it out.
#[derive(Clone, Copy)]
pub(crate) struct Leaf {
    pub(crate) id: &'static str,
    /// The file that holds it, and the one that holds its key.
    pub(crate) cert: &'static str,
    pub(crate) key: &'static str,
    pub(crate) ca: &'static str,
    /// `server`, `client` or both.
    pub(crate) purposes: &'static [&'static str],
}

const CLIENT: &[&str] = &["client"];
const SERVER: &[&str] = &["server"];
const BOTH: &[&str] = &["server", "client"];

macro_rules! pair {
    ($id:literal, $base:literal, $ca:literal, $purposes:expr) => {
        Leaf {
            id: $id,
            cert: concat!("/etc/kubernetes/pki/", $base, ".crt"),
            key: concat!("/etc/kubernetes/pki/", $base, ".key"),
            ca: concat!("/etc/kubernetes/pki/", $ca, ".crt"),
            purposes: $purposes,
        }
    };
}

macro_rules! client_in {
    ($id:literal, $path:literal) => {
        Leaf {
            id: $id,
            cert: $path,
            key: $path,
            ca: "/etc/kubernetes/pki/ca.crt",
            purposes: CLIENT,
        }
    };
}

const LEAVES: [Leaf; 13] = [
    pair!("apiserver", "apiserver", "ca", SERVER),
    pair!(
        "apiserver-kubelet-client",
        "apiserver-kubelet-client",
        "ca",
        CLIENT
    ),
    pair!(
        "front-proxy-client",
        "front-proxy-client",
        "front-proxy-ca",
        CLIENT
    ),
    pair!(
        "apiserver-etcd-client",
        "apiserver-etcd-client",
        "etcd/ca",
        CLIENT
    ),
    pair!("etcd-server", "etcd/server", "etcd/ca", BOTH),
    pair!("etcd-peer", "etcd/peer", "etcd/ca", BOTH),
    pair!(
        "etcd-healthcheck-client",
        "etcd/healthcheck-client",
        "etcd/ca",
        CLIENT
    ),
    client_in!("admin.conf", "/etc/kubernetes/admin.conf"),
    client_in!("super-admin.conf", "/etc/kubernetes/super-admin.conf"),
    client_in!(
        "controller-manager.conf",
        "/etc/kubernetes/controller-manager.conf"
    ),
    client_in!("scheduler.conf", "/etc/kubernetes/scheduler.conf"),
    client_in!("kubelet.conf", "/etc/kubernetes/kubelet.conf"),
    client_in!(
        "kubelet-client",
        "/var/lib/kubelet/pki/kubelet-client-current.pem"
    ),
];

/// What a rescue of a case must issue: kubelet.conf refers to kubelet-client, unless it embeds.
pub(crate) fn leaves(case: &str) -> Vec<Leaf> {
    let issued = |leaf: &&Leaf| match (case, leaf.id) {
        ("embedded", "kubelet-client") | ("masters", "super-admin.conf") => false,
        (_, "kubelet.conf") => case == "embedded",
        ("external-etcd", id) => !id.contains("etcd"),
        _ => true,
    };
    LEAVES.iter().filter(issued).copied().collect()
}

/// A path below a root on this host: links are read relative to the root.
pub(crate) fn resolved(root: &Path, path: &str) -> PathBuf {
    let mut at = root.to_owned();
    for part in Path::new(path.trim_start_matches('/')).components() {
        at.push(part);
        while let Ok(target) = fs::read_link(&at) {
            if let Ok(below) = target.strip_prefix("/") {
                at = root.join(below);
            } else {
                at.pop();
                at.push(target);
            }
        }
    }
    at
}

/// The PEM text that a file of the tree holds; of a kubeconfig, what it embeds under `field`.
pub(crate) fn pem(root: &Path, path: &str, field: &str) -> Vec<u8> {
    let bytes = fs::read(resolved(root, path)).unwrap();
    if Path::new(path)
        .extension()
        .is_none_or(|extension| extension != "conf")
    {
        return bytes;
    }
    let text = String::from_utf8(bytes).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.trim().strip_prefix(field));
    let value = line
        .unwrap_or_else(|| panic!("{path} has no {field}"))
        .trim_start_matches(':');
    STANDARD
        .decode(value.trim().trim_matches(['"', '\'']))
        .unwrap()
}

/// The text of a leaf's certificate.
pub(crate) fn cert_pem(root: &Path, leaf: &Leaf) -> Vec<u8> {
    pem(root, leaf.cert, "client-certificate-data")
}

/// The text of a leaf's key.
pub(crate) fn key_pem(root: &Path, leaf: &Leaf) -> Vec<u8> {
    pem(root, leaf.key, "client-key-data")
}

/// A case's expired tree after `run --yes`.
pub(crate) fn rescued(case: &str) -> Node {
    let node = Node::real(case, "expired");
    node.run(&["run", "--yes"]).exits(0);
    node
}

/// The root of a case's expired tree after `run --yes`, for tests that only read it: made once for all of them, in cargo's
/// directory for tests.
pub(crate) fn rescued_once(case: &str) -> &'static Node {
    static NODES: [OnceLock<Node>; ALL.len()] = [const { OnceLock::new() }; ALL.len()];
    let index = ALL.iter().position(|known| *known == case).unwrap();
    NODES[index].get_or_init(|| {
        let node = Node::kept(case, &tree(case, "expired"));
        node.run(&["run", "--yes"]).exits(0);
        node
    })
}

/// Runs the lab's judge.
pub(crate) fn judge(words: &[&str]) -> Ran {
    other(lab_program("judge"), words, Path::new("/"))
}

/// Runs a line of shell; what it needs must exist, which is checked by starting it.
pub(crate) fn shell(line: &str, programs: &[&str], directory: &Path) -> Ran {
    for program in programs {
        other(program, &["--version"], directory);
    }
    other("bash", &["-c", line], directory)
}

/// Replaces each digit by `#` where it is part of what changes from run to run, at the same width.
pub(crate) fn redacted(text: &str, patterns: &[&str]) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for pattern in patterns {
        let shape: Vec<char> = pattern.chars().collect();
        for at in 0..chars.len().saturating_sub(shape.len() - 1) {
            let here = &chars[at..at + shape.len()];
            if here.iter().zip(&shape).all(|(c, s)| fits(*c, *s)) {
                for (c, s) in chars[at..at + shape.len()].iter_mut().zip(&shape) {
                    if matches!(s, '9' | 'h' | '@') {
                        *c = '#';
                    }
                }
            }
        }
    }
    chars.into_iter().collect()
}

/// In a pattern `9` is a digit, `h` a hexadecimal digit, `@` one of base64, anything else is itself.
fn fits(c: char, shape: char) -> bool {
    match shape {
        '9' => c.is_ascii_digit(),
        'h' => c.is_ascii_hexdigit(),
        '@' => c.is_ascii_alphanumeric() || matches!(c, '+' | '/'),
        _ => c == shape,
    }
}

/// Asserts that text is that of a golden file. `RESCUE_KIT_GOLDEN=write` writes it, for a person to read.
#[track_caller]
pub(crate) fn assert_golden(name: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("RESCUE_KIT_GOLDEN").is_some_and(|value| value == "write") {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
    }
    let golden = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(text == golden, "not as {}:\n{text}", file.display());
}
