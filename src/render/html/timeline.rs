//! The journal, a line a row.

use crate::journal::{Body, Evidence, Verdict, Way};

use super::ReportView;
use super::markup::{Html, paragraph, table};

/// The journal.
pub(super) fn timeline(view: &ReportView) -> Html {
    let rows = view.records.iter().map(|record| {
        let what = Html::text(event(&record.body, view));
        let milliseconds = Html::text(record.elapsed_ms.to_string());
        vec![
            Html::text(record.seq.to_string()),
            Html::time(record.at),
            milliseconds,
            what,
        ]
    });
    let about = "Milliseconds count from the beginning of the process that wrote the line, by a clock that nobody sets.";
    let rows = rows.collect();
    let table = table(
        "The journal",
        &["Line", "Time", "ms", "What happened"],
        rows,
    );
    Html::join([paragraph(about), table])
}

/// One line of the journal as a sentence.
fn event(body: &Body, view: &ReportView) -> String {
    match body {
        Body::Begin(begin) => format!("run {} begun by {}", begin.run, begin.operator),
        Body::Backup { files, .. } => format!("{files} files backed up, read back and compared"),
        Body::Resume {
            goal: Way::Forward, ..
        } => "taken up again, to be finished".to_owned(),
        Body::Resume {
            goal: Way::Back, ..
        } => "taken up again, to be undone".to_owned(),
        Body::Intent { step, way, .. } => format!("{step}: about to {}", deed(step, *way, view)),
        Body::Outcome {
            step,
            result: Ok(Evidence::Issued(issued)),
            ..
        } => format!(
            "{step}: issued {} with serial number {}, valid until {}",
            issued.credential, issued.serial, issued.not_after
        ),
        Body::Outcome {
            step,
            way,
            result: Ok(Evidence::Placed(_)),
        } => {
            format!("{step}: done: {}", deed(step, *way, view))
        },
        Body::Outcome {
            step,
            way,
            result: Err(why),
        } => {
            format!("{step}: failed to {}: {why}", deed(step, *way, view))
        },
        Body::Outcome {
            step,
            way,
            result: Ok(Evidence::Converged(seen)),
        } => {
            let what = deed(step, *way, view);
            match seen.seen.join("; ") {
                seen if seen.is_empty() => format!("{step}: done: {what}"),
                seen => format!("{step}: done: {what}: {seen}"),
            }
        },
        Body::Meter(meter) => format!(
            "the API server did not answer a client certificate for {} ms; {} of {} requests failed; \
             the slowest answer took {} ms",
            meter.down_ms, meter.failed, meter.requests, meter.slowest_ms
        ),
        Body::Granting { grant, issued } => {
            let names = issued.iter().map(|one| one.subject.as_str());
            let issued = match names.collect::<Vec<_>>().as_slice() {
                [] => String::new(),
                names => format!("; issued for it: {}", names.join(", ")),
            };
            format!("about to give access to {}{issued}", grant.user)
        },
        Body::Granted {
            seen, not_after, ..
        } => {
            let seen = seen.as_deref().map_or_else(
                || "access was given".to_owned(),
                |who| format!("the API server sees {who}"),
            );
            not_after.map_or_else(|| seen.clone(), |end| format!("{seen}, until {end}"))
        },
        Body::Revoked { removed, seen, .. } => {
            let what: Vec<&str> = removed.iter().chain(seen).map(String::as_str).collect();
            format!("access was taken back: {}", what.join("; "))
        },
        Body::Refreshed {
            path,
            kept,
            not_after,
            ..
        } => format!(
            "{} got the credential that ends at {not_after}; the old file is {}",
            path.display(),
            kept.display()
        ),
        Body::Staged { contents } => {
            format!(
                "everything is issued and checked; the content of {} places is ready",
                contents.len()
            )
        },
        Body::End(Verdict::Done) => "the end: every step is done".to_owned(),
        Body::End(Verdict::RolledBack) => "the end: every step is undone".to_owned(),
    }
}

fn deed(step: &str, way: Way, view: &ReportView) -> String {
    let unknown = || "do a step that is not in the plan".to_owned();
    view.plan.deed(step, way).unwrap_or_else(unknown)
}
