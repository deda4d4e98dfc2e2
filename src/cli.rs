//! The shell: arguments in, one exit code out. Errors are printed here and nowhere else.

mod answers;
pub mod args;
mod audit;
mod backup;
mod break_glass;
mod ca;
mod context;
mod csr;
mod drill;
mod envelope;
mod examples;
mod explain;
mod guided;
mod handover;
mod inspect;
mod kit;
mod kubeconfig;
mod pages;
mod plan;
mod profile;
mod rotate;
mod run;
mod runs;
mod training;
mod verify;
mod would;

use clap::FromArgMatches;
use clap::error::ErrorKind;

use crate::error::Failure;
use crate::exit::Exit;
use crate::journal::Way;
use crate::pki::name::printable;
use crate::render::text::labelled;
use crate::terminal::{can_ask, say, tell};

use args::{Arguments, Command, Csr, Kit, Output, SaCommand};
use context::Context;

/// Runs one command line; returns the exit code.
pub fn main(words: &[std::ffi::OsString]) -> u8 {
    context::harden();
    let parsed = parse(words);
    let json = parsed
        .as_ref()
        .map_or_else(|_| wants_json(words), |a| a.global.output == Output::Json);
    let outcome = parsed.and_then(|arguments| dispatch(&arguments, words));
    match outcome {
        Ok(exit) => exit.code(),
        Err(failure) => {
            report(&failure, json);
            failure.exit.code()
        },
    }
}

fn parse(words: &[std::ffi::OsString]) -> Result<Arguments, Failure> {
    let command = answers::apply(words)?;
    let parsed = command
        .try_get_matches_from(words)
        .and_then(|matches| Arguments::from_arg_matches(&matches));
    parsed.map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            say(&error.render().to_string());
            Failure::new(Exit::Done, "", "")
        },
        _ => {
            let text = error.render().to_string();
            let mut lines = text.lines().filter(|line| !line.trim().is_empty());
            let first = lines
                .next()
                .unwrap_or_default()
                .trim_start_matches("error: ")
                .to_owned();
            let hint = lines.find_map(|line| line.trim().strip_prefix("tip: ").map(str::to_owned));
            Failure::usage(
                first,
                &hint.unwrap_or_else(|| "rescue-kit --help".to_owned()),
            )
        },
    })
}

fn dispatch(arguments: &Arguments, words: &[std::ffi::OsString]) -> Result<Exit, Failure> {
    // What leaves a journal behind names the binary in it.
    let journals = !matches!(
        arguments.command,
        Some(
            Command::Inspect { .. }
                | Command::Plan { .. }
                | Command::Verify { .. }
                | Command::Runs(_)
                | Command::Audit(_)
                | Command::Profile(_)
                | Command::Explain { .. }
                | Command::Runbook { .. }
                | Command::Completions { .. }
                | Command::Kit(Kit::Build(_))
                | Command::Handover(_)
                | Command::Csr(Csr::Generate { .. } | Csr::Sign(_))
        )
    );
    let context = Context::new(&arguments.global, words, journals);
    let Some(command) = &arguments.command else {
        if !can_ask() || arguments.global.no_input {
            return Err(Failure::usage("no command was given", "rescue-kit --help"));
        }
        return guided::guided(&context);
    };
    let form = arguments.global.output;
    let of_inspect = matches!(form, Output::Html | Output::Prometheus);
    if of_inspect && !matches!(command, Command::Inspect { .. }) {
        return Err(Failure::usage(
            "only inspect has this output",
            "--output human or --output json",
        ));
    }
    match command {
        Command::Inspect { renew_before } => inspect::inspect(&context, renew_before),
        Command::Plan { policy, out } => plan::plan(&context, policy, out.as_deref()),
        Command::Run { policy, keeping } => run::run(&context, policy, keeping),
        Command::Apply { plan, keeping } => run::apply(&context, plan, keeping),
        Command::Resume { run, keeping } => {
            run::go(&context, Way::Forward, run.as_deref(), keeping)
        },
        Command::Rollback { run, keeping } => run::go(&context, Way::Back, run.as_deref(), keeping),
        Command::Runs(command) => runs::runs(&context, command),
        Command::Verify { cold_start } => verify::verify(&context, *cold_start),
        Command::Backup(command) => backup::backup(&context, command),
        Command::Csr(command) => csr::csr(&context, command),
        Command::Audit(command) => audit::audit(&context, command),
        Command::Ca(command) => ca::ca(&context, command),
        Command::Sa(SaCommand::Rotate { phase }) => rotate::pairs(&context, phase.as_ref()),
        Command::Kubeconfig(command) => kubeconfig::kubeconfig(&context, command),
        Command::Profile(command) => profile::profile(&context, command),
        Command::Drill(drill) => drill::drill(&context, drill),
        Command::Explain { words } => explain::explain(&context, words),
        Command::Handover(arguments) => handover::handover(&context, arguments),
        Command::Runbook { space } => explain::runbook(&context, space.as_deref()),
        Command::Kit(command) => kit::kit(&context, command),
        Command::Completions { shell } => Ok(kit::completions(&context, *shell)),
    }
}

fn report(failure: &Failure, json: bool) {
    if failure.exit == Exit::Done {
        return;
    }
    if json {
        say(&envelope::failure(failure));
    }
    // Paths, names and keys in these sentences come from files and from the command line.
    let line = |label: &str, text: &str| {
        tell(&labelled(
            label,
            label,
            &printable(&text.replace('\n', " ")),
        ));
    };
    line("rescue-kit: error:", &failure.text);
    for cause in &failure.causes {
        line("caused by:", cause);
    }
    if !failure.refusals.is_empty() {
        tell(&crate::render::text::findings(
            &failure.refusals,
            &crate::render::text::Plain,
        ));
    }
    for hint in &failure.hints {
        line("hint:", hint);
    }
}

/// Whether JSON was asked for, told from a command line that is otherwise wrong: the flag wins over the environment.
fn wants_json(words: &[std::ffi::OsString]) -> bool {
    let words: Vec<String> = words
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let after = |(index, word): (usize, &String)| match word.as_str() {
        "--output" => words.get(index + 1).cloned(),
        word => word.strip_prefix("--output=").map(str::to_owned),
    };
    let flag = words.iter().enumerate().find_map(after);
    flag.or_else(|| context::variable("OUTPUT"))
        .is_some_and(|value| value == "json")
}
