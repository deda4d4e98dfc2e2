//! Whether a server's certificate is accepted: as Go's clients judge, and with a reason.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};

use crate::pki::cert::Cert;

/// Why a server's certificate is not accepted.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Distrust {
    /// It, or an intermediate, has expired.
    Expired,
    /// It, or an intermediate, is not valid yet.
    NotYetValid,
    /// None of the trusted authorities issued it.
    UnknownIssuer,
    /// A trusted authority issued it, but has itself expired or is not valid yet.
    AuthorityOutOfDate,
    /// It is valid for others than the name that was asked for.
    Name {
        /// Whom it is valid for, as it says: at most a kilobyte.
        presented: String,
    },
    /// Anything else, in rustls's words: at most a kilobyte.
    Other(String),
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "it has expired",
            Self::NotYetValid => "it is not valid yet",
            Self::UnknownIssuer => "no trusted authority issued it",
            Self::AuthorityOutOfDate => "the authority that issued it has expired",
            Self::Name { presented } => return write!(f, "it is valid for {presented} only"),
            Self::Other(why) => why,
        })
    }
}

impl From<&CertificateError> for Distrust {
    fn from(error: &CertificateError) -> Self {
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotYetValid
            },
            CertificateError::UnknownIssuer => Self::UnknownIssuer,
            CertificateError::NotValidForNameContext { presented, .. } => Self::Name {
                presented: bounded(&names(presented)),
            },
            CertificateError::Other(other) if other.0.is::<OutOfDate>() => Self::AuthorityOutOfDate,
            other => Self::Other(bounded(&other.to_string())),
        }
    }
}

/// The authorities that are trusted.
#[derive(Debug)]
pub(super) struct Trust {
    roots: Vec<Root>,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug)]
struct Root {
    anchor: TrustAnchor<'static>,
    /// The first and the last second of its validity, since the epoch.
    valid: (i64, i64),
}

impl Trust {
    /// `None` if no root can be read.
    pub(super) fn new(roots: &[Vec<u8>], algorithms: WebPkiSupportedAlgorithms) -> Option<Self> {
        let roots: Vec<Root> = roots.iter().filter_map(|der| Root::read(der)).collect();
        (!roots.is_empty()).then_some(Self { roots, algorithms })
    }

    fn store(&self, accept: impl Fn(&Root) -> bool) -> RootCertStore {
        let accepted = self.roots.iter().filter(|root| accept(root));
        RootCertStore {
            roots: accepted.map(|root| root.anchor.clone()).collect(),
        }
    }
}

impl Root {
    fn read(der: &[u8]) -> Option<Self> {
        let cert = Cert::from_der(der).ok()?;
        let mut store = RootCertStore::empty();
        store.add(CertificateDer::from(der)).ok()?;
        Some(Self {
            anchor: store.roots.pop()?,
            valid: (cert.not_before.unix(), cert.not_after.unix()),
        })
    }
}

impl ServerCertVerifier for Trust {
    /// webpki takes a trusted authority at any time, Go only while it is valid: so here.
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let leaf = ParsedCertificate::try_from(leaf)?;
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let judge = |roots: &RootCertStore| {
            let algorithms = self.algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&leaf, roots, rest, now, algorithms)
        };
        let valid = self.store(|root| (root.valid.0..=root.valid.1).contains(&seconds));
        judge(&valid).map_err(|error| match judge(&self.store(|_| true)) {
            Ok(()) => CertificateError::Other(OtherError(Arc::new(OutOfDate))).into(),
            Err(_) => error,
        })?;
        verify_server_name(&leaf, name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, leaf, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Carries [`Distrust::AuthorityOutOfDate`] through rustls.
#[derive(Debug, thiserror::Error)]
#[error("the trusted authority is out of date")]
struct OutOfDate;

/// From the forms `DnsName("node-1")` and `IpAddress(10.0.0.1)`.
fn names(presented: &[String]) -> String {
    let name = |form: &String| {
        let inner = form
            .split_once('(')
            .and_then(|(_, rest)| rest.strip_suffix(')'));
        inner.unwrap_or(form).trim_matches('"').to_owned()
    };
    presented.iter().map(name).collect::<Vec<_>>().join(", ")
}

fn bounded(text: &str) -> String {
    text.chars().take(1024).collect()
}
