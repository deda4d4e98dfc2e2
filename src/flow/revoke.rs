//! Taking back access that was given.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::access::Login;
use crate::clock::{self, Stopwatch};
use crate::flow::break_glass::delete;
use crate::flow::failure::AccessError;
use crate::flow::granting::remove;
use crate::flow::kubeconfigs::{TIMEOUT, is_refusal};
use crate::flow::living::Hands;
use crate::flow::rescue::Means;
use crate::flow::site::Site;
use crate::grant::{self, Kind, Standing};
use crate::inventory::Inventory;
use crate::journal::{Body, Issued, Verdict, Way};
use crate::kube::Kube;
use crate::observe::Depth;
use crate::store::Disk;

/// How long the API server may go on: it keeps what it knows of a token for ten seconds.
const FORGOTTEN: Duration = Duration::from_secs(30);
const EVERY: Duration = Duration::from_millis(200);

/// Access that was taken back.
#[derive(Clone, Debug, Serialize)]
pub struct Taken {
    /// What it was.
    #[serde(flatten)]
    pub standing: Standing,
    /// What was there and is gone.
    pub removed: Vec<String>,
    /// What was seen of it afterwards, each a sentence fragment.
    pub seen: Vec<String>,
}

impl Site {
    /// Takes back the access of one run, or all that still stands; the site is locked. `with` is a kubeconfig of this host
    /// whose access removes the objects, where the CA's key is not here.
    pub fn revoke(
        &self,
        run: Option<&str>,
        with: Option<&Path>,
        means: &Means,
    ) -> Result<Vec<Taken>, AccessError> {
        let mut all = self.left_open()?.standing;
        if let Some(run) = run {
            all.retain(|standing| standing.run == run);
            if all.is_empty() {
                let why = format!("no access of a run `{run}` is left to revoke");
                return Err(AccessError::refused(why, "rescue-kit inspect"));
            }
        }
        let inventory = self.observe(false, Depth::Running)?;
        all.into_iter()
            .map(|standing| self.take_back(standing, with, &inventory, means))
            .collect()
    }

    fn take_back(
        &self,
        standing: Standing,
        with: Option<&Path>,
        inventory: &Inventory,
        means: &Means,
    ) -> Result<Taken, AccessError> {
        // Refused before anything is written, if nobody may remove the objects.
        let hands = match standing.grant.objects.as_slice() {
            [] => None,
            _ => Some(self.remover(&standing.run, with, inventory)?),
        };
        let name = standing.run.clone();
        let mut run = self.open_run(&name)?;
        run.append(Body::Resume {
            goal: Way::Back,
            operator: Some(means.circumstances.operator.clone()),
        })?;
        let stuck = |error: AccessError| AccessError::Stuck {
            run: name.clone(),
            why: error.to_string(),
        };
        let mut removed = Vec::new();
        let mut issued: Vec<Issued> = Vec::new();
        let mut seen = Vec::new();
        if let Some(hands) = hands {
            let right = right(&hands.kube, &standing);
            removed = delete(&hands.kube, &standing.grant.objects).map_err(stuck)?;
            seen.push(format!("removed with {}", hands.who));
            seen.extend(self.observe_end(&standing, right.as_ref(), inventory));
            issued.extend(hands.issued);
        } else if standing.is_valid(inventory.at) {
            let user = &standing.grant.user;
            let end = standing.grant.not_after;
            let end = end.map_or_else(String::new, |end| format!(" until {end}"));
            seen.push(format!("whoever copied the token is {user}{end}; only deleting that ServiceAccount ends it earlier"));
        }
        if let Some(path) = &standing.grant.kubeconfig
            && remove(path).map_err(stuck)?
        {
            removed.push(path.display().to_string());
        }
        run.append(Body::Revoked {
            removed: removed.clone(),
            seen: seen.clone(),
            issued,
        })?;
        run.append(Body::End(Verdict::RolledBack))?;
        self.testify(&run, &name, means)?;
        Ok(Taken {
            standing,
            removed,
            seen,
        })
    }

    /// Whoever may remove the objects: by the CA's key, else by access that lives.
    fn remover(
        &self,
        run: &str,
        with: Option<&Path>,
        inventory: &Inventory,
    ) -> Result<Hands, AccessError> {
        let access = self.access(inventory);
        if inventory.live.is_none() {
            let why = "nothing runs below this root, so the objects cannot be removed";
            return Err(AccessError::refused(why, "on the node itself"));
        }
        match (with, self.client_authority(inventory)) {
            (None, Ok(authority)) => Self::helper(&access, &authority, run),
            _ => self.living(
                &access,
                with,
                "name one whose access lives: --with KUBECONFIG",
            ),
        }
    }

    /// Watches until the API server refuses what was given, if its kubeconfig is still there.
    fn observe_end(
        &self,
        standing: &Standing,
        right: Option<&(String, String, String)>,
        inventory: &Inventory,
    ) -> Option<String> {
        let grant = &standing.grant;
        let host = Disk::open(Path::new("/")).ok()?;
        let login = Login::open(&host, grant.kubeconfig.as_ref()?).ok()?;
        let kube = self.access(inventory).kube_of(&login, TIMEOUT).ok()?;
        let watch = Stopwatch::start();
        let by = Instant::now() + FORGOTTEN;
        let by_binding = grant.kind == Kind::Certificate;
        if by_binding && right.is_none() {
            return Some("its role allowed nothing that could be asked for".to_owned());
        }
        let ended = clock::wait_for(by, EVERY, || {
            let is_over = if by_binding {
                let (verb, group, resource) = right?;
                kube.may(verb, group, resource, "").is_ok_and(|may| !may)
            } else {
                kube.accepts_us().is_err_and(|error| is_refusal(&error))
            };
            is_over.then_some(())
        });
        let (seconds, tenths) = (watch.millis() / 1000, watch.millis() % 1000 / 100);
        let after = format!("after {seconds}.{tenths} s");
        Some(match (ended, by_binding) {
            (None, _) => format!("{after} the API server still takes it"),
            (Some(()), true) => {
                let end = grant
                    .not_after
                    .map_or_else(String::new, |end| end.to_string());
                format!(
                    "{after} its requests are forbidden; the certificate itself is known until {end}"
                )
            },
            (Some(()), false) => format!("{after} the API server refuses it"),
        })
    }
}

/// Something that the role of a grant allows.
fn right(kube: &Kube, standing: &Standing) -> Option<(String, String, String)> {
    let role = standing.grant.role.as_ref()?;
    grant::first_right(&kube.role(role).ok()??)
}
