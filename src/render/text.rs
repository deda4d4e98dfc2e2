//! Text for people: at most 80 columns, unless a path is longer than that.

use crate::defect::{self, Status};
use crate::diff::{Diff, Face};
use crate::finding::{Finding, Severity};
use crate::inventory::{Inventory, Scope, WantedName};
use crate::journal::{Converged, Meter};
use crate::listing::Row;
use crate::pki::name::printable;
use crate::pki::utc::Utc;
use crate::plan::Plan;
use crate::plan::step::{KeyPlan, Origin, Remaining, Stage, Way};
use crate::verification::{Outcome, Verification};

/// The width of a serial console.
pub const WIDTH: usize = 80;

/// What a piece of text means, so that whoever shows it may colour it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tone {
    /// It is broken.
    Bad,
    /// It is well.
    Good,
    /// It heads what follows.
    Heading,
    /// It needs attention soon.
    Warn,
}

/// Puts marks of meaning around text.
pub trait Paint {
    /// The text, painted.
    fn paint(&self, tone: Tone, text: &str) -> String;
}

/// Paints nothing.
pub struct Plain;

impl Paint for Plain {
    fn paint(&self, _: Tone, text: &str) -> String {
        text.to_owned()
    }
}

/// The diagnosis: cause, table, findings.
pub fn inspection(
    inventory: &Inventory,
    rows: &[Row],
    findings: &[Finding],
    cause: Option<&str>,
    paint: &dyn Paint,
) -> String {
    let mut text = heading(inventory, paint);
    text.push('\n');
    match cause {
        Some(cause) => text.push_str(&labelled(
            &paint.paint(Tone::Bad, "cause:"),
            "cause:",
            cause,
        )),
        None => text.push_str(&format!(
            "{}\n",
            paint.paint(Tone::Good, "nothing is broken")
        )),
    }
    text.push('\n');
    text.push_str(&table(rows, inventory.at, paint));
    if !findings.is_empty() {
        text.push('\n');
        text.push_str(&self::findings(findings, paint));
    }
    text
}

/// One line a finding, and its hint once.
pub fn findings(findings: &[Finding], paint: &dyn Paint) -> String {
    let mut text = String::new();
    for (index, finding) in findings.iter().enumerate() {
        let (word, tone) = match finding.severity {
            Severity::Critical => ("critical", Tone::Bad),
            Severity::Warning => ("warning ", Tone::Warn),
            Severity::Info => ("info    ", Tone::Heading),
        };
        let code = finding.code.id();
        let label = format!("{word} {code}");
        let painted = format!("{} {code}", paint.paint(tone, word));
        text.push_str(&labelled(&painted, &label, &printable(&finding.text)));
        // The same hint for many findings in a row is said once, under the last of them.
        let next = findings.get(index + 1).map(|next| &next.hint);
        if !finding.hint.is_empty() && next != Some(&finding.hint) {
            text.push_str(&labelled("  hint:", "  hint:", &printable(&finding.hint)));
        }
    }
    text
}

/// The plan: what is issued, why, which names are added, what is replaced, what remains.
pub fn plan(plan: &Plan, inventory: &Inventory, paint: &dyn Paint) -> String {
    let mut text = heading(inventory, paint);
    if plan.is_empty() {
        text.push_str("\nnothing to do\n");
        return text;
    }
    if !plan.phases.stage.is_empty() {
        let head = format!("\nissue {} certificate(s)\n", plan.phases.stage.len());
        text.push_str(&paint.paint(Tone::Heading, &head));
    }
    for stage in &plan.phases.stage {
        text.push_str(&issue(stage, plan.at));
        text.push_str(&advice(stage, inventory));
    }
    let head = format!(
        "\nreplace {} place(s), in this order\n",
        plan.phases.commit.len()
    );
    text.push_str(&paint.paint(Tone::Heading, &head));
    for commit in &plan.phases.commit {
        let what = format!("{} ({})", printable(&commit.at.to_string()), commit.why);
        text.push_str(&labelled(
            &format!("  {}", commit.id),
            &format!("  {}", commit.id),
            &what,
        ));
    }
    text.push_str(&processes(plan, paint));
    text.push_str(&remaining(&plan.remaining, inventory.scope, paint));
    text
}

