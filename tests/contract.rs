//! The contract: exit codes, streams, JSON, flags and where their values come from, commands that do what they say.

mod ask;
mod backup;
mod check;
mod drill;
mod exits;
mod kubelet;
mod policy;
mod rescue;
mod settings;
