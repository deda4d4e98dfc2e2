//! The policy's flags do what they say, as openssl sees it.

use std::fs;

use crate::harness::Node;
use crate::means::{ONE, assert_judged, x509};

const SERVING: [&str; 3] = ["apiserver", "etcd/server", "etcd/peer"];
const CLIENTS: [&str; 3] = [
    "apiserver-kubelet-client",
    "front-proxy-client",
    "etcd/healthcheck-client",
];

fn pki(node: &Node, name: &str) -> std::path::PathBuf {
    node.path(&format!("/etc/kubernetes/pki/{name}.crt"))
}

fn names(node: &Node, name: &str) -> String {
    x509(&pki(node, name), &["-ext", "subjectAltName"])
}

fn public(node: &Node, name: &str) -> String {
    x509(&pki(node, name), &["-pubkey"])
}

#[test]
fn san_is_added_to_everything_that_serves() {
    let node = Node::real("p256", "fresh");
    let old = SERVING.map(|name| names(&node, name));
    let words = [
        "run",
        "--yes",
        "--san",
        "10.9.8.7,api.example.org,2001:db8::7",
    ];
    node.run(&words)
        .exits(0)
        .prints("issued 3 certificates, replaced 6 places");
    for (name, old) in SERVING.into_iter().zip(old) {
        let new = names(&node, name);
        assert!(
            new.trim_end().starts_with(old.trim_end()),
            "{name}: {old} | {new}"
        );
        for added in [
            "IP Address:10.9.8.7",
            "DNS:api.example.org",
            "IP Address:2001:DB8:0:0:0:0:0:7",
        ] {
            assert!(new.contains(added), "{name}: {new}");
        }
    }
    assert_judged(&node);
    node.run(&words).exits(0).prints("nothing to do");
}

#[test]
fn san_for_one_id_is_added_to_that_one() {
    let node = Node::real("p256", "fresh");
    node.run(&["run", "--yes", "--san", "etcd-peer=10.9.8.7"])
        .exits(0)
        .prints("issued 1 certificates, replaced 2 places");
    assert!(names(&node, "etcd/peer").contains("10.9.8.7"));
    assert!(!names(&node, "etcd/server").contains("10.9.8.7"));
}

#[test]
fn only_and_skip_choose_what_is_touched() {
    let table: [(&[&str], &[&str]); 3] = [
        (
            &["--only", "apiserver,etcd-peer"],
            &["apiserver", "etcd/peer"],
        ),
        (
            &[
                "--only",
                "apiserver",
                "--only",
                "etcd-peer",
                "--skip",
                "etcd-peer",
            ],
            &["apiserver"],
        ),
        (&["--skip", "apiserver,etcd-server,etcd-peer"], &CLIENTS),
    ];
    for (words, renewed) in table {
        let node = Node::real("p256", "expired");
        let all = SERVING.iter().chain(&CLIENTS);
        let old: Vec<String> = all.clone().map(|name| public(&node, name)).collect();
        node.run(&[&["run", "--yes"], words].concat()).exits(0);
        for (name, old) in all.zip(old) {
            assert_eq!(
                public(&node, name) != old,
                renewed.contains(name),
                "{words:?} {name}"
            );
        }
    }
}

#[test]
fn validity_is_what_was_asked_for_and_ends_with_the_ca() {
    let node = Node::real("p256", "expired");
    node.run(&["run", "--yes", "--only", "apiserver", "--validity", "10d"])
        .exits(0);
    let cert = pki(&node, "apiserver");
    let openssl = |seconds: &str| {
        let file = cert.to_str().unwrap();
        crate::harness::other(
            "openssl",
            &["x509", "-noout", "-checkend", seconds, "-in", file],
            &node.root,
        )
        .code
    };
    assert_eq!((openssl("863000"), openssl("865000")), (0, 1));
    let words = ["--only", "etcd-peer", "--validity", "99y"];
    node.run(&[&["plan"], &words[..]].concat())
        .exits(3)
        .prints("cut to the end of its CA");
    node.run(&[&["run", "--yes"], &words[..]].concat()).exits(0);
    let end = |name: &str| x509(&pki(&node, name), &["-enddate"]);
    assert_eq!(end("etcd/peer"), end("etcd/ca"));
}

#[test]
fn renew_before_is_what_counts_as_due() {
    let node = Node::real("p256", "fresh");
    node.run(&["plan", "--renew-before", "300d"]).exits(0);
    node.run(&["plan", "--renew-before", "366d"])
        .exits(3)
        .prints("issue 12 certificate(s)");
    node.run(&["inspect", "--renew-before", "366d"])
        .exits(3)
        .prints("expiring");
}

