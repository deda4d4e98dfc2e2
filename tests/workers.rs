//! Workers: told apart from control planes that have lost something, and rescued without a CA's key.

use std::fs;

use tempfile::TempDir;

use crate::cases;
use crate::harness::{Node, other};

const CA: &str = "/etc/kubernetes/pki/ca.crt";
const CONF: &str = "/etc/kubernetes/kubelet.conf";
const CURRENT: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem";
/// All that a node of the lab has below `/etc/kubernetes` and a worker has not.
const CONTROL_PLANE: &str = "cd etc/kubernetes && mv pki/ca.crt . && rm -r pki manifests && mkdir pki && mv ca.crt pki && \
    rm admin.conf super-admin.conf controller-manager.conf scheduler.conf";
const BY_REQUEST: &str = "hint: rescue-kit csr generate --out DIR; where the CA's key is, such as on a control plane: \
    rescue-kit csr sign DIR --ca-cert ca.crt --ca-key ca.key; back here: rescue-kit csr install DIR";

/// What is left of a control plane's files is what kubeadm leaves on a worker.
pub(crate) fn worker(case: &str, state: &str) -> Node {
    let node = Node::real(case, state);
    other("sh", &["-euc", CONTROL_PLANE], &node.root).exits(0);
    node
}

fn detected(node: &Node) -> String {
    let said = node.json(&["profile", "detect"]);
    said["detected"].as_str().unwrap_or_default().to_owned()
}

/// The data of a kubeconfig's CA.
fn trusted(node: &Node) -> String {
    let text = String::from_utf8(node.read(CONF)).unwrap();
    let data = text
        .split_once("certificate-authority-data: ")
        .map(|(_, rest)| rest);
    let data = data
        .and_then(|rest| rest.split_whitespace().next())
        .unwrap();
    let line = format!("echo {data} | base64 -d");
    other("sh", &["-euc", &line], &node.root).exits(0).stdout
}

#[test]
fn a_worker_is_no_control_plane_and_no_control_plane_is_a_worker() {
    for case in ["p256", "embedded"] {
        assert_eq!(detected(&worker(case, "fresh")), "kubeadm-worker", "{case}");
    }
    cases::each(|case| {
        let expected = match case {
            "external-etcd" => "kubeadm-external-etcd",
            _ => "kubeadm",
        };
        assert_eq!(detected(&Node::real(case, "expired")), expected, "{case}");
    });
}

#[test]
fn a_control_plane_that_has_lost_nearly_everything_is_no_worker() {
    for left in [
        "/etc/kubernetes/manifests/etcd.yaml",
        "/etc/kubernetes/manifests/kube-scheduler.yaml",
        "/etc/kubernetes/pki/ca.key",
        "/etc/kubernetes/pki/apiserver.crt",
        "/etc/kubernetes/pki/sa.key",
        "/etc/kubernetes/pki/etcd/server.crt",
        "/etc/kubernetes/scheduler.conf",
        "/var/lib/etcd/member/snap/db",
    ] {
        let node = worker("p256", "fresh");
        fs::create_dir_all(node.path(left).parent().unwrap()).unwrap();
        node.write(left, "");
        assert_eq!(detected(&node), "kubeadm", "{left}");
    }
}

#[test]
fn nothing_is_wrong_with_a_fresh_worker_although_it_has_no_ca_key() {
    let node = worker("p256", "fresh");
    node.run(&["inspect"]).exits(0).prints("nothing is broken");
    assert_eq!(
        node.json(&["inspect"])["findings"],
        serde_json::json!([]),
        "findings"
    );
    node.run(&["run", "--yes"]).exits(0).prints("nothing to do");
    node.run(&["verify"]).exits(0).prints("0 failed");
    node.run(&["verify", "--cold-start"])
        .exits(0)
        .prints("0 failed");
}

