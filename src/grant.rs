//! Grants: access that is given to somebody for a while, what is made for it, and what takes it away.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::pki::utc::Utc;
use crate::template;

/// The user of a certificate that breaks the glass; the run's name follows.
pub const USER: &str = "rescue-kit:break-glass:";
/// The service account that breaks the glass; the run's name follows, in small letters.
const ACCOUNT: &str = "rescue-kit-break-glass-";
/// The namespace of the service account: every cluster has it, and who may use its accounts is an administrator anyway.
pub const NAMESPACE: &str = "kube-system";

const BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
const ACCOUNTS: &str = "/api/v1/namespaces/kube-system/serviceaccounts";
const SECRETS: &str = "/api/v1/namespaces/kube-system/secrets";

/// Access that is given to somebody. Holds no secret.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Grant {
    /// What proves it.
    pub kind: Kind,
    /// Who the API server sees.
    pub user: String,
    /// The groups that the credential itself names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// The `ClusterRole` that was bound for it; none if nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// When it ends by itself; none if it does not.
    pub not_after: Option<Utc>,
    /// The paths of the objects that are made for it, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<String>,
    /// The kubeconfig that is written, on the host that runs the tool; none if it was printed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<PathBuf>,
}

/// What proves that somebody has access.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A token of a service account that was made for it.
    Account,
    /// A client certificate without a group, and a binding for its user.
    Certificate,
    /// A token of somebody's service account, signed with the cluster's own key.
    Minted,
    /// A token in a Secret, of a service account that was made for it.
    Secret,
    /// A client certificate for a user, with the groups that were asked for.
    User,
}

impl Kind {
    /// For people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Account => "a ServiceAccount's token",
            Self::Certificate | Self::User => "a client certificate",
            Self::Minted => "a token that was signed here",
            Self::Secret => "a token in a Secret",
        }
    }
}

/// A grant that was not taken back, with the run that gave it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Standing {
    /// The run: its name takes the grant back.
    pub run: String,
    /// What was given.
    #[serde(flatten)]
    pub grant: Grant,
    /// Whether it was seen to work; if not, parts of it may be there.
    pub tried: bool,
}

impl Standing {
    /// Whether its credential still proves something.
    pub fn is_valid(&self, now: Utc) -> bool {
        self.grant.not_after.is_none_or(|end| now <= end)
    }

    /// One sentence.
    pub fn text(&self, now: Utc) -> String {
        let Grant {
            user,
            role,
            not_after,
            ..
        } = &self.grant;
        let role = role
            .as_ref()
            .map_or_else(String::new, |role| format!(" with the role {role}"));
        let access = format!("break-glass access of {user}{role}");
        match not_after {
            _ if !self.tried => format!("{access} was begun and not finished"),
            Some(end) if self.is_valid(now) => format!("{access} is valid until {end}"),
            Some(end) => {
                format!("{access} ended at {end}, and what was made for it is still there")
            },
            None => format!("{access} is valid until it is revoked"),
        }
    }
}

/// An object to be made.
pub struct Manifest {
    /// The path of the collection that it is made in.
    pub collection: &'static str,
    /// Its name.
    pub name: String,
    /// YAML.
    pub text: String,
}

impl Manifest {
    /// The path of the object.
    pub fn path(&self) -> String {
        format!("{}/{}", self.collection, self.name)
    }
}

/// What the objects of one grant have in common.
#[derive(Clone, Copy)]
pub struct Terms<'a> {
    /// The `ClusterRole`.
    pub role: &'a str,
    /// The run.
    pub run: &'a str,
    /// When it ends by itself.
    pub until: Option<Utc>,
}

