//! The top of all errors: what is said, in which order, with which exit code.

use std::path::Path;

use crate::audit::AuditError;
use crate::exit::Exit;
use crate::finding::Finding;
use crate::flow::ca::CaError;
use crate::flow::csr::CsrError;
use crate::flow::failure::{AccessError, RescueError};
use crate::flow::site::SiteError;
use crate::kit::KitError;
use crate::profile::{builtin, nearest};
use crate::run::RunError;
use crate::store::StoreError;

/// A failure as the operator sees it: a fragment, its causes, what to type next.
#[derive(Clone, Debug)]
pub struct Failure {
    /// How the process ends.
    pub exit: Exit,
    /// What failed, lower-case, without full stop.
    pub text: String,
    /// Why, from the outermost cause to the innermost.
    pub causes: Vec<String>,
    /// What to type or do next.
    pub hints: Vec<String>,
    /// Every reason of a refusal.
    pub refusals: Vec<Finding>,
    /// Whether files differ from what they were.
    pub changed: bool,
}

impl Failure {
    /// A failure without cause.
    pub fn new(exit: Exit, text: impl Into<String>, hint: &str) -> Self {
        let hints = if hint.is_empty() {
            Vec::new()
        } else {
            vec![hint.to_owned()]
        };
        Self {
            exit,
            text: text.into(),
            causes: Vec::new(),
            hints,
            refusals: Vec::new(),
            changed: false,
        }
    }

    /// A wrong command line.
    pub fn usage(text: impl Into<String>, hint: &str) -> Self {
        Self::new(Exit::Usage, text, hint)
    }

    /// A file of this host that cannot be read.
    pub fn unreadable(path: &Path, error: &std::io::Error) -> Self {
        let mut failure = Self::new(
            Exit::Refused,
            format!("cannot read {}", path.display()),
            "check the path",
        );
        failure.causes.push(error.to_string());
        failure
    }

    fn of(exit: Exit, error: &dyn std::error::Error, hint: &str) -> Self {
        let mut failure = Self::new(exit, error.to_string(), hint);
        let mut source = error.source();
        while let Some(cause) = source {
            failure.causes.push(cause.to_string());
            source = cause.source();
        }
        failure
    }
}

/// A hint for a name that nothing has: the nearest that something has, else `otherwise`.
pub fn meant<'a>(name: &str, known: impl Iterator<Item = &'a str>, otherwise: &str) -> String {
    let near = nearest(name, known);
    near.map_or_else(
        || otherwise.to_owned(),
        |near| format!("did you mean `{near}`?"),
    )
}

impl From<SiteError> for Failure {
    fn from(error: SiteError) -> Self {
        match error {
            SiteError::Store(error) => error.into(),
            SiteError::NoLayout(_) => Self::of(
                Exit::Refused,
                &error,
                "name the root of the node's disk: --root DIR, or a layout: --profile NAME|FILE; requests are signed \
                 without a node: rescue-kit csr sign FOLDER --ca-cert FILE --ca-key FILE",
            ),
            SiteError::Profile { .. } => {
                Self::of(Exit::Refused, &error, "rescue-kit profile validate FILE")
            },
            SiteError::UnknownProfile(ref name) => {
                let hint = meant(name, builtin::names(), "rescue-kit profile list");
                Self::of(Exit::Usage, &error, &hint)
            },
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let hint = match &error {
            StoreError::Locked { .. } => "wait until the other run has ended",
            StoreError::Open { .. } => {
                "check the path and your permissions; on a node's own disk run as root"
            },
            _ => "nothing was changed; check the disk and your permissions",
        };
        Self::of(Exit::Refused, &error, hint)
    }
}

impl From<CaError> for Failure {
    fn from(error: CaError) -> Self {
        let hint = error.hint();
        Self::of(Exit::Refused, &error, hint)
    }
}

impl From<KitError> for Failure {
    fn from(error: KitError) -> Self {
        let (exit, hint) = match error {
            KitError::Store(error) => return error.into(),
            KitError::Half { .. } => (
                Exit::Stuck,
                "mend what is named, then: rescue-kit kit build --again",
            ),
            KitError::Kit(_) => (Exit::Refused, "replace it: --again"),
            KitError::Left { .. } => (Exit::Stuck, "remove the directory; take another stick"),
            KitError::NoKit(_) => (
                Exit::Attention,
                "name the directory of: rescue-kit kit build",
            ),
            KitError::Others(_) => (Exit::Refused, "name a directory of its own: --out DIR"),
            KitError::Space { .. } => (Exit::Refused, "make room, or name another stick"),
            KitError::Undone(_) => (
                Exit::RolledBack,
                "mend what is named, or take another stick",
            ),
        };
        Self {
            changed: exit == Exit::Stuck,
            ..Self::of(exit, &error, hint)
        }
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Store(error) => error.into(),
            _ => Self::of(Exit::Refused, &error, "rescue-kit runs list"),
        }
    }
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Self {
        let hint = match &error {
            AuditError::Invalid(_) | AuditError::Archive(_) => "do not rely on this archive",
            _ => "rescue-kit runs list",
        };
        Self::of(Exit::Refused, &error, hint)
    }
}

