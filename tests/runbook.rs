//! `explain` and `runbook`: every code has its page, every known error its meaning, and both fit on a screen.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::cases::assert_golden;
use crate::harness::{BINARY, run};

/// What was pasted, and the first error that it is explained by.
const PASTED: [(&str, &str); 41] = [
    (
        "Unable to connect to the server: tls: failed to verify certificate: x509: certificate signed by unknown authority",
        "certificate signed by unknown authority",
    ),
    (
        "x509: certificate signed by unknown authority (possibly because of \"crypto/rsa: verification error\" while trying to verify candidate authority certificate \"kubernetes\")",
        "crypto/rsa: verification error",
    ),
    (
        "(possibly because of \"x509: ECDSA verification failure\" while trying to verify candidate authority certificate \"etcd-ca\")",
        "x509: ECDSA verification failure",
    ),
    (
        "Unable to connect to the server: x509: certificate has expired or is not yet valid: current time 2026-11-22T19:00:00Z is after 2026-11-01T00:00:00Z",
        "certificate has expired or is not yet valid: current time * is after",
    ),
    (
        "x509: certificate has expired or is not yet valid: current time 2020-01-01T00:00:00Z is before 2025-11-01T00:00:00Z",
        "certificate has expired or is not yet valid: current time * is before",
    ),
    (
        "curl: (60) SSL certificate problem: certificate has expired",
        "certificate problem: certificate has expired",
    ),
    (
        "x509: certificate is valid for 10.96.0.1, 192.168.61.11, not 10.0.0.9",
        "x509: certificate is valid for *, not",
    ),
    (
        "x509: cannot validate certificate for 10.0.0.1 because it doesn't contain any IP SANs",
        "because it doesn't contain any IP SANs",
    ),
    (
        "x509: certificate relies on legacy Common Name field, use SANs instead",
        "certificate relies on legacy Common Name field",
    ),
    ("remote error: tls: bad certificate", "tls: bad certificate"),
    (
        "remote error: tls: unknown certificate authority",
        "tls: unknown certificate authority",
    ),
    (
        "remote error: tls: certificate required",
        "tls: certificate required",
    ),
    (
        "remote error: tls: expired certificate",
        "tls: expired certificate",
    ),
    (
        "tls: private key does not match public key",
        "private key does not match public key",
    ),
    (
        "failed to load key pair while getting backends: open /etc/kubernetes/pki/apiserver-etcd-client.crt: no such file or directory",
        "failed to load key pair",
    ),
    (
        "tls: failed to find any PEM data in certificate input",
        "failed to find any PEM data in",
    ),
    (
        "\"command failed\" err=\"failed to run Kubelet: unable to load bootstrap kubeconfig: stat /etc/kubernetes/bootstrap-kubelet.conf: no such file or directory\"",
        "unable to load bootstrap kubeconfig: stat *: no such file or directory",
    ),
    (
        "part of the existing bootstrap client certificate in /etc/kubernetes/kubelet.conf is expired: 2025-11-01 00:00:00 +0000 UTC",
        "part of the existing bootstrap client certificate in * is expired",
    ),
    (
        "E1122 authentication.go:75] \"Unable to authenticate the request\" err=\"something new\"",
        "Unable to authenticate the request",
    ),
    (
        "error: You must be logged in to the server (Unauthorized)",
        "You must be logged in to the server",
    ),
    (
        "the server has asked for the client to provide credentials",
        "the server has asked for the client to provide credentials",
    ),
    (
        "The connection to the server 192.168.61.11:6443 was refused - did you specify the right host or port?",
        "The connection to the server * was refused",
    ),
    (
        "Get \"https://cp:6443/api\": dial tcp 192.168.61.11:6443: connect: connection refused",
        ":6443: connect: connection refused",
    ),
    (
        "Err: connection error: desc = \"transport: Error while dialing: dial tcp 127.0.0.1:2379: connect: connection refused\"",
        "dial tcp *:2379: connect: connection refused",
    ),
    (
        "{\"level\":\"warn\",\"msg\":\"retrying of unary invoker failed\",\"error\":\"rpc error: code = DeadlineExceeded desc = context deadline exceeded\"}",
        "context deadline exceeded",
    ),
    (
        "{\"level\":\"warn\",\"msg\":\"rejected connection on peer endpoint\",\"remote-addr\":\"10.0.0.2:41234\",\"error\":\"EOF\"}",
        "rejected connection on * endpoint",
    ),
    (
        "{\"msg\":\"rejected connection on client endpoint\",\"error\":\"remote error: tls: bad certificate\"}",
        "tls: bad certificate",
    ),
    (
        "request sent was ignored (cluster ID mismatch: peer[9ff2]=2eec, local=7c6b)",
        "cluster ID mismatch",
    ),
    (
        "\"request sent was ignored by remote peer due to cluster ID mismatch\"",
        "cluster ID mismatch",
    ),
    (
        "error reading CA cert file \"/etc/kubernetes/pki/ca.crt\": expected 1 certificate, found 2",
        "expected 1 certificate, found",
    ),
    (
        "error signing csr: the signer has expired: NotAfter=2025-11-01 00:00:00 +0000 UTC",
        "the signer has expired: NotAfter=",
    ),
    (
        "\"Unable to authenticate the request\" err=\"[invalid bearer token, square/go-jose: error in cryptographic primitive]\"",
        "error in cryptographic primitive",
    ),
    (
        "error: unable to fetch metrics from resource metrics API: Unauthorized",
        "unable to fetch metrics from",
    ),
    (
        "Error from server (Forbidden): nodes is forbidden: User \"system:anonymous\" cannot list resource \"nodes\"",
        "is forbidden: User * system:anonymous",
    ),
    (
        "Forbidden (user=system:anonymous, verb=get, resource=nodes, subresource(s)=[metrics])",
        "Forbidden (user=system:anonymous",
    ),
    ("\"leaderelection lost\"", "leaderelection lost"),
    ("\"Leaderelection lost\"", "leaderelection lost"),
    (
        "cluster CA found in cluster-info ConfigMap is invalid: none of the public keys \"sha256:ab\" are pinned",
        "none of the public keys * are pinned",
    ),
    (
        "error execution phase preflight: couldn't validate the identity of the API Server: Get \"https://cp:6443\": EOF",
        "couldn't validate the identity of the API Server",
    ),
    (
        "x509: subject with cn=front-proxy-client is not in the allowed list",
        "x509: subject with cn=* is not in the allowed list",
    ),
    (
        "certificate etcd/server is not signed by corresponding CA",
        "is not signed by corresponding CA",
    ),
];

