//! Cold starts: rehearsed while everything runs, and with the controllers kept back.

use crate::control_plane::ControlPlane;
use crate::expired::assert_nothing_to_do;

#[test]
fn a_rehearsal_finds_what_a_cold_start_would_lack() {
    let lab = ControlPlane::one();
    let before = lab.sandboxes("cp1");
    let rehearsed = lab.kit("cp1", &["verify", "--cold-start"]);
    assert_eq!(rehearsed.code, 0, "{rehearsed:?}");
    // What is in the runtime's store outlives a snapshot, so it is kept under another name.
    let image = lab.shell(
        "cp1",
        "sed -n 's/ *image: //p' /etc/kubernetes/manifests/kube-scheduler.yaml",
    );
    let image = image.trim();
    let hide = format!(
        "ctr -n k8s.io images tag {image} kept.lab/image:1 && ctr -n k8s.io images rm {image}
        mv /etc/kubernetes/pki/sa.pub /root/
        cat /etc/kubernetes/pki/front-proxy-ca.crt >>/etc/kubernetes/pki/ca.crt
        systemctl disable kubelet 2>/dev/null"
    );
    lab.shell("cp1", &hide);
    let (code, said) = lab.json("cp1", &["verify", "--cold-start"]);
    let back = format!(
        "ctr -n k8s.io images tag kept.lab/image:1 {image} && ctr -n k8s.io images rm kept.lab/image:1"
    );
    lab.shell("cp1", &back);
    assert_eq!(code, 3, "{said:#}");
    let checks = said["verification"]["checks"].as_array().unwrap().iter();
    let failed: Vec<&str> = checks
        .filter(|check| check["outcome"]["fail"].is_string())
        .map(|check| check["subject"].as_str().unwrap())
        .collect();
    for subject in [
        "kubelet",
        "--service-account-key-file of kube-apiserver",
        "signer of kube-controller-manager",
        "images",
    ] {
        assert!(failed.contains(&subject), "{subject}: {failed:?}");
    }
    // A controller that loses its lease ends by itself, within its sandbox.
    assert_eq!(lab.sandboxes("cp1"), before, "a rehearsal touches nothing");
}

#[test]
fn controllers_are_held_back_until_every_kubelet_reports() {
    let lab = ControlPlane::one();
    lab.lab("expire", &[]);
    lab.lab("power-cycle", &[]);
    let manifests = "cd /etc/kubernetes/manifests && find . -name '*kube-controller-manager*' | sort | xargs sha256sum";
    let before = lab.shell("cp1", manifests);
    let (code, said) = lab.json("cp1", &["run", "--hold-controllers", "--yes"]);
    assert_eq!(code, 0, "{said:#}");
    let processes = said["processes"].as_array().unwrap().iter();
    let seen: Vec<&str> = processes
        .flat_map(|process| process["seen"].as_array().unwrap())
        .map(|seen| seen.as_str().unwrap())
        .collect();
    let at = |wanted: &str| {
        let found = seen.iter().position(|seen| seen.contains(wanted));
        found.unwrap_or_else(|| panic!("{wanted}: {seen:#?}"))
    };
    assert!(at("is set aside") < at("every kubelet reports"));
    assert!(at("every kubelet reports") < at("kube-controller-manager.yaml is back"));
    assert!(
        at("kube-controller-manager.yaml is back")
            < at("the lease kube-controller-manager is held")
    );
    assert_eq!(lab.shell("cp1", manifests), before);
    lab.assert_recovered("cp1");
    assert_nothing_to_do(&lab, "cp1");
}
