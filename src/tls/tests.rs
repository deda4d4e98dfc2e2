//! Servers of every sort on the loopback, and who looks at them. Other edges' tests use the servers, too.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;

use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ServerConnection, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, StreamOwned, SupportedProtocolVersion};

use super::*;
use crate::clock;
use crate::crypto::{self as keys, Signer};
use crate::issue::{self, Authority};
use crate::pki::csr::Usage;
use crate::pki::key::KeyAlgorithm;
use crate::pki::name::{Attribute, Name};
use crate::pki::pem;
use crate::pki::san::San;

/// Long enough for a loaded machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);

const SHORT: Duration = Duration::from_millis(300);

/// A certificate and its key.
pub(crate) struct Pair {
    pub(crate) cert: Cert,
    pub(crate) key: PrivateKey,
}

/// How many days from now a certificate begins and ends.
pub(crate) type Days = (i64, i64);

pub(crate) const VALID: Days = (-10, 10);
pub(crate) const EXPIRED: Days = (-10, -1);

pub(crate) fn name(common: &str) -> Name {
    Name::build(&[(Attribute::CommonName, common.to_owned())]).unwrap()
}

fn day(days: i64) -> crate::pki::utc::Utc {
    clock::system_now().plus(days * 86_400)
}

/// A self-signed authority.
pub(crate) fn authority(common: &str, days: Days) -> Pair {
    let key = keys::generate(&KeyAlgorithm::EcdsaP256, KeyForm::Sec1).unwrap();
    let cert = issue::new_authority(&name(common), &key, day(days.0), day(days.1), None).unwrap();
    Pair { cert, key }
}

/// A certificate below `issuer` for `node-1` and 127.0.0.1, to serve and to ask with.
pub(crate) fn leaf(issuer: &Pair, key: &str, days: Days) -> Pair {
    let sans = [
        San::parse("node-1").unwrap(),
        San::parse("127.0.0.1").unwrap(),
    ];
    let usages = [
        Usage::DigitalSignature,
        Usage::ServerAuth,
        Usage::ClientAuth,
    ];
    let template = issue::prototype(&name("leaf"), &usages, &sans).unwrap();
    issued(issuer, &template, key, days)
}

/// What `template` says, below `issuer` and with a new key.
fn issued(issuer: &Pair, template: &Cert, key: &str, days: Days) -> Pair {
    let by = Authority::load(issuer.cert.clone(), Vec::new(), &issuer.key).unwrap();
    let key = keys::generate(&key.parse().unwrap(), KeyForm::Pkcs1).unwrap();
    let spki = Signer::load(&key).unwrap().spki().to_vec();
    let cert = issue::reissue(template, &by, &spki, day(days.0), day(days.1), None, &[]).unwrap();
    Pair { cert, key }
}

/// An authority below another.
pub(crate) fn intermediate(root: &Pair, common: &str) -> Pair {
    issued(root, &authority(common, VALID).cert, "ecdsa-p256", VALID)
}

impl Pair {
    pub(crate) fn identity(&self) -> ClientIdentity {
        ClientIdentity::new(vec![self.cert.der.clone()], &self.key).unwrap()
    }

    /// A server that serves this pair and `rest`, and wants a client certificate below `clients`, if given.
    pub(crate) fn server(&self, rest: &[&Self], clients: Option<&Self>) -> ServerConfig {
        self.server_with(rest, clients, rustls::ALL_VERSIONS)
    }

    pub(crate) fn server_with(
        &self,
        rest: &[&Self],
        clients: Option<&Self>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ServerConfig {
        let builder = ServerConfig::builder_with_provider(crypto())
            .with_protocol_versions(versions)
            .unwrap();
        let builder = match clients {
            Some(clients) => builder.with_client_cert_verifier(demand(clients)),
            None => builder.with_no_client_auth(),
        };
        let rest = rest.iter().map(|pair| pair.cert.der.clone());
        let chain = std::iter::once(self.cert.der.clone()).chain(rest);
        let chain = chain.map(CertificateDer::from).collect();
        let certified = CertifiedKey::new(chain, load(&self.key).unwrap());
        builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
    }
}

fn demand(clients: &Pair) -> Arc<dyn ClientCertVerifier> {
    let mut roots = RootCertStore::empty();
    roots.add(clients.cert.der.clone().into()).unwrap();
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), crypto())
        .build()
        .unwrap()
}

