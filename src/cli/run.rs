//! `run`, `apply`, `resume`, `rollback`.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::apply::Archive;
use crate::cli::args::{Keeping, PolicyArgs};
use crate::cli::context::Context;
use crate::cli::guided::silence;
use crate::cli::{plan, would};
use crate::clock::Stopwatch;
use crate::config;
use crate::diff::{self, Diff};
use crate::error::{Failure, meant};
use crate::exit::Exit;
use crate::finding::Finding;
use crate::flow::failure::RescueError;
use crate::flow::rescue::{Done, Means};
use crate::flow::site::Site;
use crate::inventory::Inventory;
use crate::journal::{Converged, Meter, Verdict, Way};
use crate::pki::digest::Digest;
use crate::pki::name::printable;
use crate::place::Place;
use crate::plan::step::{Commit, Remaining};
use crate::plan::{Plan, Policy, RENEWABLE, Renewal};
use crate::render::text;
use crate::run;
use crate::sign::AuditKey;
use crate::terminal::progress::Progress;
use crate::terminal::prompt;
use crate::terminal::question::Reply;
use crate::terminal::{say, tell};
use crate::verification::Verification;

/// How often a rescue is begun, if somebody else's change overtakes it each time.
const ATTEMPTS: usize = 3;

pub(super) fn run(
    context: &Context,
    policy: &PolicyArgs,
    keeping: &Keeping,
) -> Result<Exit, Failure> {
    let site = context.site()?;
    let policy = config::policy(policy, &site.profile)?;
    rescue(context, &site, &policy, keeping)
}

/// Plans by a policy, asks, and does it.
pub(super) fn rescue(
    context: &Context,
    site: &Site,
    policy: &Policy,
    keeping: &Keeping,
) -> Result<Exit, Failure> {
    if context.global.check {
        let (inventory, plan) = site.plan(policy)?;
        plan::show(context, &inventory, &plan);
        return Ok(Exit::Done);
    }
    let _lock = site.lock()?;
    site.refuse_unfinished()?;
    for _ in 1..ATTEMPTS {
        match attempt(context, site, policy, keeping)? {
            Err(RescueError::Overtaken { source, .. }) => {
                let text = format!("{source}; looking and planning again");
                tell(&text::labelled(
                    "rescue-kit:",
                    "rescue-kit:",
                    &printable(&text),
                ));
            },
            ended => return Ok(ended?),
        }
    }
    Ok(attempt(context, site, policy, keeping)??)
}

/// Looks, plans, asks and does it once. What the kubelet wrote in between, which renews its credential by itself, is told by
/// [`RescueError::Overtaken`]: another look will see it.
fn attempt(
    context: &Context,
    site: &Site,
    policy: &Policy,
    keeping: &Keeping,
) -> Result<Result<Exit, RescueError>, Failure> {
    let (inventory, plan) = planned(context, site, policy)?;
    if plan.is_empty() {
        return Ok(Ok(nothing(context, &inventory)));
    }
    consent(context, &inventory, &plan)?;
    let done = execute(context, site, &inventory, plan, keeping, &|_| None)?;
    Ok(done.map(|done| finish(context, &done)))
}

/// Plans. Where a CA has expired whose key is here, its renewal is proposed on a terminal; it is never done unasked.
fn planned(context: &Context, site: &Site, policy: &Policy) -> Result<(Inventory, Plan), Failure> {
    let refusals = match site.plan(policy) {
        Err(RescueError::Refused(refusals)) if context.can_ask() && !context.global.yes => refusals,
        other => return Ok(other?),
    };
    let is_renewable = |refusal: &Finding| refusal.hint.starts_with(RENEWABLE);
    if !refusals.iter().any(is_renewable) {
        return Err(RescueError::Refused(refusals).into());
    }
    tell(&text::findings(&refusals, &context.painter));
    tell(
        "A CA can be renewed with its own key: name, key and key identifier stay, so that everything it\n\
         signed stays valid. Do not do it if the key has leaked: that takes a new CA.\n",
    );
    ask(context, "Renew the expired CAs with their own keys?")?;
    let policy = Policy {
        renewal: Renewal::Due,
        ..policy.clone()
    };
    Ok(site.plan(&policy)?)
}

pub(super) fn apply(context: &Context, file: &Path, keeping: &Keeping) -> Result<Exit, Failure> {
    let site = context.site()?;
    let bytes = config::bounded(file, 64 << 20)?;
    let plan: Plan = serde_json::from_slice(&bytes).map_err(|error| {
        let text = format!("{} is no plan: {error}", file.display());
        Failure::new(Exit::Refused, text, "make one: rescue-kit plan --out FILE")
    })?;
    let _lock = site.lock()?;
    site.refuse_unfinished()?;
    let inventory = site.adopt(&plan)?;
    if plan.is_empty() {
        return Ok(nothing(context, &inventory));
    }
    if context.global.check {
        plan::show(context, &inventory, &plan);
        return Ok(Exit::Done);
    }
    consent(context, &inventory, &plan)?;
    carry_out(context, &site, &inventory, plan, keeping, &|_| None)
}

