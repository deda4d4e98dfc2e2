//! The terminal: colours, questions, progress. Data goes to stdout, talk to stderr, questions to the terminal itself.

pub mod progress;
pub mod prompt;
pub mod question;

use std::fs::File;
use std::io::{self, IsTerminal, Write};

use crate::render::text::{Paint, Tone};

/// When to colour.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Colour {
    /// On a terminal that may show more than plain text.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Paints by meaning, for dark and light backgrounds alike.
pub struct Painter {
    style: bool,
}

impl Painter {
    /// Decides once; `plain` is what the environment says.
    pub fn new(colour: Colour, plain: bool) -> Self {
        let style = match colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => !plain && io::stdout().is_terminal(),
        };
        Self { style }
    }
}

impl Paint for Painter {
    fn paint(&self, tone: Tone, text: &str) -> String {
        let style = console::Style::new().force_styling(self.style);
        let style = match tone {
            Tone::Bad => style.red().bold(),
            Tone::Good => style.green(),
            Tone::Heading => style.bold(),
            Tone::Warn => style.yellow(),
        };
        style.apply_to(text).to_string()
    }
}

/// Writes data. A reader that has gone away is not an error.
pub fn say(text: &str) {
    deliver(&mut io::stdout().lock(), text);
}

/// Writes talk.
pub fn tell(text: &str) {
    deliver(&mut io::stderr().lock(), text);
}

/// Whether questions can be asked: stdin is a terminal and the terminal device opens.
pub fn can_ask() -> bool {
    io::stdin().is_terminal() && File::open("/dev/tty").is_ok()
}

/// Lines of the terminal, and characters of a line; those of a console where nobody tells, as on a serial line.
pub fn size() -> (usize, usize) {
    console::Term::stderr()
        .size_checked()
        .map_or((24, 80), |(rows, columns)| (rows.into(), columns.into()))
}

fn deliver(out: &mut dyn Write, text: &str) {
    // A broken pipe is success: whoever read has seen enough. Any other failure has nowhere to be said.
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .unwrap_or_default();
}
