//! The keys of the CAs are elsewhere: requests leave the node, answers come back, the node comes back.

use std::fmt::Write as _;

use crate::control_plane::ControlPlane;
use crate::expired::assert_nothing_to_do;
use crate::guided::{answer, guide};

/// The authorities of a node: their files below `/etc/kubernetes/pki`, and in the office while their keys are there.
const AUTHORITIES: [&str; 3] = ["ca", "etcd/ca", "front-proxy-ca"];

/// What travels between the node and the office.
const STICK: &str = "/root/stick";

/// Extensions of answers that are not copied from the request.
const SERVER: &str = "keyUsage=critical,digitalSignature\\nextendedKeyUsage=serverAuth\\n";
const CLIENT: &str = "keyUsage=critical,digitalSignature\\nextendedKeyUsage=clientAuth\\n";

/// `openssl ca` with and without the extensions of the request.
const CONFIG: &str = "
serial = serial
database = index.txt
new_certs_dir = .
default_md = sha256
policy = any
preserve = yes
unique_subject = no
default_days = 90
[ca]
default_ca = plain
[plain]
copy_extensions = none
[copying]
copy_extensions = copyall
[any]
organizationName = optional
commonName = optional
";

#[test]
fn a_dead_node_without_ca_keys_comes_back_by_requests() {
    let lab = ControlPlane::one();
    lab.lab("expire", &[]);
    lab.lab("power-cycle", &[]);
    take_keys_away(&lab);
    lab.kit("cp1", &["run", "--yes"]).exits(5).says("RK0104");
    let missing = "RK0021 /etc/kubernetes/pki/ca.key is missing: kube-controller-manager is told to sign with it";
    lab.kit("cp1", &["inspect"]).exits(3).says(missing);
    sign_nothing(&lab);
    lab.kit("cp1", &["csr", "generate", "--out", STICK]).ok();
    let none = lab.shell("cp1", "grep -rl 'PRIVATE KEY' /root/stick || true");
    assert_eq!(none, "", "no key leaves the node");
    // The etcd and front-proxy CAs sign by this tool, the cluster's CA by openssl.
    for ca in &AUTHORITIES[1..] {
        sign(&lab, ca);
    }
    let line = "cd /root/stick; for csr in *.csr; do
        crt=${csr%.csr}.crt; test -e $crt || openssl x509 -req -in $csr -days 365 -copy_extensions copyall \\
            -CA /etc/kubernetes/pki/ca.crt -CAkey /root/office/ca.key -set_serial 0x$(openssl rand -hex 15) -out $crt 2>&1
    done";
    lab.shell("cp1", line);
    lab.assert_down("cp1");
    let (code, said) = lab.json("cp1", &["csr", "install", "/root/stick", "--yes"]);
    assert_eq!(code, 0, "{said:#}");
    lab.assert_recovered("cp1");
    assert_nothing_to_do(&lab, "cp1");
}

#[test]
fn a_dead_node_of_which_one_ca_is_elsewhere_is_led_back() {
    let lab = ControlPlane::one();
    lab.lab("expire", &[]);
    lab.lab("power-cycle", &[]);
    take_keys_away(&lab);
    for ca in &AUTHORITIES[1..] {
        let back = format!("mv /root/office/{ca}.key /etc/kubernetes/pki/{ca}.key");
        lab.shell("cp1", &back);
    }
    sign_nothing(&lab);
    let way = "1 have 7 certificates signed where the CA's key is";
    let answers = [
        (way, "1"),
        ("with their answers: folder [", STICK),
        ("operator [", "A. Operator"),
        ("ticket that allows it [none]", ""),
        ("Apply this plan?", "2"),
    ];
    let mut terminal = guide(&lab, "cp1");
    answer(&mut terminal, &answers[..2]);
    assert_eq!(terminal.exit(), 0, "{}", terminal.everything());
    sign(&lab, AUTHORITIES[0]);
    let mut terminal = guide(&lab, "cp1");
    answer(&mut terminal, &answers);
    assert_eq!(terminal.exit(), 0, "{}", terminal.everything());
    lab.assert_recovered("cp1");
    assert_nothing_to_do(&lab, "cp1");
}

#[test]
fn a_dead_node_whose_kubelet_is_left_out_gets_the_rest_and_nobody_waits() {
    let lab = ControlPlane::one();
    lab.lab("expire", &[]);
    lab.lab("power-cycle", &[]);
    lab.shell("cp1", "mv /etc/kubernetes/pki/ca.key /root/");
    let leaves = "kubelet-client,apiserver,apiserver-kubelet-client,controller-manager.conf,scheduler.conf,admin.conf,super-admin.conf";
    let (code, said) = lab.json("cp1", &["run", "--skip", leaves, "--yes"]);
    assert_eq!(code, 0, "{said:#}");
    assert_eq!(said["processes"].as_array().map(Vec::len), Some(0));
    let next = &said["next"][0];
    assert_eq!(next["consumer"], "kubelet");
    assert_eq!(
        next["why"],
        "would exit, since kubelet-client is left out; renew that, here or where its CA's key is"
    );
    lab.shell("cp1", "mv /root/ca.key /etc/kubernetes/pki/");
    let (code, said) = lab.json("cp1", &["run", "--yes"]);
    assert_eq!(code, 0, "{said:#}");
    lab.assert_recovered("cp1");
    assert_nothing_to_do(&lab, "cp1");
}

