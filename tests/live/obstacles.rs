//! What is no certificate's fault is named first, and nothing is touched.

use crate::control_plane::{ControlPlane, Ran};

/// What `inspect` and `run` say of a node in this state; `run` must leave everything as it was.
fn told(lab: &ControlPlane) -> (Ran, Ran) {
    let before = (lab.listing("cp1"), lab.sandboxes("cp1"));
    let inspected = lab.kit("cp1", &["inspect"]);
    let refused = lab.kit("cp1", &["run", "--yes"]);
    let after = (lab.listing("cp1"), lab.sandboxes("cp1"));
    assert_eq!(before, after, "{refused:?}");
    (inspected, refused)
}

#[test]
fn q_a_missing_image_a_full_disk_and_a_stopped_runtime_are_named_first() {
    let lab = ControlPlane::one();
    lab.lab("expire", &[]);
    let image = lab.shell(
        "cp1",
        "sed -n 's/ *image: //p' /etc/kubernetes/manifests/kube-scheduler.yaml",
    );
    let image = image.trim();
    // What is in the runtime's store outlives a snapshot, so it is kept under another name.
    let hide = format!(
        "ctr -n k8s.io images tag {image} kept.lab/image:1 && ctr -n k8s.io images rm {image}"
    );
    lab.shell("cp1", &hide);
    let (inspected, refused) = told(&lab);
    let back = format!(
        "ctr -n k8s.io images tag kept.lab/image:1 {image} && ctr -n k8s.io images rm kept.lab/image:1"
    );
    lab.shell("cp1", &back);
    let cause = format!("cause: the image {image} is not on this node");
    inspected
        .exits(3)
        .says(&cause)
        .says("ctr -n k8s.io images import FILE");
    refused
        .exits(5)
        .says(&format!("the image {image} is not on this node"));

    lab.shell("cp1", "mount -t tmpfs -o size=16m tmpfs /var/lib/etcd");
    let (inspected, refused) = told(&lab);
    lab.shell("cp1", "umount /var/lib/etcd");
    let full = "the file system of /var/lib/etcd is full";
    inspected
        .exits(3)
        .says(&format!("cause: {full}"))
        .says("df -h /var/lib/etcd");
    refused.exits(5).says(full);

    lab.shell("cp1", "systemctl stop containerd");
    let (inspected, refused) = told(&lab);
    lab.shell("cp1", "systemctl start containerd");
    let silent = "the container runtime does not answer";
    inspected
        .exits(3)
        .says(&format!("cause: {silent}"))
        .says("systemctl start containerd");
    refused.exits(5).says(silent);

    lab.rescue("cp1");
    lab.assert_recovered("cp1");
}

#[test]
fn q_an_etcd_without_space_is_named_first() {
    let lab = ControlPlane::one();
    let line = "sed -i 's/    - etcd$/&\\n    - --quota-backend-bytes=200000/' /etc/kubernetes/manifests/etcd.yaml";
    lab.shell("cp1", line);
    lab.wait("alarm of etcd", || {
        lab.etcdctl("cp1", &["alarm", "list"])
            .stdout
            .contains("NOSPACE")
    });
    // Also with expired certificates, with which etcd itself cannot be asked.
    lab.lab("expire", &[]);
    let (inspected, refused) = told(&lab);
    let full = "etcd refuses writes: alarm NOSPACE";
    inspected
        .exits(3)
        .says(&format!("cause: {full}"))
        .says("etcdctl alarm disarm");
    refused.exits(5).says(full);
}
