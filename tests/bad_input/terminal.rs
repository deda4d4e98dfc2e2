//! Names out of files that try to steer the terminal: filtered wherever they are shown.

use std::fs;

use crate::harness::{Node, run};
use crate::means::{bounded, openssl};

/// Sets the title, clears the screen.
const EVIL: &str = "\u{1b}]0;pwned\u{7}\u{1b}[2J";

/// Asserts that a text holds no control character but line ends and tabs.
#[track_caller]
fn harmless(what: &str, text: &str) {
    let bad = |c: &char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    let found = text.chars().find(bad);
    assert_eq!(found, None, "{what}:\n{}", text.escape_debug());
}

/// A node with escapes in subjects, SANs, users, servers, flags, file names and the hostname.
fn hostile() -> Node {
    let node = Node::real("p256", "fresh");
    let pki = node.path("/etc/kubernetes/pki");
    let subject = format!("/O=org{EVIL}/CN=name{EVIL}");
    let san = format!("subjectAltName=URI:http://x{EVIL},email:a{EVIL}@b");
    let words = [
        "req", "-x509", "-new", "-utf8", "-days", "1", "-subj", &subject, "-addext", &san,
    ];
    let file = format!("x{EVIL}.crt");
    openssl(
        &[
            &words[..],
            &["-key", "apiserver.key", "-out", "apiserver.crt"],
        ]
        .concat(),
        &pki,
    );
    openssl(
        &[&words[..], &["-key", "apiserver.key", "-out", &file]].concat(),
        &pki,
    );
    let conf = String::from_utf8(node.read("/etc/kubernetes/scheduler.conf")).unwrap();
    let conf = conf
        .replace("user: system:kube-scheduler", "user: \"u\\e[2J\"")
        .replace("- name: system:kube-scheduler", "- name: \"u\\e[2J\"")
        .replace(
            "server: https://192.168.61.11:6443",
            "server: \"https://h\\e[2J:6443\"",
        );
    node.write("/etc/kubernetes/scheduler.conf", conf);
    node.write("/etc/hostname", format!("host{EVIL}\n"));
    let manifest = "/etc/kubernetes/manifests/kube-apiserver.yaml";
    let text = String::from_utf8(node.read(manifest)).unwrap();
    node.write(
        manifest,
        text.replace("- --secure-port=6443", "- \"--secure-port=6443\\e[2J\""),
    );
    node
}

#[test]
fn the_subject_is_really_hostile() {
    let node = hostile();
    let cert = node.path("/etc/kubernetes/pki/apiserver.crt");
    let out = node.root.with_file_name("der");
    openssl(
        &[
            "x509",
            "-in",
            cert.to_str().unwrap(),
            "-outform",
            "der",
            "-out",
            out.to_str().unwrap(),
        ],
        &node.root,
    );
    let der = fs::read(out).unwrap();
    let count = der
        .windows(EVIL.len())
        .filter(|window| *window == EVIL.as_bytes())
        .count();
    assert!(count >= 4, "{count}");
}

#[test]
fn no_output_of_any_command_steers_the_terminal() {
    let node = hostile();
    let (operator, reason) = (format!("--operator={EVIL}"), format!("--reason={EVIL}"));
    let commands: [&[&str]; 17] = [
        &["inspect"],
        &["inspect", "--output", "json"],
        &["inspect", "--output", "prometheus"],
        &["plan", "--diff"],
        &["plan", "--diff", "--output", "json"],
        &["run", "--yes", "--diff", &operator, &reason],
        &["verify"],
        &["runs", "list"],
        &["runs", "list", "--output", "json"],
        &["audit", "show"],
        &["audit", "report"],
        &["audit", "export"],
        &["audit", "export", "--format", "sql"],
        &["audit", "export", "--format", "json"],
        &["backup", "list"],
        &["profile", "detect"],
        &["rollback", "--yes", "--diff"],
    ];
    for words in commands {
        let ran = bounded(&node, words);
        assert!(
            matches!(ran.code, 0 | 3),
            "{words:?}: {}{}",
            ran.stdout,
            ran.stderr
        );
        harmless(&format!("{words:?}"), &ran.stdout);
        harmless(&format!("{words:?}"), &ran.stderr);
    }
}

#[test]
fn refusals_do_not_steer_the_terminal() {
    let node = hostile();
    fs::remove_file(node.path("/etc/kubernetes/pki/ca.key")).unwrap();
    let ran = node.run(&["run", "--yes"]).exits(5);
    harmless("refusal", &ran.stderr);
}

#[test]
fn complaints_about_hostile_files_do_not_steer_the_terminal() {
    let dir = tempfile::TempDir::new().unwrap();
    let file = dir.path().join("x.toml");
    let path = file.to_str().unwrap();
    for text in [
        "\"a\\u001b[2Jb\" = 1\n",
        "a = \u{1b}[2J\n",
        "name = \"\\u001b[2J\"\nschema = 1\n",
        "x\u{1b}[2J",
    ] {
        fs::write(&file, text).unwrap();
        for words in [
            &["profile", "validate", path][..],
            &["plan", "--answers", path],
            &["plan", "--profile", path],
            &["apply", path],
        ] {
            let ran = run(words, &[]);
            assert!(matches!(ran.code, 2 | 5), "{words:?} {}", ran.stderr);
            harmless(&format!("{words:?} of {text:?}"), &ran.stderr);
        }
    }
}

#[test]
fn complaints_about_hostile_arguments_do_not_steer_the_terminal() {
    let node = Node::real("p256", "expired");
    for words in [
        &["rollback", EVIL, "--yes"][..],
        &["apply", EVIL, "--yes"],
        &["audit", "verify", EVIL],
        &["backup", "verify", EVIL],
        &["run", "--only", EVIL],
        &["run", "--now", EVIL],
        &["run", EVIL],
    ] {
        let ran = node.run(words);
        harmless(&format!("{words:?}"), &ran.stderr);
    }
}
