//! Templates for what starts from nothing, in cfssl's JSON (`cfssl print-defaults csr`, and the
//! keys `usages` and `expiry` of its signing profiles).
//!
//! ```json
//! { "CN": "kube-apiserver", "names": [{ "C": "DE", "O": "system:masters" }],
//!   "hosts": ["localhost", "127.0.0.1"], "key": { "algo": "ecdsa", "size": 256 },
//!   "usages": ["digital signature", "server auth"], "expiry": "8760h",
//!   "ca": { "pathlen": 0, "expiry": "87600h" } }
//! ```

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use super::extension::Usage;
use super::key::KeyAlgorithm;
use super::name::{Attribute, Name, NameError, printable};
use super::san::San;

/// What a certificate that starts from nothing is to say.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// `CN`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub common_name: Option<String>,
    /// The attributes of all `names`, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<(Attribute, String)>,
    /// `hosts`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<San>,
    /// `key`; without a size RSA has 2048 bits and ECDSA is P-256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyAlgorithm>,
    /// `usages`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub usages: Vec<Usage>,
    /// `expiry`, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiry: Option<i64>,
    /// `ca`: the template is for an authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<CaTemplate>,
}

/// What only authorities have.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CaTemplate {
    /// `pathlen`: how many authorities may follow below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_len: Option<u8>,
    /// `expiry`, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiry: Option<i64>,
}

/// Why JSON is no template. Displayed after its file's name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// It is no JSON.
    #[error("is not JSON: line {line}, column {column}")]
    Json {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// There is a key that means nothing.
    #[error("has an unknown key `{key}`; did you mean `{nearest}`?")]
    UnknownKey {
        /// The key with those it lies in, filtered.
        key: String,
        /// The known key that looks most like it.
        nearest: &'static str,
    },
    /// A value is of the wrong type.
    #[error("has a `{key}` that is not {expected}")]
    Type {
        /// The key.
        key: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// A value of the right type means nothing.
    #[error("has a `{key}` with `{value}`, which is not {expected}")]
    Value {
        /// The key.
        key: &'static str,
        /// The value, filtered.
        value: String,
        /// What it must be.
        expected: &'static str,
    },
}

/// cfssl's names of the attributes in `names`.
const ATTRIBUTES: [(&str, Attribute); 6] = [
    ("C", Attribute::Country),
    ("ST", Attribute::Province),
    ("L", Attribute::Locality),
    ("O", Attribute::Organization),
    ("OU", Attribute::OrganizationalUnit),
    ("SerialNumber", Attribute::SerialNumber),
];

impl Template {
    /// Reads a template. Unknown keys are refused by name: a misspelt `host` must not be lost.
    pub fn parse(json: &[u8]) -> Result<Self, TemplateError> {
        let json = json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json);
        let value: Value = serde_json::from_slice(json).map_err(|at| TemplateError::Json {
            line: at.line(),
            column: at.column(),
        })?;
        let object = value.as_object();
        let object = object.ok_or(TemplateError::Type {
            key: "template",
            expected: "an object",
        })?;
        known(
            object,
            "",
            &["CN", "names", "hosts", "key", "usages", "expiry", "ca"],
        )?;
        let common_name = text(object, "CN")?.filter(|name| !name.is_empty());
        Ok(Self {
            common_name: common_name.map(str::to_owned),
            names: names(object)?,
            hosts: each(
                object,
                "hosts",
                "an address, DNS name, e-mail address or URI",
                San::parse,
            )?,
            key: object.get("key").map(algorithm).transpose()?,
            usages: each(
                object,
                "usages",
                "a key usage such as `server auth`",
                Usage::parse,
            )?,
            expiry: expiry(object)?,
            ca: object.get("ca").map(authority).transpose()?,
        })
    }

    /// The subject, built as Go does.
    pub fn subject(&self) -> Result<Name, NameError> {
        let common = self
            .common_name
            .iter()
            .map(|name| (Attribute::CommonName, name.clone()));
        let all: Vec<(Attribute, String)> = self.names.iter().cloned().chain(common).collect();
        Name::build(&all)
    }
}

/// The seconds of a duration as Go writes it (`time.ParseDuration`): `8760h`, `1h30m`, `1.5h`; `d`
/// for days too. Fractions of a second are dropped. `None` if it is none, is negative, or exceeds
/// 10,000 years.
pub fn seconds(text: &str) -> Option<i64> {
    const LIMIT: f64 = 10_000.0 * 366.0 * 86_400.0;
    let mut rest = text.trim();
    let mut sum = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        sum += number * scale(&rest[..unit])?;
        rest = &rest[unit..];
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the limit is far below 2^53"
    )]
    (sum <= LIMIT).then_some(sum as i64)
}