/// What is done to running processes, and what it costs.
fn processes(plan: &Plan, paint: &dyn Paint) -> String {
    if plan.phases.converge.is_empty() {
        return String::new();
    }
    let seconds = plan.downtime_seconds;
    let head = format!("\nmake it run (about {seconds} s without the API server)\n");
    let mut text = paint.paint(Tone::Heading, &head);
    let holds = plan
        .phases
        .hold
        .iter()
        .map(|step| (&step.id, &step.why, " (before files are replaced)"));
    let steps = plan
        .phases
        .converge
        .iter()
        .map(|step| (&step.id, &step.why, ""));
    for (id, why, note) in holds.chain(steps) {
        let deed = plan.deed(id, Way::Forward).unwrap_or_default();
        let label = format!("  {id}");
        text.push_str(&labelled(
            &label,
            &label,
            &format!("{deed}{note}: {}", printable(why)),
        ));
    }
    text
}

/// What was seen of each process, and for how long the API server was away.
pub fn converged(
    converged: &[(String, Converged)],
    meter: Option<&Meter>,
    paint: &dyn Paint,
) -> String {
    let mut text = String::new();
    for (who, seen) in converged.iter().filter(|(_, seen)| !seen.seen.is_empty()) {
        let time = format!("{}.{:01} s", seen.took_ms / 1000, seen.took_ms % 1000 / 100);
        let what = format!("{} ({time})", printable(&seen.seen.join("; ")));
        text.push_str(&labelled(&paint.paint(Tone::Good, who), who, &what));
    }
    if let Some(meter) = meter {
        let (seconds, tenths) = (meter.down_ms / 1000, meter.down_ms % 1000 / 100);
        text.push_str(&format!(
            "API server: {seconds}.{tenths} s without an answer to a client certificate\n"
        ));
    }
    text
}

/// What has to be done on the node.
pub fn remaining(remaining: &[Remaining], scope: Scope, paint: &dyn Paint) -> String {
    if remaining.is_empty() {
        return String::new();
    }
    let mut text = String::from("\n");
    let head = match scope {
        Scope::Files => "nothing was or will be restarted below this root; on the node itself",
        Scope::Live | Scope::Local => "what remains to be done, in this order",
    };
    text.push_str(&paint.paint(Tone::Heading, head));
    text.push('\n');
    let width = remaining
        .iter()
        .map(|r| r.consumer.len())
        .max()
        .unwrap_or(0);
    for step in remaining {
        let label = format!("  {:width$}", step.consumer);
        match &step.command {
            Some(command) => {
                text.push_str(&labelled(&label, &label, &step.why));
                text.push_str(&self::command(4, &printable(command)));
            },
            None => text.push_str(&labelled(&label, &label, &step.why)),
        }
    }
    if scope == Scope::Files {
        text.push_str("  (if the node is switched off: boot it; nothing else)\n");
    }
    text
}

/// What differs: `-` as it was, `+` as it is or will be.
pub fn diff(diff: &Diff, paint: &dyn Paint) -> String {
    let mut text = String::new();
    for after in &diff.after {
        text.push_str(&format!("{}\n", after.id));
        if let Some(before) = diff.before.iter().find(|before| before.id == after.id) {
            text.push_str(&paint.paint(Tone::Bad, &face("-", before)));
        }
        text.push_str(&paint.paint(Tone::Good, &face("+", after)));
    }
    text
}

