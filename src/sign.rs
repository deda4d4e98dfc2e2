//! Signatures over evidence: Ed25519 (RFC 8032), for `openssl pkeyutl` and `ssh-keygen -Y verify`.
//!
//! An SSH signature is made as OpenSSH's `PROTOCOL.sshsig` says: namespace [`NAMESPACE`], hash SHA-512.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256, Sha512};
use zeroize::Zeroizing;

use crate::crypto::{self, CryptoError, SigningKey};
use crate::pki::digest::Digest;
use crate::pki::key::{self, KeyAlgorithm};
use crate::pki::pem::{self, PemError};

/// The namespace of our SSH signatures: `ssh-keygen -Y verify -n rescue-kit`.
pub const NAMESPACE: &str = "rescue-kit";

/// The name of the signer in `allowed_signers`, which `ssh-keygen -I` takes.
pub const PRINCIPAL: &str = "rescue-kit";

/// The files beside `SHA256SUMS` that say who signed it, sorted.
pub const FILES: [&str; 4] = [
    "SHA256SUMS.sig",
    "SHA256SUMS.sshsig",
    "allowed_signers",
    "signer.pub",
];

/// The key type of Ed25519 in SSH (RFC 8709).
const SSH_TYPE: &[u8] = b"ssh-ed25519";

/// What an OpenSSH private key starts with (`PROTOCOL.key`).
const OPENSSH_MAGIC: &[u8] = b"openssh-key-v1\0";

/// Why a key cannot sign, or a public key cannot verify. Displayed after the file's name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The key is not usable, or the system gives no random numbers.
    #[error("cannot be used to sign")]
    Crypto(#[from] CryptoError),
    /// The key is encrypted.
    #[error(
        "is encrypted; make a plain copy with `cp KEY COPY && ssh-keygen -p -N '' -f COPY` \
         (or `openssl pkey -in KEY -out COPY`)"
    )]
    Encrypted,
    /// The key's structure is damaged.
    #[error("is damaged: {why}")]
    Malformed {
        /// What is wrong.
        why: &'static str,
    },
    /// The key is of another kind than Ed25519.
    #[error("is not an Ed25519 key; `ssh-keygen -t ed25519` makes one")]
    NotEd25519,
    /// The file has no block of PEM text.
    #[error("has no key")]
    Pem(#[from] PemError),
    /// Signatures that are not whole, or of something else.
    #[error("{0}")]
    Unfit(String),
}

/// Signatures over the text of `SHA256SUMS`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Signatures {
    /// The digest of that text.
    pub sums: Digest,
    /// The signer's public key, PEM.
    pub public: String,
    /// The same as a line for `ssh-keygen -Y verify -f`.
    pub allowed_signers: String,
    /// Its fingerprint, as `ssh-keygen -l` shows it.
    pub fingerprint: String,
    /// 64 bytes, for `openssl pkeyutl`.
    pub raw: Vec<u8>,
    /// Armored, for `ssh-keygen -Y verify -s`.
    pub sshsig: String,
}

impl Signatures {
    /// Signs; the same key and text give the same bytes.
    pub fn over(sums: &str, key: &AuditKey) -> Self {
        Self {
            sums: Digest::of(sums.as_bytes()),
            public: key.public_pem(),
            allowed_signers: key.allowed_signers(PRINCIPAL),
            fingerprint: key.fingerprint(),
            raw: key.raw(sums.as_bytes()).to_vec(),
            sshsig: key.sshsig(sums.as_bytes()),
        }
    }

    /// Each of [`FILES`] with its content.
    pub fn files(self) -> [(&'static str, Vec<u8>); 4] {
        let [raw, sshsig, allowed_signers, public] = FILES;
        [
            (raw, self.raw),
            (sshsig, self.sshsig.into_bytes()),
            (allowed_signers, self.allowed_signers.into_bytes()),
            (public, self.public.into_bytes()),
        ]
    }
}

/// Checks both signatures over the text of `SHA256SUMS`, each of [`FILES`] given by `find`; returns the public key, PEM.
///
/// # Errors
///
/// [`SignError::Unfit`] for what is missing or does not fit; [`SignError::Pem`] and [`SignError::NotEd25519`] for the key.
pub fn check(sums: &[u8], find: impl Fn(&str) -> Option<Vec<u8>>) -> Result<Vec<u8>, SignError> {
    let unfit = |why: &str| SignError::Unfit(why.to_owned());
    let find = |name: &str| find(name).ok_or_else(|| SignError::Unfit(format!("it has no {name}")));
    let public = find("signer.pub")?;
    if !verify_raw(&public, sums, &find("SHA256SUMS.sig")?)? {
        return Err(unfit("the signature does not fit SHA256SUMS"));
    }
    // What ssh-keygen is told to check must name the same key.
    if allowed_signers(&public, PRINCIPAL)?.into_bytes() != find("allowed_signers")? {
        return Err(unfit("allowed_signers names another key than signer.pub"));
    }
    if !verify_sshsig(&public, sums, &find("SHA256SUMS.sshsig")?)? {
        return Err(unfit("the OpenSSH signature does not fit SHA256SUMS"));
    }
    Ok(public)
}

/// A key that signs audits. Cannot be shown.
pub struct AuditKey(SigningKey);

impl AuditKey {
    /// Makes a new key.
    ///
    /// # Errors
    ///
    /// [`SignError::Crypto`] if the system gives no random numbers.
    pub fn generate() -> Result<Self, SignError> {
        Ok(Self(SigningKey::generate()?))
    }

