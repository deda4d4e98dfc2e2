//! `handover`: what comes next, written as files or printed as a calendar.

use std::path::Path;

use serde_json::json;

use crate::cli::args::{Handover, HandoverPart};
use crate::cli::context::Context;
use crate::error::Failure;
use crate::exit::Exit;
use crate::flow::ca::Made;
use crate::flow::handover::{made, refuse_taken, write};
use crate::handover::{Cluster, Part};
use crate::render::handover::{File, Settings, files, page};
use crate::render::text::labelled;
use crate::terminal::say;

pub(super) fn handover(context: &Context, arguments: &Handover) -> Result<Exit, Failure> {
    let settings = Settings {
        binary: plain("--binary", &arguments.binary)?,
        textfiles: plain("--textfiles", &arguments.textfiles)?,
    };
    let (inventory, cluster) = context.site()?.handover()?;
    let parts = parts(&arguments.only, &cluster)?;
    let made = match &arguments.out {
        Some(out) => put(context, out, &files(&cluster, &settings, &parts))?,
        None => Vec::new(),
    };
    if context.json() {
        let payload = json!({ "files": made, "ends": cluster.ends });
        let changed = !made.is_empty();
        context.answer("handover", Some(&inventory), changed, payload);
    } else if arguments.out.is_some() {
        list(context, &made);
    } else {
        say(&page(&cluster));
    }
    Ok(Exit::Done)
}

fn put(context: &Context, out: &Path, files: &[File]) -> Result<Vec<Made>, Failure> {
    if context.global.check {
        refuse_taken(out, files)?;
        return Ok(made(out, files));
    }
    Ok(write(out, files)?)
}

fn list(context: &Context, made: &[Made]) {
    for Made { path, what } in made {
        say(&format!("{}\n", path.display()));
        say(&labelled("   ", "   ", what));
    }
    if context.global.check {
        say("nothing was written (--check)\n");
    }
}

/// The parts that are asked for, else all that fit.
fn parts(asked: &[HandoverPart], cluster: &Cluster) -> Result<Vec<Part>, Failure> {
    if asked.is_empty() {
        let fit = |part: &Part| part.fits(cluster).is_ok();
        return Ok(Part::ALL.into_iter().filter(fit).collect());
    }
    let part = |asked: &HandoverPart| {
        let part = of(*asked);
        part.fits(cluster).map(|()| part).map_err(|why| {
            let text = format!("`{}` does not fit: {why}", part.name());
            Failure::new(Exit::Refused, text, "leave it out of --only")
        })
    };
    asked.iter().map(part).collect()
}

fn of(asked: HandoverPart) -> Part {
    match asked {
        HandoverPart::Alerts => Part::Alerts,
        HandoverPart::Calendar => Part::Calendar,
        HandoverPart::CertManager => Part::CertManager,
        HandoverPart::Ics => Part::Reminders,
        HandoverPart::Kubeadm => Part::Kubeadm,
        HandoverPart::Renewal => Part::Renewal,
        HandoverPart::Timer => Part::Timer,
    }
}

/// A path of the node as it may stand in units without quotes.
fn plain(flag: &str, path: &str) -> Result<String, Failure> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._+@-".contains(c);
    if path.starts_with('/') && path.chars().all(is_plain) {
        return Ok(path.to_owned());
    }
    let text = format!("{flag} {path} is no absolute path of plain letters");
    Err(Failure::usage(text, &format!("{flag} /PATH")))
}
