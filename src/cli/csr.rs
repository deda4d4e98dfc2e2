//! `csr`: requests out, signatures, answers in.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde_json::json;
use zeroize::Zeroizing;

use crate::cli::args::{Csr, Keeping, Restarts, Selection, Sign};
use crate::cli::context::Context;
use crate::cli::run;
use crate::clock;
use crate::config;
use crate::crypto;
use crate::error::Failure;
use crate::exit::Exit;
use crate::finding::{Code, Finding, Severity};
use crate::flow::csr::generate::{Due, Generated};
use crate::flow::csr::sign::{Cap, Row, Signed, Signing, State};
use crate::flow::site;
use crate::inventory::{CredentialState, Inventory};
use crate::issue::Authority;
use crate::pki::cert::Cert;
use crate::pki::csr::Usage;
use crate::pki::key::PrivateKey;
use crate::pki::name::printable;
use crate::pki::pem;
use crate::plan::Policy;
use crate::profile::{Profile, builtin};
use crate::render::text::labelled;
use crate::request::terms::Terms;
use crate::terminal::{prompt, say, tell};

/// The largest key or passphrase file, in bytes.
const LIMIT: usize = 1 << 20;

/// Above so many requests only a sum is shown.
const MANY: usize = 50;

pub(super) fn csr(context: &Context, command: &Csr) -> Result<Exit, Failure> {
    match command {
        Csr::Generate { out, selection } => generate(context, out, selection),
        Csr::Sign(sign) => self::sign(context, sign),
        Csr::Install {
            folder,
            only,
            restarts,
            keeping,
        } => install(context, folder, only, restarts, keeping),
    }
}

fn generate(context: &Context, out: &Path, selection: &Selection) -> Result<Exit, Failure> {
    let site = context.site()?;
    let policy = config::selection(selection, &site.profile)?;
    let _lock = site.lock()?;
    site.refuse_unfinished()?;
    let (inventory, due) = site.due_requests(&policy)?;
    if due.is_empty() {
        if context.json() {
            context.answer("csr", Some(&inventory), false, json!({ "requests": [] }));
        } else {
            say("nothing to request\n");
        }
        return Ok(Exit::Done);
    }
    if context.global.check {
        show_due(context, &inventory, &due);
        return Ok(Exit::Done);
    }
    let in_place = inventory
        .credentials
        .iter()
        .filter_map(CredentialState::cert);
    site.forget_installed(&in_place.collect::<Vec<_>>())?;
    let made = site.generate(&inventory, &due, out)?;
    show_made(context, &inventory, &made, out);
    Ok(Exit::Done)
}

fn show_due(context: &Context, inventory: &Inventory, due: &[Due]) {
    if context.json() {
        let due = due
            .iter()
            .map(|due| json!({ "id": due.id, "why": due.why }));
        let payload = json!({ "requests": due.collect::<Vec<_>>() });
        context.answer("csr", Some(inventory), false, payload);
        return;
    }
    for due in due {
        let label = format!("{:<26}", due.id);
        say(&labelled(&label, &label, &printable(&due.why.join("; "))));
    }
}

fn show_made(context: &Context, inventory: &Inventory, made: &Generated, out: &Path) {
    let manifest = &made.manifest;
    if context.json() {
        let payload = json!({
            "request": manifest.request,
            "folder": out,
            "keys": made.keys,
            "requests": manifest.requests,
        });
        context.answer("csr", Some(inventory), true, payload);
        return;
    }
    if !context.global.quiet {
        for entry in &manifest.requests {
            let label = format!("{:<26}", entry.file);
            let names: Vec<String> = entry.asks.sans.iter().map(ToString::to_string).collect();
            let text = format!(
                "{} for {}; {}",
                entry.signer,
                entry.asks.subject,
                names.join(", ")
            );
            say(&labelled(
                &label,
                &label,
                &printable(text.trim_end_matches("; ")),
            ));
        }
    }
    let count = manifest.requests.len();
    say(&format!("{count} request(s) in {}\n", out.display()));
    say(&format!("keys    {}\n", made.keys.display()));
    say(&format!(
        "next    have them signed, then here: rescue-kit csr install {}\n",
        out.display()
    ));
}

fn install(
    context: &Context,
    folder: &Path,
    only: &[String],
    restarts: &Restarts,
    keeping: &Keeping,
) -> Result<Exit, Failure> {
    let site = context.site()?;
    config::known_ids(only, &site.profile)?;
    let answers = site.answers(folder, only)?;
    if !answers.waiting.is_empty() && !context.global.quiet {
        tell(&labelled("waits:", "waits:", &answers.waiting.join(", ")));
    }
    let policy = config::with_restarts(
        Policy {
            only: answers.given.keys().cloned().collect(),
            given: answers.given,
            ..Policy::default()
        },
        restarts,
    );
    let exit = run::rescue(context, &site, &policy, keeping)?;
    if !context.global.check {
        let installed = policy
            .given
            .values()
            .filter_map(|given| given.chain.first());
        site.forget_installed(&installed.collect::<Vec<_>>())?;
    }
    Ok(exit)
}