#[test]
fn every_code_has_a_page_and_no_page_is_of_no_code() {
    let pages: BTreeSet<String> = pages()
        .iter()
        .map(|page| page["code"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(pages, codes());
}

#[test]
fn every_page_has_its_sections_and_fits_on_a_screen() {
    for page in pages() {
        let code = page["code"].as_str().unwrap();
        let text = run(&["explain", code], &[]).exits(0).stdout;
        let title = page["title"].as_str().unwrap();
        assert!(text.starts_with(&format!("{code}  {title}\n\nMeans\n")));
        let sections: Vec<&str> = text
            .lines()
            .skip(2)
            .filter(|line| !line.starts_with(' '))
            .collect();
        assert_eq!(
            sections,
            ["Means", "See", "If left", "Mend", "Limits"],
            "{code}"
        );
        assert!(!page["commands"].as_array().unwrap().is_empty(), "{code}");
        narrow(&text);
    }
}

#[test]
fn every_space_is_printed_whole() {
    let list = run(&["runbook"], &[]).exits(0).stdout;
    assert_golden("runbook.txt", &list);
    narrow(&list);
    for space in spaces() {
        let name = space["name"].as_str().unwrap();
        let text = run(&["runbook", name], &[]).exits(0).stdout;
        for page in space["pages"].as_array().unwrap() {
            let code = page["code"].as_str().unwrap();
            let own = run(&["explain", code], &[]).stdout;
            assert!(text.contains(&own), "{name}: {code}");
        }
    }
}

#[test]
fn what_others_say_is_explained() {
    let known = codes();
    for (pasted, says) in PASTED {
        let said = run(&["explain", pasted, "--output", "json"], &[])
            .exits(0)
            .json();
        let first = &said["errors"][0];
        assert_eq!(first["says"][0], says, "{pasted}\n{first:#}");
        for field in ["by", "means", "source"] {
            assert!(
                first[field].as_str().is_some_and(|text| !text.is_empty()),
                "{first:#}"
            );
        }
        assert!(
            !first["commands"].as_array().unwrap().is_empty(),
            "{first:#}"
        );
        for code in first["pages"].as_array().unwrap() {
            assert!(known.contains(code.as_str().unwrap()), "{first:#}");
        }
        narrow(&run(&["explain", pasted], &[]).stdout);
    }
}

#[test]
fn every_known_error_says_who_what_how_and_where_from() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("runbook/errors.txt"));
    let text = text.unwrap();
    narrow(&text);
    for entry in text.trim().split("\n\n") {
        let fields: Vec<&str> = entry
            .lines()
            .filter(|line| !line.starts_with(' '))
            .filter_map(|line| line.split(' ').next())
            .skip_while(|field| *field == "says")
            .collect();
        assert_eq!(
            fields,
            ["by", "means", "mend", "pages", "source"],
            "{entry}"
        );
    }
}

