//! The listing: one row for every certificate of an inventory, as tables and JSON show it.

pub mod kubeconfig;
pub mod rotation;

use std::path::Path;

use serde::Serialize;

use crate::defect::{self, Status};
use crate::inventory::{AuthorityState, CredentialState, Found, FoundKind, Inventory, Placement};
use crate::pki::cert::Cert;
use crate::pki::digest::Digest;
use crate::pki::utc::Utc;
use crate::place::{Meta, Observed};

/// One certificate.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The profile's id; for a certificate outside of it the path.
    pub id: String,
    /// The file.
    pub path: String,
    /// What it is.
    pub kind: RowKind,
    /// Its subject, if it could be read; likewise the other fields.
    pub subject: Option<String>,
    /// Its issuer.
    pub issuer: Option<String>,
    /// Its serial number, hexadecimal.
    pub serial: Option<String>,
    /// First second of validity.
    pub not_before: Option<Utc>,
    /// Last second of validity.
    pub not_after: Option<Utc>,
    /// Seconds of validity that are left; negative once it has expired.
    pub residual_seconds: Option<i64>,
    /// The state, by precedence.
    pub status: Status,
    /// Algorithm and size of its key.
    pub key: Option<String>,
    /// The names that it carries.
    pub sans: Vec<String>,
    /// The names that it must carry and does not.
    pub missing_sans: Vec<String>,
    /// Addresses of the node that it does not carry and that nothing requires.
    pub advised_sans: Vec<String>,
    /// Its digest.
    pub sha256: Option<Digest>,
    /// The file's permission bits, octal.
    pub mode: Option<String>,
    /// The file's numeric owner and group.
    pub owner: Option<String>,
    /// Everything that is wrong with it.
    pub defects: Vec<String>,
    /// Who signs it: an authority's id, `self`, or nothing known.
    pub signer: Option<String>,
}

/// What a certificate is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RowKind {
    /// An authority.
    Ca,
    /// Inside a kubeconfig.
    Kubeconfig,
    /// The kubelet's own.
    Kubelet,
    /// Any other.
    Leaf,
}

impl RowKind {
    /// As metrics name it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ca => "ca",
            Self::Kubeconfig => "kubeconfig",
            Self::Kubelet => "kubelet",
            Self::Leaf => "leaf",
        }
    }
}

/// Every certificate: authorities, leaves in the profile's order, then what was found beside them.
pub fn rows(inventory: &Inventory, renew_before: i64) -> Vec<Row> {
    let authorities = inventory
        .authorities
        .iter()
        .map(|a| of_authority(a, inventory, renew_before));
    let credentials = inventory.credentials.iter();
    let credentials = credentials.filter_map(|c| of_credential(c, inventory, renew_before));
    let found = inventory
        .found
        .iter()
        .flat_map(|f| of_found(f, inventory.at, renew_before));
    authorities.chain(credentials).chain(found).collect()
}

fn of_authority(authority: &AuthorityState, inventory: &Inventory, renew_before: i64) -> Row {
    let defects = defect::of_authority(authority, inventory.at, renew_before);
    // Where the key is, is a matter of policy; it is a finding, not the state of the certificate.
    let about_cert = |d: &defect::Defect| !matches!(d, defect::Defect::KeyMissing);
    let state: Vec<defect::Defect> = defects.iter().filter(|d| about_cert(d)).cloned().collect();
    let mut row = blank(
        &authority.id,
        &authority.cert_path,
        RowKind::Ca,
        authority.cert(),
        inventory.at,
    );
    row.status = defect::status(&state);
    row.defects = defects.iter().map(|d| d.text(inventory.at)).collect();
    row.signer = authority
        .cert()
        .filter(|cert| cert.self_issued())
        .map(|_| "self".to_owned());
    with_file(row, &authority.cert_path, inventory)
}

