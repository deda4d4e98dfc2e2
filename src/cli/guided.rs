//! The guided rescue: on a terminal, without a command. It looks, advises, asks, shows the plan, and does nothing that was not
//! agreed to. What is answered becomes the command line of the unattended rescue, and that is what is carried out.

mod questions;
mod requests;
mod unfinished;

use std::path::{Path, PathBuf};

use crate::cli::args::{Arguments, Command, Global, Keeping, PolicyArgs};
use crate::cli::context::Context;
use crate::cli::{explain, inspect, run};
use crate::config::{self, RENEW_BEFORE};
use crate::error::Failure;
use crate::exit::Exit;
use crate::flow::failure::RescueError;
use crate::flow::rescue::Done;
use crate::flow::site::{Inspection, Site};
use crate::guide::{self, Answers, Guidance, WayOut};
use crate::inventory::Inventory;
use crate::listing;
use crate::pki::name::printable;
use crate::plan::{Plan, Policy};
use crate::render::guide as screens;
use crate::render::text::labelled;
use crate::terminal::question::{Reply, Silence};
use crate::terminal::{say, size, tell};

use questions::{Question, Step};

pub(super) fn guided(context: &Context) -> Result<Exit, Failure> {
    context.catch_signals()?;
    loop {
        let site = context.site()?;
        if let Some(name) = site.unfinished_run()? {
            return unfinished::unfinished(context, &site, &name);
        }
        if let Some(exit) = Visit::begin(context, site)?.walk()? {
            return Ok(exit);
        }
    }
}

/// A look at the node, and what follows from it.
struct Visit<'a> {
    context: &'a Context<'a>,
    site: Site,
    seen: Inspection,
    guidance: Guidance,
}

impl<'a> Visit<'a> {
    fn begin(context: &'a Context<'a>, site: Site) -> Result<Self, Failure> {
        let seen = site.inspect(RENEW_BEFORE)?;
        let usual = Policy {
            renew_before: RENEW_BEFORE,
            ..Policy::default()
        };
        let guidance = guide::guidance(&seen.inventory, &site.profile, &usual);
        Ok(Self {
            context,
            site,
            seen,
            guidance,
        })
    }

    /// Asks one question after the other; `None` if the node is to be looked at again.
    fn walk(&self) -> Result<Option<Exit>, Failure> {
        self.diagnose();
        let mut answers = Answers {
            given: given(self.context.global),
            operator: self.context.operator(),
            ticket: self.context.global.ticket.clone(),
            ..Answers::default()
        };
        let mut at = 0;
        let mut is_going_back = false;
        loop {
            match self.ask(questions::ORDER[at], &mut answers)? {
                Step::Again => return Ok(None),
                Step::Ended(exit) => return Ok(Some(exit)),
                Step::Quit => return Ok(Some(self.quit())),
                Step::Stay => continue,
                Step::Answered => is_going_back = false,
                Step::Back => is_going_back = true,
                // On in the direction from which it was reached.
                Step::Skipped => {},
            }
            at = if is_going_back {
                at.saturating_sub(1)
            } else {
                at + 1
            };
        }
    }

    fn ask(&self, question: Question, answers: &mut Answers) -> Result<Step, Failure> {
        match question {
            Question::Way => self.way(answers),
            Question::Operator => self.operator(answers),
            Question::Ticket => self.ticket(answers),
            Question::Backup => self.backup(answers),
            Question::Names => self.names(answers),
            Question::Plan => self.plan(answers),
        }
    }

    fn diagnose(&self) {
        let rows = listing::rows(&self.seen.inventory, RENEW_BEFORE);
        say(&screens::diagnosis(
            &screens::Diagnosis {
                inventory: &self.seen.inventory,
                rows: &rows,
                findings: &self.seen.findings,
                cause: self.seen.cause.as_deref(),
                guidance: &self.guidance,
                height: size().0.saturating_sub(self.below()),
            },
            &self.context.painter,
        ));
        say("\n");
    }

