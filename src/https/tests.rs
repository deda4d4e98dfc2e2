//! Requests to servers on the loopback: what is accepted, who refuses whom, and what is no HTTP.

use std::io::Read as _;
use std::net::TcpListener;
use std::sync::Mutex;

use super::*;
use crate::tls::tests::{
    EXPIRED, LONG, Pair, VALID, answer, authority, intermediate, leaf, listen, name,
};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn client(at: SocketAddr, name: &str, roots: &[&Pair], identity: Option<&Pair>) -> Client {
    let roots: Vec<_> = roots.iter().map(|root| root.cert.der.clone()).collect();
    let identity = identity.map(Pair::identity);
    let endpoint = Endpoint {
        at,
        name: name.to_owned(),
    };
    Client::new(endpoint, &roots, identity.as_ref(), LONG).unwrap()
}

fn get(client: &Client) -> Result<Response, HttpsError> {
    client.request("GET", "/readyz?verbose", None, None)
}

fn distrust(client: &Client) -> Distrust {
    match get(client).unwrap_err() {
        HttpsError::Distrusted { why, .. } => why,
        other => panic!("{other}"),
    }
}

#[test]
fn sends_what_is_asked_and_reads_the_answer() {
    let root = authority("root", VALID);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let at = answer(
        leaf(&root, "ecdsa-p256", VALID).server(&[], None),
        move |request| {
            seen.lock().unwrap().push(request.to_owned());
            OK.to_vec()
        },
    );
    let client = client(at, "127.0.0.1", &[&root], None);
    let want = Response {
        status: 200,
        body: b"ok".to_vec(),
    };
    assert_eq!(get(&client).unwrap(), want);
    let json = Some("application/json");
    client.request("PUT", "/x", json, Some(b"{}")).unwrap();
    let host =
        format!("Host: {at}\r\nUser-Agent: rescue-kit\r\nAccept: */*\r\nConnection: close\r\n");
    let want = [
        format!("GET /readyz?verbose HTTP/1.1\r\n{host}\r\n"),
        format!(
            "PUT /x HTTP/1.1\r\n{host}Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
        ),
    ];
    assert_eq!(*asked.lock().unwrap(), want);
    for (method, path, kind, part) in [
        ("GET /", "/", "x", "method"),
        ("", "/", "x", "method"),
        ("GET", "x", "x", "path"),
        ("GET", "/a b", "x", "path"),
        ("GET", "/\r\nHost: x", "x", "path"),
        ("GET", "/", "x\r\ny", "content type"),
    ] {
        let error = client.request(method, path, Some(kind), None).unwrap_err();
        assert!(matches!(error, HttpsError::Request { part: found } if found == part));
    }
}

#[test]
fn a_token_is_sent_with_each_request() {
    let root = authority("root", VALID);
    let asked = Arc::new(Mutex::new(Vec::<String>::new()));
    let seen = Arc::clone(&asked);
    let server = leaf(&root, "ecdsa-p256", VALID).server(&[], None);
    let at = answer(server, move |request| {
        seen.lock().unwrap().push(request.to_owned());
        OK.to_vec()
    });
    let token = Token::new("a.b.c").unwrap();
    let client = client(at, "127.0.0.1", &[&root], None).with_bearer(token);
    client.request("POST", "/x", None, Some(b"{}")).unwrap();
    let text = asked.lock().unwrap().pop().unwrap();
    assert!(
        text.ends_with("Content-Length: 2\r\nAuthorization: Bearer a.b.c\r\n\r\n{}"),
        "{text}"
    );
}

#[test]
fn accepts_what_go_accepts() {
    let root = authority("root", VALID);
    let middle = intermediate(&root, "middle");
    let other = authority("other", VALID);
    let below = leaf(&middle, "ecdsa-p521", VALID);
    let direct = leaf(&root, "rsa-2048", VALID);
    let cases: [(&Pair, &[&Pair], &[&Pair], &str); 6] = [
        (&direct, &[], &[&root], "127.0.0.1"),
        (&direct, &[], &[&root], "node-1"),
        (&direct, &[&root], &[&other, &root], "NODE-1"),
        (&below, &[&middle], &[&root], "node-1"),
        // An intermediate without its root is an anchor, too.
        (&below, &[], &[&middle], "node-1"),
        (&below, &[&middle, &root], &[&middle], "node-1"),
    ];
    for (served, rest, roots, name) in cases {
        let at = answer(served.server(rest, None), |_| OK.to_vec());
        assert_eq!(
            get(&client(at, name, roots, None)).unwrap().status,
            200,
            "{name}"
        );
    }
}

