//! The circumstances of a command: flags, colours, signals, who is asking.

use std::cell::{OnceCell, RefCell};
use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use serde::Serialize;

use crate::cli::args::{Color, Global, Output, ProgressForm};
use crate::cli::envelope;
use crate::clock::Stopwatch;
use crate::config;
use crate::error::Failure;
use crate::exit::Exit;
use crate::flow::rescue::Circumstances;
use crate::flow::site::Site;
use crate::inventory::Inventory;
use crate::pki::digest::Digest;
use crate::pki::name::printable;
use crate::terminal::progress::Mode;
use crate::terminal::question::Interview;
use crate::terminal::{Colour, Painter, can_ask, say};

/// What every command needs.
pub(super) struct Context<'a> {
    pub(super) global: &'a Global,
    pub(super) painter: Painter,
    pub(super) watch: Stopwatch,
    /// Whether nothing but text may be printed.
    plain: bool,
    words: &'a [OsString],
    signal: Arc<AtomicUsize>,
    binary: Binary,
    is_guided: bool,
}

/// The digest of the running binary: megabytes to read, so it is computed beside everything else.
struct Binary {
    thread: RefCell<Option<JoinHandle<Option<Digest>>>>,
    digest: OnceCell<Option<Digest>>,
}

impl<'a> Context<'a> {
    /// With `digest`, the binary's digest is being computed from now on.
    pub(super) fn new(global: &'a Global, words: &'a [OsString], digest: bool) -> Self {
        let digest = digest || global.output == Output::Json;
        let thread = RefCell::new(digest.then(|| std::thread::spawn(config::binary)));
        let colour = match global.color {
            Color::Always => Colour::Always,
            Color::Auto => Colour::Auto,
            Color::Never => Colour::Never,
        };
        let no_colour = environment("NO_COLOR").is_some_and(|value| !value.is_empty());
        let plain = no_colour || environment("TERM").is_some_and(|value| value == "dumb");
        Self {
            global,
            painter: Painter::new(colour, plain),
            watch: Stopwatch::start(),
            plain,
            words,
            signal: Arc::default(),
            binary: Binary {
                thread,
                digest: OnceCell::new(),
            },
            is_guided: false,
        }
    }

    /// The same, with a person before the terminal who wants to see each step.
    pub(super) fn guided(self) -> Self {
        Self {
            is_guided: true,
            ..self
        }
    }

    /// A command line of this program, as if it had been typed.
    pub(super) fn typed(&self, words: &[String]) -> Vec<OsString> {
        let program = self.words.first().cloned().unwrap_or_default();
        let words = words.iter().map(OsString::from);
        std::iter::once(program).chain(words).collect()
    }

    pub(super) fn json(&self) -> bool {
        self.global.output == Output::Json
    }

    /// Says the one JSON object of a command that did not fail.
    pub(super) fn answer(
        &self,
        name: &str,
        inventory: Option<&Inventory>,
        changed: bool,
        payload: impl Serialize,
    ) {
        say(&envelope::wrap(
            name,
            self.binary(),
            inventory,
            changed,
            payload,
        ));
    }

    /// Opens the site; a node's own root needs root's rights.
    pub(super) fn site(&self) -> Result<Site, Failure> {
        let choice = config::choice(self.global)?;
        let site = Site::open(&choice)?;
        if site.disk.is_live() && !rustix::process::geteuid().is_root() {
            let text = "only root can read and replace this node's keys";
            let hint = "run as root, or name a copy: --root DIR";
            return Err(Failure::new(Exit::Refused, text, hint));
        }
        Ok(site)
    }

    /// Whether a question can be asked.
    pub(super) fn can_ask(&self) -> bool {
        !self.global.no_input && !self.json() && can_ask()
    }

    /// Whoever asks questions, and stops at a signal.
    pub(super) fn interview(&self) -> Interview<'_> {
        Interview {
            stop: Box::new(|| self.signal()),
        }
    }

    /// From now on signals are noted and looked at between steps.
    pub(super) fn catch_signals(&self) -> Result<(), Failure> {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            let number = usize::try_from(signal).unwrap_or_default();
            signal_hook::flag::register_usize(signal, Arc::clone(&self.signal), number).map_err(
                |error| Failure::new(Exit::Bug, format!("cannot catch signals: {error}"), ""),
            )?;
        }
        Ok(())
    }

    /// The signal that came, if one did.
    pub(super) fn signal(&self) -> Option<i32> {
        match self.signal.load(Ordering::Relaxed) {
            0 => None,
            signal => i32::try_from(signal).ok(),
        }
    }

    /// The digest of the running binary, if it was asked for and could be read.
    pub(super) fn binary(&self) -> Option<Digest> {
        *self
            .binary
            .digest
            .get_or_init(|| self.binary.thread.take()?.join().ok()?)
    }

    pub(super) fn circumstances(&self) -> Circumstances {
        let words = self
            .words
            .iter()
            .map(|word| printable(&word.to_string_lossy()));
        Circumstances {
            operator: self.operator(),
            ticket: self.global.ticket.clone(),
            reason: self.global.reason.clone(),
            command: words.collect(),
            binary: self.binary(),
        }
    }

    /// Who became root by sudo, if somebody did.
    pub(super) fn sudo_user() -> Option<String> {
        environment("SUDO_USER").filter(|user| !user.is_empty() && user != "root")
    }

    /// How progress is shown.
    pub(super) fn progress(&self) -> Mode {
        match self.global.progress {
            Some(ProgressForm::Json) => Mode::Json,
            None if self.global.quiet || self.json() => Mode::Silent,
            None if self.plain => Mode::Lines,
            None if self.is_guided => Mode::Steps,
            None => Mode::Bar,
        }
    }

    /// Who: as they said, else as the system knows them.
    pub(super) fn operator(&self) -> String {
        let named = self.global.operator.clone();
        let known = || environment("SUDO_USER").or_else(|| environment("USER"));
        named
            .or_else(known)
            .unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
    }
}

/// The value of `RESCUE_KIT_<name>`.
pub(super) fn variable(name: &str) -> Option<String> {
    environment(&format!("{}{name}", config::ENV))
}

/// When what is built is said to have been made (reproducible-builds.org), in seconds since 1970.
pub(super) fn source_date() -> Option<String> {
    environment("SOURCE_DATE_EPOCH").filter(|date| !date.is_empty())
}

/// New files are for their owner only, and a crash leaves no memory behind.
pub(super) fn harden() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    // A limit that cannot be lowered leaves what the system has; that is no reason not to rescue.
    setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )
    .unwrap_or_default();
}

#[expect(
    clippy::disallowed_methods,
    reason = "the shell resolves the environment, once, here"
)]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
