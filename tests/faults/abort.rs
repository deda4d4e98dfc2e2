//! The process dies at any point of a run, of a resumption or of a rollback.

use std::fs;

use crate::faults::{ABORTED, FEW, STEPS, assert_back, assert_whole, faulty, node, the_run};
use crate::harness::Node;
use crate::means::{assert_same, leftovers};

/// Dies at each step's `point`; then one copy of the node is resumed, another one rolled back.
fn dies_at(point: &str) {
    for step in STEPS {
        let first = node();
        let before = first.snapshot();
        faulty(&first, &FEW, &format!("{point}:{step}:forward=abort")).exits(ABORTED);
        let second = Node::copy_of(&first.root);
        first.run(&["resume", "--yes"]).exits(0);
        assert_whole(&first);
        assert_back(&first, &before);
        assert_back(&second, &before);
        assert_eq!(leftovers(&second), Vec::<String>::new());
    }
}

#[test]
fn dying_before_a_replacement_is_resumed_and_rolled_back() {
    dies_at("intent");
}

#[test]
fn dying_after_a_replacement_is_resumed_and_rolled_back() {
    dies_at("act");
}

#[test]
fn dying_after_the_journal_says_so_is_resumed_and_rolled_back() {
    dies_at("outcome");
}

#[test]
fn dying_in_a_rollback_is_rolled_back_again() {
    for point in ["intent", "act", "outcome"] {
        let first = node();
        let before = first.snapshot();
        first.run(&FEW).exits(0);
        for step in ["c04", "c02", "c01"] {
            let fail = format!("{point}:{step}:back=abort");
            faulty(&first, &["rollback", "--yes"], &fail).exits(ABORTED);
        }
        assert_back(&first, &before);
    }
}

#[test]
fn dying_in_a_rollback_can_be_resumed_forward() {
    for point in ["intent", "act", "outcome"] {
        let first = node();
        let before = first.snapshot();
        first.run(&FEW).exits(0);
        faulty(
            &first,
            &["rollback", "--yes"],
            &format!("{point}:c03:back=abort"),
        )
        .exits(ABORTED);
        first.run(&["resume", "--yes"]).exits(0);
        assert_whole(&first);
        assert_back(&first, &before);
    }
}

#[test]
fn dying_while_resuming_is_resumed_again() {
    let first = node();
    let before = first.snapshot();
    faulty(&first, &FEW, "act:c01:forward=abort").exits(ABORTED);
    for (point, step) in [("intent", "c02"), ("act", "c03"), ("outcome", "c04")] {
        let fail = format!("{point}:{step}:forward=abort");
        faulty(&first, &["resume", "--yes"], &fail).exits(ABORTED);
    }
    first.run(&["resume", "--yes"]).exits(0);
    assert_whole(&first);
    assert_back(&first, &before);
}

#[test]
fn nothing_else_is_begun_while_a_run_is_unfinished() {
    let first = node();
    faulty(&first, &FEW, "act:c03:forward=abort").exits(ABORTED);
    let (run, half) = (the_run(&first), first.snapshot());
    let plan = first.root.with_file_name("plan.json");
    let plan = plan.to_str().unwrap();
    first.run(&["plan", "--out", plan]).exits(3);
    for words in [
        &["run", "--yes"][..],
        &["run", "--yes", "--all"],
        &["apply", plan, "--yes"],
    ] {
        first
            .run(words)
            .exits(5)
            .says(&format!("the run {run} is neither done nor undone"))
            .says(&format!(
                "hint: rescue-kit resume {run}, or: rescue-kit rollback {run}"
            ));
    }
    first.run(&["runs", "list"]).exits(0).prints("unfinished");
    first
        .run(&["runs", "prune", "--keep", "0"])
        .exits(0)
        .prints("pruned 0 run(s)");
    assert_same(&half, &first.snapshot());
    first.run(&["resume", &run, "--yes"]).exits(0);
    assert_whole(&first);
}

#[test]
fn an_unfinished_replacement_is_cleared_away() {
    for (words, step, at) in [
        ("resume", "c03", "etc/kubernetes"),
        ("rollback", "c03", "etc/kubernetes"),
        ("resume", "c05", "etc/kubernetes/pki/etcd"),
        ("rollback", "c05", "etc/kubernetes/pki/etcd"),
    ] {
        let first = node();
        let before = first.snapshot();
        faulty(&first, &FEW, &format!("intent:{step}:forward=abort")).exits(ABORTED);
        // What a crash between the first byte and the rename leaves; the journal tells its name.
        let left = format!(".rescue-kit-{}-{step}", the_run(&first));
        fs::write(first.path(at).join(left), "half a ke").unwrap();
        assert_eq!(leftovers(&first).len(), 1);
        first.run(&[words, "--yes"]).exits(0);
        assert_eq!(leftovers(&first), Vec::<String>::new());
        if words == "rollback" {
            assert_same(&before, &first.snapshot());
        }
    }
}

/// A node whose kubelet directory is gone: the run makes it.
fn without_directory() -> Node {
    let first = node();
    fs::remove_dir_all(first.path("/var/lib/kubelet/pki")).unwrap();
    first
}

#[test]
fn a_directory_that_a_run_made_goes_with_its_rollback() {
    let first = without_directory();
    let before = first.snapshot();
    first.run(&FEW).exits(0);
    assert_whole(&first);
    assert_back(&first, &before);
    for step in STEPS {
        let first = without_directory();
        let before = first.snapshot();
        faulty(&first, &FEW, &format!("act:{step}:forward=abort")).exits(ABORTED);
        assert_back(&first, &before);
    }
}

#[test]
fn a_directory_that_a_run_made_stays_if_somebody_else_uses_it() {
    let first = without_directory();
    first.run(&FEW).exits(0);
    first.write("/var/lib/kubelet/pki/theirs", "x");
    first.run(&["rollback", "--yes"]).exits(0);
    assert_eq!(first.read("/var/lib/kubelet/pki/theirs"), b"x");
}

#[test]
fn a_link_whose_target_was_gone_is_put_back_dangling() {
    let first = node();
    let link =
        fs::read_link(first.path("/var/lib/kubelet/pki/kubelet-client-current.pem")).unwrap();
    first.remove(link.to_str().unwrap());
    let before = first.snapshot();
    for step in ["c01", "c02"] {
        faulty(&first, &FEW, &format!("act:{step}:forward=abort")).exits(ABORTED);
        assert_back(&first, &before);
    }
    first.run(&FEW).exits(0);
    assert_whole(&first);
    assert_back(&first, &before);
}
