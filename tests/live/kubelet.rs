//! The kubelet's own credential, which it writes itself. Its pods must not notice the rescue.

use crate::control_plane::ControlPlane;
use crate::expired::{assert_nothing_to_do, in_days};

const CURRENT: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem";
/// Embeds the credential in `kubelet.conf`, as kubeadm 1.x before rotation and `kubeadm init phase kubeconfig` do.
const EMBED: &str = r#"
cd /etc/kubernetes
current=/var/lib/kubelet/pki/kubelet-client-current.pem
cert=$(sed -n '/BEGIN CERTIFICATE/,/END CERTIFICATE/p' $current | base64 -w0)
key=$(sed -n '/BEGIN .*PRIVATE KEY/,/END .*PRIVATE KEY/p' $current | base64 -w0)
sed -i "s|client-certificate: .*|client-certificate-data: $cert|; s|client-key: .*|client-key-data: $key|" kubelet.conf
rm /var/lib/kubelet/pki/kubelet-client-*
"#;

/// Restarts the kubelet and waits until it has failed.
fn fail(lab: &ControlPlane) {
    lab.shell("cp1", "systemctl restart kubelet");
    lab.wait("exit of the kubelet", || {
        lab.shell("cp1", "systemctl show kubelet -p NRestarts --value")
            .trim()
            != "0"
    });
}

/// The kubelet reports again, and its pods never noticed.
fn assert_rescued(lab: &ControlPlane) {
    let before = lab.sandboxes("cp1");
    let said = lab.rescue("cp1");
    assert!(said["meter"]["requests"].as_u64() > Some(0), "{said:#}");
    lab.assert_recovered("cp1");
    assert_eq!(before, lab.sandboxes("cp1"), "the pods");
    assert_nothing_to_do(lab, "cp1");
}

/// The current credential is a link to a file beside it, whole and of the node's CA.
fn assert_linked(lab: &ControlPlane) {
    let line = format!(
        "test -L {CURRENT} && openssl verify -CAfile /etc/kubernetes/pki/ca.crt -purpose sslclient {CURRENT}"
    );
    lab.shell("cp1", &line);
}

#[test]
fn f_a_dangling_link_and_a_file_in_its_place_are_mended() {
    let lab = ControlPlane::one();
    let target = format!("rm $(readlink -f {CURRENT})");
    lab.shell("cp1", &target);
    fail(&lab);
    assert_rescued(&lab);
    assert_linked(&lab);
    lab.lab("expire", &["--", "-only", "kubelet-client"]);
    let copy = format!("cp $(readlink -f {CURRENT}) /tmp/c && rm {CURRENT} && mv /tmp/c {CURRENT}");
    lab.shell("cp1", &copy);
    fail(&lab);
    assert_rescued(&lab);
    assert_linked(&lab);
}

#[test]
fn f_an_expired_certificate_within_the_kubeconfig_is_renewed() {
    let lab = ControlPlane::one();
    lab.shell("cp1", EMBED);
    lab.lab("expire", &["--", "-only", "kubelet.conf"]);
    fail(&lab);
    assert_rescued(&lab);
}

/// What the kubelet does when it rotates: a new file, then the link.
fn rotate(lab: &ControlPlane, stamp: &str) {
    let line = format!(
        "cd /var/lib/kubelet/pki && cp -p $(readlink -f {CURRENT}) kubelet-client-{stamp}.pem && \
         echo '# rotated' >> kubelet-client-{stamp}.pem && \
         ln -s /var/lib/kubelet/pki/kubelet-client-{stamp}.pem .new && mv -T .new {CURRENT}"
    );
    lab.shell("cp1", &line);
}

#[test]
fn f_what_the_kubelet_rotates_meanwhile_is_never_overwritten() {
    let lab = ControlPlane::one();
    let due = ["--", "-only", "kubelet-client", "-not-after", &in_days(20)];
    lab.lab("expire", &due);
    let plan = "/root/plan.json";
    let made = lab.kit("cp1", &["plan", "--out", plan]);
    assert!(matches!(made.code, 0 | 3), "{made:?}");
    rotate(&lab, "2026-01-01-01-01-01");
    let rotated = lab.listing("cp1");
    let refused = lab.kit("cp1", &["apply", plan, "--yes"]).exits(5);
    refused.says("the plan was made from other files");
    assert_eq!(rotated, lab.listing("cp1"), "nothing was changed");

    // Between two steps of a run that went on before.
    let run = ["run", "--yes", "--only", "kubelet-client"];
    lab.faulty("cp1", "intent:c02:forward=abort", &run);
    rotate(&lab, "2026-01-01-01-01-02");
    let theirs = lab.shell("cp1", &format!("readlink {CURRENT}; cat {CURRENT}"));
    let stuck = lab.kit("cp1", &["resume", "--yes"]);
    assert!(matches!(stuck.code, 5 | 7), "{stuck:?}");
    stuck.says("kubelet-client-current.pem was changed by somebody else since the run began");
    let still = lab.shell("cp1", &format!("readlink {CURRENT}; cat {CURRENT}"));
    assert_eq!(theirs, still, "the kubelet's own");
}
