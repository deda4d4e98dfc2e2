//! From the node to the CA and back.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::{AUTHORITIES, DUE, Trip, assert_judged};
use crate::cases;
use crate::harness::{Node, lab, lab_program, other};
use crate::means;

#[test]
fn requests_repeat_the_old_certificates_and_keys_stay_on_the_node() {
    let trip = Trip::of("p256");
    let before = trip.node.snapshot();
    trip.generate(&[])
        .exits(0)
        .prints("12 request(s) in")
        .prints("where the CA's key is, then here: rescue-kit csr sign");
    let mut after = trip.node.snapshot();
    // The directory of the state directory.
    after.insert("var/lib".to_owned(), before["var/lib"].clone());
    means::assert_same(&before, &after);
    for file in fs::read_dir(trip.stick()).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(!text.contains("PRIVATE KEY"), "a key is on the stick");
    }
    for leaf in cases::leaves("p256") {
        let csr = format!("{}.csr", leaf.id);
        trip.shown("req", &csr, &["-verify"]);
        let (old, csr) = (trip.node.path(leaf.cert), trip.on_stick(&csr));
        if leaf.cert.strip_suffix(".crt").is_some() {
            let subject = |kind: &str, file: &PathBuf| {
                let words = [kind, "-in", file.to_str().unwrap(), "-noout", "-subject"];
                trip.openssl(&words).stdout
            };
            assert_eq!(subject("req", &csr), subject("x509", &old), "{}", leaf.id);
        }
    }
    let manifest = trip.manifest();
    assert_eq!(manifest["schema"], "rescue-kit/requests/v1");
    assert_eq!(manifest["requests"].as_array().unwrap().len(), DUE);
    let entry = manifest["requests"]
        .as_array()
        .unwrap()
        .iter()
        .find(|e| e["id"] == "apiserver")
        .unwrap();
    assert_eq!(entry["common_name"], "kube-apiserver");
    assert_eq!(entry["extended_usages"], serde_json::json!(["serverAuth"]));
    assert_eq!(entry["sans"][6], "ip:192.168.61.11");
    let keys = keys(&trip.node);
    assert_eq!(keys.len(), DUE);
    for key in keys {
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(key.clone()), 0o600, "{}", key.display());
        assert_eq!(mode(key.parent().unwrap().to_path_buf()), 0o700);
    }
}

#[test]
fn a_check_makes_nothing_and_a_folder_is_used_once() {
    let trip = Trip::of("p256");
    trip.generate(&["--check", "--only", "apiserver"])
        .exits(0)
        .prints("apiserver expired");
    assert!(!trip.stick().exists() && !trip.node.path("/var/lib/rescue-kit").exists());
    trip.generate(&["--only", "apiserver"])
        .exits(0)
        .prints("1 request(s)");
    trip.generate(&["--only", "apiserver"])
        .exits(5)
        .says("stick holds requests already")
        .says("hint: name another folder: --out DIR");
    assert_eq!(keys(&trip.node).len(), 1);
}

#[test]
fn nothing_is_requested_where_nothing_is_due() {
    let fresh = Node::real("p256", "fresh");
    let out = fresh.root.join("../stick");
    let words = ["csr", "generate", "--out", out.to_str().unwrap()];
    fresh.run(&words).exits(0).prints("nothing to request");
    assert!(!out.exists() && !fresh.path("/var/lib/rescue-kit").exists());
}

#[test]
fn no_key_is_made_for_a_place_that_cannot_be_written() {
    let trip = Trip::of("p256");
    let at = "/etc/kubernetes/scheduler.conf";
    trip.node.remove(at);
    fs::create_dir_all(trip.node.path(at).join("kept")).unwrap();
    trip.generate(&[])
        .exits(5)
        .says("scheduler.conf (/etc/kubernetes/scheduler.conf) is a directory")
        .says(&format!(
            "mend or move {at} away, or leave it out: --skip scheduler.conf"
        ));
    assert!(!trip.node.path("/var/lib/rescue-kit/requests").exists());
    trip.generate(&["--skip", "scheduler.conf"]).exits(0);
}

#[test]
fn what_csr_sign_signed_is_installed_verified_and_undone() {
    for case in [
        "p256",
        "rsa",
        "intermediate",
        "multi-rdn",
        "embedded",
        "no-ski",
    ] {
        let trip = Trip::generated(case);
        trip.sign_all();
        assert_installs(&trip, case);
    }
}

#[test]
fn what_openssl_signed_is_installed() {
    let trip = Trip::generated("p256");
    for (ca, id) in requested(&trip) {
        let (request, answer) = (format!("stick/{id}.csr"), format!("stick/{id}.crt"));
        let (cert, key) = (format!("{ca}.crt"), format!("{ca}.key"));
        trip.openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            &cert,
            "-CAkey",
            &key,
            "-CAcreateserial",
            "-copy_extensions",
            "copyall",
            "-days",
            "90",
            "-out",
            &answer,
        ]);
    }
    assert_installs(&trip, "openssl");
}

