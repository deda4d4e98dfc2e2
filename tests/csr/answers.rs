//! Answers that are wrong in each way: each is refused by its own sentence, and nothing is changed.

use std::fs;

use super::Trip;
use super::round_trip::sub_authority;
use crate::harness::Ran;
use crate::means;

/// The extensions that the API server's certificate needs, but for its names.
const SERVER: &str = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\n";
const CLIENT: &str = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\n";

/// Asserts that the answers on the stick are refused with a sentence and a hint, and that nothing was changed.
#[track_caller]
fn refused(trip: &Trip, sentence: &str, hint: &str) -> Ran {
    let before = trip.node.snapshot();
    let ran = trip
        .install(&[])
        .exits(5)
        .says(&format!("critical RK0801 {sentence}"))
        .says(&format!("hint: {hint}"));
    means::assert_same(&before, &trip.node.snapshot());
    assert!(!trip.node.path("/var/lib/rescue-kit/runs").exists());
    ran
}

const AGAIN: &str = "have the request signed again, with what it asks for";

#[test]
fn another_key() {
    let trip = Trip::generated("p256");
    trip.openssl(&["genpkey", "-algorithm", "ed25519", "-out", "other.key"]);
    trip.openssl(&[
        "req",
        "-new",
        "-key",
        "other.key",
        "-subj",
        "/CN=kube-apiserver",
        "-out",
        "stick/apiserver.csr",
    ]);
    let names = "subjectAltName=DNS:cp1,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,IP:10.96.0.1,IP:192.168.61.11\n";
    trip.answer_by_openssl("ca", "apiserver", &[], Some(&format!("{SERVER}{names}")));
    refused(
        &trip,
        "apiserver.crt carries another public key than its request",
        "have the request of this very file signed, or make new ones: rescue-kit csr generate",
    );
}

#[test]
fn fewer_names() {
    let trip = Trip::generated("p256");
    let names = "subjectAltName=DNS:cp1,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local\n";
    trip.answer_by_openssl("ca", "apiserver", &[], Some(&format!("{SERVER}{names}")));
    refused(
        &trip,
        "apiserver.crt lacks the names 10.96.0.1, 192.168.61.11",
        "have it signed with the extensions of the request: openssl x509 -req -copy_extensions copyall",
    );
}

#[test]
fn another_common_name() {
    let trip = Trip::generated("p256");
    trip.answer_by_openssl("ca", "scheduler.conf", &["-subj", "/CN=scheduler"], None);
    refused(
        &trip,
        "scheduler.conf.crt is for `scheduler` (CN) instead of `system:kube-scheduler`",
        AGAIN,
    );
}

#[test]
fn another_organization() {
    let trip = Trip::generated("p256");
    trip.answer_by_openssl(
        "ca",
        "admin.conf",
        &["-subj", "/O=system:masters/CN=kubernetes-admin"],
        None,
    );
    refused(
        &trip,
        "admin.conf.crt is in the groups (O) `system:masters` instead of `kubeadm:cluster-admins`",
        AGAIN,
    );
    trip.answer_by_openssl("ca", "admin.conf", &["-subj", "/CN=kubernetes-admin"], None);
    refused(
        &trip,
        "admin.conf.crt is in the groups (O) none instead of `kubeadm:cluster-admins`",
        AGAIN,
    );
}

#[test]
fn no_client_usage() {
    let trip = Trip::generated("p256");
    trip.answer_by_openssl("ca", "scheduler.conf", &[], Some(SERVER));
    let hint = "have it signed with the extensions of the request: openssl x509 -req -copy_extensions copyall";
    refused(
        &trip,
        "scheduler.conf.crt may not be used for clientAuth",
        hint,
    );
    let none = "keyUsage=critical,keyEncipherment\n";
    trip.answer_by_openssl("ca", "scheduler.conf", &[], Some(none));
    refused(
        &trip,
        "scheduler.conf.crt may not be used for clientAuth, digitalSignature",
        hint,
    );
}

