//! `kubeconfig`: who can log in until when, copies refreshed, users made.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::args::{Calendar, KubeconfigCommand, UserArgs};
use crate::cli::break_glass;
use crate::cli::context::Context;
use crate::cli::run::ask;
use crate::config::{self, RENEW_BEFORE};
use crate::error::Failure;
use crate::exit::Exit;
use crate::flow::granting::{refuse_existing, write_new};
use crate::flow::refresh::{Copied, CopyState, Deed, Refreshed};
use crate::flow::rescue::Means;
use crate::flow::user::{MASTERS, Made, Wish};
use crate::pki::cert::Cert;
use crate::pki::name::printable;
use crate::pki::utc::Utc;
use crate::render::ics::{self, Event};
use crate::render::{kubeconfigs, text};
use crate::sign::AuditKey;
use crate::terminal::{say, tell};

pub(super) fn kubeconfig(context: &Context, command: &KubeconfigCommand) -> Result<Exit, Failure> {
    match command {
        KubeconfigCommand::List { files } => list(context, files),
        KubeconfigCommand::Refresh { users, calendar } => refresh(context, users, calendar),
        KubeconfigCommand::User(args) => user(context, args),
        KubeconfigCommand::BreakGlass(args) => break_glass::break_glass(context, args),
    }
}

fn list(context: &Context, files: &[PathBuf]) -> Result<Exit, Failure> {
    let files: Result<Vec<PathBuf>, Failure> = files.iter().map(|file| absolute(file)).collect();
    let site = context.site()?;
    let (inventory, rows) = site.kubeconfigs(&files?, RENEW_BEFORE)?;
    if context.json() {
        let payload = json!({ "kubeconfigs": rows });
        context.answer("kubeconfig", Some(&inventory), false, payload);
    } else {
        say(&kubeconfigs::table(&rows, &context.painter));
    }
    Ok(Exit::Done)
}

fn refresh(context: &Context, users: &[String], calendar: &Calendar) -> Result<Exit, Failure> {
    let site = context.site()?;
    let mut users = users.to_vec();
    // Whoever became root here is a user of this system, not of a mounted disk.
    if site.disk.is_live() {
        users.extend(Context::sudo_user());
    }
    let _lock = site.lock()?;
    let mut done = site.refresh(&users, Deed::Look)?;
    let due = done.copies.iter().any(|copy| copy.state == CopyState::Due);
    if due && !context.global.check {
        if !context.global.yes && context.can_ask() {
            tell(&copies(context, &done));
        }
        ask(context, "Refresh these copies?")?;
        refuse_taken(calendar)?;
        done = with_means(context, None, |means| {
            Ok(site.refresh(&users, Deed::Write(means))?)
        })?;
        let user = done.leaf.subject.common_name().unwrap_or_default();
        remind(calendar, &done.leaf, &user, done.inventory.at)?;
    }
    let is = |state| done.copies.iter().any(|copy: &Copied| copy.state == state);
    if context.json() {
        let payload = json!({
            "run_id": done.run,
            "source": done.source,
            "not_after": done.leaf.not_after,
            "copies": done.copies,
            "diff": done.diff,
        });
        let changed = is(CopyState::Refreshed) || is(CopyState::Due);
        context.answer("kubeconfig", Some(&done.inventory), changed, payload);
    } else {
        say(&copies(context, &done));
        if context.global.diff {
            say(&text::diff(&done.diff, &context.painter));
        }
    }
    Ok(if is(CopyState::Failed) {
        Exit::Stuck
    } else {
        Exit::Done
    })
}

/// A line a copy.
fn copies(context: &Context, done: &Refreshed) -> String {
    let mut out = format!(
        "{} holds a credential until {}\n",
        printable(&done.source.display().to_string()),
        done.leaf.not_after
    );
    for copy in &done.copies {
        let label = match copy.state {
            CopyState::Absent => "absent",
            CopyState::Current => "current",
            CopyState::Due => "due",
            CopyState::Failed => "failed",
            CopyState::LeftAlone => "left alone",
            CopyState::Refreshed => "refreshed",
        };
        let path = copy.path.display();
        let what = match (&copy.before, &copy.kept) {
            (Some(before), Some(kept)) => {
                format!(
                    "{path}, which ended at {before}; the old one is {}",
                    kept.display()
                )
            },
            (Some(before), None) => format!("{path}: {}; it ends at {before}", copy.why),
            _ => format!("{path}: {}", copy.why),
        };
        let label = format!("{label:<10}");
        out.push_str(&text::labelled(&label, &label, &printable(&what)));
    }
    if let Some(run) = &done.run {
        out.push_str(&format!("run     {run}\n"));
    }
    if context.global.check && done.copies.iter().any(|copy| copy.state == CopyState::Due) {
        out.push_str("nothing was changed (--check)\n");
    }
    out
}

