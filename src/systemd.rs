//! systemd, through `systemctl`: what a unit does, and starting and stopping it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::command::{self, CommandError, Output};

/// There only while systemd is the init system (`sd_booted(3)`).
const BOOTED: &str = "/run/systemd/system";

/// Where systemctl may be.
const PROGRAMS: [&str; 2] = ["/usr/bin/systemctl", "/bin/systemctl"];

/// How long a question may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many characters of an error's text are kept.
const MAX_TEXT: usize = 1024;

/// The properties that [`Unit`] is made of (`org.freedesktop.systemd1(5)`).
const PROPERTIES: &str = "Id,LoadState,ActiveState,SubState,Result,MainPID,ExecMainStartTimestampMonotonic,\
                          NRestarts,ExecMainStatus,FragmentPath,UnitFileState";

/// Why systemd did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SystemdError {
    /// There is no systemctl.
    #[error("there is no {}", PROGRAMS.join(" or "))]
    Missing,
    /// The name is none that a unit can have.
    #[error("`{}` is no name of a unit", .unit.escape_default())]
    Name {
        /// The name, at most 256 characters.
        unit: String,
    },
    /// systemctl did not run, or not to its end: what it began may go on.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// systemctl said no.
    #[error("`systemctl {verb} {unit}` failed with code {code}: {said}")]
    Failed {
        /// What it was to do.
        verb: &'static str,
        /// With which unit; empty if with none.
        unit: String,
        /// Its exit code.
        code: i32,
        /// Its words, at most a kilobyte.
        said: String,
    },
    /// systemctl's answer has no state of a unit.
    #[error("`systemctl show {unit}` does not show a unit")]
    Malformed {
        /// The unit.
        unit: String,
    },
}

/// A unit at one moment. What systemd does not say is empty or 0.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Unit {
    /// Its full name, as `kubelet.service`.
    pub name: String,
    /// `loaded`, `not-found`, `masked`, ...
    pub load: String,
    /// `active`, `activating`, `inactive`, `failed`, ...
    pub active: String,
    /// `running`, `auto-restart`, `dead`, ...
    pub sub: String,
    /// How it ended last: `success`, `exit-code`, `start-limit-hit`, ...
    pub result: String,
    /// Its main process; 0 if there is none.
    pub pid: u32,
    /// When its main process began, in microseconds of `CLOCK_MONOTONIC`; 0 if never.
    pub started_us: u64,
    /// How often systemd has restarted it by itself; 0 before systemd 235.
    pub restarts: u64,
    /// The last exit status of its main process.
    pub exit_status: i32,
    /// The file that describes it.
    pub fragment: String,
    /// `enabled`, `disabled`, `static`, ...
    pub unit_file_state: String,
}

/// Whether systemd is this system's init.
pub fn is_running() -> bool {
    Path::new(BOOTED).is_dir()
}

/// What a unit does. One that is unknown has `load` `not-found`. Without a suffix, a service is meant.
///
/// # Errors
///
/// As all functions here: any [`SystemdError`].
pub fn show(unit: &str) -> Result<Unit, SystemdError> {
    Systemctl::find()?.show(unit)
}

/// Stops a unit and waits until it has stopped, at most `within`. Not waiting any longer, it does not take it back.
pub fn stop(unit: &str, within: Duration) -> Result<(), SystemdError> {
    Systemctl::find()?.act("stop", unit, within)
}

/// Starts a unit and waits until it says that it has started, at most `within`, as [`stop`].
pub fn start(unit: &str, within: Duration) -> Result<(), SystemdError> {
    Systemctl::find()?.act("start", unit, within)
}

/// Has systemd stop a unit, if it runs, and start it. Does not wait: a unit that tells when it is ready (`Type=notify`) may
/// need others for that, as a member of etcd without a quorum does.
pub fn restart(unit: &str) -> Result<(), SystemdError> {
    Systemctl::find()?
        .run("restart", &["--no-block"], name(unit)?, PATIENCE)
        .map(|_| ())
}

/// Kills a unit's main process at once.
pub fn kill(unit: &str) -> Result<(), SystemdError> {
    let options = ["--signal=KILL", "--kill-who=main"];
    Systemctl::find()?
        .run("kill", &options, name(unit)?, PATIENCE)
        .map(|_| ())
}

/// Makes systemd forget that a unit failed, and how often: after too many restarts in a row it starts it no more.
pub fn reset_failed(unit: &str) -> Result<(), SystemdError> {
    Systemctl::find()?.act("reset-failed", unit, PATIENCE)
}

