//! Faults: whatever fails or dies, and whenever, the files end old or new, and the way there is one command.

mod abort;
mod error;
mod journal;
mod signal;

use std::path::Path;

use crate::harness::{Node, Ran, other};
use crate::means::{assert_judged, assert_same, leftovers, runs};

/// Three certificates in five places: a file that is new, a link, a key, a certificate, a kubeconfig.
const FEW: [&str; 4] = [
    "run",
    "--yes",
    "--only",
    "kubelet-client,etcd-healthcheck-client,scheduler.conf",
];

/// The steps of a run on [`FEW`].
const STEPS: [&str; 5] = ["c01", "c02", "c03", "c04", "c05"];

/// The code of a process that aborted.
const ABORTED: i32 = 134;

/// A node of which only [`FEW`] have expired.
fn node() -> Node {
    let node = Node::real("p256", "fresh");
    let root = node.root.to_str().unwrap();
    let only = [
        "-root",
        root,
        "-only",
        "kubelet-client,etcd-healthcheck-client,scheduler.conf",
    ];
    other(crate::harness::lab_program("expire"), &only, Path::new("/")).exits(0);
    node
}

/// Runs with a failure point set.
fn faulty(node: &Node, words: &[&str], point: &str) -> Ran {
    node.run_with(words, &[("RESCUE_KIT_FAIL", point)])
}

/// Asserts that the rescue is whole: what is there proves right, by ourselves and by Go, and nothing is left over.
#[track_caller]
fn assert_whole(node: &Node) {
    node.run(&["verify"]).exits(0);
    assert_judged(node);
    assert_eq!(leftovers(node), Vec::<String>::new());
    node.run(&["run", "--yes"]).exits(0).prints("nothing to do");
}

/// Asserts that a rollback of the newest run gives back exactly this.
#[track_caller]
fn assert_back(node: &Node, before: &std::collections::BTreeMap<String, String>) {
    node.run(&["rollback", "--yes"])
        .exits(0)
        .prints("everything is as it was before the run");
    assert_same(before, &node.snapshot());
}

/// The only run's name.
#[track_caller]
fn the_run(node: &Node) -> String {
    let names = runs(node);
    assert_eq!(names.len(), 1, "{names:?}");
    names[0].clone()
}
