//! Flows: a use case each, made of phases. They know no command line and print nothing.

pub mod ca;
pub mod csr;
pub mod failure;
pub mod ledger;
mod preparation;
pub mod rescue;
pub mod restore;
pub mod runs;
pub mod site;
