//! Configuration: what the command line, the environment and the answers file ask for, typed and checked.

pub mod rotation;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::clock;
use crate::error::{Failure, meant};
use crate::exit::Exit;
use crate::flow::site::{Choice, ProfileChoice};
use crate::pki::cert::Cert;
use crate::pki::csr::Template;
use crate::pki::digest::Digest;
use crate::pki::key::KeyAlgorithm;
use crate::pki::san::San;
use crate::pki::utc::Utc;
use crate::plan::{Given, Policy, Renewal, Restart};
use crate::profile::Profile;

use crate::cli::args::{CaChoice, Global, PolicyArgs, RestartChoice, Restarts, Selection};

/// The answers file's and environment's names of the flags begin with this.
pub const ENV: &str = "RESCUE_KIT_";

/// What counts as due where nobody says otherwise, in seconds: `--renew-before 30d`.
pub const RENEW_BEFORE: i64 = 30 * Utc::DAY;

/// Chooses the site.
pub fn choice(global: &Global) -> Result<Choice, Failure> {
    let system = clock::system_now();
    let stated = stated(global)?;
    let live = global.root.as_os_str() == "/";
    if let Some(stated) = stated
        && live
        && stated.since(system).abs() > 300
    {
        let text = format!("--now says {stated}, but this system's clock says {system}");
        return Err(Failure::new(
            Exit::Refused,
            text,
            "set the system's clock first",
        ));
    }
    Ok(Choice {
        root: global.root.clone(),
        profile: global.profile.as_deref().map(profile).transpose()?,
        system,
        stated,
        state_dir: global.state_dir.clone(),
    })
}

/// The time that the operator states.
pub fn stated(global: &Global) -> Result<Option<Utc>, Failure> {
    let Some(text) = &global.now else {
        return Ok(None);
    };
    let stated = Utc::parse(text).ok_or_else(|| {
        Failure::usage(
            format!("`{text}` is no time"),
            "write it as 2026-11-22T08:15:43Z",
        )
    });
    stated.map(Some)
}

/// A name of a built-in profile, or a path: whatever has a slash or ends in `.toml`.
pub fn profile(text: &str) -> Result<ProfileChoice, Failure> {
    let is_toml = Path::new(text)
        .extension()
        .is_some_and(|ending| ending == "toml");
    if !text.contains('/') && !is_toml {
        return Ok(ProfileChoice::Named(text.to_owned()));
    }
    profile_file(PathBuf::from(text))
}

/// Reads the text of a layout.
pub fn profile_file(path: PathBuf) -> Result<ProfileChoice, Failure> {
    let bytes = bounded(&path, 1 << 20)?;
    let text = String::from_utf8(bytes).map_err(|_| {
        Failure::new(
            Exit::Refused,
            format!("{} is not UTF-8", path.display()),
            "save it as UTF-8",
        )
    })?;
    Ok(ProfileChoice::Text { path, text })
}

/// Builds the policy; ids are checked against the profile.
pub fn policy(args: &PolicyArgs, profile: &Profile) -> Result<Policy, Failure> {
    let policy = Policy {
        renewal: match args.ca {
            CaChoice::Keep => Renewal::None,
            CaChoice::Renew => Renewal::Due,
        },
        authority_validity: args.ca_validity.as_deref().map(seconds).transpose()?,
        given: match &args.ca_from {
            Some(dir) => authorities(dir, profile)?,
            None => BTreeMap::new(),
        },
        ..selection(&args.selection, profile)?
    };
    Ok(with_restarts(policy, &args.restarts))
}

/// What is done to processes, besides all that a policy says already.
pub fn with_restarts(policy: Policy, args: &Restarts) -> Policy {
    Policy {
        restart: match args.restart {
            RestartChoice::Always => Restart::Always,
            RestartChoice::Auto => Restart::Auto,
            RestartChoice::Never => Restart::Never,
        },
        hold_controllers: args.hold_controllers,
        despite_peers: args.despite_peers,
        ..policy
    }
}

/// The policy of certificates alone; ids are checked against the profile.
pub fn selection(args: &Selection, profile: &Profile) -> Result<Policy, Failure> {
    let ids: Vec<&str> = profile.credential.keys().map(String::as_str).collect();
    known_ids(&args.only, profile)?;
    known_ids(&args.skip, profile)?;
    let mut templates = BTreeMap::new();
    for text in &args.template {
        let (id, path) = text.split_once('=').ok_or_else(|| {
            Failure::usage(
                format!("--template {text} names no file"),
                "--template ID=FILE",
            )
        })?;
        known(id, &ids)?;
        let bytes = bounded(path.as_ref(), 1 << 20)?;
        let template = Template::parse(&bytes).map_err(|error| {
            Failure::usage(format!("{path} {error}"), "see templates/ for the format")
        })?;
        templates.insert(id.to_owned(), template);
    }
    let mut sans = Vec::new();
    for text in &args.san {
        sans.push(san(text, &ids)?);
    }
    Ok(Policy {
        renew_before: seconds(&args.renew_before)?,
        all: args.all,
        validity: args.validity.as_deref().map(seconds).transpose()?,
        reuse_keys: args.key == crate::cli::args::KeyChoice::Reuse,
        key_algorithm: args.key_algorithm.as_deref().map(algorithm).transpose()?,
        sans,
        only: args.only.clone(),
        skip: args.skip.clone(),
        templates,
        ..Policy::default()
    })
}

