//! `kubeconfig`: what is listed, refreshed and made on files; what needs a running cluster is in `tests/live/access.rs`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use serde_json::Value;

use crate::cases;
use crate::harness::{self, Node, Ran};

const ADMIN: &str = "/etc/kubernetes/admin.conf";
const ROOT: &str = "/root/.kube/config";
const JANE: &str = "/home/jane/.kube/config";

#[test]
fn every_kubeconfig_is_listed_with_user_groups_end_and_server() {
    let node = Node::real("p256", "expired");
    fs::create_dir_all(node.path("/home/jane/.kube")).unwrap();
    fs::copy(node.path(ADMIN), node.path(JANE)).unwrap();
    let token = "apiVersion: v1\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\nclusters: [{name: k, cluster: {server: 'https://192.0.2.1'}}]\nusers: [{name: u, user: {token: abc}}]\n";
    node.write("/home/jane/.kube/robot", token);
    node.write(
        "/home/jane/.kube/broken",
        "current-context: [\nclusters: users:",
    );
    let said = node.json(&["kubeconfig", "list"]);
    assert_eq!(said["schema"], "rescue-kit/kubeconfig/v1");
    let rows = said["kubeconfigs"].as_array().unwrap();
    let row = |path: &str| rows.iter().find(|row| row["path"] == path).unwrap();
    let admin = row(ADMIN);
    assert_eq!(admin["user"], "kubernetes-admin");
    assert_eq!(admin["groups"][0], "kubeadm:cluster-admins");
    assert_eq!(
        (&admin["status"], &admin["by"]),
        (&"expired".into(), &"certificate".into())
    );
    assert_eq!(admin["accepted"]["answer"], "not_asked");
    assert!(admin["server"].as_str().unwrap().starts_with("https://"));
    assert_eq!(row(JANE)["not_after"], admin["not_after"]);
    assert_eq!(row("/home/jane/.kube/robot")["by"], "token");
    assert_eq!(row("/home/jane/.kube/broken")["status"], "unreadable");
    assert_eq!(
        row("/etc/kubernetes/kubelet.conf")["user"]
            .as_str()
            .unwrap()[..12],
        *"system:node:"
    );
    let text = node.run(&["kubeconfig", "list"]).exits(0);
    assert!(
        text.stdout.lines().all(|line| line.chars().count() <= 80),
        "{}",
        text.stdout
    );
}

#[test]
fn a_kubeconfig_that_lies_elsewhere_is_listed_when_it_is_named() {
    let node = Node::real("p256", "expired");
    let other = node.path("/elsewhere.conf");
    fs::copy(node.path("/etc/kubernetes/super-admin.conf"), &other).unwrap();
    let said = node.json(&["kubeconfig", "list", other.to_str().unwrap()]);
    let rows = said["kubeconfigs"].as_array().unwrap();
    assert_eq!(rows.last().unwrap()["user"], "kubernetes-super-admin");
    let said = node.json(&["kubeconfig", "list", "/no/such/file"]);
    assert_eq!(
        said["kubeconfigs"].as_array().unwrap().last().unwrap()["status"],
        "unreadable"
    );
}

#[test]
fn copies_are_not_refreshed_from_a_kubeconfig_that_has_expired_itself() {
    let node = with_copies("p256");
    let before = node.snapshot();
    node.run(&["kubeconfig", "refresh", "--yes"])
        .exits(5)
        .says("admin.conf itself expired")
        .says("hint: rescue-kit run");
    assert_eq!(node.snapshot(), before);
}

