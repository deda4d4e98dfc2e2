//! `audit`: show, check, export.

use std::path::Path;

use serde_json::json;

use crate::audit;
use crate::cli::args::{Audit, LedgerFormat};
use crate::cli::context::Context;
use crate::cli::{run, would};
use crate::config;
use crate::error::Failure;
use crate::exit::Exit;
use crate::flow::failure::RescueError;
use crate::flow::site::Site;
use crate::journal::{self, Body, Record, Way};
use crate::ledger;
use crate::pki::name::printable;
use crate::render::text;
use crate::run::{AUDIT, Run, json as to_json};
use crate::terminal::say;

pub(super) fn audit(context: &Context, command: &Audit) -> Result<Exit, Failure> {
    match command {
        Audit::Show { run } => show(context, run.as_deref()),
        Audit::Verify { tarball, signer } => verify(context, tarball, signer.as_deref()),
        Audit::Report { run } => {
            let site = context.site()?;
            let run = open(&site, run.as_deref())?;
            say(&audit::html(&run, &site.profile)?);
            Ok(Exit::Done)
        },
        Audit::Pack { run, sign_key } => pack(context, run.as_deref(), sign_key.as_deref()),
        Audit::Export { format } => export(context, *format),
    }
}

fn show(context: &Context, name: Option<&str>) -> Result<Exit, Failure> {
    let site = context.site()?;
    let run = open(&site, name)?;
    if context.json() {
        let payload = json!({ "plan": run.plan, "timeline": run.records() });
        context.answer("audit", None, false, payload);
        return Ok(Exit::Done);
    }
    for record in run.records() {
        let label = label(record);
        say(&text::labelled(&label, &label, &told(&run, &record.body)));
    }
    let tarball = run.dir.path().join(AUDIT);
    say(&format!("audit  {}\n", tarball.display()));
    Ok(Exit::Done)
}

/// The time when a process took the run up; for what it did then, the seconds since it was started.
fn label(record: &Record) -> String {
    match record.body {
        Body::Begin(_) | Body::Resume { .. } => record.at.to_string(),
        _ => format!(
            "{:>5}.{:03} s",
            record.elapsed_ms / 1000,
            record.elapsed_ms % 1000
        ),
    }
}

/// One line for one record.
fn told(run: &Run, body: &Body) -> String {
    let place = |step: &str| {
        let at = run.plan.commit(step).map(|commit| commit.at.to_string());
        let id = run.plan.stage(step).map(|stage| stage.credential.clone());
        let deed = || run.plan.deed(step, Way::Forward);
        printable(&at.or(id).or_else(deed).unwrap_or_else(|| step.to_owned()))
    };
    let direction = |way: &Way| if *way == Way::Forward { "" } else { "back " };
    match body {
        Body::Begin(begin) => {
            let ticket = begin
                .ticket
                .iter()
                .map(|ticket| format!(", ticket {}", printable(ticket)));
            let reason = begin
                .reason
                .iter()
                .map(|reason| format!(", because {}", printable(reason)));
            let more: String = ticket.chain(reason).collect();
            format!("begun by {}{more}", printable(&begin.operator))
        },
        Body::Backup { path, files, .. } => format!("backup of {files} files: {}", printable(path)),
        Body::Resume {
            goal: Way::Forward, ..
        } => "taken up again".to_owned(),
        Body::Resume {
            goal: Way::Back, ..
        } => "going back".to_owned(),
        Body::Intent { step, way, .. } => {
            format!("{step} {}intended: {}", direction(way), place(step))
        },
        Body::Outcome {
            step,
            way,
            result: Ok(_),
        } => {
            format!("{step} {}done: {}", direction(way), place(step))
        },
        Body::Outcome {
            step,
            way,
            result: Err(why),
        } => {
            format!("{step} {}failed: {}", direction(way), printable(why))
        },
        Body::Granting { grant, issued } => {
            let by = grant.kind.word();
            let also = match issued.len() {
                0 | 1 => "",
                _ => ", by a second certificate of system:masters that is written nowhere",
            };
            format!("access for {} intended: {by}{also}", printable(&grant.user))
        },
        Body::Granted {
            seen, not_after, ..
        } => {
            let end = not_after.map_or_else(|| "it is revoked".to_owned(), |end| end.to_string());
            let seen = seen.as_deref().map_or_else(String::new, printable);
            format!("access given until {end} {seen}")
                .trim_end()
                .to_owned()
        },
        Body::Revoked { removed, seen, .. } => {
            let what: Vec<&str> = removed.iter().chain(seen).map(String::as_str).collect();
            format!("access taken back: {}", printable(&what.join("; ")))
        },
        Body::Refreshed {
            path, not_after, ..
        } => {
            let path = printable(&path.display().to_string());
            format!("{path} got the credential that ends at {not_after}")
        },
        Body::Meter(meter) => format!("{} ms without the API server", meter.down_ms),
        Body::Staged { contents } => format!("{} new contents are ready", contents.len()),
        Body::End(verdict) => format!("ended: {verdict:?}"),
    }
}

