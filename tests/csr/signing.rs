//! What `csr sign` signs, and what it refuses.

use std::fs;
use std::os::unix::fs::symlink;

use super::{AUTHORITIES, Trip};
use crate::harness::Ran;

/// Asserts that the CA refuses with a sentence and a hint, and that nothing was signed.
#[track_caller]
fn refused(trip: &Trip, words: &[&str], sentence: &str, hint: &str) -> Ran {
    let ran = trip
        .sign("ca", words)
        .exits(5)
        .says("refused; nothing was signed")
        .says(&format!("critical RK0802 {sentence}"))
        .says(&format!("hint: {hint}"));
    assert_eq!(answers(trip), Vec::<String>::new());
    ran
}

/// The answers on the stick.
fn answers(trip: &Trip) -> Vec<String> {
    let names = fs::read_dir(trip.stick()).unwrap();
    let names = names.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.contains(".crt")).collect();
    names.sort();
    names
}

fn entry(manifest: &mut serde_json::Value, id: &str) -> usize {
    let entries = manifest["requests"].as_array().unwrap();
    entries.iter().position(|entry| entry["id"] == id).unwrap()
}

/// Makes a request on the stick that the manifest describes exactly, for a subject and extensions.
fn plant(trip: &Trip, id: &str, subject: &str, extensions: &[&str]) {
    let csr = format!("stick/{id}.csr");
    trip.openssl(&["genpkey", "-algorithm", "ed25519", "-out", "planted.key"]);
    let mut words = vec![
        "req",
        "-new",
        "-key",
        "planted.key",
        "-subj",
        subject,
        "-out",
        &csr,
    ];
    for extension in extensions {
        words.extend(["-addext", extension]);
    }
    trip.openssl(&words);
    let der = |words: &[&str]| {
        let sum = format!("openssl {} | sha256sum", words.join(" "));
        let said = crate::harness::other("sh", &["-c", &sum], trip.desk.path())
            .exits(0)
            .stdout;
        said.split_whitespace().next().unwrap().to_owned()
    };
    let sha256 = der(&["req", "-in", &csr, "-outform", "der"]);
    let spki = der(&["pkey", "-in", "planted.key", "-pubout", "-outform", "der"]);
    trip.forge(|manifest| {
        let index = entry(manifest, id);
        let entry = &mut manifest["requests"][index];
        entry["sha256"] = sha256.into();
        entry["spki_sha256"] = spki.into();
    });
}

#[test]
fn it_signs_its_own_requests_and_leaves_the_others() {
    let trip = Trip::generated("p256");
    trip.sign("etcd-ca", &[])
        .exits(0)
        .prints("etcd-server signed until")
        .prints("apiserver is for another authority")
        .prints("4 signed, 0 signed before, 8 for another authority");
    trip.sign("etcd-ca", &[])
        .exits(0)
        .prints("0 signed, 4 signed before, 8 for another authority");
    let before = fs::read(trip.on_stick("etcd-server.crt")).unwrap();
    trip.sign("etcd-ca", &["--again", "--only", "etcd-server"])
        .exits(0)
        .prints("1 signed");
    assert_ne!(fs::read(trip.on_stick("etcd-server.crt")).unwrap(), before);
    let json = trip.sign("ca", &["--output", "json"]).exits(0).json();
    assert_eq!(json["schema"], "rescue-kit/csr/v1");
    assert_eq!(
        (&json["signed"], &json["changed"]),
        (&7.into(), &true.into())
    );
}

#[test]
fn validity_is_cut_to_the_policy_and_to_the_end_of_the_ca() {
    let trip = Trip::generated("p256");
    trip.sign("ca", &["--only", "apiserver", "--max-validity", "30d"])
        .exits(0)
        .prints(", the longest validity");
    let long = Trip::of("p256");
    long.generate(&["--only", "apiserver", "--validity", "9000d"])
        .exits(0);
    long.sign("ca", &["--max-validity", "9000d"]).exits(0);
    let ends = |trip: &Trip, cert: &str| {
        let words = ["x509", "-in", cert, "-noout", "-enddate"];
        trip.openssl(&words).stdout
    };
    assert_eq!(ends(&long, "stick/apiserver.crt"), ends(&long, "ca.crt"));
}

#[test]
fn a_request_that_the_manifest_does_not_name() {
    let trip = Trip::generated("p256");
    fs::copy(trip.on_stick("apiserver.csr"), trip.on_stick("extra.csr")).unwrap();
    refused(
        &trip,
        &[],
        "extra.csr is not named by the manifest",
        "move it away, or ask for the folder again",
    );
}

