//! What may stand where a file should be: nothing of it hangs, crashes or leads out of the root.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::harness::{Node, other};
use crate::means::{assert_judged, assert_same, bounded, refused};

const CERT: &str = "/etc/kubernetes/pki/apiserver.crt";
const KEY: &str = "/etc/kubernetes/pki/apiserver.key";
const CONF: &str = "/etc/kubernetes/scheduler.conf";
const CA: &str = "/etc/kubernetes/pki/ca.crt";
const CA_KEY: &str = "/etc/kubernetes/pki/ca.key";
const PEM: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem";

/// What is no regular file, or too large a one, and what is said of it.
const STRANGE: [(&str, &str); 6] = [
    ("sparse", "is larger than 16 MiB"),
    ("fifo", "is a FIFO"),
    ("directory", "is a directory"),
    ("loop", "is a loop of symbolic links"),
    ("out", "which does not exist"),
    (
        "dangling",
        "is a symbolic link to /nowhere, which does not exist",
    ),
];

/// Puts a shape in the place of a file.
fn put(node: &Node, shape: &str, at: &str) {
    let path = node.path(at);
    // The kubelet's link is absolute: read through the host it leads to nothing.
    let old = fs::read(&path).unwrap_or_default();
    node.remove(at);
    match shape {
        "empty" => node.write(at, ""),
        "truncated" => node.write(at, &old[..old.len() / 2]),
        "binary" => node.write(at, [0u8, 159, 146, 150, 255, 7].repeat(100)),
        "sparse" => fs::File::create(&path).unwrap().set_len(1 << 30).unwrap(),
        "fifo" => drop(other("mkfifo", &[path.to_str().unwrap()], Path::new("/")).exits(0)),
        // An empty one is what a container runtime leaves where a file was missing, and becomes a file again.
        "directory" => {
            fs::create_dir(&path).unwrap();
            fs::write(path.join("something"), "else").unwrap();
        },
        "loop" => symlink(path.file_name().unwrap(), &path).unwrap(),
        "dangling" => symlink("/nowhere", &path).unwrap(),
        "out" => {
            // The file is there, but only outside of the root: relative to it the link leads to nothing.
            let outside = node.root.with_file_name("outside");
            fs::write(&outside, old).unwrap();
            let up = "../".repeat(40);
            symlink(format!("{up}{}", outside.display()), &path).unwrap();
        },
        other => panic!("{other}"),
    }
}

#[test]
fn a_damaged_certificate_is_made_again_from_what_the_node_says() {
    for shape in ["empty", "truncated", "binary"] {
        let node = Node::real("p256", "fresh");
        put(&node, shape, CERT);
        let before = node.snapshot();
        node.run(&["run", "--yes"])
            .exits(0)
            .prints("issued 1 certificates, replaced 2 places");
        assert_judged(&node);
        node.run(&["rollback", "--yes"]).exits(0);
        assert_same(&before, &node.snapshot());
    }
}

#[test]
fn a_damaged_key_gets_a_new_key_and_certificate() {
    for shape in ["empty", "truncated", "binary"] {
        let node = Node::real("p256", "fresh");
        put(&node, shape, KEY);
        node.run(&["run", "--yes"])
            .exits(0)
            .prints("issued 1 certificates, replaced 2 places");
        assert_judged(&node);
    }
}

#[test]
fn an_empty_kubeconfig_is_made_again_with_the_servers_address() {
    let node = Node::real("p256", "fresh");
    put(&node, "empty", CONF);
    node.run(&["run", "--yes"])
        .exits(0)
        .prints("issued 1 certificates, replaced 1 places");
    assert_judged(&node);
    let text = String::from_utf8(node.read(CONF)).unwrap();
    assert!(
        text.contains("server: https://192.168.61.11:6443"),
        "{text}"
    );
}

#[test]
fn a_damaged_kubeconfig_is_refused_because_its_other_contents_are_unknown() {
    for (shape, why) in [
        ("truncated", "is not a kubeconfig: its user is missing"),
        ("binary", "is not UTF-8 text"),
    ] {
        let node = Node::real("p256", "fresh");
        put(&node, shape, CONF);
        let text = format!("scheduler.conf ({CONF}) {why}");
        refused(&node, &["run", "--yes"], 5, &text).says("or leave it out: --skip scheduler.conf");
    }
}

