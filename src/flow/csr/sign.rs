//! Signing, where the authority's key is: folders of requests in, answers beside them out. Needs no node and no state.
//!
//! Every request is examined before the first one is signed. Then each is read again, and is signed only if its digest is
//! still the one that was examined; so ten thousand requests need no more memory than a few.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use serde::Serialize;

use crate::clock::Stopwatch;
use crate::crypto;
use crate::flow::csr::{CsrError, MANIFEST_LIMIT, PEM_LIMIT};
use crate::issue::{self, Authority};
use crate::pki::cert::Cert;
use crate::pki::chain;
use crate::pki::digest::Digest;
use crate::pki::name::printable;
use crate::pki::request::Request;
use crate::pki::utc::Utc;
use crate::profile::Profile;
use crate::request::terms::Terms;
use crate::request::{Entry, Issuer, MANIFEST, Manifest};
use crate::store::{RunDir, StoreError};

/// How long before now a certificate begins, in seconds: as kubeadm backdates.
const BACKDATE: i64 = 300;

/// How much earlier than the request's this clock may be, in seconds.
const SKEW: i64 = 600;

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
    /// What can be signed is signed, although something is refused.
    pub partial: bool,
    /// The time.
    pub now: Utc,
}

/// What was done.
#[derive(Debug, Default, Serialize)]
pub struct Signed {
    /// One row a request, by folder, then in the manifest's order.
    pub requests: Vec<Row>,
    /// How long each part took.
    pub milliseconds: Times,
}

/// Milliseconds of each part.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Times {
    /// Reading, verifying and judging all requests.
    pub examine: u64,
    /// Signing, and writing the answers.
    pub sign: u64,
    /// Bringing the answers to the disk.
    pub sync: u64,
}

/// What became of a request.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its folder's name below the one that was named; empty for that one itself.
    pub folder: String,
    /// The credential's id, or the name of a file that is no request of the manifest.
    pub id: String,
    /// How it ended.
    pub state: State,
    /// The last second of the new certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Utc>,
    /// The wanted validity was cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capped: Option<Cap>,
    /// Why it was refused: each a predicate about its file, and what to do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<(String, String)>,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It has an answer already.
    Answered,
    /// It is for another authority.
    Elsewhere,
    /// It must not be signed.
    Refused,
    /// It was signed.
    Signed,
}

/// What cut a validity.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cap {
    /// The authority's own end.
    Authority,
    /// The longest validity that is allowed.
    Policy,
}

impl Signed {
    /// Whether anything was refused.
    pub fn refused(&self) -> impl Iterator<Item = &Row> {
        let refused = |row: &&Row| row.state == State::Refused;
        self.requests.iter().filter(refused)
    }

    /// How many requests ended so.
    pub fn count(&self, state: State) -> usize {
        self.requests
            .iter()
            .filter(|row| row.state == state)
            .count()
    }
}

/// A folder with a manifest.
struct Folder {
    name: String,
    dir: RunDir,
    manifest: Manifest,
    digest: Digest,
    /// The ids of its authorities that are ours.
    ours: BTreeSet<String>,
}

/// A request, by its place in a folder's manifest.
struct Job {
    folder: Arc<Folder>,
    index: usize,
}

impl Job {
    fn entry(&self) -> &Entry {
        &self.folder.manifest.requests[self.index]
    }

    /// Where it stands among all, so that rows can be sorted and requests recognised.
    fn place(&self) -> (String, usize) {
        (self.folder.name.clone(), self.index)
    }

    fn row(&self, state: State) -> Row {
        Row {
            folder: self.folder.name.clone(),
            id: self.entry().id.clone(),
            state,
            not_after: None,
            capped: None,
            why: Vec::new(),
        }
    }

    fn refused(&self, why: &str, hint: &str) -> Row {
        Row {
            why: vec![(why.to_owned(), hint.to_owned())],
            ..self.row(State::Refused)
        }
    }
}

type Rows = Mutex<Vec<((String, usize), Row)>>;

