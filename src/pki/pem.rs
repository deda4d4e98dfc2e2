//! PEM text (RFC 7468), read as tolerantly as the components that share these files do.
//!
//! Accepted: LF, CRLF and CR line ends, a UTF-8 byte order mark, indentation, bag attributes and
//! any other text around the blocks, blank lines between base64 lines, RFC 1421 headers. What is
//! wrong gets a name.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::key::read_spki;

/// How long the lines of base64 are (RFC 7468, section 2).
const COLUMNS: usize = 64;

/// One block. Its bytes are wiped when dropped: they may be a private key.
#[derive(Clone)]
pub struct Block {
    /// The label, such as `CERTIFICATE`.
    pub tag: String,
    /// The decoded content.
    pub der: Zeroizing<Vec<u8>>,
    /// Whether a `Proc-Type: 4,ENCRYPTED` or `DEK-Info` header says that the content is encrypted
    /// (RFC 1421).
    pub encrypted: bool,
}

/// Why there is no block to be had. Displayed after a file's name: `is empty`.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PemError {
    /// The text has no bytes but white space.
    #[error("is empty")]
    Empty,
    /// The text has no block and is no text.
    #[error("is not PEM text")]
    Binary,
    /// The text has no block.
    #[error("has no pem block")]
    NoBlock,
    /// There are blocks, but no public key among them.
    #[error("has no public key block")]
    NoPublicKey,
    /// A block begins and does not end, or another one begins inside it.
    #[error("ends inside its {} block", .tag.to_lowercase())]
    Truncated {
        /// The block's label, filtered.
        tag: String,
    },
    /// A block's base64 does not decode, or what it holds is not what its label says.
    #[error("has a damaged {} block", .tag.to_lowercase())]
    Body {
        /// The block's label, filtered.
        tag: String,
    },
}

/// Reads every block in order; there is at least one.
pub fn blocks(text: &[u8]) -> Result<Vec<Block>, PemError> {
    let content = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    if content.iter().all(u8::is_ascii_whitespace) {
        return Err(PemError::Empty);
    }
    let mut found = Vec::new();
    let mut lines = content
        .split(|byte| matches!(byte, b'\n' | b'\r'))
        .map(<[u8]>::trim_ascii);
    while let Some(line) = lines.next() {
        if let Some(tag) = label(line) {
            found.push(block(tag, &mut lines)?);
        }
    }
    if found.is_empty() {
        let binary = content.contains(&0) || std::str::from_utf8(content).is_err();
        return Err(if binary {
            PemError::Binary
        } else {
            PemError::NoBlock
        });
    }
    Ok(found)
}

/// The key bits of the first `PUBLIC KEY` (RFC 7468, section 13) or `RSA PUBLIC KEY` (PKCS#1)
/// block: what [`super::cert::Cert::public_bits`] is for a certificate.
pub fn public_bits(text: &[u8]) -> Result<Vec<u8>, PemError> {
    let found = blocks(text)?;
    let block = found.iter().find(|block| block.tag.ends_with("PUBLIC KEY"));
    let block = block.ok_or(PemError::NoPublicKey)?;
    if block.tag == "RSA PUBLIC KEY" {
        return Ok(block.der.to_vec());
    }
    match read_spki(&block.der) {
        Some((_, bits)) => Ok(bits.to_vec()),
        None => Err(PemError::Body {
            tag: block.tag.clone(),
        }),
    }
}

/// Writes one block: 64 columns, LF, a final newline.
pub fn encode(tag: &str, der: &[u8]) -> Zeroizing<String> {
    let base64 = Zeroizing::new(STANDARD.encode(der));
    // The room is taken at once, so that no growing text leaves copies of a key.
    let room = base64.len() + base64.len() / COLUMNS + 2 * tag.len() + 40;
    let mut text = Zeroizing::new(String::with_capacity(room));
    text.extend(["-----BEGIN ", tag, "-----\n"]);
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(COLUMNS));
        text.extend([line, "\n"]);
        rest = more;
    }
    text.extend(["-----END ", tag, "-----\n"]);
    text
}

/// The label of a line that opens a block and does nothing else.
fn label(line: &[u8]) -> Option<String> {
    let tag = line.strip_prefix(b"-----BEGIN ")?.strip_suffix(b"-----")?;
    let plain = tag.iter().all(|byte| (b' '..=b'~').contains(byte)) && !tag.contains(&b'-');
    plain.then(|| String::from_utf8_lossy(tag).into_owned())
}

