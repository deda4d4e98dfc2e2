//! The ledger: which certificates came and went, folded out of the journals of all runs.

use serde::Serialize;

use crate::grant::{Grant, Kind};
use crate::journal::{self, Body, Record, Way};
use crate::pki::name::printable;
use crate::pki::utc::Utc;
use crate::plan::Plan;
use crate::plan::step::Source;

/// One line of the ledger.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Entry {
    /// The credential's id.
    pub cert_name: String,
    /// What happened to it.
    pub action: Action,
    /// The last second of validity of the certificate that is meant; the end of 9999 if it has none (RFC 5280, section
    /// 4.1.2.5).
    pub expire_date: Utc,
    /// Who.
    pub operator: String,
    /// When.
    pub created_at: Utc,
    /// The serial number of the certificate that is meant, hexadecimal; of a token its name.
    pub serial: String,
    /// The run.
    pub run: String,
}

/// What happened to a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Action {
    /// There was none before.
    Create,
    /// A rollback or a revocation took it away again. No CRL tells of it: Kubernetes reads none.
    Revoke,
    /// It took the place of another.
    Update,
}

impl Action {
    /// As every format says it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Revoke => "REVOKE",
            Self::Update => "UPDATE",
        }
    }
}

/// The entries of one run, in order of time.
pub fn entries(plan: &Plan, log: &[Record]) -> Vec<Entry> {
    let Some(begin) = journal::begin(log) else {
        return Vec::new();
    };
    let mut operator = &begin.operator;
    let mut entries = Vec::new();
    for record in log {
        if let Body::Resume {
            operator: Some(other),
            ..
        } = &record.body
        {
            operator = other;
        }
        let entry = |action, cert_name, expire_date, serial: &str| Entry {
            cert_name,
            action,
            expire_date,
            operator: operator.clone(),
            created_at: record.at,
            serial: serial.to_owned(),
            run: begin.run.clone(),
        };
        if let Some((action, grant, serial)) = of_grant(&record.body, log) {
            let end = grant.not_after.unwrap_or_else(|| Utc::from_unix(i64::MAX));
            entries.push(entry(action, name_of(&grant), end, &serial));
        }
        if let Body::Refreshed {
            path,
            serial,
            not_after,
            ..
        } = &record.body
        {
            let name = format!("copy:{}", path.display());
            entries.push(entry(Action::Update, name, *not_after, serial));
        }
        let Body::Outcome {
            step,
            way,
            result: Ok(_),
        } = &record.body
        else {
            continue;
        };
        // A run that was interrupted while it issued, issued again.
        let Some(credential) = last_of_credential(plan, step, *way) else {
            continue;
        };
        let Some(issued) = journal::issued(log)
            .filter(|i| i.credential == credential)
            .last()
        else {
            continue;
        };
        let action = match (way, issued.replaces) {
            (Way::Back, _) => Action::Revoke,
            (Way::Forward, None) => Action::Create,
            (Way::Forward, Some(_)) => Action::Update,
        };
        let name = credential.to_owned();
        entries.push(entry(action, name, issued.not_after, &issued.serial));
    }
    entries
}

/// What a line says of access that was given or taken back: with which serial number. What never worked was never there.
fn of_grant(body: &Body, log: &[Record]) -> Option<(Action, Grant, String)> {
    let action = match body {
        Body::Granted { .. } => Action::Create,
        Body::Revoked { .. } => Action::Revoke,
        _ => return None,
    };
    let serial = log.iter().find_map(|record| match &record.body {
        Body::Granted { serial, .. } => Some(serial.clone()),
        _ => None,
    })?;
    Some((action, journal::grant(log)?, serial))
}

/// The user is the name that an auditor meets again in the API server's log.
fn name_of(grant: &Grant) -> String {
    match grant.kind {
        Kind::User => format!("user:{}", grant.user),
        _ => grant.user.clone(),
    }
}

