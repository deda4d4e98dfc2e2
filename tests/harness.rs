//! The harness: a node's tree in a temporary directory, the real binary, and what other programs say.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_rescue-kit");

/// A node's files.
pub(crate) struct Node {
    _dir: Option<TempDir>,
    pub(crate) root: PathBuf,
}

/// What a command printed and returned.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Node {
    /// A copy of a tree that the real kubeadm made: `state` is `fresh` or `expired`.
    pub(crate) fn real(case: &str, state: &str) -> Self {
        Self::copy_of(&lab().join("trees").join(case).join(state))
    }

    /// A copy of any tree, times and owners included.
    pub(crate) fn copy_of(tree: &Path) -> Self {
        let dir = TempDir::new().unwrap();
        let root = dir.path().join("root");
        copy(tree, &root);
        Self {
            _dir: Some(dir),
            root,
        }
    }

    /// A copy that outlives the tests, so that a static may hold it; the next tests replace it.
    pub(crate) fn kept(name: &str, tree: &Path) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        if dir.exists() {
            fs::remove_dir_all(&dir).unwrap();
        }
        fs::create_dir_all(&dir).unwrap();
        let root = dir.join("root");
        copy(tree, &root);
        Self { _dir: None, root }
    }

    /// Runs rescue-kit on this root with these words; stdin is closed, the environment is clean.
    pub(crate) fn run(&self, words: &[&str]) -> Ran {
        let root = self.root.to_str().unwrap().to_owned();
        run(&[&["--root", &root], words].concat(), &[])
    }

    /// As [`Node::run`], with variables.
    pub(crate) fn run_with(&self, words: &[&str], env: &[(&str, &str)]) -> Ran {
        let root = self.root.to_str().unwrap().to_owned();
        run(&[&["--root", &root], words].concat(), env)
    }

    /// Runs rescue-kit with `--output json` and parses its one object.
    pub(crate) fn json(&self, words: &[&str]) -> serde_json::Value {
        self.run(&[words, &["--output", "json"]].concat()).json()
    }

    /// A path below the root.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    pub(crate) fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.path(path)).unwrap()
    }

    pub(crate) fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(path), bytes).unwrap();
    }

    pub(crate) fn remove(&self, path: &str) {
        fs::remove_file(self.path(path)).unwrap();
    }

    /// Everything below the root but the state directory: kind, mode, owner, ns time of change, link target, content.
    pub(crate) fn snapshot(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        below(&self.root, &self.root, &mut all);
        all
    }

    /// The newest run's directory.
    pub(crate) fn newest_run(&self) -> PathBuf {
        let runs = self.path("/var/lib/rescue-kit/runs");
        let mut names: Vec<PathBuf> = fs::read_dir(runs)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        names.sort();
        names.pop().unwrap()
    }
}

impl Ran {
    /// Asserts the exit code, showing everything if it is another.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "stdout:\n{}\nstderr:\n{}",
            self.stdout, self.stderr
        );
        self
    }

    /// Asserts that stderr holds a text.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        // Messages are wrapped for 80 columns; compare them unwrapped.
        let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            flat(&self.stderr).contains(&flat(text)),
            "`{text}` is not in stderr:\n{}",
            self.stderr
        );
        self
    }

    /// Asserts that stdout holds a text.
    #[track_caller]
    pub(crate) fn prints(self, text: &str) -> Self {
        let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            flat(&self.stdout).contains(&flat(text)),
            "`{text}` is not in stdout:\n{}",
            self.stdout
        );
        self
    }

    /// The one JSON object on stdout.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}:\n{}\n{}", self.stdout, self.stderr))
    }
}

/// Where `scripts/test` put the lab: `bin/` and `trees/`.
pub(crate) fn lab() -> PathBuf {
    let lab = std::env::var_os("RESCUE_KIT_LAB");
    lab.map(PathBuf::from)
        .expect("RESCUE_KIT_LAB is not set; run ./scripts/test")
}

/// A program of the lab.
pub(crate) fn lab_program(name: &str) -> PathBuf {
    lab().join("bin").join(name)
}

/// Runs the binary under test.
pub(crate) fn run(words: &[&str], env: &[(&str, &str)]) -> Ran {
    let mut command = Command::new(BINARY);
    command
        .args(words)
        .env_clear()
        .envs(env.iter().copied())
        .stdin(Stdio::null());
    ran(&command.output().unwrap())
}

/// Runs any other program; it must exist.
pub(crate) fn other(program: impl AsRef<std::ffi::OsStr>, words: &[&str], directory: &Path) -> Ran {
    let mut command = Command::new(&program);
    command
        .args(words)
        .current_dir(directory)
        .stdin(Stdio::null());
    let program = program.as_ref().display().to_string();
    ran(&command
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}; run ./scripts/test")))
}

fn copy(tree: &Path, root: &Path) {
    let copied = Command::new("cp")
        .arg("-a")
        .arg(tree)
        .arg(root)
        .status()
        .unwrap();
    assert!(copied.success(), "cannot copy {}", tree.display());
}

fn ran(output: &Output) -> Ran {
    use std::os::unix::process::ExitStatusExt;
    let status = output.status;
    Ran {
        code: status
            .code()
            .unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn below(root: &Path, dir: &Path, all: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        if name == "var/lib/rescue-kit" {
            continue;
        }
        let meta = fs::symlink_metadata(&path).unwrap();
        let mode = meta.permissions().mode();
        let face = format!(
            "{mode:o} {}:{} {}.{:09}",
            meta.uid(),
            meta.gid(),
            meta.mtime(),
            meta.mtime_nsec()
        );
        let content = if meta.is_symlink() {
            format!("-> {}", fs::read_link(&path).unwrap().display())
        } else if meta.is_file() && meta.len() > 64 << 20 {
            format!("{} bytes", meta.len())
        } else if meta.is_file() {
            format!("{:?}", fs::read(&path).unwrap())
        } else {
            String::new()
        };
        all.insert(name, format!("{face} {content}"));
        if meta.is_dir() {
            below(root, &path, all);
        }
    }
}
