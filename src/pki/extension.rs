//! Certificate extensions as raw elements, the names of usages, and how the extensions are written
//! that a new certificate does not copy (RFC 5280, section 4.2).

use serde::{Deserialize, Serialize};
use x509_parser::asn1_rs::{self, Oid};
use x509_parser::extensions::{X509Extension, X509ExtensionParser};
use x509_parser::nom::Parser as _;
use x509_parser::prelude::FromDer;

use super::oid;
use super::san::San;
use super::tlv;

/// One extension, raw and taken apart.
pub(crate) struct Extension<'a> {
    /// The whole `Extension` element.
    pub(crate) raw: &'a [u8],
    parts: X509Extension<'a>,
}

impl<'a> Extension<'a> {
    /// Takes one `Extension` element apart; `None` if it is none.
    pub(crate) fn read(raw: &'a [u8]) -> Option<Self> {
        let mut parser = X509ExtensionParser::new().with_deep_parse_extensions(false);
        let (rest, parts) = parser.parse(raw).ok()?;
        rest.is_empty().then_some(Self { raw, parts })
    }

    /// The extensions of a `TBSCertificate` in their order; `None` if it is none.
    pub(crate) fn all(tbs: &'a [u8]) -> Option<Vec<Self>> {
        let fields = tlv::one(tbs)?.children(tlv::SEQUENCE)?;
        let Some(list) = fields.last()?.expect(0xa3) else {
            return Some(Vec::new());
        };
        let list = tlv::one(list)?.children(tlv::SEQUENCE)?;
        list.iter().map(|element| Self::read(element.raw)).collect()
    }

    /// The content bytes of the identifier.
    pub(crate) fn id(&self) -> &[u8] {
        self.parts.oid.as_bytes()
    }

    /// Whether it is marked critical.
    pub(crate) fn critical(&self) -> bool {
        self.parts.critical
    }

    /// What the OCTET STRING holds.
    pub(crate) fn value(&self) -> &'a [u8] {
        self.parts.value
    }
}

/// What a key may be used for: key usages (RFC 5280, section 4.2.1.3), then extended ones
/// (4.2.1.12).
///
/// Shown, read and serialised with cfssl's names: `digital signature`, `server auth`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Usage {
    /// Bit 0, `digitalSignature`.
    DigitalSignature,
    /// Bit 1, `nonRepudiation`.
    ContentCommitment,
    /// Bit 2, `keyEncipherment`.
    KeyEncipherment,
    /// Bit 3, `dataEncipherment`.
    DataEncipherment,
    /// Bit 4, `keyAgreement`.
    KeyAgreement,
    /// Bit 5, `keyCertSign`.
    CertSign,
    /// Bit 6, `cRLSign`.
    CrlSign,
    /// Bit 7, `encipherOnly`.
    EncipherOnly,
    /// Bit 8, `decipherOnly`.
    DecipherOnly,
    /// `serverAuth`.
    ServerAuth,
    /// `clientAuth`.
    ClientAuth,
    /// `codeSigning`.
    CodeSigning,
    /// `emailProtection`.
    EmailProtection,
    /// `timeStamping`.
    TimeStamping,
    /// `OCSPSigning`.
    OcspSigning,
    /// `anyExtendedKeyUsage`.
    Any,
}

/// Each usage with cfssl's name, RFC 5280's name, and the dotted identifier of extended ones.
const USAGES: [(Usage, &str, &str, &str); 16] = [
    (
        Usage::DigitalSignature,
        "digital signature",
        "digitalSignature",
        "",
    ),
    (
        Usage::ContentCommitment,
        "content commitment",
        "nonRepudiation",
        "",
    ),
    (
        Usage::KeyEncipherment,
        "key encipherment",
        "keyEncipherment",
        "",
    ),
    (
        Usage::DataEncipherment,
        "data encipherment",
        "dataEncipherment",
        "",
    ),
    (Usage::KeyAgreement, "key agreement", "keyAgreement", ""),
    (Usage::CertSign, "cert sign", "keyCertSign", ""),
    (Usage::CrlSign, "crl sign", "cRLSign", ""),
    (Usage::EncipherOnly, "encipher only", "encipherOnly", ""),
    (Usage::DecipherOnly, "decipher only", "decipherOnly", ""),
    (
        Usage::ServerAuth,
        "server auth",
        "serverAuth",
        "1.3.6.1.5.5.7.3.1",
    ),
    (
        Usage::ClientAuth,
        "client auth",
        "clientAuth",
        "1.3.6.1.5.5.7.3.2",
    ),
    (
        Usage::CodeSigning,
        "code signing",
        "codeSigning",
        "1.3.6.1.5.5.7.3.3",
    ),
    (
        Usage::EmailProtection,
        "email protection",
        "emailProtection",
        "1.3.6.1.5.5.7.3.4",
    ),
    (
        Usage::TimeStamping,
        "timestamping",
        "timeStamping",
        "1.3.6.1.5.5.7.3.8",
    ),
    (
        Usage::OcspSigning,
        "ocsp signing",
        "OCSPSigning",
        "1.3.6.1.5.5.7.3.9",
    ),
    (Usage::Any, "any", "anyExtendedKeyUsage", "2.5.29.37.0"),
];

