//! No question without a terminal: a usage error at once, whatever stdin is.

use std::io::pipe;
use std::process::{Command, Stdio};

use crate::harness::{BINARY, Node, other};
use crate::means::{ONE, assert_same, runs};
use crate::pty::{CONSOLE, Key, Terminal};

/// The commands that would ask, on a node that was rescued once.
fn asking(node: &Node) -> Vec<Vec<String>> {
    let plan = node.root.with_file_name("plan.json");
    let plan = plan.to_str().unwrap();
    node.run(&["run", "--yes", "--only", "admin.conf"]).exits(0);
    node.run(&[&["plan", "--out", plan], &ONE[..]].concat())
        .exits(3);
    let run = runs(node).remove(0);
    let backup = node.newest_run().join("backup.tar.gz");
    let backup = backup.to_str().unwrap();
    let lines = [
        "run".to_owned(),
        "run --no-input".to_owned(),
        format!("apply {plan}"),
        "rollback".to_owned(),
        format!("rollback {run}"),
        format!("resume {run}"),
        format!("backup restore {backup}"),
    ];
    lines
        .iter()
        .map(|line| line.split(' ').map(str::to_owned).collect())
        .collect()
}

#[test]
fn a_question_without_a_terminal_is_a_usage_error() {
    let node = Node::real("p256", "expired");
    let commands = asking(&node);
    let before = node.snapshot();
    for words in &commands {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        node.run(&words)
            .exits(2)
            .says("this changes files, and there is no terminal to ask on")
            .says("hint: --yes to do it");
    }
    assert_same(&before, &node.snapshot());
}

#[test]
fn an_open_pipe_or_a_closed_stdin_is_no_terminal() {
    let node = Node::real("p256", "expired");
    let root = node.root.to_str().unwrap();
    // The writer stays open and says nothing: whoever waits for an answer waits for ever.
    let (reader, writer) = pipe().unwrap();
    let output = Command::new("timeout")
        .args(["60", BINARY, "--root", root, "run"])
        .stdin(reader)
        .stdout(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(
        output.status.code(),
        Some(2),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    drop(writer);
    for redirection in ["<&-", "<&- >&-", "</dev/zero", "< /"] {
        let line = format!("exec timeout 60 {BINARY} --root {root} run {redirection}");
        let ran = other("sh", &["-c", &line], &node.root).exits(2);
        ran.says("there is no terminal to ask on");
    }
}

#[test]
fn without_a_command_and_a_terminal_the_usage_is_said() {
    let node = Node::real("p256", "expired");
    node.run(&[])
        .exits(2)
        .says("no command was given")
        .says("hint: rescue-kit --help");
}

#[test]
fn an_answer_no_on_a_terminal_changes_nothing() {
    let node = Node::real("p256", "expired");
    let before = node.snapshot();
    let words = [BINARY, "--root", node.root.to_str().unwrap(), "run"];
    for (answer, code) in [
        ("", 4),
        ("1", 4),
        ("q", 4),
        ("<", 4),
        ("\u{4}", 4),
        ("\u{3}", 130),
    ] {
        let mut terminal = Terminal::start(CONSOLE, &words, &[]);
        terminal.wait_for_prompt("Apply this plan?", "(< back, q quit):");
        terminal.type_text(answer);
        if !["\u{3}", "\u{4}"].contains(&answer) {
            terminal.press(Key::Enter);
        }
        terminal.wait_for("nothing was changed");
        assert_eq!(terminal.exit(), code, "{answer:?}");
    }
    assert_same(&before, &node.snapshot());
}
