//! The rules: promtool takes them, and they fire when they should.

use std::fs;
use std::path::Path;

use super::Written;
use crate::cases;
use crate::harness::{Node, other};
use crate::units::kubeasz;
use crate::workers::worker;

const ALERTS: [&str; 6] = [
    "RescueKitCaExpired",
    "RescueKitCaEnds",
    "RescueKitCaEndsSoon",
    "RescueKitCertificateExpired",
    "RescueKitCertificateEnds",
    "RescueKitCertificateEndsSoon",
];

fn promtool(words: &[&str], directory: &Path) -> String {
    let said = other("promtool", words, directory).exits(0);
    said.stdout + &said.stderr
}

fn holds(written: &Written, what: &str) {
    let said = promtool(&["check", "rules", "alerts.yaml"], &written.path());
    assert!(said.contains("SUCCESS: 10 rules found"), "{what}: {said}");
    let said = promtool(&["test", "rules", "alerts-test.yaml"], &written.path());
    assert!(said.contains("SUCCESS"), "{what}: {said}");
}

#[test]
fn promtool_takes_rules_and_tests_of_every_tree() {
    cases::each(|case| {
        for state in ["fresh", "expired"] {
            holds(&Written::of(&Node::real(case, state)), case);
        }
    });
    holds(&Written::of(&kubeasz()), "systemd");
    holds(&Written::of(&worker("p256", "fresh")), "worker");
}

#[test]
fn each_alert_fires_in_the_tests_on_every_certificate_that_it_is_about() {
    let text = Written::of(&Node::real("p256", "fresh")).text("alerts-test.yaml");
    for alert in ALERTS {
        let checks: Vec<&str> = text.split("      - eval_time: ").collect();
        let of_alert = |check: &&&str| check.contains(&format!("alertname: {alert}\n"));
        let firing = checks.iter().filter(of_alert);
        let firing: Vec<usize> = firing.map(|c| c.matches("exp_labels").count()).collect();
        let expected = if alert.contains("Ca") && !alert.contains("Certificate") {
            3
        } else {
            13
        };
        assert_eq!(firing, [0, expected], "{alert}");
    }
}

#[test]
fn the_series_of_the_tests_are_those_of_the_metrics() {
    for node in [Node::real("p256", "fresh"), kubeasz()] {
        let metrics = node.run(&["inspect", "--output", "prometheus"]).stdout;
        let text = Written::of(&node).text("alerts-test.yaml");
        let series = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("- series: "));
        let series = series.filter(|series| series.contains("certificate"));
        let mut seen = 0;
        for series in series {
            let series: String = serde_json::from_str(series).unwrap();
            let (metric, labels) = series.trim_end_matches('}').split_once('{').unwrap();
            let mut wanted: Vec<&str> = labels.split(',').collect();
            wanted.retain(|label| !label.starts_with("instance="));
            let line = metrics.lines().find(|line| {
                line.starts_with(&format!("{metric}{{"))
                    && wanted.iter().all(|label| line.contains(label))
            });
            assert!(line.is_some(), "{series} is not in\n{metrics}");
            seen += 1;
        }
        assert!(seen >= 20, "{seen}");
    }
}

/// Written by hand: a leaf of a year, a file outside of the layout that ends with it, and a CA of ten years; then a leaf of
/// 30 days.
const BY_HAND: &str = r#"rule_files: [alerts.yaml]
evaluation_interval: 12h
tests:
  - interval: 12h
    input_series:
      - {series: 'rescue_kit_certificate_not_after_seconds{id="leaf",kind="leaf"}', values: '31536000+0x800'}
      - {series: 'rescue_kit_certificate_not_before_seconds{id="leaf",kind="leaf"}', values: '0+0x800'}
      - {series: 'rescue_kit_certificate_not_after_seconds{id="/etc/x.crt",kind="leaf"}', values: '31536000+0x800'}
      - {series: 'rescue_kit_certificate_not_before_seconds{id="/etc/x.crt",kind="leaf"}', values: '0+0x800'}
      - {series: 'rescue_kit_certificate_not_after_seconds{id="ca",kind="ca"}', values: '47088000+0x1200'}
      - {series: 'rescue_kit_certificate_not_before_seconds{id="ca",kind="ca"}', values: '-268272000+0x1200'}
    alert_rule_test:
