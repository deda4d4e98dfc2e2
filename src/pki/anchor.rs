//! Trust anchors: certificates that may take each other's place, and files that hold one of them.

use crate::pki::cert::Cert;

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

/// Whether one of these certificates is a former one of an authority whose present one is not among them.
pub fn is_outdated(certs: &[Cert], present: &Cert) -> bool {
    certs.iter().any(|cert| succeeds(present, cert))
        && certs.iter().all(|cert| cert.der != present.der)
}
