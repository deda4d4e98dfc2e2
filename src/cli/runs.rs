//! `runs`: what was run, and forgetting what only an undo needs.

use serde_json::json;

use crate::cli::args::Runs;
use crate::cli::context::Context;
use crate::cli::would;
use crate::error::Failure;
use crate::exit::Exit;
use crate::terminal::say;

pub(super) fn runs(context: &Context, command: &Runs) -> Result<Exit, Failure> {
    let site = context.site()?;
    match command {
        Runs::List => {
            let runs = site.summaries()?;
            if context.json() {
                context.answer("runs", None, false, json!({ "runs": runs }));
                return Ok(Exit::Done);
            }
            for run in &runs {
                let operator = run.operator.as_deref().unwrap_or("-");
                let undo = if run.undo { "undo kept" } else { "no undo" };
                say(&format!(
                    "{:<26} {:<12} {:>3} issued {:>3} places  {undo}  {}\n",
                    run.run,
                    run.state,
                    run.issued,
                    run.changed,
                    crate::pki::name::printable(operator)
                ));
            }
            if runs.is_empty() {
                say("no runs\n");
            }
        },
        Runs::Prune { keep } => {
            would::refuse(context, "see: rescue-kit runs list")?;
            let _lock = site.lock()?;
            let pruned = site.prune(*keep)?;
            if context.json() {
                let changed = !pruned.is_empty();
                let payload = json!({ "pruned": pruned });
                context.answer("runs", None, changed, payload);
            } else {
                say(&format!("pruned {} run(s)\n", pruned.len()));
            }
        },
    }
    Ok(Exit::Done)
}
