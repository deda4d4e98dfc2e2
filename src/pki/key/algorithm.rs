//! Kinds of keys, and the `SubjectPublicKeyInfo` that says which (RFC 5280, section 4.1.2.7).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::pki::oid;
use crate::pki::tlv::{self, Tlv};

/// The kind and size of a key.
///
/// Shown, read and serialised as `rsa-2048`, `ecdsa-p256`, `ecdsa-p384`, `ecdsa-p521`, `ed25519`;
/// any other text becomes [`Self::Other`] when read by serde and is refused when read by
/// [`FromStr`].
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum KeyAlgorithm {
    /// NIST P-256.
    EcdsaP256,
    /// NIST P-384.
    EcdsaP384,
    /// NIST P-521.
    EcdsaP521,
    /// Edwards curve 25519.
    Ed25519,
    /// RSA with a modulus of this many bits.
    Rsa(u32),
    /// Something that can be kept but not made: its name or dotted identifier.
    Other(String),
}

impl KeyAlgorithm {
    /// Whether new keys of this kind can be made. Others can be read and kept, such as the 2432 bits that the `certtool`
    /// of `GnuTLS` made by default.
    pub fn can_be_made(&self) -> bool {
        match self {
            Self::Rsa(bits) => [2048, 3072, 4096, 8192].contains(bits),
            Self::Other(_) => false,
            _ => true,
        }
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EcdsaP256 => f.write_str("ecdsa-p256"),
            Self::EcdsaP384 => f.write_str("ecdsa-p384"),
            Self::EcdsaP521 => f.write_str("ecdsa-p521"),
            Self::Ed25519 => f.write_str("ed25519"),
            Self::Rsa(bits) => write!(f, "rsa-{bits}"),
            Self::Other(name) => f.write_str(name),
        }
    }
}

impl FromStr for KeyAlgorithm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "ecdsa-p256" => Ok(Self::EcdsaP256),
            "ecdsa-p384" => Ok(Self::EcdsaP384),
            "ecdsa-p521" => Ok(Self::EcdsaP521),
            "ed25519" => Ok(Self::Ed25519),
            other => match other
                .strip_prefix("rsa-")
                .and_then(|bits| bits.parse().ok())
            {
                Some(bits) => Ok(Self::Rsa(bits)),
                None => Err(format!(
                    "`{text}` is not one of rsa-2048, rsa-3072, rsa-4096, ecdsa-p256, ecdsa-p384, ecdsa-p521, ed25519"
                )),
            },
        }
    }
}

impl Serialize for KeyAlgorithm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyAlgorithm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Err(de::Error::custom("a key algorithm has no name"));
        }
        Ok(text.parse().unwrap_or(Self::Other(text)))
    }
}

/// Reads a `SubjectPublicKeyInfo`: what kind of key, and the content of its BIT STRING.
pub fn read_spki(spki: &[u8]) -> Option<(KeyAlgorithm, &[u8])> {
    let fields = tlv::one(spki)?.children(tlv::SEQUENCE)?;
    let [algorithm, public] = fields.as_slice() else {
        return None;
    };
    let bits = tlv::bits(public)?;
    let parts = algorithm.children(tlv::SEQUENCE)?;
    let id = parts.first()?;
    id.expect(tlv::OID)?;
    let kind = match id.raw {
        oid::RSA => match rsa_public_bits(bits) {
            Some(length) => KeyAlgorithm::Rsa(length),
            None => return None,
        },
        oid::RSA_PSS => KeyAlgorithm::Other("rsa-pss".to_owned()),
        oid::EC => curve_name(parts.get(1)?.raw),
        oid::ED25519 => KeyAlgorithm::Ed25519,
        _ => KeyAlgorithm::Other(oid::dotted(id.value)),
    };
    Some((kind, bits))
}

/// Writes a `SubjectPublicKeyInfo` around the content of its BIT STRING; `None` for an algorithm of
/// others.
pub fn write_spki(algorithm: &KeyAlgorithm, bits: &[u8]) -> Option<Vec<u8>> {
    let identifier: [&[u8]; 2] = match algorithm {
        KeyAlgorithm::EcdsaP256 => [oid::EC, oid::P256],
        KeyAlgorithm::EcdsaP384 => [oid::EC, oid::P384],
        KeyAlgorithm::EcdsaP521 => [oid::EC, oid::P521],
        KeyAlgorithm::Ed25519 => [oid::ED25519, b""],
        KeyAlgorithm::Rsa(_) => [oid::RSA, b"\x05\x00"],
        KeyAlgorithm::Other(_) => return None,
    };
    let public = tlv::wrap(tlv::BIT_STRING, &[&[0], bits]);
    Some(tlv::wrap(
        tlv::SEQUENCE,
        &[&tlv::wrap(tlv::SEQUENCE, &identifier), &public],
    ))
}

/// The algorithm of a key on the curve that this DER element names.
pub(super) fn curve_name(curve: &[u8]) -> KeyAlgorithm {
    match curve {
        oid::P256 => KeyAlgorithm::EcdsaP256,
        oid::P384 => KeyAlgorithm::EcdsaP384,
        oid::P521 => KeyAlgorithm::EcdsaP521,
        [0x06, _, content @ ..] => KeyAlgorithm::Other(format!("ecdsa-{}", oid::dotted(content))),
        _ => KeyAlgorithm::Other("ecdsa-explicit".to_owned()),
    }
}

fn rsa_public_bits(public: &[u8]) -> Option<u32> {
    modulus_bits(tlv::one(public)?.children(tlv::SEQUENCE)?.first()?)
}

/// The length of the number in an INTEGER, in bits.
pub(super) fn modulus_bits(modulus: &Tlv<'_>) -> Option<u32> {
    let bytes = modulus.expect(tlv::INTEGER)?;
    let start = bytes.iter().position(|byte| *byte != 0)?;
    let whole = u32::try_from(bytes.len() - start).ok()?.checked_mul(8)?;
    Some(whole - bytes[start].leading_zeros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_algorithms_both_ways() {
        for name in [
            "rsa-2048",
            "ecdsa-p256",
            "ecdsa-p384",
            "ecdsa-p521",
            "ed25519",
        ] {
            assert_eq!(name.parse::<KeyAlgorithm>().unwrap().to_string(), name);
        }
        assert!("rsa".parse::<KeyAlgorithm>().is_err());
        let odd: KeyAlgorithm = serde_json::from_str("\"rsa-pss\"").unwrap();
        assert_eq!(odd, KeyAlgorithm::Other("rsa-pss".into()));
    }
}
