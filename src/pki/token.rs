//! Tokens: JSON Web Tokens (RFC 7519) as Kubernetes makes them for service accounts.
//!
//! Read without being verified, which is the API server's business; written as the API server itself
//! writes them (`kubernetes/pkg/serviceaccount/jwt.go`).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::digest::Digest;
use super::key::KeyAlgorithm;
use super::tlv;
use super::utc::Utc;

/// A bearer token. Wiped when dropped; it can be neither shown nor serialised.
#[derive(Clone)]
pub struct Token(Zeroizing<String>);

/// What a token says of itself.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Claims {
    /// `sub`: `system:serviceaccount:NAMESPACE:NAME`.
    pub subject: Option<String>,
    /// `exp`: the first second in which it is refused; legacy tokens have none.
    pub not_after: Option<Utc>,
    /// `jti`: a name of its own (Kubernetes 1.29 and newer).
    pub id: Option<String>,
    /// `kubernetes.io`: namespace, name and uid of the service account.
    pub account: Option<(String, String, String)>,
}

/// What a token that starts from nothing is to say.
pub struct Draft<'a> {
    /// Namespace, name and uid of the service account.
    pub account: (&'a str, &'a str, &'a str),
    /// `iss`, as `--service-account-issuer` has it.
    pub issuer: &'a str,
    /// `aud`, as `--api-audiences` has it.
    pub audiences: &'a [String],
    /// A name of its own, for `jti`.
    pub id: &'a str,
    /// The first second in which it is taken.
    pub not_before: Utc,
    /// The first second in which it is refused.
    pub not_after: Utc,
}

impl Token {
    /// Takes what RFC 6750 allows after `Bearer`; space around it is dropped.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
        let fits = !text.is_empty() && text.bytes().all(allowed);
        fits.then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// The secret itself, for a header or a file that only its owner reads.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What it says of itself, unverified; `None` if it is no JSON Web Token.
    pub fn claims(&self) -> Option<Claims> {
        let payload = self.0.split('.').nth(1)?;
        let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
        let claims: Value = serde_json::from_slice(&payload).ok()?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let own = &claims["kubernetes.io"];
        let named = &own["serviceaccount"];
        let account = [&own["namespace"], &named["name"], &named["uid"]].map(text);
        let [namespace, name, uid] = account;
        Some(Claims {
            subject: text(&claims["sub"]),
            not_after: claims["exp"].as_i64().map(Utc::from_unix),
            id: text(&claims["jti"]),
            account: namespace
                .zip(name)
                .zip(uid)
                .map(|((namespace, name), uid)| (namespace, name, uid)),
        })
    }
}

impl Draft<'_> {
    /// The bytes to sign with the key of this kind and `SubjectPublicKeyInfo`; `None` for a kind that
    /// the API server does not sign with.
    pub fn to_sign(&self, key: &KeyAlgorithm, spki: &[u8]) -> Option<String> {
        let algorithm = match key {
            KeyAlgorithm::Rsa(_) => "RS256",
            KeyAlgorithm::EcdsaP256 => "ES256",
            KeyAlgorithm::EcdsaP384 => "ES384",
            KeyAlgorithm::EcdsaP521 => "ES512",
            KeyAlgorithm::Ed25519 | KeyAlgorithm::Other(_) => return None,
        };
        let kid = URL_SAFE_NO_PAD.encode(Digest::of(spki).bytes());
        let (namespace, name, uid) = self.account;
        let claims = json!({
            "aud": self.audiences,
            "exp": self.not_after.unix(),
            "iat": self.not_before.unix(),
            "iss": self.issuer,
            "jti": self.id,
            "kubernetes.io": {
                "namespace": namespace,
                "serviceaccount": { "name": name, "uid": uid },
            },
            "nbf": self.not_before.unix(),
            "sub": format!("system:serviceaccount:{namespace}:{name}"),
        });
        let parts = [json!({ "alg": algorithm, "kid": kid }), claims];
        Some(
            parts
                .map(|part| URL_SAFE_NO_PAD.encode(part.to_string()))
                .join("."),
        )
    }
}

/// Puts together what was signed and its signature, as [`crate::crypto::Signer::sign`] makes it: for
/// ECDSA a DER pair of numbers, which RFC 7518 (section 3.4) wants side by side. `None` if it is not.
pub fn signed(to_sign: &str, key: &KeyAlgorithm, signature: &[u8]) -> Option<Token> {
    let width = match key {
        KeyAlgorithm::EcdsaP256 => 32,
        KeyAlgorithm::EcdsaP384 => 48,
        KeyAlgorithm::EcdsaP521 => 66,
        _ => 0,
    };
    let signature = if width == 0 {
        signature.to_vec()
    } else {
        side_by_side(signature, width)?
    };
    let signature = URL_SAFE_NO_PAD.encode(signature);
    Some(Token(Zeroizing::new(format!("{to_sign}.{signature}"))))
}

fn side_by_side(pair: &[u8], width: usize) -> Option<Vec<u8>> {
    let numbers = tlv::one(pair)?.children(tlv::SEQUENCE)?;
    let [r, s] = numbers.as_slice() else {
        return None;
    };
    let mut out = Vec::with_capacity(2 * width);
    for number in [r, s] {
        let digits = number.expect(tlv::INTEGER)?;
        let zeros = digits.iter().take_while(|digit| **digit == 0).count();
        let digits = &digits[zeros..];
        out.resize(out.len() + width.checked_sub(digits.len())?, 0);
        out.extend_from_slice(digits);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(audiences: &[String]) -> Draft<'_> {
        Draft {
            account: ("kube-system", "robot", "uid-1"),
            issuer: "https://issuer",
            audiences,
            id: "one",
            not_before: Utc::from_unix(0),
            not_after: Utc::from_unix(3600),
        }
    }

    #[test]
    fn says_what_it_was_told_to_say() {
        let audiences = ["https://issuer".to_owned()];
        let text = draft(&audiences).to_sign(&KeyAlgorithm::Rsa(2048), b"key");
        let token = signed(&text.unwrap(), &KeyAlgorithm::Rsa(2048), b"signature").unwrap();
        let said = token.claims().unwrap();
        let account = ("kube-system", "robot", "uid-1");
        let account = [account.0, account.1, account.2].map(str::to_owned);
        assert_eq!(said.account, Some(account.into()));
        assert_eq!(said.not_after, Some(Utc::from_unix(3600)));
        assert_eq!(said.id.as_deref(), Some("one"));
        let subject = "system:serviceaccount:kube-system:robot";
        assert_eq!(said.subject.as_deref(), Some(subject));
    }

    #[test]
    fn writes_both_numbers_of_an_ecdsa_signature_in_full_width() {
        let mut pair = vec![0x30, 0x08, 0x02, 0x01, 0x05, 0x02, 0x03, 0x00, 0x80, 0x01];
        let mut want = vec![0; 64];
        (want[31], want[62], want[63]) = (0x05, 0x80, 0x01);
        assert_eq!(side_by_side(&pair, 32), Some(want));
        pair.pop();
        assert_eq!(side_by_side(&pair, 32), None);
        assert_eq!(side_by_side(b"\x30\x03\x02\x01\x05", 32), None);
    }

    #[test]
    fn takes_what_may_stand_in_a_header_and_nothing_else() {
        assert!(Token::new(" abc.def-_~+/= \n").is_some());
        for bad in ["", " ", "a b", "a\r\nX: y", "ä"] {
            assert!(Token::new(bad).is_none(), "{bad:?}");
        }
        assert_eq!(
            Token::new("abcdef.0123456789abcdef").unwrap().claims(),
            None
        );
    }
}
