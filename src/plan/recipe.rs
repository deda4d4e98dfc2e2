//! Recipes: what a due certificate will be, decided from the old one, the profile and the policy.

use crate::defect;
use crate::finding::{Code, Finding, Severity};
use crate::inventory::{AuthorityState, CredentialState, Inventory, Placement, WantedName};
use crate::pki::csr::Template;
use crate::pki::key::{KeyAlgorithm, KeyForm};
use crate::pki::name::Attribute;
use crate::pki::san::San;
use crate::pki::utc::Utc;
use crate::plan::step::{KeyPlan, Origin, Recipe, Slot, Source, Stage};
use crate::plan::{Given, Policy};
use crate::profile::{Credential, Profile, source};
use crate::template;

/// The validity of a leaf unless somebody says otherwise, in seconds: as kubeadm's.
const YEAR: i64 = 365 * Utc::DAY;

/// Decides what a credential's new certificate will be.
///
/// # Errors
///
/// A finding that says what cannot be known.
pub fn recipe(
    credential: &CredentialState,
    inventory: &Inventory,
    profile: &Profile,
    policy: &Policy,
) -> Result<Recipe, Finding> {
    let Some(rule) = profile.credential.get(&credential.id) else {
        return Err(refusal(
            credential,
            "is not in the profile",
            "rescue-kit profile show",
        ));
    };
    if let Some(given) = policy.given.get(&credential.id) {
        return elsewhere(credential, given);
    }
    let over = policy.templates.get(&credential.id);
    let (origin, mut add) = origin(credential, inventory, profile, rule, policy)?;
    add.extend(names_to_add(credential, policy, over, &origin));
    let names = every_name(credential, &origin, &add);
    let wished = over
        .and_then(|t| t.expiry)
        .or(policy.validity)
        .unwrap_or(YEAR);
    let (not_before, not_after, capped) = window(credential, inventory, wished);
    let key = key(credential, inventory, policy, over);
    if let KeyPlan::New { algorithm, .. } = &key
        && !algorithm.can_be_made()
    {
        let why = format!("has a key of the kind {algorithm}, and no new one can be made");
        return Err(refusal(
            credential,
            &why,
            "choose another kind: --key-algorithm rsa-3072",
        ));
    }
    Ok(Recipe {
        issuer: credential.signer.clone(),
        key,
        origin,
        given: Vec::new(),
        add,
        names,
        not_before,
        not_after,
        capped,
        chain: credential
            .chain
            .present()
            .is_some_and(|chain| chain.len() > 1),
    })
}

/// A certificate that is there already, and only has to be put in place.
fn elsewhere(credential: &CredentialState, given: &Given) -> Result<Recipe, Finding> {
    let Some(new) = given.chain.first() else {
        return Err(refusal(
            credential,
            "was given an answer without a certificate",
            "rescue-kit csr install DIR",
        ));
    };
    let old = credential.cert().unwrap_or(new);
    let why = "the certificate that was issued elsewhere";
    Ok(Recipe {
        issuer: credential.signer.clone(),
        origin: Origin::Old(Box::new(old.clone())),
        given: given.chain.clone(),
        add: Vec::new(),
        names: new.sans.iter().map(|san| wanted(san, why)).collect(),
        key: given.key.clone().map_or(KeyPlan::Reuse, KeyPlan::File),
        not_before: new.not_before,
        not_after: new.not_after,
        capped: false,
        chain: given.chain.len() > 1,
    })
}

/// The part that starts a kubeconfig of which nothing is left.
pub fn blank(
    credential: &CredentialState,
    stage: &Stage,
    inventory: &Inventory,
    profile: &Profile,
) -> Option<(Slot, Source)> {
    let user = match &stage.recipe.origin {
        Origin::New(template) => template.common_name.clone(),
        Origin::Old(cert) => cert.subject.common_name(),
    };
    let server = server(credential, inventory, profile)?;
    Some((
        Slot::Whole,
        Source::Blank {
            user: user.unwrap_or_default(),
            server,
        },
    ))
}

/// A kubeconfig of which nothing is left cannot be made if nobody knows the server.
pub fn unknown_server(
    credential: &CredentialState,
    inventory: &Inventory,
    profile: &Profile,
) -> Option<Finding> {
    let Placement::Embedded { kubeconfig } = &credential.placement else {
        return None;
    };
    let blank = inventory
        .version(kubeconfig)
        .is_none_or(|version| version.size == 0);
    if !blank || server(credential, inventory, profile).is_some() {
        return None;
    }
    let why = "must be made from nothing, but no other kubeconfig or manifest names the server";
    let hint = format!(
        "restore it from a backup, or leave it out: --skip {}",
        credential.id
    );
    Some(refusal(credential, why, &hint))
}

