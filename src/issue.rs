//! Certificates made: from an old one, from nothing, and new authorities.
//!
//! An old certificate is repeated byte for byte ([`crate::pki::tbs`]). What starts from nothing is
//! made by rcgen and has kubeadm's extensions; a leaf has them in kubeadm's order, too (Go's
//! `crypto/x509`: key usage, extended key usage, basic constraints, SKI, AKI, alternative names).

mod encode;

use rcgen::{BasicConstraints, IsCa, KeyIdMethod, SerialNumber};

use crate::crypto::{self, CryptoError, Signer};
use crate::pki::cert::{Cert, CertError};
use crate::pki::csr::{Template, Usage};
use crate::pki::key::{self, PrivateKey};
use crate::pki::name::{Name, NameError};
use crate::pki::request::Request;
use crate::pki::san::San;
use crate::pki::tbs::{self, Body, Reissue, TbsError};
use crate::pki::utc::Utc;
use crate::pki::{oid, tlv};
use encode::{Nobody, RcgenKey};

/// A certificate authority that can sign.
pub struct Authority {
    /// Its certificate.
    pub cert: Cert,
    /// Its key.
    pub signer: Signer,
    /// What is to follow a leaf in a chain file: its own certificate if that is an intermediate,
    /// then the intermediates above it. Never a root.
    pub chain: Vec<Cert>,
}

