//! Who signed what, as a tree: CAs, and below each the leaves that its key signed.

use crate::defect::{self, Status};
use crate::inventory::{AuthorityState, CredentialState, Inventory};
use crate::pki::cert::Cert;
use crate::pki::utc::Utc;
use crate::rotation::{Generations, is_of};

use super::markup::{Html, list, paragraph};
use super::sections;

/// How far ahead is looked, in seconds.
const AHEAD: i64 = 30 * Utc::DAY;

/// Every authority with its leaves, then the leaves that none of them signed.
pub(super) fn chains(inventory: &Inventory) -> Html {
    let authorities = inventory.authorities.iter();
    let trees = authorities.flat_map(|authority| trees(authority, inventory));
    let strays = inventory.credentials.iter();
    let strays = strays.filter(|leaf| leaf.cert().is_some() && leaf.anchor.is_none());
    let strays: Vec<Html> = strays.map(|leaf| item(leaf, inventory)).collect();
    let rest = if strays.is_empty() {
        Html::default()
    } else {
        let about = "Signed by none of them, or by one that cannot be read:";
        Html::join([paragraph(about), list(strays)])
    };
    Html::join([list(trees.collect()), rest])
}

/// A tree for each CA that is trusted in an authority's place: one, but for the time of a rotation.
fn trees(authority: &AuthorityState, inventory: &Inventory) -> Vec<Html> {
    let Some(Generations { signing, other }) = Generations::of(authority) else {
        return vec![Html::text(format!("{}: cannot be read", authority.id))];
    };
    let all = signing.iter().chain(&other);
    all.map(|cert| tree(authority, cert, inventory)).collect()
}

fn tree(authority: &AuthorityState, cert: &Cert, inventory: &Inventory) -> Html {
    let leaves = inventory.credentials.iter();
    let own = leaves.filter(|leaf| authority.is(&leaf.signer) && is_of(leaf, &[cert]));
    let leaves: Vec<Html> = own.map(|leaf| item(leaf, inventory)).collect();
    let text = format!("{}: {}, until ", authority.id, cert.subject);
    let defects = defect::validity(cert, inventory.at, AHEAD);
    let status = defects.map_or(Status::Ok, |defect| defect.status());
    let named = Html::join([Html::text(text), Html::time(cert.not_after)]);
    Html::join([
        Html::spaced([named, sections::status(status)]),
        list(leaves),
    ])
}

fn item(leaf: &CredentialState, inventory: &Inventory) -> Html {
    let status = defect::status(&defect::of_credential(leaf, inventory, AHEAD));
    let end = leaf.cert().map(|cert| {
        let until = Html::text(", until ");
        Html::join([until, Html::time(cert.not_after)])
    });
    let named = Html::join([Some(Html::text(&leaf.id)), end].into_iter().flatten());
    Html::spaced([named, sections::status(status)])
}
