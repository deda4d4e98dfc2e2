//! CAs that have expired: renewed with their own keys, carried to every copy, also of those in the API.

use crate::control_plane::ControlPlane;
use crate::expired::{assert_nothing_to_do, in_days};

/// What `expire` is told to make authorities end a month ago.
fn ended(ids: &str) -> [String; 8] {
    let (begin, end) = (in_days(-3000), in_days(-30));
    let words = [
        "--",
        "-cas",
        "-only",
        ids,
        "-not-before",
        &begin,
        "-not-after",
        &end,
    ];
    words.map(str::to_owned)
}

fn expire(lab: &ControlPlane, nodes: &[&str], ids: &str) {
    let ended = ended(ids);
    let flags: Vec<&str> = ended.iter().map(String::as_str).collect();
    lab.lab("expire", &[nodes, &flags].concat());
}

#[test]
fn three_expired_cas_of_a_power_cycled_node_are_renewed() {
    let lab = ControlPlane::one();
    lab.lab("expire", &[]);
    expire(&lab, &[], "ca,etcd-ca,front-proxy-ca");
    lab.lab("power-cycle", &[]);
    lab.assert_down("cp1");
    let refused = lab.kit("cp1", &["run", "--yes"]).exits(5);
    refused.says("RK0101").says("--ca renew");
    let (code, said) = lab.json("cp1", &["run", "--ca", "renew", "--yes"]);
    assert_eq!(code, 0, "{said:#}");
    lab.assert_recovered("cp1");
    assert_nothing_to_do(&lab, "cp1");
    assert_api_holds_the_ca(&lab, "cp1");
    lab.kit("cp1", &["verify"]).ok();
}

#[test]
fn an_expired_ca_of_etcd_or_of_the_front_proxy_alone_is_renewed() {
    for ids in ["etcd-ca", "front-proxy-ca"] {
        let lab = ControlPlane::one();
        expire(&lab, &[], ids);
        lab.lab("power-cycle", &[]);
        let (code, said) = lab.json("cp1", &["run", "--ca", "renew", "--yes"]);
        assert_eq!(code, 0, "{ids}: {said:#}");
        lab.assert_recovered("cp1");
        assert_nothing_to_do(&lab, "cp1");
    }
}

#[test]
fn renewed_cas_are_carried_to_the_other_nodes() {
    let lab = ControlPlane::three();
    lab.lab("expire", &[]);
    expire(&lab, &[], "ca,etcd-ca,front-proxy-ca");
    lab.lab("power-cycle", &[]);
    lab.kit("cp1", &["run", "--ca", "renew", "--yes"]).ok();
    lab.kit("cp1", &["ca", "export", "--out", "/root/cas"]).ok();
    for node in ["cp2", "cp3"] {
        lab.carry("cp1", "/root/cas", node);
        lab.kit(node, &["run", "--ca-from", "/root/cas", "--yes"])
            .ok();
    }
    for node in ["cp1", "cp2", "cp3"] {
        lab.assert_recovered(node);
        assert_nothing_to_do(&lab, node);
        for file in ["ca.crt", "etcd/ca.crt", "front-proxy-ca.crt"] {
            let path = format!("/etc/kubernetes/pki/{file}");
            let of_first = lab.fingerprint("cp1", &path);
            assert_eq!(lab.fingerprint(node, &path), of_first, "{node}: {file}");
        }
    }
    assert_api_holds_the_ca(&lab, "cp1");
}

#[test]
fn a_bundle_where_the_controller_manager_signs_is_caught_before_a_restart() {
    let lab = ControlPlane::one();
    let sandboxes = lab.sandboxes("cp1");
    let bundle = "cat /etc/kubernetes/pki/front-proxy-ca.crt >>/etc/kubernetes/pki/ca.crt";
    lab.shell("cp1", bundle);
    let text = "RK0021 /etc/kubernetes/pki/ca.crt holds 2 certificates: kube-controller-manager signs with it";
    lab.kit("cp1", &["inspect"]).exits(3).says(text);
    lab.kit("cp1", &["run", "--all", "--yes"])
        .exits(5)
        .says(text);
    assert_eq!(lab.sandboxes("cp1"), sandboxes);
}

