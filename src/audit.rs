//! PHASE: audit, evidence that others can check with tools they have.
//! INPUTS: a run directory; a signing key.
//! OUTPUTS: one tarball, byte-identical whenever it is rebuilt from the same run directory.
//!
//! | name | what |
//! | --- | --- |
//! | `statement.json` | who, what, when and by which clock, where, why, how |
//! | `plan.json`, `timeline.jsonl` | the plan and the journal, as they are |
//! | `before.json`, `after.json`, `diff.json` | the inventories, and what differs |
//! | `certificates/before/`, `certificates/after/` | public certificates, PEM |
//! | `verification.json` | what was proved |
//! | `report.html` | the same for people |
//! | `SHA256SUMS` and its signatures | for `sha256sum`, `openssl`, `ssh-keygen` |
//! | `signer.pub`, `allowed_signers` | the public key in both forms |
//! | `VERIFY.txt` | the commands |
//!
//! No private key, token or password is ever in it.

use serde::Serialize;

use crate::archive::{self, ArchiveError, Entry};
use crate::diff;
use crate::finding;
use crate::inventory::{Inventory, Scope};
use crate::journal::{self, Begin, Verdict};
use crate::journal_file;
use crate::pki::digest::Digest;
use crate::pki::utc::Utc;
use crate::profile::Profile;
use crate::render::html::{self, ReportView};
use crate::run::{self, Run, RunError};
use crate::sign::{self, AuditKey, SignError, Signatures};
use crate::store::StoreError;
use crate::verification::Verification;

/// The statement's predicate type, in the manner of in-toto.
const PREDICATE: &str = "rescue-kit/rescue-report/v1";

/// How far ahead the report's findings look, in seconds.
const AHEAD: i64 = 30 * Utc::DAY;

/// Why there is no audit.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The tarball is not what it says.
    #[error("{0}")]
    Invalid(String),
    /// The run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The key.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The run directory.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Who, what, when, where, why, how.
#[derive(Serialize)]
struct Statement<'a> {
    schema: &'static str,
    run: &'a str,
    who: Who<'a>,
    what: What<'a>,
    when: When,
    #[serde(rename = "where")]
    place: Where<'a>,
    why: Why<'a>,
    how: How<'a>,
}

#[derive(Serialize)]
struct Who<'a> {
    operator: &'a str,
}

#[derive(Serialize)]
struct What<'a> {
    outcome: &'static str,
    certificates: Vec<&'a journal::Issued>,
    places: Vec<String>,
}

#[derive(Serialize)]
struct When {
    begun: Utc,
    ended: Option<Utc>,
    clock: String,
}

#[derive(Serialize)]
struct Where<'a> {
    node: Option<&'a str>,
    node_id: Digest,
    scope: Scope,
    profile: &'a str,
}

#[derive(Serialize)]
struct Why<'a> {
    ticket: Option<&'a str>,
    reason: Option<&'a str>,
    cause: Option<String>,
}

#[derive(Serialize)]
struct How<'a> {
    tool: &'static str,
    version: &'a str,
    binary_sha256: Option<Digest>,
    command: &'a [String],
    plan_sha256: Digest,
}

/// A written audit.
#[derive(Clone, Debug)]
pub struct Written {
    /// The tarball's bytes.
    pub bytes: Vec<u8>,
    /// The digest of the tarball.
    pub sha256: Digest,
    /// The signer's fingerprint, as `ssh-keygen -l` prints it.
    pub fingerprint: String,
    /// The signer's public key, PEM.
    pub public: String,
}

/// Builds the audit of a run and writes it beside the journal. Without a key one is made for this audit and forgotten.
pub fn write(run: &Run, profile: &Profile, key: Option<&AuditKey>) -> Result<Written, AuditError> {
    let contents = contents(run, profile)?;
    let sums = sums(&contents);
    let signatures = signatures(run, &sums, key)?;
    let mut entries = contents;
    entries.push(file("SHA256SUMS", sums.into_bytes()));
    let (fingerprint, public) = (signatures.fingerprint.clone(), signatures.public.clone());
    let signed = signatures.files().into_iter();
    entries.extend(signed.map(|(name, bytes)| file(name, bytes)));
    let name = name_of(run);
    for entry in &mut entries {
        entry.name = format!("audit-{name}/{}", entry.name);
    }
    let mut bytes = Vec::new();
    archive::pack(&entries, run.plan.at, &mut bytes)?;
    run.dir.write(run::AUDIT, &bytes)?;
    Ok(Written {
        sha256: Digest::of(&bytes),
        bytes,
        fingerprint,
        public,
    })
}

