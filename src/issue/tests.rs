//! What is issued, judged by `openssl -x509_strict` and by comparing bytes.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::*;
use crate::pki::digest::hex;
use crate::pki::extension::{self, Extension};
use crate::pki::key::{KeyAlgorithm, KeyForm};
use crate::pki::name::Attribute;
use crate::pki::pem;

/// Runs openssl in a shell in `dir`; what it printed.
fn openssl(dir: &Path, script: &str) -> String {
    let out = Command::new("sh")
        .args(["-ec", script])
        .current_dir(dir)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(
        out.status.success(),
        "{script}: {said}{}",
        String::from_utf8_lossy(&out.stdout)
    );
    String::from_utf8_lossy(&out.stdout).into_owned()
}

fn at(text: &str) -> Utc {
    Utc::parse(text).unwrap()
}

const FROM: &str = "2026-01-01T00:00:00Z";
const UNTIL: &str = "2049-12-31T00:00:00Z";

fn name(common: &str) -> Name {
    Name::build(&[(Attribute::CommonName, common.to_owned())]).unwrap()
}

fn authority(algorithm: &str) -> Authority {
    let key = crypto::generate(&algorithm.parse().unwrap(), KeyForm::Pkcs8).unwrap();
    let cert = new_authority(&name("kubernetes"), &key, at(FROM), at(UNTIL), None).unwrap();
    Authority::load(cert, Vec::new(), &key).unwrap()
}

/// What openssl, strictly, says about a leaf below an authority at a time in their validity.
fn judge(dir: &Path, authority: &Cert, leaf: &Cert, purpose: &str) {
    fs::write(dir.join("ca.pem"), authority.to_pem()).unwrap();
    fs::write(dir.join("leaf.pem"), leaf.to_pem()).unwrap();
    let strict =
        format!("openssl verify -x509_strict -no_check_time {purpose} -CAfile ca.pem leaf.pem");
    openssl(dir, &strict);
}

#[test]
fn makes_what_openssl_strictly_accepts_with_every_kind_of_key() {
    let dir = tempfile::tempdir().unwrap();
    let usages = [
        Usage::DigitalSignature,
        Usage::KeyEncipherment,
        Usage::ServerAuth,
        Usage::ClientAuth,
    ];
    let sans = [
        San::parse("node-1").unwrap(),
        San::parse("10.0.0.1").unwrap(),
        San::parse("::1").unwrap(),
    ];
    for algorithm in [
        "rsa-2048",
        "ecdsa-p256",
        "ecdsa-p384",
        "ecdsa-p521",
        "ed25519",
    ] {
        let ca = authority(algorithm);
        let key = crypto::generate(&algorithm.parse().unwrap(), KeyForm::Pkcs1).unwrap();
        let signer = Signer::load(&key).unwrap();
        let template = prototype(&name("kube_apiserver"), &usages, &sans).unwrap();
        let leaf = reissue(
            &template,
            &ca,
            signer.spki(),
            at(FROM),
            at(UNTIL),
            None,
            &[],
        )
        .unwrap();
        judge(dir.path(), &ca.cert, &ca.cert, "");
        judge(
            dir.path(),
            &ca.cert,
            &leaf,
            "-purpose sslserver -verify_ip 10.0.0.1",
        );
        assert_eq!(
            (leaf.sans.len(), leaf.aki.clone(), leaf.ski.clone()),
            (3, ca.cert.ski.clone(), None)
        );
        let order = openssl(dir.path(), "openssl x509 -in leaf.pem -noout -text");
        let places: Vec<_> = [
            "X509v3 Key Usage: critical",
            "Extended Key",
            "Basic Constraints: critical",
            "Authority Key",
            "Alternative",
        ]
        .map(|part| order.find(part).unwrap_or_else(|| panic!("{part} {order}")))
        .into();
        assert!(places.is_sorted(), "{order}");
    }
}

