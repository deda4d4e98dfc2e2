//! What people are given: one page, and entries for their calendars.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{Written, before_the_end};
use crate::cases;
use crate::harness::{Node, other};

/// Reads a calendar with nothing but RFC 5545's own rules, and says what is in it as JSON.
const READER: &str = r"
import json, re, sys
raw = open(sys.argv[1], 'rb').read()
assert raw.endswith(b'\r\n') and b'\n' not in raw.replace(b'\r\n', b'') and b'\r' not in raw.replace(b'\r\n', b'')
assert all(len(line) <= 75 for line in raw.split(b'\r\n'))
lines = re.sub('\r\n[ \t]', '', raw.decode('utf-8')).split('\r\n')[:-1]
stack, events = [], []
for line in lines:
    name, value = re.fullmatch('([A-Z-]+):(.*)', line).groups()
    if name == 'BEGIN':
        stack.append(value)
        if value == 'VEVENT':
            events.append({'alarms': []})
    elif name == 'END':
        assert stack.pop() == value
    elif stack == ['VCALENDAR', 'VEVENT']:
        assert name not in events[-1]
        value = re.sub(r'\\(.)', lambda found: '\n' if found[1] in 'nN' else found[1], value)
        events[-1][name] = value
    elif stack[-1] == 'VALARM' and name == 'TRIGGER':
        events[-1]['alarms'].append(value)
assert stack == []
for event in events:
    assert all(re.fullmatch(r'\d{8}T\d{6}Z', event[name]) for name in ('DTSTAMP', 'DTSTART'))
print(json.dumps(events))
";

pub(super) fn events(written: &Written) -> Vec<Value> {
    let path = written.path().join("expiries.ics");
    let words = ["-c", READER, path.to_str().unwrap()];
    let said = other("python3", &words, Path::new("/")).exits(0);
    said.json().as_array().unwrap().clone()
}

#[test]
fn the_page_is_the_golden_one() {
    let node = Node::real("p256", "fresh");
    let now = before_the_end(&node, 30);
    let text = node.run(&["handover", "--now", &now]).exits(0).stdout;
    assert_eq!(
        text,
        Written::with(&node, &["--now", &now]).text("calendar.txt")
    );
    cases::assert_golden(
        "handover-calendar.txt",
        &cases::redacted(&text, &["9999-99-99T99:99:99Z", "v9.99.9"]),
    );
}

#[test]
fn the_page_is_one_page_of_80_columns_and_names_every_certificate_once() {
    cases::each(|case| {
        for state in ["fresh", "expired"] {
            let node = Node::real(case, state);
            let text = node.run(&["handover"]).exits(0).stdout;
            assert!(text.lines().count() <= 50, "{case}: {text}");
            let long = |line: &&str| line.chars().count() > 80;
            assert_eq!(text.lines().find(long), None, "{case}");
            let ends = node.json(&["handover"]);
            for end in ends["ends"].as_array().unwrap() {
                let id = end["id"].as_str().unwrap();
                let named = text
                    .lines()
                    .filter(|line| line.split_whitespace().next() == Some(id));
                assert_eq!(named.count(), 1, "{case}: {id}: {text}");
            }
        }
    });
}

#[test]
fn an_expired_kubelet_is_not_said_to_renew_itself() {
    let text = Node::real("p256", "expired").run(&["handover"]).stdout;
    assert!(text.contains("Z  expired "), "{text}");
    assert!(!text.contains("itself"), "{text}");
}

#[test]
fn a_calendar_reads_an_entry_for_each_date_cas_first() {
    cases::each(|case| {
        let node = Node::real(case, "fresh");
        let events = events(&Written::of(&node));
        let ends = node.json(&["handover"]);
        let ends = ends["ends"].as_array().unwrap();
        assert!(
            !events.is_empty() && events.len() <= 4,
            "{case}: {events:?}"
        );
        let mut uids: Vec<&str> = events.iter().map(|e| e["UID"].as_str().unwrap()).collect();
        uids.sort_unstable();
        uids.dedup();
        assert_eq!(uids.len(), events.len(), "{case}");
        let summary = |event: &Value| event["SUMMARY"].as_str().unwrap().to_owned();
        let is_ca = |event: &Value| summary(event).contains("CA");
        assert!(is_ca(&events[0]), "{case}");
        for event in &events {
            let alarms: &[&str] = if is_ca(event) {
                &["-PT259200M", "-PT43200M", "-PT10080M"]
            } else {
                &["-PT43200M", "-PT10080M"]
            };
            assert_eq!(event["alarms"], serde_json::json!(alarms), "{case}");
        }
        for (ca, ends) in
            [true, false].map(|ca| (ca, ends.iter().filter(move |e| (e["kind"] == "ca") == ca)))
        {
            let first = ends
                .clone()
                .filter_map(|end| end["not_after"].as_str())
                .min()
                .unwrap();
            let first = first.replace(['-', ':'], "");
            let of = events.iter().filter(|event| is_ca(event) == ca);
            assert!(
                of.clone().any(|event| event["DTSTART"] == first.as_str()),
                "{case}: {first}"
            );
            for end in ends {
                let line = format!("{}, renewed by", end["id"].as_str().unwrap());
                let named = of.clone().filter(|e| {
                    e["DESCRIPTION"]
                        .as_str()
                        .unwrap()
                        .lines()
                        .any(|l| l.starts_with(&line))
                });
                assert_eq!(named.count(), 1, "{case}: {line}");
            }
        }
    });
}

#[test]
fn an_entry_keeps_its_name_until_its_certificates_are_others() {
    let node = Node::real("p256", "fresh");
    let uids = |node: &Node| -> Vec<String> {
        let events = events(&Written::of(node));
        events
            .iter()
            .map(|e| e["UID"].as_str().unwrap().to_owned())
            .collect()
    };
    let before = uids(&node);
    assert_eq!(before, uids(&node));
    node.run(&["run", "--all", "--validity", "100d", "--yes"])
        .exits(0);
    let after = uids(&node);
    assert_eq!(after[0], before[0], "the CAs are the same");
    assert_ne!(after[1], before[1]);
    let another = Node::real("p256", "fresh");
    fs::write(
        another.path("/etc/machine-id"),
        "0123456789abcdef0123456789abcdef\n",
    )
    .unwrap();
    assert!(
        uids(&another).iter().all(|uid| !before.contains(uid)),
        "another node"
    );
}
