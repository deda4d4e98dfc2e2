//! Keys: which algorithm, in which file form, and the way from one form to another.
//!
//! ```text
//! RSA PRIVATE KEY   PKCS#1  RFC 8017, A.1.2   kubeadm's default
//! EC PRIVATE KEY    SEC 1   RFC 5915          kubeadm, cfssl; EC PARAMETERS may precede
//! PRIVATE KEY       PKCS#8  RFC 5208, 5958    everything; the only form of Ed25519 (RFC 8410)
//! ```

mod algorithm;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::oid;
use super::pem::{self, Block, PemError};
use super::tlv::{self, Tlv};

pub use algorithm::{KeyAlgorithm, read_spki, write_spki};
use algorithm::{curve_name, modulus_bits};

/// How a private key lies in its file.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyForm {
    /// `RSA PRIVATE KEY`.
    Pkcs1,
    /// `PRIVATE KEY`.
    Pkcs8,
    /// `EC PRIVATE KEY`.
    Sec1,
    /// `EC PARAMETERS`, then `EC PRIVATE KEY`.
    Sec1WithParameters,
}

/// A private key in one of its forms. Wiped when dropped; it can be neither shown nor serialised.
#[derive(Clone)]
pub struct PrivateKey {
    form: KeyForm,
    der: Zeroizing<Vec<u8>>,
    /// The content of an `EC PARAMETERS` block: the curve.
    parameters: Option<Vec<u8>>,
}

/// Why there is no key to be had. Displayed after a file's name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The text is no PEM.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// There are PEM blocks, but no private key among them.
    #[error("has no private key, only {}", .found.to_lowercase())]
    NoKey {
        /// The tag of the first block.
        found: String,
    },
    /// The key is encrypted, which no component of a cluster reads.
    #[error("holds an encrypted private key")]
    Encrypted,
    /// The block is no private key.
    #[error("holds a {} that is malformed", .tag.to_lowercase())]
    Malformed {
        /// The block's tag.
        tag: String,
    },
    /// The key cannot take that form.
    #[error("holds a {}, which cannot be written as {form:?}", .tag.to_lowercase())]
    Form {
        /// The block's tag.
        tag: String,
        /// The form asked for.
        form: KeyForm,
    },
}

impl KeyForm {
    /// The tag of the block that holds the key.
    pub fn tag(self) -> &'static str {
        match self {
            Self::Pkcs1 => "RSA PRIVATE KEY",
            Self::Pkcs8 => "PRIVATE KEY",
            Self::Sec1 | Self::Sec1WithParameters => "EC PRIVATE KEY",
        }
    }

    /// The form nearest to this one that a key of `algorithm` can have: the traditional one of its
    /// own kind where this is traditional, else PKCS#8.
    #[must_use]
    pub fn fitted(self, algorithm: &KeyAlgorithm) -> Self {
        match (algorithm, self) {
            (KeyAlgorithm::Rsa(_), Self::Sec1 | Self::Sec1WithParameters) => Self::Pkcs1,
            (KeyAlgorithm::Rsa(_), form) => form,
            (KeyAlgorithm::EcdsaP256 | KeyAlgorithm::EcdsaP384 | KeyAlgorithm::EcdsaP521, form) => {
                match form {
                    Self::Pkcs1 => Self::Sec1,
                    other => other,
                }
            },
            (KeyAlgorithm::Ed25519 | KeyAlgorithm::Other(_), _) => Self::Pkcs8,
        }
    }
}

