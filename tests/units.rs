//! The layout of systemd units, on trees that openssl made: what flags name is found, wherever they are written.

use std::fs;

use tempfile::TempDir;

use crate::harness::{Node, lab_program, other};

const SSL: &str = "/etc/kubernetes/ssl";
/// One subject as kubeasz writes it.
const SUBJECT: &str = "/C=CN/ST=HangZhou/L=XS/O=k8s/OU=System/CN=kubernetes";
const SHARED: &str = "/etc/kubernetes/ssl/kubernetes.pem";

/// The tree of a node as kubeasz makes it: one CA for everything, which also signs tokens; one certificate that is the API
/// server's and its clients'; flags in units, drop-ins and environment files. The leaves end in ten days.
pub(crate) fn kubeasz() -> Node {
    let node = empty();
    let ssl = node.path(SSL);
    let script = format!(
        "ca() {{ openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -keyout ca-key.pem -out ca.pem \
           -subj /C=CN/ST=HangZhou/L=XS/O=k8s/OU=System/CN=kubernetes-ca -addext keyUsage=critical,keyCertSign,cRLSign; }}
        leaf() {{ openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $1-key.pem -out $1.csr -subj \"$2\"
            printf 'keyUsage=critical,digitalSignature,keyEncipherment\\nextendedKeyUsage=serverAuth,clientAuth\\n%s\\n' \"$3\" >ext
            openssl x509 -req -in $1.csr -CA ca.pem -CAkey ca-key.pem -days 10 -extfile ext -out $1.pem; rm ext $1.csr; }}
        ca
        leaf kubernetes {SUBJECT} 'subjectAltName=IP:127.0.0.1,IP:192.0.2.1,IP:10.68.0.1,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc'
        leaf etcd /O=k8s/CN=etcd 'subjectAltName=IP:127.0.0.1,IP:192.0.2.1'
        leaf aggregator-proxy /O=k8s/CN=aggregator ''
        leaf kubelet /O=system:nodes/CN=system:node:cp1 'subjectAltName=DNS:cp1,IP:192.0.2.1'
        leaf scheduler /O=system:kube-scheduler/CN=system:kube-scheduler ''"
    );
    other("sh", &["-euc", &script], &ssl).exits(0);
    unit(
        &node,
        "etcd",
        "[Service]\nType=notify\nEnvironmentFile=-/etc/etcd.env\nExecStart=/opt/bin/etcd --name=etcd-192.0.2.1\n",
    );
    node.write(
        "/etc/etcd.env",
        format!(
            "# etcd's own variables\nETCD_CERT_FILE={SSL}/etcd.pem\nETCD_KEY_FILE={SSL}/etcd-key.pem\nETCD_PEER_CERT_FILE=\"{SSL}/etcd.pem\"\n\
             ETCD_PEER_KEY_FILE={SSL}/etcd-key.pem\nETCD_TRUSTED_CA_FILE={SSL}/ca.pem\nETCD_PEER_TRUSTED_CA_FILE={SSL}/ca.pem\n\
             ETCD_LISTEN_CLIENT_URLS=https://192.0.2.1:2379,http://127.0.0.1:2379\n"
        ),
    );
    unit(
        &node,
        "kube-apiserver",
        "[Service]\nExecStart=/opt/bin/kube-apiserver --this-is=replaced\n",
    );
    fs::create_dir_all(node.path("/etc/systemd/system/kube-apiserver.service.d")).unwrap();
    node.write(
        "/etc/systemd/system/kube-apiserver.service.d/10-flags.conf",
        format!(
            "[Service]\nEnvironment=\"SSL={SSL}\" BIND=192.0.2.1\nExecStart=\nExecStart=-/opt/bin/kube-apiserver \\\n  --advertise-address=${{BIND}} \\\n\
             # one certificate for three purposes\n  --tls-cert-file=${{SSL}}/kubernetes.pem --tls-private-key-file ${{SSL}}/kubernetes-key.pem \\\n  \
             --kubelet-client-certificate=${{SSL}}/kubernetes.pem \"--kubelet-client-key=${{SSL}}/kubernetes-key.pem\" \\\n  \
             --etcd-cafile=${{SSL}}/ca.pem --etcd-certfile=${{SSL}}/kubernetes.pem --etcd-keyfile=${{SSL}}/kubernetes-key.pem \\\n  \
             --client-ca-file=${{SSL}}/ca.pem --requestheader-client-ca-file=${{SSL}}/ca.pem \\\n  \
             --proxy-client-cert-file=${{SSL}}/aggregator-proxy.pem --proxy-client-key-file=${{SSL}}/aggregator-proxy-key.pem \\\n  \
             --service-account-key-file=${{SSL}}/ca.pem --service-account-signing-key-file=${{SSL}}/ca-key.pem \\\n  \
             --service-cluster-ip-range=10.68.0.0/16\n"
        ),
    );
    unit(
        &node,
        "kube-scheduler",
        "[Service]\nWorkingDirectory=/etc/kubernetes\nExecStart=/opt/bin/kube-scheduler --kubeconfig=./kube-scheduler.kubeconfig\n",
    );
    kubeconfig(&node, "kube-scheduler", "scheduler");
    unit(
        &node,
        "kubelet",
        "[Service]\nExecStart=/opt/bin/kubelet --config=/var/lib/kubelet/config.yaml --kubeconfig=/etc/kubernetes/kubelet.kubeconfig\n",
    );
    node.write(
        "/var/lib/kubelet/config.yaml",
        format!("kind: KubeletConfiguration\ntlsCertFile: {SSL}/kubelet.pem\ntlsPrivateKeyFile: {SSL}/kubelet-key.pem\n"),
    );
    kubeconfig(&node, "kubelet", "kubelet");
    node
}

