//! Backups are exact, are checked before they are believed, and are restored by a run like any other.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use crate::harness::{Node, other};
use crate::means::{assert_same, refused, runs};

fn made(node: &Node) -> PathBuf {
    let object = node.json(&["backup", "create"]);
    PathBuf::from(object["backup"]["path"].as_str().unwrap())
}

/// A snapshot without directories: their times are the business of a rollback, not of a restore.
fn files(node: &Node) -> BTreeMap<String, String> {
    let is_file = |(_, face): &(String, String)| !face.starts_with('4');
    node.snapshot().into_iter().filter(is_file).collect()
}

#[test]
fn a_backup_is_listed_and_verified() {
    let node = Node::real("p256", "expired");
    node.run(&["backup", "list"]).exits(0).prints("no backups");
    let path = made(&node);
    let path = path.to_str().unwrap();
    node.run(&["backup", "list"]).exits(0).prints(path);
    node.run(&["backup", "verify", path])
        .exits(0)
        .prints("intact: 40 files of cp1, made at");
    let mode = fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
}

#[test]
fn what_was_deleted_or_changed_is_restored_exactly_and_that_can_be_undone() {
    let node = Node::real("p256", "expired");
    fs::set_permissions(
        node.path("/etc/kubernetes/admin.conf"),
        fs::Permissions::from_mode(0o640),
    )
    .unwrap();
    chown(node.path("/etc/kubernetes/admin.conf"), Some(12), Some(34)).unwrap();
    let before = files(&node);
    let path = made(&node);
    fs::remove_dir_all(node.path("/etc/kubernetes/pki")).unwrap();
    node.remove("/etc/kubernetes/admin.conf");
    node.remove("/var/lib/kubelet/pki/kubelet-client-current.pem");
    node.write("/etc/kubernetes/scheduler.conf", "changed");
    fs::set_permissions(
        node.path("/etc/kubernetes/manifests/etcd.yaml"),
        fs::Permissions::from_mode(0o666),
    )
    .unwrap();
    let broken = node.snapshot();
    node.run(&["backup", "restore", path.to_str().unwrap(), "--yes"])
        .exits(0);
    assert_same(&before, &files(&node));
    node.run(&["backup", "restore", path.to_str().unwrap(), "--yes"])
        .exits(0)
        .prints("nothing to do");
    node.run(&["rollback", "--yes"]).exits(0);
    assert_same(&broken, &node.snapshot());
}

#[test]
fn restored_directories_have_the_modes_that_they_had() {
    let node = Node::real("p256", "expired");
    let pki = node.path("/etc/kubernetes/pki");
    for (dir, mode) in [(pki.clone(), 0o700), (pki.join("etcd"), 0o750)] {
        fs::set_permissions(dir, fs::Permissions::from_mode(mode)).unwrap();
    }
    let path = made(&node);
    fs::remove_dir_all(&pki).unwrap();
    node.run(&["backup", "restore", path.to_str().unwrap(), "--yes"])
        .exits(0);
    let mode = |dir: &Path| fs::metadata(dir).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&pki), mode(&pki.join("etcd"))), (0o700, 0o750));
}

#[test]
fn the_backup_of_a_run_brings_back_what_was_before_it() {
    let node = Node::real("p256", "expired");
    let before = files(&node);
    node.run(&["run", "--yes"]).exits(0);
    let backup = node.newest_run().join("backup.tar.gz");
    node.run(&["backup", "restore", backup.to_str().unwrap(), "--yes"])
        .exits(0);
    let mut after = files(&node);
    after.retain(|name, _| before.contains_key(name));
    assert_same(&before, &after);
}

#[test]
fn a_restore_that_died_is_resumed() {
    for command in ["resume", "rollback"] {
        let node = Node::real("p256", "expired");
        let before = files(&node);
        let path = made(&node);
        fs::remove_dir_all(node.path("/etc/kubernetes/pki")).unwrap();
        let broken = node.snapshot();
        let words = ["backup", "restore", path.to_str().unwrap(), "--yes"];
        node.run_with(&words, &[("RESCUE_KIT_FAIL", "act:c05:forward=abort")])
            .exits(134);
        node.run(&words).exits(5).says("is neither done nor undone");
        node.run(&[command, "--yes"]).exits(0);
        if command == "resume" {
            assert_same(&before, &files(&node));
        } else {
            assert_same(&broken, &node.snapshot());
        }
    }
}

#[test]
fn the_backup_of_another_node_is_refused() {
    let (one, two) = (
        Node::real("p256", "expired"),
        Node::real("masters", "expired"),
    );
    let path = made(&one);
    let words = ["backup", "restore", path.to_str().unwrap(), "--yes"];
    refused(
        &two,
        &words,
        5,
        "the backup is that of cp1, not of this node",
    );
}

#[test]
fn a_tampered_archive_is_refused() {
    let node = Node::real("p256", "expired");
    let aside = node.root.with_file_name("aside");
    fs::create_dir(&aside).unwrap();
    let path = node.json(&["backup", "create", "--to", aside.to_str().unwrap()]);
    let path = PathBuf::from(path["backup"]["path"].as_str().unwrap());
    let good = fs::read(&path).unwrap();
    let bad = aside.join("bad.tar.gz");
    let bad = bad.to_str().unwrap();
    let flip = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let variants = [
        flip(good.len() / 2),
        flip(good.len() - 3),
        good[..good.len() - 1].to_vec(),
        good[..good.len() / 2].to_vec(),
        [good.clone(), vec![0]].concat(),
        Vec::new(),
        b"text".to_vec(),
    ];
    for bytes in variants {
        fs::write(bad, bytes).unwrap();
        node.run(&["backup", "verify", bad])
            .exits(5)
            .says(&format!("{bad} is damaged or no backup"));
        refused(&node, &["backup", "restore", bad, "--yes"], 5, "backup");
    }
}