/// The names of the timers that are active.
pub fn timers() -> Result<Vec<String>, SystemdError> {
    Systemctl::find()?.timers()
}

/// The program.
struct Systemctl<'a>(&'a str);

impl Systemctl<'_> {
    fn find() -> Result<Self, SystemdError> {
        let program = PROGRAMS.into_iter().find(|path| Path::new(path).exists());
        program.map(Self).ok_or(SystemdError::Missing)
    }

    fn show(&self, unit: &str) -> Result<Unit, SystemdError> {
        let named = name(unit)?;
        let output = self.run("show", &["--property", PROPERTIES], named, PATIENCE)?;
        Unit::read(&output.stdout).ok_or_else(|| SystemdError::Malformed {
            unit: unit.to_owned(),
        })
    }

    fn act(&self, verb: &'static str, unit: &str, within: Duration) -> Result<(), SystemdError> {
        self.run(verb, &[], name(unit)?, within).map(|_| ())
    }

    fn timers(&self) -> Result<Vec<String>, SystemdError> {
        let options = [
            "--type=timer",
            "--state=active",
            "--plain",
            "--no-legend",
            "--full",
        ];
        let output = self.run("list-units", &options, "", PATIENCE)?;
        let names = output.stdout.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            words.find(|word| word.strip_suffix(".timer").is_some())
        });
        Ok(names.map(str::to_owned).collect())
    }

    /// No unit if `unit` is empty.
    fn run(
        &self,
        verb: &'static str,
        options: &[&str],
        unit: &str,
        within: Duration,
    ) -> Result<Output, SystemdError> {
        let mut argv = vec![self.0, "--no-ask-password", "--no-pager", verb];
        argv.extend(options);
        if !unit.is_empty() {
            argv.extend(["--", unit]);
        }
        let output = command::run(&argv, &[("LC_ALL", "C")], within)?;
        if output.is_success() {
            return Ok(output);
        }
        Err(SystemdError::Failed {
            verb,
            unit: unit.to_owned(),
            code: output.code,
            said: output.stderr.trim().chars().take(MAX_TEXT).collect(),
        })
    }
}

impl Unit {
    /// From lines `Property=value`, in any order.
    fn read(text: &str) -> Option<Self> {
        let values: BTreeMap<&str, &str> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .collect();
        let text = |property| values.get(property).map_or("", |value| *value).to_owned();
        let number = |property| values.get(property).and_then(|value| value.parse().ok());
        let (load, active) = (text("LoadState"), text("ActiveState"));
        if load.is_empty() || active.is_empty() {
            return None;
        }
        let pid = number("MainPID").and_then(|pid| u32::try_from(pid).ok());
        let status = values.get("ExecMainStatus");
        Some(Self {
            name: text("Id"),
            load,
            active,
            sub: text("SubState"),
            result: text("Result"),
            pid: pid.unwrap_or(0),
            started_us: number("ExecMainStartTimestampMonotonic").unwrap_or(0),
            restarts: number("NRestarts").unwrap_or(0),
            exit_status: status.and_then(|status| status.parse().ok()).unwrap_or(0),
            fragment: text("FragmentPath"),
            unit_file_state: text("UnitFileState"),
        })
    }
}

