//! Distinguished names, kept as their raw DER (RFC 5280, section 4.1.2.4).

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use x509_parser::asn1_rs::{Any, BmpString, Tag, ToDer as _, UniversalString};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::X509Name;

use super::digest::hex;
use super::oid;
use super::tlv;

/// A distinguished name: the bytes of its DER, which are also what is compared.
///
/// `openssl` compares names loosely and Go by their bytes; whoever satisfies Go satisfies both.
/// Serialised as its display string.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Name(Vec<u8>);

/// Why bytes or values are no name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NameError {
    /// The bytes are not one DER SEQUENCE.
    #[error("is not a distinguished name in DER")]
    Malformed,
    /// A value holds a NUL, at which many readers would cut it.
    #[error("has a NUL character in a value")]
    Nul,
}

/// The attributes that a name can be built from, in the order in which Go writes them
/// (`crypto/x509/pkix`, `Name.ToRDNSequence`).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Attribute {
    /// `C`.
    Country,
    /// `O`.
    Organization,
    /// `OU`.
    OrganizationalUnit,
    /// `L`.
    Locality,
    /// `ST`.
    Province,
    /// `STREET`.
    Street,
    /// `POSTALCODE`.
    PostalCode,
    /// `CN`.
    CommonName,
    /// `SERIALNUMBER`: of the subject, not of the certificate.
    SerialNumber,
}

/// The attribute types that have a short name; below `id-at` (2.5.4) unless longer.
const SHORT: [(&[u8], &str); 14] = [
    (b"\x55\x04\x06", "C"),
    (b"\x55\x04\x0a", "O"),
    (b"\x55\x04\x0b", "OU"),
    (b"\x55\x04\x07", "L"),
    (b"\x55\x04\x08", "ST"),
    (b"\x55\x04\x09", "STREET"),
    (b"\x55\x04\x11", "POSTALCODE"),
    (b"\x55\x04\x03", "CN"),
    (b"\x55\x04\x05", "SERIALNUMBER"),
    (b"\x55\x04\x04", "SN"),
    (b"\x55\x04\x2a", "GN"),
    (b"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x19", "DC"),
    (b"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x01", "UID"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01", "emailAddress"),
];

impl Attribute {
    /// The content bytes of its identifier.
    fn id(self) -> &'static [u8] {
        SHORT[self as usize].0
    }
}

impl Name {
    /// Takes DER that is one SEQUENCE. What is inside is kept, even where it cannot be shown.
    pub fn from_der(der: &[u8]) -> Result<Self, NameError> {
        let element = tlv::one(der).ok_or(NameError::Malformed)?;
        element.expect(tlv::SEQUENCE).ok_or(NameError::Malformed)?;
        Ok(Self(der.to_vec()))
    }

    /// Builds a name as Go does: sorted by attribute, each value a `PrintableString` if its
    /// characters allow and a `UTF8String` if not, several values of one attribute in one RDN,
    /// sorted by their DER.
    ///
    /// Lengths are not checked against RFC 5280's upper bounds: `system:node:` and a node's name
    /// exceed them.
    pub fn build(attributes: &[(Attribute, String)]) -> Result<Self, NameError> {
        let mut sorted: Vec<&(Attribute, String)> = attributes.iter().collect();
        sorted.sort_by_key(|(attribute, _)| *attribute);
        let mut body = Vec::new();
        for group in sorted.chunk_by(|a, b| a.0 == b.0) {
            let mut values: Vec<Vec<u8>> = group
                .iter()
                .map(|(attribute, text)| pair(*attribute, text))
                .collect::<Result<_, _>>()?;
            values.sort();
            values.dedup();
            body.extend(tlv::wrap(tlv::SET, &[&values.concat()]));
        }
        Ok(Self(tlv::wrap(tlv::SEQUENCE, &[&body])))
    }

    /// The DER.
    pub fn raw(&self) -> &[u8] {
        &self.0
    }

    /// Whether it has no attribute at all.
    pub fn is_empty(&self) -> bool {
        self.0 == [0x30, 0]
    }

    /// The last `CN`, as Go takes it; unfiltered.
    pub fn common_name(&self) -> Option<String> {
        self.values(Attribute::CommonName).pop()
    }

    /// Every `O`, in order: the groups of a Kubernetes client; unfiltered.
    pub fn organizations(&self) -> Vec<String> {
        self.values(Attribute::Organization)
    }

    /// Every value of `attribute` that is text, in order; unfiltered.
    pub fn values(&self, attribute: Attribute) -> Vec<String> {
        let Some(name) = self.parsed() else {
            return Vec::new();
        };
        let same = name
            .iter_attributes()
            .filter(|pair| pair.attr_type().as_bytes() == attribute.id());
        same.filter_map(|pair| decode(pair.attr_value())).collect()
    }

    /// The name taken apart; `None` if the DER is not built like a name.
    pub(crate) fn parsed(&self) -> Option<X509Name<'_>> {
        let (_, name) = X509Name::from_der(&self.0).ok()?;
        // Where x509-parser does not understand an RDN, it stops without saying so.
        (name.as_raw() == self.0).then_some(name)
    }
}

