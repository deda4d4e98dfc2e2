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

/// How a copy of authorities' certificates compares with their files; the worst is the greatest.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Copied {
    /// It holds none of them.
    Foreign,
    /// It holds them all.
    Same,
    /// It holds those that sign, and lacks one that is to come, or holds one that nobody is to trust.
    Different,
    /// It lacks one that signs.
    Outdated,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::name::{Attribute, Name};
    use crate::pki::tbs::{Body, certificate};
    use crate::pki::tlv;
    use crate::pki::utc::Utc;

    /// A CA of this name with this key, whose certificate is one of several by its serial number.
    fn ca(name: &str, key: u8, serial: u8) -> Cert {
        let name = Name::build(&[(Attribute::CommonName, name.to_owned())]).unwrap();
        let algorithm = tlv::wrap(tlv::SEQUENCE, &[&[0x06, 0x03, 0x2b, 0x65, 0x70]]);
        let bits = tlv::wrap(tlv::BIT_STRING, &[&[0], &[key; 32]]);
        let body = Body {
            serial: &[serial],
            signature_algorithm: &algorithm,
            issuer: &name,
            not_before: Utc::from_unix(0),
            not_after: Utc::from_unix(1),
            subject: &name,
            spki: &tlv::wrap(tlv::SEQUENCE, &[&algorithm, &bits]),
            subject_unique_id: &[],
            extensions: &[],
        };
        let der = certificate(&body.to_der().unwrap(), &algorithm, &[0; 64]);
        let mut cert = Cert::from_der(&der).unwrap();
        cert.is_ca = true;
        cert
    }

    #[test]
    fn a_copy_is_compared_with_every_authority_that_it_concerns() {
        let (old, new, other) = (ca("a", 1, 1), ca("a", 2, 2), ca("b", 3, 3));
        let anchors = |set: &[&Cert], former: &[&Cert]| Anchors {
            sets: vec![set.iter().map(|cert| (*cert).clone()).collect()],
            former: former.iter().map(|cert| cert.sha256()).collect(),
        };
        let compare = |anchors: &Anchors, held: &[&Cert]| {
            let held: Vec<Cert> = held.iter().map(|cert| (*cert).clone()).collect();
            anchors.compare(&held)
        };
        let both = anchors(&[&old, &new], &[]);
        assert_eq!(compare(&both, &[&other]), Copied::Foreign);
        assert_eq!(compare(&both, &[&new]), Copied::Outdated);
        assert_eq!(compare(&both, &[&old]), Copied::Different);
        assert_eq!(compare(&both, &[&other, &new, &old]), Copied::Same);
        let renewed = ca("a", 1, 9);
        assert_eq!(
            compare(&anchors(&[&renewed], &[]), &[&old]),
            Copied::Outdated
        );
        let dropped = anchors(&[&new], &[&old]);
        assert_eq!(compare(&dropped, &[&new, &old]), Copied::Different);
        assert_eq!(compare(&dropped, &[&new]), Copied::Same);
    }

    #[test]
    fn what_others_put_into_a_copy_stays() {
        let (old, new, other) = (ca("a", 1, 1), ca("a", 2, 2), ca("b", 3, 3));
        let anchors = Anchors {
            sets: vec![vec![new.clone()]],
            former: vec![old.sha256()],
        };
        let held = vec![other.clone(), old.clone(), new.clone()];
        assert_eq!(anchors.mended(held), [other.clone(), new.clone()]);
        let both = Anchors {
            sets: vec![vec![old.clone(), new.clone()]],
            former: Vec::new(),
        };
        assert_eq!(
            both.mended(vec![old.clone(), other.clone()]),
            [old, other, new]
        );
    }
}
