//! What comes next: the facts of a node, and the files that are made of them.

use std::path::Path;

use crate::flow::ca::{CaError, Made};
use crate::flow::site::Site;
use crate::handover::Cluster;
use crate::inventory::Inventory;
use crate::observe::Depth;
use crate::render::handover::File;
use crate::store::{Disk, RunDir, StoreError};

impl Site {
    /// The facts that are handed over, from files alone.
    ///
    /// # Errors
    ///
    /// As [`Site::observe`].
    pub fn handover(&self) -> Result<(Inventory, Cluster), StoreError> {
        let inventory = self.observe(false, Depth::Files)?;
        let cluster = Cluster::of(&inventory, &self.profile, self.version());
        Ok((inventory, cluster))
    }
}

/// Refuses a directory in which one of the files is there already.
///
/// # Errors
///
/// [`CaError::Exists`].
pub fn refuse_taken(out: &Path, files: &[File]) -> Result<(), CaError> {
    let mut paths = files.iter().map(|file| out.join(file.name));
    match paths.find(|path| path.symlink_metadata().is_ok()) {
        Some(taken) => Err(CaError::Exists(taken)),
        None => Ok(()),
    }
}

/// Writes the files into a directory, which is made, for everybody to read; nothing is ever overwritten.
///
/// # Errors
///
/// [`CaError::Exists`], before anything is written; [`CaError::Store`].
pub fn write(out: &Path, files: &[File]) -> Result<Vec<Made>, CaError> {
    refuse_taken(out, files)?;
    let at = std::path::absolute(out).unwrap_or_else(|_| out.to_path_buf());
    Disk::open(Path::new("/"))?.make_directory(&at, 0o755)?;
    let directory = RunDir::on_host(&at)?;
    for file in files {
        directory.publish(file.name, file.text.as_bytes())?;
    }
    Ok(made(out, files))
}

/// The files as they are reported.
pub fn made(out: &Path, files: &[File]) -> Vec<Made> {
    let made = files.iter().map(|file| Made {
        path: out.join(file.name),
        what: file.what.to_owned(),
    });
    made.collect()
}
