//! X.509 certificates (RFC 5280), read for what they say and kept as the bytes they are.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;
use x509_parser::extensions::{ParsedExtension, X509Extension};
use x509_parser::prelude::FromDer as _;
use x509_parser::time::ASN1Time;

use super::digest::{Digest, hex};
use super::extension;
use super::key::{self, KeyAlgorithm};
use super::name::Name;
use super::oid;
use super::pem::{self, Block, PemError};
use super::san::San;
use super::tlv::{self, Tlv};
use super::utc::Utc;

/// A certificate. Serialised as its DER in base64.
///
/// What Go and `openssl` accept is accepted: any serial, any string type, no extensions, old
/// versions. An extension that cannot be understood counts as absent here, is named in
/// `unreadable`, and is still there in `der`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cert {
    /// All of it.
    pub der: Vec<u8>,
    /// Whom it is about.
    pub subject: Name,
    /// Who signed it.
    pub issuer: Name,
    /// The content bytes of the serial's INTEGER, sign and padding byte included.
    pub serial: Vec<u8>,
    /// The first second in which it is valid.
    pub not_before: Utc,
    /// The last second in which it is valid.
    pub not_after: Utc,
    /// The DER of `SubjectPublicKeyInfo`.
    pub spki: Vec<u8>,
    /// What kind of key that is.
    pub key: KeyAlgorithm,
    /// Subject alternative names in their order.
    pub sans: Vec<San>,
    /// `serverAuth`, `clientAuth`, ...; dotted where unknown. Empty: any.
    pub extended_usages: Vec<String>,
    /// RFC 5280's names of the key usage bits, in their order. Empty: any.
    pub key_usages: Vec<String>,
    /// Whether basic constraints say `CA:TRUE`.
    pub is_ca: bool,
    /// How many intermediates may follow.
    pub path_len: Option<u32>,
    /// The subject key identifier.
    pub ski: Option<Vec<u8>>,
    /// The key identifier of the authority key identifier.
    pub aki: Option<Vec<u8>>,
    /// The dotted identifiers of known extensions whose content is malformed.
    pub unreadable: Vec<String>,
    /// 1, 2 or 3 (the number that people say, one more than the encoded one).
    pub version: u8,
    tbs: Range<usize>,
    signature_algorithm: Range<usize>,
    signature: Range<usize>,
    public_bits: Range<usize>,
}

/// Why there is no certificate to be had. Displayed after a file's name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CertError {
    /// The text is no PEM.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// There are PEM blocks, but no certificate among them.
    #[error("has no certificate, only {}", .found.to_lowercase())]
    NoCertificate {
        /// The tag of the first block.
        found: String,
    },
    /// OpenSSL's trusted form, which no component of a cluster reads.
    #[error("holds a trusted certificate, which only openssl reads")]
    Trusted,
    /// A part of the certificate is not what RFC 5280 says.
    #[error("holds a certificate whose {part} is malformed")]
    Malformed {
        /// Which part.
        part: &'static str,
    },
}

impl Cert {
    /// Reads one certificate; nothing may follow it.
    pub fn from_der(der: &[u8]) -> Result<Self, CertError> {
        let (_, read) = X509Certificate::from_der(der).map_err(|error| refused(&error.into()))?;
        // x509-parser passes over what follows the last known field of a SEQUENCE, and does not say
        // where the signature algorithm lies.
        let outer = tlv::one(der).and_then(|all| all.children(tlv::SEQUENCE));
        let Some([tbs, algorithm, signature]) = outer.as_deref() else {
            return Err(malformed("outermost SEQUENCE"));
        };
        if read.tbs_certificate.as_ref() != tbs.raw || read.version.0 > 2 {
            return Err(malformed("body"));
        }
        let (issuer, subject) = names(tbs).ok_or_else(|| malformed("body"))?;
        let bits = tlv::bits(signature).ok_or_else(|| malformed("signature"))?;
        let spki = read.subject_pki.raw;
        let (key, public) = key::read_spki(spki).ok_or_else(|| malformed("public key"))?;
        let moment = |at: &ASN1Time| Utc::from_unix(at.timestamp());
        let mut cert = Self {
            der: der.to_vec(),
            subject: Name::from_der(subject).map_err(|_| malformed("subject"))?,
            issuer: Name::from_der(issuer).map_err(|_| malformed("issuer"))?,
            serial: read.raw_serial().to_vec(),
            not_before: moment(&read.validity.not_before),
            not_after: moment(&read.validity.not_after),
            spki: spki.to_vec(),
            key,
            sans: Vec::new(),
            extended_usages: Vec::new(),
            key_usages: Vec::new(),
            is_ca: false,
            path_len: None,
            ski: None,
            aki: None,
            unreadable: Vec::new(),
            version: read.version.0.to_le_bytes()[0] + 1,
            tbs: within(der, tbs.raw),
            signature_algorithm: within(der, algorithm.raw),
            signature: within(der, bits),
            public_bits: within(der, public),
        };
        for extension in read.extensions() {
            cert.understand(extension);
        }
        Ok(cert)
    }

