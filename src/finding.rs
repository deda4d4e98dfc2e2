//! Findings: what is worth saying about an inventory, the first cause first.

mod running;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::defect::{self, Defect};
use crate::grant::Standing;
use crate::inventory::{
    AuthorityState, CredentialState, Found, FoundKind, Inventory, KeyPairState, Placement,
};
use crate::pki::utc::Utc;
use crate::place::Observed;
use crate::profile::Profile;
use crate::rotation::{Generations, Position};

/// One thing that is worth saying.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Finding {
    /// Stable across versions.
    pub code: Code,
    /// How much it matters.
    pub severity: Severity,
    /// The id of a credential, authority or key pair, or a path.
    pub subject: String,
    /// One sentence.
    pub text: String,
    /// What to type or do next.
    pub hint: String,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Something does not work, or will not after a restart.
    Critical,
    /// Something will stop working or is less safe than it should be.
    Warning,
    /// Worth knowing.
    Info,
}

/// The kind of a finding; its number is stable across versions.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Code {
    /// The system's clock cannot be right.
    #[serde(rename = "RK0001")]
    Clock,
    /// A file system is full or read-only.
    #[serde(rename = "RK0011")]
    Disk,
    /// systemd does not answer.
    #[serde(rename = "RK0012")]
    Systemd,
    /// The container runtime does not answer or is not ready.
    #[serde(rename = "RK0013")]
    Runtime,
    /// A static pod's manifest is no pod.
    #[serde(rename = "RK0014")]
    Manifest,
    /// An image that a static pod needs is not on the node.
    #[serde(rename = "RK0015")]
    Image,
    /// A file that a static pod mounts does not exist.
    #[serde(rename = "RK0016")]
    Mount,
    /// etcd refuses writes.
    #[serde(rename = "RK0017")]
    Etcd,
    /// systemd gave up on a unit.
    #[serde(rename = "RK0018")]
    StartLimit,
    /// A unit is masked.
    #[serde(rename = "RK0019")]
    Unit,
    /// Another tool that changes certificates is at work.
    #[serde(rename = "RK0020")]
    Rival,
    /// The controller manager would end as soon as it leads: its signer's file is a bundle, or its key is missing.
    #[serde(rename = "RK0021")]
    Signer,
    /// A run is neither done nor undone, and nothing else is begun before it is.
    #[serde(rename = "RK0022")]
    Unfinished,
    /// A CA's certificate has expired.
    #[serde(rename = "RK0101")]
    CaExpired,
    /// A CA's certificate is about to expire.
    #[serde(rename = "RK0102")]
    CaExpiring,
    /// A CA's certificate is missing, unreadable or not yet valid.
    #[serde(rename = "RK0103")]
    CaUnusable,
    /// A CA's private key is not on the node.
    #[serde(rename = "RK0104")]
    CaKeyMissing,
    /// A CA's private key cannot be used: encrypted, damaged or another CA's.
    #[serde(rename = "RK0105")]
    CaKeyUnusable,
    /// A CA or a key pair gives way to another, and this node is not where that phase begins.
    #[serde(rename = "RK0106")]
    Rotation,
    /// A certificate has expired.
    #[serde(rename = "RK0201")]
    Expired,
    /// A certificate is about to expire.
    #[serde(rename = "RK0202")]
    Expiring,
    /// A certificate's time has not come.
    #[serde(rename = "RK0203")]
    NotYetValid,
    /// A certificate or its key is missing.
    #[serde(rename = "RK0204")]
    Missing,
    /// A certificate or its key cannot be read.
    #[serde(rename = "RK0205")]
    Unreadable,
    /// Certificate and key, or certificate and CA, do not belong together.
    #[serde(rename = "RK0206")]
    Mismatch,
    /// A certificate lacks names.
    #[serde(rename = "RK0207")]
    NamesMissing,
    /// A kubeconfig trusts another CA.
    #[serde(rename = "RK0208")]
    TrustMismatch,
    /// A certificate ends after its CA.
    #[serde(rename = "RK0209")]
    OutlivesIssuer,
    /// A regular file stands where a link must be.
    #[serde(rename = "RK0210")]
    LinkIsFile,
    /// A process still uses what was there before its files were renewed.
    #[serde(rename = "RK0601")]
    NotRestarted,
    /// A port serves something else than its file.
    #[serde(rename = "RK0602")]
    NotServed,
    /// A component does not run or is not well.
    #[serde(rename = "RK0603")]
    Unwell,
    /// A member of etcd does not answer, or with another CA's or an expired certificate.
    #[serde(rename = "RK0604")]
    Peer,
    /// Another process holds the old files.
    #[serde(rename = "RK0605")]
    OtherConsumer,
    /// A certificate or its name belongs to another node.
    #[serde(rename = "RK0606")]
    ForeignNode,
    /// A private key or a kubeconfig can be read by others.
    #[serde(rename = "RK0301")]
    Exposed,
    /// A file's mode is looser than the layout's.
    #[serde(rename = "RK0302")]
    LooseMode,
    /// A file belongs to somebody else.
    #[serde(rename = "RK0303")]
    ForeignOwner,
    /// A place cannot be written, or there is too little space.
    #[serde(rename = "RK0304")]
    Unwritable,
    /// A key pair's halves do not fit or cannot be read.
    #[serde(rename = "RK0401")]
    KeyPair,
    /// Access that was given for a while is still there.
    #[serde(rename = "RK0701")]
    Granted,
    /// A certificate outside of the profile has expired or is about to.
    #[serde(rename = "RK0501")]
    FoundExpired,
    /// A file outside of the profile looks like a certificate and cannot be read.
    #[serde(rename = "RK0502")]
    FoundUnreadable,
    /// An answer to a certificate request is not what was asked for.
    #[serde(rename = "RK0801")]
    Answer,
    /// A certificate request must not be signed.
    #[serde(rename = "RK0802")]
    Request,
}