impl PrivateKey {
    /// Takes the first block whose tag ends in `PRIVATE KEY`, as Go's `tls.X509KeyPair` does: what
    /// is inside decides on the form, not the tag.
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        Self::from_blocks(&pem::blocks(text)?)
    }

    /// As [`Self::from_pem`], from blocks that are read already.
    pub fn from_blocks(blocks: &[Block]) -> Result<Self, KeyError> {
        let Some(place) = blocks
            .iter()
            .position(|block| block.tag.ends_with("PRIVATE KEY"))
        else {
            let found = blocks
                .first()
                .map_or_else(String::new, |block| block.tag.clone());
            return Err(KeyError::NoKey { found });
        };
        let block = &blocks[place];
        if block.encrypted || block.tag == "ENCRYPTED PRIVATE KEY" {
            return Err(KeyError::Encrypted);
        }
        let malformed = || KeyError::Malformed {
            tag: block.tag.clone(),
        };
        let form = form_of(&block.der).ok_or_else(malformed)?;
        let parameters = blocks[..place]
            .iter()
            .rfind(|block| block.tag == "EC PARAMETERS")
            .filter(|_| form == KeyForm::Sec1)
            .map(|block| block.der.to_vec());
        let form = if parameters.is_some() {
            KeyForm::Sec1WithParameters
        } else {
            form
        };
        Ok(Self {
            form,
            der: block.der.clone(),
            parameters,
        })
    }

    /// Takes the DER of an unencrypted PKCS#8 structure, unchecked.
    pub fn from_pkcs8(der: Zeroizing<Vec<u8>>) -> Self {
        Self {
            form: KeyForm::Pkcs8,
            der,
            parameters: None,
        }
    }

    /// The form.
    pub fn form(&self) -> KeyForm {
        self.form
    }

    /// The DER of the key, in its form.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The PEM text, in its form.
    pub fn to_pem(&self) -> Zeroizing<String> {
        let key = pem::encode(self.form.tag(), &self.der);
        let Some(parameters) = &self.parameters else {
            return key;
        };
        let first = pem::encode("EC PARAMETERS", parameters);
        let mut text = Zeroizing::new(String::with_capacity(first.len() + key.len()));
        text.push_str(&first);
        text.push_str(&key);
        text
    }

    /// The same key in another form.
    ///
    /// # Errors
    ///
    /// [`KeyError::Form`] if its kind has no such form (see [`KeyForm::fitted`]) or a curve is
    /// given by explicit parameters.
    pub fn in_form(&self, form: KeyForm) -> Result<Self, KeyError> {
        if form == self.form {
            return Ok(self.clone());
        }
        let tag = self.form.tag().to_owned();
        self.converted(form).ok_or(KeyError::Form { tag, form })
    }

    /// What kind of key it is, as far as its file says; `None` for an elliptic curve that it does
    /// not name.
    pub fn algorithm(&self) -> Option<KeyAlgorithm> {
        match self.form {
            KeyForm::Pkcs1 => rsa_bits(self.der()).map(KeyAlgorithm::Rsa),
            KeyForm::Sec1 | KeyForm::Sec1WithParameters => self.curve().map(|oid| curve_name(&oid)),
            KeyForm::Pkcs8 => {
                let (algorithm, inner) = open_pkcs8(&self.der)?;
                let parts = algorithm.children(tlv::SEQUENCE)?;
                match parts.first()?.raw {
                    oid::RSA => rsa_bits(inner).map(KeyAlgorithm::Rsa),
                    oid::EC => Some(curve_name(parts.get(1)?.raw)),
                    oid::ED25519 => Some(KeyAlgorithm::Ed25519),
                    other => Some(KeyAlgorithm::Other(oid::dotted(&other[2..]))),
                }
            },
        }
    }

    fn converted(&self, form: KeyForm) -> Option<Self> {
        let (der, parameters) = match (self.form, form) {
            (KeyForm::Pkcs1, KeyForm::Pkcs8) => (pkcs8(&[oid::RSA, b"\x05\x00"], &self.der), None),
            (KeyForm::Pkcs8, KeyForm::Pkcs1) => {
                let (algorithm, inner) = open_pkcs8(&self.der)?;
                let rsa = algorithm.children(tlv::SEQUENCE)?.first()?.raw == oid::RSA;
                (rsa.then(|| Zeroizing::new(inner.to_vec()))?, None)
            },
            (KeyForm::Sec1 | KeyForm::Sec1WithParameters, KeyForm::Pkcs8) => (
                pkcs8(&[oid::EC, &self.curve()?], &sec1(&self.der, None)?),
                None,
            ),
            (
                KeyForm::Sec1 | KeyForm::Sec1WithParameters,
                KeyForm::Sec1 | KeyForm::Sec1WithParameters,
            ) => {
                let curve = self.curve()?;
                (sec1(&self.der, Some(&curve))?, Some(curve))
            },
            (KeyForm::Pkcs8, KeyForm::Sec1 | KeyForm::Sec1WithParameters) => {
                let (algorithm, inner) = open_pkcs8(&self.der)?;
                let parts = algorithm.children(tlv::SEQUENCE)?;
                let [id, curve] = parts.as_slice() else {
                    return None;
                };
                let named = id.raw == oid::EC && curve.tag == tlv::OID;
                (
                    named.then(|| sec1(inner, Some(curve.raw)))??,
                    Some(curve.raw.to_vec()),
                )
            },
            _ => return None,
        };
        let parameters = parameters.filter(|_| form == KeyForm::Sec1WithParameters);
        Some(Self {
            form,
            der,
            parameters,
        })
    }

    /// The curve's identifier as a DER element: from the key itself, else from `EC PARAMETERS`.
    fn curve(&self) -> Option<Vec<u8>> {
        let key = tlv::one(&self.der)?.children(tlv::SEQUENCE)?;
        let inside = key.iter().find_map(|field| field.expect(0xa0));
        let named = inside.or(self.parameters.as_deref())?;
        tlv::one(named)?.expect(tlv::OID)?;
        Some(named.to_vec())
    }
}