#[test]
fn a_ca_below_another_with_an_odd_name_rescues_like_any() {
    let lab = ControlPlane::one();
    let line = "mkdir /root/new /root/company; cd /root/company
        openssl req -x509 -newkey rsa:2048 -nodes -keyout root.key -out root.crt -days 3650 -subj /CN=Root 2>/dev/null
        openssl req -utf8 -newkey rsa:2048 -nodes -keyout ../new/ca.key -out below.csr \
            -subj '/O=Bank für Müller/OU=Süd/OU=Öffentlich/CN=Notfall-CA' 2>/dev/null
        printf 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash\n' >ext
        openssl x509 -req -in below.csr -CA root.crt -CAkey root.key -set_serial 7 -days 3000 -extfile ext -out below.crt 2>/dev/null
        cat below.crt root.crt >../new/ca.crt";
    lab.shell("cp1", line);
    for phase in ["trust", "sign", "drop"] {
        let words = ["ca", "rotate", phase, "--from", "/root/new", "--yes"];
        lab.kit("cp1", &words).ok();
    }
    lab.assert_recovered("cp1");
    lab.lab("expire", &[]);
    lab.lab("power-cycle", &[]);
    lab.assert_down("cp1");
    lab.rescue("cp1");
    lab.assert_recovered("cp1");
    assert_nothing_to_do(&lab, "cp1");
    let issuer = "openssl x509 -in /etc/kubernetes/pki/apiserver.crt -noout -issuer -nameopt utf8,sep_multiline";
    lab.exec("cp1", &["sh", "-c", issuer])
        .ok()
        .says("OU=Süd OU=Öffentlich CN=Notfall-CA");
}

#[test]
fn another_cas_key_signs_nothing() {
    let lab = ControlPlane::one();
    lab.lab("expire", &[]);
    lab.lab("power-cycle", &[]);
    let swap = "cd /etc/kubernetes/pki; mv ca.key own.key; cp front-proxy-ca.key ca.key";
    lab.shell("cp1", swap);
    let before = lab.listing("cp1");
    lab.kit("cp1", &["run", "--yes"])
        .exits(5)
        .says("RK0105 CA ca (/etc/kubernetes/pki/ca.key) does not match its private key");
    assert_eq!(lab.listing("cp1"), before);
    lab.shell("cp1", "cd /etc/kubernetes/pki; mv own.key ca.key");
    lab.rescue("cp1");
    lab.assert_recovered("cp1");
}

/// Pods, joining nodes and aggregated APIs learn whom to trust from these three.
fn assert_api_holds_the_ca(lab: &ControlPlane, node: &str) {
    let ca = lab.shell(node, "cat /etc/kubernetes/pki/ca.crt");
    let of = |namespace: &str, name: &str, key: &str| {
        let path = format!("jsonpath={{.data.{key}}}");
        let words = ["get", "configmap", "-n", namespace, name, "-o", &path];
        lab.kubectl(node, &words).ok().stdout
    };
    lab.wait("new root CA for pods", || {
        of("default", "kube-root-ca.crt", "ca\\.crt").trim() == ca.trim()
    });
    lab.wait("new CA for aggregated APIs", || {
        let held = of(
            "kube-system",
            "extension-apiserver-authentication",
            "client-ca-file",
        );
        held.contains(ca.trim())
    });
    let line = "kubectl get cm -n kube-public cluster-info -o jsonpath={.data.kubeconfig} |
        sed -n 's/.*certificate-authority-data: //p' | base64 -d";
    assert_eq!(lab.shell(node, line).trim(), ca.trim(), "cluster-info");
}
