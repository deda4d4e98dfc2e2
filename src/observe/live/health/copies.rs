//! Copies of the authorities' certificates that live in the API: which still hold a former one, and who mends that.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::access::{Access, with_causes};
use crate::kube::{Kube, KubeError};
use crate::live::Check;
use crate::pki::anchor;
use crate::pki::cert::Cert;

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

/// Config maps with certificates in PEM, and who writes them (kubernetes/kubernetes, `pkg/controller/certificates/rootcacertpublisher`;
/// kubernetes/apiserver, `pkg/server/dynamiccertificates` and `pkg/controlplane/controller/clusterauthenticationtrust`).
const CONFIG_MAPS: [(&str, &str, &str); 2] = [
    (
        "kube-system",
        "kube-root-ca.crt",
        "kube-controller-manager after its restart",
    ),
    (
        "kube-system",
        "extension-apiserver-authentication",
        "kube-apiserver within a minute",
    ),
];

/// An object of the API that holds an authority's certificate.
pub(crate) struct Copy {
    /// `configmap kube-public/cluster-info`
    pub(crate) subject: String,
    /// It holds a former certificate of an authority, and not the present one.
    pub(crate) is_outdated: bool,
    /// Where it is, and the JSON merge patch that mends it, if nobody else does.
    pub(crate) mend: Option<(String, Value)>,
    /// Who writes it.
    pub(crate) by: &'static str,
}

/// The copies as checks.
pub(super) fn look(access: &Access, kube: &Kube, health: &mut Vec<Check>) {
    match all(access, kube) {
        Ok(copies) => health.extend(copies.iter().map(|copy| {
            let failure = format!("holds a CA's former certificate; written by {}", copy.by);
            Check::new("copy", &copy.subject, copy.is_outdated.then_some(failure))
        })),
        Err(why) => health.push(Check::unchecked("copy", "CAs in the API", why)),
    }
}

/// Every object of the API that holds a certificate of one of the authorities, as their files are now.
///
/// # Errors
///
/// Why the API cannot be asked, as a sentence fragment.
pub(crate) fn all(access: &Access, kube: &Kube) -> Result<Vec<Copy>, String> {
    let anchors = access.anchors();
    let mut copies = Vec::new();
    let told = |error: KubeError| with_causes(&error);
    copies.extend(cluster_info(kube, &anchors).map_err(told)?);
    for (namespace, name, by) in CONFIG_MAPS {
        let path = format!("/api/v1/namespaces/{namespace}/configmaps/{name}");
        let Some(object) = unless_gone(kube.get(&path)).map_err(told)? else {
            continue;
        };
        let texts = object["data"]
            .as_object()
            .into_iter()
            .flat_map(|data| data.values());
        let texts: Vec<Vec<Cert>> = texts
            .filter_map(|text| Cert::all_from_pem(text.as_str()?.as_bytes()).ok())
            .collect();
        if texts.iter().any(|certs| concerns(certs, &anchors)) {
            copies.push(Copy {
                subject: format!("configmap {namespace}/{name}"),
                is_outdated: texts.iter().any(|certs| is_outdated(certs, &anchors)),
                mend: None,
                by,
            });
        }
    }
    for (path, member) in LISTS {
        let listed = unless_gone(kube.get(path))
            .map_err(told)?
            .unwrap_or_default();
        let items = listed["items"].as_array().into_iter().flatten();
        copies.extend(items.filter_map(|item| with_bundle(path, item, member, &anchors)));
    }
    Ok(copies)
}

/// What `kubeadm join` reads: a kubeconfig without a user, signed by the bootstrap signer as soon as it changes.
fn cluster_info(kube: &Kube, anchors: &[Cert]) -> Result<Option<Copy>, KubeError> {
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
    if !concerns(&certs, anchors) {
        return Ok(None);
    }
    let is_outdated = is_outdated(&certs, anchors);
    let new = text.replace(data, &encoded(certs, anchors));
    Ok(Some(Copy {
        subject: "configmap kube-public/cluster-info".to_owned(),
        is_outdated,
        mend: is_outdated.then(|| (path.to_owned(), json!({ "data": { "kubeconfig": new } }))),
        by: "kubeadm, once",
    }))
}

/// An object that says whom to trust by `caBundle`, anywhere below a member.
fn with_bundle(path: &str, object: &Value, member: &str, anchors: &[Cert]) -> Option<Copy> {
    let name = object["metadata"]["name"].as_str()?;
    let mut below = object[member].clone();
    let (mut concerned, mut outdated) = (false, false);
    each_bundle(&mut below, &mut |data| {
        let certs = decoded(data);
        concerned |= concerns(&certs, anchors);
        if is_outdated(&certs, anchors) {
            outdated = true;
            *data = encoded(certs, anchors);
        }
    });
    let kind = path.rsplit('/').next().unwrap_or_default();
    let version = &object["metadata"]["resourceVersion"];
    concerned.then(|| Copy {
        subject: format!("{kind} {name}"),
        is_outdated: outdated,
        mend: outdated.then(|| {
            let change = json!({ "metadata": { "resourceVersion": version }, member: below });
            (format!("{path}/{name}"), change)
        }),
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

fn encoded(certs: Vec<Cert>, anchors: &[Cert]) -> String {
    let renewed = anchors.iter().fold(certs, anchor::renewed);
    STANDARD.encode(renewed.iter().map(Cert::to_pem).collect::<String>())
}

fn concerns(certs: &[Cert], anchors: &[Cert]) -> bool {
    let is_one = |cert: &Cert| anchors.iter().any(|anchor| anchor::succeeds(anchor, cert));
    certs.iter().any(is_one)
}

fn is_outdated(certs: &[Cert], anchors: &[Cert]) -> bool {
    let mut anchors = anchors.iter();
    anchors.any(|present| anchor::is_outdated(certs, present))
}

/// An object that does not exist, or a kind that this API does not know, is none.
fn unless_gone(answer: Result<Value, KubeError>) -> Result<Option<Value>, KubeError> {
    match answer {
        Ok(object) => Ok(Some(object)),
        Err(error) if error.code() == Some(404) => Ok(None),
        Err(error) => Err(error),
    }
}