#[test]
fn writes_kubeadms_extensions() {
    let raw = |cert: &Cert| -> Vec<String> {
        let all = tbs::extensions(cert).unwrap();
        all.iter().map(|extension| hex(extension.raw)).collect()
    };
    let usages = [
        Usage::DigitalSignature,
        Usage::KeyEncipherment,
        Usage::ServerAuth,
    ];
    let leaf = prototype(&name("x"), &usages, &[]).unwrap();
    let wanted = [
        "300e0603551d0f0101ff0404030205a0",
        "30130603551d25040c300a06082b06010505070301",
        "300c0603551d130101ff04023000",
    ];
    assert_eq!(raw(&leaf), wanted);
    // The same from rcgen and where rcgen cannot write the key.
    for algorithm in ["ecdsa-p256", "ecdsa-p521"] {
        let ca = authority(algorithm);
        let id = hex(&crypto::key_id(None, ca.signer.public_bits()));
        let wanted = [
            "300e0603551d0f0101ff0404030202a4".to_owned(),
            format!("301d0603551d0e04160414{id}"),
            "300f0603551d130101ff040530030101ff".to_owned(),
            "30150603551d11040e300c820a6b756265726e65746573".to_owned(),
        ];
        assert_eq!(raw(&ca.cert), wanted);
    }
}

/// A name with two organizations, which rcgen cannot write.
fn groups() -> Name {
    let pair = |attribute, text: &str| (attribute, text.to_owned());
    Name::build(&[
        pair(Attribute::Organization, "a"),
        pair(Attribute::Organization, "b"),
        pair(Attribute::CommonName, "kubernetes"),
    ])
    .unwrap()
}

#[test]
fn keeps_names_that_rcgen_cannot_write() {
    let dir = tempfile::tempdir().unwrap();
    let key = crypto::generate(&KeyAlgorithm::EcdsaP256, KeyForm::Sec1).unwrap();
    let ca = new_authority(&groups(), &key, at(FROM), at(UNTIL), Some(1)).unwrap();
    assert_eq!(
        (&ca.subject, ca.path_len, ca.serial.len()),
        (&groups(), Some(1), 16)
    );
    judge(dir.path(), &ca, &ca, "");
    let template = prototype(&groups(), &[Usage::ClientAuth], &[]).unwrap();
    assert_eq!(template.subject, groups());
    let signer = Signer::load(&key).unwrap();
    let raw: Vec<Vec<u8>> = tbs::extensions(&template)
        .unwrap()
        .iter()
        .map(|extension| extension.raw.to_vec())
        .collect();
    let made = |name: &Name| encode::request(name, &raw, &signer).unwrap();
    assert!(made(&name("x")).is_some() && made(&groups()).is_none());
    let backwards = new_authority(&name("x"), &key, at(UNTIL), at(FROM), None);
    assert!(matches!(
        backwards,
        Err(IssueError::Assemble(TbsError::EmptyWindow { .. }))
    ));
}

/// A certificate authority and a leaf with everything that libraries lose: T61, BMP and UTF-8
/// strings, repeated and multi-valued attributes, unknown critical extensions, policies, odd
/// alternative names.
const ODD: &str = "
cat > odd.cnf <<'X'
[req]
distinguished_name = dn
prompt = no
string_mask = default
utf8 = yes
[dn]
1.OU = A
2.OU = B
3.OU = C
1.DC = org
2.DC = example
O = Größe
+CN = 证书
[ca]
basicConstraints = critical,CA:TRUE
subjectKeyIdentifier = hash
keyUsage = critical,keyCertSign,cRLSign
[leaf]
1.2.3.4.5 = ASN1:SEQUENCE:inner
keyUsage = critical,digitalSignature
certificatePolicies = 1.2.3.4
subjectAltName = critical,dirName:dn,DNS:a_b.example,RID:1.2.3,otherName:1.2.3.4;UTF8:x,IP:10.0.0.1
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid,issuer:always
extendedKeyUsage = clientAuth,1.2.3.4.5
[inner]
a = INTEGER:7
X
openssl req -config odd.cnf -extensions ca -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 9000 -set_serial 0x8f00000000000000000000000000000000000000000000 2>&1
openssl req -config odd.cnf -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout leaf.key -out leaf.csr 2>&1
openssl x509 -req -in leaf.csr -CA ca.crt -CAkey ca.key -days 30 -extfile odd.cnf -extensions leaf -out leaf.crt 2>&1
";

