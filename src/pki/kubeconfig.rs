//! Kubeconfig files (`client-go` `tools/clientcmd/api/v1`), read strictly and changed without
//! touching what is not theirs to change.
//!
//! ```yaml
//! current-context: C
//! contexts: [{name: C, context: {cluster: K, user: U}}]
//! clusters: [{name: K, cluster: {server: URL, certificate-authority: PATH | certificate-authority-data: BASE64}}]
//! users:    [{name: U, user: {client-certificate: PATH | client-certificate-data: BASE64, client-key: ...}}]
//! ```
//!
//! Only the current context's cluster and user are looked at, and embedded data wins over a path,
//! as in client-go. Base64 is Go's: standard alphabet, padded, line ends allowed inside.

mod splice;
mod tree;

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::name::printable;
use tree::{Kind, Node};

/// The size above which a file is not looked at, in bytes.
pub const LIMIT: usize = 4 << 20;

/// A kubeconfig's current context. Holds the text, and with it keys, and so cannot be shown.
pub struct Kubeconfig {
    /// The URL of the API server.
    pub server: Option<String>,
    /// What the server's certificate is checked against.
    pub ca: Material,
    /// The client certificate.
    pub cert: Material,
    /// Its key.
    pub key: Material,
    /// The name of the current context's user.
    pub user: String,
    /// The name of the current context's cluster.
    pub cluster: String,
    /// The name of the current context.
    pub context: String,
    /// The user's token.
    pub bearer: Bearer,
    /// Whether the user has an `exec` or `auth-provider`.
    pub exec: bool,
    text: Zeroizing<String>,
    root: Node,
}

/// Where a certificate or key is.
#[derive(Clone, Eq, PartialEq)]
pub enum Material {
    /// Nowhere.
    Absent,
    /// In the file itself: the decoded bytes, which are PEM.
    Embedded(Zeroizing<Vec<u8>>),
    /// In the file at this path, as written: relative to the kubeconfig unless absolute.
    File(PathBuf),
}

/// Where a user's token is.
#[derive(Clone)]
pub enum Bearer {
    /// Nowhere.
    Absent,
    /// In the file itself.
    Embedded(Zeroizing<String>),
    /// In the file at this path, as written: relative to the kubeconfig unless absolute.
    File(PathBuf),
}

/// What is to change; `None` leaves it as it is.
#[derive(Clone, Copy, Default)]
pub struct Edit<'a> {
    /// The client certificate.
    pub cert: Option<NewMaterial<'a>>,
    /// The client key.
    pub key: Option<NewMaterial<'a>>,
    /// The cluster's certificate authorities.
    pub ca: Option<NewMaterial<'a>>,
}

/// A new certificate or key.
#[derive(Clone, Copy)]
pub enum NewMaterial<'a> {
    /// PEM, to be embedded.
    Embedded(&'a [u8]),
    /// The path of a file.
    File(&'a Path),
}

/// Why a kubeconfig cannot be read or changed. Displayed after its path; never quotes a value.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KubeconfigError {
    /// It is larger than [`LIMIT`].
    #[error("is larger than 4 MiB")]
    TooLarge,
    /// It is no text.
    #[error("is not UTF-8 text")]
    NotUtf8,
    /// It is no strict YAML: syntax, duplicate keys, merge keys, several documents, too many
    /// aliases.
    #[error("is not a valid kubeconfig: line {line}: {cause}")]
    Yaml {
        /// Counted from 1; 0 if unknown.
        line: u64,
        /// What the parser says, without the text.
        cause: String,
    },
    /// Some part is not of the type that it must be.
    #[error("is not a kubeconfig: its {part} is missing or of the wrong type")]
    Shape {
        /// Which part.
        part: &'static str,
    },
    /// There is no `current-context`.
    #[error("has no current-context")]
    NoCurrentContext,
    /// A name is used and not defined.
    #[error("has no {kind} named `{name}`")]
    Missing {
        /// `context`, `cluster` or `user`.
        kind: &'static str,
        /// Its name, filtered.
        name: String,
    },
    /// A name is defined more than once.
    #[error("has more than one {kind} named `{name}`, which is ambiguous")]
    Ambiguous {
        /// `context`, `cluster` or `user`.
        kind: &'static str,
        /// Its name, filtered.
        name: String,
    },
    /// Embedded data does not decode.
    #[error("has broken base64 in {key}")]
    Base64 {
        /// The key.
        key: String,
    },
    /// A value cannot be changed without changing another's, because they share it by an alias.
    #[error("cannot be changed: its {part} is shared by a YAML alias")]
    Shared {
        /// Which part.
        part: &'static str,
    },
    /// A value is written in a way that cannot be changed in place.
    #[error("cannot be changed: {key}: {why}")]
    Splice {
        /// The key.
        key: &'static str,
        /// The reason.
        why: &'static str,
    },
    /// The changed text would say something else than intended: nothing is returned.
    #[error("cannot be changed: the new text would differ in more than its credential")]
    Unfaithful,
}

