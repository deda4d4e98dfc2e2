//! Screens of the guided rescue: diagnosis, names, plan and result, each for a terminal of 24 lines.

use crate::defect::Status;
use crate::finding::{Finding, Severity};
use crate::guide::{self, Advice, Guidance, WayOut};
use crate::inventory::Inventory;
use crate::journal::{Meter, Verdict};
use crate::listing::{Row, RowKind};
use crate::pki::name::printable;
use crate::plan::Plan;
use crate::plan::step::{Remaining, Way};
use crate::render::text::{self, Paint, Tone, findings, heading, labelled, table, unasked};
use crate::verification::{Check, OF_FILES, Outcome, Verification};

/// What a diagnosis is made of.
pub struct Diagnosis<'a> {
    /// What was seen.
    pub inventory: &'a Inventory,
    /// A row for each certificate.
    pub rows: &'a [Row],
    /// What is worth saying.
    pub findings: &'a [Finding],
    /// The first cause.
    pub cause: Option<&'a str>,
    /// What is advised.
    pub guidance: &'a Guidance,
    /// Lines that it may have: those of the terminal without those of the question below it.
    pub height: usize,
}

/// The diagnosis on one screen: the first cause, what is broken, what is in the way.
pub fn diagnosis(view: &Diagnosis, paint: &dyn Paint) -> String {
    let mut above = heading(view.inventory, paint);
    above.push_str(&match view.cause {
        Some(cause) => labelled(
            &paint.paint(Tone::Bad, "cause:"),
            "cause:",
            &printable(cause),
        ),
        None if view.guidance.is_well() => {
            format!("{}\n", paint.paint(Tone::Good, "nothing is broken"))
        },
        None => format!("{}\n", paint.paint(Tone::Warn, "nothing is broken yet")),
    });
    let obstacles = obstacles(view, paint);
    let taken = above.lines().count() + obstacles.lines().count() + SPACING;
    let room = view.height.saturating_sub(taken).max(FEWEST);
    let blank = if obstacles.is_empty() { "" } else { "\n" };
    format!("{above}\n{}{blank}{obstacles}", worst(view, room, paint))
}

/// Lines of a diagnosis between its parts: two blank ones, the head of the table, and two with what it leaves out.
const SPACING: usize = 5;

/// The rows that are shown however small the terminal is.
const FEWEST: usize = 3;

/// The rows that are not well, as many as there is room for, and the rest in numbers.
fn worst(view: &Diagnosis, room: usize, paint: &dyn Paint) -> String {
    let mut bad: Vec<&Row> = own(view).filter(|row| row.status != Status::Ok).collect();
    // What has ended breaks something now; what is about to end does not.
    bad.sort_by_key(|row| row.status == Status::Expiring);
    let shown: Vec<Row> = bad.iter().take(room).map(|row| (*row).clone()).collect();
    let mut text = String::new();
    if !shown.is_empty() {
        text.push_str(&table(&shown, view.inventory.at, paint));
    }
    let mut rest = Vec::new();
    if bad.len() > shown.len() {
        rest.push(format!("{} more are not well", bad.len() - shown.len()));
    }
    rest.extend(first_end(view));
    let others = other_findings(view);
    if others > 0 {
        rest.push(format!("{others} finding(s) about other things"));
    }
    text.push_str(&paragraph(&rest.join("; ")));
    text
}

/// The rows that the layout knows. What else lies on the disk and has expired breaks nothing.
fn own<'a>(view: &'a Diagnosis) -> impl Iterator<Item = &'a Row> {
    let known = |id: &str| {
        view.inventory.authority(id).is_some() || view.inventory.credential(id).is_some()
    };
    view.rows.iter().filter(move |row| known(&row.id))
}

