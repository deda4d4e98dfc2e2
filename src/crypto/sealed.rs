//! Encrypted private keys: PKCS#8 (RFC 5958, section 3) sealed by a passphrase with PBES2 (RFC 8018, section 6.2).

use std::num::NonZeroU32;

use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, Algorithm, DecryptionContext, PaddedBlockDecryptingKey,
    UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::pbkdf2;
use zeroize::Zeroizing;

use crate::pki::key::PrivateKey;
use crate::pki::oid;
use crate::pki::tlv::{self, Tlv};

/// More rounds than anybody waits for; openssl's default is 2,048.
const MOST_ROUNDS: u32 = 50_000_000;

/// Why an encrypted key stays closed. Displayed after a file's name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The structure is not what the RFCs say.
    #[error("holds an encrypted private key that is malformed")]
    Malformed,
    /// It is encrypted in a way that is not known here.
    #[error("is encrypted with {0}, which is not supported")]
    Unsupported(String),
    /// The passphrase does not open it.
    #[error("is not opened by this passphrase")]
    Passphrase,
}

/// `id-PBES2`.
const PBES2: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d";
/// `id-PBKDF2`.
const PBKDF2: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0c";
/// `id-hmacWithSHA1` and those after it: the last byte tells the hash.
const HMAC: &[u8] = b"\x06\x08\x2a\x86\x48\x86\xf7\x0d\x02";
/// `aes128-CBC` and those after it: the last byte tells the size.
const AES: &[u8] = b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x01";

/// Opens the content of an `ENCRYPTED PRIVATE KEY` block: PBKDF2 with HMAC-SHA-1 or SHA-2, then AES-CBC, as openssl writes
/// it. The passphrase is its bytes, whatever they mean. Everything that is derived is wiped.
pub fn unseal(der: &[u8], passphrase: &[u8]) -> Result<PrivateKey, SealError> {
    let outer = parts(tlv::one(der))?;
    let [algorithm, data] = outer.as_slice() else {
        return Err(SealError::Malformed);
    };
    let data = data.expect(tlv::OCTET_STRING).ok_or(SealError::Malformed)?;
    let scheme = parts(Some(*algorithm))?;
    let parameters = named(&scheme, PBES2)?;
    let parameters = parts(Some(*parameters))?;
    let [derivation, cipher] = parameters.as_slice() else {
        return Err(SealError::Malformed);
    };
    let (cipher, length, iv) = cipher_of(&parts(Some(*cipher))?)?;
    let key = derived(&parts(Some(*derivation))?, passphrase, length)?;
    let key = UnboundCipherKey::new(cipher, &key).map_err(|_| SealError::Malformed)?;
    let key = PaddedBlockDecryptingKey::cbc_pkcs7(key).map_err(|_| SealError::Malformed)?;
    let mut plain = Zeroizing::new(data.to_vec());
    let opened = key.decrypt(&mut plain, DecryptionContext::Iv128(iv));
    let opened = opened.map_err(|_| SealError::Passphrase)?;
    // A wrong passphrase passes the padding now and then, but leaves no key behind.
    match tlv::one(opened) {
        Some(element) if element.tag == tlv::SEQUENCE => {
            Ok(PrivateKey::from_pkcs8(Zeroizing::new(opened.to_vec())))
        },
        _ => Err(SealError::Passphrase),
    }
}

/// The key that PBKDF2 (RFC 8018, appendix A.2) makes of a passphrase.
fn derived(
    function: &[Tlv<'_>],
    passphrase: &[u8],
    length: usize,
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let parameters = parts(Some(*named(function, PBKDF2)?))?;
    let [salt, rounds, rest @ ..] = parameters.as_slice() else {
        return Err(SealError::Malformed);
    };
    let salt = salt.expect(tlv::OCTET_STRING).ok_or(SealError::Malformed)?;
    let rounds = rounds.expect(tlv::INTEGER).and_then(number);
    let rounds = rounds.filter(|rounds| rounds.get() <= MOST_ROUNDS);
    let rounds = rounds.ok_or(SealError::Malformed)?;
    let hash = rest.iter().find(|part| part.tag == tlv::SEQUENCE);
    let algorithm = match hash {
        // SHA-1 is what the absence of a name means.
        None => pbkdf2::PBKDF2_HMAC_SHA1,
        Some(hash) => {
            let id = parts(Some(*hash))?.first().map_or(&[][..], |id| id.raw);
            match id.strip_prefix(HMAC) {
                Some([7]) => pbkdf2::PBKDF2_HMAC_SHA1,
                Some([9]) => pbkdf2::PBKDF2_HMAC_SHA256,
                Some([10]) => pbkdf2::PBKDF2_HMAC_SHA384,
                Some([11]) => pbkdf2::PBKDF2_HMAC_SHA512,
                _ => return Err(unsupported(id)),
            }
        },
    };
    let mut key = Zeroizing::new(vec![0; length]);
    pbkdf2::derive(algorithm, rounds, salt, passphrase, &mut key);
    Ok(key)
}

/// The cipher, the length of its key in bytes, and its first block.
fn cipher_of(
    scheme: &[Tlv<'_>],
) -> Result<(&'static Algorithm, usize, FixedLength<16>), SealError> {
    let [id, iv] = scheme else {
        return Err(SealError::Malformed);
    };
    let (algorithm, length) = match id.raw.strip_prefix(AES) {
        Some([2]) => (&AES_128, 16),
        Some([22]) => (&AES_192, 24),
        Some([42]) => (&AES_256, 32),
        _ => return Err(unsupported(id.raw)),
    };
    let iv = iv.expect(tlv::OCTET_STRING).map(<[u8; 16]>::try_from);
    match iv {
        Some(Ok(iv)) => Ok((algorithm, length, FixedLength::from(iv))),
        _ => Err(SealError::Malformed),
    }
}

/// The parameters of an `AlgorithmIdentifier` that must be `id`.
fn named<'a, 'b>(identifier: &'b [Tlv<'a>], id: &[u8]) -> Result<&'b Tlv<'a>, SealError> {
    match identifier {
        [found, parameters] if found.raw == id => Ok(parameters),
        [found, ..] => Err(unsupported(found.raw)),
        [] => Err(SealError::Malformed),
    }
}

fn parts(element: Option<Tlv<'_>>) -> Result<Vec<Tlv<'_>>, SealError> {
    let inside = element.and_then(|element| element.children(tlv::SEQUENCE));
    inside.ok_or(SealError::Malformed)
}

fn number(digits: &[u8]) -> Option<NonZeroU32> {
    if digits.len() > 5 || digits.first().is_none_or(|first| first & 0x80 != 0) {
        return None;
    }
    let value = digits
        .iter()
        .fold(0u64, |sum, digit| (sum << 8) | u64::from(*digit));
    u32::try_from(value).ok().and_then(NonZeroU32::new)
}

fn unsupported(id: &[u8]) -> SealError {
    let dotted = id.get(2..).map(oid::dotted).unwrap_or_default();
    SealError::Unsupported(match dotted.as_str() {
        "1.3.6.1.4.1.11591.4.11" => "scrypt".to_owned(),
        "1.2.840.113549.3.7" => "triple DES".to_owned(),
        _ => dotted,
    })
}
