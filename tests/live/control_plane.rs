//! A control plane of the lab, and what other programs say of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::seats::Taken;

/// The binary under test, which the nodes see at the same path.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_rescue-kit");
pub(crate) const LAB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/cluster");
/// Where a rescue changes files.
const WRITTEN: &str = "/etc/kubernetes /var/lib/kubelet/pki";

/// Where a layout keeps what others ask with, and what the ports serve.
struct Layout {
    admin: &'static str,
    /// CA, certificate and key of a client of etcd.
    etcd: [&'static str; 3],
    served: [(&'static str, &'static str); 3],
}

const KUBEADM: Layout = Layout {
    admin: "/etc/kubernetes/admin.conf",
    etcd: [
        "/etc/kubernetes/pki/etcd/ca.crt",
        "/etc/kubernetes/pki/etcd/healthcheck-client.crt",
        "/etc/kubernetes/pki/etcd/healthcheck-client.key",
    ],
    served: [
        ("6443", "/etc/kubernetes/pki/apiserver.crt"),
        ("2379", "/etc/kubernetes/pki/etcd/server.crt"),
        ("2380", "/etc/kubernetes/pki/etcd/peer.crt"),
    ],
};

const UNITS: Layout = Layout {
    admin: "/etc/kubernetes/admin.kubeconfig",
    etcd: [
        "/etc/kubernetes/ssl/ca.pem",
        "/etc/kubernetes/ssl/apiserver.pem",
        "/etc/kubernetes/ssl/apiserver-key.pem",
    ],
    served: [
        ("6443", "/etc/kubernetes/ssl/apiserver.pem"),
        ("2379", "/etc/kubernetes/ssl/etcd.pem"),
        ("2380", "/etc/kubernetes/ssl/etcd.pem"),
    ],
};

/// Clusters of one node; those of the second seat have a 2 behind their names.
const SMALL: [&str; 2] = ["one", "units"];
const LARGE: [&str; 3] = ["fleet", "three", "workers"];

/// Nodes that are as they were when they were made, or as a test left them.
pub(crate) struct ControlPlane {
    name: String,
    layout: Layout,
    _seats: Taken,
}

/// What a command printed and returned.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl ControlPlane {
    /// One node, fresh.
    pub(crate) fn one() -> Self {
        Self::fresh("one", &["--nodes", "1"], KUBEADM)
    }

    /// Three nodes, fresh: `cp1`, `cp2`, `cp3`.
    pub(crate) fn three() -> Self {
        Self::fresh("three", &["--nodes", "3"], KUBEADM)
    }

    /// One node without kubeadm, fresh: everything is a unit.
    pub(crate) fn units() -> Self {
        Self::fresh("units", &["--layout", "systemd"], UNITS)
    }

    /// A node of a control plane, a worker and a machine that has not joined, fresh: `cp1`, `w1`, `s1`.
    pub(crate) fn with_workers() -> Self {
        Self::fresh("workers", &["--workers", "1", "--spares", "1"], KUBEADM)
    }

    /// Three nodes, a worker and two machines that have not joined, fresh: `cp1` to `cp3`, `w1`, `s1`, `s2`.
    pub(crate) fn fleet() -> Self {
        let how = ["--nodes", "3", "--workers", "1", "--spares", "2"];
        Self::fresh("fleet", &how, KUBEADM)
    }

    /// `RESCUE_KIT_LIVE_PREFIX` begins the clusters' names where two checkouts are tested at the same time.
    fn fresh(kind: &str, how: &[&str], layout: Layout) -> Self {
        let is_small = SMALL.contains(&kind);
        let seats = if is_small { Taken::one() } else { Taken::all() };
        let kubernetes = std::env::var("RESCUE_KIT_KUBERNETES").ok();
        let version = kubernetes.iter().flat_map(|v| ["--kubernetes", v.as_str()]);
        let prefix = std::env::var("RESCUE_KIT_LIVE_PREFIX").unwrap_or_default();
        // What boots anew boots from the snapshot that was taken when it was made.
        for name in seats.numbers().iter().flat_map(|seat| clusters(*seat)) {
            lab(&["down", &format!("{prefix}{name}")]).ok();
        }
        let name = match seats.numbers() {
            [seat] => format!("{prefix}{}", of_seat(kind, *seat)),
            _ => format!("{prefix}{kind}"),
        };
        let up = [&["up", &name], how, &version.collect::<Vec<_>>()].concat();
        lab(&up).ok();
        Self {
            name,
            layout,
            _seats: seats,
        }
    }

    /// The name that the lab knows it by.
    pub(crate) fn name(&self) -> String {
        self.name.clone()
    }