/// Listens on the loopback; gives each connection to `serve`, in a thread of its own.
pub(crate) fn listen<T: Send + 'static>(
    serve: impl Fn(std::net::TcpStream) -> T + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (serve, stream) = (Arc::clone(&serve), stream.unwrap());
            stream.set_read_timeout(Some(LONG)).unwrap();
            thread::spawn(move || serve(stream));
        }
    });
    at
}

/// Answers each request (head and body as text) with raw bytes, then closes in an orderly manner.
pub(crate) fn answer(
    config: ServerConfig,
    reply: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static,
) -> SocketAddr {
    let config = Arc::new(config);
    listen(move |stream| {
        let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut stream = StreamOwned::new(tls, stream);
        let asked = request(&mut stream)?;
        stream.write_all(&reply(&asked))?;
        stream.conn.send_close_notify();
        stream.flush()
    })
}

fn request(stream: &mut impl Read) -> io::Result<String> {
    let mut text = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let n = stream.read(&mut buffer)?;
        text.extend_from_slice(&buffer[..n]);
        let shown = String::from_utf8_lossy(&text);
        if let Some((head, body)) = shown.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|l| l.strip_prefix("Content-Length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return Ok(shown.into_owned());
            }
        }
        if n == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
}

fn silent(_: &str) -> Vec<u8> {
    Vec::new()
}

#[test]
fn sees_what_is_served_whatever_it_is_worth() {
    let root = authority("root", EXPIRED);
    for key in ["ecdsa-p256", "ecdsa-p521", "rsa-2048", "ed25519"] {
        for version in rustls::ALL_VERSIONS {
            let pair = leaf(&root, key, EXPIRED);
            let at = answer(pair.server_with(&[&root], None, &[version]), silent);
            let seen = served(at, Some("whoever"), LONG).unwrap();
            let want = [pair.cert.der.clone(), root.cert.der.clone()];
            assert_eq!(seen, want, "{key} {version:?}");
        }
    }
}

#[test]
fn sees_what_a_server_serves_that_wants_a_client_certificate() {
    let root = authority("root", VALID);
    for version in rustls::ALL_VERSIONS {
        let pair = leaf(&root, "ecdsa-p256", VALID);
        let at = answer(pair.server_with(&[], Some(&root), &[version]), silent);
        assert_eq!(
            served(at, None, LONG).unwrap(),
            [pair.cert.der],
            "{version:?}"
        );
    }
}

/// An `openssl s_server`, ended when dropped.
struct OpenSsl(Child, SocketAddr);

impl OpenSsl {
    /// `make` leaves `key.pem` and `cert.pem` in the directory where it runs.
    fn start(dir: &Path, make: &str, options: &str) -> Self {
        let script = format!(
            "{{ {make}; }} >&2; exec openssl s_server -accept 127.0.0.1:0 -key key.pem -cert cert.pem {options}"
        );
        let mut child = Command::new("sh")
            .args(["-ec", &script])
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let at = said.lines().find_map(|line| {
            let line = line.unwrap();
            line.strip_prefix("ACCEPT ").map(|at| at.parse().unwrap())
        });
        Self(child, at.unwrap())
    }
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn sees_certificates_that_nobody_should_serve() {
    let made = "openssl req -newkey rsa:1024 -nodes -keyout key.pem -subj /CN=old -out csr.pem; \
                openssl x509 -req -sha1 -in csr.pem -signkey key.pem -out cert.pem";
    let weak = "-cipher ALL:@SECLEVEL=0";
    for options in [
        &format!("{weak} -tls1_2"),
        &format!("{weak} -tls1_3"),
        &format!("{weak} -tls1_2 -Verify 1"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let server = OpenSsl::start(dir.path(), made, options);
        let want = pem::blocks(&std::fs::read(dir.path().join("cert.pem")).unwrap()).unwrap();
        let seen = served(server.1, None, LONG).unwrap();
        assert_eq!(seen, [want[0].der.to_vec()], "{options}");
        assert_eq!(Cert::from_der(&seen[0]).unwrap().version, 1);
    }
}

#[test]
fn tells_the_ways_apart_in_which_nothing_is_served() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let error = served(closed, None, LONG).unwrap_err();
    assert_eq!(error.to_string(), format!("nothing listens at {closed}"));
    assert!(matches!(error, TlsError::Refused { .. }));

    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = hanging.local_addr().unwrap();
    let error = served(at, None, SHORT).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{at} did not answer within 0.3 s")
    );
    assert!(matches!(
        served(at, None, Duration::ZERO),
        Err(TlsError::TimedOut { .. })
    ));

