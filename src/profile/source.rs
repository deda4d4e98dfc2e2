//! Sources: the small language in which a profile says where a path or a name comes from.
//!
//! | source | resolves to |
//! | --- | --- |
//! | `flag:COMPONENT:NAME` | the values of a component's flag |
//! | `fact:NAME` | `node-name`, `hostname`, `addresses` |
//! | `kubeconfig:*` | the server URLs of all kubeconfigs |
//! | `dir-of:SOURCE` | the directory of a path |
//! | `host:SOURCE` | the hosts of a comma-separated list of URLs |
//! | `port:SOURCE` | the ports of a comma-separated list of URLs |
//! | `key-of:SOURCE` | the private key that belongs beside a certificate: `X-key.pem` to `X.pem`, `X.key` to `X.crt` |
//! | `file:PATH` | the path, if something is there |
//! | `first-ip:SOURCE` | the first usable address of each CIDR of a list |
//! | anything else | itself, with `{name}` holes filled by variables or sources |

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use crate::facts::{Fact, Facts};
use crate::profile::{OneOrMany, Profile, nearest};

const FACTS: [&str; 3] = ["addresses", "hostname", "node-name"];

/// How deep sources and variables may refer to each other.
const DEPTH: u8 = 8;

/// Resolves the first source of `sources` that has a value; `None` if none has.
pub fn first(sources: &OneOrMany, profile: &Profile, facts: &Facts) -> Option<Fact> {
    sources
        .sources()
        .iter()
        .find_map(|text| all(text, profile, facts).into_iter().next())
}

/// All values of one source, in order; empty if it does not resolve.
pub fn all(source: &str, profile: &Profile, facts: &Facts) -> Vec<Fact> {
    resolve(source, profile, facts, DEPTH)
}

/// Checks that a source is of the language and that its holes have names that exist.
pub fn check(source: &str, profile: &Profile) -> Result<(), String> {
    if let Some((_, inner)) = transform(source) {
        return check(inner, profile);
    }
    if let Some(rest) = source.strip_prefix("flag:") {
        let component = rest.split(':').next().unwrap_or_default();
        return known(
            "component",
            component,
            profile.component.keys().map(String::as_str),
        );
    }
    if let Some(path) = source.strip_prefix("file:") {
        return check(path, profile);
    }
    if let Some(name) = source.strip_prefix("fact:") {
        return known("fact", name, FACTS.into_iter());
    }
    for hole in holes(source)? {
        if hole.contains(':') {
            check(hole, profile)?;
        } else {
            known("variable", hole, profile.vars.keys().map(String::as_str))?;
        }
    }
    Ok(())
}

fn known<'a>(what: &str, name: &str, names: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let names: Vec<&str> = names.collect();
    if names.contains(&name) {
        return Ok(());
    }
    match nearest(name, names.into_iter()) {
        Some(near) => Err(format!(
            "{what} `{name}` is not defined; did you mean `{near}`?"
        )),
        None => Err(format!("{what} `{name}` is not defined")),
    }
}

fn resolve(source: &str, profile: &Profile, facts: &Facts, depth: u8) -> Vec<Fact> {
    let Some(depth) = depth.checked_sub(1) else {
        return Vec::new();
    };
    if let Some((transform, inner)) = transform(source) {
        let values = resolve(inner, profile, facts, depth);
        return values.iter().flat_map(transform).collect();
    }
    if source == "kubeconfig:*" {
        return facts.all("kubeconfig").to_vec();
    }
    if source.starts_with("flag:") || source.starts_with("fact:") {
        return facts.all(source).to_vec();
    }
    if let Some(path) = source.strip_prefix("file:") {
        let path = filled(path, profile, facts, depth);
        return path.map_or_else(Vec::new, |path| {
            facts.all(&format!("file:{}", path.value)).to_vec()
        });
    }
    filled(source, profile, facts, depth).into_iter().collect()
}

/// The paths that `file:` sources ask for: whoever can look adds the fact `file:PATH` for each that is there.
pub fn questions(profile: &Profile, facts: &Facts) -> Vec<String> {
    let sources = profile.all_sources();
    let plain = sources.iter().map(|(_, text)| {
        let mut text = text.as_str();
        while let Some((_, inner)) = transform(text) {
            text = inner;
        }
        text
    });
    let paths = plain.filter_map(|text| text.strip_prefix("file:"));
    let paths = paths.filter_map(|path| filled(path, profile, facts, DEPTH));
    paths.map(|path| path.value).collect()
}

type Transform = fn(&Fact) -> Vec<Fact>;

fn transform(source: &str) -> Option<(Transform, &str)> {
    let (prefix, inner) = source.split_once(':')?;
    let transform: Transform = match prefix {
        "dir-of" => directory,
        "first-ip" => first_addresses,
        "host" => hosts,
        "key-of" => keys,
        "port" => ports,
        _ => return None,
    };
    Some((transform, inner))
}

/// Fills the holes of a text; `None` if a hole has no value.
fn filled(text: &str, profile: &Profile, facts: &Facts, depth: u8) -> Option<Fact> {
    let mut value = String::new();
    let mut why = None;
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (hole, tail) = after.split_once('}')?;
        let fact = if hole.contains(':') {
            resolve(hole, profile, facts, depth).into_iter().next()?
        } else {
            let sources = profile.vars.get(hole)?.sources();
            let mut found = sources.iter().map(|s| resolve(s, profile, facts, depth));
            found.find_map(|values| values.into_iter().next())?
        };
        value.push_str(before);
        value.push_str(&fact.value);
        why = Some(fact.why);
        rest = tail;
    }
    value.push_str(rest);
    Some(Fact {
        value,
        why: why.unwrap_or_else(|| "the profile".to_owned()),
    })
}

