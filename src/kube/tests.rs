//! An API server that is none: it answers each method and path with what is written here.

use std::sync::{Arc, Mutex};

use super::*;
use crate::https::Endpoint;
use crate::tls::tests::{LONG, VALID, answer, authority, leaf};

/// Requests as `METHOD path body`, and what answers them.
struct Fake {
    kube: Kube,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    /// `reply` gets method, path and body, and gives status and body.
    fn start(reply: impl Fn(&str, &str, &str) -> (u16, String) + Send + Sync + 'static) -> Self {
        let root = authority("root", VALID);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let server = leaf(&root, "ecdsa-p256", VALID).server(&[], None);
        let at = answer(server, move |request| {
            let (head, body) = request.split_once("\r\n\r\n").unwrap();
            let mut words = head.split(' ');
            let (method, path) = (words.next().unwrap(), words.next().unwrap());
            let merges = head.contains("Content-Type: application/merge-patch+json");
            assert_eq!(merges, method == "PATCH");
            seen.lock().unwrap().push(format!("{method} {path} {body}"));
            let (status, text) = reply(method, path, body);
            format!(
                "HTTP/1.1 {status} x\r\nContent-Length: {}\r\n\r\n{text}",
                text.len()
            )
            .into()
        });
        let endpoint = Endpoint {
            at,
            name: "node-1".to_owned(),
        };
        let client = Client::new(endpoint, &[root.cert.der], None, LONG).unwrap();
        Self {
            kube: Kube::new(client),
            asked,
        }
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

/// A refusal as the API writes it.
fn status(code: u16, reason: &str) -> (u16, String) {
    let status = json!({ "kind": "Status", "code": code, "reason": reason, "message": "no, no" });
    (code, status.to_string())
}

#[test]
fn names_each_check_also_when_one_fails() {
    let verbose = "[+]ping ok\n[-]etcd failed: reason withheld\n[+]shutdown excluded: ok\n\
                   [+]poststarthook/start-x ok\nreadyz check failed\n[+\n[é]\n";
    let want = [
        ("ping".to_owned(), true),
        ("etcd".to_owned(), false),
        ("shutdown".to_owned(), true),
        ("poststarthook/start-x".to_owned(), true),
    ];
    for code in [200, 500] {
        let fake = Fake::start(move |_, _, _| (code, verbose.to_owned()));
        assert_eq!(fake.kube.readyz().unwrap(), want);
        assert_eq!(fake.asked(), ["GET /readyz?verbose "]);
    }
    for (code, text) in [(500, "internal error"), (401, "[+]ping ok"), (404, "")] {
        let fake = Fake::start(move |_, _, _| (code, text.to_owned()));
        let error = fake.kube.readyz().unwrap_err();
        let want = format!("the API refused /readyz?verbose with {code} : {text}");
        assert_eq!(error.to_string(), want);
    }
}

#[test]
fn knows_who_we_are() {
    let fake = Fake::start(|_, _, _| {
        let user = json!({ "username": "kubernetes-admin", "groups": ["a", "b", 1] });
        (201, json!({ "status": { "userInfo": user } }).to_string())
    });
    let groups = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(
        fake.kube.who_am_i().unwrap(),
        ("kubernetes-admin".to_owned(), groups)
    );
    let asked = &fake.asked()[0];
    assert!(
        asked.starts_with("POST /apis/authentication.k8s.io/v1/selfsubjectreviews {"),
        "{asked}"
    );
    let fake = Fake::start(|_, _, _| (201, "{}".to_owned()));
    assert!(
        fake.kube
            .who_am_i()
            .unwrap_err()
            .to_string()
            .ends_with("it names no user")
    );
    let fake = Fake::start(|_, _, _| status(401, "Unauthorized"));
    assert_eq!(fake.kube.who_am_i().unwrap_err().code(), Some(401));
}

#[test]
fn refusals_are_told_in_the_apis_words_but_not_without_end() {
    let fake = Fake::start(|method, _, _| match method {
        "GET" => status(403, "Forbidden"),
        "PUT" => (502, "x".repeat(5000)),
        "POST" => (200, "no JSON".to_owned()),
        _ => (200, "{}".to_owned()),
    });
    let error = fake.kube.get("/api").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the API refused /api with 403 Forbidden: no, no"
    );
    assert_eq!(fake.kube.text("/logs").unwrap_err().code(), Some(403));
    let error = fake.kube.replace("/x", &json!({})).unwrap_err();
    assert!(matches!(error, KubeError::Status { message, .. } if message.len() == MAX_TEXT));
    let error = fake.kube.create("/x", &json!({})).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the API's answer for /x is malformed: it is not JSON"
    );
    assert!(fake.kube.delete("/x").unwrap());
    let gone = Fake::start(|_, _, _| status(404, "NotFound"));
    assert!(!gone.kube.delete("/x").unwrap());
    let text = Fake::start(|_, _, _| (200, "a\nb".to_owned()));
    assert_eq!(text.kube.text("/logs").unwrap(), "a\nb");
}