impl Code {
    /// As reports print it: `RK0201`.
    pub fn id(self) -> String {
        // A unit variant with a rename serialises to a plain string.
        let json = serde_json::to_string(&self).unwrap_or_default();
        json.trim_matches('"').to_owned()
    }
}

/// The way to a new certificate where the key of its CA is not on the node.
pub const BY_REQUEST: &str = "rescue-kit csr generate --out DIR; where the CA's key is, such as on a control plane: rescue-kit csr sign DIR --ca-cert ca.crt --ca-key ca.key; back here: rescue-kit csr install DIR";

/// All findings: by severity, then by the order in which a node needs the things, then by subject.
pub fn findings(inventory: &Inventory, profile: &Profile, renew_before: i64) -> Vec<Finding> {
    let mut all = Vec::new();
    if let Err(why) = inventory.clock.judge(inventory.at) {
        let hint = "set the clock, or state the true time: --now RFC3339";
        all.push(finding(Code::Clock, Severity::Critical, "clock", why, hint));
    }
    for authority in &inventory.authorities {
        all.extend(authority_findings(authority, inventory, renew_before));
    }
    for credential in &inventory.credentials {
        all.extend(credential_findings(
            credential,
            inventory,
            profile,
            renew_before,
        ));
    }
    all.extend(inventory.key_pairs.iter().filter_map(key_pair_finding));
    all.extend(file_findings(inventory, profile));
    all.extend(found_findings(inventory, renew_before));
    if let Some(live) = &inventory.live {
        all.extend(live.obstacles.iter().map(Finding::of_obstacle));
        all.extend(running::findings(live, inventory, profile));
    }
    sort(&mut all, profile);
    all
}

/// Puts findings into their order.
pub fn sort(findings: &mut [Finding], profile: &Profile) {
    let rank = |f: &Finding| (f.severity, class(f.code), profile.rank(&f.subject));
    findings.sort_by_key(rank);
}

impl Finding {
    /// What is to be said of access that was given and not taken back. Over, it is only litter.
    pub fn of_standing(standing: &Standing, now: Utc) -> Self {
        let severity = if standing.is_valid(now) {
            Severity::Warning
        } else {
            Severity::Info
        };
        let hint = format!(
            "rescue-kit kubeconfig break-glass --revoke {}",
            standing.run
        );
        let user = &standing.grant.user;
        finding(Code::Granted, severity, user, standing.text(now), hint)
    }
}