#[test]
fn wrong_answers_leave_a_working_node_alone_and_right_ones_renew_it() {
    let lab = ControlPlane::one();
    lab.wait_for_signer();
    let signing = lab.containers("cp1")["kube-controller-manager"].clone();
    take_keys_away(&lab);
    sign_nothing(&lab);
    lab.wait("controller manager that signs nothing", || {
        let now = lab.containers("cp1");
        now.get("kube-controller-manager")
            .is_some_and(|id| *id != signing)
    });
    below_an_intermediate(&lab);
    lab.kit("cp1", &["csr", "generate", "--all", "--out", STICK])
        .ok();
    let work = "cd /root/office; openssl req -new -newkey ed25519 -nodes -keyout thief.key -subj /CN=system:kube-scheduler -out thief.csr
        openssl req -x509 -newkey rsa:2048 -nodes -keyout company.key -subj '/CN=Company CA' -days 300 -out company.crt";
    lab.shell("cp1", &format!("({work}) 2>&1"));
    let files = lab.listing("cp1");
    let processes = (lab.sandboxes("cp1"), lab.kubelet("cp1"));
    for (answer, sentence) in wrong() {
        let file = answer.file();
        answer.make(&lab);
        lab.kit("cp1", &["csr", "install", STICK, "--yes"])
            .exits(5)
            .says(&format!("critical RK0801 {file} {sentence}"));
        assert_eq!(lab.listing("cp1"), files, "{file} {sentence}");
        lab.shell("cp1", &format!("rm {STICK}/{file}"));
    }
    lab.shell("cp1", "test ! -e /var/lib/rescue-kit/runs");
    assert_eq!((lab.sandboxes("cp1"), lab.kubelet("cp1")), processes);
    let served = lab.served("cp1", "6443");
    answer_rightly(&lab);
    let (code, said) = lab.json("cp1", &["csr", "install", STICK, "--yes"]);
    assert_eq!(code, 0, "{said:#}");
    assert_ne!(lab.served("cp1", "6443"), served);
    lab.assert_recovered("cp1");
    assert_nothing_to_do(&lab, "cp1");
}

/// An answer that the office makes with `openssl ca`.
struct Answer {
    id: &'static str,
    request: &'static str,
    ca: &'static str,
    words: &'static str,
    /// Copied from the request, if there are none.
    extensions: Option<String>,
}

impl Answer {
    /// As it was asked for.
    fn to(id: &'static str) -> Self {
        Self {
            id,
            request: "",
            ca: "ca",
            words: "",
            extensions: None,
        }
    }

    fn file(&self) -> String {
        format!("{}.crt", self.id)
    }

    fn make(&self, lab: &ControlPlane) {
        let Self { id, ca, words, .. } = self;
        let request = match self.request {
            "" => format!("{STICK}/{id}.csr"),
            other => other.to_owned(),
        };
        let mut line = "cd /root/office; : >index.txt; ".to_owned();
        let how = if let Some(text) = &self.extensions {
            write!(line, "printf '{text}' >ext.cnf; ").unwrap();
            "-extfile ext.cnf"
        } else {
            "-name copying"
        };
        write!(
            line,
            "openssl ca -batch -notext -rand_serial -config ca.cnf -cert {ca}.crt -keyfile {ca}.key \
             -in {request} {how} {words} -out {STICK}/{id}.crt 2>&1"
        )
        .unwrap();
        lab.shell("cp1", &line);
    }
}

/// Answers that are wrong in each way, and why each is refused.
fn wrong() -> Vec<(Answer, &'static str)> {
    let scheduler = || Answer::to("scheduler.conf");
    let with = |extensions: &str| Some(extensions.to_owned());
    vec![
        (
            Answer {
                request: "thief.csr",
                extensions: with(CLIENT),
                ..scheduler()
            },
            "carries another public key than its request",
        ),
        (
            Answer {
                extensions: Some(format!("{SERVER}subjectAltName=DNS:cp1,DNS:kubernetes\\n")),
                ..Answer::to("apiserver")
            },
            "lacks the names kubernetes.default, kubernetes.default.svc, kubernetes.default.svc.cluster.local, 10.96.0.1, 10.88.0.11",
        ),
        (
            Answer {
                words: "-subj /CN=scheduler",
                ..scheduler()
            },
            "is for `scheduler` (CN) instead of `system:kube-scheduler`",
        ),
        (
            Answer {
                words: "-subj /O=system:masters/CN=kubernetes-admin",
                ..Answer::to("admin.conf")
            },
            "is in the groups (O) `system:masters` instead of `kubeadm:cluster-admins`",
        ),
        (
            Answer {
                extensions: with(SERVER),
                ..scheduler()
            },
            "may not be used for clientAuth",
        ),
        (
            Answer {
                words: "-startdate 20200101000000Z -enddate 20210101000000Z",
                ..scheduler()
            },
            "expired at 2021-01-01T00:00:00Z",
        ),
        (
            Answer {
                ca: "company",
                ..scheduler()
            },
            "was signed by another authority, CN=Company CA, instead of CN=kubernetes",
        ),
        (
            Answer {
                ca: "sub",
                ..Answer::to("apiserver-kubelet-client")
            },
            "holds the leaf alone, and the certificate of its issuer CN=Issuing CA is needed, too",
        ),
    ]
}

