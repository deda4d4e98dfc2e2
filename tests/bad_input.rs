//! Bad input: one clear sentence, a hint, an exit code that says what happened, and nothing written.

mod authority;
mod host;
mod kubeconfig;
mod names;
mod plans;
mod shapes;
mod terminal;
