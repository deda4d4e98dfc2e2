//! What people and machines read of real trees: text of 80 columns, metrics that promtool takes, JSON by contract.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::cases;
use crate::harness::{Node, other};

/// The fields of the envelope, in order: the contract of design section 4.
const ENVELOPE: [&str; 6] = ["schema", "tool", "host", "at", "clock", "changed"];

/// The fields of each certificate.
const CERTIFICATE: [&str; 16] = [
    "id",
    "path",
    "kind",
    "subject",
    "issuer",
    "serial",
    "not_before",
    "not_after",
    "residual_seconds",
    "status",
    "key",
    "sans",
    "missing_sans",
    "sha256",
    "mode",
    "owner",
];

/// The fields of a run's payload.
const RUN: [&str; 10] = [
    "run_id",
    "steps",
    "downtime_seconds",
    "meter",
    "processes",
    "backup",
    "audit",
    "verification",
    "diff",
    "next",
];

#[test]
fn promtool_has_nothing_to_say_about_the_metrics_of_any_tree() {
    cases::each(|case| {
        for state in ["expired", "fresh"] {
            let node = Node::real(case, state);
            let metrics = node.run(&["inspect", "--output", "prometheus"]).stdout;
            assert!(
                metrics.contains("rescue_kit_certificate_not_after_seconds{"),
                "{case}"
            );
            node.write("/metrics", &metrics);
            let said = cases::shell(
                "promtool check metrics < metrics",
                &["promtool"],
                &node.root,
            );
            assert_eq!(
                (said.code, said.stdout + &said.stderr),
                (0, String::new()),
                "{case}"
            );
        }
    });
}

#[test]
fn text_of_an_inspection_fits_80_columns_but_for_paths() {
    cases::each(|case| {
        for state in ["expired", "fresh"] {
            let text = Node::real(case, state).run(&["inspect"]).stdout;
            assert!(text.lines().count() > 15, "{case}: {text}");
            let long = |line: &&str| line.chars().count() > 80 && !is_path(line);
            let long: Vec<&str> = text.lines().filter(long).collect();
            assert_eq!(long, Vec::<&str>::new(), "{case}");
        }
    });
}

#[test]
fn text_of_every_other_command_fits_80_columns_but_for_paths_and_commands() {
    let node = Node::real("long-name", "expired");
    let commands: [&[&str]; 5] = [
        &["plan", "--diff"],
        &["verify"],
        &["run", "--yes", "--diff"],
        &["runs", "list"],
        &["rollback", "--yes"],
    ];
    for words in commands {
        let ran = node.run(words);
        assert_ne!(ran.stdout, "", "{words:?}");
        let command = |line: &str| {
            line.starts_with("    ") && line.contains("systemctl") || line.contains("crictl")
        };
        let named = |line: &str| line.split_whitespace().nth(1).is_some_and(is_path);
        let fits = |line: &&str| {
            line.chars().count() <= 80 || is_path(line) || command(line) || named(line)
        };
        let text = ran.stdout + &ran.stderr;
        let long: Vec<&str> = text.lines().filter(|line| !fits(line)).collect();
        assert_eq!(long, Vec::<&str>::new(), "{words:?}");
    }
}

#[test]
fn the_text_of_an_inspection_is_the_golden_one() {
    let node = Node::real("p256", "expired");
    let cert = node.path("/etc/kubernetes/pki/apiserver.crt");
    let words = [
        "x509",
        "-noout",
        "-enddate",
        "-dateopt",
        "iso_8601",
        "-in",
        cert.to_str().unwrap(),
    ];
    let end = other("openssl", &words, Path::new("/")).exits(0).stdout;
    let end = end.trim().trim_start_matches("notAfter=");
    // Half a day after the tree was made, which is 35 days after its certificates ended.
    let words = [
        "-u",
        "-d",
        &format!("{end} +35 days +12 hours"),
        "+%Y-%m-%dT%H:%M:%SZ",
    ];
    let now = other("date", &words, Path::new("/")).exits(0).stdout;
    let text = node.run(&["inspect", "--now", now.trim()]).exits(3).stdout;
    let varying = ["9999-99-99T99:99:99Z", "9999-99-99-99-99-99", "9999-99-99"];
    cases::assert_golden(
        "inspect-expired-p256.txt",
        &cases::redacted(&text, &varying),
    );
}

#[test]
fn the_json_of_an_inspection_has_every_field_of_the_contract() {
    cases::each(|case| {
        let seen = Node::real(case, "expired")
            .run(&["inspect", "--output", "json"])
            .exits(3)
            .json();
        assert_eq!(seen["schema"], "rescue-kit/inspect/v1");
        assert_eq!(seen["changed"], false);
        assert!(
            seen["cause"]
                .as_str()
                .is_some_and(|cause| !cause.is_empty()),
            "{case}"
        );
        has(&seen, &ENVELOPE, case);
        has(&seen["tool"], &["version", "sha256"], case);
        let certificates = seen["certificates"].as_array().unwrap();
        assert!(certificates.len() > 10, "{case}");
        for certificate in certificates {
            has(certificate, &CERTIFICATE, case);
            certificate_is_sound(certificate, case);
        }
        for finding in seen["findings"].as_array().unwrap() {
            has(
                finding,
                &["code", "severity", "subject", "text", "hint"],
                case,
            );
        }
    });
}