/// A backup of the node, unpacked, edited by a shell line and packed again.
fn repacked(node: &Node, edit: &str) -> String {
    let aside = node.root.with_file_name("aside");
    fs::create_dir(&aside).unwrap();
    let object = node.json(&["backup", "create", "--to", aside.to_str().unwrap()]);
    let path = object["backup"]["path"].as_str().unwrap();
    other("tar", &["-xzf", path], &aside).exits(0);
    let pack = "tar --format=ustar -czf bad.tgz manifest.json $(find files -type f | sort)";
    let line = format!("{edit} && {pack}");
    other("sh", &["-ec", &line], &aside).exits(0);
    aside.join("bad.tgz").to_str().unwrap().to_owned()
}

#[test]
fn an_archive_that_is_only_packed_again_is_whole() {
    let node = Node::real("p256", "expired");
    let same = repacked(&node, "true");
    node.run(&["backup", "verify", &same])
        .exits(0)
        .prints("intact");
}

#[test]
fn an_archive_whose_files_are_not_those_of_its_manifest_is_refused() {
    let lost = "the bytes of /etc/kubernetes/admin.conf are not those of its manifest";
    let table = [
        ("echo evil > files/etc/kubernetes/admin.conf", lost),
        ("rm files/etc/kubernetes/admin.conf", lost),
        (
            "echo x > files/etc/shadow",
            "it holds files that its manifest does not name",
        ),
        (
            "sed -i 's/\"format\": 1/\"format\": 2/' manifest.json",
            "it has format 2",
        ),
        (
            "sed -i 's/\"format\"/\"fromat\"/' manifest.json",
            "unknown field `fromat`",
        ),
        ("echo > manifest.json", "the archive is not intact"),
    ];
    for (edit, why) in table {
        let node = Node::real("p256", "expired");
        let bad = repacked(&node, edit);
        let text = format!("{bad} is damaged or no backup");
        node.run(&["backup", "verify", &bad])
            .exits(5)
            .says(&text)
            .says(why);
        refused(&node, &["backup", "restore", &bad, "--yes"], 5, why);
    }
}

#[test]
fn a_backup_for_elsewhere_holds_no_ca_key() {
    let node = Node::real("p256", "expired");
    let aside = node.root.with_file_name("aside");
    fs::create_dir(&aside).unwrap();
    let before = node.snapshot();
    let words = ["backup", "create", "--to", aside.to_str().unwrap()];
    node.run(&words)
        .exits(0)
        .prints("left out: /etc/kubernetes/pki/ca.key: a CA key does not leave the node in clear");
    assert_same(&before, &node.snapshot());
    node.run(&["run", "--yes", "--backup-to", aside.to_str().unwrap()])
        .exits(0);
    for entry in fs::read_dir(&aside).unwrap() {
        let path = entry.unwrap().path();
        let list = other("tar", &["-tzf", path.to_str().unwrap()], &aside)
            .exits(0)
            .stdout;
        assert!(list.contains("files/etc/kubernetes/pki/sa.key"), "{list}");
        assert!(!list.contains("ca.key"), "{list}");
    }
}

/// A node that was rescued three times, and the names of the runs.
fn rescued_thrice() -> (Node, Vec<String>) {
    let node = Node::real("p256", "expired");
    for id in ["scheduler.conf", "admin.conf", "apiserver"] {
        node.run(&["run", "--yes", "--only", id]).exits(0);
    }
    let names = runs(&node);
    (node, names)
}

#[test]
fn runs_are_listed_from_the_oldest() {
    let node = Node::real("p256", "expired");
    node.run(&["runs", "list"]).exits(0).prints("no runs");
    let (node, names) = rescued_thrice();
    let list = node.json(&["runs", "list"]);
    let all = list["runs"].as_array().unwrap().iter();
    assert_eq!(
        all.map(|run| run["run"].as_str().unwrap())
            .collect::<Vec<_>>(),
        names
    );
    node.run(&["rollback", "--yes"]).exits(0);
    let ledger = node.run(&["audit", "export"]).exits(0).stdout;
    let count = |action: &str| ledger.lines().filter(|line| line.contains(action)).count();
    assert_eq!((count(",UPDATE,"), count(",REVOKE,")), (3, 1), "{ledger}");
}

#[test]
fn runs_are_pruned_from_the_oldest() {
    let (node, names) = rescued_thrice();
    for count in [2, 0] {
        let text = format!("pruned {count} run(s)");
        node.run(&["runs", "prune", "--keep", "1"])
            .exits(0)
            .prints(&text);
    }
    let has = |name: &String, part: &str| {
        node.path(&format!("/var/lib/rescue-kit/runs/{name}/{part}"))
            .exists()
    };
    let kept = |part: &str| names.iter().map(|name| has(name, part)).collect::<Vec<_>>();
    for part in ["undo", "staged", "backup.tar.gz"] {
        assert_eq!(kept(part), [false, false, true], "{part}");
    }
    for part in ["journal.jsonl", "audit.tar.gz", "plan.json"] {
        assert_eq!(kept(part), [true; 3], "{part}");
    }
    node.run(&["rollback", "--yes"]).exits(0);
}
