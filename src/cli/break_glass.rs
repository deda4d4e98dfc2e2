//! `kubeconfig break-glass`: in while every administrator is out, and out again.

use std::path::Path;

use serde_json::json;

use crate::cli::args::BreakGlassArgs;
use crate::cli::context::Context;
use crate::cli::kubeconfig::{absolute, refuse_taken, with_means, write_calendar};
use crate::cli::run::{ask, audit_key};
use crate::clock;
use crate::config;
use crate::error::Failure;
use crate::exit::Exit;
use crate::flow::break_glass::{Given, LONGEST, Passage, Wish};
use crate::flow::failure::AccessError;
use crate::flow::mint::EXPLANATION;
use crate::flow::revoke::Taken;
use crate::flow::site::Site;
use crate::grant::{self, Grant, NAMESPACE, Terms};
use crate::pki::name::printable;
use crate::render::ics::Event;
use crate::render::text::labelled;
use crate::run;
use crate::terminal::{say, tell};

/// How long before its end the alarm for access that ends within an hour comes, in seconds.
const WARN: i64 = 600;

pub(super) fn break_glass(context: &Context, args: &BreakGlassArgs) -> Result<Exit, Failure> {
    if !grant::is_name(&args.role) {
        let text = format!("`{}` is no name of a ClusterRole", printable(&args.role));
        return Err(Failure::usage(text, "--role view"));
    }
    if args.print {
        return print(context, args);
    }
    match &args.revoke {
        Some(run) => revoke(
            context,
            args,
            Some(run.as_str()).filter(|run| !run.is_empty()),
        ),
        None => give(context, args),
    }
}

fn give(context: &Context, args: &BreakGlassArgs) -> Result<Exit, Failure> {
    let with = args.with.as_deref().map(absolute).transpose()?;
    let out = args.out.as_deref().map(absolute).transpose()?;
    let wanted = Wish {
        role: &args.role,
        seconds: config::seconds(&args.validity)?,
        way: passage(args, with.as_deref())?,
        lasting: args.token_secret,
        out: out.as_deref(),
    };
    if args.mint_token && !context.global.quiet {
        tell(&labelled("note:", "note:", EXPLANATION));
    }
    let site = context.site()?;
    let _lock = site.lock()?;
    refuse_taken(&args.calendar)?;
    if !agreed(context, &site, &wanted)? {
        return Ok(Exit::Done);
    }
    let sign_key = args.sign_key.as_deref().map(audit_key).transpose()?;
    let given = with_means(context, sign_key.as_ref(), |means| {
        site.break_glass(&wanted, means).map_err(explained)
    })?;
    if let Some(end) = given.grant.not_after {
        let entry = Event {
            id: &given.run,
            at: end,
            written: given.inventory.at,
            summary: &format!("Break-glass access {} ends", given.run),
            description: &format!("rescue-kit kubeconfig break-glass --revoke {}", given.run),
            warn: &[WARN],
        };
        write_calendar(&args.calendar, &entry)?;
    }
    if context.json() {
        let payload = json!({
            "run_id": given.run,
            "grant": given.grant,
            "seen_as": given.seen,
            "how": given.how,
            "audit": { "path": given.evidence, "sha256": given.audit.sha256, "signer": given.audit.fingerprint },
        });
        context.answer("break-glass", Some(&given.inventory), true, payload);
    } else {
        say(&summary(&given));
    }
    Ok(Exit::Done)
}

/// Whether to go on: not with `--check`, which only tells what would be given.
fn agreed(context: &Context, site: &Site, wanted: &Wish) -> Result<bool, Failure> {
    if context.global.yes && !context.global.check {
        return Ok(true);
    }
    let (inventory, grant, how) = site.rehearse_break_glass(wanted).map_err(explained)?;
    let told = terms(&grant, &how);
    if !context.global.check {
        if context.can_ask() {
            tell(&told);
        }
        ask(context, "Break the glass?")?;
        return Ok(true);
    }
    if context.json() {
        let payload = json!({ "grant": grant, "how": how });
        context.answer("break-glass", Some(&inventory), true, payload);
    } else {
        say(&format!("{told}nothing was made (--check)\n"));
    }
    Ok(false)
}

/// By which way, as the flags say.
fn passage<'a>(args: &'a BreakGlassArgs, with: Option<&'a Path>) -> Result<Passage<'a>, Failure> {
    if let Some(with) = with {
        return Ok(Passage::With(with));
    }
    let Some(account) = args.service_account.as_deref().filter(|_| args.mint_token) else {
        return Ok(Passage::Best);
    };
    let parts = account.split_once('/');
    let named = parts.filter(|(namespace, name)| grant::is_name(namespace) && grant::is_name(name));
    let uid = args.uid.as_deref();
    let (namespace, name) = named.ok_or_else(|| {
        let text = format!("`{}` is no ServiceAccount", printable(account));
        Failure::usage(text, "--service-account NAMESPACE/NAME")
    })?;
    if uid.is_some_and(|uid| !grant::is_name(uid)) {
        return Err(Failure::usage("that is no uid", "--uid UID"));
    }
    Ok(Passage::Mint(namespace, name, uid))
}