#[test]
fn repeats_subject_and_extensions_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    openssl(dir.path(), ODD);
    let read = |file: &str| fs::read(dir.path().join(file)).unwrap();
    let ca = Cert::all_from_pem(&read("ca.crt")).unwrap().remove(0);
    let old = Cert::all_from_pem(&read("leaf.crt")).unwrap().remove(0);
    crypto::verify(&old, &ca).unwrap();
    assert_eq!(
        old.subject.to_string(),
        "OU=A, OU=B, OU=C, DC=org, DC=example, CN=证书 + O=Größe"
    );
    let key = PrivateKey::from_pem(&read("ca.key")).ok().unwrap();
    let ca = Authority::load(ca, Vec::new(), &key).unwrap();
    let new = reissue(
        &old,
        &ca,
        &old.spki,
        old.not_before,
        old.not_after,
        None,
        &[],
    )
    .unwrap();
    judge(dir.path(), &ca.cert, &new, "-ignore_critical");
    assert_eq!(
        (&new.subject, &new.issuer),
        (&old.subject, &ca.cert.subject)
    );
    assert!(new.serial != old.serial && new.serial.len() == 16);
    let bytes = |cert: &Cert| {
        let tbs = tlv::one(cert.tbs()).unwrap();
        let list = tbs.children(tlv::SEQUENCE).unwrap().pop().unwrap();
        let list = tlv::one(list.value)
            .unwrap()
            .children(tlv::SEQUENCE)
            .unwrap();
        list.iter()
            .map(|part| part.raw.to_vec())
            .collect::<Vec<_>>()
    };
    let (before, mut after) = (bytes(&old), bytes(&new));
    assert_eq!(before.len(), 7);
    let place = before
        .iter()
        .position(|raw| Extension::read(raw).unwrap().id() == oid::AKI)
        .unwrap();
    assert_eq!(
        after[place],
        extension::authority_key_id(ca.cert.ski.as_ref().unwrap())
    );
    after[place].clone_from(&before[place]);
    assert_eq!(after, before);
    let more = [
        San::parse("new.example").unwrap(),
        San::parse("10.0.0.1").unwrap(),
    ];
    let third = reissue(
        &old,
        &ca,
        ca.signer.spki(),
        at(FROM),
        at(UNTIL),
        Some(&name("x")),
        &more,
    )
    .unwrap();
    assert_eq!(third.sans[..5], old.sans[..]);
    assert_eq!(third.sans[5..], more[..1]);
    assert_eq!(
        third.ski.as_deref(),
        ca.cert.ski.as_deref(),
        "the same key, the same way of SHA-1"
    );
    judge(dir.path(), &ca.cert, &third, "-ignore_critical");
}

#[test]
fn renews_an_authority_below_itself_and_keeps_its_leaves_valid() {
    let dir = tempfile::tempdir().unwrap();
    let old = authority("ecdsa-p384");
    let new = reissue(
        &old.cert,
        &old,
        &old.cert.spki,
        at(FROM),
        at("2060-01-01T00:00:00Z"),
        None,
        &[],
    )
    .unwrap();
    assert_eq!(
        (&new.ski, &new.aki, new.is_ca),
        (&old.cert.ski, &None, true)
    );
    assert_eq!(new.sans, [San::Dns("kubernetes".into())]);
    let template = prototype(&name("x"), &[Usage::ClientAuth], &[]).unwrap();
    let leaf = reissue(
        &template,
        &old,
        &old.cert.spki,
        at(FROM),
        at(UNTIL),
        None,
        &[],
    )
    .unwrap();
    judge(dir.path(), &new, &leaf, "-purpose sslclient");
}