/// What was proved: failures in full, the rest in numbers; with `all` everything in full.
pub fn verification(verification: &Verification, all: bool, paint: &dyn Paint) -> String {
    let (pass, fail, unchecked) = verification.counts();
    let mut text = String::new();
    for check in &verification.checks {
        let (label, tone, why) = match &check.outcome {
            Outcome::Pass if all => ("passed", Tone::Good, "yes"),
            Outcome::Pass => continue,
            Outcome::Fail(why) => ("failed", Tone::Bad, why.as_str()),
            Outcome::Unchecked(why) => ("unchecked", Tone::Warn, why.as_str()),
        };
        let painted = paint.paint(tone, label);
        let what = format!("{} of {}: {}", check.name, check.subject, printable(why));
        text.push_str(&labelled(&painted, label, &what));
    }
    let numbers =
        format!("{pass} checks passed, {fail} failed, {unchecked} could not be made here");
    let tone = if fail == 0 { Tone::Good } else { Tone::Bad };
    text.push_str(&format!("{}\n", paint.paint(tone, &numbers)));
    text
}

/// The table of certificates, 80 columns wide.
pub fn table(rows: &[Row], now: Utc, paint: &dyn Paint) -> String {
    let head = format!(
        "{:<26} {:<13} {:<10} {:>10}  {}",
        "CERTIFICATE", "STATE", "EXPIRES", "LEFT", "SIGNED BY"
    );
    let mut text = format!("{}\n", paint.paint(Tone::Heading, &head));
    for row in rows {
        let state = state(row.status, paint);
        let expires = row.not_after.map_or_else(|| "-".to_owned(), Utc::date);
        let left = row
            .not_after
            .map_or_else(|| "-".to_owned(), |at| left(at, now));
        let id = column(&printable(&row.id), 26);
        let signer = row.signer.as_deref().unwrap_or("-");
        text.push_str(&format!(
            "{id} {state} {expires:<10} {left:>10}  {signer}\n"
        ));
    }
    text
}

/// The column of the state.
pub(super) fn state(status: Status, paint: &dyn Paint) -> String {
    let tone = match status {
        Status::Ok => Tone::Good,
        Status::Expiring => Tone::Warn,
        _ => Tone::Bad,
    };
    paint.paint(tone, &format!("{:<13}", status.word()))
}

/// The first column; what is wider has a line of its own.
pub(super) fn column(name: &str, width: usize) -> String {
    if name.chars().count() > width {
        format!("{name}\n{:<width$}", "")
    } else {
        format!("{name:<width$}")
    }
}

/// Wraps `text` behind a label; lines that follow are indented to where it begins.
pub fn labelled(painted: &str, label: &str, text: &str) -> String {
    let indent = label.chars().count() + 1;
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else {
            continue;
        };
        let width = indent + line.chars().count() + 1 + word.chars().count();
        if !line.is_empty() && width > WIDTH {
            lines.push(word.to_owned());
        } else if line.is_empty() {
            line.push_str(word);
        } else {
            line.push(' ');
            line.push_str(word);
        }
    }
    format!("{painted} {}\n", lines.join(&format!("\n{:indent$}", "")))
}

/// A command to be typed or copied, indented. Too long for the screen, it goes on after a backslash: between words, which no
/// terminal would do.
pub fn command(indent: usize, line: &str) -> String {
    let mut lines = vec![format!("{:indent$}", "")];
    let mut is_quoted = false;
    for word in line.split(' ') {
        let Some(last) = lines.last_mut() else {
            continue;
        };
        // Two more are for a backslash and the blank before it.
        let is_full = last.chars().count() + 1 + word.chars().count() + 2 > WIDTH;
        match last.trim().is_empty() {
            true => last.push_str(word),
            false if is_full && !is_quoted => {
                last.push_str(" \\");
                lines.push(format!("{:1$}{word}", "", indent + 2));
            },
            false => last.push_str(&format!(" {word}")),
        }
        is_quoted ^= word.replace(r"\'", "").matches('\'').count() % 2 == 1;
    }
    lines.join("\n") + "\n"
}

pub(super) fn heading(inventory: &Inventory, paint: &dyn Paint) -> String {
    let name = inventory
        .node
        .name
        .as_ref()
        .map_or("unknown node", |name| name.value.as_str());
    let head = format!(
        "{} ({}), judged at {}",
        printable(name),
        inventory.profile,
        inventory.at
    );
    format!("{}\n", paint.paint(Tone::Heading, &head))
}

