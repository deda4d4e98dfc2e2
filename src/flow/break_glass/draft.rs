//! Access that is decided: who will be seen, what is made for it, what the kubeconfig will log in with.

use std::time::Instant;

use super::{EVERY, KNOWN, Wish};
use crate::access::{Access, with_causes};
use crate::clock;
use crate::flow::certify::{Certified, Client};
use crate::flow::failure::AccessError;
use crate::flow::living::{Hands, SLACK};
use crate::flow::site::Site;
use crate::grant::{self, Grant, Kind, Manifest, NAMESPACE, Terms};
use crate::inventory::Inventory;
use crate::issue::Authority;
use crate::journal::Issued;
use crate::kube::Kube;
use crate::pki::key::KeyAlgorithm;
use crate::pki::token::Token;
use crate::pki::utc::Utc;

/// The longest that access is given for, in seconds.
pub const LONGEST: i64 = 3600;
/// The shortest for a certificate and, by the API server's rule, for a token.
const SHORTEST: (i64, i64) = (300, 600);

/// Access that is decided and not yet given.
pub(in crate::flow) struct Draft {
    pub(in crate::flow) grant: Grant,
    pub(in crate::flow) issued: Vec<Issued>,
    pub(in crate::flow) manifests: Vec<Manifest>,
    /// Whoever makes the objects; nobody if there are none.
    pub(in crate::flow) kube: Option<Kube>,
    pub(in crate::flow) proof: Proof,
    pub(in crate::flow) how: String,
}

/// What the kubeconfig will log in with.
pub(in crate::flow) enum Proof {
    /// A certificate that was issued.
    Certificate(Box<Certified>),
    /// A token that was signed here.
    Minted(Token),
    /// A token that the API server makes for an account, for so many seconds.
    Requested(String, i64),
    /// The token that comes into the Secret at this path.
    Stored(String),
}

impl Draft {
    /// Refuses a role that the cluster does not have.
    pub(super) fn refuse_unknown_role(&self, role: &str) -> Result<(), AccessError> {
        let Some(kube) = &self.kube else {
            return Ok(());
        };
        let refused = |why: String, hint: &str| Err(AccessError::refused(why, hint));
        match kube.role(role) {
            Ok(Some(_)) => Ok(()),
            Ok(None) => refused(
                format!("the cluster has no ClusterRole `{role}`"),
                "--role view, edit, admin or cluster-admin",
            ),
            Err(error) => refused(with_causes(&error), "rescue-kit inspect"),
        }
    }

    /// Something that the role allows, as the API server tells it.
    pub(super) fn right(&self) -> Option<(String, String, String)> {
        let (kube, role) = (self.kube.as_ref()?, self.grant.role.as_ref()?);
        grant::first_right(&kube.role(role).ok()??)
    }

    /// The token, made now if it is not there yet, and its end.
    pub(super) fn token(&self) -> Result<(Option<Token>, Option<Utc>), String> {
        let kube = || self.kube.as_ref().ok_or("nobody can make a token");
        match &self.proof {
            Proof::Certificate(_) => Ok((None, None)),
            Proof::Minted(token) => Ok((Some(token.clone()), self.grant.not_after)),
            Proof::Requested(account, seconds) => {
                let made = kube()?.token(NAMESPACE, account, *seconds);
                let (token, end) = made.map_err(|error| with_causes(&error))?;
                Ok((Some(token), Some(end)))
            },
            Proof::Stored(path) => {
                let kube = kube()?;
                let by = Instant::now() + KNOWN;
                let found = clock::wait_for(by, EVERY, || match kube.token_in(path) {
                    Ok(token) => token.map(Ok),
                    Err(error) => Some(Err(with_causes(&error))),
                });
                let late = "the controller manager puts no token into the Secret";
                let token = found.unwrap_or_else(|| Err(late.to_owned()))?;
                Ok((Some(token), None))
            },
        }
    }

    /// Certificate and key, PEM.
    pub(super) fn certificate(&self) -> Option<(String, zeroize::Zeroizing<String>)> {
        match &self.proof {
            Proof::Certificate(made) => Some((made.cert.to_pem(), made.key.to_pem())),
            _ => None,
        }
    }
}

