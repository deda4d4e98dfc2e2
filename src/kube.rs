//! The Kubernetes API, as much of it as a rescue needs: is it ready, who are we, does a write stay, who leads.

mod account;
mod stored;

use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::https::{Client, HttpsError, Response};

pub use stored::stored_uid;

/// How many characters of an error's text are kept.
const MAX_TEXT: usize = 1024;

/// What tells the objects that we make from those of others.
const OURS: (&str, &str) = ("app.kubernetes.io/managed-by", "rescue-kit");

/// Why the API did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KubeError {
    /// There was no answer.
    #[error(transparent)]
    Https(#[from] HttpsError),
    /// The answer is a refusal.
    #[error("the API refused {path} with {code} {reason}: {message}")]
    Status {
        /// What was asked for.
        path: String,
        /// The HTTP status, as 403.
        code: u16,
        /// In a word, as `Forbidden`; empty if the API does not say.
        reason: String,
        /// In a sentence, at most a kilobyte.
        message: String,
    },
    /// The answer is not what the API answers.
    #[error("the API's answer for {path} is malformed: {why}")]
    Malformed {
        /// What was asked for.
        path: String,
        /// What is wrong.
        why: &'static str,
    },
    /// The name is none that an object can have.
    #[error("`{}` is no name of an object", .name.escape_default())]
    Name {
        /// The name, at most 256 characters.
        name: String,
    },
    /// What was written is not what was read back.
    #[error("what was written to {path} was not read back")]
    NotKept {
        /// The object.
        path: String,
    },
}

impl KubeError {
    /// The HTTP status of a refusal.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Status { code, .. } => Some(*code),
            _ => None,
        }
    }
}

/// Who leads, as a Lease says (`coordination.k8s.io/v1`).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lease {
    /// The holder's identity; `None` if nobody holds it.
    pub holder: Option<String>,
    /// When it was last renewed: RFC 3339 with microseconds, as the holder wrote it.
    pub renewed: Option<String>,
    /// How often it has changed hands.
    pub transitions: u64,
    /// For how many seconds after its renewal others wait.
    pub seconds: u64,
    /// The object's resource version.
    pub version: String,
}

/// One API server, asked by one client.
#[derive(Clone)]
pub struct Kube {
    client: Client,
}

impl Kube {
    /// Takes the client; asks nothing yet.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// The checks behind `/readyz`, and whether each passes; all together decide whether it is ready. Anonymous clients
    /// may ask: that it answers says nothing about certificates of clients.
    ///
    /// # Errors
    ///
    /// As all functions here: any [`KubeError`] but [`KubeError::NotKept`].
    pub fn readyz(&self) -> Result<Vec<(String, bool)>, KubeError> {
        let path = "/readyz?verbose";
        let response = self.client.request("GET", path, None, None)?;
        let checks = checks(&String::from_utf8_lossy(&response.body));
        let failing = response.status == 500 && !checks.is_empty();
        if failing || is_success(&response) {
            return Ok(checks);
        }
        Err(refusal(path, &response))
    }

