//! A run that has nothing to do touches nothing: the kernel's own record of its calls says so.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::cases;
use crate::harness::{BINARY, Node, other};

/// Calls that change a file system, whatever their arguments.
const CHANGING: [&str; 12] = [
    "rename", "unlink", "rmdir", "mkdir", "mknod", "link", "symlink", "chmod", "chown", "utime",
    "truncate", "creat",
];

/// Flags of an open that may change a file.
const WRITING: [&str; 5] = ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_TMPFILE"];

#[test]
fn a_second_run_makes_no_call_that_could_change_a_file() {
    let node = cases::rescued("p256");
    let calls = traced(&node, "run");
    let read = |path: &str| calls.iter().any(|call| call.contains(path));
    assert!(
        read("admin.conf") && read("apiserver.crt") && read("runs"),
        "it did not look"
    );
    assert_eq!(changes(&calls, &node.root), Vec::<&String>::new());
}

#[test]
fn the_trace_of_a_run_and_of_its_rollback_shows_every_kind_of_change() {
    let node = Node::real("p256", "expired");
    let [run, rollback] = [traced(&node, "run"), traced(&node, "rollback")];
    for (calls, kinds) in [
        (&run, ["O_CREAT", "rename", "mkdir", "chmod"]),
        (&rollback, ["O_CREAT", "rename", "utime", "unlink"]),
    ] {
        let changes = changes(calls, &node.root);
        for kind in kinds {
            assert!(
                changes.iter().any(|call| call.contains(kind)),
                "no {kind} in the trace"
            );
        }
    }
}

/// The calls of a command on files and descriptors, with the paths of descriptors.
fn traced(node: &Node, command: &str) -> Vec<String> {
    let dir = TempDir::new().unwrap();
    let log = dir.path().join("log");
    let words = [
        "-f",
        "-y",
        "-s",
        "512",
        "-e",
        "trace=file,desc",
        "-o",
        log.to_str().unwrap(),
    ];
    let run = [
        BINARY,
        "--root",
        node.root.to_str().unwrap(),
        command,
        "--yes",
    ];
    other("strace", &[&words[..], &run].concat(), Path::new("/")).exits(0);
    fs::read_to_string(log)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

/// The calls below the root that change something, or could have.
fn changes<'a>(calls: &'a [String], root: &Path) -> Vec<&'a String> {
    let root = root.to_str().unwrap();
    let changes = |call: &&String| {
        let Some((name, rest)) = call.split_once('(') else {
            return false;
        };
        let name = name.rsplit(' ').next().unwrap();
        let changing = CHANGING.iter().any(|word| name.contains(word))
            && name != "readlink"
            && name != "readlinkat";
        let writing = name.starts_with("open") && WRITING.iter().any(|flag| rest.contains(flag));
        let written = name.contains("write")
            || name == "fallocate"
            || name.contains("xattr") && !name.contains("get");
        call.contains(root) && (changing || writing || written)
    };
    calls.iter().filter(changes).collect()
}
