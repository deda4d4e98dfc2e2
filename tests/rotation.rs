//! Rotations: CAs and the token key give way to others in three phases, each judged by other programs and undone to the byte.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::cases;
use crate::harness::{self, Node, Ran};

const CA: &str = "/etc/kubernetes/pki/ca.crt";
const SIGNING: &str = "/etc/kubernetes/pki/ca-signing.crt";
const MANIFEST: &str = "/etc/kubernetes/manifests/kube-controller-manager.yaml";

/// What `openssl ca` has to be told to date a CA of its own.
const COMPANY: &str = "[req]
distinguished_name = dn
[dn]
[ca]
default_ca = own
[own]
database = index
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
x509_extensions = authority
[any]
organizationName = optional
commonName = supplied
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
subjectKeyIdentifier = hash
";

/// A node, and the directory of what takes over.
struct Patient {
    node: Node,
    stick: TempDir,
}

impl Patient {
    /// With successors of all its CAs.
    fn of(case: &str) -> Self {
        let patient = Self::bare(case);
        patient
            .node
            .run(&["ca", "rotate", "begin", "--out", &patient.dir(), "--yes"])
            .exits(0);
        patient
    }

    fn bare(case: &str) -> Self {
        Self {
            node: Node::real(case, "fresh"),
            stick: TempDir::new().unwrap(),
        }
    }

    fn dir(&self) -> String {
        self.stick.path().join("new").display().to_string()
    }

    fn successor(&self, name: &str) -> PathBuf {
        self.stick.path().join("new").join(name)
    }

    fn turn(&self, what: &str, phase: &str) -> Ran {
        let dir = self.dir();
        let mut words = vec![what, "rotate", phase, "--yes"];
        if phase != "drop" {
            words.extend(["--from", &dir]);
        }
        self.node.run(&words)
    }

    /// Rolls the last runs back.
    fn undo(&self, runs: usize) {
        for _ in 0..runs {
            self.node.run(&["rollback", "--yes"]).exits(0);
        }
    }

    /// What other programs think of every certificate, but for the kubelet's own self-signed pair.
    fn assert_judged(&self, when: &str) {
        let root = self.node.root.to_str().unwrap();
        let judged = cases::judge(&["tree", root]);
        let bad: Vec<&str> = judged
            .stdout
            .lines()
            .filter(|line| line.starts_with("bad"))
            .collect();
        assert_eq!(bad, [""; 0], "{when}");
    }

    fn position(&self, id: &str) -> String {
        let said = self.node.json(&["ca", "rotate"]);
        let rows = said["authorities"].as_array().unwrap();
        let row = rows.iter().find(|row| row["id"] == id).unwrap();
        row["position"].as_str().unwrap().to_owned()
    }

    fn certificates(&self, path: &str) -> usize {
        let text = String::from_utf8(self.node.read(path)).unwrap();
        text.matches("BEGIN CERTIFICATE").count()
    }
}

#[test]
fn every_real_tree_changes_its_cas_in_three_phases_and_back() {
    cases::each(|case| {
        // Its CA is made by another one.
        if case == "intermediate" {
            return;
        }
        let patient = Patient::of(case);
        let before = patient.node.snapshot();
        for (phase, position) in [
            ("trust", "trusted"),
            ("sign", "signing"),
            ("drop", "settled"),
        ] {
            patient.turn("ca", phase).exits(0);
            patient.assert_judged(&format!("{case} after {phase}"));
            assert_eq!(patient.position("ca"), position, "{case}");
            patient.node.run(&["verify"]).exits(0);
            patient.turn("ca", phase).exits(0).prints("nothing to do");
        }
        let held = fs::read(cases::resolved(&patient.node.root, CA)).unwrap();
        assert_eq!(held, fs::read(patient.successor("ca.crt")).unwrap());
        patient.undo(3);
        assert_eq!(patient.node.snapshot(), before, "{case}");
    });
}

