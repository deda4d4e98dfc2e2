//! PHASE: drill, making the files of a throw-away control plane that is broken on purpose.
//! INPUTS: a scenario; a key algorithm; the time; an empty directory.
//! OUTPUTS: the tree that kubeadm 1.34 leaves on the first control-plane node, with etcd, damaged as the scenario says.
//!
//! Nothing of it is anybody's: keys, machine-id and certificates are new, and nothing outside of the directory is
//! looked at or written. Files are dated by the story, not by today, because the clock gate reads them as witnesses.

mod damage;
mod layout;
mod node;
pub mod score;
mod tree;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::crypto::CryptoError;
use crate::issue::IssueError;
use crate::pki::key::KeyAlgorithm;
use crate::pki::name::NameError;
use crate::pki::utc::Utc;

/// What is broken.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Scenario {
    /// Every leaf has expired.
    LeavesExpired,
    /// The authorities have expired, and the leaves with them.
    CaExpired,
    /// Leaves have expired, and some were deleted.
    MissingLeaf,
    /// The node has another address than its certificates say.
    WrongSan,
    /// Leaves have expired, and a renewal stopped between key and certificate.
    MismatchedPair,
    /// Leaves have expired, and the node's clock has lost years.
    ClockWrong,
    /// Only the kubelet's own credentials have expired.
    KubeletOnly,
    /// Leaves have expired, and the disk was full when some were written.
    Truncated,
    /// Leaves have expired, and the cluster's CA key is kept elsewhere.
    CaKeyMissing,
    /// Leaves have expired, and `ca.crt` is another cluster's.
    ForeignCa,
}

/// A tree that was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// Where it is: what `--root` is to be.
    pub root: PathBuf,
    /// What was broken, one line each; paths as the node says them.
    pub broken: Vec<String>,
    /// What the node's clock says, where that is part of the story: to be stated as the time.
    pub now: Option<Utc>,
}