/// Takes what a unit may be called (`systemd.unit(5)`) and nothing that systemctl would take for an option or a pattern.
fn name(unit: &str) -> Result<&str, SystemdError> {
    let valid = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    let fits = !unit.is_empty() && unit.len() < 256 && !unit.starts_with('-');
    if fits && unit.chars().all(valid) {
        return Ok(unit);
    }
    Err(SystemdError::Name {
        unit: unit.chars().take(256).collect(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A systemctl that is a shell script; it may name its arguments `"$@"`.
    fn with<T>(script: &str, test: impl FnOnce(&Systemctl<'_>) -> T) -> T {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("systemctl");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        // A file that we had open for writing is busy for children that other tests are just starting.
        let copy = dir.path().join("copy");
        let copied = std::process::Command::new("install")
            .args(["-m", "755"])
            .args([&path, &copy])
            .status();
        assert!(copied.unwrap().success());
        test(&Systemctl(copy.to_str().unwrap()))
    }

    /// What the script was called with and the environment, from its error.
    fn called(act: impl FnOnce(&Systemctl<'_>) -> SystemdError) -> String {
        let echo =
            "env | grep -v -e ^PWD= -e ^_= -e ^OLDPWD= -e ^SHLVL= >&2; echo \"$@\" >&2; exit 1";
        match with(echo, act) {
            SystemdError::Failed { said, .. } => said,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn reads_a_unit() {
        let shown = "ExecMainStatus=1\nMainPID=812\nNRestarts=17\nExecMainStartTimestampMonotonic=6503\n\
                     Result=exit-code\nId=kubelet.service\nLoadState=loaded\nActiveState=activating\n\
                     SubState=auto-restart\nFragmentPath=/lib/systemd/system/kubelet.service\n\
                     UnitFileState=enabled";
        let unit = with(&format!("cat <<'E'\n{shown}\nE"), |systemctl| {
            systemctl.show("kubelet")
        });
        let want = Unit {
            name: "kubelet.service".into(),
            load: "loaded".into(),
            active: "activating".into(),
            sub: "auto-restart".into(),
            result: "exit-code".into(),
            pid: 812,
            started_us: 6503,
            restarts: 17,
            exit_status: 1,
            fragment: "/lib/systemd/system/kubelet.service".into(),
            unit_file_state: "enabled".into(),
        };
        assert_eq!(unit.unwrap(), want);
    }

    #[test]
    fn what_systemd_does_not_say_is_nothing() {
        let odd =
            "LoadState=not-found\nActiveState=inactive\nMainPID=[not set]\nNRestarts=-1\nnoise\n=";
        let want = Unit {
            load: "not-found".into(),
            active: "inactive".into(),
            ..Unit::default()
        };
        assert_eq!(Unit::read(odd), Some(want));
        assert_eq!(Unit::read("LoadState=loaded"), None);
        let error = with("echo", |systemctl| systemctl.show("x").unwrap_err());
        assert_eq!(error.to_string(), "`systemctl show x` does not show a unit");
    }

    #[test]
    fn says_it_in_words_that_no_version_misunderstands() {
        let first = "LC_ALL=C\n--no-ask-password --no-pager";
        let act = |verb| {
            called(move |systemctl| {
                systemctl
                    .act(verb, "kubelet.service", PATIENCE)
                    .unwrap_err()
            })
        };
        for verb in ["stop", "start", "restart", "reset-failed"] {
            assert_eq!(act(verb), format!("{first} {verb} -- kubelet.service"));
        }
        let show = called(|systemctl| systemctl.show("kubelet").unwrap_err());
        assert_eq!(
            show,
            format!("{first} show --property {PROPERTIES} -- kubelet")
        );
        let timers = called(|systemctl| systemctl.timers().unwrap_err());
        let options = "--type=timer --state=active --plain --no-legend --full";
        assert_eq!(timers, format!("{first} list-units {options}"));
    }

    #[test]
    fn lists_timers() {
        let lines = "apt-daily.timer loaded active waiting Daily apt\n● k8s-certs-renew.timer loaded active\n\nx";
        let timers = with(&format!("cat <<'E'\n{lines}\nE"), |systemctl| {
            systemctl.timers().unwrap()
        });
        assert_eq!(timers, ["apt-daily.timer", "k8s-certs-renew.timer"]);
    }

    #[test]
    fn refuses_names_that_are_none() {
        for good in [
            "kubelet",
            "a@b.service",
            "dev-sda\\x2d1.device",
            "x:y_z.timer",
        ] {
            assert_eq!(name(good).unwrap(), good);
        }
        let long = "x".repeat(256);
        for bad in [
            "", "-H", "--all", "a b", "kube*", "a;b", "a\nb", "ä", "[a]", "a/b", &long,
        ] {
            assert!(matches!(name(bad), Err(SystemdError::Name { .. })), "{bad}");
        }
        let error = show("a\u{1b}b").unwrap_err().to_string();
        assert_eq!(error, "`a\\u{1b}b` is no name of a unit");
    }

    #[test]
    fn failures_are_told_in_short_and_in_time() {
        let script = "head -c 5000 /dev/zero | tr '\\0' x >&2; exit 5";
        let error = with(script, |systemctl| {
            systemctl.act("start", "kubelet", PATIENCE).unwrap_err()
        });
        let want = format!(
            "`systemctl start kubelet` failed with code 5: {}",
            "x".repeat(1024)
        );
        assert_eq!(error.to_string(), want);
        let slow = with("sleep 60", |systemctl| {
            systemctl.act("start", "kubelet", Duration::from_millis(200))
        });
        assert!(matches!(
            slow,
            Err(SystemdError::Command(CommandError::TimedOut { .. }))
        ));
    }

    #[test]
    fn knows_whether_systemd_is_there() {
        assert_eq!(is_running(), Path::new("/run/systemd/system").exists());
        if !is_running() && Systemctl::find().is_ok() {
            assert!(timers().is_err());
        }
    }
}
