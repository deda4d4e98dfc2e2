//! No private key, token or password leaves the node in an audit, nor lies in what a run keeps to be read.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::{PemObject as _, SectionKind};

use crate::evidence::Unpacked;
use crate::harness::Node;

/// A token of the form that kubeadm makes, and a password, in a kubeconfig's second user.
const TOKEN: &str = "abcdef.0123456789abcdef";
const PASSWORD: &str = "correct-horse-battery-staple";

/// Words that stand before secrets.
const WORDS: [&str; 6] = [
    "PRIVATE KEY",
    "client-key-data:",
    "token:",
    "password:",
    TOKEN,
    PASSWORD,
];

#[test]
fn no_byte_of_a_private_key_is_in_an_audit_or_in_what_a_run_writes_for_readers() {
    for case in ["rsa", "p256", "ca-ed25519", "key-sec1-params", "embedded"] {
        let node = with_token(case);
        let mut secrets = secrets_of(&node.root);
        assert!(secrets.len() > 30, "{case}: only {} secrets", secrets.len());
        node.run(&["run", "--yes"]).exits(0);
        let old = secrets.len();
        secrets.extend(secrets_of(&node.root));
        assert!(
            secrets.len() > old + 20,
            "{case}: the new keys are not among the secrets"
        );
        nothing_leaks(case, &node, &secrets);
        node.run(&["rollback", "--yes"]).exits(0);
        nothing_leaks(case, &node, &secrets);
    }
}

#[test]
fn the_search_finds_a_key_where_there_is_one() {
    let node = with_token("p256");
    let secrets = secrets_of(&node.root);
    for path in [
        "/etc/kubernetes/pki/apiserver.key",
        "/etc/kubernetes/admin.conf",
    ] {
        assert_ne!(
            found(&node.read(path), &secrets),
            Vec::<String>::new(),
            "{path}"
        );
    }
    assert_eq!(
        found(&node.read("/etc/kubernetes/pki/apiserver.crt"), &secrets),
        Vec::<String>::new()
    );
}

#[test]
fn no_byte_of_a_users_new_key_is_in_what_tells_of_it() {
    for case in ["rsa", "p256"] {
        let node = Node::real(case, "expired");
        let out = node.path("/made/jane.conf");
        fs::create_dir(out.parent().unwrap()).unwrap();
        let words = ["kubeconfig", "user", "--client-name", "jane", "--out"];
        node.run(&[&words[..], &[out.to_str().unwrap()]].concat())
            .exits(0);
        let mut secrets = BTreeMap::new();
        collect(out.parent().unwrap(), &mut secrets);
        assert!(secrets.len() > 4, "{case}: only {} secrets", secrets.len());
        let audit = Unpacked::of(&node);
        for file in audit.files() {
            let bytes = fs::read(audit.dir.join(&file)).unwrap();
            assert_eq!(
                found(&bytes, &secrets),
                Vec::<String>::new(),
                "{case}: {file}"
            );
        }
        for file in fs::read_dir(node.newest_run()).unwrap() {
            let path = file.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            assert_eq!(
                found(&bytes, &secrets),
                Vec::<String>::new(),
                "{case}: {path:?}"
            );
        }
    }
}

fn nothing_leaks(case: &str, node: &Node, secrets: &BTreeMap<Vec<u8>, String>) {
    let audit = Unpacked::of(node);
    let mut read = 0;
    for file in audit.files() {
        let bytes = fs::read(audit.dir.join(&file)).unwrap();
        assert_eq!(
            found(&bytes, secrets),
            Vec::<String>::new(),
            "{case}: audit: {file}"
        );
        read += 1;
    }
    assert!(read > 30, "{case}: only {read} files in the audit");
    for file in [
        "journal.jsonl",
        "plan.json",
        "before.json",
        "after.json",
        "verification.json",
    ] {
        let bytes = fs::read(node.newest_run().join(file)).unwrap();
        assert_eq!(
            found(&bytes, secrets),
            Vec::<String>::new(),
            "{case}: {file}"
        );
    }
}

