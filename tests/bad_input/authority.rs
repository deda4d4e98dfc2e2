//! Authorities that cannot sign.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::harness::{Node, Ran, lab, lab_program, other};
use crate::means::{assert_judged, openssl, refused};

const KEY: &str = "/etc/kubernetes/pki/ca.key";
const LEAVES: &str = "kubelet-client,apiserver,apiserver-kubelet-client,controller-manager.conf,\
                      scheduler.conf,admin.conf,super-admin.conf";

fn cannot_sign(what: &str) -> String {
    format!(
        "CA ca ({what}, so it cannot sign {}",
        LEAVES.replace(',', ", ")
    )
}

fn expire(node: &Node, words: &[&str]) {
    let root = node.root.to_str().unwrap();
    other(
        lab_program("expire"),
        &[&["-root", root], words].concat(),
        &lab(),
    )
    .exits(0);
}

/// The flags of a refusal's hint, as they are copied from it.
fn hinted(ran: &Ran) -> Vec<String> {
    let words: Vec<&str> = ran.stderr.split_whitespace().collect();
    let flags = words.windows(2).filter(|pair| pair[0] == "--skip");
    flags.flatten().map(|word| (*word).to_owned()).collect()
}

/// The ids that such flags leave out.
fn skipped(flags: &[String]) -> String {
    let lists: Vec<&str> = flags
        .iter()
        .skip(1)
        .step_by(2)
        .map(String::as_str)
        .collect();
    lists.join(",")
}

#[test]
fn a_missing_ca_key_is_refused_and_the_hint_rescues_the_rest() {
    let node = Node::real("p256", "expired");
    node.remove(KEY);
    let text = cannot_sign("/etc/kubernetes/pki/ca.key) has no private key beside it");
    let ran = refused(&node, &["run", "--yes"], 5, &text);
    let skip = hinted(&ran);
    assert_eq!(skipped(&skip), LEAVES);
    node.run(&["inspect"])
        .exits(3)
        .prints("CA ca has no private key: /etc/kubernetes/pki/ca.key is missing");
    let skip = skip.iter().map(String::as_str);
    let words: Vec<&str> = ["run", "--yes"].into_iter().chain(skip).collect();
    node.run(&words)
        .exits(0)
        .prints("issued 5 certificates, replaced 10 places");
    node.run(&["verify"])
        .exits(3)
        .prints("failed validity of apiserver: expired");
}

#[test]
fn a_missing_ca_key_with_nothing_due_is_only_a_warning() {
    let node = Node::real("p256", "fresh");
    node.remove(KEY);
    node.run(&["inspect"])
        .exits(3)
        .prints("nothing is broken")
        .prints("warning RK0104 CA ca");
    node.run(&["run", "--yes"]).exits(0).prints("nothing to do");
}

#[test]
fn the_key_of_another_ca_is_refused() {
    let node = Node::real("p256", "expired");
    let words = [
        "ecparam",
        "-genkey",
        "-name",
        "prime256v1",
        "-noout",
        "-out",
        "ca.key",
    ];
    openssl(&words, &node.path("/etc/kubernetes/pki"));
    let text = cannot_sign("/etc/kubernetes/pki/ca.key) does not match its private key");
    let ran = refused(&node, &["run", "--yes"], 5, &text).says("put the key of this very CA there");
    assert_eq!(skipped(&hinted(&ran)), LEAVES);
}

#[test]
fn an_encrypted_ca_key_is_refused_in_both_of_its_forms() {
    let text = cannot_sign(
        "/etc/kubernetes/pki/ca.key) has a private key that holds an encrypted private key",
    );
    for form in [
        &["ec", "-aes256", "-passout", "pass:x"][..],
        &["pkcs8", "-topk8", "-passout", "pass:x"],
    ] {
        let node = Node::real("p256", "expired");
        let pki = node.path("/etc/kubernetes/pki");
        openssl(&[form, &["-in", "ca.key", "-out", "locked"]].concat(), &pki);
        fs::rename(pki.join("locked"), pki.join("ca.key")).unwrap();
        refused(&node, &["run", "--yes"], 5, &text).says("put the key there, unencrypted");
    }
}

#[test]
fn a_world_readable_ca_key_is_warned_of_and_still_signs() {
    let node = Node::real("p256", "expired");
    fs::set_permissions(node.path(KEY), fs::Permissions::from_mode(0o644)).unwrap();
    node.run(&["inspect"])
        .exits(3)
        .prints("warning RK0301 /etc/kubernetes/pki/ca.key holds a private key and others may use it (mode 0644)")
        .prints("hint: chmod 0600 /etc/kubernetes/pki/ca.key");
    node.run(&["run", "--yes"])
        .exits(0)
        .prints("issued 12 certificates, replaced 20 places");
    assert_judged(&node);
}

#[test]
fn an_expired_ca_is_refused_with_what_to_do() {
    let node = Node::real("p256", "expired");
    expire(&node, &["-cas", "-only", "ca"]);
    let ran = refused(
        &node,
        &["run", "--yes"],
        5,
        "CA ca (/etc/kubernetes/pki/ca.crt) expired 35 days ago",
    )
    .says("renew it with its own key: --ca renew");
    assert_eq!(skipped(&hinted(&ran)), LEAVES);
    node.run(&["inspect"])
        .exits(3)
        .prints("cause: CA ca (/etc/kubernetes/pki/ca.crt) expired 35 days ago");
}

#[test]
fn every_authority_that_cannot_sign_is_named_at_once() {
    let node = Node::real("p256", "expired");
    expire(&node, &["-cas", "-only", "ca,etcd-ca,front-proxy-ca"]);
    refused(
        &node,
        &["run", "--yes"],
        5,
        "CA ca (/etc/kubernetes/pki/ca.crt) expired",
    )
    .says("CA etcd-ca (/etc/kubernetes/pki/etcd/ca.crt) expired")
    .says("CA front-proxy-ca (/etc/kubernetes/pki/front-proxy-ca.crt) expired");
}

#[test]
fn a_refusal_in_json_is_one_object_that_names_every_reason() {
    let node = Node::real("p256", "expired");
    node.remove(KEY);
    let ran = node.run(&["run", "--yes", "--output", "json"]).exits(5);
    let error = &ran.json()["error"];
    assert_eq!(error["code"], 5);
    assert_eq!(error["text"], "refused; nothing was changed");
    assert_eq!(error["refusals"][0]["subject"], "ca");
    let hint = error["hints"][0].as_str().unwrap_or_default();
    assert!(
        hint.contains("--skip kubelet-client,apiserver"),
        "hints: {}",
        error["hints"]
    );
}
