//! A control plane without kubeadm: everything is a systemd unit, and cfssl made the certificates.

use crate::control_plane::ControlPlane;
use crate::expired::assert_nothing_to_do;

/// The order in which they are restarted.
const RESTARTED: [&str; 4] = [
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
];
/// `expire` takes it for a leaf; nobody judges its dates.
const TOKENS: [&str; 3] = ["--", "-skip", "etc/kubernetes/ssl/service-account.pem"];

#[test]
fn p_expired_units_come_back_in_order_after_a_power_cut() {
    let lab = ControlPlane::units();
    lab.lab("expire", &TOKENS);
    lab.lab("power-cycle", &[]);
    lab.assert_down("cp1");
    let tokens = lab.fingerprint("cp1", "/etc/kubernetes/ssl/service-account.pem");
    let said = lab.rescue("cp1");
    lab.assert_recovered("cp1");
    let starts = RESTARTED.map(|unit| started(&lab, unit));
    assert!(starts.is_sorted(), "{RESTARTED:?}: {starts:?}\n{said:#}");
    let kept = lab.fingerprint("cp1", "/etc/kubernetes/ssl/service-account.pem");
    assert_eq!(tokens, kept, "tokens stay valid");
    assert_nothing_to_do(&lab, "cp1");
    assert_eq!(RESTARTED.map(|unit| started(&lab, unit)), starts);
}

#[test]
fn p_expired_units_that_run_come_back() {
    let lab = ControlPlane::units();
    lab.lab("wait", &[]);
    lab.lab("expire", &TOKENS);
    lab.assert_down("cp1");
    let before = ["etcd", "kube-apiserver"].map(|unit| started(&lab, unit));
    lab.rescue("cp1");
    lab.assert_recovered("cp1");
    let after = ["etcd", "kube-apiserver"].map(|unit| started(&lab, unit));
    // Both read their files by themselves.
    assert!(after == before || lab.tells_of_a_late_reader("cp1"));
    assert_nothing_to_do(&lab, "cp1");
}

#[test]
fn p_a_unit_that_hit_its_start_limit_is_started_again() {
    let lab = ControlPlane::units();
    lab.shell(
        "cp1",
        "for unit in kube-apiserver kube-scheduler; do
            mkdir -p /etc/systemd/system/$unit.service.d
            printf '[Unit]\\nStartLimitIntervalSec=600\\nStartLimitBurst=2\\n[Service]\\nRestartSec=100ms\\n' \\
                >/etc/systemd/system/$unit.service.d/limit.conf
        done
        systemctl daemon-reload
        for unit in kube-apiserver kube-scheduler; do
            timeout 60 sh -c \"until systemctl is-failed --quiet $unit; do systemctl kill --signal=KILL $unit 2>/dev/null || true; done\"
        done",
    );
    lab.lab("expire", &TOKENS);
    let said = lab.kit("cp1", &["inspect"]).stdout;
    for unit in ["kube-apiserver", "kube-scheduler"] {
        let gave_up = format!("systemd gave up on {unit}.service");
        assert!(said.contains(&gave_up), "{said}");
    }
    lab.rescue("cp1");
    lab.assert_recovered("cp1");
    assert_nothing_to_do(&lab, "cp1");
}

#[test]
fn p_the_disk_of_a_dead_node_is_rescued_from_outside() {
    let lab = ControlPlane::units();
    lab.lab("expire", &TOKENS);
    lab.lab("power-off", &[]);
    let root = lab.lab("root", &["cp1"]);
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_rescue-kit"))
        .args(["--root", root.trim(), "run", "--yes"])
        .output()
        .unwrap();
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    lab.lab("power-on", &[]);
    lab.lab("wait", &[]);
    lab.assert_recovered("cp1");
    assert_nothing_to_do(&lab, "cp1");
}

/// When a unit's main process began, in microseconds since the boot.
fn started(lab: &ControlPlane, unit: &str) -> u64 {
    let property = "ExecMainStartTimestampMonotonic";
    let shown = lab.shell(
        "cp1",
        &format!("systemctl show --value -p {property} {unit}"),
    );
    shown.trim().parse().unwrap()
}
