//! Directories that are carried away: a stick may have a file system without modes and owners.

use rustix::fs::{Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::rundir::{Missing, RunDir};
use super::{StoreError, failed, retry};
use crate::pki::utc::Utc;

impl RunDir {
    /// Gives a file or a directory (`""` is this one) a mode and a time, where its file system has them. Not synced.
    ///
    /// # Errors
    ///
    /// [`StoreError::BadName`], [`StoreError::Mode`], [`StoreError::Times`].
    pub fn dress(&self, name: &str, mode: u32, at: Utc) -> Result<(), StoreError> {
        let path = self.path().join(name);
        let open = if name.is_empty() {
            self.open_directory(name)
        } else {
            let spot = self.spot(name, Missing::Fails)?;
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            retry(|| rustix::fs::openat(spot.directory(), spot.name, flags, Mode::empty()))
        };
        let open = open.map_err(failed!(Open, path))?;
        if_kept(rustix::fs::fchmod(&open, Mode::from_raw_mode(mode))).map_err(|error| {
            StoreError::Mode {
                path: path.clone(),
                mode,
                source: error.into(),
            }
        })?;
        let time = Timespec {
            tv_sec: at.unix(),
            tv_nsec: 0,
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        if_kept(rustix::fs::futimens(&open, &times)).map_err(failed!(Times, path))
    }
}

/// Takes as done what a file system cannot keep: vfat answers EPERM, others that they do not know it.
pub(super) fn if_kept(changed: Result<(), Errno>) -> Result<(), Errno> {
    match changed {
        Err(Errno::PERM | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(()),
        other => other,
    }
}
