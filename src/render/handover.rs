//! The files of a handover: each a template with a cluster's facts in it, the same to the byte for the same facts.

mod alerts;
mod calendar;
mod cert_manager;
mod kubeadm;
mod reminders;
mod rule;

use crate::handover::{Cluster, Part};
use crate::pki::name::printable;
use crate::render::text::labelled;
use crate::template::{fill, handover as template};

pub use calendar::page;

/// What an operator chooses about the files.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the binary will be on the node; absolute and plain.
    pub binary: String,
    /// The directory of `node_exporter`'s textfile collector; absolute and plain.
    pub textfiles: String,
}

/// A file to be written.
#[derive(Clone, Debug)]
pub struct File {
    /// Its name.
    pub name: &'static str,
    /// What it is, in words.
    pub what: &'static str,
    /// The commands that install it, and what to know before.
    install: &'static [&'static str],
    /// What is in it.
    pub text: String,
}

/// Holes and what fills them.
type Holes<'a> = Vec<(&'a str, &'a str)>;

/// The files of these parts, and a table of contents; each part fits the cluster.
pub fn files(cluster: &Cluster, settings: &Settings, parts: &[Part]) -> Vec<File> {
    let mut files: Vec<File> = Part::ALL
        .into_iter()
        .filter(|part| parts.contains(part))
        .flat_map(|part| of(part, cluster, settings))
        .collect();
    let readme = readme(cluster, &files);
    files.push(File {
        name: "README.txt",
        what: "what each file is",
        install: &[],
        text: readme,
    });
    files
}

fn of(part: Part, cluster: &Cluster, settings: &Settings) -> Vec<File> {
    match part {
        Part::Alerts => alerts(cluster, settings),
        Part::Calendar => vec![File {
            name: "calendar.txt",
            what: "one page: what ends when, what that breaks, who or what renews it",
            install: &[],
            text: page(cluster),
        }],
        Part::CertManager => vec![File {
            name: "cert-manager.yaml",
            what: "issuers and certificates for servers beside the control plane",
            install: &[
                "Read its head first; delete what you do not need. Then: kubectl apply -f cert-manager.yaml",
            ],
            text: cert_manager::manifests(cluster),
        }],
        Part::Kubeadm => kubeadm::files(cluster),
        Part::Reminders => vec![File {
            name: "expiries.ics",
            what: "calendar entries with alarms, for people",
            install: &[
                "Import it into the calendar of whoever renews; a second import changes nothing.",
            ],
            text: reminders::calendar(cluster),
        }],
        Part::Renewal => renewal(cluster, settings),
        Part::Timer => timer(settings),
    }
}

fn alerts(cluster: &Cluster, settings: &Settings) -> Vec<File> {
    vec![
        File {
            name: "alerts.yaml",
            what: "Prometheus rules: 30 days, 7 days, expired; CAs earlier",
            install: &[
                "Name it under rule_files of prometheus.yml, then reload Prometheus.",
                "With the Prometheus operator, groups belongs under spec of a PrometheusRule.",
            ],
            text: alerts::rules(cluster, settings),
        },
        File {
            name: "alerts-test.yaml",
            what: "their tests, with the certificates of this node",
            install: &["promtool test rules alerts-test.yaml"],
            text: alerts::tests(cluster, settings),
        },
    ]
}

fn timer(settings: &Settings) -> Vec<File> {
    let holes = vec![
        ("binary", settings.binary.as_str()),
        ("textfiles", settings.textfiles.as_str()),
    ];
    vec![
        File {
            name: "rescue-kit-metrics.service",
            what: "writes the metrics for node_exporter, by a rename",
            install: &[
                "On each node; its two settings are at the top. Then: install -m 0644 rescue-kit-metrics.* /etc/systemd/system",
            ],
            text: filled(template::METRICS_SERVICE, &holes),
        },
        File {
            name: "rescue-kit-metrics.timer",
            what: "does so every hour",
            install: &[
                "systemctl daemon-reload && systemctl enable --now rescue-kit-metrics.timer",
            ],
            text: template::METRICS_TIMER.to_owned(),
        },
    ]
}

fn renewal(cluster: &Cluster, settings: &Settings) -> Vec<File> {
    vec![
        File {
            name: "rescue-kit-renew.service",
            what: "renews leaves that end within 45 days; instead of kubeadm's or your own means, not beside them",
            install: &[
                "On this node, if it is to renew unattended. Then: install -m 0644 rescue-kit-renew.* /etc/systemd/system",
            ],
            text: filled(
                template::RENEW_SERVICE,
                &vec![("binary", settings.binary.as_str())],
            ),
        },
        File {
            name: "rescue-kit-renew.timer",
            what: "looks every week, each node at another time",
            install: &["systemctl daemon-reload && systemctl enable --now rescue-kit-renew.timer"],
            text: filled(
                template::RENEW_TIMER,
                &vec![("slot", slot(cluster).as_str())],
            ),
        },
    ]
}

/// A time of the week when people are there soon: early on Monday to Thursday.
fn slot(cluster: &Cluster) -> String {
    let [day, hour, minute, ..] = *cluster.id.bytes();
    let day = ["Mon", "Tue", "Wed", "Thu"][usize::from(day % 4)];
    format!("{day} *-*-* {:02}:{:02}:00", 1 + hour % 4, minute % 60)
}

fn readme(cluster: &Cluster, files: &[File]) -> String {
    let mut list = String::new();
    for File {
        name,
        what,
        install,
        ..
    } in files
    {
        list.push_str(&format!("\n{name}\n"));
        list.push_str(&labelled("  ", "  ", what));
        for line in *install {
            list.push_str(&labelled("    ", "    ", line));
        }
    }
    let node = printable(&cluster.node);
    let at = cluster.at.to_string();
    let server = printable(cluster.server.as_deref().unwrap_or("unknown"));
    let version = printable(cluster.version.as_deref().unwrap_or("unknown"));
    let profile = printable(&cluster.profile);
    let holes = vec![
        ("node", node.as_str()),
        ("at", at.as_str()),
        ("tool", env!("CARGO_PKG_VERSION")),
        ("server", server.as_str()),
        ("version", version.as_str()),
        ("profile", profile.as_str()),
        ("files", list.trim_start()),
    ];
    filled(template::README, &holes)
}

fn filled(text: &str, holes: &Holes) -> String {
    fill(text, holes).to_string()
}

/// Text as YAML, which takes every string of JSON; filtered.
fn quoted(text: &str) -> String {
    serde_json::Value::from(printable(text)).to_string()
}
