//! `--check` where there is no plan to show: what would be put back or finished, and what has nothing to show.

use serde_json::json;

use crate::cli::context::Context;
use crate::error::Failure;
use crate::exit::Exit;
use crate::flow::site::Site;
use crate::journal::Way;
use crate::pki::name::printable;
use crate::terminal::say;

/// Says which places the way back, or on, of a run leads to.
pub(super) fn go(context: &Context, site: &Site, name: &str, way: Way) -> Result<Exit, Failure> {
    let places = site.ahead(name, way)?;
    if context.json() {
        let payload = json!({ "run_id": name, "way": way, "places": places });
        context.answer("run", None, !places.is_empty(), payload);
        return Ok(Exit::Done);
    }
    let (count, deed) = (places.len(), deed(way));
    say(&format!(
        "would {deed} {count} place(s) of the run {name}, in this order\n"
    ));
    for place in &places {
        say(&format!("  {}\n", printable(&place.to_string())));
    }
    say("nothing was changed (--check)\n");
    Ok(Exit::Done)
}

/// Refuses `--check` for what only writes new files, rather than to write them all the same.
pub(super) fn refuse(context: &Context, what: &str) -> Result<(), Failure> {
    if context.global.check {
        let text = format!("--check has nothing to show here: {what}");
        return Err(Failure::usage(text, "leave --check out"));
    }
    Ok(())
}

fn deed(way: Way) -> &'static str {
    match way {
        Way::Back => "put back",
        Way::Forward => "finish",
    }
}
