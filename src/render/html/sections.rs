//! The report's sections.

use std::collections::BTreeMap;

use crate::finding::{Finding, Severity};
use crate::inventory::Scope;
use crate::journal::{self, Body, Evidence, Issued, Verdict, Way};
use crate::listing::{self, Row};
use crate::pki::digest::Digest;
use crate::pki::utc::Utc;
use crate::plan::step::{Commit, KeyPlan, Origin, Stage};
use crate::verification::{Check, Outcome};

use super::ReportView;
use super::chart::{self, Bar, signed};
use super::markup::{Html, badge, hex, list, paragraph, table};

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
    let rows = view.findings.iter().map(|f| finding(f, Html::text(&f.text))).collect();
    Html::join([cause, table("Findings before", &["Of", "Severity", "Code", "Finding"], rows)])
}

/// The backup, what was issued, what was replaced.
pub(super) fn done(view: &ReportView) -> Html {
    let backups = view.records.iter().filter_map(|record| match &record.body {
        Body::Backup { path, sha256, files } => {
            let text = format!("{files} files were backed up first, read back and compared: {path}, SHA-256");
            Some(Html::spaced([Html::text(text), hex(&sha256.to_string())]).within("p"))
        },
        _ => None,
    });
    let mut parts: Vec<Html> = backups.collect();
    let phases = &view.plan.phases;
    if phases.stage.is_empty() && phases.commit.is_empty() {
        parts.push(paragraph("Nothing: everything was as it should be."));
    }
    if !phases.stage.is_empty() {
        let heads = ["Certificate", "Why", "Serial number", "Validity", "Key", "SHA-256"];
        let rows = phases.stage.iter().map(|stage| issue(stage, view)).collect();
        parts.push(table("Certificates issued, old above new", &heads, rows));
    }
    if !phases.commit.is_empty() {
        let heads = ["Step", "Place", "What", "State", "SHA-256 before", "SHA-256 after"];
        let rows = phases.commit.iter().map(|commit| replacement(commit, view)).collect();
        parts.push(table("Places replaced, in this order", &heads, rows));
    }
    Html::join(parts)
}

/// Every certificate, with the days that were and are left.
pub(super) fn certificates(view: &ReportView) -> Html {
    let before = listing::rows(view.before, AHEAD);
    let after = view.after.map(|after| listing::rows(after, AHEAD)).unwrap_or_default();
    let find = |rows: &[Row], id: &str| rows.iter().find(|row| row.id == id).cloned();
    let new = after.iter().filter(|row| find(&before, &row.id).is_none());
    let ids: Vec<&str> = before.iter().chain(new).map(|row| row.id.as_str()).collect();
    let pairs: Vec<(&str, Option<Row>, Option<Row>)> =
        ids.into_iter().map(|id| (id, find(&before, id), find(&after, id))).collect();
    // What the profile does not own is named by its path.
    let own = pairs.iter().filter(|(id, _, _)| !id.starts_with('/'));
    let days = |row: &Option<Row>| row.as_ref().and_then(residual_days);
    let bars: Vec<Bar> =
        own.map(|(id, b, a)| Bar { id: (*id).to_owned(), before: days(b), after: days(a) }).collect();
    let heads = ["Certificate", "Signed by", "Before", "Expires", "Days left", "After", "Expires", "Days left"];
    let rows = pairs.iter().map(|(id, before, after)| {
        let row = before.as_ref().or(after.as_ref());
        let path = row.map(|row| row.path.as_str()).filter(|path| path != id).unwrap_or_default();
        let path = Html::text(path).with("span", &[("class", "path")]);
        let signer = row.and_then(|row| row.signer.as_deref()).unwrap_or("unknown");
        let mut cells = vec![Html::spaced([Html::text(id), path]), Html::text(signer)];
        cells.extend(state(before.as_ref()));
        cells.extend(state(after.as_ref()));
        cells
    });
    let rows = rows.collect();
    Html::join([chart::chart(&bars), table("Every certificate that was found", &heads, rows)])
}