    /// Reads every `CERTIFICATE` block in order; there is at least one. Other blocks are passed
    /// over.
    pub fn all_from_pem(text: &[u8]) -> Result<Vec<Self>, CertError> {
        Self::from_blocks(&pem::blocks(text)?)
    }

    /// As [`Self::all_from_pem`], from blocks that are read already.
    pub fn from_blocks(blocks: &[Block]) -> Result<Vec<Self>, CertError> {
        let mut certs = Vec::new();
        for block in blocks {
            match block.tag.as_str() {
                "CERTIFICATE" | "X509 CERTIFICATE" => certs.push(Self::from_der(&block.der)?),
                "TRUSTED CERTIFICATE" => return Err(CertError::Trusted),
                _ => {},
            }
        }
        if certs.is_empty() {
            let found = blocks
                .first()
                .map_or_else(String::new, |block| block.tag.clone());
            return Err(CertError::NoCertificate { found });
        }
        Ok(certs)
    }

    /// The serial in lower-case hexadecimal, without the byte that only keeps it positive.
    pub fn serial_hex(&self) -> String {
        match self.serial.as_slice() {
            [0, rest @ ..] if !rest.is_empty() => hex(rest),
            all => hex(all),
        }
    }

    /// The fingerprint: the digest of the DER.
    pub fn sha256(&self) -> Digest {
        Digest::of(&self.der)
    }

    /// The certificate as one PEM block.
    pub fn to_pem(&self) -> String {
        pem::encode("CERTIFICATE", &self.der).to_string()
    }

    /// Whether subject and issuer are the same bytes.
    pub fn self_issued(&self) -> bool {
        self.subject == self.issuer
    }

    /// The content of `subjectPublicKey`: equal for a certificate and its key's
    /// [`crate::crypto::Signer::public_bits`].
    pub fn public_bits(&self) -> &[u8] {
        &self.der[self.public_bits.clone()]
    }

    /// The DER of `TBSCertificate`: what is signed.
    pub fn tbs(&self) -> &[u8] {
        &self.der[self.tbs.clone()]
    }

    /// The signature's bytes.
    pub fn signature(&self) -> &[u8] {
        &self.der[self.signature.clone()]
    }

    /// The DER of the `AlgorithmIdentifier` beside the signature.
    pub fn signature_algorithm(&self) -> &[u8] {
        &self.der[self.signature_algorithm.clone()]
    }

    fn understand(&mut self, extension: &X509Extension<'_>) {
        let read = match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => {
                self.ski = Some(id.0.to_vec());
                true
            },
            ParsedExtension::AuthorityKeyIdentifier(aki) => {
                let id = aki.key_identifier.as_ref().map(|id| id.0.to_vec());
                self.aki = id.filter(|id| !id.is_empty());
                true
            },
            ParsedExtension::SubjectAlternativeName(_) => San::read_all(extension.value)
                .map(|sans| self.sans = sans)
                .is_some(),
            ParsedExtension::KeyUsage(usage) => {
                self.key_usages = extension::key_usage_names(usage.flags);
                true
            },
            ParsedExtension::ExtendedKeyUsage(_) => {
                extension::extended_key_usage_names(extension.value)
                    .map(|usages| self.extended_usages = usages)
                    .is_some()
            },
            ParsedExtension::BasicConstraints(limits) => {
                (self.is_ca, self.path_len) = (limits.ca, limits.path_len_constraint);
                true
            },
            _ => !UNDERSTOOD.contains(&extension.oid.as_bytes()),
        };
        if !read {
            self.unreadable.push(oid::dotted(extension.oid.as_bytes()));
        }
    }
}

