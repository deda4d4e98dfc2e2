//! HTTPS, as much as Kubernetes and etcd need: one request a connection, HTTP/1.1, no redirects, no name service.

mod message;
mod trust;

use std::io::{self, ErrorKind, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConfig, ClientConnection, Error, Stream};

use crate::pki::token::Token;
use crate::tls::{self, ClientIdentity, TlsError, Wire};

use message::{Broken, Request};
pub use message::{MAX_BODY, Response};
pub use trust::Distrust;
use trust::Trust;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpsError {
    /// There is no connection, or none in time, or no TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The server's certificate is not accepted.
    #[error("the certificate of {at} is not accepted: {why}")]
    Distrusted {
        /// The address.
        at: SocketAddr,
        /// Why not.
        why: Distrust,
    },
    /// The server refuses our certificate, or wants one and got none.
    #[error("{at} refuses the client's certificate: {alert}")]
    Rejected {
        /// The address.
        at: SocketAddr,
        /// The alert's name (RFC 8446, section 6), such as `CertificateExpired`.
        alert: String,
    },
    /// The connection broke before the answer was whole.
    #[error("{at} closed the connection before its answer was whole")]
    Lost {
        /// The address.
        at: SocketAddr,
        /// What the system answered.
        source: io::Error,
    },
    /// The answer is no HTTP.
    #[error("the answer of {at} is not HTTP: {why}")]
    Malformed {
        /// The address.
        at: SocketAddr,
        /// What is wrong.
        why: &'static str,
    },
    /// The answer is longer than [`MAX_BODY`].
    #[error("the answer of {at} is longer than {MAX_BODY} bytes")]
    TooLarge {
        /// The address.
        at: SocketAddr,
    },
    /// Method, path or content type cannot be sent.
    #[error("the request cannot be sent: its {part} has forbidden characters")]
    Request {
        /// Which part.
        part: &'static str,
    },
    /// None of the roots is a certificate.
    #[error("there is no authority to trust")]
    NoRoots,
}

/// Where a server is, and what it calls itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endpoint {
    /// The address to connect to.
    pub at: SocketAddr,
    /// The host as in a URL, an address or a DNS name: what the server's certificate must be valid for. Never resolved.
    pub name: String,
}

/// Talks to one endpoint, with a new connection for each request: each sees the certificate that is served now.
#[derive(Clone)]
pub struct Client {
    endpoint: Endpoint,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
    timeout: Duration,
    bearer: Option<Token>,
}

