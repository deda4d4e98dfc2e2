//! The CA's key is elsewhere: requests go out, are signed by us, by openssl and by cfssl, and answers come in.

mod answers;
mod round_trip;
mod sealed;
mod signing;

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::harness::{self, Node, Ran, lab_program, other};

/// The authorities of a kubeadm node: the id, and its files below `/etc/kubernetes/pki`.
const AUTHORITIES: [(&str, &str); 3] = [
    ("ca", "ca"),
    ("etcd-ca", "etcd/ca"),
    ("front-proxy-ca", "front-proxy-ca"),
];

/// Every credential that expires in the lab's trees.
const DUE: usize = 12;

/// A node without CA keys, a stick, and the machine that has the keys.
struct Trip {
    node: Node,
    desk: TempDir,
}

impl Trip {
    /// An expired tree of the lab whose CA keys are on the CA's machine.
    fn of(case: &str) -> Self {
        let node = Node::real(case, "expired");
        let desk = TempDir::new().unwrap();
        for (id, file) in AUTHORITIES {
            let at = |ending: &str| format!("/etc/kubernetes/pki/{file}.{ending}");
            // With external etcd there is no such CA here.
            if !node.path(&at("key")).exists() {
                continue;
            }
            fs::copy(node.path(&at("crt")), desk.path().join(format!("{id}.crt"))).unwrap();
            fs::copy(node.path(&at("key")), desk.path().join(format!("{id}.key"))).unwrap();
            node.remove(&at("key"));
        }
        Self { node, desk }
    }

    /// As [`Trip::of`], with requests on the stick for everything that is due.
    fn generated(case: &str) -> Self {
        let trip = Self::of(case);
        trip.generate(&[]).exits(0);
        trip
    }

    fn generate(&self, words: &[&str]) -> Ran {
        let stick = self.stick();
        let out = ["csr", "generate", "--out", stick.to_str().unwrap()];
        self.node.run(&[&out, words].concat())
    }

    /// Signs the stick with one CA of the desk.
    fn sign(&self, ca: &str, words: &[&str]) -> Ran {
        self.sign_folder(&self.stick(), ca, words)
    }

    fn sign_folder(&self, folder: &Path, ca: &str, words: &[&str]) -> Ran {
        let (cert, key) = (
            self.desk(&format!("{ca}.crt")),
            self.desk(&format!("{ca}.key")),
        );
        let folder = folder.to_str().unwrap();
        let start = ["csr", "sign", folder, "--ca-cert", &cert, "--ca-key", &key];
        harness::run(&[&start, words].concat(), &[])
    }

    fn sign_all(&self) {
        for (ca, _) in AUTHORITIES {
            self.sign(ca, &[]).exits(0);
        }
    }

    fn install(&self, words: &[&str]) -> Ran {
        let stick = self.stick();
        let start = ["csr", "install", stick.to_str().unwrap(), "--yes"];
        self.node.run(&[&start, words].concat())
    }

    fn stick(&self) -> PathBuf {
        self.desk.path().join("stick")
    }

    /// A file on the stick.
    fn on_stick(&self, name: &str) -> PathBuf {
        self.stick().join(name)
    }

    /// A file on the CA's machine.
    fn desk(&self, name: &str) -> String {
        self.desk.path().join(name).to_str().unwrap().to_owned()
    }

    fn manifest(&self) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.on_stick("manifest.json")).unwrap()).unwrap()
    }

    /// Changes the manifest on the stick.
    fn forge(&self, change: impl FnOnce(&mut serde_json::Value)) {
        let mut manifest = self.manifest();
        change(&mut manifest);
        fs::write(self.on_stick("manifest.json"), manifest.to_string()).unwrap();
    }

    /// Runs openssl on the CA's machine.
    fn openssl(&self, words: &[&str]) -> Ran {
        other("openssl", words, self.desk.path()).exits(0)
    }

    /// Makes `other.crt` and `other.key` on the CA's machine, a CA of its own.
    fn other_authority(&self, subject: &str) {
        let words = "req -x509 -newkey rsa:2048 -nodes -keyout other.key -out other.crt -days 300";
        let words: Vec<&str> = words.split(' ').chain(["-subj", subject]).collect();
        self.openssl(&words);
    }

    /// Signs one request by `openssl ca`, which lets everything be said otherwise than it was asked for.
    fn answer_by_openssl(&self, ca: &str, id: &str, words: &[&str], extensions: Option<&str>) {
        fs::write(self.desk.path().join("ca.cnf"), CONFIG).unwrap();
        fs::write(self.desk.path().join("index.txt"), "").unwrap();
        let (request, answer) = (format!("stick/{id}.csr"), format!("stick/{id}.crt"));
        let (cert, key) = (format!("{ca}.crt"), format!("{ca}.key"));
        let mut all = vec![
            "ca",
            "-batch",
            "-notext",
            "-rand_serial",
            "-config",
            "ca.cnf",
            "-cert",
            &cert,
            "-keyfile",
            &key,
            "-in",
            &request,
            "-out",
            &answer,
        ];
        if extensions.is_none() {
            all.extend(["-name", "copying"]);
        }
        if !words.contains(&"-enddate") {
            all.extend(["-days", "90"]);
        }
        if let Some(text) = extensions {
            fs::write(self.desk.path().join("ext.cnf"), text).unwrap();
            all.extend(["-extfile", "ext.cnf"]);
        }
        all.extend(words);
        self.openssl(&all);
    }

    /// What openssl prints of a certificate or request on the stick.
    fn shown(&self, kind: &str, name: &str, words: &[&str]) -> String {
        let name = format!("stick/{name}");
        self.openssl(&[&[kind, "-in", &name, "-noout"], words].concat())
            .stdout
    }
}

/// `openssl ca` with and without the extensions of the request: what stands before the first section is said for both.
const CONFIG: &str = "
serial = serial
database = index.txt
new_certs_dir = .
default_md = sha256
policy = any
preserve = yes
unique_subject = no
[ca]
default_ca = plain
[plain]
copy_extensions = none
[copying]
copy_extensions = copyall
[any]
countryName = optional
organizationName = optional
organizationalUnitName = optional
commonName = optional
";

/// Go's verdict on a leaf below an authority.
fn assert_judged(ca: &Path, cert: &Path, usage: &str) {
    let words = [
        "verify",
        "-ca",
        ca.to_str().unwrap(),
        "-cert",
        cert.to_str().unwrap(),
        "-usage",
        usage,
    ];
    let said = other(lab_program("judge"), &words, Path::new("/"))
        .exits(0)
        .stdout;
    assert_eq!(said, "ok\n", "{}", cert.display());
}
