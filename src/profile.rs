//! Profiles: which credentials a layout has, where they are, who signs them, who uses them. Data, not code.
//!
//! A profile is TOML of [`SCHEMA`]; unknown keys are refused by name. Its tables keep their order: it is the order of
//! every table and report. Lists of sources mean: the first one that resolves wins (see [`source`]).

pub mod builtin;
mod consumer;
pub mod source;

use std::path::PathBuf;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::pki::digest::Digest;

use crate::unit_file;
pub use consumer::{Consumer, Reads, RestartKind, Role, Serves, Tears};

/// The version of the profile format that this build reads.
pub const SCHEMA: u16 = 1;

/// A layout of a control plane's PKI.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The format's version; [`SCHEMA`].
    pub schema: u16,
    /// What `--profile` and the reports call it.
    pub name: String,
    /// One line for `profile list`.
    pub title: String,
    /// A profile that this one is a variant of: tables given here replace or add to its tables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extends: Option<String>,
    /// Ids of the base profile that this layout does not have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<String>,
    /// How the layout is recognised on a disk.
    #[serde(default)]
    pub detect: Detect,
    /// The directory that is locked, and whose owner is the expected owner.
    #[serde(default)]
    pub anchor: PathBuf,
    /// Named values for `{name}` holes.
    #[serde(default)]
    pub vars: IndexMap<String, OneOrMany>,
    /// Where the flags of each component are read.
    #[serde(default)]
    pub component: IndexMap<String, Component>,
    /// Certificate authorities.
    #[serde(default)]
    pub authority: IndexMap<String, Authority>,
    /// Leaf certificates with their keys.
    #[serde(default)]
    pub credential: IndexMap<String, Credential>,
    /// Key pairs without certificate.
    #[serde(default)]
    pub keypair: IndexMap<String, KeyPair>,
    /// Kubeconfigs of administrators, the preferred one first: what a running cluster is asked with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub admin: Vec<String>,
    /// Who uses credentials, in restart order.
    #[serde(default)]
    pub consumer: Vec<Consumer>,
    /// Files and directories that a backup holds besides those above; `*` stands for one name.
    #[serde(default)]
    pub backup: Vec<String>,
    /// Directories searched for certificates and kubeconfigs that the profile does not own; `*` stands for one name.
    #[serde(default)]
    pub search: Vec<String>,
}

/// How a layout is recognised: files that all exist, files of which one exists, files of which none exists.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Detect {
    /// Every one of these exists.
    #[serde(default)]
    pub all: Vec<String>,
    /// At least one of these exists, if any are named.
    #[serde(default)]
    pub any: Vec<String>,
    /// None of these exists.
    #[serde(default)]
    pub none: Vec<String>,
}

/// One source or several, of which the first that resolves wins.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// A single source.
    One(String),
    /// The first that resolves wins.
    Many(Vec<String>),
}

impl OneOrMany {
    /// The sources in order.
    pub fn sources(&self) -> &[String] {
        match self {
            Self::One(source) => std::slice::from_ref(source),
            Self::Many(sources) => sources,
        }
    }
}

/// Where a component's flags are read.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// A static pod's manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// A systemd unit whose command holds flags; on a running node its main process tells what the unit does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// A file of shell assignments whose values hold flags (`kubeadm-flags.env`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// A source of the path of a YAML configuration file whose scalars count as flags, those of inner mappings with dots:
    /// `authentication.x509.clientCAFile`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
}

/// A certificate authority.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Authority {
    /// Its certificate and key.
    pub at: AuthorityAt,
    /// What it means for the node when this CA has expired, as a sentence fragment.
    #[serde(default)]
    pub breaks: String,
    /// Somebody else's: its key is not expected here.
    #[serde(default)]
    pub external: bool,
}

/// Where a CA's files are.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorityAt {
    /// The certificate (the first block), then others of its chain.
    pub cert: OneOrMany,
    /// The private key.
    pub key: OneOrMany,
}

/// A leaf certificate with its key.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// The id of the authority that signs it.
    pub signer: String,
    /// Where it is.
    pub at: CredentialAt,
    /// How it is made if nothing is left of the old one.
    pub create: Create,
    /// Which names it must carry.
    #[serde(default)]
    pub san: SanRule,
    /// What it means for the node when this credential is unusable, as a sentence fragment.
    #[serde(default)]
    pub breaks: String,
    /// Not every node of this layout has it: absence is no finding.
    #[serde(default)]
    pub optional: bool,
    /// Somebody else supplies it: it is looked at and judged, never issued.
    #[serde(default)]
    pub external: bool,
}