impl Kubeconfig {
    /// Reads a file's bytes: YAML or JSON, at most [`LIMIT`].
    pub fn parse(text: &[u8]) -> Result<Self, KubeconfigError> {
        if text.len() > LIMIT {
            return Err(KubeconfigError::TooLarge);
        }
        let text = std::str::from_utf8(text).map_err(|_| KubeconfigError::NotUtf8)?;
        let root = tree::parse(body(text).1)?;
        let Kind::Map { .. } = root.kind else {
            return Err(KubeconfigError::Shape { part: "document" });
        };
        let context =
            name_in(&root, &root, "current-context").ok_or(KubeconfigError::NoCurrentContext)?;
        let entry = named(&root, "contexts", "context", &context)?;
        let cluster = name_in(&root, entry, "cluster").ok_or(KubeconfigError::Shape {
            part: "context's cluster",
        })?;
        let user = name_in(&root, entry, "user").ok_or(KubeconfigError::Shape {
            part: "context's user",
        })?;
        let to = named(&root, "clusters", "cluster", &cluster)?;
        let by = named(&root, "users", "user", &user)?;
        let has = |key| by.get(&root, key).is_some_and(|value| !value.is_null());
        Ok(Self {
            server: name_in(&root, to, "server"),
            ca: material(&root, to, "certificate-authority")?,
            cert: material(&root, by, "client-certificate")?,
            key: material(&root, by, "client-key")?,
            bearer: bearer(&root, by),
            exec: has("exec") || has("auth-provider"),
            user,
            cluster,
            context,
            text: Zeroizing::new(text.to_owned()),
            root,
        })
    }

    /// The file's bytes with new credentials; comments, order, quotes, line ends and byte order
    /// mark stay.
    ///
    /// Embedded data is written as base64 without line breaks. Where the kind changes, the key is
    /// renamed; where there was nothing, an entry is put before its first sibling. The result is
    /// read again and compared before it is returned.
    pub fn splice(&self, edit: &Edit<'_>) -> Result<Zeroizing<Vec<u8>>, KubeconfigError> {
        let (mark, text) = body(&self.text);
        let mut changes = Vec::new();
        let targets = self.targets(edit);
        for (part, base, new) in targets.iter().copied() {
            splice::set(text, self.owned(part)?, base, new, &mut changes)?;
        }
        let spliced = splice::apply(text, changes).ok_or(KubeconfigError::Unfaithful)?;
        let mut out = Zeroizing::new(Vec::with_capacity(mark.len() + spliced.len()));
        out.extend_from_slice(mark.as_bytes());
        out.extend_from_slice(spliced.as_bytes());
        self.compare(&out, &targets)?;
        Ok(out)
    }

