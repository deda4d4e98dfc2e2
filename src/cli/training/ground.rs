//! The ground of an exercise: a directory with the broken node, and aside of it what other places still have.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cli::args::Drill;
use crate::cli::drill::workshop;
use crate::clock;
use crate::config::{self, RENEW_BEFORE};
use crate::drill::score::{Remedy, Sheet};
use crate::drill::{self, Made, Scenario};
use crate::error::Failure;
use crate::exit::Exit;
use crate::flow::site::{Choice, Site};
use crate::observe::Depth;
use crate::pki::utc::Utc;
use crate::run;
use crate::store::RunDir;
use crate::verification;

/// The score sheet's file.
const SCORE: &str = "score.json";

/// Where runs are kept, below the node's root.
const STATE: &str = "var/lib/rescue-kit";

/// The directory of an exercise.
pub(super) struct Ground {
    pub(super) work: PathBuf,
    pub(super) made: Made,
    /// Whether the node stays when the exercise ends.
    pub(super) is_kept: bool,
    /// Whether the directory was made for this exercise.
    made_here: bool,
    /// Yesterday's backup.
    backup: String,
}

impl Ground {
    /// Makes the node, and what other places have of it. If that fails, nothing stays.
    pub(super) fn prepare(arguments: &Drill, scenario: Scenario) -> Result<Self, Failure> {
        let algorithm = config::algorithm(&arguments.key_algorithm)?;
        let (work, made_here) = workshop(arguments)?;
        let now = clock::system_now();
        let build = || {
            let (node, aside) = (work.join("node"), work.join("aside"));
            let twin = aside.join("elsewhere");
            fs::create_dir(&aside).map_err(|error| Failure::unreadable(&aside, &error))?;
            let made = drill::make_beside(&node, Some(&twin), scenario, &algorithm, now);
            let made = made.map_err(|error| {
                let hint = "name another directory: --dir DIR";
                Failure::new(Exit::Refused, error.to_string(), hint)
            })?;
            let (backup, _) = open(&twin, None)?.make_backup(Some(&aside))?;
            Ok((made, backup.path))
        };
        match build() {
            Ok((made, backup)) => Ok(Self {
                work,
                made,
                is_kept: arguments.keep,
                made_here,
                backup,
            }),
            Err(failure) => {
                clear(&work, made_here)?;
                Err(failure)
            },
        }
    }

    pub(super) fn node(&self) -> &Path {
        &self.made.root
    }

    /// What a remedy is as commands, one after the other; `attempt` names what they write.
    pub(super) fn commands(&self, remedy: Remedy, attempt: usize) -> Vec<Vec<String>> {
        let aside = |name: &str| self.aside(&format!("{name}-{attempt}"));
        match remedy {
            Remedy::Renew => vec![words("run --yes")],
            Remedy::RenewAuthority => vec![words("run --ca renew --yes")],
            Remedy::Request => self.requests(&aside("stick")),
            Remedy::Restore => {
                vec![with(&["backup", "restore"], &[&self.backup, "--yes"])]
            },
            Remedy::Rotate => {
                let from = aside("rotation");
                let begin = with(&["ca", "rotate", "begin"], &["--out", &from, "--yes"]);
                let phase = |name| with(&["ca", "rotate", name], &["--from", &from, "--yes"]);
                vec![
                    begin,
                    phase("trust"),
                    phase("sign"),
                    words("ca rotate drop --yes"),
                ]
            },
            Remedy::SetClock => Vec::new(),
        }
    }

    /// Requests for the stick, signed by each CA where its key is kept, and installed.
    fn requests(&self, stick: &str) -> Vec<Vec<String>> {
        let sign = |ca: &str| {
            let file = |ending| self.aside(&format!("elsewhere/etc/kubernetes/pki/{ca}.{ending}"));
            let by = ["--ca-cert", &file("crt"), "--ca-key", &file("key")];
            with(&["csr", "sign", stick], &by)
        };
        let mut all = vec![with(&["csr", "generate"], &["--out", stick])];
        all.extend(["ca", "etcd/ca", "front-proxy-ca"].map(sign));
        all.push(with(&["csr", "install", stick], &["--yes"]));
        all
    }

    /// The whole command line, as it would be typed on the machine that has the node's disk.
    pub(super) fn command_line(&self, words: &[String], now: Option<Utc>) -> Vec<String> {
        let mut line = vec!["rescue-kit".to_owned()];
        let is_of_node = !matches!(words, [first, second, ..] if first == "csr" && second == "sign")
            && words.first().is_some_and(|first| first != "explain");
        if is_of_node {
            line.extend(["--root".to_owned(), self.node().display().to_string()]);
            let now = now.map(|now| ["--now".to_owned(), now.to_string()]);
            line.extend(now.into_iter().flatten());
        }
        line.extend(words.iter().cloned());
        line
    }

    /// The codes of what `inspect` finds, the first cause first.
    pub(super) fn codes(&self, now: Option<Utc>) -> Vec<String> {
        let seen = open(self.node(), now).and_then(|site| Ok(site.inspect(RENEW_BEFORE)?));
        let mut codes: Vec<String> = Vec::new();
        for finding in seen.iter().flat_map(|seen| &seen.findings) {
            let code = finding.code.id();
            if !codes.contains(&code) {
                codes.push(code);
            }
        }
        codes
    }

    /// Whether everything that can be proved is.
    pub(super) fn is_well(&self, now: Option<Utc>) -> bool {
        let seen = open(self.node(), now).and_then(|site| Ok(site.observe(false, Depth::Proof)?));
        seen.is_ok_and(|inventory| verification::verify(&inventory).passed())
    }

    /// Writes the score, and takes away everything else unless it is to stay.
    pub(super) fn end(&self, sheet: &Sheet) -> Result<PathBuf, Failure> {
        let json = format!("{}\n", run::json(sheet));
        RunDir::on_host(&self.work)?.write(SCORE, json.as_bytes())?;
        if !self.is_kept {
            remove(&self.work)?;
        }
        Ok(self.work.join(SCORE))
    }

    /// Takes everything away, unless it is to stay; says which.
    pub(super) fn abandon(&self) -> Result<String, Failure> {
        let work = self.work.display();
        if self.is_kept {
            return Ok(format!("the files of the exercise are in {work}"));
        }
        clear(&self.work, self.made_here)?;
        Ok("nothing of the exercise is left".to_owned())
    }

    fn aside(&self, name: &str) -> String {
        self.work.join("aside").join(name).display().to_string()
    }
}

fn open(root: &Path, now: Option<Utc>) -> Result<Site, Failure> {
    Ok(Site::open(&Choice {
        root: root.to_path_buf(),
        profile: None,
        system: clock::system_now(),
        stated: now,
        state_dir: STATE.into(),
    })?)
}

/// Takes the exercise out of a directory, and the directory, if it was made for it.
fn clear(work: &Path, made_here: bool) -> Result<(), Failure> {
    remove(work)?;
    if made_here {
        fs::remove_dir(work).map_err(|error| Failure::unreadable(work, &error))?;
    }
    Ok(())
}

fn remove(work: &Path) -> Result<(), Failure> {
    for part in ["node", "aside"].map(|part| work.join(part)) {
        match fs::remove_dir_all(&part) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Failure::unreadable(&part, &error));
            },
            _ => {},
        }
    }
    Ok(())
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

fn with(command: &[&str], arguments: &[&str]) -> Vec<String> {
    let all = command.iter().chain(arguments);
    all.map(|word| (*word).to_owned()).collect()
}
