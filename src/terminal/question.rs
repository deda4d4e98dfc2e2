//! Questions that a whole interview is made of: each a line that is typed, so that any terminal will do, a serial console and
//! one that knows no escape sequences included, and so that what was asked and answered stays to be read.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, poll};

use crate::pki::name::printable;
use crate::render::text::labelled;
use crate::terminal::{size, tell};

/// Where a page ends.
const MORE: &str = "-- more (Enter; q: no more): ";

/// The longest line that is taken, in bytes: as much as the kernel keeps of one.
const LINE: usize = 4096;

/// How often a signal that came between two looks is noticed, in milliseconds.
const LOOK: i64 = 200;

/// An answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reply<T> {
    /// To the question before.
    Back,
    /// This.
    Given(T),
    /// Enough: change nothing.
    Quit,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Silence {
    /// The terminal is gone.
    Gone,
    /// A signal came.
    Signal(i32),
}

/// Whoever asks.
pub struct Interview<'a> {
    /// The signal that came, if one did.
    pub stop: Box<dyn Fn() -> Option<i32> + 'a>,
}

impl Interview<'_> {
    /// Asks for one of several, which are shown with their numbers; without an answer, the first.
    pub fn choose(&self, items: &[String]) -> Result<Reply<usize>, Silence> {
        let width = items.len().to_string().len();
        for (index, item) in items.iter().enumerate() {
            let label = format!("  {:>width$} ", index + 1);
            tell(&labelled(&label, &label, item));
        }
        loop {
            let line = self.line("choice [1] (< back, q quit): ")?;
            let Some(line) = line else {
                return Ok(Reply::Quit);
            };
            match line.as_str() {
                "" => return Ok(Reply::Given(0)),
                "<" | "b" | "back" => return Ok(Reply::Back),
                "q" | "quit" => return Ok(Reply::Quit),
                number => match number.parse::<usize>() {
                    Ok(number) if (1..=items.len()).contains(&number) => {
                        return Ok(Reply::Given(number - 1));
                    },
                    _ => tell(&format!("a number from 1 to {}, please\n", items.len())),
                },
            }
        }
    }

    /// Asks for a text; without an answer, the proposed one. What `check` has to say against it is said, and asked again.
    pub fn text(
        &self,
        question: &str,
        proposed: &str,
        check: &dyn Fn(&str) -> Result<(), String>,
    ) -> Result<Reply<String>, Silence> {
        let shown = if proposed.is_empty() {
            "none"
        } else {
            proposed
        };
        loop {
            let line = self.line(&format!(
                "{question} [{}] (< back, q quit): ",
                printable(shown)
            ))?;
            let Some(line) = line else {
                return Ok(Reply::Quit);
            };
            let text = match line.as_str() {
                "" => proposed.to_owned(),
                "<" | "back" => return Ok(Reply::Back),
                "q" | "quit" => return Ok(Reply::Quit),
                _ => line,
            };
            match check(&text) {
                Ok(()) => return Ok(Reply::Given(text)),
                Err(why) => tell(&labelled("not that:", "not that:", &printable(&why))),
            }
        }
    }

    /// Shows a text, a page at a time if it is longer than the terminal: a console keeps nothing of what has left it.
    /// `below` lines are going to follow it, and are not to push its end away.
    pub fn show(&self, text: &str, below: usize) -> Result<(), Silence> {
        if !io::stderr().is_terminal() {
            tell(text);
            return Ok(());
        }
        let (rows, columns) = size();
        let page = rows.saturating_sub(1).max(1);
        let mut rest: Vec<&str> = text.split_inclusive('\n').collect();
        while height(&rest, columns) > page.saturating_sub(below) {
            let mut count = rest.len();
            while count > 1 && height(&rest[..count], columns) > page {
                count -= 1;
            }
            let after = rest.split_off(count);
            tell(&rest.concat());
            let line = self.line(MORE)?;
            if line.is_none_or(|line| !line.is_empty()) {
                return Ok(());
            }
            rest = after;
        }
        tell(&rest.concat());
        Ok(())
    }

    /// One line, without blanks around it; `None` if the operator ended the input (^D).
    fn line(&self, prompt: &str) -> Result<Option<String>, Silence> {
        tell(prompt);
        self.await_input()?;
        let mut bytes = [0; LINE];
        // The terminal gives a line at a time, and keeps those that were typed ahead.
        match rustix::io::read(io::stdin(), &mut bytes) {
            // So it ends for a reader whose terminal was cut off, too.
            Ok(0) => {
                tell("\n");
                (self.stop)().map_or(Ok(None), |signal| Err(Silence::Signal(signal)))
            },
            Ok(count) => {
                let line = String::from_utf8_lossy(&bytes[..count]);
                Ok(Some(printable(line.trim())))
            },
            Err(_) => Err((self.stop)().map_or(Silence::Gone, Silence::Signal)),
        }
    }

    /// Waits until there is something to read, or a signal has come.
    fn await_input(&self) -> Result<(), Silence> {
        let stdin = io::stdin();
        let timeout = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: LOOK * 1_000_000,
        };
        loop {
            if let Some(signal) = (self.stop)() {
                tell("\n");
                return Err(Silence::Signal(signal));
            }
            let mut fds = [PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN)];
            match poll(&mut fds, Some(&timeout)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {},
                Ok(_) if fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR) => {
                    return Err(Silence::Gone);
                },
                Ok(_) => return Ok(()),
                Err(_) => return Err(Silence::Gone),
            }
        }
    }
}

/// Lines that a text has on the terminal, which breaks those that are too long for it.
fn height(lines: &[&str], columns: usize) -> usize {
    let rows = lines.iter().map(|line| {
        let width = console::measure_text_width(line.trim_end_matches('\n'));
        width.div_ceil(columns.max(1)).max(1)
    });
    rows.sum()
}
