//! Four verifiers judge every certificate that is issued: openssl, Go's `crypto/x509`, `GnuTLS` and rustls-webpki.
//!
//! What each can judge, and what the lab therefore expects of it:
//!
//! | judge | does not judge | in the lab |
//! | --- | --- | --- |
//! | openssl 3, `-x509_strict` | CAs without SKI (errors 85, 86); without `-x509_strict` it does | `no-ski` |
//! | Go | RSA keys below 1024 bits | nothing |
//! | `GnuTLS` 3.7 | RSA keys below 2048 bits at its default level | nothing |
//! | rustls-webpki 0.103 on ring | signatures of P-521 keys | `ca-p521` |
//!
//! RSA-2432, which `certtool` made by default for years, is judged by all four; see the tests at the end.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tempfile::TempDir;
use webpki::{EndEntityCert, Error, KeyUsage};

use crate::cases::{self, Leaf};
use crate::harness::{Node, Ran, other};

#[test]
fn openssl_accepts_every_new_certificate_strictly() {
    each_leaf(|case, bench, purpose| {
        let strict = openssl(bench, purpose, &["-x509_strict"]);
        if case == "no-ski" {
            // 85: no authority key identifier; 86: no subject key identifier. The CA had none to point at.
            let complaint = ["error 85 ", "error 86 "]
                .iter()
                .any(|e| strict.stderr.contains(e));
            assert!(strict.code != 0 && complaint, "{}", strict.stderr);
            openssl(bench, purpose, &[]).exits(0);
        } else {
            strict.exits(0);
        }
    });
}

#[test]
fn go_accepts_every_new_certificate_and_its_key() {
    each_leaf(|_, bench, purpose| {
        let (ca, cert, key) = (bench.at("ca"), bench.at("cert"), bench.at("key"));
        let words = [
            "verify", "-ca", &ca, "-cert", &cert, "-key", &key, "-usage", purpose,
        ];
        let names: &[&str] = match bench.name {
            Some(name) => &["-dns", name],
            None => &[],
        };
        assert_eq!(
            cases::judge(&[&words, names].concat()).exits(0).stdout,
            "ok\n"
        );
    });
}

#[test]
fn gnutls_accepts_every_new_certificate() {
    each_leaf(|_, bench, purpose| {
        gnutls(bench, purpose)
            .exits(0)
            .prints("Verified. The certificate is trusted.");
    });
}

#[test]
fn webpki_accepts_every_new_certificate() {
    each_leaf(|_, bench, purpose| {
        webpki(bench, purpose).unwrap();
    });
}

#[test]
fn each_judge_rejects_a_certificate_of_another_ca_and_of_another_purpose() {
    let node = cases::rescued_once("p256");
    let leaf = cases::leaves("p256")
        .into_iter()
        .find(|leaf| leaf.id == "apiserver")
        .unwrap();
    let foreign = Bench::of(
        node,
        &Leaf {
            ca: "/etc/kubernetes/pki/etcd/ca.crt",
            ..leaf
        },
    );
    let own = Bench::of(node, &leaf);
    for (bench, purpose) in [(&foreign, "server"), (&own, "client")] {
        assert_ne!(openssl(bench, purpose, &["-x509_strict"]).code, 0);
        let (ca, cert) = (bench.at("ca"), bench.at("cert"));
        cases::judge(&["verify", "-ca", &ca, "-cert", &cert, "-usage", purpose]).exits(1);
        assert_ne!(gnutls(bench, purpose).code, 0);
        assert!(webpki(bench, purpose).is_err());
    }
}

#[test]
fn each_judge_rejects_what_has_expired() {
    let node = Node::real("p256", "expired");
    for leaf in cases::leaves("p256") {
        let bench = Bench::of(&node, &leaf);
        let purpose = leaf.purposes[0];
        assert_ne!(openssl(&bench, purpose, &[]).code, 0, "{}", leaf.id);
        let (ca, cert) = (bench.at("ca"), bench.at("cert"));
        cases::judge(&["verify", "-ca", &ca, "-cert", &cert, "-usage", purpose]).exits(1);
        assert_ne!(gnutls(&bench, purpose).code, 0, "{}", leaf.id);
        assert!(
            matches!(webpki(&bench, purpose), Err(Error::CertExpired { .. })),
            "{}",
            leaf.id
        );
    }
}

#[test]
fn four_judges_accept_what_a_ca_of_2432_bits_signed() {
    let node = rsa_2432();
    let words = [
        "run",
        "--yes",
        "--only",
        "front-proxy-client",
        "--key-algorithm",
        "rsa-3072",
    ];
    node.run(&words).exits(0);
    let leaf = cases::leaves("rsa")
        .into_iter()
        .find(|l| l.id == "front-proxy-client")
        .unwrap();
    let bench = Bench::of(&node, &leaf);
    openssl(&bench, "client", &["-x509_strict"]).exits(0);
    let (ca, cert, key) = (bench.at("ca"), bench.at("cert"), bench.at("key"));
    let words = [
        "verify", "-ca", &ca, "-cert", &cert, "-key", &key, "-usage", "client",
    ];
    cases::judge(&words).exits(0);
    gnutls(&bench, "client").exits(0);
    webpki(&bench, "client").unwrap();
}

