//! CAs and the token key of a real cluster give way to others while somebody writes all the time and machines join.

use crate::control_plane::{ControlPlane, Ran};
use crate::expired::assert_nothing_to_do;
use crate::meter::Meter;

const NODES: [&str; 3] = ["cp1", "cp2", "cp3"];
const NEW: &str = "/root/new";
const STICK: &str = "/root/stick";
const PKI: &str = "/etc/kubernetes/pki";
const MANIFEST: &str = "/etc/kubernetes/manifests/kube-controller-manager.yaml";

fn begin(lab: &ControlPlane, ids: &[&str]) {
    let words = [&["ca", "rotate", "begin"], ids, &["--out", NEW, "--yes"]].concat();
    lab.kit("cp1", &words).ok();
}

fn turn(lab: &ControlPlane, node: &str, phase: &str) -> Ran {
    let mut words = vec!["ca", "rotate", phase, "--yes"];
    if phase != "drop" {
        words.extend(["--from", NEW]);
    }
    lab.kit(node, &words)
}

/// A worker has its certificate signed by the CA of a control plane, whose key it never gets.
fn certify(lab: &ControlPlane, worker: &str) {
    let (ca, key) = (format!("{PKI}/ca.crt"), format!("{PKI}/ca.key"));
    lab.kit(
        worker,
        &["csr", "generate", "--all", "--out", STICK, "--yes"],
    )
    .ok();
    lab.carry(worker, STICK, "cp1");
    let words = ["csr", "sign", STICK, "--ca-cert", &ca, "--ca-key", &key];
    lab.kit("cp1", &words).ok();
    lab.carry("cp1", STICK, worker);
    lab.kit(worker, &["csr", "install", STICK, "--yes"]).ok();
    lab.shell("cp1", &format!("rm -r {STICK}"));
}

/// The hash of the n-th CA of a node, as kubeadm wants it, made by openssl.
fn join_hash(lab: &ControlPlane, node: &str, number: u32) -> String {
    let line = format!(
        "awk '/BEGIN/ {{ n++ }} n == {number}' {PKI}/ca.crt | openssl x509 -pubkey -noout |
            openssl pkey -pubin -outform der | sha256sum | cut -d' ' -f1"
    );
    format!("sha256:{}", lab.shell(node, &line).trim())
}

/// No file, no object of the API and no process of a node knows a former CA.
fn assert_forgotten(lab: &ControlPlane, nodes: &[&str], former: &str) {
    for node in nodes {
        let line = "for conf in /etc/kubernetes/*.conf; do
                sed -n 's/.*certificate-authority-data: //p' $conf | base64 -d; done; cat /etc/kubernetes/pki/ca.crt";
        assert!(!lab.shell(node, line).contains(former), "{node}");
    }
    let of_servers = [
        "get",
        "cm",
        "-n",
        "kube-system",
        "extension-apiserver-authentication",
        "-o",
        "yaml",
    ];
    let of_joiners = "kubectl --kubeconfig /etc/kubernetes/admin.conf get cm -n kube-public cluster-info \
        -o jsonpath={.data.kubeconfig} | sed -n 's/.*certificate-authority-data: //p' | base64 -d";
    let of_pods = [
        "get",
        "cm",
        "-A",
        "--field-selector",
        "metadata.name=kube-root-ca.crt",
        "-o",
        "yaml",
    ];
    let line = former.lines().nth(1).unwrap();
    assert!(!lab.shell("cp1", of_joiners).contains(line));
    lab.wait("pods without the former CA", || {
        !lab.kubectl("cp1", &of_pods).ok().stdout.contains(line)
    });
    lab.wait("aggregated APIs without the former CA", || {
        !lab.kubectl("cp1", &of_servers).ok().stdout.contains(line)
    });
}

