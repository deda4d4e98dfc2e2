//! Object identifiers: of algorithms as the whole DER element (tag, length, content), of extensions
//! as the content alone.

use std::fmt::Write as _;

/// `rsaEncryption` (RFC 8017).
pub(crate) const RSA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
/// `id-RSASSA-PSS` (RFC 8017).
pub(crate) const RSA_PSS: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a";
/// `id-ecPublicKey` (RFC 5480).
pub(crate) const EC: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01";
/// `secp256r1` (RFC 5480).
pub(crate) const P256: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
/// `secp384r1` (RFC 5480).
pub(crate) const P384: &[u8] = b"\x06\x05\x2b\x81\x04\x00\x22";
/// `secp521r1` (RFC 5480).
pub(crate) const P521: &[u8] = b"\x06\x05\x2b\x81\x04\x00\x23";
/// `id-Ed25519` (RFC 8410).
pub(crate) const ED25519: &[u8] = b"\x06\x03\x2b\x65\x70";

/// `id-ce-subjectKeyIdentifier` (RFC 5280, section 4.2.1.2).
pub(crate) const SKI: &[u8] = b"\x55\x1d\x0e";
/// `id-ce-keyUsage` (section 4.2.1.3).
pub(crate) const KEY_USAGE: &[u8] = b"\x55\x1d\x0f";
/// `id-ce-subjectAltName` (section 4.2.1.6).
pub(crate) const SAN: &[u8] = b"\x55\x1d\x11";
/// `id-ce-basicConstraints` (section 4.2.1.9).
pub(crate) const BASIC_CONSTRAINTS: &[u8] = b"\x55\x1d\x13";
/// `id-ce-authorityKeyIdentifier` (section 4.2.1.1).
pub(crate) const AKI: &[u8] = b"\x55\x1d\x23";
/// `id-ce-extKeyUsage` (section 4.2.1.12).
pub(crate) const EXTENDED_KEY_USAGE: &[u8] = b"\x55\x1d\x25";
/// `pkcs-9-at-extensionRequest` (RFC 2985, section 5.4.2).
pub(crate) const EXTENSION_REQUEST: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x0e";

/// The dotted form of an identifier's content bytes; hexadecimal after `#` if an arc exceeds 128
/// bits. (x509-parser's `Oid` shows 2.40 and everything above as 3.0.)
pub(crate) fn dotted(content: &[u8]) -> String {
    arcs(content).unwrap_or_else(|| format!("#{}", super::digest::hex(content)))
}

fn arcs(content: &[u8]) -> Option<String> {
    let mut text = String::new();
    let mut arc: u128 = 0;
    for byte in content {
        arc = arc.checked_mul(128)?.checked_add(u128::from(byte & 0x7f))?;
        if byte & 0x80 != 0 {
            continue;
        }
        if text.is_empty() {
            let first = (arc / 40).min(2);
            let _ = write!(text, "{first}.{}", arc - first * 40);
        } else {
            let _ = write!(text, ".{arc}");
        }
        arc = 0;
    }
    let whole = content.last().is_some_and(|byte| byte & 0x80 == 0);
    whole.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_identifiers_with_dots() {
        assert_eq!(dotted(&RSA[2..]), "1.2.840.113549.1.1.1");
        assert_eq!(dotted(SAN), "2.5.29.17");
        assert_eq!(dotted(&[0x88, 0x37, 0x01]), "2.999.1");
        assert_eq!(dotted(&[0x2a, 0x86]), "#2a86");
    }
}
