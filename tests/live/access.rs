//! Access for people while the cluster is fine and their kubeconfigs have expired: the glass broken in three ways, each used
//! by kubectl and taken back; copies refreshed.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::control_plane::{ControlPlane, Ran};

/// A copy of what is given, as somebody could have made one.
const COPY: &str = "/root/copy";

const NODES: [&str; 3] = ["cp1", "cp2", "cp3"];

#[test]
fn a_certificate_breaks_the_glass_until_its_binding_is_gone() {
    let lab = locked_out("admin.conf,super-admin.conf");
    let given = given(&lab, &["--operator", "J. Doe"]);
    let user = given["grant"]["user"].as_str().unwrap();
    assert_eq!(given["seen_as"], user);
    assert!(
        given["how"]
            .as_str()
            .unwrap()
            .contains("lives in memory only")
    );
    let who = lab.shell(
        "cp1",
        &format!("kubectl --kubeconfig {COPY} auth whoami -o json"),
    );
    let who: Value = serde_json::from_str(&who).unwrap();
    let who = &who["status"]["userInfo"];
    assert_eq!(who["username"], user);
    assert_eq!(
        who["groups"],
        serde_json::json!(["system:authenticated"]),
        "no group of its own"
    );
    let cert = format!(
        "sed -n 's/.*client-certificate-data: //p' {COPY} | base64 -d | openssl x509 -noout"
    );
    let subject = lab.shell("cp1", &format!("{cert} -subject"));
    assert_eq!(subject.trim(), format!("subject=CN = {user}"));
    let dates = lab.shell(
        "cp1",
        &format!(
            "for d in startdate enddate; do date -d \"$({cert} -$d | cut -d= -f2)\" +%s; done"
        ),
    );
    let dates: Vec<i64> = dates.lines().map(|line| line.parse().unwrap()).collect();
    assert!(dates[1] - dates[0] <= 3600, "{dates:?}");
    by_copy(&lab, &["get", "pods", "-A"])
        .ok()
        .says("kube-apiserver-cp1");
    by_copy(&lab, &["get", "secrets", "-A"])
        .exits(1)
        .says("Forbidden");
    lab.kit("cp1", &["inspect"])
        .exits(3)
        .says(&format!("RK0701 break-glass access of {user}"));
    let run = given["run_id"].as_str().unwrap();
    let revoked = lab
        .kit(
            "cp1",
            &["kubeconfig", "break-glass", "--revoke", run, "--yes"],
        )
        .ok();
    assert_seen_within(5, &revoked, "its requests are forbidden");
    by_copy(&lab, &["get", "pods", "-A"])
        .exits(1)
        .says("Forbidden");
    // It still is who it is, until it ends.
    by_copy(&lab, &["auth", "whoami"]).ok().says(user);
    assert_gone(&lab, &given);
}

#[test]
fn a_service_account_breaks_the_glass_until_it_is_deleted() {
    for more in [&[][..], &["--token-secret"]] {
        let lab = locked_out("admin.conf");
        lab.shell("cp1", "mv /etc/kubernetes/pki/ca.key /root/");
        let given = given(&lab, more);
        let user = given["grant"]["user"].as_str().unwrap();
        assert!(user.starts_with("system:serviceaccount:kube-system:rescue-kit-break-glass-"));
        assert!(
            given["how"]
                .as_str()
                .unwrap()
                .contains("/etc/kubernetes/super-admin.conf"),
            "{given:#}"
        );
        by_copy(&lab, &["get", "pods", "-A"]).ok();
        by_copy(&lab, &["get", "secrets", "-A"])
            .exits(1)
            .says("Forbidden");
        lab.kit("cp1", &["inspect"]).exits(3).says("RK0701");
        let revoked = lab
            .kit("cp1", &["kubeconfig", "break-glass", "--revoke", "--yes"])
            .ok();
        assert_seen_within(15, &revoked, "the API server refuses it");
        by_copy(&lab, &["get", "pods", "-A"])
            .exits(1)
            .says("Unauthorized");
        assert_gone(&lab, &given);
    }
}

