//! One exit code for each outcome; data on stdout, talk on stderr; one JSON object, also on failure.

use std::io::pipe;
use std::process::{Command, Stdio};

use crate::harness::{BINARY, Node, run};

/// Commands on an expired node that was never rescued, and their codes.
const EXPIRED: [(&[&str], i32); 26] = [
    (&["inspect"], 3),
    (&["plan"], 3),
    (&["verify"], 3),
    (&["run", "--check"], 0),
    (&["run"], 2),
    (&["resume", "--yes"], 5),
    (&["rollback", "--yes"], 5),
    (&["apply", "/nowhere", "--yes"], 5),
    (&["runs", "list"], 0),
    (&["runs", "prune"], 0),
    (&["backup", "list"], 0),
    (&["backup", "verify", "/nowhere"], 5),
    (&["backup", "restore", "/nowhere", "--yes"], 5),
    (&["audit", "show"], 5),
    (&["audit", "report"], 5),
    (&["audit", "pack"], 5),
    (&["audit", "verify", "/nowhere"], 5),
    (&["audit", "export"], 0),
    (&["profile", "list"], 0),
    (&["profile", "show", "kubeadm"], 0),
    (&["profile", "show", "x"], 2),
    (&["profile", "detect"], 0),
    (&["profile", "validate", "/nowhere"], 5),
    (&["drill", "--list"], 0),
    (&["drill", "--scenario", "x"], 2),
    (&["inspect", "--output", "html2"], 2),
];

/// Commands on a node with nothing to do.
const FRESH: [(&[&str], i32); 6] = [
    (&["inspect"], 0),
    (&["plan"], 0),
    (&["verify"], 0),
    (&["run", "--check"], 0),
    (&["run"], 0),
    (&["run", "--yes"], 0),
];

#[test]
fn every_command_ends_with_the_code_of_its_outcome() {
    for (state, table) in [("expired", &EXPIRED[..]), ("fresh", &FRESH)] {
        let node = Node::real("p256", state);
        let before = node.snapshot();
        for (words, code) in table {
            let ran = node.run(words);
            assert_eq!(ran.code, *code, "{words:?}: {}{}", ran.stdout, ran.stderr);
            // Failures talk, successes print.
            assert_eq!(
                ran.stdout.is_empty(),
                matches!(code, 2 | 5),
                "{words:?}: {}",
                ran.stdout
            );
            assert_eq!(
                ran.stderr.is_empty(),
                !matches!(code, 2 | 5),
                "{words:?}: {}",
                ran.stderr
            );
        }
        crate::means::assert_same(&before, &node.snapshot());
    }
}

#[test]
fn help_and_version_are_data() {
    run(&["--help"], &[])
        .exits(0)
        .prints("Usage: rescue-kit [OPTIONS] [COMMAND]");
    run(&["run", "--help"], &[])
        .exits(0)
        .prints("--validity <DURATION>");
    let version = run(&["--version"], &[]).exits(0);
    assert_eq!(
        version.stdout,
        concat!("rescue-kit ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn json_is_exactly_one_object_with_its_schema_first() {
    for (state, table) in [("expired", &EXPIRED[..]), ("fresh", &FRESH)] {
        let node = Node::real("p256", state);
        for (words, code) in table
            .iter()
            .filter(|(words, _)| words[..2.min(words.len())] != ["profile", "show"])
        {
            // The export has its own forms, and one word of the table is no form at all.
            if words.contains(&"export") || words.contains(&"html2") {
                continue;
            }
            let ran = node.run(&[words, &["--output", "json"][..]].concat());
            assert_eq!(ran.code, *code, "{words:?}: {}{}", ran.stdout, ran.stderr);
            assert_eq!(ran.stdout.lines().count(), 1, "{words:?}: {}", ran.stdout);
            let object = ran.json();
            assert!(
                ran.stdout.starts_with("{\"schema\":\"rescue-kit/"),
                "{words:?}: {:.60}",
                ran.stdout
            );
            assert_eq!(object["tool"]["version"], env!("CARGO_PKG_VERSION"));
            if matches!(code, 2 | 5) {
                assert_eq!(object["error"]["code"], *code, "{words:?}");
                assert!(object["error"]["text"].is_string(), "{words:?}");
                assert!(
                    !object["error"]["hints"].as_array().unwrap().is_empty(),
                    "{words:?}: {object}"
                );
            } else {
                assert!(
                    object["error"].is_null() && object["at"].is_string(),
                    "{words:?}: {object}"
                );
            }
        }
    }
}

#[test]
fn a_wrong_command_line_is_an_object_too() {
    for words in [
        &["--output", "json", "frob"][..],
        &["run", "--output=json", "--frob"],
        &["--output", "json"],
    ] {
        let ran = run(words, &[]).exits(2);
        assert_eq!(ran.json()["error"]["code"], 2, "{words:?}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let node = Node::real("p256", "expired");
    let root = node.root.to_str().unwrap();
    for (words, code) in [
        (&["inspect"][..], 3),
        (&["profile", "show", "kubeadm"], 0),
        (&["run", "--yes"], 0),
        (&["verify"], 0),
        (&["--help"], 0),
    ] {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let output = Command::new(BINARY)
            .args(["--root", root])
            .args(words)
            .stdin(Stdio::null())
            .stdout(writer)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        assert_eq!(said, "", "{words:?}");
    }
}

#[test]
fn quiet_says_only_what_is_asked_for() {
    let node = Node::real("p256", "expired");
    let ran = node.run(&["run", "--yes", "--quiet"]).exits(0);
    assert_eq!(ran.stdout.lines().count(), 1, "{}", ran.stdout);
    let ran = node.run(&["run", "--yes", "--quiet"]).exits(0);
    assert_eq!(ran.stdout, "");
}

#[test]
fn progress_for_programs_is_lines_of_json_on_stderr() {
    let node = Node::real("p256", "expired");
    let ran = node.run(&["run", "--yes", "--progress", "json"]).exits(0);
    let lines: Vec<serde_json::Value> = ran
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[0]["steps"], 32);
    let count = |event: &str| lines.iter().filter(|line| line["event"] == event).count();
    assert_eq!((count("issued"), count("replaced")), (12, 20));
}
