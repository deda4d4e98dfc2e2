//! What runs on the node: processes, ports, obstacles, health, peers. Only of this running system.

mod health;
mod obstacles;
pub(crate) mod peers;
pub(crate) mod ports;
pub(crate) mod processes;

pub(crate) use health::{cluster, copies, proof, worker};

use std::time::Duration;

use crate::access::Access;
use crate::cri::Cri;
use crate::inventory::Inventory;
use crate::live::{Live, Obstacle, ObstacleKind};
use crate::profile::{Profile, RestartKind};
use crate::store::Disk;

/// How much is asked.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Depth {
    /// Nothing: files only.
    Files,
    /// Processes, ports, obstacles, the members of etcd, but nothing that needs a quorum of them.
    Local,
    /// Processes, ports, obstacles, whether the components say that they are well.
    Running,
    /// Also what takes longer or writes: requests end to end, webhooks, aggregated APIs.
    Proof,
}

/// How long a port may take that perhaps waits for a quorum, as that of etcd for its clients does: it takes connections
/// and says nothing.
const BRIEFLY: Duration = Duration::from_millis(300);

/// Looks at what runs. `inventory` is what the files say.
pub(crate) fn look(disk: &Disk, profile: &Profile, inventory: &Inventory, depth: Depth) -> Live {
    let patience = if depth == Depth::Local {
        BRIEFLY
    } else {
        ports::LOCAL
    };
    let mut live = Live {
        ports: ports::look(profile, inventory, patience),
        ..Live::default()
    };
    let files = Access {
        disk,
        profile,
        inventory,
    };
    let mut cri = runtime(&files, &mut live.obstacles);
    live.consumers = processes::look(profile, cri.as_mut(), &mut live.obstacles);
    obstacles::look(&files, cri.as_mut(), &mut live.obstacles);
    live.others = processes::others(&files, cri.as_mut());
    // What is asked next is asked at the ports that were just found.
    let mut seen = inventory.clone();
    seen.live = Some(live.clone());
    let access = Access {
        inventory: &seen,
        ..files
    };
    live.members = peers::look(&access, inventory.at);
    health::look(&access, depth, &mut live);
    live.obstacles.sort_by_key(|obstacle| obstacle.kind);
    live
}

/// The container runtime, if the layout has static pods.
fn runtime(access: &Access, obstacles: &mut Vec<Obstacle>) -> Option<Cri> {
    let mut restarts = access
        .profile
        .consumer
        .iter()
        .map(|consumer| &consumer.restart);
    if !restarts.any(|kind| matches!(kind, RestartKind::Cri(_))) {
        return None;
    }
    match access.runtime() {
        Ok(cri) => Some(cri),
        Err(why) => {
            obstacles.push(Obstacle {
                kind: ObstacleKind::Runtime,
                subject: "container runtime".to_owned(),
                text: format!("the container runtime does not answer: {why}"),
                hint: "systemctl status containerd (or crio); systemctl start containerd"
                    .to_owned(),
            });
            None
        },
    }
}