/// Signs by this tool what an authority is asked for.
fn sign(lab: &ControlPlane, ca: &str) {
    let (cert, key) = (
        format!("/etc/kubernetes/pki/{ca}.crt"),
        format!("/root/office/{ca}.key"),
    );
    let words = ["csr", "sign", STICK, "--ca-cert", &cert, "--ca-key", &key];
    lab.kit("cp1", &words).ok();
}

/// Everything is signed as it was asked for: by an intermediate with its chain, by this tool, and the rest by cfssl.
fn answer_rightly(lab: &ControlPlane) {
    Answer {
        ca: "sub",
        ..Answer::to("apiserver-kubelet-client")
    }
    .make(lab);
    let chain = format!("cat /root/office/sub.crt >>{STICK}/apiserver-kubelet-client.crt");
    lab.shell("cp1", &chain);
    for ca in &AUTHORITIES[1..] {
        sign(lab, ca);
    }
    let info: serde_json::Value = serde_json::from_str(&lab.lab("info", &[])).unwrap();
    let cfssl = format!("{}/cfssl", info["tools"].as_str().unwrap());
    let line = format!(
        "cd {STICK}; for csr in *.csr; do
            id=${{csr%.csr}}; test -e $id.crt && continue
            case $id in apiserver) profile=server ;; *) profile=client ;; esac
            {cfssl} sign -loglevel 4 -ca /root/office/ca.crt -ca-key /root/office/ca.key -config /root/office/cfssl.json \
                -profile $profile $csr | {cfssl}json -bare /root/office/answer
            cp /root/office/answer.pem $id.crt; echo $id
        done"
    );
    let by_cfssl = lab.shell("cp1", &line);
    assert!(by_cfssl.contains("apiserver\n") && by_cfssl.contains("kubelet-client\n"));
}

/// Moves the keys of the node's authorities into the office, which knows their certificates and how to sign.
fn take_keys_away(lab: &ControlPlane) {
    let profile = |usage: &str| {
        let usages = ["digital signature", "key encipherment", usage];
        serde_json::json!({ "usages": usages, "expiry": "2160h" })
    };
    let cfssl = serde_json::json!({ "signing": { "profiles": {
        "server": profile("server auth"),
        "client": profile("client auth"),
    } } });
    let mut line = "mkdir -p /root/office/etcd; cd /root/office; ".to_owned();
    for ca in AUTHORITIES {
        let at = format!("/etc/kubernetes/pki/{ca}");
        write!(line, "mv {at}.key {ca}.key; cp {at}.crt {ca}.crt; ").unwrap();
    }
    write!(
        line,
        "echo '{CONFIG}' >ca.cnf; echo '{cfssl}' >cfssl.json; echo 01 >serial"
    )
    .unwrap();
    lab.shell("cp1", &line);
}

/// The manifest as kubeadm writes it where the CA is external.
fn sign_nothing(lab: &ControlPlane) {
    let manifest = "/etc/kubernetes/manifests/kube-controller-manager.yaml";
    lab.shell("cp1", &format!("sed -i '/--cluster-signing-/d' {manifest}"));
}

/// One certificate is below an intermediate of the cluster's CA and has that one in its file.
fn below_an_intermediate(lab: &ControlPlane) {
    let line = format!(
        "cd /root/office; at=/etc/kubernetes/pki/apiserver-kubelet-client
        openssl req -new -newkey rsa:2048 -nodes -keyout sub.key -subj '/CN=Issuing CA' -out sub.csr 2>&1
        printf 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n' >sub.ext
        openssl x509 -req -in sub.csr -CA ca.crt -CAkey ca.key -set_serial 4711 -days 300 -extfile sub.ext -out sub.crt 2>&1
        openssl req -new -key $at.key -subj /O=kubeadm:cluster-admins/CN=kube-apiserver-kubelet-client -out leaf.csr 2>&1
        printf '{CLIENT}authorityKeyIdentifier=keyid\n' >leaf.ext
        openssl x509 -req -in leaf.csr -CA sub.crt -CAkey sub.key -set_serial 4712 -days 200 -extfile leaf.ext -out leaf.crt 2>&1
        cat leaf.crt sub.crt >$at.crt"
    );
    lab.shell("cp1", &line);
}