fn left(at: Utc, now: Utc) -> String {
    let seconds = at.since(now);
    let sign = if seconds < 0 { "-" } else { "" };
    format!("{sign}{}", defect::span(seconds))
}

fn issue(stage: &Stage, now: Utc) -> String {
    let recipe = &stage.recipe;
    let id = format!("  {:<24}", stage.credential);
    let mut text = labelled(&id, &id, &printable(&stage.why.join("; ")));
    let key = match &recipe.key {
        KeyPlan::New { algorithm, .. } => format!("new {algorithm} key"),
        KeyPlan::Reuse => "the old key".to_owned(),
        KeyPlan::File(_) => "the requested key".to_owned(),
    };
    let origin = match &recipe.origin {
        _ if !recipe.given.is_empty() => ", issued elsewhere",
        Origin::New(_) => ", made from nothing",
        Origin::Old(_) => "",
    };
    let capped = if recipe.capped {
        ", cut to the end of its CA"
    } else {
        ""
    };
    let end = format!(
        "until {} ({}{capped}), {key}, signed by {}{origin}",
        recipe.not_after.date(),
        defect::span(recipe.not_after.since(now)),
        recipe.issuer
    );
    text.push_str(&labelled(
        &format!("{:26}", ""),
        &format!("{:26}", ""),
        &end,
    ));
    for name in &recipe.names {
        let verb = if recipe.add.contains(name) {
            "adds"
        } else {
            "keeps"
        };
        let line = format!("{}: {}", name.san, printable(&name.why));
        let label = format!("{:28} {verb}", "");
        text.push_str(&labelled(&label, &label, &line));
    }
    text
}

/// Names that nobody asked for and that might be meant.
pub(super) fn unasked<'a>(
    stage: &'a Stage,
    inventory: &'a Inventory,
) -> impl Iterator<Item = &'a WantedName> {
    let advised = inventory
        .credential(&stage.credential)
        .map_or(&[][..], |credential| &credential.advised);
    advised
        .iter()
        .filter(|name| !stage.recipe.add.iter().any(|added| added.san == name.san))
}

/// Those names, each with the flag that adds it.
fn advice(stage: &Stage, inventory: &Inventory) -> String {
    let label = format!("{:28} without", "");
    unasked(stage, inventory)
        .map(|name| {
            let why = printable(&name.why);
            let line = format!(
                "{}: {why}; --san {}={}",
                name.san, stage.credential, name.san
            );
            labelled(&label, &label, &line)
        })
        .collect()
}

fn face(sign: &str, face: &Face) -> String {
    let serial = face.serial.as_deref().unwrap_or("(drawn when issued)");
    let mut text = format!("{sign} subject   {}\n", face.subject);
    text.push_str(&format!("{sign} serial    {serial}\n"));
    text.push_str(&format!(
        "{sign} validity  {} to {}\n",
        face.not_before, face.not_after
    ));
    if !face.sans.is_empty() {
        let label = format!("{sign} names    ");
        text.push_str(&labelled(&label, &label, &face.sans.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_command_goes_on_after_a_backslash_and_is_the_same_to_a_shell() {
        let name = "x".repeat(60);
        let line =
            format!("rescue-kit run --root={name} --operator='A. O'\\''Perator and others' --yes");
        let typed = command(2, &line);
        assert_eq!(
            typed,
            format!(
                "  rescue-kit run \\\n    --root={name} \\\n    --operator='A. O'\\''Perator and others' --yes\n"
            )
        );
        assert_eq!(command(0, "rescue-kit run"), "rescue-kit run\n");
    }

    #[test]
    fn wraps_behind_the_label() {
        let words = "word ".repeat(30);
        let text = labelled("x:", "x:", words.trim_end());
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH));
        assert!(text.lines().skip(1).all(|line| line.starts_with("   word")));
    }
}
