//! Changes to a kubeconfig's text that leave every other byte as it is.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_saphyr::granit_parser::ScalarStyle;
use zeroize::Zeroizing;

use super::tree::{Kind, Node};
use super::{KubeconfigError, NewMaterial};

/// A replacement of some bytes.
pub(super) struct Change {
    place: Range<usize>,
    new: Zeroizing<String>,
}

/// Collects the changes that make `map`, an entry of a mapping in `text`, say `new` under `base` (a
/// file's path) or `base`-data (embedded).
pub(super) fn set(
    text: &str,
    map: &Node,
    base: &'static str,
    new: &NewMaterial<'_>,
    changes: &mut Vec<Change>,
) -> Result<(), KubeconfigError> {
    let refused = |why| KubeconfigError::Splice { key: base, why };
    let data = format!("{base}-data");
    let (embedded, file) = (map.entry(&data), map.entry(base));
    let (wanted, other, key) = match new {
        NewMaterial::Embedded(_) => (embedded, file, data.as_str()),
        NewMaterial::File(_) => (file, embedded, base),
    };
    let content = content(new).ok_or_else(|| refused("the path is not UTF-8"))?;
    match (wanted, other) {
        (Some((name, value)), other) => {
            changes.push(replace(text, name, value, &content).map_err(refused)?);
            // Embedded data wins over a file, so that it must go where a file is wanted.
            if let (NewMaterial::File(_), Some((name, value))) = (new, other)
                && value.filled().is_some()
            {
                changes.push(replace(text, name, value, "").map_err(refused)?);
            }
        },
        (None, Some((name, value))) => {
            changes.push(rename(text, name, key).map_err(refused)?);
            changes.push(replace(text, name, value, &content).map_err(refused)?);
        },
        (None, None) => changes.push(insert(text, map, key, &content).map_err(refused)?),
    }
    Ok(())
}

/// Applies changes that do not overlap; insertions come before a replacement at the same place, and
/// stay in the order given.
pub(super) fn apply(text: &str, mut changes: Vec<Change>) -> Option<Zeroizing<String>> {
    changes.sort_by_key(|change| (change.place.start, change.place.end));
    let room: usize = changes.iter().map(|change| change.new.len()).sum();
    let mut out = Zeroizing::new(String::with_capacity(text.len() + room));
    let mut from = 0;
    for change in &changes {
        out.push_str(text.get(from..change.place.start)?);
        out.push_str(&change.new);
        from = change.place.end;
    }
    out.push_str(text.get(from..)?);
    Some(out)
}

/// What the value is to say.
fn content(new: &NewMaterial<'_>) -> Option<Zeroizing<String>> {
    Some(Zeroizing::new(match new {
        NewMaterial::Embedded(pem) => STANDARD.encode(pem),
        NewMaterial::File(path) => path.to_str()?.to_owned(),
    }))
}

/// Replaces a value in the style that it has; a block scalar becomes a plain one.
fn replace(text: &str, key: &Node, value: &Node, new: &str) -> Result<Change, &'static str> {
    if value.tagged {
        return Err("its value has a tag");
    }
    match &value.kind {
        Kind::Alias(_) => Ok(change(value.start..value.end, plain(new))),
        Kind::Scalar {
            style: ScalarStyle::Literal | ScalarStyle::Folded,
            ..
        } => {
            let place = block(text, key).ok_or("its block scalar cannot be delimited")?;
            Ok(change(place, plain(new)))
        },
        Kind::Scalar { .. } if value.start == value.end => {
            let colon = colon(text, key).ok_or("its value is nowhere in the text")?;
            Ok(change(
                colon..colon,
                Zeroizing::new(format!(" {}", plain(new).as_str())),
            ))
        },
        Kind::Scalar { style, .. } => Ok(change(value.start..value.end, styled(new, *style))),
        Kind::Map { .. } | Kind::Seq(_) => Err("its value is no text"),
    }
}

fn rename(text: &str, key: &Node, new: &str) -> Result<Change, &'static str> {
    let Kind::Scalar { style, .. } = &key.kind else {
        return Err("its key is an alias");
    };
    // A key of this kind never spans lines; if the text says otherwise, it is better left alone.
    let written = text.get(key.start..key.end).unwrap_or("\n");
    if written.contains('\n') {
        return Err("its key cannot be delimited");
    }
    Ok(change(key.start..key.end, styled(new, *style)))
}