#[test]
fn what_cfssl_signed_is_installed() {
    let trip = Trip::generated("p256");
    let profile = |usages: &[&str]| {
        let both = [&["digital signature", "key encipherment"], usages].concat();
        serde_json::json!({ "usages": both, "expiry": "2160h" })
    };
    let config = serde_json::json!({ "signing": { "profiles": {
        "server": profile(&["server auth"]),
        "client": profile(&["client auth"]),
        "peer": profile(&["server auth", "client auth"]),
    } } });
    fs::write(trip.desk("cfssl.json"), config.to_string()).unwrap();
    for (ca, id) in requested(&trip) {
        let kind = match id.as_str() {
            "apiserver" => "server",
            "etcd-server" | "etcd-peer" => "peer",
            _ => "client",
        };
        let (cert, key, csr) = (
            format!("{ca}.crt"),
            format!("{ca}.key"),
            format!("stick/{id}.csr"),
        );
        let signed = other(
            lab_program("cfssl"),
            &[
                "sign",
                "-loglevel",
                "4",
                "-ca",
                &cert,
                "-ca-key",
                &key,
                "-config",
                "cfssl.json",
                "-profile",
                kind,
                &csr,
            ],
            trip.desk.path(),
        )
        .exits(0)
        .json();
        // As cfssljson writes it.
        fs::write(
            trip.on_stick(&format!("{id}.crt")),
            signed["cert"].as_str().unwrap(),
        )
        .unwrap();
    }
    assert_installs(&trip, "cfssl");
}

#[test]
fn answers_come_one_by_one_and_days_later() {
    let trip = Trip::generated("p256");
    trip.sign("front-proxy-ca", &[]).exits(0);
    trip.install(&["--output", "json"]).exits(0).says("waits:");
    assert_eq!(
        keys(&trip.node).len(),
        DUE - 1,
        "an installed key is forgotten"
    );
    trip.sign("etcd-ca", &["--only", "etcd-peer"]).exits(0);
    fs::remove_file(trip.on_stick("manifest.json")).unwrap();
    trip.install(&["--only", "etcd-peer"]).exits(0);
    assert_eq!(keys(&trip.node).len(), DUE - 2);
}

#[test]
fn the_newest_request_that_fits_the_answer_is_used() {
    let trip = Trip::generated("p256");
    trip.sign("front-proxy-ca", &[]).exits(0);
    let again = trip.desk("again");
    let words = [
        "csr",
        "generate",
        "--only",
        "front-proxy-client",
        "--out",
        &again,
    ];
    trip.node.run(&words).exits(0);
    assert_eq!(keys(&trip.node).len(), DUE + 1);
    trip.install(&[]).exits(0);
}

#[test]
fn chains_in_disorder_with_text_and_the_root_are_put_right() {
    let trip = Trip::generated("p256");
    sub_authority(&trip, "ca", "/CN=Issuing CA");
    trip.answer_by_openssl("sub", "scheduler.conf", &[], None);
    let leaf = fs::read_to_string(trip.on_stick("scheduler.conf.crt")).unwrap();
    let (root, sub) = (read(&trip, "ca.crt"), read(&trip, "sub.crt"));
    let mixed = format!("Bag Attributes\n{root}subject=CN=x\n{sub}\n{leaf}").replace('\n', "\r\n");
    fs::write(trip.on_stick("scheduler.conf.crt"), mixed).unwrap();
    trip.install(&[]).exits(0);
    let said = trip.node.run(&["verify"]).exits(3).stdout;
    assert!(!said.contains("scheduler.conf"), "{said}");
    let again = trip.node.run(&["plan", "--only", "scheduler.conf"]);
    again.exits(0).prints("nothing to do");
}

#[test]
fn old_keys_are_asked_for_again_with_key_reuse() {
    let trip = Trip::of("p256");
    trip.generate(&["--key", "reuse", "--only", "apiserver,scheduler.conf"])
        .exits(0);
    assert_eq!(keys(&trip.node).len(), 0);
    trip.sign("ca", &[]).exits(0);
    let before = trip.node.read("/etc/kubernetes/pki/apiserver.key");
    trip.install(&[]).exits(0);
    assert_eq!(trip.node.read("/etc/kubernetes/pki/apiserver.key"), before);
}

