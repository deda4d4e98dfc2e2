//! Signals: the process stops between two steps, and says how to go on.
//!
//! When the process is where it must be is no matter of luck: its stderr is a pipe with room for so many lines of
//! progress, so it waits there until the signal has been sent.

use std::fs;
use std::io::{Read, Write, pipe};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::faults::{FEW, assert_back, assert_whole, node, the_run};
use crate::harness::{BINARY, Node, other};
use crate::means::{assert_same, runs};

/// What a pipe holds, in bytes (`pipe(7)`).
const PIPE: usize = 65536;

/// The length of the line that opens the progress.
const HEAD: usize = "{\"schema\":\"rescue-kit/progress/v1\",\"steps\":8}\n".len();

/// Runs words, sends a signal once the journal holds a text, and gives code and what was said.
fn signalled(
    node: &Node,
    words: &[&str],
    room: usize,
    awaited: &str,
    signal: &str,
) -> (i32, String) {
    signalled_when(
        node,
        words,
        room,
        &|node, _| journal(node).contains(awaited),
        signal,
    )
}

/// As [`signalled`], once a condition on node and process holds.
fn signalled_when(
    node: &Node,
    words: &[&str],
    room: usize,
    holds: &dyn Fn(&Node, u32) -> bool,
    signal: &str,
) -> (i32, String) {
    let (mut reader, mut writer) = pipe().unwrap();
    writer.write_all(&vec![b'\n'; PIPE - room]).unwrap();
    let mut child = Command::new(BINARY)
        .args(["--root", node.root.to_str().unwrap(), "--progress", "json"])
        .args(words)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(writer)
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while !holds(node, child.id()) {
        assert!(
            Instant::now() < until,
            "it never came to that: {}",
            journal(node)
        );
        std::thread::park_timeout(Duration::from_millis(2));
    }
    other("kill", &["-s", signal, &child.id().to_string()], &node.root).exits(0);
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    let code = child.wait().unwrap().code().unwrap_or(-1);
    (code, said.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// What the newest run's journal says so far.
fn journal(node: &Node) -> String {
    let newest = runs(node).pop().unwrap_or_default();
    let path = node
        .path("/var/lib/rescue-kit/runs")
        .join(newest)
        .join("journal.jsonl");
    fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn each_signal_stops_a_run_before_its_first_change() {
    for (signal, number) in [("HUP", 1), ("INT", 2), ("TERM", 15)] {
        let first = node();
        let before = first.snapshot();
        // The first certificate's line does not fit: the process waits before anything is replaced.
        let (code, said) = signalled(&first, &FEW, HEAD + 8, "\"step\":\"s01\"", signal);
        let run = the_run(&first);
        assert_eq!(code, 128 + number, "{said}");
        assert!(
            said.contains(&format!("the run {run} was stopped by signal {number}")),
            "{said}"
        );
        let hint = format!("hint: rescue-kit resume {run}, or: rescue-kit rollback {run}");
        assert!(said.ends_with(&hint), "{said}");
        let second = Node::copy_of(&first.root);
        first.run(&["resume", "--yes"]).exits(0);
        assert_whole(&first);
        assert_back(&second, &before);
    }
}

#[test]
fn a_signal_before_anything_is_staged_leaves_everything_as_it_was() {
    let first = node();
    let before = first.snapshot();
    // Not even the line that opens the progress fits: the process waits before the run is begun.
    let caught = |_: &Node, pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let mask = status
            .lines()
            .find_map(|line| line.strip_prefix("SigCgt:"))
            .unwrap_or("0");
        // HUP is bit 0, INT bit 1, TERM bit 14.
        u64::from_str_radix(mask.trim(), 16).unwrap_or(0) & 0x4003 == 0x4003
    };
    let (code, said) = signalled_when(&first, &FEW, 8, &caught, "INT");
    let run = the_run(&first);
    assert_eq!(code, 130, "{said}");
    let text = format!("the run {run} was stopped by signal 2 before it changed anything");
    assert!(
        said.contains(&text) && said.ends_with("hint: everything is as it was; run again"),
        "{said}"
    );
    assert_same(&before, &first.snapshot());
    first.run(&FEW).exits(0);
    assert_whole(&first);
}

#[test]
fn a_signal_stops_a_run_between_two_replacements() {
    let first = node();
    let before = first.snapshot();
    // Three lines of `issued` fit, the first line of `replaced` does not.
    let ids = FEW[3].split(',');
    let lines = ids.map(|id| format!("{{\"event\":\"issued\",\"subject\":\"{id}\"}}\n").len());
    let room = HEAD + lines.sum::<usize>() + 8;
    let (code, said) = signalled(&first, &FEW, room, "\"outcome\":{\"step\":\"c01\"", "INT");
    assert_eq!(code, 130, "{said}");
    let journal = fs::read_to_string(first.newest_run().join("journal.jsonl")).unwrap();
    assert!(
        !journal.contains("\"intent\":{\"step\":\"c02\""),
        "{journal}"
    );
    first
        .run(&["run", "--yes"])
        .exits(5)
        .says("is neither done nor undone");
    let second = Node::copy_of(&first.root);
    first.run(&["resume", "--yes"]).exits(0);
    assert_whole(&first);
    assert_back(&second, &before);
}

#[test]
fn a_signal_stops_a_rollback_and_the_next_one_finishes_it() {
    let first = node();
    let before = first.snapshot();
    first.run(&FEW).exits(0);
    let words = ["rollback", "--yes"];
    let awaited = "\"outcome\":{\"step\":\"c05\",\"way\":\"back\"";
    let (code, said) = signalled(&first, &words, HEAD + 8, awaited, "TERM");
    assert_eq!(code, 143, "{said}");
    assert!(said.contains("was stopped by signal 15"), "{said}");
    assert_back(&first, &before);
}