#[test]
fn a_damaged_ca_certificate_is_refused() {
    let table = [
        ("empty", "is empty"),
        ("truncated", "ends inside its certificate block"),
        ("binary", "is not PEM text"),
    ];
    for (shape, why) in table {
        let node = Node::real("p256", "expired");
        put(&node, shape, CA);
        let text = format!("CA ca ({CA}) {why}, so it cannot sign kubelet-client");
        refused(&node, &["run", "--yes"], 5, &text).says("restore it from a backup");
    }
}

#[test]
fn a_damaged_ca_key_is_refused() {
    let table = [
        ("empty", "is empty"),
        ("truncated", "ends inside its ec private key block"),
        ("binary", "is not PEM text"),
    ];
    for (shape, why) in table {
        let node = Node::real("p256", "expired");
        put(&node, shape, CA_KEY);
        let text = format!("CA ca ({CA_KEY}) has a private key that {why}, so it cannot sign");
        refused(&node, &["run", "--yes"], 5, &text).says("--skip kubelet-client,apiserver");
    }
}

#[test]
fn what_is_no_file_is_refused_wherever_a_leaf_should_be() {
    for (at, id) in [
        (CERT, "apiserver"),
        (KEY, "apiserver"),
        (CONF, "scheduler.conf"),
    ] {
        for (shape, why) in STRANGE {
            let node = Node::real("p256", "expired");
            put(&node, shape, at);
            let ran = refused(&node, &["run", "--yes"], 5, &format!("{id} ({at})")).says(why);
            ran.says(&format!(
                "mend or move {at} away, or leave it out: --skip {id}"
            ));
            bounded(&node, &["inspect"]).exits(3);
            bounded(&node, &["verify"]).exits(3);
        }
    }
}

#[test]
fn what_is_no_file_is_refused_wherever_a_ca_should_be() {
    for at in [CA, CA_KEY] {
        for (shape, why) in STRANGE {
            let node = Node::real("p256", "expired");
            put(&node, shape, at);
            refused(&node, &["run", "--yes"], 5, &format!("CA ca ({at})")).says(why);
            bounded(&node, &["inspect"]).exits(3);
        }
    }
}

#[test]
fn the_rest_is_rescued_when_the_hint_is_followed() {
    for (shape, _) in STRANGE {
        let node = Node::real("p256", "expired");
        put(&node, shape, CONF);
        let before = fs::symlink_metadata(node.path(CONF))
            .unwrap()
            .modified()
            .unwrap();
        bounded(&node, &["run", "--yes", "--skip", "scheduler.conf"])
            .exits(0)
            .prints("issued 11 certificates, replaced 19 places");
        assert_eq!(
            fs::symlink_metadata(node.path(CONF))
                .unwrap()
                .modified()
                .unwrap(),
            before,
            "{shape}"
        );
    }
}

#[test]
fn strange_things_around_the_kubelets_link_never_hang() {
    for (shape, code) in [
        ("sparse", 5),
        ("fifo", 5),
        ("directory", 5),
        ("loop", 0),
        ("out", 0),
        ("dangling", 0),
    ] {
        let node = Node::real("p256", "expired");
        put(&node, shape, PEM);
        let before = node.snapshot();
        let ran = bounded(&node, &["run", "--yes"]).exits(code);
        if code == 0 {
            assert_judged(&node);
            bounded(&node, &["rollback", "--yes"]).exits(0);
        } else {
            ran.says(&format!("kubelet-client ({PEM})"));
        }
        assert_same(&before, &node.snapshot());
    }
}

#[test]
fn strange_files_beside_the_pki_do_not_disturb_a_rescue() {
    let node = Node::real("p256", "expired");
    for (shape, _) in STRANGE {
        let at = format!("/etc/kubernetes/pki/{shape}.crt");
        node.write(&at, "x");
        put(&node, shape, &at);
    }
    bounded(&node, &["inspect"]).exits(3);
    bounded(&node, &["run", "--yes"]).exits(0);
    assert_judged(&node);
}
