//! The layers of `src/lib.rs`, held by reading the `use crate::` lines.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules by layer, in the order in which domain modules may use each other.
const DOMAIN: [&str; 27] = [
    "pki",
    "facts",
    "place",
    "template",
    "manifest",
    "unit_file",
    "passwd",
    "live",
    "profile",
    "request",
    "inventory",
    "rotation",
    "stale",
    "gate",
    "defect",
    "grant",
    "finding",
    "runbook",
    "listing",
    "verification",
    "plan",
    "journal",
    "diff",
    "ledger",
    "guide",
    "handover",
    "render",
];
const EDGES: [&str; 17] = [
    "clock",
    "cores",
    "crypto",
    "issue",
    "store",
    "journal_file",
    "archive",
    "sign",
    "command",
    "systemd",
    "cri",
    "tls",
    "https",
    "kube",
    "etcd",
    "stick",
    "terminal",
];
const PHASES: [&str; 11] = [
    "access",
    "observe",
    "rehearsal",
    "run",
    "backup",
    "meter",
    "converge",
    "apply",
    "audit",
    "drill",
    "kit",
];
const FLOWS: [&str; 1] = ["flow"];
const SHELL: [&str; 4] = ["cli", "config", "error", "exit"];

/// Which edges an edge may use, besides itself.
fn edges_of(edge: &str) -> &'static [&'static str] {
    match edge {
        "issue" | "sign" => &["crypto"],
        "clock" | "journal_file" => &["store"],
        "https" => &["tls"],
        "etcd" | "kube" => &["https"],
        "systemd" => &["command"],
        "terminal" => &["apply"],
        _ => &[],
    }
}

#[test]
fn every_module_has_a_layer() {
    let known: BTreeSet<&str> = [&DOMAIN[..], &EDGES, &PHASES, &FLOWS, &SHELL]
        .concat()
        .into_iter()
        .collect();
    let present: BTreeSet<String> = files()
        .iter()
        .map(|file| module_of(file))
        .filter(|module| module != "lib" && module != "main")
        .collect();
    let present: BTreeSet<&str> = present.iter().map(String::as_str).collect();
    assert_eq!(present, known);
}

#[test]
fn no_module_uses_a_layer_below_its_own() {
    let mut wrong = Vec::new();
    for file in files() {
        let module = module_of(&file);
        for used in uses(&file) {
            if used != module && !may_use(&module, &used) {
                wrong.push(format!("{} uses {used}", file.display()));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn only_crypto_uses_the_cryptographic_libraries() {
    for file in files() {
        let text = fs::read_to_string(&file).unwrap();
        let crypto = module_of(&file) == "crypto";
        for library in ["use ring::", " ring::", "aws_lc_rs::"] {
            assert!(
                crypto || !text.contains(library),
                "{} uses {library}",
                file.display()
            );
        }
    }
}

#[test]
fn nothing_below_the_shell_reads_the_command_line_or_prints() {
    for file in files() {
        let module = module_of(&file);
        let text = fs::read_to_string(&file).unwrap();
        let shell = SHELL.contains(&module.as_str());
        assert!(
            shell || !text.contains("clap::"),
            "{} uses clap",
            file.display()
        );
        for printing in ["println!", "print!(", "eprintln!", "io::stdout"] {
            let allowed = module == "terminal";
            assert!(
                allowed || !text.contains(printing),
                "{} has {printing}",
                file.display()
            );
        }
    }
}

#[test]
fn no_words_that_promise_work() {
    let words = [
        "dbg!",
        "fixme",
        "FIXME",
        "todo!",
        "TODO",
        "xxx",
        "XXX",
        "unimplemented!",
    ];
    for file in files() {
        let text = fs::read_to_string(&file).unwrap();
        for word in words {
            assert!(!text.contains(word), "{} has `{word}`", file.display());
        }
    }
}

fn may_use(module: &str, used: &str) -> bool {
    let position = |list: &[&str], name: &str| list.iter().position(|known| *known == name);
    if let Some(own) = position(&DOMAIN, module) {
        return position(&DOMAIN, used).is_some_and(|other| other < own);
    }
    let domain = position(&DOMAIN, used).is_some();
    if EDGES.contains(&module) {
        return domain || edges_of(module).contains(&used);
    }
    let edge = EDGES.contains(&used) && used != "terminal";
    if let Some(own) = position(&PHASES, module) {
        return domain || edge || position(&PHASES, used).is_some_and(|other| other < own);
    }
    if FLOWS.contains(&module) {
        return domain || edge || PHASES.contains(&used);
    }
    SHELL.contains(&module) || ["lib", "main"].contains(&module)
}

/// The modules that a file names after `crate::`, tests left out.
fn uses(file: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(file).unwrap();
    let code = text
        .split("#[cfg(test)]\nmod tests")
        .next()
        .unwrap_or_default();
    let code = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let mut used = BTreeSet::new();
    for line in code {
        for rest in line.split("crate::").skip(1) {
            let name: String = rest
                .chars()
                .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                .collect();
            used.insert(name);
        }
    }
    used.remove("");
    used
}

fn module_of(file: &Path) -> String {
    let below = file.strip_prefix(source()).unwrap();
    let first = below
        .components()
        .next()
        .unwrap()
        .as_os_str()
        .to_str()
        .unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// Every source file but those that hold only tests.
fn files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    collect(&source(), &mut files);
    files.sort();
    files
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs")
            && path
                .file_name()
                .is_some_and(|name| name != "tests.rs" && name != "sample.rs")
        {
            files.push(path);
        }
    }
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}
