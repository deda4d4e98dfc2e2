//! `kit`: fill a stick, check it. `completions`: what is on it, for a shell.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::args::{Kit, KitBuild, Shell};
use crate::cli::context::{Context, source_date};
use crate::cli::{pages, run};
use crate::config;
use crate::error::Failure;
use crate::exit::Exit;
use crate::kit::verify::{self, Verified};
use crate::kit::{self, BINARY, Built, File, Former};
use crate::pki::name::printable;
use crate::pki::utc::Utc;
use crate::sign;
use crate::terminal::say;

/// The largest binary, in bytes.
const LARGEST: u64 = 512 << 20;

/// The program that runs, whatever has become of its file.
const RUNNING: &str = "/proc/self/exe";

/// 2000-01-01: the time of all files, unless `SOURCE_DATE_EPOCH` says another; FAT knows none before 1980.
const DATE: i64 = 946_684_800;

/// How many names of other files are told.
const TOLD: usize = 20;

pub(super) fn kit(context: &Context, command: &Kit) -> Result<Exit, Failure> {
    match command {
        Kit::Build(build) => self::build(context, build),
        Kit::Verify { dir, signer } => verify(context, dir.as_deref(), signer.as_deref()),
    }
}

pub(super) fn completions(context: &Context, shell: Shell) -> Exit {
    let text = pages::completions(shell);
    if context.json() {
        context.answer("completions", None, false, json!({ "text": text }));
    } else {
        say(&text);
    }
    Exit::Done
}

fn build(context: &Context, order: &KitBuild) -> Result<Exit, Failure> {
    let files = files(order.binary.as_deref())?;
    let key = order.sign_key.as_deref().map(run::audit_key).transpose()?;
    let at = date()?;
    if context.global.check {
        let names = kit::names(files, key.as_ref());
        if context.json() {
            // As with every check: whether something would be changed.
            context.answer("kit", None, true, json!({ "files": names }));
        } else {
            say(&format!("{}\n", names.join("\n")));
        }
        return Ok(Exit::Done);
    }
    let former = if order.again {
        Former::Replaced
    } else {
        Former::Kept
    };
    let built = kit::build(&order.out, files, key.as_ref(), at, former)?;
    if context.json() {
        context.answer("kit", None, true, &built);
    } else {
        say(&told(&built));
    }
    Ok(Exit::Done)
}

/// What only the shell can make: the binary, man pages, completions.
fn files(binary: Option<&Path>) -> Result<Vec<File>, Failure> {
    let binary = config::bounded(binary.unwrap_or_else(|| Path::new(RUNNING)), LARGEST)?;
    let mut files = vec![File::program(BINARY, binary)];
    for (shell, name) in [
        (Shell::Bash, "rescue-kit.bash"),
        (Shell::Fish, "rescue-kit.fish"),
        (Shell::Zsh, "_rescue-kit"),
    ] {
        files.push(File::new(
            format!("completions/{name}"),
            pages::completions(shell),
        ));
    }
    let pages = pages::man()
        .map_err(|error| Failure::new(Exit::Bug, format!("cannot write man pages: {error}"), ""))?;
    files.extend(
        pages
            .into_iter()
            .map(|(name, page)| File::new(format!("man/{name}"), page)),
    );
    Ok(files)
}

fn date() -> Result<Utc, Failure> {
    let Some(text) = source_date() else {
        return Ok(Utc::from_unix(DATE));
    };
    let seconds = text.parse().map_err(|_| {
        let text = format!("SOURCE_DATE_EPOCH is `{text}`, which is no number of seconds");
        Failure::usage(text, "date +%s")
    })?;
    Ok(Utc::from_unix(seconds))
}

fn told(built: &Built) -> String {
    let signer = built.signer.as_deref().map_or_else(
        || "not signed: --sign-key FILE\n".to_owned(),
        |signer| format!("signed by {signer}\n"),
    );
    format!(
        "{} files, {}.{} MB: {}\n{signer}read it back once the stick was out and in again:\n  rescue-kit kit verify {}\n",
        built.files.len(),
        built.bytes / 1_000_000,
        built.bytes / 100_000 % 10,
        built.path.display(),
        built.path.display(),
    )
}

fn verify(
    context: &Context,
    directory: Option<&Path>,
    signer: Option<&Path>,
) -> Result<Exit, Failure> {
    let directory = directory.map_or_else(own_directory, |named| Ok(named.to_path_buf()))?;
    let signer = signer.map(public_key).transpose()?;
    let verified = verify::verify(&directory, signer.as_deref(), context.binary())?;
    if context.json() {
        context.answer("kit", None, false, &verified);
    } else {
        say(&report(&directory, &verified));
    }
    Ok(if verified.intact {
        Exit::Done
    } else {
        Exit::Attention
    })
}

/// Where the program that runs is.
fn own_directory() -> Result<PathBuf, Failure> {
    let program = std::fs::read_link(RUNNING)
        .map_err(|error| Failure::unreadable(Path::new(RUNNING), &error))?;
    Ok(program.parent().map(Path::to_path_buf).unwrap_or_default())
}

fn public_key(path: &Path) -> Result<Vec<u8>, Failure> {
    let text = config::bounded(path, 1 << 20)?;
    sign::fingerprint(&text).map_err(|error| {
        let hint = "an Ed25519 public key: signer.pub, or what ssh-keygen wrote as FILE.pub";
        Failure::new(Exit::Refused, format!("{} {error}", path.display()), hint)
    })?;
    Ok(text)
}

fn report(directory: &Path, verified: &Verified) -> String {
    let mut lines = Vec::new();
    if !verified.finished {
        lines.push(
            "NOT finished: it was pulled out or stopped; rescue-kit kit build --again".to_owned(),
        );
    }
    let faults = verified.faults.iter();
    lines.extend(
        faults.map(|fault| format!("{} {}", printable(&fault.name), printable(&fault.what))),
    );
    if verified.intact {
        lines.push(format!(
            "intact: {}, {} files",
            directory.display(),
            verified.files
        ));
    }
    match (&verified.signer, verified.expected) {
        (None, _) => {
            lines.push("not signed: who changes a file can change SHA256SUMS, too".to_owned());
        },
        (Some(signer), None) => {
            lines.push(format!("signed by {signer}"));
            lines.push(
                "that key is the kit's own and proves no origin; name yours: --signer FILE"
                    .to_owned(),
            );
        },
        (Some(signer), Some(expected)) => {
            lines.push(format!("signed by {signer}"));
            let not = if expected { "" } else { "NOT " };
            lines.push(format!("that is {not}the expected signer"));
        },
    }
    lines.push(match verified.running {
        Some(true) => "this program is the kit's".to_owned(),
        _ => "this program is another than the kit's".to_owned(),
    });
    let extra = verified.extra.iter().take(TOLD);
    lines.extend(extra.map(|name| format!("besides: {}", printable(name))));
    if let Some(more) = verified
        .extra
        .len()
        .checked_sub(TOLD)
        .filter(|more| *more > 0)
    {
        lines.push(format!("besides: {more} more"));
    }
    lines.push(String::new());
    lines.join("\n")
}
