//! TLS: what a server serves, and who we are to it.
//!
//! No certificate store of the system, no name service. aws-lc does the cryptography, as in [`crate::crypto`]: it takes
//! every form of key that clusters have.

mod wire;
mod witness;

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
    ServerName,
};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::{ClientConfig, ClientConnection};

use crate::pki::cert::Cert;
use crate::pki::key::{self, KeyForm, PrivateKey};

pub(crate) use wire::Wire;
use witness::Witness;

/// Why there is no TLS connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// Nobody listens.
    #[error("nothing listens at {at}")]
    Refused {
        /// The address.
        at: SocketAddr,
    },
    /// The whole did not happen in time.
    #[error("{at} did not answer within {} s", within.as_secs_f32())]
    TimedOut {
        /// The address.
        at: SocketAddr,
        /// The time it was given.
        within: Duration,
    },
    /// There is no way to the address.
    #[error("cannot connect to {at}")]
    Unreachable {
        /// The address.
        at: SocketAddr,
        /// What the system answered.
        source: io::Error,
    },
    /// Somebody listens who does not speak TLS.
    #[error("{at} does not speak TLS")]
    NotTls {
        /// The address.
        at: SocketAddr,
    },
    /// Server and we did not come to terms.
    #[error("the TLS handshake with {at} failed: {why}")]
    Handshake {
        /// The address.
        at: SocketAddr,
        /// What either side said.
        why: String,
    },
    /// The name is neither an address nor a name that DNS could have.
    #[error("`{}` is no name of a server", .name.escape_default())]
    Name {
        /// The name.
        name: String,
    },
    /// Certificate and key cannot be used together, or not in TLS.
    #[error("the client's credential cannot be used: {why}")]
    Identity {
        /// What is wrong.
        why: &'static str,
    },
}

/// A certificate with its chain and key, to be presented to servers. Cannot be shown; the key lives in memory that
/// aws-lc wipes.
#[derive(Clone)]
pub struct ClientIdentity(Arc<CertifiedKey>);

impl ClientIdentity {
    /// Puts a chain (DER, leaf first) and the leaf's key together. Dates, usages and the rest of the chain are for the
    /// server to judge.
    ///
    /// # Errors
    ///
    /// [`TlsError::Identity`] if there is no leaf, the key cannot sign or is another's.
    pub fn new(chain: Vec<Vec<u8>>, key: &PrivateKey) -> Result<Self, TlsError> {
        let unusable = |why| TlsError::Identity { why };
        let leaf = chain
            .first()
            .ok_or_else(|| unusable("there is no certificate"))
            .map(|der| Cert::from_der(der))?
            .map_err(|_| unusable("the certificate is malformed"))?;
        let key =
            load(key).ok_or_else(|| unusable("the private key is of no kind that TLS uses"))?;
        let spki = key.public_key();
        let bits = spki
            .as_deref()
            .and_then(key::read_spki)
            .map(|(_, bits)| bits);
        if bits != Some(leaf.public_bits()) {
            return Err(unusable("the private key does not belong to it"));
        }
        let chain = chain.into_iter().map(CertificateDer::from).collect();
        Ok(Self(Arc::new(CertifiedKey::new(chain, key))))
    }

    /// Presents itself to every server that asks, whatever authorities the server names.
    pub(crate) fn resolver(&self) -> Arc<SingleCertAndKey> {
        Arc::new(SingleCertAndKey::from(Arc::clone(&self.0)))
    }
}