#[test]
fn a_token_is_signed_where_nothing_else_is_left() {
    let lab = locked_out("");
    let admin = "kubectl --kubeconfig /etc/kubernetes/super-admin.conf";
    lab.shell(
        "cp1",
        &format!("{admin} -n kube-system create serviceaccount robot"),
    );
    let binding =
        "create clusterrolebinding robot --clusterrole view --serviceaccount kube-system:robot";
    lab.shell("cp1", &format!("{admin} {binding}"));
    lab.lab("expire", &["--", "-only", "admin.conf,super-admin.conf"]);
    lab.shell("cp1", "mv /etc/kubernetes/pki/ca.key /root/");
    lab.kit("cp1", &["kubeconfig", "break-glass", "--yes"])
        .exits(5)
        .says("The last way is a token that is signed on this node")
        .says("--mint-token --service-account NAMESPACE/NAME");
    let nobody = [
        "kubeconfig",
        "break-glass",
        "--yes",
        "--mint-token",
        "--service-account",
        "kube-system/nobody",
    ];
    lab.kit("cp1", &nobody)
        .exits(5)
        .says("there is no ServiceAccount kube-system/nobody");
    let given = given(
        &lab,
        &["--mint-token", "--service-account", "kube-system/robot"],
    );
    assert_eq!(given["seen_as"], "system:serviceaccount:kube-system:robot");
    by_copy(&lab, &["get", "pods", "-A"]).ok();
    lab.kit("cp1", &["inspect"]).exits(3).says("RK0701");
    lab.kit("cp1", &["kubeconfig", "break-glass", "--revoke", "--yes"])
        .ok()
        .says("only deleting that ServiceAccount ends it earlier");
    assert_gone(&lab, &given);
    by_copy(&lab, &["get", "pods", "-A"]).ok();
    // With a certificate of the CA, brought for a moment, the service account is deleted.
    lab.shell("cp1", "mv /root/ca.key /etc/kubernetes/pki/");
    lab.rescue("cp1");
    lab.kubectl(
        "cp1",
        &["-n", "kube-system", "delete", "serviceaccount", "robot"],
    )
    .ok();
    lab.wait_within(15, "refusal of the token", || {
        by_copy(&lab, &["get", "pods", "-A"])
            .stderr
            .contains("Unauthorized")
    });
}

