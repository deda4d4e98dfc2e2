//! Keys at work: loading, making, signing, verifying, randomness. The only user of aws-lc and ring.
//!
//! aws-lc does X.509, because it reads every form of key that clusters have (PKCS#1, SEC 1, no
//! public key, P-521, RSA of any size) and makes RSA keys four times faster than pure Rust does.
//! ring signs what this tool says about itself.

mod sealed;

use std::fmt;

use aws_lc_rs::digest;
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self as lc, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RsaKeyPair,
    UnparsedPublicKey, VerificationAlgorithm,
};
use ring::rand::SecureRandom as _;
use ring::signature::KeyPair as _;
use zeroize::Zeroizing;

use crate::pki::cert::Cert;
use crate::pki::key::{self, KeyAlgorithm, KeyForm, PrivateKey};
use crate::pki::request::Request;
use crate::pki::{oid, tlv};

/// Why a cryptographic operation did not happen or did not succeed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CryptoError {
    /// The key is of a kind or size that cannot sign here.
    #[error("a key of the kind {algorithm} cannot be used")]
    UnsupportedKey {
        /// Its kind.
        algorithm: KeyAlgorithm,
    },
    /// The key's numbers are inconsistent, or its curve is unknown.
    #[error("the private key is damaged or of an unknown kind")]
    Rejected,
    /// The key cannot be written in the form asked for.
    #[error("a key of the kind {algorithm} has no form {form:?}")]
    Form {
        /// Its kind.
        algorithm: KeyAlgorithm,
        /// The form.
        form: KeyForm,
    },
    /// The certificate is signed in a way that is too weak or not known here.
    #[error("the signature algorithm {algorithm} is not supported")]
    UnsupportedSignature {
        /// The dotted identifier, or a name.
        algorithm: String,
    },
    /// The issuer's key did not make the certificate's signature.
    #[error("the signature is not the issuer's")]
    BadSignature,
    /// The key would not sign.
    #[error("signing failed")]
    Sign,
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

pub use sealed::{SealError, unseal};

/// A private key that signs certificates. Cannot be shown or copied.
pub struct Signer {
    pair: Pair,
    algorithm: KeyAlgorithm,
    spki: Vec<u8>,
    public_bits: Vec<u8>,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

const ECDSA_SHA256: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";
const ECDSA_SHA384: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03";
const ECDSA_SHA512: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x04";
const ED25519: &[u8] = b"\x30\x05\x06\x03\x2b\x65\x70";
const RSA_SHA256: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00";

const CURVES: [(KeyAlgorithm, &EcdsaSigningAlgorithm); 3] = [
    (KeyAlgorithm::EcdsaP256, &lc::ECDSA_P256_SHA256_ASN1_SIGNING),
    (KeyAlgorithm::EcdsaP384, &lc::ECDSA_P384_SHA384_ASN1_SIGNING),
    (KeyAlgorithm::EcdsaP521, &lc::ECDSA_P521_SHA512_ASN1_SIGNING),
];

impl Signer {
    /// Loads a key: RSA of 2048 to 8192 bits, P-256, P-384, P-521 (also by explicit parameters),
    /// Ed25519.
    pub fn load(key: &PrivateKey) -> Result<Self, CryptoError> {
        let named = key.algorithm();
        let (pair, algorithm) = match named {
            Some(KeyAlgorithm::Rsa(bits)) => {
                (Pair::Rsa(load_rsa(key, bits)?), KeyAlgorithm::Rsa(bits))
            },
            Some(KeyAlgorithm::Ed25519) => {
                let seed = key::ed25519_seed(key.der()).ok_or(CryptoError::Rejected)?;
                let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_slice());
                (
                    Pair::Ed25519(pair.map_err(|_| CryptoError::Rejected)?),
                    KeyAlgorithm::Ed25519,
                )
            },
            _ => {
                let (pair, algorithm) = load_ecdsa(key).ok_or_else(|| unusable(named))?;
                (Pair::Ecdsa(pair), algorithm)
            },
        };
        let public_bits = match &pair {
            Pair::Ecdsa(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Rsa(pair) => pair.public_key().as_ref().to_vec(),
        };
        let spki = key::write_spki(&algorithm, &public_bits).ok_or(CryptoError::Rejected)?;
        Ok(Self {
            pair,
            algorithm,
            spki,
            public_bits,
        })
    }

    /// The key's kind and size.
    pub fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm.clone()
    }

