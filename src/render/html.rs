//! The report for people: one HTML page that needs nothing beside itself, for screens and for paper.
//!
//! No script, no link to elsewhere, no clock: the same view gives the same bytes. Whatever comes from a file or from the
//! operator passes through `markup::Html::text`, which the types enforce.

mod chains;
mod chart;
mod done;
mod markup;
mod node;
#[cfg(test)]
pub(super) mod sample;
mod sections;
#[cfg(test)]
mod tests;
mod timeline;

use crate::finding::Finding;
use crate::inventory::{Inventory, Scope};
use crate::journal::{self, Begin, Body, Record, Verdict};
use crate::plan::{Plan, Purpose};
use crate::verification::Verification;

use markup::Html;

pub use node::{NodeView, inspection};

/// Everything that a report tells of.
pub struct ReportView<'a> {
    /// Who began the run.
    pub begin: &'a Begin,
    /// The journal.
    pub records: &'a [Record],
    /// The plan.
    pub plan: &'a Plan,
    /// What was there before.
    pub before: &'a Inventory,
    /// What is there now, if the run came so far.
    pub after: Option<&'a Inventory>,
    /// What was wrong before.
    pub findings: &'a [Finding],
    /// The first cause of it, one sentence.
    pub cause: Option<&'a str>,
    /// What was proved.
    pub verification: Option<&'a Verification>,
    /// What is wrong now.
    pub left: &'a [Finding],
}

/// Writes the report: a whole HTML document, UTF-8, lines ended by LF.
pub fn report(view: &ReportView) -> String {
    let sections = [
        ("broken", "What was broken", sections::broken(view)),
        ("done", "What was done", done::done(view)),
        (
            "certificates",
            "Certificates before and after",
            sections::certificates(view),
        ),
        (
            "chains",
            "Who signed what",
            chains::chains(view.after.unwrap_or(view.before)),
        ),
        (
            "verification",
            "What was verified",
            sections::verification(view),
        ),
        (
            "remains",
            "What remains to be done",
            sections::remains(view),
        ),
        ("timeline", "Timeline", timeline::timeline(view)),
        ("check", "How to check this evidence", sections::check()),
    ];
    let title = format!(
        "{} of {}: run {}",
        purpose(view),
        node(view.before),
        view.begin.run
    );
    page(&title, header(view), sections.into(), footer(view))
}

/// A whole document: what heads it, sections by id and title, what ends it.
fn page(
    title: &str,
    header: Html,
    sections: Vec<(&'static str, &'static str, Html)>,
    footer: Html,
) -> String {
    let links = sections.iter().map(|(id, title, _)| link(id, title));
    let links = Html::join(links)
        .within("ol")
        .with("nav", &[("aria-label", "Contents")]);
    let main = sections
        .into_iter()
        .map(|(id, title, body)| section(id, title, body));
    let main = Html::join(main).within("main");
    let body = Html::join([header, links, main, footer]).within("body");
    let title = Html::text(title);
    let style = Html::ours(STYLE).within("style");
    let head = Html::join([Html::ours(HEAD), title.within("title"), style]).within("head");
    let page = Html::join([head, body]).with("html", &[("lang", "en")]);
    format!("<!DOCTYPE html>\n{}\n", page.into_string())
}

fn link(id: &str, title: &str) -> Html {
    let target = format!("#{id}");
    Html::text(title)
        .with("a", &[("href", &target)])
        .within("li")
}

fn section(id: &str, title: &str, body: Html) -> Html {
    let named = format!("{id}-title");
    let heading = Html::text(title).with("h2", &[("id", &named)]);
    Html::join([heading, body]).with("section", &[("id", id), ("aria-labelledby", &named)])
}

pub(super) const HEAD: &str = include_str!("../../templates/report-head.html");
pub(super) const STYLE: &str = include_str!("../../templates/report.css");

/// Name, outcome, and who, when, why.
fn header(view: &ReportView) -> Html {
    let (tone, outcome) = outcome(view);
    let title = format!("{} of {}", purpose(view), node(view.before));
    headed(&title, tone, &outcome, facts(view))
}

