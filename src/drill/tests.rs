use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;
use crate::manifest;
use crate::pki::cert::Cert;
use crate::pki::key::{KeyForm, PrivateKey};
use crate::pki::kubeconfig::{Kubeconfig, Material};
use crate::pki::san::San;

/// What `find -printf '%m %y %P\n'` prints of the tree that kubeadm 1.34.4 made (`tests/lab/trees`), less what the
/// host had before, plus `etc/hosts`.
const KUBEADM: &str = "\
755 d etc
644 f etc/hostname
644 f etc/hosts
755 d etc/kubernetes
600 f etc/kubernetes/admin.conf
600 f etc/kubernetes/controller-manager.conf
600 f etc/kubernetes/kubelet.conf
700 d etc/kubernetes/manifests
600 f etc/kubernetes/manifests/etcd.yaml
600 f etc/kubernetes/manifests/kube-apiserver.yaml
600 f etc/kubernetes/manifests/kube-controller-manager.yaml
600 f etc/kubernetes/manifests/kube-scheduler.yaml
755 d etc/kubernetes/pki
644 f etc/kubernetes/pki/apiserver-etcd-client.crt
600 f etc/kubernetes/pki/apiserver-etcd-client.key
644 f etc/kubernetes/pki/apiserver-kubelet-client.crt
600 f etc/kubernetes/pki/apiserver-kubelet-client.key
644 f etc/kubernetes/pki/apiserver.crt
600 f etc/kubernetes/pki/apiserver.key
644 f etc/kubernetes/pki/ca.crt
600 f etc/kubernetes/pki/ca.key
755 d etc/kubernetes/pki/etcd
644 f etc/kubernetes/pki/etcd/ca.crt
600 f etc/kubernetes/pki/etcd/ca.key
644 f etc/kubernetes/pki/etcd/healthcheck-client.crt
600 f etc/kubernetes/pki/etcd/healthcheck-client.key
644 f etc/kubernetes/pki/etcd/peer.crt
600 f etc/kubernetes/pki/etcd/peer.key
644 f etc/kubernetes/pki/etcd/server.crt
600 f etc/kubernetes/pki/etcd/server.key
644 f etc/kubernetes/pki/front-proxy-ca.crt
600 f etc/kubernetes/pki/front-proxy-ca.key
644 f etc/kubernetes/pki/front-proxy-client.crt
600 f etc/kubernetes/pki/front-proxy-client.key
600 f etc/kubernetes/pki/sa.key
600 f etc/kubernetes/pki/sa.pub
600 f etc/kubernetes/scheduler.conf
600 f etc/kubernetes/super-admin.conf
444 f etc/machine-id
755 d var
755 d var/lib
700 d var/lib/etcd
755 d var/lib/kubelet
644 f var/lib/kubelet/config.yaml
644 f var/lib/kubelet/instance-config.yaml
644 f var/lib/kubelet/kubeadm-flags.env
755 d var/lib/kubelet/pki
600 f var/lib/kubelet/pki/kubelet-client-2025-10-18-08-15-43.pem
777 l var/lib/kubelet/pki/kubelet-client-current.pem
644 f var/lib/kubelet/pki/kubelet.crt
600 f var/lib/kubelet/pki/kubelet.key
";

