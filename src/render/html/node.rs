//! A node without a rescue: the same view as a report's, of what is there now.

use crate::finding::Finding;
use crate::inventory::Inventory;
use crate::listing::Row;
use crate::live::Live;
use crate::verification;

use super::chart::{self, Bar, Moments};
use super::markup::{Html, paragraph, table};
use super::sections::{self, residual_days, state};
use super::{chains, headed, node, page, scope};

/// What is told of a node.
pub struct NodeView<'a> {
    /// What was seen.
    pub inventory: &'a Inventory,
    /// Its certificates.
    pub rows: &'a [Row],
    /// What is wrong.
    pub findings: &'a [Finding],
    /// The first cause of it, one sentence.
    pub cause: Option<&'a str>,
    /// The version of this tool.
    pub version: &'a str,
}

/// Writes the page: a whole HTML document, UTF-8, lines ended by LF.
pub fn inspection(view: &NodeView) -> String {
    let mut sections = vec![
        ("broken", "What is broken", broken(view)),
        ("certificates", "Certificates", certificates(view.rows)),
        ("chains", "Who signed what", chains::chains(view.inventory)),
    ];
    if let Some(live) = &view.inventory.live {
        sections.push(("running", "What runs", running(live, view.inventory)));
    }
    let title = format!("Certificates of {}", node(view.inventory));
    page(&title, header(view, &title), sections, footer(view))
}

fn header(view: &NodeView, title: &str) -> Html {
    let (tone, outcome) = match view.cause {
        Some(cause) => ("bad", cause),
        None if view.findings.is_empty() => ("good", "Nothing is broken."),
        None => ("warn", "Nothing is broken, but something needs attention."),
    };
    let seen = view.inventory;
    let clock = match seen.clock.judge(seen.at) {
        Ok(()) => "plausible: no trace of a later time".to_owned(),
        Err(why) => why,
    };
    let facts = vec![
        ("Node", Html::text(node(seen))),
        ("Judged at", Html::time(seen.at)),
        ("Clock", Html::text(clock)),
        ("Scope", Html::text(scope(seen))),
        ("Profile", Html::text(&seen.profile)),
        ("Tool", Html::text(format!("rescue-kit {}", view.version))),
    ];
    headed(title, tone, outcome, facts)
}

fn broken(view: &NodeView) -> Html {
    if view.findings.is_empty() {
        return paragraph("Nothing.");
    }
    sections::findings(view.findings)
}

fn certificates(rows: &[Row]) -> Html {
    // What the profile does not own is named by its path.
    let own = rows.iter().filter(|row| !row.id.starts_with('/'));
    let bars: Vec<Bar> = own
        .map(|row| Bar {
            id: row.id.clone(),
            days: vec![residual_days(row)],
        })
        .collect();
    let heads = ["Certificate", "Signed by", "State", "Expires", "Days left"];
    let cells = rows.iter().map(|row| {
        let path = if row.path == row.id { "" } else { &row.path };
        let path = Html::text(path).with("span", &[("class", "path")]);
        let named = Html::spaced([Html::text(&row.id), path]);
        let signer = Html::text(row.signer.as_deref().unwrap_or("unknown"));
        [named, signer]
            .into_iter()
            .chain(state(Some(row)))
            .collect()
    });
    let listed = table("Every certificate that was found", &heads, cells.collect());
    Html::join([chart::chart(&bars, Moments::Now), listed])
}

/// What each port serves and how the components are.
fn running(live: &Live, inventory: &Inventory) -> Html {
    let served = live.ports.iter();
    let served = served.filter_map(|port| verification::served(port, inventory));
    let rows = served.chain(live.health.iter().cloned()).map(|check| {
        let told = sections::outcome(&check.outcome);
        let why = match &check.outcome {
            verification::Outcome::Pass => String::new(),
            verification::Outcome::Fail(why) | verification::Outcome::Unchecked(why) => why.clone(),
        };
        vec![
            Html::text(check.subject),
            Html::text(check.name),
            told,
            Html::text(why),
        ]
    });
    let heads = ["Of", "Check", "Outcome", "Why"];
    table("Ports, health and leases", &heads, rows.collect())
}

fn footer(view: &NodeView) -> Html {
    let text = format!(
        "Written by rescue-kit {}. All times are UTC. No private key, token or password is on this page.",
        view.version
    );
    paragraph(text).within("footer")
}
