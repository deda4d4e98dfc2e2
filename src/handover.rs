//! Handover: what a node's certificates ask of the people and tools that watch them from now on.

use serde::Serialize;

use crate::inventory::{AuthorityState, CredentialState, Inventory, Placement};
use crate::listing::RowKind;
use crate::pki::cert::Cert;
use crate::pki::digest::Digest;
use crate::pki::utc::Utc;
use crate::profile::Profile;

/// What there is to hand over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// Rules of Prometheus and their tests.
    Alerts,
    /// What refreshes the metrics of the rules.
    Timer,
    /// Entries for the calendars of people.
    Reminders,
    /// One page: what ends when.
    Calendar,
    /// Manifests for cert-manager.
    CertManager,
    /// Settings of kubeadm and Cluster API.
    Kubeadm,
    /// What renews on its own.
    Renewal,
}

impl Part {
    /// Every part, in the order in which they are told.
    pub const ALL: [Self; 7] = [
        Self::Calendar,
        Self::Reminders,
        Self::Alerts,
        Self::Timer,
        Self::Renewal,
        Self::Kubeadm,
        Self::CertManager,
    ];

    /// The name by which it is asked for.
    pub fn name(self) -> &'static str {
        match self {
            Self::Alerts => "alerts",
            Self::Timer => "timer",
            Self::Reminders => "ics",
            Self::Calendar => "calendar",
            Self::CertManager => "cert-manager",
            Self::Kubeadm => "kubeadm",
            Self::Renewal => "renewal",
        }
    }

    /// Why a cluster has no use for it.
    ///
    /// # Errors
    ///
    /// The reason, as a sentence fragment.
    pub fn fits(self, cluster: &Cluster) -> Result<(), String> {
        let profile = &cluster.profile;
        match self {
            Self::CertManager if cluster.serving.is_empty() => {
                Err("no certificate of a server lies here".to_owned())
            },
            Self::Kubeadm if !cluster.kubeadm => Err(format!(
                "the layout {profile} is no control plane of kubeadm"
            )),
            Self::Renewal if !cluster.signs => {
                Err("the key of a CA that signs here is elsewhere".to_owned())
            },
            _ => Ok(()),
        }
    }
}

/// The facts that are handed over; nothing secret is among them.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The node's name.
    pub node: String,
    /// The digest that tells the node from others.
    pub id: Digest,
    /// Where the cluster's clients find it.
    pub server: Option<String>,
    /// What runs: `v1.34.4`.
    pub version: Option<String>,
    /// The layout's name.
    pub profile: String,
    /// It is a control plane as kubeadm makes it: of static pods.
    pub kubeadm: bool,
    /// Every CA that signs here has its key here.
    pub signs: bool,
    /// When this was seen.
    pub at: Utc,
    /// What ends, in the profile's order: CAs first.
    pub ends: Vec<End>,
    /// Certificates of servers, in the profile's order, each file once.
    pub serving: Vec<Serving>,
}

/// A certificate that ends.
#[derive(Clone, Debug, Serialize)]
pub struct End {
    /// The profile's id.
    pub id: String,
    /// Its file.
    pub path: String,
    /// What it is.
    pub kind: RowKind,
    /// First second of validity.
    pub not_before: Utc,
    /// Last second of validity.
    pub not_after: Utc,
    /// What its end means for the node, as a sentence fragment.
    pub breaks: String,
    /// The command that renews it, or who does.
    pub mend: String,
}

/// Certificates that end together.
#[derive(Clone, Debug)]
pub struct Group<'a> {
    /// When the first of them ends.
    pub at: Utc,
    /// All of them; never none.
    pub ends: Vec<&'a End>,
}

/// The certificate of a server.
#[derive(Clone, Debug)]
pub struct Serving {
    /// The profile's id.
    pub id: String,
    /// What it says.
    pub cert: Cert,
}

impl Cluster {
    /// Gathers the facts. `version` is that of the API server.
    pub fn of(inventory: &Inventory, profile: &Profile, version: Option<String>) -> Self {
        let authorities = inventory.authorities.iter();
        let authorities = authorities.filter_map(|a| end_of_authority(a, profile));
        let credentials = inventory.credentials.iter();
        let credentials = credentials.filter_map(|c| end_of_credential(c, inventory, profile));
        let name = inventory.node.name.as_ref();
        let apiserver = profile.component.get("kube-apiserver");
        Self {
            node: name.map_or_else(|| "this node".to_owned(), |name| name.value.clone()),
            id: inventory.node.id,
            server: server(inventory, profile),
            version,
            profile: profile.name.clone(),
            kubeadm: apiserver.is_some_and(|component| component.manifest.is_some()),
            signs: signs(inventory),
            at: inventory.at,
            ends: authorities.chain(credentials).collect(),
            serving: serving(inventory),
        }
    }

    /// The minor release: 34 of `v1.34.4`.
    pub fn minor(&self) -> Option<u32> {
        let minor = self.version.as_ref()?.strip_prefix("v1.")?;
        minor.split('.').next()?.parse().ok()
    }

    /// The cluster's usual validity of leaves: that of the API server's certificate, else of the longest that there is.
    pub fn leaf_life(&self) -> Option<i64> {
        let leaves = || self.ends.iter().filter(|end| !end.is_ca());
        let apiserver = leaves().find(|end| end.id == "apiserver");
        let life = apiserver.map(End::life);
        life.or_else(|| leaves().map(End::life).max())
    }