    /// The DER of the `SubjectPublicKeyInfo`.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The content of its BIT STRING, to be compared with [`Cert::public_bits`].
    pub fn public_bits(&self) -> &[u8] {
        &self.public_bits
    }

    /// The DER of the `AlgorithmIdentifier` of what [`Self::sign`] makes: SHA-256 for RSA and
    /// P-256, SHA-384 for P-384, SHA-512 for P-521, as Go chooses.
    pub fn signature_algorithm(&self) -> &'static [u8] {
        match self.algorithm {
            KeyAlgorithm::EcdsaP256 => ECDSA_SHA256,
            KeyAlgorithm::EcdsaP384 => ECDSA_SHA384,
            KeyAlgorithm::EcdsaP521 => ECDSA_SHA512,
            KeyAlgorithm::Ed25519 => ED25519,
            KeyAlgorithm::Rsa(_) | KeyAlgorithm::Other(_) => RSA_SHA256,
        }
    }

    /// Signs: PKCS#1 v1.5 for RSA, a DER pair of numbers for ECDSA, 64 raw bytes for Ed25519.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ecdsa(pair) => pair
                .sign(&random, message)
                .map(|made| made.as_ref().to_vec()),
            Pair::Ed25519(pair) => pair.try_sign(message).map(|made| made.as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut made = vec![0; pair.public_modulus_len()];
                pair.sign(&lc::RSA_PKCS1_SHA256, &random, message, &mut made)
                    .map(|()| made)
            },
        }
        .map_err(|_| CryptoError::Sign)
    }
}

/// Names the kind of key, never the key.
impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.algorithm)
    }
}

/// Makes a key: RSA of 2048, 3072, 4096 or 8192 bits, P-256, P-384, P-521, Ed25519. May be called
/// from several threads at once. A form that the kind does not have becomes the nearest
/// ([`KeyForm::fitted`]).
pub fn generate(algorithm: &KeyAlgorithm, form: KeyForm) -> Result<PrivateKey, CryptoError> {
    let unsupported = || CryptoError::UnsupportedKey {
        algorithm: algorithm.clone(),
    };
    let der = match algorithm {
        KeyAlgorithm::Rsa(bits) => {
            let size = match bits {
                2048 => KeySize::Rsa2048,
                3072 => KeySize::Rsa3072,
                4096 => KeySize::Rsa4096,
                8192 => KeySize::Rsa8192,
                _ => return Err(unsupported()),
            };
            let pair = RsaKeyPair::generate(size).map_err(|_| CryptoError::Random)?;
            let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> =
                pair.as_der().map_err(|_| CryptoError::Rejected)?;
            Zeroizing::new(der.as_ref().to_vec())
        },
        KeyAlgorithm::Ed25519 => {
            let mut seed = Zeroizing::new([0; 32]);
            random(seed.as_mut_slice())?;
            key::ed25519_pkcs8(&seed)
        },
        curve => {
            let found = CURVES
                .iter()
                .find(|known| known.0 == *curve)
                .ok_or_else(unsupported)?;
            let pair = EcdsaKeyPair::generate(found.1).map_err(|_| CryptoError::Random)?;
            let der = pair.to_pkcs8v1().map_err(|_| CryptoError::Rejected)?;
            Zeroizing::new(der.as_ref().to_vec())
        },
    };
    let form = form.fitted(algorithm);
    let made = PrivateKey::from_pkcs8(der).in_form(form);
    made.map_err(|_| CryptoError::Form {
        algorithm: algorithm.clone(),
        form,
    })
}

/// Whether `issuer`'s key made `cert`'s signature. Nothing else is judged: no names, dates,
/// constraints.
///
/// Known are RSA with PKCS#1 v1.5 or PSS (salt as long as the hash) and SHA-256, SHA-384, SHA-512;
/// ECDSA with these on P-256, P-384, P-521; Ed25519. SHA-1 is not: Go refuses it too.
pub fn verify(cert: &Cert, issuer: &Cert) -> Result<(), CryptoError> {
    let algorithm = verifier(cert.signature_algorithm(), &issuer.key)?;
    UnparsedPublicKey::new(algorithm, issuer.public_bits())
        .verify(cert.tbs(), cert.signature())
        .map_err(|_| CryptoError::BadSignature)
}

