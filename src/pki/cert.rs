//! X.509 certificates (RFC 5280), read for what they say and kept as the bytes they are.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::digest::{Digest, hex};
use super::extension::{self, Extension};
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
    #[error("has no certificate, only {found}")]
    NoCertificate {
        /// The tag of the first block.
        found: String,
    },
    /// OpenSSL's trusted form, which no component of a cluster reads.
    #[error("holds a TRUSTED CERTIFICATE, which only openssl reads")]
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
        let outer = tlv::one(der).and_then(|all| all.children(tlv::SEQUENCE));
        let Some([tbs, algorithm, signature]) = outer.as_deref() else {
            return Err(malformed("outermost SEQUENCE"));
        };
        let bits = tlv::bits(signature).ok_or_else(|| malformed("signature"))?;
        algorithm
            .expect(tlv::SEQUENCE)
            .ok_or_else(|| malformed("signature algorithm"))?;
        let fields = Fields::read(tbs)?;
        let (key, public) =
            key::read_spki(fields.spki.raw).ok_or_else(|| malformed("public key"))?;
        let (not_before, not_after) =
            validity(&fields.validity).ok_or_else(|| malformed("validity"))?;
        let cert = Self {
            der: der.to_vec(),
            subject: Name::from_der(fields.subject.raw).map_err(|_| malformed("subject"))?,
            issuer: Name::from_der(fields.issuer.raw).map_err(|_| malformed("issuer"))?,
            serial: fields.serial.value.to_vec(),
            not_before,
            not_after,
            spki: fields.spki.raw.to_vec(),
            key,
            sans: Vec::new(),
            extended_usages: Vec::new(),
            key_usages: Vec::new(),
            is_ca: false,
            path_len: None,
            ski: None,
            aki: None,
            unreadable: Vec::new(),
            version: fields.version,
            tbs: within(der, tbs.raw),
            signature_algorithm: within(der, algorithm.raw),
            signature: within(der, bits),
            public_bits: within(der, public),
        };
        Ok(fields.extensions.iter().fold(cert, Self::understanding))
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

    /// The digest of the public key info as [`key::write_spki`] would write it, so that two ways of
    /// writing the same algorithm (RSA with and without NULL) give the same digest.
    pub fn spki_sha256(&self) -> Digest {
        let normal = key::write_spki(&self.key, self.public_bits());
        Digest::of(normal.as_ref().unwrap_or(&self.spki))
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

    fn understanding(mut self, extension: &Extension<'_>) -> Self {
        let value = extension.value;
        let read = match extension.id {
            oid::SKI => tlv::one(value)
                .and_then(|id| id.expect(tlv::OCTET_STRING))
                .map(|id| self.ski = Some(id.to_vec())),
            oid::AKI => extension::read_authority_key_id(value)
                .map(|id| self.aki = Some(id).filter(|id| !id.is_empty())),
            oid::SAN => San::read_all(value).map(|sans| self.sans = sans),
            oid::KEY_USAGE => {
                extension::read_key_usage(value).map(|usages| self.key_usages = usages)
            },
            oid::EXTENDED_KEY_USAGE => extension::read_extended_key_usage(value)
                .map(|usages| self.extended_usages = usages),
            oid::BASIC_CONSTRAINTS => extension::read_basic_constraints(value)
                .map(|(is_ca, path_len)| (self.is_ca, self.path_len) = (is_ca, path_len)),
            _ => Some(()),
        };
        if read.is_none() {
            self.unreadable.push(oid::dotted(&extension.id[2..]));
        }
        self
    }
}

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

/// The fields of a `TBSCertificate`, raw. The inner signature algorithm is passed over.
pub(crate) struct Fields<'a> {
    version: u8,
    serial: Tlv<'a>,
    issuer: Tlv<'a>,
    validity: Tlv<'a>,
    /// The subject.
    pub(crate) subject: Tlv<'a>,
    spki: Tlv<'a>,
    /// `subjectUniqueID`.
    pub(crate) subject_unique_id: Option<Tlv<'a>>,
    /// The extensions in their order.
    pub(crate) extensions: Vec<Extension<'a>>,
}

impl<'a> Fields<'a> {
    /// Takes a `TBSCertificate` apart.
    pub(crate) fn read(tbs: &Tlv<'a>) -> Result<Self, CertError> {
        let fields = tbs
            .children(tlv::SEQUENCE)
            .ok_or_else(|| malformed("body"))?;
        let mut fields = fields.into_iter().peekable();
        let version = fields.next_if(|field| field.tag == 0xa0);
        let version = version.map_or(Some(1), |field| read_version(&field));
        let version = version.ok_or_else(|| malformed("version"))?;
        let mut take = |tag: u8, part: &'static str| {
            fields
                .next()
                .filter(|field| field.tag == tag)
                .ok_or_else(|| malformed(part))
        };
        let serial = take(tlv::INTEGER, "serial")?;
        take(tlv::SEQUENCE, "inner signature algorithm")?;
        let issuer = take(tlv::SEQUENCE, "issuer")?;
        let validity = take(tlv::SEQUENCE, "validity")?;
        let subject = take(tlv::SEQUENCE, "subject")?;
        let spki = take(tlv::SEQUENCE, "public key")?;
        fields.next_if(|field| matches!(field.tag, 0x81 | 0xa1));
        let subject_unique_id = fields.next_if(|field| matches!(field.tag, 0x82 | 0xa2));
        let extensions = fields
            .next()
            .map_or(Some(Vec::new()), |field| read_extensions(&field));
        let extensions = extensions.ok_or_else(|| malformed("list of extensions"))?;
        if fields.next().is_some() {
            return Err(malformed("end"));
        }
        Ok(Self {
            version,
            serial,
            issuer,
            validity,
            subject,
            spki,
            subject_unique_id,
            extensions,
        })
    }
}