    /// A command of the lab on this cluster: `expire`, `power-cycle`, ...
    pub(crate) fn lab(&self, verb: &str, rest: &[&str]) -> String {
        self.attempt(verb, rest).ok().stdout
    }

    /// A command of the lab that may fail.
    pub(crate) fn attempt(&self, verb: &str, rest: &[&str]) -> Ran {
        lab(&[&[verb, &self.name], rest].concat())
    }

    /// Carries a directory from one node to the same place on another, as a stick does.
    pub(crate) fn carry(&self, from: &str, directory: &str, to: &str) {
        let packed = self.shell(from, &format!("tar -C {directory} -c . | base64 -w0"));
        let unpack =
            format!("mkdir -p {directory}; echo {packed} | base64 -d | tar -C {directory} -x");
        self.shell(to, &unpack);
    }

    /// Runs a command in a node.
    pub(crate) fn exec(&self, node: &str, words: &[&str]) -> Ran {
        lab(&[&["exec", &self.name, node, "--"], words].concat())
    }

    /// Runs a line of shell in a node, which must succeed.
    pub(crate) fn shell(&self, node: &str, line: &str) -> String {
        self.exec(node, &["sh", "-euc", line]).ok().stdout
    }

    /// Runs rescue-kit in a node.
    pub(crate) fn kit(&self, node: &str, words: &[&str]) -> Ran {
        self.exec(node, &[&[BINARY], words].concat())
    }

    /// Runs rescue-kit in a node with a failure point set.
    pub(crate) fn faulty(&self, node: &str, point: &str, words: &[&str]) -> Ran {
        let point = format!("RESCUE_KIT_FAIL={point}");
        self.exec(node, &[&["env", &point, BINARY], words].concat())
    }

    /// Runs rescue-kit in a node with `--output json`, and says what it said.
    pub(crate) fn json(&self, node: &str, words: &[&str]) -> (i32, serde_json::Value) {
        let ran = self.kit(node, &[words, &["--output", "json"]].concat());
        let json = serde_json::from_str(&ran.stdout);
        (
            ran.code,
            json.unwrap_or_else(|error| panic!("{error}: {ran:?}")),
        )
    }

    /// The rescue as anybody would type it; it must end well.
    pub(crate) fn rescue(&self, node: &str) -> serde_json::Value {
        let (code, said) = self.json(node, &["run", "--yes"]);
        assert_eq!(code, 0, "{said:#}");
        said
    }

    /// kubectl as an administrator of a node.
    pub(crate) fn kubectl(&self, node: &str, words: &[&str]) -> Ran {
        let admin = self.layout.admin;
        let as_admin = ["kubectl", "--kubeconfig", admin, "--request-timeout=30s"];
        self.exec(node, &[&as_admin, words].concat())
    }

    /// etcdctl with a client's certificate of a node.
    pub(crate) fn etcdctl(&self, node: &str, words: &[&str]) -> Ran {
        let [ca, cert, key] = self.layout.etcd;
        let with = [
            "etcdctl",
            "--endpoints=https://127.0.0.1:2379",
            "--cacert",
            ca,
            "--cert",
            cert,
            "--key",
            key,
        ];
        self.exec(node, &[&with, words].concat())
    }

    /// Everybody works again, as others see it: an authenticated write is read back, etcd is healthy, ports serve their
    /// files, leases are renewed, the kubelet reports.
    pub(crate) fn assert_recovered(&self, node: &str) {
        let said = self.kubectl(node, &["get", "--raw", "/readyz"]).ok();
        assert_eq!(said.stdout, "ok");
        let value = format!("--from-literal=at={:?}", Instant::now());
        self.kubectl(node, &["create", "configmap", "recovered", &value])
            .ok();
        let read = self.kubectl(
            node,
            &["get", "configmap", "recovered", "-o", "jsonpath={.data.at}"],
        );
        assert_eq!(format!("--from-literal=at={}", read.ok().stdout), value);
        self.kubectl(node, &["delete", "configmap", "recovered"])
            .ok();
        self.etcdctl(node, &["endpoint", "health"]).ok();
        for (port, file) in self.layout.served {
            let served = self.served(node, port);
            assert_eq!(served, self.fingerprint(node, file), "port {port}");
        }
        // All three at once: a kubelet renews its own only every ten seconds.
        let leases = [
            ("kube-system", "kube-controller-manager"),
            ("kube-system", "kube-scheduler"),
            ("kube-node-lease", node),
        ];
        let before = leases.map(|(namespace, name)| self.lease(namespace, name, node).1);
        for ((namespace, name), before) in leases.into_iter().zip(before) {
            self.wait(&format!("renewal of the lease {namespace}/{name}"), || {
                self.lease(namespace, name, node).1 != before
            });
        }
    }