    /// Takes the text of a private key file: OpenSSH's own format or PKCS#8 of either version, not encrypted.
    ///
    /// # Errors
    ///
    /// [`SignError::Encrypted`], [`SignError::NotEd25519`], [`SignError::Malformed`], [`SignError::Pem`].
    pub fn load(text: &[u8]) -> Result<Self, SignError> {
        let blocks = pem::blocks(text)?;
        let mut keys = blocks
            .iter()
            .filter(|block| block.tag.ends_with("PRIVATE KEY"));
        let block = keys.next().ok_or(PemError::NoBlock)?;
        match block.tag.as_str() {
            _ if block.encrypted => Err(SignError::Encrypted),
            "ENCRYPTED PRIVATE KEY" => Err(SignError::Encrypted),
            "OPENSSH PRIVATE KEY" => from_openssh(&block.der),
            "PRIVATE KEY" => {
                let key = SigningKey::from_pkcs8(&block.der).map_err(|_| SignError::NotEd25519)?;
                Ok(Self(key))
            },
            _ => Err(SignError::NotEd25519),
        }
    }

    /// The private key as a file: PEM text of PKCS#8 version 1, which [`AuditKey::load`] and every OpenSSL read.
    pub fn to_pem(&self) -> Zeroizing<String> {
        self.0.to_private_key().to_pem()
    }

    /// The public key as PEM text of a `SubjectPublicKeyInfo` (RFC 8410), for `openssl pkeyutl -pubin -inkey`.
    pub fn public_pem(&self) -> String {
        let spki = key::write_spki(&KeyAlgorithm::Ed25519, &self.0.public());
        spki.map_or(String::new(), |der| {
            (*pem::encode("PUBLIC KEY", &der)).clone()
        })
    }

    /// The public key's fingerprint as `ssh-keygen -l` shows it: `SHA256:` and base64 without padding.
    pub fn fingerprint(&self) -> String {
        fingerprint_of(&self.0.public())
    }

    /// One line, with its end, for the file that `ssh-keygen -Y verify -f` takes (`ssh-keygen(1)`, ALLOWED SIGNERS).
    ///
    /// Characters of `principal` other than letters, digits and `@._+-` become `_`: others have a meaning in that file.
    pub fn allowed_signers(&self, principal: &str) -> String {
        allowed_signers_of(&self.0.public(), principal)
    }

    /// Signs the message itself; 64 bytes, for `openssl pkeyutl -verify -rawin`.
    pub fn raw(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message)
    }

    /// Signs as `ssh-keygen -Y sign` does; armored text with its final newline.
    pub fn sshsig(&self, message: &[u8]) -> String {
        let signature = self.0.sign(&sshsig_signed(message));
        sshsig_of(&self.0.public(), &signature)
    }
}

/// Whether the Ed25519 key in `public_pem` (a `SubjectPublicKeyInfo`) made this signature of 64 bytes.
///
/// # Errors
///
/// [`SignError::Pem`] and [`SignError::NotEd25519`] for the key; a signature that is wrong, or of the wrong length, is
/// `false`.
pub fn verify_raw(public_pem: &[u8], message: &[u8], signature: &[u8]) -> Result<bool, SignError> {
    let public = read_public(public_pem)?;
    Ok(crypto::verify_ed25519(&public, message, signature))
}

