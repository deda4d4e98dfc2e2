//! A part expired, and only who uses that part may notice the rescue.

use crate::control_plane::ControlPlane;
use crate::expired::assert_nothing_to_do;

const ALL: [&str; 4] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
];

#[test]
fn d_expired_leaves_of_etcd_alone_are_renewed() {
    let lab = ControlPlane::one();
    let only = "etcd-server,etcd-peer,etcd-healthcheck-client,apiserver-etcd-client";
    lab.lab("expire", &["--", "-only", only]);
    lab.lab("power-cycle", &[]);
    lab.wait("etcd that serves an expired certificate", || {
        lab.containers("cp1").contains_key("etcd") && lab.listens("cp1", "2379")
    });
    lab.assert_down("cp1");
    let said = lab.rescue("cp1");
    assert_eq!(replaced(&said).len(), 8, "{said:#}");
    lab.assert_recovered("cp1");
    assert_nothing_to_do(&lab, "cp1");
}

#[test]
fn e_an_expired_front_proxy_client_is_renewed_without_a_restart() {
    let lab = ControlPlane::one();
    lab.lab("expire", &["--", "-only", "front-proxy-client"]);
    let (before, kubelet) = (lab.sandboxes("cp1"), lab.kubelet("cp1"));
    let said = lab.rescue("cp1");
    assert_eq!(
        replaced(&said),
        [
            "/etc/kubernetes/pki/front-proxy-client.key",
            "/etc/kubernetes/pki/front-proxy-client.crt"
        ]
    );
    lab.assert_recovered("cp1");
    lab.assert_untouched("cp1", &before, &ALL);
    assert_eq!(kubelet, lab.kubelet("cp1"));
    let line = "cd /etc/kubernetes/pki && openssl verify -CAfile front-proxy-ca.crt -purpose sslclient front-proxy-client.crt";
    lab.shell("cp1", line);
    assert_nothing_to_do(&lab, "cp1");
}

#[test]
fn j_an_expired_kubeconfig_restarts_its_own_process_alone() {
    let lab = ControlPlane::one();
    for (id, owner) in [
        ("controller-manager.conf", "kube-controller-manager"),
        ("scheduler.conf", "kube-scheduler"),
    ] {
        lab.lab("expire", &["--", "-only", id]);
        let (before, kubelet) = (lab.sandboxes("cp1"), lab.kubelet("cp1"));
        let said = lab.rescue("cp1");
        assert_eq!(replaced(&said), [format!("/etc/kubernetes/{id}")]);
        lab.assert_recovered("cp1");
        let after = lab.sandboxes("cp1");
        for name in ALL {
            assert_eq!(before[name] == after[name], name != owner, "{name}");
        }
        assert_eq!(kubelet, lab.kubelet("cp1"));
    }
    assert_nothing_to_do(&lab, "cp1");
}

#[test]
fn g_what_somebody_renewed_and_never_restarted_is_restarted() {
    let lab = ControlPlane::one();
    let renew = "kubeadm certs renew all";
    lab.shell("cp1", renew);
    let (code, said) = lab.json("cp1", &["inspect"]);
    assert_eq!(code, 3, "{said:#}");
    for owner in ["kube-controller-manager", "kube-scheduler"] {
        let told = said["findings"].as_array().unwrap().iter();
        let mut told = told.filter(|finding| finding["code"] == "RK0601");
        assert!(
            told.any(|finding| finding["subject"] == owner),
            "{owner}: {said:#}"
        );
    }
    let before = lab.sandboxes("cp1");
    let files = lab.hashes("cp1");
    let said = lab.rescue("cp1");
    assert_eq!(replaced(&said).len(), 0, "{said:#}");
    assert_eq!(files, lab.hashes("cp1"), "no file was to be changed");
    lab.assert_recovered("cp1");
    lab.assert_untouched("cp1", &before, &["etcd", "kube-apiserver"]);
    let after = lab.sandboxes("cp1");
    for name in ["kube-controller-manager", "kube-scheduler"] {
        assert_ne!(before[name], after[name]);
    }
    assert_nothing_to_do(&lab, "cp1");
}

/// The places that a run replaced.
pub(crate) fn replaced(said: &serde_json::Value) -> Vec<String> {
    let steps = said["steps"].as_array().unwrap().iter();
    steps
        .map(|step| step["at"].as_str().unwrap_or_default().to_owned())
        .collect()
}
