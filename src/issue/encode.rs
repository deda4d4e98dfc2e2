//! What rcgen writes: whole certificates and requests, in the project's terms.
//!
//! rcgen cannot write every name (one value a type, one type an RDN), key (no P-521) or identifier.
//! What does not fit is left out here, and whoever asked compares what came back.

use rcgen::string::PrintableString;
use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
    PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData, SignatureAlgorithm, SigningKey,
};
use x509_parser::asn1_rs::{Any, Tag};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::X509Name;

use super::IssueError;
use crate::crypto::Signer;
use crate::pki::cert::{Cert, CertError};
use crate::pki::csr::Usage;
use crate::pki::extension::{self, Extension};
use crate::pki::key::KeyAlgorithm;
use crate::pki::name::Name;
use crate::pki::oid;
use crate::pki::san::San;

/// A [`Signer`] of a kind that rcgen knows.
pub(super) struct RcgenKey<'a> {
    signer: &'a Signer,
    algorithm: &'static SignatureAlgorithm,
}

impl<'a> RcgenKey<'a> {
    /// `None` for P-521: rcgen has it only with a crypto library of its own.
    pub(super) fn of(signer: &'a Signer) -> Option<Self> {
        let algorithm = match signer.algorithm() {
            KeyAlgorithm::EcdsaP256 => &PKCS_ECDSA_P256_SHA256,
            KeyAlgorithm::EcdsaP384 => &PKCS_ECDSA_P384_SHA384,
            KeyAlgorithm::Ed25519 => &PKCS_ED25519,
            KeyAlgorithm::Rsa(_) => &PKCS_RSA_SHA256,
            KeyAlgorithm::EcdsaP521 | KeyAlgorithm::Other(_) => return None,
        };
        Some(Self { signer, algorithm })
    }
}

impl PublicKeyData for RcgenKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.signer.public_bits()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

impl SigningKey for RcgenKey<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let made = self.signer.sign(message);
        made.map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

/// An Ed25519 key of zeros whose signatures are empty.
pub(super) struct Nobody;

impl PublicKeyData for Nobody {
    fn der_bytes(&self) -> &[u8] {
        &[0; 32]
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

impl SigningKey for Nobody {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(Vec::new())
    }
}

/// The subject and the usages; serial, times and the rest are the caller's.
pub(super) fn parameters(subject: &Name, usages: &[Usage]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished(subject);
    for usage in usages {
        match purpose(*usage) {
            Purpose::Key(purpose) => params.key_usages.push(purpose),
            Purpose::Extended(purpose) => params.insert_extended_key_usage(purpose),
        }
    }
    params
}

/// `CA:FALSE` as an empty SEQUENCE, critical. rcgen's own would bring an SKI, which kubeadm's leaves
/// do not have.
pub(super) fn not_ca() -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 19], vec![0x30, 0]);
    extension.set_criticality(true);
    extension
}

/// The alternative names. rcgen's own would stand first, and know no names but of four kinds.
pub(super) fn alternative_names(names: &[San], critical: bool) -> CustomExtension {
    let value = extension::alternative_names(names);
    let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 17], value);
    extension.set_criticality(critical);
    extension
}

/// A certificate signed with its own key.
pub(super) fn self_signed(
    params: &CertificateParams,
    key: &impl SigningKey,
) -> Result<Cert, IssueError> {
    let made = params.self_signed(key)?;
    Cert::from_der(made.der()).map_err(IssueError::Reread)
}

/// A certificate signing request for raw extensions; `None` if rcgen would not write exactly this
/// subject, these extensions or this key.
pub(super) fn request(
    subject: &Name,
    extensions: &[Vec<u8>],
    signer: &Signer,
) -> Result<Option<Vec<u8>>, IssueError> {
    let custom: Option<Vec<_>> = extensions.iter().map(|raw| custom(raw)).collect();
    let (Some(key), Some(custom)) = (RcgenKey::of(signer), custom) else {
        return Ok(None);
    };
    let mut params = parameters(subject, &[]);
    params.custom_extensions = custom;
    let der = params.serialize_request(&key)?.der().to_vec();
    let (_, made) = X509CertificationRequest::from_der(&der).map_err(|_| {
        let part = "certificate request";
        IssueError::Reread(CertError::Malformed { part })
    })?;
    let exact = made.certification_request_info.subject.as_raw() == subject.raw();
    Ok(exact.then_some(der))
}

