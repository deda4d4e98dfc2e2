//! Keys of every form, made and read by `openssl`.

use std::process::Command;

use super::*;
use crate::pki::pem;

/// Runs openssl in a shell, for its pipes; its standard output.
fn openssl(script: &str) -> Vec<u8> {
    let out = Command::new("sh").args(["-ec", script]).output().unwrap();
    assert!(
        out.status.success(),
        "{script}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    out.stdout
}

fn load(script: &str) -> (PrivateKey, Signer) {
    let text = openssl(script);
    let key = PrivateKey::from_pem(&text)
        .map_err(|e| format!("{script}: {e}"))
        .unwrap();
    let signer = Signer::load(&key)
        .map_err(|e| format!("{script}: {e}"))
        .unwrap();
    (key, signer)
}

#[test]
fn loads_every_form_of_key_that_openssl_writes() {
    let ec = |curve: &str| format!("openssl ecparam -name {curve} -genkey");
    let cases = [
        (
            "openssl genrsa -traditional 2048".to_owned(),
            "rsa-2048",
            KeyForm::Pkcs1,
        ),
        (
            "openssl genpkey -algorithm rsa -pkeyopt rsa_keygen_bits:2432".to_owned(),
            "rsa-2432",
            KeyForm::Pkcs8,
        ),
        (ec("prime256v1"), "ecdsa-p256", KeyForm::Sec1WithParameters),
        (ec("secp384r1") + " -noout", "ecdsa-p384", KeyForm::Sec1),
        (ec("secp521r1") + " -noout", "ecdsa-p521", KeyForm::Sec1),
        (
            ec("prime256v1") + " -noout | openssl pkcs8 -topk8 -nocrypt",
            "ecdsa-p256",
            KeyForm::Pkcs8,
        ),
        (
            ec("secp384r1") + " -noout | openssl ec -no_public",
            "ecdsa-p384",
            KeyForm::Sec1,
        ),
        (
            ec("prime256v1") + " -noout -param_enc explicit",
            "ecdsa-p256",
            KeyForm::Sec1,
        ),
        (
            "openssl genpkey -algorithm ed25519".to_owned(),
            "ed25519",
            KeyForm::Pkcs8,
        ),
    ];
    for (script, algorithm, form) in cases {
        let (key, signer) = load(&script);
        assert_eq!(
            (signer.algorithm().to_string().as_str(), key.form()),
            (algorithm, form),
            "{script}"
        );
        assert!(!signer.sign(b"x").unwrap().is_empty());
    }
}

#[test]
fn goes_through_every_form_and_back() {
    let every = [
        KeyForm::Pkcs1,
        KeyForm::Pkcs8,
        KeyForm::Sec1,
        KeyForm::Sec1WithParameters,
    ];
    for name in [
        "rsa-2048",
        "ecdsa-p256",
        "ecdsa-p384",
        "ecdsa-p521",
        "ed25519",
    ] {
        let algorithm: KeyAlgorithm = name.parse().unwrap();
        for form in every {
            let key = generate(&algorithm, form).unwrap();
            assert_eq!(key.form(), form.fitted(&algorithm));
            assert_eq!(key.algorithm().as_ref(), Some(&algorithm));
            let public = Signer::load(&key).unwrap();
            for other in every.map(|form| form.fitted(&algorithm)) {
                let text = key.in_form(other).ok().unwrap().to_pem();
                let again = PrivateKey::from_pem(text.as_bytes()).ok().unwrap();
                assert_eq!(again.form(), other);
                assert_eq!(Signer::load(&again).unwrap().spki(), public.spki());
                assert_eq!(
                    again.in_form(form.fitted(&algorithm)).ok().unwrap().der(),
                    key.der()
                );
            }
        }
    }
}

#[test]
fn openssl_reads_what_is_made_and_sees_the_same_public_key() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.pem");
    for name in [
        "rsa-2048",
        "ecdsa-p256",
        "ecdsa-p384",
        "ecdsa-p521",
        "ed25519",
    ] {
        for form in [KeyForm::Pkcs8, KeyForm::Sec1WithParameters] {
            let key = generate(&name.parse().unwrap(), form).unwrap();
            std::fs::write(&path, key.to_pem().as_bytes()).unwrap();
            let der = openssl(&format!(
                "openssl pkey -in {} -pubout -outform DER",
                path.display()
            ));
            assert_eq!(der, Signer::load(&key).unwrap().spki(), "{name} {form:?}");
        }
    }
}

