//! Certificate extensions: the few that are understood, and how they are written
//! (RFC 5280, section 4.2).

use serde::{Deserialize, Serialize};

use super::oid;
use super::san::San;
use super::tlv::{self, Tlv};

/// One extension, raw and taken apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extension<'a> {
    /// The whole `Extension` element.
    pub(crate) raw: &'a [u8],
    /// The identifier, as a DER element.
    pub(crate) id: &'a [u8],
    /// Whether it is marked critical.
    pub(crate) critical: bool,
    /// What the OCTET STRING holds.
    pub(crate) value: &'a [u8],
}

impl<'a> Extension<'a> {
    /// Takes one `Extension` element apart; `None` if it is none.
    pub(crate) fn read(element: &Tlv<'a>) -> Option<Self> {
        let (id, critical, value) = match element.children(tlv::SEQUENCE)?.as_slice() {
            [id, value] => (*id, false, *value),
            [id, flag, value] => (*id, flag.expect(tlv::BOOLEAN)? != [0], *value),
            _ => return None,
        };
        id.expect(tlv::OID)?;
        let value = value.expect(tlv::OCTET_STRING)?;
        Some(Self {
            raw: element.raw,
            id: id.raw,
            critical,
            value,
        })
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

/// Each usage with cfssl's name, RFC 5280's name, and the last byte below `id-kp` for extended
/// ones.
const USAGES: [(Usage, &str, &str, Option<u8>); 16] = [
    (
        Usage::DigitalSignature,
        "digital signature",
        "digitalSignature",
        None,
    ),
    (
        Usage::ContentCommitment,
        "content commitment",
        "nonRepudiation",
        None,
    ),
    (
        Usage::KeyEncipherment,
        "key encipherment",
        "keyEncipherment",
        None,
    ),
    (
        Usage::DataEncipherment,
        "data encipherment",
        "dataEncipherment",
        None,
    ),
    (Usage::KeyAgreement, "key agreement", "keyAgreement", None),
    (Usage::CertSign, "cert sign", "keyCertSign", None),
    (Usage::CrlSign, "crl sign", "cRLSign", None),
    (Usage::EncipherOnly, "encipher only", "encipherOnly", None),
    (Usage::DecipherOnly, "decipher only", "decipherOnly", None),
    (Usage::ServerAuth, "server auth", "serverAuth", Some(1)),
    (Usage::ClientAuth, "client auth", "clientAuth", Some(2)),
    (Usage::CodeSigning, "code signing", "codeSigning", Some(3)),
    (
        Usage::EmailProtection,
        "email protection",
        "emailProtection",
        Some(4),
    ),
    (Usage::TimeStamping, "timestamping", "timeStamping", Some(8)),
    (Usage::OcspSigning, "ocsp signing", "OCSPSigning", Some(9)),
    (Usage::Any, "any", "anyExtendedKeyUsage", None),
];

/// `id-kp` (1.3.6.1.5.5.7.3), content bytes.
const ID_KP: &[u8] = b"\x2b\x06\x01\x05\x05\x07\x03";
/// `anyExtendedKeyUsage` (2.5.29.37.0), content bytes.
const ANY_USAGE: &[u8] = b"\x55\x1d\x25\x00";
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

    /// cfssl's name.
    pub fn name(self) -> &'static str {
        USAGES
            .iter()
            .find(|usage| usage.0 == self)
            .map_or("", |usage| usage.1)
    }

    /// The bit of a key usage; `None` for an extended one.
    fn bit(self) -> Option<usize> {
        USAGES.iter().take(BITS).position(|usage| usage.0 == self)
    }