#[test]
fn starts_from_a_template() {
    let json = br#"{"CN": "x", "hosts": ["a"], "usages": ["client auth"]}"#;
    let names = ["a", "10.0.0.1"].map(|name| San::parse(name).unwrap());
    let cert = from_template(&Template::parse(json).unwrap(), &names).unwrap();
    assert_eq!(
        (cert.subject.to_string().as_str(), cert.sans.as_slice()),
        ("CN=x", &names[..])
    );
    assert_eq!(
        (cert.extended_usages, cert.is_ca),
        (vec!["clientAuth".to_owned()], false)
    );
}

#[test]
fn refuses_foreign_keys_and_leaves_as_authorities() {
    let (ours, theirs) = (
        authority("ecdsa-p256"),
        crypto::generate(&KeyAlgorithm::EcdsaP256, KeyForm::Sec1).unwrap(),
    );
    let said = |cert: &Cert| {
        Authority::load(cert.clone(), Vec::new(), &theirs)
            .err()
            .unwrap()
            .to_string()
    };
    assert_eq!(
        said(&ours.cert),
        "the private key does not belong to the certificate of CN=kubernetes"
    );
    let leaf = prototype(&name("x"), &[Usage::ClientAuth], &[]).unwrap();
    assert_eq!(
        said(&leaf),
        "the certificate of CN=x is not a certificate authority's"
    );
    assert!(crypto::verify(&ours.cert, &authority("ecdsa-p256").cert).is_err());
}

#[test]
fn asks_for_what_the_template_has() {
    let dir = tempfile::tempdir().unwrap();
    let usages = [Usage::DigitalSignature, Usage::ServerAuth];
    let more = [San::parse("10.0.0.1").unwrap()];
    let template = prototype(&name("x"), &usages, &[San::parse("a.b").unwrap()]).unwrap();
    for (algorithm, subject, shown) in [
        ("rsa-2048", None, "CN = x"),
        ("ecdsa-p256", None, "CN = x"),
        ("ecdsa-p384", None, "CN = x"),
        ("ecdsa-p521", None, "CN = x"),
        ("ed25519", None, "CN = x"),
        ("ed25519", Some(groups()), "O = a + O = b, CN = kubernetes"),
    ] {
        let key = crypto::generate(&algorithm.parse().unwrap(), KeyForm::Pkcs8).unwrap();
        let signer = Signer::load(&key).unwrap();
        let der = request(&template, &signer, subject.as_ref(), &more).unwrap();
        let csr = pem::encode("CERTIFICATE REQUEST", &der);
        fs::write(dir.path().join("csr"), csr.as_bytes()).unwrap();
        let text = openssl(dir.path(), "openssl req -verify -noout -text -in csr 2>&1");
        for part in [
            shown,
            "DNS:a.b, IP Address:10.0.0.1",
            "X509v3 Key Usage: critical",
            "TLS Web Server Authentication",
            "CA:FALSE",
        ] {
            assert!(text.contains(part), "{algorithm} {text}");
        }
    }
}

#[test]
fn verifies_every_pair_of_curve_and_hash_and_pss() {
    let dir = tempfile::tempdir().unwrap();
    let make = |key: &str, hash: &str| {
        openssl(
            dir.path(),
            &format!("openssl req -x509 -nodes {key} {hash} -subj /CN=x -keyout k -out c 2>&1"),
        );
        Cert::all_from_pem(&fs::read(dir.path().join("c")).unwrap())
            .unwrap()
            .remove(0)
    };
    for hash in ["-sha256", "-sha384", "-sha512"] {
        for curve in ["P-256", "P-384", "P-521"] {
            let cert = make(
                &format!("-newkey ec -pkeyopt ec_paramgen_curve:{curve}"),
                hash,
            );
            crypto::verify(&cert, &cert).unwrap();
        }
        let cert = make("-newkey rsa:2048", hash);
        crypto::verify(&cert, &cert).unwrap();
        let cert = make(
            "-newkey rsa:2048 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:-1",
            hash,
        );
        crypto::verify(&cert, &cert).unwrap();
    }
    let weak = make("-newkey rsa:2048", "-sha1");
    let said = crypto::verify(&weak, &weak).unwrap_err().to_string();
    assert_eq!(
        said,
        "the signature algorithm 1.2.840.113549.1.1.5 is not supported"
    );
}
