//! Markup that cannot hold unescaped text: [`Html`] is made of text, of our own constants, and of itself.

use crate::pki::name::printable;
use crate::pki::utc::Utc;

/// A fragment of HTML.
#[derive(Clone, Default)]
pub(super) struct Html(String);

impl Html {
    /// Text of any origin. What could mislead a reader becomes U+FFFD, line ends become spaces.
    pub(super) fn text(text: impl AsRef<str>) -> Self {
        Self(escaped(text.as_ref()))
    }

    /// Text of any origin whose lines are kept, for `pre`.
    pub(super) fn lines(text: &str) -> Self {
        Self(text.lines().map(escaped).collect::<Vec<_>>().join("\n"))
    }

    /// A moment, to the second.
    pub(super) fn time(at: Utc) -> Self {
        let text = at.to_string();
        Self::text(text.replace('T', " ").replace('Z', "")).with("time", &[("datetime", &text)])
    }

    /// Markup of our own.
    pub(super) fn ours(markup: &'static str) -> Self {
        Self(markup.to_owned())
    }

    /// Fragments one after the other.
    pub(super) fn join(parts: impl IntoIterator<Item = Self>) -> Self {
        Self(parts.into_iter().map(|part| part.0).collect())
    }

    /// Fragments with spaces between them.
    pub(super) fn spaced(parts: impl IntoIterator<Item = Self>) -> Self {
        Self(
            parts
                .into_iter()
                .map(|part| part.0)
                .collect::<Vec<_>>()
                .join(" "),
        )
    }

    /// This inside of an element.
    pub(super) fn within(self, element: &'static str) -> Self {
        self.with(element, &[])
    }

    /// This inside of an element with attributes.
    pub(super) fn with(self, element: &'static str, attributes: &[(&'static str, &str)]) -> Self {
        let attributes: Vec<String> = attributes
            .iter()
            .map(|(name, value)| format!(" {name}=\"{}\"", escaped(value)))
            .collect();
        let attributes = attributes.concat();
        let line = if matches!(element, "tr" | "section" | "div" | "li" | "g") {
            "\n"
        } else {
            ""
        };
        Self(format!(
            "{line}<{element}{attributes}>{}</{element}>",
            self.0
        ))
    }

    /// The fragment's text.
    pub(super) fn into_string(self) -> String {
        self.0
    }
}

/// A table whose first column heads its rows. It scrolls by itself where the page is narrow.
pub(super) fn table(caption: &str, heads: &[&str], rows: Vec<Vec<Html>>) -> Html {
    let head = heads
        .iter()
        .map(|head| Html::text(head).with("th", &[("scope", "col")]));
    let head = Html::join(head).within("tr").within("thead");
    let rows = rows.into_iter().map(|cells| {
        let cells = cells
            .into_iter()
            .enumerate()
            .map(|(column, cell)| match column {
                0 => cell.with("th", &[("scope", "row")]),
                _ => cell.within("td"),
            });
        Html::join(cells).within("tr")
    });
    let title = Html::text(caption).within("caption");
    let table = Html::join([title, head, Html::join(rows).within("tbody")]).within("table");
    // A region that scrolls must be reachable by the keyboard, and then it needs a name.
    table.with(
        "div",
        &[
            ("class", "wide"),
            ("tabindex", "0"),
            ("role", "region"),
            ("aria-label", caption),
        ],
    )
}

/// A list; nothing if there are no items.
pub(super) fn list(items: Vec<Html>) -> Html {
    if items.is_empty() {
        return Html::default();
    }
    Html::join(items.into_iter().map(|item| item.within("li"))).within("ul")
}

/// A paragraph.
pub(super) fn paragraph(text: impl AsRef<str>) -> Html {
    Html::text(text).within("p")
}

/// A word with a tone: `good`, `warn`, `bad`, `mute`. The word alone says it; the colour only helps to find it.
pub(super) fn badge(tone: &str, word: &str) -> Html {
    Html::text(word).with("span", &[("class", &format!("badge {tone}"))])
}

/// A digest or serial number: to be broken anywhere.
pub(super) fn hex(digits: &str) -> Html {
    Html::text(digits).with("code", &[("class", "hex")])
}

/// The words of a key's PEM header never appear, not even where a message quotes them: auditors search for them.
fn escaped(text: &str) -> String {
    let text = printable(&text.replace(['\n', '\r', '\t'], " "));
    let mut out = String::with_capacity(text.len());
    for c in text.replace("PRIVATE KEY", "private key").chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