/// The number of key usage bits.
const BITS: usize = 9;

impl Usage {
    /// Reads cfssl's name, with its synonyms `signing` and `s/mime`; letter case does not count.
    pub fn parse(text: &str) -> Option<Self> {
        let wanted = match text.trim().to_ascii_lowercase().as_str() {
            "signing" => "digital signature".to_owned(),
            "s/mime" => "email protection".to_owned(),
            other => other.to_owned(),
        };
        USAGES
            .iter()
            .find(|usage| usage.1 == wanted)
            .map(|usage| usage.0)
    }

    /// cfssl's names of all usages, key usages first.
    pub fn names() -> impl Iterator<Item = &'static str> {
        USAGES.iter().map(|usage| usage.1)
    }

    /// RFC 5280's name, which certificates are described by here.
    pub fn rfc_name(self) -> &'static str {
        USAGES
            .iter()
            .find(|usage| usage.0 == self)
            .map_or("", |usage| usage.2)
    }

    /// cfssl's name.
    pub fn name(self) -> &'static str {
        USAGES
            .iter()
            .find(|usage| usage.0 == self)
            .map_or("", |usage| usage.1)
    }
}

impl From<Usage> for String {
    fn from(usage: Usage) -> Self {
        usage.name().to_owned()
    }
}

impl TryFrom<String> for Usage {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or_else(|| format!("`{text}` is not a key usage"))
    }
}

/// Writes an `Extension` element around the content bytes of its identifier and its value.
pub(crate) fn write(id: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let id = tlv::wrap(tlv::OID, &[id]);
    let flag: &[u8] = if critical { b"\x01\x01\xff" } else { b"" };
    tlv::wrap(
        tlv::SEQUENCE,
        &[&id, flag, &tlv::wrap(tlv::OCTET_STRING, &[value])],
    )
}

/// The subject key identifier extension.
pub(crate) fn subject_key_id(id: &[u8]) -> Vec<u8> {
    write(oid::SKI, false, &tlv::wrap(tlv::OCTET_STRING, &[id]))
}

/// The authority key identifier extension: a key identifier, no issuer and serial.
pub(crate) fn authority_key_id(id: &[u8]) -> Vec<u8> {
    write(
        oid::AKI,
        false,
        &tlv::wrap(tlv::SEQUENCE, &[&tlv::wrap(0x80, &[id])]),
    )
}

/// The value of a subject alternative name extension: the names in the order given.
pub(crate) fn alternative_names(names: &[San]) -> Vec<u8> {
    let all: Vec<u8> = names.iter().flat_map(San::to_der).collect();
    tlv::wrap(tlv::SEQUENCE, &[&all])
}

/// RFC 5280's names of the bits that are set, the first bit being the lowest here.
pub(crate) fn key_usage_names(flags: u16) -> Vec<String> {
    let named = USAGES.iter().take(BITS).enumerate();
    let set = named.filter(|(bit, _)| flags & (1 << bit) != 0);
    set.map(|(_, usage)| usage.2.to_owned()).collect()
}

/// RFC 5280's names of the extended usages in their order, dotted where unknown.
pub(crate) fn extended_key_usage_names(value: &[u8]) -> Option<Vec<String>> {
    // x509-parser's own `ExtendedKeyUsage` forgets the order.
    let (_, ids) = <Vec<Oid<'_>> as FromDer<'_, asn1_rs::Error>>::from_der(value).ok()?;
    let name = |id: &Oid<'_>| {
        let dotted = oid::dotted(id.as_bytes());
        let known = USAGES.iter().find(|usage| usage.3 == dotted);
        known.map_or(dotted, |usage| usage.2.to_owned())
    };
    Some(ids.iter().map(name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let der = write(oid::SAN, true, &alternative_names(&[San::Dns("x".into())]));
        let read = Extension::read(&der).unwrap();
        assert_eq!(
            (read.id(), read.critical(), read.raw),
            (oid::SAN, true, &der[..])
        );
        assert_eq!(San::read_all(read.value()).unwrap(), [San::Dns("x".into())]);
        assert!(Extension::read(&der[1..]).is_none());
    }

    #[test]
    fn names_usages_both_ways() {
        assert_eq!(
            key_usage_names(0b1_0000_0101)[1..],
            ["keyEncipherment", "decipherOnly"]
        );
        let ids = b"\x30\x14\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x02\x06\x03\x2a\x03\x04\x06\x03\x55\x1d\x25";
        assert_eq!(
            extended_key_usage_names(ids).unwrap(),
            ["clientAuth", "1.2.3.4", "2.5.29.37"]
        );
        for usage in USAGES {
            assert_eq!(Usage::parse(usage.0.name()), Some(usage.0));
        }
    }
}