/// One line in the order of the DER: `O=system:masters, CN=admin`; the values of one RDN are joined
/// by ` + `.
///
/// Inside values `,`, `+` and `\` are escaped by `\`; what could steer a terminal is filtered as by
/// [`printable`]; a value that is no text is shown as `#` and its DER in hexadecimal.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(name) = self.parsed() else {
            return write!(f, "#{}", hex(&self.0));
        };
        for (index, rdn) in name.iter_rdn().enumerate() {
            for (place, pair) in rdn.iter().enumerate() {
                let joint = if place > 0 { " + " } else { ", " };
                f.write_str(if index + place > 0 { joint } else { "" })?;
                let id = pair.attr_type().as_bytes();
                match SHORT.iter().find(|short| short.0 == id) {
                    Some((_, short)) => f.write_str(short)?,
                    None => f.write_str(&oid::dotted(id))?,
                }
                write!(f, "={}", shown(pair.attr_value()))?;
            }
        }
        Ok(())
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Replaces by U+FFFD what could steer a terminal or mislead its reader: C0 and C1 controls (line
/// ends too), bidirectional controls, invisible characters. For any text that comes from a file.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if steers(c) { '\u{fffd}' } else { c })
        .collect()
}

fn steers(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        )
        || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        || matches!(c, '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

fn shown(value: &Any<'_>) -> String {
    let Some(text) = decode(value) else {
        return format!("#{}", hex(&value.to_der_vec().unwrap_or_default()));
    };
    let mut out = String::with_capacity(text.len());
    for c in printable(&text).chars() {
        if matches!(c, ',' | '+' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// The text of a string type; `None` for other types and broken encodings.
fn decode(value: &Any<'_>) -> Option<String> {
    match value.tag() {
        Tag::Utf8String
        | Tag::NumericString
        | Tag::PrintableString
        | Tag::Ia5String
        | Tag::VisibleString => String::from_utf8(value.data.to_vec()).ok(),
        // Whoever writes it means Latin-1.
        Tag::TeletexString => Some(value.data.iter().map(|byte| char::from(*byte)).collect()),
        Tag::BmpString => BmpString::try_from(value).ok().map(|text| text.string()),
        Tag::UniversalString => {
            let text = UniversalString::try_from(value).ok();
            text.map(|text| text.string())
        },
        _ => None,
    }
}

fn pair(attribute: Attribute, text: &str) -> Result<Vec<u8>, NameError> {
    if text.contains('\0') {
        return Err(NameError::Nul);
    }
    // Go's `asn1.isPrintable`, without the asterisk and ampersand that it tolerates when reading.
    let simple = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&byte));
    let value = tlv::wrap(if simple { 0x13 } else { 0x0c }, &[text.as_bytes()]);
    let id = tlv::wrap(tlv::OID, &[attribute.id()]);
    Ok(tlv::wrap(tlv::SEQUENCE, &[&id, &value]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(attributes: &[(Attribute, &str)]) -> Name {
        let owned: Vec<_> = attributes
            .iter()
            .map(|(a, text)| (*a, (*text).to_owned()))
            .collect();
        Name::build(&owned).unwrap()
    }

    #[test]
    fn builds_kubeadms_ca_name() {
        let name = build(&[(Attribute::CommonName, "kubernetes")]);
        assert_eq!(
            hex(name.raw()),
            "3015311330110603550403130a6b756265726e65746573"
        );
        assert_eq!(name.to_string(), "CN=kubernetes");
    }

    #[test]
    fn puts_several_groups_into_one_sorted_rdn() {
        let name = build(&[
            (Attribute::CommonName, "a_b"),
            (Attribute::Organization, "system:nodes"),
            (Attribute::Organization, "dev"),
            (Attribute::Country, "DE"),
        ]);
        assert_eq!(name.to_string(), "C=DE, O=dev + O=system:nodes, CN=a_b");
        assert_eq!(name.organizations(), ["dev", "system:nodes"]);
        assert_eq!(name.common_name().unwrap(), "a_b");
        assert!(
            hex(name.raw()).ends_with("0c03615f62"),
            "an underscore needs UTF8String"
        );
    }

    #[test]
    fn builds_node_names_longer_than_rfc_5280_allows() {
        // A node's name may have 253 characters, and neither kubeadm nor Go minds.
        let long = build(&[(Attribute::CommonName, &"x".repeat(265))]);
        assert_eq!(long.common_name().unwrap().len(), 265);
        let nul = [(Attribute::CommonName, "a\0b".to_owned())];
        assert_eq!(Name::build(&nul), Err(NameError::Nul));
        assert_eq!(Name::from_der(b"\x04\x00"), Err(NameError::Malformed));
    }

    #[test]
    fn shows_nothing_that_steers_a_terminal() {
        let name = build(&[(Attribute::CommonName, "x\u{1b}[31m\u{202e}\u{9b}2J, O=\\y")]);
        let shown = name.to_string();
        assert_eq!(shown, "CN=x\u{fffd}[31m\u{fffd}\u{fffd}2J\\, O=\\\\y");
        assert_eq!(printable("a\nb"), "a\u{fffd}b");
    }

    #[test]
    fn shows_every_string_type() {
        let value = |tag, bytes: &[u8]| {
            let value = tlv::wrap(tag, &[bytes]);
            let id = tlv::wrap(tlv::OID, &[Attribute::CommonName.id()]);
            let pair = tlv::wrap(tlv::SEQUENCE, &[&id, &value]);
            let body = tlv::wrap(tlv::SET, &[&pair]);
            Name::from_der(&tlv::wrap(tlv::SEQUENCE, &[&body]))
                .unwrap()
                .to_string()
        };
        assert_eq!(value(0x1e, &[0x4e, 0x2d, 0, 0x41]), "CN=中A");
        assert_eq!(value(0x14, b"M\xfcller"), "CN=Müller");
        assert_eq!(value(0x1c, &[0, 0, 0, 0x41]), "CN=A");
        assert_eq!(value(0x0c, b"\xff"), "CN=#0c01ff");
        assert_eq!(value(0x02, &[1]), "CN=#020101");
        assert_eq!(
            Name::from_der(b"\x30\x02\x02\x00").unwrap().to_string(),
            "#30020200"
        );
    }
}