fn verify(context: &Context, tarball: &Path, signer: Option<&Path>) -> Result<Exit, Failure> {
    let bytes = config::bounded(tarball, 512 << 20)?;
    let signer = signer
        .map(|path| config::bounded(path, 1 << 20))
        .transpose()?;
    let verified = match audit::verify(&bytes, signer.as_deref()) {
        Ok(verified) => verified,
        Err(error) => {
            let text = format!("{} is not intact: {error}", tarball.display());
            return Err(Failure::new(
                Exit::Attention,
                text,
                "do not rely on this archive",
            ));
        },
    };
    let trusted = verified.expected != Some(false);
    if context.json() {
        let payload = json!({ "intact": true, "verified": verified });
        context.answer("audit", None, false, payload);
    } else {
        say(&format!(
            "intact: run {}, {} files\n",
            verified.run, verified.files
        ));
        say(&format!("signed by {}\n", verified.fingerprint));
        match verified.expected {
            Some(true) => say("that is the expected signer\n"),
            Some(false) => say("that is NOT the expected signer\n"),
            None => say("compare this fingerprint with the one that the operator wrote down\n"),
        }
    }
    Ok(if trusted { Exit::Done } else { Exit::Attention })
}

fn pack(context: &Context, name: Option<&str>, sign_key: Option<&Path>) -> Result<Exit, Failure> {
    would::refuse(context, "the tarball of a run is packed again")?;
    let site = context.site()?;
    let run = open(&site, name)?;
    let key = sign_key.map(run::audit_key).transpose()?;
    let written = audit::write(&run, &site.profile, key.as_ref())?;
    let path = run.dir.path().join(AUDIT);
    if context.json() {
        let payload =
            json!({ "path": path, "sha256": written.sha256, "signer": written.fingerprint });
        context.answer("audit", None, true, payload);
    } else {
        say(&format!(
            "{}  {}\nsigner  {}\n",
            written.sha256,
            path.display(),
            written.fingerprint
        ));
    }
    Ok(Exit::Done)
}

fn export(context: &Context, format: LedgerFormat) -> Result<Exit, Failure> {
    let entries = context.site()?.ledger()?;
    say(&match format {
        LedgerFormat::Csv => ledger::csv(&entries),
        LedgerFormat::Json => format!("{}\n", to_json(&entries)),
        LedgerFormat::Sql => ledger::sql(&entries),
    });
    Ok(Exit::Done)
}

/// The run that was named, else the newest.
fn open(site: &Site, name: Option<&str>) -> Result<Run, Failure> {
    let name = match name {
        Some(name) => run::chosen(site, name)?,
        None => newest(site)?,
    };
    Ok(site.open_run(&name)?)
}

fn newest(site: &Site) -> Result<String, Failure> {
    let begun = |name: &String| {
        let run = site.open_run(name);
        run.is_ok_and(|run| journal::begin(run.records()).is_some())
    };
    let newest = site.run_names()?.into_iter().rev().find(begun);
    Ok(newest.ok_or(RescueError::NoRun("show"))?)
}
