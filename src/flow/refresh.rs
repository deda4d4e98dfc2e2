//! Refreshing the copies of the administrator's kubeconfig that people have in their homes.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::access::Login;
use crate::diff::{Diff, Face};
use crate::flow::failure::AccessError;
use crate::flow::rescue::Means;
use crate::flow::site::Site;
use crate::inventory::Inventory;
use crate::journal::{Body, Verdict};
use crate::observe::Depth;
use crate::pki::cert::Cert;
use crate::pki::kubeconfig::{Edit, NewMaterial};
use crate::pki::utc::Utc;
use crate::place::{Blob, Meta, Observed, Place, Version};
use crate::run::Run;
use crate::store::{StoreError, Times};

/// Where kubectl looks in a home.
const IN_HOME: &str = ".kube/config";

/// What became of the copies.
pub struct Refreshed {
    /// What was seen.
    pub inventory: Inventory,
    /// The kubeconfig that they are copies of.
    pub source: PathBuf,
    /// Its leaf.
    pub leaf: Cert,
    /// The copies.
    pub copies: Vec<Copied>,
    /// The certificates that differ.
    pub diff: Diff,
    /// The run that tells of it, if anything was to be written.
    pub run: Option<String>,
}

/// One copy.
#[derive(Clone, Debug, Serialize)]
pub struct Copied {
    /// The file.
    pub path: PathBuf,
    /// Whose home it is in.
    pub user: String,
    /// What became of it.
    pub state: CopyState,
    /// Why.
    pub why: String,
    /// The end of what it held.
    pub before: Option<Utc>,
    /// The end of what it holds, or will hold.
    pub after: Option<Utc>,
    /// Where the old one is kept.
    pub kept: Option<PathBuf>,
}

/// What became of a copy.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CopyState {
    /// There is none.
    Absent,
    /// It holds what it should.
    Current,
    /// It is to be refreshed.
    Due,
    /// It could not be written.
    Failed,
    /// It is not this cluster's administrator's, or not only.
    LeftAlone,
    /// It was refreshed.
    Refreshed,
}

/// Whether anything is written.
#[derive(Clone, Copy)]
pub enum Deed<'a> {
    /// What is due is only told.
    Look,
    /// What is due is written, and a run tells of it.
    Write(&'a Means<'a>),
}

/// A copy that is to be replaced.
struct Due {
    at: PathBuf,
    version: Version,
    old: Blob,
    new: Blob,
    face: Face,
}

impl Site {
    /// Gives the copies in the homes of root and of `users` what the administrator's kubeconfig holds: client certificate, key
    /// and CA; everything else in them stays byte for byte. The old file stays beside the new one, for its owner only.
    ///
    /// # Errors
    ///
    /// All of [`AccessError`]; a copy that cannot be written is told in its state.
    pub fn refresh(&self, users: &[String], deed: Deed) -> Result<Refreshed, AccessError> {
        let inventory = self.observe(false, Depth::Running)?;
        let path = self.admin_kubeconfig(&inventory)?;
        let refused =
            |why| AccessError::refused(why, "mend it first: rescue-kit run --only admin.conf");
        let source = Login::open(&self.disk, &path).map_err(refused)?;
        let leaf = source.chain().map_err(refused)?.into_iter().next();
        let name = path.display();
        let leaf = leaf.ok_or_else(|| refused(format!("{name} has no client certificate")))?;
        source.identity().map_err(refused)?;
        if inventory.at > leaf.not_after {
            let why = format!("{name} itself expired at {}", leaf.not_after);
            return Err(AccessError::refused(why, "rescue-kit run"));
        }
        let mut done = Refreshed {
            source: path,
            leaf,
            copies: Vec::new(),
            diff: Diff::default(),
            run: None,
            inventory,
        };
        let homes = self.homes(users)?;
        let mut run = match deed {
            Deed::Look => None,
            Deed::Write(means) => {
                let name = self.free_run_name(done.inventory.at)?;
                let run = self.begin_access(&name, &done.inventory, means)?;
                done.run = Some(name);
                Some(run)
            },
        };
        for (user, home) in homes {
            let copied = self.refresh_one(&source, &user, &home, run.as_mut(), &mut done)?;
            done.copies.push(copied);
        }
        if let (Some(mut run), Some(name), Deed::Write(means)) = (run, &done.run, deed) {
            let is_refreshed = |copy: &Copied| copy.state == CopyState::Refreshed;
            run.append(Body::End(if done.copies.iter().any(is_refreshed) {
                Verdict::Done
            } else {
                Verdict::RolledBack
            }))?;
            self.testify(&run, name, means)?;
        }
        Ok(done)
    }

