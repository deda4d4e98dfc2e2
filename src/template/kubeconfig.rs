//! A kubeconfig that starts from nothing, in kubeadm's form.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::{KUBECONFIG, KUBECONFIG_TOKEN, fill};
use crate::pki::token::Token;

/// What it says.
pub struct NewKubeconfig<'a> {
    /// The name of the cluster.
    pub cluster: &'a str,
    /// The server's URL.
    pub server: &'a str,
    /// The CA's certificates, PEM.
    pub ca: &'a [u8],
    /// The name of the user; the context is `USER@CLUSTER`.
    pub user: &'a str,
    /// What it logs in with.
    pub by: Credential<'a>,
}

/// What a user logs in with.
pub enum Credential<'a> {
    /// A client certificate and its key, PEM.
    Certificate(&'a [u8], &'a [u8]),
    /// A token.
    Token(&'a Token),
}

impl NewKubeconfig<'_> {
    /// The text.
    pub fn text(&self) -> Zeroizing<String> {
        let context = scalar(&format!("{}@{}", self.user, self.cluster));
        let plain = [
            ("cluster", scalar(self.cluster)),
            ("server", scalar(self.server)),
            ("ca", STANDARD.encode(self.ca)),
            ("user", scalar(self.user)),
            ("context", context),
        ];
        let mut holes: Vec<(&str, &str)> = plain.iter().map(|(n, v)| (*n, v.as_str())).collect();
        match &self.by {
            Credential::Certificate(cert, key) => {
                let cert = STANDARD.encode(cert);
                let key = Zeroizing::new(STANDARD.encode(key));
                holes.extend([("cert", cert.as_str()), ("key", key.as_str())]);
                fill(KUBECONFIG, &holes)
            },
            Credential::Token(token) => {
                holes.push(("token", token.expose()));
                fill(KUBECONFIG_TOKEN, &holes)
            },
        }
    }
}

/// Text as YAML: as it is where no reader could take it for anything else, else as JSON, which is YAML, too.
fn scalar(text: &str) -> String {
    let words = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:/@".contains(c);
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic());
    let is_plain = begins
        && !text.ends_with(':')
        && text.chars().all(plain)
        && !words.contains(&text.to_ascii_lowercase().as_str());
    if is_plain {
        text.to_owned()
    } else {
        serde_json::Value::from(text).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::kubeconfig::{Bearer, Kubeconfig, Material};

    #[test]
    fn whatever_the_names_are_they_are_read_as_they_were_written() {
        for name in [
            "kubernetes-admin",
            "a: b",
            "yes",
            "12",
            "1e5",
            "{key}",
            "ä\"\n- x",
            "a:",
        ] {
            let made = NewKubeconfig {
                cluster: name,
                server: "https://[fd00::1]:6443",
                ca: b"ca",
                user: name,
                by: Credential::Certificate(b"cert", b"key"),
            };
            let read = Kubeconfig::parse(made.text().as_bytes()).unwrap();
            assert_eq!((read.user.as_str(), read.cluster.as_str()), (name, name));
            assert_eq!(read.context, format!("{name}@{name}"));
            assert_eq!(read.server.as_deref(), Some("https://[fd00::1]:6443"));
            assert!(matches!(&read.key, Material::Embedded(key) if key.as_slice() == b"key"));
        }
    }

    #[test]
    fn a_token_stands_in_place_of_a_certificate() {
        let token = Token::new("a.b.c").unwrap();
        let made = NewKubeconfig {
            cluster: "kubernetes",
            server: "https://api:6443",
            ca: b"ca",
            user: "robot",
            by: Credential::Token(&token),
        };
        let read = Kubeconfig::parse(made.text().as_bytes()).unwrap();
        assert!(matches!(&read.bearer, Bearer::Embedded(text) if text.as_str() == "a.b.c"));
        assert!(matches!(read.cert, Material::Absent));
    }
}