/// Why nothing was issued.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// The authority's key is not its certificate's.
    #[error("the private key does not belong to the certificate of {subject}")]
    Mismatch {
        /// The certificate's subject.
        subject: Name,
    },
    /// There is no certificate to sign for.
    #[error("there is no certificate of an authority")]
    Nobody,
    /// The certificate may not sign others.
    #[error("the certificate of {subject} is not a certificate authority's")]
    NotCa {
        /// The certificate's subject.
        subject: Name,
    },
    /// The certificate would not fit below its authority.
    #[error("the authority {subject} allows no authorities below itself")]
    PathLength {
        /// The authority's subject.
        subject: Name,
    },
    /// The name cannot be written.
    #[error("the subject cannot be written")]
    Name(#[from] NameError),
    /// Keys, signatures, random numbers.
    #[error("a cryptographic operation failed")]
    Crypto(#[from] CryptoError),
    /// rcgen would not write it.
    #[error("the certificate cannot be encoded")]
    Encode(#[source] rcgen::Error),
    /// The new certificate cannot be assembled.
    #[error("the certificate cannot be assembled")]
    Assemble(#[from] TbsError),
    /// What was just made cannot be read: a bug.
    #[error("the new certificate cannot be read again, which is a bug")]
    Reread(#[source] CertError),
}

impl From<rcgen::Error> for IssueError {
    fn from(error: rcgen::Error) -> Self {
        match error {
            // What rcgen calls a remote key is our signer.
            rcgen::Error::RemoteKeyError => Self::Crypto(CryptoError::Sign),
            other => Self::Encode(other),
        }
    }
}

impl Authority {
    /// The authority whose key this is, among the certificates of its file; the others are its chain.
    ///
    /// # Errors
    ///
    /// As [`Authority::load`], with the first certificate if the key is nobody's.
    pub fn among(certs: &[Cert], key: &PrivateKey) -> Result<Self, IssueError> {
        let signer = Signer::load(key)?;
        let fits = |cert: &&Cert| cert.public_bits() == signer.public_bits();
        let Some(cert) = certs.iter().find(fits).or_else(|| certs.first()) else {
            return Err(IssueError::Nobody);
        };
        let chain = certs.iter().filter(|other| other.der != cert.der);
        Self::load(cert.clone(), chain.cloned().collect(), key)
    }

    /// Puts certificate and key together. Dates are not judged: an expired authority renews itself.
    ///
    /// # Errors
    ///
    /// [`IssueError::NotCa`] if basic constraints or key usage forbid signing (version 1
    /// certificates have neither and may), [`IssueError::Mismatch`] if the key is another's.
    pub fn load(cert: Cert, chain: Vec<Cert>, key: &PrivateKey) -> Result<Self, IssueError> {
        let signs =
            cert.key_usages.is_empty() || cert.key_usages.iter().any(|u| u == "keyCertSign");
        if !(cert.is_ca || cert.version < 3) || !signs {
            return Err(IssueError::NotCa {
                subject: cert.subject,
            });
        }
        let signer = Signer::load(key)?;
        if signer.public_bits() != cert.public_bits() {
            return Err(IssueError::Mismatch {
                subject: cert.subject,
            });
        }
        let mut kept: Vec<Cert> = Vec::with_capacity(chain.len() + 1);
        for link in std::iter::once(cert.clone()).chain(chain) {
            if !link.self_issued() && !kept.contains(&link) {
                kept.push(link);
            }
        }
        Ok(Self {
            cert,
            signer,
            chain: kept,
        })
    }
}

/// Issues `template` again for the key in `key_spki`: subject (unless another is given) and
/// extensions as they were, with a new serial and `add_sans`. Verifies what it made, and reads it
/// again.
///
/// `template` may be the authority itself: then it is renewed.
pub fn reissue(
    template: &Cert,
    authority: &Authority,
    key_spki: &[u8],
    not_before: Utc,
    not_after: Utc,
    subject: Option<&Name>,
    add_sans: &[San],
) -> Result<Cert, IssueError> {
    let issuer = &authority.cert;
    if template.is_ca && issuer.path_len == Some(0) && template.subject != issuer.subject {
        return Err(IssueError::PathLength {
            subject: issuer.subject.clone(),
        });
    }
    let new_bits = key::read_spki(key_spki).map(|(_, bits)| bits);
    let ski = new_bits
        .filter(|bits| *bits != template.public_bits())
        .map(|bits| crypto::key_id(Some(template), bits));
    let serial = crypto::serial()?;
    let unsigned = Reissue {
        template,
        issuer,
        serial: &serial,
        not_before,
        not_after,
        spki: key_spki,
        signature_algorithm: authority.signer.signature_algorithm(),
        subject,
        add_sans,
        ski: ski.as_deref(),
    };
    let cert = sign(&unsigned.to_der()?, &authority.signer)?;
    crypto::verify(&cert, issuer)?;
    Ok(cert)
}

/// Signs what a request asks for: subject, key and extensions byte for byte, with the authority's key identifier. DER.
///
/// That the request may be signed is the caller's business. What is made is not verified here, since that takes three times
/// as long as signing with an elliptic curve: whoever installs it verifies it.
pub fn answer(
    request: &Request,
    authority: &Authority,
    not_before: Utc,
    not_after: Utc,
) -> Result<Vec<u8>, IssueError> {
    let serial = crypto::serial()?;
    let signature_algorithm = authority.signer.signature_algorithm();
    let unsigned = Reissue {
        template: &request.wish,
        issuer: &authority.cert,
        serial: &serial,
        not_before,
        not_after,
        spki: &request.wish.spki,
        signature_algorithm,
        subject: None,
        add_sans: &[],
        ski: None,
    };
    let unsigned = unsigned.to_der()?;
    let signature = authority.signer.sign(&unsigned)?;
    Ok(tbs::certificate(&unsigned, signature_algorithm, &signature))
}

/// Makes a template in kubeadm's form for [`reissue`]: nobody's key, nobody's signature. Its
/// validity is one second in 1970.
///
/// Extensions: key usage (critical), extended key usage, basic constraints (critical, `CA:FALSE` as
/// an empty SEQUENCE), alternative names if there are any (critical if the subject is empty).
pub fn prototype(subject: &Name, usages: &[Usage], sans: &[San]) -> Result<Cert, IssueError> {
    let mut params = encode::parameters(subject, usages);
    params.serial_number = Some(SerialNumber::from_slice(&[1]));
    params.not_before = Utc::from_unix(0).calendar();
    params.not_after = Utc::from_unix(0).calendar();
    params.custom_extensions.push(encode::not_ca());
    if !sans.is_empty() {
        let names = encode::alternative_names(sans, subject.is_empty());
        params.custom_extensions.push(names);
    }
    let made = encode::self_signed(&params, &Nobody)?;
    if made.subject == *subject {
        return Ok(made);
    }
    let algorithm = made.signature_algorithm();
    let unsigned = respelled(&made, subject, &made.spki, algorithm)?;
    let der = tbs::certificate(&unsigned, algorithm, &[]);
    Cert::from_der(&der).map_err(IssueError::Reread)
}

/// As [`prototype`], from a template: its subject, usages and hosts, and `add_sans` that are not
/// among them.
pub fn from_template(template: &Template, add_sans: &[San]) -> Result<Cert, IssueError> {
    let mut names = template.hosts.clone();
    for name in add_sans {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    prototype(&template.subject()?, &template.usages, &names)
}

/// Makes a self-signed authority like kubeadm's (`client-go` `util/cert`, `NewSelfSignedCACert`):
/// key usage digitalSignature, keyEncipherment, keyCertSign; basic constraints without path length
/// unless one is given; an SKI made as Go 1.25 makes it; the common name again as DNS name, if it
/// can be one.
pub fn new_authority(
    subject: &Name,
    key: &PrivateKey,
    not_before: Utc,
    not_after: Utc,
    path_len: Option<u8>,
) -> Result<Cert, IssueError> {
    tbs::window(not_before, not_after)?;
    let signer = Signer::load(key)?;
    let usages = [
        Usage::DigitalSignature,
        Usage::KeyEncipherment,
        Usage::CertSign,
    ];
    let mut params = encode::parameters(subject, &usages);
    params.serial_number = Some(SerialNumber::from_slice(&crypto::serial()?));
    params.not_before = not_before.calendar();
    params.not_after = not_after.calendar();
    let depth = path_len.map_or(
        BasicConstraints::Unconstrained,
        BasicConstraints::Constrained,
    );
    params.is_ca = IsCa::Ca(depth);
    let id = crypto::key_id(None, signer.public_bits());
    params.key_identifier_method = KeyIdMethod::PreSpecified(id);
    let name = subject.common_name().and_then(|name| San::parse(&name));
    if let Some(name @ San::Dns(_)) = name {
        let names = encode::alternative_names(&[name], false);
        params.custom_extensions.push(names);
    }
    // No AKI: the SKI would be repeated, and kubeadm leaves it out.
    let made = match RcgenKey::of(&signer) {
        Some(key) => encode::self_signed(&params, &key)?,
        None => encode::self_signed(&params, &Nobody)?,
    };
    let cert = if made.subject == *subject && made.spki == signer.spki() {
        made
    } else {
        let algorithm = signer.signature_algorithm();
        let unsigned = respelled(&made, subject, signer.spki(), algorithm)?;
        sign(&unsigned, &signer)?
    };
    crypto::verify(&cert, &cert)?;
    Ok(cert)
}

/// Makes a self-signed authority that is to follow another: its name and extensions byte for byte, but its own key and that
/// key's identifier.
pub fn successor(
    old: &Cert,
    key: &PrivateKey,
    not_before: Utc,
    not_after: Utc,
) -> Result<Cert, IssueError> {
    let signer = Signer::load(key)?;
    let ski = crypto::key_id(Some(old), signer.public_bits());
    let mut issuer = old.clone();
    issuer.spki = signer.spki().to_vec();
    issuer.ski = old.ski.is_some().then(|| ski.clone());
    let unsigned = Reissue {
        template: old,
        issuer: &issuer,
        serial: &crypto::serial()?,
        not_before,
        not_after,
        spki: signer.spki(),
        signature_algorithm: signer.signature_algorithm(),
        subject: None,
        add_sans: &[],
        ski: Some(&ski),
    };
    let cert = sign(&unsigned.to_der()?, &signer)?;
    crypto::verify(&cert, &cert)?;
    Ok(cert)
}

/// Makes a certificate signing request (PKCS#10, RFC 2986) that asks for `template`'s subject and
/// its extensions except the identifiers of keys, byte for byte, plus `add_sans`. DER.
pub fn request(
    template: &Cert,
    signer: &Signer,
    subject: Option<&Name>,
    add_sans: &[San],
) -> Result<Vec<u8>, IssueError> {
    let spki = signer.spki();
    let mut anonymous = template.clone();
    anonymous.ski = None;
    let unsigned = Reissue {
        template,
        issuer: &anonymous,
        serial: &[1],
        not_before: template.not_before,
        not_after: template.not_after,
        spki,
        signature_algorithm: signer.signature_algorithm(),
        subject,
        add_sans,
        ski: None,
    };
    let extensions = unsigned.requested()?;
    let subject = subject.unwrap_or(&template.subject);
    if let Some(der) = encode::request(subject, &extensions, signer)? {
        return Ok(der);
    }
    let attributes = extension_request(&extensions.concat());
    let info = tlv::wrap(
        tlv::SEQUENCE,
        &[
            b"\x02\x01\x00",
            subject.raw(),
            spki,
            &tlv::wrap(0xa0, &[&attributes]),
        ],
    );
    let signature = signer.sign(&info)?;
    Ok(tbs::certificate(
        &info,
        signer.signature_algorithm(),
        &signature,
    ))
}

/// The body of a self-signed certificate that rcgen made, with a name or key that rcgen cannot
/// write (see [`encode`]).
fn respelled(
    made: &Cert,
    subject: &Name,
    spki: &[u8],
    signature_algorithm: &[u8],
) -> Result<Vec<u8>, TbsError> {
    let extensions = tbs::extensions(made)?;
    let extensions: Vec<Vec<u8>> = extensions.iter().map(|part| part.raw.to_vec()).collect();
    let body = Body {
        serial: &made.serial,
        signature_algorithm,
        issuer: subject,
        not_before: made.not_before,
        not_after: made.not_after,
        subject,
        spki,
        subject_unique_id: &[],
        extensions: &extensions,
    };
    body.to_der()
}

/// The attribute of a request that asks for extensions; nothing if there are none.
fn extension_request(extensions: &[u8]) -> Vec<u8> {
    if extensions.is_empty() {
        return Vec::new();
    }
    let value = tlv::wrap(tlv::SET, &[&tlv::wrap(tlv::SEQUENCE, &[extensions])]);
    tlv::wrap(tlv::SEQUENCE, &[oid::EXTENSION_REQUEST, &value])
}

fn sign(unsigned: &[u8], signer: &Signer) -> Result<Cert, IssueError> {
    let signature = signer.sign(unsigned)?;
    let der = tbs::certificate(unsigned, signer.signature_algorithm(), &signature);
    Cert::from_der(&der).map_err(IssueError::Reread)
}

#[cfg(test)]
mod tests;
