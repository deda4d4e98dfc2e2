//! The site of a rescue: a root, its profile, the circumstances of looking at it.

use std::path::{Path, PathBuf};

use crate::access::Access;
use crate::finding::{self, Finding};
use crate::inventory::Inventory;
use crate::live::Check;
use crate::manifest;
use crate::observe::{self, Depth, Look};
use crate::pki::utc::Utc;
use crate::place::{Blob, Observed, Place};
use crate::profile::{Profile, ProfileError, builtin};
use crate::rehearsal;
use crate::store::{Disk, StoreError};
use crate::template;

/// An opened root with the profile that describes it.
pub struct Site {
    /// The files.
    pub disk: Disk,
    /// What holds the state directory: the same files, or this host's if its path is absolute.
    pub state: Disk,
    /// Where things are.
    pub profile: Profile,
    /// The circumstances.
    pub look: Look,
}

/// How a site is chosen.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The root directory.
    pub root: PathBuf,
    /// The profile, if it is not to be detected.
    pub profile: Option<ProfileChoice>,
    /// The system's clock.
    pub system: Utc,
    /// What the operator says the time is.
    pub stated: Option<Utc>,
    /// Where runs are kept; relative ones lie under the root.
    pub state_dir: PathBuf,
}

/// A profile that somebody named.
#[derive(Clone, Debug)]
pub enum ProfileChoice {
    /// A built-in one.
    Named(String),
    /// The text of a file, with its path for messages.
    Text {
        /// Where it was read.
        path: PathBuf,
        /// What it says.
        text: String,
    },
}

/// Why there is no site.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// No built-in layout is on the disk.
    #[error("no known layout is below {}", .0.display())]
    NoLayout(PathBuf),
    /// A profile is not usable.
    #[error("profile {name} cannot be used")]
    Profile {
        /// Its name or path.
        name: String,
        /// Why.
        source: ProfileError,
    },
    /// No such built-in profile.
    #[error("there is no built-in profile `{0}`")]
    UnknownProfile(String),
    /// The root cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What `inspect` says.
pub struct Inspection {
    /// What was seen.
    pub inventory: Inventory,
    /// What is worth saying.
    pub findings: Vec<Finding>,
    /// The first cause.
    pub cause: Option<String>,
}

impl Site {
    /// Opens the root and finds its profile.
    pub fn open(choice: &Choice) -> Result<Self, SiteError> {
        let disk = Disk::open(&choice.root)?;
        let profile = match &choice.profile {
            Some(choice) => named(choice)?,
            None => detect(&disk)?.ok_or_else(|| SiteError::NoLayout(choice.root.clone()))?,
        };
        let is_there = |path: &str| {
            let kind = disk.kind(Path::new(path));
            !matches!(kind, Ok(Observed::Absent))
        };
        let profile = profile.on_node(is_there);
        let host = Path::new("/");
        let state = Disk::open(if choice.state_dir.is_absolute() {
            host
        } else {
            &choice.root
        })?;
        let state_dir = host.join(&choice.state_dir);
        let look = Look {
            now: choice.stated.unwrap_or(choice.system),
            system: choice.system,
            stated: choice.stated,
            state_dir,
            search: true,
            depth: Depth::Running,
        };
        Ok(Self {
            disk,
            state,
            profile,
            look,
        })
    }

    /// Looks at everything that the profile names; with `search` also at what it does not.
    pub fn observe(&self, search: bool, depth: Depth) -> Result<Inventory, StoreError> {
        observe::observe(
            &self.disk,
            &self.profile,
            &Look {
                search,
                depth,
                ..self.look.clone()
            },
        )
    }

    /// The version of the API server, as its image says: `v1.34.4`.
    pub(super) fn version(&self) -> Option<String> {
        let component = self.profile.component.get("kube-apiserver")?;
        let path = PathBuf::from(component.manifest.as_ref()?);
        let Ok(Observed::Present((_, Blob::File(text)))) = self.disk.read(&Place::File(path))
        else {
            return None;
        };
        let needs = manifest::pod_needs(&text).ok()?;
        let (_, tag) = needs.images.first()?.rsplit_once(":v1.")?;
        let plain = |c: &char| c.is_ascii_alphanumeric() || ".-+_".contains(*c);
        let tag: String = tag.chars().take_while(plain).collect();
        Some(format!("v1.{tag}"))
    }

    /// Asks the files whether the node would come back after a power cut.
    pub fn rehearse(&self, inventory: &Inventory) -> Vec<Check> {
        rehearsal::rehearse(&Access {
            disk: &self.disk,
            profile: &self.profile,
            inventory,
        })
    }

    /// Looks and judges.
    pub fn inspect(&self, renew_before: i64) -> Result<Inspection, StoreError> {
        let inventory = self.observe(true, Depth::Running)?;
        let mut findings = finding::findings(&inventory, &self.profile, renew_before);
        let left = self.left_open()?;
        findings.extend(left.half_way.map(|run| Finding::of_unfinished(&run)));
        let now = inventory.at;
        let standing = left.standing.iter();
        findings.extend(standing.map(|grant| Finding::of_standing(grant, now)));
        finding::sort(&mut findings, &self.profile);
        let cause = finding::cause(&findings, &self.profile);
        Ok(Inspection {
            inventory,
            findings,
            cause,
        })
    }
}

/// The built-in profile that fits the disk, the more particular layout first.
pub fn detect(disk: &Disk) -> Result<Option<Profile>, SiteError> {
    for name in builtin::names() {
        let profile = named(&ProfileChoice::Named(name.to_owned()))?;
        if reasons(disk, &profile)?.is_ok() {
            return Ok(Some(profile));
        }
    }
    Ok(None)
}

/// Why a profile fits the disk, or why not.
pub fn reasons(disk: &Disk, profile: &Profile) -> Result<Result<Vec<String>, String>, StoreError> {
    let rule = &profile.detect;
    let mut present = Vec::new();
    for path in rule.all.iter().chain(&rule.any).chain(&rule.none) {
        if !matches!(disk.kind(Path::new(path))?, Observed::Absent) {
            present.push(path.as_str());
        }
    }
    Ok(builtin::detected(profile, |path| present.contains(&path)))
}

/// Loads and checks the profile that somebody named.
pub fn named(choice: &ProfileChoice) -> Result<Profile, SiteError> {
    let (name, text) = match choice {
        ProfileChoice::Named(name) => {
            let text =
                builtin::text(name).ok_or_else(|| SiteError::UnknownProfile(name.clone()))?;
            (name.clone(), text.to_owned())
        },
        ProfileChoice::Text { path, text } => (path.display().to_string(), text.clone()),
    };
    let failed = |source| SiteError::Profile {
        name: name.clone(),
        source,
    };
    let profile = builtin::load(&text).map_err(failed)?;
    match profile.defects(&template::names()) {
        defects if defects.is_empty() => Ok(profile),
        defects => Err(failed(ProfileError::Defects(defects))),
    }
}
