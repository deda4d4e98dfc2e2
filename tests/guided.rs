//! The guided rescue on a real pseudo-terminal: every question, every way out of it, and what is left behind.

mod half_way;
mod patients;
mod seen;

use std::ops::Range;
use std::path::Path;

use crate::harness::{BINARY, Node, lab_program, other};
use crate::means::{assert_judged, assert_same, leftovers, runs};
use crate::pty::{CONSOLE, Key, MORE, Size, Terminal};

/// The questions of a rescue of expired leaves, in their order, each with an answer that leads to the next.
const QUESTIONS: [(&str, &str); 6] = [
    ("6 quit, change nothing choice [1]", "1"),
    ("operator [", "A. Operator"),
    ("ticket that allows it [none]", "CHG-1"),
    ("another directory choice [1]", ""),
    ("names to add", ""),
    ("Do it?", "2"),
];

/// Starts the guided rescue of a node's files on a terminal.
fn guide_with(node: &Node, size: Size, env: &[(&str, &str)]) -> Terminal {
    let root = node.root.to_str().unwrap();
    Terminal::start(size, &[BINARY, "--root", root], env)
}

fn guide(node: &Node) -> Terminal {
    guide_with(node, CONSOLE, &[])
}

/// Waits for a question and types a line.
#[track_caller]
fn answer(terminal: &mut Terminal, question: &str, line: &str) {
    terminal.wait_for_prompt(question, "(< back, q quit):");
    terminal.type_text(line);
    terminal.press(Key::Enter);
}

/// Answers the first questions of [`QUESTIONS`].
#[track_caller]
fn answer_first(terminal: &mut Terminal, count: usize) {
    answer_some(terminal, 0..count);
}

/// Answers some of [`QUESTIONS`].
#[track_caller]
fn answer_some(terminal: &mut Terminal, which: Range<usize>) {
    for (question, line) in &QUESTIONS[which] {
        answer(terminal, question, line);
    }
}

/// Makes certificates of a node expire, with words of the lab's program.
fn expire(node: &Node, words: &[&str]) {
    let root = node.root.to_str().unwrap();
    let words = [&["-root", root, "-skip", "kubelet-serving"], words].concat();
    other(lab_program("expire"), &words, Path::new("/")).exits(0);
}

#[test]
fn whoever_answers_every_question_rescues_the_node() {
    let node = Node::real("p256", "expired");
    let mut terminal = guide(&node);
    terminal.wait_for("cause: kubelet-client");
    terminal
        .wait_for("the kubelet exits at start, so no static pod runs; 11 others are broken too");
    answer_first(&mut terminal, 5);
    terminal.wait_for("1 renew kubelet-client expired 35 days ago");
    terminal.wait_for("12 renew super-admin.conf expired 35 days ago");
    let command = format!(
        "rescue-kit run --root={} --operator='A. Operator' --ticket=CHG-1 --yes",
        node.root.display()
    );
    answer(&mut terminal, "Do it?", "2");
    let printed = terminal.transcript().replace(" \\\r\n  ", " ");
    assert!(printed.contains(&command), "{printed}");
    terminal.wait_for("12 certificates issued, 20 places replaced");
    terminal.wait_for("60 checks passed, 0 failed, 2 could not be made here");
    terminal.wait_for("next kubelet: reads kubelet-client only when it starts");
    assert_eq!(terminal.exit(), 0);
    assert_judged(&node);
    assert_eq!(leftovers(&node), Vec::<String>::new());
    let journal = std::fs::read_to_string(node.newest_run().join("journal.jsonl")).unwrap();
    let begin: serde_json::Value = serde_json::from_str(journal.lines().next().unwrap()).unwrap();
    let begin = &begin["body"]["begin"];
    assert_eq!(begin["operator"], "A. Operator");
    assert_eq!(begin["ticket"], "CHG-1");
    let words: Vec<&str> = begin["command"]
        .as_array()
        .unwrap()
        .iter()
        .map(|word| word.as_str().unwrap())
        .collect();
    let root = format!("--root={}", node.root.display());
    assert_eq!(
        words[1..],
        [
            "run",
            &root,
            "--operator=A. Operator",
            "--ticket=CHG-1",
            "--yes"
        ]
    );
}

