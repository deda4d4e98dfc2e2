//! Flows: a use case each, made of phases. They know no command line and print nothing.

pub mod break_glass;
pub mod ca;
mod certify;
pub mod csr;
pub mod failure;
pub mod granting;
pub mod handover;
pub mod kubeconfigs;
pub mod ledger;
mod living;
pub mod mint;
mod preparation;
pub mod refresh;
pub mod rescue;
pub mod restore;
pub mod revoke;
pub mod rotate;
pub mod runs;
pub mod site;
pub mod user;
