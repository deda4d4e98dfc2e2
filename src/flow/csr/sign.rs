//! Signing, where the authority's key is: folders of requests in, answers beside them out. Needs no node and no state.
//!
//! A folder is one node's: all of it is examined before any of it is signed. Folders are taken one by one on every core, so
//! that ten thousand requests need no more memory than a few.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::clock::Stopwatch;
use crate::cores;
use crate::crypto;
use crate::flow::csr::signed::{Cap, Row, Signed, State, Times};
use crate::flow::csr::{CsrError, MANIFEST_LIMIT, PEM_LIMIT};
use crate::issue::{self, Authority};
use crate::pki::cert::Cert;
use crate::pki::chain;
use crate::pki::name::printable;
use crate::pki::pem;
use crate::pki::request::Request;
use crate::pki::utc::Utc;
use crate::profile::Profile;
use crate::request::terms::Terms;
use crate::request::{Entry, Issuer, MANIFEST, Manifest};
use crate::store::{RunDir, StoreError};

/// How much earlier than the request's this clock may be, in seconds.
const SKEW: i64 = 600;

/// What is to be done about most refusals.
const ASK_AGAIN: &str = "ask for the folder again";
const DO_NOT: &str = "do not sign it; ask for the folder again";

/// How an authority signs.
pub struct Signing<'a> {
    /// The authority.
    pub authority: &'a Authority,
    /// The profiles that manifests may name.
    pub profiles: &'a BTreeMap<String, Profile>,
    /// What is allowed.
    pub terms: &'a Terms,
    /// The longest validity, in seconds.
    pub max_validity: i64,
    /// Nothing but these ids, if any are named.
    pub only: &'a [String],
    /// What has an answer is signed again.
    pub again: bool,
    /// What can be signed is signed, although something in the same folder is refused.
    pub partial: bool,
    /// The time.
    pub now: Utc,
}

/// A folder with a manifest.
struct Folder<'a> {
    name: &'a str,
    dir: RunDir,
    files: BTreeSet<String>,
    manifest: Manifest,
    /// The ids of its authorities that are ours.
    ours: BTreeSet<String>,
}

