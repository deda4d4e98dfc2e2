//! The kubelet's credential, in every form that kubelets leave it in.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::harness::Node;
use crate::means::{assert_judged, assert_same};

const DIR: &str = "/var/lib/kubelet/pki";
const LINK: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem";

fn target(node: &Node) -> String {
    fs::read_link(node.path(LINK))
        .unwrap()
        .display()
        .to_string()
}

/// Where the link leads inside the root.
fn real(node: &Node) -> std::path::PathBuf {
    node.path(DIR)
        .join(target(node).rsplit('/').next().unwrap())
}

#[track_caller]
fn is_mended(node: &Node) {
    let before = node.snapshot();
    node.run(&["run", "--yes"]).exits(0);
    assert_judged(node);
    assert!(
        target(node).starts_with("/var/lib/kubelet/pki/kubelet-client-2"),
        "{}",
        target(node)
    );
    let mode = fs::metadata(real(node)).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    node.run(&["rollback", "--yes"]).exits(0);
    assert_same(&before, &node.snapshot());
}

#[test]
fn an_expired_credential_gets_a_new_file_and_the_old_one_stays() {
    let node = Node::real("p256", "expired");
    let old = real(&node);
    let bytes = fs::read(&old).unwrap();
    is_mended(&node);
    node.run(&["run", "--yes"]).exits(0);
    assert_ne!(real(&node), old);
    assert_eq!(fs::read(&old).unwrap(), bytes);
}

#[test]
fn a_dangling_link_is_mended() {
    let node = Node::real("p256", "expired");
    fs::remove_file(real(&node)).unwrap();
    is_mended(&node);
}

#[test]
fn a_regular_file_becomes_a_link() {
    let node = Node::real("p256", "fresh");
    let bytes = fs::read(real(&node)).unwrap();
    node.remove(LINK);
    node.write(LINK, bytes);
    fs::set_permissions(node.path(LINK), fs::Permissions::from_mode(0o600)).unwrap();
    node.run(&["inspect"])
        .exits(3)
        .prints("is a regular file where the kubelet needs a link");
    is_mended(&node);
}

#[test]
fn a_missing_link_is_made_again() {
    let node = Node::real("p256", "fresh");
    node.remove(LINK);
    is_mended(&node);
}

#[test]
fn a_relative_link_stays_relative() {
    let node = Node::real("p256", "expired");
    let name = real(&node).file_name().unwrap().to_owned();
    node.remove(LINK);
    symlink(&name, node.path(LINK)).unwrap();
    let before = node.snapshot();
    node.run(&["run", "--yes"]).exits(0);
    assert!(
        target(&node).starts_with("kubelet-client-2"),
        "{}",
        target(&node)
    );
    assert_judged(&node);
    node.run(&["rollback", "--yes"]).exits(0);
    assert_same(&before, &node.snapshot());
}

#[test]
fn a_credential_embedded_in_kubelet_conf_is_renewed_there() {
    let node = Node::real("embedded", "expired");
    let before = node.snapshot();
    let old = node.read("/etc/kubernetes/kubelet.conf");
    node.run(&["run", "--yes"]).exits(0);
    assert_ne!(node.read("/etc/kubernetes/kubelet.conf"), old);
    assert_judged(&node);
    node.run(&["rollback", "--yes"]).exits(0);
    assert_same(&before, &node.snapshot());
}

#[test]
fn a_kubelet_conf_that_references_other_files_gets_those_renewed() {
    let node = Node::real("p256", "expired");
    let pem = fs::read(real(&node)).unwrap();
    node.write("/etc/kubernetes/mine.pem", pem);
    let conf = "/etc/kubernetes/kubelet.conf";
    let text = String::from_utf8(node.read(conf)).unwrap();
    let changed = text.replace(LINK, "/etc/kubernetes/mine.pem");
    assert_ne!(changed, text);
    node.write(conf, &changed);
    let before = node.snapshot();
    node.run(&["run", "--yes"]).exits(0);
    assert_eq!(String::from_utf8(node.read(conf)).unwrap(), changed);
    assert_judged(&node);
    node.run(&["verify"]).exits(0);
    node.run(&["rollback", "--yes"]).exits(0);
    assert_same(&before, &node.snapshot());
}
