//! `drill`: make the files of an expired control plane, rescue them, show before and after.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::args::Drill;
use crate::cli::context::Context;
use crate::cli::training;
use crate::clock;
use crate::config::RENEW_BEFORE;
use crate::drill::{self, Made, Scenario};
use crate::error::{Failure, meant};
use crate::exit::Exit;
use crate::finding::Finding;
use crate::flow::failure::RescueError;
use crate::flow::rescue::{Done, Means};
use crate::flow::site::{Choice, Site};
use crate::listing;
use crate::plan::Policy;
use crate::render::text;
use crate::run::{self, AUDIT};
use crate::store::RunDir;
use crate::terminal::progress::Progress;
use crate::terminal::say;

pub(super) fn drill(context: &Context, arguments: &Drill) -> Result<Exit, Failure> {
    if arguments.list {
        return Ok(list(context));
    }
    if arguments.guided {
        return training::guided(context, arguments);
    }
    let scenario = arguments.scenario.as_deref();
    let scenario = scenario.map_or(Ok(Scenario::LeavesExpired), self::scenario)?;
    let algorithm = crate::config::algorithm(&arguments.key_algorithm)?;
    let (work, made_here) = workshop(arguments)?;
    let root = work.join("node");
    let now = clock::system_now();
    fs::create_dir(&root).map_err(|error| Failure::unreadable(&root, &error))?;
    let made = drill::make(&root, scenario, &algorithm, now).map_err(|error| {
        Failure::new(
            Exit::Refused,
            error.to_string(),
            "name another directory: --dir DIR",
        )
    })?;
    let exit = rescue(context, scenario, &made, &work);
    if !arguments.keep {
        fs::remove_dir_all(&root).map_err(|error| Failure::unreadable(&root, &error))?;
        // Without a tarball nothing is worth keeping.
        if made_here && !work.join(AUDIT).exists() {
            fs::remove_dir(&work).map_err(|error| Failure::unreadable(&work, &error))?;
        }
    } else if !context.json() {
        say(&format!("files  {}\n", root.display()));
    }
    exit
}

/// A scenario by its name.
pub(super) fn scenario(name: &str) -> Result<Scenario, Failure> {
    name.parse().map_err(|error: drill::UnknownScenario| {
        let known = Scenario::ALL.into_iter().map(Scenario::name);
        let hint = meant(&error.0, known, "rescue-kit drill --list");
        Failure::usage(error.to_string(), &hint)
    })
}

fn list(context: &Context) -> Exit {
    if context.json() {
        let all = Scenario::ALL
            .map(|s| json!({ "name": s.name(), "story": s.story(), "rescuable": s.rescuable() }));
        context.answer("drill", None, false, json!({ "scenarios": all }));
        return Exit::Done;
    }
    for scenario in Scenario::ALL {
        let label = format!("{:<16}", scenario.name());
        say(&text::labelled(&label, &label, scenario.story()));
    }
    Exit::Done
}

/// The directory that everything is made in, and whether it was made for this drill.
pub(super) fn workshop(arguments: &Drill) -> Result<(PathBuf, bool), Failure> {
    let (work, temporary) = if let Some(dir) = &arguments.dir {
        (dir.clone(), false)
    } else {
        let name = run::name(clock::system_now())
            .map_err(|error| Failure::new(Exit::Refused, error.to_string(), "try again"))?;
        (
            std::env::temp_dir().join(format!("rescue-kit-drill-{name}")),
            true,
        )
    };
    match fs::create_dir(&work) {
        Ok(()) => Ok((work, true)),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && !temporary => {
            let mut entries =
                fs::read_dir(&work).map_err(|error| Failure::unreadable(&work, &error))?;
            if entries.next().is_some() {
                let text = format!("{} is not empty", work.display());
                return Err(Failure::new(
                    Exit::Refused,
                    text,
                    "name an empty directory: --dir DIR",
                ));
            }
            Ok((work, false))
        },
        Err(error) => {
            let mut failure = Failure::new(
                Exit::Refused,
                format!("cannot make {}", work.display()),
                "name another directory: --dir DIR",
            );
            failure.causes.push(error.to_string());
            Err(failure)
        },
    }
}