impl Signing<'_> {
    /// Signs what a folder, or each folder in it, asks this authority for. Unless it is to be in part, nothing of a folder is
    /// signed if anything in it is refused; the rows say which.
    ///
    /// # Errors
    ///
    /// [`CsrError::NoRequests`]; [`CsrError::Store`] if something cannot be listed or written.
    pub fn sign(&self, folder: &Path) -> Result<Signed, CsrError> {
        let watch = Stopwatch::start();
        let root = RunDir::on_host(folder)?;
        let names = folders(&root)?;
        // While one waits for the file system, another one signs.
        let outcome = cores::each(&names, 2, |name| self.sign_folder(&root, name));
        let sign = watch.millis();
        root.sync_all()?;
        let rows: Vec<Vec<Row>> = outcome?.into_iter().flatten().collect();
        if rows.is_empty() {
            return Err(CsrError::NoRequests(folder.to_path_buf()));
        }
        Ok(Signed {
            requests: rows.into_iter().flatten().collect(),
            milliseconds: Times {
                sign,
                sync: watch.millis() - sign,
            },
        })
    }

    /// Signs a folder; `None` if it has no manifest.
    fn sign_folder(&self, root: &RunDir, name: &str) -> Result<Option<Vec<Row>>, CsrError> {
        let folder = match self.open(root, name)? {
            None => return Ok(None),
            Some(Ok(folder)) => folder,
            Some(Err(row)) => return Ok(Some(vec![row])),
        };
        let entries = folder.manifest.requests.iter();
        let wanted = entries.filter(|entry| self.only.is_empty() || self.only.contains(&entry.id));
        let examined: Vec<(&Entry, Result<Request, Row>)> = wanted
            .map(|entry| (entry, self.examine(&folder, entry)))
            .collect();
        let mut rows = folder.unnamed();
        let refused = |row: &Row| row.state == State::Refused;
        let is_refused = rows.iter().any(refused)
            || examined
                .iter()
                .any(|(_, examined)| examined.as_ref().is_err_and(refused));
        for (entry, examined) in examined {
            rows.push(match examined {
                Err(row) => row,
                Ok(_) if is_refused && !self.partial => Row::of(name, entry, State::Held),
                Ok(request) => self.answer(&folder, entry, &request)?,
            });
        }
        Ok(Some(rows))
    }

    /// Opens a folder; a row if its manifest cannot be used, `None` if there is none.
    fn open<'a>(
        &self,
        root: &RunDir,
        name: &'a str,
    ) -> Result<Option<Result<Folder<'a>, Row>>, CsrError> {
        let hint = "copy the folder again from where it was made";
        let unusable = |why: &str| Ok(Some(Err(Row::refused(name, MANIFEST, why, hint))));
        let inside = if name.is_empty() {
            Some(root.clone())
        } else {
            root.inside(name)?
        };
        let Some(dir) = inside else {
            return Ok(None);
        };
        let json = match dir.read_within(MANIFEST, MANIFEST_LIMIT) {
            Ok(Some(json)) => json,
            Ok(None) => return Ok(None),
            Err(error) => return unusable(&unreadable(&error)),
        };
        let manifest = match Manifest::parse(&json) {
            Ok(manifest) => manifest,
            Err(error) => return unusable(&error.to_string()),
        };
        let asked = manifest.authorities.iter();
        let ours = asked.filter(|(_, asked)| self.is(asked));
        Ok(Some(Ok(Folder {
            name,
            files: dir.list("")?.into_iter().collect(),
            ours: ours.map(|(id, _)| id.clone()).collect(),
            dir,
            manifest,
        })))
    }

    /// The request, if it is to be signed; else what becomes of it.
    fn examine(&self, folder: &Folder, entry: &Entry) -> Result<Request, Row> {
        let refuse =
            |why: &str, hint: &str| Row::refused(folder.name, &entry.request_file(), why, hint);
        if !folder.ours.contains(&entry.signer) {
            return Err(Row::of(folder.name, entry, State::Elsewhere));
        }
        let at = folder.manifest.at;
        if at > self.now.plus(SKEW) {
            let why = format!("was made at {at}, which is later than the clock here");
            let hint = "set the clock, or state the true time: --now RFC3339";
            return Err(refuse(&why, hint));
        }
        let text = folder.dir.read_within(&entry.request_file(), PEM_LIMIT);
        let text = text.map_err(|error| refuse(&unreadable(&error), ASK_AGAIN))?;
        let text = text.ok_or_else(|| refuse("is missing", ASK_AGAIN))?;
        let request = Request::from_pem(&text);
        let request = request.map_err(|error| refuse(&error.to_string(), ASK_AGAIN))?;
        let Some(profile) = self.profiles.get(&folder.manifest.profile) else {
            let name = printable(&folder.manifest.profile);
            let why = format!("is of the layout `{name}`, which is not known here");
            return Err(refuse(&why, "name the layout of the node: --profile FILE"));
        };
        let refusals = self.terms.refusals(&request, entry, profile);
        if !refusals.is_empty() {
            let why = refusals.iter();
            let why = why.map(|refusal| (refusal.to_string(), refusal.hint().to_owned()));
            return Err(Row {
                why: why.collect(),
                ..Row::of(folder.name, entry, State::Refused)
            });
        }
        self.examine_answer(folder, entry)?;
        match crypto::verify_request(&request) {
            Ok(()) => Ok(request),
            Err(_) => Err(refuse("is not signed by its own key", DO_NOT)),
        }
    }

    /// An answer that is there stays, unless it is for the same key and to be made again.
    fn examine_answer(&self, folder: &Folder, entry: &Entry) -> Result<(), Row> {
        let file = entry.answer_file();
        if !folder.files.contains(&file) {
            return Ok(());
        }
        let text = folder.dir.read_within(&file, PEM_LIMIT);
        let text = text.ok().flatten().unwrap_or_default();
        let certs = Cert::all_from_pem(&text).unwrap_or_default();
        if !certs.first().is_some_and(|leaf| entry.has_key_of(leaf)) {
            let why = format!("has an answer, {file}, that is for another key");
            let hint = "move that file away";
            return Err(Row::refused(folder.name, &entry.request_file(), &why, hint));
        }
        if self.again {
            return Ok(());
        }
        Err(Row::of(folder.name, entry, State::Answered))
    }

    /// Signs a request that was examined, and writes its answer.
    fn answer(&self, folder: &Folder, entry: &Entry, request: &Request) -> Result<Row, CsrError> {
        let (not_after, capped) = self.end(entry);
        let ca = &self.authority.cert;
        let not_before = self.now.backdated().max(ca.not_before);
        let leaf = issue::answer(request, self.authority, not_before, not_after);
        let leaf = leaf.map_err(|source| CsrError::Issue {
            id: entry.id.clone(),
            source,
        })?;
        let mut text = pem::encode("CERTIFICATE", &leaf).to_string();
        for link in &self.authority.chain {
            text.push_str(&link.to_pem());
        }
        let file = entry.answer_file();
        folder.dir.write_unsynced(&file, text.as_bytes())?;
        Ok(Row {
            not_after: Some(not_after),
            capped,
            ..Row::of(folder.name, entry, State::Signed)
        })
    }

    /// The last second, and what cut it.
    fn end(&self, entry: &Entry) -> (Utc, Option<Cap>) {
        let wanted = entry.validity_seconds.max(0);
        let (seconds, cut) = if wanted > self.max_validity {
            (self.max_validity, Some(Cap::Policy))
        } else {
            (wanted, None)
        };
        let (end, last) = (self.now.plus(seconds), self.authority.cert.not_after);
        if end > last {
            return (last, Some(Cap::Authority));
        }
        (end, cut)
    }

    /// Whether requests for these certificates are for this authority, or for one that it was issued below.
    fn is(&self, asked: &[Issuer]) -> bool {
        let own = &self.authority.cert;
        let asked: Vec<Cert> = asked.iter().filter_map(Issuer::cert).collect();
        let same = |cert: &Cert| cert.subject == own.subject && cert.spki == own.spki;
        let signed = |cert: &Cert, issuer: &Cert| crypto::verify(cert, issuer).is_ok();
        asked.iter().any(same) || chain::way(own, &self.authority.chain, &asked, &signed).is_ok()
    }
}

impl Folder<'_> {
    /// Requests that the manifest does not name are refused, so that nobody takes them for signed.
    fn unnamed(&self) -> Vec<Row> {
        let named = self.manifest.requests.iter().map(Entry::request_file);
        let named: BTreeSet<String> = named.collect();
        let requests = self
            .files
            .iter()
            .filter(|file| file.strip_suffix(".csr").is_some());
        let unnamed = requests.filter(|file| !named.contains(*file));
        let (why, hint) = (
            "is not named by the manifest",
            "move it away, or ask for the folder again",
        );
        unnamed
            .map(|file| Row::refused(self.name, file, why, hint))
            .collect()
    }
}

/// This folder if it has a manifest, else everything in it, sorted.
fn folders(root: &RunDir) -> Result<Vec<String>, StoreError> {
    if root.exists(MANIFEST)? {
        return Ok(vec![String::new()]);
    }
    root.list("")
}

/// A predicate about a file that cannot be read, which names it already.
fn unreadable(error: &StoreError) -> String {
    match error {
        StoreError::Read { source, .. } => format!("cannot be read: {source}"),
        StoreError::TooLarge { limit, .. } => format!("is larger than {limit} bytes"),
        other => other.to_string(),
    }
}
