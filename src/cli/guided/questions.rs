//! The questions of the guided rescue between the way out and the last yes.

use std::path::{Path, PathBuf};

use crate::cli::guided::{Ready, Visit, silence};
use crate::cli::run;
use crate::config;
use crate::diff;
use crate::error::Failure;
use crate::exit::Exit;
use crate::guide::Answers;
use crate::inventory::Inventory;
use crate::plan::Plan;
use crate::render::guide as screens;
use crate::render::text;
use crate::render::text::{Paint as _, Tone};
use crate::stick;
use crate::store::RunDir;
use crate::terminal::question::Reply;
use crate::terminal::tell;

/// A question.
#[derive(Clone, Copy, Debug)]
pub(super) enum Question {
    Way,
    Operator,
    Ticket,
    Backup,
    Names,
    Plan,
}

/// The questions in their order.
pub(super) const ORDER: [Question; 6] = [
    Question::Way,
    Question::Operator,
    Question::Ticket,
    Question::Backup,
    Question::Names,
    Question::Plan,
];

/// What a question led to.
pub(super) enum Step {
    /// Look again.
    Again,
    /// On to the next question.
    Answered,
    /// To the question before.
    Back,
    /// Everything is over.
    Ended(Exit),
    /// Change nothing.
    Quit,
    /// There is nothing to ask.
    Skipped,
    /// Ask the same again.
    Stay,
}

impl Visit<'_> {
    pub(super) fn operator(&self, answers: &mut Answers) -> Result<Step, Failure> {
        tell("\nWho does this? The journal, the audit and the ledger name you.\n");
        let asked = self
            .context
            .interview()
            .text("operator", &answers.operator, &|text| {
                if text.is_empty() {
                    return Err("a name, please".to_owned());
                }
                Ok(())
            });
        Ok(match asked.map_err(silence)? {
            Reply::Given(name) => {
                answers.operator = name;
                Step::Answered
            },
            Reply::Back => Step::Back,
            Reply::Quit => Step::Quit,
        })
    }

    pub(super) fn ticket(&self, answers: &mut Answers) -> Result<Step, Failure> {
        let known = answers.ticket.clone().unwrap_or_default();
        let asked = self
            .context
            .interview()
            .text("ticket that allows it", &known, &|_| Ok(()));
        Ok(match asked.map_err(silence)? {
            Reply::Given(ticket) => {
                answers.ticket = Some(ticket).filter(|ticket| !ticket.is_empty());
                Step::Answered
            },
            Reply::Back => Step::Back,
            Reply::Quit => Step::Quit,
        })
    }

    /// Where a second copy of the backup goes.
    pub(super) fn backup(&self, answers: &mut Answers) -> Result<Step, Failure> {
        let below = self.site.look.state_dir.strip_prefix("/");
        let here = self
            .site
            .state
            .root()
            .join(below.unwrap_or(&self.site.look.state_dir));
        let free = self
            .site
            .state
            .free_bytes(&self.site.look.state_dir)
            .map_or_else(|_| "unknown".to_owned(), size);
        let text = format!(
            "A backup is made before the first change, in {} ({free} free). A second copy, without CA keys, may go to a stick:",
            here.display()
        );
        tell(&format!("\n{}", screens::paragraph(&text)));
        let sticks = stick::sticks();
        let mut items = vec!["no second copy".to_owned()];
        for stick in &sticks {
            let about = format!(
                "{} ({}, {} free)",
                stick.at.display(),
                stick.kind,
                size(stick.free)
            );
            items.push(about);
        }
        items.push("another directory".to_owned());
        let chosen = match self.context.interview().choose(&items).map_err(silence)? {
            Reply::Given(index) => index,
            Reply::Back => return Ok(Step::Back),
            Reply::Quit => return Ok(Step::Quit),
        };
        answers.backup_to = match chosen {
            0 => None,
            chosen => match sticks.get(chosen - 1) {
                Some(stick) => Some(stick.at.display().to_string()),
                None => match self
                    .context
                    .interview()
                    .text("directory", "", &directory)
                    .map_err(silence)?
                {
                    Reply::Given(path) => Some(path),
                    Reply::Back => return Ok(Step::Stay),
                    Reply::Quit => return Ok(Step::Quit),
                },
            },
        };
        Ok(Step::Answered)
    }

    /// Names in serving certificates: those that are expected and there, and those that somebody wants besides.
    pub(super) fn names(&self, answers: &mut Answers) -> Result<Step, Failure> {
        answers.names = Vec::new();
        let (inventory, plan) = Ready::of(self.context, answers)?.plan(&self.site)?;
        let names = screens::names(&plan, &inventory, &self.context.painter);
        if names.is_empty() {
            return Ok(Step::Skipped);
        }
        let usual = "Normally none are to be added: only names by which clients will call these servers from now on.";
        self.show(&format!("\n{names}{}", screens::paragraph(usual)), 1)?;
        let profile = &self.site.profile;
        let question = "names to add ([ID=]IP or DNS, with commas)";
        let asked = self.context.interview().text(question, "", &|text| {
            let mut wanted = split(text);
            wanted.try_for_each(|name| config::name(name, profile).map_err(|failure| failure.text))
        });
        Ok(match asked.map_err(silence)? {
            Reply::Given(text) => {
                answers.names = split(&text).map(str::to_owned).collect();
                Step::Answered
            },
            Reply::Back => Step::Back,
            Reply::Quit => Step::Quit,
        })
    }

    /// The plan, and the last question. No is what an empty line means.
    pub(super) fn plan(&self, answers: &Answers) -> Result<Step, Failure> {
        let ready = Ready::of(self.context, answers)?;
        let (inventory, plan) = ready.plan(&self.site)?;
        if plan.is_empty() {
            return Ok(Step::Ended(run::nothing(self.context, &inventory)));
        }
        let paint = &self.context.painter;
        let head = paint.paint(Tone::Heading, "the same without questions:");
        let text = format!(
            "\n{}\n{head}\n{}",
            screens::plan(&plan, &inventory, paint),
            text::command(0, &answers.command())
        );
        let items = [
            "no, change nothing",
            "yes, do it",
            "explain: every file, name, and what differs",
            "save the answers to a file",
        ]
        .map(str::to_owned);
        // A blank line and the question are above them, the prompt is below.
        let below = items.len() + 3;
        self.show(&text, below)?;
        loop {
            tell("\nDo it?\n");
            match self.context.interview().choose(&items).map_err(silence)? {
                Reply::Given(0) | Reply::Quit => return Ok(Step::Quit),
                Reply::Given(1) => return self.carry_out(&ready, &inventory, plan),
                Reply::Given(2) => self.explain(&inventory, &plan, below)?,
                Reply::Given(_) => self.save(answers)?,
                Reply::Back => return Ok(Step::Back),
            }
        }
    }

    fn explain(&self, inventory: &Inventory, plan: &Plan, below: usize) -> Result<(), Failure> {
        let paint = &self.context.painter;
        let text = text::plan(plan, inventory, paint);
        let differs = text::diff(&diff::planned(inventory, plan), paint);
        self.show(&format!("{text}\n{differs}"), below)
    }

    /// Saves the answers where nothing is yet.
    fn save(&self, answers: &Answers) -> Result<(), Failure> {
        let below = answers
            .backup_to
            .clone()
            .unwrap_or_else(|| "/root".to_owned());
        let proposed = Path::new(&below)
            .join("rescue-kit-answers.toml")
            .display()
            .to_string();
        let asked = self.context.interview().text("file", &proposed, &new_file);
        let Reply::Given(path) = asked.map_err(silence)? else {
            return Ok(());
        };
        let path = PathBuf::from(path);
        let (parent, name) = (
            path.parent(),
            path.file_name().and_then(|name| name.to_str()),
        );
        if let (Some(parent), Some(name)) = (parent, name) {
            RunDir::on_host(parent)?.write(name, answers.to_toml().as_bytes())?;
            tell(&format!(
                "saved; later: rescue-kit run --answers {} --yes\n",
                path.display()
            ));
        }
        Ok(())
    }
}

