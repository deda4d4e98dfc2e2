//! What clients outside of the nodes see: the lab's meter, beside the rescue.

use std::io::Read;
use std::process::{Child, Command, Stdio};

use crate::control_plane::{ControlPlane, LAB};

/// A meter that runs.
pub(crate) struct Meter(Child);

impl Meter {
    /// Starts with the administrator's kubeconfig of a node, which it reads again when that changes.
    pub(crate) fn start(lab: &ControlPlane, admin_of: &str, nodes: &[&str]) -> Self {
        let info: serde_json::Value = serde_json::from_str(&lab.lab("info", &[])).unwrap();
        let root = lab.lab("root", &[admin_of]);
        let mut words = vec![
            "net".to_owned(),
            info["name"].as_str().unwrap().to_owned(),
            "--".to_owned(),
            format!("{}/meter", info["tools"].as_str().unwrap()),
            "-watch-leases".to_owned(),
            format!("-kubeconfig={}/etc/kubernetes/admin.conf", root.trim()),
        ];
        words.extend(
            nodes
                .iter()
                .map(|node| format!("-endpoint=https://{}:6443", lab.ip(node))),
        );
        let child = Command::new(LAB)
            .args(&words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// Ends it, and says what it saw.
    pub(crate) fn stop(mut self) -> serde_json::Value {
        let pid = self.0.id().to_string();
        let ended = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(ended.success());
        let mut said = String::new();
        self.0
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        self.0.wait().unwrap();
        serde_json::from_str(&said).unwrap()
    }
}

impl Drop for Meter {
    /// A test that failed has not stopped it; it would outlive the tests, and keep what they print open.
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            self.0.kill().unwrap_or_default();
            drop(self.0.wait());
        }
    }
}
