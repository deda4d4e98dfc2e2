//! A run that stopped half-way: finish it or put everything back, before anything else.

use crate::cli::args::Keeping;
use crate::cli::context::Context;
use crate::cli::guided::{given, show, silence};
use crate::cli::{inspect, parse, run};
use crate::config::RENEW_BEFORE;
use crate::error::Failure;
use crate::exit::Exit;
use crate::flow::site::Site;
use crate::guide;
use crate::journal::{self, Way};
use crate::pki::name::printable;
use crate::render::text::{Paint as _, Tone, labelled};
use crate::terminal::question::Reply;
use crate::terminal::{say, tell};

pub(super) fn unfinished(context: &Context, site: &Site, name: &str) -> Result<Exit, Failure> {
    say(&standing(context, site, name)?);
    let items = [
        "finish it",
        "put everything back as it was before",
        "show what is broken now",
        "quit, leave it as it is",
    ]
    .map(str::to_owned);
    let interview = context.interview();
    // The prompt is below them.
    let below = items.len() + 1;
    loop {
        match interview.choose(&items).map_err(silence)? {
            Reply::Given(0) => return take_up(context, site, name, Way::Forward),
            Reply::Given(1) => return take_up(context, site, name, Way::Back),
            Reply::Given(2) => {
                let text = inspect::page(context, &site.inspect(RENEW_BEFORE)?, RENEW_BEFORE);
                interview.show(&text, below).map_err(silence)?;
            },
            Reply::Given(_) | Reply::Quit => {
                let later = format!("rescue-kit resume {name}, or: rescue-kit rollback {name}");
                tell(&labelled(
                    "left as it is; later:",
                    "left as it is; later:",
                    &later,
                ));
                return Ok(Exit::Declined);
            },
            Reply::Back => tell("this is the first question\n"),
        }
    }
}

/// Finishes or undoes the run as the command of its own would.
fn take_up(context: &Context, site: &Site, name: &str, way: Way) -> Result<Exit, Failure> {
    let verb = if way == Way::Forward {
        "resume"
    } else {
        "rollback"
    };
    let mut words = [verb, name, "--yes"].map(str::to_owned).to_vec();
    words.extend(guide::typed(&given(context.global)));
    let words = context.typed(&words);
    let arguments = parse(&words)?;
    let context = Context::new(&arguments.global, &words, true).guided();
    let keeping = Keeping {
        backup_to: None,
        sign_key: None,
    };
    let _lock = site.lock()?;
    let done = run::with_means(&context, &keeping, 0, |means| site.go(name, way, means))??;
    Ok(show(&context, &done, None))
}

/// Where the run stands: who began it, and how far it came.
fn standing(context: &Context, site: &Site, name: &str) -> Result<String, Failure> {
    let run = site.open_run(name)?;
    let records = run.records();
    let commits = &run.plan.phases.commit;
    let placed = commits
        .iter()
        .filter(|step| journal::is_placed(records, &step.id))
        .count();
    let who =
        journal::begin(records).map_or_else(String::new, |begin| format!(" of {}", begin.operator));
    let at = records
        .first()
        .map_or_else(String::new, |record| format!(" at {}", record.at));
    let head = format!("the run {name}{who}, begun{at}, stopped half-way");
    let label = context.painter.paint(Tone::Bad, "unfinished:");
    let mut text = labelled(&label, "unfinished:", &printable(&head));
    let far = format!(
        "{placed} of {} places are replaced; nothing else is begun before it is finished or put back",
        commits.len()
    );
    text.push_str(&labelled("  ", "  ", &far));
    text.push('\n');
    Ok(text)
}