/// The PKCS#8 version 1 form of an Ed25519 seed (RFC 8410, section 7). Version 2, which ring and
/// other libraries write, is not read by OpenSSL 3.0.
pub fn ed25519_pkcs8(seed: &[u8; 32]) -> Zeroizing<Vec<u8>> {
    let inner = Zeroizing::new(tlv::wrap(tlv::OCTET_STRING, &[seed]));
    pkcs8(&[oid::ED25519], &inner)
}

/// The seed of an Ed25519 key in PKCS#8, whichever version.
pub fn ed25519_seed(pkcs8: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    let (algorithm, inner) = open_pkcs8(pkcs8)?;
    let ours = algorithm.children(tlv::SEQUENCE)?.first()?.raw == oid::ED25519;
    let seed = tlv::one(inner)?.expect(tlv::OCTET_STRING)?;
    Some(Zeroizing::new(seed.try_into().ok().filter(|_| ours)?))
}

/// Which form DER has, by the types of its first two fields after the SEQUENCE.
fn form_of(der: &[u8]) -> Option<KeyForm> {
    let fields = tlv::one(der)?.children(tlv::SEQUENCE)?;
    match fields.as_slice() {
        [
            Tlv {
                tag: tlv::INTEGER, ..
            },
            second,
            _,
            ..,
        ] if second.tag == tlv::INTEGER => Some(KeyForm::Pkcs1),
        [
            Tlv {
                tag: tlv::INTEGER, ..
            },
            second,
            ..,
        ] if second.tag == tlv::OCTET_STRING => Some(KeyForm::Sec1),
        [
            Tlv {
                tag: tlv::INTEGER, ..
            },
            second,
            third,
            ..,
        ] if second.tag == tlv::SEQUENCE && third.tag == tlv::OCTET_STRING => Some(KeyForm::Pkcs8),
        _ => None,
    }
}

/// The `AlgorithmIdentifier` and the content of `privateKey`.
fn open_pkcs8(der: &[u8]) -> Option<(Tlv<'_>, &[u8])> {
    match tlv::one(der)?.children(tlv::SEQUENCE)?.as_slice() {
        [_, algorithm, inner, ..] => Some((*algorithm, inner.expect(tlv::OCTET_STRING)?)),
        _ => None,
    }
}