#[test]
fn the_clusters_ca_gives_way_under_a_writer_while_machines_join() {
    let lab = ControlPlane::fleet();
    begin(&lab, &["ca", "front-proxy-ca"]);
    lab.carry("cp1", NEW, "cp2");
    lab.carry("cp1", NEW, "cp3");
    let former = lab.shell("cp1", &format!("cat {PKI}/ca.crt"));
    let former_hash = join_hash(&lab, "cp1", 1);
    lab.shell("cp1", "cp /etc/kubernetes/admin.conf /root/former.conf");
    lab.shell(
        "cp1",
        &format!("mkdir /root/public && cp {NEW}/*.crt /root/public"),
    );
    lab.carry("cp1", "/root/public", "w1");
    lab.shell("w1", &format!("mv /root/public {NEW}"));
    let kubelet = lab.kubelet("w1");
    let servers = api_servers(&lab);
    assert!(servers.iter().all(Option::is_some), "{servers:?}");
    let meter = Meter::start(&lab, "cp1", &NODES);
    turn(&lab, "cp1", "sign")
        .exits(5)
        .says("this node does not trust the new CA");
    for node in ["cp1", "cp2", "cp3", "w1"] {
        turn(&lab, node, "trust").ok();
    }
    assert_ne!(
        lab.kubelet("w1"),
        kubelet,
        "its kubelet reads the CA at its start"
    );
    for node in NODES {
        turn(&lab, node, "sign").ok();
    }
    // A token and the former hash were given out before: both CAs are in what it reads.
    lab.lab("join", &["s1", "--token-ca-hash", &former_hash]);
    turn(&lab, "w1", "drop")
        .exits(5)
        .says("is of the former CA");
    certify(&lab, "w1");
    // Whoever leads signs with the new CA already: nothing is to be done but to drop the former one.
    let leads =
        "openssl verify -CAfile /root/new.crt /var/lib/kubelet/pki/kubelet-client-current.pem";
    lab.shell(
        "s1",
        &format!("awk '/BEGIN/ {{ n++ }} n == 2' {PKI}/ca.crt >/root/new.crt"),
    );
    lab.shell("s1", leads);
    for node in ["cp1", "cp2", "cp3", "w1", "s1"] {
        turn(&lab, node, "drop").ok();
    }
    let seen = meter.stop();
    lab.lab("join", &["s2"]);
    assert_forgotten(&lab, &["cp1", "cp2", "cp3", "w1", "s1", "s2"], &former);
    for node in NODES {
        lab.assert_recovered(node);
        assert_nothing_to_do(&lab, node);
        lab.kit(node, &["verify"]).ok();
    }
    let as_former = [
        "kubectl",
        "--kubeconfig",
        "/root/former.conf",
        "get",
        "nodes",
    ];
    assert_ne!(
        lab.exec("cp1", &as_former).code,
        0,
        "the former CA's client"
    );
    assert_eq!(seen["writes"]["lost"], 0, "{seen:#}");
    assert!(
        seen["writes"]["requests"].as_u64().unwrap() > 100,
        "{seen:#}"
    );
    // On a machine with other work a write may wait until its client gives up; nothing else may happen to it.
    let mut errors = seen["writes"]["errors"].as_object().unwrap().keys();
    assert!(
        errors.all(|error| error.contains("Client.Timeout")),
        "{seen:#}"
    );
    assert_eq!(api_servers(&lab), servers, "no API server stops");
}

/// The API servers' containers, node by node.
fn api_servers(lab: &ControlPlane) -> Vec<Option<String>> {
    let of = |node| lab.containers(node).remove("kube-apiserver");
    NODES.into_iter().map(of).collect()
}

#[test]
fn the_ca_of_etcd_gives_way_one_member_at_a_time() {
    let lab = ControlPlane::three();
    begin(&lab, &["etcd-ca"]);
    lab.carry("cp1", NEW, "cp2");
    lab.carry("cp1", NEW, "cp3");
    let meter = Meter::start(&lab, "cp1", &NODES);
    for phase in ["trust", "sign", "drop"] {
        for node in NODES {
            turn(&lab, node, phase).ok();
        }
    }
    let seen = meter.stop();
    assert_eq!(seen["writes"]["lost"], 0, "{seen:#}");
    for node in NODES {
        lab.assert_recovered(node);
        assert_nothing_to_do(&lab, node);
        let of_new = format!(
            "openssl verify -CAfile {NEW}/etcd-ca.crt {PKI}/etcd/server.crt {PKI}/etcd/peer.crt"
        );
        lab.shell(node, &of_new);
    }
}

#[test]
fn each_phase_is_undone_on_the_running_node() {
    let lab = ControlPlane::one();
    begin(&lab, &[]);
    let manifest = lab.shell("cp1", &format!("cat {MANIFEST}"));
    let mut states = vec![lab.listing("cp1")];
    for phase in ["trust", "sign", "drop"] {
        turn(&lab, "cp1", phase).ok();
        lab.assert_recovered("cp1");
        turn(&lab, "cp1", phase).ok().says("nothing to do");
        states.push(lab.listing("cp1"));
    }
    assert_eq!(lab.shell("cp1", &format!("cat {MANIFEST}")), manifest);
    states.pop();
    while let Some(state) = states.pop() {
        lab.kit("cp1", &["rollback", "--yes"]).ok();
        assert_eq!(lab.listing("cp1"), state);
        lab.assert_recovered("cp1");
    }
    assert_forgotten(
        &lab,
        &["cp1"],
        &lab.shell("cp1", &format!("cat {NEW}/ca.crt")),
    );
}

