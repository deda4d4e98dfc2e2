//! The integration tests: one binary, one harness. Each module is a theme; each test is named as a claim.
//!
//! `scripts/test` builds what they need (`tests/lab`) and says where it is in `RESCUE_KIT_LAB`.

#![expect(
    clippy::disallowed_methods,
    reason = "tests stand outside of the layers"
)]

mod architecture;
mod harness;
mod manual;
