//! A step fails, and the process lives: everything is put back, and the code says so.

use crate::faults::{FEW, STEPS, assert_back, assert_whole, faulty, node, the_run};
use crate::harness::{Node, lab};
use crate::means::{assert_same, leftovers};

#[test]
fn a_failure_at_any_point_is_rolled_back_exactly() {
    for point in ["intent", "act", "outcome"] {
        for step in STEPS {
            let first = node();
            let before = first.snapshot();
            let ran = faulty(&first, &FEW, &format!("{point}:{step}:forward=error")).exits(6);
            let run = the_run(&first);
            ran.says(&format!("the run {run} failed and was rolled back"))
                .says(&format!(
                    "caused by: (injected failure at {point}:{step}:forward)"
                ))
                .says("hint: everything is as it was; mend the cause, then run again");
            assert_same(&before, &first.snapshot());
        }
    }
}

#[test]
fn after_a_failure_the_next_run_succeeds() {
    let first = node();
    faulty(&first, &FEW, "act:c04:forward=error").exits(6);
    first.run(&["runs", "list"]).exits(0).prints("rolled_back");
    first.run(&FEW).exits(0);
    assert_whole(&first);
}

#[test]
fn a_failure_in_json_says_that_nothing_is_changed() {
    let first = node();
    let ran = faulty(
        &first,
        &[&FEW[..], &["--output", "json"]].concat(),
        "act:c04:forward=error",
    );
    let object = ran.exits(6).json();
    assert_eq!(object["changed"], false);
    assert_eq!(object["error"]["code"], 6);
}

#[test]
fn a_rollback_that_fails_after_a_step_goes_on_by_itself() {
    // The act is done; the second attempt, in the same process, finds it so and goes on.
    let first = node();
    let before = first.snapshot();
    first.run(&FEW).exits(0);
    faulty(&first, &["rollback", "--yes"], "act:c03:back=error").exits(6);
    assert_same(&before, &first.snapshot());
}

/// A node whose rollback stands before step c03 and cannot go on.
fn stuck() -> Node {
    let first = node();
    first.run(&FEW).exits(0);
    let run = the_run(&first);
    faulty(&first, &["rollback", "--yes"], "intent:c03:back=error")
        .exits(7)
        .says(&format!("the run {run} is stuck half-way"))
        .says(&format!(
            "hint: rescue-kit resume {run}, or: rescue-kit rollback {run}"
        ));
    first
}

#[test]
fn a_rollback_that_cannot_go_on_is_stuck_and_names_the_next_command() {
    let before = node().snapshot().len();
    let first = stuck();
    first
        .run(&["run", "--yes"])
        .exits(5)
        .says("is neither done nor undone");
    first.run(&["rollback", "--yes"]).exits(0);
    assert_eq!(leftovers(&first), Vec::<String>::new());
    assert_eq!(first.snapshot().len(), before);
    let first = stuck();
    first.run(&["resume", "--yes"]).exits(0);
    assert_whole(&first);
}

#[test]
fn a_rollback_without_all_of_its_undo_data_is_refused_before_any_change() {
    let first = node();
    let before = first.snapshot();
    faulty(&first, &FEW, "act:c05:forward=abort").exits(134);
    let (run, half) = (the_run(&first), first.snapshot());
    let undo = first.newest_run().join("undo/c03");
    let kept = std::fs::read(&undo).unwrap();
    std::fs::write(&undo, "damaged").unwrap();
    first.run(&["rollback", "--yes"]).exits(5).says(&format!(
        "the run {run} cannot be undone: undo/c03 in its directory is missing or damaged"
    ));
    assert_same(&half, &first.snapshot());
    std::fs::write(&undo, kept).unwrap();
    assert_back(&first, &before);
}

