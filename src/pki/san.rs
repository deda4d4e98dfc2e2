//! Subject alternative names (RFC 5280, section 4.2.1.6).

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

use super::digest::{hex, unhex};
use super::name::printable;
use super::tlv;

/// One name that a certificate speaks for.
///
/// Serialised with its kind: `dns:localhost`, `ip:10.0.0.1`, `email:a@b`, `uri:spiffe://x`,
/// `other:` and the hexadecimal DER. Shown without it, filtered.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum San {
    /// `dNSName`, in the letter case it was written in.
    Dns(String),
    /// `rfc822Name`.
    Email(String),
    /// `iPAddress`.
    Ip(IpAddr),
    /// `uniformResourceIdentifier`.
    Uri(String),
    /// Any other name, or one of those above that is malformed: the hexadecimal DER of the
    /// `GeneralName`.
    Other(String),
}

impl San {
    /// Understands what people type: an address (with or without brackets), a DNS name (RFC 1123,
    /// one leading wildcard label allowed), `x@y`, `scheme://...`; each also after `ip:`, `dns:`,
    /// `email:`, `uri:`. `None` for anything else, four numbers with dots that are no address
    /// included.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(address) = unbracketed(text).parse() {
            return Some(Self::Ip(address));
        }
        if let Some((kind, rest)) = text.split_once(':')
            && !rest.starts_with("//")
        {
            return match kind.to_ascii_lowercase().as_str() {
                "dns" => dns(rest),
                "email" => email(rest),
                "ip" => unbracketed(rest).parse().ok().map(Self::Ip),
                "other" => Self::tagged(text),
                "uri" => uri(rest),
                _ => None,
            };
        }
        dns(text).or_else(|| email(text)).or_else(|| uri(text))
    }

    /// Whether a certificate with this name speaks for `wanted`: they are equal (letter case of DNS
    /// names aside, an IPv4 address equal to its mapped IPv6 form), or this is `*.x` and `wanted`
    /// is `x` with exactly one label more (RFC 6125, section 6.4.3).
    pub fn covers(&self, wanted: &Self) -> bool {
        match (self, wanted) {
            (Self::Dns(have), Self::Dns(want)) => {
                let below = |name: &str| {
                    name.split_once('.')
                        .map(|(_, rest)| rest.to_ascii_lowercase())
                };
                have.eq_ignore_ascii_case(want)
                    || (have.starts_with("*.")
                        && !want.starts_with('*')
                        && below(have) == below(want))
            },
            (Self::Ip(have), Self::Ip(want)) => have.to_canonical() == want.to_canonical(),
            _ => self == wanted,
        }
    }

    /// The `GeneralName` element. Text that is not ASCII is written as it is.
    pub fn to_der(&self) -> Vec<u8> {
        match self {
            Self::Dns(text) => tlv::wrap(0x82, &[text.as_bytes()]),
            Self::Email(text) => tlv::wrap(0x81, &[text.as_bytes()]),
            Self::Ip(IpAddr::V4(address)) => tlv::wrap(0x87, &[&address.octets()]),
            Self::Ip(IpAddr::V6(address)) => tlv::wrap(0x87, &[&address.octets()]),
            Self::Uri(text) => tlv::wrap(0x86, &[text.as_bytes()]),
            Self::Other(digits) => unhex(digits).unwrap_or_default(),
        }
    }

    /// Reads one `GeneralName` element.
    pub(crate) fn read(raw: &[u8]) -> Self {
        let ascii = |text: &str| text.is_ascii().then(|| text.to_owned());
        let known = match GeneralName::from_der(raw) {
            Ok((_, GeneralName::RFC822Name(text))) => ascii(text).map(Self::Email),
            Ok((_, GeneralName::DNSName(text))) => ascii(text).map(Self::Dns),
            Ok((_, GeneralName::URI(text))) => ascii(text).map(Self::Uri),
            Ok((_, GeneralName::IPAddress(octets))) => address(octets).map(Self::Ip),
            _ => None,
        };
        known.unwrap_or_else(|| Self::Other(hex(raw)))
    }

    /// Reads the value of a subject alternative name extension.
    pub(crate) fn read_all(value: &[u8]) -> Option<Vec<Self>> {
        let names = tlv::one(value)?.children(tlv::SEQUENCE)?;
        Some(names.iter().map(|name| Self::read(name.raw)).collect())
    }

    /// The serialised form, which is not checked as what people type is: it may come from a
    /// certificate.
    fn tagged(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        match kind {
            "dns" => Some(Self::Dns(rest.to_owned())),
            "email" => Some(Self::Email(rest.to_owned())),
            "ip" => rest.parse().ok().map(Self::Ip),
            "uri" => Some(Self::Uri(rest.to_owned())),
            "other" => {
                let der = unhex(rest)?;
                tlv::one(&der).map(|_| Self::Other(hex(&der)))
            },
            _ => None,
        }
    }
}