impl Finding {
    /// What is to be said of a run that stopped half-way.
    pub fn of_unfinished(run: &str) -> Self {
        let text = format!(
            "the run {run} stopped half-way, and nothing else is begun before it is finished or put back"
        );
        let hint = format!("rescue-kit resume {run}, or: rescue-kit rollback {run}");
        finding(Code::Unfinished, Severity::Critical, run, text, hint)
    }
}

/// The first cause in one sentence; `None` if nothing is critical.
pub fn cause(findings: &[Finding], profile: &Profile) -> Option<String> {
    let first = findings
        .first()
        .filter(|f| f.severity == Severity::Critical)?;
    let subjects = |f: &&Finding| f.severity == Severity::Critical && f.subject != first.subject;
    let mut others: Vec<&str> = findings
        .iter()
        .filter(subjects)
        .map(|f| &*f.subject)
        .collect();
    others.sort_unstable();
    others.dedup();
    let breaks = breaks(first, profile);
    let mut sentence = match breaks {
        "" => first.text.clone(),
        breaks => format!("{}: {breaks}", first.text),
    };
    match others.len() {
        0 => {},
        1 => sentence.push_str("; 1 other is broken too"),
        n => sentence.push_str(&format!("; {n} others are broken too")),
    }
    Some(sentence)
}

/// A run that is half-way forbids every other, the clock explains everything else, a dead runtime what does not run, a CA its
/// leaves, a certificate its files. That a CA's key is elsewhere is in the way, and breaks nothing.
fn class(code: Code) -> u8 {
    match code {
        Code::Unfinished | Code::Clock => 0,
        Code::Disk
        | Code::Systemd
        | Code::Runtime
        | Code::Manifest
        | Code::Image
        | Code::Mount
        | Code::Etcd => 1,
        Code::CaExpired | Code::CaExpiring | Code::CaUnusable => 2,
        Code::CaKeyMissing => 4,
        // What does not run or answer is a consequence of what is above it.
        Code::Unwell | Code::NotServed | Code::NotRestarted | Code::Peer => 5,
        Code::FoundExpired | Code::FoundUnreadable | Code::Granted => 6,
        _ => 3,
    }
}

/// What the first cause means for the node; a CA without its key breaks nothing by itself.
fn breaks<'a>(first: &Finding, profile: &'a Profile) -> &'a str {
    let (authority, credential) = (
        profile.authority.get(&first.subject),
        profile.credential.get(&first.subject),
    );
    match first.code {
        Code::CaKeyMissing | Code::CaKeyUnusable => "nothing that it signed can be renewed",
        _ => authority
            .map(|a| a.breaks.as_str())
            .or_else(|| credential.map(|c| c.breaks.as_str()))
            .unwrap_or_default(),
    }
}

fn finding(
    code: Code,
    severity: Severity,
    subject: &str,
    text: impl Into<String>,
    hint: impl Into<String>,
) -> Finding {
    Finding {
        code,
        severity,
        subject: subject.to_owned(),
        text: text.into(),
        hint: hint.into(),
    }
}

