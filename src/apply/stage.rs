//! Staging: everything is issued and checked before the first file is changed.

use std::collections::BTreeMap;
use std::path::Path;

use crate::apply::content::{Fresh, blob, carried};
use crate::apply::{ApplyError, Event, Hands};
use crate::cores;
use crate::crypto::{self, Signer};
use crate::inventory::{AuthorityState, CredentialState};
use crate::issue::{self, Authority};
use crate::journal::{Body, Content, Evidence, Issued, Way};
use crate::pki::cert::Cert;
use crate::pki::key::PrivateKey;
use crate::pki::san::San;
use crate::place::{Blob, Observed, Place};
use crate::plan::step::{KeyPlan, Origin, Source, Stage, StepId};
use crate::run::{Run, RunError};
use crate::store::Disk;

/// Issues every certificate of the plan, writes the new content of every place and a copy of the old one.
pub(super) fn stage(run: &mut Run, hands: &Hands) -> Result<(), ApplyError> {
    let mut authorities = authorities(run, hands)?;
    for step in run
        .plan
        .phases
        .stage
        .iter()
        .map(|step| step.id.clone())
        .collect::<Vec<_>>()
    {
        let (before, temp) = (Observed::Absent, String::new());
        run.append_unsynced(Body::Intent {
            step,
            way: Way::Forward,
            before,
            temp,
        })?;
    }
    let (of_authorities, of_leaves): (Vec<Stage>, Vec<Stage>) = run
        .plan
        .phases
        .stage
        .iter()
        .cloned()
        .partition(|stage| is_authority(stage, hands));
    let mut fresh = issue_all(&of_authorities, &authorities, hands)?;
    // Leaves are signed in the name of the renewed certificates.
    for stage in &of_authorities {
        if let (Some(new), Some(authority)) =
            (fresh.get(&stage.id), authorities.get_mut(&stage.credential))
        {
            authority.cert = new.cert.clone();
        }
    }
    fresh.extend(issue_all(&of_leaves, &authorities, hands)?);
    for stage in run.plan.phases.stage.clone() {
        if let Some(fresh) = fresh.get(&stage.id) {
            let result = Ok(Evidence::Issued(Box::new(Issued::of(
                &stage.credential,
                &fresh.cert,
                fresh.replaces,
            ))));
            run.append_unsynced(Body::Outcome {
                step: stage.id,
                way: Way::Forward,
                result,
            })?;
        }
    }
    let contents = write_contents(run, hands, &authorities, &fresh)?;
    run.dir.sync().map_err(RunError::from)?;
    Ok(run.append(Body::Staged { contents })?)
}

fn is_authority(stage: &Stage, hands: &Hands) -> bool {
    let mut authorities = hands.authorities.iter();
    authorities.any(|authority| authority.id == stage.credential)
}

/// New content to `staged/`, old content to `undo/`; returns the digests of the new.
fn write_contents(
    run: &Run,
    hands: &Hands,
    authorities: &BTreeMap<String, Authority>,
    fresh: &BTreeMap<StepId, Fresh>,
) -> Result<BTreeMap<StepId, Option<crate::pki::digest::Digest>>, ApplyError> {
    let mut contents = BTreeMap::new();
    for commit in &run.plan.phases.commit {
        let seen = hands.disk.read(&commit.at)?;
        let content = Content::of(&seen.clone().map(|(version, _)| version));
        if content != Content::of(&commit.expect) || content == Content::Unknown {
            return Err(ApplyError::Blocked(commit.at.clone()));
        }
        let old = seen.present().map(|(_, blob)| blob);
        if let Some(Blob::File(bytes)) = old {
            run.dir
                .write_unsynced(&format!("undo/{}", commit.id), bytes)
                .map_err(RunError::from)?;
        }
        let new = blob(commit, old, authorities, fresh, hands)?;
        if let Some(Blob::File(bytes)) = &new {
            let name = format!("staged/{}", commit.id);
            run.dir
                .write_unsynced(&name, bytes)
                .map_err(RunError::from)?;
        }
        contents.insert(commit.id.clone(), new.map(|blob| blob.digest()));
    }
    Ok(contents)
}

/// Loads the keys of the authorities that sign or whose certificates are put into kubeconfigs.
fn authorities(run: &Run, hands: &Hands) -> Result<BTreeMap<String, Authority>, ApplyError> {
    let mut loaded = BTreeMap::new();
    for AuthorityState {
        id,
        cert_path,
        key_path,
        ..
    } in hands.authorities
    {
        if !run
            .plan
            .phases
            .stage
            .iter()
            .any(|stage| stage.recipe.issuer == *id && stage.recipe.given.is_empty())
        {
            continue;
        }
        let at = Place::File(key_path.clone());
        let unreadable = |why: String| ApplyError::Content {
            at: at.clone(),
            why,
        };
        let key = match coming(run, key_path) {
            Some(Source::Carried(path)) => carried(path)?,
            _ => PrivateKey::from_pem(&file(hands.disk, &at)?)
                .map_err(|error| unreadable(error.to_string()))?,
        };
        let certs = match coming(run, cert_path) {
            Some(Source::Text(pem)) => Cert::all_from_pem(pem.as_bytes()),
            _ => Cert::all_from_pem(&file(hands.disk, &Place::File(cert_path.clone()))?),
        };
        let certs = certs.map_err(|error| unreadable(error.to_string()))?;
        let authority = Authority::among(&certs, &key).map_err(|source| ApplyError::Issue {
            id: id.clone(),
            source,
        })?;
        loaded.insert(id.clone(), authority);
    }
    Ok(loaded)
}