impl fmt::Display for San {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(text) | Self::Email(text) | Self::Uri(text) => f.write_str(&printable(text)),
            Self::Ip(address) => address.fmt(f),
            Self::Other(digits) => write!(f, "#{digits}"),
        }
    }
}

impl Serialize for San {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Dns(text) => serializer.collect_str(&format_args!("dns:{text}")),
            Self::Email(text) => serializer.collect_str(&format_args!("email:{text}")),
            Self::Ip(address) => serializer.collect_str(&format_args!("ip:{address}")),
            Self::Uri(text) => serializer.collect_str(&format_args!("uri:{text}")),
            Self::Other(digits) => serializer.collect_str(&format_args!("other:{digits}")),
        }
    }
}

impl<'de> Deserialize<'de> for San {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::tagged(&text).ok_or_else(|| {
            de::Error::custom(format!(
                "`{text}` is not dns:, email:, ip:, uri: or other: and a name"
            ))
        })
    }
}

fn unbracketed(text: &str) -> &str {
    text.strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text)
}

fn dns(text: &str) -> Option<San> {
    let labels = || text.strip_prefix("*.").unwrap_or(text).split('.');
    let label = |label: &str| {
        let inner = label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let edges = !label.starts_with('-') && !label.ends_with('-');
        inner && edges && (1..=63).contains(&label.len())
    };
    let numeric = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    let mistyped_address = labels().count() == 4 && labels().all(numeric);
    let valid = text.len() <= 253 && labels().all(label) && !mistyped_address;
    valid.then(|| San::Dns(text.to_owned()))
}

fn email(text: &str) -> Option<San> {
    let (local, host) = text.rsplit_once('@')?;
    let plain = local
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'@');
    let valid = plain && !local.is_empty() && !host.starts_with('*') && dns(host).is_some();
    valid.then(|| San::Email(text.to_owned()))
}

fn uri(text: &str) -> Option<San> {
    let (scheme, rest) = text.split_once("://")?;
    let mut letters = scheme.bytes();
    let valid = letters
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic())
        && letters.all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        && !rest.is_empty()
        && rest.bytes().all(|byte| byte.is_ascii_graphic());
    valid.then(|| San::Uri(text.to_owned()))
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn san(text: &str) -> San {
        San::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn understands_what_people_type() {
        assert_eq!(san("10.0.0.1"), San::Ip([10, 0, 0, 1].into()));
        assert_eq!(san("[::1]"), san("ip:::1"));
        assert_eq!(san("::1"), San::Ip("::1".parse().unwrap()));
        assert_eq!(san("IP:[fd00::7]"), San::Ip("fd00::7".parse().unwrap()));
        assert_eq!(san("*.Example.org"), San::Dns("*.Example.org".into()));
        assert_eq!(san("DNS:node-1"), San::Dns("node-1".into()));
        assert_eq!(san("a@b.c"), San::Email("a@b.c".into()));
        assert_eq!(san("spiffe://x/y"), San::Uri("spiffe://x/y".into()));
        for none in [
            "",
            "10.0.0.256",
            "10.0.0.0/8",
            "a_b",
            "-a",
            "a..b",
            "a.",
            "x y",
            "*",
            "a.*.b",
            "host:6443",
        ] {
            assert_eq!(San::parse(none), None, "{none}");
        }
    }

    #[test]
    fn covers_by_wildcard_one_label_deep() {
        assert!(san("*.x.org").covers(&san("A.X.org")));
        assert!(san("*.x.org").covers(&san("*.X.org")));
        assert!(!san("*.x.org").covers(&san("a.b.x.org")));
        assert!(!san("*.x.org").covers(&san("x.org")));
        assert!(!san("a.x.org").covers(&san("*.x.org")));
        assert!(san("::ffff:10.0.0.1").covers(&san("10.0.0.1")));
        assert!(!san("10.0.0.1").covers(&San::Dns("10.0.0.1".into())));
    }

    #[test]
    fn survives_der_and_json() {
        let other = San::Other("a4023000".into());
        for name in [
            san("10.0.0.1"),
            san("::1"),
            san("x.y"),
            san("a@b"),
            san("u://v"),
            other,
        ] {
            let der = name.to_der();
            assert_eq!(San::read(&der), name);
            let json = serde_json::to_string(&name).unwrap();
            assert_eq!(serde_json::from_str::<San>(&json).unwrap(), name, "{json}");
        }
        assert_eq!(
            serde_json::to_string(&san("10.0.0.1")).unwrap(),
            "\"ip:10.0.0.1\""
        );
        assert!(serde_json::from_str::<San>("\"other:zz\"").is_err());
    }

    #[test]
    fn keeps_malformed_names_raw() {
        let odd = tlv::wrap(0x87, &[&[10, 0, 0]]);
        assert_eq!(San::read(&odd).to_der(), odd);
        assert_eq!(San::Dns("a\u{1b}b".into()).to_string(), "a\u{fffd}b");
    }
}