    /// The kubeconfig of the first administrator of the layout.
    pub(super) fn admin_kubeconfig(&self, inventory: &Inventory) -> Result<PathBuf, AccessError> {
        let mut admins = self.profile.admin.iter();
        let path = |id: &String| Some(inventory.credential(id)?.kubeconfig.as_ref()?.path.clone());
        admins.find_map(path).ok_or_else(|| {
            let names = self.profile.admin.join(", ");
            let why = format!("there is no kubeconfig of an administrator ({names})");
            AccessError::refused(why, "rescue-kit run")
        })
    }

    /// Root's home and those of the users, each once.
    fn homes(&self, users: &[String]) -> Result<Vec<(String, PathBuf)>, AccessError> {
        let accounts = self.accounts()?;
        let mut homes = vec![("root".to_owned(), PathBuf::from("/root"))];
        for user in users {
            let known = accounts.iter().find(|account| account.name == *user);
            let known = known.ok_or_else(|| {
                let why = format!("/etc/passwd has no user `{user}`");
                AccessError::refused(why, "name one that has a home there: --for USER")
            })?;
            let home = (known.name.clone(), known.home.clone());
            if !homes.contains(&home) {
                homes.push(home);
            }
        }
        Ok(homes)
    }

    fn refresh_one(
        &self,
        source: &Login,
        user: &str,
        home: &Path,
        run: Option<&mut Run>,
        done: &mut Refreshed,
    ) -> Result<Copied, AccessError> {
        let path = home.join(IN_HOME);
        let mut copied = Copied {
            path: path.clone(),
            user: user.to_owned(),
            state: CopyState::Due,
            why: String::new(),
            before: None,
            after: None,
            kept: None,
        };
        let due = match self.judge(source, home, &path, done)? {
            Ok(due) => due,
            Err((state, why)) => {
                (copied.state, copied.why) = (state, why);
                return Ok(copied);
            },
        };
        copied.before = Some(due.face.not_after);
        copied.after = Some(done.leaf.not_after);
        copied.why.push_str("it holds an older credential or CA");
        done.diff.before.push(due.face.clone());
        let face = Face::of(&path.display().to_string(), &done.leaf);
        done.diff.after.push(face);
        if let Some(run) = run {
            match self.replace_copy(&due) {
                Ok(kept) => {
                    (copied.state, copied.kept) = (CopyState::Refreshed, Some(kept.clone()));
                    run.append(Body::Refreshed {
                        path,
                        kept,
                        serial: done.leaf.serial_hex(),
                        not_after: done.leaf.not_after,
                    })?;
                },
                Err(error) => {
                    (copied.state, copied.why) = (CopyState::Failed, error.to_string());
                },
            }
        }
        Ok(copied)
    }

    /// What is to be written, or why nothing is.
    fn judge(
        &self,
        source: &Login,
        home: &Path,
        path: &Path,
        done: &Refreshed,
    ) -> Result<Result<Due, (CopyState, String)>, StoreError> {
        let left = |why: &str| Ok(Err((CopyState::LeftAlone, why.to_owned())));
        let Some(at) = self.disk.real_path(path)? else {
            return Ok(Err((CopyState::Absent, "there is none".to_owned())));
        };
        if Some(&at) == self.disk.real_path(&done.source)?.as_ref() {
            let why = format!("it is a link to {}", done.source.display());
            return Ok(Err((CopyState::Current, why)));
        }
        // A link in somebody's home must not lead root to a file elsewhere.
        let home = self.disk.real_path(home)?;
        if !home.is_some_and(|home| at.starts_with(home)) {
            return left("it is a link that leads out of the home");
        }
        let place = Place::File(at.clone());
        let (version, text) = match self.disk.read(&place)? {
            Observed::Present((version, Blob::File(text))) => (version, text),
            Observed::Unknown(why) => return left(&format!("it {why}")),
            _ => return left("it is no file"),
        };
        let id = path.display().to_string();
        let compared = Login::parse(&self.disk, &at, &text)
            .and_then(|copy| compare(source, &copy, done).map(|leaf| (copy, leaf)));
        let (copy, leaf) = match compared {
            Ok((_, Compared::Current)) => {
                let why = "it holds what it should".to_owned();
                return Ok(Err((CopyState::Current, why)));
            },
            Ok((copy, Compared::Due(leaf))) => (copy, leaf),
            Err(why) => return left(&why),
        };
        Ok(match splice(source, &copy) {
            Ok(new) => Ok(Due {
                at,
                version,
                old: Blob::File(text),
                new,
                face: Face::of(&id, &leaf),
            }),
            Err(why) => Err((CopyState::LeftAlone, why)),
        })
    }

