//! Damage to the journal and to what lies beside it.

use std::fs;
use std::path::PathBuf;

use crate::faults::{ABORTED, FEW, assert_back, assert_whole, faulty, node, the_run};
use crate::harness::Node;
use crate::means::assert_same;

fn journal(node: &Node) -> PathBuf {
    node.newest_run().join("journal.jsonl")
}

/// A node whose run died after the outcome of its third step was written.
fn dead() -> Node {
    let first = node();
    faulty(&first, &FEW, "outcome:c03:forward=abort").exits(ABORTED);
    first
}

#[test]
fn a_torn_last_line_is_dropped() {
    for torn in [1, 2, 40] {
        let before = node();
        let before = (before.snapshot(), before).0;
        let first = dead();
        let text = fs::read(journal(&first)).unwrap();
        fs::write(journal(&first), &text[..text.len() - torn]).unwrap();
        let second = Node::copy_of(&first.root);
        first.run(&["resume", "--yes"]).exits(0);
        assert_whole(&first);
        second.run(&["rollback", "--yes"]).exits(0);
        assert_eq!(second.snapshot().len(), before.len());
    }
}

#[test]
fn a_half_written_line_behind_the_last_is_dropped() {
    for tail in ["{\"format\":1,\"seq\":99", "\0\0\0\0\0\0\0\0", "garbage"] {
        let first = node();
        let before = first.snapshot();
        faulty(&first, &FEW, "act:c03:forward=abort").exits(ABORTED);
        let text = [fs::read(journal(&first)).unwrap(), tail.as_bytes().to_vec()].concat();
        fs::write(journal(&first), text).unwrap();
        assert_back(&first, &before);
    }
}

/// Asserts that every command that would go on refuses, names the line, and changes nothing.
fn is_refused(first: &Node, why: &str) {
    let (run, half) = (the_run(first), first.snapshot());
    for words in [
        &["resume", "--yes"][..],
        &["resume", &run, "--yes"],
        &["rollback", &run, "--yes"],
        &["run", "--yes"],
        &["rollback", "--yes"],
    ] {
        first.run(words).exits(5).says(why).says("hint:");
    }
    first.run(&["runs", "list"]).exits(0).prints("damaged");
    assert_same(&half, &first.snapshot());
}

#[test]
fn a_damaged_line_is_refused_with_its_number() {
    for line in [1, 3, 6] {
        let first = dead();
        let text = fs::read_to_string(journal(&first)).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        lines[line - 1] = "{\"seq\":";
        fs::write(journal(&first), lines.join("\n") + "\n").unwrap();
        is_refused(&first, &format!("line {line} of the journal"));
    }
}

#[test]
fn an_edited_line_is_refused_with_the_number_of_the_next() {
    let first = dead();
    let text = fs::read_to_string(journal(&first)).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines[2] = lines[2].replacen("\"elapsed_ms\":", "\"elapsed_ms\":1", 1);
    fs::write(journal(&first), lines.join("\n") + "\n").unwrap();
    is_refused(&first, "line 4 does not follow the line before");
}

#[test]
fn a_missing_line_is_refused() {
    let first = dead();
    let text = fs::read_to_string(journal(&first)).unwrap();
    let kept: Vec<&str> = text
        .lines()
        .enumerate()
        .filter(|(i, _)| *i != 4)
        .map(|(_, l)| l)
        .collect();
    fs::write(journal(&first), kept.join("\n") + "\n").unwrap();
    is_refused(&first, "line 5 does not follow the line before");
}

#[test]
fn a_plan_that_its_journal_does_not_name_is_refused() {
    let first = dead();
    let plan = first.newest_run().join("plan.json");
    let text = fs::read_to_string(&plan).unwrap();
    fs::write(&plan, text + "\n").unwrap();
    is_refused(&first, "is not the one that its journal names");
}

#[test]
fn damaged_staged_content_is_not_put_in_place() {
    let first = node();
    let before = first.snapshot();
    faulty(&first, &FEW, "act:c02:forward=abort").exits(ABORTED);
    fs::write(first.newest_run().join("staged/c04"), "damaged").unwrap();
    first
        .run(&["resume", "--yes"])
        .exits(6)
        .says("staged/c04 in the run directory is missing or damaged");
    assert_same(&before, &first.snapshot());
}

#[test]
fn a_run_without_its_undo_data_is_refused_and_nothing_is_stuck() {
    let first = node();
    first.run(&FEW).exits(0);
    let (run, after) = (the_run(&first), first.snapshot());
    first
        .run(&["runs", "prune", "--keep", "0"])
        .exits(0)
        .prints("pruned 1 run(s)");
    first
        .run(&["rollback", &run, "--yes"])
        .exits(5)
        .says(&run)
        .says("hint:");
    assert_same(&after, &first.snapshot());
    first
        .run(&["run", "--yes"])
        .exits(0)
        .prints("nothing to do");
    first
        .run(&["runs", "list"])
        .exits(0)
        .prints("done")
        .prints("no undo");
}

#[test]
fn a_rollback_of_nothing_is_refused() {
    let first = node();
    first
        .run(&["rollback", "--yes"])
        .exits(5)
        .says("there is no run to roll back");
    first
        .run(&["resume", "--yes"])
        .exits(5)
        .says("there is no run to resume");
    first
        .run(&["rollback", "20260101T000000Z-abcdef", "--yes"])
        .exits(5)
        .says("there is no run `20260101T000000Z-abcdef`");
    first
        .run(&["rollback", "../../etc", "--yes"])
        .exits(5)
        .says("there is no run `../../etc`");
    first.run(&FEW).exits(0);
    first
        .run(&["resume", "--yes"])
        .exits(5)
        .says("there is no run to resume");
    first.run(&["rollback", "--yes"]).exits(0);
    first
        .run(&["rollback", "--yes"])
        .exits(5)
        .says("there is no run to roll back");
}

#[test]
fn runs_are_rolled_back_one_after_the_other_from_the_newest() {
    let first = node();
    let before = first.snapshot();
    first.run(&FEW).exits(0);
    let between = first.snapshot();
    let oldest = the_run(&first);
    first
        .run(&["run", "--yes", "--all", "--only", "scheduler.conf"])
        .exits(0);
    first
        .run(&["rollback", &oldest, "--yes"])
        .exits(5)
        .says("/etc/kubernetes/scheduler.conf changed after the run");
    assert_back(&first, &between);
    assert_back(&first, &before);
}