#[test]
fn copies_get_the_new_credential_and_keep_everything_else() {
    for case in ["p256", "rsa"] {
        let node = with_copies(case);
        let old = node.read(JANE);
        node.run(&["run", "--yes"]).exits(0);
        let jane = "--for=jane";
        let checked = node.snapshot();
        node.run(&["kubeconfig", "refresh", jane, "--check"])
            .exits(0)
            .prints("nothing was changed (--check)");
        assert_eq!(node.snapshot(), checked);
        let ics = node.path("/new.ics");
        let words = [
            "kubeconfig",
            "refresh",
            jane,
            "--yes",
            "--ics",
            ics.to_str().unwrap(),
        ];
        let said = node.json(&words);
        assert_eq!(said["changed"], true, "{said:#}");
        for (path, uid, mode) in [(ROOT, 0, 0o600), (JANE, 1000, 0o640)] {
            let copy = copy_of(&said, path);
            assert_eq!(copy["state"], "refreshed", "{said:#}");
            let meta = fs::metadata(node.path(path)).unwrap();
            assert_eq!(
                (meta.uid(), meta.permissions().mode() & 0o7777),
                (uid, mode)
            );
            judged_good(&node, path);
            let kept = copy["kept"].as_str().unwrap();
            let meta = fs::metadata(node.path(kept)).unwrap();
            assert_eq!(
                (meta.uid(), meta.permissions().mode() & 0o7777),
                (uid, 0o600)
            );
        }
        assert_eq!(
            node.read(copy_of(&said, JANE)["kept"].as_str().unwrap()),
            old
        );
        assert_eq!(frame(&node.read(JANE)), frame(&old));
        let text = fs::read_to_string(ics).unwrap();
        let end = said["not_after"].as_str().unwrap().replace(['-', ':'], "");
        assert!(text.contains(&format!("DTSTART:{end}\r\n")), "{text}");
        let run = said["run_id"].as_str().unwrap();
        let ledger = node
            .run(&["audit", "export", "--format", "json"])
            .exits(0)
            .json();
        for path in [ROOT, JANE] {
            let name = format!("copy:{path}");
            let told = |entry: &&Value| {
                entry["cert_name"] == *name && entry["action"] == "UPDATE" && entry["run"] == run
            };
            let entry = ledger.as_array().unwrap().iter().find(told).unwrap();
            assert_eq!(entry["expire_date"], said["not_after"]);
        }
        let audit = node.path(&format!("/var/lib/rescue-kit/runs/{run}/audit.tar.gz"));
        node.run(&["audit", "verify", audit.to_str().unwrap()])
            .exits(0);
        let again = node.json(&["kubeconfig", "refresh", jane, "--yes"]);
        assert!(again["run_id"].is_null(), "{again:#}");
        assert_eq!(again["changed"], false, "{again:#}");
        assert_eq!(copy_of(&again, JANE)["state"], "current");
    }
}

#[test]
fn whatever_is_not_a_copy_is_left_alone_and_said_why() {
    let stranger = |node: &Node| {
        fs::copy(
            node.path("/etc/kubernetes/super-admin.conf"),
            node.path(JANE),
        )
        .unwrap();
    };
    let outside = |node: &Node| {
        fs::remove_file(node.path(JANE)).unwrap();
        symlink(ROOT, node.path(JANE)).unwrap();
    };
    // The certificate is no secret: whoever has only that is not given the key.
    let keyless = |node: &Node| {
        let other = String::from_utf8(node.read("/etc/kubernetes/super-admin.conf")).unwrap();
        let line = |text: &str| {
            let lines = text.lines();
            lines
                .filter(|line| line.contains("client-key-data"))
                .collect::<String>()
        };
        let own = String::from_utf8(node.read(JANE)).unwrap();
        node.write(JANE, own.replace(&line(&own), &line(&other)));
    };
    let elsewhere = |node: &Node| {
        let tree = cases::tree("p384", "expired");
        fs::copy(tree.join("etc/kubernetes/admin.conf"), node.path(JANE)).unwrap();
        let text = String::from_utf8(node.read(JANE)).unwrap();
        node.write(
            JANE,
            text.replace("server: https://", "server: https://other-"),
        );
    };
    let broken = |node: &Node| node.write(JANE, "clusters: [");
    let patients: [Damaged; 5] = [
        (&stranger, "its user is kubernetes-super-admin"),
        (&outside, "it is a link that leads out of the home"),
        (&keyless, "its credential is none"),
        (&elsewhere, "it is another cluster's"),
        (&broken, "is not a valid kubeconfig"),
    ];
    for (damage, why) in patients {
        let node = with_copies("p256");
        damage(&node);
        node.run(&["run", "--yes"]).exits(0);
        let before = node.snapshot();
        let said = node.json(&["kubeconfig", "refresh", "--for", "jane", "--yes"]);
        let copy = copy_of(&said, JANE);
        assert_eq!(copy["state"], "left_alone", "{said:#}");
        assert!(
            copy["why"].as_str().unwrap().contains(why),
            "{why}: {said:#}"
        );
        let after = node.snapshot();
        let jane = JANE.trim_start_matches('/');
        assert_eq!(after.get(jane), before.get(jane), "{why}");
    }
}

