//! Pages for people, as Chromium shows them: narrow and wide, light and dark, on paper, and judged by axe-core.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::cases;
use crate::harness::{Node, lab, other};

/// What is looked at inside of the page: axe-core's verdict, what sticks out to the right, how high each section is.
const LOOK: &str = "axe.run(document).then((found) => {
    const said = document.createElement('template');
    said.id = 'seen';
    said.setAttribute('data-seen', encodeURIComponent(JSON.stringify({
        violations: found.violations.map((rule) => [rule.id, rule.nodes.map((node) => node.html)]),
        passes: found.passes.length,
        dark: matchMedia('(prefers-color-scheme: dark)').matches,
        wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
        sections: [...document.querySelectorAll('section')].map((section) => section.offsetHeight),
    })));
    document.body.append(said);
});";

/// The page of an expired node, and the report of its rescue.
fn pages() -> [(&'static str, String); 2] {
    let node = Node::real("rsa", "expired");
    let page = node.run(&["inspect", "--output", "html"]).exits(3).stdout;
    node.run(&["run", "--operator", "A. Operator", "--yes"])
        .exits(0);
    let report = node.run(&["audit", "report"]).exits(0).stdout;
    [("node", page), ("report", report)]
}

/// Runs Chromium without a display or a network on a file, with a profile of its own.
fn chromium(file: &Path, words: &[&str]) -> String {
    let profile = TempDir::new().unwrap();
    let profile = format!("--user-data-dir={}", profile.path().display());
    let quiet = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--hide-scrollbars",
        "--virtual-time-budget=30000",
        &profile,
    ];
    let url = format!("file://{}", file.display());
    let words = [&["120", "chromium"], &quiet[..], words, &[&url]].concat();
    other("timeout", &words, Path::new("/")).exits(0).stdout
}

/// What [`LOOK`] saw.
fn seen(page: &str, words: &[&str]) -> Value {
    let axe = fs::read_to_string(lab().join("axe.min.js")).unwrap();
    let script = format!("<script>{axe}</script><script>{LOOK}</script></body>");
    // The page itself forbids every script, also one that would judge it.
    let open = page.replacen(
        "http-equiv=\"Content-Security-Policy\"",
        "name=\"policy\"",
        1,
    );
    let place = TempDir::new().unwrap();
    let file = place.path().join("page.html");
    fs::write(&file, open.replacen("</body>", &script, 1)).unwrap();
    let dom = chromium(&file, &[words, &["--dump-dom"]].concat());
    let (_, rest) = dom
        .split_once("data-seen=\"")
        .unwrap_or_else(|| panic!("{dom}"));
    let (told, _) = rest.split_once('"').unwrap();
    serde_json::from_str(&decoded(told)).unwrap()
}

/// Undoes `encodeURIComponent`.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        if *first == b'%' {
            let hex = std::str::from_utf8(&after[..2]).unwrap();
            bytes.push(u8::from_str_radix(hex, 16).unwrap());
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn nobody_is_kept_out_and_nothing_sticks_out() {
    for (name, page) in pages() {
        for (size, dark) in [("1280,900", false), ("1280,900", true), ("420,900", false)] {
            let window = format!("--window-size={size}");
            let mut words = vec![window.as_str()];
            words.extend(dark.then_some("--force-dark-mode"));
            let seen = seen(&page, &words);
            let when = format!("{name}, {size}, dark {dark}: {seen:#}");
            assert_eq!(seen["violations"], Value::Array(Vec::new()), "{when}");
            assert!(seen["passes"].as_u64().unwrap() > 15, "{when}");
            assert_eq!(seen["dark"], dark, "{when}");
            assert_eq!(seen["wide"], 0, "{when}");
            let sections = seen["sections"].as_array().unwrap();
            assert!(sections.len() >= 3, "{when}");
            assert!(
                sections.iter().all(|height| height.as_u64().unwrap() > 60),
                "{when}"
            );
        }
    }
}

#[test]
fn the_axe_would_find_what_is_wrong() {
    let wrong = "<!DOCTYPE html><html><head><title>x</title></head><body><main><h1>x</h1>\
        <img src='data:,'><p style='color:#bbb;background:#fff'>grey</p></main></body></html>";
    let found = seen(wrong, &["--window-size=800,600"])["violations"].to_string();
    for rule in ["color-contrast", "html-has-lang", "image-alt"] {
        assert!(found.contains(rule), "{found}");
    }
}

#[test]
fn pages_are_printed_whole() {
    for (name, page) in pages() {
        let place = TempDir::new().unwrap();
        let (file, paper) = (
            place.path().join("page.html"),
            place.path().join("page.pdf"),
        );
        fs::write(&file, &page).unwrap();
        let print = format!("--print-to-pdf={}", paper.display());
        chromium(&file, &[&print, "--no-pdf-header-footer"]);
        let pdf = fs::read(&paper).unwrap();
        assert!(pdf.starts_with(b"%PDF-"), "{name}");
        let text = "pdftotext -layout page.pdf - | tr -s ' \\n' ' '";
        let text = cases::shell(text, &[], place.path()).exits(0).stdout;
        for said in [
            "Who signed what",
            "apiserver-kubelet-client",
            "super-admin.conf",
            "All times are UTC",
        ] {
            assert!(text.contains(said), "{name}: {said} is not in {text}");
        }
    }
}
