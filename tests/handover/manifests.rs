//! What machines are given: kubeadm takes its settings, and the schemas of cert-manager and Cluster API theirs.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::Written;
use crate::cases;
use crate::harness::{BINARY, Node, lab_program, other};
use crate::units::kubeasz;

const MANIFEST: &str = "/etc/kubernetes/manifests/kube-apiserver.yaml";

/// The documents of a YAML file, those left out that are only comments.
pub(super) fn documents(text: &str) -> Vec<Value> {
    let documents = text.split("\n---\n");
    let is_data = |line: &str| !line.is_empty() && !line.starts_with('#');
    let documents = documents.filter(|document| document.lines().any(is_data));
    documents
        .map(|document| {
            serde_saphyr::from_str(document).unwrap_or_else(|e| panic!("{e}:\n{document}"))
        })
        .collect()
}

/// The schemas of `tests/schemas`, by version and kind.
fn schemas(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemas");
    let text = fs::read_to_string(path.join(name)).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["schemas"].clone()
}

/// Every document fits its schema; how many there are of each kind.
fn valid(text: &str, schemas: &Value) -> Vec<String> {
    let documents = documents(text);
    let kind = |document: &Value| {
        let of = |field: &str| document[field].as_str().unwrap().to_owned();
        format!("{} {}", of("apiVersion"), of("kind"))
    };
    for document in &documents {
        let schema = &schemas[kind(document)];
        assert!(schema.is_object(), "no schema of {}", kind(document));
        let mut wrong = Vec::new();
        judge(document, schema, "", &mut wrong);
        assert_eq!(wrong, Vec::<String>::new(), "{document:#}");
    }
    documents.iter().map(kind).collect()
}

/// What of a schema the extracts use; a field that the schema does not know is wrong, too.
fn judge(value: &Value, schema: &Value, at: &str, wrong: &mut Vec<String>) {
    let is_type = match schema["type"].as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64(),
        "boolean" => value.is_boolean(),
        other => panic!("the type {other} is not known here"),
    };
    let mut check = |good: bool, why: &str| {
        if !good {
            wrong.push(format!("{at}: {why}"));
        }
    };
    check(is_type, "another type");
    if let Some(known) = schema["enum"].as_array() {
        check(known.contains(value), "not in the list");
    }
    let number = value.as_i64().unwrap_or_default();
    check(
        schema["minimum"]
            .as_i64()
            .is_none_or(|least| number >= least),
        "too small",
    );
    check(
        schema["maximum"].as_i64().is_none_or(|most| number <= most),
        "too large",
    );
    let required = schema["required"].as_array().into_iter().flatten();
    for field in required {
        check(
            value.get(field.as_str().unwrap()).is_some(),
            &format!("no {field}"),
        );
    }
    for (field, inner) in value.as_object().into_iter().flatten() {
        match schema["properties"].get(field) {
            Some(schema) => judge(inner, schema, &format!("{at}.{field}"), wrong),
            None => wrong.push(format!("{at}.{field}: unknown")),
        }
    }
    for inner in value.as_array().into_iter().flatten() {
        judge(inner, &schema["items"], &format!("{at}[]"), wrong);
    }
}

#[test]
fn the_judge_of_schemas_finds_faults() {
    let schemas = schemas("cert-manager.json");
    let schema = &schemas["cert-manager.io/v1 Certificate"];
    let document = serde_json::json!({
        "spec": { "secretName": 5, "usages": ["server auth", "serverAuth"], "issuer": {} },
    });
    let mut wrong = Vec::new();
    judge(&document, schema, "", &mut wrong);
    let expected = [
        ".spec: no \"issuerRef\"",
        ".spec.secretName: another type",
        ".spec.usages[]: not in the list",
        ".spec.issuer: unknown",
    ];
    assert_eq!(wrong, expected);
}

#[test]
fn cert_manager_gets_issuers_and_a_certificate_for_every_server() {
    let schemas = schemas("cert-manager.json");
    let nodes = cases::ALL.iter().map(|case| Node::real(case, "fresh"));
    for node in nodes.chain([kubeasz()]) {
        let text = Written::of(&node).text("cert-manager.yaml");
        let kinds = valid(&text, &schemas);
        assert_eq!(kinds[..2], ["cert-manager.io/v1 ClusterIssuer"; 2]);
        assert!(kinds.len() > 2);
        assert!(
            kinds[2..]
                .iter()
                .all(|kind| kind == "cert-manager.io/v1 Certificate")
        );
        for document in &documents(&text)[2..] {
            names_are_those_of_kubernetes(document);
        }
    }
}