/// What a verified audit says.
#[derive(Clone, Debug, Serialize)]
pub struct Verified {
    /// The run.
    pub run: String,
    /// How many files the checksums cover.
    pub files: usize,
    /// The signer's fingerprint.
    pub fingerprint: String,
    /// Whether the signer's key is the expected one; `None` if none was named.
    pub expected: Option<bool>,
    /// The operator.
    pub operator: String,
    /// How the run ended.
    pub verdict: Option<Verdict>,
}

/// Checks a tarball: every checksum, nothing beside them, the signature, the chain of the timeline.
///
/// `signer` is the public key, PEM, that it must be signed with.
pub fn verify(bytes: &[u8], signer: Option<&[u8]>) -> Result<Verified, AuditError> {
    let invalid = |why: &str| AuditError::Invalid(why.to_owned());
    let entries = archive::unpack(bytes)?;
    let top = |entry: &Entry| entry.name.split_once('/').map(|(top, _)| top.to_owned());
    let directory = entries.first().and_then(top);
    if directory.is_none() || entries.iter().any(|entry| top(entry) != directory) {
        return Err(invalid("its files are not all in one directory"));
    }
    let name = |entry: &Entry| entry.name.split_once('/').map(|(_, rest)| rest.to_owned());
    let find = |wanted: &str| {
        let mut entries = entries.iter();
        entries.find(|entry| name(entry).as_deref() == Some(wanted))
    };
    let need = |wanted: &str| find(wanted).ok_or_else(|| invalid(&format!("it has no {wanted}")));
    let sums = &need("SHA256SUMS")?.bytes;
    let public = sign::check(sums, |name| Some(find(name)?.bytes.to_vec()))?;
    let outside = |name: &str| name == "SHA256SUMS" || sign::FILES.contains(&name);
    let covered: Vec<Entry> = entries
        .iter()
        .filter_map(|entry| Some(file(&name(entry)?, entry.bytes.to_vec())))
        .filter(|entry| !outside(&entry.name))
        .collect();
    if self::sums(&covered).as_bytes() != sums.as_slice() {
        return Err(invalid("its files are not those that SHA256SUMS names"));
    }
    let text = String::from_utf8_lossy(&need("timeline.jsonl")?.bytes).into_owned();
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let records = journal::read(&lines).map_err(|why| invalid(&format!("the timeline: {why}")))?;
    let begin = journal::begin(&records).ok_or_else(|| invalid("the timeline has no beginning"))?;
    Ok(Verified {
        run: begin.run.clone(),
        files: covered.len(),
        fingerprint: sign::fingerprint(&public)?,
        expected: match signer {
            Some(signer) => Some(sign::fingerprint(signer)? == sign::fingerprint(&public)?),
            None => None,
        },
        operator: begin.operator.clone(),
        verdict: journal::verdict(&records),
    })
}

