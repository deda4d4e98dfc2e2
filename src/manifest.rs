//! Flags: read from static pods' manifests, shell assignments and YAML configuration; of a manifest, paths can be replaced.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Flags in the order in which they were found, values as the host sees them.
pub type Flags = Vec<(String, String)>;

#[derive(Deserialize)]
struct Pod {
    #[serde(default)]
    metadata: Metadata,
    spec: Spec,
}

#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct Spec {
    #[serde(default)]
    containers: Vec<Container>,
    #[serde(default)]
    volumes: Vec<Volume>,
}

#[derive(Deserialize)]
struct Container {
    #[serde(default)]
    image: String,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default, rename = "volumeMounts")]
    mounts: Vec<Mount>,
}

#[derive(Deserialize)]
struct Mount {
    name: String,
    #[serde(rename = "mountPath")]
    path: String,
}

#[derive(Deserialize)]
struct Volume {
    name: String,
    #[serde(default, rename = "hostPath")]
    host: Option<HostPath>,
}

#[derive(Deserialize)]
struct HostPath {
    path: String,
    #[serde(default, rename = "type")]
    kind: String,
}

/// What a static pod needs from its node to start.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Needs {
    /// The pod's name, without the node's.
    pub name: String,
    /// The images of its containers.
    pub images: Vec<String>,
    /// Paths of the node that must exist as regular files.
    pub files: Vec<String>,
    /// Paths of the node that must exist as directories.
    pub directories: Vec<String>,
}

/// What a static pod needs from its node to start.
///
/// # Errors
///
/// Why the text is no pod, as a sentence fragment.
pub fn pod_needs(text: &[u8]) -> Result<Needs, String> {
    let pod: Pod = parse(text)?;
    let hosts = pod
        .spec
        .volumes
        .into_iter()
        .filter_map(|volume| volume.host);
    let (mut files, mut directories) = (Vec::new(), Vec::new());
    for host in hosts {
        match host.kind.as_str() {
            "File" => files.push(host.path),
            "Directory" => directories.push(host.path),
            // Made by the kubelet, or whatever is there.
            _ => {},
        }
    }
    let images = pod
        .spec
        .containers
        .into_iter()
        .map(|container| container.image);
    Ok(Needs {
        name: pod.metadata.name,
        images: images.filter(|image| !image.is_empty()).collect(),
        files,
        directories,
    })
}

/// The flags of a static pod's first container; paths below a mount are said as the host says them.
///
/// # Errors
///
/// Why the text is no pod, as a sentence fragment.
pub fn pod_flags(text: &[u8]) -> Result<Flags, String> {
    let pod: Pod = parse(text)?;
    let Some(container) = pod.spec.containers.first() else {
        return Err("names no container".to_owned());
    };
    let hosts: BTreeMap<&str, &str> = pod
        .spec
        .volumes
        .iter()
        .filter_map(|v| {
            v.host
                .as_ref()
                .map(|host| (v.name.as_str(), host.path.as_str()))
        })
        .collect();
    let mounts: Vec<(&str, &str)> = container
        .mounts
        .iter()
        .filter_map(|m| {
            hosts
                .get(m.name.as_str())
                .map(|host| (m.path.as_str(), *host))
        })
        .collect();
    let words = container
        .command
        .iter()
        .chain(&container.args)
        .map(String::as_str);
    let flags = flags(words.collect::<Vec<_>>().as_slice());
    Ok(flags
        .into_iter()
        .map(|(name, value)| (name, on_host(&value, &mounts)))
        .collect())
}

/// A static pod's manifest whose flags name other files, said as the host sees them, in the directories that they name now, or
/// are taken out. All other bytes stay.
///
/// # Errors
///
/// Why it cannot be edited, as a sentence fragment.
pub fn with_flags(
    text: &[u8],
    values: &BTreeMap<String, Option<PathBuf>>,
) -> Result<String, String> {
    let mut new = String::from_utf8(text.to_vec()).map_err(|_| "is not UTF-8".to_owned())?;
    for (flag, path) in values {
        match path {
            Some(path) => rename(&mut new, flag, path)?,
            None => take_out(&mut new, flag)?,
        }
    }
    let read = pod_flags(new.as_bytes())?;
    for (flag, path) in values {
        let said = read.iter().find(|(name, _)| name == flag);
        let said = said.map(|(_, value)| PathBuf::from(value));
        if said != *path {
            return Err(format!("says --{flag} in a way that cannot be edited"));
        }
    }
    Ok(new)
}

