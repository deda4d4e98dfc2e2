//! The integration tests: one binary, one harness. Each module is a theme; each test is named as a claim.
//!
//! `scripts/test` builds what they need (`tests/lab`) and says where it is in `RESCUE_KIT_LAB`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(
    clippy::disallowed_methods,
    reason = "tests damage files and run programs, as the tool must not"
)]

mod architecture;
mod bad_input;
mod contract;
mod faults;
mod harness;
mod manual;
mod means;
