//! A plan that is not applied tells what a run would do, and the same input gives the same output.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::harness::{Node, other};
use crate::means::{ONE, assert_judged, assert_same, runs};

/// The present, which every command of a test is told, so that plans are dated alike.
fn now() -> String {
    other("date", &["-u", "+%FT%TZ"], Path::new("/"))
        .exits(0)
        .stdout
        .trim()
        .to_owned()
}

fn without_clock(mut object: Value) -> Value {
    object["clock"]["system"] = Value::Null;
    object
}

#[test]
fn check_tells_what_plan_tells_and_changes_nothing() {
    for words in [
        &[][..],
        &["--all"],
        &ONE,
        &["--renew-before", "400d"],
        &["--san", "10.9.8.7"],
    ] {
        for state in ["fresh", "expired"] {
            let node = Node::real("p256", state);
            let (before, now) = (node.snapshot(), now());
            let plan = node.json(&[&["--now", &now, "plan"], words].concat());
            let check = node.run(
                &[
                    &["--now", &now, "run", "--check", "--output", "json"],
                    words,
                ]
                .concat(),
            );
            let check = check.exits(0).json();
            assert_eq!(plan["changed"], check["changed"], "{words:?} {state}");
            assert_eq!(plan["plan"], check["plan"], "{words:?} {state}");
            assert_eq!(
                plan["plan_sha256"], check["plan_sha256"],
                "{words:?} {state}"
            );
            assert_same(&before, &node.snapshot());
            assert!(!node.path("/var/lib/rescue-kit").exists());
        }
    }
}

#[test]
fn check_says_which_places_a_way_back_or_on_leads_to_and_goes_none() {
    let node = Node::real("p256", "expired");
    let stop = [("RESCUE_KIT_FAIL", "act:c03:forward=abort")];
    node.run_with(
        &["run", "--yes", "--only", "apiserver,scheduler.conf"],
        &stop,
    );
    let (before, runs) = (node.snapshot(), runs(&node));
    let on = node.run(&["resume", "--check", "--yes"]).exits(0);
    on.prints("would finish 1 place(s) of the run")
        .prints("/etc/kubernetes/scheduler.conf")
        .prints("nothing was changed (--check)");
    let back = node.json(&["rollback", "--check", "--yes"]);
    assert_eq!(back["changed"], true);
    assert_eq!(back["way"], "back");
    let places: Vec<String> = back["places"]
        .as_array()
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(
        places.last().unwrap().contains("pki/apiserver.key"),
        "{places:?}"
    );
    assert_same(&before, &node.snapshot());
    let records = || fs::read(node.newest_run().join("journal.jsonl")).unwrap();
    let journal = records();
    node.run(&["rollback", "--check"]).exits(0);
    assert_eq!((records(), self::runs(&node)), (journal, runs));
}

#[test]
fn check_is_refused_where_there_is_nothing_to_show() {
    let node = Node::real("p256", "fresh");
    node.run(&["run", "--yes", "--all"]).exits(0);
    let before = node.snapshot();
    let kept = fs::read_dir(node.newest_run()).unwrap().count();
    let new = node.root.with_file_name("new");
    let new = new.to_str().unwrap();
    for words in [
        &["runs", "prune", "--keep", "0"][..],
        &["backup", "create"],
        &["audit", "pack"],
        &["ca", "export", "--out", new],
        &["ca", "rotate", "begin", "--out", new],
        &["sa", "rotate", "begin", "--out", new],
    ] {
        node.run(&[words, &["--check", "--yes"]].concat())
            .exits(2)
            .says("--check has nothing to show here")
            .says("hint: leave --check out");
    }
    assert_same(&before, &node.snapshot());
    assert_eq!(fs::read_dir(node.newest_run()).unwrap().count(), kept);
    assert!(!Path::new(new).exists() && !node.path("/var/lib/rescue-kit/backups").exists());
}