#[test]
fn expired_copies_are_refreshed_for_root_and_a_user() {
    let lab = locked_out("admin.conf");
    let make = "useradd -m -u 1000 jane 2>/dev/null || echo 'jane:x:1000:1000::/home/jane:/bin/sh' >> /etc/passwd
        mkdir -p /home/jane/.kube && rm -f /root/.kube/config
        for home in /root /home/jane; do cp /etc/kubernetes/admin.conf $home/.kube/config; done
        chown -R 1000:1000 /home/jane && chmod 640 /home/jane/.kube/config";
    lab.shell("cp1", make);
    lab.kit("cp1", &["kubeconfig", "refresh", "--yes"])
        .exits(5)
        .says("hint: rescue-kit run");
    lab.rescue("cp1");
    let (_, listed) = lab.json("cp1", &["kubeconfig", "list"]);
    let answers = |listed: &Value| -> Vec<(String, String)> {
        let rows = listed["kubeconfigs"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        rows.map(|row| (text(&row["path"]), text(&row["accepted"]["answer"])))
            .collect()
    };
    let of = |path: &str, answer: &str| (path.to_owned(), answer.to_owned());
    for copy in ["/root/.kube/config", "/home/jane/.kube/config"] {
        assert!(answers(&listed).contains(&of(copy, "no")), "{listed:#}");
    }
    lab.exec(
        "cp1",
        &[
            "env",
            "SUDO_USER=jane",
            crate::control_plane::BINARY,
            "kubeconfig",
            "refresh",
            "--yes",
        ],
    )
    .ok();
    let (_, listed) = lab.json("cp1", &["kubeconfig", "list"]);
    for (copy, face) in [
        ("/root/.kube/config", "600 0:0"),
        ("/home/jane/.kube/config", "640 1000:1000"),
    ] {
        assert!(answers(&listed).contains(&of(copy, "yes")), "{listed:#}");
        lab.shell("cp1", &format!("kubectl --kubeconfig {copy} get nodes"));
        let seen = lab.shell(
            "cp1",
            &format!("stat -c '%a %u:%g' {copy}; stat -c '%a' {copy}.*.old"),
        );
        assert_eq!(seen.lines().collect::<Vec<_>>(), [face, "600"]);
    }
    lab.kit("cp1", &["inspect"]).ok();
}

#[test]
fn what_breaks_the_glass_is_taken_back_from_three_api_servers() {
    let lab = lock_out(ControlPlane::three(), "admin.conf");
    lab.shell("cp1", "mv /etc/kubernetes/pki/ca.key /root/");
    let by_token = given(&lab, &[]);
    let user = by_token["grant"]["user"].as_str().unwrap();
    assert!(user.starts_with("system:serviceaccount:"), "{user}");
    assert_let_in_everywhere(&lab);
    revoke(&lab, &by_token);
    assert_refused_everywhere(&lab, Instant::now(), 15, "Unauthorized");
    assert_gone(&lab, &by_token);
    lab.shell("cp1", "mv /root/ca.key /etc/kubernetes/pki/");
    lab.lab("expire", &["--", "-only", "super-admin.conf"]);
    let by_certificate = given(&lab, &[]);
    assert!(
        by_certificate["how"]
            .as_str()
            .unwrap()
            .contains("lives in memory only")
    );
    assert_let_in_everywhere(&lab);
    revoke(&lab, &by_certificate);
    assert_refused_everywhere(&lab, Instant::now(), 5, "Forbidden");
    assert_gone(&lab, &by_certificate);
}

/// A node whose kubeconfigs of these names have expired, once its roles are filled.
fn locked_out(only: &str) -> ControlPlane {
    lock_out(ControlPlane::one(), only)
}

fn lock_out(lab: ControlPlane, only: &str) -> ControlPlane {
    lab.wait_for_signer();
    // The controller manager fills aggregated roles some time after the first start.
    lab.wait("role", || {
        let rules = ["get", "clusterrole", "view", "-o", "jsonpath={.rules}"];
        lab.kubectl("cp1", &rules).stdout.contains("pods")
    });
    if !only.is_empty() {
        lab.lab("expire", &["--", "-only", only]);
        lab.assert_down("cp1");
    }
    lab
}

/// Breaks the glass, and keeps a copy of what was given.
fn given(lab: &ControlPlane, more: &[&str]) -> Value {
    let (code, said) = lab.json(
        "cp1",
        &[&["kubeconfig", "break-glass", "--yes"], more].concat(),
    );
    assert_eq!(code, 0, "{said:#}");
    let path = said["grant"]["kubeconfig"].as_str().unwrap();
    lab.shell(
        "cp1",
        &format!("cp {path} {COPY} && stat -c %a {path} | grep -qx 600"),
    );
    said
}

fn by_copy(lab: &ControlPlane, words: &[&str]) -> Ran {
    let by = ["kubectl", "--kubeconfig", COPY, "--request-timeout=10s"];
    lab.exec("cp1", &[&by, words].concat())
}

/// What was given works at each API server, whichever node it was made on.
fn assert_let_in_everywhere(lab: &ControlPlane) {
    for node in NODES {
        at(lab, node, &["get", "pods", "-A"])
            .ok()
            .says("kube-apiserver-cp1");
        at(lab, node, &["get", "secrets", "-A"])
            .exits(1)
            .says("Forbidden");
    }
}

/// Every API server refuses it in this way, and lets nothing in that began so many seconds after `since`.
fn assert_refused_everywhere(lab: &ControlPlane, since: Instant, seconds: u64, word: &str) {
    for node in NODES {
        loop {
            let began = since.elapsed();
            let ran = at(lab, node, &["get", "pods", "-A"]);
            if ran.stderr.contains(word) {
                break;
            }
            let late = began >= Duration::from_secs(seconds);
            assert!(!late, "{node} after {began:?}: {ran:?}");
        }
    }
}

fn at(lab: &ControlPlane, node: &str, words: &[&str]) -> Ran {
    let server = format!("--server=https://{}:6443", lab.ip(node));
    by_copy(lab, &[&[server.as_str()], words].concat())
}

fn revoke(lab: &ControlPlane, given: &Value) {
    let run = given["run_id"].as_str().unwrap();
    let words = ["kubeconfig", "break-glass", "--revoke", run, "--yes"];
    lab.kit("cp1", &words).ok();
}

/// The command watched the end itself, so many seconds at most after it had removed what allowed it.
#[track_caller]
fn assert_seen_within(seconds: u64, revoked: &Ran, what: &str) {
    let said = revoked.stdout.split_whitespace().collect::<Vec<_>>();
    let said = said.join(" ");
    let after = said
        .split("after ")
        .find_map(|rest| rest.split_once(&format!(" s {what}")))
        .unwrap_or_else(|| panic!("not {what:?} in {said}"));
    let whole = after.0.split('.').next().unwrap().parse::<u64>().unwrap();
    assert!(whole < seconds, "{said}");
}

/// No object and no file is left, and the evidence tells of both ends.
fn assert_gone(lab: &ControlPlane, given: &Value) {
    let run = given["run_id"].as_str().unwrap();
    let path = given["grant"]["kubeconfig"].as_str().unwrap();
    lab.shell("cp1", &format!("test ! -e {path}"));
    assert!(!lab.kit("cp1", &["inspect"]).stdout.contains("RK0701"));
    let audit = format!("/var/lib/rescue-kit/runs/{run}/audit.tar.gz");
    lab.kit("cp1", &["audit", "verify", &audit]).ok();
    lab.kit("cp1", &["audit", "show", run])
        .ok()
        .says("access taken back");
    let (code, rows) = (
        lab.kit("cp1", &["audit", "export", "--format", "json"]),
        run,
    );
    let ledger: Value = serde_json::from_str(&code.ok().stdout).unwrap();
    let of_run = ledger
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["run"] == rows);
    let actions: Vec<&str> = of_run.map(|row| row["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["CREATE", "REVOKE"]);
    let leaks = lab.exec(
        "cp1",
        &[
            "grep",
            "-rlE",
            "PRIVATE KEY|eyJhbGci",
            &format!("/var/lib/rescue-kit/runs/{run}"),
        ],
    );
    assert_eq!(leaks.stdout, "", "a secret is left");
}
