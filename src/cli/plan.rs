//! `plan`: what would be done, in order, and why.

use std::path::Path;

use serde_json::json;

use crate::cli::args::PolicyArgs;
use crate::cli::context::Context;
use crate::config;
use crate::diff;
use crate::error::Failure;
use crate::exit::Exit;
use crate::inventory::Inventory;
use crate::plan::Plan;
use crate::render::text;
use crate::store::RunDir;
use crate::terminal::say;

pub(super) fn plan(
    context: &Context,
    policy: &PolicyArgs,
    out: Option<&Path>,
) -> Result<Exit, Failure> {
    let site = context.site()?;
    let policy = config::policy(policy, &site.profile)?;
    let (inventory, plan) = site.plan(&policy)?;
    if let Some(out) = out {
        save(out, &plan)?;
    }
    show(context, &inventory, &plan);
    Ok(if plan.is_empty() {
        Exit::Done
    } else {
        Exit::Attention
    })
}

/// Shows a plan that is not applied; `changed` in the JSON is what it will be when it is applied.
pub(super) fn show(context: &Context, inventory: &Inventory, plan: &Plan) {
    let differs = diff::planned(inventory, plan);
    if context.json() {
        let payload = json!({
            "plan": plan,
            "plan_sha256": crate::pki::digest::Digest::of(&plan.to_json()),
            "downtime_seconds": plan.downtime_seconds,
            "diff": differs,
            "next": plan.remaining,
        });
        context.answer("plan", Some(inventory), !plan.is_empty(), payload);
        return;
    }
    let mut out = text::plan(plan, inventory, &context.painter);
    if context.global.diff && !plan.is_empty() {
        out.push('\n');
        out.push_str(&text::diff(&differs, &context.painter));
    }
    say(&out);
}

/// Writes a plan file, whole or not at all.
fn save(out: &Path, plan: &Plan) -> Result<(), Failure> {
    let parent = out
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."));
    let name = out.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| Failure::usage("--out names no file", "--out plan.json"))?;
    RunDir::on_host(parent)?.write(name, &plan.to_json())?;
    Ok(())
}
