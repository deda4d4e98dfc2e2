//! PHASE: observe, looking at everything and changing nothing.
//! INPUTS: a root, a profile, the time to judge by.
//! OUTPUTS: an inventory.

mod clock;
mod facts;
mod found;
pub(crate) mod live;
mod reader;

pub use live::Depth;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::crypto::{self, Signer};
use crate::facts::Facts;
use crate::inventory::{
    AuthorityState, CredentialState, Inventory, KeyFacts, KeyPairState, KubeconfigState, Node,
    Placement, Scope, WantedName,
};
use crate::pki::cert::Cert;
use crate::pki::chain;
use crate::pki::digest::Digest;
use crate::pki::key::PrivateKey;
use crate::pki::kubeconfig::{Kubeconfig, Material};
use crate::pki::san::San;
use crate::pki::utc::Utc;
use crate::place::{Observed, Place};
use crate::profile::{Credential, CredentialAt, KeyPair, Profile, source};
use crate::store::StoreError;
use crate::store::disk::Disk;
use crate::systemd;

use reader::Reader;
pub use reader::public_keys;

/// Circumstances of a look.
#[derive(Clone, Debug)]
pub struct Look {
    /// The time to judge by.
    pub now: Utc,
    /// The system's clock.
    pub system: Utc,
    /// What the operator says the time is.
    pub stated: Option<Utc>,
    /// Where runs are kept; their journals bear witness to the time.
    pub state_dir: PathBuf,
    /// Whether files outside of the profile are looked for, too.
    pub search: bool,
    /// How much of what runs is asked; on another root nothing is.
    pub depth: Depth,
}

/// Looks at a node's PKI.
///
/// # Errors
///
/// Only what makes looking impossible; what cannot be read is a value of the inventory.
pub fn observe(disk: &Disk, profile: &Profile, look: &Look) -> Result<Inventory, StoreError> {
    let reader = Reader::new(disk);
    let mut facts = Facts::default();
    facts::from_host(&reader, &mut facts)?;
    facts::from_components(&reader, profile, &mut facts)?;
    let mut authorities = authorities(&reader, profile, &facts)?;
    let mut credentials = credentials(&reader, profile, &facts)?;
    copies(&reader, &facts, &credentials, &mut authorities)?;
    facts::from_kubeconfigs(&credentials, &mut facts);
    facts::node_name(&credentials, &mut facts);
    for credential in &mut credentials {
        let signer = authorities.iter().find(|ca| ca.is(&credential.signer));
        if let Some(signer) = signer {
            credential.signer.clone_from(&signer.id);
        }
        names(credential, profile, &facts);
    }
    share(&reader, &mut credentials)?;
    for credential in &mut credentials {
        (credential.signed, credential.anchor) = signed(credential, &authorities);
    }
    let key_pairs = key_pairs(&reader, profile, &facts)?;
    let owner = reader.owner(&profile.anchor)?;
    let node = Node {
        name: facts.first("fact:node-name").cloned(),
        id: identity(&reader, &facts, &authorities)?,
    };
    let known = reader.paths();
    let found = if look.search {
        found::search(&reader, profile, &known)?
    } else {
        Vec::new()
    };
    let clock = clock::facts(disk, look, &reader, &authorities, &credentials, &facts)?;
    let mut inventory = Inventory {
        profile: profile.name.clone(),
        node,
        scope: if disk.is_live() {
            Scope::Live
        } else {
            Scope::Files
        },
        at: look.now,
        clock,
        facts,
        objects: reader.objects(),
        owner,
        authorities,
        credentials,
        key_pairs,
        found,
        live: None,
    };
    // In a chroot, or where nobody booted this system, nothing of it runs.
    if disk.is_live() && look.depth != Depth::Files && systemd::is_running() {
        inventory.live = Some(live::look(disk, profile, &inventory, look.depth));
    }
    Ok(inventory)
}