#[test]
fn the_first_cause_of_a_dead_worker_names_the_way_by_requests() {
    let node = worker("p256", "expired");
    let cause = "the kubelet exits at start, and the cluster takes the node for lost";
    node.run(&["inspect"])
        .exits(3)
        .prints("cause: kubelet-client (/var/lib/kubelet/pki/kubelet-client-current.pem) expired")
        .prints(cause)
        .prints(BY_REQUEST);
    let before = node.snapshot();
    let why = "RK0104 CA ca (/etc/kubernetes/pki/ca.crt) has its key elsewhere, so it cannot sign kubelet-client";
    node.run(&["run", "--yes"])
        .exits(5)
        .says(why)
        .says(BY_REQUEST);
    assert_eq!(before, node.snapshot(), "nothing was changed");
}

#[test]
fn requests_bring_a_worker_back() {
    // One credential in the kubelet's own file, one within its kubeconfig.
    for (case, id) in [("p256", "kubelet-client"), ("embedded", "kubelet.conf")] {
        let (node, control_plane) = (worker(case, "expired"), Node::real(case, "expired"));
        let stick = node.root.with_file_name("stick").display().to_string();
        node.run(&["csr", "generate", "--out", &stick])
            .exits(0)
            .prints(&format!("{id}.csr ca for O=system:nodes"));
        let office = control_plane.path("/etc/kubernetes/pki");
        let office = |name: &str| office.join(name).display().to_string();
        let (cert, key) = (office("ca.crt"), office("ca.key"));
        let words = ["csr", "sign", &stick, "--ca-cert", &cert, "--ca-key", &key];
        control_plane.run(&words).exits(0).prints("1 signed");
        node.run(&["csr", "install", &stick, "--yes"])
            .exits(0)
            .prints(&format!("kubelet reads {id} only when it starts"));
        node.run(&["inspect"]).exits(0).prints("nothing is broken");
        let answer = format!("{stick}/{id}.crt");
        let words = ["verify", "-CAfile", &cert, "-purpose", "sslclient", &answer];
        other("openssl", &words, &node.root).exits(0);
    }
}

#[test]
fn a_ca_that_was_renewed_elsewhere_is_carried_to_a_worker() {
    let (node, control_plane) = (worker("p256", "fresh"), Node::real("p256", "fresh"));
    let stick = TempDir::new().unwrap();
    let stick = stick.path().join("cas").display().to_string();
    node.run(&["ca", "renew", "ca", "--yes"])
        .exits(5)
        .says("CA ca (/etc/kubernetes/pki/ca.crt) is somebody else's")
        .says("hint: have it renewed there: --ca-from DIR");
    control_plane.run(&["ca", "renew", "ca", "--yes"]).exits(0);
    control_plane
        .run(&["ca", "export", "--out", &stick])
        .exits(0);
    let old = node.read(CA);
    node.run(&["run", "--ca-from", &stick, "--yes"])
        .exits(0)
        .prints("systemctl restart kubelet");
    let new = String::from_utf8(node.read(CA)).unwrap();
    assert_ne!(new.as_bytes(), old);
    assert_eq!(new.as_bytes(), control_plane.read(CA), "the same file");
    assert_eq!(trusted(&node), new, "kubelet.conf");
    node.run(&["verify"]).exits(0);
    let (ca, leaf) = (node.path(CA), cases::resolved(&node.root, CURRENT));
    let (ca, leaf) = (ca.to_str().unwrap(), leaf.to_str().unwrap());
    let words = ["verify", "-CAfile", ca, "-purpose", "sslclient", leaf];
    other("openssl", &words, &node.root).exits(0);
}

#[test]
fn an_expired_ca_of_a_worker_is_to_be_brought() {
    let node = worker("p256", "fresh");
    node.run(&["inspect", "--now", "2037-06-01T00:00:00Z"])
        .exits(3)
        .prints("RK0101 CA ca (/etc/kubernetes/pki/ca.crt) expired")
        .prints("rescue-kit ca export --out DIR there, rescue-kit run --ca-from DIR here");
}