/// Whether the Ed25519 key in `public_pem` made this OpenSSH signature, in exactly the form of [`AuditKey::sshsig`].
///
/// # Errors
///
/// As [`verify_raw`].
pub fn verify_sshsig(public_pem: &[u8], message: &[u8], armored: &[u8]) -> Result<bool, SignError> {
    let public = read_public(public_pem)?;
    let text = String::from_utf8_lossy(armored);
    let body: String = text
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    let Some(signature) = STANDARD
        .decode(body)
        .ok()
        .and_then(|b| b.last_chunk::<64>().copied())
    else {
        return Ok(false);
    };
    let whole = sshsig_of(&public, &signature).as_bytes() == armored;
    Ok(whole && crypto::verify_ed25519(&public, &sshsig_signed(message), &signature))
}

/// The line of [`AuditKey::allowed_signers`] for the Ed25519 key in `public_pem`.
///
/// # Errors
///
/// As [`fingerprint`].
pub fn allowed_signers(public_pem: &[u8], principal: &str) -> Result<String, SignError> {
    read_public(public_pem).map(|public| allowed_signers_of(&public, principal))
}

/// The fingerprint of the Ed25519 key in `public_pem`, as [`AuditKey::fingerprint`].
///
/// # Errors
///
/// [`SignError::Pem`] and [`SignError::NotEd25519`].
pub fn fingerprint(public_pem: &[u8]) -> Result<String, SignError> {
    read_public(public_pem).map(|public| fingerprint_of(&public))
}

/// A PEM block, or the line of OpenSSH's `.pub` files.
fn read_public(public_pem: &[u8]) -> Result<[u8; 32], SignError> {
    if let Some(public) = read_ssh_public(public_pem) {
        return Ok(public);
    }
    let blocks = pem::blocks(public_pem)?;
    let block = blocks
        .iter()
        .find(|b| b.tag == "PUBLIC KEY")
        .ok_or(PemError::NoBlock)?;
    match key::read_spki(&block.der) {
        Some((KeyAlgorithm::Ed25519, bits)) => bits.try_into().map_err(|_| SignError::NotEd25519),
        _ => Err(SignError::NotEd25519),
    }
}

fn read_ssh_public(text: &[u8]) -> Option<[u8; 32]> {
    let text = std::str::from_utf8(text).ok()?;
    let encoded = text
        .strip_prefix("ssh-ed25519 ")?
        .split_whitespace()
        .next()?;
    let blob = STANDARD.decode(encoded).ok()?;
    let public: [u8; 32] = *blob.last_chunk()?;
    (ssh_public(&public) == blob).then_some(public)
}

fn allowed_signers_of(public: &[u8; 32], principal: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@._+-".contains(c);
    let principal: String = principal
        .chars()
        .map(|c| if plain(c) { c } else { '_' })
        .collect();
    let key = STANDARD.encode(ssh_public(public));
    format!("{principal} namespaces=\"{NAMESPACE}\" ssh-ed25519 {key}\n")
}

/// What an OpenSSH signature signs (`PROTOCOL.sshsig`).
fn sshsig_signed(message: &[u8]) -> Vec<u8> {
    let digest = Sha512::digest(message);
    let mut signed = b"SSHSIG".to_vec();
    for part in [NAMESPACE.as_bytes(), b"", b"sha512", &digest] {
        put(&mut signed, part);
    }
    signed
}

/// The armored file around a signature (`PROTOCOL.sshsig`).
fn sshsig_of(public: &[u8; 32], raw: &[u8; 64]) -> String {
    let mut signature = Vec::new();
    put(&mut signature, SSH_TYPE);
    put(&mut signature, raw);
    let mut blob = b"SSHSIG\0\0\0\x01".to_vec();
    for part in [
        &ssh_public(public),
        NAMESPACE.as_bytes(),
        b"",
        b"sha512",
        &signature,
    ] {
        put(&mut blob, part);
    }
    armor(&blob)
}

fn fingerprint_of(public: &[u8; 32]) -> String {
    let digest = Sha256::digest(ssh_public(public));
    format!("SHA256:{}", STANDARD_NO_PAD.encode(digest))
}

