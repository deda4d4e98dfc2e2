//! What real programs say when certificates are wrong is what `explain` knows.

use crate::control_plane::{BINARY, ControlPlane};

/// What is done wrong with kubectl or others on a healthy node, and what explains the answer.
const WRONG: [(&str, &str); 8] = [
    (
        "kubectl --kubeconfig /etc/kubernetes/admin.conf --server https://127.0.0.1:6443 get nodes",
        "x509: certificate is valid for *, not",
    ),
    (
        "kubectl --kubeconfig /etc/kubernetes/admin.conf --certificate-authority /etc/kubernetes/pki/front-proxy-ca.crt get nodes",
        "certificate signed by unknown authority",
    ),
    (
        "kubectl --kubeconfig /dev/null --server https://$(hostname -i):6443 --insecure-skip-tls-verify --token none get nodes",
        "You must be logged in to the server",
    ),
    (
        "kubectl --kubeconfig /etc/kubernetes/admin.conf --as system:anonymous get --raw /api/v1/nodes",
        "is forbidden: User * system:anonymous",
    ),
    (
        "rm -rf ~/.kube/cache; kubectl --kubeconfig /etc/kubernetes/admin.conf --as system:anonymous get nodes",
        "couldn't get current server API group list: unknown",
    ),
    (
        "kubectl --kubeconfig /etc/kubernetes/admin.conf --server https://127.0.0.1:1 get nodes",
        "The connection to the server * was refused",
    ),
    (
        "openssl s_client -connect 127.0.0.1:6443 </dev/null",
        "unable to get local issuer certificate",
    ),
    (
        "cd /etc/kubernetes/pki/etcd; etcdctl --endpoints https://127.0.0.1:2379 --cacert ca.crt --cert peer.crt --key server.key endpoint health",
        "private key does not match public key",
    ),
];

#[test]
fn what_is_said_of_wrong_credentials_is_explained() {
    let lab = ControlPlane::one();
    for (line, says) in WRONG {
        assert_explained(&lab, &format!("( {line} ) 2>&1"), says);
    }
}

#[test]
fn what_an_expired_node_says_is_explained() {
    let lab = ControlPlane::one();
    lab.lab("expire", &[]);
    lab.assert_down("cp1");
    let expired = "certificate has expired or is not yet valid: current time * is after";
    let admin = "kubectl --kubeconfig /etc/kubernetes/admin.conf get nodes 2>&1";
    assert_explained(&lab, admin, expired);
    lab.lab("power-cycle", &[]);
    let log = "journalctl -u kubelet -b --no-pager";
    lab.wait("word of the kubelet", || {
        lab.shell("cp1", log).contains("bootstrap-kubelet.conf")
    });
    let first = "part of the existing bootstrap client certificate in * is expired";
    assert_explained(&lab, log, first);
    assert_explained(
        &lab,
        log,
        "unable to load bootstrap kubeconfig: stat *: no such file or directory",
    );
}

/// What a line of shell prints is explained by what says this.
fn assert_explained(lab: &ControlPlane, line: &str, says: &str) {
    let said = lab.exec("cp1", &["sh", "-uc", line]).stdout;
    let explain = format!("{{ {line}; }} | {BINARY} explain -");
    let explained = lab.exec("cp1", &["sh", "-uc", &explain]);
    let wanted = format!("says    {says}\n");
    assert!(explained.stdout.contains(&wanted), "{said}\n{explained:?}");
}
