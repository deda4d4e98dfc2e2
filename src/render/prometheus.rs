//! Metrics for `node_exporter`'s textfile collector (Prometheus text format 0.0.4).
//!
//! | metric | value |
//! | --- | --- |
//! | `rescue_kit_certificate_not_after_seconds{id,path,kind}` | the last second of validity, Unix time |
//! | `rescue_kit_certificate_not_before_seconds{id,path,kind}` | the first second of validity, Unix time |
//! | `rescue_kit_certificate_status{id,status}` | 1 for the state that the certificate is in |
//! | `rescue_kit_findings{severity}` | how many findings of each severity |
//! | `rescue_kit_inspect_timestamp_seconds` | when this was seen, Unix time |
//!
//! The same input gives the same text: metrics in this order, their samples sorted. Save it as `rescue-kit.prom` by a
//! rename, so that the collector never reads half of it.

use std::fmt::Write as _;

use crate::finding::{Finding, Severity};
use crate::inventory::Inventory;
use crate::listing::{self, Row};
use crate::pki::name::printable;
use crate::pki::utc::Utc;

/// Writes the metrics of an inventory. `renew_before` is in seconds: what ends within it counts as `expiring`.
///
/// A certificate that cannot be read has a status and no times. Those of one file outside of the profile have the ids
/// `PATH#1`, `PATH#2` and so on.
pub fn metrics(inventory: &Inventory, findings: &[Finding], renew_before: i64) -> String {
    let rows = listing::rows(inventory, renew_before);
    let times = |time: fn(&Row) -> Option<Utc>| -> Vec<Sample> {
        rows.iter()
            .filter_map(|row| Some((of_certificate(row), time(row)?.unix())))
            .collect()
    };
    let states = rows.iter().map(|row| {
        let status = row.status.word().to_owned();
        (vec![("id", row.id.clone()), ("status", status)], 1)
    });
    let mut text = String::new();
    family(
        &mut text,
        "certificate_not_after_seconds",
        "The last second of validity of a certificate, Unix time.",
        times(|row| row.not_after),
    );
    family(
        &mut text,
        "certificate_not_before_seconds",
        "The first second of validity of a certificate, Unix time.",
        times(|row| row.not_before),
    );
    family(
        &mut text,
        "certificate_status",
        "1 for the state that a certificate is in.",
        states.collect(),
    );
    family(
        &mut text,
        "findings",
        "How many findings there are.",
        severities(findings),
    );
    family(
        &mut text,
        "inspect_timestamp_seconds",
        "When the certificates were looked at, Unix time.",
        vec![(Vec::new(), inventory.at.unix())],
    );
    text
}

/// Labels and a value.
type Sample = (Vec<(&'static str, String)>, i64);

fn of_certificate(row: &Row) -> Vec<(&'static str, String)> {
    vec![
        ("id", row.id.clone()),
        ("path", row.path.clone()),
        ("kind", row.kind.word().to_owned()),
    ]
}

/// All of them, so that a series that goes to 0 is not one that went away.
fn severities(findings: &[Finding]) -> Vec<Sample> {
    let all = [
        (Severity::Critical, "critical"),
        (Severity::Info, "info"),
        (Severity::Warning, "warning"),
    ];
    let count = |severity| findings.iter().filter(|f| f.severity == severity).count();
    let sample = |(severity, word): (Severity, &str)| {
        let value = i64::try_from(count(severity)).unwrap_or(i64::MAX);
        (vec![("severity", word.to_owned())], value)
    };
    all.into_iter().map(sample).collect()
}

/// One metric with its samples. Nothing is written of a metric without samples: the collector wants none.
fn family(text: &mut String, name: &str, help: &str, mut samples: Vec<Sample>) {
    if samples.is_empty() {
        return;
    }
    // Two samples with the same labels would make the collector drop the whole file.
    samples.sort();
    samples.dedup_by(|a, b| a.0 == b.0);
    let name = format!("rescue_kit_{name}");
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
    for (labels, value) in samples {
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, text)| format!("{label}=\"{}\"", escaped(text)))
            .collect();
        let labels = if labels.is_empty() {
            String::new()
        } else {
            format!("{{{}}}", labels.join(","))
        };
        let _ = writeln!(text, "{name}{labels} {value}");
    }
}

fn escaped(text: &str) -> String {
    printable(
        &text
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::html::sample::Sample;

    /// `promtool check metrics` (Prometheus 2.42) has nothing to say about it.
    const EXPECTED: &str = r#"# HELP rescue_kit_certificate_not_after_seconds The last second of validity of a certificate, Unix time.
# TYPE rescue_kit_certificate_not_after_seconds gauge
rescue_kit_certificate_not_after_seconds{id="apiserver",path="/etc/kubernetes/pki/apiserver.crt",kind="leaf"} 1792311343
rescue_kit_certificate_not_after_seconds{id="ca",path="/etc/kubernetes/pki/ca.crt",kind="ca"} 2076135343
# HELP rescue_kit_certificate_not_before_seconds The first second of validity of a certificate, Unix time.
# TYPE rescue_kit_certificate_not_before_seconds gauge
rescue_kit_certificate_not_before_seconds{id="apiserver",path="/etc/kubernetes/pki/apiserver.crt",kind="leaf"} 1760775343
rescue_kit_certificate_not_before_seconds{id="ca",path="/etc/kubernetes/pki/ca.crt",kind="ca"} 1760775343
# HELP rescue_kit_certificate_status 1 for the state that a certificate is in.
# TYPE rescue_kit_certificate_status gauge
rescue_kit_certificate_status{id="/etc/kubernetes/\\\"\n<script>alert('x')</script>\"&?[31m?.crt",status="unreadable"} 1
rescue_kit_certificate_status{id="apiserver",status="expired"} 1
rescue_kit_certificate_status{id="ca",status="ok"} 1
# HELP rescue_kit_findings How many findings there are.
# TYPE rescue_kit_findings gauge
rescue_kit_findings{severity="critical"} 1
rescue_kit_findings{severity="info"} 0
rescue_kit_findings{severity="warning"} 0
# HELP rescue_kit_inspect_timestamp_seconds When the certificates were looked at, Unix time.
# TYPE rescue_kit_inspect_timestamp_seconds gauge
rescue_kit_inspect_timestamp_seconds 1795335343
"#;

    #[test]
    fn every_metric_is_there_sorted_and_escaped() {
        let sample = Sample::new();
        let text = metrics(&sample.before, &sample.findings, 30 * Utc::DAY);
        assert_eq!(text, EXPECTED.replace('?', "\u{fffd}"));
    }

    #[test]
    fn a_metric_without_samples_is_left_out() {
        let mut sample = Sample::new();
        sample.before.found.clear();
        sample.before.authorities.clear();
        sample.before.credentials.clear();
        let text = metrics(&sample.before, &[], 0);
        assert!(text.starts_with("# HELP rescue_kit_findings"), "{text}");
    }
}
