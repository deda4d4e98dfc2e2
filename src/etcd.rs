//! etcd, through the JSON gateway that each member has on its client port (v3.4 and later).
//!
//! The gateway is a gRPC client of its own server and presents that server's certificate. Where etcd was started with an
//! expired one, the gateway refuses with 503 what [`Etcd::health`] still answers, and goes on so after the file is renewed
//! until its next try: up to 2 minutes later, gRPC's longest back-off (seen with 3.6.5).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::https::{Client, HttpsError, Response};

/// How many characters of an error's text are kept.
const MAX_TEXT: usize = 1024;

/// Why etcd did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EtcdError {
    /// There was no answer.
    #[error(transparent)]
    Https(#[from] HttpsError),
    /// The answer is a refusal.
    #[error("etcd refused {path} with {code}: {message}")]
    Status {
        /// What was asked for.
        path: &'static str,
        /// The HTTP status, as 503.
        code: u16,
        /// etcd's words, at most a kilobyte.
        message: String,
    },
    /// The answer is not what etcd answers.
    #[error("etcd's answer for {path} is malformed: {why}")]
    Malformed {
        /// What was asked for.
        path: &'static str,
        /// What is wrong.
        why: &'static str,
    },
}

impl EtcdError {
    /// The HTTP status of a refusal.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Status { code, .. } => Some(*code),
            _ => None,
        }
    }
}

/// How one member is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Status {
    /// The member that answered: a decimal number.
    pub member_id: String,
    /// Which member leads, in its eyes: a decimal number; `0` if none does.
    pub leader: String,
    /// The size of its database file, in bytes.
    pub db_size: u64,
    /// The index of the last entry that it knows to be committed.
    pub raft_index: u64,
    /// Alarms and what else is wrong, in etcd's words.
    pub errors: Vec<String>,
    /// Its version, as `3.6.5`.
    pub version: String,
    /// Whether it only learns, and does not vote.
    pub is_learner: bool,
}

impl Status {
    /// Whether the member that answered leads.
    pub fn leads(&self) -> bool {
        self.leader == self.member_id
    }
}

/// A member of the cluster.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Member {
    /// Its identifier: a decimal number.
    pub id: String,
    /// Its name; empty until it has started once.
    pub name: String,
    /// Where other members find it.
    pub peer_urls: Vec<String>,
    /// Where clients find it.
    pub client_urls: Vec<String>,
    /// Whether it only learns, and does not vote.
    pub is_learner: bool,
}

/// One member, asked by one client.
#[derive(Clone)]
pub struct Etcd {
    client: Client,
}

const HEALTH: &str = "/health";
const STATUS: &str = "/v3/maintenance/status";
const MEMBERS: &str = "/v3/cluster/member/list";
const ALARM: &str = "/v3/maintenance/alarm";
const RANGE: &str = "/v3/kv/range";
const TRANSFER: &str = "/v3/maintenance/transfer-leadership";

impl Etcd {
    /// Takes the client; asks nothing yet.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Whether the member calls itself healthy: it has a leader and no alarm, and a read through the cluster succeeds.
    ///
    /// # Errors
    ///
    /// As all functions here: any [`EtcdError`].
    pub fn health(&self) -> Result<bool, EtcdError> {
        let response = self.client.request("GET", HEALTH, None, None)?;
        let said: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        match said["health"].as_str() {
            Some(health) => Ok(response.status == 200 && health == "true"),
            // etcd 3.3 said `{"health": true}` here, others say nothing with 503.
            None if response.status == 503 => Ok(false),
            None if response.status == 200 => {
                said["health"].as_bool().ok_or(EtcdError::Malformed {
                    path: HEALTH,
                    why: "it says nothing of health",
                })
            },
            None => Err(refusal(HEALTH, &response)),
        }
    }

    /// How the member is.
    pub fn status(&self) -> Result<Status, EtcdError> {
        let answer = self.ask(STATUS, &json!({}))?;
        let header = answer.get("header").and_then(Value::as_object);
        let member_id = header.and_then(|header| identifier(header, "member_id"));
        Ok(Status {
            member_id: member_id.ok_or(EtcdError::Malformed {
                path: STATUS,
                why: "it names no member",
            })?,
            leader: identifier(&answer, "leader").unwrap_or_else(|| "0".to_owned()),
            db_size: number(&answer, "dbSize"),
            raft_index: number(&answer, "raftIndex"),
            errors: texts(&answer, "errors"),
            version: text(&answer, "version"),
            is_learner: is_true(&answer, "isLearner"),
        })
    }

