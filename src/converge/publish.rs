//! The last step after an authority was renewed: its copies in the API, which no file holds.

use std::time::{Duration, Instant};

use crate::access::with_causes;
use crate::converge::control::millis;
use crate::converge::wait::Stopped;
use crate::converge::{Actor, ConvergeError};
use crate::journal::Converged;
use crate::observe::live::copies::{self, Copy};
use crate::pki::anchor::Copied;
use crate::pki::digest::Digest;

/// How long one answer may take: nothing is in a hurry any more.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often is looked.
const LOOK: Duration = Duration::from_secs(1);
/// How long those who write copies have: the API server looks once a minute.
const ALL: Duration = Duration::from_secs(90);

impl Actor<'_> {
    /// Mends the copies that nobody else does, and waits until others have mended theirs. What stays old is said: it
    /// hinders nobody who verifies with the files.
    pub(super) fn publish(&self, former: &[Digest]) -> Result<Converged, ConvergeError> {
        let watch = Instant::now();
        let mut done = Converged::default();
        if self.local.get() {
            done.local = true;
            let why = "waits for the other members of etcd: verify says later which are old";
            done.seen.push(why.to_owned());
            return Ok(done);
        }
        let mut last = Ok(Vec::new());
        let mended = self.wait(self.until(ALL), LOOK, || {
            last = self.mend(former, &mut done.seen);
            let owed = |copy: &Copy| !self.is_anothers(copy);
            let is_done = |left: &Vec<Copy>| !left.iter().any(owed);
            let is_done = last.as_ref().is_ok_and(is_done);
            is_done.then_some(()).ok_or_else(String::new)
        });
        if let Err(Stopped::Signal(signal)) = mended {
            return Err(ConvergeError::Interrupted(signal));
        }
        match last {
            Ok(left) => done.seen.extend(left.into_iter().map(|copy| {
                format!(
                    "{} does not hold the CAs of this node yet; it is written by {}",
                    copy.subject, copy.by
                )
            })),
            Err(why) => done
                .seen
                .push(format!("the copies in the API could not be mended: {why}")),
        }
        if done.seen.is_empty() {
            done.seen
                .push("every copy in the API is the present one".to_owned());
        }
        done.took_ms = millis(watch);
        Ok(done)
    }

    /// Mends what can be mended; gives what is outdated still.
    fn mend(&self, former: &[Digest], seen: &mut Vec<String>) -> Result<Vec<Copy>, String> {
        let access = self.access();
        let kube = access.kube(PATIENCE)?;
        let mut left = Vec::new();
        for copy in copies::all(&access, &kube, former)? {
            match &copy.mend {
                Some((path, change)) => {
                    kube.merge_patch(path, change)
                        .map_err(|error| with_causes(&error))?;
                    seen.push(format!("{} got the CAs of this node", copy.subject));
                },
                None if copy.state != Copied::Same => left.push(copy),
                None => {},
            }
        }
        Ok(left)
    }

    /// Whether only the controller manager of another node, which leads, can write a copy: its turn is still to come.
    fn is_anothers(&self, copy: &Copy) -> bool {
        let Some(node) = self.inventory.node.name.as_ref() else {
            return false;
        };
        let lease = || {
            let kube = self.access().kube(PATIENCE).ok()?;
            kube.lease("kube-system", "kube-controller-manager").ok()?
        };
        let own = format!("{}_", node.value);
        copy.by == copies::PUBLISHER
            && lease()
                .and_then(|lease| lease.holder)
                .is_some_and(|holder| !holder.is_empty() && !holder.starts_with(&own))
    }
}
