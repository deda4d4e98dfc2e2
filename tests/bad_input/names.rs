//! Names that nobody knows: the nearest known one is named.

use crate::harness::{Node, Ran, run};
use crate::means::refused;

fn profile() -> &'static str {
    include_str!("../../profiles/kubeadm.toml")
}

fn with_profile(text: &str) -> (Node, String) {
    let node = Node::real("p256", "expired");
    let path = node.root.with_file_name("layout.toml");
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (node, path)
}

#[test]
fn an_unknown_key_in_a_profile_is_named_with_its_line_and_the_nearest_known() {
    let table = [
        (
            profile().replacen("anchor ", "ancor  ", 1),
            "line 6: unknown key `ancor`; did you mean `anchor`?",
        ),
        (
            profile().replace(
                "optional = true\n\n# --- etcd",
                "optionl = true\n\n# --- etcd",
            ),
            "unknown key `optionl`; did you mean `optional`?",
        ),
        (
            profile().replacen("schema = 1", "schema = 9", 1),
            "schema 9",
        ),
        (
            profile().replacen("signer = \"ca\"", "signer = \"cb\"", 1),
            "cb",
        ),
    ];
    for (text, why) in table {
        let (node, path) = with_profile(&text);
        let said = format!("profile {path} cannot be used");
        refused(&node, &["--profile", &path, "run", "--yes"], 5, &said).says(why);
        let ran: Ran = run(&["profile", "validate", &path], &[]);
        ran.exits(5)
            .says(&said)
            .says(why)
            .says("hint: compare with: rescue-kit profile show kubeadm");
    }
}

#[test]
fn a_sound_copy_of_a_profile_is_valid_and_rescues() {
    let (node, path) = with_profile(profile());
    run(&["profile", "validate", &path], &[])
        .exits(0)
        .prints("kubeadm: valid, 14 certificates");
    node.run(&[
        "--profile",
        &path,
        "run",
        "--yes",
        "--only",
        "scheduler.conf",
    ])
    .exits(0);
}

#[test]
fn an_unknown_profile_is_a_usage_error() {
    let node = Node::real("p256", "expired");
    refused(
        &node,
        &["--profile", "kubadm", "run", "--yes"],
        2,
        "there is no built-in profile `kubadm`",
    );
}

#[test]
fn unknown_ids_are_usage_errors_that_name_the_nearest() {
    let table: [(&[&str], &str, &str); 5] = [
        (
            &["--only", "apiservr"],
            "there is no certificate `apiservr` in this profile",
            "did you mean `apiserver`?",
        ),
        (
            &["--skip", "admin,scheduler.cnf"],
            "there is no certificate `admin` in this profile",
            "hint:",
        ),
        (
            &["--skip", "scheduler.cnf"],
            "there is no certificate `scheduler.cnf`",
            "did you mean `scheduler.conf`?",
        ),
        (
            &["--san", "apserver=10.0.0.1"],
            "there is no certificate `apserver`",
            "did you mean `apiserver`?",
        ),
        (
            &["--template", "etcd-sever=x.json"],
            "there is no certificate `etcd-sever`",
            "did you mean `etcd-server`?",
        ),
    ];
    let node = Node::real("p256", "expired");
    for (words, text, hint) in table {
        refused(&node, &[&["run", "--yes"], words].concat(), 2, text).says(hint);
        refused(&node, &[&["plan"], words].concat(), 2, text);
    }
}

#[test]
fn values_that_mean_nothing_are_usage_errors_that_show_the_form() {
    let table: [(&[&str], &str); 8] = [
        (
            &["run", "--san", "a b"],
            "`a b` is no IP address or DNS name",
        ),
        (&["run", "--validity", "10"], "`10` is no duration"),
        (&["run", "--renew-before", "soon"], "`soon` is no duration"),
        (
            &["run", "--key-algorithm", "rsa-512"],
            "`rsa-512` is no key algorithm of this tool",
        ),
        (
            &["run", "--key", "old"],
            "invalid value 'old' for '--key <CHOICE>'",
        ),
        (&["run", "--now", "tomorrow"], "`tomorrow` is no time"),
        (
            &["run", "--frobnicate"],
            "unexpected argument '--frobnicate' found",
        ),
        (&["rescue"], "unrecognized subcommand 'rescue'"),
    ];
    let node = Node::real("p256", "expired");
    for (words, text) in table {
        refused(&node, words, 2, text);
    }
}