impl Terms<'_> {
    /// The binding that gives the role to the user of a certificate.
    pub fn for_user(&self, user: &str) -> Manifest {
        let subject =
            format!("kind: User\n  apiGroup: rbac.authorization.k8s.io\n  name: \"{user}\"");
        self.binding(user, &subject)
    }

    /// The account, the binding that gives it the role, and with `secret` its token, in the order in which they are made.
    pub fn for_account(&self, secret: bool) -> Vec<Manifest> {
        let name = account(self.run);
        let subject = format!("kind: ServiceAccount\n  namespace: {NAMESPACE}\n  name: \"{name}\"");
        let mut all = vec![
            self.filled(ACCOUNTS, &name, template::ACCOUNT, ""),
            self.binding(&name, &subject),
        ];
        if secret {
            all.push(self.filled(SECRETS, &name, template::SECRET, ""));
        }
        all
    }

    fn binding(&self, name: &str, subject: &str) -> Manifest {
        self.filled(BINDINGS, name, template::BINDING, subject)
    }

    fn filled(&self, collection: &'static str, name: &str, text: &str, subject: &str) -> Manifest {
        let until = self
            .until
            .map_or_else(|| "it is revoked".to_owned(), |end| end.to_string());
        let holes = [
            ("name", name),
            ("role", self.role),
            ("run", self.run),
            ("until", &until),
            ("subject", subject),
        ];
        Manifest {
            collection,
            name: name.to_owned(),
            text: template::fill(text, &holes).to_string(),
        }
    }
}

/// The name of the service account of a run.
pub fn account(run: &str) -> String {
    format!("{ACCOUNT}{}", run.to_lowercase())
}

/// The user name of a service account.
pub fn account_user(namespace: &str, name: &str) -> String {
    format!("system:serviceaccount:{namespace}:{name}")
}

/// Verb, group and resource of something that a `ClusterRole` allows everywhere; `None` if it allows no such thing.
pub fn first_right(role: &Value) -> Option<(String, String, String)> {
    let first = |rule: &Value, field: &str, any: &str| {
        let word = rule[field].as_array()?.first()?.as_str()?;
        Some(if word == "*" { any } else { word }.to_owned())
    };
    let rules = role["rules"].as_array()?.iter();
    let mut rules = rules.filter(|rule| rule["resourceNames"].is_null());
    rules.find_map(|rule| {
        let resource = first(rule, "resources", "pods")?;
        Some((
            first(rule, "verbs", "get")?,
            first(rule, "apiGroups", "")?,
            resource,
        ))
    })
}

/// Whether a text can be the name of a role, a namespace or an account; each is a part of a path and of a manifest.
pub fn is_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._:".contains(&b);
    (1..=253).contains(&text.len()) && !matches!(text, "." | "..") && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_names_role_run_end_and_nobody_else() {
        let terms = Terms {
            role: "system:aggregate-to-view",
            run: "20261122T081543Z-1f2e3d",
            until: Some(Utc::from_unix(0)),
        };
        let user = terms.for_user("rescue-kit:break-glass:20261122T081543Z-1f2e3d");
        assert!(
            user.path()
                .ends_with("rescue-kit:break-glass:20261122T081543Z-1f2e3d")
        );
        let lines = [
            "  name: \"system:aggregate-to-view\"",
            "- kind: User",
            "  name: \"rescue-kit:break-glass:20261122T081543Z-1f2e3d\"",
            "    rescue-kit/until: \"1970-01-01T00:00:00Z\"",
            "    app.kubernetes.io/managed-by: rescue-kit",
        ];
        for line in lines {
            assert!(
                user.text.lines().any(|l| l == line),
                "{line}\n{}",
                user.text
            );
        }
        let all = terms.for_account(true);
        let paths: Vec<String> = all.iter().map(Manifest::path).collect();
        let name = "rescue-kit-break-glass-20261122t081543z-1f2e3d";
        assert_eq!(paths[0], format!("{ACCOUNTS}/{name}"));
        assert_eq!(paths[2], format!("{SECRETS}/{name}"));
        // No hole is left.
        assert!(all.iter().all(|object| !object.text.contains('{')));
    }

    #[test]
    fn a_right_is_one_that_holds_everywhere() {
        let role = serde_json::json!({ "rules": [
            { "nonResourceURLs": ["*"], "verbs": ["*"] },
            { "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"], "verbs": ["get"] },
            { "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"] },
        ] });
        let want = ["get", "", "pods"].map(str::to_owned);
        assert_eq!(first_right(&role), Some(want.into()));
        assert_eq!(first_right(&serde_json::json!({ "rules": null })), None);
    }

    #[test]
    fn names_are_those_that_a_path_and_a_manifest_can_hold() {
        assert!(is_name("view") && is_name("system:node") && is_name("a.b-c_d"));
        for bad in ["", ".", "..", "a/b", "a\"b", "a b", "a\nb", "ä"] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }
}