#[test]
fn the_command_that_is_shown_does_the_same() {
    let (asked, told) = (Node::real("p256", "expired"), Node::real("p256", "expired"));
    let mut terminal = guide(&asked);
    answer_first(&mut terminal, 4);
    answer(
        &mut terminal,
        "names to add",
        "apiserver=10.9.9.9, node.example.test",
    );
    terminal.wait_for("lacks 10.9.9.9");
    answer(&mut terminal, "Do it?", "2");
    assert_eq!(terminal.exit(), 0);
    let everything = terminal.transcript();
    // As it is copied, with all lines that end with a backslash.
    let from = everything.find("rescue-kit run ").unwrap();
    let lines: Vec<&str> = everything[from..].lines().collect();
    let last = lines.iter().position(|line| !line.ends_with('\\')).unwrap();
    assert!(
        last > 0 && lines[..last].iter().all(|line| line.len() < 80),
        "{lines:?}"
    );
    let command = lines[..=last].join("\n");
    let command = command.replace(asked.root.to_str().unwrap(), told.root.to_str().unwrap());
    let line = format!(
        "exec {BINARY} {}",
        command.trim_start_matches("rescue-kit ")
    );
    other("sh", &["-c", &line], Path::new("/")).exits(0);
    for node in [&asked, &told] {
        let cert = node.path("/etc/kubernetes/pki/apiserver.crt");
        let names = crate::means::x509(&cert, &["-ext", "subjectAltName"]);
        assert!(
            names.contains("IP Address:10.9.9.9") && names.contains("DNS:node.example.test"),
            "{names}"
        );
        let cert = node.path("/etc/kubernetes/pki/etcd/peer.crt");
        let names = crate::means::x509(&cert, &["-ext", "subjectAltName"]);
        assert!(
            !names.contains("10.9.9.9") && names.contains("node.example.test"),
            "{names}"
        );
    }
}

#[test]
fn to_quit_at_any_question_changes_nothing() {
    let node = Node::real("p256", "expired");
    let before = node.snapshot();
    for (count, (question, _)) in QUESTIONS.iter().enumerate() {
        let mut terminal = guide(&node);
        answer_first(&mut terminal, count);
        answer(&mut terminal, question, "q");
        terminal.wait_for("nothing was changed");
        assert_eq!(terminal.exit(), 4, "question {count}");
        let mut terminal = guide(&node);
        answer_first(&mut terminal, count);
        terminal.wait_for_prompt(question, "(< back, q quit):");
        terminal.press(Key::CtrlD);
        assert_eq!(terminal.exit(), 4, "question {count}");
    }
    assert_same(&before, &node.snapshot());
    assert_eq!(runs(&node), Vec::<String>::new());
}

#[test]
fn an_interrupt_or_a_dropped_line_at_any_question_changes_nothing() {
    let node = Node::real("p256", "expired");
    let before = node.snapshot();
    for (count, (question, _)) in QUESTIONS.iter().enumerate() {
        let at = |terminal: &mut Terminal| {
            answer_first(terminal, count);
            terminal.wait_for_prompt(question, "(< back, q quit):");
        };
        let mut terminal = guide(&node);
        at(&mut terminal);
        terminal.interrupt();
        terminal.wait_for("stopped by signal 2; nothing was changed");
        assert_eq!(terminal.exit(), 130, "question {count}");
        let mut terminal = guide(&node);
        at(&mut terminal);
        terminal.hang_up();
        assert_eq!(terminal.exit(), 129, "question {count}");
    }
    assert_same(&before, &node.snapshot());
    assert_eq!(runs(&node), Vec::<String>::new());
}

#[test]
fn back_leads_to_the_question_before_and_keeps_what_was_answered() {
    let node = Node::real("p256", "expired");
    let mut terminal = guide(&node);
    answer_first(&mut terminal, 5);
    answer(&mut terminal, "Do it?", "<");
    answer(&mut terminal, "names to add", "<");
    answer(&mut terminal, "another directory choice [1]", "<");
    answer(&mut terminal, "ticket that allows it [CHG-1]", "<");
    answer(&mut terminal, "operator [A. Operator]", "<");
    answer(&mut terminal, QUESTIONS[0].0, "<");
    terminal.wait_for("this is the first question");
    answer(&mut terminal, QUESTIONS[0].0, "1");
    answer(&mut terminal, "operator [A. Operator]", "B. Operator");
    answer(&mut terminal, "ticket that allows it [CHG-1]", "q");
    assert_eq!(terminal.exit(), 4);
}

