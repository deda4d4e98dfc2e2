//! Other ways to a rescue: from outside of the node, without restarts, with all of them, out of a deadlock, with new names.

use std::process::Command;

use crate::control_plane::{BINARY, ControlPlane};
use crate::expired::{assert_nothing_to_do, expire_due};

#[test]
fn l_a_disk_is_rescued_from_outside_and_then_boots() {
    let lab = ControlPlane::one();
    lab.lab("expire", &[]);
    lab.lab("power-off", &[]);
    let root = lab.lab("root", &["cp1"]);
    let rescue = Command::new(BINARY)
        .args(["run", "--yes", "--root", root.trim()])
        .output()
        .unwrap();
    assert!(rescue.status.success(), "{rescue:?}");
    lab.lab("power-on", &[]);
    lab.wait("API server", || {
        let said = lab.kubectl("cp1", &["get", "--raw", "/readyz"]);
        said.code == 0
    });
    lab.wait("leader", || {
        let held = |name| !lab.lease("kube-system", name, "cp1").0.is_empty();
        held("kube-controller-manager") && held("kube-scheduler")
    });
    lab.assert_recovered("cp1");
    assert_nothing_to_do(&lab, "cp1");
}

/// A kubelet that started while the API server was down removes no pod whose manifest was edited, and so starts no new one.
#[test]
fn m_a_kubelet_that_waits_for_the_api_server_it_should_start_is_freed() {
    let lab = ControlPlane::one();
    let only = "etcd-server,etcd-peer,etcd-healthcheck-client,apiserver-etcd-client";
    lab.lab("expire", &["--", "-only", only]);
    lab.shell("cp1", "pkill -9 -x kube-apiserver");
    lab.wait("failure of the API server", || {
        let said = lab.kubectl("cp1", &["get", "--raw", "/readyz"]);
        said.code != 0
    });
    lab.shell("cp1", "systemctl restart kubelet");
    let edit = "cd /etc/kubernetes/manifests && \
        sed -i 's/^  annotations:/&\\n    lab\\/edited: \"yes\"/' kube-apiserver.yaml && grep -q lab/edited kube-apiserver.yaml && \
        touch etcd.yaml";
    lab.shell("cp1", edit);
    lab.assert_down("cp1");
    lab.rescue("cp1");
    lab.assert_recovered("cp1");
    lab.wait("edited pod", || {
        let path = "jsonpath={.metadata.annotations.lab/edited}";
        let words = [
            "get",
            "pod",
            "kube-apiserver-cp1",
            "-n",
            "kube-system",
            "-o",
            path,
        ];
        lab.kubectl("cp1", &words).stdout == "yes"
    });
    assert_nothing_to_do(&lab, "cp1");
}

/// The node got another address while it was off, and somebody wrote it into the manifests and kubeconfigs.
#[test]
fn i_certificates_get_the_new_address_of_the_node() {
    let lab = ControlPlane::one();
    let new = "10.88.0.99";
    lab.lab("power-off", &[]);
    let root = lab.lab("root", &["cp1"]);
    let line = format!(
        "cd {}/etc && sed -i 's/10\\.88\\.0\\.11/{new}/g' hosts kubernetes/manifests/*.yaml kubernetes/*.conf",
        root.trim()
    );
    let edited = Command::new("sh").args(["-euc", &line]).status().unwrap();
    assert!(edited.success());
    lab.lab("power-on", &[]);
    let address = format!(
        "ip addr del 10.88.0.11/24 dev eth0; ip addr add {new}/24 dev eth0; ip route replace default via 10.88.0.1"
    );
    lab.shell("cp1", &address);
    lab.assert_down("cp1");
    let (_, plan) = lab.json("cp1", &["plan"]);
    for id in ["apiserver", "etcd-server", "etcd-peer"] {
        let stages = plan["plan"]["phases"]["stage"].as_array();
        let mut stages = stages.unwrap_or_else(|| panic!("{plan:#}")).iter();
        let stage = stages.find(|stage| stage["credential"] == id);
        let stage = stage.unwrap_or_else(|| panic!("{id}: {plan:#}"));
        assert!(stage.to_string().contains(new), "{stage:#}");
    }
    lab.rescue("cp1");
    lab.assert_recovered("cp1");
    for file in ["apiserver", "etcd/server", "etcd/peer"] {
        let line = format!("openssl x509 -in /etc/kubernetes/pki/{file}.crt -noout -checkip {new}");
        assert!(lab.shell("cp1", &line).contains("does match"), "{file}");
    }
    assert_nothing_to_do(&lab, "cp1");
}

#[test]
fn restarts_are_none_or_all_as_wanted() {
    let lab = ControlPlane::one();
    expire_due(&lab);
    let (before, kubelet) = (lab.sandboxes("cp1"), lab.kubelet("cp1"));
    let never = lab.kit("cp1", &["run", "--yes", "--restart", "never"]).ok();
    assert_eq!(before, lab.sandboxes("cp1"), "{never:?}");
    assert_eq!(kubelet, lab.kubelet("cp1"));
    // What was not restarted is still to be restarted.
    lab.kit("cp1", &["inspect"])
        .exits(3)
        .says("RK0601 scheduler.conf was renewed, kube-scheduler was not restarted");
    lab.kit("cp1", &["run", "--yes", "--all", "--restart", "always"])
        .ok();
    lab.assert_recovered("cp1");
    let after = lab.sandboxes("cp1");
    for name in [
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
    ] {
        assert_ne!(before[name], after[name], "{name}");
    }
    assert_ne!(kubelet, lab.kubelet("cp1"));
    assert_nothing_to_do(&lab, "cp1");
}
