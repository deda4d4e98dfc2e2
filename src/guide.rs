//! The guided rescue's decisions: which ways out a node has, the best first, and what the operator answered, as the command
//! that does the same unattended.
//!
//! Ways are found by planning each of them; a way that cannot be planned is none.

use crate::finding::{Code, Finding};
use crate::inventory::{AuthorityState, Inventory};
use crate::place::Observed;
use crate::plan::step::Act;
use crate::plan::{self, Plan, Policy, Renewal};
use crate::profile::Profile;

/// A way out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum WayOut {
    /// What is due is issued by the authorities that are here.
    Renew,
    /// Authorities that have expired are renewed with their own keys, then what is due below them.
    RenewAuthorities,
    /// What can be issued is; these are left as they are.
    LeaveOut(Vec<String>),
    /// Requests for these are written, to be signed where the authority's key is, or their answers are installed.
    Request(Vec<String>),
    /// Nothing is due, and everything is issued anew.
    Everything,
}

/// A way out and what it would do.
#[derive(Clone, Debug)]
pub struct Advice {
    /// The way.
    pub way: WayOut,
    /// Its plan; requests need none.
    pub plan: Option<Plan>,
}

/// What there is to be advised.
#[derive(Clone, Debug, Default)]
pub struct Guidance {
    /// Ways out, the best first.
    pub ways: Vec<Advice>,
    /// Why the usual rescue is refused; empty if it is not.
    pub refusals: Vec<Finding>,
}

impl Guidance {
    /// Whether there is nothing that must be done.
    pub fn is_well(&self) -> bool {
        self.refusals.is_empty() && !self.ways.iter().any(|advice| advice.way.is_needed())
    }
}

impl WayOut {
    /// Whether the node needs it; otherwise it is only possible.
    pub fn is_needed(&self) -> bool {
        *self != Self::Everything
    }

    /// What it does, as a sentence fragment.
    pub fn title(&self) -> String {
        match self {
            Self::Renew => "renew what is due with the CAs that are here".to_owned(),
            Self::RenewAuthorities => {
                "renew the expired CAs with their own keys, and what is due below".to_owned()
            },
            Self::LeaveOut(ids) => format!("renew the rest, leave out {}", few(ids)),
            Self::Request(ids) => format!("have {} signed where the CA's key is", few(ids)),
            Self::Everything => "renew everything, although nothing is due".to_owned(),
        }
    }

    /// What has to be known before it is chosen, as sentences.
    pub fn explanation(&self) -> &'static str {
        match self {
            Self::Renew => {
                "New certificates with new keys keep every byte of the old ones but serial, validity and key. \
                 Nobody has to be told: the CA stays, and so does everything that trusts it."
            },
            Self::RenewAuthorities => {
                "Name, key and key identifier of the CA stay, so that everything it signed stays valid. The new \
                 certificate must reach whoever keeps a copy: files here are written, objects in the API, too; other \
                 nodes and workers get it from a stick (rescue-kit ca export). Do not do it if the key has leaked: that \
                 takes another CA (rescue-kit ca rotate)."
            },
            Self::LeaveOut(_) => {
                "What is left out stays as broken as it is. This brings back what can be brought back now; the rest \
                 follows when its CA's key is here, or by requests."
            },
            Self::Request(_) => {
                "Keys are made here and stay here. The folder with the requests is carried to where the CA's key is, \
                 signed there (by rescue-kit csr sign, openssl, cfssl or Vault), and carried back. Chosen again with that \
                 folder, this way checks every answer, installs it, and renews in the same run what other CAs sign here."
            },
            Self::Everything => {
                "Every certificate that these CAs can issue gets a new key and a year. It does no harm, and is useful \
                 before a time in which nobody may touch the node."
            },
        }
    }

    /// The policy that plans it, from the usual one.
    fn policy(&self, usual: &Policy) -> Policy {
        let usual = usual.clone();
        match self {
            Self::Renew | Self::Request(_) => usual,
            Self::RenewAuthorities => Policy {
                renewal: Renewal::Due,
                ..usual
            },
            Self::LeaveOut(ids) => Policy {
                skip: ids.clone(),
                ..usual
            },
            Self::Everything => Policy { all: true, ..usual },
        }
    }
}