#[test]
fn a_leaf_key_of_2432_bits_is_refused_before_any_change_with_the_flag_that_helps() {
    let node = rsa_2432();
    let before = node.snapshot();
    let ran = node
        .run(&["run", "--yes", "--only", "front-proxy-client"])
        .exits(5);
    ran.says("rsa-2432").says("--key-algorithm");
    assert!(
        !node.path("/var/lib/rescue-kit").exists(),
        "a run directory was made"
    );
    assert_eq!(node.snapshot(), before);
}

/// A front proxy whose CA and client have keys of 2432 bits, the client's certificate being about to expire.
fn rsa_2432() -> Node {
    let node = Node::real("rsa", "expired");
    let line = "openssl req -x509 -newkey rsa:2432 -nodes -keyout front-proxy-ca.key -out front-proxy-ca.crt \
        -subj /CN=front-proxy-ca -days 3650 -addext basicConstraints=critical,CA:TRUE \
        -addext keyUsage=critical,keyCertSign
        openssl genrsa -traditional -out front-proxy-client.key 2432
        openssl req -new -key front-proxy-client.key -subj /CN=front-proxy-client |
        openssl x509 -req -CA front-proxy-ca.crt -CAkey front-proxy-ca.key -days 1 -out front-proxy-client.crt \
        -extfile <(printf 'extendedKeyUsage=clientAuth\nkeyUsage=critical,digitalSignature\n')";
    cases::shell(
        &format!("set -e -o pipefail; {line}"),
        &["openssl"],
        &node.path("/etc/kubernetes/pki"),
    )
    .exits(0);
    node
}

/// A certificate, its key and its CA as files that any program reads.
struct Bench {
    dir: TempDir,
    /// A DNS name that a server's certificate must hold for.
    name: Option<&'static str>,
}

impl Bench {
    fn of(node: &Node, leaf: &Leaf) -> Self {
        let dir = TempDir::new().unwrap();
        let put = |name: &str, bytes: Vec<u8>| fs::write(dir.path().join(name), bytes).unwrap();
        put("ca", cases::pem(&node.root, leaf.ca, ""));
        put("cert", cases::cert_pem(&node.root, leaf));
        put("key", cases::key_pem(&node.root, leaf));
        let name = match leaf.id {
            "apiserver" => Some("kubernetes.default.svc"),
            "etcd-server" | "etcd-peer" => Some("localhost"),
            _ => None,
        };
        Self { dir, name }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn at(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn certificates(&self, name: &str) -> Vec<CertificateDer<'static>> {
        let pem = fs::read(self.path(name)).unwrap();
        CertificateDer::pem_slice_iter(&pem)
            .map(Result::unwrap)
            .collect()
    }
}

/// Every leaf of every case, for each purpose that it serves.
#[track_caller]
fn each_leaf(claim: impl Fn(&str, &Bench, &str) + Sync) {
    cases::each(|case| {
        let node = cases::rescued_once(case);
        for leaf in cases::leaves(case) {
            let bench = Bench::of(node, &leaf);
            for purpose in leaf.purposes {
                claim(case, &bench, purpose);
            }
        }
    });
}

fn openssl(bench: &Bench, purpose: &str, strict: &[&str]) -> Ran {
    let name = bench
        .name
        .map_or_else(Vec::new, |name| vec!["-verify_hostname", name]);
    let purpose = format!("ssl{purpose}");
    let words = [
        "-purpose",
        &purpose,
        "-CAfile",
        "ca",
        "-no-CApath",
        "-no-CAstore",
        "cert",
    ];
    other(
        "openssl",
        &[&["verify"], strict, &name, &words].concat(),
        bench.dir.path(),
    )
}

fn gnutls(bench: &Bench, purpose: &str) -> Ran {
    let oid = if purpose == "server" {
        "1.3.6.1.5.5.7.3.1"
    } else {
        "1.3.6.1.5.5.7.3.2"
    };
    let name = bench
        .name
        .map_or_else(Vec::new, |name| vec!["--verify-hostname", name]);
    let words = [
        "--load-ca-certificate",
        "ca",
        "--infile",
        "cert",
        "--verify-purpose",
        oid,
    ];
    other(
        "certtool",
        &[&["--verify"], &words[..], &name].concat(),
        bench.dir.path(),
    )
}

fn webpki(bench: &Bench, purpose: &str) -> Result<(), Error> {
    let (cas, certs) = (bench.certificates("ca"), bench.certificates("cert"));
    let anchors: Vec<_> = cas
        .iter()
        .map(|ca| webpki::anchor_from_trusted_cert(ca).unwrap())
        .collect();
    let usage = if purpose == "server" {
        KeyUsage::server_auth()
    } else {
        KeyUsage::client_auth()
    };
    let leaf = EndEntityCert::try_from(&certs[0])?;
    let known = webpki::ALL_VERIFICATION_ALGS;
    leaf.verify_for_usage(known, &anchors, &certs[1..], now(), usage, None, None)?;
    match bench.name {
        Some(name) => leaf.verify_is_valid_for_subject_name(&ServerName::try_from(name).unwrap()),
        None => Ok(()),
    }
}

/// The time by which the other judges go, asked of the same system.
fn now() -> UnixTime {
    let seconds = other("date", &["+%s"], Path::new("/")).exits(0).stdout;
    let seconds = Duration::from_secs(seconds.trim().parse().unwrap());
    UnixTime::since_unix_epoch((UNIX_EPOCH + seconds).duration_since(UNIX_EPOCH).unwrap())
}