/// What the plan puts into a file, if it is all of it.
fn coming<'a>(run: &'a Run, path: &Path) -> Option<&'a Source> {
    let mut commits = run.plan.phases.commit.iter();
    let commit = commits.find(|commit| commit.at == Place::File(path.to_path_buf()))?;
    match &commit.parts[..] {
        [(_, source)] => Some(source),
        _ => None,
    }
}

/// Generating an RSA key takes longer than all the rest, so it is done on every core.
fn issue_all(
    stages: &[Stage],
    authorities: &BTreeMap<String, Authority>,
    hands: &Hands,
) -> Result<BTreeMap<StepId, Fresh>, ApplyError> {
    let with_keys: Vec<(&Stage, Option<PrivateKey>)> = stages
        .iter()
        .map(|stage| Ok((stage, kept_key(stage, hands)?)))
        .collect::<Result<_, ApplyError>>()?;
    let issued = cores::each(&with_keys, 1, |(stage, key)| {
        issue_one(stage, authorities, key.as_ref())
    })?;
    for stage in stages {
        (hands.tell)(Event::Issued(stage.credential.clone()));
    }
    let ids = stages.iter().map(|stage| stage.id.clone());
    Ok(ids.zip(issued).collect())
}

/// The key that is there already, if none is to be made.
fn kept_key(stage: &Stage, hands: &Hands) -> Result<Option<PrivateKey>, ApplyError> {
    match &stage.recipe.key {
        // An authority's key never moves, and may not even be here.
        KeyPlan::Reuse if is_authority(stage, hands) => Ok(None),
        KeyPlan::Reuse => old_key(stage, hands).map(Some),
        KeyPlan::File(path) => requested_key(stage, path, hands).map(Some),
        KeyPlan::New { .. } => Ok(None),
    }
}

fn issue_one(
    stage: &Stage,
    authorities: &BTreeMap<String, Authority>,
    old_key: Option<&PrivateKey>,
) -> Result<Fresh, ApplyError> {
    let recipe = &stage.recipe;
    if let [cert, chain @ ..] = &recipe.given[..] {
        return given(stage, cert, chain, old_key);
    }
    let failed = |source| ApplyError::Issue {
        id: stage.credential.clone(),
        source,
    };
    let authority = authorities
        .get(&recipe.issuer)
        .ok_or_else(|| ApplyError::Missing(format!("the key of {}", recipe.issuer)))?;
    let key = match (&recipe.key, old_key) {
        (KeyPlan::New { algorithm, form }, _) => Some(crypto::generate(algorithm, *form)?),
        (_, key) => key.cloned(),
    };
    let spki = match &key {
        Some(key) => Signer::load(key)?.spki().to_vec(),
        None => authority.signer.spki().to_vec(),
    };
    let add: Vec<San> = recipe.add.iter().map(|name| name.san.clone()).collect();
    let template = match &recipe.origin {
        Origin::Old(cert) => (**cert).clone(),
        Origin::New(template) => {
            let subject = template.subject().map_err(|error| failed(error.into()))?;
            issue::prototype(&subject, &template.usages, &template.hosts).map_err(failed)?
        },
    };
    let cert = issue::reissue(
        &template,
        authority,
        &spki,
        recipe.not_before,
        recipe.not_after,
        None,
        &add,
    )
    .map_err(failed)?;
    let chain = if recipe.chain {
        authority.chain.clone()
    } else {
        Vec::new()
    };
    Ok(Fresh {
        cert,
        key,
        chain,
        replaces: replaced(&recipe.origin),
    })
}

fn replaced(origin: &Origin) -> Option<crate::pki::digest::Digest> {
    match origin {
        Origin::Old(cert) => Some(cert.sha256()),
        Origin::New(_) => None,
    }
}

/// A certificate that somebody else issued, which must be for the key that is here.
fn given(
    stage: &Stage,
    cert: &Cert,
    chain: &[Cert],
    key: Option<&PrivateKey>,
) -> Result<Fresh, ApplyError> {
    if let Some(key) = key
        && Signer::load(key)?.public_bits() != cert.public_bits()
    {
        return Err(ApplyError::Missing(format!(
            "the key of the given certificate of {}",
            stage.credential
        )));
    }
    Ok(Fresh {
        cert: cert.clone(),
        key: key.cloned(),
        chain: chain.to_vec(),
        replaces: replaced(&stage.recipe.origin),
    })
}

/// The key that was made when the certificate was requested.
fn requested_key(stage: &Stage, path: &Path, hands: &Hands) -> Result<PrivateKey, ApplyError> {
    let lost = || ApplyError::Missing(format!("the requested key of {}", stage.credential));
    PrivateKey::from_pem(&file(hands.disk, &Place::File(path.to_path_buf()))?).map_err(|_| lost())
}

/// The key that a credential has now.
fn old_key(stage: &Stage, hands: &Hands) -> Result<PrivateKey, ApplyError> {
    let lost = || ApplyError::Missing(format!("the key of {}", stage.credential));
    let found = hands
        .credentials
        .iter()
        .find(|c: &&CredentialState| c.id == stage.credential);
    let placement = &found.ok_or_else(lost)?.placement;
    let at = Place::File(placement.key_path().to_path_buf());
    let text = file(hands.disk, &at)?;
    placement.key_in(&text).map_err(|_| lost())
}

fn file(disk: &Disk, at: &Place) -> Result<zeroize::Zeroizing<Vec<u8>>, ApplyError> {
    match disk.read(at)? {
        Observed::Present((_, Blob::File(bytes))) => Ok(bytes),
        Observed::Present(_) | Observed::Absent => Err(ApplyError::Blocked(at.clone())),
        Observed::Unknown(why) => Err(ApplyError::Content {
            at: at.clone(),
            why,
        }),
    }
}