/// Reads OpenSSH's private key format (`PROTOCOL.key`) with one key and no cipher.
fn from_openssh(bytes: &[u8]) -> Result<AuditKey, SignError> {
    let malformed = |why| SignError::Malformed { why };
    let short = || malformed("it ends too early");
    let mut rest = bytes
        .strip_prefix(OPENSSH_MAGIC)
        .ok_or_else(|| malformed("it has no magic"))?;
    let cipher = take(&mut rest).ok_or_else(short)?;
    let _kdf = take(&mut rest).ok_or_else(short)?;
    let _kdf_options = take(&mut rest).ok_or_else(short)?;
    if cipher != b"none" {
        return Err(SignError::Encrypted);
    }
    if take_number(&mut rest).ok_or_else(short)? != 1 {
        return Err(malformed("it has not exactly one key"));
    }
    let _public = take(&mut rest).ok_or_else(short)?;
    let mut secret = take(&mut rest).ok_or_else(short)?;
    let checks = [take_number(&mut secret), take_number(&mut secret)];
    if checks[0].is_none() || checks[0] != checks[1] {
        return Err(malformed("its check numbers differ"));
    }
    if take(&mut secret).ok_or_else(short)? != SSH_TYPE {
        return Err(SignError::NotEd25519);
    }
    let public = take(&mut secret).ok_or_else(short)?;
    let pair = take(&mut secret).ok_or_else(short)?;
    let seed: Option<&[u8; 32]> = pair.first_chunk();
    let key = SigningKey::from_seed(seed.ok_or_else(short)?)?;
    // The file says the public key twice; a key that signs under another one would be worthless evidence.
    if pair.get(32..) != Some(&key.public()) || public != key.public() {
        return Err(malformed("its public key is not that of its private key"));
    }
    Ok(AuditKey(key))
}

/// The public key as SSH encodes it (RFC 8709, section 4).
fn ssh_public(public: &[u8; 32]) -> Vec<u8> {
    let mut bytes = Vec::new();
    put(&mut bytes, SSH_TYPE);
    put(&mut bytes, public);
    bytes
}

/// Appends an SSH string: a big-endian length of 4 bytes, then the bytes (RFC 4251, section 5).
fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("keys, digests and names have less than 4 GiB");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Takes an SSH string off the front.
fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_number(rest)?).ok()?;
    let (bytes, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(bytes)
}

