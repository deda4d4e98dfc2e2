//! Where rotations stand, 80 columns wide.

use crate::listing::rotation::{Ca, Pair, Row};
use crate::pki::digest::Digest;
use crate::pki::name::printable;
use crate::rotation::Position;

use super::text::{Paint, Tone, labelled};

/// A paragraph for each authority.
pub fn authorities(rows: &[Row], paint: &dyn Paint) -> String {
    let blocks: Vec<String> = rows.iter().map(|row| authority(row, paint)).collect();
    blocks.join("\n")
}

/// A paragraph for each key pair.
pub fn pairs(pairs: &[Pair], paint: &dyn Paint) -> String {
    let blocks: Vec<String> = pairs.iter().map(|row| pair(row, paint)).collect();
    blocks.join("\n")
}

fn authority(row: &Row, paint: &dyn Paint) -> String {
    let mut text = headed(&row.id, stands(row), tone(row.position), paint);
    let first = if row.external { "first" } else { "signs" };
    text.push_str(&ca(first, &row.signing));
    for other in &row.other {
        text.push_str(&ca("trusted, too", other));
    }
    if row.joins {
        text.push_str(&line("join hash", &format!("sha256:{}", row.signing.pin)));
    }
    if let Some(next) = next(row) {
        text.push_str(&line("next", next));
    }
    text
}

fn pair(row: &Pair, paint: &dyn Paint) -> String {
    let (stands, tone) = match row.other.len() {
        0 => ("one key signs and is believed", Tone::Good),
        _ => ("two keys are believed", Tone::Warn),
    };
    let mut text = headed(&row.id, stands, tone, paint);
    let signing = row.signing.as_ref();
    let signing = signing.map_or_else(|| "no key that is here".to_owned(), short);
    text.push_str(&line("signs", &signing));
    for other in &row.other {
        text.push_str(&line("believed, too", &short(other)));
    }
    if !row.other.is_empty() {
        let next = "either `sa rotate sign --from DIR`, if the other key is to come, or `sa rotate drop`, if it is to go and no token of it is used any more";
        text.push_str(&line("next", next));
    }
    text
}

fn headed(id: &str, stands: &str, tone: Tone, paint: &dyn Paint) -> String {
    let head = paint.paint(Tone::Heading, &format!("{id:<15}"));
    format!("{head} {}\n", paint.paint(tone, stands))
}

fn stands(row: &Row) -> &'static str {
    match (row.position, row.external) {
        (Position::Settled, _) => "one CA signs and is trusted",
        (Position::Trusted, false) => "two CAs are trusted, the older one signs",
        (Position::Signing, false) => "two CAs are trusted, the younger one signs",
        (Position::Trusted | Position::Signing, true) => {
            "two CAs are trusted, their keys are elsewhere"
        },
    }
}

fn tone(position: Position) -> Tone {
    match position {
        Position::Settled => Tone::Good,
        Position::Trusted | Position::Signing => Tone::Warn,
    }
}

/// What to type once every node stands here.
fn next(row: &Row) -> Option<&'static str> {
    let older: Vec<&Ca> = match row.position {
        Position::Settled => return None,
        Position::Trusted => vec![&row.signing],
        Position::Signing => row.other.iter().collect(),
    };
    let is_needed = older.iter().any(|ca| !ca.leaves.is_empty());
    Some(match (row.position, row.external) {
        (Position::Trusted, false) => {
            "once every node trusts both: rescue-kit ca rotate sign --from DIR"
        },
        (_, true) if is_needed => {
            "have the leaves signed by the younger one: rescue-kit csr generate --all --out DIR"
        },
        _ => "once nothing of the older one is left on any node: rescue-kit ca rotate drop",
    })
}

fn ca(label: &str, ca: &Ca) -> String {
    let leaves = match ca.leaves.len() {
        0 => "no leaf here".to_owned(),
        1 => "1 leaf here".to_owned(),
        many => format!("{many} leaves here"),
    };
    let text = format!(
        "{leaves}, {} until {}, {}",
        printable(&ca.subject),
        ca.not_after.date(),
        short(&ca.sha256)
    );
    line(label, &text)
}

fn line(label: &str, text: &str) -> String {
    let label = format!("  {label:<13}");
    labelled(&label, &label, text)
}

fn short(digest: &Digest) -> String {
    let hex = digest.to_string();
    format!("sha256:{}…", hex.get(..16).unwrap_or(&hex))
}
