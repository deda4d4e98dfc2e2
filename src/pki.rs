//! Certificates, keys, names, and the files that carry them: pure values, bytes in and bytes out.
//!
//! Nothing here reads a file, a clock or a random number, and nothing here signs. Whatever is read
//! keeps the raw DER beside what was understood of it, because a renewed certificate repeats its
//! predecessor byte for byte (`openssl` compares names loosely, Go compares their bytes).

pub mod anchor;
pub mod cert;
pub mod chain;
pub mod csr;
pub mod digest;
pub mod extension;
pub mod key;
pub mod kubeconfig;
pub mod name;
pub(crate) mod oid;
pub mod pem;
pub mod request;
pub mod san;
pub mod tbs;
pub(crate) mod tlv;
pub mod token;
pub mod utc;
