//! The units: systemd takes them, and what they start does what they say.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::Written;
use crate::harness::{BINARY, Node, other};

/// The script of a unit's `ExecStart=/bin/sh -euc '...'`, as systemd hands it over: `$$` is one dollar.
fn script(unit: &str) -> String {
    let line = unit.lines().find(|line| line.starts_with("ExecStart="));
    let script = line.unwrap().strip_prefix("ExecStart=/bin/sh -euc '");
    script.unwrap().trim_end_matches('\'').replace("$$", "$")
}

/// Starts what a unit starts, on another root; its exit code.
fn start(unit: &str, node: &Node, textfiles: &Path) -> i32 {
    let status = Command::new("/bin/sh")
        .args(["-euc", &script(unit)])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("BINARY", BINARY)
        .env("TEXTFILES", textfiles)
        .env("RESCUE_KIT_ROOT", &node.root)
        .stdin(Stdio::null())
        .output()
        .unwrap()
        .status;
    status.code().unwrap()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn systemd_takes_every_unit() {
    let written = Written::of(&Node::real("p256", "fresh"));
    let units = [
        "./rescue-kit-metrics.service",
        "./rescue-kit-metrics.timer",
        "./rescue-kit-renew.service",
        "./rescue-kit-renew.timer",
    ];
    let words = [&["verify", "--man=no"], &units[..]].concat();
    let said = other("systemd-analyze", &words, &written.path()).exits(0);
    assert_eq!(said.stdout + &said.stderr, "");
    // What looks at the node may do little: less than 3 of 10.
    let words = ["security", "--offline=true", "--threshold=30", units[0]];
    other("systemd-analyze", &words, &written.path()).exits(0);
    let timer = written.text("rescue-kit-renew.timer");
    let slot = timer
        .lines()
        .find_map(|line| line.strip_prefix("OnCalendar="))
        .unwrap();
    other("systemd-analyze", &["calendar", slot], Path::new("/"))
        .exits(0)
        .prints("Next elapse");
}

#[test]
fn the_settings_are_those_that_were_given() {
    let node = Node::real("p256", "fresh");
    let words = ["--binary", "/opt/rescue-kit", "--textfiles", "/srv/metrics"];
    let written = Written::with(&node, &words);
    let unit = written.text("rescue-kit-metrics.service");
    for line in [
        "Environment=BINARY=/opt/rescue-kit",
        "Environment=TEXTFILES=/srv/metrics",
        "ReadWritePaths=-/srv/metrics",
        "ConditionPathIsDirectory=/srv/metrics",
    ] {
        assert!(unit.lines().any(|known| known == line), "{line}: {unit}");
    }
    let unit = written.text("rescue-kit-renew.service");
    assert!(
        unit.contains("\nEnvironment=BINARY=/opt/rescue-kit\n"),
        "{unit}"
    );
    assert!(
        written
            .text("alerts.yaml")
            .contains("textfile.directory=/srv/metrics")
    );
}

#[test]
fn the_metrics_appear_whole_and_stay_if_the_next_look_fails() {
    let textfiles = TempDir::new().unwrap();
    for state in ["fresh", "expired"] {
        let node = Node::real("p256", state);
        let unit = Written::of(&node).text("rescue-kit-metrics.service");
        assert_eq!(start(&unit, &node, textfiles.path()), 0, "{state}");
        assert_eq!(names(textfiles.path()), ["rescue-kit.prom"]);
        let line = "promtool check metrics < rescue-kit.prom";
        let said = other("sh", &["-c", line], textfiles.path()).exits(0);
        assert_eq!(said.stdout + &said.stderr, "");
        let text = fs::read_to_string(textfiles.path().join("rescue-kit.prom")).unwrap();
        let expired = "{id=\"apiserver\",status=\"expired\"} 1";
        assert_eq!(text.contains(expired), state == "expired");
        fs::remove_dir_all(node.path("/etc")).unwrap();
        fs::remove_dir_all(node.path("/var/lib/kubelet")).unwrap();
        assert_ne!(start(&unit, &node, textfiles.path()), 0, "{state}");
        let kept = fs::read_to_string(textfiles.path().join("rescue-kit.prom")).unwrap();
        assert_eq!(kept, text, "{state}");
        // node_exporter reads what ends in .prom alone.
        let left = [".rescue-kit.new", "rescue-kit.prom"];
        assert_eq!(names(textfiles.path()), left, "{state}");
    }
}

#[test]
fn the_renewal_renews_what_is_due_and_nothing_else() {
    let node = Node::real("p256", "expired");
    let unit = Written::of(&node).text("rescue-kit-renew.service");
    let nowhere = Path::new("/");
    assert_eq!(start(&unit, &node, nowhere), 0);
    node.run(&["inspect"]).exits(0);
    node.run(&["audit", "show"])
        .exits(0)
        .prints("rescue-kit-renew");
    let before = node.snapshot();
    assert_eq!(start(&unit, &node, nowhere), 0);
    assert_eq!(node.snapshot(), before, "nothing is due any more");
}
