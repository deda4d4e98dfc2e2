//! What `verify` proves on a running node, and what it finds beyond the node's own files.

use crate::control_plane::ControlPlane;

#[test]
fn verify_names_broken_webhooks_and_aggregated_apis() {
    let lab = ControlPlane::one();
    let proved = lab.kit("cp1", &["verify"]).ok();
    assert!(
        proved
            .stdout
            .ends_with(" 0 failed, 0 could not be made here\n"),
        "{proved:?}"
    );
    lab.lab("expire", &["--", "-only", "front-proxy-client"]);
    let objects = "bundle=$(base64 -w0 /etc/kubernetes/pki/front-proxy-client.crt)
        kubectl --kubeconfig /etc/kubernetes/admin.conf apply -f - <<END
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: guard}
webhooks:
- name: guard.example.com
  clientConfig: {url: 'https://127.0.0.1:9443/guard', caBundle: $bundle}
  rules: [{apiGroups: [example.com], apiVersions: [v1], operations: [CREATE], resources: [things]}]
  sideEffects: None
  admissionReviewVersions: [v1]
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1.metrics.example.com}
spec:
  group: metrics.example.com
  version: v1
  groupPriorityMinimum: 100
  versionPriority: 100
  insecureSkipTLSVerify: true
  service: {name: metrics, namespace: kube-system}
END";
    lab.shell("cp1", objects);
    lab.rescue("cp1");
    let (code, said) = lab.json("cp1", &["verify"]);
    assert_eq!(code, 3, "{said:#}");
    let checks = said["verification"]["checks"].as_array().unwrap().iter();
    let failed: Vec<(&str, &str)> = checks
        .filter(|check| check["outcome"]["fail"].is_string())
        .map(|check| {
            (
                check["name"].as_str().unwrap(),
                check["subject"].as_str().unwrap(),
            )
        })
        .collect();
    let broken = [
        ("aggregated", "v1.metrics.example.com"),
        ("webhook", "guard.example.com"),
    ];
    assert_eq!(failed, broken, "{said:#}");
}