    /// Our user name and groups in the API server's eyes (`SelfSubjectReview`, since 1.28): proves that our certificate
    /// is accepted as a client's, needs no permission, writes nothing.
    pub fn who_am_i(&self) -> Result<(String, Vec<String>), KubeError> {
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let review = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "SelfSubjectReview",
            "metadata": {},
        });
        let answer = self.create(path, &review)?;
        let user = &answer["status"]["userInfo"];
        let name = user["username"]
            .as_str()
            .ok_or_else(|| KubeError::Malformed {
                path: path.to_owned(),
                why: "it names no user",
            })?;
        let groups = user["groups"].as_array().map_or(&[][..], Vec::as_slice);
        let groups = groups
            .iter()
            .filter_map(|group| Some(group.as_str()?.to_owned()));
        Ok((name.to_owned(), groups.collect()))
    }

    /// Reads an object, or a list.
    pub fn get(&self, path: &str) -> Result<Value, KubeError> {
        self.ask("GET", path, None, None)
    }

    /// Creates an object in the collection at `path`; gives it as it was stored.
    pub fn create(&self, path: &str, object: &Value) -> Result<Value, KubeError> {
        self.ask("POST", path, Some("application/json"), Some(object))
    }

    /// Changes an object by a JSON merge patch (RFC 7396); gives it as it was stored. A `metadata.resourceVersion` in
    /// the change is a precondition.
    pub fn merge_patch(&self, path: &str, change: &Value) -> Result<Value, KubeError> {
        let kind = "application/merge-patch+json";
        self.ask("PATCH", path, Some(kind), Some(change))
    }

    /// Puts an object in another's place; gives it as it was stored.
    pub fn replace(&self, path: &str, object: &Value) -> Result<Value, KubeError> {
        self.ask("PUT", path, Some("application/json"), Some(object))
    }

    /// Deletes an object; `false` if there was none.
    pub fn delete(&self, path: &str) -> Result<bool, KubeError> {
        unless(404, self.ask("DELETE", path, None, None)).map(|gone| gone.is_some())
    }

    /// Text that is no object: logs, metrics. What is not UTF-8 is replaced.
    pub fn text(&self, path: &str) -> Result<String, KubeError> {
        let response = self.client.request("GET", path, None, None)?;
        if !is_success(&response) {
            return Err(refusal(path, &response));
        }
        Ok(String::from_utf8_lossy(&response.body).into_owned())
    }

    /// A Lease; `None` if there is none.
    pub fn lease(&self, namespace: &str, name: &str) -> Result<Option<Lease>, KubeError> {
        let path = lease_path(namespace, name)?;
        match unless(404, self.get(&path))? {
            Some(object) => Lease::read(&object, &path).map(Some),
            None => Ok(None),
        }
    }

    /// All Leases of a namespace with their names.
    pub fn leases(&self, namespace: &str) -> Result<Vec<(String, Lease)>, KubeError> {
        let path = format!("{LEASES}/{}/leases", segment(namespace)?);
        let list = self.get(&path)?;
        let items = list["items"]
            .as_array()
            .ok_or_else(|| KubeError::Malformed {
                path: path.clone(),
                why: "it is no list",
            })?;
        let named = |item: &Value| {
            let name = item["metadata"]["name"].as_str().unwrap_or_default();
            Ok((name.to_owned(), Lease::read(item, &path)?))
        };
        items.iter().map(named).collect()
    }

    /// Takes a Lease from whoever holds it, so that the next one need not wait it out. Only if it is still as `lease`
    /// says: `false` if it has changed since, or is gone.
    pub fn clear_holder(
        &self,
        namespace: &str,
        name: &str,
        lease: &Lease,
    ) -> Result<bool, KubeError> {
        let path = lease_path(namespace, name)?;
        let change = json!({
            "metadata": { "resourceVersion": lease.version },
            "spec": { "holderIdentity": "" },
        });
        let patched = unless(409, self.merge_patch(&path, &change));
        match patched {
            Err(error) if error.code() == Some(404) => Ok(false),
            other => other.map(|stored| stored.is_some()),
        }
    }

    /// Writes `value` to a `ConfigMap`, reads it back and deletes it: proves that a write goes through to the store. A
    /// `ConfigMap` that an earlier try left is used; one of somebody else is not touched.
    ///
    /// # Errors
    ///
    /// Any [`KubeError`]; [`KubeError::NotKept`] if something else was read back.
    pub fn round_trip(&self, namespace: &str, name: &str, value: &str) -> Result<(), KubeError> {
        let all = format!("/api/v1/namespaces/{}/configmaps", segment(namespace)?);
        let path = format!("{all}/{}", segment(name)?);
        let object = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": { "name": name, "namespace": namespace, "labels": { OURS.0: OURS.1 } },
            "data": { "value": value },
        });
        match self.create(&all, &object) {
            Err(error) if error.code() == Some(409) => {
                if self.get(&path)?["metadata"]["labels"][OURS.0] != OURS.1 {
                    return Err(error);
                }
                self.replace(&path, &object)?;
            },
            other => {
                other?;
            },
        }
        let read = self.get(&path);
        // Also when it could not be read: nothing is to stay.
        let deleted = self.delete(&path);
        if read?["data"]["value"] != value {
            return Err(KubeError::NotKept { path });
        }
        deleted.map(|_| ())
    }

    fn ask(
        &self,
        method: &str,
        path: &str,
        kind: Option<&str>,
        object: Option<&Value>,
    ) -> Result<Value, KubeError> {
        let body = object.map(Value::to_string);
        self.send(method, path, kind, body.as_ref().map(String::as_bytes))
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        kind: Option<&str>,
        body: Option<&[u8]>,
    ) -> Result<Value, KubeError> {
        let response = self.client.request(method, path, kind, body)?;
        if !is_success(&response) {
            return Err(refusal(path, &response));
        }
        // It may hold a token.
        let body = Zeroizing::new(response.body);
        serde_json::from_slice(&body).map_err(|_| KubeError::Malformed {
            path: path.to_owned(),
            why: "it is not JSON",
        })
    }
}

