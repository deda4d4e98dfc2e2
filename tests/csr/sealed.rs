//! The CA's key lies on the stick, encrypted, and is only ever in memory.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Trip;
use crate::harness::BINARY;

/// Encrypts the CA's key on its machine.
fn seal(trip: &Trip, words: &[&str]) {
    let start = [
        "pkcs8",
        "-topk8",
        "-in",
        "ca.key",
        "-out",
        "sealed.key",
        "-passout",
        "pass:horse",
    ];
    trip.openssl(&[&start, words].concat());
    fs::rename(trip.desk("sealed.key"), trip.desk("ca.key")).unwrap();
    fs::write(trip.desk("right"), "horse\n").unwrap();
    fs::write(trip.desk("wrong"), "zebra\n").unwrap();
}

#[test]
fn every_encryption_of_openssl_is_opened() {
    for words in [
        &["-v2", "aes-256-cbc"][..],
        &["-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA1"],
        &[
            "-v2",
            "aes-192-cbc",
            "-v2prf",
            "hmacWithSHA512",
            "-iter",
            "100000",
        ],
    ] {
        let trip = Trip::generated("p256");
        seal(&trip, words);
        let right = trip.desk("right");
        trip.sign("ca", &["--passphrase-file", &right])
            .exits(0)
            .prints("7 signed");
    }
}

#[test]
fn a_wrong_passphrase_and_none_at_all() {
    let trip = Trip::generated("p256");
    seal(&trip, &[]);
    let wrong = trip.desk("wrong");
    trip.sign("ca", &["--passphrase-file", &wrong])
        .exits(5)
        .says("ca.key is not opened by this passphrase")
        .says("hint: try again");
    trip.sign("ca", &[])
        .exits(2)
        .says("ca.key is encrypted, and there is no terminal to ask for its passphrase on")
        .says("hint: --passphrase-file FILE, such as /dev/fd/3");
}

#[test]
fn what_is_encrypted_otherwise_goes_through_a_pipe() {
    let trip = Trip::generated("p256");
    let plain = fs::read(trip.desk("ca.key")).unwrap();
    seal(&trip, &["-scrypt"]);
    let right = trip.desk("right");
    trip.sign("ca", &["--passphrase-file", &right])
        .exits(5)
        .says("ca.key is encrypted with scrypt, which is not supported")
        .says("| rescue-kit csr sign --ca-key - ...");
    fs::write(trip.desk("ca.key"), "age-encryption.org/v1\n-> X25519 x\n").unwrap();
    trip.sign("ca", &[])
        .exits(5)
        .says("ca.key is encrypted with age")
        .says("hint: age -d");
    let stick = trip.stick();
    let mut piped = Command::new(BINARY)
        .args([
            "csr",
            "sign",
            stick.to_str().unwrap(),
            "--ca-cert",
            &trip.desk("ca.crt"),
            "--ca-key",
            "-",
        ])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    piped.stdin.take().unwrap().write_all(&plain).unwrap();
    assert!(piped.wait_with_output().unwrap().status.success());
    assert!(trip.on_stick("apiserver.crt").exists());
}

#[test]
fn what_age_encrypted_is_signed_with_by_the_manuals_line() {
    let trip = Trip::generated("p256");
    let lock = "age-keygen -o identity.txt 2>/dev/null
        age -r $(age-keygen -y identity.txt) -o ca.key.age ca.key
        rm ca.key";
    let on_desk = |script: &str| crate::harness::other("sh", &["-ec", script], trip.desk.path());
    on_desk(lock).exits(0);
    on_desk(&format!(
        "{BINARY} csr sign stick --ca-cert ca.crt --ca-key ca.key.age"
    ))
    .exits(5)
    .says("ca.key.age is encrypted with age");
    on_desk(&format!(
        "age -d -i identity.txt ca.key.age | {BINARY} csr sign stick --ca-cert ca.crt --ca-key -"
    ))
    .exits(0)
    .prints("7 signed");
    assert!(!Path::new(&trip.desk("ca.key")).exists());
    // A wrong identity opens nothing, and nothing is signed.
    on_desk("age-keygen -o other.txt 2>/dev/null; rm stick/*.crt").exits(0);
    on_desk(&format!(
        "age -d -i other.txt ca.key.age | {BINARY} csr sign stick --ca-cert ca.crt --ca-key -"
    ))
    .exits(5);
    assert!(!trip.on_stick("apiserver.crt").exists());
}

#[test]
fn a_passphrase_from_an_open_descriptor() {
    let trip = Trip::generated("p256");
    seal(&trip, &[]);
    let script = format!(
        "echo horse | {BINARY} csr sign stick --ca-cert ca.crt --ca-key ca.key --passphrase-file /dev/fd/0"
    );
    crate::harness::other("sh", &["-ec", &script], trip.desk.path())
        .exits(0)
        .prints("7 signed");
}
