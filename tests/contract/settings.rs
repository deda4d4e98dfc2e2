//! Where the values of flags come from: the flag itself, else the environment, else the answers file.

use std::fs;

use crate::harness::{Node, other};
use crate::means::ONE;

fn answers(node: &Node, text: &str) -> String {
    let path = node.root.with_file_name("answers.toml");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Whole days of validity that a plan for one certificate gives.
fn days(node: &Node, words: &[&str], env: &[(&str, &str)]) -> i64 {
    let words = [&["plan", "--output", "json"], &ONE[..], words].concat();
    let object = node.run_with(&words, env).exits(3).json();
    let text = node.run_with(&words[..1], env).stdout;
    let recipe = &object["plan"]["phases"]["stage"][0]["recipe"];
    assert!(recipe["not_after"].is_string(), "{text}");
    let seconds = |text: &serde_json::Value| -> i64 {
        let words = ["-ud", text.as_str().unwrap(), "+%s"];
        other("date", &words, &node.root)
            .exits(0)
            .stdout
            .trim()
            .parse()
            .unwrap()
    };
    (seconds(&recipe["not_after"]) - seconds(&recipe["not_before"])) / 86400
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_answers() {
    let node = Node::real("p256", "expired");
    let file = answers(&node, "validity = \"30d\"\n");
    let (flag, env) = (["--validity", "10d"], [("RESCUE_KIT_VALIDITY", "20d")]);
    let file = ["--answers", &file];
    assert_eq!(days(&node, &[], &[]), 365);
    assert_eq!(days(&node, &file, &[]), 30);
    assert_eq!(days(&node, &file, &env), 20);
    assert_eq!(days(&node, &[flag, file].concat(), &env), 10);
    assert_eq!(days(&node, &flag, &env), 10);
    let named = [("RESCUE_KIT_ANSWERS", file[1])];
    assert_eq!(days(&node, &[], &named), 30);
}

/// Runs words on a fresh node with variables, and asserts code and a text of stdout or stderr.
#[track_caller]
fn with(node: &Node, env: &[(&str, &str)], words: &[&str], code: i32, text: &str) {
    let root = [("RESCUE_KIT_ROOT", node.root.to_str().unwrap())];
    let ran = crate::harness::run(words, &[&root, env].concat()).exits(code);
    if code == 2 {
        ran.says(text)
    } else {
        ran.prints(text)
    };
}

#[test]
fn every_flag_of_plan_has_a_variable() {
    type Case<'a> = (&'a [(&'a str, &'a str)], i32, &'a str);
    let node = Node::real("p256", "fresh");
    let all = ("RESCUE_KIT_ALL", "yes");
    let table: [Case; 12] = [
        (&[], 0, "nothing to do"),
        (&[all], 3, "issue 12 certificate(s)"),
        (&[("RESCUE_KIT_ALL", "no")], 0, "nothing to do"),
        (&[("RESCUE_KIT_RENEW_BEFORE", "400d")], 3, "issue 12"),
        (
            &[all, ("RESCUE_KIT_ONLY", "apiserver,admin.conf")],
            3,
            "issue 2 ",
        ),
        (&[all, ("RESCUE_KIT_SKIP", "apiserver")], 3, "issue 11 "),
        (
            &[("RESCUE_KIT_SAN", "apiserver=10.9.8.7")],
            3,
            "10.9.8.7 (--san)",
        ),
        (
            &[all, ("RESCUE_KIT_KEY", "reuse")],
            3,
            "replace 13 place(s)",
        ),
        (
            &[all, ("RESCUE_KIT_KEY_ALGORITHM", "rsa-2048")],
            3,
            "new rsa-2048 key",
        ),
        (&[("RESCUE_KIT_OUTPUT", "json")], 0, "rescue-kit/plan/v1"),
        (&[("RESCUE_KIT_PROFILE", "x")], 2, "no built-in profile `x`"),
        (&[("RESCUE_KIT_NOW", "x")], 2, "`x` is no time"),
    ];
    for (env, code, text) in table {
        with(&node, env, &["plan"], code, text);
    }
}

#[test]
fn every_flag_of_run_has_a_variable() {
    let node = Node::real("p256", "fresh");
    let all = ("RESCUE_KIT_ALL", "yes");
    with(
        &node,
        &[all, ("RESCUE_KIT_CHECK", "true")],
        &["run"],
        0,
        "issue 12",
    );
    with(
        &node,
        &[all, ("RESCUE_KIT_YES", "false")],
        &["run"],
        2,
        "no terminal to ask on",
    );
    let state = ("RESCUE_KIT_STATE_DIR", "srv/kit");
    let yes = [
        all,
        state,
        ("RESCUE_KIT_YES", "1"),
        ("RESCUE_KIT_QUIET", "1"),
    ];
    let who = [
        ("RESCUE_KIT_OPERATOR", "J. Doe"),
        ("RESCUE_KIT_TICKET", "CHG-1"),
        ("RESCUE_KIT_REASON", "night"),
    ];
    with(
        &node,
        &[&yes[..], &who].concat(),
        &["run"],
        0,
        "issued 12 certificates",
    );
    for said in ["J. Doe", "CHG-1", "night"] {
        with(&node, &[state], &["audit", "show"], 0, said);
    }
}

#[test]
fn answers_may_say_anything_that_flags_may() {
    let node = Node::real("p256", "expired");
    let file = answers(
        &node,
        &format!(
            "root = {:?}\nyes = true\nonly = [\"scheduler.conf\", \"admin.conf\"]\nvalidity = \"30d\"\nquiet = true\noperator = \"J. Doe\"\n",
            node.root.to_str().unwrap()
        ),
    );
    let ran = crate::harness::run(&["--answers", &file, "run"], &[]).exits(0);
    assert!(
        ran.stdout
            .starts_with("issued 2 certificates, replaced 2 places"),
        "{}",
        ran.stdout
    );
}

#[test]
fn an_unknown_answer_is_named_with_the_nearest_known() {
    let node = Node::real("p256", "expired");
    let file = answers(&node, "validty = \"30d\"\n");
    let text = format!("{file} has an unknown key `validty`; did you mean `validity`?");
    crate::means::refused(&node, &["--answers", &file, "run", "--yes"], 2, &text);
    for (text, why) in [
        ("x", "is not TOML"),
        ("validity = 1.5", "has no plain value for `validity`"),
        ("validity = \"x\"", "`x` is no duration"),
    ] {
        let file = answers(&node, text);
        crate::means::refused(&node, &["--answers", &file, "run", "--yes"], 2, why);
    }
    crate::means::refused(
        &node,
        &["--answers", "/nowhere", "run", "--yes"],
        5,
        "cannot read /nowhere",
    );
}

#[test]
fn the_form_of_a_failure_is_what_the_flag_says_then_the_environment_then_the_answers() {
    let node = Node::real("p256", "expired");
    let file = answers(&node, "output = \"json\"\n");
    let words = ["run"];
    let env = [("RESCUE_KIT_OUTPUT", "json")];
    node.run_with(&words, &env).exits(2).json();
    node.run(&[&["--answers", &file], &words[..]].concat())
        .exits(2)
        .json();
    let ran = node.run_with(&["--output", "human", "run"], &env).exits(2);
    assert_eq!(ran.stdout, "");
    let ran = node
        .run(&["--answers", &file, "--output", "human", "run"])
        .exits(2);
    assert_eq!(ran.stdout, "");
}

#[test]
fn colour_is_for_terminals_unless_it_is_asked_for() {
    let node = Node::real("p256", "expired");
    let coloured = |words: &[&str], env: &[(&str, &str)]| {
        node.run_with(&[words, &["inspect"]].concat(), env)
            .exits(3)
            .stdout
            .contains('\u{1b}')
    };
    assert!(!coloured(&[], &[]));
    assert!(coloured(&["--color", "always"], &[]));
    assert!(coloured(&["--color", "always"], &[("NO_COLOR", "1")]));
    assert!(coloured(&[], &[("RESCUE_KIT_COLOR", "always")]));
    assert!(!coloured(
        &["--color", "never"],
        &[("RESCUE_KIT_COLOR", "always")]
    ));
    let root = node.root.display();
    let on_terminal = |line: String| {
        let ran = other("script", &["-qec", &line, "/dev/null"], &node.root).exits(3);
        ran.stdout.contains("\u{1b}[")
    };
    let binary = crate::harness::BINARY;
    assert!(on_terminal(format!(
        "env -i TERM=xterm {binary} --root {root} inspect"
    )));
    assert!(!on_terminal(format!(
        "env -i TERM=xterm NO_COLOR=1 {binary} --root {root} inspect"
    )));
    assert!(!on_terminal(format!(
        "env -i TERM=xterm {binary} --root {root} --color never inspect"
    )));
}