/// Leaf, its authority, its organization and common name, whether it serves and whether it asks.
#[rustfmt::skip]
const LEAVES: [(&str, &str, &str, &str); 12] = [
    ("pki/apiserver.crt", "pki/ca.crt", "CN=kube-apiserver", "serverAuth"),
    ("pki/apiserver-kubelet-client.crt", "pki/ca.crt", "O=kubeadm:cluster-admins, CN=kube-apiserver-kubelet-client", "clientAuth"),
    ("pki/front-proxy-client.crt", "pki/front-proxy-ca.crt", "CN=front-proxy-client", "clientAuth"),
    ("pki/etcd/server.crt", "pki/etcd/ca.crt", "CN=cp1", "serverAuth clientAuth"),
    ("pki/etcd/peer.crt", "pki/etcd/ca.crt", "CN=cp1", "serverAuth clientAuth"),
    ("pki/etcd/healthcheck-client.crt", "pki/etcd/ca.crt", "CN=kube-etcd-healthcheck-client", "clientAuth"),
    ("pki/apiserver-etcd-client.crt", "pki/etcd/ca.crt", "CN=kube-apiserver-etcd-client", "clientAuth"),
    ("admin.conf", "pki/ca.crt", "O=kubeadm:cluster-admins, CN=kubernetes-admin", "clientAuth"),
    ("super-admin.conf", "pki/ca.crt", "O=system:masters, CN=kubernetes-super-admin", "clientAuth"),
    ("controller-manager.conf", "pki/ca.crt", "CN=system:kube-controller-manager", "clientAuth"),
    ("scheduler.conf", "pki/ca.crt", "CN=system:kube-scheduler", "clientAuth"),
    ("kubelet", "pki/ca.crt", "O=system:nodes, CN=system:node:cp1", "clientAuth"),
];

fn now() -> Utc {
    Utc::parse("2026-11-22T08:15:43Z").unwrap()
}

/// A made tree; the directory goes when it is dropped.
struct Tree {
    dir: tempfile::TempDir,
    made: Made,
}

impl Tree {
    fn of(scenario: Scenario, algorithm: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let made = make(dir.path(), scenario, &algorithm.parse().unwrap(), now()).unwrap();
        Self { dir, made }
    }

    fn kubernetes(&self, name: &str) -> PathBuf {
        self.dir.path().join("etc/kubernetes").join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.kubernetes(name)).unwrap()
    }

    /// The PEM of a leaf of the table, wherever it is, and of its key.
    fn leaf(&self, name: &str) -> (Vec<u8>, Vec<u8>) {
        if name == "kubelet" {
            let link = self
                .dir
                .path()
                .join("var/lib/kubelet/pki/kubelet-client-current.pem");
            let target = std::fs::read_link(link).unwrap();
            let pem =
                std::fs::read(self.dir.path().join(target.strip_prefix("/").unwrap())).unwrap();
            return (pem.clone(), pem);
        }
        if !name.contains(".crt") {
            let kubeconfig = Kubeconfig::parse(&self.read(name)).unwrap();
            let bytes = |material| match material {
                Material::Embedded(pem) => pem.to_vec(),
                _ => panic!("{name} embeds nothing"),
            };
            return (bytes(kubeconfig.cert), bytes(kubeconfig.key));
        }
        (self.read(name), self.read(&name.replace(".crt", ".key")))
    }

    fn cert(&self, name: &str) -> Cert {
        Cert::all_from_pem(&self.leaf(name).0).unwrap().remove(0)
    }

    /// What `openssl verify` says of a leaf at a time; empty if it is content.
    fn verify(&self, leaf: &str, ca: &str, at: Utc) -> String {
        let file = self.dir.path().join("leaf.pem");
        std::fs::write(&file, self.cert(leaf).to_pem()).unwrap();
        let out = Command::new("openssl")
            .args([
                "verify",
                "-x509_strict",
                "-attime",
                &at.unix().to_string(),
                "-CAfile",
            ])
            .args([&self.kubernetes(ca), &file])
            .output()
            .unwrap();
        if out.status.success() {
            String::new()
        } else {
            String::from_utf8(out.stderr).unwrap()
        }
    }

    fn expired(&self) -> Vec<&'static str> {
        let expired = |leaf: &&str| self.cert(leaf).not_after < now();
        LEAVES.iter().map(|leaf| leaf.0).filter(expired).collect()
    }
}

fn listing(root: &Path, below: &Path, lines: &mut Vec<String>) {
    for entry in std::fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        let meta = path.symlink_metadata().unwrap();
        let kind = if meta.is_symlink() {
            "l"
        } else if meta.is_dir() {
            "d"
        } else {
            "f"
        };
        let name = path.strip_prefix(root).unwrap().display();
        lines.push(format!(
            "{:03o} {kind} {name}",
            meta.permissions().mode() & 0o7777
        ));
        if meta.is_dir() {
            listing(root, &path, lines);
        }
    }
}

