//! Three nodes: one expired, all dead, all renewed while somebody writes; and what a node says of its peers.

use std::process::Command;

use crate::control_plane::ControlPlane;
use crate::expired::{assert_nothing_to_do, in_days};
use crate::meter::Meter;

const NODES: [&str; 3] = ["cp1", "cp2", "cp3"];

#[test]
fn k_one_expired_node_of_three_comes_back() {
    let lab = ControlPlane::three();
    lab.lab("expire", &["cp1"]);
    lab.lab("power-cycle", &["cp1"]);
    let said = lab.rescue("cp1");
    assert_eq!(said["verification"]["scope"], "live", "{said:#}");
    assert_eq!(said["next"].as_array().unwrap().len(), 0, "{said:#}");
    for node in NODES {
        lab.assert_recovered(node);
    }
    assert_nothing_to_do(&lab, "cp1");
}

#[test]
fn k_three_dead_nodes_come_back_one_after_another() {
    let lab = ControlPlane::three();
    lab.lab("expire", &[]);
    lab.lab("power-cycle", &[]);
    let first = lab.rescue("cp1");
    assert_eq!(first["verification"]["scope"], "local", "{first:#}");
    let next: Vec<&str> = first["next"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["consumer"].as_str().unwrap())
        .collect();
    assert_eq!(next, ["cp2 (10.88.0.12)", "cp3 (10.88.0.13)"]);
    let second = lab.rescue("cp2");
    assert_eq!(second["verification"]["scope"], "live", "{second:#}");
    lab.rescue("cp3");
    for node in NODES {
        lab.assert_recovered(node);
        assert_nothing_to_do(&lab, node);
    }
}

#[test]
fn k_a_rolling_renewal_loses_no_write() {
    let lab = ControlPlane::three();
    lab.lab("expire", &["--", "-not-after", &in_days(20)]);
    lab.lab("power-cycle", &[]);
    lab.lab("wait", &[]);
    let meter = Meter::start(&lab, "cp1", &NODES);
    for node in NODES {
        let said = lab.rescue(node);
        assert_eq!(said["verification"]["scope"], "live", "{said:#}");
    }
    let seen = meter.stop();
    assert_eq!(seen["writes"]["lost"], 0, "{seen:#}");
    assert!(
        seen["writes"]["requests"].as_u64().unwrap() > 50,
        "{seen:#}"
    );
    for node in NODES {
        lab.assert_recovered(node);
    }
}

#[test]
fn a_node_stops_nothing_while_a_peer_is_away() {
    let lab = ControlPlane::three();
    lab.lab("power-off", &["cp3"]);
    let before = files(&lab, "cp1");
    let (code, said) = lab.json("cp1", &["run", "--all", "--restart", "always", "--yes"]);
    assert_eq!(code, 5, "{said:#}");
    let refusal = &said["error"]["refusals"][0];
    assert_eq!(refusal["code"], "RK0604", "{said:#}");
    assert_eq!(refusal["subject"], "cp3");
    assert_eq!(files(&lab, "cp1"), before, "nothing was changed");
    let (code, said) = lab.json("cp1", &["inspect"]);
    assert_eq!(code, 3, "{said:#}");
    assert!(
        said.to_string().contains("etcd member cp3 does not answer"),
        "{said:#}"
    );
    let (code, said) = lab.json("cp1", &["run", "--all", "--despite-peers", "--yes"]);
    assert_eq!(code, 0, "{said:#}");
}

#[test]
fn the_leader_of_etcd_hands_over_before_it_is_restarted() {
    let lab = ControlPlane::three();
    let leads = |node: &str| {
        let said = lab
            .etcdctl(node, &["endpoint", "status", "-w", "json"])
            .ok()
            .stdout;
        let status: serde_json::Value = serde_json::from_str(&said).unwrap();
        let status = &status[0]["Status"];
        status["leader"] == status["header"]["member_id"]
    };
    let leader = NODES.into_iter().find(|node| leads(node)).unwrap();
    let before = lab.sandboxes(leader);
    let (code, said) = lab.json(leader, &["run", "--all", "--restart", "always", "--yes"]);
    assert_eq!(code, 0, "{said:#}");
    assert!(
        said.to_string().contains("handed leadership to cp"),
        "{said:#}"
    );
    let after = lab.sandboxes(leader);
    for component in ["etcd", "kube-apiserver", "kube-scheduler"] {
        assert_ne!(before[component], after[component]);
    }
    assert!(!leads(leader));
    for node in NODES {
        lab.assert_recovered(node);
    }
}

#[test]
fn certificates_of_another_node_are_named_and_replaced() {
    let lab = ControlPlane::three();
    let root = |node: &str| lab.lab("root", &[node]).trim().to_owned();
    for name in ["server", "peer"] {
        for ending in ["crt", "key"] {
            let file = format!("etc/kubernetes/pki/etcd/{name}.{ending}");
            let copied = Command::new("cp")
                .arg(format!("{}/{file}", root("cp2")))
                .arg(format!("{}/{file}", root("cp1")))
                .status()
                .unwrap();
            assert!(copied.success());
        }
    }
    let (code, said) = lab.json("cp1", &["inspect"]);
    assert_eq!(code, 3, "{said:#}");
    let foreign = said["findings"].as_array().unwrap().iter();
    let foreign: Vec<&str> = foreign
        .filter(|finding| finding["code"] == "RK0606")
        .map(|finding| finding["subject"].as_str().unwrap())
        .collect();
    assert_eq!(foreign, ["etcd-server", "etcd-peer"], "{said:#}");
    lab.rescue("cp1");
    for node in NODES {
        lab.assert_recovered(node);
    }
    let subject = lab.shell(
        "cp1",
        "openssl x509 -in /etc/kubernetes/pki/etcd/peer.crt -noout -subject",
    );
    assert!(subject.contains("CN = cp1"), "{subject}");
}

#[test]
fn a_peer_with_another_ca_is_named() {
    let lab = ControlPlane::three();
    let line = "cd /etc/kubernetes/pki/etcd
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9 -subj /CN=etcd-ca \
            -addext subjectAltName=IP:10.88.0.2 -keyout /root/peer.key -out /root/peer.crt 2>/dev/null
        cat /root/peer.key >peer.key; cat /root/peer.crt >peer.crt";
    lab.shell("cp2", line);
    let (code, said) = lab.json("cp1", &["inspect"]);
    assert_eq!(code, 3, "{said:#}");
    let text = "etcd member cp2 shows a certificate of another CA at 10.88.0.12:2380";
    assert!(said.to_string().contains(text), "{said:#}");
}

/// The digests of everything that a rescue could change.
fn files(lab: &ControlPlane, node: &str) -> String {
    let line =
        "find /etc/kubernetes /var/lib/kubelet/pki -type f -o -type l | sort | xargs sha256sum";
    lab.shell(node, line)
}