#[test]
fn the_companys_ca_takes_over_and_its_key_stays_elsewhere() {
    let lab = ControlPlane::one();
    let company = "mkdir -p /root/new /root/company; openssl req -x509 -newkey rsa:2048 -nodes -days 3650 \
        -subj '/O=Bank/CN=Internal CA' -keyout /root/company/ca.key -out /root/new/ca.crt 2>/dev/null";
    lab.shell("cp1", company);
    turn(&lab, "cp1", "trust").ok();
    turn(&lab, "cp1", "sign")
        .exits(5)
        .says("the new CA's key is not there");
    let of_ca = "kubelet-client,apiserver,apiserver-kubelet-client,controller-manager.conf,scheduler.conf,admin.conf,super-admin.conf";
    let words = [
        "csr", "generate", "--all", "--only", of_ca, "--out", STICK, "--yes",
    ];
    lab.kit("cp1", &words).ok();
    let words = [
        "csr",
        "sign",
        STICK,
        "--ca-cert",
        "/root/new/ca.crt",
        "--ca-key",
        "/root/company/ca.key",
    ];
    lab.kit("cp1", &words).ok();
    lab.kit("cp1", &["csr", "install", STICK, "--yes"]).ok();
    lab.assert_recovered("cp1");
    let words = ["ca", "rotate", "drop", "--from", NEW, "--yes"];
    lab.kit("cp1", &words).ok();
    lab.assert_recovered("cp1");
    lab.shell(
        "cp1",
        &format!("test ! -e {PKI}/ca.key && ! grep -q cluster-signing {MANIFEST}"),
    );
    let served = "openssl s_client -connect 127.0.0.1:6443 -CAfile /root/new/ca.crt -verify_return_error </dev/null 2>&1";
    assert!(
        lab.shell("cp1", served)
            .contains("Verify return code: 0 (ok)")
    );
}

#[test]
fn a_lost_key_is_followed_by_another_before_the_controller_manager_misses_it() {
    let lab = ControlPlane::one();
    lab.wait_for_signer();
    lab.shell("cp1", &format!("rm {PKI}/ca.key"));
    lab.kit("cp1", &["inspect"]).exits(3).says("RK0021");
    begin(&lab, &["ca"]);
    for phase in ["trust", "sign", "drop"] {
        turn(&lab, "cp1", phase).ok();
        lab.assert_recovered("cp1");
    }
    assert_nothing_to_do(&lab, "cp1");
}

#[test]
fn tokens_of_both_keys_are_believed_until_the_former_is_dropped() {
    let lab = ControlPlane::one();
    lab.kit("cp1", &["sa", "rotate", "begin", "--out", NEW, "--yes"])
        .ok();
    lab.kubectl("cp1", &["create", "serviceaccount", "asker"])
        .ok();
    let words = ["create", "token", "asker", "--duration=1h"];
    let token = || lab.kubectl("cp1", &words).ok().stdout.trim().to_owned();
    // Whoever is believed and allowed nothing is told his name.
    let is_believed = |token: &str| {
        let line = format!(
            "kubectl --kubeconfig /dev/null --server https://127.0.0.1:6443 --insecure-skip-tls-verify --token {token} get nodes 2>&1 || true"
        );
        let said = lab.shell("cp1", &line);
        let refused = said.contains("Unauthorized") || said.contains("must be logged in");
        assert!(
            refused || said.contains("system:serviceaccount:default:asker"),
            "{said}"
        );
        !refused
    };
    let phase = |phase: &str| {
        let from = ["--from", NEW];
        let from: &[&str] = if phase == "drop" { &[] } else { &from };
        let words = [&["sa", "rotate", phase, "--yes"], from].concat();
        lab.kit("cp1", &words).ok();
        lab.assert_recovered("cp1");
    };
    let former = token();
    assert!(is_believed(&former));
    phase("trust");
    assert!(is_believed(&former));
    phase("sign");
    let new = token();
    assert!(is_believed(&former) && is_believed(&new));
    phase("drop");
    assert!(!is_believed(&former) && is_believed(&new));
    assert_nothing_to_do(&lab, "cp1");
}