#[test]
fn the_controller_manager_always_signs_with_one_certificate() {
    let patient = Patient::of("rsa");
    let manifest = patient.node.read(MANIFEST);
    let former = patient.node.read(CA);
    patient.turn("ca", "trust").exits(0);
    let said = String::from_utf8(patient.node.read(MANIFEST)).unwrap();
    assert!(said.contains("--cluster-signing-cert-file=/etc/kubernetes/pki/ca-signing.crt\n"));
    assert_eq!(
        said.lines().count(),
        String::from_utf8_lossy(&manifest).lines().count()
    );
    assert_eq!(patient.node.read(SIGNING), former);
    assert_eq!(patient.certificates(CA), 2);
    patient.turn("ca", "sign").exits(0);
    let new = fs::read(patient.successor("ca.crt")).unwrap();
    assert_eq!(patient.node.read(SIGNING), new);
    assert_eq!(patient.node.read(CA), [new, former].concat());
    let key = "/etc/kubernetes/pki/ca.key";
    assert_eq!(
        patient.node.read(key),
        fs::read(patient.successor("ca.key")).unwrap()
    );
    patient.turn("ca", "drop").exits(0);
    assert_eq!(patient.node.read(MANIFEST), manifest);
    assert!(!patient.node.path(SIGNING).exists());
}

#[test]
fn no_phase_comes_before_its_time() {
    let patient = Patient::of("p256");
    let before = patient.node.snapshot();
    patient.turn("ca", "sign").exits(5).says(
        "RK0106 CA ca (/etc/kubernetes/pki/ca.crt) is not followed yet: this node does not trust the new CA",
    );
    patient.turn("ca", "drop").exits(0).prints("nothing to do");
    assert_eq!(patient.node.snapshot(), before);
    patient.turn("ca", "trust").exits(0);
    let before = patient.node.snapshot();
    patient
        .turn("ca", "drop")
        .exits(5)
        .says("still signs with the older of its two CAs");
    fs::remove_file(patient.successor("ca.key")).unwrap();
    patient
        .turn("ca", "sign")
        .exits(5)
        .says("cannot give way: the new CA's key is not there")
        .says("rescue-kit csr generate --all");
    assert_eq!(patient.node.snapshot(), before);
}

#[test]
fn a_leaf_of_the_former_ca_keeps_it_from_being_dropped() {
    let patient = Patient::of("p256");
    let conf = "/etc/kubernetes/scheduler.conf";
    patient.turn("ca", "trust").exits(0);
    let of_former = patient.node.read(conf);
    patient.turn("ca", "sign").exits(0);
    patient.node.write(conf, of_former);
    let before = patient.node.snapshot();
    patient.turn("ca", "drop").exits(5).says(
        "is needed still: scheduler.conf (/etc/kubernetes/scheduler.conf) is of the former CA",
    );
    assert_eq!(patient.node.snapshot(), before);
    patient.turn("ca", "sign").exits(0);
    patient.turn("ca", "drop").exits(0);
    patient.assert_judged("after the second attempt");
}

#[test]
fn one_ca_of_three_can_be_named() {
    let patient = Patient::bare("rsa");
    let dir = patient.dir();
    let begin = [
        "ca",
        "rotate",
        "begin",
        "etcd-ca",
        "--key-algorithm",
        "ecdsa-p256",
    ];
    let made = patient
        .node
        .run(&[&begin[..], &["--out", &dir, "--yes"]].concat())
        .exits(0);
    made.prints("etcd-ca.key  its ecdsa-p256 key: for control planes alone");
    patient.turn("ca", "trust").exits(0);
    assert_eq!(patient.position("etcd-ca"), "trusted");
    assert_eq!(patient.position("ca"), "settled");
    assert!(!patient.node.path(SIGNING).exists());
    let named = ["ca", "rotate", "sign", "ca", "--from", &dir, "--yes"];
    patient.node.run(&named).exits(2).says("has no ca.crt");
    patient.turn("ca", "sign").exits(0);
    patient.turn("ca", "drop").exits(0);
    patient.assert_judged("after all");
}

