//! Replacements: which places one issued credential is put into, and in which order.

use std::path::{Path, PathBuf};

use crate::inventory::{CredentialState, Inventory, Placement};
use crate::pki::utc::Utc;
use crate::place::{Observed, Place};
use crate::plan::recipe;
use crate::plan::step::{KeyPlan, Slot, Source, Stage};
use crate::profile::Profile;

/// A replacement that is not yet a step of a plan.
pub(super) struct Replacement {
    pub(super) at: Place,
    pub(super) parts: Vec<(Slot, Source)>,
    /// Permission bits, if the place is created.
    pub(super) mode: u32,
    pub(super) why: &'static str,
}

/// A credential that a stage step will have issued.
pub(super) struct Issued<'a> {
    pub(super) credential: &'a CredentialState,
    pub(super) stage: &'a Stage,
    pub(super) inventory: &'a Inventory,
    pub(super) profile: &'a Profile,
    /// Its kubeconfig trusts another CA.
    pub(super) mistrusts: bool,
}

impl Replacement {
    /// A kubeconfig's trust anchors become those of the authority's own file.
    pub(super) fn trust(kubeconfig: &Path, authority: &str) -> Self {
        let bundle = Source::Bundle(vec![authority.to_owned()]);
        Self::file(
            kubeconfig,
            vec![(Slot::Trust, bundle)],
            0o600,
            "the node's own CA",
        )
    }

    pub(super) fn file(
        path: &Path,
        parts: Vec<(Slot, Source)>,
        mode: u32,
        why: &'static str,
    ) -> Self {
        Self {
            at: Place::File(path.to_path_buf()),
            parts,
            mode,
            why,
        }
    }

    fn entry(path: &Path, part: (Slot, Source), mode: u32, why: &'static str) -> Self {
        Self {
            at: Place::Entry(path.to_path_buf()),
            parts: vec![part],
            mode,
            why,
        }
    }
}

impl Issued<'_> {
    /// The replacements that put the credential in place: a key before its certificate, a file before the link to it.
    pub(super) fn replacements(&self) -> Vec<Replacement> {
        match &self.credential.placement {
            Placement::Delegated { .. } => Vec::new(),
            Placement::Embedded { kubeconfig } => vec![self.embedded(kubeconfig)],
            Placement::Pair { cert, key } => self.pair(cert, key, 1),
            Placement::Referenced { cert, key, .. } if cert == key => {
                let part = (Slot::Pem, self.staged());
                vec![Replacement::file(
                    cert,
                    vec![part],
                    self.mode(0),
                    "new certificate and key",
                )]
            },
            Placement::Referenced {
                kubeconfig,
                cert,
                key,
            } => {
                let mut all = self.pair(cert, key, 0);
                if self.mistrusts {
                    all.push(Replacement::trust(kubeconfig, &self.credential.signer));
                }
                all
            },
            Placement::Pem { path, link } => self.versioned(path, link),
        }
    }

    fn embedded(&self, kubeconfig: &Path) -> Replacement {
        let seen = self.inventory.version(kubeconfig);
        let blank = seen.is_none_or(|version| version.size == 0);
        let mut parts = Vec::new();
        if blank {
            parts.extend(recipe::blank(
                self.credential,
                self.stage,
                self.inventory,
                self.profile,
            ));
        }
        parts.push((Slot::ClientCert, self.staged()));
        if !self.reuses() {
            parts.push((Slot::ClientKey, self.staged()));
        }
        if self.mistrusts || blank {
            let bundle = Source::Bundle(vec![self.credential.signer.clone()]);
            parts.push((Slot::Trust, bundle));
        }
        Replacement::file(kubeconfig, parts, self.mode(0), "new credential")
    }

    fn pair(&self, cert: &Path, key: &Path, key_mode: usize) -> Vec<Replacement> {
        let mut all = Vec::new();
        if !self.reuses() {
            let part = (Slot::Key, self.staged());
            all.push(Replacement::file(
                key,
                vec![part],
                self.mode(key_mode),
                "new key",
            ));
        }
        let part = (Slot::Cert, self.staged());
        all.push(Replacement::file(
            cert,
            vec![part],
            self.mode(0),
            "new certificate",
        ));
        all
    }

    fn versioned(&self, path: &Path, link: &str) -> Vec<Replacement> {
        let target = path.with_file_name(free_name(self.credential, link, self.inventory.at));
        let entry = Place::Entry(path.to_path_buf());
        let old = self
            .inventory
            .objects
            .get(&entry)
            .and_then(Observed::present);
        let old = old.and_then(|version| version.link.as_deref());
        let link = Source::Link(link_text(old, &target));
        let part = (Slot::Pem, self.staged());
        vec![
            Replacement::entry(&target, part, self.mode(0), "new certificate and key"),
            Replacement::entry(path, (Slot::Entry, link), 0o777, "link to the new file"),
        ]
    }

    fn staged(&self) -> Source {
        Source::Staged(self.stage.id.clone())
    }

    fn reuses(&self) -> bool {
        self.stage.recipe.key == KeyPlan::Reuse
    }

    /// The profile's permission bits for the first or second file of the credential.
    fn mode(&self, index: usize) -> u32 {
        let rule = self.profile.credential.get(&self.credential.id);
        rule.and_then(|rule| rule.create.mode.get(index))
            .copied()
            .unwrap_or(0o600)
    }
}

/// The name of a versioned file: the kubelet's, of the first second from `at` on whose name is not taken.
fn free_name(credential: &CredentialState, link: &str, at: Utc) -> String {
    let name = |second: i64| link.replace("{stamp}", &at.plus(second).kubelet_stamp());
    let free = |name: &String| !credential.taken.contains(name);
    let seconds = 0..=i64::try_from(credential.taken.len()).unwrap_or(0);
    seconds.map(name).find(free).unwrap_or_else(|| name(0))
}

/// The link's text in the form that the old one had: relative if that was, else absolute, as the kubelet writes it.
fn link_text(old: Option<&Path>, target: &Path) -> PathBuf {
    match (old, target.file_name()) {
        (Some(old), Some(name)) if old.is_relative() => name.into(),
        _ => target.to_path_buf(),
    }
}