/// Finishes a run that stopped half-way, or puts back what a run changed; without a name, the one that it must be.
pub(super) fn go(
    context: &Context,
    way: Way,
    name: Option<&str>,
    keeping: &Keeping,
) -> Result<Exit, Failure> {
    let site = context.site()?;
    let _lock = site.lock()?;
    let name = match (name, way) {
        (Some(name), _) => chosen(&site, name)?,
        (None, Way::Forward) => site.unfinished_run()?.ok_or(RescueError::NoRun("resume"))?,
        (None, Way::Back) => site.newest_run()?.ok_or(RescueError::NoRun("roll back"))?,
    };
    if context.global.check {
        return would::go(context, &site, &name, way);
    }
    let question = match way {
        Way::Forward => format!("Finish the run {name}?"),
        Way::Back => format!("Put back everything as it was before the run {name}?"),
    };
    ask(context, &question)?;
    let done = with_means(context, keeping, 0, |means| site.go(&name, way, means))??;
    Ok(finish(context, &done))
}

/// Applies a plan that the operator agreed to.
pub(super) fn carry_out(
    context: &Context,
    site: &Site,
    inventory: &Inventory,
    plan: Plan,
    keeping: &Keeping,
    archive: Archive,
) -> Result<Exit, Failure> {
    let done = execute(context, site, inventory, plan, keeping, archive)??;
    Ok(finish(context, &done))
}

/// Executes a plan; how that failed is for the caller to say or to mend.
pub(super) fn execute(
    context: &Context,
    site: &Site,
    inventory: &Inventory,
    plan: Plan,
    keeping: &Keeping,
    archive: Archive,
) -> Result<Result<Done, RescueError>, Failure> {
    let steps = plan.steps();
    with_means(context, keeping, steps, |means| {
        site.execute(inventory, plan, means, archive)
    })
}

/// Asks for consent to a plan: yes, no, or first an explanation.
pub(super) fn consent(
    context: &Context,
    inventory: &Inventory,
    plan: &Plan,
) -> Result<(), Failure> {
    if context.global.yes {
        return Ok(());
    }
    if !context.can_ask() {
        let text = "this changes files, and there is no terminal to ask on";
        return Err(Failure::usage(
            text,
            "--yes to do it, --check to see what would be done",
        ));
    }
    context.catch_signals()?;
    let interview = context.interview();
    let items = ["no, change nothing", "yes, do it", "explain: what differs"].map(str::to_owned);
    // A blank line and the question are above them, the prompt is below.
    let below = items.len() + 3;
    let shown = |text: &str| interview.show(text, below).map_err(silence);
    shown(&text::plan(plan, inventory, &context.painter))?;
    loop {
        tell("\nApply this plan?\n");
        match interview.choose(&items).map_err(silence)? {
            Reply::Given(1) => return Ok(()),
            Reply::Given(2) => {
                let differs = diff::planned(inventory, plan);
                shown(&text::diff(&differs, &context.painter))?;
            },
            Reply::Given(_) | Reply::Back | Reply::Quit => return Err(declined()),
        }
    }
}

/// Whether nothing was changed because nothing was to be changed.
pub(super) fn nothing(context: &Context, inventory: &Inventory) -> Exit {
    if context.json() {
        let payload = Report::default();
        context.answer("run", Some(inventory), false, payload);
    } else if !context.global.quiet {
        say("nothing to do\n");
    }
    Exit::Done
}

/// Asks for consent to something that needs no explanation.
pub(super) fn ask(context: &Context, question: &str) -> Result<(), Failure> {
    if context.global.yes {
        return Ok(());
    }
    if !context.can_ask() {
        let text = "this changes files, and there is no terminal to ask on";
        return Err(Failure::usage(text, "--yes to do it"));
    }
    if prompt::confirm(question) {
        Ok(())
    } else {
        Err(declined())
    }
}

fn declined() -> Failure {
    Failure::new(Exit::Declined, "declined; nothing was changed", "")
}

/// A run that the operator named, which must exist.
pub(super) fn chosen(site: &Site, name: &str) -> Result<String, Failure> {
    let known = site.run_names()?;
    if run::is_name(name) && known.iter().any(|known| known == name) {
        return Ok(name.to_owned());
    }
    let hint = meant(
        name,
        known.iter().map(String::as_str),
        "rescue-kit runs list",
    );
    let text = format!("there is no run `{name}`");
    Err(Failure::new(Exit::Refused, text, &hint))
}

/// Runs with what a run needs: signals are noted, progress is shown.
pub(super) fn with_means(
    context: &Context,
    keeping: &Keeping,
    steps: usize,
    act: impl FnOnce(&Means) -> Result<Done, RescueError>,
) -> Result<Result<Done, RescueError>, Failure> {
    let sign_key = keeping.sign_key.as_deref().map(audit_key).transpose()?;
    context.catch_signals()?;
    let progress = Progress::new(context.progress(), steps);
    let done = act(&Means {
        circumstances: context.circumstances(),
        backup_to: keeping.backup_to.as_deref(),
        sign_key: sign_key.as_ref(),
        stop: &|| context.signal(),
        tell: &|event| progress.event(&event),
        deadline: config::deadline(context.global)?,
        // Time that the operator took to decide is not the run's.
        watch: if context.global.yes {
            context.watch
        } else {
            Stopwatch::start()
        },
    });
    progress.done();
    Ok(done)
}