fn lines_by_path(lines: impl Iterator<Item = String>) -> BTreeMap<String, String> {
    lines
        .map(|line| (line[6..].to_owned(), line[..5].to_owned()))
        .collect()
}

#[test]
fn the_tree_is_the_one_that_kubeadm_makes() {
    let tree = Tree::of(Scenario::LeavesExpired, "ecdsa-p256");
    let mut lines = Vec::new();
    listing(tree.dir.path(), tree.dir.path(), &mut lines);
    let expected = lines_by_path(KUBEADM.lines().map(str::to_owned));
    assert_eq!(lines_by_path(lines.into_iter()), expected);
}

#[test]
fn openssl_accepts_every_leaf_until_the_day_it_expired() {
    for algorithm in ["ecdsa-p256", "ecdsa-p384"] {
        let tree = Tree::of(Scenario::LeavesExpired, algorithm);
        let end = now().plus(-35 * Utc::DAY);
        for (leaf, ca, subject, usages) in LEAVES {
            let cert = tree.cert(leaf);
            // OpenSSL takes the last second for expired, RFC 5280 does not.
            assert_eq!(tree.verify(leaf, ca, end.plus(-1)), "", "{leaf}");
            assert!(
                tree.verify(leaf, ca, now())
                    .contains("certificate has expired"),
                "{leaf}"
            );
            assert_eq!(cert.not_after, end, "{leaf}");
            assert_eq!(cert.not_before, end.plus(-365 * Utc::DAY - 300), "{leaf}");
            assert_eq!(cert.subject.to_string(), subject);
            assert_eq!(cert.extended_usages.join(" "), usages, "{leaf}");
            assert_eq!(cert.key.to_string(), algorithm);
        }
    }
}

#[test]
fn every_key_belongs_to_its_certificate_and_has_kubeadms_form() {
    for (algorithm, form) in [("ecdsa-p256", KeyForm::Sec1), ("rsa-2048", KeyForm::Pkcs1)] {
        let tree = Tree::of(Scenario::LeavesExpired, algorithm);
        let authorities = ["pki/ca.crt", "pki/etcd/ca.crt", "pki/front-proxy-ca.crt"];
        for leaf in LEAVES.iter().map(|leaf| leaf.0).chain(authorities) {
            let key = PrivateKey::from_pem(&tree.leaf(leaf).1).unwrap();
            let signer = crate::crypto::Signer::load(&key).unwrap();
            assert_eq!(
                signer.public_bits(),
                tree.cert(leaf).public_bits(),
                "{leaf}"
            );
            assert_eq!(key.form(), form, "{leaf}");
        }
        let (public, private) = (tree.kubernetes("pki/sa.pub"), tree.kubernetes("pki/sa.key"));
        let out = Command::new("openssl")
            .args(["pkey", "-pubout", "-in"])
            .arg(private)
            .output();
        assert_eq!(out.unwrap().stdout, std::fs::read(public).unwrap());
    }
}