    for greeting in [
        "HTTP/1.0 400 Bad Request\r\n\r\n",
        "SSH-2.0-x\r\n",
        "\0\0\0\0\0\0\0\0",
    ] {
        let at = listen(move |mut stream| {
            stream.write_all(greeting.as_bytes())?;
            stream.read(&mut [0; 4096])
        });
        let error = served(at, None, LONG).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{at} does not speak TLS"),
            "{greeting}"
        );
    }

    let at = listen(|mut stream| stream.read(&mut [0; 4096]));
    let error = served(at, None, LONG).unwrap_err().to_string();
    assert!(
        error.ends_with("the server closed the connection"),
        "{error}"
    );

    // An alert: handshake_failure.
    let at = listen(|mut stream| {
        stream.write_all(b"\x15\x03\x03\x00\x02\x02\x28")?;
        stream.read(&mut [0; 4096])
    });
    let error = served(at, None, LONG).unwrap_err();
    assert!(
        matches!(&error, TlsError::Handshake { why, .. } if why.contains("HandshakeFailure")),
        "{error}"
    );

    let error = served(at, Some("no name\u{1b}"), LONG)
        .unwrap_err()
        .to_string();
    assert_eq!(error, "`no name\\u{1b}` is no name of a server");
}

/// A server that drips one byte at a time must not keep us beyond the time for the whole.
#[test]
fn the_time_is_for_everything_together() {
    let at = listen(|mut stream| {
        // A record that would take an hour to come.
        stream.write_all(b"\x16\x03\x03\x3f\xff")?;
        while stream.write_all(b"\x02").is_ok() {
            thread::sleep(Duration::from_millis(50));
        }
        io::Result::Ok(())
    });
    let before = std::time::Instant::now();
    assert!(matches!(
        served(at, None, SHORT),
        Err(TlsError::TimedOut { .. })
    ));
    assert!(before.elapsed() < Duration::from_secs(20));
}

#[test]
fn an_identity_is_a_chain_and_the_key_of_its_leaf() {
    let root = authority("root", VALID);
    let [one, two] = ["ecdsa-p256", "ecdsa-p256"].map(|key| leaf(&root, key, VALID));
    let why = |chain: Vec<Vec<u8>>, key: &PrivateKey| {
        ClientIdentity::new(chain, key).err().unwrap().to_string()
    };
    let sorry = "the client's credential cannot be used: ";
    assert_eq!(
        why(vec![], &one.key),
        format!("{sorry}there is no certificate")
    );
    assert_eq!(
        why(vec![vec![0x30]], &one.key),
        format!("{sorry}the certificate is malformed")
    );
    let error = why(vec![one.cert.der.clone()], &two.key);
    assert_eq!(
        error,
        format!("{sorry}the private key does not belong to it")
    );
    let broken = PrivateKey::from_pkcs8(zeroize::Zeroizing::new(vec![0x30, 0]));
    let error = why(vec![one.cert.der.clone()], &broken);
    assert_eq!(
        error,
        format!("{sorry}the private key is of no kind that TLS uses")
    );
}

#[test]
fn takes_every_form_of_key_that_clusters_have() {
    let root = authority("root", VALID);
    let ec = |curve: &str| format!("openssl ecparam -name {curve} -genkey");
    for script in [
        "openssl genrsa -traditional 2048".to_owned(),
        "openssl genrsa -traditional -3 2048".to_owned(),
        "openssl genpkey -algorithm rsa -pkeyopt rsa_keygen_bits:2432".to_owned(),
        ec("prime256v1"),
        ec("secp384r1") + " -noout | openssl ec -no_public",
        ec("secp521r1") + " -noout",
        ec("prime256v1") + " -noout -param_enc explicit",
        "openssl genpkey -algorithm ed25519".to_owned(),
    ] {
        let made = Command::new("sh").args(["-ec", &script]).output().unwrap();
        let key = PrivateKey::from_pem(&made.stdout).unwrap();
        let by = Authority::load(root.cert.clone(), Vec::new(), &root.key).unwrap();
        let template = issue::prototype(&name("x"), &[Usage::ClientAuth], &[]).unwrap();
        let spki = Signer::load(&key).unwrap().spki().to_vec();
        let (from, until) = (day(-1), day(1));
        let cert = issue::reissue(&template, &by, &spki, from, until, None, &[]).unwrap();
        if let Err(error) = ClientIdentity::new(vec![cert.der], &key) {
            panic!("{script}: {error}");
        }
    }
}
