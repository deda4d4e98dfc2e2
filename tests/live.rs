//! Rescues of real control planes: nodes with systemd, containerd, etcd and Kubernetes, made by `tests/lab/cluster`.
//!
//! Not part of `cargo test`: it needs root and minutes. `scripts/test` runs it, two nodes or one larger cluster at a time. Recovery is judged
//! by kubectl, etcdctl and openssl with client certificates, never by rescue-kit itself.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(
    clippy::disallowed_methods,
    reason = "tests damage nodes and run programs, as the tool must not"
)]

#[path = "live/access.rs"]
mod access;
#[path = "live/authorities.rs"]
mod authorities;
#[path = "live/cold_start.rs"]
mod cold_start;
#[path = "live/control_plane.rs"]
mod control_plane;
#[path = "live/damaged.rs"]
mod damaged;
#[path = "live/expired.rs"]
mod expired;
#[path = "live/explained.rs"]
mod explained;
#[path = "live/failures.rs"]
mod failures;
#[path = "live/guided.rs"]
mod guided;
#[path = "live/kubelet.rs"]
mod kubelet;
#[path = "live/meter.rs"]
mod meter;
#[path = "live/obstacles.rs"]
mod obstacles;
#[path = "live/partial.rs"]
mod partial;
#[path = "live/proof.rs"]
mod proof;
#[expect(dead_code, reason = "the suite uses the rest of it")]
#[path = "pty.rs"]
mod pty;
#[path = "live/quorum.rs"]
mod quorum;
#[path = "live/requests.rs"]
mod requests;
#[path = "live/rotation.rs"]
mod rotation;
#[path = "live/runtime.rs"]
mod runtime;
#[path = "live/seats.rs"]
mod seats;
#[path = "live/units.rs"]
mod units;
#[path = "live/ways.rs"]
mod ways;
#[path = "live/workers.rs"]
mod workers;