impl Signing<'_> {
    /// Signs what a folder, or each folder in it, asks this authority for. Unless it is to be in part, nothing is signed if
    /// anything is refused; the rows say which.
    ///
    /// # Errors
    ///
    /// [`CsrError::NoRequests`]; [`CsrError::Store`] if something cannot be read or written.
    pub fn sign(&self, folder: &Path) -> Result<Signed, CsrError> {
        let watch = Stopwatch::start();
        let root = RunDir::on_host(folder)?;
        let names = folders(&root)?;
        if names.is_empty() {
            return Err(CsrError::NoRequests(folder.to_path_buf()));
        }
        let rows = Rows::default();
        let digests = Mutex::new(BTreeMap::new());
        let first = |job: &Job| {
            lock(&digests).insert(job.folder.name.clone(), job.folder.digest);
            self.examine(job)
        };
        self.each(&root, &names, Look::Whole, &rows, &first)?;
        let examined = watch.millis();
        let settled: BTreeSet<(String, usize)> =
            lock(&rows).iter().map(|(place, _)| place.clone()).collect();
        let refused = lock(&rows)
            .iter()
            .any(|(_, row)| row.state == State::Refused);
        if !refused || self.partial {
            let digests = lock(&digests);
            let second = |job: &Job| {
                let same = digests.get(&job.folder.name) == Some(&job.folder.digest);
                if settled.contains(&job.place()) {
                    return Ok(None);
                }
                self.answer(job, same).map(Some)
            };
            self.each(&root, &names, Look::Manifest, &rows, &second)?;
        }
        let signed = watch.millis();
        root.sync_all()?;
        let mut rows = rows.into_inner().unwrap_or_else(PoisonError::into_inner);
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Signed {
            requests: rows.into_iter().map(|(_, row)| row).collect(),
            milliseconds: Times {
                examine: examined,
                sign: signed - examined,
                sync: watch.millis() - signed,
            },
        })
    }

    /// Does something with each request on every core, and notes what became of it. Folders are opened one after the other,
    /// so that no more than a few are in memory.
    fn each(
        &self,
        root: &RunDir,
        names: &[String],
        look: Look,
        rows: &Rows,
        act: &(dyn Fn(&Job) -> Result<Option<Row>, CsrError> + Sync),
    ) -> Result<(), CsrError> {
        let jobs = Mutex::new(Jobs {
            signing: self,
            root,
            names: names.iter(),
            look,
            rows,
            waiting: VecDeque::new(),
        });
        let work = || -> Result<(), CsrError> {
            loop {
                let job = lock(&jobs).next();
                let Some(job) = job.transpose()? else {
                    return Ok(());
                };
                if let Some(row) = act(&job)? {
                    lock(rows).push((job.place(), row));
                }
            }
        };
        let cores = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            let others: Vec<_> = (1..cores).map(|_| scope.spawn(work)).collect();
            let mine = work();
            // A panic in there ends the process, as any does.
            let mut theirs = others
                .into_iter()
                .map(|other| other.join().unwrap_or(Ok(())));
            theirs.try_fold((), |(), other| other).and(mine)
        })
    }

    /// What becomes of a request that is not to be signed; `None` if it is.
    fn examine(&self, job: &Job) -> Result<Option<Row>, CsrError> {
        let (folder, entry) = (&job.folder, job.entry());
        if !folder.ours.contains(&entry.signer) {
            return Ok(Some(job.row(State::Elsewhere)));
        }
        if folder.manifest.at > self.now.plus(SKEW) {
            let why = format!(
                "was made at {}, which is later than the clock here",
                folder.manifest.at
            );
            return Ok(Some(job.refused(
                &why,
                "set the clock, or state the true time: --now RFC3339",
            )));
        }
        let request = match read_request(job)? {
            Ok(request) => request,
            Err(row) => return Ok(Some(row)),
        };
        if crypto::verify_request(&request).is_err() {
            let hint = "do not sign it; ask for the folder again";
            return Ok(Some(job.refused("is not signed by its own key", hint)));
        }
        let Some(profile) = self.profiles.get(&folder.manifest.profile) else {
            let name = printable(&folder.manifest.profile);
            let why = format!("is of the layout `{name}`, which is not known here");
            return Ok(Some(
                job.refused(&why, "name the layout of the node: --profile FILE"),
            ));
        };
        let refusals = self.terms.refusals(&request, entry, profile);
        if !refusals.is_empty() {
            let why = refusals
                .iter()
                .map(|refusal| (refusal.to_string(), refusal.hint().to_owned()));
            let mut row = job.row(State::Refused);
            row.why = why.collect();
            return Ok(Some(row));
        }
        self.examine_answer(job)
    }

    /// An answer that is there stays, unless it is for the same key and to be made again.
    fn examine_answer(&self, job: &Job) -> Result<Option<Row>, CsrError> {
        let entry = job.entry();
        let Some(text) = job
            .folder
            .dir
            .read_within(&entry.answer_file(), PEM_LIMIT)?
        else {
            return Ok(None);
        };
        let certs = Cert::all_from_pem(&text).unwrap_or_default();
        if !certs.first().is_some_and(|leaf| entry.has_key_of(leaf)) {
            let why = format!(
                "has an answer, {}, that is for another key",
                entry.answer_file()
            );
            return Ok(Some(job.refused(&why, "move that file away")));
        }
        Ok((!self.again).then(|| job.row(State::Answered)))
    }

    /// Signs a request that was examined, and writes its answer.
    fn answer(&self, job: &Job, same_manifest: bool) -> Result<Row, CsrError> {
        let entry = job.entry();
        let request = match read_request(job)? {
            Ok(request) => request,
            Err(row) => return Ok(row),
        };
        if !same_manifest || request.sha256() != entry.asks.sha256 {
            return Ok(job.refused(
                "has changed while it was looked at",
                "sign the folder again",
            ));
        }
        let (not_after, capped) = self.end(entry);
        let not_before = self.now.plus(-BACKDATE).max(self.authority.cert.not_before);
        let leaf = issue::reissue(
            &request.wish,
            self.authority,
            &request.wish.spki,
            not_before,
            not_after,
            None,
            &[],
        )
        .map_err(|source| CsrError::Issue {
            id: entry.id.clone(),
            source,
        })?;
        let mut text = leaf.to_pem();
        for link in &self.authority.chain {
            text.push_str(&link.to_pem());
        }
        let dir = &job.folder.dir;
        dir.write_unsynced(&entry.answer_file(), text.as_bytes())?;
        Ok(Row {
            not_after: Some(not_after),
            capped,
            ..job.row(State::Signed)
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

/// How closely a folder is looked at.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Look {
    /// Only what the manifest names.
    Manifest,
    /// Also what it does not name.
    Whole,
}

/// Requests, folder by folder.
struct Jobs<'a> {
    signing: &'a Signing<'a>,
    root: &'a RunDir,
    names: std::slice::Iter<'a, String>,
    look: Look,
    rows: &'a Rows,
    waiting: VecDeque<Job>,
}

impl Jobs<'_> {
    fn next(&mut self) -> Option<Result<Job, CsrError>> {
        loop {
            if let Some(job) = self.waiting.pop_front() {
                return Some(Ok(job));
            }
            let name = self.names.next()?;
            if let Err(error) = self.open(name) {
                return Some(Err(error));
            }
        }
    }

    fn open(&mut self, name: &str) -> Result<(), CsrError> {
        let dir = if name.is_empty() {
            Some(self.root.clone())
        } else {
            self.root.inside(name)?
        };
        let Some(dir) = dir else {
            return Ok(());
        };
        let json = dir
            .read_within(MANIFEST, MANIFEST_LIMIT)?
            .unwrap_or_default();
        let manifest = Manifest::parse(&json).map_err(|source| CsrError::Manifest {
            path: dir.path().join(MANIFEST),
            source,
        })?;
        let asked = manifest.authorities.iter();
        let ours = asked.filter(|(_, asked)| self.signing.is(asked));
        let folder = Arc::new(Folder {
            name: name.to_owned(),
            digest: Digest::of(&json),
            ours: ours.map(|(id, _)| id.clone()).collect(),
            dir,
            manifest,
        });
        if self.look == Look::Whole {
            self.note_unnamed(&folder)?;
        }
        for (index, entry) in folder.manifest.requests.iter().enumerate() {
            let only = self.signing.only;
            if only.is_empty() || only.contains(&entry.id) {
                let folder = Arc::clone(&folder);
                self.waiting.push_back(Job { folder, index });
            }
        }
        Ok(())
    }

    /// Requests that the manifest does not name are refused, so that nobody takes them for signed.
    fn note_unnamed(&self, folder: &Folder) -> Result<(), StoreError> {
        let named: BTreeSet<String> = folder
            .manifest
            .requests
            .iter()
            .map(Entry::request_file)
            .collect();
        let files = folder.dir.list("")?.into_iter();
        for (index, file) in files
            .filter(|f| f.strip_suffix(".csr").is_some() && !named.contains(f))
            .enumerate()
        {
            let row = Row {
                folder: folder.name.clone(),
                id: printable(&file),
                state: State::Refused,
                not_after: None,
                capped: None,
                why: vec![(
                    "is not named by the manifest".to_owned(),
                    "move it away, or ask for the folder again".to_owned(),
                )],
            };
            let place = (folder.name.clone(), folder.manifest.requests.len() + index);
            lock(self.rows).push((place, row));
        }
        Ok(())
    }
}

/// The folders that hold a manifest: this one, else those in it, sorted.
fn folders(root: &RunDir) -> Result<Vec<String>, CsrError> {
    if root.exists(MANIFEST)? {
        return Ok(vec![String::new()]);
    }
    let mut found = Vec::new();
    for name in root.list("")? {
        if let Some(inside) = root.inside(&name)?
            && inside.exists(MANIFEST)?
        {
            found.push(name);
        }
    }
    Ok(found)
}

/// The request of a job; a row if it cannot be read.
fn read_request(job: &Job) -> Result<Result<Request, Row>, CsrError> {
    let hint = "ask for the folder again";
    let file = job.entry().request_file();
    let Some(text) = job.folder.dir.read_within(&file, PEM_LIMIT)? else {
        return Ok(Err(job.refused("is missing", hint)));
    };
    Ok(Request::from_pem(&text).map_err(|error| job.refused(&error.to_string(), hint)))
}

/// A lock whose holder cannot have died: a panic ends the process.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
