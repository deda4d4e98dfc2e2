//! Witnesses of the time: what this disk says has certainly passed.

use std::path::Path;

use crate::clock;
use crate::facts::Facts;
use crate::inventory::{AuthorityState, ClockFacts, CredentialState, Witness};
use crate::observe::Look;
use crate::observe::reader::Reader;
use crate::pki::utc::Utc;
use crate::place::{Observed, Place};
use crate::store::StoreError;
use crate::store::disk::Disk;

/// Gathers the newest witness of each kind, the newest first.
pub(super) fn facts(
    disk: &Disk,
    look: &Look,
    reader: &Reader,
    authorities: &[AuthorityState],
    credentials: &[CredentialState],
    facts: &Facts,
) -> Result<ClockFacts, StoreError> {
    let mut witnesses = Vec::new();
    witnesses.extend(newest_file(reader));
    witnesses.extend(newest_certificate(authorities, credentials));
    let wal = facts
        .first("flag:etcd:data-dir")
        .map_or("/var/lib/etcd", |fact| &fact.value);
    let wal = Path::new(wal).join("member/wal");
    witnesses.extend(newest_below(disk, &wal, "last write of etcd")?);
    let runs = look.state_dir.join("runs");
    witnesses.extend(newest_below(disk, &runs, "last run of this tool")?);
    witnesses.sort_by_key(|witness| std::cmp::Reverse(witness.at));
    let hardware = if disk.is_live() {
        clock::rtc(disk)
    } else {
        None
    };
    Ok(ClockFacts {
        system: look.system,
        stated: look.stated,
        witnesses,
        hardware,
    })
}

fn newest_file(reader: &Reader) -> Option<Witness> {
    let objects = reader.objects();
    let newest = objects
        .iter()
        .filter(|(at, _)| matches!(at, Place::File(_)))
        .filter_map(|(at, seen)| Some((seen.present()?.meta.mtime.seconds, at)))
        .max_by_key(|(seconds, _)| *seconds)?;
    let source = format!("last change of {}", newest.1);
    Some(Witness {
        at: Utc::from_unix(newest.0),
        source,
        certificate: false,
    })
}

fn newest_certificate(
    authorities: &[AuthorityState],
    credentials: &[CredentialState],
) -> Option<Witness> {
    let cas = authorities.iter().filter_map(|a| Some((&a.id, a.cert()?)));
    let leaves = credentials.iter().filter_map(|c| Some((&c.id, c.cert()?)));
    let (id, cert) = cas.chain(leaves).max_by_key(|(_, cert)| cert.not_before)?;
    let source = format!("beginning of {id}");
    Some(Witness {
        at: cert.not_before,
        source,
        certificate: true,
    })
}

fn newest_below(disk: &Disk, dir: &Path, source: &str) -> Result<Option<Witness>, StoreError> {
    let mut newest: Option<i64> = None;
    for (name, _) in disk.list(dir)? {
        if let Observed::Present(meta) = disk.metadata(&dir.join(name))? {
            newest = newest.max(Some(meta.mtime.seconds));
        }
    }
    let witness = |seconds| Witness {
        at: Utc::from_unix(seconds),
        source: source.to_owned(),
        certificate: false,
    };
    Ok(newest.map(witness))
}
