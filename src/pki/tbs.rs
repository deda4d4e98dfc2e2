//! `TBSCertificate` (RFC 5280, section 4.1.2), assembled from an old certificate's own bytes.
//!
//! The old certificate, even an expired one, is the best record of what a cluster needs. So what it
//! says is copied and not understood and written again: libraries that do so lose repeated
//! attributes, string types, orders.

use super::cert::{Cert, CertError};
use super::extension::{self, Extension};
use super::name::Name;
use super::oid;
use super::san::San;
use super::tlv;
use super::utc::Utc;

/// A certificate to be signed: an old one with new values.
pub struct Reissue<'a> {
    /// Whose subject and extensions are repeated.
    pub template: &'a Cert,
    /// Whose subject becomes the issuer, and whose SKI becomes the AKI.
    pub issuer: &'a Cert,
    /// The content bytes of the serial's INTEGER; positive, at most 20 bytes.
    pub serial: &'a [u8],
    /// The first second of validity.
    pub not_before: Utc,
    /// The last second of validity.
    pub not_after: Utc,
    /// The DER of the new `SubjectPublicKeyInfo`.
    pub spki: &'a [u8],
    /// The DER of the issuer's `AlgorithmIdentifier`.
    pub signature_algorithm: &'a [u8],
    /// Another subject than the template's.
    pub subject: Option<&'a Name>,
    /// Names that the template may lack; those it has are not repeated.
    pub add_sans: &'a [San],
    /// The new key's identifier, written if the template has one; `None` keeps the template's,
    /// which is right only if the key stays.
    pub ski: Option<&'a [u8]>,
}

/// Why no certificate can be assembled.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TbsError {
    /// The template is damaged.
    #[error("the old certificate cannot be taken apart")]
    Template(#[source] CertError),
    /// The template's subject alternative names are damaged, so that nothing can be added to them.
    #[error("the old certificate's alternative names cannot be taken apart")]
    Names,
    /// The serial is empty, longer than 20 bytes, zero or negative (RFC 5280, section 4.1.2.2).
    #[error("the serial is not a positive number of at most 20 bytes")]
    Serial,
    /// The certificate would end before it begins.
    #[error("the validity ends at {not_after}, before it begins at {not_before}")]
    EmptyWindow {
        /// The first second.
        not_before: Utc,
        /// The last second.
        not_after: Utc,
    },
}

impl Reissue<'_> {
    /// Writes the DER.
    ///
    /// Extensions stay byte for byte and in their order, except: the AKI is the issuer's SKI alone
    /// and goes if the issuer has none; a certificate of another issuer that had extensions but no
    /// AKI gets one before its alternative names, as Go orders them; the SKI becomes `ski`; names
    /// are appended to the SAN, or a SAN to the extensions. Version 3 if there is any extension.
    pub fn to_der(&self) -> Result<Vec<u8>, TbsError> {
        let extensions = self.merged(&extensions(self.template)?)?;
        let fields = tlv::one(self.template.tbs()).and_then(|tbs| tbs.children(tlv::SEQUENCE));
        let mut fields = fields.into_iter().flatten();
        // The subject's unique identifier goes with the subject.
        let unique = fields.find(|field| field.tag == 0x82 && self.subject.is_none());
        let body = Body {
            serial: self.serial,
            signature_algorithm: self.signature_algorithm,
            issuer: &self.issuer.subject,
            not_before: self.not_before,
            not_after: self.not_after,
            subject: self.subject.unwrap_or(&self.template.subject),
            spki: self.spki,
            subject_unique_id: unique.map_or(&[], |field| field.raw),
            extensions: &extensions,
        };
        body.to_der()
    }

    /// The raw extensions that [`Self::to_der`] writes, except the identifiers of keys.
    pub(crate) fn requested(&self) -> Result<Vec<Vec<u8>>, TbsError> {
        let mut old = extensions(self.template)?;
        old.retain(|extension| extension.id() != oid::SKI && extension.id() != oid::AKI);
        self.merged(&old)
    }

    fn merged(&self, old: &[Extension<'_>]) -> Result<Vec<Vec<u8>>, TbsError> {
        let authority = self.issuer.ski.as_deref().map(extension::authority_key_id);
        let mut out: Vec<(&[u8], Vec<u8>)> = Vec::with_capacity(old.len() + 2);
        for extension in old {
            match extension.id() {
                oid::AKI => out.extend(authority.clone().map(|aki| (oid::AKI, aki))),
                oid::SKI => out.push((oid::SKI, self.subject_key_id(extension))),
                oid::SAN => out.push((oid::SAN, self.alternative_names(extension)?)),
                id => out.push((id, extension.raw.to_vec())),
            }
        }
        let has = |id: &[u8]| old.iter().any(|extension| extension.id() == id);
        let added = self.added(&self.template.sans);
        if !has(oid::SAN) && !added.is_empty() {
            let empty_subject = self.subject.unwrap_or(&self.template.subject).is_empty();
            let value = extension::alternative_names(&added);
            out.push((oid::SAN, extension::write(oid::SAN, empty_subject, &value)));
        }
        let missing = !has(oid::AKI) && !out.is_empty() && !self.self_signed();
        if let Some(aki) = authority.filter(|_| missing) {
            let place = out
                .iter()
                .position(|(id, _)| *id == oid::SAN)
                .unwrap_or(out.len());
            out.insert(place, (oid::AKI, aki));
        }
        Ok(out.into_iter().map(|(_, der)| der).collect())
    }

    /// Whether the new certificate carries the key that signs it.
    fn self_signed(&self) -> bool {
        let subject = self.subject.unwrap_or(&self.template.subject);
        *subject == self.issuer.subject && self.spki == self.issuer.spki
    }

    fn subject_key_id(&self, old: &Extension<'_>) -> Vec<u8> {
        match self.ski {
            Some(id) if self.template.ski.as_deref() != Some(id) => extension::subject_key_id(id),
            _ => old.raw.to_vec(),
        }
    }

    fn alternative_names(&self, old: &Extension<'_>) -> Result<Vec<u8>, TbsError> {
        if self.add_sans.is_empty() {
            return Ok(old.raw.to_vec());
        }
        let have = San::read_all(old.value()).ok_or(TbsError::Names)?;
        let added = self.added(&have);
        if added.is_empty() {
            return Ok(old.raw.to_vec());
        }
        let list = tlv::one(old.value()).ok_or(TbsError::Names)?;
        let new: Vec<u8> = added.iter().flat_map(San::to_der).collect();
        let value = tlv::wrap(tlv::SEQUENCE, &[list.value, &new]);
        Ok(extension::write(oid::SAN, old.critical(), &value))
    }

    /// What of `add_sans` is not in `have`, each name once.
    fn added(&self, have: &[San]) -> Vec<San> {
        let mut new: Vec<San> = Vec::new();
        for name in self.add_sans {
            if !have.contains(name) && !new.contains(name) {
                new.push(name.clone());
            }
        }
        new
    }
}

