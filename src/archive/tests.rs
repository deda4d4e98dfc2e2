//! Reproducible archives, and hostile ones built by hand.

use std::fs;
use std::process::Command;

use super::*;

fn entry(name: &str, text: &str) -> Entry {
    Entry {
        name: name.to_owned(),
        mode: 0o644,
        bytes: Zeroizing::new(text.as_bytes().to_vec()),
    }
}

fn at() -> Utc {
    Utc::parse("2026-11-22T08:15:43Z").unwrap()
}

fn packed(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    pack(entries, at(), &mut bytes).unwrap();
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzBuilder::new().write(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A tar block of this kind with this name, however bad.
fn block(kind: u8, name: &[u8], data: &[u8]) -> Vec<u8> {
    let mut header = header(EntryType::new(kind), data.len() as u64, at());
    header.set_mode(0o644);
    header.as_mut_bytes()[..name.len()].copy_from_slice(name);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(data);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn tar(blocks: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = blocks.concat();
    bytes.extend_from_slice(&[0; 1024]);
    bytes
}

fn refusal(bytes: &[u8]) -> String {
    match unpack(bytes) {
        Ok(_) => "accepted".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_same_files_in_any_order_give_the_same_bytes() {
    let long = "d/".repeat(100) + &"n".repeat(200);
    let (a, b) = (entry("a", "1"), entry("B/c", "2"));
    let (long, chinese) = (entry(&long, "3"), entry("证书.crt", "4"));
    let one = packed(&[a.clone(), b.clone(), long.clone(), chinese.clone()]);
    let two = packed(&[chinese.clone(), long.clone(), a.clone(), b.clone()]);
    assert!(one == two);
    assert_eq!(
        &one[..10],
        [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255],
        "no name, no time"
    );
    assert!(unpack(one.as_slice()).unwrap() == [b, a, long, chinese]);
}

#[test]
fn stock_tar_reads_what_was_packed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.tar.gz");
    let long = "d/".repeat(100) + &"n".repeat(200);
    let entries = [
        entry("x/y", "1"),
        entry(&long, "22"),
        entry("证书.crt", "333"),
    ];
    fs::write(&path, packed(&entries)).unwrap();
    let listing = Command::new("tar")
        .args([
            "--list",
            "--verbose",
            "--numeric-owner",
            "--utc",
            "--full-time",
            "--file",
        ])
        .arg(&path)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap();
    let line = |size, name| format!("-rw-r--r-- 0/0 {size:>15} 2026-11-22 08:15:43 {name}\n");
    let want = [line(2, &*long), line(1, "x/y"), line(3, "证书.crt")].concat();
    assert_eq!(String::from_utf8(listing.stdout).unwrap(), want);
}

#[test]
fn reads_what_stock_tar_packed_in_ustar() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("f"), "text").unwrap();
    let made = Command::new("tar")
        .args(["--create", "--gzip", "--format=ustar", "--file=a.tgz", "f"])
        .current_dir(directory.path())
        .status();
    assert!(made.unwrap().success());
    let entries = unpack(fs::File::open(directory.path().join("a.tgz")).unwrap()).unwrap();
    assert_eq!(
        (entries[0].name.as_str(), entries[0].bytes.as_slice()),
        ("f", &b"text"[..])
    );
}

#[test]
fn refuses_names_that_lead_elsewhere() {
    let bad = [
        "/etc/x",
        "../x",
        "a/../../x",
        "a//b",
        "./a",
        "a/.",
        "a/",
        "..",
        "",
    ];
    for name in bad {
        let text = refusal(&gzip(&tar(&[block(b'0', name.as_bytes(), b"x")])));
        assert!(
            text.starts_with(&format!("the name `{name}` in the archive is ")),
            "{text}"
        );
        let mut out = Vec::new();
        assert!(pack(&[entry(name, "")], at(), &mut out).is_err() && out.is_empty());
        let pax = pax_record("path", name);
        let text = refusal(&gzip(&tar(&[
            block(b'x', b"p", pax.as_bytes()),
            block(b'0', b"f", b""),
        ])));
        assert!(
            text.starts_with(&format!("the name `{name}` in the archive is ")),
            "{text}"
        );
    }
    let not_utf8 = refusal(&gzip(&tar(&[block(b'0', b"\xff", b"")])));
    assert!(not_utf8.ends_with("is not UTF-8"), "{not_utf8}");
}

#[test]
fn refuses_everything_but_regular_files() {
    let kinds = [
        (b'1', "a hard link"),
        (b'2', "a symbolic link"),
        (b'3', "a device"),
        (b'4', "a device"),
        (b'5', "a directory"),
        (b'6', "a FIFO"),
        (b'S', "a sparse file"),
        (b'L', "of a kind that is not read"),
        (b'K', "of a kind that is not read"),
        (b'g', "of a kind that is not read"),
        (b'7', "of a kind that is not read"),
    ];
    for (kind, want) in kinds {
        let text = refusal(&gzip(&tar(&[block(kind, b"f", b"")])));
        assert_eq!(text, format!("`f` in the archive is {want}"));
    }
}

#[test]
fn refuses_names_that_occur_twice_or_are_files_and_directories() {
    for (one, two, why) in [
        ("a", "a", "occurs twice"),
        ("a", "a/b", "is a file and a directory"),
        ("a/b/c", "a", "is a file and a directory"),
        ("a/b/c", "a/b", "is a file and a directory"),
    ] {
        let pair = [
            block(b'0', one.as_bytes(), b""),
            block(b'0', two.as_bytes(), b""),
        ];
        let text = refusal(&gzip(&tar(&pair)));
        assert_eq!(text, format!("the name `{two}` in the archive {why}"));
    }
    let fine = [
        block(b'0', b"a", b""),
        block(b'0', b"a.b", b""),
        block(b'0', b"ab/c", b""),
    ];
    assert_eq!(unpack(gzip(&tar(&fine)).as_slice()).unwrap().len(), 3);
}

#[test]
fn refuses_pax_headers_that_say_more_than_a_name() {
    let records = [
        pax_record("size", "1"),
        pax_record("linkpath", "/etc/shadow"),
        pax_record("path", "a") + &pax_record("path", "b"),
        "9999 path=a\n".to_owned(),
        "path=a\n".to_owned(),
        String::new(),
    ];
    for record in records {
        let text = refusal(&gzip(&tar(&[
            block(b'x', b"p", record.as_bytes()),
            block(b'0', b"f", b""),
        ])));
        assert_eq!(text, "the header of `p` in the archive is not supported");
    }
    let lonely = gzip(&tar(&[block(
        b'x',
        b"p",
        pax_record("path", "a").as_bytes(),
    )]));
    assert_eq!(refusal(&lonely), "the archive ends too early");
}

#[test]
fn refuses_what_is_cut_short_or_goes_on() {
    let good = packed(&[entry("a", "text"), entry("b", &"x".repeat(3000))]);
    for end in 0..good.len() {
        assert_ne!(refusal(&good[..end]), "accepted", "{end}");
    }
    for extra in [&b"x"[..], b"\0", good.as_slice()] {
        assert_eq!(
            refusal(&[&good, extra].concat()),
            "something follows the end of the archive"
        );
    }
    let file = block(b'0', b"a", b"text");
    assert_eq!(refusal(&gzip(&file)), "the archive ends too early");
    assert_eq!(
        refusal(&gzip(&[&file[..], &[0; 512]].concat())),
        "the archive ends too early"
    );
    let behind = [tar(std::slice::from_ref(&file)), file].concat();
    assert_eq!(
        refusal(&gzip(&behind)),
        "something follows the end of the archive"
    );
}

#[test]
fn every_flipped_byte_is_noticed_or_harmless() {
    let entries = [entry("a", "text"), entry("b", "more")];
    let good = packed(&entries);
    for i in 0..good.len() {
        let mut bad = good.clone();
        bad[i] ^= 0x40;
        if let Ok(found) = unpack(bad.as_slice()) {
            assert!(found == entries, "byte {i}");
        }
    }
}

#[test]
fn refuses_bombs_without_reading_them_whole() {
    let mut header = header(EntryType::Regular, MAX_ENTRY + 1, at());
    header.set_path("f").unwrap();
    header.set_mode(0o644);
    header.set_cksum();
    let text = refusal(&gzip(header.as_bytes()));
    assert_eq!(text, "the archive has more than 67108864 bytes in a file");
    header.set_size(1 << 62);
    header.set_cksum();
    assert_eq!(refusal(&gzip(header.as_bytes())), text);
    let bomb = gzip(&vec![0; 4 << 20]);
    assert!(bomb.len() < 20_000);
    let Err(error) = unpack_within(bomb.as_slice(), 1 << 20) else {
        panic!("accepted")
    };
    assert_eq!(error.to_string(), "the archive has more than 1048576 bytes");
    let file = gzip(&tar(&[block(b'0', b"f", &vec![0; 4 << 20])]));
    let Err(error) = unpack_within(file.as_slice(), 1 << 20) else {
        panic!("accepted")
    };
    assert_eq!(error.to_string(), "the archive has more than 1048576 bytes");
    assert_eq!(refusal(b"not gzip"), "the archive is damaged");
}