/// The attributes that rcgen can write.
fn distinguished(name: &Name) -> DistinguishedName {
    let mut out = DistinguishedName::new();
    let parsed = name.parsed();
    for pair in parsed.iter().flat_map(X509Name::iter_attributes) {
        if let (Some(id), Some(value)) =
            (arcs(pair.attr_type().as_bytes()), text(pair.attr_value()))
        {
            out.push(DnType::from_oid(&id), value);
        }
    }
    out
}

fn text(value: &Any<'_>) -> Option<DnValue> {
    let text = std::str::from_utf8(value.data).ok()?;
    match value.tag() {
        Tag::PrintableString => PrintableString::try_from(text)
            .ok()
            .map(DnValue::PrintableString),
        Tag::Utf8String => Some(DnValue::Utf8String(text.to_owned())),
        _ => None,
    }
}

/// An extension as it is; `None` if rcgen would write it with other bytes.
fn custom(raw: &[u8]) -> Option<CustomExtension> {
    let parts = Extension::read(raw)?;
    let (id, critical, value) = (parts.id(), parts.critical(), parts.value());
    let mut out = CustomExtension::from_oid_content(&arcs(id)?, value.to_vec());
    out.set_criticality(critical);
    (extension::write(id, critical, value) == raw).then_some(out)
}

/// The numbers of an identifier's content bytes, if they fit.
fn arcs(id: &[u8]) -> Option<Vec<u64>> {
    let dotted = oid::dotted(id);
    let numbers = dotted.split('.').map(|arc| arc.parse::<u32>().ok());
    numbers.map(|arc| arc.map(u64::from)).collect()
}

enum Purpose {
    Key(KeyUsagePurpose),
    Extended(ExtendedKeyUsagePurpose),
}

fn purpose(usage: Usage) -> Purpose {
    match usage {
        Usage::DigitalSignature => Purpose::Key(KeyUsagePurpose::DigitalSignature),
        Usage::ContentCommitment => Purpose::Key(KeyUsagePurpose::ContentCommitment),
        Usage::KeyEncipherment => Purpose::Key(KeyUsagePurpose::KeyEncipherment),
        Usage::DataEncipherment => Purpose::Key(KeyUsagePurpose::DataEncipherment),
        Usage::KeyAgreement => Purpose::Key(KeyUsagePurpose::KeyAgreement),
        Usage::CertSign => Purpose::Key(KeyUsagePurpose::KeyCertSign),
        Usage::CrlSign => Purpose::Key(KeyUsagePurpose::CrlSign),
        Usage::EncipherOnly => Purpose::Key(KeyUsagePurpose::EncipherOnly),
        Usage::DecipherOnly => Purpose::Key(KeyUsagePurpose::DecipherOnly),
        Usage::ServerAuth => Purpose::Extended(ExtendedKeyUsagePurpose::ServerAuth),
        Usage::ClientAuth => Purpose::Extended(ExtendedKeyUsagePurpose::ClientAuth),
        Usage::CodeSigning => Purpose::Extended(ExtendedKeyUsagePurpose::CodeSigning),
        Usage::EmailProtection => Purpose::Extended(ExtendedKeyUsagePurpose::EmailProtection),
        Usage::TimeStamping => Purpose::Extended(ExtendedKeyUsagePurpose::TimeStamping),
        Usage::OcspSigning => Purpose::Extended(ExtendedKeyUsagePurpose::OcspSigning),
        Usage::Any => Purpose::Extended(ExtendedKeyUsagePurpose::Any),
    }
}