fn empty() -> Node {
    let dir = TempDir::new().unwrap();
    for below in [
        "etc/kubernetes/ssl",
        "etc/systemd/system",
        "var/lib/kubelet",
        "usr/lib/systemd/system",
    ] {
        fs::create_dir_all(dir.path().join(below)).unwrap();
    }
    Node::copy_of(dir.path())
}

fn unit(node: &Node, name: &str, text: &str) {
    node.write(&format!("/etc/systemd/system/{name}.service"), text);
}

/// A kubeconfig that names files.
fn kubeconfig(node: &Node, name: &str, pair: &str) {
    node.write(
        &format!("/etc/kubernetes/{name}.kubeconfig"),
        format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: c\n  cluster:\n    server: https://192.0.2.1:6443\n    \
             certificate-authority: ssl/ca.pem\nusers:\n- name: u\n  user:\n    client-certificate: ssl/{pair}.pem\n    \
             client-key: ssl/{pair}-key.pem\ncontexts:\n- name: d\n  context:\n    cluster: c\n    user: u\ncurrent-context: d\n"
        ),
    );
}

/// What differs between two files, as Go sees it.
fn differences(node: &Node, old: &[u8], path: &str) -> Vec<String> {
    let dir = TempDir::new().unwrap();
    let kept = dir.path().join("old.pem");
    fs::write(&kept, old).unwrap();
    let words = [
        "compare",
        kept.to_str().unwrap(),
        &node.path(path).display().to_string(),
    ];
    let said = other(lab_program("judge"), &words, dir.path())
        .exits(0)
        .json();
    let differ = said["differ"].as_array().unwrap().iter();
    differ
        .map(|part| part.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn is_detected_and_listed() {
    let node = kubeasz();
    node.run(&["profile", "detect"])
        .exits(0)
        .prints("* systemd: fits: /etc/systemd/system/kube-apiserver.service is present");
    node.run(&["profile", "list"])
        .exits(0)
        .prints("systemd systemd units without kubeadm");
    let elsewhere = empty();
    fs::create_dir_all(elsewhere.path("/etc/kubernetes/manifests")).unwrap();
    elsewhere.write("/etc/kubernetes/manifests/kube-apiserver.yaml", "");
    unit(&elsewhere, "kube-apiserver", "");
    assert_eq!(
        elsewhere.json(&["profile", "detect"])["detected"],
        "kubeadm-external-etcd"
    );
}

#[test]
fn every_flag_is_found_and_one_ca_is_one() {
    let node = kubeasz();
    let said = node.json(&["inspect"]);
    let rows = said["certificates"].as_array().unwrap().iter();
    let rows: Vec<String> = rows
        .map(|row| format!("{} {} {}", row["id"], row["path"], row["status"]).replace('"', ""))
        .collect();
    let expected = [
        "ca /etc/kubernetes/ssl/ca.pem ok",
        "etcd-server /etc/kubernetes/ssl/etcd.pem expiring",
        "etcd-peer /etc/kubernetes/ssl/etcd.pem expiring",
        "apiserver-etcd-client /etc/kubernetes/ssl/kubernetes.pem expiring",
        "apiserver /etc/kubernetes/ssl/kubernetes.pem expiring",
        "apiserver-kubelet-client /etc/kubernetes/ssl/kubernetes.pem expiring",
        "front-proxy-client /etc/kubernetes/ssl/aggregator-proxy.pem expiring",
        "scheduler.conf /etc/kubernetes/kube-scheduler.kubeconfig expiring",
        "kubelet.conf /etc/kubernetes/kubelet.kubeconfig expiring",
        "kubelet-serving /etc/kubernetes/ssl/kubelet.pem expiring",
    ];
    assert_eq!(rows, expected, "{said:#}");
}

#[test]
fn a_certificate_of_several_purposes_is_replaced_once_with_the_names_of_all() {
    let node = kubeasz();
    // The API server's name, and a name that only the etcd client's flag would not ask for.
    let unit_file = "/etc/systemd/system/kube-apiserver.service.d/10-flags.conf";
    let text = String::from_utf8(node.read(unit_file)).unwrap();
    node.write(unit_file, text.replace("BIND=192.0.2.1", "BIND=192.0.2.9"));
    let (old, ca_key) = (
        node.read(SHARED),
        node.read("/etc/kubernetes/ssl/ca-key.pem"),
    );
    let kubeconfigs = ["kube-scheduler", "kubelet"].map(|name| {
        let path = format!("/etc/kubernetes/{name}.kubeconfig");
        (node.read(&path), path)
    });
    let said = node.json(&["run", "--yes"]);
    let steps = said["steps"].as_array().unwrap().iter();
    let replaced: Vec<&str> = steps.filter_map(|step| step["at"].as_str()).collect();
    for path in [SHARED, "/etc/kubernetes/ssl/kubelet.pem"] {
        let times = replaced.iter().filter(|at| **at == path).count();
        assert_eq!(times, 1, "{path}: {said:#}");
    }
    assert_eq!(
        differences(&node, &old, SHARED),
        ["serial", "validity", "spki", "ski", "san"]
    );
    let new = String::from_utf8(node.read(SHARED)).unwrap();
    assert_eq!(new.matches("BEGIN").count(), 1);
    let words = [
        "x509",
        "-noout",
        "-subject",
        "-ext",
        "subjectAltName",
        "-in",
    ];
    let path = node.path(SHARED).display().to_string();
    other("openssl", &[&words[..], &[&path]].concat(), &node.root)
        .exits(0)
        .prints("C = CN, ST = HangZhou, L = XS, O = k8s, OU = System, CN = kubernetes")
        .prints("IP Address:192.0.2.9");
    assert_eq!(
        node.read("/etc/kubernetes/ssl/ca-key.pem"),
        ca_key,
        "signs tokens, too"
    );
    for (before, path) in kubeconfigs {
        assert_eq!(node.read(&path), before, "{path} names files");
    }
    assert_eq!(node.json(&["run", "--yes"])["changed"], false);
}

#[test]
fn a_key_that_signs_tokens_is_kept_when_its_certificate_is_renewed() {
    let node = kubeasz();
    let unit_file = "/etc/systemd/system/kube-apiserver.service.d/10-flags.conf";
    let text = String::from_utf8(node.read(unit_file)).unwrap();
    let text = text
        .replace("key-file=${SSL}/ca.pem", "key-file=${SSL}/kubernetes.pem")
        .replace(
            "key-file=${SSL}/ca-key.pem",
            "key-file=${SSL}/kubernetes-key.pem",
        );
    node.write(unit_file, text);
    let (old, key) = (
        node.read(SHARED),
        node.read("/etc/kubernetes/ssl/kubernetes-key.pem"),
    );
    node.run(&["run", "--yes"]).exits(0);
    assert_eq!(node.read("/etc/kubernetes/ssl/kubernetes-key.pem"), key);
    assert_eq!(differences(&node, &old, SHARED), ["serial", "validity"]);
}

#[test]
fn a_file_alone_describes_another_directory_and_other_units() {
    let node = kubeasz();
    fs::create_dir_all(node.path("/opt/company")).unwrap();
    fs::rename(node.path(SSL), node.path("/opt/company/pki")).unwrap();
    let system = node.path("/etc/systemd/system");
    fs::remove_dir_all(system.join("kube-apiserver.service.d")).unwrap();
    fs::remove_file(system.join("kube-apiserver.service")).unwrap();
    node.write(
        "/usr/lib/systemd/system/company-api.service",
        "[Service]\nExecStart=/opt/company/start-api\n",
    );
    node.remove("/etc/etcd.env");
    node.run(&["inspect"]).exits(5);
    let dir = TempDir::new().unwrap();
    let profile = dir.path().join("company.toml");
    fs::write(
        &profile,
        "schema = 1\nname = \"company\"\ntitle = \"Company's own\"\nextends = \"systemd\"\n\
         without = [\"kubelet.conf\", \"kubelet-serving\", \"scheduler.conf\"]\nanchor = \"/opt/company\"\n\
         [detect]\nall = [\"/usr/lib/systemd/system/company-api.service\"]\n\
         [vars]\npki = \"/opt/company/pki\"\n\
         [component]\nkube-apiserver = { unit = \"company-api\" }\n\
         [credential.apiserver]\nsigner = \"ca\"\nat = { cert = \"{pki}/kubernetes.pem\", key = \"{pki}/kubernetes-key.pem\" }\n\
         create = { template = \"server\", cn = \"kube-apiserver\", mode = [0o644, 0o600] }\n\
         [credential.etcd-server]\nsigner = \"ca\"\nat = { cert = \"{pki}/etcd.pem\", key = \"{pki}/etcd-key.pem\" }\n\
         create = { template = \"peer\", cn = \"etcd\", mode = [0o644, 0o600] }\n",
    )
    .unwrap();
    let profile = profile.to_str().unwrap();
    let words = |rest: &[&'static str]| {
        let mut all = vec!["--profile", profile];
        all.extend(rest);
        node.json(&all)
    };
    let said = words(&["run", "--yes"]);
    assert_eq!(said["changed"], true, "{said:#}");
    let rows = words(&["inspect"]);
    let rows = rows["certificates"].as_array().unwrap().iter();
    let owned: Vec<String> = rows
        .filter(|row| !row["id"].as_str().unwrap().starts_with('/'))
        .map(|row| format!("{} {}", row["id"], row["status"]).replace('"', ""))
        .collect();
    assert_eq!(owned, ["ca ok", "etcd-server ok", "apiserver ok"]);
}

#[test]
fn hostile_units_are_no_reason_to_fail() {
    let node = kubeasz();
    unit(
        &node,
        "kube-scheduler",
        "[Service]\nEnvironmentFile=relative\nEnvironmentFile=/etc/../../x\nExecStart=/x --kubeconfig=\\x00 --config=http://a\n",
    );
    node.write("/etc/etcd.env", [0u8, 255, b'\n', b'=', b'\\']);
    node.run(&["inspect"]).exits(3).prints("apiserver");
}
