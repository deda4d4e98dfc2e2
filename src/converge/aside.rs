//! Manifests set aside: the kubelet sees no file whose name begins with a dot (kubernetes/kubernetes,
//! pkg/kubelet/config/file.go), so a hidden copy keeps a static pod from being started, and survives a crash.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::access::with_causes;
use crate::clock::wait_for;
use crate::converge::control::millis;
use crate::converge::{ANSWER, Actor, ConvergeError, TICK, control};
use crate::journal::Converged;
use crate::observe::live::{cluster, ports};
use crate::place::{Blob, Meta, Observed, Place, Version};
use crate::plan::step::Proof;
use crate::profile::Consumer;
use crate::store::{StoreError, Times};

/// How long the kubelet may take to see that a manifest is gone, and the pod to end: it lists the directory every
/// twenty seconds.
const GONE: Duration = Duration::from_secs(60);
/// How often is looked who reports.
const LOOK: Duration = Duration::from_millis(500);
/// What the content is called before it is complete.
const TEMP: &str = ".rescue-kit-aside.new";

impl Actor<'_> {
    /// Keeps a static pod from being started. Done twice, it is done once.
    pub(super) fn set_aside(&self, consumer: &Consumer) -> Result<Converged, ConvergeError> {
        let manifest = self.manifest(consumer)?;
        let moved = self.rename(&manifest, &aside(&manifest));
        moved.map_err(|error| control("hold", &consumer.id, with_causes(&error)))?;
        let seen = vec![format!("{} is set aside", manifest.display())];
        Ok(Converged {
            seen,
            ..Converged::default()
        })
    }

    /// Lets a static pod be started again. Done twice, it is done once.
    pub(super) fn put_back(&self, consumer: &Consumer) -> Result<Converged, ConvergeError> {
        let manifest = self.manifest(consumer)?;
        let moved = self.rename(&aside(&manifest), &manifest);
        moved.map_err(|error| control("release", &consumer.id, with_causes(&error)))?;
        let seen = vec![format!("{} is back", manifest.display())];
        Ok(Converged {
            seen,
            ..Converged::default()
        })
    }

    /// Stops a static pod without the runtime's help: its manifest goes, its ports fall silent, its manifest returns.
    ///
    /// A kubelet that has not seen the API server since its start removes nothing: then the ports stay, the manifest
    /// returns all the same, and this fails.
    pub(super) fn cycle_manifest(&self, consumer: &Consumer) -> Result<String, ConvergeError> {
        self.set_aside(consumer)?;
        let own = self.inventory.live.iter().flat_map(|live| &live.ports);
        let own: Vec<_> = own.filter(|port| port.consumer == consumer.id).collect();
        let silent = wait_for(self.until(GONE), TICK, || {
            let mut seen = own.iter().map(|port| ports::served(port.at, ANSWER));
            seen.all(|served| served == Observed::Absent).then_some(())
        });
        self.put_back(consumer)?;
        if silent.is_none() {
            let why = "it did not end after its manifest was gone; the kubelet removes nothing before it has seen the API server";
            return Err(control("stop", &consumer.id, why));
        }
        Ok("its manifest was taken away and put back".to_owned())
    }

    /// Waits until every kubelet reports.
    pub(super) fn nodes(&self, proof: &Proof) -> Result<Converged, ConvergeError> {
        let watch = Instant::now();
        if self.local.get() {
            return Ok(Converged::default());
        }
        let by = self.until(Duration::from_secs(proof.within.into()));
        let all = self.wait(by, LOOK, || match self.silent_nodes()? {
            silent if silent.is_empty() => Ok(()),
            silent => Err(format!(
                "{} do not report: {}",
                silent.len(),
                silent.join(", ")
            )),
        });
        all.map_err(|why| why.of("the kubelets of all nodes", proof.within))?;
        Ok(Converged {
            seen: vec!["every kubelet reports".to_owned()],
            took_ms: millis(watch),
            ..Converged::default()
        })
    }

    /// The nodes whose kubelets do not report.
    pub(super) fn silent_nodes(&self) -> Result<Vec<String>, String> {
        let kube = self.access().kube(ANSWER)?;
        let leases = kube
            .leases("kube-node-lease")
            .map_err(|error| with_causes(&error))?;
        Ok(cluster::silent(&leases, crate::clock::system_now()))
    }

    pub(super) fn manifest(&self, consumer: &Consumer) -> Result<PathBuf, ConvergeError> {
        let component = self.profile.component.get(&consumer.id);
        let path = component.and_then(|component| component.manifest.as_deref());
        path.map(PathBuf::from)
            .ok_or_else(|| control("hold", &consumer.id, "the profile names no manifest"))
    }

    /// The content first appears under its new name, then disappears under the old one: a crash leaves at least one.
    fn rename(&self, from: &Path, to: &Path) -> Result<(), StoreError> {
        let (from, to) = (
            Place::File(from.to_path_buf()),
            Place::File(to.to_path_buf()),
        );
        let Observed::Present((version, blob)) = self.disk.read(&from)? else {
            return Ok(());
        };
        let meta = &version.meta;
        let there = self.disk.read(&to)?.map(|(version, _)| version);
        self.swap(&to, &there, Some(&blob), meta)?;
        self.swap(&from, &Observed::Present(version.clone()), None, meta)
    }

    fn swap(
        &self,
        at: &Place,
        seen: &Observed<Version>,
        new: Option<&Blob>,
        meta: &Meta,
    ) -> Result<(), StoreError> {
        let swapped = self.disk.swap(at, seen, new, meta, Times::Restore, TEMP);
        swapped.map(|_| ())
    }
}

/// The name beside a manifest that the kubelet does not see.
fn aside(manifest: &Path) -> PathBuf {
    let name = manifest.file_name().unwrap_or_default().display();
    manifest.with_file_name(format!(".rescue-kit-aside-{name}"))
}
