//! Key pairs without a certificate: what signs service-account tokens, and what verifies them.

use crate::finding::{Code, Finding, Severity};
use crate::inventory::{KeyPairState, PublicKey};
use crate::plan::replacement::Replacement;
use crate::plan::rotation::{NewPair, Phase, Turn, replacement};
use crate::plan::step::{Slot, Source};

/// Plans a phase for one key pair; nothing if it was done before.
///
/// # Errors
///
/// Why the phase cannot begin on this node.
pub(in crate::plan) fn turn(
    pair: &KeyPairState,
    new: Option<&NewPair>,
    phase: Phase,
) -> Result<Turn, Finding> {
    let refuse = |text: &str, hint: &str| Err(refusal(pair, text, hint));
    if pair.public_keys.is_empty() {
        let hint =
            "the API server has to verify with a file of public keys: --service-account-key-file";
        return refuse("has no file of public keys in PEM", hint);
    }
    if pair.pairs() != Some(true) {
        return refuse("has halves that do not fit", "rescue-kit inspect");
    }
    let own = |key: &&PublicKey| pair.private.present().map(|key| key.public) == Some(key.digest);
    let is_known = |new: &NewPair| {
        pair.public_keys
            .iter()
            .any(|key| key.digest == new.public.digest)
    };
    match (phase, new) {
        (Phase::Trust, Some(new)) if is_known(new) => Ok(Turn::default()),
        (Phase::Trust, Some(new)) => {
            let keys = pair.public_keys.iter().chain([&new.public]);
            Ok(of(
                pair,
                vec![public(pair, keys, "verifies with both keys")],
            ))
        },
        (Phase::Sign, Some(new)) if !is_known(new) => refuse(
            "is not trusted besides the new key yet",
            "on every control plane first: rescue-kit sa rotate trust --from DIR",
        ),
        (Phase::Sign, Some(new)) if own(&&new.public) => Ok(Turn::default()),
        (Phase::Sign, Some(new)) => {
            let Some(private) = &new.private else {
                return refuse(
                    "cannot give way: the new private key is not there",
                    "--from DIR",
                );
            };
            let others = pair.public_keys.iter();
            let others = others.filter(|key| key.digest != new.public.digest);
            let keys = std::iter::once(&new.public).chain(others);
            let carried = Source::Carried(private.clone());
            let part = (Slot::Key, carried);
            let signs = replacement(&pair.private_path, part, 0o600, "the new key signs");
            Ok(of(
                pair,
                vec![signs, public(pair, keys, "verifies with both keys")],
            ))
        },
        (Phase::Drop, _) if pair.public_keys.len() == 1 => Ok(Turn::default()),
        (Phase::Drop, Some(new)) if !own(&&new.public) => refuse(
            "still signs with the former key",
            "on every control plane first: rescue-kit sa rotate sign --from DIR",
        ),
        (Phase::Drop, _) => {
            let keys = pair.public_keys.iter().filter(own);
            Ok(of(
                pair,
                vec![public(pair, keys, "what the former key signed ends")],
            ))
        },
        (Phase::Trust | Phase::Sign, None) => refuse(
            "has no successor",
            "name the directory of the new pair: --from DIR",
        ),
    }
}

fn public<'a>(
    pair: &KeyPairState,
    keys: impl Iterator<Item = &'a PublicKey>,
    why: &'static str,
) -> Replacement {
    let pem: String = keys.map(|key| key.pem.as_str()).collect();
    let part = (Slot::Whole, Source::Text(pem));
    replacement(&pair.public_path, part, 0o600, why)
}

fn of(pair: &KeyPairState, replacements: Vec<Replacement>) -> Turn {
    let replacements = replacements.into_iter();
    Turn {
        replacements: replacements.map(|step| (pair.id.clone(), step)).collect(),
        ..Turn::default()
    }
}

fn refusal(pair: &KeyPairState, text: &str, hint: &str) -> Finding {
    Finding {
        code: Code::Rotation,
        severity: Severity::Critical,
        subject: pair.id.clone(),
        text: format!(
            "key pair {} ({}) {text}",
            pair.id,
            pair.public_path.display()
        ),
        hint: hint.to_owned(),
    }
}