fn authority_findings(
    authority: &AuthorityState,
    inventory: &Inventory,
    renew_before: i64,
) -> Vec<Finding> {
    let defects = defect::of_authority(authority, inventory.at, renew_before);
    let leaf_due = inventory.credentials.iter().any(|credential| {
        credential.signer == authority.id
            && defect::of_credential(credential, inventory, renew_before)
                .iter()
                .any(Defect::is_due)
    });
    let about = |code, severity, defect: &Defect, path: &Path, hint: String| {
        let text = format!(
            "CA {} ({}) {}",
            authority.id,
            path.display(),
            defect.text(inventory.at)
        );
        finding(code, severity, &authority.id, text, hint)
    };
    let narrow = narrowing(&authority.id, inventory);
    let blocked = if leaf_due {
        Severity::Critical
    } else {
        Severity::Warning
    };
    let (cert, key) = (&authority.cert_path, &authority.key_path);
    let elsewhere = "have it renewed where its key is, and bring it here: rescue-kit ca export --out DIR there, rescue-kit run --ca-from DIR here";
    let judge = |defect: &Defect| match defect {
        Defect::Expired(_) if authority.is_elsewhere() => {
            let (code, severity) = (Code::CaExpired, Severity::Critical);
            about(code, severity, defect, cert, elsewhere.to_owned())
        },
        Defect::Expiring(_) if authority.is_elsewhere() => {
            let (code, severity) = (Code::CaExpiring, Severity::Warning);
            about(code, severity, defect, cert, elsewhere.to_owned())
        },
        Defect::Expired(_) => about(
            Code::CaExpired,
            Severity::Critical,
            defect,
            cert,
            format!(
                "with its key: rescue-kit run --ca renew (not if the key has leaked: that takes a new CA); {narrow}"
            ),
        ),
        Defect::Expiring(_) => {
            let hint = format!("rescue-kit ca renew {}", authority.id);
            about(Code::CaExpiring, Severity::Warning, defect, cert, hint)
        },
        Defect::KeyMissing => {
            let hint = format!(
                "nothing but a backup can bring it back; where it is elsewhere by policy: rescue-kit csr generate --out DIR; or leave its leaves out: {narrow}"
            );
            let text = format!(
                "CA {} has no private key: {} is missing",
                authority.id,
                key.display()
            );
            finding(Code::CaKeyMissing, blocked, &authority.id, text, hint)
        },
        Defect::Missing => {
            let hint = format!(
                "{}; or leave its leaves out: {narrow}",
                source(authority, inventory)
            );
            about(Code::CaUnusable, Severity::Critical, defect, cert, hint)
        },
        Defect::KeyMismatch | Defect::KeyUnreadable(_) => {
            about(Code::CaKeyUnusable, blocked, defect, key, narrow.clone())
        },
        _ => about(
            Code::CaUnusable,
            Severity::Critical,
            defect,
            cert,
            narrow.clone(),
        ),
    };
    let rotation = rotation_finding(authority);
    defects.iter().map(judge).chain(rotation).collect()
}

/// Where a CA's certificate that is gone is found again; its key is nowhere but beside it and in backups.
fn source(authority: &AuthorityState, inventory: &Inventory) -> String {
    let mut leaves = inventory.credentials.iter();
    let holder = leaves.find_map(|leaf| {
        let kubeconfig = leaf
            .kubeconfig
            .as_ref()
            .filter(|_| authority.is(&leaf.signer))?;
        let embeds = kubeconfig.ca_file.is_none() && kubeconfig.ca.present().is_some();
        embeds.then_some(&kubeconfig.path)
    });
    match holder {
        Some(path) => format!(
            "take it out of {}: sed -n 's/.*certificate-authority-data: //p' {} | base64 -d",
            path.display(),
            path.display()
        ),
        None => "take it from another node of its kind or from a backup: rescue-kit backup list"
            .to_owned(),
    }
}

/// Two CAs are trusted: somebody has begun what somebody has to end.
fn rotation_finding(authority: &AuthorityState) -> Option<Finding> {
    let generations = Generations::of(authority)?;
    let who = match generations.position() {
        Position::Settled => return None,
        Position::Trusted => "older",
        Position::Signing => "younger",
    };
    let text = format!(
        "CA {} ({}) is on its way to another key: two CAs are trusted, the {who} one signs",
        authority.id,
        authority.cert_path.display()
    );
    let hint = "rescue-kit ca rotate";
    Some(finding(
        Code::Rotation,
        Severity::Info,
        &authority.id,
        text,
        hint,
    ))
}

/// The flag that leaves out everything an authority would have to sign.
fn narrowing(authority: &str, inventory: &Inventory) -> String {
    let ids = inventory
        .credentials
        .iter()
        .filter(|c| c.signer == authority);
    let ids: Vec<&str> = ids.map(|c| c.id.as_str()).collect();
    skipping(&ids)
}

/// The flags that leave these out: each short enough for a line of a console, which would break a longer one anywhere.
pub fn skipping(ids: &[&str]) -> String {
    let mut flags: Vec<String> = Vec::new();
    for id in ids {
        match flags.last_mut() {
            Some(last) if last.len() + 1 + id.len() <= FLAG => last.push_str(&format!(",{id}")),
            _ => flags.push(format!("--skip {id}")),
        }
    }
    flags.join(" ")
}

