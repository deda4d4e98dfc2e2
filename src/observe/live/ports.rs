//! What each port serves, all asked at once.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::inventory::Inventory;
use crate::live::{Port, Served};
use crate::pki::cert::Cert;
use crate::place::Observed;
use crate::profile::{Consumer, Profile, Serves, source};
use crate::tls::{self, TlsError};

/// How long a port on this node may take to shake hands.
pub(super) const LOCAL: Duration = Duration::from_secs(3);

/// Asks every port of the profile.
pub(super) fn look(profile: &Profile, inventory: &Inventory, patience: Duration) -> Vec<Port> {
    let known = profile.consumer.iter().flat_map(|consumer| {
        let ports = consumer.serves.iter();
        ports.filter_map(move |port| address(consumer, port, profile, inventory))
    });
    let mut ports: Vec<Port> = known.collect();
    std::thread::scope(|scope| {
        for port in &mut ports {
            scope.spawn(|| port.served = served(port.at, patience));
        }
    });
    ports
}

/// Shakes hands with whoever listens.
pub(crate) fn served(at: SocketAddr, within: Duration) -> Observed<Served> {
    match tls::served(at, None, within) {
        Ok(chain) => match chain.first().map(|leaf| Cert::from_der(leaf)) {
            Some(Ok(leaf)) => Observed::Present(Served {
                sha256: leaf.sha256(),
                subject: leaf.subject.to_string(),
                not_after: leaf.not_after,
            }),
            Some(Err(error)) => Observed::Unknown(error.to_string()),
            None => Observed::Unknown("shows no certificate".to_owned()),
        },
        Err(TlsError::Refused { .. }) => Observed::Absent,
        Err(error) => Observed::Unknown(crate::access::with_causes(&error)),
    }
}

fn address(
    consumer: &Consumer,
    serves: &Serves,
    profile: &Profile,
    inventory: &Inventory,
) -> Option<Port> {
    let host = source::first(&serves.host, profile, &inventory.facts)?;
    let port = source::first(&serves.port, profile, &inventory.facts)?;
    let host = match host.value.trim_matches(['[', ']']).parse().ok()? {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        // A wildcard of the newer protocol takes the older one's connections, too, unless the kernel was told otherwise.
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_loopback() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let port = port.value.parse().ok().filter(|port| *port != 0)?;
    // What this node does not have, nobody serves: the port may speak no TLS at all.
    if serves
        .credential
        .as_deref()
        .is_some_and(|id| inventory.credential(id).is_none())
    {
        return None;
    }
    Some(Port {
        consumer: consumer.id.clone(),
        credential: serves.credential.clone(),
        at: SocketAddr::new(host, port),
        served: Observed::Absent,
    })
}