fn user(context: &Context, args: &UserArgs) -> Result<Exit, Failure> {
    if context.json() && args.out.is_none() {
        let text = "a kubeconfig holds a key, which does not go into JSON";
        return Err(Failure::usage(text, "--out FILE"));
    }
    if args.client_name.is_empty() || args.client_name.len() > 256 {
        return Err(Failure::usage("the user needs a name", "--client-name CN"));
    }
    let seconds = config::seconds(&args.validity)?;
    if seconds < 600 {
        let text = "such a kubeconfig would have expired before it is used";
        return Err(Failure::usage(text, "--validity 365d"));
    }
    let out = args.out.as_deref().map(absolute).transpose()?;
    let site = context.site()?;
    let _lock = site.lock()?;
    refuse_taken(&args.calendar)?;
    let wish = Wish {
        name: &args.client_name,
        groups: Some(args.org.as_slice()).filter(|groups| !groups.is_empty()),
        seconds,
        out: out.as_deref(),
    };
    if args.org.iter().any(|group| group == MASTERS) {
        let why = "system:masters is above authorization: nobody can limit this certificate before it ends";
        tell(&text::labelled("warning:", "warning:", why));
    }
    if context.global.check {
        if context.json() {
            let payload = json!({ "user": args.client_name, "groups": args.org, "path": out });
            context.answer("kubeconfig", None, true, payload);
        } else {
            say("nothing was made (--check)\n");
        }
        return Ok(Exit::Done);
    }
    let made = with_means(context, None, |means| Ok(site.make_user(&wish, means)?))?;
    remind(
        &args.calendar,
        &made.cert,
        &args.client_name,
        made.inventory.at,
    )?;
    said(context, args, &made, out.as_deref());
    Ok(Exit::Done)
}

fn said(context: &Context, args: &UserArgs, made: &Made, out: Option<&Path>) {
    if context.json() {
        let payload = json!({
            "run_id": made.run,
            "path": out,
            "user": args.client_name,
            "groups": made.groups,
            "not_after": made.cert.not_after,
            "capped": made.capped,
            "serial": made.cert.serial_hex(),
        });
        return context.answer("kubeconfig", Some(&made.inventory), true, payload);
    }
    match out {
        Some(path) => say(&format!("{}\n", path.display())),
        None => say(&made.text),
    }
    if !context.global.quiet {
        let groups = match made.groups.as_slice() {
            [] => "no group".to_owned(),
            groups => printable(&groups.join(", ")),
        };
        let cut = if made.capped {
            ", the end of the CA"
        } else {
            ""
        };
        tell(&format!(
            "{}, {groups}, until {}{cut}\nrun     {}\n",
            printable(&args.client_name),
            made.cert.not_after,
            made.run
        ));
    }
}

/// Writes the calendar entry of a client certificate.
fn remind(calendar: &Calendar, cert: &Cert, user: &str, now: Utc) -> Result<(), Failure> {
    let entry = Event {
        id: &cert.serial_hex(),
        at: cert.not_after,
        written: now,
        summary: &format!("The Kubernetes credential of {} expires", printable(user)),
        description: "Before that: rescue-kit run, then rescue-kit kubeconfig refresh",
        warn: &[RENEW_BEFORE],
    };
    write_calendar(calendar, &entry)
}

/// Refuses a calendar entry that exists, before anything is done.
pub(super) fn refuse_taken(calendar: &Calendar) -> Result<(), Failure> {
    match &calendar.ics {
        Some(path) => Ok(refuse_existing(path)?),
        None => Ok(()),
    }
}

/// Writes a calendar entry, if one is wanted.
pub(super) fn write_calendar(calendar: &Calendar, entry: &Event) -> Result<(), Failure> {
    match &calendar.ics {
        Some(path) => Ok(write_new(
            path,
            ics::calendar(std::slice::from_ref(entry)).as_bytes(),
        )?),
        None => Ok(()),
    }
}

/// Does what leaves a run behind.
pub(super) fn with_means<T>(
    context: &Context,
    sign_key: Option<&AuditKey>,
    act: impl FnOnce(&Means) -> Result<T, Failure>,
) -> Result<T, Failure> {
    act(&Means {
        circumstances: context.circumstances(),
        backup_to: None,
        sign_key,
        stop: &|| None,
        tell: &|_| {},
        watch: context.watch,
        deadline: None,
    })
}

/// A path of this host, absolute.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| Failure::unreadable(path, &error))
}