/// What the schema does not say: names, and durations (cert-manager, internal/apis/certmanager/validation).
fn names_are_those_of_kubernetes(document: &Value) {
    let name = document["metadata"]["name"].as_str().unwrap();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
    assert!(name.len() <= 253 && name.chars().all(plain), "{name}");
    let spec = &document["spec"];
    let hours = |field: &str| -> i64 {
        let text = spec[field].as_str().unwrap();
        text.split_once('h').unwrap().0.parse().unwrap()
    };
    assert!(hours("duration") > hours("renewBefore"), "{spec}");
    assert!(
        spec["commonName"]
            .as_str()
            .is_none_or(|name| name.len() <= 64)
    );
    assert!(
        spec["dnsNames"].is_array() || spec["ipAddresses"].is_array(),
        "{spec}"
    );
    assert_eq!(spec["subject"], Value::Null, "no groups");
}

#[test]
fn a_certificate_of_cert_manager_has_the_names_usages_key_and_validity_of_the_servers() {
    let node = Node::real("p256", "fresh");
    let text = Written::of(&node).text("cert-manager.yaml");
    let documents = documents(&text);
    let apiserver = documents
        .iter()
        .find(|d| d["metadata"]["name"] == "cp1-apiserver");
    let spec = &apiserver.unwrap()["spec"];
    assert_eq!(spec["duration"], "8760h0m0s");
    assert_eq!(spec["renewBefore"], "720h0m0s");
    assert_eq!(spec["privateKey"]["algorithm"], "ECDSA");
    assert_eq!(spec["privateKey"]["size"], 256);
    let usages = ["digital signature", "key encipherment", "server auth"];
    assert_eq!(spec["usages"], serde_json::json!(usages));
    let said = node.json(&["inspect"]);
    let rows = said["certificates"].as_array().unwrap();
    let row = rows.iter().find(|row| row["id"] == "apiserver").unwrap();
    let texts = |value: &Value| -> Vec<String> {
        let all = value.as_array().unwrap().iter();
        all.map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let mut named = [texts(&spec["dnsNames"]), texts(&spec["ipAddresses"])].concat();
    let mut carried = texts(&row["sans"]);
    named.sort();
    carried.sort();
    assert_eq!(named, carried);
}

#[test]
fn the_ca_of_the_issuer_is_made_as_its_head_says() {
    let written = Written::of(&Node::real("p256", "fresh"));
    let text = written.text("cert-manager.yaml");
    let command = |beginning: &str| {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("#   "));
        lines.find(|line| line.starts_with(beginning)).unwrap()
    };
    other("sh", &["-euc", command("echo ")], &written.path()).exits(0);
    let init = command("rescue-kit ca init ").replace("rescue-kit", BINARY);
    other("sh", &["-euc", &format!("{init} --yes")], &written.path()).exits(0);
    for name in ["issuer/issuer.crt", "issuer/issuer.key"] {
        assert!(command("kubectl -n cert-manager create secret tls").contains(name));
        assert!(written.path().join(name).exists(), "{name}");
    }
}

#[test]
fn kubeadm_takes_its_settings_from_1_31_on() {
    for case in ["p256", "rsa", "external-etcd"] {
        let written = Written::of(&Node::real(case, "fresh"));
        let path = written.path().join("kubeadm.yaml");
        let words = ["config", "validate", "--config", path.to_str().unwrap()];
        other(lab_program("kubeadm"), &words, Path::new("/"))
            .exits(0)
            .prints("ok");
        let said = &documents(&written.text("kubeadm.yaml"))[0];
        assert_eq!(said["certificateValidityPeriod"], "8760h0m0s", "{case}");
        assert_eq!(said["caCertificateValidityPeriod"], "87600h0m0s", "{case}");
        assert_eq!(said["kubernetesVersion"], "v1.34.4", "{case}");
    }
    let node = Node::real("p256", "fresh");
    let text = String::from_utf8(node.read(MANIFEST)).unwrap();
    node.write(MANIFEST, text.replace(":v1.34.4", ":v1.30.9"));
    let text = Written::of(&node).text("kubeadm.yaml");
    assert_eq!(documents(&text), Vec::<Value>::new(), "{text}");
    assert!(text.contains("# This cluster is of 1.30"), "{text}");
    assert!(
        text.contains("# certificateValidityPeriod: 8760h0m0s\n"),
        "{text}"
    );
}

#[test]
fn cluster_api_takes_its_patches_in_both_versions() {
    let text = Written::of(&Node::real("p256", "fresh")).text("cluster-api.yaml");
    let kinds = valid(&text, &schemas("cluster-api.json"));
    let expected = ["v1beta2", "v1beta1"]
        .map(|version| format!("controlplane.cluster.x-k8s.io/{version} KubeadmControlPlane"));
    assert_eq!(kinds, expected);
    let days = &documents(&text)[0]["spec"]["rollout"]["before"]["certificatesExpiryDays"];
    assert_eq!(days, 45);
    assert!(
        text.contains("--control-plane-renew-certificates-before=45"),
        "{text}"
    );
}
