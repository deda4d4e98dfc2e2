//! The templates that are compiled in: CSR profiles, kubeconfigs, manifests.

pub mod kubeconfig;

use std::sync::LazyLock;

use zeroize::Zeroizing;

use crate::pki::csr::{Template, Usage};

/// Name and text of every template in `templates/` that a profile may name.
const TEXTS: [(&str, &str); 3] = [
    ("client", include_str!("../templates/client.json")),
    ("peer", include_str!("../templates/peer.json")),
    ("server", include_str!("../templates/server.json")),
];

/// The names that `create.template` may have, sorted.
pub fn names() -> [&'static str; 3] {
    TEXTS.map(|(name, _)| name)
}

/// The text of a template: cfssl-compatible JSON.
pub fn text(name: &str) -> Option<&'static str> {
    TEXTS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, text)| *text)
}

/// The usages that a template gives; none if there is no such template.
pub fn usages(name: &str) -> &'static [Usage] {
    // Ten thousand requests ask for them.
    static READ: LazyLock<[Vec<Usage>; 3]> = LazyLock::new(|| {
        TEXTS.map(|(_, text)| Template::parse(text.as_bytes()).unwrap_or_default().usages)
    });
    let place = TEXTS.iter().position(|(known, _)| *known == name);
    place.map_or(&[], |place| &READ[place])
}

/// A template for `ca init`, which no profile names.
pub const CA: &str = include_str!("../templates/ca.json");

/// A kubeconfig with a token; `{cluster}`, `{server}`, `{user}`, `{context}`, `{ca}`, `{token}` are its holes.
pub const KUBECONFIG_TOKEN: &str = include_str!("../templates/kubeconfig-token.yaml");

/// What gives somebody a role for a while; `{name}`, `{role}`, `{run}`, `{until}`, `{subject}` are its holes.
pub const BINDING: &str = include_str!("../templates/break-glass/binding.yaml");
/// The account that gets the role; `{name}`, `{run}`, `{until}`.
pub const ACCOUNT: &str = include_str!("../templates/break-glass/account.yaml");
/// A token of the account that does not end by itself; `{name}`, `{run}`, `{until}`.
pub const SECRET: &str = include_str!("../templates/break-glass/secret.yaml");

/// What `handover` writes, one text a file, and `kubeadm-document.yaml`, which is a part of one; their holes are filled by
/// `render::handover`.
pub mod handover {
    /// Prometheus rules.
    pub const ALERTS: &str = include_str!("../templates/handover/alerts.yaml");
    /// Their tests.
    pub const ALERTS_TEST: &str = include_str!("../templates/handover/alerts-test.yaml");
    /// Manifests for cert-manager.
    pub const CERT_MANAGER: &str = include_str!("../templates/handover/cert-manager.yaml");
    /// A part of a `KubeadmControlPlane`.
    pub const CLUSTER_API: &str = include_str!("../templates/handover/cluster-api.yaml");
    /// What surrounds [`KUBEADM_DOCUMENT`].
    pub const KUBEADM: &str = include_str!("../templates/handover/kubeadm.yaml");
    /// A part of a `ClusterConfiguration`.
    pub const KUBEADM_DOCUMENT: &str = include_str!("../templates/handover/kubeadm-document.yaml");
    /// What refreshes metrics.
    pub const METRICS_SERVICE: &str =
        include_str!("../templates/handover/rescue-kit-metrics.service");
    /// When.
    pub const METRICS_TIMER: &str = include_str!("../templates/handover/rescue-kit-metrics.timer");
    /// The head of the directory's table of contents.
    pub const README: &str = include_str!("../templates/handover/README.txt");
    /// What renews.
    pub const RENEW_SERVICE: &str = include_str!("../templates/handover/rescue-kit-renew.service");
    /// When.
    pub const RENEW_TIMER: &str = include_str!("../templates/handover/rescue-kit-renew.timer");
}

/// Fills the holes of a text, each `{name}`, in one pass: what is filled in is not looked at again.
pub fn fill(text: &str, holes: &[(&str, &str)]) -> Zeroizing<String> {
    let longest: usize = holes.iter().map(|(_, value)| value.len()).sum();
    // Keys are filled in: the room is taken at once, so that no growing text leaves copies; no hole is there more than
    // six times.
    let mut out = Zeroizing::new(String::with_capacity(text.len() + 6 * longest));
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let hole = after.split_once('}').and_then(|(name, tail)| {
            let found = holes.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (value, tail))
        });
        if let Some((value, tail)) = hole {
            out.push_str(value);
            rest = tail;
        } else {
            out.push('{');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

/// A kubeconfig that starts from nothing; `{cluster}`, `{server}`, `{user}`, `{context}`, `{ca}`, `{cert}`, `{key}` are its
/// holes.
pub const KUBECONFIG: &str = include_str!("../templates/kubeconfig.yaml");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_each_hole_once_and_leaves_other_braces() {
        let text = fill("{a}{b} {x} {a", &[("a", "{b}"), ("b", "2")]);
        assert_eq!(text.as_str(), "{b}2 {x} {a");
    }
}