    /// The validity of the CA that ends first.
    pub fn ca_life(&self) -> Option<i64> {
        let authorities = self.ends.iter().filter(|end| end.is_ca());
        let first = authorities.min_by_key(|end| end.not_after);
        first.map(End::life)
    }
}

impl End {
    /// Whether it is a CA.
    pub fn is_ca(&self) -> bool {
        self.kind == RowKind::Ca
    }

    /// Seconds of validity, from the first to the last.
    pub fn life(&self) -> i64 {
        self.not_after.since(self.not_before)
    }

    /// Whether another that ends no earlier ends at the same time, as people count it.
    fn ends_with(&self, other: &Self) -> bool {
        self.is_ca() == other.is_ca() && other.not_after.since(self.not_after) < Utc::DAY
    }
}

/// Ends that come within a day of the first of them: what is issued together ends together. CAs first, then by date; in a
/// group the order is the profile's.
pub fn groups<'a>(ends: &'a [End]) -> Vec<Group<'a>> {
    let mut sorted: Vec<(usize, &'a End)> = ends.iter().enumerate().collect();
    sorted.sort_by_key(|(rank, end)| (!end.is_ca(), end.not_after, *rank));
    let mut groups: Vec<Vec<(usize, &'a End)>> = Vec::new();
    for (rank, end) in sorted {
        match groups.last_mut() {
            Some(group) if group[0].1.ends_with(end) => group.push((rank, end)),
            _ => groups.push(vec![(rank, end)]),
        }
    }
    let group = |mut members: Vec<(usize, &'a End)>| {
        let at = members[0].1.not_after;
        members.sort_by_key(|(rank, _)| *rank);
        Group {
            at,
            ends: members.into_iter().map(|(_, end)| end).collect(),
        }
    };
    groups.into_iter().map(group).collect()
}

fn end_of_authority(authority: &AuthorityState, profile: &Profile) -> Option<End> {
    let cert = authority.cert()?;
    let mend = match authority.pairs() {
        Some(true) if cert.self_issued() => "rescue-kit ca renew",
        Some(true) => "rescue-kit ca rotate trust --from DIR",
        _ => "rescue-kit run --ca-from DIR",
    };
    let breaks = profile.authority.get(&authority.id).map(|a| &a.breaks);
    Some(End {
        id: authority.id.clone(),
        path: authority.cert_path.display().to_string(),
        kind: RowKind::Ca,
        not_before: cert.not_before,
        not_after: cert.not_after,
        breaks: breaks.cloned().unwrap_or_default(),
        mend: mend.to_owned(),
    })
}

fn end_of_credential(
    credential: &CredentialState,
    inventory: &Inventory,
    profile: &Profile,
) -> Option<End> {
    let holder = match &credential.placement {
        Placement::Delegated { to, .. } => inventory.credential(to)?,
        _ => credential,
    };
    let cert = holder.cert()?;
    let kind = match &credential.placement {
        Placement::Delegated { .. } | Placement::Embedded { .. } | Placement::Referenced { .. } => {
            RowKind::Kubeconfig
        },
        Placement::Pem { .. } => RowKind::Kubelet,
        Placement::Pair { .. } => RowKind::Leaf,
    };
    let signs = |id: &str| inventory.authority(id)?.pairs();
    let mend = match &holder.placement {
        _ if credential.external => "whoever supplies it",
        // Once it has expired, the kubelet does not even start.
        Placement::Pem { .. } if cert.not_after >= inventory.at => "the kubelet itself",
        _ if signs(&holder.signer) == Some(true) => "rescue-kit run",
        _ => "rescue-kit csr generate --out DIR",
    };
    let breaks = profile.credential.get(&credential.id).map(|c| &c.breaks);
    Some(End {
        id: credential.id.clone(),
        path: credential.path().display().to_string(),
        kind,
        not_before: cert.not_before,
        not_after: cert.not_after,
        breaks: breaks.cloned().unwrap_or_default(),
        mend: mend.to_owned(),
    })
}

/// Where administrators find the cluster, else where anybody does.
fn server(inventory: &Inventory, profile: &Profile) -> Option<String> {
    let mut admins = profile.admin.iter();
    let own = admins.find_map(|id| {
        let kubeconfig = inventory.credential(id)?.kubeconfig.as_ref()?;
        kubeconfig.server.clone()
    });
    own.or_else(|| Some(inventory.facts.first("kubeconfig")?.value.clone()))
}

/// Whether every CA that signs something here has its key here.
fn signs(inventory: &Inventory) -> bool {
    let credentials = inventory.credentials.iter();
    let mut own = credentials.filter(|c| !c.external && c.cert().is_some());
    own.all(|credential| {
        let authority = inventory.authority(&credential.signer);
        authority.is_some_and(|authority| authority.pairs() == Some(true))
    })
}

fn serving(inventory: &Inventory) -> Vec<Serving> {
    let credentials = inventory.credentials.iter();
    let servers = credentials.filter_map(|credential| {
        let cert = credential.cert()?;
        let own = matches!(credential.placement, Placement::Pair { .. })
            && credential.shares.is_none()
            && !credential.external;
        let serves = cert
            .extended_usages
            .iter()
            .any(|usage| usage == "serverAuth");
        // A client's certificate may carry the usage of servers, too, but no name.
        (own && serves && !cert.sans.is_empty()).then(|| Serving {
            id: credential.id.clone(),
            cert: cert.clone(),
        })
    });
    servers.collect()
}