fn lease_object(holder: &str) -> Value {
    json!({
        "metadata": { "name": "kube-scheduler", "resourceVersion": "77" },
        "spec": {
            "holderIdentity": holder,
            "renewTime": "2026-01-01T00:00:00.123456Z",
            "leaseTransitions": 4,
            "leaseDurationSeconds": 15,
        },
    })
}

#[test]
fn reads_leases() {
    let fake = Fake::start(|_, path, _| {
        (
            200,
            match path.rsplit('/').next().unwrap() {
                "leases" => json!({ "items": [lease_object("a"), lease_object("")] }).to_string(),
                "bare" => json!({ "metadata": { "resourceVersion": "1" } }).to_string(),
                "odd" => "{}".to_owned(),
                "gone" => return status(404, "NotFound"),
                _ => lease_object("node_1").to_string(),
            },
        )
    });
    let lease = fake
        .kube
        .lease("kube-system", "kube-scheduler")
        .unwrap()
        .unwrap();
    let want = Lease {
        holder: Some("node_1".to_owned()),
        renewed: Some("2026-01-01T00:00:00.123456Z".to_owned()),
        transitions: 4,
        seconds: 15,
        version: "77".to_owned(),
    };
    assert_eq!(lease, want);
    let path = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
    assert_eq!(fake.asked(), [format!("GET {path}/kube-scheduler ")]);
    assert_eq!(fake.kube.lease("kube-system", "gone").unwrap(), None);
    let bare = fake.kube.lease("kube-system", "bare").unwrap().unwrap();
    assert_eq!((bare.holder, bare.seconds), (None, 0));
    assert!(fake.kube.lease("kube-system", "odd").is_err());
    let all = fake.kube.leases("kube-system").unwrap();
    let holders: Vec<_> = all
        .iter()
        .map(|(name, lease)| (name.as_str(), lease.holder.as_deref()))
        .collect();
    assert_eq!(
        holders,
        [("kube-scheduler", Some("a")), ("kube-scheduler", None)]
    );
    for bad in ["", "..", "a/b", "a?b", "a b", "a%2fb"] {
        assert!(
            matches!(
                fake.kube.lease("kube-system", bad),
                Err(KubeError::Name { .. })
            ),
            "{bad}"
        );
        assert!(
            matches!(fake.kube.leases(bad), Err(KubeError::Name { .. })),
            "{bad}"
        );
    }
}

#[test]
fn takes_a_lease_away_only_from_the_holder_it_saw() {
    let fake = Fake::start(|_, path, _| match path.rsplit('/').next().unwrap() {
        "changed" => status(409, "Conflict"),
        "gone" => status(404, "NotFound"),
        "forbidden" => status(403, "Forbidden"),
        _ => (200, lease_object("").to_string()),
    });
    let lease = Lease::read(&lease_object("a"), "").unwrap();
    let clear = |name: &str| fake.kube.clear_holder("kube-system", name, &lease);
    assert!(clear("kube-scheduler").unwrap());
    let path = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kube-scheduler";
    let change = r#"{"metadata":{"resourceVersion":"77"},"spec":{"holderIdentity":""}}"#;
    assert_eq!(fake.asked(), [format!("PATCH {path} {change}")]);
    assert!(!clear("changed").unwrap());
    assert!(!clear("gone").unwrap());
    assert_eq!(clear("forbidden").unwrap_err().code(), Some(403));
}

/// A store of one `ConfigMap`.
fn config_map(kept: Option<Value>, forgetful: bool) -> Fake {
    let stored = Mutex::new(kept);
    Fake::start(move |method, _, body| {
        let mut stored = stored.lock().unwrap();
        match method {
            "POST" if stored.is_some() => return status(409, "AlreadyExists"),
            "POST" | "PUT" => {
                let mut object: Value = serde_json::from_str(body).unwrap();
                if forgetful {
                    object["data"] = json!({});
                }
                *stored = Some(object);
            },
            "DELETE" => return (200, json!({ "was": stored.take() }).to_string()),
            _ => {},
        }
        match &*stored {
            Some(object) => (200, object.to_string()),
            None => status(404, "NotFound"),
        }
    })
}

