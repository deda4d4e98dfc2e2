//! rescue-kit: brings back a Kubernetes control plane whose certificates expired, offline.
//!
//! Three nouns explain everything:
//!
//! - **[Inventory](inventory)**: what is there, at one moment.
//! - **[Plan](plan)**: every change, in order, with no choice left open; made by a pure function.
//! - **[Journal](journal)**: what was intended, done, failed, undone; on disk before and after each step. Run, resume and
//!   rollback are one loop over a pure function, [`journal::next`].
//!
//! ```text
//!  profile --+
//!  store ----+- observe -> Inventory -> findings -> render                        inspect
//!            |                |
//!            policy, now -----+-> plan -> Plan -> plan::check -> render           plan, run --check
//!                                          | confirm
//!                                          v
//!            journal <- intent/outcome - apply -> store, issue                    run, apply, resume, rollback
//!                                          |
//!                                          v
//!            audit  <---- verify (observe again)                                  verify, audit
//! ```
//!
//! Nothing flows back: verify never edits the plan, apply never plans again; a changed world means a new plan.
//!
//! # Layers
//!
//! `tests/architecture.rs` holds these; each may use those above it.
//!
//! | layer | modules | may use |
//! | --- | --- | --- |
//! | L0 domain | [`pki`], [`facts`], [`place`], [`template`], [`manifest`], [`unit_file`], [`passwd`], [`live`], [`profile`], [`request`], [`inventory`], [`rotation`], [`stale`], [`gate`], [`defect`], [`grant`], [`finding`], [`runbook`], [`listing`], [`verification`], [`plan`], [`journal`], [`diff`], [`ledger`], [`guide`], [`handover`], [`render`] | values; no file, clock, environment, randomness, process |
//! | L1 edges | [`clock`], [`cores`], [`crypto`], [`issue`], [`store`], [`journal_file`], [`archive`], [`sign`], [`command`], [`systemd`], [`cri`], [`tls`], [`https`], [`kube`], [`etcd`], [`stick`], [`terminal`] | the domain, one facility of the system each |
//! | L2 phases | [`access`], [`observe`], [`rehearsal`], [`run`], [`backup`], [`meter`], [`converge`], [`apply`], [`audit`], [`drill`], [`kit`] | domain and edges |
//! | L3 flows | [`flow`] | phases |
//! | L4 shell | [`cli`], [`config`], [`error`], [`exit`] | everything |

#![cfg_attr(
    test,
    expect(
        clippy::disallowed_methods,
        reason = "tests stand outside of the layers"
    )
)]

pub mod access;
pub mod apply;
pub mod archive;
pub mod audit;
pub mod backup;
pub mod cli;
pub mod clock;
pub mod command;
pub mod config;
pub mod converge;
pub mod cores;
pub mod cri;
pub mod crypto;
pub mod defect;
pub mod diff;
pub mod drill;
pub mod error;
pub mod etcd;
pub mod exit;
pub mod facts;
pub mod finding;
pub mod flow;
pub mod gate;
pub mod grant;
pub mod guide;
pub mod handover;
pub mod https;
pub mod inventory;
pub mod issue;
pub mod journal;
pub mod journal_file;
pub mod kit;
pub mod kube;
pub mod ledger;
pub mod listing;
pub mod live;
pub mod manifest;
pub mod meter;
pub mod observe;
pub mod passwd;
pub mod pki;
pub mod place;
pub mod plan;
pub mod profile;
pub mod rehearsal;
pub mod render;
pub mod request;
pub mod rotation;
pub mod run;
pub mod runbook;
pub mod sign;
pub mod stale;
pub mod stick;
pub mod store;
pub mod systemd;
pub mod template;
pub mod terminal;
pub mod tls;
pub mod unit_file;
pub mod verification;