/// The extensions that [`Cert`] has a field for.
const UNDERSTOOD: [&[u8]; 6] = [
    oid::AKI,
    oid::BASIC_CONSTRAINTS,
    oid::EXTENDED_KEY_USAGE,
    oid::KEY_USAGE,
    oid::SAN,
    oid::SKI,
];

impl Serialize for Cert {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.der))
    }
}

impl<'de> Deserialize<'de> for Cert {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let der = STANDARD.decode(text).map_err(de::Error::custom)?;
        Self::from_der(&der).map_err(de::Error::custom)
    }
}

/// Issuer and subject, raw. x509-parser's spans end before an RDN that it does not take, such as the
/// empty ones that old Go wrote, without saying so.
fn names<'a>(tbs: &Tlv<'a>) -> Option<(&'a [u8], &'a [u8])> {
    let fields = tbs.children(tlv::SEQUENCE)?;
    match fields.as_slice() {
        [Tlv { tag: 0xa0, .. }, _, _, issuer, _, subject, ..] | [_, _, issuer, _, subject, ..] => {
            Some((issuer.raw, subject.raw))
        },
        _ => None,
    }
}

/// Which part x509-parser did not take.
fn refused(error: &X509Error) -> CertError {
    malformed(match error {
        X509Error::InvalidVersion => "version",
        X509Error::InvalidSerial => "serial",
        X509Error::InvalidAlgorithmIdentifier => "signature algorithm",
        X509Error::InvalidX509Name => "name",
        X509Error::InvalidDate => "validity",
        X509Error::InvalidSPKI => "public key",
        X509Error::InvalidIssuerUID | X509Error::InvalidSubjectUID => "unique identifier",
        X509Error::InvalidExtensions => "list of extensions",
        X509Error::InvalidSignatureValue => "signature",
        _ => "structure",
    })
}

fn malformed(part: &'static str) -> CertError {
    CertError::Malformed { part }
}

