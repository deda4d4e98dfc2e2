//! The CA's certificate and key: read, and opened in memory if the key is encrypted.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

use crate::cli::args::Sign;
use crate::cli::context::Context;
use crate::config;
use crate::crypto;
use crate::error::Failure;
use crate::exit::Exit;
use crate::issue::Authority;
use crate::pki::cert::Cert;
use crate::pki::key::PrivateKey;
use crate::pki::name::printable;
use crate::pki::pem;
use crate::terminal::prompt;

/// The largest key or passphrase file, in bytes.
const LIMIT: usize = 1 << 20;

/// The CA that signs.
pub(super) fn authority(context: &Context, args: &Sign) -> Result<Authority, Failure> {
    let unusable = |error: &dyn std::error::Error, hint: &str| {
        let text = format!("{} {error}", args.ca_cert.display());
        Failure::new(Exit::Refused, text, hint)
    };
    let text = config::bounded(&args.ca_cert, LIMIT as u64)?;
    let certs = Cert::all_from_pem(&text)
        .map_err(|error| unusable(&error, "name the CA's certificate in PEM: --ca-cert FILE"))?;
    let key = key(context, args)?;
    Authority::among(&certs, &key).map_err(|error| {
        Failure::new(
            Exit::Refused,
            error.to_string(),
            "name the certificate and the key of one CA: --ca-cert, --ca-key",
        )
    })
}

/// Reads the CA's key, and opens it in memory if it is encrypted.
fn key(context: &Context, args: &Sign) -> Result<PrivateKey, Failure> {
    let path = &args.ca_key;
    let refuse = |why: String, hint: &str| {
        Failure::new(Exit::Refused, format!("{} {why}", path.display()), hint)
    };
    let text = secret(path)?;
    if text.starts_with(b"age-encryption.org/")
        || text.starts_with(b"-----BEGIN AGE ENCRYPTED FILE")
    {
        let hint = format!(
            "age -d {} | rescue-kit csr sign --ca-key - ...",
            path.display()
        );
        return Err(refuse("is encrypted with age".to_owned(), &hint));
    }
    let hint = "name the CA's key in PEM: --ca-key FILE";
    let blocks = pem::blocks(&text).map_err(|error| refuse(error.to_string(), hint))?;
    let Some(sealed) = blocks
        .iter()
        .find(|block| block.tag == "ENCRYPTED PRIVATE KEY")
    else {
        return PrivateKey::from_blocks(&blocks).map_err(|error| {
            let hint = format!(
                "openssl pkey -in {} | rescue-kit csr sign --ca-key - ...",
                path.display()
            );
            refuse(error.to_string(), &hint)
        });
    };
    let passphrase = passphrase(context, args)?;
    crypto::unseal(&sealed.der, passphrase.as_bytes()).map_err(|error| {
        let hint = match error {
            crypto::SealError::Passphrase => "try again".to_owned(),
            _ => format!(
                "openssl pkey -in {} | rescue-kit csr sign --ca-key - ...",
                path.display()
            ),
        };
        refuse(error.to_string(), &hint)
    })
}

/// The passphrase: from a file, else from whoever sits at the terminal. Never from an argument or a variable.
fn passphrase(context: &Context, args: &Sign) -> Result<Zeroizing<String>, Failure> {
    if let Some(path) = &args.passphrase_file {
        let bytes = secret(path)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| {
            let text = format!("{} is not UTF-8", path.display());
            Failure::new(Exit::Refused, text, "save it as UTF-8")
        })?;
        let line = text.strip_suffix('\n').unwrap_or(text);
        return Ok(Zeroizing::new(
            line.strip_suffix('\r').unwrap_or(line).to_owned(),
        ));
    }
    let text = format!(
        "{} is encrypted, and there is no terminal to ask for its passphrase on",
        args.ca_key.display()
    );
    let unasked = || Failure::usage(text.clone(), "--passphrase-file FILE, such as /dev/fd/3");
    if !context.can_ask() {
        return Err(unasked());
    }
    let question = format!(
        "Passphrase of {}",
        printable(&args.ca_key.display().to_string())
    );
    prompt::passphrase(&question).ok_or_else(unasked)
}

/// Reads a secret: a file, an open descriptor such as `/dev/fd/3`, or with `-` stdin. The bytes are wiped.
fn secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let unreadable = |error: io::Error| Failure::unreadable(path, &error);
    let is_open = path.starts_with("/dev/fd") || path.starts_with("/proc/self/fd");
    let mut source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else if is_open {
        Box::new(File::open(path).map_err(unreadable)?)
    } else {
        return config::bounded(path, LIMIT as u64).map(Zeroizing::new);
    };
    // All the room is taken at once, so that no growing vector leaves copies.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LIMIT + 1));
    source
        .by_ref()
        .take(LIMIT as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() > LIMIT {
        let text = format!("{} is larger than a key", path.display());
        return Err(Failure::new(Exit::Refused, text, "name another file"));
    }
    Ok(bytes)
}