/// The first end among what is well.
fn first_end(view: &Diagnosis) -> Option<String> {
    let mut well: Vec<&Row> = own(view).filter(|row| row.status == Status::Ok).collect();
    well.sort_by_key(|row| row.not_after);
    let first = well.first()?;
    let end = first.not_after?;
    let what = if first.kind == RowKind::Ca { "CA " } else { "" };
    Some(format!(
        "{} are well, of which {what}{} ends first: {}",
        well.len(),
        printable(&first.id),
        end.date()
    ))
}

/// Findings that no row tells, and that somebody should look at.
fn other_findings(view: &Diagnosis) -> usize {
    let told = |finding: &&Finding| own(view).any(|row| row.id == finding.subject);
    let others = view
        .findings
        .iter()
        .filter(|finding| finding.severity != Severity::Info);
    others.filter(|finding| !told(finding)).count()
}

/// What closes the usual way: by name where another is open, else in full, with what mends it.
fn obstacles(view: &Diagnosis, paint: &dyn Paint) -> String {
    let refusals = &view.guidance.refusals;
    if refusals.is_empty() {
        return String::new();
    }
    let label = "in the way:";
    let painted = paint.paint(Tone::Warn, label);
    if view.guidance.ways.is_empty() {
        return format!("{painted}\n{}", findings(refusals, paint));
    }
    let named = refusals
        .iter()
        .map(|refusal| format!("{} of {}", refusal.code.id(), printable(&refusal.subject)));
    labelled(&painted, label, &named.collect::<Vec<_>>().join(", "))
}

/// What a way costs, as a sentence fragment.
pub fn cost(advice: &Advice, inventory: &Inventory) -> String {
    match (&advice.way, &advice.plan) {
        (WayOut::Request(_), _) => {
            "writes requests; nothing is replaced until the answers are here".to_owned()
        },
        (WayOut::LeaveOut(_), _) if inventory.live.is_some() => {
            "what needs those that are left out does not come back by this".to_owned()
        },
        (_, Some(plan)) => guide::cost(plan, inventory),
        (_, None) => "not known".to_owned(),
    }
}

/// Every way with what it means and costs.
pub fn ways(guidance: &Guidance, inventory: &Inventory, paint: &dyn Paint) -> String {
    let mut text = String::new();
    for advice in &guidance.ways {
        let title = advice.way.title();
        text.push_str(&format!("{}\n", paint.paint(Tone::Heading, &title)));
        text.push_str(&labelled("  ", "  ", advice.way.explanation()));
        if let WayOut::LeaveOut(ids) | WayOut::Request(ids) = &advice.way {
            text.push_str(&labelled("   concerns", "   concerns", &ids.join(", ")));
        }
        text.push_str(&labelled("   costs", "   costs", &cost(advice, inventory)));
    }
    if !guidance.refusals.is_empty() {
        text.push('\n');
        text.push_str(&findings(&guidance.refusals, paint));
    }
    text
}

/// The names in serving certificates that will be issued: those that are there, those that are added, those that might be
/// meant. Empty if none of them serves.
pub fn names(plan: &Plan, inventory: &Inventory, paint: &dyn Paint) -> String {
    let serving = plan
        .phases
        .stage
        .iter()
        .filter(|stage| !stage.recipe.names.is_empty());
    let mut text = String::new();
    for stage in serving {
        text.push_str(&format!(
            "{}\n",
            paint.paint(Tone::Heading, &stage.credential)
        ));
        let added = |san| stage.recipe.add.iter().any(|added| added.san == san);
        let names = stage.recipe.names.iter();
        let kept: Vec<String> = names
            .filter(|name| !added(name.san.clone()))
            .map(|name| name.san.to_string())
            .collect();
        if !kept.is_empty() {
            text.push_str(&labelled(
                "  keeps ",
                "  keeps ",
                &printable(&kept.join(", ")),
            ));
        }
        for name in &stage.recipe.add {
            let why = format!("{}: {}", name.san, name.why);
            let painted = paint.paint(Tone::Warn, "  adds  ");
            text.push_str(&labelled(&painted, "  adds  ", &printable(&why)));
        }
        for name in unasked(stage, inventory) {
            let (san, why) = (&name.san, &name.why);
            let what = format!("{san}: {why}; to add it, answer {}={san}", stage.credential);
            text.push_str(&labelled("  not in", "  not in", &printable(&what)));
        }
    }
    text
}

