//! Trust anchors: certificates that may take each other's place, and files that hold some of them.

use crate::pki::cert::Cert;
use crate::pki::digest::Digest;

/// Whom everybody is to trust.
#[derive(Clone, Debug, Default)]
pub struct Anchors {
    /// The certificates of each authority's file, the one that signs first.
    pub sets: Vec<Vec<Cert>>,
    /// Digests of certificates that nobody is to trust any more.
    pub former: Vec<Digest>,
}

/// How a copy of authorities' certificates compares with their files.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Copied {
    /// It holds none of them.
    Foreign,
    /// It lacks one that signs.
    Outdated,
    /// It holds those that sign, and lacks one that is to come, or holds one that nobody is to trust.
    Different,
    /// It holds them all.
    Same,
}

/// Whether one authority's certificate can take the other's place without anybody else's doing: what it signed names the
/// same issuer, has a signature of the same key, and the same key identifier, by which OpenSSL looks an issuer up.
pub fn succeeds(new: &Cert, old: &Cert) -> bool {
    new.is_ca && new.subject == old.subject && new.spki == old.spki && new.ski == old.ski
}

/// Certificates with a new one in the place of each that it succeeds, each once.
pub fn renewed(mut certs: Vec<Cert>, new: &Cert) -> Vec<Cert> {
    for cert in &mut certs {
        if succeeds(new, cert) {
            *cert = new.clone();
        }
    }
    let mut kept: Vec<Cert> = Vec::with_capacity(certs.len());
    for cert in certs {
        if !kept.iter().any(|known| known.der == cert.der) {
            kept.push(cert);
        }
    }
    kept
}

impl Anchors {
    /// How these certificates compare.
    pub fn compare(&self, certs: &[Cert]) -> Copied {
        let concerned: Vec<&Vec<Cert>> = self.concerned(certs).collect();
        let holds = |anchor: &Cert| certs.iter().any(|cert| cert.der == anchor.der);
        if concerned.is_empty() {
            Copied::Foreign
        } else if concerned.iter().any(|set| !holds(&set[0])) {
            Copied::Outdated
        } else if concerned.iter().any(|set| !set.iter().all(holds))
            || certs.iter().any(|cert| self.is_former(cert))
        {
            Copied::Different
        } else {
            Copied::Same
        }
    }

    /// What a copy is to hold instead: what somebody else put there stays.
    pub fn mended(&self, certs: Vec<Cert>) -> Vec<Cert> {
        let concerned: Vec<&Vec<Cert>> = self.concerned(&certs).collect();
        let mut mended = certs;
        for anchor in concerned.into_iter().flatten() {
            mended = renewed(mended, anchor);
            if mended.iter().all(|cert| cert.der != anchor.der) {
                mended.push(anchor.clone());
            }
        }
        mended.retain(|cert| !self.is_former(cert));
        mended
    }

    /// The authorities of which a copy holds a certificate, the present one or one that it succeeds.
    fn concerned(&self, certs: &[Cert]) -> impl Iterator<Item = &Vec<Cert>> {
        let sets = self.sets.iter().filter(|set| !set.is_empty());
        sets.filter(|set| {
            let mut held = certs.iter();
            held.any(|cert| set.iter().any(|anchor| succeeds(anchor, cert)))
        })
    }

    fn is_former(&self, cert: &Cert) -> bool {
        self.former.contains(&cert.sha256())
    }
}