#[test]
fn a_run_changes_exactly_if_its_plan_would() {
    let table: [(&str, &[&str], bool); 7] = [
        ("fresh", &[], false),
        ("fresh", &["--all"], true),
        ("fresh", &["--san", "10.9.8.7"], true),
        ("fresh", &["--san", "localhost"], true),
        ("expired", &ONE, true),
        ("expired", &["--skip", "scheduler.conf"], true),
        ("fresh", &ONE, false),
    ];
    for (state, words, changes) in table {
        let node = Node::real("p256", state);
        let now = now();
        let plan = node.json(&[&["--now", &now, "plan"], words].concat());
        assert_eq!(plan["changed"], changes, "{state} {words:?}");
        let run = node.json(&[&["--now", &now, "run", "--yes"], words].concat());
        assert_eq!(run["changed"], changes, "{state} {words:?}");
        let ids = |steps: &Value| -> Vec<Value> {
            steps
                .as_array()
                .unwrap()
                .iter()
                .map(|step| step["at"].clone())
                .collect()
        };
        assert_eq!(
            ids(&plan["plan"]["phases"]["commit"]),
            ids(&run["steps"]),
            "{state} {words:?}"
        );
        let again = node.json(&[&["run", "--yes"], words].concat());
        // What was asked for with --all is asked for again.
        assert_eq!(
            again["changed"],
            words.contains(&"--all"),
            "{state} {words:?}"
        );
    }
}

#[test]
fn the_same_input_gives_the_same_output() {
    let node = Node::real("p256", "expired");
    let now = now();
    for words in [
        &["inspect"][..],
        &["plan", "--diff"],
        &["verify"],
        &["profile", "detect"],
    ] {
        let look = || without_clock(node.json(&[&["--now", &now], words].concat()));
        let mut pair = [look(), look()];
        if words == ["profile", "detect"] {
            for object in &mut pair {
                object["at"] = Value::Null;
            }
        }
        assert_eq!(pair[0], pair[1], "{words:?}");
        let text = || node.run(&[&["--now", &now], words].concat()).stdout;
        assert_eq!(text(), text(), "{words:?}");
    }
}

#[test]
fn the_copy_of_a_node_is_told_the_same_as_the_node() {
    let (one, two) = (Node::real("rsa", "expired"), Node::real("rsa", "expired"));
    let now = now();
    let look = |node: &Node| without_clock(node.json(&["--now", &now, "plan"]));
    assert_eq!(look(&one), look(&two));
}

#[test]
fn a_saved_plan_does_what_a_run_does() {
    let (one, two) = (Node::real("p256", "expired"), Node::real("p256", "expired"));
    let path = one.root.with_file_name("plan.json");
    let path = path.to_str().unwrap();
    let now = now();
    one.run(&["--now", &now, "plan", "--out", path]).exits(3);
    one.run(&["apply", path, "--check"]).exits(0);
    let applied = one.json(&["apply", path, "--yes"]);
    let ran = two.json(&["--now", &now, "run", "--yes"]);
    assert_eq!(applied["steps"], ran["steps"]);
    assert_eq!(applied["changed"], true);
    assert_judged(&one);
    let names = |node: &Node| -> Vec<String> {
        let stamped = |name: &String| !name.contains("kubelet-client-2");
        node.snapshot().into_keys().filter(stamped).collect()
    };
    assert_eq!(names(&one), names(&two));
}

#[test]
fn diff_shows_what_differs_before_and_after() {
    let node = Node::real("p256", "expired");
    let plan = node.run(&[&["plan", "--diff"], &ONE[..]].concat()).exits(3);
    plan.prints("scheduler.conf").prints("2026");
    let ran = node.json(&[&["run", "--yes"], &ONE[..]].concat());
    let (before, after) = (&ran["diff"]["before"][0], &ran["diff"]["after"][0]);
    assert_eq!(before["id"], "scheduler.conf");
    assert_eq!(before["subject"], after["subject"]);
    assert_ne!(before["serial"], after["serial"]);
}