#[test]
fn a_user_whom_nobody_knows_has_no_copy() {
    let node = with_copies("p256");
    node.run(&["run", "--yes"]).exits(0);
    node.run(&["kubeconfig", "refresh", "--for", "../etc", "--yes"])
        .exits(5)
        .says("/etc/passwd has no user `../etc`");
}

#[test]
fn a_user_gets_a_kubeconfig_of_the_nodes_ca() {
    for case in ["p256", "rsa"] {
        let node = Node::real(case, "expired");
        let out = node.path("/jane.conf");
        let words = [
            "kubeconfig",
            "user",
            "--client-name",
            "jane: doe",
            "--org",
            "dev,ops",
            "--validity",
            "90d",
            "--out",
            out.to_str().unwrap(),
        ];
        let said = node.json(&words);
        assert_eq!(
            said["groups"],
            serde_json::json!(["dev", "ops"]),
            "{said:#}"
        );
        assert_eq!(
            fs::metadata(&out).unwrap().permissions().mode() & 0o777,
            0o600
        );
        judged_good(&node, "/jane.conf");
        // Never overwritten.
        let before = fs::read(&out).unwrap();
        node.run(&words).exits(5).says("exists");
        assert_eq!(fs::read(&out).unwrap(), before);
        let ledger = node
            .run(&["audit", "export", "--format", "json"])
            .exits(0)
            .json();
        let rows = ledger.as_array().unwrap();
        assert_eq!(rows.len(), 1, "{ledger:#}");
        assert_eq!(
            (&rows[0]["action"], &rows[0]["cert_name"]),
            (&"CREATE".into(), &"user:jane: doe".into())
        );
        assert_eq!(rows[0]["serial"], said["serial"]);
        let report = node.run(&["audit", "report"]).exits(0);
        report.prints("Access was given.").prints("jane: doe");
        let run = said["run_id"].as_str().unwrap();
        node.run(&["rollback", run, "--yes"])
            .exits(5)
            .says("gave access");
        let tarball = node.newest_run().join("audit.tar.gz");
        harness::run(&["audit", "verify", tarball.to_str().unwrap()], &[]).exits(0);
    }
}

#[test]
fn the_administrator_has_the_group_that_kubeadm_of_the_nodes_version_gives() {
    let groups = |version: &str| {
        let node = Node::real("masters", "expired");
        let path = "/etc/kubernetes/manifests/kube-apiserver.yaml";
        let text = String::from_utf8(node.read(path)).unwrap();
        let (head, tail) = text.split_once("kube-apiserver:v").unwrap();
        let tail = tail.split_once('\n').unwrap().1;
        node.write(path, format!("{head}kube-apiserver:v{version}\n{tail}"));
        let out = node.path("/admin2.conf");
        let said = node.json(&["kubeconfig", "user", "--out", out.to_str().unwrap()]);
        said["groups"].clone()
    };
    assert_eq!(groups("1.28.15"), serde_json::json!(["system:masters"]));
    assert_eq!(
        groups("1.29.0"),
        serde_json::json!(["kubeadm:cluster-admins"])
    );
}

#[test]
fn a_kubeconfig_goes_to_stdout_and_never_into_json() {
    let node = Node::real("p256", "expired");
    let printed = node
        .run(&["kubeconfig", "user", "--client-name", "jane"])
        .exits(0);
    node.write("/printed.conf", &printed.stdout);
    judged_good(&node, "/printed.conf");
    node.run(&["kubeconfig", "user", "--output", "json"])
        .exits(2)
        .prints("--out FILE");
    let warned = [
        "kubeconfig",
        "user",
        "--client-name",
        "root",
        "--org",
        "system:masters",
    ];
    node.run(&warned)
        .exits(0)
        .says("system:masters is above authorization");
    node.run(&["kubeconfig", "user", "--client-name", ""])
        .exits(2);
}