fn scale(unit: &str) -> Option<f64> {
    match unit {
        "d" => Some(86_400.0),
        "h" => Some(3600.0),
        "m" => Some(60.0),
        "s" => Some(1.0),
        "ms" => Some(1e-3),
        "us" | "µs" | "μs" => Some(1e-6),
        "ns" => Some(1e-9),
        _ => None,
    }
}

fn known(
    object: &Map<String, Value>,
    inside: &str,
    keys: &[&'static str],
) -> Result<(), TemplateError> {
    let Some(key) = object.keys().find(|key| !keys.contains(&key.as_str())) else {
        return Ok(());
    };
    let nearest = keys
        .iter()
        .copied()
        .min_by_key(|known| distance(key, known))
        .unwrap_or("CN");
    Err(TemplateError::UnknownKey {
        key: printable(&format!("{inside}{key}")),
        nearest,
    })
}

/// Levenshtein's distance, letter case aside; of long keys only the beginning counts.
fn distance(a: &str, b: &str) -> usize {
    let fold = |text: &str| text.to_lowercase().chars().take(32).collect::<Vec<char>>();
    let (a, b) = (fold(a), fold(b));
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, right) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn text<'a>(
    object: &'a Map<String, Value>,
    key: &'static str,
) -> Result<Option<&'a str>, TemplateError> {
    let as_text = |value: &'a Value| {
        value.as_str().ok_or(TemplateError::Type {
            key,
            expected: "text",
        })
    };
    object.get(key).map(as_text).transpose()
}

fn list<'a>(
    object: &'a Map<String, Value>,
    key: &'static str,
) -> Result<&'a [Value], TemplateError> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(TemplateError::Type {
            key,
            expected: "a list",
        }),
    }
}

