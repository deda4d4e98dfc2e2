//! Workers of a real cluster: rescued without a CA's key and without an API server of their own.

use crate::control_plane::{ControlPlane, Ran};
use crate::expired::{assert_nothing_to_do, in_days};

const CA: &str = "/etc/kubernetes/pki/ca.crt";
const CONF: &str = "/etc/kubernetes/kubelet.conf";
const CURRENT: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem";

/// The kubelet reports, and the cluster calls its node ready.
fn assert_ready(lab: &ControlPlane, node: &str) {
    let renewed = || lab.lease("kube-node-lease", node, "cp1").1;
    let before = renewed();
    lab.wait("renewal of the kubelet's lease", || renewed() != before);
    let node = format!("node/{node}");
    let words = ["wait", "--for=condition=Ready", &node, "--timeout=9s"];
    lab.wait("node that is ready", || {
        lab.kubectl("cp1", &words).code == 0
    });
}

/// Waits until the kubelet has given up more than once.
fn assert_exits(lab: &ControlPlane, node: &str) {
    let line = "systemctl show kubelet -p NRestarts --value";
    lab.wait("exit of the kubelet", || {
        lab.shell(node, line).trim() != "0"
    });
}

/// The certificate of the kubelet is good for a client of this CA.
fn assert_certified(lab: &ControlPlane, node: &str) {
    let line =
        format!("test -L {CURRENT} && openssl verify -CAfile {CA} -purpose sslclient {CURRENT}");
    lab.shell(node, &line);
}

/// A request goes to the control plane, its answer comes back.
fn certify(lab: &ControlPlane, node: &str) {
    let (stick, key) = ("/root/stick", "/etc/kubernetes/pki/ca.key");
    lab.kit(node, &["csr", "generate", "--out", stick]).ok();
    lab.carry(node, stick, "cp1");
    let words = ["csr", "sign", stick, "--ca-cert", CA, "--ca-key", key];
    lab.kit("cp1", &words).ok().says("1 signed");
    lab.carry("cp1", stick, node);
    let (code, said) = lab.json(node, &["csr", "install", stick, "--yes"]);
    assert_eq!(code, 0, "{said:#}");
}

/// Makes the CA end a month ago, on the control plane and on the worker.
fn end_ca(lab: &ControlPlane) {
    let (begin, end) = (in_days(-3000), in_days(-30));
    let dates = ["-not-before", &begin, "-not-after", &end];
    lab.lab(
        "expire",
        &[&["--", "-cas", "-only", "ca"], &dates[..]].concat(),
    );
}

/// The control plane renews its CA and gives its certificate away.
fn renew_ca(lab: &ControlPlane) {
    lab.kit("cp1", &["run", "--ca", "renew", "--yes"]).ok();
    lab.assert_recovered("cp1");
    lab.kit("cp1", &["ca", "export", "--out", "/root/cas"]).ok();
    lab.carry("cp1", "/root/cas", "w1");
}

#[test]
fn a_worker_is_known_for_one_and_well() {
    let lab = ControlPlane::with_workers();
    let (code, said) = lab.json("w1", &["inspect"]);
    assert_eq!(code, 0, "{said:#}");
    assert_eq!(said["profile"], "kubeadm-worker", "{said:#}");
    assert_eq!(said["findings"].as_array().unwrap().len(), 0, "{said:#}");
    let verified = lab.kit("w1", &["verify", "-v"]).ok();
    verified
        .says("passed health of kubelet")
        .says("passed heartbeat of w1")
        .says("0 failed, 0 could not be made here");
    lab.kit("w1", &["verify", "--cold-start"]).ok();
    // A control plane that is away is no fault of this node.
    lab.lab("power-off", &["cp1"]);
    lab.kit("w1", &["verify", "-v"])
        .ok()
        .says("unchecked heartbeat of w1")
        .says("0 failed, 1 could not be made here");
    assert_nothing_to_do(&lab, "w1");
}