/// The certificates of authorities that were renewed elsewhere: `ID.crt` in a directory.
fn authorities(dir: &Path, profile: &Profile) -> Result<BTreeMap<String, Given>, Failure> {
    let mut given = BTreeMap::new();
    for id in profile.authority.keys() {
        let path = dir.join(format!("{id}.crt"));
        if !path.exists() {
            continue;
        }
        let bytes = bounded(&path, 1 << 20)?;
        let chain = Cert::all_from_pem(&bytes).map_err(|error| {
            let text = format!("{} {error}", path.display());
            Failure::new(Exit::Refused, text, "rescue-kit ca export --out DIR")
        })?;
        given.insert(id.clone(), Given { chain, key: None });
    }
    if given.is_empty() {
        let ids: Vec<String> = profile
            .authority
            .keys()
            .map(|id| format!("{id}.crt"))
            .collect();
        let text = format!("{} has none of {}", dir.display(), ids.join(", "));
        return Err(Failure::usage(text, "rescue-kit ca export --out DIR"));
    }
    Ok(given)
}

/// Checks ids of authorities against the profile.
pub fn known_authorities(ids: &[String], profile: &Profile) -> Result<(), Failure> {
    let all: Vec<&str> = profile.authority.keys().map(String::as_str).collect();
    ids.iter().try_for_each(|id| known(id, &all))
}

/// When everything must have ended, counted from now.
pub fn deadline(global: &Global) -> Result<Option<Instant>, Failure> {
    let Some(text) = &global.deadline else {
        return Ok(None);
    };
    let seconds = u64::try_from(seconds(text)?).unwrap_or_default();
    Ok(Instant::now().checked_add(Duration::from_secs(seconds)))
}

/// A duration such as `30d`, `12h`, `1h30m`, `45s`, in seconds.
pub fn seconds(text: &str) -> Result<i64, Failure> {
    let bad = || {
        Failure::usage(
            format!("`{text}` is no duration"),
            "write it as 30d, 12h or 1h30m",
        )
    };
    let mut total: i64 = 0;
    let mut digits = String::new();
    for c in text.chars() {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        let unit = match c {
            'y' => 365 * Utc::DAY,
            'd' => Utc::DAY,
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return Err(bad()),
        };
        let count: i64 = std::mem::take(&mut digits).parse().map_err(|_| bad())?;
        total = count
            .checked_mul(unit)
            .and_then(|s| total.checked_add(s))
            .ok_or_else(bad)?;
    }
    if digits.is_empty() && !text.is_empty() {
        Ok(total)
    } else {
        Err(bad())
    }
}

/// The digest of the running binary.
pub fn binary() -> Option<Digest> {
    let mut file = std::fs::File::open("/proc/self/exe").ok()?;
    Digest::read(&mut file).ok()
}

/// Reads a file of this host that the operator named, up to `limit` bytes; never waits for a FIFO.
pub fn bounded(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    use std::io::Read;
    let unreadable = |error: std::io::Error| Failure::unreadable(path, &error);
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    let refuse = |why: &str| {
        let text = format!("{} {why}", path.display());
        Failure::new(Exit::Refused, text, "name another file")
    };
    if !metadata.is_file() {
        return Err(refuse("is no regular file"));
    }
    if metadata.len() > limit {
        return Err(refuse(&format!("is larger than {} MiB", limit >> 20)));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(limit)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    Ok(bytes)
}

/// Checks that these ids are the profile's.
pub fn known_ids(named: &[String], profile: &Profile) -> Result<(), Failure> {
    let ids = profile.credential.keys().chain(profile.authority.keys());
    let ids: Vec<&str> = ids.map(String::as_str).collect();
    named.iter().try_for_each(|id| known(id, &ids))
}

fn known(id: &str, ids: &[&str]) -> Result<(), Failure> {
    if ids.contains(&id) {
        return Ok(());
    }
    let all = format!("the profile has {}", ids.join(", "));
    let hint = meant(id, ids.iter().copied(), &all);
    Err(Failure::usage(
        format!("there is no certificate `{id}` in this profile"),
        &hint,
    ))
}

/// `NAME` for every serving certificate, `ID=NAME` for one.
fn san(text: &str, ids: &[&str]) -> Result<(Option<String>, San), Failure> {
    let bad = || {
        Failure::usage(
            format!("`{text}` is no IP address or DNS name"),
            "--san [ID=]IP|DNS",
        )
    };
    match text.split_once('=') {
        Some((id, name)) => {
            known(id, ids)?;
            Ok((Some(id.to_owned()), San::parse(name).ok_or_else(bad)?))
        },
        None => Ok((None, San::parse(text).ok_or_else(bad)?)),
    }
}

/// Checks that a text is a name as `--san` takes it.
pub fn name(text: &str, profile: &Profile) -> Result<(), Failure> {
    let ids: Vec<&str> = profile.credential.keys().map(String::as_str).collect();
    san(text, &ids).map(|_| ())
}

/// A key algorithm by its name.
pub fn algorithm(text: &str) -> Result<KeyAlgorithm, Failure> {
    const KNOWN: [&str; 6] = [
        "rsa-2048",
        "rsa-3072",
        "rsa-4096",
        "ecdsa-p256",
        "ecdsa-p384",
        "ed25519",
    ];
    let lower = text.to_lowercase();
    if !KNOWN.contains(&lower.as_str()) {
        let all = format!("one of {}", KNOWN.join(", "));
        let hint = meant(&lower, KNOWN.into_iter(), &all);
        let text = format!("`{text}` is no key algorithm of this tool");
        return Err(Failure::usage(text, &hint));
    }
    lower
        .parse()
        .map_err(|_| Failure::usage(format!("`{text}` is no key algorithm"), ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations() {
        assert_eq!(seconds("30d").ok(), Some(2_592_000));
        assert_eq!(seconds("1h30m").ok(), Some(5_400));
        for bad in [
            "",
            "30",
            "d",
            "1x",
            "99999999999999999999d",
            "999999999999999999d",
        ] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