/// Everything that the checksums cover, sorted by name.
fn contents(run: &Run, profile: &Profile) -> Result<Vec<Entry>, AuditError> {
    let begin = journal::begin(run.records())
        .ok_or_else(|| AuditError::Invalid("the journal has no beginning".to_owned()))?;
    let before: Inventory = stored(run, run::BEFORE)?
        .ok_or_else(|| AuditError::Invalid("the run has no inventory".to_owned()))?;
    let after: Option<Inventory> = stored(run, run::AFTER)?;
    let verification: Option<Verification> = stored(run, run::VERIFICATION)?;
    let diff = after.as_ref().map(|after| diff::between(&before, after));
    let mut entries = Vec::new();
    for (name, stored) in [
        ("plan.json", run::PLAN),
        ("timeline.jsonl", journal_file::NAME),
        ("before.json", run::BEFORE),
        ("after.json", run::AFTER),
        ("verification.json", run::VERIFICATION),
    ] {
        if let Some(bytes) = run.dir.read(stored)? {
            entries.push(file(name, bytes.to_vec()));
        }
    }
    entries.push(file("diff.json", pretty(&diff.unwrap_or_default())));
    entries.push(file(
        "statement.json",
        pretty(&statement(run, begin, &before, profile)),
    ));
    entries.push(file("VERIFY.txt", VERIFY.as_bytes().to_vec()));
    certificates("before", &before, &mut entries);
    if let Some(after) = &after {
        certificates("after", after, &mut entries);
    }
    let html = report(
        run,
        begin,
        profile,
        &before,
        after.as_ref(),
        verification.as_ref(),
    );
    entries.push(file("report.html", html.into_bytes()));
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// The report alone.
pub fn html(run: &Run, profile: &Profile) -> Result<String, AuditError> {
    let contents = contents(run, profile)?;
    let found = contents.iter().find(|entry| entry.name == "report.html");
    Ok(found
        .map(|entry| String::from_utf8_lossy(&entry.bytes).into_owned())
        .unwrap_or_default())
}

fn report(
    run: &Run,
    begin: &Begin,
    profile: &Profile,
    before: &Inventory,
    after: Option<&Inventory>,
    verification: Option<&Verification>,
) -> String {
    let findings = finding::findings(before, profile, AHEAD);
    let cause = finding::cause(&findings, profile);
    let left = after
        .map(|after| finding::findings(after, profile, AHEAD))
        .unwrap_or_default();
    html::report(&ReportView {
        begin,
        records: run.records(),
        plan: &run.plan,
        before,
        after,
        findings: &findings,
        cause: cause.as_deref(),
        verification,
        left: &left,
    })
}

fn statement<'a>(
    run: &'a Run,
    begin: &'a Begin,
    before: &'a Inventory,
    profile: &Profile,
) -> Statement<'a> {
    let records = run.records();
    let findings = finding::findings(before, profile, AHEAD);
    let ended = records.last().map(|record| record.at);
    let clock = match before.clock.judge(before.at) {
        Ok(()) => "plausible: no trace of a later time".to_owned(),
        Err(why) => why,
    };
    let outcome = match journal::verdict(records) {
        Some(Verdict::Done) => "done",
        Some(Verdict::RolledBack) => "rolled back",
        None => "unfinished",
    };
    Statement {
        schema: PREDICATE,
        run: &begin.run,
        who: Who {
            operator: &begin.operator,
        },
        what: What {
            outcome,
            certificates: journal::issued(records).collect(),
            places: run
                .plan
                .phases
                .commit
                .iter()
                .map(|c| c.at.to_string())
                .collect(),
        },
        when: When {
            begun: run.plan.at,
            ended,
            clock,
        },
        place: Where {
            node: before.node.name.as_ref().map(|fact| fact.value.as_str()),
            node_id: before.node.id,
            scope: before.scope,
            profile: &before.profile,
        },
        why: Why {
            ticket: begin.ticket.as_deref(),
            reason: begin.reason.as_deref(),
            cause: finding::cause(&findings, profile),
        },
        how: How {
            tool: "rescue-kit",
            version: &begin.version,
            binary_sha256: begin.binary,
            command: &begin.command,
            plan_sha256: begin.plan,
        },
    }
}

fn certificates(when: &str, inventory: &Inventory, entries: &mut Vec<Entry>) {
    let authorities = inventory
        .authorities
        .iter()
        .map(|a| (&a.id, a.chain.present()));
    let credentials = inventory
        .credentials
        .iter()
        .map(|c| (&c.id, c.chain.present()));
    for (id, chain) in authorities.chain(credentials) {
        let Some(chain) = chain else { continue };
        let pem: String = chain.iter().map(crate::pki::cert::Cert::to_pem).collect();
        entries.push(file(
            &format!("certificates/{when}/{id}.pem"),
            pem.into_bytes(),
        ));
    }
}

/// As `sha256sum` writes and reads it.
fn sums(entries: &[Entry]) -> String {
    entries
        .iter()
        .map(|e| format!("{}  {}\n", Digest::of(&e.bytes), e.name))
        .collect()
}

fn signatures(run: &Run, sums: &str, key: Option<&AuditKey>) -> Result<Signatures, AuditError> {
    let kept: Option<Signatures> = stored(run, run::SIGNATURE)?;
    let digest = Digest::of(sums.as_bytes());
    if let Some(kept) = kept
        && kept.sums == digest
        && key.is_none_or(|key| key.public_pem() == kept.public)
    {
        return Ok(kept);
    }
    let made;
    let key = if let Some(key) = key {
        key
    } else {
        made = AuditKey::generate()?;
        &made
    };
    let signatures = Signatures::over(sums, key);
    run.dir
        .write(run::SIGNATURE, run::json(&signatures).as_bytes())?;
    Ok(signatures)
}

fn stored<T: serde::de::DeserializeOwned>(run: &Run, name: &str) -> Result<Option<T>, AuditError> {
    let Some(bytes) = run.dir.read(name)? else {
        return Ok(None);
    };
    let damaged = |error| AuditError::Invalid(format!("{name} of the run is damaged: {error}"));
    serde_json::from_slice(&bytes).map(Some).map_err(damaged)
}

fn name_of(run: &Run) -> String {
    journal::begin(run.records())
        .map(|begin| begin.run.clone())
        .unwrap_or_default()
}

fn pretty<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

fn file(name: &str, bytes: Vec<u8>) -> Entry {
    Entry {
        name: name.to_owned(),
        mode: 0o644,
        bytes: bytes.into(),
    }
}

/// What an auditor types. A test types it, too.
const VERIFY: &str = include_str!("../templates/VERIFY.txt");
