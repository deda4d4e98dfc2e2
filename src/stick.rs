//! Sticks: file systems on removable or USB devices that are mounted on this host, as places for what leaves the node.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, statvfs};

/// A mounted stick.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stick {
    /// Where it is mounted.
    pub at: PathBuf,
    /// The kind of its file system, as the kernel calls it: `vfat`.
    pub kind: String,
    /// Bytes that could still be written.
    pub free: u64,
}

/// The sticks that are mounted and can be written, by their mount points. A host that does not tell has none.
pub fn sticks() -> Vec<Stick> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let removable = mounted(&mounts).filter(|mount| is_removable(&mount.device));
    let mut sticks: Vec<Stick> = removable.filter_map(|mount| of(&mount)).collect();
    sticks.sort_by(|a, b| a.at.cmp(&b.at));
    sticks.dedup_by(|a, b| a.at == b.at);
    sticks
}

/// Bytes that could still be written below a directory, or the nearest one above it; `None` if it is read-only or unknown.
pub fn free_bytes(directory: &Path) -> Option<u64> {
    let there = directory.ancestors().find(|path| path.exists())?;
    let space = statvfs(there).ok()?;
    let writable = !space.f_flag.contains(StatVfsMountFlags::RDONLY);
    writable.then(|| space.f_bavail.saturating_mul(space.f_frsize))
}

/// A line of `mountinfo`.
#[derive(Debug, Eq, PartialEq)]
struct Mount {
    /// The device's number: `8:17`.
    device: String,
    at: PathBuf,
    kind: String,
}

fn of(mount: &Mount) -> Option<Stick> {
    Some(Stick {
        at: mount.at.clone(),
        kind: mount.kind.clone(),
        free: free_bytes(&mount.at)?,
    })
}

/// The mounts of block devices (proc(5): words 3 and 5 are device number and mount point; the kind follows a lone dash).
fn mounted(text: &str) -> impl Iterator<Item = Mount> {
    text.lines().filter_map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let dash = words.iter().position(|word| *word == "-")?;
        let device = (*words.get(2)?).to_owned();
        // Devices without a number of their own are no disks.
        (!device.starts_with("0:")).then_some(())?;
        Some(Mount {
            device,
            at: PathBuf::from(unescaped(words.get(4)?)),
            kind: (*words.get(dash + 1)?).to_owned(),
        })
    })
}

/// Blanks and backslashes are octal in `mountinfo`.
fn unescaped(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// Whether a device says that it can be removed, or hangs on USB (the path of its entry in sysfs tells).
fn is_removable(device: &str) -> bool {
    let entry = Path::new("/sys/dev/block").join(device);
    let Ok(real) = fs::canonicalize(&entry) else {
        return false;
    };
    let on_usb = real.components().any(|part| {
        let part = part.as_os_str().to_string_lossy();
        part.starts_with("usb")
    });
    // A partition's own directory has no such file; that of its disk, one above, has.
    let says = |directory: &Path| {
        let text = fs::read_to_string(directory.join("removable"));
        text.is_ok_and(|text| text.trim() == "1")
    };
    on_usb || says(&real) || real.parent().is_some_and(says)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_disks_are_read_from_the_kernels_table() {
        let text = "36 35 8:17 / /media/my\\040stick rw,nosuid shared:9 - vfat /dev/sdb1 rw\n\
                    22 1 0:21 / /proc rw - proc proc rw\n\
                    25 1 254:0 / / rw master:1 - ext4 /dev/vda rw\n\
                    cut short\n";
        let seen: Vec<Mount> = mounted(text).collect();
        let mount = |device: &str, at: &str, kind: &str| Mount {
            device: device.to_owned(),
            at: PathBuf::from(at),
            kind: kind.to_owned(),
        };
        assert_eq!(
            seen,
            [
                mount("8:17", "/media/my stick", "vfat"),
                mount("254:0", "/", "ext4")
            ]
        );
    }

    #[test]
    fn a_directory_that_is_not_there_has_the_room_of_the_one_above() {
        assert!(free_bytes(Path::new("/tmp/none/none")).is_some_and(|free| free > 0));
    }
}