#[test]
fn the_companys_ca_of_another_name_and_an_earlier_date_takes_over_without_its_key_being_here() {
    let patient = Patient::bare("rsa");
    let desk = patient.stick.path();
    fs::create_dir(desk.join("new")).unwrap();
    fs::write(desk.join("ca.cnf"), COMPANY).unwrap();
    let line = "openssl req -new -newkey rsa:2048 -nodes -keyout company.key -out company.csr -subj '/O=Bank/CN=Internal CA' -config ca.cnf 2>&1;
        touch index; echo 4711 >serial; openssl ca -batch -selfsign -notext -config ca.cnf -keyfile company.key -in company.csr -out new/ca.crt \
            -startdate 20200101000000Z -enddate 20400101000000Z 2>&1";
    cases::shell(line, &[], desk).exits(0);
    patient.turn("ca", "trust").exits(0);
    patient.assert_judged("trusting the company's");
    let csrs = desk.join("csrs").display().to_string();
    let of_ca = "kubelet-client,apiserver,apiserver-kubelet-client,controller-manager.conf,scheduler.conf,admin.conf,super-admin.conf";
    let generate = [
        "csr", "generate", "--all", "--only", of_ca, "--out", &csrs, "--yes",
    ];
    patient.node.run(&generate).exits(0);
    let (cert, key) = (patient.successor("ca.crt"), desk.join("company.key"));
    let sign = [
        "csr",
        "sign",
        &csrs,
        "--ca-cert",
        cert.to_str().unwrap(),
        "--ca-key",
        key.to_str().unwrap(),
        "--yes",
    ];
    harness::run(&sign, &[]).exits(0);
    patient
        .node
        .run(&["csr", "install", &csrs, "--yes"])
        .exits(0);
    patient.assert_judged("with leaves of the company's");
    let before = patient.node.snapshot();
    let drop = ["ca", "rotate", "drop", "--from", &patient.dir(), "--yes"];
    patient.node.run(&drop).exits(0);
    assert_eq!(patient.node.read(CA), fs::read(cert).unwrap());
    // Nobody signs here any more, as where kubeadm was given a CA without its key.
    assert!(!patient.node.path("/etc/kubernetes/pki/ca.key").exists());
    let manifest = String::from_utf8(patient.node.read(MANIFEST)).unwrap();
    assert!(!manifest.contains("--cluster-signing-"), "{manifest}");
    patient.assert_judged("with the company's alone");
    patient.node.run(&["rollback", "--yes"]).exits(0);
    assert_eq!(patient.node.snapshot(), before);
}

#[test]
fn a_ca_below_another_takes_over_and_the_signer_keeps_its_own_file() {
    let patient = Patient::bare("rsa");
    let before = patient.node.snapshot();
    let line = "mkdir new; ca='basicConstraints=critical,CA:TRUE'; key='-newkey rsa:2048 -nodes'
        openssl req -x509 $key -keyout root.key -out root.crt -days 7000 -subj '/O=Bank/CN=Root' -addext 'keyUsage=critical,keyCertSign' 2>&1
        openssl req $key -keyout new/ca.key -out below.csr -subj '/O=Bank/CN=Below' 2>&1
        printf \"$ca\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n\" >below.ext
        openssl x509 -req -in below.csr -CA root.crt -CAkey root.key -set_serial 7 -days 3650 -extfile below.ext -out below.crt 2>&1
        cat below.crt root.crt >new/ca.crt";
    cases::shell(line, &[], patient.stick.path()).exits(0);
    for phase in ["trust", "sign", "drop"] {
        patient.turn("ca", phase).exits(0);
        patient.assert_judged(phase);
        patient.turn("ca", phase).exits(0).prints("nothing to do");
    }
    let given = fs::read(patient.successor("ca.crt")).unwrap();
    assert_eq!(patient.node.read(CA), given);
    assert_eq!(patient.certificates(SIGNING), 1);
    let manifest = String::from_utf8(patient.node.read(MANIFEST)).unwrap();
    assert!(manifest.contains("--cluster-signing-cert-file=/etc/kubernetes/pki/ca-signing.crt\n"));
    patient.node.run(&["run", "--all", "--yes"]).exits(0);
    patient.assert_judged("renewed below the root");
    patient.undo(4);
    assert_eq!(patient.node.snapshot(), before);
}

