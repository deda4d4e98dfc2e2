//! What was done: the backup, what was issued, what was replaced.

use crate::grant::Grant;
use crate::journal::{self, Body, Issued, Way};
use crate::pki::digest::Digest;
use crate::pki::utc::Utc;
use crate::plan::step::{Commit, Converge, KeyPlan, Origin, Stage};

use super::ReportView;
use super::markup::{Html, badge, hex, list, paragraph, table};

/// The backup, what was issued, what was replaced.
pub(super) fn done(view: &ReportView) -> Html {
    let mut parts: Vec<Html> = view
        .records
        .iter()
        .filter_map(|r| backup(&r.body))
        .collect();
    let phases = &view.plan.phases;
    if let Some(grant) = journal::grant(view.records) {
        parts.push(granted(&grant));
    } else if view.plan.is_empty() {
        parts.push(paragraph("Nothing: everything was as it should be."));
    }
    if !phases.stage.is_empty() {
        let heads = [
            "Certificate",
            "Why",
            "Serial number",
            "Validity",
            "Key",
            "SHA-256",
        ];
        let rows = phases
            .stage
            .iter()
            .map(|stage| issue(stage, view))
            .collect();
        parts.push(table("Certificates issued, old above new", &heads, rows));
    }
    if !phases.commit.is_empty() {
        let heads = [
            "Step",
            "Place",
            "What",
            "State",
            "SHA-256 before",
            "SHA-256 after",
        ];
        let rows = phases
            .commit
            .iter()
            .map(|commit| replacement(commit, view))
            .collect();
        parts.push(table("Places replaced, in this order", &heads, rows));
    }
    if !phases.converge.is_empty() {
        let rows = phases.converge.iter().map(|step| process(step, view));
        let heads = ["Step", "Component", "What", "Why", "What was seen", "ms"];
        parts.push(table("Processes, in this order", &heads, rows.collect()));
    }
    if let Some(meter) = journal::meter(view.records) {
        parts.push(paragraph(format!(
            "While this went on, the API server did not answer a client certificate for {} ms in all \
             ({} of {} requests failed, one every 100 ms; the slowest answer took {} ms).",
            meter.down_ms, meter.failed, meter.requests, meter.slowest_ms
        )));
    }
    Html::join(parts)
}

/// What access was given.
fn granted(grant: &Grant) -> Html {
    let of = |list: &[String]| match list {
        [] => "none".to_owned(),
        list => list.join(", "),
    };
    let end = grant.not_after.map(|end| end.to_string());
    let path = grant
        .kubeconfig
        .as_ref()
        .map(|path| path.display().to_string());
    let rows = [
        ("By", grant.kind.word().to_owned()),
        ("User", grant.user.clone()),
        ("Groups that it names", of(&grant.groups)),
        (
            "Role",
            grant
                .role
                .clone()
                .unwrap_or_else(|| "none was bound".to_owned()),
        ),
        ("Until", end.unwrap_or_else(|| "it is revoked".to_owned())),
        ("Objects", of(&grant.objects)),
        ("Kubeconfig", path.unwrap_or_else(|| "printed".to_owned())),
    ];
    let rows = rows.map(|(what, value)| vec![Html::text(what), Html::text(value)]);
    table("Access given", &["What", "Value"], rows.into())
}

/// The row of one process.
fn process(step: &Converge, view: &ReportView) -> Vec<Html> {
    let all = journal::converged(view.records);
    let seen = all
        .iter()
        .find(|(id, _)| **id == step.id)
        .map(|(_, seen)| *seen);
    let deed = view.plan.deed(&step.id, Way::Forward).unwrap_or_default();
    let text = seen.map_or_else(|| "not done".to_owned(), |seen| seen.seen.join("; "));
    let took = seen.map_or_else(String::new, |seen| seen.took_ms.to_string());
    vec![
        Html::text(&step.id),
        Html::text(&step.who),
        Html::text(deed),
        Html::text(&step.why),
        Html::text(text),
        Html::text(took),
    ]
}

fn backup(body: &Body) -> Option<Html> {
    let Body::Backup {
        path,
        sha256,
        files,
    } = body
    else {
        return None;
    };
    let text = format!("Backed up first, read back and compared: {files} files in {path}, SHA-256");
    Some(Html::spaced([Html::text(text), hex(&sha256.to_string())]).within("p"))
}

/// The row of one issued certificate.
fn issue(stage: &Stage, view: &ReportView) -> Vec<Html> {
    let recipe = &stage.recipe;
    // Staging may have been done twice; what was committed is the last.
    let made = journal::issued(view.records)
        .filter(|i| i.credential == stage.credential)
        .last();
    let old = match &recipe.origin {
        Origin::New(_) => None,
        Origin::Old(cert) => Some(cert),
    };
    let gone = || Html::text("made from nothing");
    let serials = [
        old.map_or_else(gone, |cert| hex(&cert.serial_hex())),
        made.map_or_else(|| Html::text("not issued"), |made| hex(&made.serial)),
    ];
    let new = made.map_or((recipe.not_before, recipe.not_after), |i| {
        (i.not_before, i.not_after)
    });
    let before = old.map_or_else(gone, |cert| window((cert.not_before, cert.not_after)));
    let key = match (made, &recipe.key) {
        (_, KeyPlan::Reuse) => "the old key".to_owned(),
        (_, KeyPlan::File(_)) => "the requested key".to_owned(),
        (Some(made), _) => format!("new {}", made.key),
        (None, KeyPlan::New { algorithm, .. }) => format!("new {algorithm}"),
    };
    vec![
        named(stage, made),
        list(reasons(stage)),
        stacked(serials),
        stacked([before, window(new)]),
        Html::text(key),
        made.map_or_else(Html::default, |made| hex(&made.sha256.to_string())),
    ]
}

fn named(stage: &Stage, made: Option<&Issued>) -> Html {
    let subject = made.map(|made| format!("{}, signed by {}", made.subject, stage.recipe.issuer));
    let subject = Html::text(subject.unwrap_or_default()).with("span", &[("class", "path")]);
    Html::spaced([Html::text(&stage.credential), subject])
}

fn reasons(stage: &Stage) -> Vec<Html> {
    let mut reasons: Vec<Html> = stage.why.iter().map(Html::text).collect();
    let added = stage.recipe.add.iter();
    reasons.extend(added.map(|name| Html::text(format!("adds {}: {}", name.san, name.why))));
    if stage.recipe.capped {
        reasons.push(Html::text("its end was cut to that of its CA"));
    }
    reasons
}

fn window((from, to): (Utc, Utc)) -> Html {
    let window = Html::join([Html::time(from), Html::text(" to "), Html::time(to)]);
    window.with("span", &[("class", "window")])
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
    let digest = |digest: Option<Digest>| {
        digest.map_or_else(|| Html::text("absent"), |d| hex(&d.to_string()))
    };
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
    let last = view
        .records
        .iter()
        .rev()
        .find_map(|record| match &record.body {
            Body::Outcome { step, way, result } if *step == commit.id => {
                Some((*way, result.is_ok()))
            },
            _ => None,
        });
    match last {
        Some((_, false)) => badge("bad", "failed"),
        Some((Way::Back, true)) => badge("warn", "put back"),
        Some((Way::Forward, true)) | None => badge("mute", "not reached"),
    }
}
