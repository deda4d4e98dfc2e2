//! Replacing, by the kernel and step by step.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use zeroize::Zeroizing;

use super::*;

const TEMP: &str = ".rescue-kit.tmp";

fn both(fill: impl Fn(&Path)) -> [(tempfile::TempDir, Disk); 2] {
    [Disk::open, Disk::open_without_openat2].map(|open| {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("pki")).unwrap();
        fill(root.path());
        let disk = open(root.path()).unwrap();
        (root, disk)
    })
}

fn blob(text: &str) -> Blob {
    Blob::File(Zeroizing::new(text.as_bytes().to_vec()))
}

fn file() -> Place {
    Place::File("/pki/ca.key".into())
}

fn look(disk: &Disk, at: &Place) -> Observed<Version> {
    disk.read(at).unwrap().map(|(version, _)| version)
}

/// Metadata that this user may give.
fn own(mode: u32) -> Meta {
    let (uid, gid) = (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    let (atime, mtime) = (
        FileTime {
            seconds: 1_500_000_000,
            nanos: 123_456_789,
        },
        FileTime {
            seconds: 1_600_000_000,
            nanos: 987_654_321,
        },
    );
    Meta {
        mode,
        uid,
        gid,
        label: None,
        atime,
        mtime,
    }
}

fn names(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root.join("pki")).unwrap();
    let mut names: Vec<String> = entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn creates_replaces_and_removes_with_exact_metadata() {
    for (root, disk) in both(|_| {}) {
        let meta = own(0o4604);
        let swap = |expect: &Observed<Version>, new: Option<&Blob>| {
            disk.swap(&file(), expect, new, &meta, Times::Restore, TEMP)
                .unwrap()
        };
        let one = swap(&Observed::Absent, Some(&blob("one")));
        assert_eq!(one.present().unwrap().meta, meta);
        let two = swap(&one, Some(&blob("two")));
        assert_eq!(two.present().unwrap().sha256, blob("two").digest());
        assert_eq!(look(&disk, &file()), two);
        assert_eq!(fs::read(root.path().join("pki/ca.key")).unwrap(), b"two");
        assert_eq!(names(root.path()), ["ca.key"]);
        assert_eq!(swap(&two, None), Observed::Absent);
        assert_eq!(swap(&Observed::Absent, None), Observed::Absent);
        assert!(names(root.path()).is_empty());
    }
}

#[test]
fn gives_owners_when_root_and_fails_before_the_rename_when_not() {
    for (root, disk) in both(|_| {}) {
        let meta = Meta {
            uid: 4242,
            gid: 4343,
            ..own(0o640)
        };
        let new = blob("k");
        let result = disk.swap(
            &file(),
            &Observed::Absent,
            Some(&new),
            &meta,
            Times::Now,
            TEMP,
        );
        if rustix::process::geteuid().is_root() {
            let found = result.unwrap().present().unwrap().meta.clone();
            assert_eq!((found.uid, found.gid, found.mode), (4242, 4343, 0o640));
            assert!(found.mtime.seconds > meta.mtime.seconds);
        } else {
            assert!(matches!(result, Err(StoreError::Owner { .. })));
            assert!(names(root.path()).is_empty());
        }
    }
}

#[test]
fn keeps_a_security_label_where_the_file_system_has_them() {
    for (root, disk) in both(|_| {}) {
        let text = "system_u:object_r:cert_t:s0";
        let probe = root.path().join("probe");
        fs::write(&probe, "").unwrap();
        let flags = XattrFlags::empty();
        let supported = rustix::fs::setxattr(&probe, LABEL, text.as_bytes(), flags).is_ok();
        let meta = Meta {
            label: Some(text.to_owned()),
            ..own(0o600)
        };
        let result = disk.swap(
            &file(),
            &Observed::Absent,
            Some(&blob("x")),
            &meta,
            Times::Now,
            TEMP,
        );
        match result {
            Ok(seen) => assert_eq!(seen.present().unwrap().meta.label, meta.label),
            Err(error) => {
                assert!(
                    !supported && matches!(error, StoreError::Label { .. }),
                    "{error}"
                );
                assert!(names(root.path()).is_empty());
            },
        }
    }
}

#[test]
fn refuses_content_that_is_not_the_expected_one() {
    for (root, disk) in both(|root| fs::write(root.join("pki/ca.key"), "mine").unwrap()) {
        let seen = look(&disk, &file());
        fs::write(root.path().join("pki/ca.key"), "theirs").unwrap();
        let unknown = Observed::Unknown("?".to_owned());
        for expect in [&seen, &Observed::Absent, &unknown] {
            for new in [Some(&blob("new")), None] {
                let result = disk.swap(&file(), expect, new, &own(0o600), Times::Now, TEMP);
                assert!(matches!(result, Err(StoreError::Changed { .. })));
            }
        }
        assert_eq!(fs::read(root.path().join("pki/ca.key")).unwrap(), b"theirs");
        assert_eq!(names(root.path()), ["ca.key"]);
    }
}

#[test]
fn replaces_the_target_of_a_link_and_keeps_the_link() {
    let fill = |root: &Path| {
        fs::create_dir(root.join("real")).unwrap();
        fs::write(root.join("real/key"), "old").unwrap();
        symlink("/real/key", root.join("pki/ca.key")).unwrap();
    };
    for (root, disk) in both(fill) {
        let seen = look(&disk, &file());
        let new = blob("new");
        disk.swap(&file(), &seen, Some(&new), &own(0o600), Times::Now, TEMP)
            .unwrap();
        assert_eq!(fs::read(root.path().join("real/key")).unwrap(), b"new");
        assert!(root.path().join("pki/ca.key").is_symlink());
        fs::write(root.path().join("real").join(TEMP), "leftover").unwrap();
        disk.remove_temp(&file(), TEMP).unwrap();
        assert!(!root.path().join("real").join(TEMP).exists());
    }
}

#[test]
fn replaces_a_link_itself_with_its_own_times() {
    let link = |root: &Path| symlink("old.pem", root.join("pki/current")).unwrap();
    for (root, disk) in both(link) {
        let at = Place::Entry("/pki/current".into());
        let new = Blob::Link("new.pem".into());
        let expect = look(&disk, &at);
        let meta = own(0o777);
        let after = disk
            .swap(&at, &expect, Some(&new), &meta, Times::Restore, TEMP)
            .unwrap();
        assert_eq!(after.present().unwrap().link, Some("new.pem".into()));
        let found = fs::symlink_metadata(root.path().join("pki/current")).unwrap();
        assert_eq!(
            (found.mtime_nsec(), found.atime_nsec()),
            (987_654_321, 123_456_789)
        );
        let place = Place::File("/pki/other".into());
        let link_at_file = disk.swap(
            &place,
            &Observed::Absent,
            Some(&new),
            &meta,
            Times::Now,
            TEMP,
        );
        assert!(matches!(link_at_file, Err(StoreError::Refused { .. })));
        let file = blob("a file now");
        disk.swap(&at, &after, Some(&file), &own(0o600), Times::Now, TEMP)
            .unwrap();
        assert_eq!(names(root.path()), ["current"]);
    }
}

#[test]
fn an_empty_directory_and_a_file_replace_each_other() {
    let fill = |root: &Path| fs::create_dir(root.join("pki/ca.key")).unwrap();
    for (root, disk) in both(fill) {
        let swap = |expect: &Observed<Version>, new: &Blob, meta: &Meta| {
            disk.swap(&file(), expect, Some(new), meta, Times::Restore, TEMP)
        };
        let before = look(&disk, &file());
        assert!(before.present().unwrap().directory);
        let after = swap(&before, &blob("new"), &own(0o600)).unwrap();
        assert_eq!(fs::read(root.path().join("pki/ca.key")).unwrap(), b"new");
        assert_eq!(names(root.path()), ["ca.key"]);
        let meta = &before.present().unwrap().meta;
        let again = swap(&after, &Blob::EmptyDirectory, meta).unwrap();
        assert_eq!(again, before, "as it was, with its times");
        assert_eq!(names(root.path()), ["ca.key"]);
        fs::write(root.path().join("pki/ca.key/precious"), "x").unwrap();
        let refused = swap(&before, &blob("new"), &own(0o600)).unwrap_err();
        assert_eq!(refused.to_string(), "/pki/ca.key is a directory");
    }
}

#[test]
fn refuses_dangling_links_directories_and_bad_names() {
    let fill = |root: &Path| {
        symlink("nowhere", root.join("pki/ca.key")).unwrap();
        fs::create_dir_all(root.join("pki/dir/full")).unwrap();
    };
    for (_root, disk) in both(fill) {
        let (new, meta) = (blob("x"), own(0o600));
        let swap = |at: &Place, temp: &str| {
            disk.swap(at, &Observed::Absent, Some(&new), &meta, Times::Now, temp)
                .unwrap_err()
        };
        let error = swap(&file(), TEMP);
        let want = "/pki/ca.key is a symbolic link to nowhere, which does not exist";
        assert_eq!(error.to_string(), want);
        let dir = Place::File("/pki/dir".into());
        assert_eq!(swap(&dir, TEMP).to_string(), "/pki/dir is a directory");
        for temp in ["", "..", "a/b", "dir"] {
            assert!(
                matches!(swap(&dir, temp), StoreError::BadName { .. }),
                "{temp}"
            );
        }
        let nowhere = Place::File("/none/x".into());
        assert!(matches!(swap(&nowhere, TEMP), StoreError::Write { .. }));
    }
}

#[test]
fn a_leftover_of_a_crash_is_replaced_or_removed() {
    let fill = |root: &Path| fs::write(root.join("pki").join(TEMP), "half").unwrap();
    for (root, disk) in both(fill) {
        let meta = own(0o600);
        let new = blob("whole");
        let expect = Observed::Absent;
        disk.swap(&file(), &expect, Some(&new), &meta, Times::Now, TEMP)
            .unwrap();
        assert_eq!(names(root.path()), ["ca.key"]);
        symlink("/etc/passwd", root.path().join("pki").join(TEMP)).unwrap();
        disk.remove_temp(&file(), TEMP).unwrap();
        disk.remove_temp(&file(), TEMP).unwrap();
        disk.remove_temp(&Place::File("/none/x".into()), TEMP)
            .unwrap();
        assert_eq!(names(root.path()), ["ca.key"]);
    }
}
