//! Kubeconfigs of a host: finding them, and asking the API server whether it takes them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::access::{Access, Login, with_causes};
use crate::flow::site::Site;
use crate::https::HttpsError;
use crate::inventory::Inventory;
use crate::kube::KubeError;
use crate::listing::kubeconfig::{Acceptance, Answer, Proof, Row};
use crate::observe::Depth;
use crate::passwd::{self, Account};
use crate::place::{Blob, Kind, Observed, Place};
use crate::store::{Disk, StoreError};

/// How long an API server may take to answer who somebody is.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

/// How deep below a directory kubeconfigs are looked for.
const DEPTH: u8 = 4;

impl Site {
    /// Every kubeconfig: those of the layout first, then those that lie in its directories and in homes, then those that
    /// somebody named, as paths of this host; before those what was given while the glass was broken.
    pub fn kubeconfigs(
        &self,
        named: &[PathBuf],
        renew_before: i64,
    ) -> Result<(Inventory, Vec<Row>), StoreError> {
        let inventory = self.observe(false, Depth::Running)?;
        let access = Access {
            disk: &self.disk,
            profile: &self.profile,
            inventory: &inventory,
        };
        let host = Disk::open(Path::new("/"))?;
        let own = self.kubeconfig_paths(&inventory)?;
        let own = own.into_iter().map(|path| (&self.disk, path));
        let named = named.iter().map(|path| (&host, path.clone()));
        let given = self.left_open()?.standing.into_iter();
        let given = given.filter_map(|standing| Some((&host, standing.grant.kubeconfig?)));
        let rows = own.chain(given).chain(named);
        let rows = rows.map(|(disk, path)| row(&access, disk, &path, renew_before));
        let rows = rows.collect();
        Ok((inventory, rows))
    }

    /// Where kubeconfigs are, each once.
    pub(super) fn kubeconfig_paths(
        &self,
        inventory: &Inventory,
    ) -> Result<Vec<PathBuf>, StoreError> {
        let mut search = Search {
            disk: &self.disk,
            known: BTreeSet::new(),
            found: Vec::new(),
        };
        for credential in &inventory.credentials {
            if let Some(kubeconfig) = &credential.kubeconfig {
                search.take(&kubeconfig.path)?;
            }
        }
        for pattern in &self.profile.search {
            for directory in self.disk.expand(pattern)? {
                search.below(&directory, DEPTH)?;
            }
        }
        for Account { home, .. } in self.accounts()? {
            search.below(&home.join(".kube"), DEPTH)?;
        }
        Ok(search.found)
    }

    /// The users of the node.
    pub(super) fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        let at = Place::File("/etc/passwd".into());
        Ok(match self.disk.read(&at)? {
            Observed::Present((_, Blob::File(text))) => passwd::accounts(&text),
            _ => Vec::new(),
        })
    }
}

/// Kubeconfigs as they are found.
struct Search<'a> {
    disk: &'a Disk,
    /// Where links lead, so that a file is not found twice.
    known: BTreeSet<PathBuf>,
    found: Vec<PathBuf>,
}

impl Search<'_> {
    fn below(&mut self, directory: &Path, depth: u8) -> Result<(), StoreError> {
        if !matches!(
            self.disk.kind(directory)?,
            Observed::Present(Kind::Directory)
        ) {
            return Ok(());
        }
        for (name, kind) in self.disk.list(directory)? {
            let path = directory.join(&name);
            match kind {
                // kubectl keeps what it discovered beside its kubeconfig: thousands of files.
                Kind::Directory if depth > 0 && name != "cache" => self.below(&path, depth - 1)?,
                Kind::File | Kind::Link if self.is_kubeconfig(&path)? => self.take(&path)?,
                _ => {},
            }
        }
        Ok(())
    }

    fn take(&mut self, path: &Path) -> Result<(), StoreError> {
        let real = self.disk.real_path(path)?;
        let real = real.unwrap_or_else(|| path.to_path_buf());
        if self.known.insert(real) {
            self.found.push(path.to_path_buf());
        }
        Ok(())
    }

    fn is_kubeconfig(&self, path: &Path) -> Result<bool, StoreError> {
        let Observed::Present((_, Blob::File(bytes))) =
            self.disk.read(&Place::File(path.to_path_buf()))?
        else {
            return Ok(false);
        };
        let has = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        Ok(has(b"current-context") && has(b"clusters") && has(b"users"))
    }
}

/// What there is to be said of one kubeconfig.
fn row(access: &Access, disk: &Disk, path: &Path, renew_before: i64) -> Row {
    let mut row = Row::new(path.display().to_string());
    let login = match Login::open(disk, path) {
        Ok(login) => login,
        Err(why) => {
            row.unreadable(why);
            return row;
        },
    };
    row.context = Some(login.kubeconfig.context.clone());
    row.server.clone_from(&login.kubeconfig.server);
    if login.kubeconfig.exec {
        row.by = Some(Proof::Program);
    }
    let now = access.inventory.at;
    let mut failures = Vec::new();
    match login.chain() {
        Ok(chain) => {
            if let Some(leaf) = chain.first() {
                row.certified(leaf, now, renew_before);
            }
        },
        Err(why) => failures.push(why),
    }
    match login.token() {
        Ok(Some(token)) => row.bears(&token.claims().unwrap_or_default(), now),
        Ok(None) => {},
        Err(why) => failures.push(why),
    }
    row.accepted = acceptance(access, &login);
    for why in failures {
        row.unreadable(why);
    }
    row
}

/// Asks the API server.
pub(super) fn acceptance(access: &Access, login: &Login) -> Acceptance {
    if access.inventory.live.is_none() {
        return Acceptance::unknown("nothing runs below this root");
    }
    let kube = match access.kube_of(login, TIMEOUT) {
        Ok(kube) => kube,
        Err(why) => return Acceptance::unknown(why),
    };
    match kube.accepts_us() {
        Ok(seen) => Acceptance {
            answer: Answer::Yes,
            seen,
            why: None,
        },
        Err(error) if is_refusal(&error) => Acceptance {
            answer: Answer::No,
            seen: None,
            why: Some(with_causes(&error)),
        },
        Err(error) => Acceptance::unknown(with_causes(&error)),
    }
}

/// Whether the API server says that it does not know us.
pub(super) fn is_refusal(error: &KubeError) -> bool {
    let rejected = matches!(error, KubeError::Https(HttpsError::Rejected { .. }));
    // 403 is left only for those whom it calls anonymous.
    rejected || matches!(error.code(), Some(401 | 403))
}
