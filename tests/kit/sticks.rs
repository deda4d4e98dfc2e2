//! Sticks that are full, read-only, without modes, or pulled out in the middle.

use serde_json::json;

use super::{Bench, faces, names};
use crate::harness::run;
use crate::means::Mount;

#[test]
fn a_file_system_without_modes_and_times_takes_a_kit() {
    let bench = Bench::new();
    bench
        .under(&["fchmod,utimensat:error=EPERM"], "fat", &[])
        .exits(0);
    // So it was refused what others keep.
    assert_eq!(faces(&bench.path("fat"))["README.txt"].0, 0o100_600);
    bench.verify("fat", &[]).exits(0).prints("intact");
    bench.build("usual", &[]).exits(0);
    let contents = |root: &str| -> Vec<(String, Vec<u8>)> {
        let all = faces(&bench.path(root)).into_iter();
        all.map(|(name, (_, _, bytes))| (name, bytes)).collect()
    };
    assert_eq!(contents("fat"), contents("usual"));
}

#[test]
fn a_full_stick_gets_nothing() {
    let bench = Bench::new();
    let small = Mount::memory("256k");
    let out = small.at.join("deep/kit");
    let words = [
        "kit",
        "build",
        "--out",
        out.to_str().unwrap(),
        "--binary",
        &bench.text("program"),
    ];
    run(&words, &[])
        .exits(5)
        .says("bytes free, and a kit needs");
    assert_eq!(names(&small.at).len(), 1);
    // Space enough, but no more names: that shows in the middle only.
    let crowded = Mount::memory("64m,nr_inodes=40");
    let out = crowded.at.join("deep/kit");
    let words = [
        "kit",
        "build",
        "--out",
        out.to_str().unwrap(),
        "--binary",
        &bench.text("program"),
    ];
    let ran = run(&words, &[])
        .exits(6)
        .says("no kit was made, and nothing of it is left");
    ran.says("No space left on device")
        .says("hint: mend what is named");
    assert_eq!(names(&crowded.at).len(), 1);
    let words = [&words[..], &["--output", "json"]].concat();
    let failed = run(&words, &[]).exits(6).json();
    assert_eq!(
        (&failed["changed"], &failed["error"]["code"]),
        (&json!(false), &json!(6))
    );
}

#[test]
fn a_read_only_stick_is_refused_and_verified() {
    let bench = Bench::new();
    let stick = Mount::memory("64m,noexec,nosuid");
    let out = stick.at.join("kit");
    let text = out.to_str().unwrap();
    let words = [
        "kit",
        "build",
        "--out",
        text,
        "--binary",
        &bench.text("program"),
    ];
    run(&words, &[]).exits(0);
    stick.freeze();
    run(&["kit", "verify", text], &[]).exits(0).prints("intact");
    let again = [&words[..], &["--again"]].concat();
    run(&again, &[])
        .exits(5)
        .says("Read-only file system")
        .says("nothing was changed");
    let beside = stick.at.join("two");
    let words = [
        "kit",
        "build",
        "--out",
        beside.to_str().unwrap(),
        "--binary",
        &bench.text("program"),
    ];
    run(&words, &[]).exits(5).says("Read-only file system");
}

#[test]
fn a_stick_that_was_pulled_out_says_what_is_missing_and_is_finished_later() {
    let bench = Bench::new();
    let whole = faces(&bench.signed("whole"));
    let more = ["--sign-key", &bench.text("key")];
    // Each file is renamed once: the list, then some of the others.
    for renames in [2, 30, 60, 85] {
        let out = format!("pulled-{renames}");
        let killed = bench.under(
            &[&format!("renameat:signal=KILL:when={renames}")],
            &out,
            &more,
        );
        assert_eq!(killed.code, 137);
        let seen = bench.verify(&out, &[]).exits(3).prints("NOT finished");
        assert!(seen.stdout.contains(" is missing"), "{}", seen.stdout);
        bench.build(&out, &more).exits(5).says("holds a kit");
        bench
            .build(&out, &[&more[..], &["--again"]].concat())
            .exits(0);
        assert_eq!(faces(&bench.path(&out)), whole);
    }
    // Before the list: that is no kit yet, and in nobody's way.
    bench.under(&["renameat:signal=KILL:when=1"], "first", &more);
    bench.verify("first", &[]).exits(3).says("holds no kit");
    bench.build("first", &more).exits(0);
    // An error instead of a death: what was written goes, and a former kit says that it is half of two.
    let ran = bench
        .under(&["renameat:error=EIO:when=40+"], "gone", &more)
        .exits(6);
    ran.says("Input/output error");
    assert!(!bench.path("gone").exists());
    let gone = ["renameat:error=EIO:when=40+", "unlinkat:error=EIO"];
    let ran = bench.under(&gone, "left", &more).exits(7);
    ran.says("what was written could not be removed from")
        .says("take another stick");
    bench.verify("left", &[]).exits(3).prints("NOT finished");
    let ran = bench.under(
        &["renameat:error=EIO:when=40+"],
        "whole",
        &[&more[..], &["--again"]].concat(),
    );
    ran.exits(7)
        .says("is half replaced")
        .says("kit build --again");
    bench.verify("whole", &[]).exits(3).prints("NOT finished");
}