fn of_credential(
    credential: &CredentialState,
    inventory: &Inventory,
    renew_before: i64,
) -> Option<Row> {
    let defects = defect::of_credential(credential, inventory, renew_before);
    let absent = credential.chain == Observed::Absent;
    if absent && credential.optional && defects.is_empty() {
        return None;
    }
    let (cert, kind) = match &credential.placement {
        Placement::Delegated { to, .. } => (
            inventory.credential(to).and_then(CredentialState::cert),
            RowKind::Kubeconfig,
        ),
        Placement::Embedded { .. } | Placement::Referenced { .. } => {
            (credential.cert(), RowKind::Kubeconfig)
        },
        Placement::Pem { .. } => (credential.cert(), RowKind::Kubelet),
        Placement::Pair { .. } => (credential.cert(), RowKind::Leaf),
    };
    let mut row = blank(&credential.id, credential.path(), kind, cert, inventory.at);
    let of_file = match &credential.placement {
        Placement::Delegated { to, .. } => inventory
            .credential(to)
            .map(|other| defect::of_credential(other, inventory, renew_before))
            .unwrap_or_default(),
        _ => Vec::new(),
    };
    row.status = defect::status(&defects).min(defect::status(&of_file));
    row.defects = defects
        .iter()
        .chain(&of_file)
        .map(|d| d.text(inventory.at))
        .collect();
    row.missing_sans = credential
        .missing_names()
        .iter()
        .map(|n| n.san.to_string())
        .collect();
    row.advised_sans = credential
        .advised
        .iter()
        .map(|n| n.san.to_string())
        .collect();
    row.signer = Some(credential.signer.clone());
    Some(with_file(row, credential.path(), inventory))
}

fn of_found(found: &Found, now: Utc, renew_before: i64) -> Vec<Row> {
    let id = found.path.display().to_string();
    let Some(chain) = found.chain.present() else {
        let mut row = blank(&id, &found.path, RowKind::Leaf, None, now);
        row.status = Status::Unreadable;
        if let Observed::Unknown(why) = &found.chain {
            row.defects.push(why.clone());
        }
        return vec![row];
    };
    let row = |(index, cert): (usize, &Cert)| {
        let id = if chain.len() == 1 {
            id.clone()
        } else {
            format!("{id}#{}", index + 1)
        };
        let kind = match found.kind {
            FoundKind::Kubeconfig | FoundKind::KubeconfigOld => RowKind::Kubeconfig,
            FoundKind::KubeletOld | FoundKind::KubeletServing => RowKind::Kubelet,
            _ if cert.is_ca => RowKind::Ca,
            _ => RowKind::Leaf,
        };
        let mut row = blank(&id, &found.path, kind, Some(cert), now);
        let defect = defect::validity(cert, now, renew_before);
        row.status = defect.as_ref().map_or(Status::Ok, defect::Defect::status);
        row.defects = defect.iter().map(|d| d.text(now)).collect();
        row.signer = cert.self_issued().then(|| "self".to_owned());
        with_meta(row, found.meta.as_ref())
    };
    chain.iter().enumerate().map(row).collect()
}

fn blank(id: &str, path: &Path, kind: RowKind, cert: Option<&Cert>, now: Utc) -> Row {
    Row {
        id: id.to_owned(),
        path: path.display().to_string(),
        kind,
        subject: cert.map(|cert| cert.subject.to_string()),
        issuer: cert.map(|cert| cert.issuer.to_string()),
        serial: cert.map(Cert::serial_hex),
        not_before: cert.map(|cert| cert.not_before),
        not_after: cert.map(|cert| cert.not_after),
        residual_seconds: cert.map(|cert| cert.not_after.since(now)),
        status: Status::Ok,
        key: cert.map(|cert| cert.key.to_string()),
        sans: cert.map_or_else(Vec::new, |c| {
            c.sans.iter().map(ToString::to_string).collect()
        }),
        missing_sans: Vec::new(),
        advised_sans: Vec::new(),
        sha256: cert.map(Cert::sha256),
        mode: None,
        owner: None,
        defects: Vec::new(),
        signer: None,
    }
}

fn with_file(row: Row, path: &Path, inventory: &Inventory) -> Row {
    with_meta(row, inventory.version(path).map(|version| &version.meta))
}

fn with_meta(mut row: Row, meta: Option<&Meta>) -> Row {
    row.mode = meta.map(|meta| format!("{:04o}", meta.mode));
    row.owner = meta.map(|meta| format!("{}:{}", meta.uid, meta.gid));
    row
}
