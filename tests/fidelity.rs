//! Byte fidelity of what is issued: what must not change does not, by the judgement of Go and openssl.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::cases::{self, Leaf};
use crate::harness::{Node, other};

#[test]
fn only_serial_validity_and_key_of_a_certificate_change() {
    cases::each(|case| {
        let node = cases::rescued_once(case);
        for leaf in cases::leaves(case) {
            let compared = compared(case, node, &leaf);
            let differ: BTreeSet<&str> = words(&compared["differ"]);
            let expected = BTreeSet::from(["serial", "spki", "validity"]);
            // The old one had no SKI anywhere in the lab, and its AKI is that of the same CA.
            assert_eq!(differ, expected, "{case}: {}", leaf.id);
            let key = &compared["key_algorithm"];
            assert_eq!(key["old"], key["new"], "{case}: {}", leaf.id);
        }
    });
}

#[test]
fn extensions_that_nobody_knows_stay() {
    let node = cases::rescued_once("exotic-san");
    let leaf = cases::leaves("exotic-san")
        .into_iter()
        .find(|leaf| leaf.id == "apiserver")
        .unwrap();
    let compared = compared("exotic-san", node, &leaf);
    let same = words(&compared["same"]);
    for part in [
        "extension 1.3.6.1.4.1.55555.1.1",
        "extension 1.3.6.1.4.1.55555.1.2",
        "san",
    ] {
        assert!(same.contains(part), "{part} is not among {same:?}");
    }
}

#[test]
fn each_authority_key_identifier_is_that_of_the_authority() {
    cases::each(|case| {
        let node = cases::rescued_once(case);
        for leaf in cases::leaves(case) {
            let ca = asked(
                &cases::pem(&node.root, leaf.ca, ""),
                &["-ext", "subjectKeyIdentifier"],
            );
            let aki = asked(
                &cases::cert_pem(&node.root, &leaf),
                &["-ext", "authorityKeyIdentifier"],
            );
            let bytes = |text: &str| text.lines().nth(1).map(|line| line.trim().to_owned());
            assert_eq!(bytes(&aki), bytes(&ca), "{case}: {}", leaf.id);
            assert_eq!(
                bytes(&ca).is_none(),
                case == "no-ski",
                "{case}: {}",
                leaf.id
            );
        }
    });
}

#[test]
fn no_certificate_outlives_its_authority_though_asked_to() {
    for case in ["p256", "intermediate"] {
        let node = Node::real(case, "expired");
        node.run(&["run", "--yes", "--validity", "9000d"]).exits(0);
        for leaf in cases::leaves(case) {
            let end = |pem: &[u8]| asked(pem, &["-enddate", "-dateopt", "iso_8601"]);
            let ca = end(&cases::pem(&node.root, leaf.ca, ""));
            assert_eq!(
                end(&cases::cert_pem(&node.root, &leaf)),
                ca,
                "{case}: {}",
                leaf.id
            );
        }
    }
}

#[test]
fn a_year_is_valid_from_five_minutes_ago_or_to_the_end_of_the_authority() {
    cases::each(|case| {
        let node = cases::rescued_once(case);
        let text = fs::read_to_string(node.newest_run().join("plan.json")).unwrap();
        let plan: serde_json::Value = serde_json::from_str(&text).unwrap();
        for leaf in cases::leaves(case) {
            let dates = dates(&cases::cert_pem(&node.root, &leaf));
            let ca = dates_of(node, leaf.ca);
            let at = plan["at"].as_str().unwrap().to_owned();
            assert_eq!(
                dates[0],
                shifted(&at, "-5 minutes").max(ca[0].clone()),
                "{case}: {}",
                leaf.id
            );
            assert_eq!(
                dates[1],
                shifted(&at, "+365 days").min(ca[1].clone()),
                "{case}: {}",
                leaf.id
            );
        }
    });
}

#[test]
fn key_files_keep_their_form_and_modes() {
    cases::each(|case| {
        let old = cases::tree(case, "expired");
        let node = cases::rescued_once(case);
        for leaf in cases::leaves(case) {
            let before = tags(&cases::key_pem(&old, &leaf));
            assert_eq!(
                tags(&cases::key_pem(&node.root, &leaf)),
                before,
                "{case}: {}",
                leaf.id
            );
            assert!(
                before.iter().any(|tag| tag.ends_with("PRIVATE KEY")),
                "{case}: {}",
                leaf.id
            );
            for path in [leaf.cert, leaf.key] {
                assert_eq!(face(&node.root, path), face(&old, path), "{case}: {path}");
            }
        }
    });
}

#[test]
fn the_lab_has_every_form_of_key_file() {
    let form = |case: &str| {
        let leaf = cases::leaves(case)[0];
        tags(&cases::key_pem(&cases::tree(case, "expired"), &leaf)).join(", ")
    };
    assert_eq!(form("rsa"), "RSA PRIVATE KEY");
    assert_eq!(form("p256"), "EC PRIVATE KEY");
    assert_eq!(form("key-pkcs8"), "PRIVATE KEY");
    assert_eq!(form("key-sec1-params"), "EC PARAMETERS, EC PRIVATE KEY");
}

/// What the lab's judge says of the old and the new certificate.
fn compared(case: &str, node: &Node, leaf: &Leaf) -> serde_json::Value {
    let dir = TempDir::new().unwrap();
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    fs::write(&old, cases::cert_pem(&cases::tree(case, "expired"), leaf)).unwrap();
    fs::write(&new, cases::cert_pem(&node.root, leaf)).unwrap();
    let words = ["compare", old.to_str().unwrap(), new.to_str().unwrap()];
    cases::judge(&words).exits(0).json()
}

fn words(list: &serde_json::Value) -> BTreeSet<&str> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|word| word.as_str().unwrap())
        .collect()
}

/// What `openssl x509` says of a certificate.
fn asked(pem: &[u8], words: &[&str]) -> String {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("cert"), pem).unwrap();
    let words = [&["x509", "-noout", "-in", "cert"], words].concat();
    other("openssl", &words, dir.path()).exits(0).stdout
}

/// First and last second of validity, as `2026-11-22 09:17:01Z`.
fn dates(pem: &[u8]) -> [String; 2] {
    let text = asked(pem, &["-startdate", "-enddate", "-dateopt", "iso_8601"]);
    let mut values = text
        .lines()
        .map(|line| line.split_once('=').unwrap().1.to_owned());
    [values.next().unwrap(), values.next().unwrap()]
}

fn dates_of(node: &Node, path: &str) -> [String; 2] {
    dates(&cases::pem(&node.root, path, ""))
}

/// A time and a distance, by GNU date, in the form of [`dates`].
fn shifted(at: &str, by: &str) -> String {
    let words = ["-u", "-d", &format!("{at} {by}"), "+%Y-%m-%d %H:%M:%SZ"];
    other("date", &words, Path::new("/"))
        .exits(0)
        .stdout
        .trim()
        .to_owned()
}

/// The tags of a PEM text's blocks, in order; certificates do not count.
fn tags(pem: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(pem).into_owned();
    let tag = |line: &str| {
        Some(
            line.trim()
                .strip_prefix("-----BEGIN ")?
                .strip_suffix("-----")?
                .to_owned(),
        )
    };
    text.lines()
        .filter_map(tag)
        .filter(|tag| tag != "CERTIFICATE")
        .collect()
}

/// Mode and owner.
fn face(root: &Path, path: &str) -> (u32, u32, u32) {
    use std::os::unix::fs::MetadataExt;
    let meta = fs::metadata(cases::resolved(root, path)).unwrap();
    (meta.mode(), meta.uid(), meta.gid())
}
