//! Rotation: the phases in which a CA or a key pair gives way to another one, each of them one plan for one node.
//!
//! 1. **Trust**: whoever verifies trusts both.
//! 2. **Sign**: the new one signs, and what the former one signed is issued anew.
//! 3. **Drop**: nobody trusts the former one any more.
//!
//! A phase begins when the one before it has ended on every node (kubernetes.io, `tasks/tls/manual-rotation-of-ca-certificates`).
//! Nothing is issued here but leaves: the new CA was made before, and every node gets the same one.

mod pair;
mod signer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::finding::{Code, Finding, Severity};
use crate::inventory::{AuthorityState, CredentialState, Inventory, Placement, PublicKey};
use crate::live::Outcome;
use crate::pki::cert::Cert;
use crate::pki::digest::Digest;
use crate::place::{Observed, Place};
use crate::plan::replacement::Replacement;
use crate::plan::step::{Slot, Source};
use crate::profile::Profile;
use crate::rotation::{Generations, Position, is_of, strangers};

pub(super) use pair::turn as pair_turn;
pub(super) use signer::is_own_file;

/// What is rotated, and how far.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// The phase.
    pub phase: Phase,
    /// The CAs that take over, by the ids of authorities; without one the younger of the two takes over.
    pub authorities: BTreeMap<String, Option<Successor>>,
    /// The key pairs that take over, by id; without one the pair whose private key is in place does.
    pub pairs: BTreeMap<String, Option<NewPair>>,
    /// The copies of CAs in the API need not hold the new one before it signs.
    pub despite_copies: bool,
}

/// A phase of a rotation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// Both are trusted.
    Trust,
    /// The new one signs.
    Sign,
    /// The former one is trusted no more.
    Drop,
}

/// A CA that takes over.
#[derive(Clone, Debug)]
pub struct Successor {
    /// Its certificate, then those above it.
    pub chain: Vec<Cert>,
    /// The file of its key on this host; none if it is kept elsewhere.
    pub key: Option<PathBuf>,
}

/// A key pair that takes over.
#[derive(Clone, Debug)]
pub struct NewPair {
    /// Its public half.
    pub public: PublicKey,
    /// The file of its private half on this host, if it is there.
    pub private: Option<PathBuf>,
}

/// What a phase does to one authority or key pair on this node.
#[derive(Default)]
pub(super) struct Turn {
    /// The replacements, each with the id that it serves.
    pub(super) replacements: Vec<(String, Replacement)>,
    /// The certificates of the authority's file once they are done.
    pub(super) chain: Vec<Cert>,
    /// The certificates that nobody trusts any more then.
    pub(super) former: Vec<Digest>,
    /// The certificates that nobody trusted before.
    pub(super) coming: Vec<Digest>,
}

impl Rotation {
    /// Whether a leaf is to be issued anew because the CA that signed it is on its way out.
    pub(super) fn reissues(&self, leaf: &CredentialState, inventory: &Inventory) -> bool {
        let authority = inventory.authority(&leaf.signer);
        let successor = authority.and_then(|authority| self.authorities.get(&authority.id));
        let (Phase::Sign, Some(Some(successor))) = (self.phase, successor) else {
            return false;
        };
        let is_here = leaf.cert().is_some() && !leaf.external;
        is_here && !is_of(leaf, &[&successor.chain[0]])
    }
}

/// Plans a phase for one authority; nothing if it was done before.
///
/// # Errors
///
/// Why the phase cannot begin on this node.
pub(super) fn turn(
    authority: &AuthorityState,
    successor: Option<&Successor>,
    rotation: &Rotation,
    inventory: &Inventory,
    profile: &Profile,
) -> Result<Turn, Finding> {
    let refuse = |text: &str, hint: &str| Err(refusal(authority, text, hint));
    let Some(generations) = Generations::of(authority) else {
        return refuse("cannot be read", "restore it from a backup");
    };
    let seen = Seen {
        authority,
        generations,
        inventory,
        profile,
    };
    match (rotation.phase, successor) {
        (Phase::Trust, Some(successor)) => seen.trust(successor),
        (Phase::Sign, Some(successor)) => seen.sign(successor, rotation.despite_copies),
        (Phase::Drop, successor) => seen.drop(successor),
        (Phase::Trust | Phase::Sign, None) => refuse(
            "has no successor",
            "name the directory of the new CA: --from DIR",
        ),
    }
}