impl Lease {
    fn read(object: &Value, path: &str) -> Result<Self, KubeError> {
        let malformed = |why| KubeError::Malformed {
            path: path.to_owned(),
            why,
        };
        let version = object["metadata"]["resourceVersion"].as_str();
        let version = version.filter(|version| !version.is_empty());
        let nothing = Map::new();
        let spec = object["spec"].as_object().unwrap_or(&nothing);
        let text = |field| {
            let text = spec.get(field).and_then(Value::as_str);
            text.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let number = |field| spec.get(field).and_then(Value::as_u64).unwrap_or(0);
        Ok(Self {
            holder: text("holderIdentity"),
            renewed: text("renewTime"),
            transitions: number("leaseTransitions"),
            seconds: number("leaseDurationSeconds"),
            version: version
                .ok_or_else(|| malformed("it has no version"))?
                .to_owned(),
        })
    }
}

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces";

fn lease_path(namespace: &str, name: &str) -> Result<String, KubeError> {
    let (namespace, name) = (segment(namespace)?, segment(name)?);
    Ok(format!("{LEASES}/{namespace}/leases/{name}"))
}

/// A name that can be part of a path: RFC 1123's subdomains, and colons and underscores, which some kinds take.
fn segment(name: &str) -> Result<&str, KubeError> {
    let valid = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
    let fits = (1..=253).contains(&name.len()) && !matches!(name, "." | "..");
    if fits && name.chars().all(valid) {
        return Ok(name);
    }
    Err(KubeError::Name {
        name: name.chars().take(256).collect(),
    })
}

/// Lines as `[+]ping ok` and `[-]etcd failed: reason withheld` (`apiserver/pkg/server/healthz`).
fn checks(text: &str) -> Vec<(String, bool)> {
    let check = |line: &str| {
        let passes = match line.get(..3)? {
            "[+]" => true,
            "[-]" => false,
            _ => return None,
        };
        let name = line[3..].split(' ').next().unwrap_or_default();
        Some((name.to_owned(), passes))
    };
    text.lines().filter_map(check).collect()
}

fn is_success(response: &Response) -> bool {
    (200..300).contains(&response.status)
}

/// `None` for the one refusal that is expected.
fn unless<T>(code: u16, answer: Result<T, KubeError>) -> Result<Option<T>, KubeError> {
    match answer {
        Err(error) if error.code() == Some(code) => Ok(None),
        other => other.map(Some),
    }
}

/// What a `Status` object says, or else the text itself.
fn refusal(path: &str, response: &Response) -> KubeError {
    let bounded = |text: &str| text.trim().chars().take(MAX_TEXT).collect::<String>();
    let status: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let said = |field: &str| status[field].as_str().map(bounded);
    let text = || bounded(&String::from_utf8_lossy(&response.body));
    KubeError::Status {
        path: path.to_owned(),
        code: response.status,
        reason: said("reason").unwrap_or_default(),
        message: said("message").unwrap_or_else(text),
    }
}

#[cfg(test)]
mod tests;
