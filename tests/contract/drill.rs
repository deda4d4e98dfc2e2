//! The drill: every scenario ends as it should, for anybody, and leaves what was asked for.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;

use crate::harness::{BINARY, Ran, other, run};
use crate::means::NOBODY;

/// A scenario and what becomes of it.
const SCENARIOS: [(&str, &str); 10] = [
    ("leaves-expired", "rescued"),
    ("kubelet-only", "rescued"),
    ("missing-leaf", "rescued"),
    ("mismatched-pair", "rescued"),
    ("truncated-leaf", "rescued"),
    ("wrong-san", "rescued"),
    ("ca-expired", "refused"),
    ("ca-key-missing", "refused"),
    ("foreign-ca", "refused"),
    ("clock-wrong", "refused"),
];

/// A directory that anybody may write to.
fn open() -> TempDir {
    let dir = TempDir::new().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    dir
}

/// The binary where anybody may run it.
fn as_nobody(dir: &TempDir, words: &[&str]) -> Ran {
    let copy = dir.path().join("rescue-kit");
    if !copy.exists() {
        fs::hard_link(BINARY, &copy)
            .or_else(|_| fs::copy(BINARY, &copy).map(drop))
            .unwrap();
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let copy = copy.to_str().unwrap();
    other(
        "setpriv",
        &[&NOBODY[..], &[copy], words].concat(),
        dir.path(),
    )
}

#[test]
fn every_scenario_ends_as_it_should_without_root() {
    let dir = open();
    for (name, outcome) in SCENARIOS {
        let work = dir.path().join(name);
        let words = [
            "drill",
            "--scenario",
            name,
            "--dir",
            work.to_str().unwrap(),
            "--output",
            "json",
        ];
        let object = as_nobody(&dir, &words).exits(0).json();
        assert_eq!(object["outcome"], outcome, "{name}");
        assert_eq!(object["as_expected"], true, "{name}");
        assert_eq!(object["changed"], outcome == "rescued", "{name}");
    }
}

#[test]
fn the_list_names_every_scenario() {
    let listed = run(&["drill", "--list"], &[]).exits(0);
    for (name, _) in SCENARIOS {
        assert!(
            listed.stdout.lines().any(|line| line.starts_with(name)),
            "{name}"
        );
    }
    let object = run(&["drill", "--list", "--output", "json"], &[])
        .exits(0)
        .json();
    assert_eq!(
        object["scenarios"].as_array().unwrap().len(),
        SCENARIOS.len()
    );
    run(&["drill", "--scenario", "flood"], &[])
        .exits(2)
        .says("`flood` is not one of leaves-expired");
}

#[test]
fn the_files_are_kept_only_if_that_is_asked_for() {
    let dir = open();
    let work = dir.path().join("work");
    let text = work.to_str().unwrap();
    run(&["drill", "--dir", text], &[])
        .exits(0)
        .prints("--- before ---")
        .prints("--- after ---")
        .prints("rescued in");
    assert!(work.join("audit.tar.gz").exists() && !work.join("node").exists());
    run(&["drill", "--dir", text], &[])
        .exits(5)
        .says(&format!("{text} is not empty"))
        .says("hint: name an empty directory");
    fs::remove_file(work.join("audit.tar.gz")).unwrap();
    run(&["drill", "--dir", text, "--keep"], &[])
        .exits(0)
        .prints(&format!("files {text}/node"));
    let root = work.join("node");
    run(&["--root", root.to_str().unwrap(), "verify"], &[]).exits(0);
    run(
        &["--root", root.to_str().unwrap(), "rollback", "--yes"],
        &[],
    )
    .exits(0);
    run(&["--root", root.to_str().unwrap(), "verify"], &[]).exits(3);
}

#[test]
fn a_drill_without_a_directory_leaves_the_tarball_and_says_where() {
    let dir = open();
    let temp = dir.path().to_str().unwrap();
    let ran = run(&["drill"], &[("TMPDIR", temp)]).exits(0);
    let line = ran
        .stdout
        .lines()
        .find(|line| line.starts_with("audit "))
        .unwrap();
    let audit = Path::new(line.split_whitespace().nth(1).unwrap()).to_owned();
    assert!(audit.starts_with(dir.path()), "{line}");
    run(&["audit", "verify", audit.to_str().unwrap()], &[]).exits(0);
    assert_eq!(fs::read_dir(audit.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn a_drill_that_is_refused_leaves_nothing() {
    let dir = open();
    let temp = dir.path().to_str().unwrap();
    run(&["drill", "--scenario", "ca-expired"], &[("TMPDIR", temp)])
        .exits(0)
        .prints("--- refused, nothing was changed ---")
        .prints("that is the right answer to this scenario");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_drill_takes_every_algorithm_that_keys_are_made_of() {
    for name in ["rsa-2048", "ecdsa-p256", "ecdsa-p384", "ed25519"] {
        let dir = open();
        let temp = dir.path().to_str().unwrap();
        run(
            &["drill", "--key-algorithm", name, "--output", "json"],
            &[("TMPDIR", temp)],
        )
        .exits(0);
    }
    run(&["drill", "--key-algorithm", "dsa"], &[])
        .exits(2)
        .says("`dsa` is no key algorithm of this tool");
}

#[test]
fn where_nothing_can_be_made_the_drill_says_so() {
    let dir = open();
    run(&["drill", "--dir", "/nowhere/drill"], &[])
        .exits(5)
        .says("cannot make /nowhere/drill")
        .says("hint: name another directory");
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    run(&["drill", "--dir", file.to_str().unwrap()], &[])
        .exits(5)
        .says(file.to_str().unwrap());
}