fn sign(context: &Context, args: &Sign) -> Result<Exit, Failure> {
    let now = config::stated(context.global)?.unwrap_or_else(clock::system_now);
    let terms = Terms {
        names: args.allow_name.clone(),
        usages: args
            .allow_usage
            .iter()
            .map(|text| usage(text))
            .collect::<Result<_, _>>()?,
    };
    let profiles = profiles(context)?;
    let max_validity = config::seconds(&args.max_validity)?;
    let authority = authority(context, args)?;
    let ca = &authority.cert;
    if now > ca.not_after || now < ca.not_before {
        let text = format!(
            "{} is valid from {} to {}, not now",
            args.ca_cert.display(),
            ca.not_before,
            ca.not_after
        );
        return Err(Failure::new(
            Exit::Refused,
            text,
            "renew the CA's certificate first, or state the true time: --now RFC3339",
        ));
    }
    let signing = Signing {
        authority: &authority,
        profiles: &profiles,
        terms: &terms,
        max_validity,
        only: &args.only,
        again: args.again,
        partial: args.partial,
        now,
    };
    let signed = signing.sign(&args.folder)?;
    answer(context, &authority, &signed, args)
}

/// Shows what was signed; anything that was refused is a failure.
fn answer(
    context: &Context,
    authority: &Authority,
    signed: &Signed,
    args: &Sign,
) -> Result<Exit, Failure> {
    let count = |state| signed.count(state);
    let refusals: Vec<Finding> = signed.refused().flat_map(findings).collect();
    if signed.requests.is_empty()
        || (refusals.is_empty() && count(State::Elsewhere) == signed.requests.len())
    {
        let subject = authority.cert.subject.to_string();
        let text = format!("{} asks nothing of {subject}", args.folder.display());
        return Err(Failure::new(
            Exit::Refused,
            text,
            "name the CA that is asked, or another folder",
        ));
    }
    if !refusals.is_empty() {
        let count = count(State::Signed);
        let text = match count {
            0 => "refused; nothing was signed".to_owned(),
            count => format!("refused in part; {count} request(s) were signed"),
        };
        let mut failure = Failure::new(Exit::Refused, text, "");
        failure.refusals = refusals;
        failure.changed = count > 0;
        return Err(failure);
    }
    if context.json() {
        let payload = json!({
            "signed": count(State::Signed),
            "answered": count(State::Answered),
            "elsewhere": count(State::Elsewhere),
            "authority": { "subject": authority.cert.subject, "sha256": authority.cert.sha256() },
            "milliseconds": signed.milliseconds,
            "requests": signed.requests,
        });
        context.answer("csr", None, count(State::Signed) > 0, payload);
        return Ok(Exit::Done);
    }
    if !context.global.quiet && signed.requests.len() <= MANY {
        for row in &signed.requests {
            say(&line(row));
        }
    }
    let times = signed.milliseconds;
    say(&format!(
        "{} signed, {} signed before, {} for another authority\n",
        count(State::Signed),
        count(State::Answered),
        count(State::Elsewhere)
    ));
    if context.global.verbose > 0 {
        say(&format!(
            "signed in {} ms, on the disk in {} ms\n",
            times.sign, times.sync
        ));
    }
    Ok(Exit::Done)
}

fn line(row: &Row) -> String {
    let name = if row.folder.is_empty() {
        row.id.clone()
    } else {
        format!("{}/{}", row.folder, row.id)
    };
    let what = match row.state {
        State::Answered => "was signed before".to_owned(),
        State::Elsewhere => "is for another authority".to_owned(),
        State::Held => "waits, since others of its folder are refused".to_owned(),
        State::Refused => "is refused".to_owned(),
        State::Signed => {
            let end = row.not_after.map(|at| at.to_string()).unwrap_or_default();
            let cut = match row.capped {
                None => "",
                Some(Cap::Authority) => ", the CA's own end",
                Some(Cap::Policy) => ", the longest validity",
            };
            format!("signed until {end}{cut}")
        },
    };
    format!("{:<26} {what}\n", printable(&name))
}

fn findings(row: &Row) -> Vec<Finding> {
    let file = Path::new(&row.folder).join(&row.file);
    let finding = |(why, hint): &(String, String)| Finding {
        code: Code::Request,
        severity: Severity::Critical,
        subject: row.id.clone(),
        text: format!("{} {why}", file.display()),
        hint: hint.clone(),
    };
    row.why.iter().map(finding).collect()
}

fn usage(text: &str) -> Result<Usage, Failure> {
    Usage::parse(text).ok_or_else(|| {
        let known: Vec<&str> = Usage::names().collect();
        Failure::usage(
            format!("`{text}` is no key usage"),
            &format!("one of {}", known.join(", ")),
        )
    })
}

/// The layouts that manifests may name: the built-in ones, and the one that was given.
fn profiles(context: &Context) -> Result<BTreeMap<String, Profile>, Failure> {
    let mut known = BTreeMap::new();
    for name in builtin::names() {
        let choice = site::ProfileChoice::Named(name.to_owned());
        known.insert(name.to_owned(), site::named(&choice)?);
    }
    if let Some(text) = &context.global.profile {
        let own = site::named(&config::profile(text)?)?;
        known.insert(own.name.clone(), own);
    }
    Ok(known)
}