/// A title, the outcome in one sentence, and facts by name.
fn headed(title: &str, tone: &str, outcome: &str, facts: Vec<(&'static str, Html)>) -> Html {
    let title = Html::text(title).within("h1");
    let outcome = Html::text(outcome).with("p", &[("class", &format!("outcome {tone}"))]);
    let facts = facts.into_iter().map(|(name, value)| {
        let (name, value) = (Html::text(name).within("dt"), value.within("dd"));
        Html::join([name, value]).within("div")
    });
    Html::join([title, outcome, Html::join(facts).within("dl")]).within("header")
}

fn facts(view: &ReportView) -> Vec<(&'static str, Html)> {
    let begin = view.begin;
    let mut facts = vec![
        ("Node", Html::text(node(view.before))),
        ("Operator", Html::text(&begin.operator)),
    ];
    facts.extend(
        begin
            .ticket
            .as_ref()
            .map(|ticket| ("Ticket", Html::text(ticket))),
    );
    facts.extend(
        begin
            .reason
            .as_ref()
            .map(|reason| ("Reason", Html::text(reason))),
    );
    facts.extend(times(view));
    let scope = scope(view.before);
    let code = |text: &str| Html::text(text).within("code");
    let unknown = || Html::text("could not be read");
    let binary = begin
        .binary
        .map_or_else(unknown, |digest| code(&digest.to_string()));
    facts.extend([
        ("Scope", Html::text(scope)),
        ("Profile", Html::text(&view.plan.profile)),
        ("Run", code(&begin.run)),
        ("Tool", Html::text(format!("rescue-kit {}", begin.version))),
        ("Command", code(&begin.command.join(" "))),
        ("SHA-256 of the tool", binary),
        ("SHA-256 of the plan", code(&begin.plan.to_string())),
        (
            "Identifier of the node",
            code(&view.before.node.id.to_string()),
        ),
    ]);
    facts
}

/// When, how long, and by which clock.
fn times(view: &ReportView) -> Vec<(&'static str, Html)> {
    let at = |record: Option<&Record>| record.map_or(view.plan.at, |record| record.at);
    let clock = &view.before.clock;
    let verdict = match clock.judge(view.before.at) {
        Ok(()) => "plausible: no trace of a later time".to_owned(),
        Err(why) => why,
    };
    let mut times = vec![
        ("Begun", Html::time(at(view.records.first()))),
        ("Last entry", Html::time(at(view.records.last()))),
        ("Took", Html::text(took(view.records))),
        ("Clock", Html::text(verdict)),
    ];
    times.extend(
        clock
            .stated
            .map(|at| ("Time stated by the operator", Html::time(at))),
    );
    times
}

/// How the run ended, and in which tone to say so.
fn outcome(view: &ReportView) -> (&'static str, String) {
    let issued = journal::issued(view.records).count();
    let failed = view
        .verification
        .is_some_and(|verification| !verification.passed());
    match journal::verdict(view.records) {
        Some(Verdict::Done) if failed => (
            "bad",
            "Done, but the verification failed: a person must look.".to_owned(),
        ),
        Some(verdict) if view.plan.purpose == Purpose::Access => match verdict {
            Verdict::Done if view.records.iter().any(is_refreshed) => {
                ("good", "Copies of a kubeconfig were refreshed.".to_owned())
            },
            Verdict::Done => ("good", "Access was given.".to_owned()),
            Verdict::RolledBack => ("good", "Access was taken back.".to_owned()),
        },
        Some(Verdict::Done) => {
            let replaced = view.plan.phases.commit.len();
            (
                "good",
                format!("Done. Certificates issued: {issued}; places replaced: {replaced}."),
            )
        },
        Some(Verdict::RolledBack) => (
            "warn",
            "Rolled back: every file is as it was before.".to_owned(),
        ),
        None => match journal::failure(view.records) {
            Some((step, why)) => ("bad", format!("Unfinished: step {step} failed: {why}.")),
            None => ("bad", "Unfinished: the journal has no end.".to_owned()),
        },
    }
}

fn is_refreshed(record: &Record) -> bool {
    matches!(record.body, Body::Refreshed { .. })
}

/// Time by the clock that nobody sets; it begins anew with every process that takes the run up.
fn took(records: &[Record]) -> String {
    let processes = records
        .iter()
        .enumerate()
        .filter(|(index, record)| *index == 0 || matches!(record.body, Body::Resume { .. }));
    let begins: Vec<usize> = processes.map(|(index, _)| index).collect();
    let mut total = 0;
    for (place, &begin) in begins.iter().enumerate() {
        let end = begins.get(place + 1).copied().unwrap_or(records.len());
        let of = |index: usize| records.get(index).map_or(0, |record| record.elapsed_ms);
        total += of(end.saturating_sub(1)).saturating_sub(of(begin));
    }
    match begins.len() {
        0 | 1 => format!("{total} ms"),
        several => format!("{total} ms in {several} processes"),
    }
}

fn purpose(view: &ReportView) -> &'static str {
    match view.plan.purpose {
        Purpose::Access => "Access that was given",
        Purpose::Rescue => "Certificate rescue",
        Purpose::Restore(_) => "Restore from a backup",
    }
}

fn scope(inventory: &Inventory) -> &'static str {
    match inventory.scope {
        Scope::Files => "files below another root: nothing was running there",
        Scope::Live | Scope::Local => "this running system",
    }
}

fn node(inventory: &Inventory) -> String {
    let name = inventory.node.name.as_ref();
    name.map_or_else(|| "an unnamed node".to_owned(), |fact| fact.value.clone())
}

fn footer(view: &ReportView) -> Html {
    let text = format!(
        "Run {}, written by rescue-kit {}. All times are UTC. No private key, token or password is in this report.",
        view.begin.run, view.begin.version
    );
    Html::text(text).within("footer")
}