    /// Lines of the first question: each choice has one, those with a cost two, the prompt one, and a blank one is above them.
    fn below(&self) -> usize {
        self.choices().len() + self.guidance.ways.len() + 2
    }

    /// What can be chosen first: ways out, the best first, then what else to look at.
    fn choices(&self) -> Vec<(String, Choice)> {
        let mut items: Vec<(String, Choice)> = Vec::new();
        for advice in &self.guidance.ways {
            let what = format!(
                "{} ({})",
                advice.way.title(),
                screens::cost(advice, &self.seen.inventory)
            );
            items.push((what, Choice::Way(advice.way.clone())));
        }
        if !self.guidance.ways.is_empty() {
            items.push(("explain that first".to_owned(), Choice::ExplainWays));
        }
        if let Some(first) = self.seen.findings.first() {
            let code = first.code.id();
            items.push((
                format!("explain the first finding ({code})"),
                Choice::Explain(code),
            ));
        }
        items.push(("show everything that was seen".to_owned(), Choice::Inspect));
        items.push(("look again".to_owned(), Choice::Again));
        items.push(("quit, change nothing".to_owned(), Choice::Quit));
        if self.guidance.is_well() {
            items.rotate_right(1);
        }
        items
    }

    /// Which way out, or what else to look at.
    fn way(&self, answers: &mut Answers) -> Result<Step, Failure> {
        let mut items = self.choices();
        let titles: Vec<String> = items.iter().map(|(title, _)| title.clone()).collect();
        let chosen = match self.context.interview().choose(&titles).map_err(silence)? {
            Reply::Given(index) => items.swap_remove(index).1,
            Reply::Back => {
                tell("this is the first question\n");
                return Ok(Step::Stay);
            },
            Reply::Quit => return Ok(Step::Quit),
        };
        self.take(chosen, answers)
    }

    fn take(&self, chosen: Choice, answers: &mut Answers) -> Result<Step, Failure> {
        match chosen {
            Choice::Way(WayOut::Request(ids)) => self.request(&ids, answers),
            Choice::Way(way) => {
                answers.way = Some(way);
                Ok(Step::Answered)
            },
            Choice::ExplainWays => {
                let (guidance, inventory) = (&self.guidance, &self.seen.inventory);
                let text = screens::ways(guidance, inventory, &self.context.painter);
                self.show(&format!("{text}\n"), self.below())?;
                Ok(Step::Stay)
            },
            Choice::Explain(code) => {
                let text = explain::code(self.context, &code);
                self.show(&format!("{text}\n"), self.below())?;
                Ok(Step::Stay)
            },
            Choice::Inspect => {
                let text = inspect::page(self.context, &self.seen, RENEW_BEFORE);
                self.show(&format!("{text}\n"), self.below())?;
                Ok(Step::Stay)
            },
            Choice::Again => Ok(Step::Again),
            Choice::Quit => Ok(Step::Quit),
        }
    }

    /// Carries out what was agreed to, under the lock; what changed meanwhile takes another look.
    fn carry_out(&self, ready: &Ready, inventory: &Inventory, plan: Plan) -> Result<Step, Failure> {
        let context = Context::new(&ready.arguments.global, &ready.words, true).guided();
        let _lock = self.site.lock()?;
        self.site.refuse_unfinished()?;
        match run::execute(
            &context,
            &self.site,
            inventory,
            plan,
            &ready.keeping,
            &|_| None,
        )? {
            Ok(done) => Ok(Step::Ended(show(
                &context,
                &done,
                ready.keeping.backup_to.as_deref(),
            ))),
            Err(RescueError::Overtaken { source, .. }) => {
                let text = format!("{source}; nothing was changed here; looking again");
                tell(&labelled("rescue-kit:", "rescue-kit:", &printable(&text)));
                Ok(Step::Again)
            },
            Err(error) => Err(error.into()),
        }
    }

