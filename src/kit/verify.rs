//! Checking a kit, offline.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;

use crate::kit::list::List;
use crate::kit::{BINARY, KitError, SUMS, UNFINISHED};
use crate::pki::digest::Digest;
use crate::sign;
use crate::store::{RunDir, StoreError};

/// The largest file of a kit that is read, in bytes.
const LIMIT: u64 = 512 << 20;

/// What was found in a kit.
#[derive(Clone, Debug, Serialize)]
pub struct Verified {
    /// Whether it is as it was built, by the expected signer if one was named.
    pub intact: bool,
    /// Whether it was built to the end.
    pub finished: bool,
    /// How many files the list has.
    pub files: usize,
    /// What is wrong.
    pub faults: Vec<Fault>,
    /// What is there besides; directories end in `/`.
    pub extra: Vec<String>,
    /// Who signed it, if somebody did and the signature fits.
    pub signer: Option<String>,
    /// Whether that is the expected signer; `None` if none was named.
    pub expected: Option<bool>,
    /// Whether the program that runs is the kit's.
    pub running: Option<bool>,
}

/// Something that is wrong with a file.
#[derive(Clone, Debug, Serialize)]
pub struct Fault {
    /// Its name.
    pub name: String,
    /// What is wrong, a predicate.
    pub what: String,
}

/// Checks the kit in a directory. `signer` is the public key that must have signed it, `running` the digest of the program
/// that runs.
///
/// # Errors
///
/// [`KitError::NoKit`], [`KitError::Store`]; everything that is wrong with a kit is in the result.
pub fn verify(
    directory: &Path,
    signer: Option<&[u8]>,
    running: Option<Digest>,
) -> Result<Verified, KitError> {
    let stick = RunDir::on_host(directory)?;
    let list = List::of(&stick)?.ok_or_else(|| KitError::NoKit(directory.to_path_buf()))?;
    let mut faults: Vec<Fault> = list
        .lines
        .iter()
        .filter_map(|line| fault(&stick, line.as_ref()))
        .collect();
    let listed: Vec<&(Digest, String)> = list.lines.iter().flatten().collect();
    let binary = listed.iter().find(|(_, name)| name == BINARY);
    let mut verified = Verified {
        intact: false,
        finished: list.finished,
        files: listed.len(),
        faults: Vec::new(),
        extra: extra(&stick, &list.names())?,
        signer: None,
        expected: None,
        running: running.and_then(|running| Some(binary?.0 == running)),
    };
    faults.extend(signed(&stick, &list, signer, &mut verified));
    verified.intact = list.finished && faults.is_empty() && verified.expected != Some(false);
    verified.faults = faults;
    Ok(verified)
}

/// What is wrong with the file of a line.
fn fault(stick: &RunDir, line: Option<&(Digest, String)>) -> Option<Fault> {
    let of = |name: &str, what: String| {
        Some(Fault {
            name: name.to_owned(),
            what,
        })
    };
    let Some((digest, name)) = line else {
        return of(SUMS, "has a line that is no checksum".to_owned());
    };
    match stick.read_within(name, LIMIT) {
        Ok(Some(bytes)) if Digest::of(&bytes) == *digest => None,
        Ok(Some(bytes)) => of(
            name,
            format!("is not what the list says; it has {} bytes", bytes.len()),
        ),
        Ok(None) => of(name, "is missing".to_owned()),
        Err(StoreError::BadName { .. }) => of(name, "is a name that no kit has".to_owned()),
        Err(error) => {
            let why = std::error::Error::source(&error)
                .map_or_else(|| error.to_string(), ToString::to_string);
            of(name, format!("cannot be read: {why}"))
        },
    }
}

/// What is there and not in the list, in the kit's own directories, too.
fn extra(stick: &RunDir, listed: &[String]) -> Result<Vec<String>, StoreError> {
    let own: BTreeSet<&str> = listed
        .iter()
        .filter_map(|name| name.split_once('/'))
        .map(|(directory, _)| directory)
        .collect();
    let listed: BTreeSet<&str> = listed.iter().map(String::as_str).collect();
    let known = |name: &str| {
        listed.contains(name) || [SUMS, UNFINISHED].contains(&name) || sign::FILES.contains(&name)
    };
    let mut extra = Vec::new();
    for name in stick.list("")? {
        let inside = stick.inside(&name)?;
        if own.contains(name.as_str()) && inside.is_some() {
            let inside = stick.list(&name)?.into_iter();
            let inside = inside.map(|file| format!("{name}/{file}"));
            extra.extend(inside.filter(|file| !known(file)));
        } else if !known(&name) {
            extra.push(name + if inside.is_some() { "/" } else { "" });
        }
    }
    Ok(extra)
}

/// Notes who signed the list, and tells what is wrong with that.
fn signed(
    stick: &RunDir,
    list: &List,
    wanted: Option<&[u8]>,
    verified: &mut Verified,
) -> Option<Fault> {
    let find = |name: &str| Some(stick.read(name).ok()??.to_vec());
    let fault = |what: String| {
        Some(Fault {
            name: SUMS.to_owned(),
            what,
        })
    };
    if sign::FILES.iter().all(|name| find(name).is_none()) {
        return wanted.and_then(|_| fault("is not signed".to_owned()));
    }
    let public = match sign::check(&list.text, find) {
        Ok(public) => public,
        Err(error) => return fault(format!("is not signed as it should be: {error}")),
    };
    let fingerprint = sign::fingerprint(&public);
    verified.expected = wanted.map(|wanted| match (sign::fingerprint(wanted), &fingerprint) {
        (Ok(wanted), Ok(own)) => wanted == *own,
        _ => false,
    });
    verified.signer = fingerprint.ok();
    None
}