    /// The fingerprint of what a port serves, as openssl sees it.
    pub(crate) fn served(&self, node: &str, port: &str) -> String {
        // etcd's port for peers is on the address that the node has now.
        let address = if port == "2380" {
            let line = "ip -brief -4 addr show dev eth0 | awk '{ print $3 }' | cut -d/ -f1";
            self.shell(node, line).trim().to_owned()
        } else {
            "127.0.0.1".to_owned()
        };
        let line = format!(
            "openssl s_client -connect {address}:{port} </dev/null 2>/dev/null | openssl x509 -noout -fingerprint -sha256"
        );
        self.exec(node, &["sh", "-c", &line]).ok().stdout
    }

    pub(crate) fn fingerprint(&self, node: &str, file: &str) -> String {
        let line = format!("openssl x509 -in {file} -noout -fingerprint -sha256");
        self.shell(node, &line)
    }

    /// The address by which the other nodes know this one.
    pub(crate) fn ip(&self, node: &str) -> String {
        let info: serde_json::Value = serde_json::from_str(&self.lab("info", &[])).unwrap();
        let nodes = info["nodes"].as_array().unwrap();
        let found = nodes.iter().find(|known| known["name"] == node).unwrap();
        found["ip"].as_str().unwrap().to_owned()
    }

    /// The holder and the time of the last renewal of a lease.
    pub(crate) fn lease(&self, namespace: &str, name: &str, node: &str) -> (String, String) {
        let path = "jsonpath={.spec.holderIdentity} {.spec.renewTime}";
        let said = self
            .kubectl(node, &["get", "lease", name, "-n", namespace, "-o", path])
            .ok();
        let (holder, renewed) = said.stdout.split_once(' ').unwrap();
        (holder.to_owned(), renewed.to_owned())
    }

    /// Waits until the controller manager that leads has read the CA's key. It does so a moment after it took its lease, and
    /// dies if the key is not there.
    pub(crate) fn wait_for_signer(&self) {
        let signs = [
            "--server=https://127.0.0.1:10257",
            "--insecure-skip-tls-verify",
            "get",
            "--raw=/healthz?verbose",
        ];
        self.wait("controller that signs", || {
            let (holder, _) = self.lease("kube-system", "kube-controller-manager", "cp1");
            let leader = holder.split('_').next().unwrap();
            let said = self.kubectl(leader, &signs).stdout;
            said.contains("[+]certificatesigningrequest-signing-controller ok")
        });
    }

    /// The ids of running containers by name, as the runtime knows them.
    pub(crate) fn containers(&self, node: &str) -> BTreeMap<String, String> {
        let line = "for id in $(ctr -n k8s.io tasks ls | awk '$3 == \"RUNNING\" { print $1 }'); do
            echo \"$(ctr -n k8s.io containers info $id | sed -n 's/.*\"io.kubernetes.container.name\": \"\\(.*\\)\".*/\\1/p') $id\"
        done";
        // Without a runtime there are none to be seen.
        let listed = self.exec(node, &["sh", "-uc", line]).stdout;
        let pairs = listed.lines().filter_map(|line| line.split_once(' '));
        pairs
            .filter(|(name, _)| !name.is_empty())
            .map(|(name, id)| (name.to_owned(), id.to_owned()))
            .collect()
    }

    /// The sandboxes of the pods that run, by the names of their pods without that of the node. A controller that loses its
    /// lease ends by itself and is started again in the same one; a rescue removes the sandbox of what it restarts.
    pub(crate) fn sandboxes(&self, node: &str) -> BTreeMap<String, String> {
        let line = "for id in $(ctr -n k8s.io containers ls -q 'labels.\"io.cri-containerd.kind\"==sandbox'); do
            ctr -n k8s.io tasks ls | grep -q \"^$id .*RUNNING\" || continue
            echo \"$(ctr -n k8s.io containers info $id | sed -n 's/.*\"io.kubernetes.pod.name\": \"\\(.*\\)\".*/\\1/p') $id\"
        done";
        // Without a runtime there are none to be seen.
        let listed = self.exec(node, &["sh", "-uc", line]).stdout;
        let of_node = format!("-{node}");
        let pairs = listed.lines().filter_map(|line| line.split_once(' '));
        pairs
            .map(|(pod, id)| (pod.trim_end_matches(&of_node).to_owned(), id.to_owned()))
            .collect()
    }

