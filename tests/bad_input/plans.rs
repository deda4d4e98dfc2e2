//! Saved plans that are stale, another node's, damaged or edited.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::harness::Node;
use crate::means::{ONE, assert_same, bounded, refused};

fn saved(node: &Node) -> PathBuf {
    let path = node.root.with_file_name("plan.json");
    node.run(&[&["plan", "--out", path.to_str().unwrap()], &ONE[..]].concat())
        .exits(3);
    path
}

/// A node whose saved plan was edited.
fn edited(edit: impl Fn(&mut Value)) -> (Node, String) {
    let node = Node::real("p256", "expired");
    let path = saved(&node);
    let mut plan: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    edit(&mut plan);
    fs::write(&path, plan.to_string()).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (node, path)
}

#[test]
fn a_plan_is_applied_once_and_then_stale() {
    let node = Node::real("p256", "expired");
    let path = saved(&node);
    let path = path.to_str().unwrap();
    node.run(&["apply", path, "--yes"])
        .exits(0)
        .prints("issued 1 certificates, replaced 1 places");
    let after = node.snapshot();
    bounded(&node, &["apply", path, "--yes"])
        .exits(5)
        .says("the plan was made from other files, another profile or another version of this tool")
        .says("hint: make a new plan: rescue-kit plan --out FILE");
    assert_same(&after, &node.snapshot());
}

#[test]
fn a_plan_made_from_other_files_is_refused() {
    for change in [
        "/etc/kubernetes/scheduler.conf",
        "/etc/kubernetes/manifests/etcd.yaml",
        "/etc/kubernetes/pki/ca.crt",
    ] {
        let node = Node::real("p256", "expired");
        let path = saved(&node);
        let bytes = [node.read(change), b"\n".to_vec()].concat();
        node.write(change, bytes);
        refused(
            &node,
            &["apply", path.to_str().unwrap(), "--yes"],
            5,
            "the plan was made from other files",
        );
    }
}

#[test]
fn a_plan_of_another_node_is_refused_by_its_name() {
    let plan = saved(&Node::real("p256", "expired"));
    assert!(!plan.exists(), "the directory went with its node");
    let first = Node::real("p256", "expired");
    let plan = saved(&first);
    let node = Node::real("masters", "expired");
    refused(
        &node,
        &["apply", plan.to_str().unwrap(), "--yes"],
        5,
        "the plan was made for cp1, not for this node",
    );
}

#[test]
fn what_is_no_plan_is_refused() {
    let node = Node::real("p256", "expired");
    let path = node.root.with_file_name("plan.json");
    for (text, why) in [
        ("{", "is no plan: EOF"),
        ("[]", "is no plan"),
        ("", "is no plan"),
        ("\u{1b}[2J", "is no plan"),
    ] {
        fs::write(&path, text).unwrap();
        refused(&node, &["apply", path.to_str().unwrap(), "--yes"], 5, why);
    }
    refused(
        &node,
        &["apply", "/nowhere.json", "--yes"],
        5,
        "cannot read /nowhere.json",
    );
    refused(
        &node,
        &["apply", "/dev/zero", "--yes"],
        5,
        "/dev/zero is no regular file",
    );
}

#[test]
fn an_unknown_key_in_a_plan_is_refused() {
    let (node, path) = edited(|plan| plan["fromat"] = json!(1));
    refused(
        &node,
        &["apply", &path, "--yes"],
        5,
        "unknown field `fromat`",
    );
    let (node, path) = edited(|plan| plan["format"] = json!(2));
    refused(
        &node,
        &["apply", &path, "--yes"],
        5,
        "the plan has format 2, this build reads 1",
    );
}

#[test]
fn an_edited_plan_that_breaks_its_own_rules_is_refused() {
    type Edit = fn(&mut Value);
    let table: [(Edit, &str); 6] = [
        (
            |p| p["phases"]["stage"][0]["recipe"]["not_after"] = json!("2090-01-01T00:00:00Z"),
            "scheduler.conf would outlive its CA",
        ),
        (
            |p| p["phases"]["stage"][0]["recipe"]["issuer"] = json!("nobody"),
            "would be signed by nobody, which is absent",
        ),
        (
            |p| p["phases"]["commit"][0]["parts"] = json!([]),
            "puts nothing into",
        ),
        (
            |p| p["phases"]["commit"][0]["id"] = json!("../x"),
            "is no name of a step",
        ),
        (
            |p| p["phases"]["commit"][0]["at"] = json!("etc/passwd"),
            "is not absolute",
        ),
        (
            |p| p["phases"]["commit"] = json!([]),
            "is issued but not put in place whole",
        ),
    ];
    for (edit, why) in table {
        let (node, path) = edited(edit);
        refused(&node, &["apply", &path, "--yes"], 5, why);
    }
}

#[test]
fn an_edited_plan_cannot_reach_files_that_are_not_the_profiles() {
    let remove = |at: Value, expect: Value| {
        json!({ "id": "c99", "credential": "scheduler.conf", "at": at, "expect": expect,
                "parts": [["whole", "nothing"]], "meta": "keep", "why": "x" })
    };
    let (node, path) = edited(|plan| {
        let mut expect = plan["phases"]["commit"][0]["expect"].clone();
        // SHA-256 of "root:x\n", size 7.
        expect["present"]["sha256"] =
            json!("d3b4fd0eb82ec5f75f1ed2b4d3ba9ff9a9c4d3f4b9b9f5b5a8bb2f7c7a2a6a31");
        plan["phases"]["commit"]
            .as_array_mut()
            .unwrap()
            .push(remove(json!("/etc/passwd"), expect));
    });
    node.write("/etc/passwd", "root:x\n");
    refused(&node, &["apply", &path, "--yes"], 5, "/etc/passwd");
    let (node, path) = edited(|plan| {
        let link = json!({ "id": "c99", "credential": "scheduler.conf", "at": "entry:/etc/cron.d/x",
            "expect": "absent", "parts": [["entry", { "link": "/tmp/evil" }]], "meta": "keep", "why": "x" });
        plan["phases"]["commit"].as_array_mut().unwrap().push(link);
    });
    fs::create_dir(node.path("/etc/cron.d")).unwrap();
    refused(&node, &["apply", &path, "--yes"], 5, "/etc/cron.d/x");
}

#[test]
fn a_plan_to_restore_is_not_applied_without_its_backup() {
    let (node, path) = edited(|plan| {
        plan["purpose"] = json!({ "restore": "/nowhere.tar.gz" });
        plan["phases"]["stage"] = json!([]);
        plan["phases"]["commit"][0]["parts"] = json!([["whole", { "archive": "files/x" }]]);
    });
    refused(&node, &["apply", &path, "--yes"], 5, "backup restore");
}
