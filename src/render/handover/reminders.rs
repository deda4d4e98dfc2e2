//! `expiries.ics`: an entry for each date on which something ends, with alarms before.

use crate::handover::{Cluster, Group, groups};
use crate::pki::digest::{Digest, hex};
use crate::pki::name::printable;
use crate::pki::utc::Utc;
use crate::render::ics::{self, Event};

/// When alarms come before the end of CAs, in seconds.
const CAS: [i64; 3] = [180 * Utc::DAY, 30 * Utc::DAY, 7 * Utc::DAY];

/// When alarms come before the end of leaves, in seconds.
const LEAVES: [i64; 2] = [30 * Utc::DAY, 7 * Utc::DAY];

/// The entries, CAs first. An entry has the same text until its certificates are others.
pub(super) fn calendar(cluster: &Cluster) -> String {
    let entries: Vec<Entry> = groups(&cluster.ends)
        .iter()
        .map(|group| Entry::of(group, cluster))
        .collect();
    let events: Vec<Event> = entries.iter().map(Entry::event).collect();
    ics::calendar(&events)
}

struct Entry {
    id: String,
    at: Utc,
    written: Utc,
    summary: String,
    description: String,
    warn: &'static [i64],
}

impl Entry {
    fn of(group: &Group, cluster: &Cluster) -> Self {
        let first = group.ends.first();
        let is_ca = first.is_some_and(|end| end.is_ca());
        let node = printable(&cluster.node);
        let what = match (is_ca, group.ends.len()) {
            (true, 1) => "a CA ends".to_owned(),
            (true, n) => format!("{n} CAs end"),
            (false, 1) => "a certificate ends".to_owned(),
            (false, n) => format!("{n} certificates end"),
        };
        let lines = group.ends.iter().map(|end| {
            let (id, breaks) = (printable(&end.id), printable(&end.breaks));
            format!("{id}, renewed by {}: {breaks}", end.mend)
        });
        let lines: Vec<String> = lines.collect();
        // What was known last is what was issued last.
        let written = group.ends.iter().map(|end| end.not_before).max();
        Self {
            id: id(cluster, is_ca, group.at),
            at: group.at,
            written: written.unwrap_or(group.at),
            summary: format!("{node}: {what}"),
            description: lines.join("\n"),
            warn: if is_ca { &CAS } else { &LEAVES },
        }
    }

    fn event(&self) -> Event<'_> {
        Event {
            id: &self.id,
            at: self.at,
            written: self.written,
            summary: &self.summary,
            description: &self.description,
            warn: self.warn,
        }
    }
}

fn id(cluster: &Cluster, is_ca: bool, at: Utc) -> String {
    let kind = if is_ca { "ca" } else { "leaf" };
    let text = format!("{} {kind} {at}", hex(cluster.id.bytes()));
    hex(&Digest::of(text.as_bytes()).bytes()[..16])
}
