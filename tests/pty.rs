//! A terminal for tests: a program behind a real pseudo-terminal, and an emulator that shows what a person would see.
//!
//! Nothing here sleeps, and nothing waits without a deadline: what is awaited is a byte, or the end of the program. The
//! program leads a session of its own whose terminal this is, so `/dev/tty` opens; it is ended when the test is.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

/// How long a test waits for anything, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(300);

/// How often it is asked whether a program reads single keys by now, of which the system gives no notice.
const GLANCE: Duration = Duration::from_millis(5);

/// What ends a page of a text that is longer than the terminal.
pub(crate) const MORE: &[u8] = b"-- more (Enter; q: no more): ";

/// Lines above the screen that the emulator keeps.
const HISTORY: usize = 10_000;

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) columns: u16,
    pub(crate) rows: u16,
}

/// A serial console.
pub(crate) const CONSOLE: Size = Size {
    columns: 80,
    rows: 24,
};

/// A key that has no letter.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Key {
    Backspace,
    /// `^D`: the end of what is typed.
    CtrlD,
    Down,
    Enter,
    Escape,
    Up,
}

impl Key {
    fn bytes(self) -> &'static [u8] {
        match self {
            Self::Backspace => b"\x7f",
            Self::CtrlD => b"\x04",
            Self::Down => b"\x1b[B",
            Self::Enter => b"\r",
            Self::Escape => b"\x1b",
            Self::Up => b"\x1b[A",
        }
    }
}

/// A line of the emulated terminal.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Without blanks at its end, unless it was broken there.
    pub(crate) text: String,
    /// Whether it was too long, so that the terminal broke it at its edge.
    pub(crate) broken: bool,
}

/// A program on a terminal.
pub(crate) struct Terminal {
    /// The other end of the program's terminal; none once it is hung up.
    line: Option<File>,
    child: Child,
    end: OwnedFd,
    emulator: vt100::Parser,
    printed: Vec<u8>,
    /// How many lines had left the screen when something was typed last.
    above: usize,
    /// How many bytes of what was printed were there when the last prompt was.
    prompted: usize,
    /// Whether whoever sits here turns each page, and goes on reading.
    reads_on: bool,
}

impl Terminal {
    /// Starts a program, its words after it, with exactly these variables, a path and `TERM`.
    pub(crate) fn start(size: Size, words: &[&str], env: &[(&str, &str)]) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let line = openpt(flags).unwrap();
        unlockpt(&line).unwrap();
        let window = Winsize {
            ws_row: size.rows,
            ws_col: size.columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&line, window).unwrap();
        let theirs = ioctl_tiocgptpeer(&line, flags).unwrap();
        // A process group is not led by what is only just started, so `setsid` becomes the program and keeps its number.
        // A shell whose script put these tests into the background has `^C` ignored by all that it starts, terminal or not.
        let child = Command::new("setsid")
            .args(["--ctty", "env", "--default-signal"])
            .args(words)
            .env_clear()
            .envs([("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("TERM", "xterm")])
            .envs(env.iter().copied())
            .stdin(theirs.try_clone().unwrap())
            .stdout(theirs.try_clone().unwrap())
            .stderr(theirs)
            .spawn()
            .unwrap();
        let end = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        let (rows, columns) = (
            size.rows.try_into().unwrap(),
            size.columns.try_into().unwrap(),
        );
        Self {
            line: Some(line.into()),
            child,
            end,
            emulator: vt100::Parser::new(rows, columns, HISTORY),
            printed: Vec::new(),
            above: 0,
            prompted: 0,
            reads_on: true,
        }
    }

    /// From now on pages are turned by the test alone.
    pub(crate) fn stop_at_pages(&mut self) {
        self.reads_on = false;
    }

    /// Types letters.
    pub(crate) fn type_text(&mut self, text: &str) {
        self.send(text.as_bytes());
    }

    /// Presses a key.
    pub(crate) fn press(&mut self, key: Key) {
        self.send(key.bytes());
    }

    /// Presses `^C`.
    pub(crate) fn interrupt(&mut self) {
        self.send(b"\x03");
    }

    /// Cuts the line, as when an ssh connection drops: from now on nothing is seen of the program but its end.
    pub(crate) fn hang_up(&mut self) {
        self.line = None;
    }

    /// Waits until a text is on the screen, or has scrolled by since something was typed last. It may be broken into
    /// lines anywhere between words.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.shows(text) {
            let more = self.read(deadline);
            assert!(more, "`{text}` did not come:\n{}", self.everything());
        }
    }

    /// Waits for the next prompt that ends like this, after what is asked.
    #[track_caller]
    pub(crate) fn wait_for_prompt(&mut self, question: &str, prompt: &str) {
        let deadline = Instant::now() + PATIENCE;
        let is_there = |printed: &[u8]| {
            let mut windows = printed.windows(prompt.len());
            windows.any(|window| window == prompt.as_bytes())
        };
        while !is_there(&self.printed[self.prompted..]) {
            let more = self.read(deadline);
            assert!(more, "`{question}` was not asked:\n{}", self.everything());
        }
        self.prompted = self.printed.len();
        assert!(
            self.shows(question),
            "`{question}` is not what was asked:\n{}",
            self.everything()
        );
    }