/// Characters of a line of 80 that are left beside a hint's label.
const FLAG: usize = 70;

fn credential_findings(
    credential: &CredentialState,
    inventory: &Inventory,
    profile: &Profile,
    renew_before: i64,
) -> Vec<Finding> {
    let hint = "rescue-kit plan";
    let defects = defect::of_credential(credential, inventory, renew_before);
    let judge = |defect: &Defect| {
        let (code, severity) = weight(defect);
        let path = credential.path().display();
        let text = format!("{} ({path}) {}", credential.id, defect.text(inventory.at));
        let signer = inventory.authority(&credential.signer);
        let hint = match defect {
            _ if credential.external => "ask whoever supplies it for a new one",
            due if due.is_due() && signer.is_some_and(AuthorityState::is_elsewhere) => BY_REQUEST,
            Defect::OutlivesIssuer(_) => "renew the CA before it ends",
            _ => hint,
        };
        finding(code, severity, &credential.id, text, hint)
    };
    let mut all: Vec<Finding> = defects.iter().map(judge).collect();
    // A kubeconfig that names another credential's files is as broken as that one; saying it once is enough.
    if matches!(credential.placement, Placement::Delegated { .. }) {
        all.retain(|f| profile.credential.contains_key(&f.subject));
    }
    all
}

fn weight(defect: &Defect) -> (Code, Severity) {
    match defect {
        Defect::Expired(_) => (Code::Expired, Severity::Critical),
        Defect::Expiring(_) => (Code::Expiring, Severity::Warning),
        Defect::KeyMissing | Defect::Missing => (Code::Missing, Severity::Critical),
        Defect::KeyMismatch | Defect::WrongIssuer => (Code::Mismatch, Severity::Critical),
        Defect::KeyUnreadable(_) | Defect::Unreadable(_) => (Code::Unreadable, Severity::Critical),
        Defect::LinkIsFile => (Code::LinkIsFile, Severity::Warning),
        Defect::ForeignNode(_) => (Code::ForeignNode, Severity::Critical),
        Defect::NamesMissing(_) => (Code::NamesMissing, Severity::Warning),
        Defect::NotYetValid(_) => (Code::NotYetValid, Severity::Critical),
        Defect::OutlivesIssuer(_) => (Code::OutlivesIssuer, Severity::Info),
        Defect::TrustMismatch => (Code::TrustMismatch, Severity::Critical),
    }
}

fn key_pair_finding(pair: &KeyPairState) -> Option<Finding> {
    let why = match (&pair.public, &pair.private, pair.pairs()) {
        (Observed::Absent, Observed::Absent, _) => "is missing".to_owned(),
        (Observed::Absent, _, _) => format!("lacks {}", pair.public_path.display()),
        (_, Observed::Absent, _) => format!("lacks {}", pair.private_path.display()),
        (Observed::Unknown(why), _, _) => format!("has a public key that {why}"),
        (_, Observed::Unknown(why), _) => format!("has a private key that {why}"),
        (_, _, Some(false)) => "has halves that do not belong together".to_owned(),
        _ => return None,
    };
    let text = format!(
        "key pair {} ({}) {why}",
        pair.id,
        pair.private_path.display()
    );
    let hint = "restore it from a backup; a new one would make every service-account token invalid";
    Some(finding(
        Code::KeyPair,
        Severity::Critical,
        &pair.id,
        text,
        hint,
    ))
}

