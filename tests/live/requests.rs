//! The keys of the CAs are elsewhere: requests leave the node, answers come back, the node comes back.

use crate::control_plane::ControlPlane;
use crate::expired::assert_nothing_to_do;

/// The authorities of a node, and where their keys are while they are away.
const AUTHORITIES: [&str; 3] = ["ca", "etcd/ca", "front-proxy-ca"];

#[test]
fn a_dead_node_without_ca_keys_comes_back_by_requests() {
    let lab = ControlPlane::one();
    lab.lab("expire", &[]);
    lab.lab("power-cycle", &[]);
    for ca in AUTHORITIES {
        let away = format!(
            "mkdir -p /root/office/etcd; mv /etc/kubernetes/pki/{ca}.key /root/office/{ca}.key"
        );
        lab.shell("cp1", &away);
    }
    lab.kit("cp1", &["run", "--yes"]).exits(5).says("RK0104");
    let missing = "RK0021 /etc/kubernetes/pki/ca.key is missing: kube-controller-manager is told to sign with it";
    lab.kit("cp1", &["inspect"]).exits(3).says(missing);
    // As kubeadm writes the manifest where the CA is external.
    let manifest = "/etc/kubernetes/manifests/kube-controller-manager.yaml";
    lab.shell("cp1", &format!("sed -i '/--cluster-signing-/d' {manifest}"));
    lab.kit("cp1", &["csr", "generate", "--out", "/root/stick"])
        .ok();
    let none = lab.shell("cp1", "grep -rl 'PRIVATE KEY' /root/stick || true");
    assert_eq!(none, "", "no key leaves the node");
    // The etcd and front-proxy CAs sign by this tool, the cluster's CA by openssl.
    for ca in &AUTHORITIES[1..] {
        let (cert, key) = (
            format!("/etc/kubernetes/pki/{ca}.crt"),
            format!("/root/office/{ca}.key"),
        );
        let words = [
            "csr",
            "sign",
            "/root/stick",
            "--ca-cert",
            &cert,
            "--ca-key",
            &key,
        ];
        lab.kit("cp1", &words).ok();
    }
    let line = "cd /root/stick; for csr in *.csr; do
        crt=${csr%.csr}.crt; test -e $crt || openssl x509 -req -in $csr -days 365 -copy_extensions copyall \\
            -CA /etc/kubernetes/pki/ca.crt -CAkey /root/office/ca.key -set_serial 0x$(openssl rand -hex 15) -out $crt 2>&1
    done";
    lab.shell("cp1", line);
    lab.assert_down("cp1");
    let (code, said) = lab.json("cp1", &["csr", "install", "/root/stick", "--yes"]);
    assert_eq!(code, 0, "{said:#}");
    lab.assert_recovered("cp1");
    assert_nothing_to_do(&lab, "cp1");
}
