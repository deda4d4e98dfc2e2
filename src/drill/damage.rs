//! What each scenario breaks in a tree that is whole, but for its dates.

use crate::crypto;
use crate::drill::layout::{self, Authority};
use crate::drill::node;
use crate::drill::tree::Tree;
use crate::drill::{
    Dates, DrillError, EXPIRED, LOST, Scenario, TEN_YEARS, YEAR, certified_address,
};
use crate::pki::key::{KeyAlgorithm, KeyForm};
use crate::pki::utc::Utc;

/// Breaks the tree, and says what is broken in it, its dates included.
pub(super) fn damage(
    tree: &mut Tree,
    scenario: Scenario,
    algorithm: &KeyAlgorithm,
    dates: Dates,
) -> Result<Vec<String>, DrillError> {
    let mut broken = expired(scenario, dates);
    match scenario {
        Scenario::LeavesExpired | Scenario::CaExpired | Scenario::KubeletOnly => {},
        Scenario::MissingLeaf => {
            for name in ["apiserver.crt", "apiserver.key", "etcd/peer.crt"] {
                tree.remove(&pki(name));
                broken.push(format!("/{} is missing", pki(name)));
            }
        },
        Scenario::WrongSan => broken.push(format!(
            "the certificates of the API server and of etcd name {}, the node is {}",
            certified_address(scenario),
            layout::ADDRESS
        )),
        Scenario::MismatchedPair => {
            let (at, key) = (
                pki("apiserver.key"),
                crypto::generate(algorithm, KeyForm::Sec1)?,
            );
            tree.edit(&at, dates.touched, |bytes| {
                *bytes = key.to_pem().as_bytes().to_vec();
            });
            broken.push(format!("/{at} is not the key of apiserver.crt"));
        },
        Scenario::ClockWrong => {
            let days = LOST / Utc::DAY;
            broken.push(format!(
                "the clock is {days} days behind: before the cluster was made"
            ));
        },
        Scenario::Truncated => {
            let (cut, empty) = (pki("apiserver.crt"), pki("front-proxy-client.crt"));
            tree.edit(&cut, dates.touched, |bytes| bytes.truncate(bytes.len() / 2));
            tree.edit(&empty, dates.touched, Vec::clear);
            broken.extend([
                format!("/{cut} ends in the middle"),
                format!("/{empty} is empty"),
            ]);
        },
        Scenario::CaKeyMissing => {
            tree.remove(&pki("ca.key"));
            broken.push(format!("/{} is missing", pki("ca.key")));
        },
        Scenario::ForeignCa => {
            let key = crypto::generate(algorithm, KeyForm::Sec1)?;
            let foreign = node::authority(Authority::Cluster, &key, dates.touched)?.cert;
            let at = pki("ca.crt");
            tree.edit(&at, dates.touched, |bytes| {
                *bytes = foreign.to_pem().into_bytes();
            });
            broken.push(format!("/{at} is another cluster's; ca.key is this one's"));
        },
    }
    Ok(broken)
}

/// What the dates alone have done.
fn expired(scenario: Scenario, dates: Dates) -> Vec<String> {
    let leaves = dates.leaves.plus(YEAR).date();
    let kubelet = dates.kubelet.plus(YEAR).date();
    match scenario {
        Scenario::WrongSan => Vec::new(),
        Scenario::KubeletOnly => vec![
            format!("the kubelet's client certificate expired on {kubelet}"),
            format!("the kubelet's serving certificate expired on {kubelet}"),
        ],
        Scenario::CaExpired => vec![
            format!(
                "all three CAs expired on {}",
                dates.installed.plus(TEN_YEARS).date()
            ),
            every(&leaves),
        ],
        _ => vec![every(&leaves)],
    }
}

fn every(date: &str) -> String {
    format!(
        "every leaf certificate expired on {date}, {} days ago",
        EXPIRED / Utc::DAY
    )
}

fn pki(name: &str) -> String {
    format!("{}/{name}", layout::PKI)
}