#[test]
fn expired_not_yet_valid_and_too_short() {
    let trip = Trip::generated("p256");
    let dates = |from: &str, until: &str| {
        let words = ["-startdate", from, "-enddate", until];
        trip.answer_by_openssl("ca", "scheduler.conf", &words, None);
    };
    dates("20200101000000Z", "20210101000000Z");
    refused(
        &trip,
        "scheduler.conf.crt expired at 2021-01-01T00:00:00Z",
        AGAIN,
    );
    dates("20400101000000Z", "20410101000000Z");
    refused(
        &trip,
        "scheduler.conf.crt is not valid before 2040-01-01T00:00:00Z",
        "check the clock here and where it was signed",
    );
    trip.answer_by_openssl("ca", "scheduler.conf", &["-enddate", &soon(&trip)], None);
    refused(&trip, "scheduler.conf.crt ends at", AGAIN).says("in less than a day");
}

/// An hour from now, as openssl writes it.
fn soon(trip: &Trip) -> String {
    let said = crate::harness::other(
        "date",
        &["-u", "-d", "+1 hour", "+%Y%m%d%H%M%SZ"],
        trip.desk.path(),
    );
    said.stdout.trim().to_owned()
}

#[test]
fn another_authority_also_of_the_same_name() {
    let trip = Trip::generated("p256");
    let hint = "have it signed by the authority that this node trusts; if an intermediate below it signed, append its certificate";
    for (subject, said) in [
        (
            "/CN=Company CA",
            "was signed by another authority, CN=Company CA, instead of CN=kubernetes",
        ),
        (
            "/CN=kubernetes",
            "was signed by another authority, CN=kubernetes, which only has the name of this node's",
        ),
    ] {
        trip.other_authority(subject);
        trip.answer_by_openssl("other", "scheduler.conf", &[], None);
        refused(&trip, &format!("scheduler.conf.crt {said}"), hint);
    }
}

#[test]
fn a_leaf_alone_where_a_chain_is_needed() {
    let trip = Trip::generated("intermediate");
    let offline = crate::harness::lab().join("trees/intermediate/offline");
    for name in ["root.crt", "root.key"] {
        fs::copy(offline.join(name), trip.desk(name)).unwrap();
    }
    sub_authority(&trip, "root", "/CN=Second issuing CA");
    trip.answer_by_openssl("sub", "scheduler.conf", &[], None);
    refused(
        &trip,
        "scheduler.conf.crt holds the leaf alone, and the certificate of its issuer CN=Second issuing CA is needed, too",
        "append the intermediate's certificate to the file",
    );
}

#[test]
fn an_authority_instead_of_a_leaf() {
    let trip = Trip::generated("p256");
    let text = CLIENT.replace("CA:FALSE", "CA:TRUE");
    trip.answer_by_openssl("ca", "scheduler.conf", &[], Some(&text));
    refused(
        &trip,
        "scheduler.conf.crt is the certificate of an authority (CA:TRUE)",
        AGAIN,
    );
}

#[test]
fn an_expired_intermediate() {
    let trip = Trip::generated("p256");
    sub_authority(&trip, "ca", "/CN=Issuing CA");
    let extensions = fs::read_to_string(trip.desk("sub.ext")).unwrap();
    fs::rename(trip.desk("sub.csr"), trip.on_stick("sub.csr")).unwrap();
    let dates = [
        "-startdate",
        "20200101000000Z",
        "-enddate",
        "20210101000000Z",
    ];
    trip.answer_by_openssl("ca", "sub", &dates, Some(&extensions));
    fs::rename(trip.on_stick("sub.crt"), trip.desk("sub.crt")).unwrap();
    trip.answer_by_openssl("sub", "scheduler.conf", &[], None);
    let both = [
        fs::read(trip.on_stick("scheduler.conf.crt")).unwrap(),
        fs::read(trip.desk("sub.crt")).unwrap(),
    ]
    .concat();
    fs::write(trip.on_stick("scheduler.conf.crt"), both).unwrap();
    refused(
        &trip,
        "scheduler.conf.crt was issued below CN=Issuing CA, whose certificate is not valid now (it ends at 2021-01-01T00:00:00Z)",
        "the authority must be renewed first",
    );
}