fn authorities(
    reader: &Reader,
    profile: &Profile,
    facts: &Facts,
) -> Result<Vec<AuthorityState>, StoreError> {
    let mut all: Vec<AuthorityState> = Vec::new();
    for (id, authority) in &profile.authority {
        let cert_path = path(source::first(&authority.at.cert, profile, facts));
        let key_path = path(source::first(&authority.at.key, profile, facts));
        let key = reader.key(&key_path)?;
        let chain = reader
            .certs(&cert_path)?
            .map(|chain| signing_first(chain, &key));
        let state = AuthorityState {
            id: id.clone(),
            cert_path,
            key_path,
            chain,
            key,
            external: authority.external,
            copies: Vec::new(),
            aliases: Vec::new(),
        };
        match all.iter_mut().find(|known| is_one(known, &state)) {
            Some(known) => known.aliases.push(state.id),
            None => all.push(state),
        }
    }
    Ok(all)
}

/// Finds the other files that hold an authority's certificate: those that flags and kubeconfigs name.
fn copies(
    reader: &Reader,
    facts: &Facts,
    credentials: &[CredentialState],
    authorities: &mut [AuthorityState],
) -> Result<(), StoreError> {
    let is_flag = |key: &str| {
        let names_ca = key.to_ascii_lowercase().contains("ca") || key.contains(":cluster-signing-");
        key.starts_with("flag:") && names_ca
    };
    let flags = facts.iter().filter(|(key, _)| is_flag(key));
    let flags = flags
        .flat_map(|(_, values)| values)
        .map(|fact| PathBuf::from(&fact.value));
    let kubeconfigs = credentials
        .iter()
        .filter_map(|credential| credential.kubeconfig.as_ref());
    let named = kubeconfigs.filter_map(|kubeconfig| kubeconfig.ca_file.clone());
    let mut files: Vec<PathBuf> = flags
        .chain(named)
        .filter(|path| path.is_absolute())
        .collect();
    files.sort();
    files.dedup();
    let own: Vec<PathBuf> = authorities
        .iter()
        .map(|known| known.cert_path.clone())
        .collect();
    files.retain(|path| !own.contains(path));
    for path in files {
        let seen = reader.glance(&path)?;
        let Observed::Present((_, bytes)) = seen else {
            continue;
        };
        let Ok(certs) = Cert::all_from_pem(&bytes) else {
            continue;
        };
        let holds = |authority: &&mut AuthorityState| {
            authority
                .cert()
                .is_some_and(|own| certs.iter().any(|cert| cert.der == own.der))
        };
        for authority in authorities.iter_mut().filter(holds) {
            authority.copies.push(path.clone());
            // A plan may replace it, so that it depends on it.
            reader.bytes(&path)?;
        }
    }
    Ok(())
}

/// Whether two authorities are one: in the same file, or the second is a copy without its key.
fn is_one(known: &AuthorityState, other: &AuthorityState) -> bool {
    if known.external || other.external {
        return false;
    }
    let copy = known
        .cert()
        .zip(other.cert())
        .is_some_and(|(a, b)| a.der == b.der);
    known.cert_path == other.cert_path || (copy && other.key == Observed::Absent)
}

/// Credentials in one file are one certificate: it carries the names that each of them must carry.
fn share(reader: &Reader, credentials: &mut [CredentialState]) -> Result<(), StoreError> {
    let mut first: BTreeMap<PathBuf, usize> = BTreeMap::new();
    for index in 0..credentials.len() {
        let Some((cert, _)) = credentials[index].files() else {
            continue;
        };
        let before = *first.entry(reader.real(cert)?).or_insert(index);
        if before == index {
            continue;
        }
        let (known, rest) = credentials.split_at_mut(index);
        let (known, own) = (&mut known[before], &mut rest[0]);
        own.shares = Some(known.id.clone());
        own.signer.clone_from(&known.signer);
        union(&mut known.wanted, &own.wanted);
        union(&mut known.advised, &own.advised);
        known.unresolved.append(&mut own.unresolved);
    }
    for index in 0..credentials.len() {
        let (known, rest) = credentials.split_at_mut(index);
        let own = &mut rest[0];
        if let Some(group) = &own.shares
            && let Some(known) = known.iter().find(|known| known.id == *group)
        {
            own.wanted.clone_from(&known.wanted);
            own.advised.clone_from(&known.advised);
            own.unresolved.clone_from(&known.unresolved);
        }
        let required = &own.wanted;
        own.advised
            .retain(|advised| required.iter().all(|name| name.san != advised.san));
    }
    Ok(())
}