#[test]
fn an_empty_line_is_no_consent() {
    let node = Node::real("p256", "expired");
    let before = node.snapshot();
    let mut terminal = guide(&node);
    answer_first(&mut terminal, 5);
    answer(&mut terminal, "Do it?", "");
    terminal.wait_for("nothing was changed");
    assert_eq!(terminal.exit(), 4);
    assert_same(&before, &node.snapshot());
}

#[test]
fn what_makes_no_sense_is_asked_again() {
    let node = Node::real("p256", "expired");
    let mut terminal = guide(&node);
    answer(&mut terminal, QUESTIONS[0].0, "7");
    answer(&mut terminal, "a number from 1 to 6, please", "yes");
    answer(&mut terminal, "a number from 1 to 6, please", "1");
    answer(&mut terminal, "operator [", "A. Operator");
    answer(&mut terminal, "ticket", "");
    answer(&mut terminal, "another directory choice [1]", "2");
    answer(&mut terminal, "directory [none]", "here");
    answer(
        &mut terminal,
        "not that: an absolute path, please",
        "/nowhere",
    );
    answer(&mut terminal, "not that: /nowhere is no directory", "<");
    answer(&mut terminal, "another directory choice [1]", "1");
    answer(&mut terminal, "names to add", "apisever=10.1.1.1");
    answer(
        &mut terminal,
        "not that: there is no certificate `apisever` in this profile",
        "q",
    );
    assert_eq!(terminal.exit(), 4);
}

#[test]
fn everything_can_be_looked_at_before_the_first_answer() {
    let node = Node::real("p256", "expired");
    let mut terminal = guide(&node);
    answer(&mut terminal, QUESTIONS[0].0, "2");
    terminal.wait_for("keep every byte of the old ones but serial, validity and key");
    answer(&mut terminal, QUESTIONS[0].0, "3");
    terminal.wait_for("RK0201 A certificate has expired");
    answer(&mut terminal, QUESTIONS[0].0, "4");
    terminal.wait_for("critical RK0201");
    answer(&mut terminal, QUESTIONS[0].0, "5");
    terminal.wait_for("judged at");
    answer(&mut terminal, QUESTIONS[0].0, "6");
    assert_eq!(terminal.exit(), 4);
}

#[test]
fn the_plan_is_explained_before_it_is_agreed_to() {
    let node = Node::real("p256", "expired");
    let mut terminal = guide(&node);
    answer_first(&mut terminal, 5);
    answer(&mut terminal, "Do it?", "3");
    terminal.wait_for("replace 20 place(s), in this order");
    terminal.wait_for("+ serial    (drawn when issued)");
    answer(&mut terminal, "Do it?", "1");
    assert_eq!(terminal.exit(), 4);
}

#[test]
fn saved_answers_give_the_same_plan_without_a_question() {
    let node = Node::real("p256", "expired");
    let file = node.root.with_file_name("answers.toml");
    let mut terminal = guide(&node);
    answer_first(&mut terminal, 4);
    answer(&mut terminal, "names to add", "10.9.9.9");
    answer(&mut terminal, "Do it?", "4");
    answer(
        &mut terminal,
        "file [/root/rescue-kit-answers.toml]",
        file.to_str().unwrap(),
    );
    terminal.wait_for("saved; later: rescue-kit run --answers");
    answer(&mut terminal, "Do it?", "4");
    answer(&mut terminal, "file [", file.to_str().unwrap());
    answer(&mut terminal, "exists", "<");
    answer(&mut terminal, "Do it?", "1");
    assert_eq!(terminal.exit(), 4);
    let text = std::fs::read_to_string(&file).unwrap();
    let expected = format!(
        "# Answers for: rescue-kit run --answers FILE --yes\nroot = \"{}\"\nsan = [\"10.9.9.9\"]\noperator = \"A. Operator\"\nticket = \"CHG-1\"\n",
        node.root.display()
    );
    assert_eq!(text, expected);
    let words = ["run", "--answers", file.to_str().unwrap(), "--check"];
    crate::harness::run(&words, &[])
        .exits(0)
        .prints("adds 10.9.9.9: --san");
}