/// Why there is no tree. What was written until then stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DrillError {
    /// Keys or random numbers.
    #[error("cannot make a key")]
    Crypto(#[from] CryptoError),
    /// A certificate.
    #[error("cannot issue a certificate")]
    Issue(#[from] IssueError),
    /// A subject.
    #[error("cannot write a subject")]
    Name(#[from] NameError),
    /// The directory holds something: a drill never writes beside other files.
    #[error("{} is not empty", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// The directory's content cannot be listed.
    #[error("cannot look into {}", path.display())]
    Look {
        /// The directory.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// A file, directory or link cannot be made.
    #[error("cannot make {}", path.display())]
    Make {
        /// What was to be made.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
}

/// A name that no scenario has.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` is not one of {names}", names = Scenario::ALL.map(Scenario::name).join(", "))]
pub struct UnknownScenario(pub String);

impl Scenario {
    /// All of them, the most common first.
    pub const ALL: [Self; 10] = [
        Self::LeavesExpired,
        Self::KubeletOnly,
        Self::MissingLeaf,
        Self::MismatchedPair,
        Self::Truncated,
        Self::WrongSan,
        Self::CaExpired,
        Self::CaKeyMissing,
        Self::ForeignCa,
        Self::ClockWrong,
    ];

    /// As the command line and the reports call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::LeavesExpired => "leaves-expired",
            Self::CaExpired => "ca-expired",
            Self::MissingLeaf => "missing-leaf",
            Self::WrongSan => "wrong-san",
            Self::MismatchedPair => "mismatched-pair",
            Self::ClockWrong => "clock-wrong",
            Self::KubeletOnly => "kubelet-only",
            Self::Truncated => "truncated-leaf",
            Self::CaKeyMissing => "ca-key-missing",
            Self::ForeignCa => "foreign-ca",
        }
    }

    /// What happened to the node, in one sentence.
    pub fn story(self) -> &'static str {
        match self {
            Self::LeavesExpired => {
                "Nobody upgraded the cluster for a year, so every certificate but the CAs' has expired."
            },
            Self::CaExpired => {
                "The cluster is ten years old, and its certificate authorities have expired with everything they signed."
            },
            Self::MissingLeaf => {
                "Everything has expired, and somebody deleted certificates to have kubeadm make them again, which it refuses."
            },
            Self::WrongSan => {
                "The node was given another address, and its certificates still name the old one."
            },
            Self::MismatchedPair => {
                "Everything has expired, and a renewal was interrupted after it had written a key and before its certificate."
            },
            Self::ClockWrong => {
                "Everything has expired, and the clock's battery is empty: the node believes that it is two years ago."
            },
            Self::KubeletOnly => {
                "`kubeadm certs renew all` renewed everything but the kubelet's own credential, so the kubelet exits at start."
            },
            Self::Truncated => {
                "Everything has expired, and a renewal ran into a full disk, which left one certificate cut and one empty."
            },
            Self::CaKeyMissing => {
                "Everything has expired, and the cluster CA's key is kept offline, so nothing can be signed on the node."
            },
            Self::ForeignCa => {
                "Everything has expired, and somebody copied another cluster's ca.crt over this one's."
            },
        }
    }

    /// What whoever is called hears of it: symptoms, and nothing that has been understood.
    pub fn page(self) -> &'static str {
        match self {
            Self::LeavesExpired => {
                "cp1 was rebooted at 02:50 for a new kernel and did not come back: kubectl says `connection refused`. Nobody has touched this cluster for a year."
            },
            Self::CaExpired => {
                "cp1 did not come back after a power cut: kubectl says `connection refused`. It is the oldest cluster of the company; who installed it has left."
            },
            Self::MissingLeaf => {
                "cp1 answers nobody since it was rebooted. A colleague has tried something with kubeadm, gave up at 01:30, and went home."
            },
            Self::WrongSan => {
                "The data centre was given new addresses at the weekend. kubectl says of cp1: `x509: certificate is valid for 192.168.61.10, not 192.168.61.11`."
            },
            Self::MismatchedPair => {
                "cp1 lost power while its weekly maintenance ran, and does not come back: the API server's container ends as soon as it starts."
            },
            Self::ClockWrong => {
                "cp1 was in a box for three weeks, was switched on again in another rack, and does not join the others. Its logs look strange."
            },
            Self::KubeletOnly => {
                "cp1 is NotReady and was rebooted for that, which made it worse: nothing runs now. All certificates were renewed a month ago, says the change log."
            },
            Self::Truncated => {
                "The disk of cp1 was full at 02:31 and has room again since 02:40; the API server has not come back."
            },
            Self::CaKeyMissing => {
                "cp1 did not come back after a reboot: kubectl says `connection refused`. The security team hardened this cluster after the last audit."
            },
            Self::ForeignCa => {
                "cp1 does not come back. Yesterday a script copied files from one cluster to another, and the wrong way round for some minutes."
            },
        }
    }

    /// Whether a rescue mends it without help; if not, it is refused with an explanation and nothing is changed.
    pub fn rescuable(self) -> bool {
        match self {
            Self::LeavesExpired
            | Self::KubeletOnly
            | Self::MismatchedPair
            | Self::MissingLeaf
            | Self::Truncated
            | Self::WrongSan => true,
            Self::CaExpired | Self::CaKeyMissing | Self::ClockWrong | Self::ForeignCa => false,
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scenario {
    type Err = UnknownScenario;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL
            .into_iter()
            .find(|scenario| scenario.name() == text);
        known.ok_or_else(|| UnknownScenario(text.to_owned()))
    }
}

/// Makes the tree below `root`, which must be absent (its parent exists) or an empty directory.
///
/// `now` is the time that the story ends at: leaves that have expired did so 35 days before. Needs no privilege; files
/// belong to the process, modes are kubeadm's whatever the umask. Keys are made on all cores.
///
/// # Errors
///
/// [`DrillError::NotEmpty`] before anything is written; [`DrillError::Crypto`] for an algorithm that no key can be made
/// of; the others say at which file the system failed.
pub fn make(
    root: &Path,
    scenario: Scenario,
    algorithm: &KeyAlgorithm,
    now: Utc,
) -> Result<Made, DrillError> {
    make_beside(root, None, scenario, algorithm, now)
}

/// As [`make`], and with `twin` the node before the damage, in a directory of its own: what other places still have, such
/// as the CA's key where it is kept, or yesterday's backup.
///
/// # Errors
///
/// As [`make`].
pub fn make_beside(
    root: &Path,
    twin: Option<&Path>,
    scenario: Scenario,
    algorithm: &KeyAlgorithm,
    now: Utc,
) -> Result<Made, DrillError> {
    tree::claim(root)?;
    let dates = Dates::of(scenario, now);
    let mut tree = node::tree(algorithm, dates, certified_address(scenario))?;
    if let Some(twin) = twin {
        tree::claim(twin)?;
        tree.write(twin)?;
    }
    let broken = damage::damage(&mut tree, scenario, algorithm, dates)?;
    tree.write(root)?;
    let stated = (scenario == Scenario::ClockWrong).then(|| now.plus(-LOST));
    Ok(Made {
        root: root.to_path_buf(),
        broken,
        now: stated,
    })
}

/// When things were made.
#[derive(Clone, Copy, Debug)]
struct Dates {
    /// The authorities, the service-account key, manifests and all that is no certificate.
    installed: Utc,
    /// The leaves.
    leaves: Utc,
    /// The kubelet's credentials.
    kubelet: Utc,
    /// What was damaged by hand.
    touched: Utc,
}

/// How long a leaf is valid, in seconds: as kubeadm's.
const YEAR: i64 = 365 * Utc::DAY;

/// How long an authority is valid, in seconds: as kubeadm's.
const TEN_YEARS: i64 = 10 * YEAR;

/// How long ago leaves have expired, in seconds.
const EXPIRED: i64 = 35 * Utc::DAY;

/// How much the clock of [`Scenario::ClockWrong`] has lost, in seconds: more than the tree is old.
const LOST: i64 = 2 * YEAR;

impl Dates {
    fn of(scenario: Scenario, now: Utc) -> Self {
        let year_ago = now.plus(-EXPIRED - YEAR);
        let recently = now.plus(-EXPIRED + Utc::DAY);
        let usual = Self {
            installed: year_ago,
            leaves: year_ago,
            kubelet: year_ago,
            touched: recently,
        };
        match scenario {
            Scenario::CaExpired => Self {
                installed: now.plus(-EXPIRED - TEN_YEARS),
                ..usual
            },
            Scenario::KubeletOnly => Self {
                leaves: recently,
                ..usual
            },
            Scenario::WrongSan => Self {
                leaves: recently,
                kubelet: recently,
                ..usual
            },
            _ => usual,
        }
    }
}

/// The address that the certificates name; manifests and kubeconfigs name [`layout::ADDRESS`].
fn certified_address(scenario: Scenario) -> &'static str {
    match scenario {
        Scenario::WrongSan => "192.168.61.10",
        _ => layout::ADDRESS,
    }
}

#[cfg(test)]
mod tests;
