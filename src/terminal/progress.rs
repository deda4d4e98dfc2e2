//! Progress: a bar on a terminal, lines on a plain one, lines of JSON for programs, nothing otherwise.

use std::io::{self, IsTerminal};

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
    /// A line for each process on stderr, if that is a terminal: one that can move no cursor.
    Lines,
    /// Not at all.
    Silent,
}

/// Shows events.
pub struct Progress {
    mode: Mode,
    bar: ProgressBar,
}

impl Progress {
    /// Starts showing `steps` steps.
    pub fn new(mode: Mode, steps: usize) -> Self {
        let target = match mode {
            Mode::Bar => ProgressDrawTarget::stderr(),
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
        Self { mode, bar }
    }

    /// Shows one event.
    pub fn event(&self, event: &Event) {
        let (what, subject) = match event {
            Event::Converging { who, what } => (*what, who.clone()),
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
        let process = matches!(event, Event::Converging { .. } | Event::Converged { .. });
        if self.mode == Mode::Lines && process && io::stderr().is_terminal() {
            tell(&labelled(what, what, &subject));
        }
        self.bar.set_message(format!("{what} {}", short(&subject)));
        if !matches!(event, Event::Converging { .. }) {
            self.bar.inc(1);
        }
    }

    /// Takes the bar away.
    pub fn done(&self) {
        self.bar.finish_and_clear();
    }
}

/// The last two parts of a path, so that a narrow terminal shows its name.
fn short(subject: &str) -> &str {
    let mut slashes = subject.rmatch_indices('/').map(|(at, _)| at + 1);
    slashes.nth(1).map_or(subject, |at| &subject[at..])
}
