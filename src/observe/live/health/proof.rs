//! Requests from end to end: a write that is read back, logs through a kubelet, aggregated APIs, webhooks.

use std::time::{Duration, Instant};

use serde_json::Value;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::access::{Access, with_causes};
use crate::clock::wait_for;
use crate::kube::{Kube, KubeError};
use crate::live::Check;
use crate::observe::live::health::answered;
use crate::pki::cert::Cert;
use crate::pki::utc::Utc;
use crate::profile::{RestartKind, Role};

/// How long connections of before may disturb what is asked now.
const SETTLES: Duration = Duration::from_secs(10);

/// Where the kinds of admission webhooks are listed.
const WEBHOOKS: [&str; 2] = [
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
];

/// Makes all of them.
pub(super) fn look(access: &Access, kube: &Kube, health: &mut Vec<Check>) {
    let node = access
        .inventory
        .node
        .name
        .as_ref()
        .map(|fact| fact.value.as_str());
    let node = node.unwrap_or("node");
    health.push(round_trip(kube, node));
    health.push(logs(access, kube, node));
    aggregated(kube, health);
    for path in WEBHOOKS {
        webhooks(kube, path, access.inventory.at, health);
    }
}

/// Writes a `ConfigMap`, reads it back, removes it.
pub(crate) fn round_trip(kube: &Kube, node: &str) -> Check {
    let name = format!("rescue-kit-{node}");
    let value = crate::clock::now_ns().to_string();
    let written = kube.round_trip("kube-system", &name, &value);
    answered("write", "one that is read back", written).0
}

/// One line of a static pod's log: through the API server to this node's kubelet.
fn logs(access: &Access, kube: &Kube, node: &str) -> Check {
    let server = access.profile.with_role(Role::ApiServer);
    let Some(RestartKind::Cri(component)) = server.map(|server| &server.restart) else {
        let path = format!("/api/v1/nodes/{node}/proxy/healthz");
        return answered("kubelet", node, kube.text(&path)).0;
    };
    let path = format!(
        "/api/v1/namespaces/kube-system/pods/{component}-{node}/log?tailLines=1&limitBytes=512"
    );
    // The API server may still hold a connection to a kubelet that was restarted a moment ago.
    let mut last = Ok(String::new());
    wait_for(Instant::now() + SETTLES, Duration::from_millis(500), || {
        last = kube.text(&path);
        last.is_ok().then_some(())
    });
    match last {
        Err(KubeError::Status { code: 404, .. }) => Check::unchecked(
            "kubelet",
            node,
            "the API has no mirror of its static pods yet",
        ),
        other => answered("kubelet", node, other).0,
    }
}

/// Every API that is served by somebody else is available through the front proxy.
fn aggregated(kube: &Kube, health: &mut Vec<Check>) {
    let (check, listed) = answered(
        "aggregated",
        "API services",
        kube.get("/apis/apiregistration.k8s.io/v1/apiservices"),
    );
    let Some(listed) = listed else {
        return health.push(check);
    };
    for service in items(&listed) {
        if service["spec"]["service"].is_null() {
            continue;
        }
        let name = text(&service["metadata"]["name"]);
        let available = |condition: &&Value| condition["type"] == "Available";
        let conditions = service["status"]["conditions"].as_array();
        let condition = conditions.into_iter().flatten().find(available);
        let failure = match condition {
            Some(condition) if condition["status"] == "True" => {
                let (group, version) = (
                    text(&service["spec"]["group"]),
                    text(&service["spec"]["version"]),
                );
                let asked = kube.get(&format!("/apis/{group}/{version}"));
                asked.err().map(|error| with_causes(&error))
            },
            Some(condition) => Some(text(&condition["message"])),
            None => Some("has no status yet".to_owned()),
        };
        health.push(Check::new("aggregated", &name, failure));
    }
}

/// Webhooks that trust an expired certificate fail, and take the requests that they guard with them.
fn webhooks(kube: &Kube, path: &str, now: Utc, health: &mut Vec<Check>) {
    let (check, listed) = answered("webhooks", path, kube.get(path));
    let Some(listed) = listed else {
        return health.push(check);
    };
    for configuration in items(&listed) {
        for hook in configuration["webhooks"].as_array().into_iter().flatten() {
            let name = text(&hook["name"]);
            let Some(bundle) = hook["clientConfig"]["caBundle"].as_str() else {
                continue;
            };
            let pem = STANDARD.decode(bundle).unwrap_or_default();
            let failure = match Cert::all_from_pem(&pem) {
                Ok(certs) if certs.iter().all(|cert| cert.not_after < now) => {
                    Some("trusts only certificates that have expired".to_owned())
                },
                Ok(_) => None,
                Err(error) => Some(format!("its caBundle {error}")),
            };
            health.push(Check::new("webhook", &name, failure));
        }
    }
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list["items"].as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
