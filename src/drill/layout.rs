//! What a control-plane node of kubeadm 1.34 has, as tables (`cmd/kubeadm/app/phases/{certs,kubeconfig,controlplane}`).

use crate::pki::csr::Usage;

/// The node's name.
pub(super) const NODE: &str = "cp1";

/// The node's address.
pub(super) const ADDRESS: &str = "192.168.61.11";

/// Where certificates are, below the root.
pub(super) const PKI: &str = "etc/kubernetes/pki";

/// Where the kubelet keeps its own, below the root.
pub(super) const KUBELET: &str = "var/lib/kubelet/pki";

/// The three authorities.
#[derive(Clone, Copy)]
pub(super) enum Authority {
    Cluster,
    Etcd,
    FrontProxy,
}

impl Authority {
    /// The common name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cluster => "kubernetes",
            Self::Etcd => "etcd-ca",
            Self::FrontProxy => "front-proxy-ca",
        }
    }

    /// The name of its two files, below [`PKI`].
    pub(super) fn file(self) -> &'static str {
        match self {
            Self::Cluster => "ca",
            Self::Etcd => "etcd/ca",
            Self::FrontProxy => "front-proxy-ca",
        }
    }
}

/// A leaf: who signs it, what it says, where it is.
pub(super) struct Leaf {
    pub(super) signer: Authority,
    pub(super) cn: &'static str,
    pub(super) o: Option<&'static str>,
    pub(super) usages: &'static [Usage],
    /// `{node}` is the node's name, `{address}` the address that certificates name.
    pub(super) names: &'static [&'static str],
    pub(super) at: At,
}

/// Where a leaf is.
pub(super) enum At {
    /// In a kubeconfig of this name.
    Kubeconfig(&'static str),
    /// In the kubelet's directory, with its key.
    Kubelet,
    /// In two files of this name, below [`PKI`].
    Pair(&'static str),
}

const CLIENT: &[Usage] = &[
    Usage::DigitalSignature,
    Usage::KeyEncipherment,
    Usage::ClientAuth,
];
const PEER: &[Usage] = &[
    Usage::DigitalSignature,
    Usage::KeyEncipherment,
    Usage::ServerAuth,
    Usage::ClientAuth,
];
pub(super) const SERVER: &[Usage] = &[
    Usage::DigitalSignature,
    Usage::KeyEncipherment,
    Usage::ServerAuth,
];

const ETCD_NAMES: &[&str] = &["{node}", "localhost", "{address}", "127.0.0.1", "::1"];
const API_NAMES: &[&str] = &[
    "{node}",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "10.96.0.1",
    "{address}",
];

const ADMINS: Option<&str> = Some("kubeadm:cluster-admins");

/// Every leaf that the authorities sign.
#[rustfmt::skip]
pub(super) const LEAVES: [Leaf; 12] = [
    leaf(Authority::Cluster, "kube-apiserver", None, SERVER, API_NAMES, At::Pair("apiserver")),
    leaf(Authority::Cluster, "kube-apiserver-kubelet-client", ADMINS, CLIENT, &[], At::Pair("apiserver-kubelet-client")),
    leaf(Authority::FrontProxy, "front-proxy-client", None, CLIENT, &[], At::Pair("front-proxy-client")),
    leaf(Authority::Etcd, NODE, None, PEER, ETCD_NAMES, At::Pair("etcd/server")),
    leaf(Authority::Etcd, NODE, None, PEER, ETCD_NAMES, At::Pair("etcd/peer")),
    leaf(Authority::Etcd, "kube-etcd-healthcheck-client", None, CLIENT, &[], At::Pair("etcd/healthcheck-client")),
    leaf(Authority::Etcd, "kube-apiserver-etcd-client", None, CLIENT, &[], At::Pair("apiserver-etcd-client")),
    leaf(Authority::Cluster, "kubernetes-admin", ADMINS, CLIENT, &[], At::Kubeconfig("admin.conf")),
    leaf(Authority::Cluster, "kubernetes-super-admin", Some("system:masters"), CLIENT, &[], At::Kubeconfig("super-admin.conf")),
    leaf(Authority::Cluster, "system:kube-controller-manager", None, CLIENT, &[], At::Kubeconfig("controller-manager.conf")),
    leaf(Authority::Cluster, "system:kube-scheduler", None, CLIENT, &[], At::Kubeconfig("scheduler.conf")),
    leaf(Authority::Cluster, "system:node:cp1", Some("system:nodes"), CLIENT, &[], At::Kubelet),
];

const fn leaf(
    signer: Authority,
    cn: &'static str,
    o: Option<&'static str>,
    usages: &'static [Usage],
    names: &'static [&'static str],
    at: At,
) -> Leaf {
    Leaf {
        signer,
        cn,
        o,
        usages,
        names,
        at,
    }
}

/// Files that are the same on every such node but for its name and address: path, mode, text.
pub(super) const TEXTS: [(&str, u32, &str); 9] = [
    ("etc/hostname", 0o644, "{node}\n"),
    (
        "etc/hosts",
        0o644,
        "127.0.0.1 localhost\n::1 localhost\n{address} {node}\n",
    ),
    (
        "etc/kubernetes/manifests/etcd.yaml",
        0o600,
        include_str!("../../templates/drill/etcd.yaml"),
    ),
    (
        "etc/kubernetes/manifests/kube-apiserver.yaml",
        0o600,
        include_str!("../../templates/drill/kube-apiserver.yaml"),
    ),
    (
        "etc/kubernetes/manifests/kube-controller-manager.yaml",
        0o600,
        include_str!("../../templates/drill/kube-controller-manager.yaml"),
    ),
    (
        "etc/kubernetes/manifests/kube-scheduler.yaml",
        0o600,
        include_str!("../../templates/drill/kube-scheduler.yaml"),
    ),
    (
        "var/lib/kubelet/config.yaml",
        0o644,
        include_str!("../../templates/drill/kubelet-config.yaml"),
    ),
    (
        "var/lib/kubelet/instance-config.yaml",
        0o644,
        include_str!("../../templates/drill/kubelet-instance-config.yaml"),
    ),
    (
        "var/lib/kubelet/kubeadm-flags.env",
        0o644,
        include_str!("../../templates/drill/kubeadm-flags.env"),
    ),
];

/// A kubeconfig; its credential is embedded or named by its field.
pub(super) const KUBECONFIG: &str = include_str!("../../templates/drill/kubeconfig.yaml");
