//! Runs that give access: their beginning, and what is said of them.

use std::collections::BTreeMap;
use std::path::Path;

use crate::audit::{self, Written};
use crate::flow::failure::{AccessError, RescueError};
use crate::flow::rescue::Means;
use crate::flow::site::Site;
use crate::inventory::Inventory;
use crate::plan::step::Phases;
use crate::plan::{FORMAT, Plan, Purpose};
use crate::run::{self, Run};
use crate::store::RunDir;

impl Site {
    /// Begins a run that changes no file of the node.
    pub(super) fn begin_access(
        &self,
        name: &str,
        inventory: &Inventory,
        means: &Means,
    ) -> Result<Run, RescueError> {
        let plan = Plan {
            format: FORMAT,
            purpose: Purpose::Access,
            profile: self.profile.name.clone(),
            node: inventory.node.clone(),
            inventory: inventory.digest(self.profile.digest()),
            at: inventory.at,
            phases: Phases::default(),
            directories: BTreeMap::new(),
            remaining: Vec::new(),
            downtime_seconds: 0,
        };
        let directories = self.state_directory()?;
        let dir = self.state.run_dir(&self.run_path(name), true)?;
        let begin = self.begin(name, &plan, means, directories, inventory)?;
        let run = Run::begin(dir, plan, begin, means.watch)?;
        let before = run::json(inventory);
        run.dir.write(run::BEFORE, before.as_bytes())?;
        Ok(run)
    }

    /// The evidence of a run that gave access or took it back.
    pub(super) fn testify(
        &self,
        run: &Run,
        name: &str,
        means: &Means,
    ) -> Result<Written, RescueError> {
        audit::write(run, &self.profile, means.sign_key).map_err(|source| RescueError::Audit {
            run: name.to_owned(),
            source,
        })
    }
}

/// Refuses a file of this host that exists: nothing is ever overwritten.
pub fn refuse_existing(path: &Path) -> Result<(), AccessError> {
    let (dir, name) = split(path)?;
    if dir.exists(&name)? {
        let why = format!("{} exists", path.display());
        return Err(AccessError::refused(why, "name another file, or remove it"));
    }
    Ok(())
}

/// Writes a new file of this host, for its owner only.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<(), AccessError> {
    refuse_existing(path)?;
    let (dir, name) = split(path)?;
    Ok(dir.write(&name, bytes)?)
}

/// Removes a file of this host; whether there was one.
pub(super) fn remove(path: &Path) -> Result<bool, AccessError> {
    let (dir, name) = split(path)?;
    let there = dir.exists(&name)?;
    dir.remove_tree(&name)?;
    Ok(there)
}

fn split(path: &Path) -> Result<(RunDir, String), AccessError> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let bad = || AccessError::refused(format!("`{}` is no file", path.display()), "name a file");
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(bad)?.to_owned();
    let dir = RunDir::on_host(directory.unwrap_or_else(|| Path::new(".")))?;
    Ok((dir, name))
}
