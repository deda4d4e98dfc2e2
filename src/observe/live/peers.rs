//! The other members of etcd: who they are, and whether they answer with a certificate that this node would accept.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::access::{Access, with_causes};
use crate::crypto;
use crate::live::{Member, Outcome};
use crate::pki::cert::Cert;
use crate::pki::utc::Utc;
use crate::profile::Role;
use crate::tls;

/// How long a member may take to answer.
const AWAY: Duration = Duration::from_secs(2);

/// Asks this node's member who its peers are, then each of them for its certificate.
pub(crate) fn look(access: &Access, now: Utc) -> Vec<Member> {
    let mut members = members(access);
    members.sort_by(|a, b| a.name.cmp(&b.name));
    let anchors = anchors(access);
    std::thread::scope(|scope| {
        for member in members.iter_mut().filter(|member| !member.here) {
            let anchors = &anchors;
            scope.spawn(move || {
                member.state = match member.peer {
                    Some(at) => state(at, anchors, now),
                    None => Outcome::Unchecked("has no address that is known".to_owned()),
                };
            });
        }
    });
    members
}

/// The members as etcd tells them, even without a quorum; else as the manifest says it was begun with.
fn members(access: &Access) -> Vec<Member> {
    let own = own_addresses(access);
    let told = told_by_peer_port(access).or_else(|| told_by_manifest(access));
    let told = told.unwrap_or_default();
    let is_own = |urls: &[String]| {
        let peer = urls.iter().find_map(|url| address(url));
        peer.is_some_and(|at| own.contains(&at.ip()))
    };
    // After a change of address the member is still announced at the old one: then its name tells.
    let moved = !told.iter().any(|(_, urls)| is_own(urls));
    let own_name = access.inventory.facts.first("flag:etcd:name");
    let is_named = |name: &str| moved && own_name.is_some_and(|fact| fact.value == name);
    told.into_iter()
        .map(|(name, urls)| {
            let peer = urls.iter().find_map(|url| address(url));
            let here = is_own(&urls) || is_named(&name);
            Member {
                name,
                here,
                peer,
                state: if here {
                    Outcome::Pass
                } else {
                    Outcome::Unchecked("was not asked".to_owned())
                },
            }
        })
        .collect()
}

type Told = Vec<(String, Vec<String>)>;

/// `GET /members` on the port for peers (etcd-io/etcd, server/etcdserver/api/etcdhttp/peer.go) needs no quorum.
fn told_by_peer_port(access: &Access) -> Option<Told> {
    let client = access.peer(AWAY).ok()?;
    let answer = client.request("GET", "/members", None, None).ok()?;
    let members: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
    let members = members.as_array()?.iter().map(|member| {
        let name = member["name"].as_str().unwrap_or_default().to_owned();
        let urls = member["peerURLs"].as_array().into_iter().flatten();
        let urls = urls.filter_map(|url| url.as_str().map(str::to_owned));
        (name, urls.collect())
    });
    Some(members.collect())
}

/// `--initial-cluster=cp1=https://10.0.0.1:2380,cp2=https://10.0.0.2:2380`: those that were there when it joined.
fn told_by_manifest(access: &Access) -> Option<Told> {
    let flag = access.inventory.facts.first("flag:etcd:initial-cluster")?;
    let members = flag.value.split(',').filter_map(|member| {
        let (name, url) = member.split_once('=')?;
        Some((name.to_owned(), vec![url.to_owned()]))
    });
    Some(members.collect())
}

fn own_addresses(access: &Access) -> Vec<IpAddr> {
    let facts = &access.inventory.facts;
    let own = facts.all("fact:addresses").iter();
    let own = own.filter_map(|fact| fact.value.parse().ok());
    let told = facts.all("flag:etcd:initial-advertise-peer-urls").iter();
    own.chain(told.filter_map(|fact| Some(address(&fact.value)?.ip())))
        .collect()
}

/// The address of a URL that names one by number: there is no name service.
fn address(url: &str) -> Option<SocketAddr> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.trim_end_matches('/').parse().ok()
}

fn anchors(access: &Access) -> Vec<Cert> {
    let etcd = access.profile.with_role(Role::Etcd);
    let served = etcd.and_then(|etcd| etcd.serves.last()?.credential.as_deref());
    let credential = served.and_then(|id| access.inventory.credential(id));
    let authority = credential.and_then(|c| access.inventory.authority(&c.signer));
    authority
        .and_then(|authority| authority.chain.present().cloned())
        .unwrap_or_default()
}

fn state(at: SocketAddr, anchors: &[Cert], now: Utc) -> Outcome {
    let chain = match tls::served(at, None, AWAY) {
        Ok(chain) => chain,
        Err(error) => return Outcome::Fail(format!("does not answer: {}", with_causes(&error))),
    };
    let leaf = chain.first().map(|leaf| Cert::from_der(leaf));
    let Some(Ok(leaf)) = leaf else {
        return Outcome::Fail(format!("shows no certificate at {at}"));
    };
    let signed = |ca: &Cert| leaf.issuer == ca.subject && crypto::verify(&leaf, ca).is_ok();
    if !anchors.iter().any(signed) {
        return Outcome::Fail(format!("shows a certificate of another CA at {at}"));
    }
    if leaf.not_after < now {
        return Outcome::Fail(format!(
            "shows a certificate at {at} that ended {}",
            leaf.not_after
        ));
    }
    Outcome::Pass
}
