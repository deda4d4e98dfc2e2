//! `csr`: requests out, signatures, answers in.

mod key;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;

use crate::cli::args::{Csr, Keeping, Restarts, Selection, Sign};
use crate::cli::context::Context;
use crate::cli::run;
use crate::clock;
use crate::config::{self, RENEW_BEFORE};
use crate::error::Failure;
use crate::exit::Exit;
use crate::finding::{Code, Finding, Severity};
use crate::flow::csr::generate::{Due, Generated};
use crate::flow::csr::sign::Signing;
use crate::flow::csr::signed::{Cap, Row, Signed, State};
use crate::flow::site;
use crate::inventory::{CredentialState, Inventory};
use crate::issue::Authority;
use crate::pki::csr::Usage;
use crate::pki::name::printable;
use crate::plan::Policy;
use crate::profile::{Profile, builtin};
use crate::render::text::labelled;
use crate::request::terms::Terms;
use crate::terminal::{say, tell};

/// Above so many requests only a sum is shown.
const MANY: usize = 50;

pub(super) fn csr(context: &Context, command: &Csr) -> Result<Exit, Failure> {
    match command {
        Csr::Generate { out, selection } => generate(context, out, selection),
        Csr::Sign(sign) => self::sign(context, sign),
        Csr::Install {
            folder,
            only,
            with_due,
            restarts,
            keeping,
        } => {
            let besides = if *with_due {
                Besides::Due
            } else {
                Besides::Nothing
            };
            install(context, folder, (only, besides), restarts, keeping)
        },
    }
}

fn generate(context: &Context, out: &Path, selection: &Selection) -> Result<Exit, Failure> {
    let site = context.site()?;
    let policy = config::selection(selection, &site.profile)?;
    let _lock = site.lock()?;
    site.refuse_unfinished()?;
    let (inventory, due) = site.due_requests(&policy)?;
    if due.is_empty() {
        if context.json() {
            context.answer("csr", Some(&inventory), false, json!({ "requests": [] }));
        } else {
            say("nothing to request\n");
        }
        return Ok(Exit::Done);
    }
    if context.global.check {
        show_due(context, &inventory, &due);
        return Ok(Exit::Done);
    }
    let in_place = inventory
        .credentials
        .iter()
        .filter_map(CredentialState::cert);
    site.forget_installed(&in_place.collect::<Vec<_>>())?;
    let made = site.generate(&inventory, &due, out)?;
    show_made(context, &inventory, &made, out);
    Ok(Exit::Done)
}

fn show_due(context: &Context, inventory: &Inventory, due: &[Due]) {
    if context.json() {
        let due = due
            .iter()
            .map(|due| json!({ "id": due.id, "why": due.why }));
        let payload = json!({ "requests": due.collect::<Vec<_>>() });
        context.answer("csr", Some(inventory), false, payload);
        return;
    }
    for due in due {
        let label = format!("{:<26}", due.id);
        say(&labelled(&label, &label, &printable(&due.why.join("; "))));
    }
}

fn show_made(context: &Context, inventory: &Inventory, made: &Generated, out: &Path) {
    let manifest = &made.manifest;
    if context.json() {
        let payload = json!({
            "request": manifest.request,
            "folder": out,
            "keys": made.keys,
            "requests": manifest.requests,
        });
        context.answer("csr", Some(inventory), true, payload);
        return;
    }
    if !context.global.quiet {
        for entry in &manifest.requests {
            let label = format!("{:<28}", entry.file);
            let names: Vec<String> = entry.asks.sans.iter().map(ToString::to_string).collect();
            let text = format!(
                "{} for {}; {}",
                entry.signer,
                entry.asks.subject,
                names.join(", ")
            );
            say(&labelled(
                &label,
                &label,
                &printable(text.trim_end_matches("; ")),
            ));
        }
    }
    let count = manifest.requests.len();
    say(&format!("{count} request(s) in {}\n", out.display()));
    say(&format!("keys    {}\n", made.keys.display()));
    let out = out.display();
    say("next    where the CA's key is, then here:\n");
    say(&format!(
        "  rescue-kit csr sign {out} --ca-cert ca.crt --ca-key ca.key\n"
    ));
    say(&format!("  rescue-kit csr install {out}\n"));
}

/// What is done in the run that installs answers, besides them.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Besides {
    /// What is due, and can be signed here.
    Due,
    /// Nothing.
    Nothing,
}

fn install(
    context: &Context,
    folder: &Path,
    (only, besides): (&[String], Besides),
    restarts: &Restarts,
    keeping: &Keeping,
) -> Result<Exit, Failure> {
    let site = context.site()?;
    config::known_ids(only, &site.profile)?;
    let answers = site.answers(folder, only)?;
    if !answers.waiting.is_empty() && !context.global.quiet {
        tell(&labelled("waits:", "waits:", &answers.waiting.join(", ")));
    }
    let wanted = match besides {
        Besides::Due => Policy {
            renew_before: RENEW_BEFORE,
            ..Policy::default()
        },
        Besides::Nothing => Policy {
            only: answers.given.keys().cloned().collect(),
            ..Policy::default()
        },
    };
    let wanted = Policy {
        given: answers.given,
        ..wanted
    };
    let policy = config::with_restarts(wanted, restarts);
    let exit = run::rescue(context, &site, &policy, keeping)?;
    if !context.global.check {
        let installed = policy
            .given
            .values()
            .filter_map(|given| given.chain.first());
        site.forget_installed(&installed.collect::<Vec<_>>())?;
    }
    Ok(exit)
}

