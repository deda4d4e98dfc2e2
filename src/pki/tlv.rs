//! DER (X.690) as a tree of raw elements: what is not understood can still be copied.
//!
//! x509-parser understands certificates; this only splits bytes where spans are needed that it does
//! not keep, splits private keys, and writes. So no string type, tag or number is unknown to it.

/// INTEGER.
pub(crate) const INTEGER: u8 = 0x02;
/// BIT STRING.
pub(crate) const BIT_STRING: u8 = 0x03;
/// OCTET STRING.
pub(crate) const OCTET_STRING: u8 = 0x04;
/// OBJECT IDENTIFIER.
pub(crate) const OID: u8 = 0x06;
/// SEQUENCE, constructed.
pub(crate) const SEQUENCE: u8 = 0x30;
/// SET, constructed.
pub(crate) const SET: u8 = 0x31;

/// One element: its first tag byte, all of its bytes, and its content.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tlv<'a> {
    /// The first byte of the tag, class and constructed bit included.
    pub(crate) tag: u8,
    /// Tag, length and content.
    pub(crate) raw: &'a [u8],
    /// The content alone.
    pub(crate) value: &'a [u8],
}

impl<'a> Tlv<'a> {
    /// The content, if the element has this tag.
    pub(crate) fn expect(&self, tag: u8) -> Option<&'a [u8]> {
        (self.tag == tag).then_some(self.value)
    }

    /// The elements inside, if the element has this tag.
    pub(crate) fn children(&self, tag: u8) -> Option<Vec<Self>> {
        all(self.expect(tag)?)
    }
}

/// Reads exactly one element; `None` if the bytes are not DER or go on after it.
pub(crate) fn one(bytes: &[u8]) -> Option<Tlv<'_>> {
    next(bytes).filter(|element| element.raw.len() == bytes.len())
}

/// Reads elements until the bytes end; none at all is fine.
pub(crate) fn all(mut bytes: &[u8]) -> Option<Vec<Tlv<'_>>> {
    let mut elements = Vec::new();
    while !bytes.is_empty() {
        let element = next(bytes)?;
        bytes = &bytes[element.raw.len()..];
        elements.push(element);
    }
    Some(elements)
}

/// Writes one element around `parts`. The tag is a single byte.
pub(crate) fn wrap(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    // Keys pass through here: the room is taken at once, so that no growing vector leaves copies.
    let mut out = Vec::with_capacity(length + 2 + size_of::<usize>());
    out.push(tag);
    let digits = length.to_be_bytes();
    let skipped = digits.iter().take_while(|digit| **digit == 0).count();
    if length >= 0x80 {
        out.push(0x80 | (digits.len() - skipped).to_le_bytes()[0]);
        out.extend_from_slice(&digits[skipped..]);
    } else {
        out.push(length.to_le_bytes()[0]);
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// The bits of a BIT STRING that has no unused ones.
pub(crate) fn bits<'a>(element: &Tlv<'a>) -> Option<&'a [u8]> {
    match element.expect(BIT_STRING)? {
        [0, bits @ ..] => Some(bits),
        _ => None,
    }
}

/// The element that the bytes begin with: definite, minimal length (X.690, section 10.1).
fn next(bytes: &[u8]) -> Option<Tlv<'_>> {
    let tag = *bytes.first()?;
    let mut at = 1;
    if tag & 0x1f == 0x1f {
        // A tag number above 30 goes on in bytes of seven bits.
        at += bytes[1..].iter().position(|byte| byte & 0x80 == 0)? + 1;
    }
    let first = *bytes.get(at)?;
    at += 1;
    let length = match first {
        0..=0x7f => usize::from(first),
        0x81..=0x84 => {
            let digits = bytes.get(at..at + usize::from(first & 0x7f))?;
            at += digits.len();
            let length = digits
                .iter()
                .fold(0, |sum, digit| (sum << 8) | usize::from(*digit));
            let minimal = digits[0] != 0 && length >= 0x80;
            minimal.then_some(length)?
        },
        _ => return None,
    };
    let end = at.checked_add(length)?;
    Some(Tlv {
        tag,
        raw: bytes.get(..end)?,
        value: bytes.get(at..end)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_it_reads() {
        let inner = wrap(OCTET_STRING, &[&[7; 300]]);
        let outer = wrap(SEQUENCE, &[&inner, &wrap(INTEGER, &[&[1]])]);
        let element = one(&outer).unwrap();
        let children = element.children(SEQUENCE).unwrap();
        assert_eq!(children[0].raw, inner);
        assert_eq!(children[1].value, [1]);
        assert_eq!(element.raw, outer);
    }

    #[test]
    fn refuses_trailing_and_missing_bytes() {
        let element = wrap(SEQUENCE, &[]);
        assert!(one(&[element.as_slice(), &[0]].concat()).is_none());
        assert!(one(&[0x30, 0x82, 0xff]).is_none());
        assert!(one(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]).is_none());
        assert!(
            one(&[0x30, 0x81, 0x01, 0]).is_none(),
            "a length that is not minimal"
        );
        assert!(one(&[0x30, 0x80, 0, 0]).is_none(), "an indefinite length");
        assert!(all(&[]).unwrap().is_empty());
    }

    #[test]
    fn reads_every_length_and_tag() {
        for length in [0, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let element = wrap(OCTET_STRING, &[&vec![9; length]]);
            assert_eq!(one(&element).unwrap().value.len(), length);
        }
        assert_eq!(one(&[0xbf, 0x87, 0x68, 1, 5]).unwrap().value, [5]);
        assert_eq!(one(&[0x1c, 0]).unwrap().tag, 0x1c);
    }
}