/// Puts a new entry before the first one, in that one's manner.
fn insert(text: &str, map: &Node, key: &str, new: &str) -> Result<Change, &'static str> {
    let Kind::Map { entries, flow } = &map.kind else {
        return Err("there is no mapping to hold it");
    };
    let Some((sibling, _)) = entries.first() else {
        let inside = map.start + 1;
        let entry = format!("{}: {}", quoted(key).as_str(), quoted(new).as_str());
        return Ok(change(inside..inside, Zeroizing::new(entry)));
    };
    let place = sibling.start..sibling.start;
    let before = text
        .get(..sibling.start)
        .ok_or("its sibling is nowhere in the text")?;
    if *flow {
        let blank = before.len() - before.trim_end().len();
        let gap = &before[before.len() - blank..];
        let gap = if gap.is_empty() { " " } else { gap };
        let entry = format!("{}: {},{gap}", quoted(key).as_str(), quoted(new).as_str());
        return Ok(change(place, Zeroizing::new(entry)));
    }
    let line = &before[before.rfind(['\n', '\r']).map_or(0, |end| end + 1)..];
    if !line.bytes().all(|byte| byte == b' ' || byte == b'-') {
        return Err("its sibling does not begin a line");
    }
    let indent = " ".repeat(line.len());
    let entry = format!(
        "{key}: {}{}{indent}",
        plain(new).as_str(),
        line_end(text, sibling.end)
    );
    Ok(change(place, Zeroizing::new(entry)))
}

/// The line end that follows `from`, or that the file uses.
fn line_end(text: &str, from: usize) -> &'static str {
    let rest = &text[from..];
    let rest = if rest.contains(['\n', '\r']) {
        rest
    } else {
        text
    };
    match rest.find(['\n', '\r']).map(|end| &rest.as_bytes()[end..]) {
        Some([b'\r', b'\n', ..]) => "\r\n",
        Some([b'\r', ..]) => "\r",
        _ => "\n",
    }
}

/// Just behind the colon that follows a key.
fn colon(text: &str, key: &Node) -> Option<usize> {
    let rest = text.get(key.end..)?;
    let blank = rest.len() - rest.trim_start_matches([' ', '\t']).len();
    rest[blank..]
        .starts_with(':')
        .then_some(key.end + blank + 1)
}

/// A block scalar from its `|` or `>` to the end of its last line that is not blank. A comment
/// behind the indicator goes with it: in between there would be no place for the value.
fn block(text: &str, key: &Node) -> Option<Range<usize>> {
    let colon = colon(text, key)?;
    let rest = &text[colon..];
    let start = colon + (rest.len() - rest.trim_start_matches([' ', '\t']).len());
    if !text[start..].starts_with(['|', '>']) {
        return None;
    }
    let line = text[..key.start].rfind('\n').map_or(0, |end| end + 1);
    let indent = text[line..key.start].chars().count();
    let mut lines = text[start..].split_inclusive('\n');
    let header = lines.next()?;
    let mut end = start + header.trim_end().len();
    let mut at = start + header.len();
    for line in lines {
        let body = line.trim_end();
        let depth = body.len() - body.trim_start_matches(' ').len();
        if !body.is_empty() {
            if depth <= indent {
                break;
            }
            end = at + body.len();
        }
        at += line.len();
    }
    Some(start..end)
}

fn change(place: Range<usize>, new: Zeroizing<String>) -> Change {
    Change { place, new }
}

fn styled(new: &str, style: ScalarStyle) -> Zeroizing<String> {
    match style {
        ScalarStyle::SingleQuoted => Zeroizing::new(format!("'{}'", new.replace('\'', "''"))),
        ScalarStyle::DoubleQuoted => quoted(new),
        _ => plain(new),
    }
}

/// Without quotes if base64 or a simple path, which need none anywhere in YAML.
fn plain(new: &str) -> Zeroizing<String> {
    let simple = |byte: u8| byte.is_ascii_alphanumeric() || b"/+=._-".contains(&byte);
    let begins = new.starts_with('/') || new.starts_with(|c: char| c.is_ascii_alphabetic());
    if begins && new.bytes().all(simple) {
        Zeroizing::new(new.to_owned())
    } else {
        quoted(new)
    }
}

/// In double quotes, valid in YAML and JSON alike.
fn quoted(new: &str) -> Zeroizing<String> {
    Zeroizing::new(serde_json::Value::from(new).to_string())
}