pub(super) fn by_certificate(
    access: &Access,
    authority: &Authority,
    wish: &Wish,
    name: &str,
) -> Result<Draft, AccessError> {
    between(wish.seconds, SHORTEST.0)?;
    let hands = Site::helper(access, authority, name)?;
    let user = format!("{}{name}", grant::USER);
    // All of its life is an hour at most, that before now included.
    let begin = access.inventory.at.plus(-SLACK);
    let client = Client {
        name: &user,
        groups: &[],
        valid: (
            begin,
            begin.plus(wish.seconds).min(authority.cert.not_after),
        ),
        key: KeyAlgorithm::EcdsaP256,
    };
    let made = client.certify(authority);
    let made =
        made.map_err(|error| AccessError::refused(with_causes(&error), "rescue-kit verify"))?;
    let terms = Terms {
        role: wish.role,
        run: name,
        until: Some(made.cert.not_after),
    };
    let binding = terms.for_user(&user);
    let how = format!(
        "a client certificate without a group, of the CA of this node; its binding is made with {}",
        hands.who
    );
    Ok(Draft {
        grant: Grant {
            kind: Kind::Certificate,
            user,
            groups: Vec::new(),
            role: Some(wish.role.to_owned()),
            not_after: Some(made.cert.not_after),
            objects: vec![binding.path()],
            kubeconfig: None,
        },
        issued: std::iter::once(made.facts("break-glass"))
            .chain(hands.issued)
            .collect(),
        manifests: vec![binding],
        kube: Some(hands.kube),
        proof: Proof::Certificate(Box::new(made)),
        how,
    })
}

pub(super) fn by_account(
    hands: Hands,
    wish: &Wish,
    name: &str,
    inventory: &Inventory,
) -> Result<Draft, AccessError> {
    between(wish.seconds, SHORTEST.1)?;
    let until = (!wish.lasting).then(|| inventory.at.plus(wish.seconds));
    let terms = Terms {
        role: wish.role,
        run: name,
        until,
    };
    let manifests = terms.for_account(wish.lasting);
    let account = grant::account(name);
    let objects: Vec<String> = manifests.iter().map(Manifest::path).collect();
    let (kind, proof) = if let Some(path) = objects.last().filter(|_| wish.lasting) {
        (Kind::Secret, Proof::Stored(path.clone()))
    } else {
        (
            Kind::Account,
            Proof::Requested(account.clone(), wish.seconds),
        )
    };
    let what = if wish.lasting {
        "a token in a Secret that does not end by itself"
    } else {
        "a token that ends by itself"
    };
    Ok(Draft {
        grant: Grant {
            kind,
            user: grant::account_user(NAMESPACE, &account),
            groups: Vec::new(),
            role: Some(wish.role.to_owned()),
            not_after: until,
            objects,
            kubeconfig: None,
        },
        issued: hands.issued.into_iter().collect(),
        manifests,
        kube: Some(hands.kube),
        proof,
        how: format!(
            "a ServiceAccount of its own with {what}, made with {}",
            hands.who
        ),
    })
}

pub(super) fn minted(
    token: Token,
    namespace: &str,
    account: &str,
    seconds: i64,
    now: Utc,
) -> Draft {
    Draft {
        grant: Grant {
            kind: Kind::Minted,
            user: grant::account_user(namespace, account),
            groups: Vec::new(),
            role: None,
            not_after: Some(now.plus(seconds)),
            objects: Vec::new(),
            kubeconfig: None,
        },
        issued: Vec::new(),
        manifests: Vec::new(),
        kube: None,
        proof: Proof::Minted(token),
        how: format!("a token of {namespace}/{account}, signed here with the cluster's own key"),
    }
}

/// Refuses access for longer than an hour, or shorter than makes sense.
pub(in crate::flow) fn between(seconds: i64, shortest: i64) -> Result<(), AccessError> {
    if (shortest..=LONGEST).contains(&seconds) {
        return Ok(());
    }
    let shortest = shortest / 60;
    let why = format!("such access is given for {shortest} minutes to an hour");
    Err(AccessError::refused(why, "--validity 1h"))
}