/// Where a credential is.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum CredentialAt {
    /// Two files.
    Pair {
        /// Certificate.
        cert: OneOrMany,
        /// Key.
        key: OneOrMany,
    },
    /// Inside a kubeconfig: embedded, or in the files that it names.
    Kubeconfig {
        /// The kubeconfig.
        kubeconfig: OneOrMany,
    },
    /// One PEM file that holds both, behind a versioned link.
    Pem {
        /// The name that its users know.
        pem: OneOrMany,
        /// The name that the file gets; `{stamp}` is the time of issue.
        link: String,
    },
}

/// How a credential starts from nothing.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Create {
    /// The name of a template in `templates/`: `server`, `client`, `peer`.
    pub template: String,
    /// Common name; holes as in sources.
    pub cn: String,
    /// Organizations (Kubernetes groups).
    #[serde(default)]
    pub o: Vec<String>,
    /// Permission bits of the files that are created, and the loosest that is no finding: certificate, key. One number for one file.
    #[serde(default)]
    pub mode: Vec<u32>,
    /// For a kubeconfig: the server's URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<OneOrMany>,
}

/// Which names a certificate must or might carry.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SanRule {
    /// A certificate without one of these is due.
    #[serde(default)]
    pub require: Vec<String>,
    /// Shown, never added unasked.
    #[serde(default)]
    pub advise: Vec<String>,
}

/// A key pair without certificate.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KeyPair {
    /// Its files.
    pub at: KeyPairAt,
}

/// Where a key pair is.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KeyPairAt {
    /// The public key.
    pub public: OneOrMany,
    /// The private key.
    pub private: OneOrMany,
}

impl Profile {
    /// The digest of the profile's meaning: of its canonical JSON, so that comments do not count.
    pub fn digest(&self) -> Digest {
        // Serialising plain tables and strings into memory has no way to fail.
        Digest::of(&serde_json::to_vec(self).unwrap_or_default())
    }

    /// The consumer with this id.
    pub fn consumer(&self, id: &str) -> Option<&Consumer> {
        self.consumer.iter().find(|consumer| consumer.id == id)
    }

    /// The consumer with this role.
    pub fn with_role(&self, role: Role) -> Option<&Consumer> {
        self.consumer
            .iter()
            .find(|consumer| consumer.role == Some(role))
    }

    /// Leaves out the consumers that not every node has and whose unit is not on this one; `exists` looks at a path.
    #[must_use]
    pub fn on_node(mut self, exists: impl Fn(&str) -> bool) -> Self {
        self.consumer.retain(|consumer| match &consumer.restart {
            RestartKind::Systemd(unit) if consumer.optional => unit_file::DIRECTORIES
                .iter()
                .any(|dir| exists(&format!("{dir}/{unit}.service"))),
            _ => true,
        });
        self
    }

    /// Where in the restart order a credential or authority is used first; later than all if by nobody.
    pub fn rank(&self, id: &str) -> usize {
        self.consumer
            .iter()
            .position(|consumer| consumer.uses.contains_key(id))
            .unwrap_or(self.consumer.len())
    }