/// Where no way is left but the last one, that one is explained.
fn explained(error: AccessError) -> Failure {
    let failure = Failure::from(error);
    if failure
        .hints
        .iter()
        .any(|hint| hint.contains("--mint-token"))
    {
        tell(&labelled("note:", "note:", EXPLANATION));
    }
    failure
}

/// What is given, for consent.
fn terms(grant: &Grant, how: &str) -> String {
    let role = grant.role.as_ref();
    let role = role.map_or_else(
        || "what it is bound to already".to_owned(),
        |role| format!("the ClusterRole {role}, everywhere"),
    );
    let end = grant
        .not_after
        .map_or_else(|| "it is revoked".to_owned(), |end| end.to_string());
    let lines = [
        ("user   ", grant.user.clone()),
        ("may    ", role),
        ("until  ", end),
        ("by     ", how.to_owned()),
    ];
    lines
        .iter()
        .map(|(label, text)| labelled(label, label, &printable(text)))
        .collect()
}

fn summary(given: &Given) -> String {
    let path = given
        .grant
        .kubeconfig
        .as_deref()
        .unwrap_or_else(|| Path::new(""));
    let lines = [
        (
            "seen as",
            given
                .seen
                .clone()
                .unwrap_or_else(|| given.grant.user.clone()),
        ),
        ("run    ", given.run.clone()),
        ("audit  ", given.evidence.display().to_string()),
        ("signer ", given.audit.fingerprint.clone()),
        (
            "revoke ",
            format!("rescue-kit kubeconfig break-glass --revoke {}", given.run),
        ),
        ("use    ", format!("export KUBECONFIG={}", path.display())),
    ];
    let rest = lines
        .iter()
        .map(|(label, text)| labelled(label, label, &printable(text)));
    format!(
        "{}{}",
        terms(&given.grant, &given.how),
        rest.collect::<String>()
    )
}

/// The manifest, for somebody else to apply: it needs neither a node nor a network.
fn print(context: &Context, args: &BreakGlassArgs) -> Result<Exit, Failure> {
    let seconds = config::seconds(&args.validity)?;
    let now = clock::system_now();
    let name = run::name(now);
    let name = name.map_err(|error| Failure::new(Exit::Refused, error.to_string(), "try again"))?;
    let terms = Terms {
        role: &args.role,
        run: &name,
        until: (!args.token_secret).then(|| now.plus(seconds.min(LONGEST))),
    };
    let documents = terms.for_account(args.token_secret);
    let texts: Vec<&str> = documents
        .iter()
        .map(|object| object.text.as_str())
        .collect();
    let manifest = texts.join("---\n");
    if context.json() {
        let payload = json!({ "manifest": manifest });
        context.answer("break-glass", None, false, payload);
        return Ok(Exit::Done);
    }
    say(&manifest);
    let account = grant::account(&name);
    let token = if args.token_secret {
        format!(
            "kubectl -n {NAMESPACE} get secret {account} -o jsonpath='{{.data.token}}' | base64 -d"
        )
    } else {
        let seconds = seconds.min(LONGEST);
        format!("kubectl -n {NAMESPACE} create token {account} --duration {seconds}s")
    };
    tell(&format!(
        "apply    kubectl apply -f FILE\ntoken    {token}\nrevoke   kubectl delete -f FILE\n"
    ));
    Ok(Exit::Done)
}

fn revoke(context: &Context, args: &BreakGlassArgs, run: Option<&str>) -> Result<Exit, Failure> {
    let with = args.with.as_deref().map(absolute).transpose()?;
    let site = context.site()?;
    let _lock = site.lock()?;
    let standing = site.left_open()?.standing;
    let chosen = standing
        .iter()
        .filter(|one| run.is_none_or(|run| one.run == run));
    let chosen: Vec<_> = chosen.collect();
    if context.global.check || chosen.is_empty() && run.is_none() {
        if context.json() {
            let payload = json!({ "standing": chosen });
            context.answer("break-glass", None, !chosen.is_empty(), payload);
        } else {
            let now = site.look.now;
            let lines = chosen
                .iter()
                .map(|one| format!("{}: {}\n", one.run, printable(&one.text(now))));
            say(&lines.collect::<String>());
            say(if chosen.is_empty() {
                "nothing to revoke\n"
            } else {
                "nothing was revoked (--check)\n"
            });
        }
        return Ok(Exit::Done);
    }
    ask(context, &format!("Revoke {} access(es)?", chosen.len()))?;
    let sign_key = args.sign_key.as_deref().map(audit_key).transpose()?;
    let taken = with_means(context, sign_key.as_ref(), |means| {
        Ok(site.revoke(run, with.as_deref(), means)?)
    })?;
    if context.json() {
        let payload = json!({ "revoked": taken });
        context.answer("break-glass", None, true, payload);
    } else {
        say(&taken.iter().map(told).collect::<String>());
    }
    Ok(Exit::Done)
}

fn told(taken: &Taken) -> String {
    let line = |label: &str, text: &str| labelled(label, label, &printable(text));
    let mut out = line(
        "revoked",
        &format!(
            "{} of the run {}",
            taken.standing.grant.user, taken.standing.run
        ),
    );
    out.extend(taken.removed.iter().map(|path| line("  gone ", path)));
    out.extend(taken.seen.iter().map(|seen| line("  seen ", seen)));
    out
}