fn union(names: &mut Vec<WantedName>, more: &[WantedName]) {
    for name in more {
        if names.iter().all(|known| known.san != name.san) {
            names.push(name.clone());
        }
    }
}

/// In a bundle, the certificate whose key is at hand is the one that signs, wherever it stands.
fn signing_first(mut chain: Vec<Cert>, key: &Observed<KeyFacts>) -> Vec<Cert> {
    if let Some(key) = key.present() {
        let fits = |cert: &Cert| Digest::of(cert.public_bits()) == key.public;
        if let Some(index) = chain.iter().position(fits) {
            chain[..=index].rotate_right(1);
        }
    }
    chain
}

fn credentials(
    reader: &Reader,
    profile: &Profile,
    facts: &Facts,
) -> Result<Vec<CredentialState>, StoreError> {
    let mut all = Vec::new();
    for (id, rule) in &profile.credential {
        let mut state = blank(id, rule);
        match &rule.at {
            CredentialAt::Pair { cert, key } => {
                let cert = path(source::first(cert, profile, facts));
                let key = path(source::first(key, profile, facts));
                state.chain = reader.certs(&cert)?;
                state.key = reader.key(&key)?;
                state.placement = Placement::Pair { cert, key };
            },
            CredentialAt::Pem { pem, link } => {
                let path = path(source::first(pem, profile, facts));
                reader.entry(&path)?;
                state.chain = reader.certs(&path)?;
                state.key = reader.key(&path)?;
                let beside = path.parent().unwrap_or_else(|| Path::new("/"));
                state.taken = reader
                    .list(beside)?
                    .into_iter()
                    .map(|(name, _)| name)
                    .collect();
                state.placement = Placement::Pem {
                    path,
                    link: link.clone(),
                };
            },
            CredentialAt::Kubeconfig { kubeconfig } => {
                let at = path(source::first(kubeconfig, profile, facts));
                read_kubeconfig(reader, profile, facts, at, &mut state)?;
            },
        }
        // A place that nothing names is one that this node does not have.
        if !state.path().as_os_str().is_empty() {
            all.push(state);
        }
    }
    Ok(all)
}

fn blank(id: &str, rule: &Credential) -> CredentialState {
    CredentialState {
        id: id.to_owned(),
        signer: rule.signer.clone(),
        placement: Placement::Embedded {
            kubeconfig: PathBuf::new(),
        },
        chain: Observed::Absent,
        key: Observed::Absent,
        signed: Observed::Absent,
        anchor: None,
        wanted: Vec::new(),
        unresolved: Vec::new(),
        advised: Vec::new(),
        kubeconfig: None,
        shares: None,
        taken: Vec::new(),
        optional: rule.optional,
        external: rule.external,
    }
}