/// Handshakes with whoever listens at `at` and returns the chain that it serves: DER, leaf first, as it came.
///
/// Everything is taken and nothing trusted: expired, self-signed, of an unknown authority, with odd algorithms. Nothing
/// is sent after the handshake. `name` is asked for (SNI) if it is a DNS name. A server that wants a client certificate
/// gets none, and its chain is had all the same.
///
/// # Errors
///
/// [`TlsError::Refused`], [`TlsError::TimedOut`] (`within` is for everything), [`TlsError::Unreachable`],
/// [`TlsError::NotTls`], [`TlsError::Handshake`], [`TlsError::Name`].
pub fn served(
    at: SocketAddr,
    name: Option<&str>,
    within: Duration,
) -> Result<Vec<Vec<u8>>, TlsError> {
    let name = match name {
        Some(name) => server_name(name)?,
        None => ServerName::from(at.ip()),
    };
    let witness = Arc::new(Witness::default());
    let config = ClientConfig::builder_with_provider(crypto())
        .with_safe_default_protocol_versions()
        .map_err(|error| handshake_failure(at, &error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&witness) as _)
        .with_no_client_auth();
    let mut tls = ClientConnection::new(Arc::new(config), name)
        .map_err(|error| handshake_failure(at, &error))?;
    let mut wire = Wire::open(at, within)?;
    let shaken = shake_hands(&mut tls, &mut wire);
    if shaken.is_ok() {
        // Politeness, so that the server logs nothing: whether it arrives does not matter.
        tls.send_close_notify();
        let _ = tls.write_tls(&mut wire);
    }
    match (witness.chain(), shaken) {
        (Some(chain), _) => Ok(chain),
        (None, Err(error)) => Err(wire.explain(error)),
        (None, Ok(())) => Err(TlsError::Handshake {
            at,
            why: "it served no certificate".to_owned(),
        }),
    }
}

/// The algorithms of every connection.
pub(crate) fn crypto() -> Arc<CryptoProvider> {
    Arc::new(provider::default_provider())
}

/// What a certificate is to be valid for; addresses are not sent as SNI.
pub(crate) fn server_name(name: &str) -> Result<ServerName<'static>, TlsError> {
    if let Ok(ip) = name.parse::<IpAddr>() {
        return Ok(ServerName::from(ip));
    }
    ServerName::try_from(name.to_owned()).map_err(|_| TlsError::Name {
        name: name.chars().take(256).collect(),
    })
}

/// Goes on until both sides have finished. TLS 1.3 servers judge our certificate only after that.
pub(crate) fn shake_hands(tls: &mut ClientConnection, wire: &mut Wire) -> io::Result<()> {
    while tls.is_handshaking() {
        if let Err(error) = tls.complete_io(wire) {
            return Err(last_words(tls, wire, error));
        }
    }
    Ok(())
}

/// What the server said before it hung up on us while we were writing; else `error`.
pub(crate) fn last_words(
    tls: &mut ClientConnection,
    wire: &mut Wire,
    error: io::Error,
) -> io::Error {
    if matches!(
        error.kind(),
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
    ) {
        while tls.read_tls(wire).is_ok_and(|n| n > 0) {
            if let Err(said) = tls.process_new_packets() {
                return io::Error::new(ErrorKind::InvalidData, said);
            }
        }
    }
    error
}

/// What rustls said, if it was rustls.
pub(crate) fn rustls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn handshake_failure(at: SocketAddr, error: &rustls::Error) -> TlsError {
    TlsError::Handshake {
        at,
        why: error.to_string(),
    }
}

/// Tries the key's own form, then PKCS#8: aws-lc refuses some keys (a curve named beside the key) in the one and takes
/// them in the other.
fn load(key: &PrivateKey) -> Option<Arc<dyn SigningKey>> {
    let wrapped = key.in_form(KeyForm::Pkcs8).ok();
    [Some(key), wrapped.as_ref()]
        .into_iter()
        .flatten()
        .find_map(|key| {
            let der = key.der();
            let borrowed = match key.form() {
                KeyForm::Pkcs1 => PrivateKeyDer::from(PrivatePkcs1KeyDer::from(der)),
                KeyForm::Pkcs8 => PrivateKeyDer::from(PrivatePkcs8KeyDer::from(der)),
                KeyForm::Sec1 | KeyForm::Sec1WithParameters => {
                    PrivateKeyDer::from(PrivateSec1KeyDer::from(der))
                },
            };
            provider::sign::any_supported_type(&borrowed).ok()
        })
}

#[cfg(test)]
pub(crate) mod tests;