/// Reads the operator's signing key.
pub(super) fn audit_key(path: &Path) -> Result<AuditKey, Failure> {
    let text = zeroize::Zeroizing::new(config::bounded(path, 1 << 20)?);
    AuditKey::load(&text).map_err(|error| {
        let hint = "an unencrypted Ed25519 key: ssh-keygen -t ed25519 -N '' -f FILE";
        Failure::new(Exit::Refused, format!("{} {error}", path.display()), hint)
    })
}

/// Says what was done.
fn finish(context: &Context, done: &Done) -> Exit {
    if context.json() {
        context.answer("run", Some(&done.after), true, Report::of(done));
    } else {
        say(&summary(context, done));
    }
    Exit::Done
}

/// One line for `--quiet`; otherwise what was proved, where the evidence is, and what remains to be done.
fn summary(context: &Context, done: &Done) -> String {
    let mut out = match done.verdict {
        Verdict::Done => format!(
            "issued {} certificates, replaced {} places in {}.{:03} s\n",
            done.plan.phases.stage.len(),
            done.plan.phases.commit.len(),
            done.elapsed_ms / 1000,
            done.elapsed_ms % 1000
        ),
        Verdict::RolledBack => format!("everything is as it was before the run {}\n", done.run),
    };
    if context.global.quiet {
        return out;
    }
    let paint = &context.painter;
    out.push_str(&text::converged(
        &done.converged,
        done.meter.as_ref(),
        paint,
    ));
    out.push_str(&text::verification(
        &done.verification,
        context.global.verbose > 0,
        paint,
    ));
    if context.global.diff {
        out.push_str(&text::diff(&done.diff, paint));
    }
    out.push_str(&format!("run     {}\n", done.run));
    out.push_str(&format!(
        "audit   {}\n",
        done.path.join(run::AUDIT).display()
    ));
    out.push_str(&format!("sha256  {}\n", done.audit.sha256));
    out.push_str(&format!("signer  {}\n", done.audit.fingerprint));
    if done.verdict == Verdict::Done {
        out.push_str(&format!(
            "undo    rescue-kit{} rollback {}\n",
            on_root(context),
            done.run
        ));
        out.push_str(&text::remaining(
            &done.next(),
            done.verification.scope,
            paint,
        ));
    }
    out
}

/// How a command to type names the root, unless it is the node's own.
fn on_root(context: &Context) -> String {
    let root = &context.global.root;
    match root.parent() {
        None => String::new(),
        Some(_) => format!(" --root {}", root.display()),
    }
}

/// What the JSON of a run says beside its envelope.
#[derive(Default, Serialize)]
struct Report<'a> {
    run_id: Option<&'a str>,
    outcome: Option<Verdict>,
    steps: Vec<Step<'a>>,
    downtime_seconds: f64,
    meter: Option<&'a Meter>,
    processes: Vec<Process<'a>>,
    elapsed_ms: u64,
    backup: Option<PathBuf>,
    audit: Option<Evidence<'a>>,
    verification: Option<&'a Verification>,
    diff: Diff,
    next: Vec<Remaining>,
}

impl<'a> Report<'a> {
    fn of(done: &'a Done) -> Self {
        Self {
            run_id: Some(&done.run),
            outcome: Some(done.verdict),
            steps: done.plan.phases.commit.iter().map(Step::of).collect(),
            elapsed_ms: done.elapsed_ms,
            backup: Some(done.path.join(run::BACKUP)),
            audit: Some(Evidence {
                path: done.path.join(run::AUDIT),
                sha256: done.audit.sha256,
                signer: &done.audit.fingerprint,
                public_key: &done.audit.public,
            }),
            verification: Some(&done.verification),
            diff: done.diff.clone(),
            next: done.next(),
            downtime_seconds: done.meter.as_ref().map_or(0.0, Meter::down_seconds),
            meter: done.meter.as_ref(),
            processes: done.converged.iter().map(Process::of).collect(),
        }
    }
}

/// One place that was replaced.
#[derive(Serialize)]
struct Step<'a> {
    id: &'a str,
    credential: &'a str,
    at: &'a Place,
    why: &'a str,
}

impl<'a> Step<'a> {
    fn of(commit: &'a Commit) -> Self {
        Self {
            id: &commit.id,
            credential: &commit.credential,
            at: &commit.at,
            why: &commit.why,
        }
    }
}

/// What was seen of one process.
#[derive(Serialize)]
struct Process<'a> {
    component: &'a str,
    #[serde(flatten)]
    seen: &'a Converged,
}

impl<'a> Process<'a> {
    fn of((component, seen): &'a (String, Converged)) -> Self {
        Self { component, seen }
    }
}

/// The audit, for whoever fetches it.
#[derive(Serialize)]
struct Evidence<'a> {
    path: PathBuf,
    sha256: Digest,
    signer: &'a str,
    public_key: &'a str,
}
