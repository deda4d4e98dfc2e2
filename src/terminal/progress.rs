//! Progress: a bar on a terminal, each step for a person who follows, lines of JSON for programs, nothing otherwise.

use std::cell::{Cell, RefCell};
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::apply::Event;
use crate::journal::Way;
use crate::pki::name::printable;
use crate::render::text::labelled;
use crate::terminal::tell;

/// How progress is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// A bar on stderr, if that is a terminal.
    Bar,
    /// One JSON object a line on stderr.
    Json,
    /// A line on stderr for what is done to each process, if that is a terminal: one that can move no cursor.
    Lines,
    /// Not at all.
    Silent,
    /// Those lines, and below them a bar with what is being done, since when and for how long it usually lasts.
    Steps,
}

/// Shows events.
pub struct Progress {
    mode: Mode,
    bar: ProgressBar,
    begun: Instant,
    /// What is being done to a process.
    deed: RefCell<String>,
    issued: Cell<usize>,
    placed: Cell<usize>,
}

impl Progress {
    /// Starts showing `steps` steps.
    pub fn new(mode: Mode, steps: usize) -> Self {
        let target = match mode {
            Mode::Bar | Mode::Steps => ProgressDrawTarget::stderr(),
            Mode::Json | Mode::Lines | Mode::Silent => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(steps as u64), target);
        let style = ProgressStyle::with_template("{elapsed:>4} [{bar:20}] {pos}/{len} {wide_msg}");
        bar.set_style(
            style
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .progress_chars("=> "),
        );
        if mode == Mode::Json {
            tell(&format!(
                "{{\"schema\":\"rescue-kit/progress/v1\",\"steps\":{steps}}}\n"
            ));
        }
        if matches!(mode, Mode::Bar | Mode::Steps) {
            // The time goes on although nothing happens: a clock that stands still looks like a program that hangs.
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Self {
            mode,
            bar,
            begun: Instant::now(),
            deed: RefCell::default(),
            issued: Cell::default(),
            placed: Cell::default(),
        }
    }

    /// Shows one event.
    pub fn event(&self, event: &Event) {
        let (what, subject) = match event {
            Event::Converging { who, what, .. } => (*what, who.clone()),
            Event::Converged { who, seen, .. } => ("seen", format!("{who} {}", printable(seen))),
            Event::Issued(step) => ("issued", step.clone()),
            Event::Placed {
                at,
                way: Way::Forward,
            } => ("replaced", at.to_string()),
            Event::Placed { at, way: Way::Back } => ("put_back", at.to_string()),
        };
        if self.mode == Mode::Json {
            let line = serde_json::json!({ "event": what, "subject": subject });
            tell(&format!("{line}\n"));
        }
        match event {
            Event::Converging { usual, .. } => {
                self.bar
                    .set_message(format!("{what} {subject}, usually {usual} s"));
            },
            _ => self.bar.set_message(format!("{what} {}", short(&subject))),
        }
        self.follow(event);
        if !matches!(event, Event::Converging { .. }) {
            self.bar.inc(1);
        }
    }

    /// For a person who follows: files in sums, processes one by one.
    fn follow(&self, event: &Event) {
        match event {
            Event::Issued(_) => self.issued.set(self.issued.get() + 1),
            Event::Placed { .. } => self.placed.set(self.placed.get() + 1),
            Event::Converging { who, what, .. } => {
                self.sums();
                self.deed.replace(format!("{what} {who}"));
            },
            Event::Converged { seen, took_ms, .. } => {
                let deed = self.deed.take();
                let took = format!("{}.{} s", took_ms / 1000, took_ms % 1000 / 100);
                self.line(&format!("{deed}: {} ({took})", printable(seen)));
            },
        }
    }

    /// What was issued and replaced since the last line.
    fn sums(&self) {
        match (self.issued.take(), self.placed.take()) {
            (0, 0) => {},
            (0, placed) => self.line(&format!("{placed} places replaced")),
            (issued, 0) => self.line(&format!("{issued} certificates issued")),
            (issued, placed) => {
                self.line(&format!(
                    "{issued} certificates issued, {placed} places replaced"
                ));
            },
        }
    }

    fn line(&self, text: &str) {
        let seconds = self.begun.elapsed().as_secs();
        let label = format!("{:>2}:{:02} ", seconds / 60, seconds % 60);
        let line = labelled(&label, &label, text);
        match self.mode {
            Mode::Lines if io::stderr().is_terminal() => tell(&line),
            Mode::Steps => self.bar.suspend(|| tell(&line)),
            Mode::Bar | Mode::Json | Mode::Lines | Mode::Silent => {},
        }
    }

    /// Takes the bar away.
    pub fn done(&self) {
        self.sums();
        self.bar.finish_and_clear();
    }
}

/// The last two parts of a path, so that a narrow terminal shows its name.
fn short(subject: &str) -> &str {
    let mut slashes = subject.rmatch_indices('/').map(|(at, _)| at + 1);
    slashes.nth(1).map_or(subject, |at| &subject[at..])
}