/// Reads a kubeconfig and the credential of its current context, embedded or in the files that it names.
fn read_kubeconfig(
    reader: &Reader,
    profile: &Profile,
    facts: &Facts,
    at: PathBuf,
    state: &mut CredentialState,
) -> Result<(), StoreError> {
    let parsed = parsed_kubeconfig(reader, &at)?;
    state.placement = Placement::Embedded {
        kubeconfig: at.clone(),
    };
    let kubeconfig = match parsed {
        Observed::Present(kubeconfig) => kubeconfig,
        Observed::Absent => return Ok(()),
        Observed::Unknown(why) => {
            state.chain = Observed::Unknown(why);
            return Ok(());
        },
    };
    let dir = at.parent().unwrap_or_else(|| Path::new("/")).to_path_buf();
    state.kubeconfig = Some(surroundings(reader, &kubeconfig, &at, &dir)?);
    match (&kubeconfig.cert, &kubeconfig.key) {
        (Material::File(cert), Material::File(key)) => {
            let (cert, key) = (dir.join(cert), dir.join(key));
            if let Some(to) = owner_of(&cert, profile, facts) {
                state.placement = Placement::Delegated { kubeconfig: at, to };
                return Ok(());
            }
            state.chain = reader.certs(&cert)?;
            state.key = reader.key(&key)?;
            state.placement = Placement::Referenced {
                kubeconfig: at,
                cert,
                key,
            };
        },
        (Material::File(_), _) | (_, Material::File(_)) => {
            let why = "names a file for one half of its credential and embeds the other";
            state.chain = Observed::Unknown(why.to_owned());
        },
        (cert, key) => {
            state.chain = embedded(cert, reader::parsed_certs, "names no client certificate");
            state.key = embedded(key, reader::parsed_key, "names no client key");
        },
    }
    Ok(())
}

fn parsed_kubeconfig(reader: &Reader, at: &Path) -> Result<Observed<Kubeconfig>, StoreError> {
    Ok(match reader.bytes(at)? {
        Observed::Absent => Observed::Absent,
        Observed::Unknown(why) => Observed::Unknown(why),
        Observed::Present(bytes) if bytes.is_empty() => Observed::Unknown("is empty".to_owned()),
        Observed::Present(bytes) => match Kubeconfig::parse(&bytes) {
            Ok(kubeconfig) => Observed::Present(kubeconfig),
            Err(error) => Observed::Unknown(error.to_string()),
        },
    })
}

/// What a kubeconfig says beside the credential; paths in it are relative to its directory.
fn surroundings(
    reader: &Reader,
    kubeconfig: &Kubeconfig,
    at: &Path,
    dir: &Path,
) -> Result<KubeconfigState, StoreError> {
    let (ca, ca_file) = match &kubeconfig.ca {
        Material::Absent => (Observed::Absent, None),
        Material::Embedded(pem) => (reader::parsed_certs(pem), None),
        Material::File(file) => (reader.certs(&dir.join(file))?, Some(dir.join(file))),
    };
    Ok(KubeconfigState {
        path: at.to_path_buf(),
        server: kubeconfig.server.clone(),
        user: kubeconfig.user.clone(),
        ca,
        ca_file,
    })
}

fn embedded<T>(
    material: &Material,
    parse: impl Fn(&[u8]) -> Observed<T>,
    missing: &str,
) -> Observed<T> {
    match material {
        Material::Embedded(pem) => parse(pem),
        Material::Absent | Material::File(_) => Observed::Unknown(missing.to_owned()),
    }
}

/// The credential of the profile whose single PEM file this is.
fn owner_of(file: &Path, profile: &Profile, facts: &Facts) -> Option<String> {
    profile
        .credential
        .iter()
        .find_map(|(id, rule)| match &rule.at {
            CredentialAt::Pem { pem, .. } => {
                (path(source::first(pem, profile, facts)) == file).then(|| id.clone())
            },
            _ => None,
        })
}

/// Fills in which names the credential must and might carry.
fn names(credential: &mut CredentialState, profile: &Profile, facts: &Facts) {
    let Some(rule) = profile.credential.get(&credential.id) else {
        return;
    };
    for source in &rule.san.require {
        let values = source::all(source, profile, facts);
        if values.is_empty() {
            credential.unresolved.push(source.clone());
        }
        for fact in values {
            wanted(&mut credential.wanted, &fact.value, &fact.why);
        }
    }
    for source in &rule.san.advise {
        for fact in source::all(source, profile, facts) {
            let carried = credential.cert().is_some_and(|cert| {
                San::parse(&fact.value).is_some_and(|san| cert.sans.iter().any(|s| s.covers(&san)))
            });
            if !carried {
                wanted(&mut credential.advised, &fact.value, &fact.why);
            }
        }
    }
}

