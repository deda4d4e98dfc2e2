//! The sections that tell of what was there before, of what is there now, and of what to do.

use std::collections::BTreeMap;

use crate::defect::Status;
use crate::finding::{Finding, Severity};
use crate::inventory::Scope;
use crate::journal::{self, Verdict};
use crate::listing::{self, Row};
use crate::pki::utc::Utc;
use crate::verification::{Check, Outcome};

use super::ReportView;
use super::chart::{self, Bar, Moments, signed};
use super::markup::{Html, badge, list, paragraph, table};

/// How far ahead the report looks: what ends within it is `expiring`; in seconds.
const AHEAD: i64 = 30 * Utc::DAY;

/// The cause, then every finding.
pub(super) fn broken(view: &ReportView) -> Html {
    let cause = match view.cause {
        Some(cause) => Html::text(cause).with("p", &[("class", "cause")]),
        None => paragraph("Nothing was broken."),
    };
    if view.findings.is_empty() {
        return cause;
    }
    let rows = view
        .findings
        .iter()
        .map(|f| finding(f, Html::text(&f.text)))
        .collect();
    Html::join([
        cause,
        table(
            "Findings before",
            &["Of", "Severity", "Code", "Finding"],
            rows,
        ),
    ])
}

/// Every certificate, with the days that were and are left.
pub(super) fn certificates(view: &ReportView) -> Html {
    let before = listing::rows(view.before, AHEAD);
    let after = view
        .after
        .map(|after| listing::rows(after, AHEAD))
        .unwrap_or_default();
    let find = |rows: &[Row], id: &str| rows.iter().find(|row| row.id == id).cloned();
    let new = after.iter().filter(|row| find(&before, &row.id).is_none());
    let states: Vec<States> = before
        .iter()
        .chain(new)
        .map(|row| States {
            before: find(&before, &row.id),
            after: find(&after, &row.id),
            row,
        })
        .collect();
    // What the profile does not own is named by its path.
    let own = states
        .iter()
        .filter(|states| !states.row.id.starts_with('/'));
    let bars: Vec<Bar> = own.map(States::bar).collect();
    let heads = [
        "Certificate",
        "Signed by",
        "Before",
        "Expires",
        "Days left",
        "After",
        "Expires",
        "Days left",
    ];
    let rows = states.iter().map(States::cells).collect();
    Html::join([
        chart::chart(&bars, Moments::BeforeAndAfter),
        table("Every certificate that was found", &heads, rows),
    ])
}

/// A certificate at both times.
struct States<'a> {
    row: &'a Row,
    before: Option<Row>,
    after: Option<Row>,
}

impl States<'_> {
    fn bar(&self) -> Bar {
        let days = |row: &Option<Row>| row.as_ref().and_then(residual_days);
        Bar {
            id: self.row.id.clone(),
            days: vec![days(&self.before), days(&self.after)],
        }
    }

    fn cells(&self) -> Vec<Html> {
        let (id, path) = (&self.row.id, &self.row.path);
        let path = if path == id { "" } else { path };
        let path = Html::text(path).with("span", &[("class", "path")]);
        let signer = self.row.signer.as_deref().unwrap_or("unknown");
        let mut cells = vec![Html::spaced([Html::text(id), path]), Html::text(signer)];
        cells.extend(state(self.before.as_ref()));
        cells.extend(state(self.after.as_ref()));
        cells
    }
}

/// A matrix of checks, then the reasons for what is no pass.
pub(super) fn verification(view: &ReportView) -> Html {
    let Some(verification) = view.verification else {
        return paragraph("Nothing was verified: the run did not come so far.");
    };
    let (pass, fail, unchecked) = verification.counts();
    let reach = match verification.scope {
        Scope::Files => "the files alone, because nothing runs below this root",
        Scope::Live => "the running node",
        Scope::Local => "this node alone, because the cluster has no quorum yet",
    };
    let text = format!(
        "Checks that passed: {pass}; failed: {fail}; could not be made: {unchecked}. \
         They cover {reach}. Judged at {}.",
        verification.at
    );
    let reasons = verification
        .checks
        .iter()
        .filter_map(|check| match &check.outcome {
            Outcome::Pass => None,
            Outcome::Fail(why) | Outcome::Unchecked(why) => {
                let what = Html::text(format!("{} of {}: {why}", check.name, check.subject));
                Some(Html::spaced([outcome(&check.outcome), what]))
            },
        });
    Html::join([
        paragraph(text),
        matrix(&verification.checks),
        list(reasons.collect()),
    ])
}