    /// These pods read their files by themselves and were left alone; or they did not in time, and the journal says so.
    #[track_caller]
    pub(crate) fn assert_untouched(
        &self,
        node: &str,
        before: &BTreeMap<String, String>,
        names: &[&str],
    ) {
        let after = self.sandboxes(node);
        for name in names {
            assert!(before.contains_key(*name), "{name}: {before:?}");
            let stayed = before.get(*name) == after.get(*name);
            assert!(
                stayed || self.tells_of_a_late_reader(node),
                "{name} was restarted: {before:?} {after:?}"
            );
        }
    }

    /// Whether a process was restarted since it did not read its files by itself.
    pub(crate) fn tells_of_a_late_reader(&self, node: &str) -> bool {
        let line = "grep -q 'did not read its files' /var/lib/rescue-kit/runs/*/journal.jsonl";
        self.exec(node, &["sh", "-c", line]).code == 0
    }

    /// The start of the kubelet's process.
    pub(crate) fn kubelet(&self, node: &str) -> String {
        let line = "systemctl show kubelet -p MainPID -p ExecMainStartTimestampMonotonic";
        self.shell(node, line)
    }

    /// Whether somebody takes connections on a port of this host.
    pub(crate) fn listens(&self, node: &str, port: &str) -> bool {
        let line = format!("exec 3<>/dev/tcp/127.0.0.1/{port}");
        self.exec(node, &["bash", "-c", &line]).code == 0
    }

    /// The content of each file that a rescue may change, by its path.
    pub(crate) fn hashes(&self, node: &str) -> BTreeMap<String, String> {
        let line = format!("find {WRITTEN} -type f ! -name '.rescue-kit*' -exec sha256sum {{}} +");
        let listed = self.shell(node, &line);
        let pairs = listed.lines().filter_map(|line| line.split_once("  "));
        pairs
            .map(|(hash, path)| (path.to_owned(), hash.to_owned()))
            .collect()
    }

    /// Everything about what a rescue may change: content, mode, owner, kind, target.
    pub(crate) fn listing(&self, node: &str) -> BTreeMap<String, String> {
        let mut all = self.hashes(node);
        let line = format!("find {WRITTEN} -printf '%p\\t%y %m %U:%G %l\\n'");
        for line in self.shell(node, &line).lines() {
            let (path, about) = line.split_once('\t').unwrap();
            let entry = all.entry(path.to_owned()).or_default();
            *entry = format!("{entry} {about}");
        }
        all
    }

    /// The API server refuses or does not answer the administrator.
    pub(crate) fn assert_down(&self, node: &str) {
        let said = self.kubectl(node, &["get", "--raw", "/readyz"]);
        assert_ne!(said.code, 0, "the patient is not ill: {said:?}");
    }

    /// Waits for a condition, as long as a busy machine may take.
    pub(crate) fn wait(&self, what: &str, condition: impl Fn() -> bool) {
        self.wait_within(180, what, condition);
    }

    /// Waits for a condition that is promised within so many seconds.
    pub(crate) fn wait_within(&self, seconds: u64, what: &str, condition: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(seconds);
        while !condition() {
            assert!(
                Instant::now() < end,
                "{}: no {what} within {seconds} s",
                self.name
            );
        }
    }
}

impl Ran {
    /// Itself, if it succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.exits(0)
    }

    /// Itself, if it returned this.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        let Self { stdout, stderr, .. } = &self;
        assert_eq!(self.code, code, "\n{stdout}\n{stderr}");
        self
    }

    /// Itself, if it said this.
    #[track_caller]
    pub(crate) fn says(self, what: &str) -> Self {
        let said = format!("{}\n{}", self.stdout, self.stderr);
        // Texts are wrapped for people.
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            words(&said).contains(&words(what)),
            "not {what:?} in {said}"
        );
        self
    }
}

/// The clusters that somebody may have left in a seat.
fn clusters(seat: usize) -> Vec<String> {
    let small = SMALL.iter().map(|kind| of_seat(kind, seat));
    let large = LARGE
        .iter()
        .filter(|_| seat == 0)
        .map(|kind| (*kind).to_owned());
    small.chain(large).collect()
}

/// The name of a small cluster in a seat.
fn of_seat(kind: &str, seat: usize) -> String {
    match seat {
        0 => kind.to_owned(),
        seat => format!("{kind}{}", seat + 1),
    }
}

fn lab(words: &[&str]) -> Ran {
    assert!(Path::new(LAB).exists(), "{LAB} is missing");
    let output = Command::new(LAB)
        .args(words)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    ran(&output)
}

fn ran(output: &Output) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