#[test]
fn a_lost_key_is_followed_by_another() {
    let patient = Patient::bare("rsa");
    patient.node.remove("/etc/kubernetes/pki/ca.key");
    let begin = [
        "ca",
        "rotate",
        "begin",
        "ca",
        "--out",
        &patient.dir(),
        "--yes",
    ];
    patient.node.run(&begin).exits(0).prints("rsa-2048");
    let before = patient.node.snapshot();
    patient.turn("ca", "trust").exits(0);
    // Nobody else could sign what kubelets ask for.
    let new = fs::read(patient.successor("ca.crt")).unwrap();
    assert_eq!(patient.node.read(SIGNING), new);
    assert!(patient.node.read(CA).starts_with(&new));
    patient.turn("ca", "trust").exits(0).prints("nothing to do");
    patient.turn("ca", "sign").exits(0);
    patient.turn("ca", "drop").exits(0);
    patient.assert_judged("with another key");
    assert_eq!(patient.node.read(CA), new);
    patient.undo(3);
    assert_eq!(patient.node.snapshot(), before);
}

#[test]
fn a_lost_certificate_of_the_ca_is_found_again_as_inspect_says() {
    let patient = Patient::bare("p256");
    let held = patient.node.read(CA);
    patient.node.remove(CA);
    let findings = patient.node.json(&["inspect"])["findings"].clone();
    let mut findings = findings.as_array().unwrap().iter();
    let found = findings.find(|found| found["code"] == "RK0103" && found["subject"] == "ca");
    let hint = found.unwrap()["hint"].as_str().unwrap().to_owned();
    let (_, line) = hint.split_once(": ").unwrap();
    let (line, _) = line.split_once("; ").unwrap();
    let root = patient.node.root.display().to_string();
    let line = line.replace(" /etc/", &format!(" {root}/etc/"));
    let again = cases::shell(&line, &[], &patient.node.root).exits(0).stdout;
    assert_eq!(again.as_bytes(), held);
}

#[test]
fn what_cannot_take_over_is_refused_by_its_own_sentence() {
    let patient = Patient::of("p256");
    let before = patient.node.snapshot();
    let put = |name: &str, text: &[u8]| fs::write(patient.successor(name), text).unwrap();
    let refused = |code: i32, sentence: &str| {
        patient.turn("ca", "trust").exits(code).says(sentence);
        assert_eq!(patient.node.snapshot(), before, "{sentence}");
    };
    let own = fs::read(patient.successor("ca.crt")).unwrap();
    put(
        "ca.crt",
        &patient.node.read("/etc/kubernetes/pki/front-proxy-ca.crt"),
    );
    refused(5, "new/ca.key is the key of something else");
    fs::remove_file(patient.successor("ca.key")).unwrap();
    put(
        "ca.crt",
        &patient.node.read("/etc/kubernetes/pki/apiserver.crt"),
    );
    refused(5, "cannot be followed by CN=kube-apiserver, which is no CA");
    put("ca.crt", b"nothing");
    refused(5, "new/ca.crt");
    put("ca.crt", &own);
    put("ca.key", b"nothing");
    refused(5, "new/ca.key");
    fs::remove_file(patient.successor("ca.key")).unwrap();
    let renewed = Node::real("p256", "fresh");
    renewed.run(&["ca", "renew", "ca", "--yes"]).exits(0);
    put("ca.crt", &renewed.read(CA));
    refused(5, "has the very key of the CA to come");
}