    fn extended_id(self) -> Option<Vec<u8>> {
        if self == Self::Any {
            return Some(ANY_USAGE.to_vec());
        }
        let last = USAGES.iter().find(|usage| usage.0 == self)?.3?;
        Some([ID_KP, &[last]].concat())
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

/// Writes an `Extension` element.
pub(crate) fn write(id: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let flag: &[u8] = if critical { b"\x01\x01\xff" } else { b"" };
    tlv::wrap(
        tlv::SEQUENCE,
        &[id, flag, &tlv::wrap(tlv::OCTET_STRING, &[value])],
    )
}

/// The critical key usage extension; `None` if there is no key usage among `usages`.
pub(crate) fn key_usage(usages: &[Usage]) -> Option<Vec<u8>> {
    let highest = usages.iter().filter_map(|usage| usage.bit()).max()?;
    let mut bits = [0_u8; 2];
    for bit in usages.iter().filter_map(|usage| usage.bit()) {
        bits[bit / 8] |= 0x80 >> (bit % 8);
    }
    // A named bit list drops its trailing zeros (X.690, section 11.2.2).
    let bytes = &bits[..=highest / 8];
    let unused = bytes
        .last()
        .map_or(0, |byte| byte.trailing_zeros())
        .to_be_bytes()[3];
    let value = tlv::wrap(tlv::BIT_STRING, &[&[unused], bytes]);
    Some(write(oid::KEY_USAGE, true, &value))
}

/// The extended key usage extension, not critical; `None` if there is none among `usages`.
pub(crate) fn extended_key_usage(usages: &[Usage]) -> Option<Vec<u8>> {
    let ids: Vec<Vec<u8>> = usages
        .iter()
        .filter_map(|usage| usage.extended_id())
        .map(|id| tlv::wrap(tlv::OID, &[&id]))
        .collect();
    if ids.is_empty() {
        return None;
    }
    Some(write(
        oid::EXTENDED_KEY_USAGE,
        false,
        &tlv::wrap(tlv::SEQUENCE, &[&ids.concat()]),
    ))
}

/// The critical basic constraints of a leaf (`CA:FALSE` as an empty SEQUENCE) or a CA.
pub(crate) fn basic_constraints(is_ca: bool, path_len: Option<u8>) -> Vec<u8> {
    let flag: &[u8] = if is_ca { b"\x01\x01\xff" } else { b"" };
    // One byte of an INTEGER is enough up to 127; longer chains than that do not exist.
    let depth = path_len
        .filter(|_| is_ca)
        .map(|n| tlv::wrap(tlv::INTEGER, &[&[n.min(127)]]));
    let value = tlv::wrap(tlv::SEQUENCE, &[flag, depth.as_deref().unwrap_or_default()]);
    write(oid::BASIC_CONSTRAINTS, true, &value)
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

/// The subject alternative names, in the order given; critical as RFC 5280 wants it: if the subject
/// is empty.
pub(crate) fn alternative_names(names: &[San], critical: bool) -> Vec<u8> {
    let all: Vec<u8> = names.iter().flat_map(San::to_der).collect();
    write(oid::SAN, critical, &tlv::wrap(tlv::SEQUENCE, &[&all]))
}

/// RFC 5280's names of the bits that are set.
pub(crate) fn read_key_usage(value: &[u8]) -> Option<Vec<String>> {
    let bits = tlv::one(value)?.expect(tlv::BIT_STRING)?.get(1..)?;
    let set = |bit: usize| {
        bits.get(bit / 8)
            .is_some_and(|byte| byte & (0x80 >> (bit % 8)) != 0)
    };
    let named = USAGES
        .iter()
        .take(BITS)
        .enumerate()
        .filter(|(bit, _)| set(*bit));
    Some(named.map(|(_, usage)| usage.2.to_owned()).collect())
}

/// RFC 5280's names of the extended usages, dotted where unknown.
pub(crate) fn read_extended_key_usage(value: &[u8]) -> Option<Vec<String>> {
    let ids = tlv::one(value)?.children(tlv::SEQUENCE)?;
    ids.iter()
        .map(|id| {
            let id = id.expect(tlv::OID)?;
            let known = USAGES
                .iter()
                .find(|usage| usage.0.extended_id().as_deref() == Some(id));
            Some(known.map_or_else(|| oid::dotted(id), |usage| usage.2.to_owned()))
        })
        .collect()
}

/// The CA flag and the path length.
pub(crate) fn read_basic_constraints(value: &[u8]) -> Option<(bool, Option<u32>)> {
    let mut fields = tlv::one(value)?
        .children(tlv::SEQUENCE)?
        .into_iter()
        .peekable();
    let flag = fields.next_if(|field| field.tag == tlv::BOOLEAN);
    let depth = fields
        .next_if(|field| field.tag == tlv::INTEGER)
        .map(|field| unsigned(field.value));
    let whole = fields.next().is_none() && depth != Some(None);
    whole.then(|| {
        (
            flag.is_some_and(|field| field.value != [0]),
            depth.flatten(),
        )
    })
}

/// The key identifier of an authority key identifier; empty if it has only issuer and serial.
pub(crate) fn read_authority_key_id(value: &[u8]) -> Option<Vec<u8>> {
    let fields = tlv::one(value)?.children(tlv::SEQUENCE)?;
    let id = fields.iter().find_map(|field| field.expect(0x80));
    Some(id.unwrap_or_default().to_vec())
}

fn unsigned(content: &[u8]) -> Option<u32> {
    if content.is_empty() || content.len() > 4 || content[0] & 0x80 != 0 {
        return None;
    }
    Some(
        content
            .iter()
            .fold(0, |sum, byte| (sum << 8) | u32::from(*byte)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::digest::hex;

    #[test]
    fn writes_kubeadms_extensions() {
        let leaf = [
            Usage::DigitalSignature,
            Usage::KeyEncipherment,
            Usage::ServerAuth,
        ];
        assert_eq!(
            hex(&key_usage(&leaf).unwrap()),
            "300e0603551d0f0101ff0404030205a0"
        );
        let extended = "30130603551d25040c300a06082b06010505070301";
        assert_eq!(hex(&extended_key_usage(&leaf).unwrap()), extended);
        assert_eq!(
            hex(&basic_constraints(false, None)),
            "300c0603551d130101ff04023000"
        );
        assert_eq!(
            hex(&basic_constraints(true, None)),
            "300f0603551d130101ff040530030101ff"
        );
    }

    #[test]
    fn reads_what_it_writes() {
        let every: Vec<Usage> = USAGES.iter().map(|usage| usage.0).collect();
        let part = |extension: Vec<u8>| {
            let element = tlv::one(&extension).unwrap();
            Extension::read(&element).unwrap().value.to_vec()
        };
        let usages = read_key_usage(&part(key_usage(&every).unwrap())).unwrap();
        assert_eq!((usages.len(), usages[8].as_str()), (9, "decipherOnly"));
        let extended = read_extended_key_usage(&part(extended_key_usage(&every).unwrap())).unwrap();
        assert_eq!(
            (extended.len(), extended[6].as_str()),
            (7, "anyExtendedKeyUsage")
        );
        let constraints = part(basic_constraints(true, Some(3)));
        assert_eq!(read_basic_constraints(&constraints), Some((true, Some(3))));
        let id = part(authority_key_id(&[9; 20]));
        assert_eq!(read_authority_key_id(&id), Some(vec![9; 20]));
        for usage in every {
            assert_eq!(Usage::parse(usage.name()), Some(usage));
        }
    }
}