#[test]
fn screens() {
    let screen = |words: &[&str]| run(words, &[]).exits(0).stdout;
    assert_golden("explain-code.txt", &screen(&["explain", "rk0101"]));
    let pasted = "kubelet: \"Unable to authenticate the request\" err=\"verifying certificate SN=12 failed: x509: certificate has expired or is not yet valid: current time 2026-11-22T19:00:00Z is after 2026-11-01T00:00:00Z\"";
    assert_golden("explain-pasted.txt", &screen(&["explain", pasted]));
}

#[test]
fn a_log_comes_through_stdin_and_a_message_may_be_broken_into_lines() {
    let mut child = Command::new(BINARY)
        .args(["explain", "-"])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin
        .write_all(b"all is well\n\xff\xfe\ncritical RK0604 etcd member cp2\nx509: CERTIFICATE  signed by\n  unknown authority\n")
        .unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.starts_with("RK0604  A member of etcd does not answer\n"),
        "{text}"
    );
    assert!(
        text.contains("\nsays    certificate signed by unknown authority\n"),
        "{text}"
    );
}

#[test]
fn what_is_not_known_is_said_with_a_way_on() {
    run(&["explain", "my", "printer", "is", "on", "fire"], &[])
        .exits(2)
        .says("this is none of the errors that are known here")
        .says("rescue-kit inspect");
    run(&["explain", "RK9999"], &[])
        .exits(2)
        .says("the runbook has no RK9999")
        .says("hint: rescue-kit runbook");
    run(&["runbook", "clok"], &[])
        .exits(2)
        .says("the runbook has no space `clok`")
        .says("did you mean `clock`?");
    run(&["explain"], &[]).exits(2);
}

/// The codes that `src/finding.rs` defines.
fn codes() -> BTreeSet<String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/finding.rs");
    let source = fs::read_to_string(source).unwrap();
    let named = source.split("rename = \"RK").skip(1);
    let codes: BTreeSet<String> = named.map(|rest| format!("RK{}", &rest[..4])).collect();
    assert!(codes.len() > 40, "{codes:?}");
    codes
}

fn spaces() -> Vec<serde_json::Value> {
    let said = run(&["runbook", "--output", "json"], &[]).exits(0).json();
    assert_eq!(said["changed"], false);
    said["spaces"].as_array().unwrap().clone()
}

fn pages() -> Vec<serde_json::Value> {
    let of = |space: serde_json::Value| space["pages"].as_array().unwrap().clone();
    spaces().into_iter().flat_map(of).collect()
}

fn narrow(text: &str) {
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}
