//! Preparing a run: what could stop it is found, and what an undo needs is written down, before the first change.

use std::collections::BTreeMap;
use std::path::Path;

use crate::backup::{AuthorityKeys, Backup};
use crate::finding::{Code, Finding, Severity};
use crate::flow::failure::RescueError;
use crate::flow::rescue::Means;
use crate::flow::site::Site;
use crate::inventory::Inventory;
use crate::journal::{self, Begin, Body};
use crate::pki::digest::Digest;
use crate::place::{FileTime, Observed, Place};
use crate::plan::Plan;
use crate::plan::step::MetaPlan;
use crate::run::{self, Run};
use crate::store::RunDir;

/// Space that a run needs beside the backup, in bytes: journal, reports, audit.
const HEADROOM: u64 = 8 << 20;

/// Times of directories by path: access, change.
pub(super) type Directories = BTreeMap<String, (FileTime, FileTime)>;

impl Site {
    /// Writes the backup, reads it back and compares it with its sources, before the first change.
    pub(super) fn keep(
        &self,
        run: &mut Run,
        inventory: &Inventory,
        backup: &Backup,
        packed: &[u8],
        means: &Means,
    ) -> Result<(), RescueError> {
        run.dir.write(run::BACKUP, packed)?;
        let read = run.dir.read(run::BACKUP)?.unwrap_or_default();
        let again = Backup::unpack(&read).map_err(RescueError::Backup)?;
        again.compare(&self.disk).map_err(RescueError::Backup)?;
        let files = backup.manifest.entries.len();
        let sha256 = Digest::of(packed);
        run.append(Body::Backup {
            path: run::BACKUP.to_owned(),
            sha256,
            files,
        })?;
        if let Some(directory) = means.backup_to {
            self.carry_away(run, inventory, directory)?;
        }
        Ok(())
    }

    /// A second copy for the stick, without CA keys.
    fn carry_away(
        &self,
        run: &mut Run,
        inventory: &Inventory,
        directory: &Path,
    ) -> Result<(), RescueError> {
        let backup = Backup::collect(&self.disk, &self.profile, inventory, AuthorityKeys::LeftOut)
            .map_err(RescueError::Backup)?;
        let packed = backup.pack().map_err(RescueError::Backup)?;
        let name = journal::begin(run.records()).map(|begin| begin.run.clone());
        let name = run::copy(&name.unwrap_or_default());
        let stick = RunDir::on_host(directory)?;
        stick.write(&name, &packed)?;
        let read = stick.read(&name)?.unwrap_or_default();
        Backup::unpack(&read).map_err(RescueError::Backup)?;
        let path = directory.join(name).display().to_string();
        let (sha256, files) = (Digest::of(&packed), backup.manifest.entries.len());
        Ok(run.append(Body::Backup {
            path,
            sha256,
            files,
        })?)
    }

    /// Refuses what cannot end well: a target that cannot be written, too little space.
    pub(super) fn refuse_hopeless(&self, plan: &Plan, backup: u64) -> Result<(), RescueError> {
        let mut refusals = Vec::new();
        let refuse = |subject: &Path, text: String, hint: &str| Finding {
            code: Code::Unwritable,
            severity: Severity::Critical,
            subject: subject.display().to_string(),
            text,
            hint: hint.to_owned(),
        };
        let mut parents: Vec<&Path> = plan
            .phases
            .commit
            .iter()
            .filter_map(|commit| commit.at.path().parent())
            .collect();
        parents.sort_unstable();
        parents.dedup();
        let state = (&self.state, self.look.state_dir.as_path());
        for (disk, parent) in parents
            .into_iter()
            .map(|parent| (&self.disk, parent))
            .chain([state])
        {
            if let Err(error) = disk.writable(parent) {
                let why = std::error::Error::source(&error)
                    .map_or_else(|| error.to_string(), ToString::to_string);
                let text = format!("{} cannot be written: {why}", parent.display());
                refusals.push(refuse(parent, text, "mount it writable, or run as root"));
            }
        }
        let (needed, free) = (
            2 * backup + HEADROOM,
            self.state.free_bytes(&self.look.state_dir)?,
        );
        if free < needed {
            let dir = &self.look.state_dir;
            let text = format!(
                "{} has {} MiB free, backup and journal need {} MiB",
                dir.display(),
                free >> 20,
                (needed >> 20) + 1
            );
            refusals.push(refuse(
                dir,
                text,
                "free some space, or name another place: --state-dir DIR",
            ));
        }
        if refusals.is_empty() {
            Ok(())
        } else {
            Err(RescueError::Refused(refusals))
        }
    }

    /// Times of the directories that the plan changes, by their real paths.
    pub(super) fn directories(&self, plan: &Plan) -> Result<Directories, RescueError> {
        let mut times = BTreeMap::new();
        for commit in &plan.phases.commit {
            let at = match &commit.at {
                Place::File(path) => self.disk.real_path(path)?.unwrap_or_else(|| path.clone()),
                Place::Entry(path) => path.clone(),
            };
            times.extend(self.nearest(at.parent())?);
        }
        Ok(times)
    }

    /// The directory in which the state directory will be made.
    pub(super) fn state_directory(&self) -> Result<Directories, RescueError> {
        let elsewhere = self.state.root() != self.disk.root();
        let exists = !matches!(self.state.kind(&self.look.state_dir)?, Observed::Absent);
        if elsewhere || exists {
            Ok(BTreeMap::new())
        } else {
            self.nearest(self.look.state_dir.parent())
        }
    }

    /// The nearest directory that exists, with its times.
    fn nearest(&self, from: Option<&Path>) -> Result<Directories, RescueError> {
        let mut at = from;
        while let Some(directory) = at {
            if let Some(times) = self.disk.directory_times(directory)? {
                return Ok([(directory.display().to_string(), times)].into());
            }
            at = directory.parent();
        }
        Ok(BTreeMap::new())
    }

    pub(super) fn begin(
        &self,
        name: &str,
        plan: &Plan,
        means: &Means,
        directories: Directories,
        inventory: &Inventory,
    ) -> Result<Begin, RescueError> {
        let mut made = Vec::new();
        for commit in &plan.phases.commit {
            let creates = matches!(commit.meta, MetaPlan::Create { .. } | MetaPlan::Restore(_));
            let mut parent = commit.at.path().parent().filter(|_| creates);
            while let Some(directory) = parent {
                if !matches!(self.disk.kind(directory)?, Observed::Absent) {
                    break;
                }
                made.push(directory.display().to_string());
                parent = directory.parent();
            }
        }
        made.sort();
        made.dedup();
        let who = &means.circumstances;
        Ok(Begin {
            run: name.to_owned(),
            plan: Digest::of(&plan.to_json()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            binary: who.binary,
            operator: who.operator.clone(),
            ticket: who.ticket.clone(),
            reason: who.reason.clone(),
            command: who.command.clone(),
            directories,
            made,
            baseline: inventory
                .live
                .as_ref()
                .map(|live| live.health.clone())
                .unwrap_or_default(),
        })
    }
}