/// A `TBSCertificate` in its parts.
pub(crate) struct Body<'a> {
    /// The content bytes of the serial's INTEGER.
    pub(crate) serial: &'a [u8],
    /// The issuer's `AlgorithmIdentifier`.
    pub(crate) signature_algorithm: &'a [u8],
    /// Who signs.
    pub(crate) issuer: &'a Name,
    /// The first second of validity.
    pub(crate) not_before: Utc,
    /// The last second of validity.
    pub(crate) not_after: Utc,
    /// Whom it is about.
    pub(crate) subject: &'a Name,
    /// The `SubjectPublicKeyInfo`.
    pub(crate) spki: &'a [u8],
    /// The `subjectUniqueID` element, or nothing.
    pub(crate) subject_unique_id: &'a [u8],
    /// `Extension` elements in their order.
    pub(crate) extensions: &'a [Vec<u8>],
}

impl Body<'_> {
    /// Writes the DER: version 3 if there is an extension, else 1.
    pub(crate) fn to_der(&self) -> Result<Vec<u8>, TbsError> {
        self.check()?;
        let (version, unique, list): (&[u8], &[u8], Vec<u8>) = if self.extensions.is_empty() {
            (b"", b"", Vec::new())
        } else {
            let list = tlv::wrap(tlv::SEQUENCE, &[&self.extensions.concat()]);
            (
                b"\xa0\x03\x02\x01\x02",
                self.subject_unique_id,
                tlv::wrap(0xa3, &[&list]),
            )
        };
        let serial = tlv::wrap(tlv::INTEGER, &[self.serial]);
        let times = [encode_time(self.not_before), encode_time(self.not_after)].concat();
        let validity = tlv::wrap(tlv::SEQUENCE, &[&times]);
        let (issuer, subject) = (self.issuer.raw(), self.subject.raw());
        let algorithm = self.signature_algorithm;
        let parts = [
            version, &serial, algorithm, issuer, &validity, subject, self.spki, unique, &list,
        ];
        Ok(tlv::wrap(tlv::SEQUENCE, &parts))
    }

    fn check(&self) -> Result<(), TbsError> {
        let positive = match self.serial {
            [0, second, ..] => second & 0x80 != 0,
            [first, ..] => first & 0x80 == 0,
            [] => false,
        };
        if !positive || self.serial.len() > 20 {
            return Err(TbsError::Serial);
        }
        window(self.not_before, self.not_after)
    }
}

/// Refuses a validity that ends before it begins.
pub(crate) fn window(not_before: Utc, not_after: Utc) -> Result<(), TbsError> {
    if not_after < not_before {
        return Err(TbsError::EmptyWindow {
            not_before,
            not_after,
        });
    }
    Ok(())
}

/// The extensions of a certificate in their order.
pub(crate) fn extensions(cert: &Cert) -> Result<Vec<Extension<'_>>, TbsError> {
    let part = "list of extensions";
    Extension::all(cert.tbs()).ok_or(TbsError::Template(CertError::Malformed { part }))
}

/// Puts a `Certificate` together.
pub fn certificate(tbs: &[u8], signature_algorithm: &[u8], signature: &[u8]) -> Vec<u8> {
    let bits = tlv::wrap(tlv::BIT_STRING, &[&[0], signature]);
    tlv::wrap(tlv::SEQUENCE, &[tbs, signature_algorithm, &bits])
}

/// Writes a time as RFC 5280, section 4.1.2.5 wants it: `UTCTime` from 1950 through 2049, else
/// `GeneralizedTime`.
pub fn encode_time(at: Utc) -> Vec<u8> {
    let text = at.compact().replace('T', "");
    if (1950..2050).contains(&at.calendar().year()) {
        tlv::wrap(0x17, &[&text.as_bytes()[2..]])
    } else {
        tlv::wrap(0x18, &[text.as_bytes()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_the_time_type_in_2050() {
        let encode = |text| encode_time(Utc::parse(text).unwrap());
        assert_eq!(encode("2049-12-31T23:59:59Z"), b"\x17\x0d491231235959Z");
        assert_eq!(encode("2050-01-01T00:00:00Z"), b"\x18\x0f20500101000000Z");
        assert_eq!(encode("1949-12-31T23:59:59Z"), b"\x18\x0f19491231235959Z");
    }
}
