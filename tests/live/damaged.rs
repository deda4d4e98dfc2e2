//! Files that are missing, damaged, or something else than a file.

use crate::control_plane::ControlPlane;
use crate::expired::assert_nothing_to_do;

const PKI: &str = "/etc/kubernetes/pki";

#[test]
fn h_leaves_that_are_missing_or_damaged_are_made_anew() {
    let lab = ControlPlane::one();
    lab.lab("power-off", &[]);
    let root = lab.lab("root", &["cp1"]);
    let pki = format!("{}{PKI}", root.trim());
    std::fs::remove_file(format!("{pki}/apiserver.crt")).unwrap();
    std::fs::copy(
        format!("{pki}/apiserver-kubelet-client.key"),
        format!("{pki}/front-proxy-client.key"),
    )
    .unwrap();
    let server = format!("{pki}/etcd/server.crt");
    let whole = std::fs::read(&server).unwrap();
    std::fs::write(&server, &whole[..whole.len() / 2]).unwrap();
    lab.lab("power-on", &[]);
    lab.assert_down("cp1");
    lab.rescue("cp1");
    lab.assert_recovered("cp1");
    let public = "openssl x509 -noout -pubkey -in front-proxy-client.crt";
    let pair = format!(
        "cd {PKI} && [ \"$({public})\" = \"$(openssl pkey -pubout -in front-proxy-client.key)\" ]"
    );
    lab.shell("cp1", &pair);
    assert_nothing_to_do(&lab, "cp1");
}

/// A kubelet that starts a pod whose kubeconfig is missing puts an empty file there that everybody can read
/// (`FileOrCreate`), or the runtime an empty directory (a `hostPath` without a type).
#[test]
fn h_empty_files_and_directories_instead_of_kubeconfigs_are_replaced() {
    let lab = ControlPlane::one();
    lab.lab("power-off", &[]);
    let root = lab.lab("root", &["cp1"]);
    let etc = format!("{}/etc/kubernetes", root.trim());
    for file in ["scheduler.conf", "controller-manager.conf", "admin.conf"] {
        std::fs::remove_file(format!("{etc}/{file}")).unwrap();
    }
    std::fs::create_dir(format!("{etc}/controller-manager.conf")).unwrap();
    std::fs::create_dir(format!("{etc}/admin.conf")).unwrap();
    lab.lab("power-on", &[]);
    lab.wait("empty file of the kubelet", || {
        lab.exec("cp1", &["test", "-f", "/etc/kubernetes/scheduler.conf"])
            .code
            == 0
    });
    let damaged = lab.listing("cp1");
    lab.rescue("cp1");
    lab.assert_recovered("cp1");
    for file in ["scheduler.conf", "controller-manager.conf", "admin.conf"] {
        let mode = lab.shell("cp1", &format!("stat -c %a:%F /etc/kubernetes/{file}"));
        assert_eq!(mode.trim(), "600:regular file", "{file}");
    }
    assert_nothing_to_do(&lab, "cp1");
    let (code, said) = lab.json("cp1", &["rollback", "--yes"]);
    assert_eq!(code, 0, "{said:#}");
    assert_eq!(damaged, lab.listing("cp1"), "as it was, to the byte");
    lab.rescue("cp1");
    lab.assert_recovered("cp1");
}
