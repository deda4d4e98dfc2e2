//! Copies of the authorities' certificates that live in the API: which still hold a former one, and who mends that.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::access::{Access, with_causes};
use crate::kube::{Kube, KubeError};
use crate::live::Check;
use crate::pki::anchor::{Anchors, Copied};
use crate::pki::cert::Cert;
use crate::pki::digest::Digest;

/// Where webhooks and aggregated APIs say whom to trust, and under which member of each object.
const LISTS: [(&str, &str); 4] = [
    (
        "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
        "webhooks",
    ),
    (
        "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
        "webhooks",
    ),
    ("/apis/apiregistration.k8s.io/v1/apiservices", "spec"),
    (
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        "spec",
    ),
];

/// What pods verify the API server by, one in each namespace (kubernetes/kubernetes,
/// `pkg/controller/certificates/rootcacertpublisher`).
const OF_PODS: &str = "/api/v1/configmaps?fieldSelector=metadata.name%3Dkube-root-ca.crt";
/// What aggregated APIs verify the API server by (kubernetes/kubernetes,
/// `pkg/controlplane/controller/clusterauthenticationtrust`): certificates are added there and never removed.
const OF_SERVERS: &str =
    "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";

/// Who writes the config maps of pods.
pub(crate) const PUBLISHER: &str = "kube-controller-manager after its restart";

/// An object of the API that holds an authority's certificate.
pub(crate) struct Copy {
    /// `configmap kube-public/cluster-info`
    pub(crate) subject: String,
    /// How it compares with the authorities' files; never [`Copied::Foreign`].
    pub(crate) state: Copied,
    /// Where it is, and the JSON merge patch that mends it, if nobody else does.
    pub(crate) mend: Option<(String, Value)>,
    /// Who writes it.
    pub(crate) by: &'static str,
}

/// The copies as checks. One that lacks nothing that signs is no failure: a rotation is under way.
pub(super) fn look(access: &Access, kube: &Kube, health: &mut Vec<Check>) {
    match all(access, kube, &[]) {
        Ok(copies) => health.extend(copies.iter().map(check)),
        Err(why) => health.push(Check::unchecked("copy", "CAs in the API", why)),
    }
}

fn check(copy: &Copy) -> Check {
    let (subject, by) = (&copy.subject, copy.by);
    match copy.state {
        Copied::Foreign | Copied::Same => Check::new("copy", subject, None),
        Copied::Outdated => {
            let failure = format!("holds a CA's former certificate; written by {by}");
            Check::new("copy", subject, Some(failure))
        },
        Copied::Different => {
            let why = format!("does not hold the CA to come; written by {by}");
            Check::unchecked("copy", subject, why)
        },
    }
}

/// Every object of the API that holds a certificate of one of the authorities, as their files are now.
///
/// # Errors
///
/// Why the API cannot be asked, as a sentence fragment.
pub(crate) fn all(access: &Access, kube: &Kube, former: &[Digest]) -> Result<Vec<Copy>, String> {
    let anchors = Anchors {
        sets: access.anchors(),
        former: former.to_vec(),
    };
    let mut copies = Vec::new();
    let told = |error: KubeError| with_causes(&error);
    copies.extend(cluster_info(kube, &anchors).map_err(told)?);
    copies.extend(of_pods(kube, &anchors).map_err(told)?);
    copies.extend(of_servers(kube, &anchors).map_err(told)?);
    for (path, member) in LISTS {
        let listed = unless_gone(kube.get(path))
            .map_err(told)?
            .unwrap_or_default();
        let items = listed["items"].as_array().into_iter().flatten();
        copies.extend(items.filter_map(|item| with_bundle(path, item, member, &anchors)));
    }
    Ok(copies)
}

/// The config maps of all namespaces as one copy: the first that is not as it shall be.
fn of_pods(kube: &Kube, anchors: &Anchors) -> Result<Option<Copy>, KubeError> {
    let listed = unless_gone(kube.get(OF_PODS))?.unwrap_or_default();
    let items = listed["items"].as_array().into_iter().flatten();
    let seen = items.map(|item| {
        let namespace = item["metadata"]["namespace"].as_str().unwrap_or_default();
        let text = item["data"]["ca.crt"].as_str().unwrap_or_default();
        (namespace, anchors.compare(&certs_in(text)))
    });
    let seen: Vec<(&str, Copied)> = seen
        .filter(|(_, state)| *state != Copied::Foreign)
        .collect();
    // Of several that are equally bad the last is taken: from behind, the first.
    let first = seen.iter().rev().max_by_key(|(_, state)| *state);
    Ok(first.map(|(namespace, state)| Copy {
        subject: format!("configmap {namespace}/kube-root-ca.crt"),
        state: *state,
        mend: None,
        by: PUBLISHER,
    }))
}

