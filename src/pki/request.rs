//! Certificate signing requests (PKCS#10, RFC 2986), read for what they ask and kept as the bytes they are.

use std::ops::Range;

use super::cert::{Cert, CertError};
use super::digest::Digest;
use super::extension::Extension;
use super::name::Name;
use super::oid;
use super::pem::{self, PemError};
use super::tbs::{self, Body};
use super::tlv::{self, Tlv};
use super::utc::Utc;

/// A request for a certificate.
#[derive(Clone, Debug)]
pub struct Request {
    /// All of it.
    pub der: Vec<u8>,
    /// What is asked for, as the certificate that it would be: subject, key and extensions are the request's own bytes;
    /// serial, validity, issuer and signature are nobody's.
    pub wish: Cert,
    info: Range<usize>,
    signature_algorithm: Range<usize>,
    signature: Range<usize>,
}

/// Why there is no request to be had. Displayed after a file's name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The text is no PEM.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// There are PEM blocks, but no request among them.
    #[error("has no certificate request, only {}", .found.to_lowercase())]
    NoRequest {
        /// The tag of the first block.
        found: String,
    },
    /// A part of the request is not what RFC 2986 says.
    #[error("holds a certificate request whose {part} is malformed")]
    Malformed {
        /// Which part.
        part: &'static str,
    },
}

impl Request {
    /// Reads the first `CERTIFICATE REQUEST` block (`NEW CERTIFICATE REQUEST` is the same).
    pub fn from_pem(text: &[u8]) -> Result<Self, RequestError> {
        let blocks = pem::blocks(text)?;
        let request = blocks
            .iter()
            .find(|block| block.tag.ends_with("CERTIFICATE REQUEST"));
        match request {
            Some(block) => Self::from_der(&block.der),
            None => Err(RequestError::NoRequest {
                found: blocks[0].tag.clone(),
            }),
        }
    }

    /// Reads one request; nothing may follow it. The signature is not judged ([`crate::crypto::verify_request`]).
    pub fn from_der(der: &[u8]) -> Result<Self, RequestError> {
        let outer = tlv::one(der).and_then(|all| all.children(tlv::SEQUENCE));
        let Some([info, algorithm, signature]) = outer.as_deref() else {
            return Err(malformed("outermost SEQUENCE"));
        };
        let bits = tlv::bits(signature).ok_or_else(|| malformed("signature"))?;
        let fields = info.children(tlv::SEQUENCE).unwrap_or_default();
        let [version, subject, spki, rest @ ..] = fields.as_slice() else {
            return Err(malformed("body"));
        };
        if version.expect(tlv::INTEGER) != Some(&[0]) {
            return Err(malformed("version"));
        }
        let attributes = match rest {
            [] => Vec::new(),
            [set] => set.children(0xa0).ok_or_else(|| malformed("attributes"))?,
            _ => return Err(malformed("body")),
        };
        let extensions = extensions(&attributes).ok_or_else(|| malformed("list of extensions"))?;
        Ok(Self {
            der: der.to_vec(),
            wish: wish(subject.raw, spki.raw, &extensions)?,
            info: within(der, info.raw),
            signature_algorithm: within(der, algorithm.raw),
            signature: within(der, bits),
        })
    }

    /// The DER of `CertificationRequestInfo`: what is signed.
    pub fn info(&self) -> &[u8] {
        &self.der[self.info.clone()]
    }

    /// The DER of the `AlgorithmIdentifier` beside the signature.
    pub fn signature_algorithm(&self) -> &[u8] {
        &self.der[self.signature_algorithm.clone()]
    }

    /// The signature's bytes.
    pub fn signature(&self) -> &[u8] {
        &self.der[self.signature.clone()]
    }

    /// The digest of the DER.
    pub fn sha256(&self) -> Digest {
        Digest::of(&self.der)
    }

    /// The dotted identifiers of the extensions that are asked for, in their order.
    pub fn extensions(&self) -> Vec<String> {
        let all = tbs::extensions(&self.wish).unwrap_or_default();
        all.iter()
            .map(|extension| oid::dotted(extension.id()))
            .collect()
    }
}

/// The request as one PEM block.
pub fn to_pem(der: &[u8]) -> String {
    pem::encode("CERTIFICATE REQUEST", der).to_string()
}