#[test]
fn a_dead_worker_comes_back_by_requests() {
    let lab = ControlPlane::with_workers();
    lab.lab("expire", &["w1"]);
    lab.lab("power-cycle", &["w1"]);
    assert_exits(&lab, "w1");
    let inspected = lab.kit("w1", &["inspect"]).exits(3);
    inspected
        .says(&format!(
            "cause: kubelet-client ({CURRENT}) expired 35 days ago"
        ))
        .says("rescue-kit csr generate --out DIR")
        .says("rescue-kit csr install DIR");
    lab.kit("w1", &["run", "--yes"]).exits(5).says("RK0104");
    certify(&lab, "w1");
    assert_ready(&lab, "w1");
    assert_certified(&lab, "w1");
    assert_nothing_to_do(&lab, "w1");
    lab.kit("w1", &["verify"]).ok();
}

#[test]
fn a_renewed_ca_is_carried_to_a_worker() {
    let lab = ControlPlane::with_workers();
    end_ca(&lab);
    lab.lab("power-cycle", &[]);
    let ended = "RK0101 CA ca (/etc/kubernetes/pki/ca.crt) expired";
    lab.kit("w1", &["inspect"])
        .exits(3)
        .says(ended)
        .says("rescue-kit run --ca-from DIR here");
    renew_ca(&lab);
    let before = lab.kubelet("w1");
    let (code, said) = lab.json("w1", &["run", "--ca-from", "/root/cas", "--yes"]);
    assert_eq!(code, 0, "{said:#}");
    assert_ne!(lab.kubelet("w1"), before, "the kubelet was restarted");
    assert_eq!(lab.fingerprint("w1", CA), lab.fingerprint("cp1", CA));
    let trusted = format!(
        "sed -n 's/.*certificate-authority-data: //p' {CONF} | base64 -d | openssl x509 -noout -fingerprint -sha256"
    );
    assert_eq!(lab.shell("w1", &trusted), lab.fingerprint("cp1", CA));
    assert_ready(&lab, "w1");
    assert_certified(&lab, "w1");
    assert_nothing_to_do(&lab, "w1");
}

#[test]
fn a_worker_whose_ca_and_credential_have_expired_comes_back_in_two_steps() {
    let lab = ControlPlane::with_workers();
    lab.lab("expire", &[]);
    end_ca(&lab);
    lab.lab("power-cycle", &[]);
    assert_exits(&lab, "w1");
    renew_ca(&lab);
    let carry = ["run", "--ca-from", "/root/cas", "--yes"];
    lab.kit("w1", &carry).exits(5).says("--skip kubelet-client");
    // The kubelet cannot start before its own credential is there, and nobody waits for it.
    let first = [&carry[..], &["--skip", "kubelet-client"]].concat();
    lab.kit("w1", &first).ok().says("systemctl restart kubelet");
    certify(&lab, "w1");
    assert_eq!(lab.fingerprint("w1", CA), lab.fingerprint("cp1", CA));
    assert_ready(&lab, "w1");
    assert_certified(&lab, "w1");
    assert_nothing_to_do(&lab, "w1");
}

#[test]
fn a_spare_machine_joins_if_it_knows_the_clusters_ca() {
    let lab = ControlPlane::with_workers();
    let nodes = || {
        lab.kubectl("cp1", &["get", "nodes", "-o", "name"])
            .ok()
            .stdout
    };
    assert_eq!(nodes(), "node/cp1\nnode/w1\n");
    let another = format!("sha256:{}", "0".repeat(64));
    let refused: Ran = lab.attempt("join", &["s1", "--token-ca-hash", &another]);
    refused.exits(1).says("none of the public keys");
    assert_eq!(nodes(), "node/cp1\nnode/w1\n");
    lab.lab("join", &["s1"]);
    assert_ready(&lab, "s1");
    let (code, said) = lab.json("s1", &["inspect"]);
    assert_eq!(code, 0, "{said:#}");
    assert_eq!(said["profile"], "kubeadm-worker", "{said:#}");
}
