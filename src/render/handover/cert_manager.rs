//! `cert-manager.yaml`: issuers, and certificates as this node's servers have them.

use super::{filled, quoted};
use crate::handover::{Cluster, Serving};
use crate::pki::cert::Cert;
use crate::pki::key::KeyAlgorithm;
use crate::pki::name::printable;
use crate::pki::san::San;
use crate::pki::utc::Utc;
use crate::template::handover as template;

/// A common name has at most so many characters (RFC 5280, `ub-common-name`); cert-manager refuses longer ones.
const COMMON_NAME: usize = 64;

pub(super) fn manifests(cluster: &Cluster) -> String {
    let serving = cluster.serving.iter();
    let certificates: String = serving.map(|one| certificate(one, cluster)).collect();
    let domains = domains(cluster).join(",");
    let lives = cluster.serving.iter().map(|one| life(&one.cert));
    let ttl = (lives.max().unwrap_or_default() / 3600).to_string();
    let (node, date) = (printable(&cluster.node), cluster.at.date());
    let holes = vec![
        ("node", node.as_str()),
        ("date", date.as_str()),
        ("tool", env!("CARGO_PKG_VERSION")),
        ("domains", domains.as_str()),
        ("ttl", ttl.as_str()),
        ("certificates", certificates.trim_end()),
    ];
    filled(template::CERT_MANAGER, &holes) + "\n"
}

fn certificate(serving: &Serving, cluster: &Cluster) -> String {
    let Serving { id, cert } = serving;
    let name = object_name(&format!("{}-{id}", cluster.node));
    let life = life(cert);
    let renew = (30 * Utc::DAY).min(life / 3);
    let mut text = format!(
        "---\n# As {} of this node.\napiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata:\n  name: {name}\n  \
         namespace: default\nspec:\n  secretName: {name}-tls\n  issuerRef:\n    group: cert-manager.io\n    \
         kind: ClusterIssuer\n    name: rescue-kit-ca\n  duration: {}\n  renewBefore: {}\n  privateKey:\n    \
         rotationPolicy: Always\n{}",
        printable(id),
        duration(life),
        duration(renew),
        key(&cert.key),
    );
    if let Some(name) = common_name(cert) {
        text.push_str(&format!("  commonName: {}\n", quoted(&name)));
    }
    let of = |kind: fn(&San) -> Option<String>| -> Vec<String> {
        cert.sans.iter().filter_map(kind).collect()
    };
    text.push_str(&list("dnsNames", &of(dns)));
    text.push_str(&list("ipAddresses", &of(ip)));
    text.push_str(&list("uris", &of(uri)));
    text.push_str(&list("usages", &usages(cert)));
    text
}

fn list(field: &str, items: &[String]) -> String {
    if items.is_empty() {
        return String::new();
    }
    let items: String = items
        .iter()
        .map(|item| format!("    - {}\n", quoted(item)))
        .collect();
    format!("  {field}:\n{items}")
}

/// Seconds of validity, in whole hours: kubeadm dates a certificate's beginning back.
fn life(cert: &Cert) -> i64 {
    let hours = cert.not_after.since(cert.not_before) / 3600;
    hours.max(1) * 3600
}

fn duration(seconds: i64) -> String {
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{hours}h{minutes}m0s")
}

/// Nothing for a kind of key that cert-manager does not make: then it makes its usual one.
fn key(key: &KeyAlgorithm) -> String {
    let (name, size) = match key {
        KeyAlgorithm::EcdsaP256 => ("ECDSA", 256),
        KeyAlgorithm::EcdsaP384 => ("ECDSA", 384),
        KeyAlgorithm::EcdsaP521 => ("ECDSA", 521),
        KeyAlgorithm::Ed25519 => return "    algorithm: Ed25519\n".to_owned(),
        // It knows no other sizes; a stronger key is no harm.
        KeyAlgorithm::Rsa(..=2048) => ("RSA", 2048),
        KeyAlgorithm::Rsa(2049..=4096) => ("RSA", 4096),
        KeyAlgorithm::Rsa(_) => ("RSA", 8192),
        KeyAlgorithm::Other(_) => return String::new(),
    };
    format!("    algorithm: {name}\n    size: {size}\n")
}

fn common_name(cert: &Cert) -> Option<String> {
    let name = cert.subject.common_name()?;
    (1..=COMMON_NAME)
        .contains(&name.chars().count())
        .then_some(name)
}

fn dns(san: &San) -> Option<String> {
    match san {
        San::Dns(name) => Some(name.clone()),
        _ => None,
    }
}

fn ip(san: &San) -> Option<String> {
    match san {
        San::Ip(address) => Some(address.to_string()),
        _ => None,
    }
}

fn uri(san: &San) -> Option<String> {
    match san {
        San::Uri(uri) => Some(uri.clone()),
        _ => None,
    }
}

/// Usages as cert-manager names them; those that it has no name for are left out.
fn usages(cert: &Cert) -> Vec<String> {
    let named = cert.key_usages.iter().chain(&cert.extended_usages);
    let named = named.filter_map(|usage| {
        Some(match usage.as_str() {
            "digitalSignature" => "digital signature",
            "contentCommitment" | "nonRepudiation" => "content commitment",
            "keyEncipherment" => "key encipherment",
            "dataEncipherment" => "data encipherment",
            "keyAgreement" => "key agreement",
            "serverAuth" => "server auth",
            "clientAuth" => "client auth",
            _ => return None,
        })
    });
    named.map(str::to_owned).collect()
}

/// Every name that a role of Vault has to allow, each once, sorted.
fn domains(cluster: &Cluster) -> Vec<String> {
    let certs = || cluster.serving.iter().map(|one| &one.cert);
    let names = certs().flat_map(|cert| cert.sans.iter().filter_map(dns));
    let mut all: Vec<String> = certs().filter_map(common_name).chain(names).collect();
    // They stand in a command of a shell.
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    all.retain(|name| name.chars().all(plain));
    all.sort();
    all.dedup();
    all
}

/// A name that Kubernetes takes (RFC 1123, a subdomain).
fn object_name(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '.';
    let name: String = text
        .to_ascii_lowercase()
        .chars()
        .map(|c| if plain(c) { c } else { '-' })
        .collect();
    name.trim_matches(['-', '.']).to_owned()
}