#[test]
fn refuses_encrypted_and_weak_keys_by_name() {
    let said = |script: &str| match PrivateKey::from_pem(&openssl(script)) {
        Err(error) => error.to_string(),
        Ok(key) => Signer::load(&key).unwrap_err().to_string(),
    };
    let rsa = "openssl genrsa -traditional 2048";
    assert_eq!(
        said(&format!(
            "{rsa} | openssl pkcs8 -topk8 -passout pass:secret"
        )),
        "holds an encrypted private key"
    );
    assert_eq!(
        said(&format!(
            "{rsa} | openssl rsa -traditional -aes128 -passout pass:secret"
        )),
        "holds an encrypted private key"
    );
    assert_eq!(
        said("openssl genrsa -traditional 1024"),
        "a key of the kind rsa-1024 cannot be used"
    );
    assert_eq!(
        said("openssl genpkey -algorithm ed448"),
        "a key of the kind 1.3.101.113 cannot be used"
    );
    assert_eq!(
        said("openssl ecparam -name secp256k1 -genkey -noout"),
        "a key of the kind ecdsa-1.3.132.0.10 cannot be used"
    );
    let bits = generate(&KeyAlgorithm::Rsa(1000), KeyForm::Pkcs8)
        .err()
        .unwrap();
    assert_eq!(
        bits.to_string(),
        "a key of the kind rsa-1000 cannot be used"
    );
}

#[test]
fn serials_are_positive_and_need_no_padding() {
    for _ in 0..200 {
        assert!((1..=0x7f).contains(&serial().unwrap()[0]));
    }
}

#[test]
fn signs_what_openssl_verifies_as_raw_ed25519() {
    let dir = tempfile::tempdir().unwrap();
    let key = SigningKey::generate().unwrap();
    let again = SigningKey::from_pkcs8(key.to_private_key().der()).unwrap();
    let signature = again.sign(b"message");
    assert!(verify_ed25519(&key.public(), b"message", &signature));
    assert!(!verify_ed25519(&key.public(), b"massage", &signature));
    let spki = key::write_spki(&KeyAlgorithm::Ed25519, &key.public()).unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
    write("pub", pem::encode("PUBLIC KEY", &spki).as_bytes());
    write("sig", &signature);
    write("msg", b"message");
    let at = dir.path().display();
    openssl(&format!(
        "cd {at} && openssl pkeyutl -verify -pubin -inkey pub -rawin -in msg -sigfile sig"
    ));
}

#[test]
fn never_panics_on_damaged_sealed_keys() {
    let text = openssl(
        "openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -passout pass:x -iter 10",
    );
    let der = pem::blocks(&text).ok().unwrap().remove(0).der;
    let key = unseal(&der, b"x").ok().unwrap();
    assert_eq!(key.algorithm(), Some(KeyAlgorithm::EcdsaP256));
    assert_eq!(unseal(&der, b"y").err(), Some(SealError::Passphrase));
    for cut in 0..der.len() {
        assert!(unseal(&der[..cut], b"x").is_err());
    }
    // Up to the parameters of the cipher: what follows is the sealed key itself.
    for place in 0..90 {
        for value in [0, 0x30, 0x7f, 0x80] {
            let mut damaged = der.to_vec();
            damaged[place] = value;
            // CBC proves nothing about what it opens: all that is claimed is that it returns.
            drop(unseal(&damaged, b"x"));
        }
    }
}
