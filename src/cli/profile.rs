//! `profile`: which layouts there are, which one is here, whether a file is one.

use std::path::Path;

use serde_json::json;

use crate::cli::args::ProfileCommand;
use crate::cli::context::Context;
use crate::config;
use crate::error::Failure;
use crate::exit::Exit;
use crate::flow::site::{self, ProfileChoice};
use crate::profile::builtin;
use crate::render::text::labelled;
use crate::store::Disk;
use crate::terminal::say;

pub(super) fn profile(context: &Context, command: &ProfileCommand) -> Result<Exit, Failure> {
    match command {
        ProfileCommand::List => list(context),
        ProfileCommand::Show { name } => show(name),
        ProfileCommand::Detect => detect(context),
        ProfileCommand::Validate { file } => validate(context, file),
    }
}

fn list(context: &Context) -> Result<Exit, Failure> {
    let mut rows = Vec::new();
    for name in builtin::names() {
        let profile = site::named(&ProfileChoice::Named(name.to_owned()))?;
        rows.push(json!({ "name": name, "title": profile.title, "certificates": profile.credential.len() }));
        if !context.json() {
            let label = format!("{name:<21}");
            say(&labelled(&label, &label, &profile.title));
        }
    }
    if context.json() {
        let payload = json!({ "profiles": rows });
        context.answer("profile", None, false, payload);
    }
    Ok(Exit::Done)
}

fn show(name: &str) -> Result<Exit, Failure> {
    let text =
        builtin::text(name).ok_or_else(|| site::SiteError::UnknownProfile(name.to_owned()))?;
    say(text);
    Ok(Exit::Done)
}

fn detect(context: &Context) -> Result<Exit, Failure> {
    let disk = Disk::open(&context.global.root)?;
    let mut rows = Vec::new();
    let mut detected = None;
    for name in builtin::names() {
        let profile = site::named(&ProfileChoice::Named(name.to_owned()))?;
        let reasons = site::reasons(&disk, &profile)?;
        let (fits, why) = match reasons {
            Ok(reasons) => (true, reasons.join("; ")),
            Err(why) => (false, why),
        };
        if fits && detected.is_none() {
            detected = Some(name);
        }
        rows.push((name, fits, why));
    }
    if context.json() {
        let layouts: Vec<_> = rows
            .iter()
            .map(|(name, fits, why)| json!({ "name": name, "fits": fits, "why": why }))
            .collect();
        let payload = json!({ "detected": detected, "layouts": layouts });
        context.answer("profile", None, false, payload);
    } else {
        for (name, fits, why) in &rows {
            let mark = if Some(*name) == detected { "*" } else { " " };
            let fits = if *fits { "fits" } else { "does not fit" };
            let label = format!("{mark} {name}: {fits}:");
            say(&labelled(&label, &label, why));
        }
    }
    match detected {
        Some(_) => Ok(Exit::Done),
        None => Err(site::SiteError::NoLayout(context.global.root.clone()).into()),
    }
}

fn validate(context: &Context, file: &Path) -> Result<Exit, Failure> {
    let choice = config::profile_file(file.to_path_buf())?;
    let profile = site::named(&choice).map_err(|error| {
        let mut failure = Failure::from(error);
        failure.hints = vec!["compare with: rescue-kit profile show kubeadm".to_owned()];
        failure
    })?;
    if context.json() {
        let payload = json!({ "valid": true, "name": profile.name, "sha256": profile.digest() });
        context.answer("profile", None, false, payload);
    } else {
        let count = profile.credential.len();
        say(&format!("{}: valid, {count} certificates\n", profile.name));
    }
    Ok(Exit::Done)
}