/// Installs everything, lets Go judge the tree, and undoes it.
fn assert_installs(trip: &Trip, case: &str) {
    let before = trip.node.snapshot();
    let ran = trip.install(&["--output", "json"]).exits(0).json();
    assert_eq!(ran["changed"], true, "{case}");
    let root = trip.node.root.to_str().unwrap();
    let said = other(lab_program("judge"), &["tree", root], &lab()).stdout;
    let bad: Vec<&str> = said
        .lines()
        .filter(|line| !line.starts_with("ok ") && !line.starts_with("bad kubelet-serving: "))
        .collect();
    assert_eq!(bad, Vec::<&str>::new(), "{case}");
    assert_eq!(keys(&trip.node), Vec::<PathBuf>::new(), "{case}");
    trip.node.run(&["rollback", "--yes"]).exits(0);
    means::assert_same(&before, &trip.node.snapshot());
}

/// The CA and the id of each request.
fn requested(trip: &Trip) -> Vec<(String, String)> {
    let manifest = trip.manifest();
    let entries = manifest["requests"].as_array().unwrap().iter();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    entries
        .map(|entry| (text(&entry["signer"]), text(&entry["id"])))
        .collect()
}

/// The keys that wait in the node's state directory.
fn keys(node: &Node) -> Vec<PathBuf> {
    let Ok(requests) = fs::read_dir(node.path("/var/lib/rescue-kit/requests")) else {
        return Vec::new();
    };
    let files = requests.flat_map(|request| fs::read_dir(request.unwrap().path()).unwrap());
    let paths = files.map(|file| file.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|ending| ending == "key"))
        .collect()
}

fn read(trip: &Trip, name: &str) -> String {
    fs::read_to_string(trip.desk(name)).unwrap()
}

/// Makes `sub.crt` and `sub.key` on the CA's machine, issued by a CA of it.
pub(super) fn sub_authority(trip: &Trip, by: &str, subject: &str) {
    fs::write(trip.desk("sub.ext"), "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n").unwrap();
    let (cert, key) = (format!("{by}.crt"), format!("{by}.key"));
    trip.openssl(&[
        "ecparam",
        "-name",
        "prime256v1",
        "-genkey",
        "-noout",
        "-out",
        "sub.key",
    ]);
    trip.openssl(&[
        "req", "-new", "-key", "sub.key", "-subj", subject, "-out", "sub.csr",
    ]);
    trip.openssl(&[
        "x509",
        "-req",
        "-in",
        "sub.csr",
        "-CA",
        &cert,
        "-CAkey",
        &key,
        "-CAcreateserial",
        "-days",
        "300",
        "-extfile",
        "sub.ext",
        "-out",
        "sub.crt",
    ]);
}

#[test]
fn go_accepts_what_csr_sign_makes_of_every_tree() {
    cases::each(|case| {
        // Its links are absolute, and lead somewhere only below the root.
        if case == "symlink" {
            return;
        }
        let trip = Trip::generated(case);
        for (ca, _) in AUTHORITIES {
            if requested(&trip).iter().any(|(signer, _)| signer == ca) {
                let usages = ["content commitment", "server auth", "client auth"].join(",");
                trip.sign(ca, &["--allow-usage", &usages]).exits(0);
            }
        }
        for (ca, id) in requested(&trip) {
            let usage = match id.as_str() {
                "apiserver" => "server",
                _ => "client",
            };
            let ca = PathBuf::from(trip.desk(&format!("{ca}.crt")));
            assert_judged(&ca, &trip.on_stick(&format!("{id}.crt")), usage);
        }
    });
}

#[test]
fn a_certificate_of_several_purposes_is_requested_once() {
    let node = crate::units::kubeasz();
    let desk = tempfile::TempDir::new().unwrap();
    let stick = desk.path().join("stick");
    let stick = stick.to_str().unwrap();
    node.run(&["csr", "generate", "--out", stick]).exits(0);
    let text = fs::read(desk.path().join("stick/manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let entries = manifest["requests"].as_array().unwrap();
    let of =
        |entry: &serde_json::Value| entry["subject"].as_str().unwrap().contains("CN=kubernetes");
    let shared: Vec<&serde_json::Value> = entries.iter().filter(|entry| of(entry)).collect();
    assert_eq!(shared.len(), 1);
    assert!(
        shared[0]["serves"].as_array().unwrap().len() > 2,
        "{shared:?}"
    );
    let ssl = |name: &str| {
        node.path(&format!("/etc/kubernetes/ssl/{name}"))
            .display()
            .to_string()
    };
    let (ca, key) = (ssl("ca.pem"), ssl("ca-key.pem"));
    // cfssl's usual profile gives every certificate both usages, which the layout does not.
    let both = ["--allow-usage", "server auth,client auth"];
    let words = ["csr", "sign", stick, "--ca-cert", &ca, "--ca-key", &key];
    crate::harness::run(&[&words[..], &both].concat(), &[]).exits(0);
    node.run(&["csr", "install", stick, "--yes"]).exits(0);
    node.run(&["plan"]).exits(0).prints("nothing to do");
}
