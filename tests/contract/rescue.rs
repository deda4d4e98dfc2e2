//! What else than time can be wrong with a certificate, and is mended.

use crate::harness::Node;
use crate::means::{assert_judged, assert_same, openssl, x509};

const PKI: &str = "/etc/kubernetes/pki";

/// Asserts that a run mends the node in so many steps, that nothing is left to do, and that a rollback undoes it.
#[track_caller]
fn is_mended(node: &Node, said: &str) {
    let before = node.snapshot();
    node.run(&["inspect"]).exits(3);
    node.run(&["run", "--yes"]).exits(0).prints(said);
    node.run(&["verify"]).exits(0);
    assert_judged(node);
    node.run(&["run", "--yes"]).exits(0).prints("nothing to do");
    node.run(&["rollback", "--yes"]).exits(0);
    assert_same(&before, &node.snapshot());
}

#[test]
fn a_missing_certificate_is_made_again() {
    let node = Node::real("p256", "fresh");
    node.remove(&format!("{PKI}/apiserver.crt"));
    node.remove(&format!("{PKI}/etcd/peer.crt"));
    is_mended(&node, "issued 2 certificates, replaced 4 places");
}

#[test]
fn a_missing_key_and_certificate_are_made_again() {
    let node = Node::real("p256", "fresh");
    for name in [
        "apiserver",
        "apiserver-etcd-client",
        "front-proxy-client",
        "etcd/server",
    ] {
        node.remove(&format!("{PKI}/{name}.crt"));
        node.remove(&format!("{PKI}/{name}.key"));
    }
    is_mended(&node, "issued 4 certificates, replaced 8 places");
}

#[test]
fn what_is_made_from_nothing_has_every_name_that_the_old_one_had() {
    for case in ["rsa", "p256", "long-name"] {
        let node = Node::real(case, "fresh");
        let cert = node.path(&format!("{PKI}/etcd/server.crt"));
        let list = |text: String| -> Vec<String> {
            let names = text.lines().last().unwrap_or_default().trim().to_owned();
            let mut names: Vec<String> = names.split(", ").map(str::to_owned).collect();
            names.sort();
            names
        };
        let look = || list(x509(&cert, &["-ext", "subjectAltName"]));
        let old = look();
        node.remove(&format!("{PKI}/etcd/server.crt"));
        node.run(&["run", "--yes"]).exits(0);
        assert_eq!(look(), old, "{case}");
    }
}

#[test]
fn a_missing_kubeconfig_is_made_again() {
    let node = Node::real("p256", "fresh");
    for name in ["scheduler.conf", "controller-manager.conf", "admin.conf"] {
        node.remove(&format!("/etc/kubernetes/{name}"));
    }
    is_mended(&node, "issued 3 certificates, replaced 3 places");
}

#[test]
fn a_mismatched_pair_is_mended() {
    let node = Node::real("p256", "fresh");
    let words = [
        "ecparam",
        "-genkey",
        "-name",
        "prime256v1",
        "-noout",
        "-out",
        "apiserver.key",
    ];
    openssl(&words, &node.path(PKI));
    is_mended(&node, "issued 1 certificates, replaced 2 places");
}

#[test]
fn a_certificate_of_another_ca_is_mended() {
    let node = Node::real("p256", "fresh");
    let words = [
        "req",
        "-x509",
        "-new",
        "-key",
        "apiserver.key",
        "-out",
        "apiserver.crt",
        "-subj",
        "/CN=kube-apiserver",
        "-days",
        "99",
    ];
    openssl(&words, &node.path(PKI));
    is_mended(&node, "issued 1 certificates, replaced 2 places");
}

#[test]
fn a_certificate_without_the_nodes_names_is_mended() {
    let node = Node::real("p256", "fresh");
    let manifest = "/etc/kubernetes/manifests/kube-apiserver.yaml";
    let text = String::from_utf8(node.read(manifest)).unwrap();
    let moved = text.replace(
        "--advertise-address=192.168.61.11",
        "--advertise-address=192.168.61.99",
    );
    assert_ne!(moved, text);
    node.write(manifest, moved);
    node.run(&["inspect"])
        .exits(3)
        .prints("lacks the names 192.168.61.99");
    let plan = node.run(&["plan"]).exits(3);
    plan.prints("192.168.61.99")
        .prints("--advertise-address in kube-apiserver.yaml");
    is_mended(&node, "issued 1 certificates, replaced 2 places");
}

#[test]
fn a_kubeconfig_that_trusts_another_ca_is_mended() {
    let node = Node::real("p256", "fresh");
    let other = Node::real("masters", "fresh");
    let ca = |node: &Node| {
        let text = String::from_utf8(node.read("/etc/kubernetes/scheduler.conf")).unwrap();
        let line = text
            .lines()
            .find(|line| line.contains("certificate-authority-data"))
            .unwrap();
        line.to_owned()
    };
    let text = String::from_utf8(node.read("/etc/kubernetes/scheduler.conf")).unwrap();
    let old = node.read("/etc/kubernetes/scheduler.conf");
    node.write(
        "/etc/kubernetes/scheduler.conf",
        text.replace(&ca(&node), &ca(&other)),
    );
    node.run(&["inspect"]).exits(3).prints(
        "scheduler.conf (/etc/kubernetes/scheduler.conf) trusts another CA than this node's",
    );
    let before = node.snapshot();
    node.run(&["run", "--yes"])
        .exits(0)
        .prints("issued 0 certificates, replaced 1 places");
    assert_eq!(node.read("/etc/kubernetes/scheduler.conf"), old);
    node.run(&["rollback", "--yes"]).exits(0);
    assert_same(&before, &node.snapshot());
}

#[test]
fn everything_at_once_is_mended_in_one_run() {
    let node = Node::real("p256", "expired");
    node.remove(&format!("{PKI}/apiserver.crt"));
    node.write(&format!("{PKI}/etcd/server.crt"), "");
    node.remove("/etc/kubernetes/scheduler.conf");
    let words = [
        "ecparam",
        "-genkey",
        "-name",
        "prime256v1",
        "-noout",
        "-out",
        "front-proxy-client.key",
    ];
    openssl(&words, &node.path(PKI));
    is_mended(&node, "issued 12 certificates, replaced 20 places");
}