/// Whether the key of a request made its signature: whoever asks holds the private key (RFC 2986, section 3). Signature
/// algorithms as in [`verify`].
pub fn verify_request(request: &Request) -> Result<(), CryptoError> {
    let algorithm = verifier(request.signature_algorithm(), &request.wish.key)?;
    UnparsedPublicKey::new(algorithm, request.wish.public_bits())
        .verify(request.info(), request.signature())
        .map_err(|_| CryptoError::BadSignature)
}

/// A certificate's serial: 16 random bytes, the first between 1 and 127, so that the number is
/// positive and its INTEGER needs no padding.
pub fn serial() -> Result<[u8; 16], CryptoError> {
    let mut bytes = [0; 16];
    while !(1..=0x7f).contains(&bytes[0]) {
        random(&mut bytes)?;
    }
    Ok(bytes)
}

/// Fills `bytes` from the system's generator.
pub fn random(bytes: &mut [u8]) -> Result<(), CryptoError> {
    ring::rand::SystemRandom::new()
        .fill(bytes)
        .map_err(|_| CryptoError::Random)
}

/// The subject key identifier for a new key, made as the old one was: SHA-1 of the key's bits if
/// that is how `template` did it (RFC 5280, section 4.2.1.2; Go before 1.25), else the left 20
/// bytes of their SHA-256 (RFC 7093, section 2; Go since 1.25).
pub fn key_id(template: Option<&Cert>, public_bits: &[u8]) -> Vec<u8> {
    let sha1 = |bits: &[u8]| digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bits);
    let by_sha1 = |old: &Cert| old.ski.as_deref() == Some(sha1(old.public_bits()).as_ref());
    if template.is_some_and(by_sha1) {
        return sha1(public_bits).as_ref().to_vec();
    }
    digest::digest(&digest::SHA256, public_bits).as_ref()[..20].to_vec()
}

/// An Ed25519 key (RFC 8032) that signs audits. Cannot be shown or copied.
pub struct SigningKey {
    seed: Zeroizing<[u8; 32]>,
    pair: ring::signature::Ed25519KeyPair,
}

impl SigningKey {
    /// Makes a new key.
    pub fn generate() -> Result<Self, CryptoError> {
        let mut seed = Zeroizing::new([0; 32]);
        random(seed.as_mut_slice())?;
        Self::from_seed(&seed)
    }

    /// Takes the 32 bytes of RFC 8032's private key.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, CryptoError> {
        let pair = ring::signature::Ed25519KeyPair::from_seed_unchecked(seed);
        let pair = pair.map_err(|_| CryptoError::Rejected)?;
        Ok(Self {
            seed: Zeroizing::new(*seed),
            pair,
        })
    }

    /// Takes PKCS#8 of either version; the public key of version 2 is made anew.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, CryptoError> {
        Self::from_seed(&*key::ed25519_seed(der).ok_or(CryptoError::Rejected)?)
    }

    /// The key as a file: PKCS#8 version 1, which every OpenSSL reads.
    pub fn to_private_key(&self) -> PrivateKey {
        PrivateKey::from_pkcs8(key::ed25519_pkcs8(&self.seed))
    }

    /// The public key's 32 bytes.
    pub fn public(&self) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(self.pair.public_key().as_ref());
        out
    }

    /// Signs.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut out = [0; 64];
        out.copy_from_slice(self.pair.sign(message).as_ref());
        out
    }
}

/// Whether the key made the signature.
pub fn verify_ed25519(public: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, public)
        .verify(message, signature)
        .is_ok()
}

fn load_rsa(key: &PrivateKey, bits: u32) -> Result<RsaKeyPair, CryptoError> {
    if !(2048..=8192).contains(&bits) {
        return Err(CryptoError::UnsupportedKey {
            algorithm: KeyAlgorithm::Rsa(bits),
        });
    }
    let pair = match key.form() {
        KeyForm::Pkcs1 => RsaKeyPair::from_der(key.der()),
        _ => RsaKeyPair::from_pkcs8(key.der()),
    };
    pair.map_err(|_| CryptoError::Rejected)
}

/// Tries every curve: a key may give its own by parameters, or in a block of its own.
fn load_ecdsa(key: &PrivateKey) -> Option<(EcdsaKeyPair, KeyAlgorithm)> {
    let wrapped = key.in_form(KeyForm::Pkcs8).ok();
    CURVES.iter().find_map(|(algorithm, curve)| {
        let plain = || EcdsaKeyPair::from_private_key_der(curve, key.der()).ok();
        let pair = match &wrapped {
            Some(key) => EcdsaKeyPair::from_pkcs8(curve, key.der())
                .ok()
                .or_else(plain),
            None => plain(),
        };
        Some((pair?, algorithm.clone()))
    })
}

