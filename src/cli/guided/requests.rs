//! Certificates from a CA elsewhere: requests are written to a folder, or the answers in one are installed.

use std::path::{Path, PathBuf};

use crate::cli::guided::{Visit, questions, silence};
use crate::cli::{dispatch, parse};
use crate::error::Failure;
use crate::guide::{self, Answers, WayOut};
use crate::pki::name::printable;
use crate::render::text::{self, labelled};
use crate::request::{MANIFEST, Manifest};
use crate::stick;
use crate::terminal::question::Reply;
use crate::terminal::tell;

use questions::Step;

impl Visit<'_> {
    /// Writes requests to a new folder, or installs the answers of one that was signed; with the command that does it.
    pub(super) fn request(&self, ids: &[String], answers: &mut Answers) -> Result<Step, Failure> {
        let waiting = self.site.waiting_requests()?;
        for manifest in &waiting {
            tell(&format!("\n{}", told(manifest)));
        }
        tell("\nA new folder for the requests, or one that came back with their answers:\n");
        let proposed = proposed(&waiting);
        let asked = self.context.interview().text("folder", &proposed, &folder);
        let folder = match asked.map_err(silence)? {
            Reply::Given(folder) => folder,
            Reply::Back => return Ok(Step::Stay),
            Reply::Quit => return Ok(Step::Quit),
        };
        // What was answered on another way, and taken back, is no part of this one.
        answers.way = Some(WayOut::Request(ids.to_vec()));
        answers.names.clear();
        let words = if Path::new(&folder).exists() {
            match self.who(answers)? {
                Step::Answered => install(&folder, answers),
                Step::Back => return Ok(Step::Stay),
                other => return Ok(other),
            }
        } else {
            generate(&folder, ids, answers)
        };
        let typed = text::command(2, &guide::command(&words));
        tell(&format!("\n$ {}", typed.trim_start()));
        let words = self.context.typed(&words);
        let exit = dispatch(&parse(&words)?, &words)?;
        Ok(Step::Ended(exit))
    }

    /// Who installs them, and with which ticket.
    fn who(&self, answers: &mut Answers) -> Result<Step, Failure> {
        loop {
            match self.operator(answers)? {
                Step::Answered => {},
                other => return Ok(other),
            }
            match self.ticket(answers)? {
                Step::Back => {},
                other => return Ok(other),
            }
        }
    }
}

/// A node that is dead needs what its other CAs sign in the same run, or it does not come back.
fn install(folder: &str, answers: &Answers) -> Vec<String> {
    let words = ["csr", "install", folder, "--with-due"].map(str::to_owned);
    words
        .into_iter()
        .chain(guide::typed(&answers.flags()))
        .collect()
}

fn generate(folder: &str, ids: &[String], answers: &Answers) -> Vec<String> {
    let words = ["csr", "generate"].map(str::to_owned);
    let flags = [("out", folder.to_owned()), ("only", ids.join(","))];
    let flags = flags.map(|(flag, value)| (flag.to_owned(), value));
    words
        .into_iter()
        .chain(guide::typed(&flags))
        .chain(guide::typed(&answers.given))
        .collect()
}

/// Requests that were made here, and whose answers have not come.
fn told(manifest: &Manifest) -> String {
    let ids: Vec<&str> = manifest.requests.iter().map(|entry| &*entry.id).collect();
    let label = format!("requested at {}:", manifest.at);
    labelled(&label, &label, &printable(&ids.join(", ")))
}

/// The usual folder: where one with requests is, if answers are awaited; else on a stick, or here.
fn proposed(waiting: &[Manifest]) -> String {
    let sticks = stick::sticks().into_iter().map(|stick| stick.at);
    let places: Vec<PathBuf> = sticks
        .chain([PathBuf::from("/root")])
        .map(|place| place.join("rescue-kit-requests"))
        .collect();
    let mut awaited = places.iter().filter(|place| place.join(MANIFEST).is_file());
    let known = awaited.next().filter(|_| !waiting.is_empty());
    let proposed = known.or_else(|| places.first());
    proposed.map_or_else(String::new, |place| place.display().to_string())
}

/// Whether a text is a folder for requests: one that is not there yet, or one that holds requests.
fn folder(text: &str) -> Result<(), String> {
    let path = questions::absolute(text)?;
    let is_free = path.symlink_metadata().is_err();
    if is_free || path.join(MANIFEST).is_file() {
        return Ok(());
    }
    Err(format!("{text} exists, and holds no requests"))
}