/// Finds the ways out of what was seen.
pub fn guidance(inventory: &Inventory, profile: &Profile, usual: &Policy) -> Guidance {
    let planned = |way: WayOut| {
        let plan = plan::plan(inventory, profile, &way.policy(usual)).ok()?;
        (!plan.is_empty()).then_some(Advice {
            way,
            plan: Some(plan),
        })
    };
    let refusals = match plan::plan(inventory, profile, usual) {
        Ok(plan) if plan.is_empty() => {
            return Guidance {
                ways: Vec::from_iter(planned(WayOut::Everything)),
                refusals: Vec::new(),
            };
        },
        Ok(plan) => {
            let plan = Some(plan);
            return Guidance {
                ways: vec![Advice {
                    way: WayOut::Renew,
                    plan,
                }],
                refusals: Vec::new(),
            };
        },
        Err(plan::Refusals(refusals)) => refusals,
    };
    let unsignable = unsignable(&refusals, inventory, usual);
    let elsewhere = needs_another(&refusals, inventory, usual);
    let mut ways = Vec::from_iter(planned(WayOut::RenewAuthorities));
    if !elsewhere.is_empty() {
        ways.push(Advice {
            way: WayOut::Request(elsewhere),
            plan: None,
        });
    }
    if !unsignable.is_empty() {
        ways.extend(planned(WayOut::LeaveOut(unsignable)));
    }
    Guidance { ways, refusals }
}

/// The credentials without which the rest could be rescued.
fn unsignable(refusals: &[Finding], inventory: &Inventory, usual: &Policy) -> Vec<String> {
    let mut ids = Vec::new();
    for refusal in refusals {
        match inventory.authority(&refusal.subject) {
            Some(authority) => ids.extend(due_of(authority, inventory, usual)),
            None if inventory.credential(&refusal.subject).is_some() => {
                ids.push(refusal.subject.clone());
            },
            // What is no certificate's fault is not mended by leaving one out.
            None => return Vec::new(),
        }
    }
    ids.dedup();
    ids
}

/// The credentials whose authority's key is missing or cannot be used here.
fn needs_another(refusals: &[Finding], inventory: &Inventory, usual: &Policy) -> Vec<String> {
    let keyless =
        |refusal: &&Finding| matches!(refusal.code, Code::CaKeyMissing | Code::CaKeyUnusable);
    let authorities = refusals
        .iter()
        .filter(keyless)
        .filter_map(|refusal| inventory.authority(&refusal.subject));
    authorities
        .flat_map(|authority| due_of(authority, inventory, usual))
        .collect()
}

/// The credentials of an authority that are due.
fn due_of(authority: &AuthorityState, inventory: &Inventory, usual: &Policy) -> Vec<String> {
    let mut due = Vec::new();
    for credential in &inventory.credentials {
        let is_its =
            credential.signer == authority.id || authority.aliases.contains(&credential.signer);
        if is_its && !plan::reasons(credential, inventory, usual).is_empty() {
            due.push(credential.id.clone());
        }
    }
    due
}

/// What a plan costs, as a sentence fragment: how long the API server is away, or takes to come back, and who is restarted.
pub fn cost(plan: &Plan, inventory: &Inventory) -> String {
    if inventory.live.is_none() {
        return "nothing runs below this root, so nothing is stopped".to_owned();
    }
    let touched = plan
        .phases
        .converge
        .iter()
        .filter(|step| matches!(step.act, Act::Restart | Act::Start | Act::Stop));
    let mut who: Vec<&str> = touched.map(|step| step.who.as_str()).collect();
    who.sort_unstable();
    who.dedup();
    let restarted = match who.as_slice() {
        [] => "nothing is restarted".to_owned(),
        who => format!("restarts {}", who.join(", ")),
    };
    let mut running = inventory.live.iter().flat_map(|live| &live.consumers);
    let is_dead = running.any(|one| one.id == API_SERVER && one.identity == Observed::Absent);
    if is_dead {
        return format!("the API server answers after some {COLD_START} s; {restarted}");
    }
    let seconds = plan.downtime_seconds;
    format!("about {seconds} s without the API server; {restarted}")
}

/// The API server's id in every layout that has one.
const API_SERVER: &str = "kube-apiserver";

/// Seconds after which a dead control plane answers, as measured on two cores.
const COLD_START: u32 = 5;

/// What the operator answered.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Answers {
    /// Flags of the command line that the guided rescue itself was started with.
    pub given: Vec<(String, String)>,
    /// The way out.
    pub way: Option<WayOut>,
    /// Who.
    pub operator: String,
    /// The ticket.
    pub ticket: Option<String>,
    /// Where a second copy of the backup goes.
    pub backup_to: Option<String>,
    /// Names to add, each `[ID=]IP|DNS`.
    pub names: Vec<String>,
}

