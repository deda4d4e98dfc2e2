//! The listing of kubeconfigs: whose they are, until when, and whether the API server takes them.

use serde::Serialize;

use crate::defect::{self, Status};
use crate::pki::cert::Cert;
use crate::pki::name::printable;
use crate::pki::token::Claims;
use crate::pki::utc::Utc;

/// One kubeconfig, its current context.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The file, on the node.
    pub path: String,
    /// The name of the current context.
    pub context: Option<String>,
    /// The server's URL.
    pub server: Option<String>,
    /// What it logs in with.
    pub by: Option<Proof>,
    /// The user that the API server will see, as far as the credential says.
    pub user: Option<String>,
    /// The groups that the credential names.
    pub groups: Vec<String>,
    /// The end of its validity.
    pub not_after: Option<Utc>,
    /// Seconds of validity that are left; negative once it has expired.
    pub residual_seconds: Option<i64>,
    /// Its state.
    pub status: Status,
    /// What is wrong with it.
    pub defects: Vec<String>,
    /// Whether the API server takes it.
    pub accepted: Acceptance,
}

/// What a kubeconfig logs in with.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// A client certificate.
    Certificate,
    /// A program that is run.
    Program,
    /// A token.
    Token,
}

/// What the API server says to a credential.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Acceptance {
    /// The answer.
    pub answer: Answer,
    /// The user that it sees, if it says so.
    #[serde(rename = "as")]
    pub seen: Option<String>,
    /// Why not, or why it was not asked.
    pub why: Option<String>,
}

/// Yes, no, or nobody knows.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It does not.
    No,
    /// It was not asked, or did not answer.
    NotAsked,
    /// It does.
    Yes,
}

impl Answer {
    /// As tables print it.
    pub fn word(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::NotAsked => "not asked",
            Self::Yes => "yes",
        }
    }
}

impl Acceptance {
    /// It was not asked, or did not answer.
    pub fn unknown(why: impl Into<String>) -> Self {
        Self {
            answer: Answer::NotAsked,
            seen: None,
            why: Some(why.into()),
        }
    }
}

impl Row {
    /// A kubeconfig of which only the path is known.
    pub fn new(path: String) -> Self {
        Self {
            path,
            context: None,
            server: None,
            by: None,
            user: None,
            groups: Vec::new(),
            not_after: None,
            residual_seconds: None,
            status: Status::Ok,
            defects: Vec::new(),
            accepted: Acceptance::unknown("it holds no credential"),
        }
    }

    /// What cannot be read, and why.
    pub fn unreadable(&mut self, why: String) {
        self.status = Status::Unreadable;
        self.defects.push(why);
        self.accepted = Acceptance::unknown("it cannot be read");
    }

    /// Takes over what a client certificate says.
    pub fn certified(&mut self, leaf: &Cert, now: Utc, renew_before: i64) {
        self.by = Some(Proof::Certificate);
        self.user = leaf.subject.common_name();
        self.groups = leaf.subject.organizations();
        self.ends(Some(leaf.not_after), now);
        if let Some(defect) = defect::validity(leaf, now, renew_before) {
            self.status = defect.status();
            self.defects.push(defect.text(now));
        }
    }

    /// Takes over what a token says; those that are no JSON Web Tokens say nothing.
    pub fn bears(&mut self, claims: &Claims, now: Utc) {
        self.by = Some(Proof::Token);
        self.user.clone_from(&claims.subject);
        self.ends(claims.not_after, now);
        if claims.not_after.is_some_and(|end| end <= now) {
            self.status = Status::Expired;
            self.defects.push("the token has expired".to_owned());
        }
    }

    fn ends(&mut self, end: Option<Utc>, now: Utc) {
        self.not_after = end;
        self.residual_seconds = end.map(|end| end.since(now));
    }

    /// Who it is for, with groups, for people.
    pub fn who(&self) -> String {
        let user = self.user.as_deref().unwrap_or("somebody unnamed");
        match self.groups.as_slice() {
            [] => printable(user),
            groups => printable(&format!("{user} ({})", groups.join(", "))),
        }
    }
}