fn pkcs8(identifier: &[&[u8]], inner: &[u8]) -> Zeroizing<Vec<u8>> {
    let algorithm = tlv::wrap(tlv::SEQUENCE, identifier);
    let octets = Zeroizing::new(tlv::wrap(tlv::OCTET_STRING, &[inner]));
    Zeroizing::new(tlv::wrap(
        tlv::SEQUENCE,
        &[b"\x02\x01\x00", &algorithm, &octets],
    ))
}

/// Rewrites an `ECPrivateKey` with the curve, or without as PKCS#8 wants it; the rest stays.
fn sec1(der: &[u8], curve: Option<&[u8]>) -> Option<Zeroizing<Vec<u8>>> {
    let fields = tlv::one(der)?.children(tlv::SEQUENCE)?;
    let [version, secret, rest @ ..] = fields.as_slice() else {
        return None;
    };
    secret.expect(tlv::OCTET_STRING)?;
    let named = curve.map(|oid| tlv::wrap(0xa0, &[oid])).unwrap_or_default();
    let public = rest
        .iter()
        .find(|field| field.tag == 0xa1)
        .map_or(&[][..], |field| field.raw);
    Some(Zeroizing::new(tlv::wrap(
        tlv::SEQUENCE,
        &[version.raw, secret.raw, &named, public],
    )))
}

fn rsa_bits(pkcs1: &[u8]) -> Option<u32> {
    modulus_bits(tlv::one(pkcs1)?.children(tlv::SEQUENCE)?.get(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8410, section 10.3: version 1.
    const RFC_8410: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";

    #[test]
    fn writes_ed25519_as_rfc_8410_does() {
        let key = PrivateKey::from_pem(RFC_8410.as_bytes()).ok().unwrap();
        assert_eq!(key.algorithm(), Some(KeyAlgorithm::Ed25519));
        let seed = ed25519_seed(key.der()).unwrap();
        assert_eq!(ed25519_pkcs8(&seed).as_slice(), key.der());
        assert_eq!(key.to_pem().as_str(), RFC_8410);
        assert_eq!(
            key.in_form(KeyForm::Sec1).err().unwrap().to_string(),
            "holds a private key, which cannot be written as Sec1"
        );
    }

    #[test]
    fn refuses_what_is_no_usable_key() {
        let said = |tag: &str, der: &[u8]| {
            PrivateKey::from_pem(pem::encode(tag, der).as_bytes())
                .err()
                .unwrap()
        };
        assert_eq!(
            said("CERTIFICATE", b"\x30\x00").to_string(),
            "has no private key, only certificate"
        );
        assert_eq!(
            said("ENCRYPTED PRIVATE KEY", b"\x30\x00"),
            KeyError::Encrypted
        );
        assert_eq!(
            said("PRIVATE KEY", b"\x30\x00").to_string(),
            "holds a private key that is malformed"
        );
        assert_eq!(
            PrivateKey::from_pem(b"").err().unwrap().to_string(),
            "is empty"
        );
    }

    #[test]
    fn fits_forms_to_algorithms() {
        assert_eq!(
            KeyForm::Pkcs1.fitted(&KeyAlgorithm::EcdsaP256),
            KeyForm::Sec1
        );
        assert_eq!(
            KeyForm::Sec1WithParameters.fitted(&KeyAlgorithm::Rsa(2048)),
            KeyForm::Pkcs1
        );
        assert_eq!(KeyForm::Sec1.fitted(&KeyAlgorithm::Ed25519), KeyForm::Pkcs8);
        assert_eq!(
            KeyForm::Pkcs8.fitted(&KeyAlgorithm::EcdsaP521),
            KeyForm::Pkcs8
        );
    }
}
