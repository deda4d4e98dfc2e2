//! Child processes: nothing from our environment goes in, little comes out, none outlives its time.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

/// How much of stdout, and of stderr, is kept, in bytes. The rest is read and dropped.
pub const KEPT: usize = 64 << 10;

/// How long the output may stay open after the child has ended, when its own children still hold it.
const GRACE: Duration = Duration::from_secs(1);

/// Why a command gave no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// No program, or one that would have to be searched for.
    #[error("the program `{}` is not an absolute path", program.display())]
    NotAbsolute {
        /// The first word, empty if there is none.
        program: PathBuf,
    },
    /// The program could not be started.
    #[error("cannot start {}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// The program did not end in time, and was killed with its process group.
    #[error("{} did not end within {} s", program.display(), after.as_secs_f32())]
    TimedOut {
        /// The program.
        program: PathBuf,
        /// The time it was given.
        after: Duration,
    },
    /// Waiting for the program failed.
    #[error("cannot wait for {}", program.display())]
    Wait {
        /// The program.
        program: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
}

/// What an ended command left.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Output {
    /// The exit code, as a shell says it: 128 and the signal's number if a signal ended it.
    pub code: i32,
    /// The first [`KEPT`] bytes of its standard output; what is not UTF-8 is replaced.
    pub stdout: String,
    /// The same of its standard error.
    pub stderr: String,
}

impl Output {
    /// Whether the exit code is 0.
    pub fn is_success(&self) -> bool {
        self.code == 0
    }
}

/// Runs a program and waits for its end, at most `timeout`.
///
/// `argv` is the program's absolute path and its arguments; no shell sees them. The environment is `env` and nothing else,
/// standard input is empty, the working directory is `/`. The child leads a process group of its own, so that an interrupt
/// typed at the terminal does not end it, and a timeout ends its children too.
///
/// # Errors
///
/// All variants name the program. A non-zero exit code is no error.
pub fn run(
    argv: &[impl AsRef<OsStr>],
    env: &[(&str, &str)],
    timeout: Duration,
) -> Result<Output, CommandError> {
    let program = argv
        .first()
        .map(|word| PathBuf::from(word.as_ref()))
        .unwrap_or_default();
    if !program.is_absolute() {
        return Err(CommandError::NotAbsolute { program });
    }
    let deadline = Instant::now().checked_add(timeout);
    let mut child = start(&program, &argv[1..], env).map_err(|source| CommandError::Start {
        program: program.clone(),
        source,
    })?;
    let events = watch(&mut child);
    let mut kept = Kept::default();
    let ended = kept.collect(&events, deadline, Until::Exit);
    if !ended {
        kill_group(&child);
    }
    // Not reaped until here, so that the group's number cannot have gone to somebody else.
    let status = child.wait();
    if !ended {
        return Err(CommandError::TimedOut {
            program,
            after: timeout,
        });
    }
    let status = status.map_err(|source| CommandError::Wait { program, source })?;
    kept.collect(&events, Instant::now().checked_add(GRACE), Until::Closed);
    Ok(kept.output(status))
}

/// What the helper threads report.
enum Event {
    Closed,
    Exited,
    Stderr(Vec<u8>),
    Stdout(Vec<u8>),
}

/// What to collect up to.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Until {
    Closed,
    Exit,
}

#[derive(Default)]
struct Kept {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    closed: usize,
}

impl Kept {
    /// Takes events until what is waited for has happened; `false` if the deadline came first. No deadline is forever.
    fn collect(
        &mut self,
        events: &Receiver<Event>,
        deadline: Option<Instant>,
        goal: Until,
    ) -> bool {
        while goal == Until::Exit || self.closed < 2 {
            let event = match deadline.map(|at| at.saturating_duration_since(Instant::now())) {
                // Asked first, because a child that writes without end always has an event ready.
                Some(Duration::ZERO) => return false,
                Some(left) => events.recv_timeout(left).ok(),
                None => events.recv().ok(),
            };
            match event {
                Some(Event::Closed) => self.closed += 1,
                Some(Event::Exited) => return true,
                Some(Event::Stderr(bytes)) => keep(&mut self.stderr, &bytes),
                Some(Event::Stdout(bytes)) => keep(&mut self.stdout, &bytes),
                None => return false,
            }
        }
        true
    }