#[test]
fn a_request_that_was_exchanged_or_changed() {
    let trip = Trip::generated("p256");
    fs::copy(
        trip.on_stick("admin.conf.csr"),
        trip.on_stick("scheduler.conf.csr"),
    )
    .unwrap();
    refused(
        &trip,
        &[],
        "scheduler.conf.csr is not the request that the manifest names: public key, subject, digest differ",
        "do not sign it; ask for the folder again",
    );
    fs::remove_file(trip.on_stick("scheduler.conf.csr")).unwrap();
    refused(
        &trip,
        &[],
        "scheduler.conf.csr is missing",
        "ask for the folder again",
    );
    fs::write(trip.on_stick("scheduler.conf.csr"), "-----BEGIN X-----\n").unwrap();
    refused(
        &trip,
        &[],
        "scheduler.conf.csr ends inside its x block",
        "ask for the folder again",
    );
}

#[test]
fn a_manifest_that_says_something_else() {
    let trip = Trip::generated("p256");
    trip.forge(|manifest| {
        let index = entry(manifest, "apiserver");
        manifest["requests"][index]["sans"] = serde_json::json!(["dns:evil.example"]);
        manifest["requests"][index]["extended_usages"] = serde_json::json!(["clientAuth"]);
    });
    refused(
        &trip,
        &[],
        "apiserver.csr is not the request that the manifest names: names, usages differ",
        "do not sign it; ask for the folder again",
    );
}

#[test]
fn a_request_that_is_not_signed_by_its_own_key() {
    let trip = Trip::generated("p256");
    let path = trip.on_stick("scheduler.conf.csr");
    trip.openssl(&[
        "req",
        "-in",
        "stick/scheduler.conf.csr",
        "-outform",
        "der",
        "-out",
        "csr.der",
    ]);
    let mut der = fs::read(trip.desk("csr.der")).unwrap();
    *der.last_mut().unwrap() ^= 1;
    fs::write(trip.desk("csr.der"), der).unwrap();
    let words = [
        "req",
        "-inform",
        "der",
        "-in",
        "csr.der",
        "-out",
        path.to_str().unwrap(),
    ];
    trip.openssl(&words);
    let said = trip.openssl(&["dgst", "-sha256", "-r", "csr.der"]).stdout;
    let digest = said.split_whitespace().next().unwrap().to_owned();
    trip.forge(|manifest| {
        let index = entry(manifest, "scheduler.conf");
        manifest["requests"][index]["sha256"] = digest.into();
    });
    refused(
        &trip,
        &[],
        "scheduler.conf.csr is not signed by its own key",
        "do not sign it; ask for the folder again",
    );
}

#[test]
fn an_authority_and_usages_that_are_nobodys() {
    let trip = Trip::generated("p256");
    plant(
        &trip,
        "scheduler.conf",
        "/CN=system:kube-scheduler",
        &[
            "basicConstraints=critical,CA:TRUE",
            "keyUsage=critical,keyCertSign",
            "extendedKeyUsage=serverAuth",
        ],
    );
    refused(
        &trip,
        &[],
        "scheduler.conf.csr asks to become an authority (CA:TRUE)",
        "do not sign it; ask who made it",
    )
    .says("scheduler.conf.csr asks for usages that the profile does not give it: keyCertSign, serverAuth");
}

#[test]
fn names_that_are_not_allowed() {
    let trip = Trip::generated("p256");
    let some = [
        "--allow-name",
        "kube*,system:*,cp1,10.96.*",
        "--only",
        "apiserver,admin.conf",
    ];
    refused(
        &trip,
        &some,
        "apiserver.csr asks for names that are not allowed: 192.168.61.11",
        "allow them if they are right: --allow-name PATTERN",
    );
    trip.sign(
        "ca",
        &[&some[..], &["--allow-name", "192.168.61.*"]].concat(),
    )
    .exits(0)
    .prints("2 signed");
}

#[test]
fn a_credential_and_a_layout_that_are_not_known() {
    let trip = Trip::generated("p256");
    trip.forge(|manifest| manifest["profile"] = "company".into());
    refused(
        &trip,
        &["--only", "apiserver"],
        "apiserver.csr is of the layout `company`, which is not known here",
        "name the layout of the node: --profile FILE",
    );
}

#[test]
fn in_part_if_that_is_asked_for() {
    let trip = Trip::generated("p256");
    fs::remove_file(trip.on_stick("scheduler.conf.csr")).unwrap();
    trip.sign("ca", &["--partial"])
        .exits(5)
        .says("refused in part; 6 request(s) were signed")
        .says("scheduler.conf.csr is missing");
    assert_eq!(answers(&trip).len(), 6);
}

#[test]
fn answers_for_other_keys_stay() {
    let trip = Trip::generated("p256");
    fs::copy(trip.desk("ca.crt"), trip.on_stick("apiserver.crt")).unwrap();
    trip.sign("ca", &["--again"])
        .exits(5)
        .says("apiserver.csr has an answer, apiserver.crt, that is for another key")
        .says("hint: move that file away");
}

