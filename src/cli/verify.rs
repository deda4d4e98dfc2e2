//! `verify`: what can be proved.

use serde_json::json;

use crate::cli::context::Context;
use crate::error::Failure;
use crate::exit::Exit;
use crate::observe::Depth;
use crate::render::text;
use crate::terminal::say;
use crate::verification;

pub(super) fn verify(context: &Context) -> Result<Exit, Failure> {
    let site = context.site()?;
    let inventory = site.observe(false, Depth::Proof)?;
    let proved = verification::verify(&inventory);
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