/// The raw extensions that the attributes ask for; `None` if they are malformed, or one comes twice.
fn extensions(attributes: &[Tlv<'_>]) -> Option<Vec<Vec<u8>>> {
    let mut found: Vec<Vec<u8>> = Vec::new();
    let mut ids = Vec::new();
    for attribute in attributes {
        let parts = attribute.children(tlv::SEQUENCE)?;
        let [id, values] = parts.as_slice() else {
            return None;
        };
        if id.raw != oid::EXTENSION_REQUEST {
            continue;
        }
        let values = values.children(tlv::SET)?;
        let [list] = values.as_slice() else {
            return None;
        };
        for element in list.children(tlv::SEQUENCE)? {
            let extension = Extension::read(element.raw)?;
            let id = extension.id().to_vec();
            if ids.contains(&id) {
                return None;
            }
            ids.push(id);
            found.push(element.raw.to_vec());
        }
    }
    Some(found)
}

/// The certificate that is asked for, signed by nobody in the first second of 1970.
fn wish(subject: &[u8], spki: &[u8], extensions: &[Vec<u8>]) -> Result<Cert, RequestError> {
    let subject = Name::from_der(subject).map_err(|_| malformed("subject"))?;
    // Ed25519's identifier: any will do where there is no signature.
    let algorithm = tlv::wrap(tlv::SEQUENCE, &[oid::ED25519]);
    let body = Body {
        serial: &[1],
        signature_algorithm: &algorithm,
        issuer: &subject,
        not_before: Utc::from_unix(0),
        not_after: Utc::from_unix(0),
        subject: &subject,
        spki,
        subject_unique_id: &[],
        extensions,
    };
    let body = body.to_der().map_err(|_| malformed("body"))?;
    let der = tbs::certificate(&body, &algorithm, &[]);
    Cert::from_der(&der).map_err(|error| match error {
        CertError::Malformed { part } => malformed(part),
        _ => malformed("body"),
    })
}

fn malformed(part: &'static str) -> RequestError {
    RequestError::Malformed { part }
}

/// Where `part`, a slice of `whole`, lies in it.
fn within(whole: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr().addr() - whole.as_ptr().addr();
    start..start + part.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{self, Signer};
    use crate::issue;
    use crate::pki::csr::Usage;
    use crate::pki::key::{KeyAlgorithm, KeyForm};
    use crate::pki::name::Attribute;
    use crate::pki::san::San;

    fn made() -> Vec<u8> {
        let groups = ["b", "a"].map(|o| (Attribute::Organization, o.to_owned()));
        let name = Name::build(&groups).unwrap();
        let usages = [Usage::DigitalSignature, Usage::ClientAuth];
        let model = issue::prototype(&name, &usages, &[San::Dns("x.org".into())]).unwrap();
        let key = crypto::generate(&KeyAlgorithm::EcdsaP256, KeyForm::Sec1).unwrap();
        let signer = Signer::load(&key).unwrap();
        issue::request(&model, &signer, None, &[]).unwrap()
    }

    #[test]
    fn reads_what_is_asked_for_and_who_asks() {
        let der = made();
        let request = Request::from_pem(to_pem(&der).as_bytes()).unwrap();
        assert_eq!(request.der, der);
        assert_eq!(request.wish.subject.organizations(), ["a", "b"]);
        assert_eq!(request.wish.sans, [San::Dns("x.org".into())]);
        assert_eq!(request.wish.extended_usages, ["clientAuth"]);
        assert!(!request.wish.is_ca && request.wish.unreadable.is_empty());
        assert_eq!(
            request.extensions(),
            ["2.5.29.15", "2.5.29.37", "2.5.29.19", "2.5.29.17"]
        );
        crypto::verify_request(&request).unwrap();
    }

    #[test]
    fn takes_no_attributes_and_refuses_doubled_extensions() {
        let der = made();
        let spki = Request::from_der(&der).unwrap().wish.spki;
        let name = tlv::wrap(tlv::SEQUENCE, &[]);
        let whole = |attributes: &[u8]| {
            let info = [b"\x02\x01\x00", name.as_slice(), &spki, attributes].concat();
            let info = tlv::wrap(tlv::SEQUENCE, &[&info]);
            tbs::certificate(&info, &tlv::wrap(tlv::SEQUENCE, &[oid::ED25519]), &[1])
        };
        assert!(
            Request::from_der(&whole(b""))
                .unwrap()
                .extensions()
                .is_empty()
        );
        let extension = crate::pki::extension::write(b"\x2a\x03", false, b"x");
        let of = |list: &[u8]| {
            let list = tlv::wrap(tlv::SEQUENCE, &[list]);
            let set = tlv::wrap(tlv::SET, &[&list]);
            let attribute = tlv::wrap(tlv::SEQUENCE, &[oid::EXTENSION_REQUEST, &set]);
            whole(&tlv::wrap(0xa0, &[&attribute]))
        };
        assert_eq!(
            Request::from_der(&of(&extension)).unwrap().extensions(),
            ["1.2.3"]
        );
        let twice = Request::from_der(&of(&extension.repeat(2))).unwrap_err();
        let part = "list of extensions";
        assert_eq!(twice, RequestError::Malformed { part });
    }

    #[test]
    fn never_panics_on_damaged_bytes() {
        let der = made();
        for cut in 0..der.len() {
            assert!(Request::from_der(&der[..cut]).is_err());
        }
        for place in 0..der.len() {
            for value in [0, 0x30, 0x80, 0xff] {
                let mut damaged = der.clone();
                damaged[place] = value;
                // Only that it returns is claimed; that it is signed by its key is another's business.
                let read = Request::from_der(&damaged);
                assert!(read.is_err() || read.is_ok_and(|read| !read.der.is_empty()));
            }
        }
    }
}