fn unusable(named: Option<KeyAlgorithm>) -> CryptoError {
    match named {
        Some(algorithm @ KeyAlgorithm::Other(_)) => CryptoError::UnsupportedKey { algorithm },
        _ => CryptoError::Rejected,
    }
}

/// The last byte of the identifiers below `pkcs-1` and `ecdsa-with-SHA2`.
const PKCS1_PREFIX: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01";
const ECDSA_PREFIX: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03";

/// Which verification an `AlgorithmIdentifier` and the issuer's key mean together.
fn verifier(
    identifier: &[u8],
    key: &KeyAlgorithm,
) -> Result<&'static dyn VerificationAlgorithm, CryptoError> {
    let parts = tlv::one(identifier)
        .and_then(|all| all.children(tlv::SEQUENCE))
        .unwrap_or_default();
    let id = parts.first().map_or(&[][..], |part| part.raw);
    let found: Option<&'static dyn VerificationAlgorithm> = match key {
        KeyAlgorithm::Rsa(_) if id == oid::RSA_PSS => parts.get(1).and_then(|part| pss(part.raw)),
        KeyAlgorithm::Rsa(_) => id.strip_prefix(PKCS1_PREFIX).and_then(pkcs1),
        KeyAlgorithm::Ed25519 if id == oid::ED25519 => Some(&lc::ED25519),
        curve => id
            .strip_prefix(ECDSA_PREFIX)
            .and_then(|hash| ecdsa(curve, hash)),
    };
    found.ok_or_else(|| {
        let name = id
            .get(2..)
            .map_or_else(|| "without a name".to_owned(), oid::dotted);
        CryptoError::UnsupportedSignature { algorithm: name }
    })
}

fn pkcs1(hash: &[u8]) -> Option<&'static dyn VerificationAlgorithm> {
    match hash {
        // Keys of 1024 bits are still seen in what is to be replaced.
        [0x0b] => Some(&lc::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY),
        [0x0c] => Some(&lc::RSA_PKCS1_2048_8192_SHA384),
        [0x0d] => Some(&lc::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY),
        _ => None,
    }
}

/// The hash is named by `[0]`; without it, it is SHA-1 (RFC 4055, section 3.1).
fn pss(parameters: &[u8]) -> Option<&'static dyn VerificationAlgorithm> {
    const SHA2: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02";
    let fields = tlv::one(parameters)?.children(tlv::SEQUENCE)?;
    let hash = tlv::one(fields.iter().find_map(|field| field.expect(0xa0))?)?;
    let hash = hash.children(tlv::SEQUENCE)?.first()?.expect(tlv::OID)?;
    match hash.strip_prefix(SHA2)? {
        [1] => Some(&lc::RSA_PSS_2048_8192_SHA256),
        [2] => Some(&lc::RSA_PSS_2048_8192_SHA384),
        [3] => Some(&lc::RSA_PSS_2048_8192_SHA512),
        _ => None,
    }
}

fn ecdsa(curve: &KeyAlgorithm, hash: &[u8]) -> Option<&'static dyn VerificationAlgorithm> {
    match (curve, hash) {
        (KeyAlgorithm::EcdsaP256, [2]) => Some(&lc::ECDSA_P256_SHA256_ASN1),
        (KeyAlgorithm::EcdsaP256, [3]) => Some(&lc::ECDSA_P256_SHA384_ASN1),
        (KeyAlgorithm::EcdsaP256, [4]) => Some(&lc::ECDSA_P256_SHA512_ASN1),
        (KeyAlgorithm::EcdsaP384, [2]) => Some(&lc::ECDSA_P384_SHA256_ASN1),
        (KeyAlgorithm::EcdsaP384, [3]) => Some(&lc::ECDSA_P384_SHA384_ASN1),
        (KeyAlgorithm::EcdsaP384, [4]) => Some(&lc::ECDSA_P384_SHA512_ASN1),
        (KeyAlgorithm::EcdsaP521, [2]) => Some(&lc::ECDSA_P521_SHA256_ASN1),
        (KeyAlgorithm::EcdsaP521, [3]) => Some(&lc::ECDSA_P521_SHA384_ASN1),
        (KeyAlgorithm::EcdsaP521, [4]) => Some(&lc::ECDSA_P521_SHA512_ASN1),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
