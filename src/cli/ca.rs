//! `ca`: renew with the same key, carry to other nodes, begin a new one, bundle two.

use std::path::Path;

use serde_json::json;

use crate::cli::args::{CaBundle, CaCommand, CaInit, Keeping, PolicyArgs};
use crate::cli::context::Context;
use crate::cli::{rotate, run, would};
use crate::config;
use crate::error::Failure;
use crate::exit::Exit;
use crate::flow::ca::{self, Made};
use crate::pki::csr::Template;
use crate::plan::Renewal;
use crate::terminal::say;

pub(super) fn ca(context: &Context, command: &CaCommand) -> Result<Exit, Failure> {
    match command {
        CaCommand::Renew {
            ids,
            policy,
            keeping,
        } => renew(context, ids, policy, keeping),
        CaCommand::Export { out } => export(context, out),
        CaCommand::Init(init) => begin(context, init),
        CaCommand::Bundle(bundle) => join(context, bundle),
        CaCommand::Rotate { phase } => rotate::authorities(context, phase.as_ref()),
    }
}

fn renew(
    context: &Context,
    ids: &[String],
    policy: &PolicyArgs,
    keeping: &Keeping,
) -> Result<Exit, Failure> {
    let site = context.site()?;
    let mut policy = config::policy(policy, &site.profile)?;
    config::known_authorities(ids, &site.profile)?;
    policy.renewal = match ids {
        [] => Renewal::Due,
        named => Renewal::Named(named.to_vec()),
    };
    run::rescue(context, &site, &policy, keeping)
}

fn export(context: &Context, out: &Path) -> Result<Exit, Failure> {
    would::refuse(context, "certificates are copied, and none is replaced")?;
    let written = context.site()?.export_authorities(out)?;
    Ok(report(context, &written))
}

fn begin(context: &Context, init: &CaInit) -> Result<Exit, Failure> {
    let bytes = config::bounded(&init.template, 1 << 20)?;
    let template = Template::parse(&bytes).map_err(|error| {
        let text = format!("{} {error}", init.template.display());
        Failure::usage(text, "see templates/ca.json for the format")
    })?;
    would::refuse(context, "a new CA is made, which nobody trusts yet")?;
    run::ask(
        context,
        &format!(
            "Make a new CA, which nobody trusts yet, in {}?",
            init.out.display()
        ),
    )?;
    let choice = config::choice(context.global)?;
    let at = choice.stated.unwrap_or(choice.system);
    let validity = init.validity.as_deref().map(config::seconds).transpose()?;
    let made = ca::init(&template, &init.name, &init.out, at, validity)?;
    Ok(report(context, &made))
}

fn join(context: &Context, bundle: &CaBundle) -> Result<Exit, Failure> {
    let mut texts = Vec::new();
    for path in &bundle.certs {
        texts.push((path.clone(), config::bounded(path, 1 << 20)?));
    }
    let choice = config::choice(context.global)?;
    let at = choice.stated.unwrap_or(choice.system);
    let name = bundle.config_map.as_deref();
    let text = ca::bundle(&texts, name.map(|name| (name, &*bundle.namespace)), at)?;
    let Some(out) = &bundle.out else {
        say(&text);
        return Ok(Exit::Done);
    };
    would::refuse(context, "a new file is written")?;
    Ok(report(context, &[ca::write_new(out, &text)?]))
}

pub(super) fn report(context: &Context, made: &[Made]) -> Exit {
    if context.json() {
        context.answer("ca", None, true, json!({ "files": made }));
    } else {
        for file in made {
            say(&format!("{}  {}\n", file.path.display(), file.what));
        }
    }
    Exit::Done
}