/// The node as the turns leave it, to the rest of the plan.
pub(super) fn project(inventory: &mut Inventory, id: &str, chain: &[Cert]) {
    let mut authorities = inventory.authorities.iter_mut();
    let Some(authority) = authorities.find(|known| known.id == id) else {
        return;
    };
    if let (Observed::Present(key), Some(signing)) = (&mut authority.key, chain.first()) {
        key.public = Digest::of(signing.public_bits());
    }
    authority.chain = Observed::Present(chain.to_vec());
    let aliases = authority.aliases.clone();
    for credential in &mut inventory.credentials {
        if let Some(kubeconfig) = &mut credential.kubeconfig
            && (credential.signer == id || aliases.contains(&credential.signer))
        {
            kubeconfig.ca = Observed::Present(chain.to_vec());
        }
    }
}

/// An authority on this node.
struct Seen<'a> {
    authority: &'a AuthorityState,
    generations: Generations<'a>,
    inventory: &'a Inventory,
    profile: &'a Profile,
}

impl Seen<'_> {
    fn trust(&self, successor: &Successor) -> Result<Turn, Finding> {
        self.refuse_unfit(successor)?;
        let mut chain: Vec<Cert> = self.held();
        let missing = successor.chain.iter().filter(|cert| !chain.contains(cert));
        let missing: Vec<Cert> = missing.cloned().collect();
        chain.extend(missing);
        // Where the former key is lost, nobody but the new one can sign, now as later.
        let is_lost = self.authority.key == Observed::Absent && !self.authority.external;
        let heir = successor.key.as_ref().filter(|_| is_lost);
        let mut replacements = Vec::new();
        if let Some(key) = heir {
            chain.sort_by_key(|cert| !successor.chain.contains(cert));
            let part = (Slot::Key, Source::Carried(key.clone()));
            let why = "the new CA's key, the former one is lost";
            replacements.push(self.own(&self.authority.key_path, part, 0o600, why));
        }
        let signing = match heir {
            Some(_) => successor.chain.first(),
            None => self.generations.signing.first().copied(),
        };
        // The signer before the others: it must never meet two certificates in its file.
        replacements.extend(signer::apart(
            self.authority,
            signing,
            self.inventory,
            self.profile,
        )?);
        replacements.extend(self.anchors(&chain, "trusts both CAs"));
        Ok(self.done(replacements, chain))
    }

    /// What nobody may be told to trust, or what is no other CA than the one that is there.
    fn refuse_unfit(&self, successor: &Successor) -> Result<(), Finding> {
        let (new, old) = (&successor.chain[0], self.generations.signing[0]);
        let refuse = |text: String, hint: &str| Err(refusal(self.authority, &text, hint));
        if let Some(why) = unfit(new, self.inventory) {
            let text = format!("cannot be followed by {}, which {why}", new.subject);
            return refuse(text, "make one: rescue-kit ca rotate begin --out DIR");
        }
        if new.spki == old.spki && new.der != old.der {
            let hint = "the same key with another certificate is a renewal: rescue-kit ca renew, or run --ca-from DIR";
            return refuse("has the very key of the CA to come".to_owned(), hint);
        }
        let is_its = |cert: &&&Cert| successor.chain.contains(**cert);
        let others = &self.generations.other;
        match others.iter().find(|cert| !is_its(cert)) {
            // The new CA signs already, and the other one is its predecessor.
            Some(_) if successor.chain.contains(old) => Ok(()),
            Some(third) => {
                let text = format!("trusts {} besides: two rotations at once", third.subject);
                refuse(text, "end the first one: rescue-kit ca rotate drop")
            },
            None => Ok(()),
        }
    }

    fn sign(&self, successor: &Successor, despite_copies: bool) -> Result<Turn, Finding> {
        let key = self.key_to_come(successor)?;
        if !despite_copies && let Some(why) = self.lacking_copies() {
            let hint = "wait for it, or go on without: --despite-copies";
            return Err(refusal(
                self.authority,
                &format!("cannot give way: {why}"),
                hint,
            ));
        }
        let new = &successor.chain[0];
        let mut chain = successor.chain.clone();
        chain.extend(
            self.held()
                .into_iter()
                .filter(|cert| !successor.chain.contains(cert)),
        );
        let mut replacements = Vec::new();
        if self.generations.signing[0] != new {
            let part = (Slot::Key, Source::Carried(key.clone()));
            replacements.push(self.own(&self.authority.key_path, part, 0o600, "key of the new CA"));
        }
        replacements.extend(self.files(&chain, "the new CA first: it signs"));
        replacements.extend(signer::moved(
            self.authority,
            &successor.chain,
            self.inventory,
        ));
        Ok(self.done(replacements, chain))
    }

    /// The key that signs from now on, once this node trusts its certificate.
    fn key_to_come<'s>(&self, successor: &'s Successor) -> Result<&'s PathBuf, Finding> {
        let refuse = |text: &str, hint: &str| Err(refusal(self.authority, text, hint));
        let new = &successor.chain[0];
        if !self.held().contains(new) || !self.kubeconfigs_hold(new) {
            return refuse(
                "is not followed yet: this node does not trust the new CA",
                "on every node first: rescue-kit ca rotate trust --from DIR",
            );
        }
        if self.authority.external {
            return refuse(
                "has its key elsewhere",
                "have the leaves signed by the new CA: rescue-kit csr generate --all --out DIR",
            );
        }
        match &successor.key {
            Some(key) => Ok(key),
            None => refuse(
                "cannot give way: the new CA's key is not there",
                "bring the new CA's key in that directory, or have the leaves signed where it is: rescue-kit csr generate --all",
            ),
        }
    }

    fn drop(&self, successor: Option<&Successor>) -> Result<Turn, Finding> {
        let refuse = |text: String, hint: &str| Err(refusal(self.authority, &text, hint));
        if self.generations.other.is_empty() {
            return Ok(Turn::default());
        }
        let stays = self.staying(successor)?;
        let mut strangers = strangers(self.authority, &stays, self.inventory);
        if let Some(leaf) = strangers.next() {
            let text = format!(
                "is needed still: {} ({}) is of the former CA",
                leaf.id,
                leaf.path().display()
            );
            let hint =
                "issue it anew: rescue-kit ca rotate sign --from DIR, or rescue-kit csr generate";
            return refuse(text, hint);
        }
        let chain: Vec<Cert> = stays.iter().map(|cert| (*cert).clone()).collect();
        let mut replacements = self.anchors(&chain, "the former CA is trusted no more");
        let signs = stays.contains(&self.generations.signing[0]);
        replacements.extend(if !(signs || self.authority.external) {
            signer::resigned(self.authority, self.inventory, self.profile)?
        } else if chain.len() == 1 {
            signer::together(self.authority, self.inventory, self.profile)
        } else {
            // An intermediate CA and its root are two certificates for ever.
            Vec::new()
        });
        Ok(self.done(replacements, chain))
    }

    /// The certificates that stay when the others go.
    fn staying(&self, successor: Option<&Successor>) -> Result<Vec<&Cert>, Finding> {
        let refuse = |text: &str, hint: &str| Err(refusal(self.authority, text, hint));
        let Generations { signing, other } = &self.generations;
        let is_new = |certs: &[&Cert]| match successor {
            Some(successor) => certs.contains(&&successor.chain[0]),
            None => false,
        };
        let signs_new = is_new(signing)
            || (successor.is_none() && self.generations.position() == Position::Signing);
        if signs_new {
            return Ok(signing.clone());
        }
        // Without its key here only the leaves tell who signs.
        if is_new(other) || (self.authority.external && successor.is_none()) {
            return Ok(other.clone());
        }
        refuse(
            "still signs with the older of its two CAs",
            "the new one signs first: rescue-kit ca rotate sign --from DIR; to give the rotation up: rescue-kit rollback",
        )
    }

    /// The certificates of the file, the signing one first.
    fn held(&self) -> Vec<Cert> {
        let Generations { signing, other } = &self.generations;
        signing
            .iter()
            .chain(other)
            .map(|cert| (*cert).clone())
            .collect()
    }

    fn kubeconfigs_hold(&self, new: &Cert) -> bool {
        let mut kubeconfigs = self.kubeconfigs();
        kubeconfigs.all(|(_, trusted)| trusted.is_some_and(|trusted| trusted.contains(new)))
    }

    /// Kubeconfigs of this authority that embed whom they trust, and whom.
    fn kubeconfigs(&self) -> impl Iterator<Item = (&CredentialState, Option<&Vec<Cert>>)> {
        let leaves = self.inventory.credentials.iter();
        let leaves = leaves.filter(|leaf| self.authority.is(&leaf.signer) && !leaf.external);
        leaves.filter_map(|leaf| {
            let kubeconfig = leaf.kubeconfig.as_ref()?;
            let embeds = kubeconfig.ca_file.is_none();
            embeds.then(|| (leaf, kubeconfig.ca.present()))
        })
    }

    /// Every file and kubeconfig that says whom to trust.
    fn anchors(&self, chain: &[Cert], why: &'static str) -> Vec<(String, Replacement)> {
        let mut all = self.files(chain, why);
        for (leaf, trusted) in self.kubeconfigs() {
            let holds = |trusted: &Vec<Cert>| {
                trusted.len() == chain.len() && chain.iter().all(|cert| trusted.contains(cert))
            };
            if let Some(path) = kubeconfig(leaf)
                && !trusted.is_some_and(holds)
            {
                let part = (Slot::Trust, Source::Text(pem(chain)));
                all.push((leaf.id.clone(), replacement(path, part, 0o600, why)));
            }
        }
        all
    }

    /// Every file that says whom to trust.
    fn files(&self, chain: &[Cert], why: &'static str) -> Vec<(String, Replacement)> {
        let own = std::iter::once(&self.authority.cert_path);
        let files = own.chain(signer::verifying(self.authority, self.inventory));
        files
            .map(|path| self.own(path, (Slot::Whole, Source::Text(pem(chain))), 0o644, why))
            .collect()
    }

    fn own(
        &self,
        path: &Path,
        part: (Slot, Source),
        mode: u32,
        why: &'static str,
    ) -> (String, Replacement) {
        (
            self.authority.id.clone(),
            replacement(path, part, mode, why),
        )
    }

    /// The first copy in the API that does not hold the new CA, or that could not be seen.
    fn lacking_copies(&self) -> Option<String> {
        let live = self.inventory.live.as_ref()?;
        let mut checks = live.health.iter().filter(|check| check.name == "copy");
        checks.find_map(|check| match &check.outcome {
            Outcome::Pass => None,
            Outcome::Fail(why) | Outcome::Unchecked(why) => {
                Some(format!("{} {why}", check.subject))
            },
        })
    }

    /// The turn, without files that say already what they shall.
    fn done(&self, mut replacements: Vec<(String, Replacement)>, chain: Vec<Cert>) -> Turn {
        replacements.retain(|(_, new)| match (&new.at, &new.parts[..]) {
            (Place::File(path), [(Slot::Whole, Source::Text(text))]) => {
                let seen = self.inventory.version(path).map(|version| version.sha256);
                seen != Some(Digest::of(text.as_bytes()))
            },
            _ => true,
        });
        let held = self.held();
        let lacking = |some: &[Cert], others: &[Cert]| -> Vec<Digest> {
            let lacking = some.iter().filter(|cert| !others.contains(cert));
            lacking.map(Cert::sha256).collect()
        };
        Turn {
            replacements,
            former: lacking(&held, &chain),
            coming: lacking(&chain, &held),
            chain,
        }
    }
}