    /// The cluster's members as this one knows them, also without quorum.
    pub fn members(&self) -> Result<Vec<Member>, EtcdError> {
        let answer = self.ask(MEMBERS, &json!({ "linearizable": false }))?;
        let member = |member: &Map<String, Value>| Member {
            id: identifier(member, "ID").unwrap_or_default(),
            name: text(member, "name"),
            peer_urls: texts(member, "peerURLs"),
            client_urls: texts(member, "clientURLs"),
            is_learner: is_true(member, "isLearner"),
        };
        Ok(objects(&answer, "members").map(member).collect())
    }

    /// The alarms of all members: the member's identifier, and `NOSPACE` or `CORRUPT`.
    pub fn alarms(&self) -> Result<Vec<(String, String)>, EtcdError> {
        let answer = self.ask(ALARM, &json!({ "action": "GET" }))?;
        let alarm = |alarm: &Map<String, Value>| {
            let member = identifier(alarm, "memberID").unwrap_or_default();
            (member, text(alarm, "alarm"))
        };
        Ok(objects(&answer, "alarms").map(alarm).collect())
    }

    /// The value of a key; `None` if there is none.
    pub fn value(&self, key: &str) -> Result<Option<Vec<u8>>, EtcdError> {
        let answer = self.ask(RANGE, &json!({ "key": STANDARD.encode(key) }))?;
        let Some(pair) = objects(&answer, "kvs").next() else {
            return Ok(None);
        };
        let value = STANDARD.decode(text(pair, "value"));
        value.map(Some).map_err(|_| EtcdError::Malformed {
            path: RANGE,
            why: "a value is not base64",
        })
    }

    /// Makes the member `to` the leader. Only the leader can be asked.
    pub fn move_leader(&self, to: &str) -> Result<(), EtcdError> {
        self.ask(TRANSFER, &json!({ "targetID": to })).map(|_| ())
    }

    fn ask(&self, path: &'static str, question: &Value) -> Result<Map<String, Value>, EtcdError> {
        let body = question.to_string();
        let kind = Some("application/json");
        let response = self
            .client
            .request("POST", path, kind, Some(body.as_bytes()))?;
        if response.status != 200 {
            return Err(refusal(path, &response));
        }
        match serde_json::from_slice(&response.body) {
            Ok(Value::Object(answer)) => Ok(answer),
            _ => Err(EtcdError::Malformed {
                path,
                why: "it is no JSON object",
            }),
        }
    }
}

/// A 64-bit number, which JSON writes as a string (protobuf's mapping); as it came, if it is one.
fn identifier(object: &Map<String, Value>, field: &str) -> Option<String> {
    let number: u64 = match object.get(field)? {
        Value::String(text) => text.parse().ok()?,
        other => other.as_u64()?,
    };
    Some(number.to_string())
}

/// 0 if it is not said: protobuf leaves out what has its default.
fn number(object: &Map<String, Value>, field: &str) -> u64 {
    let number = identifier(object, field).and_then(|text| text.parse().ok());
    number.unwrap_or(0)
}

fn text(object: &Map<String, Value>, field: &str) -> String {
    let text = object.get(field).and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}

fn texts(object: &Map<String, Value>, field: &str) -> Vec<String> {
    list(object, field)
        .iter()
        .filter_map(|item| Some(item.as_str()?.to_owned()))
        .collect()
}

fn objects<'a>(
    object: &'a Map<String, Value>,
    field: &str,
) -> impl Iterator<Item = &'a Map<String, Value>> {
    list(object, field).iter().filter_map(Value::as_object)
}

fn list<'a>(object: &'a Map<String, Value>, field: &str) -> &'a [Value] {
    let list = object.get(field).and_then(Value::as_array);
    list.map_or(&[], Vec::as_slice)
}

fn is_true(object: &Map<String, Value>, field: &str) -> bool {
    object.get(field) == Some(&Value::Bool(true))
}

/// What the gateway says of the gRPC error, or else the text itself.
fn refusal(path: &'static str, response: &Response) -> EtcdError {
    let bounded = |text: &str| text.trim().chars().take(MAX_TEXT).collect::<String>();
    let said: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let words = ["message", "error"].map(|field| said[field].as_str().map(bounded));
    let text = || bounded(&String::from_utf8_lossy(&response.body));
    EtcdError::Status {
        path,
        code: response.status,
        message: words.into_iter().flatten().next().unwrap_or_else(text),
    }
}

#[cfg(test)]
mod tests;
