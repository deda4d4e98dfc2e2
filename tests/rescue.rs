//! The rescue of every real tree, end to end: it works, it is finished, and it can be undone to the byte.

use std::collections::BTreeSet;
use std::path::Path;

use crate::cases;
use crate::harness::{Node, other};

#[test]
fn the_lab_has_every_case_and_none_that_is_not_tested() {
    assert_eq!(cases::on_disk(), cases::ALL);
}

#[test]
fn every_real_tree_is_rescued_then_left_alone_then_put_back_to_the_byte() {
    cases::each(|case| {
        let node = Node::real(case, "expired");
        let before = node.snapshot();
        let ran = node
            .run(&["run", "--yes", "--output", "json"])
            .exits(0)
            .json();
        assert_eq!(ran["changed"], true, "{case}");
        assert_eq!(ran["outcome"], "done", "{case}");
        only_these_are_bad(case, &node);
        proves_right(case, &node);
        a_second_run_does_nothing(case, &node);
        let back = node
            .run(&["rollback", "--yes", "--output", "json"])
            .exits(0)
            .json();
        assert_eq!(back["outcome"], "rolled_back", "{case}");
        assert_eq!(
            differences(&before, &node.snapshot()),
            Vec::<String>::new(),
            "{case}"
        );
    });
}

#[test]
fn a_client_certificate_for_external_etcd_that_expired_is_the_cause_and_does_not_verify() {
    let node = cases::rescued("external-etcd");
    let seen = node.run(&["inspect", "--output", "json"]).exits(3).json();
    let cause = seen["cause"].as_str().unwrap_or_default();
    assert!(
        cause.contains("apiserver-etcd-client"),
        "the API server is dead, but: {cause:?}"
    );
    node.run(&["verify"])
        .exits(3)
        .prints("apiserver-etcd-client");
}

/// Go's verdict on the tree: the kubelet's self-signed serving pair is not ours, nor is another host's etcd CA.
fn only_these_are_bad(case: &str, node: &Node) {
    let bad: &[&str] = match case {
        "embedded" => &[],
        "external-etcd" => &["apiserver-etcd-client", "kubelet-serving"],
        _ => &["kubelet-serving"],
    };
    let fresh = verdicts(&cases::tree(case, "fresh"));
    let mut expected: BTreeSet<String> = fresh;
    for id in bad {
        assert!(
            expected.remove(&format!("ok {id}")),
            "{case}: {id} is not judged"
        );
        expected.insert(format!("bad {id}"));
    }
    assert_eq!(verdicts(&node.root), expected, "{case}");
}

/// `ok ID` or `bad ID` for each credential.
fn verdicts(root: &Path) -> BTreeSet<String> {
    let judged = cases::judge(&["tree", root.to_str().unwrap()]);
    assert!(
        judged.stdout.lines().count() > 9,
        "{}{}",
        judged.stdout,
        judged.stderr
    );
    judged
        .stdout
        .lines()
        .map(|line| line.split(':').next().unwrap().to_owned())
        .collect()
}

/// Where a certificate that only somebody else can issue is expired, `verify` must not say that all is well.
fn proves_right(case: &str, node: &Node) {
    if case != "external-etcd" {
        node.run(&["verify"]).exits(0).prints(" 0 failed");
    }
}

fn a_second_run_does_nothing(case: &str, node: &Node) {
    let before = every_inode(node);
    let again = node
        .run(&["run", "--yes", "--output", "json"])
        .exits(0)
        .json();
    assert_eq!(again["changed"], false, "{case}");
    assert_eq!(again["run_id"], serde_json::Value::Null, "{case}");
    assert_eq!(every_inode(node), before, "{case}");
    node.run(&["run", "--yes"]).exits(0).prints("nothing to do");
    assert_eq!(every_inode(node), before, "{case}");
}

/// Everything below the root, the state directory included; the time of the last change of the inode gives away
/// every write, rename and chmod, even one that was undone.
fn every_inode(node: &Node) -> Vec<String> {
    let format = "%p %i %y %m %U:%G %s %T@ %C@ %l\n";
    let found = other("find", &[".", "-printf", format], &node.root).exits(0);
    let mut lines: Vec<String> = found.stdout.lines().map(str::to_owned).collect();
    lines.sort();
    assert!(
        lines.iter().any(|line| line.contains("rescue-kit/runs/")),
        "no run is listed"
    );
    lines
}

fn differences(
    before: &std::collections::BTreeMap<String, String>,
    after: &std::collections::BTreeMap<String, String>,
) -> Vec<String> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differs = |name: &&&String| before.get(**name) != after.get(**name);
    let short = |text: Option<&String>| text.map(|text| text.chars().take(60).collect::<String>());
    let tell = |name: &String| {
        format!(
            "{name}: {:?} -> {:?}",
            short(before.get(name)),
            short(after.get(name))
        )
    };
    names
        .iter()
        .filter(differs)
        .map(|name| tell(name))
        .collect()
}
