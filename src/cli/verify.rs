//! `verify`: what can be proved.

use serde_json::json;

use crate::cli::context::Context;
use crate::error::Failure;
use crate::exit::Exit;
use crate::observe::Depth;
use crate::render::text;
use crate::terminal::say;
use crate::verification::{self, Verification};

pub(super) fn verify(context: &Context, cold_start: bool) -> Result<Exit, Failure> {
    let site = context.site()?;
    let depth = if cold_start {
        Depth::Running
    } else {
        Depth::Proof
    };
    let inventory = site.observe(false, depth)?;
    let proved = if cold_start {
        Verification {
            scope: inventory.scope,
            at: inventory.at,
            checks: site.rehearse(&inventory),
        }
    } else {
        verification::verify(&inventory)
    };
    if context.json() {
        let payload = json!({ "passed": proved.passed(), "verification": proved });
        context.answer("verify", Some(&inventory), false, payload);
    } else {
        say(&text::verification(
            &proved,
            context.global.verbose > 0,
            &context.painter,
        ));
    }
    Ok(if proved.passed() {
        Exit::Done
    } else {
        Exit::Attention
    })
}