#[test]
fn says_why_a_server_is_not_accepted() {
    let root = authority("root", VALID);
    let serve = |pair: &Pair, rest: &[&Pair]| answer(pair.server(rest, None), |_| OK.to_vec());
    let good = leaf(&root, "ecdsa-p256", VALID);
    let at = serve(&good, &[]);
    let stranger = authority("root", VALID);
    assert!(matches!(
        distrust(&client(at, "node-1", &[&stranger], None)),
        // The same name, another key.
        Distrust::UnknownIssuer | Distrust::Other(_)
    ));
    let other = authority("other", VALID);
    assert_eq!(
        distrust(&client(at, "node-1", &[&other], None)),
        Distrust::UnknownIssuer
    );
    for name in ["node-2", "10.0.0.1"] {
        let presented = "node-1, 127.0.0.1".to_owned();
        let why = distrust(&client(at, name, &[&root], None));
        assert_eq!(why, Distrust::Name { presented });
    }
    let at = serve(&leaf(&root, "ecdsa-p256", EXPIRED), &[]);
    let error = get(&client(at, "node-1", &[&root], None)).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("the certificate of {at} is not accepted: it has expired")
    );
    let at = serve(&leaf(&root, "ecdsa-p256", (1, 2)), &[]);
    assert_eq!(
        distrust(&client(at, "node-1", &[&root], None)),
        Distrust::NotYetValid
    );
    // Go refuses an authority that has expired; webpki alone would not.
    let old = authority("old", EXPIRED);
    let at = serve(&leaf(&old, "ecdsa-p256", VALID), &[]);
    let why = distrust(&client(at, "node-1", &[&root, &old], None));
    assert_eq!(why, Distrust::AuthorityOutOfDate);
    // Renewed with the same key, it is one more root.
    let key = &old.key;
    let (from, until) = (root.cert.not_before, root.cert.not_after);
    let cert = crate::issue::new_authority(&name("old"), key, from, until, None).unwrap();
    let renewed = Pair {
        cert,
        key: key.clone(),
    };
    get(&client(at, "node-1", &[&old, &renewed], None)).unwrap();
}

#[test]
fn needs_a_root_and_a_name() {
    let endpoint = Endpoint {
        at: "127.0.0.1:1".parse().unwrap(),
        name: "node-1".to_owned(),
    };
    let why = |endpoint, roots: &[Vec<u8>]| Client::new(endpoint, roots, None, LONG).err().unwrap();
    assert!(matches!(why(endpoint.clone(), &[]), HttpsError::NoRoots));
    assert!(matches!(
        why(endpoint.clone(), &[vec![0x30]]),
        HttpsError::NoRoots
    ));
    let nameless = Endpoint {
        name: "a b".to_owned(),
        ..endpoint
    };
    let error = why(nameless, &[]).to_string();
    assert_eq!(error, "`a b` is no name of a server");
}

#[test]
fn says_that_the_server_refuses_our_certificate() {
    let root = authority("root", VALID);
    let clients = authority("clients", VALID);
    let server = leaf(&root, "ecdsa-p256", VALID);
    for version in rustls::ALL_VERSIONS {
        let at = answer(server.server_with(&[], Some(&clients), &[version]), |_| {
            OK.to_vec()
        });
        let ask = |identity: Option<&Pair>| get(&client(at, "node-1", &[&root], identity));
        assert_eq!(
            ask(Some(&leaf(&clients, "rsa-2048", VALID)))
                .unwrap()
                .status,
            200
        );
        let alert = |identity: Option<&Pair>| match ask(identity).unwrap_err() {
            HttpsError::Rejected { alert, .. } => alert,
            other => panic!("{version:?} {other}"),
        };
        assert_eq!(
            alert(Some(&leaf(&clients, "ecdsa-p256", EXPIRED))),
            "CertificateExpired"
        );
        assert_eq!(alert(Some(&leaf(&root, "ecdsa-p256", VALID))), "UnknownCA");
        assert_eq!(alert(None), "CertificateRequired");
    }
}

