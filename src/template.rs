//! The CSR profile templates that are compiled in.

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

/// A kubeconfig that starts from nothing; `{cluster}`, `{server}`, `{user}`, `{ca}`, `{cert}`, `{key}` are its holes.
pub const KUBECONFIG: &str = include_str!("../templates/kubeconfig.yaml");