    fn quit(&self) -> Exit {
        tell("nothing was changed\n");
        if self.guidance.is_well() {
            Exit::Done
        } else {
            Exit::Declined
        }
    }

    /// Shows a text, a page at a time; what is asked after it has `below` lines.
    fn show(&self, text: &str, below: usize) -> Result<(), Failure> {
        let interview = self.context.interview();
        interview.show(text, below).map_err(silence)
    }
}

/// What can be chosen first.
enum Choice {
    Again,
    Explain(String),
    ExplainWays,
    Inspect,
    Quit,
    Way(WayOut),
}

/// The unattended command that the answers make.
struct Ready {
    words: Vec<std::ffi::OsString>,
    arguments: Arguments,
    policy: PolicyArgs,
    keeping: Keeping,
}

impl Ready {
    fn of(context: &Context, answers: &Answers) -> Result<Self, Failure> {
        let words = context.typed(&answers.words());
        let arguments = super::parse(&words)?;
        let Some(Command::Run { policy, keeping }) = &arguments.command else {
            return Err(Failure::usage(
                "the answers make no command",
                "rescue-kit run --help",
            ));
        };
        let (policy, keeping) = (policy.clone(), keeping.clone());
        Ok(Self {
            words,
            arguments,
            policy,
            keeping,
        })
    }

    /// Looks and plans as the unattended command would.
    fn plan(&self, site: &Site) -> Result<(Inventory, Plan), Failure> {
        let policy = config::policy(&self.policy, &site.profile)?;
        Ok(site.plan(&policy)?)
    }
}

/// Shows what was done. A second copy of the backup is in the directory `copy`.
fn show(context: &Context, done: &Done, copy: Option<&Path>) -> Exit {
    let text = screens::result(
        &screens::Result {
            verdict: done.verdict,
            elapsed_ms: done.elapsed_ms,
            meter: done.meter.as_ref(),
            verification: &done.verification,
            audit: done.path.join(crate::run::AUDIT).display().to_string(),
            copy: copy.map(|copy| copy.join(crate::run::copy(&done.run)).display().to_string()),
            run: &done.run,
            undo: undo(context, &done.run),
            renewed_authorities: {
                let mut stages = done.plan.phases.stage.iter();
                stages.any(|stage| done.after.authority(&stage.credential).is_some())
            },
            next: &done.next(),
        },
        &context.painter,
    );
    // It is over, also for those who do not read to the end.
    context.interview().show(&text, 0).unwrap_or_default();
    Exit::Done
}

/// The command that undoes a run.
fn undo(context: &Context, run: &str) -> String {
    let mut places = given(context.global);
    places.retain(|(flag, _)| ["root", "profile", "state-dir"].contains(&flag.as_str()));
    let last = ["rollback", run].map(str::to_owned);
    guide::command(&guide::typed(&places).chain(last).collect::<Vec<_>>())
}

/// A signal, or a terminal that is gone: nothing was begun yet.
pub(super) fn silence(silence: Silence) -> Failure {
    let (exit, what) = match silence {
        Silence::Gone => (Exit::Signal(1), "the terminal is gone".to_owned()),
        Silence::Signal(signal) => (Exit::Signal(signal), format!("stopped by signal {signal}")),
    };
    Failure::new(exit, format!("{what}; nothing was changed"), "")
}

/// The flags with which the guided rescue was started and which the unattended one needs, too.
fn given(global: &Global) -> Vec<(String, String)> {
    let mut given = Vec::new();
    let mut add = |flag: &str, value: Option<String>| {
        given.extend(value.map(|value| (flag.to_owned(), value)));
    };
    let path = |path: &PathBuf, usual: &str| {
        let text = path.display().to_string();
        (text != usual).then_some(text)
    };
    add("root", path(&global.root, "/"));
    add("profile", global.profile.clone());
    add("now", global.now.clone());
    add("state-dir", path(&global.state_dir, "var/lib/rescue-kit"));
    add("deadline", global.deadline.clone());
    add("reason", global.reason.clone());
    given
}