/// A row for each subject, a column for each name of a check, both in the order of the checks.
pub(super) fn matrix(checks: &[Check]) -> Html {
    let mut names: Vec<&str> = Vec::new();
    let mut subjects: Vec<&str> = Vec::new();
    let mut cells: BTreeMap<(&str, &str), &Outcome> = BTreeMap::new();
    for Check {
        name,
        subject,
        outcome,
    } in checks
    {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
        if !subjects.contains(&subject.as_str()) {
            subjects.push(subject);
        }
        cells.insert((subject, name), outcome);
    }
    let rows = subjects.iter().map(|subject| {
        let none = || badge("mute", "–");
        let cell = |name: &&str| {
            cells
                .get(&(*subject, *name))
                .map_or_else(none, |o| outcome(o))
        };
        std::iter::once(Html::text(subject))
            .chain(names.iter().map(cell))
            .collect()
    });
    let rows = rows.collect();
    let heads: Vec<&str> = std::iter::once("Of").chain(names.iter().copied()).collect();
    table("Checks", &heads, rows)
}

/// What a person has to do, and what is still wrong.
pub(super) fn remains(view: &ReportView) -> Html {
    let mut parts = Vec::new();
    let done = journal::verdict(view.records) == Some(Verdict::Done);
    match journal::verdict(view.records) {
        Some(Verdict::Done) => {},
        Some(Verdict::RolledBack) => {
            parts.push(paragraph("Everything is as it was before the run, so what was broken still is."));
        },
        None => parts.push(paragraph(
            "The run is unfinished: `rescue-kit resume` continues it, `rescue-kit rollback` goes back.",
        )),
    }
    let steps = &view.plan.remaining;
    if done && !steps.is_empty() {
        let rows = steps.iter().map(|step| {
            let command = step.command.as_deref().map_or_else(
                || Html::text("nothing"),
                |command| Html::text(command).within("code"),
            );
            vec![Html::text(&step.consumer), Html::text(&step.why), command]
        });
        let rows = rows.collect();
        parts.push(table(
            "On the node, in this order",
            &["Component", "Why", "What to type"],
            rows,
        ));
    }
    if view.after.is_none() {
        parts.push(paragraph("What is there now was not recorded."));
    } else if view.left.is_empty() {
        parts.push(paragraph("Nothing is wrong with the files now."));
    } else {
        parts.push(findings(view.left));
    }
    Html::join(parts)
}

/// Findings as they are now, each with what to do.
pub(super) fn findings(findings: &[Finding]) -> Html {
    let rows = findings.iter().map(|f| {
        let hint = Html::text(&f.hint).with("p", &[("class", "hint")]);
        finding(f, Html::join([Html::text(&f.text), hint]))
    });
    let heads = ["Of", "Severity", "Code", "Finding and what to do"];
    table("Findings now", &heads, rows.collect())
}

/// The commands of the audit's own `VERIFY.txt`.
pub(super) fn check() -> Html {
    let about = "This page is part of a signed tarball. Unpack it and type, where it was unpacked:";
    let text = Html::lines(include_str!("../../../templates/VERIFY.txt"));
    Html::join([paragraph(about), text.with("pre", &[("tabindex", "0")])])
}

fn finding(finding: &Finding, text: Html) -> Vec<Html> {
    let (tone, word) = match finding.severity {
        Severity::Critical => ("bad", "critical"),
        Severity::Info => ("mute", "info"),
        Severity::Warning => ("warn", "warning"),
    };
    vec![
        Html::text(&finding.subject),
        badge(tone, word),
        Html::text(finding.code.id()),
        text,
    ]
}

/// State, end and days left of a certificate at one time.
pub(super) fn state(row: Option<&Row>) -> [Html; 3] {
    let Some(row) = row else {
        return [badge("mute", "not seen"), Html::text("–"), Html::text("–")];
    };
    let none = || Html::text("–");
    let days = residual_days(row).map(|days| Html::text(signed(days)));
    [
        status(row.status),
        row.not_after.map_or_else(none, Html::time),
        days.unwrap_or_else(none)
            .with("span", &[("class", "number")]),
    ]
}

/// The state of a certificate as a badge.
pub(super) fn status(status: Status) -> Html {
    let tone = match status {
        Status::Ok => "good",
        Status::Expiring => "warn",
        _ => "bad",
    };
    badge(tone, &status.word().replace('_', " "))
}

/// Whole days; a certificate that has expired today has -1.
pub(super) fn residual_days(row: &Row) -> Option<i64> {
    row.residual_seconds
        .map(|seconds| seconds.div_euclid(Utc::DAY))
}

pub(super) fn outcome(outcome: &Outcome) -> Html {
    match outcome {
        Outcome::Fail(_) => badge("bad", "failed"),
        Outcome::Pass => badge("good", "pass"),
        Outcome::Unchecked(_) => badge("warn", "unchecked"),
    }
}
