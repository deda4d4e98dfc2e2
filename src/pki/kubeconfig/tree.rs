//! YAML as a tree of nodes that know where they lie in the text; aliases stay aliases.

use serde_saphyr::granit_parser::{Event, Marker, Parser, ScalarStyle, Span, StructureStyle};
use serde_saphyr::{MergeKeyPolicy, from_str_with_options, options};
use zeroize::Zeroizing;

use super::KubeconfigError;
use crate::pki::name::printable;

/// One node and where its value lies: bytes from `start` to before `end`.
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) end: usize,
    /// The number of its `&anchor`; 0 if it has none.
    pub(super) anchor: usize,
    /// Whether it has an explicit `!tag`.
    pub(super) tagged: bool,
}

pub(super) enum Kind {
    /// `*alias` of the anchor with this number.
    Alias(usize),
    Map {
        entries: Vec<(Node, Node)>,
        flow: bool,
    },
    Scalar {
        text: Zeroizing<String>,
        style: ScalarStyle,
    },
    Seq(Vec<Node>),
}

/// Parses one strict document: no duplicate keys, no merge keys, no second document, and no aliases
/// that expand without bound.
pub(super) fn parse(text: &str) -> Result<Node, KubeconfigError> {
    let strict = options! { merge_keys: MergeKeyPolicy::Error, with_snippet: false };
    // The budget and the policies are serde-saphyr's; it does not keep the places of keys and
    // styles.
    from_str_with_options::<serde::de::IgnoredAny>(text, strict).map_err(|error| {
        // Snippets would quote keys, so they are off; what is left is one line.
        let line = error.location().map_or(0, |at| at.line());
        KubeconfigError::Yaml {
            line,
            cause: printable(&plain(&error.to_string())),
        }
    })?;
    let mut events = Parser::new_from_str(text).filter_map(|next| match next {
        Ok((Event::Comment(..) | Event::StreamStart | Event::DocumentStart(..), _)) => None,
        Ok(found) => Some(Ok(found)),
        Err(error) => {
            let line = u64::try_from(error.marker().line()).unwrap_or(u64::MAX);
            Some(Err(KubeconfigError::Yaml {
                line,
                cause: "the text is not YAML".to_owned(),
            }))
        },
    });
    match events.next().transpose()? {
        Some((event, span)) if event.is_node() => node(event, span, &mut events),
        _ => Err(KubeconfigError::Shape { part: "document" }),
    }
}

/// The parser's first line without its advice to programmers and without the place, which is told already.
fn plain(said: &str) -> String {
    let said = said.lines().next().unwrap_or_default();
    if said.starts_with("budget breached") {
        return "it nests or expands beyond what any kubeconfig holds".to_owned();
    }
    let end = [", set ", " at line "]
        .iter()
        .filter_map(|mark| said.find(mark))
        .min();
    said[..end.unwrap_or(said.len())].to_owned()
}

impl Node {
    /// The value of `key`, if this is a mapping that has it.
    pub(super) fn get<'a>(&'a self, root: &'a Self, key: &str) -> Option<&'a Self> {
        self.entry(key).map(|(_, value)| value.resolved(root))
    }

    /// Key and value, without following aliases.
    pub(super) fn entry(&self, key: &str) -> Option<&(Self, Self)> {
        let Kind::Map { entries, .. } = &self.kind else {
            return None;
        };
        entries
            .iter()
            .find(|(name, _)| name.text().is_some_and(|text| text.as_str() == key))
    }