#[test]
fn reused_keys_stay_where_they_are() {
    let node = Node::real("p256", "expired");
    let all = SERVING.iter().chain(&CLIENTS);
    let old: Vec<String> = all.clone().map(|name| public(&node, name)).collect();
    let keys = |node: &Node| -> Vec<(String, String)> {
        node.snapshot()
            .into_iter()
            .filter(|(name, _)| name.strip_suffix(".key").is_some())
            .collect()
    };
    let before = keys(&node);
    node.run(&["run", "--yes", "--key", "reuse"])
        .exits(0)
        .prints("issued 12 certificates");
    for (name, old) in all.zip(old) {
        assert_eq!(public(&node, name), old, "{name}");
    }
    assert_eq!(keys(&node), before);
    assert_judged(&node);
}

#[test]
fn new_keys_are_of_the_algorithm_that_was_asked_for() {
    let table = [
        ("rsa-2048", "Public-Key: (2048 bit)", "RSA PRIVATE KEY"),
        ("rsa-3072", "Public-Key: (3072 bit)", "RSA PRIVATE KEY"),
        ("ecdsa-p256", "ASN1 OID: prime256v1", "EC PRIVATE KEY"),
        ("ecdsa-p384", "ASN1 OID: secp384r1", "EC PRIVATE KEY"),
        ("ed25519", "ED25519 Public-Key", "BEGIN PRIVATE KEY"),
    ];
    for (name, said, form) in table {
        let node = Node::real("p256", "expired");
        let words = [
            "run",
            "--yes",
            "--only",
            "apiserver",
            "--key-algorithm",
            name,
        ];
        node.run(&words).exits(0);
        let text = x509(&pki(&node, "apiserver"), &["-text"]);
        assert!(text.contains(said), "{name}: {text}");
        let key = String::from_utf8(node.read("/etc/kubernetes/pki/apiserver.key")).unwrap();
        assert!(key.contains(form), "{name}");
    }
}

#[test]
fn a_template_gives_names_usages_expiry_and_key() {
    let node = Node::real("p256", "fresh");
    let path = node.root.with_file_name("template.json");
    let text = r#"{ "CN": "kube-apiserver", "names": [{ "O": "Example" }], "hosts": ["10.9.8.7", "api.example.org"],
        "key": { "algo": "rsa", "size": 2048 }, "usages": ["digital signature", "server auth"], "expiry": "240h" }"#;
    fs::write(&path, text).unwrap();
    let template = format!("apiserver={}", path.display());
    node.run(&["run", "--yes", "--template", &template])
        .exits(0)
        .prints("issued 1 certificates");
    let text = x509(&pki(&node, "apiserver"), &["-text"]);
    for said in [
        "O = Example, CN = kube-apiserver",
        "Public-Key: (2048 bit)",
        "TLS Web Server Authentication",
        "IP Address:10.9.8.7",
        "DNS:api.example.org",
        "DNS:kubernetes.default.svc",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert!(!text.contains("Key Encipherment"), "{text}");
    assert_judged(&node);
}

#[test]
fn a_template_that_means_nothing_is_a_usage_error() {
    let node = Node::real("p256", "expired");
    let path = node.root.with_file_name("template.json");
    for text in [
        "{",
        "[]",
        "{\"usages\": [\"flying\"]}",
        "{\"expiry\": \"soon\"}",
        "{\"hsts\": []}",
        "{\"key\": {\"algo\": \"rsa\", \"size\": 512}}",
    ] {
        fs::write(&path, text).unwrap();
        let template = format!("apiserver={}", path.display());
        crate::means::refused(
            &node,
            &["run", "--yes", "--template", &template],
            2,
            path.to_str().unwrap(),
        );
    }
}

#[test]
fn the_rest_of_a_certificate_stays_as_it_was() {
    let node = Node::real("subject-full", "expired");
    let conf = "/etc/kubernetes/scheduler.conf";
    let old = String::from_utf8(node.read(conf)).unwrap();
    node.run(&[&["run", "--yes"], &ONE[..]].concat()).exits(0);
    let new = String::from_utf8(node.read(conf)).unwrap();
    let differ = old.lines().zip(new.lines()).filter(|(a, b)| a != b);
    let keys: Vec<&str> = differ
        .map(|(line, _)| line.trim().split(':').next().unwrap())
        .collect();
    assert_eq!(keys, ["client-certificate-data", "client-key-data"]);
}