/// The plan as a table: what is done, and why, a line each.
pub fn plan(plan: &Plan, inventory: &Inventory, paint: &dyn Paint) -> String {
    let mut lines: Vec<(String, String)> = Vec::new();
    for stage in &plan.phases.stage {
        let mut why = stage.why.join("; ");
        if stage.recipe.capped {
            let end = stage.recipe.not_after.date();
            why.push_str(&format!(" (the new one ends with its CA, {end})"));
        }
        lines.push((format!("renew {}", stage.credential), why));
    }
    let renewed = |id: &str| plan.phases.stage.iter().any(|stage| stage.credential == id);
    for commit in plan
        .phases
        .commit
        .iter()
        .filter(|commit| !renewed(&commit.credential))
    {
        lines.push((format!("mend {}", commit.credential), commit.why.clone()));
    }
    let holds = plan.phases.hold.iter().map(|step| (&step.id, &step.why));
    let steps = plan
        .phases
        .converge
        .iter()
        .map(|step| (&step.id, &step.why));
    for (id, why) in holds.chain(steps) {
        lines.push((plan.deed(id, Way::Forward).unwrap_or_default(), why.clone()));
    }
    let mut text = format!(
        "{}\n",
        paint.paint(Tone::Heading, "     WHAT                          WHY")
    );
    for (index, (what, why)) in lines.iter().enumerate() {
        let label = format!("{:>3}  {:<29}", index + 1, printable(what));
        text.push_str(&row(&label, &printable(why), WHY_AT));
    }
    let files = plan.phases.commit.len();
    let sum = format!(
        "{files} places are replaced, one by one, under the journal; {}",
        guide::cost(plan, inventory)
    );
    text.push_str(&paragraph(&sum));
    text
}

/// Where the second column of a plan begins.
const WHY_AT: usize = 34;

/// A row whose first cell may be too wide for its column.
fn row(label: &str, text: &str, column: usize) -> String {
    let label = label.trim_end();
    if label.chars().count() <= column {
        let label = format!("{label:<column$}");
        return labelled(&label, &label, text);
    }
    let blank = format!("{:column$}", "");
    format!("{label}\n{}", labelled(&blank, &blank, text))
}

/// Wraps a text that has no label.
pub fn paragraph(text: &str) -> String {
    labelled("", "", text)
        .lines()
        .map(|line| format!("{}\n", line.trim_start()))
        .collect()
}

/// What a run did.
pub struct Result<'a> {
    /// How it ended.
    pub verdict: Verdict,
    /// Milliseconds.
    pub elapsed_ms: u64,
    /// How available the API server was meanwhile.
    pub meter: Option<&'a Meter>,
    /// What was proved.
    pub verification: &'a Verification,
    /// Where the evidence is.
    pub audit: String,
    /// Where the second copy of the backup is, if there is one.
    pub copy: Option<String>,
    /// The run's name.
    pub run: &'a str,
    /// The command that undoes it.
    pub undo: String,
    /// Whether certificates of CAs are new, which others hold copies of.
    pub renewed_authorities: bool,
    /// What remains to be done.
    pub next: &'a [Remaining],
}

