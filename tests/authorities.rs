//! Authorities: renewed with their own keys, so that what they signed stays valid; carried, begun, bundled.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::cases;
use crate::harness::{BINARY, Node, lab_program, other, run};

const ALL: &str = "ca,etcd-ca,front-proxy-ca";
const CA: &str = "/etc/kubernetes/pki/ca.crt";

/// An expired tree whose authorities have expired, too.
fn ended(case: &str) -> Node {
    let node = Node::real(case, "expired");
    let root = node.root.to_str().unwrap();
    let dates = [
        "-not-before",
        "2016-01-01T00:00:00Z",
        "-not-after",
        "2026-01-01T00:00:00Z",
    ];
    let words = [&["-root", root, "-cas", "-only", ALL], &dates[..]].concat();
    other(lab_program("expire"), &words, Path::new("/")).exits(0);
    node
}

#[test]
fn a_renewed_ca_differs_in_serial_number_and_validity_alone() {
    cases::each(|case| {
        // Its key is elsewhere, or it is no root.
        if matches!(case, "external-etcd" | "intermediate") {
            return;
        }
        let node = Node::real(case, "fresh");
        let old = TempDir::new().unwrap();
        let kept = old.path().join("ca.crt");
        fs::copy(cases::resolved(&node.root, CA), &kept).unwrap();
        node.run(&["ca", "renew", "ca", "--yes"]).exits(0);
        let new = cases::resolved(&node.root, CA);
        let (kept, new) = (kept.to_str().unwrap(), new.to_str().unwrap());
        let compared = cases::judge(&["compare", kept, new]).exits(0).json();
        let differ: Vec<&str> = compared["differ"]
            .as_array()
            .unwrap()
            .iter()
            .map(|part| part.as_str().unwrap())
            .collect();
        // A P-521 key signs with SHA-512 here; the lab's root was signed with another digest.
        let expected: &[&str] = match case {
            "ca-p521" => &["serial", "signature_algorithm", "validity"],
            _ => &["serial", "validity"],
        };
        assert_eq!(differ, expected, "{case}");
        // Nothing but the CA was due, and everything that it signed before is still good.
        cases::judge(&["tree", node.root.to_str().unwrap()]).exits(0);
        let leaf = "/etc/kubernetes/pki/apiserver-kubelet-client.crt";
        let leaf = cases::resolved(&node.root, leaf);
        let words = [
            "verify",
            "-CAfile",
            new,
            "-purpose",
            "sslclient",
            leaf.to_str().unwrap(),
        ];
        other("openssl", &words, Path::new("/")).exits(0);
        let words = [
            "--verify",
            "--load-ca-certificate",
            new,
            "--infile",
            leaf.to_str().unwrap(),
        ];
        if case != "no-ski" {
            other("certtool", &words, Path::new("/")).exits(0);
        }
    });
}

#[test]
fn expired_cas_are_renewed_on_demand_alone_and_put_back_to_the_byte() {
    let node = ended("rsa");
    let before = node.snapshot();
    let refused = node.run(&["run", "--yes"]).exits(5);
    refused
        .says("CA ca (/etc/kubernetes/pki/ca.crt) expired")
        .says("hint: renew it with its own key: --ca renew");
    assert_eq!(node.snapshot(), before);
    node.run(&["run", "--ca", "renew", "--yes"]).exits(0);
    let judged = cases::judge(&["tree", node.root.to_str().unwrap()]);
    let bad: Vec<&str> = judged
        .stdout
        .lines()
        .filter(|line| line.starts_with("bad"))
        .collect();
    assert_eq!(bad.len(), 1, "only the kubelet's self-signed pair: {bad:?}");
    node.run(&["run", "--yes"]).exits(0).prints("nothing to do");
    node.run(&["rollback", "--yes"]).exits(0);
    assert_eq!(node.snapshot(), before);
}

#[test]
fn on_a_terminal_the_renewal_is_proposed_and_no_is_the_default() {
    let node = ended("p256");
    let before = node.snapshot();
    let line = format!("{BINARY} --root {} run", node.root.display());
    let line = format!("echo | timeout 60 script -qec '{line}' /dev/null");
    let ran = other("bash", &["-c", &line], &node.root).exits(4);
    ran.prints("RK0101")
        .prints("Renew the expired CAs with their own keys?")
        .prints("nothing was changed");
    assert_eq!(node.snapshot(), before);
}