    /// The text of a scalar, null included.
    pub(super) fn text(&self) -> Option<&Zeroizing<String>> {
        match &self.kind {
            Kind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Whether it is a plain scalar that means null.
    pub(super) fn is_null(&self) -> bool {
        let Kind::Scalar {
            text,
            style: ScalarStyle::Plain,
        } = &self.kind
        else {
            return false;
        };
        !self.tagged && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }

    /// The text of a scalar that says something.
    pub(super) fn filled(&self) -> Option<&Zeroizing<String>> {
        self.text()
            .filter(|text| !self.is_null() && !text.is_empty())
    }

    /// The elements of a sequence; nothing for anything else.
    pub(super) fn items(&self) -> &[Self] {
        match &self.kind {
            Kind::Seq(items) => items,
            _ => &[],
        }
    }

    /// The node itself, or the one that it is an alias of.
    pub(super) fn resolved<'a>(&'a self, root: &'a Self) -> &'a Self {
        match self.kind {
            Kind::Alias(anchor) => root.find(&|node| node.anchor == anchor).unwrap_or(self),
            _ => self,
        }
    }

    /// Whether some alias below this node stands for what has this anchor.
    pub(super) fn uses(&self, anchor: usize) -> bool {
        anchor != 0
            && self
                .find(&|node| matches!(node.kind, Kind::Alias(used) if used == anchor))
                .is_some()
    }

    /// Whether both say the same in the same way, wherever it lies; `skip` leaves out entries of
    /// mappings.
    pub(super) fn same(&self, other: &Self, skip: &dyn Fn(&Self, &Self) -> bool) -> bool {
        let marks = self.anchor == other.anchor && self.tagged == other.tagged;
        marks
            && match (&self.kind, &other.kind) {
                (Kind::Alias(a), Kind::Alias(b)) => a == b,
                (Kind::Scalar { text: a, style: s }, Kind::Scalar { text: b, style: t }) => {
                    a == b && s == t
                },
                (Kind::Seq(a), Kind::Seq(b)) => {
                    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b, skip))
                },
                (Kind::Map { entries: a, .. }, Kind::Map { entries: b, .. }) => {
                    let left: Vec<_> = a.iter().filter(|(key, _)| !skip(self, key)).collect();
                    let right: Vec<_> = b.iter().filter(|(key, _)| !skip(other, key)).collect();
                    left.len() == right.len()
                        && left
                            .iter()
                            .zip(right)
                            .all(|(one, two)| one.0.same(&two.0, skip) && one.1.same(&two.1, skip))
                },
                _ => false,
            }
    }

    fn find<'a>(&'a self, wanted: &dyn Fn(&Self) -> bool) -> Option<&'a Self> {
        if wanted(self) {
            return Some(self);
        }
        match &self.kind {
            Kind::Map { entries, .. } => entries
                .iter()
                .find_map(|(key, value)| key.find(wanted).or_else(|| value.find(wanted))),
            Kind::Seq(items) => items.iter().find_map(|item| item.find(wanted)),
            Kind::Alias(_) | Kind::Scalar { .. } => None,
        }
    }
}

type Found<'a> = (Event<'a>, Span);
type Events<'a, 'b> = dyn Iterator<Item = Result<Found<'a>, KubeconfigError>> + 'b;

/// Builds the node that `event` begins. The budget has bounded the depth (64).
fn node<'a>(
    event: Event<'a>,
    span: Span,
    events: &mut Events<'a, '_>,
) -> Result<Node, KubeconfigError> {
    let mut end = span.end;
    let (kind, anchor, tag) = match event {
        Event::Alias(id) => (Kind::Alias(id), 0, None),
        Event::Scalar(text, style, anchor, tag) => {
            let text = Zeroizing::new(text.into_owned());
            (Kind::Scalar { text, style }, anchor, tag)
        },
        Event::SequenceStart(_, anchor, tag) => {
            let (items, last) = nodes(events)?;
            end = last;
            (Kind::Seq(items), anchor, tag)
        },
        Event::MappingStart(style, anchor, tag) => {
            let (items, last) = nodes(events)?;
            end = last;
            let mut items = items.into_iter();
            let mut entries = Vec::with_capacity(items.len() / 2);
            while let (Some(key), Some(value)) = (items.next(), items.next()) {
                entries.push((key, value));
            }
            (
                Kind::Map {
                    entries,
                    flow: style == StructureStyle::Flow,
                },
                anchor,
                tag,
            )
        },
        _ => return Err(broken()),
    };
    let start = span.start.byte_offset().ok_or_else(broken)?;
    let end = end.byte_offset().ok_or_else(broken)?;
    Ok(Node {
        kind,
        start,
        end,
        anchor,
        tagged: tag.is_some(),
    })
}

/// The nodes up to the end of their sequence or mapping, and where that is.
fn nodes(events: &mut Events<'_, '_>) -> Result<(Vec<Node>, Marker), KubeconfigError> {
    let mut found = Vec::new();
    loop {
        let (event, span) = events.next().ok_or_else(broken)??;
        if matches!(event, Event::SequenceEnd | Event::MappingEnd) {
            return Ok((found, span.end));
        }
        found.push(node(event, span, events)?);
    }
}

fn broken() -> KubeconfigError {
    KubeconfigError::Shape { part: "document" }
}