impl Answers {
    /// The flags of `run` that say the same, without their dashes, and their values; empty for a switch.
    pub fn flags(&self) -> Vec<(String, String)> {
        let mut flags = self.given.clone();
        let mut add = |flag: &str, value: String| flags.push((flag.to_owned(), value));
        match &self.way {
            Some(WayOut::RenewAuthorities) => add("ca", "renew".to_owned()),
            Some(WayOut::LeaveOut(ids)) => add("skip", ids.join(",")),
            Some(WayOut::Everything) => add("all", String::new()),
            Some(WayOut::Renew | WayOut::Request(_)) | None => {},
        }
        if !self.names.is_empty() {
            add("san", self.names.join(","));
        }
        if !self.operator.is_empty() {
            add("operator", self.operator.clone());
        }
        if let Some(ticket) = &self.ticket {
            add("ticket", ticket.clone());
        }
        if let Some(directory) = &self.backup_to {
            add("backup-to", directory.clone());
        }
        flags
    }

    /// The words of the unattended command, without the program's name.
    pub fn words(&self) -> Vec<String> {
        let mut words = vec!["run".to_owned()];
        words.extend(typed(&self.flags()));
        words.push("--yes".to_owned());
        words
    }

    /// The unattended command as it is typed into a shell.
    pub fn command(&self) -> String {
        command(&self.words())
    }

    /// An answers file (TOML): the same flags, one a line. It does not agree to anything.
    pub fn to_toml(&self) -> String {
        let mut text = String::from("# Answers for: rescue-kit run --answers FILE --yes\n");
        for (flag, value) in self.flags() {
            let value = match (flag.as_str(), value.as_str()) {
                (_, "") => "true".to_owned(),
                ("san" | "skip", list) => {
                    let items = list.split(',').map(string);
                    format!("[{}]", items.collect::<Vec<_>>().join(", "))
                },
                (_, value) => string(value),
            };
            text.push_str(&format!("{flag} = {value}\n"));
        }
        text
    }
}

/// Flags as words of a command line.
pub fn typed(flags: &[(String, String)]) -> impl Iterator<Item = String> {
    flags.iter().map(|(flag, value)| match value.as_str() {
        "" => format!("--{flag}"),
        value => format!("--{flag}={value}"),
    })
}

/// A command of this program as it is typed into a shell, from its words.
pub fn command(words: &[String]) -> String {
    let quoted = words.iter().map(|word| quoted(word));
    format!("rescue-kit {}", quoted.collect::<Vec<_>>().join(" "))
}

/// A basic string of TOML, which JSON's strings are, too (TOML 1.0, section String).
fn string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A word as a POSIX shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,@%+".contains(c);
    if word.chars().all(plain) {
        return word.to_owned();
    }
    let inside = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    match word.split_once('=') {
        Some((flag, value)) if flag.starts_with("--") => format!("{flag}={}", inside(value)),
        _ => inside(word),
    }
}

/// Some names, or their number if there are many.
fn few(ids: &[String]) -> String {
    match ids {
        [] | [_] | [_, _] => ids.join(" and "),
        many => format!("{} certificates", many.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers() -> Answers {
        Answers {
            given: vec![("root".to_owned(), "/mnt/disk".to_owned())],
            way: Some(WayOut::LeaveOut(vec![
                "etcd-peer".to_owned(),
                "etcd-server".to_owned(),
            ])),
            operator: "A. O'Perator".to_owned(),
            ticket: Some("CHG-1".to_owned()),
            backup_to: Some("/media/stick".to_owned()),
            names: vec!["apiserver=10.0.0.9".to_owned()],
        }
    }

    #[test]
    fn answers_become_the_command_that_says_the_same() {
        assert_eq!(
            answers().command(),
            r"rescue-kit run --root=/mnt/disk --skip=etcd-peer,etcd-server --san=apiserver=10.0.0.9 --operator='A. O'\''Perator' --ticket=CHG-1 --backup-to=/media/stick --yes"
        );
    }

    #[test]
    fn answers_become_a_file_that_agrees_to_nothing() {
        let text = answers().to_toml();
        let table: toml::Table = toml::from_str(&text).unwrap();
        assert_eq!(table["operator"].as_str(), Some("A. O'Perator"));
        assert_eq!(table["skip"].as_array().map(Vec::len), Some(2));
        assert!(!table.contains_key("yes"), "{text}");
    }

    #[test]
    fn a_switch_has_no_value() {
        let all = Answers {
            way: Some(WayOut::Everything),
            ..Answers::default()
        };
        assert_eq!(all.command(), "rescue-kit run --all --yes");
        assert!(all.to_toml().ends_with("all = true\n"));
    }
}