fn replacement(path: &Path, part: (Slot, Source), mode: u32, why: &'static str) -> Replacement {
    Replacement::file(path, vec![part], mode, why)
}

fn pem(certs: &[Cert]) -> String {
    certs.iter().map(Cert::to_pem).collect()
}

/// The kubeconfig that a leaf is embedded in, or that names its files.
fn kubeconfig(leaf: &CredentialState) -> Option<&Path> {
    match &leaf.placement {
        Placement::Delegated { kubeconfig, .. }
        | Placement::Embedded { kubeconfig }
        | Placement::Referenced { kubeconfig, .. } => Some(kubeconfig),
        Placement::Pair { .. } | Placement::Pem { .. } => None,
    }
}

/// Why nobody may be told to trust a certificate.
fn unfit(cert: &Cert, inventory: &Inventory) -> Option<String> {
    if !cert.is_ca {
        return Some("is no CA".to_owned());
    }
    crate::defect::validity(cert, inventory.at, 0).map(|defect| defect.text(inventory.at))
}

fn refusal(authority: &AuthorityState, text: &str, hint: &str) -> Finding {
    Finding {
        code: Code::Rotation,
        severity: Severity::Critical,
        subject: authority.id.clone(),
        text: format!(
            "CA {} ({}) {text}",
            authority.id,
            authority.cert_path.display()
        ),
        hint: hint.to_owned(),
    }
}
