//! `handover`: what it writes is taken by whom it is written for: promtool, systemd, calendars, kubeadm, schemas.

mod alerts;
mod calendar;
mod manifests;
mod timers;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::cases;
use crate::harness::{Node, other, run};
use crate::units::kubeasz;
use crate::workers::worker;

const FILES: [&str; 12] = [
    "README.txt",
    "alerts-test.yaml",
    "alerts.yaml",
    "calendar.txt",
    "cert-manager.yaml",
    "cluster-api.yaml",
    "expiries.ics",
    "kubeadm.yaml",
    "rescue-kit-metrics.service",
    "rescue-kit-metrics.timer",
    "rescue-kit-renew.service",
    "rescue-kit-renew.timer",
];

/// The directory that `handover` wrote for a node.
struct Written {
    dir: TempDir,
}

impl Written {
    fn of(node: &Node) -> Self {
        Self::with(node, &[])
    }

    fn with(node: &Node, words: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        let written = Self { dir };
        let out = written.path();
        let all = [&["handover", "--out", out.to_str().unwrap()], words].concat();
        node.run(&all).exits(0);
        written
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap()
    }

    /// Every file by its name.
    fn all(&self) -> BTreeMap<String, String> {
        let entries = fs::read_dir(self.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.map(|name| (name.clone(), self.text(&name))).collect()
    }

    fn names(&self) -> Vec<String> {
        self.all().into_keys().collect()
    }
}

/// The last second of the API server's certificate, half a day and so many days earlier: what `--now` takes.
fn before_the_end(node: &Node, days: u32) -> String {
    let cert = node.path("/etc/kubernetes/pki/apiserver.crt");
    let cert = cert.to_str().unwrap();
    let words = ["x509", "-noout", "-enddate", "-dateopt", "iso_8601", "-in"];
    let end = other("openssl", &[&words[..], &[cert]].concat(), Path::new("/")).exits(0);
    let end = end.stdout.trim().trim_start_matches("notAfter=").to_owned();
    let when = format!("{end} -{days} days -12 hours");
    let words = ["-u", "-d", &when, "+%Y-%m-%dT%H:%M:%SZ"];
    let now = other("date", &words, Path::new("/")).exits(0).stdout;
    now.trim().to_owned()
}

#[test]
fn every_file_is_there_for_everybody_to_read_and_holds_no_key() {
    let node = Node::real("p256", "fresh");
    let before = node.snapshot();
    let written = Written::of(&node);
    assert_eq!(written.names(), FILES);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&written.path()), 0o755);
    for (name, text) in written.all() {
        assert_eq!(mode(&written.path().join(&name)), 0o644, "{name}");
        assert!(!text.contains("PRIVATE KEY"), "{name}");
        // Neither is what a kubeconfig embeds, nor a hole that nothing filled.
        assert!(!text.contains("LS0tLS1"), "{name}");
        for hole in ["{node}", "{date}", "{at}", "{tool}", "{textfiles}"] {
            assert!(!text.contains(hole), "{name} has {hole}");
        }
    }
    assert_eq!(node.snapshot(), before, "the node is only read");
}

#[test]
fn nothing_is_overwritten_and_nothing_is_written_beside_it() {
    let node = Node::real("p256", "fresh");
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("kubeadm.yaml"), "mine").unwrap();
    let out = dir.path().to_str().unwrap();
    node.run(&["handover", "--out", out])
        .exits(5)
        .says("kubeadm.yaml exists, and is not replaced")
        .says("hint: name a place where nothing is");
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(left.len(), 1);
    assert_eq!(
        fs::read_to_string(dir.path().join("kubeadm.yaml")).unwrap(),
        "mine"
    );
    // A link that leads nowhere is something, too.
    fs::remove_file(dir.path().join("kubeadm.yaml")).unwrap();
    std::os::unix::fs::symlink("/nowhere", dir.path().join("alerts.yaml")).unwrap();
    node.run(&["handover", "--out", out]).exits(5);
}

#[test]
fn the_same_node_at_the_same_time_gives_the_same_bytes() {
    for case in ["p256", "rsa", "long-name"] {
        let node = Node::real(case, "fresh");
        let now = ["--now", "2026-12-01T00:00:00Z"];
        let (one, other) = (Written::with(&node, &now), Written::with(&node, &now));
        assert_eq!(one.all(), other.all(), "{case}");
        // What a calendar and Prometheus are given does not depend on the time at all.
        let later = Written::with(&node, &["--now", "2026-12-24T00:00:00Z"]);
        for name in ["expiries.ics", "alerts-test.yaml"] {
            assert_eq!(one.text(name), later.text(name), "{case}: {name}");
        }
    }
}

