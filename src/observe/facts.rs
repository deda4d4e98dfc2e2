//! Facts out of manifests, flags, kubeconfigs, certificates and the host's own files.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};

use crate::facts::Facts;
use crate::inventory::{CredentialState, Placement};
use crate::manifest::{self, Flags};
use crate::observe::reader::Reader;
use crate::place::Observed;
use crate::profile::{Profile, source};
use crate::store::StoreError;
use crate::systemd;
use crate::unit_file::{self, Service};

/// Reads flags out of one kind of text.
type Read = fn(&[u8]) -> Result<Flags, String>;

/// Flags of every component: of manifests first, then units, environment files, configuration.
pub(super) fn from_components(
    reader: &Reader,
    profile: &Profile,
    facts: &mut Facts,
) -> Result<(), StoreError> {
    for (id, component) in &profile.component {
        if let Some(path) = &component.manifest {
            from_file(reader, id, path, manifest::pod_flags, facts)?;
        }
        if let Some(unit) = &component.unit {
            from_unit(reader, id, unit, facts)?;
        }
        if let Some(path) = &component.env {
            from_file(
                reader,
                id,
                path,
                |text| Ok(manifest::env_flags(text)),
                facts,
            )?;
        }
        // A flag may have said where it is.
        let config = component.config.as_deref();
        let paths = config.map_or_else(Vec::new, |config| source::all(config, profile, facts));
        if let Some(path) = paths.first() {
            from_file(reader, id, &path.value, manifest::config_flags, facts)?;
        }
    }
    for path in source::questions(profile, facts) {
        if reader.exists(Path::new(&path))? {
            facts.add(format!("file:{path}"), path, "the file is there");
        }
    }
    Ok(())
}

fn from_file(
    reader: &Reader,
    id: &str,
    path: &str,
    read: Read,
    facts: &mut Facts,
) -> Result<(), StoreError> {
    let Observed::Present(text) = reader.bytes(Path::new(path))? else {
        return Ok(());
    };
    match read(&text) {
        Ok(flags) => add(facts, id, flags, &format!("in {}", file_name(path))),
        Err(why) => facts.add("unreadable", format!("{path} {why}"), path),
    }
    Ok(())
}

/// The flags of a unit: of its file in the first directory that has one, of drop-ins and environment files; what those do
/// not say, its running process may.
fn from_unit(reader: &Reader, id: &str, unit: &str, facts: &mut Facts) -> Result<(), StoreError> {
    let file = format!("{unit}.service");
    let mut texts = Vec::new();
    for dir in unit_file::DIRECTORIES {
        match reader.bytes(&Path::new(dir).join(&file))? {
            Observed::Absent => continue,
            Observed::Present(text) => texts.push(text),
            Observed::Unknown(why) => {
                facts.add("unreadable", format!("{dir}/{file} {why}"), file.as_str());
            },
        }
        break;
    }
    // Of two drop-ins with one name the one in the directory before wins; all of them are read by name.
    let mut over: BTreeMap<String, PathBuf> = BTreeMap::new();
    for dir in unit_file::DIRECTORIES {
        let dir = Path::new(dir).join(format!("{file}.d"));
        for (name, _) in reader.list(&dir)? {
            if name.strip_suffix(".conf").is_some() {
                over.entry(name.clone()).or_insert_with(|| dir.join(name));
            }
        }
    }
    for path in over.values() {
        if let Observed::Present(text) = reader.bytes(path)? {
            texts.push(text);
        }
    }
    let texts: Vec<&[u8]> = texts.iter().map(|text| text.as_slice()).collect();
    let service = Service::read(unit, &texts);
    let mut variables = Vec::new();
    for pattern in &service.environment_files {
        let files = if pattern.contains('*') {
            reader.expand(pattern)?
        } else {
            vec![PathBuf::from(pattern)]
        };
        for file in files {
            if let Observed::Present(text) = reader.bytes(&file)? {
                variables.push(text);
            }
        }
    }
    let variables: Vec<&[u8]> = variables.iter().map(|text| text.as_slice()).collect();
    let hostname = facts.first("fact:hostname");
    let hostname = hostname.map_or_else(String::new, |fact| fact.value.clone());
    let flags = service.flags(&variables, &hostname);
    add(facts, id, flags, &format!("in {file}"));
    if reader.is_live() && !texts.is_empty() && systemd::is_running() {
        let flags = running(reader, unit, &service)?;
        let new = |flag: &String| facts.first(&format!("flag:{id}:{flag}")).is_none();
        let flags = flags.into_iter().filter(|(flag, _)| new(flag)).collect();
        add(facts, id, flags, &format!("of the running {unit}"));
    }
    Ok(())
}

/// The flags of a unit's main process: the one that systemd names, not one that somebody gave the same name.
fn running(reader: &Reader, unit: &str, service: &Service) -> Result<Flags, StoreError> {
    let pid = systemd::show(unit).map_or(0, |unit| unit.pid);
    if pid == 0 {
        return Ok(Flags::new());
    }
    let seen = reader.glance(Path::new(&format!("/proc/{pid}/cmdline")))?;
    Ok(match seen {
        Observed::Present((_, text)) => service.running(&text),
        Observed::Absent | Observed::Unknown(_) => Flags::new(),
    })
}

fn add(facts: &mut Facts, id: &str, flags: Flags, place: &str) {
    for (flag, value) in flags {
        let why = format!("--{flag} {place}");
        facts.add(format!("flag:{id}:{flag}"), value, why);
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
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
