//! Answers: read from a folder, judged by what this node asked for, and made into what a plan puts in place.

use std::collections::BTreeMap;
use std::path::Path;

use crate::crypto::{self, Signer};
use crate::finding::{Code, Finding, Severity};
use crate::flow::csr::{CsrError, MANIFEST_LIMIT, PEM_LIMIT, Pending};
use crate::flow::site::Site;
use crate::inventory::Inventory;
use crate::observe::Depth;
use crate::pki::cert::Cert;
use crate::pki::digest::Digest;
use crate::pki::key::PrivateKey;
use crate::plan::Given;
use crate::request::answer::{self, Objection};
use crate::request::{Entry, MANIFEST, Manifest, is_id};
use crate::store::RunDir;

/// How many certificates an answer may hold.
const LONGEST: usize = 16;

/// What came back.
#[derive(Debug, Default)]
pub struct Answers {
    /// What a plan puts in place, by the credential's id.
    pub given: BTreeMap<String, Given>,
    /// The ids whose answers are not there yet, in the order of the manifest.
    pub waiting: Vec<String>,
}

/// An answer's file, and what was asked.
struct Answer<'a> {
    file: String,
    pending: &'a Pending,
    entry: &'a Entry,
    certs: Vec<Cert>,
}

impl Site {
    /// Reads the answers of a folder and judges each by this node's own copy of what was asked, never by the folder's.
    ///
    /// # Errors
    ///
    /// [`CsrError::Refused`] with everything that is wrong with any of them; those that are not among `only` are not looked
    /// at, if any are named.
    pub fn answers(&self, folder: &Path, only: &[String]) -> Result<Answers, CsrError> {
        self.refuse_state_elsewhere()?;
        let inventory = self.observe(false, Depth::Files)?;
        let stick = RunDir::on_host(folder)?;
        let asked = asked(&stick, folder, &inventory)?;
        let wanted = |id: &str| only.is_empty() || only.iter().any(|known| known == id);
        let files = stick.list("")?;
        let ids = files.iter().filter_map(|name| name.strip_suffix(".crt"));
        let ids: Vec<&str> = ids.filter(|id| is_id(id) && wanted(id)).collect();
        if ids.is_empty() && only.is_empty() {
            return Err(CsrError::NoAnswers(folder.to_path_buf()));
        }
        let pending = self.pending()?;
        let (mut answers, mut refusals) = (Answers::default(), Vec::new());
        for id in &ids {
            match given(&stick, id, &pending, &inventory) {
                Ok(Ok(given)) => {
                    answers.given.insert((*id).to_owned(), given);
                },
                Ok(Err(findings)) => refusals.extend(findings),
                Err(error) => return Err(error),
            }
        }
        let missing = only.iter().filter(|id| !ids.contains(&id.as_str()));
        refusals.extend(missing.map(|id| {
            let hint = "leave it out until it is signed";
            refusal(id, &format!("{id}.crt is not in the folder"), hint)
        }));
        let names = asked.iter().flat_map(|manifest| &manifest.requests);
        let waits = names.filter(|entry| !ids.contains(&entry.id.as_str()) && wanted(&entry.id));
        answers.waiting = waits.map(|entry| entry.id.clone()).collect();
        if refusals.is_empty() {
            Ok(answers)
        } else {
            Err(CsrError::Refused(refusals))
        }
    }
}

/// The folder's manifest, which tells whose folder it is and what is missing from it, and nothing else.
fn asked(
    stick: &RunDir,
    folder: &Path,
    inventory: &Inventory,
) -> Result<Option<Manifest>, CsrError> {
    let Some(json) = stick.read_within(MANIFEST, MANIFEST_LIMIT)? else {
        return Ok(None);
    };
    let manifest = Manifest::parse(&json).map_err(|source| CsrError::Manifest {
        path: folder.join(MANIFEST),
        source,
    })?;
    if manifest.node.id == inventory.node.id {
        return Ok(Some(manifest));
    }
    Err(CsrError::OtherNode {
        path: folder.to_path_buf(),
        asker: manifest.asker(),
    })
}

