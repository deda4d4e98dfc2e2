//! Calendar entries (iCalendar, RFC 5545): when something ends, with an alarm before.

use crate::pki::utc::Utc;

/// Something that ends.
pub struct Event<'a> {
    /// What tells it from all others; the same for the same certificate, so that a second import changes nothing.
    pub id: &'a str,
    /// When it ends.
    pub at: Utc,
    /// When the entry was written.
    pub written: Utc,
    /// What ends.
    pub summary: &'a str,
    /// What to do then.
    pub description: &'a str,
    /// How long before the end an alarm comes, in seconds; one for each.
    pub warn: &'a [i64],
}

/// A calendar: lines of at most 75 bytes that end in CR LF.
pub fn calendar(events: &[Event]) -> String {
    let mut lines = vec![
        "BEGIN:VCALENDAR".to_owned(),
        "VERSION:2.0".to_owned(),
        format!("PRODID:-//rescue-kit//{}//EN", env!("CARGO_PKG_VERSION")),
    ];
    lines.extend(events.iter().flat_map(entry));
    lines.push("END:VCALENDAR".to_owned());
    lines.iter().map(|line| folded(line)).collect()
}

fn entry(event: &Event) -> Vec<String> {
    let mut lines = vec![
        "BEGIN:VEVENT".to_owned(),
        format!("UID:{}@rescue-kit", escaped(event.id)),
        format!("DTSTAMP:{}", event.written.compact()),
        format!("DTSTART:{}", event.at.compact()),
        format!("SUMMARY:{}", escaped(event.summary)),
        format!("DESCRIPTION:{}", escaped(event.description)),
        "TRANSP:TRANSPARENT".to_owned(),
    ];
    for warn in event.warn {
        lines.extend([
            "BEGIN:VALARM".to_owned(),
            "ACTION:DISPLAY".to_owned(),
            format!("DESCRIPTION:{}", escaped(event.summary)),
            format!("TRIGGER:-PT{}M", warn / 60),
            "END:VALARM".to_owned(),
        ]);
    }
    lines.push("END:VEVENT".to_owned());
    lines
}

/// Text as a value (section 3.3.11).
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\\' | ';' | ',' => out.extend(['\\', c]),
            c if c.is_control() => {},
            c => out.push(c),
        }
    }
    out
}

/// A line that goes on behind a space after 75 bytes (section 3.1), never inside a character.
fn folded(line: &str) -> String {
    let mut out = String::with_capacity(line.len() + 8);
    let mut width = 0;
    for c in line.chars() {
        if width + c.len_utf8() > 75 {
            out.push_str("\r\n ");
            width = 1;
        }
        out.push(c);
        width += c.len_utf8();
    }
    out.push_str("\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_and_escapes_as_calendars_want_it() {
        let long = "ä, b; c\\ d\ne ".repeat(20);
        let text = calendar(&[Event {
            id: "0a1b",
            at: Utc::from_unix(86_400),
            written: Utc::from_unix(0),
            summary: &long,
            description: "rescue-kit run",
            warn: &[30 * Utc::DAY],
        }]);
        assert!(text.ends_with("END:VCALENDAR\r\n"));
        assert!(
            text.split("\r\n")
                .all(|line| line.len() <= 75 && !line.contains('\n'))
        );
        assert!(text.contains("\r\nDTSTART:19700102T000000Z\r\n"));
        assert!(text.contains("\r\nTRIGGER:-PT43200M\r\n"));
        let unfolded = text.replace("\r\n ", "");
        assert!(unfolded.contains("SUMMARY:ä\\, b\\; c\\\\ d\\ne ä"));
    }
}
