//! The table of kubeconfigs, 80 columns wide.

use crate::listing::kubeconfig::{Answer, Row};
use crate::pki::name::printable;
use crate::pki::utc::Utc;

use super::text::{Paint, Tone, column, labelled, state};

/// A line for the state, then lines for user, server and what is wrong.
pub fn table(rows: &[Row], paint: &dyn Paint) -> String {
    if rows.is_empty() {
        return "no kubeconfigs\n".to_owned();
    }
    let head = format!(
        "{:<42} {:<13} {:<10}  {}",
        "KUBECONFIG", "STATE", "EXPIRES", "ACCEPTED"
    );
    let mut text = format!("{}\n", paint.paint(Tone::Heading, &head));
    for row in rows {
        text.push_str(&line(row, paint));
        let at = row
            .server
            .as_deref()
            .map_or_else(String::new, |at| format!(" at {at}"));
        let who = format!("{}{}", row.who(), printable(&at));
        if row.by.is_some() {
            text.push_str(&labelled("   ", "   ", &who));
        }
        for why in row.defects.iter().chain(&row.accepted.why) {
            text.push_str(&labelled("   ", "   ", &printable(why)));
        }
    }
    text
}

fn line(row: &Row, paint: &dyn Paint) -> String {
    let state = state(row.status, paint);
    let expires = row.not_after.map_or_else(|| "-".to_owned(), Utc::date);
    let tone = match row.accepted.answer {
        Answer::No => Tone::Bad,
        Answer::NotAsked => Tone::Heading,
        Answer::Yes => Tone::Good,
    };
    let accepted = paint.paint(tone, row.accepted.answer.word());
    let path = column(&printable(&row.path), 42);
    format!("{path} {state} {expires:<10}  {accepted}\n")
}