/// Modes and owners of the files that the profile owns.
fn file_findings(inventory: &Inventory, profile: &Profile) -> Vec<Finding> {
    let mut all = Vec::new();
    for authority in &inventory.authorities {
        all.extend(mode_finding(
            &authority.id,
            &authority.cert_path,
            0o644,
            false,
            inventory,
        ));
        all.extend(mode_finding(
            &authority.id,
            &authority.key_path,
            0o600,
            true,
            inventory,
        ));
    }
    for credential in &inventory.credentials {
        let modes = profile
            .credential
            .get(&credential.id)
            .map(|c| c.create.mode.as_slice());
        let modes = modes.unwrap_or_default();
        let first = modes.first().copied().unwrap_or(0o600);
        let id = &credential.id;
        match &credential.placement {
            Placement::Pair { cert, key } => {
                let second = modes.get(1).copied().unwrap_or(0o600);
                all.extend(mode_finding(id, cert, first, false, inventory));
                all.extend(mode_finding(id, key, second, true, inventory));
            },
            Placement::Pem { path, .. } => {
                all.extend(mode_finding(id, path, first, true, inventory));
            },
            _ => all.extend(mode_finding(id, credential.path(), first, true, inventory)),
        }
    }
    for pair in &inventory.key_pairs {
        all.extend(mode_finding(
            &pair.id,
            &pair.private_path,
            0o600,
            true,
            inventory,
        ));
    }
    all
}

fn mode_finding(
    subject: &str,
    path: &Path,
    expected: u32,
    secret: bool,
    inventory: &Inventory,
) -> Vec<Finding> {
    // An empty file or directory holds nothing yet, and gets the layout's mode together with its content.
    let version = inventory.version(path);
    let Some(version) = version.filter(|version| !version.is_blank()) else {
        return Vec::new();
    };
    let (mode, at) = (version.meta.mode, path.display());
    let mut all = Vec::new();
    if secret && mode & 0o077 != 0 {
        let text = format!("{at} holds a private key and others may use it (mode {mode:04o})");
        let hint = format!("chmod {expected:04o} {at}");
        all.push(finding(
            Code::Exposed,
            Severity::Warning,
            subject,
            text,
            hint,
        ));
    } else if mode & !expected & 0o777 != 0 {
        let text = format!("{at} has mode {mode:04o}, looser than {expected:04o}");
        let hint = format!("chmod {expected:04o} {at}");
        all.push(finding(
            Code::LooseMode,
            Severity::Info,
            subject,
            text,
            hint,
        ));
    }
    let owner = (version.meta.uid, version.meta.gid);
    if let Some(expected) = inventory.owner.filter(|expected| *expected != owner) {
        let text = format!("{at} belongs to {}:{}", owner.0, owner.1);
        let hint = format!("chown {}:{} {at}", expected.0, expected.1);
        all.push(finding(
            Code::ForeignOwner,
            Severity::Info,
            subject,
            text,
            hint,
        ));
    }
    all
}

/// Only copies that the rescue does not mend are worth a word here.
fn found_findings(inventory: &Inventory, renew_before: i64) -> Vec<Finding> {
    let judge = |found: &Found| {
        let (subject, at) = (found.path.display().to_string(), found.path.display());
        match &found.chain {
            Observed::Unknown(why) => {
                let (code, hint) = (Code::FoundUnreadable, "look at the file");
                vec![finding(
                    code,
                    Severity::Info,
                    &subject,
                    format!("{at} {why}"),
                    hint,
                )]
            },
            Observed::Present(chain) => chain
                .iter()
                .filter_map(|cert| defect::validity(cert, inventory.at, renew_before))
                .take(1)
                .filter_map(|defect| found_expired(found, &subject, &defect, inventory.at))
                .collect(),
            Observed::Absent => Vec::new(),
        }
    };
    inventory.found.iter().flat_map(judge).collect()
}

fn found_expired(found: &Found, subject: &str, defect: &Defect, now: Utc) -> Option<Finding> {
    let (severity, hint) = match found.kind {
        FoundKind::KubeconfigOld | FoundKind::KubeletOld => return None,
        FoundKind::KubeletServing => (
            Severity::Info,
            "it is self-signed; for a new one remove it with its key, and restart the kubelet",
        ),
        FoundKind::Kubeconfig => (
            Severity::Warning,
            "it is a copy; once the rescue is done: rescue-kit kubeconfig refresh",
        ),
        FoundKind::Bundle | FoundKind::Certificate => (
            Severity::Warning,
            "no profile owns it; ask whoever put it there",
        ),
    };
    let text = format!(
        "{subject} {}; the rescue does not touch it",
        defect.text(now)
    );
    Some(finding(Code::FoundExpired, severity, subject, text, hint))
}
