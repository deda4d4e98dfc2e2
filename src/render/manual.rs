//! The manual as one HTML page that needs nothing beside itself.
//!
//! It is written in a part of `CommonMark` with GFM's tables: headings, paragraphs, fenced code, tables, lists of one
//! level, code and strong text. A reader of all of `CommonMark` would make the binary larger by more than the manual; a
//! test compares with one.

use crate::render::html::{HEAD, STYLE};

/// What the manual's page has besides the report's style.
const OWN_STYLE: &str = include_str!("../../kit/manual.css");

/// The page of a text; its first heading is the title, headings of the second level are listed before the rest.
pub fn html(text: &str) -> String {
    let blocks = blocks(text);
    let title = blocks.iter().find_map(|block| match block {
        Block::Heading(1, title) => Some(inline(title)),
        _ => None,
    });
    let links = blocks.iter().filter_map(|block| match block {
        Block::Heading(2, title) => Some(format!(
            "<li><a href=\"#{}\">{}</a></li>\n",
            anchor(title),
            inline(title)
        )),
        _ => None,
    });
    let links: String = links.collect();
    let body: String = blocks.iter().map(Block::html).collect();
    let (first, rest) = body.split_once("</h1>\n").unwrap_or(("<h1>", &body));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>{HEAD}<title>{}</title>\n<style>{STYLE}{OWN_STYLE}</style>\n</head>\n\
         <body>\n{first}</h1>\n<nav aria-label=\"Contents\"><ul>\n{links}</ul></nav>\n<main>\n{rest}</main>\n</body>\n</html>\n",
        title.unwrap_or_default()
    )
}

enum Block<'a> {
    Code(&'a str, Vec<&'a str>),
    Heading(usize, &'a str),
    /// Numbered or not; the lines of each item.
    List(bool, Vec<Vec<&'a str>>),
    Paragraph(Vec<&'a str>),
    /// The first row heads the others.
    Table(Vec<Vec<String>>),
}

impl Block<'_> {
    fn html(&self) -> String {
        match self {
            Self::Code(language, lines) => {
                let code: String = lines
                    .iter()
                    .map(|line| format!("{}\n", escaped(line)))
                    .collect();
                format!("<pre><code class=\"language-{language}\">{code}</code></pre>\n")
            },
            Self::Heading(1, title) => format!("<h1>{}</h1>\n", inline(title)),
            Self::Heading(level, title) => {
                format!(
                    "<h{level} id=\"{}\">{}</h{level}>\n",
                    anchor(title),
                    inline(title)
                )
            },
            Self::List(numbered, items) => {
                let items = items
                    .iter()
                    .map(|item| format!("<li>{}</li>\n", inline(&item.join("\n"))));
                let kind = if *numbered { "ol" } else { "ul" };
                format!("<{kind}>\n{}</{kind}>\n", items.collect::<String>())
            },
            Self::Paragraph(lines) => format!("<p>{}</p>\n", inline(&lines.join("\n"))),
            Self::Table(rows) => table(rows),
        }
    }
}

fn table(rows: &[Vec<String>]) -> String {
    let row = |cells: &Vec<String>, cell: &str| {
        let cells = cells
            .iter()
            .map(|text| format!("<{cell}>{}</{cell}>", inline(text)));
        format!("<tr>{}</tr>\n", cells.collect::<String>())
    };
    let head = rows.first().map_or(String::new(), |cells| row(cells, "th"));
    let body: String = rows.iter().skip(1).map(|cells| row(cells, "td")).collect();
    format!(
        "<div class=\"wide\" tabindex=\"0\"><table><thead>{head}</thead><tbody>\n{body}</tbody></table></div>\n"
    )
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.is_empty() {
            continue;
        }
        let mut more = |goes_on: &dyn Fn(&str) -> bool| {
            let mut all = vec![line];
            while let Some(next) = lines.next_if(|next| goes_on(next)) {
                all.push(next);
            }
            all
        };
        blocks.push(if let Some(language) = line.strip_prefix("```") {
            let code = more(&|next| next != "```");
            Block::Code(language, code[1..].to_vec())
        } else if line.starts_with('#') {
            let level = line.chars().take_while(|c| *c == '#').count();
            Block::Heading(level, line[level..].trim())
        } else if line.starts_with('|') {
            let rows = more(&|next| next.starts_with('|'));
            let rows = rows.iter().filter(|row| !row.starts_with("| ---"));
            Block::Table(rows.map(|row| cells(row)).collect())
        } else if let Some((numbered, _)) = item(line) {
            items(numbered, &more(&|next| !next.is_empty()))
        } else {
            let ends =
                |next: &str| next.is_empty() || next.starts_with("```") || item(next).is_some();
            Block::Paragraph(more(&|next| !ends(next)))
        });
        if line.starts_with("```") {
            lines.next();
        }
    }
    blocks
}