#[test]
fn reads_every_framing_and_nothing_that_is_none() {
    let root = authority("root", VALID);
    let config = leaf(&root, "ecdsa-p256", VALID).server(&[], None);
    let read = |method: &str, reply: &[u8]| {
        let reply = reply.to_vec();
        let at = answer(config.clone(), move |_| reply.clone());
        let client = client(at, "node-1", &[&root], None);
        match client.request(method, "/", None, None) {
            Ok(response) => format!(
                "{} {}",
                response.status,
                String::from_utf8(response.body).unwrap()
            ),
            Err(HttpsError::Malformed { why, .. }) => why.to_owned(),
            Err(error) => error.to_string().replace(&at.to_string(), "AT"),
        }
    };
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(70_000));
    let cut = "AT closed the connection before its answer was whole";
    for (reply, want) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef",
            "200 abc",
        ),
        ("HTTP/1.0 500\n\nuntil the end", "500 until the end"),
        (
            "HTTP/1.1 100 Go on\r\n\r\nHTTP/1.1 201 Made\r\ncontent-length:0\r\n\r\n",
            "201 ",
        ),
        ("HTTP/1.1 204 None\r\n\r\n", "204 "),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: x\r\n\r\n",
            "200 abc0123456789",
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", cut),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            cut,
        ),
        ("HTTP/1.1 200 OK\r\nX", cut),
        ("", cut),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            "it has a chunk without size",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
            "it has a line without end",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "its transfer encoding is unknown",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            "its length is no number",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na",
            "its length is no number",
        ),
        ("SSH-2.0\r\n\r\n", "its head cannot be read"),
        (long.as_str(), "it has a line without end"),
    ] {
        assert_eq!(read("GET", reply.as_bytes()), want, "{reply:.60}");
    }
    assert_eq!(
        read("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"),
        "200 "
    );
    let interim = "HTTP/1.1 100 x\r\n\r\n".repeat(100);
    assert_eq!(
        read("GET", interim.as_bytes()),
        "interim answers without end"
    );
    let most = "the answer of AT is longer than 4194304 bytes";
    for framing in [
        "Content-Length: 4194305",
        "Content-Length: 99999999999999999999999",
        "X: y",
    ] {
        let head = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n");
        let reply = [head.as_bytes(), &vec![b'x'; MAX_BODY + 1]].concat();
        let want = if framing.len() > 30 {
            "its length is no number"
        } else {
            most
        };
        assert_eq!(read("GET", &reply), want, "{framing}");
    }
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let chunk = [&b"100000\r\n"[..], &vec![b'x'; 1 << 20], b"\r\n"].concat();
    assert_eq!(read("GET", &[head, chunk.repeat(5)].concat()), most);
}

#[test]
fn tells_a_dead_server_from_a_slow_one() {
    let root = authority("root", VALID);
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let error = get(&client(closed, "node-1", &[&root], None)).unwrap_err();
    assert!(matches!(error, HttpsError::Tls(TlsError::Refused { .. })));

    let at = answer(leaf(&root, "ecdsa-p256", VALID).server(&[], None), |_| {
        std::thread::sleep(Duration::from_secs(5));
        OK.to_vec()
    });
    let quick = client(at, "node-1", &[&root], None).with_timeout(Duration::from_millis(500));
    let error = get(&quick).unwrap_err();
    assert!(
        matches!(error, HttpsError::Tls(TlsError::TimedOut { .. })),
        "{error}"
    );

    let at = listen(|mut stream| {
        stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n")?;
        stream.read(&mut [0; 4096])
    });
    let error = get(&client(at, "node-1", &[&root], None)).unwrap_err();
    assert!(
        matches!(error, HttpsError::Tls(TlsError::NotTls { .. })),
        "{error}"
    );
}