#[test]
fn a_foreign_change_after_a_run_is_named_and_not_overwritten() {
    for place in [
        "/etc/kubernetes/scheduler.conf",
        "/etc/kubernetes/pki/etcd/healthcheck-client.crt",
    ] {
        let first = node();
        first.run(&FEW).exits(0);
        let run = the_run(&first);
        first.write(place, "somebody else's");
        let theirs = first.snapshot();
        first
            .run(&["rollback", "--yes"])
            .exits(5)
            .says(&format!("{place} changed after the run {run}"))
            .says("hint: nothing was changed; put those files back");
        assert_same(&theirs, &first.snapshot());
    }
}

#[test]
fn every_foreign_change_is_named_at_once() {
    let first = node();
    first.run(&FEW).exits(0);
    first.remove("/etc/kubernetes/pki/etcd/healthcheck-client.key");
    first.write("/etc/kubernetes/scheduler.conf", "x");
    let theirs = first.snapshot();
    first.run(&["rollback", "--yes"]).exits(5).says(
        "/etc/kubernetes/scheduler.conf, /etc/kubernetes/pki/etcd/healthcheck-client.key changed after the run",
    );
    assert_same(&theirs, &first.snapshot());
}

#[test]
fn a_foreign_change_of_an_open_step_is_not_overwritten() {
    for (point, command) in [
        ("intent", "resume"),
        ("act", "resume"),
        ("intent", "rollback"),
        ("act", "rollback"),
    ] {
        let first = node();
        faulty(&first, &FEW, &format!("{point}:c03:forward=abort")).exits(134);
        first.write("/etc/kubernetes/scheduler.conf", "somebody else's");
        let ran = first.run(&[command, "--yes"]);
        assert!(
            matches!(ran.code, 5..=7),
            "{command} {}: {}",
            ran.code,
            ran.stderr
        );
        ran.says("/etc/kubernetes/scheduler.conf");
        assert_eq!(
            first.read("/etc/kubernetes/scheduler.conf"),
            b"somebody else's",
            "{point} {command}"
        );
    }
}

#[test]
fn a_foreign_change_of_a_later_step_rolls_the_resumption_back() {
    let first = node();
    let before = first.snapshot();
    faulty(&first, &FEW, "act:c03:forward=abort").exits(134);
    let old = first.read("/etc/kubernetes/pki/etcd/healthcheck-client.crt");
    first.write(
        "/etc/kubernetes/pki/etcd/healthcheck-client.crt",
        [old, b"\n".to_vec()].concat(),
    );
    let theirs = first.snapshot()["etc/kubernetes/pki/etcd/healthcheck-client.crt"].clone();
    first
        .run(&["resume", "--yes"])
        .exits(6)
        .says("/etc/kubernetes/pki/etcd/healthcheck-client.crt was changed by somebody else since the run began");
    let mut expected = before;
    expected.insert(
        "etc/kubernetes/pki/etcd/healthcheck-client.crt".to_owned(),
        theirs,
    );
    assert_same(&expected, &first.snapshot());
}

#[test]
fn what_somebody_else_renews_meanwhile_is_seen_by_another_look() {
    let first = node();
    let place = first.path("/etc/kubernetes/scheduler.conf");
    let renewed = first.root.with_file_name("scheduler.conf");
    std::fs::copy(
        lab().join("trees/p256/fresh/etc/kubernetes/scheduler.conf"),
        &renewed,
    )
    .unwrap();
    let theirs = std::fs::read(&renewed).unwrap();
    let point = format!(
        "outcome:stage:forward=move {} {}",
        renewed.display(),
        place.display()
    );
    faulty(&first, &FEW, &point)
        .exits(0)
        .says("/etc/kubernetes/scheduler.conf was changed by somebody else since the run began; looking and planning again");
    assert_eq!(
        std::fs::read(&place).unwrap(),
        theirs,
        "it was not due any more"
    );
    assert_whole(&first);
    let listed = first.run(&["runs", "list"]).exits(0).stdout;
    let states = ["rolled_back", "done"].map(|state| listed.matches(state).count());
    assert_eq!(states, [1, 1], "{listed}");
}