#[test]
fn folders_of_folders_are_signed_together() {
    let trip = Trip::generated("p256");
    let many = trip.desk.path().join("many");
    fs::create_dir(&many).unwrap();
    for node in ["cp1", "cp2", "cp3"] {
        crate::harness::other(
            "cp",
            &["-r", "stick", many.join(node).to_str().unwrap()],
            trip.desk.path(),
        )
        .exits(0);
    }
    symlink(trip.stick(), many.join("link")).unwrap();
    fs::create_dir(many.join("empty")).unwrap();
    for (ca, _) in AUTHORITIES {
        trip.sign_folder(&many, ca, &[]).exits(0);
    }
    assert!(many.join("cp3/etcd-peer.crt").exists());
    assert_eq!(
        answers(&trip),
        Vec::<String>::new(),
        "links are not followed"
    );
    trip.sign_folder(&many, "ca", &[])
        .exits(0)
        .prints("cp2/apiserver was signed before");
}

#[test]
fn a_refusal_holds_its_own_folder_and_no_other() {
    let trip = Trip::generated("p256");
    let many = trip.desk.path().join("many");
    fs::create_dir(&many).unwrap();
    for node in ["cp1", "cp2", "cp3"] {
        let to = many.join(node);
        let words = ["-r", "stick", to.to_str().unwrap()];
        crate::harness::other("cp", &words, trip.desk.path()).exits(0);
    }
    fs::remove_file(many.join("cp2/scheduler.conf.csr")).unwrap();
    fs::write(many.join("cp3/manifest.json"), "{").unwrap();
    trip.sign_folder(&many, "ca", &[])
        .exits(5)
        .says("refused in part; 7 request(s) were signed")
        .says("cp2/scheduler.conf.csr is missing")
        .says("cp3/manifest.json is no manifest of requests");
    assert!(many.join("cp1/apiserver.crt").exists());
    assert!(!many.join("cp2/apiserver.crt").exists());
}

#[test]
fn hostile_folders() {
    let trip = Trip::generated("p256");
    let manifest = trip.manifest();
    let forged = |change: &dyn Fn(&mut serde_json::Value), sentence: &str| {
        let mut other = manifest.clone();
        change(&mut other);
        fs::write(trip.on_stick("manifest.json"), other.to_string()).unwrap();
        trip.sign("ca", &[])
            .exits(5)
            .says(sentence)
            .says("hint: copy the folder again from where it was made");
    };
    forged(
        &|m| m["requests"][0]["id"] = "../../etc/passwd".into(),
        "manifest.json has the id `../../etc/passwd`, which is no plain name",
    );
    forged(
        &|m| m["requests"][0]["file"] = "../x.csr".into(),
        "manifest.json names the file `../x.csr` for",
    );
    forged(&|m| m["requests"][1] = m["requests"][0].clone(), "twice");
    forged(
        &|m| m["schema"] = "rescue-kit/requests/v2".into(),
        "is of the format `rescue-kit/requests/v2`",
    );
    forged(
        &|m| m["requests"] = serde_json::json!({}),
        "is no manifest of requests",
    );
    fs::write(trip.on_stick("manifest.json"), manifest.to_string()).unwrap();
    let csr = trip.on_stick("apiserver.csr");
    fs::rename(&csr, trip.desk("moved.csr")).unwrap();
    symlink(trip.desk("moved.csr"), &csr).unwrap();
    trip.sign("ca", &[])
        .exits(5)
        .says("apiserver.csr cannot be read");
    fs::remove_file(&csr).unwrap();
    fs::write(&csr, vec![b'x'; 2 << 20]).unwrap();
    trip.sign("ca", &[])
        .exits(5)
        .says("is larger than 1048576 bytes");
    fs::remove_file(trip.on_stick("manifest.json")).unwrap();
    trip.sign("ca", &[])
        .exits(5)
        .says("stick holds no requests");
}

#[test]
fn the_wrong_ca_and_the_wrong_key() {
    let trip = Trip::generated("p256");
    trip.other_authority("/CN=kubernetes");
    trip.sign("other", &[])
        .exits(5)
        .says("asks nothing of CN=kubernetes");
    fs::copy(trip.desk("other.key"), trip.desk("ca.key")).unwrap();
    trip.sign("ca", &[])
        .exits(5)
        .says("the private key does not belong to the certificate of CN=kubernetes");
    fs::copy(trip.desk("other.key"), trip.desk("apiserver.key")).unwrap();
    trip.sign("other", &["--now", "2099-01-01T00:00:00Z"])
        .exits(5)
        .says("not now");
}

#[test]
fn a_clock_that_is_behind_the_requests() {
    let trip = Trip::generated("p256");
    trip.forge(|manifest| manifest["at"] = "2030-01-01T00:00:00Z".into());
    refused(
        &trip,
        &["--only", "apiserver"],
        "apiserver.csr was made at 2030-01-01T00:00:00Z, which is later than the clock here",
        "set the clock, or state the true time: --now RFC3339",
    );
    trip.sign(
        "ca",
        &["--only", "apiserver", "--now", "2030-01-02T00:00:00Z"],
    )
    .exits(0);
}
