//! Facts out of manifests, flags, kubeconfigs, certificates and the host's own files.

use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;

use crate::facts::Facts;
use crate::inventory::{CredentialState, Placement};
use crate::manifest::{self, Flags};
use crate::observe::reader::Reader;
use crate::place::Observed;
use crate::profile::Profile;
use crate::store::StoreError;

/// Reads flags out of one kind of text.
type Read = fn(&[u8]) -> Result<Flags, String>;

/// Flags of every component: of manifests first, then environment files, then configuration.
pub(super) fn from_components(
    reader: &Reader,
    profile: &Profile,
    facts: &mut Facts,
) -> Result<(), StoreError> {
    for (id, component) in &profile.component {
        let readers: [(&Option<String>, Read); 3] = [
            (&component.manifest, manifest::pod_flags),
            (&component.env, |text| Ok(manifest::env_flags(text))),
            (&component.config, manifest::config_flags),
        ];
        for (path, read) in readers {
            let Some(path) = path else { continue };
            let Observed::Present(text) = reader.bytes(Path::new(path))? else {
                continue;
            };
            let name = Path::new(path)
                .file_name()
                .unwrap_or_default()
                .display()
                .to_string();
            match read(&text) {
                Ok(flags) => {
                    for (flag, value) in flags {
                        let why = format!("--{flag} in {name}");
                        facts.add(format!("flag:{id}:{flag}"), value, why);
                    }
                },
                Err(why) => facts.add("unreadable", format!("{path} {why}"), path.as_str()),
            }
        }
    }
    Ok(())
}

/// Hostname and interface addresses; the latter only of the running system.
pub(super) fn from_host(reader: &Reader, facts: &mut Facts) -> Result<(), StoreError> {
    if let Observed::Present(name) = reader.bytes(Path::new("/etc/hostname"))? {
        let name = String::from_utf8_lossy(&name).trim().to_lowercase();
        if !name.is_empty() {
            facts.add("fact:hostname", name, "/etc/hostname");
        }
    }
    if reader.is_live() {
        let local = ["/proc/net/fib_trie", "/proc/net/if_inet6"].map(Path::new);
        let v4 = reader.kernel(local[0])?;
        let v6 = reader.kernel(local[1])?;
        for address in addresses(&v4, &v6) {
            facts.add(
                "fact:addresses",
                address.to_string(),
                "an interface of this node",
            );
        }
    }
    Ok(())
}

/// The server URLs of the kubeconfigs.
pub(super) fn from_kubeconfigs(credentials: &[CredentialState], facts: &mut Facts) {
    for credential in credentials {
        if let Some(kubeconfig) = &credential.kubeconfig
            && let Some(server) = &kubeconfig.server
        {
            facts.add("kubeconfig", server, format!("server in {}", credential.id));
        }
    }
}

/// The node's name: what the kubelet is told or certified as, what etcd is told or certified as, the hostname.
pub(super) fn node_name(credentials: &[CredentialState], facts: &mut Facts) {
    let flag = |facts: &Facts, key: &str| facts.first(key).cloned();
    let mut candidates = Vec::new();
    if let Some(fact) = flag(facts, "flag:kubelet:hostname-override") {
        candidates.push((fact.value, fact.why));
    }
    for credential in credentials {
        let cn = credential
            .cert()
            .and_then(|cert| cert.subject.common_name());
        if let Some(name) = cn.as_deref().and_then(|cn| cn.strip_prefix("system:node:")) {
            candidates.push((name.to_owned(), format!("common name in {}", credential.id)));
        }
    }
    if let Some(fact) = flag(facts, "flag:etcd:name") {
        candidates.push((fact.value, fact.why));
    }
    for credential in credentials {
        let etcd = matches!(&credential.placement, Placement::Pair { .. })
            && credential.id == "etcd-server";
        if let Some(cn) = credential
            .cert()
            .and_then(|c| c.subject.common_name())
            .filter(|_| etcd)
        {
            candidates.push((cn, format!("common name in {}", credential.id)));
        }
    }
    if let Some(fact) = flag(facts, "fact:hostname") {
        candidates.push((fact.value, fact.why));
    }
    if let Some((name, why)) = candidates.into_iter().next() {
        facts.add("fact:node-name", name, why);
    }
}

/// The addresses of the kernel's tables that other hosts can reach: no loopback, no link-local.
fn addresses(fib_trie: &str, if_inet6: &str) -> Vec<IpAddr> {
    let mut all = Vec::new();
    let mut last: Option<IpAddr> = None;
    for line in fib_trie.lines() {
        let line = line.trim_start_matches([' ', '|', '-', '+']);
        if line.starts_with("/32 host LOCAL") {
            all.extend(last.filter(|ip| !ip.is_loopback()));
        } else if let Some(word) = line.split_ascii_whitespace().next() {
            last = word.parse().ok().or(last);
        }
    }
    for line in if_inet6.lines() {
        let hex = line.split_ascii_whitespace().next().unwrap_or_default();
        if let Ok(bits) = u128::from_str_radix(hex, 16) {
            let v6 = Ipv6Addr::from(bits);
            let link_local = v6.segments()[0] & 0xffc0 == 0xfe80;
            if !v6.is_loopback() && !link_local {
                all.push(v6.into());
            }
        }
    }
    all.sort();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_own_tables() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.1.2.3\n        /32 host LOCAL\n     |-- 127.0.0.1\n        /32 host LOCAL\n     |-- 10.1.2.0\n        /24 link UNICAST\n";
        let v6 = "fe800000000000000000000000000001 02 40 20 80 eth0\nfd000000000000000000000000000005 02 40 00 80 eth0\n";
        let found: Vec<String> = addresses(trie, v6)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(found, ["10.1.2.3", "fd00::5"]);
    }
}