/// Gives the file that a flag names another name in the same directory.
fn rename(text: &mut String, flag: &str, path: &Path) -> Result<(), String> {
    let start = value_of(text, flag)?;
    let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | ']');
    let length = text[start..].find(ends).unwrap_or(text.len() - start);
    let inside = Path::new(&text[start..start + length]);
    let name = path.file_name().unwrap_or(path.as_os_str());
    let value = inside.with_file_name(name).display().to_string();
    text.replace_range(start..start + length, &value);
    Ok(())
}

/// Takes out the line that is a flag and nothing else.
fn take_out(text: &mut String, flag: &str) -> Result<(), String> {
    let value = value_of(text, flag)?;
    let start = text[..value].rfind('\n').map_or(0, |end| end + 1);
    let end = text[value..]
        .find('\n')
        .map_or(text.len(), |end| value + end + 1);
    let opens = format!("- --{flag}=");
    if !text[start..end].trim_start().starts_with(&opens) {
        return Err(format!("does not say --{flag} on a line of its own"));
    }
    text.replace_range(start..end, "");
    Ok(())
}

/// Where the value of a flag begins.
fn value_of(text: &str, flag: &str) -> Result<usize, String> {
    let opens = format!("--{flag}=");
    let mut starts = text.match_indices(&opens).map(|(at, _)| at + opens.len());
    match (starts.next(), starts.next()) {
        (Some(start), None) => Ok(start),
        _ => Err(format!("does not say --{flag}=FILE once")),
    }
}

/// The flags inside the values of shell assignments (`KUBELET_KUBEADM_ARGS="--a=b --c d"`).
pub fn env_flags(text: &[u8]) -> Flags {
    let text = String::from_utf8_lossy(text);
    let values = text.lines().filter_map(|line| line.trim().split_once('='));
    let words: Vec<&str> = values
        .flat_map(|(_, value)| value.trim_matches(['"', '\'']).split_ascii_whitespace())
        .collect();
    flags(&words)
}

/// The scalars of a YAML mapping; those of inner mappings with their keys joined by dots.
///
/// # Errors
///
/// Why the text is no YAML mapping, as a sentence fragment.
pub fn config_flags(text: &[u8]) -> Result<Flags, String> {
    let map: serde_json::Map<String, serde_json::Value> = parse(text)?;
    let mut flags = Vec::new();
    scalars("", map, &mut flags);
    Ok(flags)
}

fn scalars(prefix: &str, map: serde_json::Map<String, serde_json::Value>, flags: &mut Flags) {
    for (key, value) in map {
        let name = format!("{prefix}{key}");
        match value {
            serde_json::Value::String(text) => flags.push((name, text)),
            serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {
                flags.push((name, value.to_string()));
            },
            serde_json::Value::Object(inner) => scalars(&format!("{name}."), inner, flags),
            serde_json::Value::Array(_) | serde_json::Value::Null => {},
        }
    }
}

fn parse<T: serde::de::DeserializeOwned>(text: &[u8]) -> Result<T, String> {
    let text = std::str::from_utf8(text).map_err(|_| "is not UTF-8".to_owned())?;
    serde_saphyr::from_str(text).map_err(|error| {
        let line = error.to_string();
        format!(
            "is not the YAML that was expected: {}",
            line.lines().next().unwrap_or_default()
        )
    })
}

/// The flags among the words of a command line: `--name=value`, `--name value`, `--name`.
pub(crate) fn flags(words: &[&str]) -> Flags {
    let mut flags = Vec::new();
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        let Some(flag) = word
            .strip_prefix('-')
            .map(|rest| rest.trim_start_matches('-'))
        else {
            continue;
        };
        if let Some((name, value)) = flag.split_once('=') {
            flags.push((name.to_owned(), value.to_owned()));
        } else if let Some(value) = words.next_if(|next| !next.starts_with('-')) {
            flags.push((flag.to_owned(), (*value).to_owned()));
        } else {
            flags.push((flag.to_owned(), "true".to_owned()));
        }
    }
    flags
}