fn authority(context: &Context, args: &Sign) -> Result<Authority, Failure> {
    let unusable = |error: &dyn std::error::Error, hint: &str| {
        let text = format!("{} {error}", args.ca_cert.display());
        Failure::new(Exit::Refused, text, hint)
    };
    let text = config::bounded(&args.ca_cert, LIMIT as u64)?;
    let certs = Cert::all_from_pem(&text)
        .map_err(|error| unusable(&error, "name the CA's certificate in PEM: --ca-cert FILE"))?;
    let key = key(context, args)?;
    let public = crypto::Signer::load(&key).map_err(|error| {
        let text = format!("{}: {error}", args.ca_key.display());
        Failure::new(Exit::Refused, text, "name the CA's key: --ca-key FILE")
    })?;
    let fits = |cert: &&Cert| cert.public_bits() == public.public_bits();
    let cert = certs.iter().find(fits).unwrap_or(&certs[0]).clone();
    let chain = certs.into_iter().filter(|other| *other != cert).collect();
    Authority::load(cert, chain, &key).map_err(|error| {
        Failure::new(
            Exit::Refused,
            error.to_string(),
            "name the certificate and the key of one CA: --ca-cert, --ca-key",
        )
    })
}

/// Reads the CA's key, and opens it in memory if it is encrypted.
fn key(context: &Context, args: &Sign) -> Result<PrivateKey, Failure> {
    let path = &args.ca_key;
    let refuse = |why: String, hint: &str| {
        Failure::new(Exit::Refused, format!("{} {why}", path.display()), hint)
    };
    let text = secret(path)?;
    if text.starts_with(b"age-encryption.org/")
        || text.starts_with(b"-----BEGIN AGE ENCRYPTED FILE")
    {
        let hint = format!(
            "age -d {} | rescue-kit csr sign --ca-key - ...",
            path.display()
        );
        return Err(refuse("is encrypted with age".to_owned(), &hint));
    }
    let hint = "name the CA's key in PEM: --ca-key FILE";
    let blocks = pem::blocks(&text).map_err(|error| refuse(error.to_string(), hint))?;
    let Some(sealed) = blocks
        .iter()
        .find(|block| block.tag == "ENCRYPTED PRIVATE KEY")
    else {
        return PrivateKey::from_blocks(&blocks).map_err(|error| {
            let hint = format!(
                "openssl pkey -in {} | rescue-kit csr sign --ca-key - ...",
                path.display()
            );
            refuse(error.to_string(), &hint)
        });
    };
    let passphrase = passphrase(context, args)?;
    crypto::unseal(&sealed.der, passphrase.as_bytes()).map_err(|error| {
        let hint = match error {
            crypto::SealError::Passphrase => "try again".to_owned(),
            _ => format!(
                "openssl pkey -in {} | rescue-kit csr sign --ca-key - ...",
                path.display()
            ),
        };
        refuse(error.to_string(), &hint)
    })
}

/// The passphrase: from a file, else from whoever sits at the terminal. Never from an argument or a variable.
fn passphrase(context: &Context, args: &Sign) -> Result<Zeroizing<String>, Failure> {
    if let Some(path) = &args.passphrase_file {
        let bytes = secret(path)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| {
            let text = format!("{} is not UTF-8", path.display());
            Failure::new(Exit::Refused, text, "save it as UTF-8")
        })?;
        let line = text.strip_suffix('\n').unwrap_or(text);
        return Ok(Zeroizing::new(
            line.strip_suffix('\r').unwrap_or(line).to_owned(),
        ));
    }
    let text = format!(
        "{} is encrypted, and there is no terminal to ask for its passphrase on",
        args.ca_key.display()
    );
    let unasked = || Failure::usage(text.clone(), "--passphrase-file FILE, such as /dev/fd/3");
    if !context.can_ask() {
        return Err(unasked());
    }
    let question = format!(
        "Passphrase of {}",
        printable(&args.ca_key.display().to_string())
    );
    prompt::passphrase(&question).ok_or_else(unasked)
}

/// Reads a secret: a file, an open descriptor such as `/dev/fd/3`, or with `-` stdin. The bytes are wiped.
fn secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let unreadable = |error: io::Error| Failure::unreadable(path, &error);
    let is_open = path.starts_with("/dev/fd") || path.starts_with("/proc/self/fd");
    let mut source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else if is_open {
        Box::new(File::open(path).map_err(unreadable)?)
    } else {
        return config::bounded(path, LIMIT as u64).map(Zeroizing::new);
    };
    // All the room is taken at once, so that no growing vector leaves copies.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LIMIT + 1));
    source
        .by_ref()
        .take(LIMIT as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() > LIMIT {
        let text = format!("{} is larger than a key", path.display());
        return Err(Failure::new(Exit::Refused, text, "name another file"));
    }
    Ok(bytes)
}