/// The result: what each port serves and how each component is, where the evidence is, what comes next.
pub fn result(result: &Result, paint: &dyn Paint) -> String {
    let mut text = String::from("\n");
    text.push_str(&headline(result, paint));
    let checks = result.verification.checks.iter();
    let live: Vec<&Check> = checks
        .filter(|check| !OF_FILES.contains(&check.name.as_str()))
        .collect();
    if !live.is_empty() {
        let head = format!("{:<SEEN_AT$} SEEN", "WHAT");
        text.push_str(&format!("{}\n", paint.paint(Tone::Heading, &head)));
    }
    // The API server tells about dozens of its parts; those that are well are a number.
    let is_part = |check: &&&Check| check.name == "readyz" && check.passed();
    let parts = live.iter().filter(is_part).count();
    let mut is_told = parts <= FEW_PARTS;
    for check in &live {
        if parts > FEW_PARTS && is_part(&check) {
            if !is_told {
                text.push_str(&seen(
                    "readyz",
                    &format!("well, in {parts} parts"),
                    Tone::Good,
                    paint,
                ));
                is_told = true;
            }
            continue;
        }
        let (what, tone) = outcome(check);
        text.push_str(&seen(&subject(check), &what, tone, paint));
    }
    text.push_str(&evidence(result, paint));
    text
}

/// Where the second column of a result begins.
const SEEN_AT: usize = 44;

/// So many parts of the API server have a line each.
const FEW_PARTS: usize = 3;

/// A line of a result.
fn seen(what: &str, how: &str, tone: Tone, paint: &dyn Paint) -> String {
    let label = format!("{:<SEEN_AT$}", printable(what));
    let line = row(&label, how, SEEN_AT);
    line.replacen(how, &paint.paint(tone, how), 1)
}

fn subject(check: &Check) -> String {
    match check.name.as_str() {
        "served" => check.subject.clone(),
        name => format!("{name} of {}", check.subject),
    }
}

fn outcome(check: &Check) -> (String, Tone) {
    match &check.outcome {
        Outcome::Pass if check.name == "served" => ("serves its file".to_owned(), Tone::Good),
        Outcome::Pass => ("well".to_owned(), Tone::Good),
        Outcome::Fail(why) => (printable(why), Tone::Bad),
        Outcome::Unchecked(why) => (format!("not checked: {}", printable(why)), Tone::Warn),
    }
}

fn headline(result: &Result, paint: &dyn Paint) -> String {
    let seconds = |ms: u64| format!("{}.{} s", ms / 1000, ms % 1000 / 100);
    let took = seconds(result.elapsed_ms);
    let line = match (result.verdict, result.meter) {
        (Verdict::Done, Some(meter)) => {
            format!(
                "rescued in {took}, of which {} without the API server",
                seconds(meter.down_ms)
            )
        },
        (Verdict::Done, None) => format!("rescued in {took}"),
        (Verdict::RolledBack, _) => {
            format!("everything is as it was before the run {}", result.run)
        },
    };
    format!("{}\n\n", paint.paint(Tone::Good, &line))
}

/// Where the proof is, the way back, and the next command, here or on another node.
fn evidence(result: &Result, paint: &dyn Paint) -> String {
    let (pass, fail, unchecked) = result.verification.counts();
    let tone = if fail == 0 { Tone::Good } else { Tone::Bad };
    let numbers =
        format!("{pass} checks passed, {fail} failed, {unchecked} could not be made here");
    let mut text = format!(
        "{}\n\naudit  {}\n",
        paint.paint(tone, &numbers),
        result.audit
    );
    if let Some(copy) = &result.copy {
        text.push_str(&format!("backup {copy}\n"));
    }
    if result.verdict == Verdict::Done {
        text.push_str(&format!(
            "undo   {}",
            text::command(7, &result.undo).trim_start()
        ));
    }
    for step in result.next {
        let who = printable(&step.consumer);
        text.push_str(&labelled(
            "next  ",
            "next  ",
            &format!("{who}: {}", printable(&step.why)),
        ));
        if let Some(command) = &step.command {
            text.push_str(&text::command(9, &printable(command)));
        }
    }
    if result.renewed_authorities && result.verdict == Verdict::Done {
        let what = "other nodes and workers need the renewed CA: rescue-kit ca export --out DIR";
        text.push_str(&labelled("next  ", "next  ", what));
    }
    if result.next.is_empty() && result.verdict == Verdict::Done {
        text.push_str(
            "next   nothing on this node; what comes later: rescue-kit handover --out DIR\n",
        );
    }
    text
}
