//! The file that the controller manager signs with: one certificate and no more, or it ends as soon as it leads
//! (kubernetes/kubernetes, `pkg/controller/certificates/signer/ca_provider.go`). While the others trust two CAs, it needs a file
//! of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::finding::Finding;
use crate::inventory::{AuthorityState, Inventory};
use crate::pki::cert::Cert;
use crate::plan::replacement::Replacement;
use crate::plan::rotation::{refusal, replacement};
use crate::plan::step::{Slot, Source};
use crate::profile::Profile;

/// Whose flags say what to sign with.
const SIGNER: &str = "kube-controller-manager";

/// Flags and the files that they are to name.
type Values = BTreeMap<String, Option<PathBuf>>;

/// Gives the signer a file of its own, if it signs with one that others trust by.
///
/// # Errors
///
/// Its flags are not in a manifest, so that they cannot be changed here.
pub(super) fn apart(
    authority: &AuthorityState,
    signing: Option<&Cert>,
    inventory: &Inventory,
    profile: &Profile,
) -> Result<Vec<(String, Replacement)>, Finding> {
    let shared: Vec<String> = flags(inventory)
        .into_iter()
        .filter(|(_, path)| *path == authority.cert_path)
        .map(|(flag, _)| flag)
        .collect();
    if shared.is_empty() || authority.external {
        return Ok(Vec::new());
    }
    let Some(manifest) = manifest(profile) else {
        let text = format!(
            "is what {SIGNER} signs with (--{}), and that file must hold one certificate alone",
            shared[0]
        );
        let hint = "give it a copy of the CA as a file of its own, restart it, and try again";
        return Err(refusal(authority, &text, hint));
    };
    let own = own_file(authority);
    let pem = signing.map(Cert::to_pem).unwrap_or_default();
    let values: Values = shared
        .into_iter()
        .map(|flag| (flag, Some(own.clone())))
        .collect();
    let id = &authority.id;
    Ok(vec![
        (
            id.clone(),
            file(&own, Source::Text(pem), "signs until the new CA does"),
        ),
        (
            id.clone(),
            flag(manifest, values, "signs with a file of its own"),
        ),
    ])
}

/// Puts the new CA into the file that the signer has for itself.
pub(super) fn moved(
    authority: &AuthorityState,
    new: &[Cert],
    inventory: &Inventory,
) -> Option<(String, Replacement)> {
    let path = separate(authority, inventory)?;
    let pem = new.first().map(Cert::to_pem).unwrap_or_default();
    let replacement = file(&path, Source::Text(pem), "the new CA signs");
    Some((authority.id.clone(), replacement))
}

/// Lets the signer use the common file again, and removes the one that [`apart`] made.
pub(super) fn together(
    authority: &AuthorityState,
    inventory: &Inventory,
    profile: &Profile,
) -> Vec<(String, Replacement)> {
    let own = own_file(authority);
    let ours: Values = flags(inventory)
        .into_iter()
        .filter(|(_, path)| *path == own)
        .map(|(flag, _)| (flag, Some(authority.cert_path.clone())))
        .collect();
    let Some(manifest) = manifest(profile).filter(|_| !ours.is_empty()) else {
        return Vec::new();
    };
    let id = &authority.id;
    vec![
        (
            id.clone(),
            flag(manifest, ours, "signs with the common file again"),
        ),
        (id.clone(), file(&own, Source::Nothing, "needed no more")),
    ]
}

/// Lets nobody sign here any more, as where kubeadm was given a CA without its key: the flags go, and the former key.
///
/// # Errors
///
/// The flags are not in a manifest, so that they cannot be taken out here.
pub(super) fn resigned(
    authority: &AuthorityState,
    inventory: &Inventory,
    profile: &Profile,
) -> Result<Vec<(String, Replacement)>, Finding> {
    let own = own_file(authority);
    let is_own = |path: &PathBuf| [&own, &authority.cert_path, &authority.key_path].contains(&path);
    let values: Values = all_flags(inventory)
        .into_iter()
        .filter(|(_, path)| is_own(path))
        .map(|(flag, _)| (flag, None))
        .collect();
    let id = &authority.id;
    let mut all = Vec::new();
    if !values.is_empty() {
        let Some(manifest) = manifest(profile) else {
            let text = format!("is what {SIGNER} signs with, and its key is to go");
            let hint = "take --cluster-signing-cert-file and --cluster-signing-key-file out of its flags, restart it, and try again";
            return Err(refusal(authority, &text, hint));
        };
        let why = "signs no more: the CA's key is elsewhere";
        all.push((id.clone(), flag(manifest, values, why)));
    }
    let gone = [&own, &authority.key_path].into_iter();
    let gone = gone.filter(|path| inventory.version(path).is_some());
    let gone = gone.map(|path| (id.clone(), file(path, Source::Nothing, "of the former CA")));
    all.extend(gone);
    Ok(all)
}

/// The other files that hold the authority's certificate to verify with: all but those to sign with.
pub(super) fn verifying<'a>(
    authority: &'a AuthorityState,
    inventory: &'a Inventory,
) -> impl Iterator<Item = &'a PathBuf> {
    let signs = flags(inventory);
    let copies = authority.copies.iter();
    copies.filter(move |path| signs.iter().all(|(_, own)| own != *path))
}

/// Whether a plan may write there for an authority: the file that the signer has for itself.
pub(in crate::plan) fn is_own_file(authority: &AuthorityState, path: &Path) -> bool {
    path == own_file(authority)
}

/// The file that the signer has for itself, whoever made it.
fn separate(authority: &AuthorityState, inventory: &Inventory) -> Option<PathBuf> {
    let mut paths = flags(inventory).into_iter().map(|(_, path)| path);
    paths.find(|path| *path != authority.cert_path && authority.copies.contains(path))
}

/// The flags that name the certificate that the controller manager signs with, and its file.
fn flags(inventory: &Inventory) -> Vec<(String, PathBuf)> {
    let mut flags = all_flags(inventory);
    flags.retain(|(flag, _)| flag.ends_with("cert-file"));
    flags
}

/// The flags that name what the controller manager signs with, and the files.
fn all_flags(inventory: &Inventory) -> Vec<(String, PathBuf)> {
    let prefix = format!("flag:{SIGNER}:");
    let named = inventory.facts.iter().filter_map(|(key, values)| {
        let flag = key.strip_prefix(&prefix)?;
        let signs = flag.starts_with("cluster-signing-") && flag.ends_with("-file");
        let value = values.first().filter(|_| signs)?;
        Some((flag.to_owned(), PathBuf::from(&value.value)))
    });
    named.collect()
}

/// `ca-signing.crt` beside `ca.crt`.
fn own_file(authority: &AuthorityState) -> PathBuf {
    let path = &authority.cert_path;
    let part = |part: Option<&std::ffi::OsStr>| {
        part.map(|part| part.to_string_lossy().into_owned())
            .unwrap_or_default()
    };
    let name = format!(
        "{}-signing.{}",
        part(path.file_stem()),
        part(path.extension())
    );
    path.with_file_name(name)
}

fn manifest(profile: &Profile) -> Option<&Path> {
    let component = profile.component.get(SIGNER)?;
    component.manifest.as_deref().map(Path::new)
}

fn file(path: &Path, source: Source, why: &'static str) -> Replacement {
    replacement(path, (Slot::Whole, source), 0o644, why)
}

fn flag(manifest: &Path, values: Values, why: &'static str) -> Replacement {
    replacement(manifest, (Slot::Flags, Source::Flags(values)), 0o600, why)
}
