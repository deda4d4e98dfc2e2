//! `ca rotate` and `sa rotate`: where the node stands, the new CAs and key pairs, one phase after another.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;

use crate::cli::args::{CaBegin, CaRotate, RotateArgs, SaRotate};
use crate::cli::context::Context;
use crate::cli::{ca, run, would};
use crate::config;
use crate::error::Failure;
use crate::exit::Exit;
use crate::flow::rotate::Wish;
use crate::flow::site::Site;
use crate::listing::rotation as listing;
use crate::observe::Depth;
use crate::plan::Policy;
use crate::plan::rotation::{NewPair, Phase, Rotation, Successor};
use crate::render::rotation as text;
use crate::terminal::say;

pub(super) fn authorities(context: &Context, phase: Option<&CaRotate>) -> Result<Exit, Failure> {
    match phase {
        None => standing(context, "ca"),
        Some(CaRotate::Begin(wish)) => begin(context, wish),
        Some(CaRotate::Trust(args)) => turn_authorities(context, Phase::Trust, args),
        Some(CaRotate::Sign(args)) => turn_authorities(context, Phase::Sign, args),
        Some(CaRotate::Drop(args)) => turn_authorities(context, Phase::Drop, args),
    }
}

pub(super) fn pairs(context: &Context, phase: Option<&SaRotate>) -> Result<Exit, Failure> {
    match phase {
        None => standing(context, "sa"),
        Some(SaRotate::Begin { out, key_algorithm }) => {
            let wish = key_algorithm.as_deref();
            begin_pairs(context, wish, out)
        },
        Some(SaRotate::Trust(args)) => turn_pairs(context, Phase::Trust, args),
        Some(SaRotate::Sign(args)) => turn_pairs(context, Phase::Sign, args),
        Some(SaRotate::Drop(args)) => turn_pairs(context, Phase::Drop, args),
    }
}

fn standing(context: &Context, of: &str) -> Result<Exit, Failure> {
    let inventory = context.site()?.observe(false, Depth::Files)?;
    let (authorities, pairs) = (listing::authorities(&inventory), listing::pairs(&inventory));
    if context.json() {
        let payload = json!({ "authorities": authorities, "key_pairs": pairs });
        context.answer(of, Some(&inventory), false, payload);
    } else if of == "ca" {
        say(&text::authorities(&authorities, &context.painter));
    } else {
        say(&text::pairs(&pairs, &context.painter));
    }
    Ok(Exit::Done)
}

fn begin(context: &Context, args: &CaBegin) -> Result<Exit, Failure> {
    let site = context.site()?;
    config::known_authorities(&args.ids, &site.profile)?;
    let wish = Wish {
        ids: args.ids.clone(),
        algorithm: algorithm(args.key_algorithm.as_deref())?,
        validity: args.validity.as_deref().map(config::seconds).transpose()?,
    };
    ask_to_begin(context, &args.out)?;
    Ok(ca::report(context, &site.begin_rotation(&wish, &args.out)?))
}

fn begin_pairs(context: &Context, wish: Option<&str>, out: &Path) -> Result<Exit, Failure> {
    let site = context.site()?;
    let algorithm = algorithm(wish)?;
    ask_to_begin(context, out)?;
    let made = site.begin_pair_rotation(algorithm.as_ref(), out)?;
    Ok(ca::report(context, &made))
}

fn ask_to_begin(context: &Context, out: &Path) -> Result<(), Failure> {
    would::refuse(context, "new keys are made, which nobody trusts yet")?;
    let question = format!(
        "Make new keys, which nobody trusts yet, in {}?",
        out.display()
    );
    run::ask(context, &question)
}

fn algorithm(wish: Option<&str>) -> Result<Option<crate::pki::key::KeyAlgorithm>, Failure> {
    wish.map(config::algorithm).transpose()
}

fn turn_authorities(context: &Context, phase: Phase, args: &RotateArgs) -> Result<Exit, Failure> {
    let site = context.site()?;
    config::known_authorities(&args.ids, &site.profile)?;
    let successors: BTreeMap<String, Option<Successor>> = match &args.from {
        Some(dir) => some(config::rotation::successors(dir, &args.ids, &site.profile)?),
        None => none(chosen(&args.ids, site.profile.authority.keys())),
    };
    turn(context, &site, args, phase, successors, BTreeMap::new())
}

fn turn_pairs(context: &Context, phase: Phase, args: &RotateArgs) -> Result<Exit, Failure> {
    let site = context.site()?;
    let pairs: BTreeMap<String, Option<NewPair>> = match &args.from {
        Some(dir) => some(config::rotation::new_pairs(dir, &site.profile)?),
        None => none(chosen(&args.ids, site.profile.keypair.keys())),
    };
    turn(context, &site, args, phase, BTreeMap::new(), pairs)
}

fn turn(
    context: &Context,
    site: &Site,
    args: &RotateArgs,
    phase: Phase,
    authorities: BTreeMap<String, Option<Successor>>,
    pairs: BTreeMap<String, Option<NewPair>>,
) -> Result<Exit, Failure> {
    let policy = Policy {
        validity: args.validity.as_deref().map(config::seconds).transpose()?,
        rotation: Some(Rotation {
            phase,
            authorities,
            pairs,
            despite_copies: args.despite_copies,
        }),
        ..Policy::default()
    };
    let policy = config::with_restarts(policy, &args.restarts);
    run::rescue(context, site, &policy, &args.keeping)
}

fn chosen<'a>(ids: &'a [String], all: impl Iterator<Item = &'a String>) -> Vec<String> {
    match ids {
        [] => all.cloned().collect(),
        named => named.to_vec(),
    }
}

fn some<T>(known: BTreeMap<String, T>) -> BTreeMap<String, Option<T>> {
    let each = known.into_iter();
    each.map(|(id, new)| (id, Some(new))).collect()
}

fn none<T>(ids: Vec<String>) -> BTreeMap<String, Option<T>> {
    ids.into_iter().map(|id| (id, None)).collect()
}