#[test]
fn the_servers_names_are_kubeadms() {
    let tree = Tree::of(Scenario::LeavesExpired, "ecdsa-p256");
    let names = |leaf| {
        tree.cert(leaf)
            .sans
            .iter()
            .map(San::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(
        names("pki/apiserver.crt"),
        "cp1 kubernetes kubernetes.default kubernetes.default.svc \
         kubernetes.default.svc.cluster.local 10.96.0.1 192.168.61.11"
    );
    assert_eq!(
        names("pki/etcd/server.crt"),
        "cp1 localhost 192.168.61.11 127.0.0.1 ::1"
    );
    assert_eq!(names("pki/etcd/peer.crt"), names("pki/etcd/server.crt"));
    assert_eq!(names("pki/ca.crt"), "kubernetes");
}

#[test]
fn the_manifests_say_where_the_certificates_are() {
    let tree = Tree::of(Scenario::LeavesExpired, "ecdsa-p256");
    let flag = |component: &str, flag: &str| {
        let flags =
            manifest::pod_flags(&tree.read(&format!("manifests/{component}.yaml"))).unwrap();
        flags.into_iter().find(|(name, _)| name == flag).unwrap().1
    };
    assert_eq!(
        flag("kube-apiserver", "tls-cert-file"),
        "/etc/kubernetes/pki/apiserver.crt"
    );
    assert_eq!(flag("kube-apiserver", "advertise-address"), "192.168.61.11");
    assert_eq!(flag("etcd", "name"), "cp1");
    assert_eq!(
        flag("etcd", "peer-cert-file"),
        "/etc/kubernetes/pki/etcd/peer.crt"
    );
    assert_eq!(
        flag("kube-scheduler", "kubeconfig"),
        "/etc/kubernetes/scheduler.conf"
    );
    let kubelet = std::fs::read(tree.dir.path().join("var/lib/kubelet/config.yaml")).unwrap();
    let flags = manifest::config_flags(&kubelet).unwrap();
    assert!(flags.contains(&("clusterDomain".to_owned(), "cluster.local".to_owned())));
    let conf = Kubeconfig::parse(&tree.read("kubelet.conf")).unwrap();
    let own = "/var/lib/kubelet/pki/kubelet-client-current.pem";
    assert!(matches!(&conf.cert, Material::File(path) if path == Path::new(own)));
    assert_eq!(conf.server.as_deref(), Some("https://192.168.61.11:6443"));
}

#[test]
fn no_file_is_younger_than_the_story() {
    for scenario in Scenario::ALL {
        let tree = Tree::of(scenario, "ecdsa-p256");
        let latest = |path: &str| tree.kubernetes(path).metadata().map(|meta| meta.mtime());
        let end = now().plus(-34 * Utc::DAY).unix();
        for path in [
            "pki/apiserver.crt",
            "pki/ca.crt",
            "admin.conf",
            "manifests/etcd.yaml",
        ] {
            assert!(latest(path).is_ok_and(|at| at <= end) || scenario == Scenario::MissingLeaf);
        }
    }
}

#[test]
fn scenarios_that_keep_leaves_alive_say_so() {
    let all = Tree::of(Scenario::LeavesExpired, "ecdsa-p256");
    assert_eq!(all.expired().len(), LEAVES.len());
    assert_eq!(
        all.made.broken,
        ["every leaf certificate expired on 2026-10-18, 35 days ago"]
    );
    let kubelet = Tree::of(Scenario::KubeletOnly, "ecdsa-p256");
    assert_eq!(kubelet.expired(), ["kubelet"]);
    assert_eq!(kubelet.verify("pki/apiserver.crt", "pki/ca.crt", now()), "");
    let moved = Tree::of(Scenario::WrongSan, "ecdsa-p256");
    assert!(moved.expired().is_empty());
    let names = |leaf| moved.cert(leaf).sans;
    for leaf in [
        "pki/apiserver.crt",
        "pki/etcd/server.crt",
        "pki/etcd/peer.crt",
    ] {
        assert!(
            names(leaf).contains(&San::parse("192.168.61.10").unwrap()),
            "{leaf}"
        );
        assert!(
            !names(leaf).contains(&San::parse("192.168.61.11").unwrap()),
            "{leaf}"
        );
    }
}

#[test]
fn authorities_expire_or_lose_their_key_or_are_anothers() {
    let old = Tree::of(Scenario::CaExpired, "ecdsa-p256");
    let end = now().plus(-35 * Utc::DAY);
    for ca in ["pki/ca.crt", "pki/etcd/ca.crt", "pki/front-proxy-ca.crt"] {
        assert_eq!(old.cert(ca).not_after, end, "{ca}");
    }
    assert_eq!(
        old.verify("pki/apiserver.crt", "pki/ca.crt", end.plus(-1)),
        ""
    );
    let offline = Tree::of(Scenario::CaKeyMissing, "ecdsa-p256");
    assert!(!offline.kubernetes("pki/ca.key").exists());
    assert!(offline.kubernetes("pki/etcd/ca.key").exists());
    let foreign = Tree::of(Scenario::ForeignCa, "ecdsa-p256");
    let (ca, admin) = (foreign.cert("pki/ca.crt"), foreign.read("admin.conf"));
    let key = PrivateKey::from_pem(&foreign.read("pki/ca.key")).unwrap();
    let trusted = Kubeconfig::parse(&admin).unwrap().ca;
    assert_ne!(
        crate::crypto::Signer::load(&key).unwrap().public_bits(),
        ca.public_bits()
    );
    assert!(matches!(trusted, Material::Embedded(pem) if pem.as_slice() != ca.to_pem().as_bytes()));
    assert_ne!(
        foreign.verify("pki/apiserver.crt", "pki/ca.crt", end.plus(-1)),
        ""
    );
}

#[test]
fn leaves_are_missing_cut_empty_or_another_keys() {
    let missing = Tree::of(Scenario::MissingLeaf, "ecdsa-p256");
    for (file, there) in [
        ("apiserver.crt", false),
        ("apiserver.key", false),
        ("etcd/peer.crt", false),
        ("etcd/peer.key", true),
    ] {
        assert_eq!(
            missing.kubernetes("pki").join(file).exists(),
            there,
            "{file}"
        );
    }
    let cut = Tree::of(Scenario::Truncated, "ecdsa-p256");
    let said = |name| Cert::all_from_pem(&cut.read(name)).unwrap_err().to_string();
    assert_eq!(
        said("pki/apiserver.crt"),
        "ends inside its certificate block"
    );
    assert_eq!(said("pki/front-proxy-client.crt"), "is empty");
    let torn = Tree::of(Scenario::MismatchedPair, "ecdsa-p256");
    let key = PrivateKey::from_pem(&torn.read("pki/apiserver.key")).unwrap();
    let bits = crate::crypto::Signer::load(&key)
        .unwrap()
        .public_bits()
        .to_vec();
    assert_ne!(bits, torn.cert("pki/apiserver.crt").public_bits());
}

#[test]
fn a_lost_clock_believes_in_a_time_before_the_cluster() {
    let tree = Tree::of(Scenario::ClockWrong, "ecdsa-p256");
    let stated = tree.made.now.unwrap();
    assert!(stated < tree.cert("pki/ca.crt").not_before);
    for other in Scenario::ALL
        .into_iter()
        .filter(|s| *s != Scenario::ClockWrong)
    {
        assert_eq!(Tree::of(other, "ecdsa-p256").made.now, None, "{other}");
    }
}

#[test]
fn refuses_a_directory_that_holds_something() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mine"), "").unwrap();
    let p256 = KeyAlgorithm::EcdsaP256;
    let error = make(dir.path(), Scenario::LeavesExpired, &p256, now()).unwrap_err();
    assert!(matches!(error, DrillError::NotEmpty { .. }), "{error}");
    let new = dir.path().join("new");
    let made = make(&new, Scenario::LeavesExpired, &p256, now()).unwrap();
    assert_eq!(made.root, new);
    assert_eq!(new.metadata().unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn every_scenario_is_found_by_its_name_and_tells_one_sentence() {
    for scenario in Scenario::ALL {
        assert_eq!(scenario.name().parse(), Ok(scenario));
        assert_eq!(scenario.story().matches(". ").count(), 0, "{scenario}");
        assert!(scenario.story().ends_with('.'), "{scenario}");
    }
    let error = "nothing".parse::<Scenario>().unwrap_err().to_string();
    assert!(
        error.starts_with("`nothing` is not one of leaves-expired, kubelet-only,"),
        "{error}"
    );
}
