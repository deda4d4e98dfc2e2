//! The recording that the README shows: a picture that is what the binary shows, and nothing but a picture.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::harness::{BINARY, other, run};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn recording() -> String {
    fs::read_to_string(repository("docs/rescue.svg")).unwrap()
}

#[test]
fn the_recording_is_what_the_binary_shows() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("rescue.svg");
    let words = [
        "scripts/record",
        "--binary",
        BINARY,
        "--out",
        out.to_str().unwrap(),
    ];
    other("python3", &words, &repository("")).exits(0);
    let same = fs::read_to_string(&out).unwrap() == recording();
    assert!(same, "it shows something else now: run scripts/record");
}

#[test]
fn the_recording_is_a_small_picture_without_a_program() {
    let text = recording();
    assert!(text.len() < 200_000, "{}", text.len());
    let parse = "import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.argv[1])";
    let words = ["-c", parse, "docs/rescue.svg"];
    other("python3", &words, &repository("")).exits(0);
    for word in [
        "<script",
        "<foreignObject",
        "<image",
        "javascript:",
        "@import",
        "url(",
        " onload",
        " onclick",
    ] {
        assert!(!text.contains(word), "{word}");
    }
    // Nothing is fetched: links lead to what is in the picture.
    let links = text.split("href=\"").skip(1);
    assert!(links.into_iter().all(|link| link.starts_with('#')));
    assert_eq!(text.matches("http").count(), 1, "the name of the format");
}

#[test]
fn the_recording_can_be_read_by_everybody() {
    let text = recording();
    for word in [
        "prefers-color-scheme:dark",
        "prefers-reduced-motion:reduce",
        "<title",
        "<desc",
    ] {
        assert!(text.contains(word), "{word}");
    }
    let readme = fs::read_to_string(repository("README.md")).unwrap();
    assert!(readme.contains("](docs/rescue.svg)"), "README.md");
}

#[test]
fn the_commands_of_the_recording_exist() {
    let text = recording();
    let lines = text.lines().filter(|line| line.starts_with("<text"));
    let typed: Vec<String> = lines
        .map(bare)
        .filter_map(|line| line.strip_prefix("$ rescue-kit").map(str::to_owned))
        .collect();
    assert!(typed.len() >= 2, "{typed:?}");
    for line in typed {
        let words: Vec<&str> = line.split_whitespace().chain(["--help"]).collect();
        run(&words, &[]).exits(0);
    }
}

/// The text of a line of SVG.
fn bare(line: &str) -> String {
    let pieces = line.split('<').filter_map(|piece| piece.split_once('>'));
    pieces.map(|(_, text)| text).collect()
}
