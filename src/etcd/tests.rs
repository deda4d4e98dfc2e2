//! A gateway that is none, with answers as etcd 3.5 and 3.6 give them.

use super::*;
use crate::https::Endpoint;
use crate::tls::tests::{LONG, VALID, answer, authority, leaf};

/// `reply` gets the path and the body, and gives status and body.
fn fake(reply: impl Fn(&str, &str) -> (u16, String) + Send + Sync + 'static) -> Etcd {
    let root = authority("etcd-ca", VALID);
    let server = leaf(&root, "ecdsa-p256", VALID).server(&[], Some(&root));
    let at = answer(server, move |request| {
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let (status, text) = reply(head.split(' ').nth(1).unwrap(), body);
        format!(
            "HTTP/1.1 {status} x\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        )
        .into()
    });
    let endpoint = Endpoint {
        at,
        name: "127.0.0.1".to_owned(),
    };
    let identity = leaf(&root, "ecdsa-p256", VALID).identity();
    Etcd::new(Client::new(endpoint, &[root.cert.der], Some(&identity), LONG).unwrap())
}

#[test]
fn is_healthy_only_if_it_says_so() {
    for (status, text, want) in [
        (200, r#"{"health":"true","reason":""}"#, true),
        (503, r#"{"health":"false","reason":"ALARM NOSPACE"}"#, false),
        (200, r#"{"health":"false"}"#, false),
        (503, "unavailable", false),
        (200, r#"{"health":true}"#, true),
    ] {
        let etcd = fake(move |path, _| {
            assert_eq!(path, "/health");
            (status, text.to_owned())
        });
        assert_eq!(etcd.health().unwrap(), want, "{text}");
    }
    let etcd = fake(|_, _| (200, "{}".to_owned()));
    assert!(matches!(etcd.health(), Err(EtcdError::Malformed { .. })));
    let etcd = fake(|_, _| (404, "404 page not found\n".to_owned()));
    let error = etcd.health().unwrap_err().to_string();
    assert_eq!(error, "etcd refused /health with 404: 404 page not found");
}

#[test]
fn reads_status_members_and_alarms() {
    let etcd = fake(|path, body| {
        let (asked, text) = match path {
            "/v3/maintenance/status" => (
                "{}",
                r#"{"header":{"cluster_id":"1","member_id":"10501334649042878790","raft_term":"2"},
                    "version":"3.6.5","dbSize":"20480","leader":"10501334649042878790","raftIndex":"4",
                    "raftTerm":"2","errors":["memberID:1 alarm:NOSPACE "],"isLearner":true}"#,
            ),
            "/v3/cluster/member/list" => (
                r#"{"linearizable":false}"#,
                r#"{"members":[{"ID":"7","name":"n1","peerURLs":["https://10.0.0.1:2380"],
                    "clientURLs":["https://10.0.0.1:2379"]},{"ID":"8","isLearner":true},3]}"#,
            ),
            "/v3/maintenance/alarm" => (
                r#"{"action":"GET"}"#,
                r#"{"header":{},"alarms":[{"memberID":"7","alarm":"NOSPACE"}]}"#,
            ),
            "/v3/maintenance/transfer-leadership" => (r#"{"targetID":"8"}"#, "{}"),
            other => panic!("{other}"),
        };
        assert_eq!(body, asked);
        (200, text.to_owned())
    });
    let status = etcd.status().unwrap();
    assert!(status.leads());
    let want = Status {
        member_id: "10501334649042878790".to_owned(),
        leader: "10501334649042878790".to_owned(),
        db_size: 20480,
        raft_index: 4,
        errors: vec!["memberID:1 alarm:NOSPACE ".to_owned()],
        version: "3.6.5".to_owned(),
        is_learner: true,
    };
    assert_eq!(status, want);
    let members = etcd.members().unwrap();
    let first = Member {
        id: "7".to_owned(),
        name: "n1".to_owned(),
        peer_urls: vec!["https://10.0.0.1:2380".to_owned()],
        client_urls: vec!["https://10.0.0.1:2379".to_owned()],
        is_learner: false,
    };
    assert_eq!((members.len(), &members[0]), (2, &first));
    assert!(members[1].is_learner && members[1].name.is_empty());
    assert_eq!(
        etcd.alarms().unwrap(),
        [("7".to_owned(), "NOSPACE".to_owned())]
    );
    etcd.move_leader("8").unwrap();
}

#[test]
fn a_member_without_leader_or_alarms_says_little() {
    let etcd = fake(|_, _| (200, r#"{"header":{"member_id":7},"dbSize":1.5}"#.to_owned()));
    let status = etcd.status().unwrap();
    assert_eq!(
        (
            status.member_id.as_str(),
            status.leader.as_str(),
            status.db_size
        ),
        ("7", "0", 0)
    );
    assert!(!status.leads());
    assert!(etcd.alarms().unwrap().is_empty() && etcd.members().unwrap().is_empty());
}

#[test]
fn refusals_are_told_in_etcds_words() {
    let etcd = fake(|path, _| match path {
        "/v3/maintenance/transfer-leadership" => (
            400,
            r#"{"code":9, "message":"etcdserver: not leader", "details":[]}"#.to_owned(),
        ),
        "/v3/cluster/member/list" => (503, r#"{"error":"e","code":14}"#.to_owned()),
        "/v3/maintenance/alarm" => (200, "[]".to_owned()),
        _ => (200, "{}".to_owned()),
    });
    let said = |error: EtcdError| error.to_string();
    assert_eq!(etcd.move_leader("8").unwrap_err().code(), Some(400));
    let error = said(etcd.move_leader("8").unwrap_err());
    assert_eq!(
        error,
        "etcd refused /v3/maintenance/transfer-leadership with 400: etcdserver: not leader"
    );
    let error = said(etcd.members().unwrap_err());
    assert_eq!(error, "etcd refused /v3/cluster/member/list with 503: e");
    let error = said(etcd.alarms().unwrap_err());
    assert_eq!(
        error,
        "etcd's answer for /v3/maintenance/alarm is malformed: it is no JSON object"
    );
    assert!(said(etcd.status().unwrap_err()).ends_with("it names no member"));
}

#[test]
fn reads_the_value_of_a_key() {
    let etcd = fake(|path, body| {
        assert_eq!(path, "/v3/kv/range");
        let text = match body {
            r#"{"key":"L2E="}"# => {
                r#"{"header":{},"kvs":[{"key":"L2E=","value":"AAE="}],"count":"1"}"#
            },
            r#"{"key":"L2I="}"# => r#"{"header":{}}"#,
            _ => r#"{"kvs":[{"value":"!"}]}"#,
        };
        (200, text.to_owned())
    });
    assert_eq!(etcd.value("/a").unwrap(), Some(vec![0, 1]));
    assert_eq!(etcd.value("/b").unwrap(), None);
    assert!(matches!(etcd.value("/c"), Err(EtcdError::Malformed { .. })));
}
