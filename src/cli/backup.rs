//! `backup`: make, list, check, restore.

use std::path::Path;

use serde_json::json;

use crate::backup::Backup;
use crate::cli::args::{BackupCommand, Keeping};
use crate::cli::context::Context;
use crate::cli::{plan, run, would};
use crate::error::Failure;
use crate::exit::Exit;
use crate::flow::failure::RescueError;
use crate::pki::digest::Digest;
use crate::terminal::say;

pub(super) fn backup(context: &Context, command: &BackupCommand) -> Result<Exit, Failure> {
    match command {
        BackupCommand::Create { to } => create(context, to.as_deref()),
        BackupCommand::List => list(context),
        BackupCommand::Verify { archive } => verify(context, archive),
        BackupCommand::Restore { archive, keeping } => restore(context, archive, keeping),
    }
}

fn create(context: &Context, to: Option<&Path>) -> Result<Exit, Failure> {
    would::refuse(context, "a backup is a new file")?;
    let site = context.site()?;
    let _lock = site.lock()?;
    let (kept, backup) = site.make_backup(to)?;
    let files = backup.manifest.entries.len();
    if context.json() {
        let left_out = &backup.manifest.left_out;
        let payload = json!({ "backup": kept, "files": files, "left_out": left_out });
        context.answer("backup", None, true, payload);
    } else {
        say(&format!(
            "{files} files, {} bytes\n{}  {}\n",
            kept.size, kept.sha256, kept.path
        ));
        for (path, why) in &backup.manifest.left_out {
            say(&format!("left out: {path}: {why}\n"));
        }
    }
    Ok(Exit::Done)
}

fn list(context: &Context) -> Result<Exit, Failure> {
    let backups = context.site()?.backups()?;
    if context.json() {
        let payload = json!({ "backups": backups });
        context.answer("backup", None, false, payload);
    } else if backups.is_empty() {
        say("no backups\n");
    } else {
        for kept in backups {
            say(&format!("{}  {}\n", kept.sha256, kept.path));
        }
    }
    Ok(Exit::Done)
}

fn verify(context: &Context, archive: &Path) -> Result<Exit, Failure> {
    let bytes = crate::config::bounded(archive, 512 << 20)?;
    let backup = Backup::unpack(&bytes).map_err(|error| {
        let text = format!("{} is damaged or no backup", archive.display());
        let mut failure = Failure::new(Exit::Refused, text, "rescue-kit backup list");
        failure.causes.push(error.to_string());
        failure
    })?;
    let manifest = &backup.manifest;
    let node = manifest.node.name.as_ref().map(|name| name.value.clone());
    if context.json() {
        let payload = json!({
            "intact": true, "node": node, "made_at": manifest.at,
            "files": manifest.entries.len(), "sha256": Digest::of(&bytes),
        });
        context.answer("backup", None, false, payload);
    } else {
        let node = node.unwrap_or_else(|| "unknown node".to_owned());
        let files = manifest.entries.len();
        say(&format!(
            "intact: {files} files of {node}, made at {}\n",
            manifest.at
        ));
    }
    Ok(Exit::Done)
}

fn restore(context: &Context, archive: &Path, keeping: &Keeping) -> Result<Exit, Failure> {
    let site = context.site()?;
    let path = std::path::absolute(archive).unwrap_or_else(|_| archive.to_path_buf());
    let path = path.display().to_string();
    let bytes = site.read_backup(&path)?;
    let backup = Backup::unpack(&bytes).map_err(RescueError::Backup)?;
    let _lock = site.lock()?;
    site.refuse_unfinished()?;
    let (inventory, planned) = site.plan_restore(&backup, &path)?;
    if planned.is_empty() {
        return Ok(run::nothing(context, &inventory));
    }
    if context.global.check {
        plan::show(context, &inventory, &planned);
        return Ok(Exit::Done);
    }
    run::consent(context, &inventory, &planned)?;
    run::carry_out(context, &site, &inventory, planned, keeping, &|entry| {
        backup.entry(entry)
    })
}