    /// Keeps the old file beside, then replaces it; owner, mode and label stay.
    fn replace_copy(&self, due: &Due) -> Result<PathBuf, StoreError> {
        let stamp = self.look.now.compact();
        let name = due.at.file_name().unwrap_or_default().to_string_lossy();
        let kept = due.at.with_file_name(format!("{name}.{stamp}.old"));
        let temp = format!(".rescue-kit-{stamp}");
        let private = Meta {
            mode: 0o600,
            ..due.version.meta.clone()
        };
        let beside = Place::File(kept.clone());
        let absent = Observed::Absent;
        self.disk.swap(
            &beside,
            &absent,
            Some(&due.old),
            &private,
            Times::Restore,
            &temp,
        )?;
        let at = Place::File(due.at.clone());
        let expect = Observed::Present(due.version.clone());
        let meta = &due.version.meta;
        self.disk
            .swap(&at, &expect, Some(&due.new), meta, Times::Now, &temp)?;
        Ok(kept)
    }
}

/// How a copy stands to its source.
enum Compared {
    Current,
    /// What it held.
    Due(Box<Cert>),
}

/// Compares a copy with its source; the error says why it is none.
fn compare(source: &Login, copy: &Login, done: &Refreshed) -> Result<Compared, String> {
    let (new, trusted) = (&done.leaf, source.trust()?);
    let old = copy.chain()?.into_iter().next();
    let old = old.ok_or("its user has no client certificate")?;
    let (theirs, ours) = (old.subject.common_name(), new.subject.common_name());
    if theirs != ours {
        let name = theirs.unwrap_or_default();
        return Err(format!(
            "its user is {name}, not {}",
            ours.unwrap_or_default()
        ));
    }
    let trusts = copy.trust()?;
    let same = |a: &Cert| trusted.iter().any(|b| a.public_bits() == b.public_bits());
    if !trusts.iter().any(same) && copy.kubeconfig.server != source.kubeconfig.server {
        return Err("it is another cluster's: neither server nor CA are the same".to_owned());
    }
    // Whoever only has the certificate, which is no secret, is not given the key.
    copy.identity()
        .map_err(|why| format!("its credential is none: {why}"))?;
    if copy.kubeconfig.exec || !matches!(copy.token(), Ok(None)) {
        return Err("its user logs in by other means, too".to_owned());
    }
    if old.der != new.der && old.not_after > new.not_after {
        let end = old.not_after;
        return Err(format!(
            "it ends later than {}: {end}",
            done.source.display()
        ));
    }
    let set = |certs: &[Cert]| {
        let mut all: Vec<Vec<u8>> = certs.iter().map(|cert| cert.der.clone()).collect();
        all.sort();
        all.dedup();
        all
    };
    let is_current = old.der == new.der && set(&trusts) == set(&trusted);
    Ok(if is_current {
        Compared::Current
    } else {
        Compared::Due(Box::new(old))
    })
}

/// The copy's text with the source's credential and trust.
fn splice(source: &Login, copy: &Login) -> Result<Blob, String> {
    let of = &source.kubeconfig;
    let parts = [&of.cert, &of.key, &of.ca].map(|part| source.bytes(part));
    let [cert, key, ca] = parts;
    let (cert, key, ca) = (cert?, key?, ca?);
    let edit = Edit {
        cert: cert.as_deref().map(|pem| NewMaterial::Embedded(pem)),
        key: key.as_deref().map(|pem| NewMaterial::Embedded(pem)),
        ca: ca.as_deref().map(|pem| NewMaterial::Embedded(pem)),
    };
    let spliced = copy.kubeconfig.splice(&edit);
    let spliced = spliced.map_err(|error| format!("it {error}"))?;
    Ok(Blob::File(spliced))
}