#[test]
fn every_certificate_that_can_be_read_has_a_mode_and_an_owner() {
    let seen = Node::real("p256", "expired").json(&["inspect"]);
    for certificate in seen["certificates"].as_array().unwrap() {
        let id = &certificate["id"];
        assert!(
            certificate["mode"]
                .as_str()
                .is_some_and(|mode| mode.len() == 4),
            "mode of {id}"
        );
        assert_eq!(certificate["owner"], "0:0", "owner of {id}");
    }
}

#[test]
fn the_json_of_a_run_has_every_field_of_the_contract_whether_or_not_it_changed_anything() {
    let node = Node::real("p256", "expired");
    let ran = node
        .run(&["run", "--yes", "--output", "json"])
        .exits(0)
        .json();
    let again = node
        .run(&["run", "--yes", "--output", "json"])
        .exits(0)
        .json();
    for (ran, changed) in [(&ran, true), (&again, false)] {
        assert_eq!(ran["schema"], "rescue-kit/run/v1");
        assert_eq!(ran["changed"], changed);
        has(ran, &[&ENVELOPE[..], &RUN].concat(), "run");
    }
    assert_eq!(ran["steps"].as_array().unwrap().len(), 20);
    assert_eq!(ran["downtime_seconds"], 0.0);
    assert_eq!(ran["diff"]["before"].as_array().unwrap().len(), 12);
    assert_eq!(ran["diff"]["after"].as_array().unwrap().len(), 12);
    assert!(fs::exists(ran["backup"].as_str().unwrap()).unwrap());
    assert!(fs::exists(ran["audit"]["path"].as_str().unwrap()).unwrap());
    assert_eq!(again["steps"], Value::Array(Vec::new()));
    assert_eq!(again["run_id"], Value::Null);
}

#[test]
fn json_begins_with_the_envelope_in_its_order() {
    let node = Node::real("p256", "expired");
    for words in [
        ["inspect", "--quiet"],
        ["run", "--yes"],
        ["run", "--yes"],
        ["verify", "--quiet"],
    ] {
        let text = node
            .run(&[&words[..], &["--output", "json"]].concat())
            .stdout;
        assert_eq!(text.lines().count(), 1, "one object on one line");
        assert!(
            text.starts_with("{\"schema\":\"rescue-kit/"),
            "{words:?}: {text:.60}"
        );
        let places = ENVELOPE.map(|field| text.find(&format!("\"{field}\":")).unwrap());
        assert!(places.is_sorted(), "{words:?}: {places:?}");
    }
}

#[test]
fn json_of_a_failure_is_one_object_too() {
    let node = Node::real("p256", "expired");
    let ran = node.run(&["run", "--output", "json"]).exits(2);
    let failed = ran.json();
    assert_eq!(failed["schema"], "rescue-kit/error/v1");
    assert_eq!(failed["changed"], false);
    assert_eq!(failed["error"]["code"], 2);
    assert!(
        failed["error"]["hints"][0]
            .as_str()
            .unwrap()
            .contains("--yes")
    );
    has(&failed["error"], &["code", "text", "hints"], "error");
}

/// What the values of a certificate that could be read must look like.
fn certificate_is_sound(certificate: &Value, case: &str) {
    let one_of = |field: &str, words: &[&str]| {
        let word = certificate[field].as_str().unwrap();
        assert!(words.contains(&word), "{case}: {field} is {word}");
    };
    one_of("kind", &["leaf", "ca", "kubeconfig", "kubelet", "served"]);
    one_of("status", &["expired", "ok"]);
    assert_eq!(certificate["sha256"].as_str().unwrap().len(), 64, "{case}");
    let expired = certificate["residual_seconds"].as_i64().unwrap() < 0;
    assert_eq!(
        expired,
        certificate["status"] == "expired",
        "{case}: {certificate}"
    );
}

#[track_caller]
fn has(value: &Value, fields: &[&str], what: &str) {
    for field in fields {
        assert!(
            value.get(field).is_some(),
            "{what}: no `{field}` in {value}"
        );
    }
}

/// A line that is only a path, perhaps with the number of a certificate in its file.
fn is_path(line: &str) -> bool {
    let line = line.trim();
    line.starts_with('/') && !line.contains(' ')
}

#[test]
fn a_page_of_a_node_names_every_certificate_every_finding_and_who_signed_what() {
    let node = Node::real("intermediate", "expired");
    let said = node.json(&["inspect"]);
    let page = node.run(&["inspect", "--output", "html"]).exits(3).stdout;
    assert!(page.starts_with("<!DOCTYPE html>\n<html lang=\"en\">"));
    for row in said["certificates"].as_array().unwrap() {
        let id = row["id"].as_str().unwrap();
        assert!(page.contains(&format!(">{id}")), "{id}");
    }
    for finding in said["findings"].as_array().unwrap() {
        assert!(
            page.contains(finding["code"].as_str().unwrap()),
            "{finding:#}"
        );
    }
    let (_, chains) = page.split_once("Who signed what</h2>").unwrap();
    let (own, below) = chains.split_once("<li>ca: ").unwrap();
    assert!(!own.contains("apiserver") && below.contains("<li>apiserver, until "));
    let refused = node.run(&["verify", "--output", "html"]).exits(2);
    refused.says("only inspect has this output");
}
