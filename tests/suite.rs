//! The integration tests: one binary, one harness. Each module is a theme; each test is named as a claim.
//!
//! `scripts/test` builds what they need (`tests/lab`) and says where it is in `RESCUE_KIT_LAB`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(
    clippy::disallowed_methods,
    reason = "tests damage files and run programs, as the tool must not"
)]

mod access;
mod architecture;
mod authorities;
mod bad_input;
mod cases;
mod contract;
mod csr;
mod evidence;
mod faults;
mod fidelity;
mod guided;
mod handover;
mod harness;
mod judges;
mod kit;
mod kubeconfigs;
mod ledger;
mod manual;
mod means;
mod pages;
mod pty;
mod real_output;
mod recording;
mod rescue;
mod rotation;
mod runbook;
mod screens;
mod second_run;
mod secrets;
mod terminals;
mod training;
mod units;
mod workers;