    /// As [`Terminal::wait_for`], and then until the program reads single keys: it asks, and has drawn its question.
    #[track_caller]
    pub(crate) fn wait_for_question(&mut self, text: &str) {
        self.wait_for(text);
        let deadline = Instant::now() + PATIENCE;
        while self.reads_lines() {
            self.read(Instant::now() + GLANCE);
            assert!(
                Instant::now() < deadline,
                "`{text}` is no question:\n{}",
                self.screen()
            );
        }
    }

    /// What is on the screen: its lines without blanks at their ends, without empty lines at its end.
    pub(crate) fn screen(&mut self) -> String {
        let above = self.emulator.screen().scrollback_len();
        lines(&self.rows()[above..])
    }

    /// The screen and all that has scrolled off it, as [`Terminal::screen`].
    pub(crate) fn everything(&mut self) -> String {
        lines(&self.rows())
    }

    /// Every line that the terminal showed, those that scrolled off it included.
    pub(crate) fn rows(&mut self) -> Vec<Row> {
        let (_, columns) = self.emulator.screen().size();
        let screen = self.emulator.screen_mut();
        let above = screen.scrollback_len();
        let mut rows = Vec::new();
        for offset in (1..=above).rev() {
            screen.set_scrollback(offset);
            let text = screen.rows(0, columns.get()).next().unwrap_or_default();
            rows.push(Row::new(&text, screen.row_wrapped(0)));
        }
        screen.set_scrollback(0);
        let visible = screen.rows(0, columns.get()).zip(0..);
        rows.extend(visible.map(|(text, row)| Row::new(&text, screen.row_wrapped(row))));
        rows
    }

    /// Everything that was ever printed, escape sequences included.
    pub(crate) fn transcript(&self) -> String {
        String::from_utf8_lossy(&self.printed).into_owned()
    }

    /// Waits for the end of the program; 128 and the signal's number if one ended it, as a shell says.
    #[track_caller]
    pub(crate) fn exit(&mut self) -> i32 {
        let deadline = Instant::now() + PATIENCE;
        while self.read(deadline) {}
        let ended = ready(&self.end, deadline);
        assert!(ended, "it does not end:\n{}", self.everything());
        let status = self.child.wait().unwrap();
        status
            .code()
            .unwrap_or_else(|| 128 + status.signal().unwrap())
    }

    fn send(&mut self, bytes: &[u8]) {
        self.above = self.emulator.screen().scrollback_len();
        self.line.as_mut().unwrap().write_all(bytes).unwrap();
    }

    /// Takes what the program prints next; false if nothing comes any more, or nothing came in time.
    fn read(&mut self, deadline: Instant) -> bool {
        let Some(line) = self.line.as_mut().filter(|line| ready(line, deadline)) else {
            return false;
        };
        let mut bytes = [0; 1 << 12];
        match line.read(&mut bytes) {
            Ok(count) => {
                self.emulator.process(&bytes[..count]);
                self.printed.extend(&bytes[..count]);
                if self.reads_on && self.printed.ends_with(MORE) {
                    // Not as an answer: what is awaited may be on the page before.
                    self.line.as_mut().unwrap().write_all(b"\r").unwrap();
                }
                count > 0
            },
            // So it is said that nobody has the terminal open any more, once everything has been read.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
                false
            },
            Err(error) => error.kind() == ErrorKind::Interrupted,
        }
    }

    fn shows(&mut self, text: &str) -> bool {
        let since: Vec<String> = self.rows()[self.above..]
            .iter()
            .map(|row| row.text.clone())
            .collect();
        flat(&since.join(" ")).contains(&flat(text))
    }

    fn reads_lines(&self) -> bool {
        let line = self.line.as_ref().unwrap();
        tcgetattr(line)
            .unwrap()
            .local_modes
            .contains(LocalModes::ICANON)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It has ended by itself, as it should; or the test failed, and what it started must not outlive it.
        if let Ok(None) = self.child.try_wait() {
            let group = Pid::from_child(&self.child);
            kill_process_group(group, Signal::KILL).unwrap_or_default();
            drop(self.child.wait());
        }
    }
}

impl Row {
    fn new(text: &str, broken: bool) -> Self {
        let text = if broken { text } else { text.trim_end() };
        Self {
            text: text.to_owned(),
            broken,
        }
    }
}

fn lines(rows: &[Row]) -> String {
    let lines: Vec<&str> = rows.iter().map(|row| row.text.as_str()).collect();
    lines.join("\n").trim_end().to_owned()
}

fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Waits until there is something to read, or the end of something.
fn ready(what: &impl AsFd, deadline: Instant) -> bool {
    let left = deadline.saturating_duration_since(Instant::now());
    let left = Timespec::try_from(left).unwrap();
    let mut fds = [PollFd::new(what, PollFlags::IN)];
    poll(&mut fds, Some(&left)).is_ok_and(|count| count > 0)
}