impl From<CsrError> for Failure {
    fn from(error: CsrError) -> Self {
        let hint = match error {
            CsrError::Store(error) => return error.into(),
            CsrError::Rescue(error) => return error.into(),
            CsrError::Refused(refusals) => {
                let mut failure = Self::new(Exit::Refused, "refused; nothing was changed", "");
                failure.refusals = refusals;
                return failure;
            },
            CsrError::Elsewhere(_) => "leave --state-dir out, or name one below the root",
            CsrError::Crypto(_) | CsrError::Issue { .. } | CsrError::Reread { .. } => {
                "nothing was changed; leave it out: --skip ID"
            },
            CsrError::Manifest { .. } => "copy the folder again from where it was made",
            CsrError::NoAnswers(_) => {
                "name the folder that came back from the CA: rescue-kit csr install DIR"
            },
            CsrError::NoRequests(_) => "name the folder of: rescue-kit csr generate --out DIR",
            CsrError::OtherNode { .. } => "run it on that node",
            CsrError::Taken(_) => "name another folder: --out DIR",
        };
        Self::of(Exit::Refused, &error, hint)
    }
}

impl From<RescueError> for Failure {
    fn from(error: RescueError) -> Self {
        match error {
            RescueError::Store(error) => error.into(),
            RescueError::Run(error) => error.into(),
            RescueError::Refused(refusals) => {
                let mut failure = Self::new(Exit::Refused, "refused; nothing was changed", "");
                failure.refusals = refusals;
                failure
            },
            other => {
                let (exit, hint) = ending(&other);
                let half_way = matches!(
                    other,
                    RescueError::Audit { .. }
                        | RescueError::Interrupted { .. }
                        | RescueError::Kept { .. }
                        | RescueError::Stuck { .. }
                );
                Self {
                    changed: half_way,
                    ..Self::of(exit, &other, &hint)
                }
            },
        }
    }
}

impl From<AccessError> for Failure {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Rescue(error) => error.into(),
            AccessError::Refused { ref hint, .. } => Self::of(Exit::Refused, &error, hint),
            AccessError::Failed { .. } => Self::of(
                Exit::RolledBack,
                &error,
                "mend what is named, or choose another way: rescue-kit kubeconfig break-glass --help",
            ),
            AccessError::Stuck { ref run, .. } => {
                let hint = format!("rescue-kit kubeconfig break-glass --revoke {run}");
                Self {
                    changed: true,
                    ..Self::of(Exit::Stuck, &error, &hint)
                }
            },
        }
    }
}

/// Exit code and next command of every way in which a rescue can fail.
fn ending(error: &RescueError) -> (Exit, String) {
    let text = str::to_owned;
    match error {
        RescueError::Access(run) => (
            Exit::Refused,
            format!("rescue-kit kubeconfig break-glass --revoke {run}"),
        ),
        RescueError::Audit { run, .. } => (Exit::Stuck, format!("rescue-kit audit pack {run}")),
        RescueError::Backup(_) => (
            Exit::Refused,
            text("mend or move away what is named, then try again"),
        ),
        RescueError::Bug(_) => (Exit::Bug, text("this is a bug; nothing was changed")),
        RescueError::Crypto(_) => (
            Exit::Refused,
            text("nothing was changed; is /dev/urandom there?"),
        ),
        RescueError::Failed { .. } | RescueError::Unproved { .. } => (
            Exit::RolledBack,
            text("everything is as it was; mend the cause, then run again"),
        ),
        RescueError::Foreign { .. } => (
            Exit::Refused,
            text(
                "nothing was changed; put those files back, or restore the run's backup: rescue-kit backup list",
            ),
        ),
        RescueError::Interrupted { run, signal } => (
            Exit::Signal(*signal),
            format!("rescue-kit resume {run}, or: rescue-kit rollback {run}"),
        ),
        RescueError::Lost { .. } => (
            Exit::Refused,
            text("nothing was changed; restore a backup instead: rescue-kit backup list"),
        ),
        RescueError::NoRun(_) => (Exit::Refused, text("rescue-kit runs list")),
        RescueError::Overtaken { .. } => (
            Exit::RolledBack,
            text(
                "everything is as it was but for that file; find out who writes it, then run again",
            ),
        ),
        RescueError::Stale(_) => (
            Exit::Refused,
            text("make a new plan: rescue-kit plan --out FILE"),
        ),
        RescueError::Stopped { signal, .. } => (
            Exit::Signal(*signal),
            text("everything is as it was; run again"),
        ),
        RescueError::Kept { run, .. } => (
            Exit::Stuck,
            format!(
                "nothing that worked before stopped working; rescue-kit resume {run}, or: rescue-kit rollback {run}"
            ),
        ),
        RescueError::Stuck { run, .. } => (
            Exit::Stuck,
            format!("rescue-kit resume {run}, or: rescue-kit rollback {run}"),
        ),
        RescueError::Unfinished(run) => (
            Exit::Refused,
            format!("rescue-kit resume {run}, or: rescue-kit rollback {run}"),
        ),
        RescueError::Refused(_) | RescueError::Run(_) | RescueError::Store(_) => {
            (Exit::Refused, String::new())
        },
    }
}