/// Whether a line begins an item: whether it is a numbered one, and its text.
fn item(line: &str) -> Option<(bool, &str)> {
    if let Some(text) = line.strip_prefix("- ") {
        return Some((false, text));
    }
    let text = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let text = text
        .strip_prefix(". ")
        .filter(|_| text.len() < line.len())?;
    Some((true, text))
}

fn items<'a>(numbered: bool, lines: &[&'a str]) -> Block<'a> {
    let mut items: Vec<Vec<&str>> = Vec::new();
    for line in lines {
        match (item(line), items.last_mut()) {
            (Some((_, text)), _) => items.push(vec![text]),
            (None, Some(last)) => last.push(line.trim_start()),
            (None, None) => {},
        }
    }
    Block::List(numbered, items)
}

/// The cells of a row; `\|` is a bar in one.
fn cells(row: &str) -> Vec<String> {
    let row = row.trim().trim_matches('|').replace("\\|", "\u{1}");
    let cells = row.split('|').map(|cell| cell.trim().replace('\u{1}', "|"));
    cells.collect()
}

/// Code between backquotes, strong text between two asterisks.
fn inline(text: &str) -> String {
    let parts = text.split('`').enumerate();
    let parts = parts.map(|(index, part)| match index % 2 {
        0 => part.to_owned(),
        _ => format!(
            "\u{1}{}\u{2}",
            part.replace('\n', " ").replace('*', "\u{3}")
        ),
    });
    let text = escaped(&parts.collect::<String>());
    let strong = text.split("**").enumerate();
    let strong = strong.map(|(index, part)| match index % 2 {
        0 => part.to_owned(),
        _ => format!("<strong>{part}</strong>"),
    });
    let text = strong.collect::<String>();
    text.replace('\u{1}', "<code>")
        .replace('\u{2}', "</code>")
        .replace('\u{3}', "*")
}

/// As GitHub does it: small letters, hyphens for blanks, nothing else.
fn anchor(title: &str) -> String {
    let kept = title
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use pulldown_cmark::{Options, Parser, html::push_html};

    use super::*;

    const MANUAL: &str = include_str!("../../rescue-kit.md");

    /// Markup without what `CommonMark` says nothing of: anchors, scrolling tables, line ends between elements.
    fn plain(html: &str) -> String {
        let mut out = String::new();
        for (index, part) in html.split('<').enumerate() {
            let (tag, text) = part.split_once('>').unwrap_or(("", part));
            let name = tag.split(' ').next().unwrap_or_default();
            if index > 0 && name.trim_start_matches('/') != "div" {
                out.push_str(&format!("<{name}>"));
            }
            if !text.trim().is_empty() {
                out.push_str(&text.replace("&quot;", "\""));
            }
        }
        out.replace("</", "\n</")
    }

    #[test]
    fn the_manual_reads_as_commonmark_says() {
        let mut wanted = String::new();
        push_html(&mut wanted, Parser::new_ext(MANUAL, Options::ENABLE_TABLES));
        let ours: String = blocks(MANUAL).iter().map(Block::html).collect();
        let (ours, wanted) = (plain(&ours), plain(&wanted));
        for (ours, wanted) in ours.lines().zip(wanted.lines()) {
            assert_eq!(ours, wanted);
        }
        assert_eq!(ours.len(), wanted.len());
        assert!(ours.matches("<tr>").count() > 50 && ours.matches("<pre>").count() > 20);
    }

    #[test]
    fn every_link_of_the_page_leads_to_one_place_in_it_and_nothing_leads_out() {
        let page = html(MANUAL);
        let links: Vec<&str> = page
            .split("href=\"#")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap())
            .collect();
        assert!(links.len() > 8, "{links:?}");
        for link in links {
            assert_eq!(page.matches(&format!("id=\"{link}\"")).count(), 1, "{link}");
        }
        for outside in ["<script", "src=", "href=\"http", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("prefers-color-scheme: dark"));
    }
}