/// Judges one answer.
fn given(
    stick: &RunDir,
    id: &str,
    pending: &[Pending],
    inventory: &Inventory,
) -> Result<Result<Given, Vec<Finding>>, CsrError> {
    let file = format!("{id}.crt");
    let refuse = |why: &str, hint: &str| Ok(Err(vec![refusal(id, &format!("{file} {why}"), hint)]));
    let text = stick.read_within(&file, PEM_LIMIT)?.unwrap_or_default();
    let certs = match Cert::all_from_pem(&text) {
        Ok(certs) if certs.len() <= LONGEST => certs,
        Ok(_) => {
            return refuse(
                "holds more certificates than a chain has",
                "leave the leaf and its intermediates",
            );
        },
        Err(error) => return refuse(&error.to_string(), "copy the certificate in PEM again"),
    };
    let Some((pending, entry)) = asked_for(&certs, id, pending) else {
        let hint = "rescue-kit csr generate --out DIR";
        return refuse("answers nothing that this node asked for", hint);
    };
    let authority = inventory.authority(&entry.signer);
    let trusted = authority.and_then(|authority| authority.chain.present());
    let trusted = trusted.map(Vec::as_slice).unwrap_or_default();
    let signed = |cert: &Cert, issuer: &Cert| crypto::verify(cert, issuer).is_ok();
    let chain = match answer::judge(&certs, entry, trusted, inventory.at, &signed) {
        Ok(chain) => chain,
        Err(objections) => {
            let refusals = objections
                .iter()
                .map(|objection| about(id, &file, objection));
            return Ok(Err(refusals.collect()));
        },
    };
    let answer = Answer {
        file,
        pending,
        entry,
        certs: chain,
    };
    with_key(answer, inventory)
}

/// The key that was made for the request, or the one in place if the request was made for that.
fn with_key(
    answer: Answer,
    inventory: &Inventory,
) -> Result<Result<Given, Vec<Finding>>, CsrError> {
    let Answer {
        file,
        pending,
        entry,
        certs,
    } = answer;
    let leaf = &certs[0];
    if let Some(pem) = pending.dir.read_within(&entry.key_file(), PEM_LIMIT)? {
        let key = PrivateKey::from_pem(&pem).ok();
        let public = key.and_then(|key| Signer::load(&key).ok());
        if public.is_some_and(|signer| signer.public_bits() == leaf.public_bits()) {
            let key = Some(pending.path.join(entry.key_file()));
            return Ok(Ok(Given { chain: certs, key }));
        }
    }
    let credential = inventory.credential(&entry.id);
    let in_place = credential.and_then(|credential| credential.key.present());
    if in_place.is_some_and(|key| key.public == Digest::of(leaf.public_bits())) {
        let key = None;
        return Ok(Ok(Given { chain: certs, key }));
    }
    let why = format!("{file} fits its request, but the key that was made for it is gone");
    let hint = "have a new request signed: rescue-kit csr generate --out DIR";
    Ok(Err(vec![refusal(&entry.id, &why, hint)]))
}

/// What an answer is to be judged by: the newest request for its key, else the newest of its id.
fn asked_for<'a>(
    certs: &[Cert],
    id: &str,
    pending: &'a [Pending],
) -> Option<(&'a Pending, &'a Entry)> {
    let mut asked = pending
        .iter()
        .filter_map(|pending| Some((pending, pending.manifest.entry(id)?)));
    let fits = |(_, entry): &(&Pending, &Entry)| certs.iter().any(|cert| entry.has_key_of(cert));
    asked.clone().find(fits).or_else(|| asked.next())
}

fn about(id: &str, file: &str, objection: &Objection) -> Finding {
    refusal(id, &format!("{file} {objection}"), objection.hint())
}

fn refusal(id: &str, text: &str, hint: &str) -> Finding {
    Finding {
        code: Code::Answer,
        severity: Severity::Critical,
        subject: id.to_owned(),
        text: text.to_owned(),
        hint: hint.to_owned(),
    }
}