fn each<T>(
    object: &Map<String, Value>,
    key: &'static str,
    expected: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, TemplateError> {
    let items = list(object, key)?.iter().map(|item| {
        let item = item.as_str().ok_or(TemplateError::Type {
            key,
            expected: "a list of texts",
        })?;
        parse(item).ok_or_else(|| TemplateError::Value {
            key,
            value: printable(item),
            expected,
        })
    });
    items.collect()
}

fn names(object: &Map<String, Value>) -> Result<Vec<(Attribute, String)>, TemplateError> {
    let mut found = Vec::new();
    for item in list(object, "names")? {
        let item = item.as_object();
        let item = item.ok_or(TemplateError::Type {
            key: "names",
            expected: "a list of objects",
        })?;
        known(item, "names.", &ATTRIBUTES.map(|(key, _)| key))?;
        for (key, attribute) in ATTRIBUTES {
            // cfssl's own defaults have empty texts for what does not apply.
            if let Some(value) = text(item, key)?.filter(|value| !value.is_empty()) {
                found.push((attribute, value.to_owned()));
            }
        }
    }
    Ok(found)
}

fn algorithm(value: &Value) -> Result<KeyAlgorithm, TemplateError> {
    let object = value.as_object().ok_or(TemplateError::Type {
        key: "key",
        expected: "an object",
    })?;
    known(object, "key.", &["algo", "size"])?;
    let algorithm = text(object, "algo")?.unwrap_or("ecdsa");
    let size = match object.get("size") {
        None => None,
        Some(size) => {
            let bits = size.as_u64().and_then(|bits| u32::try_from(bits).ok());
            Some(bits.ok_or(TemplateError::Type {
                key: "size",
                expected: "a number of bits",
            })?)
        },
    };
    match (algorithm, size) {
        ("rsa", size @ (None | Some(2048 | 3072 | 4096 | 8192))) => {
            Ok(KeyAlgorithm::Rsa(size.unwrap_or(2048)))
        },
        ("ecdsa", None | Some(256)) => Ok(KeyAlgorithm::EcdsaP256),
        ("ecdsa", Some(384)) => Ok(KeyAlgorithm::EcdsaP384),
        ("ecdsa", Some(521)) => Ok(KeyAlgorithm::EcdsaP521),
        ("ed25519", _) => Ok(KeyAlgorithm::Ed25519),
        ("rsa" | "ecdsa", Some(bits)) => Err(TemplateError::Value {
            key: "size",
            value: bits.to_string(),
            expected: "2048, 3072, 4096 or 8192 for rsa, nor 256, 384 or 521 for ecdsa",
        }),
        (other, _) => {
            let value = printable(other);
            Err(TemplateError::Value {
                key: "algo",
                value,
                expected: "rsa, ecdsa or ed25519",
            })
        },
    }
}

fn authority(value: &Value) -> Result<CaTemplate, TemplateError> {
    let object = value.as_object().ok_or(TemplateError::Type {
        key: "ca",
        expected: "an object",
    })?;
    known(object, "ca.", &["pathlen", "pathlenzero", "expiry"])?;
    // In cfssl a length of 0 means none unless `pathlenzero` is set; here 0 means 0, the narrower
    // reading.
    let path_len = match object.get("pathlen") {
        None => object
            .get("pathlenzero")
            .and_then(Value::as_bool)
            .filter(|zero| *zero)
            .map(|_| 0),
        Some(value) => {
            let length = value
                .as_u64()
                .and_then(|n| u8::try_from(n).ok())
                .filter(|n| *n < 128);
            Some(length.ok_or(TemplateError::Type {
                key: "pathlen",
                expected: "a number below 128",
            })?)
        },
    };
    Ok(CaTemplate {
        path_len,
        expiry: expiry(object)?,
    })
}

fn expiry(object: &Map<String, Value>) -> Result<Option<i64>, TemplateError> {
    let Some(value) = text(object, "expiry")? else {
        return Ok(None);
    };
    match seconds(value) {
        Some(length) if length > 0 => Ok(Some(length)),
        _ => Err(TemplateError::Value {
            key: "expiry",
            value: printable(value),
            expected: "a duration such as `8760h`",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Template, String> {
        Template::parse(json.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_a_cfssl_template() {
        let template = parse(
            r#"{"CN": "kube-apiserver", "names": [{"C": "DE", "O": "a", "OU": ""}, {"O": "b"}],
                "hosts": ["localhost", "10.0.0.1"], "key": {"algo": "rsa", "size": 2048},
                "usages": ["signing", "server auth"], "expiry": "8760h", "ca": {"pathlen": 0}}"#,
        )
        .unwrap();
        assert_eq!(
            template.subject().unwrap().to_string(),
            "C=DE, O=a + O=b, CN=kube-apiserver"
        );
        assert_eq!(
            template.hosts,
            [San::Dns("localhost".into()), San::Ip([10, 0, 0, 1].into())]
        );
        assert_eq!(
            template.usages,
            [Usage::DigitalSignature, Usage::ServerAuth]
        );
        assert_eq!(
            (template.key.clone(), template.expiry),
            (Some(KeyAlgorithm::Rsa(2048)), Some(31_536_000))
        );
        assert_eq!(template.ca.clone().unwrap().path_len, Some(0));
        let json = serde_json::to_string(&template).unwrap();
        assert_eq!(serde_json::from_str::<Template>(&json).unwrap(), template);
    }

    #[test]
    fn names_the_key_that_was_meant() {
        let said = |json| parse(json).unwrap_err();
        assert_eq!(
            said(r#"{"host": []}"#),
            "has an unknown key `host`; did you mean `hosts`?"
        );
        assert_eq!(
            said(r#"{"cn": ""}"#),
            "has an unknown key `cn`; did you mean `CN`?"
        );
        assert_eq!(
            said(r#"{"key": {"sise": 1}}"#),
            "has an unknown key `key.sise`; did you mean `size`?"
        );
        assert!(said(r#"{"hosts": ["a b"]}"#).starts_with("has a `hosts` with `a b`"));
        assert!(said(r#"{"key": {"algo": "rsa", "size": 1024}}"#).contains("1024"));
        assert_eq!(said("{"), "is not JSON: line 1, column 1");
        assert_eq!(said("[]"), "has a `template` that is not an object");
    }

    #[test]
    fn reads_go_durations() {
        assert_eq!(seconds("8760h"), Some(31_536_000));
        assert_eq!(seconds("1h30m"), Some(5400));
        assert_eq!(seconds("1.5h"), Some(5400));
        assert_eq!(seconds("2d"), Some(172_800));
        assert_eq!(seconds("1s900ms"), Some(1));
        for none in ["", "1", "h", "-1h", "1y", "1..5h", "99999999999h", "1e3h"] {
            assert_eq!(seconds(none), None, "{none}");
        }
    }
}
