//! What is typed, in which order, and how it ends.

use crate::harness::run;

/// Lines that are typed one after another in one directory.
pub(super) struct Story {
    pub(super) name: &'static str,
    /// What is done before, unseen.
    pub(super) before: &'static [&'static str],
    pub(super) scenes: &'static [Scene],
}

/// A line that is typed.
pub(super) struct Scene {
    /// Its golden file.
    pub(super) name: &'static str,
    pub(super) line: &'static str,
    pub(super) code: i32,
}

const fn scene(name: &'static str, line: &'static str, code: i32) -> Scene {
    Scene { name, line, code }
}

/// An expired control plane in `node`, which nobody has looked at.
const EXPIRED: [&str; 4] = [
    "rescue-kit drill --dir made --keep",
    "rescue-kit --root made/node rollback --yes",
    "rm -r made/node/var/lib/rescue-kit",
    "mv made/node node",
];

/// All stories.
pub(super) const STORIES: [Story; 6] = [
    Story {
        name: "rescue",
        before: &EXPIRED,
        scenes: &[
            scene("inspect", "rescue-kit --root node inspect", 3),
            scene("plan", "rescue-kit --root node plan", 3),
            scene("check", "rescue-kit --root node run --check --diff", 0),
            scene("verify-expired", "rescue-kit --root node verify", 3),
            scene(
                "cold-start",
                "rescue-kit --root node verify --cold-start",
                3,
            ),
            scene("no-runs", "rescue-kit --root node runs list", 0),
            scene("no-backups", "rescue-kit --root node backup list", 0),
            scene("no-audit", "rescue-kit --root node audit show", 5),
            scene("resume-nothing", "rescue-kit --root node resume --yes", 5),
            scene(
                "rollback-nothing",
                "rescue-kit --root node rollback --yes",
                5,
            ),
            scene("run", "rescue-kit --root node run --ticket CHG-1 --yes", 0),
            scene("run-again", "rescue-kit --root node run --yes", 0),
            scene("inspect-well", "rescue-kit --root node inspect", 0),
            scene("verify", "rescue-kit --root node verify", 0),
            scene("verify-all", "rescue-kit --root node verify -v", 0),
            scene("runs-list", "rescue-kit --root node runs list", 0),
            scene("audit-show", "rescue-kit --root node audit show", 0),
            scene(
                "audit-verify",
                "rescue-kit audit verify node/var/lib/rescue-kit/runs/*/audit.tar.gz",
                0,
            ),
            scene("audit-export", "rescue-kit --root node audit export", 0),
            scene("backup-create", "rescue-kit --root node backup create", 0),
            scene("backup-list", "rescue-kit --root node backup list", 0),
            scene(
                "backup-verify",
                "rescue-kit backup verify node/var/lib/rescue-kit/runs/*/backup.tar.gz",
                0,
            ),
            scene(
                "backup-restore",
                "rescue-kit --root node backup restore node/var/lib/rescue-kit/runs/*/backup.tar.gz --check",
                0,
            ),
            scene("handover", "rescue-kit --root node handover", 0),
            scene(
                "handover-out",
                "rescue-kit --root node handover --out handover",
                0,
            ),
            scene(
                "kubeconfig-list",
                "rescue-kit --root node kubeconfig list",
                0,
            ),
            scene(
                "kubeconfig-user",
                "rescue-kit --root node kubeconfig user --client-name jane --org dev --out jane.conf",
                0,
            ),
            scene("profile-detect", "rescue-kit --root node profile detect", 0),
            scene(
                "rollback-check",
                "rescue-kit --root node rollback --check",
                0,
            ),
            scene("rollback", "rescue-kit --root node rollback --yes", 0),
            scene(
                "runs-pruned",
                "rescue-kit --root node runs prune --keep 0",
                0,
            ),
        ],
    },
    Story {
        name: "elsewhere",
        before: &EXPIRED,
        scenes: &[
            scene(
                "csr-generate",
                "rescue-kit --root node csr generate --out stick",
                0,
            ),
            scene(
                "csr-install-waiting",
                "rescue-kit --root node csr install stick",
                5,
            ),
            scene(
                "csr-sign",
                "rescue-kit csr sign stick --ca-cert node/etc/kubernetes/pki/ca.crt --ca-key node/etc/kubernetes/pki/ca.key",
                0,
            ),
            scene(
                "csr-sign-refused",
                "rescue-kit csr sign stick --again --ca-cert node/etc/kubernetes/pki/ca.crt --ca-key node/etc/kubernetes/pki/ca.key --allow-name kube-apiserver",
                5,
            ),
            scene(
                "csr-install-check",
                "rescue-kit --root node csr install stick --check",
                0,
            ),
            scene(
                "csr-install",
                "rescue-kit --root node csr install stick --yes",
                0,
            ),
        ],
    },
    Story {
        name: "authorities",
        before: &EXPIRED,
        scenes: &[
            scene("rotate", "rescue-kit --root node ca rotate", 0),
            scene(
                "rotate-begin",
                "rescue-kit --root node ca rotate begin --out rotation --yes",
                0,
            ),
            scene(
                "rotate-trust-check",
                "rescue-kit --root node ca rotate trust --from rotation --check",
                0,
            ),
            scene(
                "rotate-trust",
                "rescue-kit --root node ca rotate trust --from rotation --yes",
                0,
            ),
            scene("rotate-trusted", "rescue-kit --root node ca rotate", 0),
            scene(
                "rotate-drop-early",
                "rescue-kit --root node ca rotate drop --yes",
                5,
            ),
            scene(
                "rotate-sign",
                "rescue-kit --root node ca rotate sign --from rotation --yes",
                0,
            ),
            scene(
                "rotate-drop",
                "rescue-kit --root node ca rotate drop --yes",
                0,
            ),
            scene("sa-rotate", "rescue-kit --root node sa rotate", 0),
            scene("ca-renew", "rescue-kit --root node ca renew ca --check", 0),
            scene(
                "ca-export",
                "rescue-kit --root node ca export --out exported",
                0,
            ),
            scene(
                "ca-bundle",
                "rescue-kit ca bundle exported/ca.crt rotation/ca.crt --out both.crt",
                0,
            ),
        ],
    },
    Story {
        name: "refused",
        before: &[
            "rescue-kit drill --scenario ca-expired --dir old --keep",
            "rescue-kit drill --scenario ca-key-missing --dir keyless --keep",
            "rescue-kit drill --scenario foreign-ca --dir foreign --keep",
            "rescue-kit drill --scenario wrong-san --dir moved --keep",
        ],
        scenes: &[
            scene("ca-expired", "rescue-kit --root old/node run --yes", 5),
            scene(
                "ca-expired-inspect",
                "rescue-kit --root old/node inspect",
                3,
            ),
            scene(
                "ca-expired-renew",
                "rescue-kit --root old/node plan --ca renew",
                3,
            ),
            scene(
                "ca-key-missing",
                "rescue-kit --root keyless/node run --yes",
                5,
            ),
            scene(
                "ca-key-missing-inspect",
                "rescue-kit --root keyless/node inspect",
                3,
            ),
            scene("foreign-ca", "rescue-kit --root foreign/node run --yes", 5),
            scene(
                "foreign-ca-inspect",
                "rescue-kit --root foreign/node inspect",
                3,
            ),
            scene(
                "clock-wrong",
                "rescue-kit --root keyless/node --now 2020-01-01T00:00:00Z plan",
                5,
            ),
            scene("no-layout", "rescue-kit --root bin inspect", 5),
            scene("no-root", "rescue-kit --root nowhere inspect", 5),
            scene("mistyped", "rescue-kit inspekt", 2),
            scene("mistyped-flag", "rescue-kit run --ony apiserver", 2),
            scene(
                "wrong-value",
                "rescue-kit --root old/node plan --validity soon",
                2,
            ),
            scene(
                "unknown-id",
                "rescue-kit --root old/node plan --only apiserve",
                2,
            ),
            scene(
                "no-terminal",
                "rescue-kit --root keyless/node run < /dev/null",
                5,
            ),
            scene(
                "audit-damaged",
                "echo x > audit.tar.gz; rescue-kit audit verify audit.tar.gz",
                3,
            ),
            scene(
                "access",
                "rescue-kit --root old/node kubeconfig break-glass --yes",
                5,
            ),
        ],
    },
    Story {
        name: "rehearsal",
        before: &[],
        scenes: &[
            scene("list", "rescue-kit drill --list", 0),
            scene("drill", "rescue-kit drill --dir rehearsal", 0),
            scene(
                "refused",
                "rescue-kit drill --scenario ca-expired --dir old",
                0,
            ),
            scene("unknown", "rescue-kit drill --scenario flood", 2),
            scene("kit-build", "rescue-kit kit build --out kit", 0),
            scene("kit-verify", "rescue-kit kit verify kit", 0),
            scene(
                "kit-damaged",
                "rm kit/README.txt; echo >> kit/rescue-kit.md; rescue-kit kit verify kit",
                3,
            ),
        ],
    },
    Story {
        name: "lookup",
        before: &[],
        scenes: &[
            scene("explain-code", "rescue-kit explain RK0101", 0),
            scene(
                "explain-error",
                "rescue-kit explain 'x509: certificate signed by unknown authority'",
                0,
            ),
            scene("explain-unknown", "rescue-kit explain 'printer on fire'", 2),
            scene("runbook", "rescue-kit runbook", 0),
            scene("runbook-space", "rescue-kit runbook ca", 0),
            scene("profile-list", "rescue-kit profile list", 0),
            scene(
                "profile-validate",
                "rescue-kit profile show kubeadm > k.toml; rescue-kit profile validate k.toml",
                0,
            ),
            scene("version", "rescue-kit --version", 0),
            scene(
                "break-glass",
                "rescue-kit kubeconfig break-glass --print",
                0,
            ),
        ],
    },
];

/// Every command line by its first command, that itself first; the program alone is the first group.
pub(super) fn commands() -> Vec<Vec<String>> {
    let mut groups = vec![vec!["rescue-kit".to_owned()]];
    for name in below("rescue-kit") {
        let mut group = vec![name];
        let mut next = 0;
        while let Some(command) = group.get(next).cloned() {
            group.extend(below(&command));
            next += 1;
        }
        groups.push(group);
    }
    groups
}

/// The commands of a command, as its help lists them.
fn below(command: &str) -> Vec<String> {
    let words: Vec<&str> = command.split(' ').skip(1).chain(["--help"]).collect();
    let help = run(&words, &[]).exits(0).stdout;
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split_whitespace().next());
    names
        .filter(|name| *name != "help")
        .map(|name| format!("{command} {name}"))
        .collect()
}