/// Which secrets are in these bytes, and which words that stand before secrets.
fn found(bytes: &[u8], secrets: &BTreeMap<Vec<u8>, String>) -> Vec<String> {
    let mut found: Vec<String> = secrets
        .iter()
        .filter(|(secret, _)| contains(bytes, secret))
        .map(|(_, name)| name.clone())
        .collect();
    found.extend(
        WORDS
            .iter()
            .filter(|w| contains(bytes, w.as_bytes()))
            .map(|w| (*w).to_owned()),
    );
    found
}

/// Whether the secret is in these bytes, in full.
fn contains(bytes: &[u8], secret: &[u8]) -> bool {
    let first = secret[0];
    let mut starts = bytes.iter().enumerate().filter(|(_, byte)| **byte == first);
    starts.any(|(at, _)| bytes[at..].starts_with(secret))
}

/// The case with a second user in admin.conf who has a token and a password.
fn with_token(case: &str) -> Node {
    let node = Node::real(case, "expired");
    let path = "/etc/kubernetes/admin.conf";
    let text = String::from_utf8(node.read(path)).unwrap();
    let user =
        format!("users:\n- name: robot\n  user:\n    token: {TOKEN}\n    password: {PASSWORD}\n");
    node.write(path, text.replace("users:\n", &user));
    node
}

/// Every private key below the root in each form in which it could lie somewhere.
fn secrets_of(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut secrets = BTreeMap::new();
    for dir in ["etc/kubernetes", "var/lib/kubelet"] {
        collect(&root.join(dir), &mut secrets);
    }
    secrets
}

fn collect(dir: &Path, secrets: &mut BTreeMap<Vec<u8>, String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            collect(&path, secrets);
            continue;
        }
        let name = path.display().to_string();
        let text = fs::read(&path).unwrap();
        key_forms(&text, &name, secrets);
        for line in String::from_utf8_lossy(&text).lines() {
            let Some((_, value)) = line.split_once("client-key-data: ") else {
                continue;
            };
            add(
                value.trim().as_bytes(),
                &format!("{name}, embedded"),
                secrets,
            );
            key_forms(&STANDARD.decode(value.trim()).unwrap(), &name, secrets);
        }
    }
}

/// The DER, the body of the PEM text, the base64 without line ends, and the raw scalar or seed.
fn key_forms(text: &[u8], name: &str, secrets: &mut BTreeMap<Vec<u8>, String>) {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text).map(Result::unwrap) {
        let (kind, der) = section;
        if !matches!(
            kind,
            SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey
        ) {
            continue;
        }
        add(&der, &format!("{name}, DER"), secrets);
        add(
            STANDARD.encode(&der).as_bytes(),
            &format!("{name}, base64"),
            secrets,
        );
        for line in secret_lines(&STANDARD.encode(&der)) {
            add(line.as_bytes(), &format!("{name}, a line of PEM"), secrets);
        }
        for raw in raw_secrets(&der) {
            let hex = raw
                .iter()
                .fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
            add(hex.as_bytes(), &format!("{name}, hexadecimal"), secrets);
            add(&raw, &format!("{name}, raw"), secrets);
        }
    }
}

/// The lines of a PEM body that hold what is private. An RSA key begins with its modulus, which is public, and an EC key
/// ends with its point.
fn secret_lines(base64: &str) -> Vec<&str> {
    let lines: Vec<&str> = base64
        .as_bytes()
        .chunks(64)
        .map(|l| std::str::from_utf8(l).unwrap())
        .collect();
    let (first, last) = if lines.len() > 12 {
        (lines.len() / 2, lines.len() - 1)
    } else {
        (0, 1)
    };
    lines[first..last].to_vec()
}

/// The scalar of an EC key, the seed of an Ed25519 key: the OCTET STRINGs of 32 or 48 bytes.
fn raw_secrets(der: &[u8]) -> Vec<Vec<u8>> {
    let octets = |at: usize| match der.get(at..at + 2) {
        Some(&[0x04, length @ (32 | 48)]) => der.get(at + 2..at + 2 + usize::from(length)),
        _ => None,
    };
    (0..der.len())
        .filter_map(octets)
        .map(<[u8]>::to_vec)
        .collect()
}

fn add(secret: &[u8], name: &str, secrets: &mut BTreeMap<Vec<u8>, String>) {
    assert!(secret.len() >= 16, "{name}: too short to search for");
    secrets.insert(secret.to_vec(), name.to_owned());
}
