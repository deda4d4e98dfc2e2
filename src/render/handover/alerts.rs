//! `alerts.yaml` and `alerts-test.yaml`.

use super::rule::{RULES, Rule, humanized};
use super::{Settings, filled, quoted};
use crate::handover::{Cluster, End};
use crate::pki::name::printable;
use crate::pki::utc::Utc;
use crate::template::handover as template;

/// The rules.
pub(super) fn rules(cluster: &Cluster, settings: &Settings) -> String {
    let rules: String = RULES.iter().map(rule).collect();
    let (node, date) = (printable(&cluster.node), cluster.at.date());
    let holes = vec![
        ("node", node.as_str()),
        ("date", date.as_str()),
        ("tool", env!("CARGO_PKG_VERSION")),
        ("textfiles", settings.textfiles.as_str()),
        ("rules", rules.as_str()),
    ];
    filled(template::ALERTS, &holes)
}

fn rule(rule: &Rule) -> String {
    format!(
        "      - alert: {}\n        expr: {}\n        labels:\n          severity: {}\n        annotations:\n          \
         summary: '{}'\n          description: '{}'\n",
        rule.alert,
        rule.promql(),
        rule.severity,
        rule.summary(),
        rule.description
    )
}

/// The tests of the rules: what fires on the node's own certificates around each moment when that changes first. CAs and
/// leaves have a test each, which begins shortly before its first alert: there may be years between them.
pub(super) fn tests(cluster: &Cluster, settings: &Settings) -> String {
    let tests: String = [true, false]
        .into_iter()
        .filter_map(|is_ca| Trial::of(cluster, is_ca))
        .map(|trial| trial.text())
        .collect();
    let node = printable(&cluster.node);
    let instance = quoted(&cluster.node);
    let looked = format!("rescue_kit_inspect_timestamp_seconds{{instance={instance}}}");
    let (looked, old) = (quoted(&looked), quoted(&old(&cluster.node)));
    let holes = vec![
        ("node", node.as_str()),
        ("tool", env!("CARGO_PKG_VERSION")),
        ("textfiles", settings.textfiles.as_str()),
        ("instance", instance.as_str()),
        ("looked", looked.as_str()),
        ("old", old.as_str()),
        ("tests", tests.as_str()),
    ];
    filled(template::ALERTS_TEST, &holes)
}

/// What `RescueKitMetricsOld` says after two days.
fn old(node: &str) -> String {
    let ago = humanized(2 * Utc::DAY);
    format!("the certificates of {node} were last looked at {ago} ago")
}

/// The test of CAs or of leaves. Its days are counted from `start`.
struct Trial<'a> {
    node: &'a str,
    is_ca: bool,
    ends: Vec<&'a End>,
    /// The one that ends first.
    first: &'a End,
    start: Utc,
}

impl<'a> Trial<'a> {
    /// Nothing, if there are no such certificates.
    fn of(cluster: &'a Cluster, is_ca: bool) -> Option<Self> {
        let ends = cluster.ends.iter().filter(|end| end.is_ca() == is_ca);
        let first = ends.clone().min_by_key(|end| end.not_after)?;
        let rules = RULES.iter().filter(|rule| rule.is_ca == is_ca);
        let earliest = rules.map(|rule| rule.seconds_before(first)).max()?;
        Some(Self {
            node: &cluster.node,
            is_ca,
            ends: ends.collect(),
            first,
            start: first.not_after.plus(-earliest - 2 * Utc::DAY),
        })
    }

    fn text(&self) -> String {
        let name = if self.is_ca { "CAs" } else { "certificates" };
        let rules = RULES.iter().filter(|rule| rule.is_ca == self.is_ca);
        let moments = rules.flat_map(|rule| self.moments(rule).map(|day| (rule, day)));
        let moments: Vec<(&Rule, i64)> = moments.collect();
        let last = moments.iter().map(|(_, day)| *day).max().unwrap_or(0);
        let series: String = self.ends.iter().map(|end| self.series(end, last)).collect();
        let checks: String = moments
            .iter()
            .map(|(rule, day)| self.check(rule, *day))
            .collect();
        format!(
            "  - name: {name}\n    interval: 1d\n    input_series:\n{series}    alert_rule_test:\n{checks}"
        )
    }

    /// The first day on which a rule fires on the certificate that ends first, after the day before.
    fn moments(&self, rule: &Rule) -> [i64; 2] {
        let room = self.first.not_after.since(self.start) - rule.seconds_before(self.first);
        [room / Utc::DAY, room / Utc::DAY + 1]
    }

    /// The two metrics of a certificate, for so many days.
    fn series(&self, end: &End, days: i64) -> String {
        let labels = format!(
            "id={},instance={},kind=\"{}\",path={}",
            quoted(&end.id),
            quoted(self.node),
            end.kind.word(),
            quoted(&end.path)
        );
        let metric = |name: &str, at: Utc| {
            let series = format!("rescue_kit_certificate_{name}_seconds{{{labels}}}");
            let (series, value) = (quoted(&series), at.since(self.start));
            format!("      - series: {series}\n        values: '{value}+0x{days}'\n")
        };
        metric("not_after", end.not_after) + &metric("not_before", end.not_before)
    }

    fn check(&self, rule: &Rule, day: i64) -> String {
        let left = |end: &End| end.not_after.since(self.start) - day * Utc::DAY;
        let firing = self.ends.iter().filter(|end| rule.fires(end, left(end)));
        let firing: String = firing
            .map(|end| self.expected(rule, end, left(end)))
            .collect();
        let alerts = if firing.is_empty() {
            " []\n".to_owned()
        } else {
            format!("\n{firing}")
        };
        format!(
            "      - eval_time: {day}d\n        alertname: {}\n        exp_alerts:{alerts}",
            rule.alert
        )
    }

    fn expected(&self, rule: &Rule, end: &End, left: i64) -> String {
        let summary = rule.sentence(&end.id, self.node, &humanized(left));
        format!(
            "          - exp_labels:\n              severity: {}\n              id: {}\n              instance: {}\n              \
             kind: {}\n              path: {}\n            exp_annotations:\n              summary: {}\n              \
             description: '{}'\n",
            rule.severity,
            quoted(&end.id),
            quoted(self.node),
            end.kind.word(),
            quoted(&end.path),
            quoted(&summary),
            rule.description
        )
    }
}