#[test]
fn a_renewed_ca_is_carried_to_a_node_that_has_not_its_key() {
    let (first, second) = (ended("rsa"), ended("rsa"));
    first.run(&["run", "--ca", "renew", "--yes"]).exits(0);
    let stick = TempDir::new().unwrap();
    let dir = stick.path().join("cas");
    let dir = dir.to_str().unwrap();
    first
        .run(&["ca", "export", "--out", dir])
        .exits(0)
        .prints("etcd-ca.crt");
    first
        .run(&["ca", "export", "--out", dir])
        .exits(5)
        .says("exists, and is not replaced");
    for key in ["ca.key", "etcd/ca.key", "front-proxy-ca.key"] {
        second.remove(&format!("/etc/kubernetes/pki/{key}"));
    }
    // Without their keys the CAs sign nothing, but they are replaced in every copy.
    let words = ["run", "--ca-from", dir, "--only", ALL, "--yes"];
    second.run(&words).exits(0);
    assert_eq!(first.read(CA), second.read(CA));
}

#[test]
fn a_ca_of_another_key_is_no_renewal() {
    let (node, other) = (ended("rsa"), Node::real("p256", "fresh"));
    let stick = TempDir::new().unwrap();
    let dir = stick.path().join("cas");
    other
        .run(&["ca", "export", "--out", dir.to_str().unwrap()])
        .exits(0);
    let before = node.snapshot();
    node.run(&["run", "--ca-from", dir.to_str().unwrap(), "--yes"]).exits(5).says(
        "CA ca (/etc/kubernetes/pki/ca.crt) has another key, name or key identifier than the certificate to take its place",
    );
    assert_eq!(node.snapshot(), before);
}

#[test]
fn an_intermediate_ca_is_not_renewed_by_itself() {
    let node = Node::real("intermediate", "fresh");
    let before = node.snapshot();
    node.run(&["ca", "renew", "ca", "--yes"])
        .exits(5)
        .says("is no root: its own key cannot renew it");
    assert_eq!(node.snapshot(), before);
}

#[test]
fn in_a_bundle_the_own_ca_alone_is_renewed() {
    let node = ended("p256");
    let standby = Node::real("rsa", "fresh").read(CA);
    let bundle = [node.read(CA), standby.clone()].concat();
    node.write(CA, bundle);
    node.run(&["run", "--ca", "renew", "--yes"]).exits(0);
    let text = String::from_utf8(node.read(CA)).unwrap();
    assert_eq!(text.matches("BEGIN CERTIFICATE").count(), 2);
    assert!(text.ends_with(&String::from_utf8(standby).unwrap()));
}

#[test]
fn a_new_ca_is_made_where_nothing_is() {
    let place = TempDir::new().unwrap();
    let template = place.path().join("ca.json");
    fs::write(&template, r#"{"CN":"Notfall-CA Süd","names":[{"C":"DE","O":"Bank"}],"key":{"algo":"ecdsa","size":384},"ca":{"expiry":"43800h","pathlen":1}}"#).unwrap();
    let out = place.path().join("new");
    let words = [
        "ca",
        "init",
        "--template",
        template.to_str().unwrap(),
        "--out",
        out.to_str().unwrap(),
    ];
    run(&words, &[])
        .exits(2)
        .says("there is no terminal to ask on");
    assert!(!out.exists());
    run(&[&words[..], &["--yes"]].concat(), &[])
        .exits(0)
        .prints("ca.key");
    run(&[&words[..], &["--yes"]].concat(), &[])
        .exits(5)
        .says("exists, and is not replaced");
    let shown = other(
        "openssl",
        &["x509", "-noout", "-text", "-in", "ca.crt"],
        &out,
    )
    .exits(0);
    shown.prints("secp384r1").prints("CA:TRUE, pathlen:1");
    let pair = "[ \"$(openssl x509 -in ca.crt -noout -pubkey)\" = \"$(openssl pkey -in ca.key -pubout)\" ] && stat -c %a ca.key";
    assert_eq!(cases::shell(pair, &[], &out).exits(0).stdout, "600\n");
}

#[test]
fn two_cas_make_one_bundle_and_a_leaf_makes_none() {
    let place = TempDir::new().unwrap();
    let (first, second) = (Node::real("rsa", "fresh"), Node::real("p256", "fresh"));
    let path = |node: &Node, file: &str| node.path(file).to_str().unwrap().to_owned();
    let (primary, standby) = (path(&first, CA), path(&second, CA));
    let out = place.path().join("bundle.crt");
    let words = [
        "ca",
        "bundle",
        &primary,
        &standby,
        &primary,
        "--out",
        out.to_str().unwrap(),
    ];
    run(&words, &[]).exits(0);
    assert_eq!(
        fs::read(&out).unwrap(),
        [first.read(CA), second.read(CA)].concat()
    );
    let manifest = run(
        &["ca", "bundle", &primary, &standby, "--config-map", "trust"],
        &[],
    )
    .exits(0)
    .stdout;
    assert!(manifest.starts_with(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: trust\n  namespace: kube-system\n"
    ));
    let leaf = path(&first, "/etc/kubernetes/pki/apiserver.crt");
    run(&["ca", "bundle", &primary, &leaf], &[])
        .exits(5)
        .says("which is no CA");
}