#[test]
fn parts_are_chosen_and_only_said_with_check() {
    let node = Node::real("p256", "fresh");
    let written = Written::with(&node, &["--only", "alerts,ics"]);
    let expected = [
        "README.txt",
        "alerts-test.yaml",
        "alerts.yaml",
        "expiries.ics",
    ];
    assert_eq!(written.names(), expected);
    assert!(!written.text("README.txt").contains("kubeadm.yaml"));
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("out");
    let words = ["handover", "--out", out.to_str().unwrap(), "--check"];
    node.run(&words)
        .exits(0)
        .prints("cert-manager.yaml")
        .prints("nothing was written (--check)");
    assert!(!out.exists());
    node.run(&["handover", "--only", "alert"]).exits(2);
}

#[test]
fn json_lists_the_files_and_what_ends() {
    let node = Node::real("p256", "fresh");
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("out");
    let said = node.json(&["handover", "--out", out.to_str().unwrap()]);
    assert_eq!(said["schema"], "rescue-kit/handover/v1");
    assert_eq!(said["host"], "cp1");
    assert_eq!(said["changed"], true);
    let files = said["files"].as_array().unwrap();
    let mut paths: Vec<&str> = files.iter().map(|f| f["path"].as_str().unwrap()).collect();
    paths.sort_unstable();
    let expected = FILES.map(|name| out.join(name).display().to_string());
    assert_eq!(paths, expected);
    assert!(
        files
            .iter()
            .all(|f| !f["what"].as_str().unwrap().is_empty())
    );
    let ends = node.json(&["handover"]);
    assert_eq!(ends["changed"], false);
    let ends = ends["ends"].as_array().unwrap();
    assert_eq!(ends.len(), 16, "{ends:?}");
    assert_eq!(
        (&ends[0]["id"], &ends[0]["kind"]),
        (&"ca".into(), &"ca".into())
    );
    assert_eq!(ends[0]["mend"], "rescue-kit ca renew");
}

#[test]
fn what_does_not_fit_a_layout_is_left_out_and_refused_if_asked_for() {
    let layouts = [
        (
            kubeasz(),
            "kubeadm",
            "the layout systemd is no control plane of kubeadm",
        ),
        (
            worker("p256", "fresh"),
            "renewal",
            "the key of a CA that signs here is elsewhere",
        ),
        (
            worker("p256", "fresh"),
            "cert-manager",
            "no certificate of a server lies here",
        ),
    ];
    for (node, part, why) in layouts {
        let names = Written::of(&node).names();
        let file = match part {
            "renewal" => "rescue-kit-renew.timer",
            "cert-manager" => "cert-manager.yaml",
            _ => "kubeadm.yaml",
        };
        assert!(!names.contains(&file.to_owned()), "{names:?}");
        assert!(names.contains(&"alerts.yaml".to_owned()), "{names:?}");
        node.run(&["handover", "--only", part])
            .exits(5)
            .says(&format!("`{part}` does not fit: {why}"));
    }
    worker("p256", "fresh")
        .run(&["handover"])
        .exits(0)
        .prints("renewed by the kubelet itself")
        .prints("renewed by rescue-kit run --ca-from DIR");
}

#[test]
fn a_path_that_a_unit_could_misread_is_refused() {
    let node = Node::real("p256", "fresh");
    for (flag, path) in [
        ("--binary", "rescue-kit"),
        ("--binary", "/opt/a b"),
        ("--textfiles", "/x%n"),
        ("--textfiles", "/x\nExecStart=/bin/false"),
    ] {
        node.run(&["handover", flag, path])
            .exits(2)
            .says("is no absolute path of plain letters");
    }
}

#[test]
fn a_hostile_name_of_a_node_stays_a_name() {
    let node = Node::real("p256", "fresh");
    let flags = "/var/lib/kubelet/kubeadm-flags.env";
    let name = r#"a'b\"c{at}:$(id)#%n\u001b[31m"#;
    node.write(
        flags,
        format!("KUBELET_KUBEADM_ARGS=\"--hostname-override={name}\"\n"),
    );
    assert_ne!(node.json(&["handover"])["host"], "cp1");
    let written = Written::of(&node);
    let words = ["test", "rules", "alerts-test.yaml"];
    other("promtool", &words, &written.path()).exits(0);
    for name in ["cert-manager.yaml", "kubeadm.yaml", "cluster-api.yaml"] {
        manifests::documents(&written.text(name));
    }
    calendar::events(&written);
    let words = ["verify", "--man=no", "./rescue-kit-renew.service"];
    other("systemd-analyze", &words, &written.path()).exits(0);
}

#[test]
fn the_table_of_contents_is_the_golden_one_and_fits_80_columns() {
    let node = Node::real("p256", "fresh");
    let now = before_the_end(&node, 30);
    let text = Written::with(&node, &["--now", &now]).text("README.txt");
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    let text = cases::redacted(
        &text,
        &["9999-99-99T99:99:99Z", "v9.99.9", "rescue-kit 9.9.9"],
    );
    cases::assert_golden("handover-README.txt", &text);
    run(&["handover", "--help"], &[])
        .exits(0)
        .prints("--textfiles");
}