/// A matrix of checks, then the reasons for what is no pass.
pub(super) fn verification(view: &ReportView) -> Html {
    let Some(verification) = view.verification else {
        return paragraph("Nothing was verified: the run did not come so far.");
    };
    let (pass, fail, unchecked) = verification.counts();
    let reach = match verification.scope {
        Scope::Files => "the files alone, because nothing runs below this root",
        Scope::Live => "this node",
    };
    let text = format!(
        "{pass} checks passed, {fail} failed, {unchecked} could not be made. They reach as far as {reach}. Judged at {}.",
        verification.at
    );
    let mut names: Vec<&str> = Vec::new();
    let mut subjects: Vec<&str> = Vec::new();
    let mut cells: BTreeMap<(&str, &str), &Outcome> = BTreeMap::new();
    for Check { name, subject, outcome } in &verification.checks {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
        if !subjects.contains(&subject.as_str()) {
            subjects.push(subject);
        }
        cells.insert((subject, name), outcome);
    }
    let rows = subjects.iter().map(|subject| {
        let cell = |name: &&str| cells.get(&(*subject, *name)).map_or_else(|| badge("mute", "–"), |o| outcome(o));
        std::iter::once(Html::text(subject)).chain(names.iter().map(cell)).collect()
    });
    let rows = rows.collect();
    let heads: Vec<&str> = std::iter::once("Of").chain(names.iter().copied()).collect();
    let reasons = verification.checks.iter().filter_map(|check| match &check.outcome {
        Outcome::Pass => None,
        Outcome::Fail(why) | Outcome::Unchecked(why) => {
            let what = Html::text(format!("{} of {}: {why}", check.name, check.subject));
            Some(Html::spaced([outcome(&check.outcome), what]))
        },
    });
    Html::join([paragraph(text), table("Checks", &heads, rows), list(reasons.collect())])
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
        parts.push(table("On the node, in this order", &["Component", "Why", "What to type"], rows));
    }
    if view.left.is_empty() {
        if done {
            parts.push(paragraph("Nothing is wrong with the certificates now."));
        }
    } else {
        let rows = view.left.iter().map(|f| {
            let hint = Html::text(&f.hint).with("p", &[("class", "hint")]);
            finding(f, Html::join([Html::text(&f.text), hint]))
        });
        let rows = rows.collect();
        parts.push(table("Findings now", &["Of", "Severity", "Code", "Finding and what to do"], rows));
    }
    Html::join(parts)
}

/// The journal.
pub(super) fn timeline(view: &ReportView) -> Html {
    let rows = view.records.iter().map(|record| {
        let what = Html::text(event(&record.body, view));
        let milliseconds = Html::text(record.elapsed_ms.to_string());
        vec![Html::text(record.seq.to_string()), Html::time(record.at), milliseconds, what]
    });
    let about = "Milliseconds count from the beginning of the process that wrote the line, by a clock that nobody sets.";
    let rows = rows.collect();
    let table = table("The journal", &["Line", "Time", "ms", "What happened"], rows);
    Html::join([paragraph(about), table])
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
    vec![Html::text(&finding.subject), badge(tone, word), Html::text(finding.code.id()), text]
}

/// The row of one issued certificate.
fn issue(stage: &Stage, view: &ReportView) -> Vec<Html> {
    let recipe = &stage.recipe;
    // Staging may have been done twice; what was committed is the last.
    let made = journal::issued(view.records).filter(|i| i.credential == stage.credential).last();
    let mut why: Vec<Html> = stage.why.iter().map(Html::text).collect();
    why.extend(recipe.add.iter().map(|name| Html::text(format!("adds {}: {}", name.san, name.why))));
    if recipe.capped {
        why.push(Html::text("its end was cut to that of its CA"));
    }
    let old = match &recipe.origin {
        Origin::New(_) => None,
        Origin::Old(cert) => Some(cert),
    };
    let gone = || Html::text("made from nothing");
    let serials = [
        old.map_or_else(gone, |cert| hex(&cert.serial_hex())),
        made.map_or_else(|| Html::text("not issued"), |made| hex(&made.serial)),
    ];
    let new = made.map_or((recipe.not_before, recipe.not_after), |i| (i.not_before, i.not_after));
    let validity = [old.map_or_else(gone, |cert| window((cert.not_before, cert.not_after))), window(new)];
    let key = match (made, &recipe.key) {
        (_, KeyPlan::Reuse) => "the old key".to_owned(),
        (Some(made), _) => format!("new {}", made.key),
        (None, KeyPlan::New { algorithm, .. }) => format!("new {algorithm}"),
    };
    let subject = made.map(|made: &Issued| format!("{}, signed by {}", made.subject, recipe.issuer));
    let subject = Html::text(subject.unwrap_or_default()).with("span", &[("class", "path")]);
    vec![
        Html::spaced([Html::text(&stage.credential), subject]),
        list(why),
        stacked(serials),
        stacked(validity),
        Html::text(key),
        made.map_or_else(Html::default, |made| hex(&made.sha256.to_string())),
    ]
}

fn window((from, to): (Utc, Utc)) -> Html {
    Html::join([Html::time(from), Html::text(" to "), Html::time(to)])
}