    /// Reads a profile, naming every key that the format does not have and the nearest it has.
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        let profile: Self =
            toml::from_str(text).map_err(|error| ProfileError::Syntax(sentence(&error, text)))?;
        if profile.schema != SCHEMA {
            return Err(ProfileError::Schema(profile.schema));
        }
        Ok(profile)
    }

    /// Lays this profile over its base: tables of the same name are replaced, others added, `without` removed.
    #[must_use]
    pub fn over(self, base: Self) -> Self {
        let mut merged = Self {
            schema: self.schema,
            name: self.name,
            title: self.title,
            extends: self.extends,
            without: self.without,
            detect: self.detect,
            anchor: if self.anchor.as_os_str().is_empty() {
                base.anchor
            } else {
                self.anchor
            },
            vars: joined(base.vars, self.vars),
            component: joined(base.component, self.component),
            authority: joined(base.authority, self.authority),
            credential: joined(base.credential, self.credential),
            keypair: joined(base.keypair, self.keypair),
            admin: if self.admin.is_empty() {
                base.admin
            } else {
                self.admin
            },
            consumer: if self.consumer.is_empty() {
                base.consumer
            } else {
                self.consumer
            },
            backup: if self.backup.is_empty() {
                base.backup
            } else {
                self.backup
            },
            search: if self.search.is_empty() {
                base.search
            } else {
                self.search
            },
        };
        let gone = merged.without.clone();
        merged.vars.retain(|id, _| !gone.contains(id));
        merged.component.retain(|id, _| !gone.contains(id));
        merged.authority.retain(|id, _| !gone.contains(id));
        merged.credential.retain(|id, _| !gone.contains(id));
        merged.keypair.retain(|id, _| !gone.contains(id));
        merged.admin.retain(|id| !gone.contains(id));
        merged
            .consumer
            .retain(|consumer| !gone.contains(&consumer.id));
        for consumer in &mut merged.consumer {
            consumer.uses.retain(|id, _| !gone.contains(id));
            consumer
                .serves
                .retain(|port| port.credential.as_ref().is_none_or(|id| !gone.contains(id)));
        }
        merged
    }

    /// Checks that every name points at something: signers, consumers' uses, templates, sources, holes.
    ///
    /// Returns every defect, as sentence fragments; empty when there is none.
    pub fn defects(&self, templates: &[&str]) -> Vec<String> {
        let mut defects = Vec::new();
        if self.anchor.as_os_str().is_empty() {
            defects.push("`anchor` is missing".to_owned());
        }
        for (id, credential) in &self.credential {
            if !self.authority.contains_key(&credential.signer) {
                let names = self.authority.keys().map(String::as_str);
                defects.push(unknown(
                    &format!("credential.{id}.signer"),
                    &credential.signer,
                    names,
                ));
            }
            let template = credential.create.template.as_str();
            if !templates.contains(&template) {
                let at = format!("credential.{id}.create.template");
                defects.push(unknown(&at, template, templates.iter().copied()));
            }
        }
        for consumer in &self.consumer {
            for used in consumer.uses.keys().filter(|id| !self.has(id)) {
                defects.push(unknown(
                    &format!("consumer `{}` uses", consumer.id),
                    used,
                    self.ids(),
                ));
            }
        }
        for consumer in &self.consumer {
            let served = consumer
                .serves
                .iter()
                .filter_map(|port| port.credential.as_deref());
            for id in served
                .chain(consumer.ask.as_deref())
                .filter(|id| !self.credential.contains_key(*id))
            {
                let names = self.credential.keys().map(String::as_str);
                defects.push(unknown(
                    &format!("consumer `{}` serves", consumer.id),
                    id,
                    names,
                ));
            }
            if let RestartKind::Command(argv) = &consumer.restart
                && !argv.first().is_some_and(|program| program.starts_with('/'))
            {
                defects.push(format!(
                    "consumer `{}`: its command has no absolute path",
                    consumer.id
                ));
            }
        }
        for id in self
            .admin
            .iter()
            .filter(|id| !self.credential.contains_key(*id))
        {
            let names = self.credential.keys().map(String::as_str);
            defects.push(unknown("admin", id, names));
        }
        for (at, text) in self.all_sources() {
            if let Err(why) = source::check(&text, self) {
                defects.push(format!("{at}: {why}"));
            }
        }
        defects
    }

    fn has(&self, id: &str) -> bool {
        self.ids().any(|known| known == id)
    }

    fn ids(&self) -> impl Iterator<Item = &str> {
        let authorities = self.authority.keys();
        let others = self.credential.keys().chain(self.keypair.keys());
        authorities.chain(others).map(String::as_str)
    }

    /// Every source, with where it stands.
    pub fn all_sources(&self) -> Vec<(String, String)> {
        let mut all = Vec::new();
        let mut push = |at: String, sources: &[String]| {
            all.extend(sources.iter().map(|source| (at.clone(), source.clone())));
        };
        for (name, value) in &self.vars {
            push(format!("vars.{name}"), value.sources());
        }
        for (id, component) in &self.component {
            let config = component.config.as_slice();
            push(format!("component.{id}.config"), config);
        }
        for (id, pair) in &self.keypair {
            push(format!("keypair.{id}.at"), pair.at.public.sources());
            push(format!("keypair.{id}.at"), pair.at.private.sources());
        }
        for (id, authority) in &self.authority {
            push(
                format!("authority.{id}.at.cert"),
                authority.at.cert.sources(),
            );
            push(format!("authority.{id}.at.key"), authority.at.key.sources());
        }
        for consumer in &self.consumer {
            for port in &consumer.serves {
                let at = format!("consumer `{}` serves", consumer.id);
                push(at.clone(), port.host.sources());
                push(at, port.port.sources());
            }
        }
        for (id, credential) in &self.credential {
            push(format!("credential.{id}.at"), &credential.at.all());
            push(
                format!("credential.{id}.san.require"),
                &credential.san.require,
            );
            push(
                format!("credential.{id}.san.advise"),
                &credential.san.advise,
            );
            push(
                format!("credential.{id}.create.cn"),
                std::slice::from_ref(&credential.create.cn),
            );
        }
        all
    }
}