fn server(
    credential: &CredentialState,
    inventory: &Inventory,
    profile: &Profile,
) -> Option<String> {
    let sources = profile
        .credential
        .get(&credential.id)?
        .create
        .server
        .as_ref()?;
    source::first(sources, profile, &inventory.facts).map(|fact| fact.value)
}

/// Names that `--san` asks for: those for this id, and those for all if the credential serves.
pub fn asked_names<'a>(
    credential: &'a CredentialState,
    policy: &'a Policy,
) -> impl Iterator<Item = &'a San> {
    let serves = credential.cert().is_some_and(|cert| !cert.sans.is_empty())
        || !credential.wanted.is_empty();
    policy.sans.iter().filter_map(move |(id, san)| match id {
        Some(id) => (*id == credential.id).then_some(san),
        None => serves.then_some(san),
    })
}

/// What the certificate is modelled on; for a template with the names that come with it.
fn origin(
    credential: &CredentialState,
    inventory: &Inventory,
    profile: &Profile,
    rule: &Credential,
    policy: &Policy,
) -> Result<(Origin, Vec<WantedName>), Finding> {
    let over = policy.templates.get(&credential.id);
    let rewrites =
        |t: &Template| t.common_name.is_some() || !t.names.is_empty() || !t.usages.is_empty();
    // What was copied here from another node is no model of what this one needs.
    let own = credential
        .cert()
        .filter(|_| defect::foreign_node(credential, inventory).is_none());
    match (own, over.filter(|t| rewrites(t))) {
        (Some(old), None) => Ok((Origin::Old(Box::new(old.clone())), Vec::new())),
        (Some(old), Some(over)) => {
            let mut base = base_template(credential, inventory, profile, rule)?;
            if over.common_name.is_none() && over.names.is_empty() {
                base.common_name = old.subject.common_name();
                base.names = groups(&old.subject.organizations());
            }
            let kept = old
                .sans
                .iter()
                .map(|san| wanted(san, "the old certificate"));
            Ok((Origin::New(overlay(base, over)), kept.collect()))
        },
        (None, over) => {
            let known = over.is_some()
                || policy
                    .sans
                    .iter()
                    .any(|(id, _)| id.as_ref() == Some(&credential.id));
            if let Some(missing) = credential.unresolved.first().filter(|_| !known) {
                let why =
                    format!("must be made from nothing, but `{missing}` has no value on this node");
                let hint = format!(
                    "name what it serves: --san {}=NAME, or leave it out: --skip {}",
                    credential.id, credential.id
                );
                return Err(refusal(credential, &why, &hint));
            }
            let base = base_template(credential, inventory, profile, rule)?;
            Ok((
                Origin::New(match over {
                    Some(over) => overlay(base, over),
                    None => base,
                }),
                Vec::new(),
            ))
        },
    }
}

/// The profile's template with its common name and groups.
fn base_template(
    credential: &CredentialState,
    inventory: &Inventory,
    profile: &Profile,
    rule: &Credential,
) -> Result<Template, Finding> {
    let text = template::text(&rule.create.template).unwrap_or_default();
    let mut base = Template::parse(text.as_bytes()).map_err(|error| {
        refusal(
            credential,
            &error.to_string(),
            "rescue-kit profile validate",
        )
    })?;
    let cn = source::all(&rule.create.cn, profile, &inventory.facts);
    let Some(cn) = cn.into_iter().next() else {
        let why = "must be made from nothing, but the node's name is not known";
        return Err(refusal(
            credential,
            why,
            "write the node's name into /etc/hostname of that root",
        ));
    };
    base.common_name = Some(cn.value);
    for other in inventory.sharing(credential) {
        let Some(rule) = profile.credential.get(&other.id) else {
            continue;
        };
        base.names.extend(groups(&rule.create.o));
        let text = template::text(&rule.create.template).unwrap_or_default();
        let usages = Template::parse(text.as_bytes()).map_or_else(|_| Vec::new(), |t| t.usages);
        for usage in usages {
            if !base.usages.contains(&usage) {
                base.usages.push(usage);
            }
        }
    }
    Ok(base)
}

fn groups(organizations: &[String]) -> Vec<(Attribute, String)> {
    organizations
        .iter()
        .map(|o| (Attribute::Organization, o.clone()))
        .collect()
}

/// What the operator's template says wins over the base; what it leaves out stays.
fn overlay(mut base: Template, over: &Template) -> Template {
    if over.common_name.is_some() || !over.names.is_empty() {
        base.common_name.clone_from(&over.common_name);
        base.names.clone_from(&over.names);
    }
    if !over.usages.is_empty() {
        base.usages.clone_from(&over.usages);
    }
    base.hosts.clone_from(&over.hosts);
    base
}