#[test]
fn one_wrong_answer_refuses_all_unless_others_are_named() {
    let trip = Trip::generated("p256");
    trip.sign_all();
    trip.answer_by_openssl("ca", "scheduler.conf", &["-subj", "/CN=scheduler"], None);
    refused(&trip, "scheduler.conf.crt is for `scheduler`", AGAIN);
    trip.install(&["--only", "apiserver,admin.conf"]).exits(0);
    trip.install(&["--only", "kubelet-serving"])
        .exits(5)
        .says("kubelet-serving.crt is not in the folder");
}

#[test]
fn what_is_no_certificate_or_was_not_asked_for() {
    let trip = Trip::generated("p256");
    let crt = trip.on_stick("scheduler.conf.crt");
    fs::write(&crt, "hello").unwrap();
    refused(
        &trip,
        "scheduler.conf.crt has no pem block",
        "copy the certificate in PEM again",
    );
    fs::copy(trip.on_stick("scheduler.conf.csr"), &crt).unwrap();
    refused(
        &trip,
        "scheduler.conf.crt has no certificate, only certificate request",
        "copy the certificate in PEM again",
    );
    let ca = fs::read(trip.desk("ca.crt")).unwrap();
    fs::write(&crt, ca.repeat(17)).unwrap();
    refused(
        &trip,
        "scheduler.conf.crt holds more certificates than a chain has",
        "leave the leaf and its intermediates",
    );
    fs::remove_file(&crt).unwrap();
    fs::write(trip.on_stick("kubelet-serving.crt"), ca).unwrap();
    refused(
        &trip,
        "kubelet-serving.crt answers nothing that this node asked for",
        "rescue-kit csr generate --out DIR",
    );
    fs::remove_file(trip.on_stick("kubelet-serving.crt")).unwrap();
    trip.install(&[]).exits(5).says("stick holds no answers");
}

#[test]
fn links_and_other_nodes_folders() {
    let trip = Trip::generated("p256");
    trip.sign("front-proxy-ca", &[]).exits(0);
    let crt = trip.on_stick("front-proxy-client.crt");
    fs::rename(&crt, trip.desk("elsewhere.crt")).unwrap();
    std::os::unix::fs::symlink(trip.desk("elsewhere.crt"), &crt).unwrap();
    trip.install(&[])
        .exits(5)
        .says("cannot read")
        .says("front-proxy-client.crt");
    let other = Trip::generated("rsa");
    other
        .node
        .write("/etc/machine-id", "0123456789abcdef0123456789abcdee\n");
    other.sign("front-proxy-ca", &[]).exits(0);
    other
        .install(&[])
        .exits(5)
        .says("stick holds the requests of another node: cp1");
}

#[test]
fn a_forged_manifest_changes_nothing_about_what_is_accepted() {
    let trip = Trip::generated("p256");
    trip.answer_by_openssl(
        "ca",
        "scheduler.conf",
        &["-subj", "/O=system:masters/CN=system:kube-scheduler"],
        None,
    );
    trip.forge(|manifest| {
        for entry in manifest["requests"].as_array_mut().unwrap() {
            entry["groups"] = serde_json::json!(["system:masters"]);
        }
    });
    refused(
        &trip,
        "scheduler.conf.crt is in the groups (O) `system:masters` instead of none",
        AGAIN,
    );
}

#[test]
fn a_key_that_is_gone() {
    let trip = Trip::generated("p256");
    trip.sign("front-proxy-ca", &[]).exits(0);
    let requests = trip.node.path("/var/lib/rescue-kit/requests");
    let request = fs::read_dir(requests)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    fs::remove_file(request.join("front-proxy-client.key")).unwrap();
    refused(
        &trip,
        "front-proxy-client.crt fits its request, but the key that was made for it is gone",
        "have a new request signed: rescue-kit csr generate --out DIR",
    );
}