#[test]
fn without_the_cas_key_nobody_is_certified() {
    let node = Node::real("p256", "expired");
    node.remove("/etc/kubernetes/pki/ca.key");
    node.run(&["kubeconfig", "user", "--client-name", "jane"])
        .exits(5)
        .says("the CA's key is not here")
        .says("kubeconfig break-glass");
    assert!(!node.path("/var/lib/rescue-kit").exists());
}

#[test]
fn the_glass_is_not_broken_on_files() {
    let node = Node::real("p256", "expired");
    let before = node.snapshot();
    node.run(&["kubeconfig", "break-glass", "--yes"])
        .exits(5)
        .says("nothing runs below this root");
    node.run(&["kubeconfig", "break-glass", "--role", "a/b", "--yes"])
        .exits(2);
    node.run(&["kubeconfig", "break-glass", "--mint-token"])
        .exits(2);
    node.run(&["kubeconfig", "break-glass", "--revoke"])
        .exits(0)
        .prints("nothing to revoke");
    node.run(&[
        "kubeconfig",
        "break-glass",
        "--revoke",
        "20261122T081543Z-1f2e3d",
        "--yes",
    ])
    .exits(5)
    .says("no access of a run");
    assert_eq!(node.snapshot(), before);
    assert!(!node.path("/var/lib/rescue-kit").exists());
}

#[test]
fn the_manifest_is_printed_for_somebody_else_to_apply() {
    let printed = harness::run(&["kubeconfig", "break-glass", "--print"], &[]).exits(0);
    let documents: Vec<&str> = printed.stdout.split("---\n").collect();
    assert_eq!(documents.len(), 2, "{}", printed.stdout);
    assert!(documents[0].contains("kind: ServiceAccount\n"));
    assert!(documents[1].contains("kind: ClusterRoleBinding\n"));
    assert!(
        documents[1].contains("  name: \"view\"\n"),
        "least privilege: {}",
        printed.stdout
    );
    printed
        .says("kubectl -n kube-system create token rescue-kit-break-glass-")
        .says("--duration 3600s");
    let words = [
        "kubeconfig",
        "break-glass",
        "--print",
        "--token-secret",
        "--role",
        "edit",
    ];
    let printed = harness::run(&words, &[]).exits(0);
    assert!(
        printed
            .stdout
            .contains("type: kubernetes.io/service-account-token\n")
    );
    assert!(printed.stdout.contains("  name: \"edit\"\n"));
}

/// What was done to a copy, and what is said of it.
type Damaged<'a> = (&'a dyn Fn(&Node), &'a str);

/// The case with copies of admin.conf in two homes.
fn with_copies(case: &str) -> Node {
    let node = Node::real(case, "expired");
    for path in [ROOT, JANE] {
        fs::create_dir_all(node.path(path).parent().unwrap()).unwrap();
        fs::copy(node.path(ADMIN), node.path(path)).unwrap();
    }
    let text = String::from_utf8(node.read(JANE)).unwrap();
    node.write(
        JANE,
        format!(
            "# mine\n{}",
            text.replace("kind: Config", "kind:   Config # yes")
        ),
    );
    let passwd = "root:x:0:0:root:/root:/bin/sh\njane:x:1000:1000::/home/jane:/bin/sh\n";
    node.write("/etc/passwd", passwd);
    let jane = node.path(JANE);
    std::os::unix::fs::chown(&jane, Some(1000), Some(1000)).unwrap();
    fs::set_permissions(&jane, fs::Permissions::from_mode(0o640)).unwrap();
    node
}

fn copy_of<'a>(said: &'a Value, path: &str) -> &'a Value {
    let copies = said["copies"]
        .as_array()
        .unwrap_or_else(|| panic!("{said:#}"));
    copies.iter().find(|copy| copy["path"] == path).unwrap()
}

/// The text without the values that a refresh may change.
fn frame(bytes: &[u8]) -> String {
    let line = |line: &str| {
        line.split_once("-data: ")
            .map_or(line, |(key, _)| key)
            .to_owned()
    };
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// What client-go makes of it.
#[track_caller]
fn judged_good(node: &Node, path: &str) -> Ran {
    let (file, ca) = (node.path(path), node.path("/etc/kubernetes/pki/ca.crt"));
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    cases::judge(&["kubeconfig", &text(&file), "-ca", &text(&ca)]).exits(0)
}
