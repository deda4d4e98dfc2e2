//! `kubeadm.yaml` and `cluster-api.yaml`.

use super::{File, filled};
use crate::handover::Cluster;
use crate::pki::name::printable;
use crate::pki::utc::Utc;
use crate::template::handover as template;

/// The first minor release of Kubernetes whose kubeadm takes validities (v1beta4).
const VALIDITIES: u32 = 31;

/// kubeadm's own defaults, in seconds (`cmd/kubeadm/app/constants/constants.go`).
const YEAR: i64 = 365 * Utc::DAY;

pub(super) fn files(cluster: &Cluster) -> Vec<File> {
    vec![
        File {
            name: "kubeadm.yaml",
            what: "how long certificates of kubeadm are to live",
            install: &["A part of ClusterConfiguration; its head says where it goes."],
            text: settings(cluster),
        },
        File {
            name: "cluster-api.yaml",
            what: "when Cluster API, if it made these machines, replaces them",
            install: &["A part of KubeadmControlPlane, on the management cluster."],
            text: cluster_api(cluster),
        },
    ]
}

fn settings(cluster: &Cluster) -> String {
    let leaf = cluster.leaf_life().unwrap_or(YEAR);
    let ca = cluster.ca_life().unwrap_or(10 * YEAR).max(leaf);
    let version = cluster.version.as_deref().map(printable);
    let line = version
        .as_ref()
        .map(|version| format!("kubernetesVersion: {version}\n"));
    let (leaf, ca) = (hours(leaf), hours(ca));
    let holes = vec![
        ("version", line.as_deref().unwrap_or_default()),
        ("leaf", leaf.as_str()),
        ("ca", ca.as_str()),
    ];
    let document = filled(template::KUBEADM_DOCUMENT, &holes);
    let document = match cluster.minor() {
        Some(minor) if minor < VALIDITIES => commented(&document, minor),
        _ => document,
    };
    let (node, date) = (printable(&cluster.node), cluster.at.date());
    let holes = vec![
        ("node", node.as_str()),
        ("date", date.as_str()),
        ("tool", env!("CARGO_PKG_VERSION")),
        ("document", document.as_str()),
    ];
    filled(template::KUBEADM, &holes)
}

/// A document that this release cannot read yet.
fn commented(document: &str, minor: u32) -> String {
    let lines: String = document.lines().map(|line| format!("# {line}\n")).collect();
    format!(
        "# This cluster is of 1.{minor}: its kubeadm issues for a year, whatever is said. After an upgrade:\n#\n{lines}"
    )
}

fn hours(seconds: i64) -> String {
    (seconds / 3600).max(1).to_string()
}

fn cluster_api(cluster: &Cluster) -> String {
    let life = cluster.leaf_life().unwrap_or(YEAR) / Utc::DAY;
    let validity = life.clamp(8, 1095);
    // Earlier than the first alert.
    let days = (validity / 8).clamp(7, 45).to_string();
    let (node, date) = (printable(&cluster.node), cluster.at.date());
    let validity = validity.to_string();
    let holes = vec![
        ("node", node.as_str()),
        ("date", date.as_str()),
        ("tool", env!("CARGO_PKG_VERSION")),
        ("days", days.as_str()),
        ("validity", validity.as_str()),
    ];
    filled(template::CLUSTER_API, &holes)
}