/// The names of a list with commas.
fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
}

/// A path that means the same from everywhere.
pub(super) fn absolute(text: &str) -> Result<&Path, String> {
    let path = Path::new(text);
    if path.is_absolute() {
        return Ok(path);
    }
    Err("an absolute path, please".to_owned())
}

/// Whether a text is a directory into which a backup can be copied.
fn directory(text: &str) -> Result<(), String> {
    let path = absolute(text)?;
    if !path.is_dir() {
        return Err(format!("{text} is no directory"));
    }
    match stick::free_bytes(path) {
        Some(_) => Ok(()),
        None => Err(format!("{text} cannot be written")),
    }
}

/// Whether a text is a file that could be made.
fn new_file(text: &str) -> Result<(), String> {
    let path = absolute(text)?;
    let parent = path.parent().filter(|_| path.file_name().is_some());
    let parent = parent.ok_or_else(|| format!("{text} is no file"))?;
    if path.symlink_metadata().is_ok() {
        return Err(format!("{text} exists"));
    }
    if parent.is_dir() {
        Ok(())
    } else {
        Err(format!("{} is no directory", parent.display()))
    }
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    let tenths = |unit: u64| format!("{}.{}", bytes / unit, bytes % unit * 10 / unit);
    match bytes {
        b if b >= 1 << 30 => format!("{} GiB", tenths(1 << 30)),
        b if b >= 1 << 20 => format!("{} MiB", tenths(1 << 20)),
        b => format!("{} KiB", b >> 10),
    }
}