fn of_servers(kube: &Kube, anchors: &Anchors) -> Result<Option<Copy>, KubeError> {
    let object = unless_gone(kube.get(OF_SERVERS))?.unwrap_or_default();
    let data = object["data"].as_object().into_iter().flatten();
    let mut change = serde_json::Map::new();
    let mut worst = None;
    for (key, text) in data {
        let certs = certs_in(text.as_str().unwrap_or_default());
        let state = anchors.compare(&certs);
        if state == Copied::Foreign {
            continue;
        }
        worst = worst.max(Some(state));
        // What is to be added is added by each API server; what is to go is our business.
        let mended = anchors.mended(certs.clone());
        if mended.len() < certs.len() {
            change.insert(key.clone(), Value::String(pem(&mended)));
        }
    }
    let version = &object["metadata"]["resourceVersion"];
    let patch = json!({ "metadata": { "resourceVersion": version }, "data": change });
    Ok(worst.map(|state| Copy {
        subject: "configmap kube-system/extension-apiserver-authentication".to_owned(),
        state,
        mend: (!change.is_empty()).then(|| (OF_SERVERS.to_owned(), patch)),
        by: "kube-apiserver within a minute",
    }))
}

/// What `kubeadm join` reads: a kubeconfig without a user, signed by the bootstrap signer as soon as it changes.
fn cluster_info(kube: &Kube, anchors: &Anchors) -> Result<Option<Copy>, KubeError> {
    let path = "/api/v1/namespaces/kube-public/configmaps/cluster-info";
    let Some(object) = unless_gone(kube.get(path))? else {
        return Ok(None);
    };
    let text = object["data"]["kubeconfig"].as_str().unwrap_or_default();
    let data = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("certificate-authority-data:"));
    let data = data.map(str::trim).unwrap_or_default();
    let certs = decoded(data);
    let state = anchors.compare(&certs);
    if state == Copied::Foreign {
        return Ok(None);
    }
    let new = text.replace(data, &encoded(&anchors.mended(certs)));
    Ok(Some(Copy {
        subject: "configmap kube-public/cluster-info".to_owned(),
        state,
        mend: (state != Copied::Same)
            .then(|| (path.to_owned(), json!({ "data": { "kubeconfig": new } }))),
        by: "kubeadm, once",
    }))
}

/// An object that says whom to trust by `caBundle`, anywhere below a member.
fn with_bundle(path: &str, object: &Value, member: &str, anchors: &Anchors) -> Option<Copy> {
    let name = object["metadata"]["name"].as_str()?;
    let mut below = object[member].clone();
    let mut states = Vec::new();
    each_bundle(&mut below, &mut |data| {
        let certs = decoded(data);
        states.push(anchors.compare(&certs));
        if matches!(states.last(), Some(Copied::Outdated | Copied::Different)) {
            *data = encoded(&anchors.mended(certs));
        }
    });
    let worst = states.into_iter().max();
    let state = worst.filter(|state| *state != Copied::Foreign)?;
    let kind = path.rsplit('/').next().unwrap_or_default();
    let version = &object["metadata"]["resourceVersion"];
    let change = json!({ "metadata": { "resourceVersion": version }, member: below });
    Some(Copy {
        subject: format!("{kind} {name}"),
        state,
        mend: (state != Copied::Same).then(|| (format!("{path}/{name}"), change)),
        by: "whoever installed it",
    })
}

fn each_bundle(value: &mut Value, change: &mut dyn FnMut(&mut String)) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(data) if name == "caBundle" => change(data),
                    other => each_bundle(other, change),
                }
            }
        },
        Value::Array(items) => items.iter_mut().for_each(|item| each_bundle(item, change)),
        _ => {},
    }
}

fn decoded(data: &str) -> Vec<Cert> {
    let pem = STANDARD.decode(data).unwrap_or_default();
    Cert::all_from_pem(&pem).unwrap_or_default()
}

fn encoded(certs: &[Cert]) -> String {
    STANDARD.encode(pem(certs))
}

fn certs_in(text: &str) -> Vec<Cert> {
    Cert::all_from_pem(text.as_bytes()).unwrap_or_default()
}

fn pem(certs: &[Cert]) -> String {
    certs.iter().map(Cert::to_pem).collect()
}

/// An object that does not exist, or a kind that this API does not know, is none.
fn unless_gone(answer: Result<Value, KubeError>) -> Result<Option<Value>, KubeError> {
    match answer {
        Ok(object) => Ok(Some(object)),
        Err(error) if error.code() == Some(404) => Ok(None),
        Err(error) => Err(error),
    }
}