ROWS  - interval: 12h
    input_series:
      - {series: 'rescue_kit_certificate_not_after_seconds{id="leaf",kind="leaf"}', values: '2592000+0x80'}
      - {series: 'rescue_kit_certificate_not_before_seconds{id="leaf",kind="leaf"}', values: '0+0x80'}
    alert_rule_test:
SHORT"#;

#[test]
fn alerts_come_at_30_days_at_7_days_and_at_the_end_and_earlier_for_cas() {
    // The leaf ends after 365 days, the CA after 545: (moment in hours, alert, severity, id, what is left).
    let leaf = |days: i64| (365 - days) * 24;
    let ca = |days: i64| (545 - days) * 24;
    let all = [
        (leaf(30), "RescueKitCertificateEndsSoon", ""),
        (
            leaf(30) + 12,
            "RescueKitCertificateEndsSoon",
            "warning leaf ends in 29d 12h 0m 0s",
        ),
        (
            leaf(7),
            "RescueKitCertificateEndsSoon",
            "warning leaf ends in 7d 0h 0m 0s",
        ),
        (leaf(7) + 12, "RescueKitCertificateEndsSoon", ""),
        (leaf(7), "RescueKitCertificateEnds", ""),
        (
            leaf(7) + 12,
            "RescueKitCertificateEnds",
            "critical leaf ends in 6d 12h 0m 0s",
        ),
        (leaf(0) + 12, "RescueKitCertificateEnds", ""),
        (leaf(0), "RescueKitCertificateExpired", ""),
        (
            leaf(0) + 12,
            "RescueKitCertificateExpired",
            "critical leaf has expired",
        ),
        (ca(180), "RescueKitCaEndsSoon", ""),
        (
            ca(180) + 12,
            "RescueKitCaEndsSoon",
            "warning ca ends in 179d 12h 0m 0s",
        ),
        (ca(30) + 12, "RescueKitCaEndsSoon", ""),
        (ca(30), "RescueKitCaEnds", ""),
        (
            ca(30) + 12,
            "RescueKitCaEnds",
            "critical ca ends in 29d 12h 0m 0s",
        ),
        (ca(0), "RescueKitCaExpired", ""),
        (ca(0) + 12, "RescueKitCaExpired", "critical ca has expired"),
    ];
    let short = [
        (27 * 24, "RescueKitCertificateEndsSoon", ""),
        (
            27 * 24 + 12,
            "RescueKitCertificateEndsSoon",
            "warning leaf ends in 2d 12h 0m 0s",
        ),
        (29 * 24, "RescueKitCertificateEnds", ""),
        (
            29 * 24 + 12,
            "RescueKitCertificateEnds",
            "critical leaf ends in 12h 0m 0s",
        ),
    ];
    let rows = |rows: &[(i64, &str, &str)]| -> String {
        rows.iter()
            .map(|(hours, alert, said)| row(*hours, alert, said))
            .collect()
    };
    let text = BY_HAND
        .replace("ROWS", &rows(&all))
        .replace("SHORT", &rows(&short));
    let written = Written::of(&Node::real("p256", "fresh"));
    fs::write(written.path().join("by-hand.yaml"), text).unwrap();
    promtool(&["test", "rules", "by-hand.yaml"], &written.path());
}

fn row(hours: i64, alert: &str, said: &str) -> String {
    let head =
        format!("      - eval_time: {hours}h\n        alertname: {alert}\n        exp_alerts:");
    let Some((severity, sentence)) = said.split_once(' ') else {
        return format!("{head} []\n");
    };
    let (id, rest) = sentence.split_once(' ').unwrap();
    let (ca, then) = match (id, alert) {
        ("ca", "RescueKitCaExpired") => ("CA ", "RK0101; then rescue-kit run --ca renew"),
        ("ca", _) => ("CA ", "RK0102; then rescue-kit ca renew"),
        (_, "RescueKitCertificateExpired") => ("", "RK0201; then rescue-kit run"),
        _ => ("", "RK0202; then rescue-kit run"),
    };
    let kind = if id == "ca" { "ca" } else { "leaf" };
    format!(
        "{head}\n          - exp_labels: {{severity: {severity}, id: {id}, kind: {kind}}}\n            \
         exp_annotations: {{summary: '{ca}{id} of  {rest}', description: 'rescue-kit explain {then}'}}\n"
    )
}