#[test]
fn writes_reads_back_and_leaves_nothing() {
    let methods = |fake: &Fake| -> Vec<String> {
        let word = |line: &String| line.split(' ').next().unwrap().to_owned();
        fake.asked().iter().map(word).collect()
    };
    let trip = |fake: &Fake| {
        fake.kube
            .round_trip("kube-system", "rescue-kit-check", "v\"1")
    };
    let fake = config_map(None, false);
    trip(&fake).unwrap();
    assert_eq!(methods(&fake), ["POST", "GET", "DELETE"]);

    let left = json!({ "metadata": { "labels": { OURS.0: OURS.1 } } });
    let fake = config_map(Some(left), false);
    trip(&fake).unwrap();
    assert_eq!(methods(&fake), ["POST", "GET", "PUT", "GET", "DELETE"]);

    let fake = config_map(Some(json!({ "data": { "theirs": "x" } })), false);
    assert_eq!(trip(&fake).unwrap_err().code(), Some(409));
    assert_eq!(methods(&fake), ["POST", "GET"]);

    let fake = config_map(None, true);
    assert!(matches!(trip(&fake), Err(KubeError::NotKept { .. })));
    assert_eq!(methods(&fake), ["POST", "GET", "DELETE"]);
}

#[test]
fn tells_who_is_accepted_also_where_the_api_does_not_say() {
    let accepted = |review: (u16, String), api: (u16, &'static str)| {
        let fake = Fake::start(move |method, _, _| match method {
            "POST" => review.clone(),
            _ => status(api.0, api.1),
        });
        fake.kube.accepts_us().map_err(|error| error.code())
    };
    let user = json!({ "status": { "userInfo": { "username": "jane" } } }).to_string();
    assert_eq!(accepted((201, user), (0, "")), Ok(Some("jane".to_owned())));
    // Before 1.28 there is no such review.
    let none = || status(404, "NotFound");
    assert_eq!(accepted(none(), (403, "Forbidden")), Ok(None));
    assert_eq!(accepted(none(), (401, "Unauthorized")), Err(Some(401)));
    // Known, and not allowed to ask; but not if nobody is known.
    assert_eq!(accepted(status(403, "Forbidden"), (0, "")), Ok(None));
    let anonymous = json!({ "message": "User \"system:anonymous\" cannot create" }).to_string();
    assert_eq!(accepted((403, anonymous), (0, "")), Err(Some(403)));
    assert_eq!(
        accepted(status(401, "Unauthorized"), (0, "")),
        Err(Some(401))
    );
}

#[test]
fn asks_for_a_token_that_ends_and_tells_when() {
    let fake = Fake::start(|_, _, _| {
        let status = json!({ "token": "a.b.c", "expirationTimestamp": "2026-11-22T08:15:43Z" });
        (201, json!({ "status": status }).to_string())
    });
    let (token, end) = fake.kube.token("kube-system", "robot", 600).unwrap();
    assert_eq!(
        (token.expose(), end.to_string().as_str()),
        ("a.b.c", "2026-11-22T08:15:43Z")
    );
    let asked = &fake.asked()[0];
    let path = "POST /api/v1/namespaces/kube-system/serviceaccounts/robot/token {";
    assert!(
        asked.starts_with(path) && asked.contains("\"expirationSeconds\":600"),
        "{asked}"
    );
    assert!(matches!(
        fake.kube.token("kube-system", "a/b", 600),
        Err(KubeError::Name { .. })
    ));
    let fake = Fake::start(|_, _, _| (201, json!({ "status": { "token": "a b" } }).to_string()));
    let Err(error) = fake.kube.token("kube-system", "robot", 600) else {
        panic!("that is no token");
    };
    assert!(error.to_string().ends_with("it has no token"), "{error}");
}

#[test]
fn waits_for_the_token_of_a_secret_and_takes_no_nonsense() {
    let token_in = |data: Value| {
        let fake = Fake::start(move |_, _, _| (200, json!({ "data": data }).to_string()));
        let found = fake
            .kube
            .token_in("/api/v1/namespaces/kube-system/secrets/a");
        found
            .map(|token| token.map(|token| token.expose().to_owned()))
            .ok()
    };
    assert_eq!(token_in(Value::Null), Some(None));
    assert_eq!(
        token_in(json!({ "token": "YS5iLmM=" })),
        Some(Some("a.b.c".to_owned()))
    );
    assert_eq!(token_in(json!({ "token": "!" })), None);
    assert_eq!(token_in(json!({ "token": "YSBi" })), None);
}

#[test]
fn knows_what_we_may_and_makes_objects_of_manifests() {
    let fake = Fake::start(|_, path, body| {
        if !path.ends_with("selfsubjectaccessreviews") {
            return (201, "{}".to_owned());
        }
        let may = body.contains("\"subresource\":\"token\"");
        (201, json!({ "status": { "allowed": may } }).to_string())
    });
    assert!(
        fake.kube
            .may("create", "", "serviceaccounts/token", "kube-system")
            .unwrap()
    );
    assert!(
        !fake
            .kube
            .may("create", "", "serviceaccounts", "kube-system")
            .unwrap()
    );
    fake.asked();
    fake.kube
        .create_from("/api/v1/things", "kind: Thing\n")
        .unwrap();
    assert_eq!(fake.asked(), ["POST /api/v1/things kind: Thing\n"]);
    let fake = Fake::start(|_, _, _| status(404, "NotFound"));
    assert_eq!(fake.kube.role("view").unwrap(), None);
}
