//! The host is in the way: clocks, locks, space, read-only disks, missing rights, hostile state directories.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::harness::{Node, lab, lab_program, other};
use crate::means::{Mount, NOBODY, ONE, assert_same, bounded, bounded_on, refused};

fn expired() -> std::path::PathBuf {
    lab().join("trees/p256/expired")
}

#[test]
fn a_clock_before_the_last_change_is_refused() {
    let node = Node::real("p256", "expired");
    refused(
        &node,
        &["run", "--yes", "--now", "2020-01-01T00:00:00Z"],
        5,
        "the time is 2020-01-01T00:00:00Z, but the last change of /var/lib/kubelet/pki/kubelet-client-current.pem is",
    )
    .says("the clock is behind")
    .says("set the clock, or state the true time: --now RFC3339");
}

#[test]
fn files_from_the_future_are_refused_and_named() {
    let node = Node::real("p256", "expired");
    let manifest = node.path("/etc/kubernetes/manifests/etcd.yaml");
    other(
        "touch",
        &["-d", "2099-01-01T00:00:00Z", manifest.to_str().unwrap()],
        Path::new("/"),
    )
    .exits(0);
    let text = "but the last change of /etc/kubernetes/manifests/etcd.yaml is 2099-01-01T00:00:00Z";
    refused(&node, &["run", "--yes"], 5, text);
    node.run(&["inspect"])
        .exits(3)
        .prints("cause: the time is")
        .prints("the clock is behind");
}

/// A node of 2018 whose authorities are still valid.
fn forgotten() -> Node {
    let node = Node::real("p256", "expired");
    let root = node.root.to_str().unwrap();
    let expire = |words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        other(
            lab_program("expire"),
            &[&["-root", root], &words[..]].concat(),
            &lab(),
        )
        .exits(0);
    };
    let authorities = "ca,etcd-ca,front-proxy-ca";
    expire(&format!(
        "-cas -only {authorities} -not-before 2015-01-01T00:00:00Z -not-after 2090-01-01T00:00:00Z"
    ));
    expire(&format!(
        "-skip {authorities},kubelet-serving -not-before 2017-01-01T00:00:00Z \
         -not-after 2018-01-01T00:00:00Z"
    ));
    let line = format!("find {root} -exec touch -h -d 2018-06-01T00:00:00Z {{}} +");
    other("sh", &["-c", &line], &node.root).exits(0);
    node
}

#[test]
fn a_clock_years_ahead_of_every_trace_must_be_stated() {
    let node = forgotten();
    let text = "more than 4 years after the latest trace of life";
    refused(&node, &["run", "--yes"], 5, text);
    let now = other("date", &["-u", "+%FT%TZ"], &node.root)
        .exits(0)
        .stdout;
    let ran = node.run(&["run", "--yes", "--now", now.trim()]).exits(0);
    ran.prints("issued 12 certificates");
}

#[test]
fn a_second_operator_is_refused_and_told_who_the_first_one_is() {
    let node = Node::real("p256", "expired");
    let held = fs::File::open(node.path("/etc/kubernetes")).unwrap();
    held.lock().unwrap();
    let text = format!(
        "/etc/kubernetes is locked by process {} (",
        std::process::id()
    );
    refused(&node, &["run", "--yes"], 5, &text).says("hint: wait until the other run has ended");
    refused(&node, &["backup", "create"], 5, &text);
    refused(&node, &["rollback", "--yes"], 5, &text);
    refused(&node, &["resume", "--yes"], 5, &text);
    // Looking needs no lock.
    node.run(&["inspect"]).exits(3);
    node.run(&["run", "--check"]).exits(0);
    held.unlock().unwrap();
    node.run(&[&["run", "--yes"], &ONE[..]].concat()).exits(0);
}

#[test]
fn a_root_without_space_is_refused_with_the_numbers() {
    let mount = Mount::memory("3m");
    let root = mount.fill(&expired());
    bounded_on(&root, &["run", "--yes"], &[])
        .exits(5)
        .says("/var/lib/rescue-kit has 2 MiB free, backup and journal need 9 MiB")
        .says("hint: free some space, or name another place: --state-dir DIR");
    assert!(!Path::new(&root).join("var/lib/rescue-kit").exists());
}

#[test]
fn a_state_directory_without_space_is_refused_with_the_numbers() {
    let node = Node::real("p256", "expired");
    let state = node.path("/var/lib/small");
    fs::create_dir(&state).unwrap();
    let _mount = Mount::memory_on(&state, "1m");
    let text = "/var/lib/small has 1 MiB free, backup and journal need 9 MiB";
    refused(
        &node,
        &["run", "--yes", "--state-dir", "var/lib/small"],
        5,
        text,
    );
    assert_eq!(fs::read_dir(&state).unwrap().count(), 0);
}

#[test]
fn an_absolute_state_directory_lies_on_this_host() {
    // `--help`: a relative path lies under the root. An absolute one is the way out when the root's disk is full.
    let mount = Mount::memory("3m");
    let root = mount.fill(&expired());
    let state = tempfile::TempDir::new().unwrap();
    let words = [
        "run",
        "--yes",
        "--state-dir",
        state.path().to_str().unwrap(),
    ];
    bounded_on(&root, &[&words, &ONE[..]].concat(), &[]).exits(0);
    assert!(state.path().join("runs").is_dir());
}