/// Where `part`, a slice of `whole`, lies in it.
fn within(whole: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr().addr() - whole.as_ptr().addr();
    start..start + part.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(tag: u8, text: &str) -> Option<String> {
        let cert = Cert::from_der(&odd(&[1], &tlv::wrap(tag, &[text.as_bytes()]), &[]));
        cert.ok().map(|cert| cert.not_before.to_string())
    }

    #[test]
    fn reads_both_time_types() {
        assert_eq!(time(0x17, "491231235959Z").unwrap(), "2049-12-31T23:59:59Z");
        assert_eq!(time(0x17, "500101000000Z").unwrap(), "1950-01-01T00:00:00Z");
        assert_eq!(
            time(0x18, "99991231235959Z").unwrap(),
            "9999-12-31T23:59:59Z"
        );
        // Go and openssl read what DER forbids, too.
        assert_eq!(time(0x17, "2601010000Z").unwrap(), "2026-01-01T00:00:00Z");
        assert_eq!(
            time(0x17, "260101000000+0100").unwrap(),
            "2025-12-31T23:00:00Z"
        );
        for none in ["", "26", "2601010000", "261301000000Z", "26010100000xZ"] {
            assert_eq!(time(0x17, none), None, "{none}");
        }
    }

    /// A certificate with odd parts: nobody's signature, no known issuer.
    fn odd(serial: &[u8], time: &[u8], extensions: &[u8]) -> Vec<u8> {
        let algorithm = tlv::wrap(tlv::SEQUENCE, &[oid::ED25519]);
        let spki = key::write_spki(&KeyAlgorithm::Ed25519, &[7; 32]).unwrap();
        let validity = tlv::wrap(tlv::SEQUENCE, &[time, time]);
        let serial = tlv::wrap(tlv::INTEGER, &[serial]);
        let name = tlv::wrap(tlv::SEQUENCE, &[]);
        let list = tlv::wrap(0xa3, &[&tlv::wrap(tlv::SEQUENCE, &[extensions])]);
        let version = b"\xa0\x03\x02\x01\x02";
        let tbs = [
            version,
            &serial[..],
            &algorithm,
            &name,
            &validity,
            &name,
            &spki,
            &list,
        ]
        .concat();
        let tbs = tlv::wrap(tlv::SEQUENCE, &[&tbs]);
        let signature = tlv::wrap(tlv::BIT_STRING, &[&[0]]);
        tlv::wrap(tlv::SEQUENCE, &[&tbs, &algorithm, &signature])
    }

    const TIME: &[u8] = b"\x18\x0f20260101000000Z";

    #[test]
    fn accepts_odd_serials_and_broken_extensions() {
        let broken = extension::write(oid::SAN, false, b"\x30\x05");
        let unknown = extension::write(b"\x2a\x03\x04", true, b"anything");
        let long = [&[0xff; 30][..]].concat();
        let cert = Cert::from_der(&odd(&long, TIME, &[broken, unknown].concat())).unwrap();
        assert_eq!(cert.unreadable, ["2.5.29.17"]);
        assert_eq!(cert.serial_hex(), "ff".repeat(30));
        assert_eq!((cert.public_bits(), cert.version), (&[7; 32][..], 3));
        assert!(cert.signature().is_empty() && cert.self_issued());
        let json = serde_json::to_string(&cert).unwrap();
        assert_eq!(serde_json::from_str::<Cert>(&json).unwrap(), cert);
    }

    #[test]
    fn keeps_names_with_empty_rdns_whole() {
        let cert = Cert::from_der(&odd(&[1], TIME, &[])).unwrap();
        let tbs = tlv::one(cert.tbs()).unwrap();
        let mut fields: Vec<Vec<u8>> = tbs
            .children(tlv::SEQUENCE)
            .unwrap()
            .iter()
            .map(|f| f.raw.to_vec())
            .collect();
        fields[5] = b"\x30\x02\x31\x00".to_vec();
        let tbs = tlv::wrap(tlv::SEQUENCE, &[&fields.concat()]);
        let algorithm = cert.signature_algorithm();
        let signature = tlv::wrap(tlv::BIT_STRING, &[&[0]]);
        let der = tlv::wrap(tlv::SEQUENCE, &[&tbs, algorithm, &signature]);
        let subject = Cert::from_der(&der).unwrap().subject;
        assert_eq!(
            (subject.raw(), subject.to_string()),
            (&b"\x30\x02\x31\x00"[..], "#30023100".to_owned())
        );
    }

    #[test]
    fn never_panics_on_damaged_bytes() {
        let names = extension::alternative_names(&[San::Dns("x".into())]);
        let good = odd(&[1], TIME, &extension::write(oid::SAN, false, &names));
        assert_eq!(Cert::from_der(&good).unwrap().sans, [San::Dns("x".into())]);
        for place in 0..good.len() {
            let _ = Cert::from_der(&good[..place]).unwrap_err();
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[place] ^= 1 << bit;
                let _ = Cert::from_der(&bad);
            }
        }
    }

    #[test]
    fn passes_over_other_blocks_and_refuses_trusted_ones() {
        let pem = |tag| pem::encode(tag, &odd(&[1], TIME, &[])).to_string();
        let text = [pem("PRIVATE KEY"), pem("CERTIFICATE"), pem("CERTIFICATE")].concat();
        assert_eq!(Cert::all_from_pem(text.as_bytes()).unwrap().len(), 2);
        let said = |text: String| Cert::all_from_pem(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(
            said(pem("PUBLIC KEY")),
            "has no certificate, only public key"
        );
        assert!(said(pem("TRUSTED CERTIFICATE")).contains("trusted"));
    }
}
