//! A container runtime that answers and refuses: the pod is stopped by way of its manifest.

use std::process::Command;

use crate::control_plane::ControlPlane;
use crate::expired::assert_nothing_to_do;

/// A directory that cannot be removed, until this is dropped.
struct Nailed(String);

impl Nailed {
    fn down(path: String) -> Self {
        assert!(chattr("+i", &path));
        Self(path)
    }
}

impl Drop for Nailed {
    fn drop(&mut self) {
        chattr("-i", &self.0);
    }
}

fn chattr(flag: &str, path: &str) -> bool {
    let status = Command::new("chattr").args([flag, path]).status().unwrap();
    status.success()
}

#[test]
fn a_pod_whose_sandbox_cannot_be_removed_is_restarted_by_its_manifest() {
    let lab = ControlPlane::one();
    lab.lab("expire", &["--", "-only", "scheduler.conf"]);
    let sandbox = lab.sandboxes("cp1")["kube-scheduler"].clone();
    let root = lab.lab("root", &["cp1"]);
    let sandboxes = "var/lib/containerd/io.containerd.grpc.v1.cri/sandboxes";
    let nailed = Nailed::down(format!("{}/{sandboxes}/{sandbox}", root.trim()));
    let before = lab.containers("cp1");
    let said = lab.rescue("cp1");
    drop(nailed);
    let how = "its manifest was taken away and put back";
    assert!(said.to_string().contains(how), "{said:#}");
    assert_ne!(
        before["kube-scheduler"],
        lab.containers("cp1")["kube-scheduler"]
    );
    lab.assert_recovered("cp1");
    assert_nothing_to_do(&lab, "cp1");
}