#[test]
fn a_disk_that_fills_up_half_way_is_rolled_back() {
    let mount = Mount::memory("4m");
    let root = mount.fill(&expired());
    let state = Path::new(&root).join("var/lib/rescue-kit");
    fs::create_dir(&state).unwrap();
    let _other = Mount::memory_on(&state, "32m");
    let before = other(
        "find",
        &[&root, "-type", "f", "-exec", "sha256sum", "{}", "+"],
        Path::new("/"),
    );
    other("dd", &["if=/dev/zero", "of=fill", "bs=4096"], &mount.at).exits(1);
    other("truncate", &["-s", "-4096", "fill"], &mount.at).exits(0);
    bounded_on(&root, &["run", "--yes"], &[])
        .exits(6)
        .says("failed and was rolled back caused by: cannot write /etc/kubernetes/")
        .says("No space left on device")
        .says("hint: everything is as it was; mend the cause, then run again");
    let words = [
        &root,
        "-path",
        "*/var/lib/rescue-kit",
        "-prune",
        "-o",
        "-type",
        "f",
        "-exec",
        "sha256sum",
        "{}",
        "+",
    ];
    let after = other("find", &words, Path::new("/"));
    assert_eq!(before.stdout, after.stdout);
}

#[test]
fn a_read_only_root_is_refused_with_the_reason() {
    let mount = Mount::memory("32m");
    let root = mount.fill(&expired());
    mount.freeze();
    bounded_on(&root, &["run", "--yes"], &[])
        .exits(5)
        .says("/etc/kubernetes cannot be written")
        .says("/var/lib/rescue-kit cannot be written")
        .says("Read-only file system")
        .says("hint: mount it writable, or run as root");
    bounded_on(&root, &["inspect"], &[]).exits(3);
    bounded_on(&root, &["run", "--check"], &[]).exits(0);
}

#[test]
fn one_read_only_directory_refuses_the_run_before_any_change() {
    let node = Node::real("p256", "expired");
    let _mount = Mount::read_only(&node.path("/etc/kubernetes/pki/etcd"));
    refused(
        &node,
        &["run", "--yes"],
        5,
        "/etc/kubernetes/pki/etcd cannot be written",
    );
}

#[test]
fn a_file_that_is_a_mount_of_its_own_is_rolled_back() {
    // No look ahead tells that a single file is bound: the rename over it fails, and that undoes everything.
    let node = Node::real("p256", "expired");
    let before = node.snapshot();
    let _mount = Mount::read_only(&node.path("/etc/kubernetes/scheduler.conf"));
    let ran = bounded(&node, &["run", "--yes"]);
    assert!(
        ran.code == 5 || ran.code == 6,
        "{}: {}",
        ran.code,
        ran.stderr
    );
    ran.says("/etc/kubernetes/scheduler.conf");
    assert_same(&before, &node.snapshot());
}

#[test]
fn only_root_rescues_the_running_node() {
    let words = ["--profile", "kubeadm", "run", "--yes"];
    let setpriv = [&["setpriv"], &NOBODY[..]].concat();
    bounded_on("/", &words, &setpriv)
        .exits(5)
        .says("only root can read and replace this node's keys")
        .says("hint: run as root, or name a copy: --root DIR");
}

#[test]
fn who_may_not_read_a_copy_is_told_so() {
    let node = Node::real("p256", "expired");
    other(
        "chmod",
        &["-R", "go+rX", node.root.parent().unwrap().to_str().unwrap()],
        Path::new("/"),
    )
    .exits(0);
    other(
        "chmod",
        &[
            "600",
            node.path("/etc/kubernetes/pki/ca.key").to_str().unwrap(),
        ],
        Path::new("/"),
    )
    .exits(0);
    let setpriv = [&["setpriv"], &NOBODY[..]].concat();
    bounded_on(node.root.to_str().unwrap(), &["run", "--yes"], &setpriv)
        .exits(5)
        .says("CA ca (/etc/kubernetes/pki/ca.key) has a private key that permission denied");
}

#[test]
fn a_state_directory_that_is_a_link_out_of_the_root_is_refused() {
    let node = Node::real("p256", "expired");
    let outside = node.root.with_file_name("outside");
    fs::create_dir(&outside).unwrap();
    let link = format!("{}{}", "../".repeat(40), outside.display());
    symlink(link, node.path("/var/lib/rescue-kit")).unwrap();
    let before = node.snapshot();
    bounded(&node, &["run", "--yes"])
        .exits(5)
        .says("/var/lib/rescue-kit")
        .says("hint:");
    assert_same(&before, &node.snapshot());
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn a_state_directory_may_be_a_link_inside_the_root() {
    let node = Node::real("p256", "expired");
    fs::create_dir(node.path("/srv")).unwrap();
    symlink("/srv", node.path("/var/lib/rescue-kit")).unwrap();
    bounded(&node, &[&["run", "--yes"], &ONE[..]].concat()).exits(0);
    assert_eq!(fs::read_dir(node.path("/srv/runs")).unwrap().count(), 1);
    bounded(&node, &["rollback", "--yes"]).exits(0);
}

#[test]
fn a_state_directory_that_is_a_file_is_refused() {
    let node = Node::real("p256", "expired");
    node.write("/var/lib/rescue-kit", "");
    let before = node.snapshot();
    bounded(&node, &["run", "--yes"])
        .exits(5)
        .says("/var/lib/rescue-kit")
        .says("Not a directory");
    assert_same(&before, &node.snapshot());
}

#[test]
fn a_root_without_a_control_plane_is_refused() {
    let dir = tempfile::TempDir::new().unwrap();
    let root = dir.path().to_str().unwrap();
    bounded_on(root, &["run", "--yes"], &[])
        .exits(5)
        .says(&format!("no known layout is below {root}"))
        .says(
            "hint: name the root of the node's disk: --root DIR, or a layout: --profile NAME|FILE",
        );
    bounded_on("/nowhere", &["inspect"], &[])
        .exits(5)
        .says("/nowhere")
        .says("No such file or directory");
}