    /// What is to change: in which entry, under which key.
    fn targets<'a>(
        &self,
        edit: &'a Edit<'_>,
    ) -> Vec<(&'static str, &'static str, &'a NewMaterial<'a>)> {
        let all = [
            ("cluster", "certificate-authority", &edit.ca, &self.ca),
            ("user", "client-certificate", &edit.cert, &self.cert),
            ("user", "client-key", &edit.key, &self.key),
        ];
        all.into_iter()
            .filter_map(|(part, base, new, old)| Some((part, base, new.as_ref()?, old)))
            .filter(|(_, _, new, old)| !new.is(old))
            .map(|(part, base, new, _)| (part, base, new))
            .collect()
    }

    /// The mapping of the current user or cluster, if nobody shares it.
    fn owned(&self, part: &'static str) -> Result<&Node, KubeconfigError> {
        let (list, name) = self.list(part);
        let shared = KubeconfigError::Shared { part };
        let private =
            |node: &Node| !matches!(node.kind, Kind::Alias(_)) && !self.root.uses(node.anchor);
        let items = self
            .root
            .entry(list)
            .map(|(_, items)| items)
            .filter(|items| private(items));
        let item = items.into_iter().flat_map(Node::items).find(|item| {
            name_in(&self.root, item.resolved(&self.root), "name").as_deref() == Some(name)
        });
        let body = item
            .filter(|item| private(item))
            .and_then(|item| item.entry(part));
        let body = body
            .map(|(_, body)| body)
            .filter(|body| private(body))
            .ok_or_else(|| shared.clone())?;
        let Kind::Map { entries, .. } = &body.kind else {
            return Err(shared);
        };
        // A value with an anchor that others use is theirs too; a value that is an alias is not.
        let lent = entries
            .iter()
            .any(|(_, value)| self.root.uses(value.anchor));
        if lent { Err(shared) } else { Ok(body) }
    }

    fn list(&self, part: &str) -> (&'static str, &str) {
        if part == "user" {
            ("users", &self.user)
        } else {
            ("clusters", &self.cluster)
        }
    }

    /// Reads the new text and refuses it if anything differs but the targets, or a target is not as
    /// asked.
    fn compare(
        &self,
        new: &[u8],
        targets: &[(&'static str, &'static str, &NewMaterial<'_>)],
    ) -> Result<(), KubeconfigError> {
        let after = Self::parse(new).map_err(|_| KubeconfigError::Unfaithful)?;
        let mut bodies: Vec<(&Node, &str)> = Vec::with_capacity(2 * targets.len());
        for (part, base, _) in targets {
            bodies.extend([(self.owned(part)?, *base), (after.owned(part)?, *base)]);
        }
        let skip = |map: &Node, key: &Node| {
            let name = key.text().map_or("", |text| text.as_str());
            let name = name.strip_suffix("-data").unwrap_or(name);
            bodies
                .iter()
                .any(|(body, base)| std::ptr::eq(*body, map) && *base == name)
        };
        let as_meant = [
            ("certificate-authority", &self.ca, &after.ca),
            ("client-certificate", &self.cert, &after.cert),
            ("client-key", &self.key, &after.key),
        ];
        let as_meant = as_meant.into_iter().all(|(base, old, now)| {
            let target = targets.iter().find(|target| target.1 == base);
            target.map_or_else(|| old == now, |(_, _, new)| new.is(now))
        });
        if as_meant && self.root.same(&after.root, &skip) {
            Ok(())
        } else {
            Err(KubeconfigError::Unfaithful)
        }
    }
}

impl NewMaterial<'_> {
    /// Whether `material` already is this.
    fn is(&self, material: &Material) -> bool {
        match (self, material) {
            (Self::Embedded(new), Material::Embedded(old)) => *new == old.as_slice(),
            (Self::File(new), Material::File(old)) => *new == old.as_path(),
            _ => false,
        }
    }
}

/// The byte order mark, if there is one, and what follows.
fn body(text: &str) -> (&str, &str) {
    text.split_at(if text.starts_with('\u{feff}') { 3 } else { 0 })
}

fn name_in(root: &Node, map: &Node, key: &str) -> Option<String> {
    map.get(root, key)?
        .filled()
        .map(|text| text.as_str().to_owned())
}

/// The mapping called `kind` beside `name` in the sequence called `list`.
fn named<'a>(
    root: &'a Node,
    list: &'static str,
    kind: &'static str,
    name: &str,
) -> Result<&'a Node, KubeconfigError> {
    let items = root.get(root, list).map(Node::items).unwrap_or_default();
    let mut same = items
        .iter()
        .map(|item| item.resolved(root))
        .filter(|item| name_in(root, item, "name").as_deref() == Some(name));
    let found = same.next();
    if same.next().is_some() {
        return Err(KubeconfigError::Ambiguous {
            kind,
            name: printable(name),
        });
    }
    let item = found.ok_or_else(|| KubeconfigError::Missing {
        kind,
        name: printable(name),
    })?;
    match item.get(root, kind) {
        Some(
            body @ Node {
                kind: Kind::Map { .. },
                ..
            },
        ) => Ok(body),
        _ => Err(KubeconfigError::Shape { part: kind }),
    }
}

/// A file wins over a value, as in client-go (`rest.Config`): it is read again and again.
fn bearer(root: &Node, user: &Node) -> Bearer {
    let filled = |key| user.get(root, key).and_then(Node::filled);
    match (filled("tokenFile"), filled("token")) {
        (Some(path), _) => Bearer::File(PathBuf::from(path.as_str())),
        (None, Some(token)) => Bearer::Embedded(token.clone()),
        (None, None) => Bearer::Absent,
    }
}

fn material(root: &Node, map: &Node, base: &str) -> Result<Material, KubeconfigError> {
    let key = format!("{base}-data");
    if let Some(text) = map.get(root, &key).and_then(Node::filled) {
        let packed: Zeroizing<Vec<u8>> = Zeroizing::new(
            text.bytes()
                .filter(|byte| !matches!(byte, b'\n' | b'\r'))
                .collect(),
        );
        let bytes = STANDARD
            .decode(packed.as_slice())
            .map_err(|_| KubeconfigError::Base64 { key })?;
        return Ok(Material::Embedded(Zeroizing::new(bytes)));
    }
    let file = map.get(root, base).and_then(Node::filled);
    Ok(file.map_or(Material::Absent, |text| {
        Material::File(PathBuf::from(text.as_str()))
    }))
}

#[cfg(test)]
mod tests;