/// Names that are added, each once, none that the origin has already.
fn names_to_add(
    credential: &CredentialState,
    policy: &Policy,
    over: Option<&Template>,
    origin: &Origin,
) -> Vec<WantedName> {
    let present: &[San] = match origin {
        Origin::Old(cert) => &cert.sans,
        Origin::New(template) => &template.hosts,
    };
    let asked = asked_names(credential, policy).map(|san| wanted(san, "--san"));
    let hosts = over
        .map_or(&[][..], |t| &t.hosts)
        .iter()
        .map(|san| wanted(san, "--template"));
    let mut names: Vec<WantedName> = Vec::new();
    for name in credential.wanted.iter().cloned().chain(asked).chain(hosts) {
        let known = present
            .iter()
            .chain(names.iter().map(|n| &n.san))
            .any(|s| s.covers(&name.san));
        if !known {
            names.push(name);
        }
    }
    names
}

/// The origin's names and the added ones, each with everything that asks for it.
fn every_name(
    credential: &CredentialState,
    origin: &Origin,
    add: &[WantedName],
) -> Vec<WantedName> {
    let (present, kept): (&[San], &str) = match origin {
        Origin::Old(cert) => (&cert.sans, "the old certificate"),
        Origin::New(template) => (&template.hosts, "--template"),
    };
    let asked = |san: &San| {
        let asking = credential
            .wanted
            .iter()
            .filter(|wanted| san.covers(&wanted.san));
        asking.map(|wanted| wanted.why.clone()).collect::<Vec<_>>()
    };
    let kept = present.iter().map(|san| {
        let why: Vec<String> = std::iter::once(kept.to_owned()).chain(asked(san)).collect();
        WantedName {
            san: san.clone(),
            why: why.join("; "),
        }
    });
    kept.chain(add.iter().cloned()).collect()
}

fn wanted(san: &San, why: &str) -> WantedName {
    WantedName {
        san: san.clone(),
        why: why.to_owned(),
    }
}

/// First and last second of validity, never outside of the authority's, and whether the end was cut.
fn window(credential: &CredentialState, inventory: &Inventory, wished: i64) -> (Utc, Utc, bool) {
    let (begin, end) = (inventory.at.backdated(), inventory.at.plus(wished));
    match inventory
        .authority(&credential.signer)
        .and_then(AuthorityState::cert)
    {
        Some(ca) => (
            begin.max(ca.not_before),
            end.min(ca.not_after),
            end > ca.not_after,
        ),
        None => (begin, end, false),
    }
}

fn key(
    credential: &CredentialState,
    inventory: &Inventory,
    policy: &Policy,
    over: Option<&Template>,
) -> KeyPlan {
    let reuse = policy.reuse_keys || inventory.signs_tokens(credential);
    if reuse && credential.key.present().is_some() && credential.pairs() != Some(false) {
        return KeyPlan::Reuse;
    }
    let asked = over
        .and_then(|t| t.key.clone())
        .or_else(|| policy.key_algorithm.clone());
    let old = credential.key.present();
    let certified = credential.cert().map(|cert| cert.key.clone());
    let algorithm = asked
        .or(certified)
        .or_else(|| old.map(|key| key.algorithm.clone()))
        .or_else(|| sibling(inventory).map(|key| key.0))
        .unwrap_or(KeyAlgorithm::Rsa(2048));
    let form = old
        .map(|key| key.form)
        .or_else(|| sibling(inventory).map(|key| key.1));
    KeyPlan::New {
        form: fitting(&algorithm, form),
        algorithm,
    }
}

/// Algorithm and form of the first readable key of the node, as a model for one of which nothing is left.
fn sibling(inventory: &Inventory) -> Option<(KeyAlgorithm, KeyForm)> {
    let mut keys = inventory
        .credentials
        .iter()
        .filter_map(|credential| credential.key.present());
    keys.next().map(|key| (key.algorithm.clone(), key.form))
}

/// The old form where the algorithm allows it; else as Kubernetes writes keys (client-go `MarshalPrivateKeyToPEM`).
fn fitting(algorithm: &KeyAlgorithm, old: Option<KeyForm>) -> KeyForm {
    let ec = matches!(
        algorithm,
        KeyAlgorithm::EcdsaP256 | KeyAlgorithm::EcdsaP384 | KeyAlgorithm::EcdsaP521
    );
    match (algorithm, old) {
        (_, Some(KeyForm::Pkcs8)) | (KeyAlgorithm::Ed25519 | KeyAlgorithm::Other(_), _) => {
            KeyForm::Pkcs8
        },
        (_, Some(KeyForm::Sec1WithParameters)) if ec => KeyForm::Sec1WithParameters,
        _ if ec => KeyForm::Sec1,
        _ => KeyForm::Pkcs1,
    }
}

fn refusal(credential: &CredentialState, why: &str, hint: &str) -> Finding {
    Finding {
        code: Code::Missing,
        severity: Severity::Critical,
        subject: credential.id.clone(),
        text: format!("{} ({}) {why}", credential.id, credential.path().display()),
        hint: hint.to_owned(),
    }
}