impl CredentialAt {
    fn all(&self) -> Vec<String> {
        match self {
            Self::Pair { cert, key } => [cert.sources(), key.sources()].concat(),
            Self::Kubeconfig { kubeconfig } => kubeconfig.sources().to_vec(),
            Self::Pem { pem, .. } => pem.sources().to_vec(),
        }
    }
}

/// Why a text is no profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// A profile names a base that does not exist.
    #[error("extends `{0}`, which is no built-in profile")]
    Base(String),
    /// The names inside do not fit together.
    #[error("{}", .0.join("; "))]
    Defects(Vec<String>),
    /// A version that this build does not read.
    #[error("has schema {0}; this build reads {SCHEMA}")]
    Schema(u16),
    /// Not TOML, or not of the format.
    #[error("{0}")]
    Syntax(String),
}

fn joined<T>(base: IndexMap<String, T>, over: IndexMap<String, T>) -> IndexMap<String, T> {
    let mut all = base;
    all.extend(over);
    all
}

fn unknown<'a>(at: &str, name: &str, known: impl Iterator<Item = &'a str>) -> String {
    match nearest(name, known) {
        Some(near) => format!("{at} `{name}` is not defined; did you mean `{near}`?"),
        None => format!("{at} `{name}` is not defined"),
    }
}

/// The known name that is fewest edits away from `name`, if it is near enough to be meant.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (edits(name, candidate), candidate))
        .min()
        .filter(|(distance, _)| *distance <= name.chars().count().max(3) / 2)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// One sentence out of a TOML error: line, what is wrong, and for an unknown key the nearest known one.
fn sentence(error: &toml::de::Error, text: &str) -> String {
    let line = error.span().map_or(1, |span| {
        text.get(..span.start)
            .unwrap_or_default()
            .matches('\n')
            .count()
            + 1
    });
    let message = error.message().lines().next().unwrap_or("is not TOML");
    let Some(rest) = message.strip_prefix("unknown field `") else {
        return format!("line {line}: {message}");
    };
    let mut quoted = rest.split('`').step_by(2);
    let name = quoted.next().unwrap_or_default();
    let known: Vec<&str> = rest.split('`').skip(2).step_by(2).collect();
    match nearest(name, known.iter().copied()) {
        Some(near) => format!("line {line}: unknown key `{name}`; did you mean `{near}`?"),
        None => format!(
            "line {line}: unknown key `{name}`; known are {}",
            known.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_an_unknown_key_and_the_nearest_known_one() {
        let text = "schema = 1\nname = \"x\"\ntitle = \"x\"\n[credentail.a]\nsigner = \"ca\"\n";
        let error = Profile::parse(text).unwrap_err().to_string();
        assert_eq!(
            error,
            "line 4: unknown key `credentail`; did you mean `credential`?"
        );
    }

    #[test]
    fn refuses_a_schema_of_the_future() {
        let error = Profile::parse("schema = 9\nname = \"x\"\ntitle = \"x\"\n").unwrap_err();
        assert_eq!(error.to_string(), "has schema 9; this build reads 1");
    }

    #[test]
    fn finds_the_nearest_name_or_none() {
        assert_eq!(
            nearest("apisrever", ["apiserver", "ca"].into_iter()),
            Some("apiserver")
        );
        assert_eq!(nearest("zzzzzz", ["apiserver", "ca"].into_iter()), None);
    }
}