fn take_number(rest: &mut &[u8]) -> Option<u32> {
    let (number, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(u32::from_be_bytes(*number))
}

/// Base64 in lines of 70, as `ssh-keygen` writes it.
fn armor(blob: &[u8]) -> String {
    let mut text = "-----BEGIN SSH SIGNATURE-----\n".to_owned();
    for (i, c) in STANDARD.encode(blob).chars().enumerate() {
        if i > 0 && i % 70 == 0 {
            text.push('\n');
        }
        text.push(c);
    }
    text + "\n-----END SSH SIGNATURE-----\n"
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::path::Path;
    use std::process::{Command, Output};

    use super::*;

    const MESSAGE: &[u8] = b"0123  before.json\n4567  after.json\n";

    fn output(directory: &Path, stdin: &str, argv: &[&str]) -> Output {
        Command::new(argv[0])
            .args(&argv[1..])
            .current_dir(directory)
            .stdin(File::open(directory.join(stdin)).unwrap())
            .output()
            .unwrap()
    }

    /// Signs with `key` and lets openssl and ssh-keygen judge.
    fn judge(key: &AuditKey) {
        let directory = tempfile::tempdir().unwrap();
        let write =
            |name: &str, bytes: &[u8]| fs::write(directory.path().join(name), bytes).unwrap();
        write("f", MESSAGE);
        write("changed", b"something else");
        write("pub.pem", key.public_pem().as_bytes());
        write("f.sig", &key.raw(MESSAGE));
        write("f.sshsig", key.sshsig(MESSAGE).as_bytes());
        write(
            "allowed_signers",
            key.allowed_signers("rescue-kit").as_bytes(),
        );
        for (input, want) in [("f", true), ("changed", false)] {
            let openssl = "openssl pkeyutl -verify -pubin -inkey pub.pem -rawin -sigfile f.sig -in";
            let ssh =
                "ssh-keygen -Y verify -f allowed_signers -I rescue-kit -n rescue-kit -s f.sshsig";
            let argv: Vec<&str> = openssl.split(' ').chain([input]).collect();
            let openssl = output(directory.path(), input, &argv);
            assert_eq!(openssl.status.success(), want, "{openssl:?}");
            let argv: Vec<&str> = ssh.split(' ').collect();
            let ssh = output(directory.path(), input, &argv);
            assert_eq!(ssh.status.success(), want, "{ssh:?}");
            let shown = String::from_utf8(ssh.stdout).unwrap();
            assert_eq!(shown.contains(&key.fingerprint()), want, "{shown}");
        }
    }

    #[test]
    fn openssl_and_ssh_keygen_accept_the_signatures_of_a_new_key() {
        let key = AuditKey::generate().unwrap();
        judge(&key);
        let again = AuditKey::load(key.to_pem().as_bytes()).unwrap();
        assert_eq!(again.public_pem(), key.public_pem());
    }

    /// A directory, and what runs commands in it that must succeed.
    fn workshop() -> (tempfile::TempDir, impl Fn(&[&str]) -> String) {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("null"), "").unwrap();
        let path = directory.path().to_path_buf();
        let run = move |argv: &[&str]| {
            let output = output(&path, "null", argv);
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        (directory, run)
    }

    fn load(directory: &tempfile::TempDir, name: &str) -> Result<AuditKey, SignError> {
        AuditKey::load(&fs::read(directory.path().join(name)).unwrap())
    }

    #[test]
    fn signs_with_keys_that_openssl_and_ssh_keygen_made() {
        let (directory, run) = workshop();
        run(&[
            "openssl",
            "genpkey",
            "-algorithm",
            "ed25519",
            "-out",
            "v1.pem",
        ]);
        let Ok(v1) = load(&directory, "v1.pem") else {
            panic!("v1.pem")
        };
        judge(&v1);
        assert_eq!(
            v1.public_pem(),
            run(&["openssl", "pkey", "-in", "v1.pem", "-pubout"])
        );
        run(&[
            "ssh-keygen",
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-C",
            "a comment",
            "-f",
            "ssh",
        ]);
        let Ok(ssh) = load(&directory, "ssh") else {
            panic!("ssh")
        };
        judge(&ssh);
        assert!(run(&["ssh-keygen", "-l", "-f", "ssh.pub"]).contains(&ssh.fingerprint()));
    }

    #[test]
    fn refuses_encrypted_keys_and_other_kinds() {
        let (directory, run) = workshop();
        run(&[
            "ssh-keygen",
            "-q",
            "-t",
            "ed25519",
            "-N",
            "passphrase",
            "-f",
            "ssh",
        ]);
        assert!(matches!(load(&directory, "ssh"), Err(SignError::Encrypted)));
        run(&[
            "openssl",
            "genpkey",
            "-algorithm",
            "ed25519",
            "-out",
            "v1.pem",
        ]);
        let encrypt = "openssl pkcs8 -topk8 -in v1.pem -out enc.pem -passout pass:secret";
        run(&encrypt.split(' ').collect::<Vec<_>>());
        assert!(matches!(
            load(&directory, "enc.pem"),
            Err(SignError::Encrypted)
        ));
        run(&[
            "openssl",
            "genpkey",
            "-algorithm",
            "x25519",
            "-out",
            "x.pem",
        ]);
        assert!(matches!(
            load(&directory, "x.pem"),
            Err(SignError::NotEd25519)
        ));
        run(&["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", "ecdsa"]);
        assert!(matches!(
            load(&directory, "ecdsa"),
            Err(SignError::NotEd25519)
        ));
        assert!(matches!(
            load(&directory, "ssh.pub"),
            Err(SignError::Pem(_))
        ));
    }

    #[test]
    fn a_damaged_openssh_key_is_refused_without_panic() {
        let (directory, run) = workshop();
        run(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "k"]);
        let text = fs::read(directory.path().join("k")).unwrap();
        let good = pem::blocks(&text).unwrap().remove(0).der;
        for i in 0..good.len() {
            assert!(from_openssh(&good[..i]).is_err() || i > 200, "{i}");
            let mut bad = good.to_vec();
            bad[i] ^= 0xff;
            let _ = from_openssh(&bad);
        }
        let mut other = good.to_vec();
        let secret = good
            .windows(SSH_TYPE.len())
            .rposition(|w| w == SSH_TYPE)
            .unwrap();
        other[secret + SSH_TYPE.len() + 4] ^= 1;
        assert!(matches!(
            from_openssh(&other),
            Err(SignError::Malformed { .. })
        ));
    }

    #[test]
    fn verifies_what_was_signed_and_nothing_else() {
        let key = AuditKey::generate().unwrap();
        let (public, mut signature) = (key.public_pem(), key.raw(MESSAGE));
        assert!(verify_raw(public.as_bytes(), MESSAGE, &signature).unwrap());
        assert!(!verify_raw(public.as_bytes(), b"other", &signature).unwrap());
        assert!(!verify_raw(public.as_bytes(), MESSAGE, &signature[..63]).unwrap());
        signature[5] ^= 1;
        assert!(!verify_raw(public.as_bytes(), MESSAGE, &signature).unwrap());
        assert!(verify_raw(b"nonsense", MESSAGE, &signature).is_err());
    }

    #[test]
    fn a_principal_cannot_add_to_its_line() {
        let key = AuditKey::generate().unwrap();
        let line = key.allowed_signers("a b,*\nc@host");
        assert!(line.starts_with("a_b___c@host namespaces=\"rescue-kit\" ssh-ed25519 AAAA"));
        assert_eq!(line.lines().count(), 1);
    }
}