fn sign(context: &Context, args: &Sign) -> Result<Exit, Failure> {
    let now = config::stated(context.global)?.unwrap_or_else(clock::system_now);
    let terms = Terms {
        names: args.allow_name.clone(),
        usages: args
            .allow_usage
            .iter()
            .map(|text| usage(text))
            .collect::<Result<_, _>>()?,
    };
    let profiles = profiles(context)?;
    let max_validity = config::seconds(&args.max_validity)?;
    let authority = key::authority(context, args)?;
    let ca = &authority.cert;
    if now > ca.not_after || now < ca.not_before {
        let text = format!(
            "{} is valid from {} to {}, not now",
            args.ca_cert.display(),
            ca.not_before,
            ca.not_after
        );
        return Err(Failure::new(
            Exit::Refused,
            text,
            "renew the CA's certificate first, or state the true time: --now RFC3339",
        ));
    }
    let signing = Signing {
        authority: &authority,
        profiles: &profiles,
        terms: &terms,
        max_validity,
        only: &args.only,
        again: args.again,
        partial: args.partial,
        now,
    };
    let signed = signing.sign(&args.folder)?;
    answer(context, &authority, &signed, args)
}

/// Shows what was signed; anything that was refused is a failure.
fn answer(
    context: &Context,
    authority: &Authority,
    signed: &Signed,
    args: &Sign,
) -> Result<Exit, Failure> {
    let count = |state| signed.count(state);
    let refusals: Vec<Finding> = signed.refused().flat_map(findings).collect();
    if signed.requests.is_empty()
        || (refusals.is_empty() && count(State::Elsewhere) == signed.requests.len())
    {
        let subject = authority.cert.subject.to_string();
        let text = format!("{} asks nothing of {subject}", args.folder.display());
        return Err(Failure::new(
            Exit::Refused,
            text,
            "name the CA that is asked, or another folder",
        ));
    }
    if !refusals.is_empty() {
        let count = count(State::Signed);
        let text = match count {
            0 => "refused; nothing was signed".to_owned(),
            count => format!("refused in part; {count} request(s) were signed"),
        };
        let mut failure = Failure::new(Exit::Refused, text, "");
        failure.refusals = refusals;
        failure.changed = count > 0;
        return Err(failure);
    }
    if context.json() {
        let payload = json!({
            "signed": count(State::Signed),
            "answered": count(State::Answered),
            "elsewhere": count(State::Elsewhere),
            "authority": { "subject": authority.cert.subject, "sha256": authority.cert.sha256() },
            "milliseconds": signed.milliseconds,
            "requests": signed.requests,
        });
        context.answer("csr", None, count(State::Signed) > 0, payload);
        return Ok(Exit::Done);
    }
    if !context.global.quiet && signed.requests.len() <= MANY {
        for row in &signed.requests {
            say(&line(row));
        }
    }
    let times = signed.milliseconds;
    say(&format!(
        "{} signed, {} signed before, {} for another authority\n",
        count(State::Signed),
        count(State::Answered),
        count(State::Elsewhere)
    ));
    if context.global.verbose > 0 {
        say(&format!(
            "signed in {} ms, on the disk in {} ms\n",
            times.sign, times.sync
        ));
    }
    Ok(Exit::Done)
}

fn line(row: &Row) -> String {
    let name = if row.folder.is_empty() {
        row.id.clone()
    } else {
        format!("{}/{}", row.folder, row.id)
    };
    let what = match row.state {
        State::Answered => "was signed before".to_owned(),
        State::Elsewhere => "is for another authority".to_owned(),
        State::Held => "waits, since others of its folder are refused".to_owned(),
        State::Refused => "is refused".to_owned(),
        State::Signed => {
            let end = row.not_after.map(|at| at.to_string()).unwrap_or_default();
            let cut = match row.capped {
                None => "",
                Some(Cap::Authority) => ", the CA's own end",
                Some(Cap::Policy) => ", the longest validity",
            };
            format!("signed until {end}{cut}")
        },
    };
    format!("{:<26} {what}\n", printable(&name))
}

fn findings(row: &Row) -> Vec<Finding> {
    let file = Path::new(&row.folder).join(&row.file);
    let finding = |(why, hint): &(String, String)| Finding {
        code: Code::Request,
        severity: Severity::Critical,
        subject: row.id.clone(),
        text: format!("{} {why}", file.display()),
        hint: hint.clone(),
    };
    row.why.iter().map(finding).collect()
}

fn usage(text: &str) -> Result<Usage, Failure> {
    Usage::parse(text).ok_or_else(|| {
        let known: Vec<&str> = Usage::names().collect();
        Failure::usage(
            format!("`{text}` is no key usage"),
            &format!("one of {}", known.join(", ")),
        )
    })
}

/// The layouts that manifests may name: the built-in ones, and the one that was given.
fn profiles(context: &Context) -> Result<BTreeMap<String, Profile>, Failure> {
    let mut known = BTreeMap::new();
    for name in builtin::names() {
        let choice = site::ProfileChoice::Named(name.to_owned());
        known.insert(name.to_owned(), site::named(&choice)?);
    }
    if let Some(text) = &context.global.profile {
        let own = site::named(&config::profile(text)?)?;
        known.insert(own.name.clone(), own);
    }
    Ok(known)
}
