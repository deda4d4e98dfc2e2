//! Looking, by the kernel and step by step.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;
use crate::place::FileTime;
use crate::store::swap::timestamps;

/// The same tree, resolved by the kernel and step by step.
fn both(fill: impl FnOnce(&Path)) -> (tempfile::TempDir, [Disk; 2]) {
    let root = tempfile::tempdir().unwrap();
    fill(root.path());
    let steps = Disk::open_without_openat2(root.path()).unwrap();
    let kernel = Disk::open(root.path()).unwrap();
    (root, [kernel, steps])
}

fn file(path: &str) -> Place {
    Place::File(PathBuf::from(path))
}

fn text(seen: Observed<(Version, Blob)>) -> String {
    match seen {
        Observed::Present((_, Blob::File(bytes))) => String::from_utf8(bytes.to_vec()).unwrap(),
        Observed::Present((_, Blob::Link(target))) => format!("-> {}", target.display()),
        Observed::Present((_, Blob::EmptyDirectory)) => "an empty directory".to_owned(),
        Observed::Absent => "absent".to_owned(),
        Observed::Unknown(why) => format!("? {why}"),
    }
}

fn links(root: &Path) {
    fs::create_dir_all(root.join("etc/pki")).unwrap();
    fs::write(root.join("etc/pki/ca.crt"), "ca").unwrap();
    for (target, name) in [
        ("/etc/pki/ca.crt", "etc/absolute"),
        ("absolute", "etc/chain"),
        ("../../../../../../etc/pki/ca.crt", "etc/escape"),
        ("/etc/hostname", "etc/outside"),
        ("loop2", "etc/loop1"),
        ("loop1", "etc/loop2"),
        ("no\nwhere", "etc/dangling"),
        ("..", "etc/pki/up"),
        ("/etc/pki", "pki"),
    ] {
        symlink(target, root.join(name)).unwrap();
    }
}

#[test]
fn follows_links_inside_the_root_only() {
    let (_root, disks) = both(links);
    let cases = [
        ("/etc/absolute", "ca"),
        ("/etc/chain", "ca"),
        ("/etc/escape", "ca"),
        ("/pki/ca.crt", "ca"),
        ("/../../pki/../chain", "ca"),
        (
            "/etc/outside",
            "? is a symbolic link to /etc/hostname, which does not exist",
        ),
        ("/etc/loop1", "? is a loop of symbolic links"),
        ("/etc/loop1/x", "? is a loop of symbolic links"),
        (
            "/etc/dangling",
            "? is a symbolic link to no\u{fffd}where, which does not exist",
        ),
        ("/etc/pki/up", "? is a directory"),
        ("/", "? is a directory"),
        ("/none", "absent"),
        ("/none/none", "absent"),
        (
            "/etc/pki/ca.crt/x",
            "? lies below something that is not a directory",
        ),
    ];
    for disk in &disks {
        for (path, want) in cases {
            assert_eq!(text(disk.read(&file(path)).unwrap()), want, "{path}");
        }
        let entry = Place::Entry("/etc/chain".into());
        assert_eq!(text(disk.read(&entry).unwrap()), "-> absolute");
        assert!(matches!(
            disk.read(&file("etc/x")),
            Err(StoreError::BadPath { .. })
        ));
    }
}

#[test]
fn a_chain_of_41_links_is_a_loop() {
    let (_root, disks) = both(|root| {
        fs::write(root.join("0"), "end").unwrap();
        for i in 0..41 {
            symlink(i.to_string(), root.join((i + 1).to_string())).unwrap();
        }
    });
    for disk in &disks {
        assert_eq!(text(disk.read(&file("/40")).unwrap()), "end");
        assert_eq!(
            text(disk.read(&file("/41")).unwrap()),
            "? is a loop of symbolic links"
        );
    }
}

#[test]
fn resolves_the_path_of_the_kubelets_current_link() {
    let (_root, disks) = both(links);
    for disk in &disks {
        let real = |path: &str| disk.real_path(Path::new(path)).unwrap();
        assert_eq!(real("/etc/chain"), Some(PathBuf::from("/etc/pki/ca.crt")));
        assert_eq!(real("/pki/up"), Some(PathBuf::from("/etc")));
        assert_eq!(real("/pki/ca.crt"), Some(PathBuf::from("/etc/pki/ca.crt")));
        assert_eq!(real("/etc/dangling"), None);
        assert_eq!(real("/none"), None);
    }
}