impl Client {
    /// Prepares a client; connects nowhere. `roots` are certificates (DER) that are trusted to issue, self-signed or
    /// not; those that cannot be read are passed over, as Go does. `timeout` is for a request as a whole.
    ///
    /// # Errors
    ///
    /// [`HttpsError::NoRoots`], [`TlsError::Name`].
    pub fn new(
        endpoint: Endpoint,
        roots: &[Vec<u8>],
        identity: Option<&ClientIdentity>,
        timeout: Duration,
    ) -> Result<Self, HttpsError> {
        let name = tls::server_name(&endpoint.name)?;
        let crypto = tls::crypto();
        let trust = Trust::new(roots, crypto.signature_verification_algorithms);
        let trust = Arc::new(trust.ok_or(HttpsError::NoRoots)?);
        let builder = ClientConfig::builder_with_provider(crypto)
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Handshake {
                at: endpoint.at,
                why: error.to_string(),
            })?
            .dangerous()
            .with_custom_certificate_verifier(trust);
        let mut config = match identity {
            Some(identity) => builder.with_client_cert_resolver(identity.resolver()),
            None => builder.with_no_client_auth(),
        };
        // A resumed session would show no certificate.
        config.resumption = Resumption::disabled();
        Ok(Self {
            endpoint,
            name,
            config: Arc::new(config),
            timeout,
            bearer: None,
        })
    }

    /// Where it talks to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The same with another time for a request as a whole.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The same with a token that is sent along with each request.
    #[must_use]
    pub fn with_bearer(mut self, token: Token) -> Self {
        self.bearer = Some(token);
        self
    }

    /// Sends a request and reads the answer, whatever its status. `path` starts with a slash and may have a query.
    ///
    /// # Errors
    ///
    /// All variants but [`HttpsError::NoRoots`].
    pub fn request(
        &self,
        method: &str,
        path: &str,
        content_type: Option<&str>,
        body: Option<&[u8]>,
    ) -> Result<Response, HttpsError> {
        let at = self.endpoint.at;
        let request = Request {
            method,
            path,
            host: &self.endpoint.name,
            port: at.port(),
            content_type,
            body,
            bearer: self.bearer.as_ref(),
        };
        let bytes = request.to_bytes()?;
        let failed = |error: &Error| TlsError::Handshake {
            at,
            why: error.to_string(),
        };
        let mut tls = ClientConnection::new(Arc::clone(&self.config), self.name.clone())
            .map_err(|error| failed(&error))?;
        let mut wire = Wire::open(at, self.timeout)?;
        tls::shake_hands(&mut tls, &mut wire).map_err(|error| self.explain(&wire, error, false))?;
        let mut stream = Stream::new(&mut tls, &mut wire);
        let sent = stream.write_all(&bytes).map_err(Broken::Io);
        match sent.and_then(|()| Response::read(&mut stream, method)) {
            Ok(response) => Ok(response),
            Err(Broken::Malformed(why)) => Err(HttpsError::Malformed { at, why }),
            Err(Broken::TooLarge) => Err(HttpsError::TooLarge { at }),
            Err(Broken::Io(error)) => {
                let error = tls::last_words(&mut tls, &mut wire, error);
                Err(self.explain(&wire, error, true))
            },
        }
    }

    fn explain(&self, wire: &Wire, error: io::Error, established: bool) -> HttpsError {
        let at = self.endpoint.at;
        match tls::rustls_error(&error) {
            Some(Error::InvalidCertificate(why)) => HttpsError::Distrusted {
                at,
                why: Distrust::from(why),
            },
            Some(Error::AlertReceived(alert)) if is_about_us(*alert, established) => {
                HttpsError::Rejected {
                    at,
                    alert: format!("{alert:?}"),
                }
            },
            None if established && error.kind() != ErrorKind::TimedOut => {
                HttpsError::Lost { at, source: error }
            },
            _ => HttpsError::Tls(wire.explain(error)),
        }
    }
}

/// A GET in clear, for what a process on this node tells everybody there: etcd's listener for metrics and health.
///
/// # Errors
///
/// As [`Client::request`].
pub fn get_in_clear(at: SocketAddr, path: &str, timeout: Duration) -> Result<Response, HttpsError> {
    let request = Request {
        method: "GET",
        path,
        host: &at.ip().to_string(),
        port: at.port(),
        content_type: None,
        body: None,
        bearer: None,
    };
    let bytes = request.to_bytes()?;
    let mut wire = Wire::open(at, timeout)?;
    let sent = wire.write_all(&bytes).map_err(Broken::Io);
    sent.and_then(|()| Response::read(&mut wire, "GET"))
        .map_err(|broken| match broken {
            Broken::Malformed(why) => HttpsError::Malformed { at, why },
            Broken::TooLarge => HttpsError::TooLarge { at },
            Broken::Io(source) => HttpsError::Lost { at, source },
        })
}

/// Whether an alert speaks of the client's certificate: certain ones always do, and after the handshake a server has
/// nothing else to complain about.
fn is_about_us(alert: AlertDescription, established: bool) -> bool {
    established
        || matches!(
            alert,
            AlertDescription::NoCertificate
                | AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied
                | AlertDescription::DecryptError
                | AlertDescription::CertificateRequired
        )
}

#[cfg(test)]
mod tests;
