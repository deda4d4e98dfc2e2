//! What the kit carries works: scripts, the playbook, completions; and names that are mistyped are answered.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use super::Bench;
use crate::harness::{Node, other, run};

#[test]
fn nodes_are_rescued_one_after_another_through_ssh() {
    let node = Node::real("p256", "expired");
    let bench = Bench::new();
    let kit = bench.text("kit");
    run(&["kit", "build", "--out", &kit], &[]).exits(0);
    let bin = bench.path("bin");
    fs::create_dir(&bin).unwrap();
    let programs = [
        ("ssh", "shift; exec sh -c \"$1\""),
        ("scp", "exec cp \"$2\" \"${3#*:}\""),
    ];
    for (name, script) in programs {
        let path = bin.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let ran = Command::new("sh")
        .args([
            &format!("{kit}/scripts/nodes.sh"),
            "J. O'Neill",
            "CHG-1",
            "cp1",
        ])
        .current_dir(bench.0.path())
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
        .env("HOME", bench.0.path())
        .env("RESCUE_KIT_ROOT", &node.root)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    let audit = bench.text("audits/cp1.tar.gz");
    let seen = run(&["audit", "verify", &audit, "--output", "json"], &[])
        .exits(0)
        .json();
    assert_eq!(seen["verified"]["operator"], "J. O'Neill");
}

#[test]
fn the_playbook_relies_on_what_a_run_says() {
    let book =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("kit/ansible/rescue.yml"))
            .unwrap();
    let book: serde_json::Value = serde_saphyr::from_str(&book).unwrap();
    assert_eq!(
        (&book[0]["serial"], &book[0]["any_errors_fatal"]),
        (&json!(1), &json!(true))
    );
    let tasks = book[0]["tasks"].as_array().unwrap();
    assert!(tasks.len() > 4 && tasks.iter().all(|task| task["name"].is_string()));
    // The words of its task, on a node.
    let line = tasks[3]["ansible.builtin.command"]["argv"]
        .as_str()
        .unwrap();
    let words: Vec<&str> = line.split('\'').skip(1).step_by(2).collect();
    assert_eq!(
        words,
        [
            "run",
            "--yes",
            "--no-input",
            "--output",
            "json",
            "--operator",
            "--ticket",
            "--check"
        ]
    );
    let node = Node::real("p256", "expired");
    node.run(&["inspect", "--output", "json"]).exits(3);
    let words = [
        "run",
        "--yes",
        "--no-input",
        "--output",
        "json",
        "--operator",
        "J. Doe",
        "--ticket",
        "CHG-1",
    ];
    let checked = node
        .run(&[&words[..], &["--check"]].concat())
        .exits(0)
        .json();
    // As Ansible itself, `--check` says whether something would be changed.
    assert_eq!(checked["changed"], true);
    let rescued = node.run(&words).exits(0).json();
    assert_eq!(rescued["changed"], true);
    assert!(Path::new(rescued["audit"]["path"].as_str().unwrap()).is_file());
    assert_eq!(node.run(&words).exits(0).json()["changed"], false);
}

#[test]
fn bash_completes_commands_and_flags() {
    let bench = Bench::new();
    let script = run(&["completions", "bash"], &[]).exits(0).stdout;
    fs::write(bench.path("completions"), script).unwrap();
    let complete = |typed: &str| {
        let words = "COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); f=$(complete -p rescue-kit); f=${f#*-F }; ${f%% *} rescue-kit \"${COMP_WORDS[-1]}\" \"${COMP_WORDS[-2]}\"; echo \"${COMPREPLY[*]}\"";
        let script = format!(". ./completions; COMP_WORDS=({typed}); {words}");
        other("bash", &["-c", &script], bench.0.path())
            .exits(0)
            .stdout
    };
    assert_eq!(complete("rescue-kit ca ro"), "rotate\n");
    assert_eq!(complete("rescue-kit kit build --bin"), "--binary\n");
    assert_eq!(complete("rescue-kit run --restart al"), "always\n");
    for shell in ["zsh", "fish"] {
        let script = run(&["completions", shell], &[]).exits(0).stdout;
        assert!(script.contains("hold-controllers"), "{shell}");
    }
    run(&["completions", "bsh"], &[])
        .exits(2)
        .says("a similar value exists: 'bash'");
}

#[test]
fn mistyped_names_are_answered_with_the_nearest() {
    let node = Node::real("p256", "fresh");
    let cases: [(&[&str], &str); 9] = [
        (&["inspec"], "a similar subcommand exists: 'inspect'"),
        (
            &["run", "--sing-key", "x"],
            "a similar argument exists: '--sign-key'",
        ),
        (&["plan", "--only", "apisrver"], "did you mean `apiserver`?"),
        (&["ca", "renew", "etcd-c"], "did you mean `etcd-ca`?"),
        (&["profile", "show", "kubadm"], "did you mean `kubeadm`?"),
        (
            &["--profile", "kubadm", "inspect"],
            "did you mean `kubeadm`?",
        ),
        (&["runbook", "clok"], "did you mean `clock`?"),
        (
            &["drill", "--scenario", "leafs-expired"],
            "did you mean `leaves-expired`?",
        ),
        (
            &["plan", "--all", "--key-algorithm", "rsa-2084"],
            "did you mean `rsa-2048`?",
        ),
    ];
    for (words, says) in cases {
        node.run(words).exits(2).says(says);
    }
}