    fn output(self, status: ExitStatus) -> Output {
        let signal = || status.signal().map_or(-1, |number| 128 + number);
        Output {
            code: status.code().unwrap_or_else(signal),
            stdout: String::from_utf8_lossy(&self.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&self.stderr).into_owned(),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one module that starts children"
)]
fn start(
    program: &Path,
    arguments: &[impl AsRef<OsStr>],
    env: &[(&str, &str)],
) -> io::Result<Child> {
    Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(env.iter().copied())
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

/// Starts one thread each for the end of the child, its output and its errors.
///
/// Threads rather than `poll` on a pidfd, which kernels before 5.3 do not have.
fn watch(child: &mut Child) -> Receiver<Event> {
    // Bounded, so that a child that writes without end waits for us instead of filling the memory.
    let (events, receiver) = mpsc::sync_channel(16);
    let (pid, exits) = (pid(child), events.clone());
    if let Some(stdout) = child.stdout.take() {
        read(stdout, events.clone(), Event::Stdout);
    }
    if let Some(stderr) = child.stderr.take() {
        read(stderr, events, Event::Stderr);
    }
    thread::spawn(move || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(rustix::io::Errno::INTR) = rustix::process::waitid(WaitId::Pid(pid), options)
        {
        }
        let _ = exits.send(Event::Exited);
    });
    receiver
}

fn read(
    mut from: impl Read + Send + 'static,
    events: SyncSender<Event>,
    event: fn(Vec<u8>) -> Event,
) {
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        let mut is_wanted = true;
        loop {
            match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) if is_wanted => is_wanted = events.send(event(buffer[..n].to_vec())).is_ok(),
                Ok(_) => {},
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {},
                Err(_) => break,
            }
        }
        let _ = events.send(Event::Closed);
    });
}

fn keep(kept: &mut Vec<u8>, bytes: &[u8]) {
    let room = KEPT - kept.len();
    kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

fn kill_group(child: &Child) {
    // An error means that all have ended already.
    let _ = rustix::process::kill_process_group(pid(child), Signal::KILL);
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn sh(script: &str, timeout: Duration) -> Result<Output, CommandError> {
        run(&["/bin/sh", "-c", script], &[("LC_ALL", "C")], timeout)
    }

    #[test]
    fn gives_code_output_and_only_the_named_environment() {
        let output = sh("echo out; echo err >&2; exit 3", LONG).unwrap();
        let want = Output {
            code: 3,
            stdout: "out\n".to_owned(),
            stderr: "err\n".to_owned(),
        };
        assert_eq!(output, want);
        let env = run(&["/usr/bin/env"], &[("LC_ALL", "C")], LONG).unwrap();
        assert_eq!(env.stdout, "LC_ALL=C\n");
        assert_eq!(sh("kill -9 $$", LONG).unwrap().code, 137);
        assert!(sh("cat; pwd", LONG).unwrap().stdout == "/\n");
    }

    #[test]
    fn keeps_the_start_of_long_output_and_drains_the_rest() {
        let script = "head -c 5000000 /dev/zero | tr '\\0' x; head -c 300000 /dev/zero >&2";
        let output = sh(script, LONG).unwrap();
        assert_eq!(
            (output.code, output.stdout.len(), output.stderr.len()),
            (0, KEPT, KEPT)
        );
    }

    #[test]
    fn a_timeout_ends_the_whole_group_even_while_it_writes() {
        for script in ["sleep 1000 & echo $!; wait", "yes"] {
            let before = Instant::now();
            let error = sh(script, Duration::from_millis(200)).unwrap_err();
            assert_eq!(error.to_string(), "/bin/sh did not end within 0.2 s");
            assert!(before.elapsed() < LONG);
        }
    }

    #[test]
    fn a_daemon_that_keeps_the_output_open_does_not_hold_us() {
        let before = Instant::now();
        let output = sh("sleep 20 & echo started", LONG).unwrap();
        assert_eq!(output.stdout, "started\n");
        assert!(before.elapsed() < Duration::from_secs(15));
    }

    #[test]
    fn errors_name_the_program() {
        let none: [&str; 0] = [];
        assert!(matches!(
            run(&none, &[], LONG),
            Err(CommandError::NotAbsolute { .. })
        ));
        let error = run(&["sh"], &[], LONG).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the program `sh` is not an absolute path"
        );
        let error = run(&["/none"], &[], LONG).unwrap_err();
        assert_eq!(error.to_string(), "cannot start /none");
    }
}