/// Takes the lines up to the block's end: headers, if there are any, then base64.
fn block<'a>(
    tag: String,
    lines: &mut (impl Iterator<Item = &'a [u8]> + Clone),
) -> Result<Block, PemError> {
    let end = format!("-----END {tag}-----");
    let inside = lines.clone().take_while(|line| *line != end.as_bytes());
    // The room is taken at once, so that no growing vector leaves copies of a key.
    let mut base64 = Zeroizing::new(Vec::with_capacity(inside.map(<[u8]>::len).sum()));
    let mut encrypted = false;
    for line in lines {
        if line == end.as_bytes() {
            return match STANDARD.decode(base64.as_slice()).map(Zeroizing::new) {
                Ok(der) if !der.is_empty() => Ok(Block {
                    tag,
                    der,
                    encrypted,
                }),
                _ => Err(PemError::Body { tag }),
            };
        }
        if line.windows(5).any(|dashes| dashes == b"-----") {
            break;
        }
        if base64.is_empty() && line.contains(&b':') {
            encrypted |= line.starts_with(b"DEK-Info:")
                || line.starts_with(b"Proc-Type:") && line.ends_with(b"ENCRYPTED");
            continue;
        }
        base64.extend(line.iter().filter(|byte| !byte.is_ascii_whitespace()));
    }
    Err(PemError::Truncated { tag })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> String {
        encode("CERTIFICATE", &[0xfb; 100]).to_string()
    }

    fn only(text: &[u8]) -> Block {
        let mut found = blocks(text).map_err(|error| error.to_string()).unwrap();
        assert_eq!(found.len(), 1);
        found.remove(0)
    }

    #[test]
    fn writes_64_columns_and_a_final_newline() {
        let text = sample();
        assert_eq!(text.lines().nth(1).unwrap().len(), 64);
        assert!(text.ends_with("-----END CERTIFICATE-----\n"));
        assert_eq!(only(text.as_bytes()).der.as_slice(), [0xfb; 100]);
    }

    #[test]
    fn reads_what_editors_and_exports_make_of_it() {
        let text = sample();
        for odd in [
            text.replace('\n', "\r\n"),
            text.replace('\n', "\r"),
            format!("\u{feff}{text}"),
            text.replace('\n', "\n\t  "),
            format!("Bag Attributes\n  friendlyName: -----\n{text}trailing words"),
            text.replace('\n', "\n\n"),
        ] {
            assert_eq!(only(odd.as_bytes()).der.as_slice(), [0xfb; 100], "{odd:?}");
        }
        let latin = [b"Subject: M\xfcller\n".as_slice(), text.as_bytes()].concat();
        assert_eq!(only(&latin).tag, "CERTIFICATE");
    }

    #[test]
    fn says_what_is_wrong() {
        let text = sample();
        let said = |bytes: &[u8]| blocks(bytes).err().unwrap().to_string();
        assert_eq!(said(b" \n"), "is empty");
        assert_eq!(said(b"\xef\xbb\xbf\n"), "is empty");
        assert_eq!(said(&[0; 4096]), "is not PEM text");
        assert_eq!(said(&[0x30, 0x82, 1, 2]), "is not PEM text");
        assert_eq!(said(b"hello"), "has no pem block");
        assert_eq!(
            said(&text.as_bytes()[..90]),
            "ends inside its certificate block"
        );
        let joined = format!("{}{text}", text.trim_end());
        assert_eq!(said(joined.as_bytes()), "ends inside its certificate block");
        assert_eq!(
            said(text.replace("+/v7+", "+!v7+").as_bytes()),
            "has a damaged certificate block"
        );
    }

    #[test]
    fn finds_the_bits_of_public_keys() {
        let spki = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00"
            .iter()
            .copied();
        let spki: Vec<u8> = spki.chain([7; 32]).collect();
        let text = encode("PUBLIC KEY", &spki);
        assert_eq!(public_bits(text.as_bytes()).unwrap(), [7; 32]);
        let text = encode("RSA PUBLIC KEY", &[0x30, 0]);
        assert_eq!(public_bits(text.as_bytes()).unwrap(), [0x30, 0]);
        assert_eq!(public_bits(sample().as_bytes()), Err(PemError::NoPublicKey));
        let text = encode("PUBLIC KEY", &spki[1..]);
        assert!(matches!(
            public_bits(text.as_bytes()),
            Err(PemError::Body { .. })
        ));
    }

    #[test]
    fn notices_legacy_encryption() {
        let text = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: DES-EDE3-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
        for odd in [
            text.to_owned(),
            text.replace('\n', "\r\n"),
            text.replace('\n', "\r"),
            text.replace("\n\n", "\n"),
            text.replace('\n', "\n\n"),
        ] {
            let block = only(odd.as_bytes());
            assert!(block.encrypted && block.der.as_slice() == [0; 3], "{odd:?}");
        }
        assert!(!only(sample().as_bytes()).encrypted);
    }
}