/// The old above the new.
fn stacked([old, new]: [Html; 2]) -> Html {
    let old = old.with("div", &[("class", "old")]);
    Html::join([old, new.with("div", &[("class", "new")])])
}

/// The row of one commit step.
fn replacement(commit: &Commit, view: &ReportView) -> Vec<Html> {
    let before = journal::before(view.records, &commit.id).unwrap_or(&commit.expect);
    let before = before.present().map(|version| version.sha256);
    let after = journal::staged(view.records).and_then(|staged| staged.get(&commit.id).copied());
    let digest = |digest: Option<Digest>| digest.map_or_else(|| Html::text("absent"), |d| hex(&d.to_string()));
    vec![
        Html::text(&commit.id),
        Html::text(commit.at.to_string()).within("code"),
        Html::text(format!("{} for {}", commit.why, commit.credential)),
        progress(commit, view),
        digest(before),
        after.map_or_else(|| Html::text("not made"), digest),
    ]
}

fn progress(commit: &Commit, view: &ReportView) -> Html {
    if journal::is_placed(view.records, &commit.id) {
        return badge("good", "replaced");
    }
    let last = view.records.iter().rev().find_map(|record| match &record.body {
        Body::Outcome { step, way, result } if *step == commit.id => Some((*way, result.is_ok())),
        _ => None,
    });
    match last {
        Some((_, false)) => badge("bad", "failed"),
        Some((Way::Back, true)) => badge("warn", "put back"),
        Some((Way::Forward, true)) | None => badge("mute", "not reached"),
    }
}

/// State, end and days left of a certificate at one time.
fn state(row: Option<&Row>) -> [Html; 3] {
    let Some(row) = row else {
        return [badge("mute", "not seen"), Html::text("–"), Html::text("–")];
    };
    let tone = match row.status {
        crate::defect::Status::Ok => "good",
        crate::defect::Status::Expiring => "warn",
        _ => "bad",
    };
    let none = || Html::text("–");
    let days = residual_days(row).map(|days| Html::text(signed(days)));
    let word = row.status.word().replace('_', " ");
    [
        badge(tone, &word),
        row.not_after.map_or_else(none, Html::time),
        days.unwrap_or_else(none).with("span", &[("class", "number")]),
    ]
}

/// Whole days; a certificate that has expired today has -1.
fn residual_days(row: &Row) -> Option<i64> {
    row.residual_seconds.map(|seconds| seconds.div_euclid(Utc::DAY))
}

fn outcome(outcome: &Outcome) -> Html {
    match outcome {
        Outcome::Fail(_) => badge("bad", "failed"),
        Outcome::Pass => badge("good", "pass"),
        Outcome::Unchecked(_) => badge("warn", "unchecked"),
    }
}

/// One line of the journal as a sentence.
fn event(body: &Body, view: &ReportView) -> String {
    match body {
        Body::Begin(begin) => format!("run {} begun by {}", begin.run, begin.operator),
        Body::Backup { files, .. } => format!("{files} files backed up, read back and compared"),
        Body::Resume { goal: Way::Forward } => "taken up again, to be finished".to_owned(),
        Body::Resume { goal: Way::Back } => "taken up again, to be undone".to_owned(),
        Body::Intent { step, way, .. } => format!("{step}: about to {}", deed(step, *way, view)),
        Body::Outcome { step, result: Ok(Evidence::Issued(issued)), .. } => format!(
            "{step}: issued {} with serial number {}, valid until {}",
            issued.credential, issued.serial, issued.not_after
        ),
        Body::Outcome { step, way, result: Ok(Evidence::Placed(_)) } => {
            format!("{step}: done: {}", deed(step, *way, view))
        },
        Body::Outcome { step, way, result: Err(why) } => {
            format!("{step}: failed to {}: {why}", deed(step, *way, view))
        },
        Body::Staged { contents } => {
            format!("everything is issued and checked; the content of {} places is ready", contents.len())
        },
        Body::End(Verdict::Done) => "the end: every step is done".to_owned(),
        Body::End(Verdict::RolledBack) => "the end: every step is undone".to_owned(),
    }
}

fn deed(step: &str, way: Way, view: &ReportView) -> String {
    let commit = view.plan.commit(step).map(|commit| commit.at.to_string());
    let stage = view.plan.stage(step).map(|stage| stage.credential.as_str());
    match (commit, stage, way) {
        (Some(at), _, Way::Forward) => format!("replace {at}"),
        (Some(at), _, Way::Back) => format!("put {at} back"),
        (None, Some(id), _) => format!("issue {id}"),
        (None, None, _) => "do a step that is not in the plan".to_owned(),
    }
}