/// The number that people say: one more than the encoded one.
fn read_version(field: &Tlv<'_>) -> Option<u8> {
    match field.value {
        [tlv::INTEGER, 1, number @ 0..=2] => Some(number + 1),
        _ => None,
    }
}

fn read_extensions<'a>(field: &Tlv<'a>) -> Option<Vec<Extension<'a>>> {
    let list = tlv::one(field.expect(0xa3)?)?;
    list.children(tlv::SEQUENCE)?
        .iter()
        .map(Extension::read)
        .collect()
}

fn malformed(part: &'static str) -> CertError {
    CertError::Malformed { part }
}

/// Where `part`, a slice of `whole`, lies in it.
fn within(whole: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr().addr() - whole.as_ptr().addr();
    start..start + part.len()
}

fn validity(field: &Tlv<'_>) -> Option<(Utc, Utc)> {
    match field.children(tlv::SEQUENCE)?.as_slice() {
        [from, until] => Some((moment(from)?, moment(until)?)),
        _ => None,
    }
}

/// A `UTCTime` (years 1950 to 2049) or `GeneralizedTime`. Seconds may be missing and the zone may
/// be an offset, as X.690 allows outside of DER and as old certificates have it.
fn moment(element: &Tlv<'_>) -> Option<Utc> {
    let text = std::str::from_utf8(element.value)
        .ok()
        .filter(|text| text.is_ascii())?;
    let (year, rest) = match element.tag {
        0x17 => {
            let (short, rest) = text.split_at_checked(2)?;
            let century = if short < "50" { "20" } else { "19" };
            (format!("{century}{short}"), rest)
        },
        0x18 => text
            .split_at_checked(4)
            .map(|(year, rest)| (year.to_owned(), rest))?,
        _ => return None,
    };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (clock, zone) = rest.split_at(digits);
    let (day, time) = clock.split_at_checked(4)?;
    let seconds = match time.len() {
        4 => "00",
        6 => &time[4..],
        _ => return None,
    };
    let zone = match zone.as_bytes() {
        b"Z" => "Z".to_owned(),
        [b'+' | b'-', _, _, _, _] => format!("{}:{}", &zone[..3], &zone[3..]),
        _ => return None,
    };
    let (month, day) = day.split_at(2);
    Utc::parse(&format!(
        "{year}-{month}-{day}T{}:{}:{seconds}{zone}",
        &time[..2],
        &time[2..4]
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(tag: u8, text: &str) -> Option<String> {
        let der = tlv::wrap(tag, &[text.as_bytes()]);
        moment(&tlv::one(&der).unwrap()).map(|at| at.to_string())
    }

    #[test]
    fn reads_both_time_types() {
        assert_eq!(time(0x17, "491231235959Z").unwrap(), "2049-12-31T23:59:59Z");
        assert_eq!(time(0x17, "500101000000Z").unwrap(), "1950-01-01T00:00:00Z");
        assert_eq!(
            time(0x18, "99991231235959Z").unwrap(),
            "9999-12-31T23:59:59Z"
        );
        assert_eq!(
            time(0x17, "2601010000+0100").unwrap(),
            "2025-12-31T23:00:00Z"
        );
        for none in ["", "26", "2601010000", "261301000000Z", "26010100000xZ"] {
            assert_eq!(time(0x17, none), None, "{none}");
        }
    }

    /// A certificate with odd parts: nobody's signature, no known issuer.
    fn odd(serial: &[u8], extensions: &[u8]) -> Vec<u8> {
        let algorithm = tlv::wrap(tlv::SEQUENCE, &[oid::ED25519]);
        let spki = key::write_spki(&KeyAlgorithm::Ed25519, &[7; 32]).unwrap();
        let time = tlv::wrap(0x18, &[b"20260101000000Z"]);
        let validity = tlv::wrap(tlv::SEQUENCE, &[&time, &time]);
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

    #[test]
    fn accepts_odd_serials_and_broken_extensions() {
        let broken = extension::write(oid::SAN, false, b"\x30\x05");
        let unknown = extension::write(b"\x06\x03\x2a\x03\x04", true, b"anything");
        let long = [&[0xff; 30][..]].concat();
        let cert = Cert::from_der(&odd(&long, &[broken, unknown].concat())).unwrap();
        assert_eq!(cert.unreadable, ["2.5.29.17"]);
        assert_eq!(cert.serial_hex(), "ff".repeat(30));
        assert_eq!((cert.public_bits(), cert.version), (&[7; 32][..], 3));
        assert!(cert.signature().is_empty() && cert.self_issued());
        let json = serde_json::to_string(&cert).unwrap();
        assert_eq!(serde_json::from_str::<Cert>(&json).unwrap(), cert);
    }

    #[test]
    fn never_panics_on_damaged_bytes() {
        let good = odd(
            &[1],
            &extension::alternative_names(&[San::Dns("x".into())], false),
        );
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
        let pem = |tag| pem::encode(tag, &odd(&[1], &[])).to_string();
        let text = [pem("PRIVATE KEY"), pem("CERTIFICATE"), pem("CERTIFICATE")].concat();
        assert_eq!(Cert::all_from_pem(text.as_bytes()).unwrap().len(), 2);
        let said = |text: String| Cert::all_from_pem(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(
            said(pem("PUBLIC KEY")),
            "has no certificate, only PUBLIC KEY"
        );
        assert!(said(pem("TRUSTED CERTIFICATE")).contains("TRUSTED"));
    }
}