#[test]
fn a_second_copy_of_the_backup_goes_where_it_was_said() {
    let node = Node::real("p256", "expired");
    let stick = tempfile::TempDir::new().unwrap();
    let mut terminal = guide(&node);
    answer_first(&mut terminal, 3);
    answer(&mut terminal, "another directory choice [1]", "2");
    answer(
        &mut terminal,
        "directory [none]",
        stick.path().to_str().unwrap(),
    );
    answer(&mut terminal, "names to add", "");
    answer(&mut terminal, "Do it?", "2");
    assert_eq!(terminal.exit(), 0);
    let names: Vec<String> = std::fs::read_dir(stick.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let [name] = names.as_slice() else {
        panic!("{names:?}");
    };
    assert!(name.starts_with("backup-"), "{name}");
    let path = stick.path().join(name);
    crate::harness::run(&["backup", "verify", path.to_str().unwrap()], &[]).exits(0);
}

#[test]
fn a_dumb_terminal_gets_no_escape_sequence() {
    let node = Node::real("p256", "expired");
    let mut terminal = guide_with(&node, CONSOLE, &[("TERM", "dumb")]);
    answer_first(&mut terminal, 6);
    assert_eq!(terminal.exit(), 0);
    let said = terminal.transcript();
    assert!(!said.contains('\u{1b}'), "{}", said.escape_debug());
    assert!(
        said.contains("12 certificates issued, 20 places replaced"),
        "{said}"
    );
}

#[test]
fn without_colours_nothing_is_coloured() {
    let node = Node::real("p256", "expired");
    let mut terminal = guide_with(&node, CONSOLE, &[("NO_COLOR", "1")]);
    answer_first(&mut terminal, 5);
    answer(&mut terminal, "Do it?", "1");
    assert_eq!(terminal.exit(), 4);
    let said = terminal.transcript();
    assert!(!said.contains("\u{1b}["), "{}", said.escape_debug());
}

#[test]
fn the_diagnosis_and_its_question_fit_on_a_console() {
    for (case, words) in [
        ("p256", &["-only", "admin.conf"][..]),
        ("rsa", &[]),
        ("masters", &["-cas"]),
    ] {
        let node = Node::real(case, "fresh");
        expire(&node, words);
        let mut terminal = guide(&node);
        terminal.wait_for("choice [1]");
        let rows = terminal.rows();
        assert!(
            rows.len() <= 24,
            "{case}: {} lines\n{}",
            rows.len(),
            terminal.everything()
        );
        terminal.interrupt();
        assert_eq!(terminal.exit(), 130);
    }
}

#[test]
fn no_line_is_broken_by_a_terminal_of_any_size() {
    let large = Size {
        columns: 200,
        rows: 60,
    };
    for size in [CONSOLE, large] {
        let node = Node::real("p256", "expired");
        let mut terminal = guide_with(&node, size, &[]);
        answer_first(&mut terminal, 6);
        assert_eq!(terminal.exit(), 0);
        let rows = terminal.rows();
        // What is there to be copied, and what cannot be broken: commands and paths.
        let may_break = |text: &str| {
            ["rescue-kit", "crictl", "audit", "undo"]
                .iter()
                .any(|word| text.contains(word))
        };
        let broken: Vec<&str> = rows
            .iter()
            .filter(|row| row.broken && !may_break(&row.text))
            .map(|row| row.text.as_str())
            .collect();
        assert_eq!(broken, Vec::<&str>::new());
    }
}

#[test]
fn a_plan_longer_than_the_console_is_read_a_page_at_a_time() {
    let node = Node::real("p256", "expired");
    let mut terminal = guide(&node);
    terminal.stop_at_pages();
    answer_first(&mut terminal, 4);
    let more = str::from_utf8(MORE).unwrap().trim_end();
    let page = |terminal: &mut Terminal, line: &str| {
        terminal.wait_for_prompt("-- more", more);
        let screen = terminal.screen();
        assert!(screen.lines().count() <= 24, "{screen}");
        terminal.type_text(line);
        terminal.press(Key::Enter);
        screen
    };
    // Names, then the plan, whose first lines are still there when its page ends.
    answer(&mut terminal, "names to add", "");
    let screen = page(&mut terminal, "");
    assert!(screen.contains("1  renew kubelet-client"), "{screen}");
    terminal.wait_for("the same without questions:");
    answer(&mut terminal, "Do it?", "3");
    assert!(page(&mut terminal, "").contains("issue 12 certificate(s)"));
    // Whoever has seen enough is asked at once.
    page(&mut terminal, "q");
    answer(&mut terminal, "Do it?", "q");
    assert_eq!(terminal.exit(), 4);
    let large = Size {
        columns: 200,
        rows: 60,
    };
    let mut terminal = guide_with(&node, large, &[]);
    answer_first(&mut terminal, 5);
    answer(&mut terminal, "Do it?", "q");
    assert!(!terminal.everything().contains("-- more"));
}
