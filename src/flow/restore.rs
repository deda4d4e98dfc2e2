//! Restoring a backup: a plan like any other, so that it is journaled and can be undone.

use std::collections::BTreeMap;
use std::path::Path;

use zeroize::Zeroizing;

use crate::backup::{self, AuthorityKeys, Backup};
use crate::flow::failure::RescueError;
use crate::flow::site::Site;
use crate::inventory::Inventory;
use crate::observe::Depth;
use crate::pki::digest::Digest;
use crate::place::{Observed, Place, Version};
use crate::plan::step::{Commit, MetaPlan, Phases, Slot, Source};
use crate::plan::{FORMAT, Plan, Purpose};
use crate::run;
use crate::store::{RunDir, StoreError};

/// A backup on disk.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Kept {
    /// Its path on this host.
    pub path: String,
    /// Its bytes.
    pub size: u64,
    /// Its digest.
    pub sha256: Digest,
}

impl Site {
    /// Makes a backup on its own: below the state directory, or, without CA keys, in a directory of this host.
    pub fn make_backup(&self, to: Option<&Path>) -> Result<(Kept, Backup), RescueError> {
        let inventory = self.observe(false, Depth::Running)?;
        let keys = if to.is_some() {
            AuthorityKeys::LeftOut
        } else {
            AuthorityKeys::Kept
        };
        let backup = Backup::collect(&self.disk, &self.profile, &inventory, keys)
            .map_err(RescueError::Backup)?;
        let packed = backup.pack().map_err(RescueError::Backup)?;
        let dir = match to {
            Some(directory) => RunDir::on_host(directory)?,
            None => self.state.run_dir(&self.backups_dir(), true)?,
        };
        let name = run::copy(&run::name(inventory.at)?);
        dir.write(&name, &packed)?;
        let read = dir.read(&name)?.unwrap_or_default();
        let again = Backup::unpack(&read).map_err(RescueError::Backup)?;
        again.compare(&self.disk).map_err(RescueError::Backup)?;
        let path = dir.path().join(name).display().to_string();
        Ok((
            Kept {
                path,
                size: packed.len() as u64,
                sha256: Digest::of(&packed),
            },
            backup,
        ))
    }

    /// Every backup of this site: its own ones and those of its runs, oldest first.
    pub fn backups(&self) -> Result<Vec<Kept>, RescueError> {
        let mut all = Vec::new();
        for name in self
            .state
            .list(&self.backups_dir())?
            .into_iter()
            .map(|(name, _)| name)
        {
            let dir = self.state.run_dir(&self.backups_dir(), false)?;
            all.extend(kept(&dir, &name.to_string_lossy())?);
        }
        for name in self.run_names()? {
            let dir = self.state.run_dir(&self.run_path(&name), false)?;
            all.extend(kept(&dir, run::BACKUP)?);
        }
        Ok(all)
    }

    /// Reads the archive at a path of this host.
    pub fn read_backup(&self, path: &str) -> Result<Zeroizing<Vec<u8>>, RescueError> {
        let path = Path::new(path);
        let directory = path
            .parent()
            .filter(|p| !p.as_os_str().is_empty())
            .unwrap_or_else(|| Path::new("."));
        let missing = || StoreError::BadPath {
            path: path.to_path_buf(),
        };
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or_else(missing)?;
        let dir = RunDir::on_host(directory)?;
        dir.read(name)?
            .ok_or_else(|| RescueError::Stale(format!("{} does not exist", path.display())))
    }

    /// Plans the restore of a backup: every place that differs in content or metadata.
    pub fn plan_restore(
        &self,
        backup: &Backup,
        path: &str,
    ) -> Result<(Inventory, Plan), RescueError> {
        let inventory = self.observe(false, Depth::Running)?;
        if backup.manifest.node.id != inventory.node.id {
            let name = backup
                .manifest
                .node
                .name
                .as_ref()
                .map_or("another node", |n| &n.value);
            let why = format!("the backup is that of {name}, not of this node");
            return Err(RescueError::Stale(why));
        }
        let mut commit = Vec::new();
        for (place, version) in &backup.manifest.entries {
            let source = place;
            let Some(place) = &restored_at(source, &backup.manifest.entries) else {
                continue;
            };
            let seen = self.disk.read(place)?.map(|(version, _)| version);
            if seen.present().is_some_and(|seen| same(seen, version)) {
                continue;
            }
            commit.push(step(commit.len(), place, source, version, seen));
        }
        let plan = Plan {
            format: FORMAT,
            purpose: Purpose::Restore(path.to_owned()),
            profile: self.profile.name.clone(),
            node: inventory.node.clone(),
            inventory: inventory.digest(self.profile.digest()),
            at: inventory.at,
            phases: Phases {
                commit,
                ..Phases::default()
            },
            directories: backup.manifest.directories.clone(),
            remaining: Vec::new(),
            downtime_seconds: 0,
        };
        Ok((inventory, plan))
    }

    fn backups_dir(&self) -> std::path::PathBuf {
        self.look.state_dir.join("backups")
    }
}

/// Where the content of an entry goes: a file behind a link that is restored as well goes to what the link will lead to,
/// unless that has an entry of its own. Each place is replaced once, and none is looked at through a link that changes.
fn restored_at(place: &Place, entries: &BTreeMap<Place, Version>) -> Option<Place> {
    let Place::File(path) = place else {
        return Some(place.clone());
    };
    let link = entries
        .get(&Place::Entry(path.clone()))
        .and_then(|version| version.link.as_deref());
    let Some(target) = link else {
        return Some(place.clone());
    };
    let target = Place::File(path.parent().unwrap_or_else(|| Path::new("/")).join(target));
    (!entries.contains_key(&target)).then_some(target)
}

fn step(
    index: usize,
    place: &Place,
    source: &Place,
    version: &Version,
    expect: Observed<Version>,
) -> Commit {
    let part = match &version.link {
        Some(target) => (Slot::Entry, Source::Link(target.clone())),
        None => (Slot::Whole, Source::Archive(backup::entry_name(source))),
    };
    Commit {
        id: format!("c{:02}", index + 1),
        credential: place.to_string(),
        at: place.clone(),
        expect,
        parts: vec![part],
        meta: MetaPlan::Restore(version.meta.clone()),
        why: "as in the backup".to_owned(),
    }
}

/// Content, mode, owner, label and time of change; the access time does not count.
fn same(a: &Version, b: &Version) -> bool {
    let (x, y) = (&a.meta, &b.meta);
    a.same_content(b)
        && (x.mode, x.uid, x.gid, &x.label, x.mtime) == (y.mode, y.uid, y.gid, &y.label, y.mtime)
}

fn kept(dir: &RunDir, name: &str) -> Result<Option<Kept>, RescueError> {
    let Some(bytes) = dir.read(name)? else {
        return Ok(None);
    };
    let path = dir.path().join(name).display().to_string();
    Ok(Some(Kept {
        path,
        size: bytes.len() as u64,
        sha256: Digest::of(&bytes),
    }))
}