fn wanted(names: &mut Vec<WantedName>, value: &str, why: &str) {
    if let Some(san) = San::parse(value)
        && names.iter().all(|name| name.san != san)
    {
        names.push(WantedName {
            san,
            why: why.to_owned(),
        });
    }
}

/// Whether the authority issued the leaf, itself or over the intermediates that follow the leaf in its file: names equal byte
/// for byte, as Go compares them, and signatures made by these keys. With the key of the certificate at the way's end.
fn signed(
    credential: &CredentialState,
    authorities: &[AuthorityState],
) -> (Observed<bool>, Option<Digest>) {
    let authority = authorities
        .iter()
        .find(|authority| authority.id == credential.signer);
    let Some([leaf, others @ ..]) = credential.chain.present().map(Vec::as_slice) else {
        return (Observed::Absent, None);
    };
    let Some(anchors) = authority.and_then(|authority| authority.chain.present()) else {
        return (Observed::Unknown("its CA cannot be read".to_owned()), None);
    };
    let made_by = |cert: &Cert, ca: &Cert| crypto::verify(cert, ca).is_ok();
    let way = chain::way(leaf, others, anchors, &made_by);
    let anchor = way.map(|way| Digest::of(way.anchor.public_bits())).ok();
    (Observed::Present(anchor.is_some()), anchor)
}

fn key_pairs(
    reader: &Reader,
    profile: &Profile,
    facts: &Facts,
) -> Result<Vec<KeyPairState>, StoreError> {
    let mut all = Vec::new();
    for (id, KeyPair { at }) in &profile.keypair {
        let public_path = path(source::first(&at.public, profile, facts));
        let private_path = path(source::first(&at.private, profile, facts));
        if private_path.as_os_str().is_empty() && public_path.as_os_str().is_empty() {
            continue;
        }
        let private = reader.key(&private_path)?;
        let public_keys = reader.public_keys(&public_path)?;
        let own = private.present().map(|key| key.public);
        let public = match own {
            Some(own) if public_keys.iter().any(|key| key.digest == own) => Observed::Present(own),
            _ => reader.public(&public_path)?,
        };
        all.push(KeyPairState {
            id: id.clone(),
            public_path,
            private_path,
            public,
            public_keys,
            private,
        });
    }
    Ok(all)
}

/// The digest of the machine-id, else of hostname and the first CA's key.
fn identity(
    reader: &Reader,
    facts: &Facts,
    authorities: &[AuthorityState],
) -> Result<Digest, StoreError> {
    let machine = reader.bytes(Path::new("/etc/machine-id"))?;
    if let Some(id) = machine.present().filter(|id| id.len() >= 32) {
        return Ok(Digest::of(
            &[b"rescue-kit node ".as_slice(), id.trim_ascii_end()].concat(),
        ));
    }
    let name = facts.first("fact:node-name").map(|fact| fact.value.clone());
    let ca = authorities
        .first()
        .and_then(AuthorityState::cert)
        .map(Cert::public_bits);
    Ok(Digest::of(
        format!("rescue-kit node {name:?} {ca:?}").as_bytes(),
    ))
}

fn path(fact: Option<crate::facts::Fact>) -> PathBuf {
    fact.map(|fact| PathBuf::from(fact.value))
        .unwrap_or_default()
}

/// What may be known of a private key.
pub fn key_facts(key: &PrivateKey) -> Result<KeyFacts, crypto::CryptoError> {
    let signer = Signer::load(key)?;
    let public = Digest::of(signer.public_bits());
    Ok(KeyFacts {
        algorithm: signer.algorithm(),
        form: key.form(),
        public,
    })
}

/// Whether a text holds a certificate: what makes a file worth a second look.
fn mentions_certificate(bytes: &[u8]) -> bool {
    let needle = b"-----BEGIN CERTIFICATE-----";
    bytes.windows(needle.len()).any(|window| window == needle)
}

fn place(path: &Path) -> Place {
    Place::File(path.to_path_buf())
}
