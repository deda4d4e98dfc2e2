//! `calendar.txt`: one page, by date.

use crate::defect;
use crate::handover::{Cluster, End, Group, groups};
use crate::pki::name::printable;
use crate::pki::utc::Utc;
use crate::render::text::{WIDTH, labelled};

/// What ends when, what that breaks, and what renews it.
pub fn page(cluster: &Cluster) -> String {
    let server = cluster.server.iter().map(|server| format!(", {server}"));
    let version = cluster.version.iter().map(|v| format!(", Kubernetes {v}"));
    let more: String = server.chain(version).collect();
    let head = format!("{} ({}){more}", cluster.node, cluster.profile);
    let mut text = labelled("Certificates of", "Certificates of", &printable(&head));
    text.push_str(&format!("Seen at {}; all dates are UTC.\n", cluster.at));
    let mut groups = groups(&cluster.ends);
    groups.sort_by_key(|group| group.at);
    for group in &groups {
        text.push_str(&section(group, cluster.at));
    }
    if cluster.ends.is_empty() {
        text.push_str("\nnothing that ends was found\n");
    }
    text
}

fn section(group: &Group, now: Utc) -> String {
    let seconds = group.at.since(now);
    let when = if seconds < 0 {
        format!("expired {} ago", defect::span(seconds))
    } else {
        format!("in {}", defect::span(seconds))
    };
    let mut text = format!("\n{}  {when}\n", group.at);
    let mut mends: Vec<&str> = Vec::new();
    for end in &group.ends {
        if !mends.contains(&end.mend.as_str()) {
            mends.push(&end.mend);
        }
    }
    for mend in mends {
        text.push_str(&rule_off(mend));
        let mended = group.ends.iter().filter(|end| end.mend == mend);
        mended.for_each(|end| text.push_str(&line(end)));
    }
    text
}

/// Who or what renews what follows.
fn rule_off(mend: &str) -> String {
    let head = format!("  renewed by {mend} ");
    format!("{head:-<WIDTH$}\n")
}

fn line(end: &End) -> String {
    let label = format!("  {:<25}", printable(&end.id));
    labelled(&label, &label, &printable(&end.breaks))
}