#[test]
fn never_waits_for_or_reads_what_is_no_file() {
    let (_root, disks) = both(|root| {
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, root.join("fifo"), FileType::Fifo, mode, 0).unwrap();
        std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
        fs::File::create(root.join("huge"))
            .unwrap()
            .set_len(1 << 30)
            .unwrap();
        fs::write(root.join("limit"), vec![0; 16 << 20]).unwrap();
    });
    for disk in &disks {
        assert_eq!(text(disk.read(&file("/fifo")).unwrap()), "? is a FIFO");
        assert_eq!(text(disk.read(&file("/socket")).unwrap()), "? is a socket");
        assert_eq!(
            text(disk.read(&file("/huge")).unwrap()),
            "? is larger than 16 MiB"
        );
        let (version, _) = disk
            .read(&file("/limit"))
            .unwrap()
            .present()
            .unwrap()
            .clone();
        assert_eq!(version.size, LIMIT);
        assert_eq!(
            disk.kind(Path::new("/fifo")).unwrap(),
            Observed::Present(Kind::Special)
        );
    }
}

#[test]
fn reading_leaves_access_times_alone() {
    let (root, disks) = both(links);
    let path = root.path().join("etc/pki/ca.crt");
    let old = FileTime {
        seconds: 1,
        nanos: 2,
    };
    let times = timestamps(
        old,
        FileTime {
            seconds: 1_000_000,
            nanos: 3,
        },
    );
    rustix::fs::utimensat(rustix::fs::CWD, &path, &times, AtFlags::empty()).unwrap();
    for disk in &disks {
        let seen = disk.read(&file("/pki/ca.crt")).unwrap();
        assert_eq!(seen.present().unwrap().0.meta.mtime.nanos, 3);
        disk.set_directory_times(Path::new("/pki"), old, old)
            .unwrap();
        disk.list(Path::new("/pki")).unwrap();
        assert_eq!(
            disk.directory_times(Path::new("/pki")).unwrap(),
            Some((old, old))
        );
    }
    assert_eq!(fs::metadata(&path).unwrap().atime_nsec(), 2);
}

#[test]
fn lists_sorted_with_kinds() {
    let (_root, disks) = both(links);
    for disk in &disks {
        let names = disk.list(Path::new("/pki")).unwrap();
        assert_eq!(
            names,
            [("ca.crt".into(), Kind::File), ("up".into(), Kind::Link)]
        );
        assert_eq!(disk.list(Path::new("/none")).unwrap(), []);
        assert!(disk.list(Path::new("/etc/pki/ca.crt")).is_err());
        let kind = |path: &str| disk.kind(Path::new(path)).unwrap();
        assert_eq!(kind("/pki"), Observed::Present(Kind::Link));
        assert_eq!(kind("/"), Observed::Present(Kind::Directory));
        assert_eq!(kind("/none"), Observed::Absent);
    }
}

#[test]
fn makes_directories_with_their_exact_mode_and_removes_only_empty_ones() {
    let (root, disks) = both(links);
    for disk in &disks {
        let created = disk.make_directory(Path::new("/pki/a/b"), 0o777).unwrap();
        assert_eq!(
            created,
            [PathBuf::from("/pki/a"), PathBuf::from("/pki/a/b")]
        );
        let mode = fs::metadata(root.path().join("etc/pki/a/b"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o777);
        assert_eq!(
            disk.make_directory(Path::new("/pki/a"), 0o700).unwrap(),
            [""; 0].map(PathBuf::from)
        );
        assert!(disk.remove_directory(Path::new("/pki/a")).is_err());
        disk.remove_directory(Path::new("/pki/a/b")).unwrap();
        disk.remove_directory(Path::new("/pki/a")).unwrap();
        disk.remove_directory(Path::new("/pki/a")).unwrap();
        assert!(
            disk.make_directory(Path::new("/etc/dangling/x"), 0o700)
                .is_err()
        );
    }
}

#[test]
fn asks_the_nearest_directory_for_space_and_permission() {
    let (_root, disks) = both(links);
    for disk in &disks {
        assert!(disk.free_bytes(Path::new("/pki/none/none")).unwrap() > 0);
        disk.writable(Path::new("/pki/none/none")).unwrap();
        assert!(!disk.is_live());
    }
    let live = Disk::open(Path::new("/")).unwrap();
    assert!(live.is_live());
}
