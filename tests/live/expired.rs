//! Everything expired, or is about to: the patients that everybody meets.

use crate::control_plane::ControlPlane;

#[test]
fn a_due_leaves_are_renewed_while_the_cluster_works() {
    let lab = ControlPlane::one();
    lab.lab("expire", &["--", "-not-after", &in_days(20)]);
    let before = lab.sandboxes("cp1");
    let said = lab.rescue("cp1");
    lab.assert_recovered("cp1");
    let after = lab.sandboxes("cp1");
    lab.assert_untouched("cp1", &before, &["etcd", "kube-apiserver"]);
    assert_ne!(before["kube-scheduler"], after["kube-scheduler"]);
    assert_ne!(
        before["kube-controller-manager"],
        after["kube-controller-manager"]
    );
    assert!(said["meter"]["requests"].as_u64() > Some(0), "{said:#}");
    assert_nothing_to_do(&lab, "cp1");
}

#[test]
fn b_expired_leaves_of_running_processes_are_renewed() {
    let lab = ControlPlane::one();
    lab.lab("expire", &[]);
    lab.assert_down("cp1");
    lab.rescue("cp1");
    lab.assert_recovered("cp1");
    assert_nothing_to_do(&lab, "cp1");
}

#[test]
fn c_an_expired_node_that_was_power_cycled_comes_back() {
    let lab = ControlPlane::one();
    lab.lab("expire", &[]);
    lab.lab("power-cycle", &[]);
    lab.assert_down("cp1");
    lab.rescue("cp1");
    lab.assert_recovered("cp1");
    assert_nothing_to_do(&lab, "cp1");
}

/// A second run finds nothing to do, and the diagnosis nothing that is broken.
pub(crate) fn assert_nothing_to_do(lab: &ControlPlane, node: &str) {
    let (code, said) = lab.json(node, &["run", "--yes"]);
    assert_eq!(
        (code, said["changed"].as_bool()),
        (0, Some(false)),
        "{said:#}"
    );
}

/// Makes leaves due which are so young that the kubelet does not rotate its own at once.
pub(crate) fn expire_due(lab: &ControlPlane) {
    let (begin, end) = (in_days(-1), in_days(20));
    lab.lab("expire", &["--", "-not-before", &begin, "-not-after", &end]);
}

/// A date so many days from now, as `expire` takes it.
pub(crate) fn in_days(days: i32) -> String {
    let output = std::process::Command::new("date")
        .args(["-u", "-d", &format!("{days:+} days"), "+%Y-%m-%dT%H:%M:%SZ"])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