#[test]
fn a_certificate_authority_below_another_has_no_successor_made_here() {
    let patient = Patient::bare("intermediate");
    let words = [
        "ca",
        "rotate",
        "begin",
        "ca",
        "--out",
        &patient.dir(),
        "--yes",
    ];
    patient
        .node
        .run(&words)
        .exits(5)
        .says("is no root: the CA above it has to make its successor");
}

#[test]
fn the_token_key_gives_way_in_three_phases_and_back() {
    for case in ["rsa", "p256"] {
        let patient = Patient::bare(case);
        let (public, private) = ("/etc/kubernetes/pki/sa.pub", "/etc/kubernetes/pki/sa.key");
        let before = patient.node.snapshot();
        let former = patient.node.read(public);
        patient
            .node
            .run(&["sa", "rotate", "begin", "--out", &patient.dir(), "--yes"])
            .exits(0);
        let new = fs::read(patient.successor("sa.pub")).unwrap();
        patient
            .turn("sa", "sign")
            .exits(5)
            .says("is not trusted besides the new key yet");
        patient.turn("sa", "trust").exits(0);
        assert_eq!(
            patient.node.read(public),
            [former.clone(), new.clone()].concat()
        );
        patient.turn("sa", "trust").exits(0).prints("nothing to do");
        patient.turn("sa", "sign").exits(0);
        assert_eq!(patient.node.read(public), [new.clone(), former].concat());
        let line = "openssl pkey -in etc/kubernetes/pki/sa.key -pubout";
        let derived = cases::shell(line, &[], &patient.node.root).exits(0).stdout;
        assert_eq!(derived.as_bytes(), new);
        assert_eq!(
            patient.node.read(private),
            fs::read(patient.successor("sa.key")).unwrap()
        );
        patient.turn("sa", "drop").exits(0);
        assert_eq!(patient.node.read(public), new);
        patient.node.run(&["verify"]).exits(0);
        patient.undo(3);
        assert_eq!(patient.node.snapshot(), before);
    }
}

#[test]
fn a_rotation_that_a_crash_interrupts_is_finished_or_undone() {
    for way in ["resume", "rollback"] {
        let patient = Patient::of("p256");
        patient.turn("ca", "trust").exits(0);
        let before = patient.node.snapshot();
        let dir = patient.dir();
        let words = ["ca", "rotate", "sign", "--from", &dir, "--yes"];
        let env = [("RESCUE_KIT_FAIL", "act:c03:forward=abort")];
        patient.node.run_with(&words, &env).exits(134);
        patient.node.run(&[way, "--yes"]).exits(0);
        patient.assert_judged(way);
        if way == "rollback" {
            assert_eq!(patient.node.snapshot(), before);
        } else {
            assert_eq!(patient.position("ca"), "signing");
        }
    }
}

#[test]
fn the_standing_of_a_node_is_told_in_80_columns_and_by_inspect() {
    let patient = Patient::of("rsa");
    let told = patient.node.run(&["ca", "rotate"]).exits(0);
    told.prints("one CA signs and is trusted");
    patient.turn("ca", "trust").exits(0);
    let told = patient.node.run(&["ca", "rotate"]).exits(0).stdout;
    let wide: Vec<&str> = told
        .lines()
        .filter(|line| line.chars().count() > 80 && !line.contains("join hash"))
        .collect();
    assert_eq!(wide, [""; 0]);
    let line = "openssl x509 -in etc/kubernetes/pki/ca.crt -pubkey -noout | openssl pkey -pubin -outform der | sha256sum";
    let hash = cases::shell(line, &[], &patient.node.root).exits(0).stdout;
    let hash = hash.split(' ').next().unwrap();
    assert!(told.contains(&format!("join hash     sha256:{hash}")));
    let findings = patient.node.json(&["inspect"])["findings"].clone();
    let mut texts = findings
        .as_array()
        .unwrap()
        .iter()
        .map(|found| &found["text"]);
    let text = "CA ca (/etc/kubernetes/pki/ca.crt) is on its way to another key: two CAs are trusted, the older one signs";
    assert!(texts.any(|said| said == text), "{findings:#}");
}