/// The credential that this commit step puts wholly in place (or takes wholly away): its last in that direction.
fn last_of_credential<'a>(plan: &'a Plan, step: &str, way: Way) -> Option<&'a str> {
    let commit = plan.commit(step)?;
    let of_same = |c: &&crate::plan::step::Commit| {
        c.credential == commit.credential
            && c.parts
                .iter()
                .any(|(_, s)| matches!(s, Source::Staged(_) | Source::Link(_)))
    };
    let mut steps = plan.phases.commit.iter().filter(of_same);
    let last = if way == Way::Forward {
        steps.next_back()
    } else {
        steps.next()
    };
    (last?.id == step).then_some(commit.credential.as_str())
}

/// RFC 4180 with a header line and `\r\n`.
pub fn csv(entries: &[Entry]) -> String {
    let mut text = "cert_name,action,expire_date,operator,created_at,serial,run\r\n".to_owned();
    for entry in entries {
        let fields = fields(entry).map(|field| {
            // A spreadsheet takes a leading `=`, `+`, `-` or `@` for a formula.
            let formula = field.starts_with(['=', '+', '-', '@']);
            let field = if formula { format!("'{field}") } else { field };
            if field.contains(['"', ',', '\r', '\n']) {
                format!("\"{}\"", field.replace('"', "\"\""))
            } else {
                field
            }
        });
        text.push_str(&fields.join(","));
        text.push_str("\r\n");
    }
    text
}

/// Standard SQL: a table and one INSERT an entry.
pub fn sql(entries: &[Entry]) -> String {
    let mut text = "CREATE TABLE IF NOT EXISTS certificate_ledger (\n  cert_name VARCHAR(255) NOT NULL,\n  action VARCHAR(6) NOT NULL CHECK (action IN ('CREATE', 'UPDATE', 'REVOKE')),\n  expire_date TIMESTAMP NOT NULL,\n  operator VARCHAR(255) NOT NULL,\n  created_at TIMESTAMP NOT NULL,\n  serial VARCHAR(64) NOT NULL,\n  run VARCHAR(64) NOT NULL\n);\n"
        .to_owned();
    for entry in entries {
        let mut fields = fields(entry).map(|field| format!("'{}'", field.replace('\'', "''")));
        for time in [2, 4] {
            fields[time] = fields[time].replace('T', " ").replace('Z', "");
        }
        text.push_str(&format!(
            "INSERT INTO certificate_ledger VALUES ({});\n",
            fields.join(", ")
        ));
    }
    text
}

fn fields(entry: &Entry) -> [String; 7] {
    [
        printable(&entry.cert_name),
        entry.action.word().to_owned(),
        entry.expire_date.to_string(),
        printable(&entry.operator),
        entry.created_at.to_string(),
        entry.serial.clone(),
        entry.run.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(operator: &str) -> Entry {
        Entry {
            cert_name: "apiserver".to_owned(),
            action: Action::Update,
            expire_date: Utc::from_unix(86_400),
            operator: operator.to_owned(),
            created_at: Utc::from_unix(0),
            serial: "0a".to_owned(),
            run: "r".to_owned(),
        }
    }

    #[test]
    fn quotes_what_csv_needs_quoted_and_defuses_formulas() {
        let text = csv(&[entry("O'Hara, \"B\""), entry("=1+1")]);
        let lines: Vec<&str> = text.split("\r\n").collect();
        let dates = "1970-01-02T00:00:00Z";
        assert_eq!(
            lines[1],
            format!("apiserver,UPDATE,{dates},\"O'Hara, \"\"B\"\"\",1970-01-01T00:00:00Z,0a,r")
        );
        assert!(lines[2].contains(",'=1+1,"));
    }

    #[test]
    fn quotes_what_sql_needs_quoted() {
        let text = sql(&[entry("O'Hara")]);
        assert!(text.contains("('apiserver', 'UPDATE', '1970-01-02 00:00:00', 'O''Hara',"));
    }
}
