//! Every command of README.md and rescue-kit.md is run, on a copy of an expired tree, and ends as the text says.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{BINARY, Node};

#[test]
fn every_command_of_the_readme_ends_as_it_says() {
    run_all("README.md", 5);
}

#[test]
fn every_command_of_the_manual_ends_as_it_says() {
    run_all("rescue-kit.md", 25);
}

#[test]
fn the_manual_names_every_command() {
    let manual = text("rescue-kit.md");
    let help = crate::harness::run(&["--help"], &[]).stdout;
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names: Vec<&str> = commands
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        assert!(
            manual.contains(&format!("`{name}")),
            "the manual does not name `{name}`"
        );
    }
}

/// Runs the `$ ` lines of all `console` blocks, in order, in one directory with one node.
fn run_all(document: &str, at_least: usize) {
    let node = Node::real("p256", "expired");
    let work = tempfile::TempDir::new().unwrap();
    let bin = work.path().join("bin");
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(BINARY, bin.join("rescue-kit")).unwrap();
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let commands = commands(&text(document));
    assert!(commands.len() >= at_least, "{commands:?}");
    for (command, expected) in commands {
        let command = command.replace("/mnt/disk", node.root.to_str().unwrap());
        let output = Command::new("sh")
            .args(["-ec", &command])
            .current_dir(work.path())
            .env_clear()
            .env("PATH", &path)
            .env("TMPDIR", work.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            output.status.code(),
            Some(expected),
            "{document}: {command}\n{stderr}"
        );
    }
}

/// Each command with the exit code that its comment names.
fn commands(text: &str) -> Vec<(String, i32)> {
    let mut commands = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        match line {
            "```console" => inside = true,
            "```" => inside = false,
            _ if inside => {
                let line = line
                    .strip_prefix("$ ")
                    .unwrap_or_else(|| panic!("no command: {line}"));
                let (command, code) = line.split_once("# exit ").unwrap_or((line, "0"));
                commands.push((command.trim().to_owned(), code.trim().parse().unwrap()));
            },
            _ => {},
        }
    }
    commands
}

fn text(document: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(document)).unwrap()
}