fn holes(text: &str) -> Result<Vec<&str>, String> {
    let mut holes = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('{') {
        let (hole, tail) = after.split_once('}').ok_or("a `{` is not closed")?;
        holes.push(hole);
        rest = tail;
    }
    Ok(holes)
}

fn directory(fact: &Fact) -> Vec<Fact> {
    let parent = Path::new(&fact.value).parent().and_then(Path::to_str);
    parent
        .map(|dir| Fact {
            value: dir.to_owned(),
            why: fact.why.clone(),
        })
        .into_iter()
        .collect()
}

/// The name that cfssl or openssl's users give to the key of this certificate.
fn keys(fact: &Fact) -> Vec<Fact> {
    let value = fact.value.as_str();
    let cfssl = value
        .strip_suffix(".pem")
        .map(|stem| format!("{stem}-key.pem"));
    let other = value.strip_suffix(".crt").map(|stem| format!("{stem}.key"));
    let key = cfssl.or(other).map(|value| Fact {
        value,
        why: fact.why.clone(),
    });
    key.into_iter().collect()
}

/// The ports of `https://10.0.0.1:6443,https://[::1]:2379`; a URL without one has none.
fn ports(fact: &Fact) -> Vec<Fact> {
    let port = |url: &str| {
        let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
        let authority = authority.split('/').next().unwrap_or_default();
        let (_, port) = authority.rsplit_once(':')?;
        port.parse::<u16>().ok()
    };
    let ports = fact.value.split(',').filter_map(|url| port(url.trim()));
    ports
        .map(|port| Fact {
            value: port.to_string(),
            why: fact.why.clone(),
        })
        .collect()
}

/// The hosts of `https://10.0.0.1:6443,https://[::1]:2379`; a bare host or address stands for itself.
fn hosts(fact: &Fact) -> Vec<Fact> {
    fact.value
        .split(',')
        .filter_map(|url| {
            let rest = url
                .trim()
                .split_once("://")
                .map_or_else(|| url.trim(), |(_, rest)| rest);
            let authority = rest.split('/').next().unwrap_or_default();
            let host = match authority.strip_prefix('[') {
                Some(v6) => v6.split(']').next().unwrap_or_default(),
                None if authority.matches(':').count() == 1 => {
                    authority.split(':').next().unwrap_or_default()
                },
                None => authority,
            };
            let unspecified = matches!(host, "" | "0.0.0.0" | "::");
            (!unspecified).then(|| Fact {
                value: host.to_owned(),
                why: fact.why.clone(),
            })
        })
        .collect()
}

/// The first usable address of each CIDR: what kubeadm gives to the `kubernetes` service
/// (`cmd/kubeadm/app/constants`, `GetAPIServerVirtualIP`), which looks at the first CIDR only.
fn first_addresses(fact: &Fact) -> Vec<Fact> {
    let cidr = fact.value.split(',').next().unwrap_or_default();
    let Some((address, length)) = cidr.trim().split_once('/') else {
        return Vec::new();
    };
    let Ok(length) = length.parse::<u32>() else {
        return Vec::new();
    };
    let first = match address.parse() {
        Ok(IpAddr::V4(v4)) if length <= 32 => {
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from((u32::from(v4) & mask).saturating_add(1)))
        },
        Ok(IpAddr::V6(v6)) if length <= 128 => {
            let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from((u128::from(v6) & mask).saturating_add(1)))
        },
        _ => return Vec::new(),
    };
    vec![Fact {
        value: first.to_string(),
        why: format!("first address of {} {cidr}", fact.why),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(value: &str) -> Fact {
        Fact {
            value: value.to_owned(),
            why: "w".to_owned(),
        }
    }

    fn values(facts: &[Fact]) -> Vec<&str> {
        facts.iter().map(|fact| fact.value.as_str()).collect()
    }

    #[test]
    fn reads_the_hosts_of_a_list_of_urls() {
        let list = fact("https://10.0.0.1:6443,https://[fd00::1]:2379/x,api.example,::1,0.0.0.0");
        assert_eq!(
            values(&hosts(&list)),
            ["10.0.0.1", "fd00::1", "api.example", "::1"]
        );
    }

    #[test]
    fn knows_the_name_of_the_key_beside_a_certificate() {
        assert_eq!(values(&keys(&fact("/a/ca.pem"))), ["/a/ca-key.pem"]);
        assert_eq!(values(&keys(&fact("/a/ca.crt"))), ["/a/ca.key"]);
        assert!(keys(&fact("/a/ca")).is_empty());
    }

    #[test]
    fn takes_the_first_address_of_the_first_range() {
        assert_eq!(
            values(&first_addresses(&fact("10.96.0.0/12"))),
            ["10.96.0.1"]
        );
        assert_eq!(
            values(&first_addresses(&fact("fd00:10::/108,10.0.0.0/8"))),
            ["fd00:10::1"]
        );
        assert!(first_addresses(&fact("10.96.0.0/99")).is_empty());
        assert!(first_addresses(&fact("nonsense")).is_empty());
    }
}