fn rescue(
    context: &Context,
    scenario: Scenario,
    made: &Made,
    work: &Path,
) -> Result<Exit, Failure> {
    let site = Site::open(&Choice {
        root: made.root.clone(),
        profile: None,
        system: clock::system_now(),
        stated: made.now,
        state_dir: context.global.state_dir.clone(),
    })?;
    let before = site.inspect(RENEW_BEFORE)?;
    if !context.json() {
        let label = format!("{}:", scenario.name());
        say(&text::labelled(&label, &label, scenario.story()));
        say("\n--- before ---\n");
        let rows = listing::rows(&before.inventory, RENEW_BEFORE);
        let cause = before.cause.as_deref();
        say(&text::inspection(
            &before.inventory,
            &rows,
            &[],
            cause,
            &context.painter,
        ));
    }
    context.catch_signals()?;
    let policy = Policy {
        renew_before: RENEW_BEFORE,
        ..Policy::default()
    };
    let _lock = site.lock()?;
    let outcome = site.plan(&policy).and_then(|(inventory, plan)| {
        let steps = plan.phases.stage.len() + plan.phases.commit.len();
        let progress = Progress::new(context.progress(), steps);
        let done = site.execute(
            &inventory,
            plan,
            &Means {
                circumstances: context.circumstances(),
                backup_to: None,
                sign_key: None,
                stop: &|| context.signal(),
                tell: &|event| progress.event(&event),
                watch: context.watch,
                deadline: None,
            },
            &|_| None,
        );
        progress.done();
        done
    });
    match outcome {
        Ok(done) => rescued(context, scenario, made, &site, &done, work),
        Err(RescueError::Refused(refusals)) => Ok(refused(context, scenario, made, &refusals)),
        Err(error) => Err(error.into()),
    }
}

fn rescued(
    context: &Context,
    scenario: Scenario,
    made: &Made,
    site: &Site,
    done: &Done,
    work: &Path,
) -> Result<Exit, Failure> {
    let tarball = RunDir::on_host(work)?;
    tarball.write(AUDIT, &done.audit.bytes)?;
    let after = site.inspect(RENEW_BEFORE)?;
    let audit = work.join(AUDIT);
    let sound = scenario.rescuable() && done.verification.passed();
    if context.json() {
        let payload = json!({
            "scenario": scenario.name(), "broken": made.broken, "outcome": "rescued", "as_expected": sound,
            "elapsed_ms": done.elapsed_ms, "audit": audit, "verification": done.verification, "diff": done.diff,
        });
        context.answer("drill", Some(&after.inventory), true, payload);
    } else {
        say("\n--- after ---\n");
        let rows = listing::rows(&after.inventory, RENEW_BEFORE);
        let cause = after.cause.as_deref();
        say(&text::inspection(
            &after.inventory,
            &rows,
            &[],
            cause,
            &context.painter,
        ));
        say("\n");
        say(&text::verification(
            &done.verification,
            context.global.verbose > 0,
            &context.painter,
        ));
        say(&format!(
            "rescued in {}.{:03} s, the making of the files included\naudit  {}\nsigner {}\n",
            done.elapsed_ms / 1000,
            done.elapsed_ms % 1000,
            audit.display(),
            done.audit.fingerprint
        ));
    }
    Ok(if sound { Exit::Done } else { Exit::Stuck })
}

/// Some patients must not be treated by this means; saying why is the right outcome.
fn refused(context: &Context, scenario: Scenario, made: &Made, refusals: &[Finding]) -> Exit {
    let sound = !scenario.rescuable();
    if context.json() {
        let payload = json!({
            "scenario": scenario.name(), "broken": made.broken, "outcome": "refused", "as_expected": sound,
            "refusals": refusals,
        });
        context.answer("drill", None, false, payload);
    } else {
        say("\n--- refused, nothing was changed ---\n");
        say(&text::findings(refusals, &context.painter));
        if sound {
            say("\nthat is the right answer to this scenario\n");
        }
    }
    if sound { Exit::Done } else { Exit::Refused }
}
