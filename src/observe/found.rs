//! Certificates that the profile does not own: bundles, chains, kubeconfig copies, the kubelet's serving pair.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::inventory::{Found, FoundKind};
use crate::observe::mentions_certificate;
use crate::observe::reader::{Reader, parsed_certs};
use crate::pki::cert::Cert;
use crate::pki::kubeconfig::{Kubeconfig, Material};
use crate::place::{Kind, Observed};
use crate::profile::Profile;
use crate::store::StoreError;

/// How deep below a search directory files are looked for.
const DEPTH: u8 = 6;

/// Searches the profile's directories; sorted by path.
pub(super) fn search(
    reader: &Reader,
    profile: &Profile,
    owned: &[PathBuf],
) -> Result<Vec<Found>, StoreError> {
    let owned: BTreeSet<&Path> = owned.iter().map(PathBuf::as_path).collect();
    let mut found = Vec::new();
    for pattern in &profile.search {
        for dir in reader.expand(pattern)? {
            below(reader, &dir, DEPTH, &owned, &mut found)?;
        }
    }
    found.sort_by(|a: &Found, b| a.path.cmp(&b.path));
    found.dedup_by(|a, b| a.path == b.path);
    Ok(found)
}

fn below(
    reader: &Reader,
    dir: &Path,
    depth: u8,
    owned: &BTreeSet<&Path>,
    found: &mut Vec<Found>,
) -> Result<(), StoreError> {
    for (name, kind) in reader.list(dir)? {
        let path = dir.join(&name);
        match kind {
            Kind::Directory if depth > 0 => below(reader, &path, depth - 1, owned, found)?,
            Kind::File if !owned.contains(path.as_path()) => {
                found.extend(look(reader, path)?);
            },
            _ => {},
        }
    }
    Ok(())
}

fn look(reader: &Reader, path: PathBuf) -> Result<Option<Found>, StoreError> {
    let named = matches!(
        path.extension().and_then(|e| e.to_str()),
        Some("crt" | "pem" | "cer")
    );
    let seen = reader.glance(&path)?;
    let meta = seen.present().map(|(meta, _)| meta.clone());
    let chain = match seen.map(|(_, bytes)| bytes) {
        Observed::Present(bytes) if is_kubeconfig(&bytes) => {
            let kind = if is_kept(&path) {
                FoundKind::KubeconfigOld
            } else {
                FoundKind::Kubeconfig
            };
            return Ok(client_certs(&bytes).map(|chain| Found {
                path,
                kind,
                chain,
                meta,
            }));
        },
        Observed::Present(bytes)
            if mentions_certificate(&bytes) || (named && !mentions_key(&bytes)) =>
        {
            parsed_certs(&bytes)
        },
        Observed::Unknown(why) if named => Observed::Unknown(why),
        _ => return Ok(None),
    };
    let kind = match chain.present() {
        _ if path.ends_with("pki/kubelet.crt") => FoundKind::KubeletServing,
        _ if is_old_kubelet(&path) => FoundKind::KubeletOld,
        Some(chain) if chain.len() > 1 && chain.iter().all(|cert| cert.is_ca) => FoundKind::Bundle,
        _ => FoundKind::Certificate,
    };
    Ok(Some(Found {
        path,
        kind,
        chain,
        meta,
    }))
}

/// cfssl gives its private keys the ending `.pem`, too.
fn mentions_key(bytes: &[u8]) -> bool {
    let needle = b" PRIVATE KEY-----";
    bytes.windows(needle.len()).any(|window| window == needle)
}

/// `kubelet-client-2026-11-22-08-15-43.pem` and its like, which no link names any more (client-go
/// `util/certificate/certificate_store.go`).
fn is_old_kubelet(path: &Path) -> bool {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let stamp = name
        .strip_prefix("kubelet-client-")
        .or_else(|| name.strip_prefix("kubelet-server-"));
    stamp
        .and_then(|rest| rest.strip_suffix(".pem"))
        .is_some_and(|stamp| {
            stamp.len() == 19 && stamp.bytes().all(|b| b.is_ascii_digit() || b == b'-')
        })
}

/// `config.20261122T081543Z.old`, as [`crate::flow::refresh`] names what it replaces.
fn is_kept(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let stem = name.and_then(|name| name.strip_suffix(".old"));
    let stamp = stem
        .and_then(|stem| stem.rsplit_once('.'))
        .map(|(_, stamp)| stamp);
    stamp.is_some_and(|stamp| {
        stamp.len() == 16
            && stamp
                .bytes()
                .all(|b| b.is_ascii_digit() || b"TZ".contains(&b))
    })
}

fn is_kubeconfig(bytes: &[u8]) -> bool {
    let needle = b"client-certificate-data";
    bytes.windows(needle.len()).any(|window| window == needle)
}

fn client_certs(bytes: &[u8]) -> Option<Observed<Vec<Cert>>> {
    match Kubeconfig::parse(bytes) {
        Ok(kubeconfig) => match &kubeconfig.cert {
            Material::Embedded(pem) => Some(parsed_certs(pem)),
            Material::Absent | Material::File(_) => None,
        },
        Err(error) => Some(Observed::Unknown(error.to_string())),
    }
}