/// Translates a path inside the container to the host's, by the longest mount that holds it.
fn on_host(value: &str, mounts: &[(&str, &str)]) -> String {
    let inside = Path::new(value);
    let mut holding: Vec<_> = mounts
        .iter()
        .filter(|(at, _)| inside.starts_with(at))
        .collect();
    holding.sort_by_key(|(at, _)| std::cmp::Reverse(at.len()));
    match holding
        .first()
        .and_then(|(at, host)| Some((inside.strip_prefix(at).ok()?, host)))
    {
        Some((rest, host)) if rest.as_os_str().is_empty() => (*host).to_string(),
        Some((rest, host)) => Path::new(host).join(rest).display().to_string(),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_flags_as_the_host_sees_them() {
        let pod = "spec:
  containers:
  - command: [etcd, --name=cp1, --cert-file=/certs/server.crt, --listen, 'https://1.2.3.4:1', --x]
    volumeMounts: [{name: certs, mountPath: /certs}]
  volumes: [{name: certs, hostPath: {path: /etc/kubernetes/pki/etcd, type: Directory}}]
";
        let flags = pod_flags(pod.as_bytes()).unwrap();
        let expected = [
            ("name", "cp1"),
            ("cert-file", "/etc/kubernetes/pki/etcd/server.crt"),
            ("listen", "https://1.2.3.4:1"),
            ("x", "true"),
        ];
        assert_eq!(flags, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }

    #[test]
    fn flags_are_renamed_or_taken_out_and_all_other_bytes_stay() {
        let pod = "spec: # of kubeadm
  containers:
  - command:
    - kube-controller-manager
    - --sign-cert-file=/pki/ca.crt
    - --sign-key-file=/pki/ca.key
    volumeMounts: [{name: pki, mountPath: /pki}]
  volumes: [{name: pki, hostPath: {path: /etc/pki, type: Directory}}]
";
        let edit = |flag: &str, path: Option<&str>| {
            let values = BTreeMap::from([(flag.to_owned(), path.map(PathBuf::from))]);
            with_flags(pod.as_bytes(), &values)
        };
        let renamed = edit("sign-cert-file", Some("/etc/pki/ca-signing.crt")).unwrap();
        assert_eq!(renamed, pod.replace("/pki/ca.crt", "/pki/ca-signing.crt"));
        let without = edit("sign-key-file", None).unwrap();
        assert_eq!(
            without,
            pod.replace("    - --sign-key-file=/pki/ca.key\n", "")
        );
        let refusal = edit("other-file", None).unwrap_err();
        assert_eq!(refusal, "does not say --other-file=FILE once");
        let refusal = edit("sign-cert-file", Some("/elsewhere/ca.crt")).unwrap_err();
        assert_eq!(
            refusal,
            "says --sign-cert-file in a way that cannot be edited"
        );
    }

    #[test]
    fn reads_flags_out_of_shell_assignments() {
        let text = b"KUBELET_KUBEADM_ARGS=\"--hostname-override=cp1 --v 2\"\n";
        let expected = [("hostname-override", "cp1"), ("v", "2")];
        assert_eq!(
            env_flags(text),
            expected.map(|(a, b)| (a.to_owned(), b.to_owned()))
        );
    }

    #[test]
    fn reads_the_scalars_of_a_configuration_with_their_path() {
        let text = b"port: 10250\nauthentication: {x509: {clientCAFile: /a/ca.pem}, on: true}\nlist: [1]\nnone:\n";
        let mut flags = config_flags(text).unwrap();
        flags.sort();
        let expected = [
            ("authentication.on", "true"),
            ("authentication.x509.clientCAFile", "/a/ca.pem"),
            ("port", "10250"),
        ];
        assert_eq!(flags, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }

    #[test]
    fn says_why_a_manifest_is_none() {
        assert!(
            pod_flags(b"spec: [")
                .unwrap_err()
                .starts_with("is not the YAML")
        );
        assert_eq!(pod_flags(b"spec: {}").unwrap_err(), "names no container");
    }
}
