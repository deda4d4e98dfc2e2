//! `inspect`: what is broken, first cause first.

use serde::Serialize;

use crate::cli::args::Output;
use crate::cli::context::Context;
use crate::cli::envelope;
use crate::config;
use crate::error::Failure;
use crate::exit::Exit;
use crate::finding::{Finding, Severity};
use crate::flow::site::Inspection;
use crate::inventory::{KeyPairState, Scope};
use crate::listing::{self, Row};
use crate::live::Live;
use crate::render::{html, prometheus, text};
use crate::terminal::say;

pub(super) fn inspect(context: &Context, renew_before: &str) -> Result<Exit, Failure> {
    let renew_before = config::seconds(renew_before)?;
    let site = context.site()?;
    let seen = site.inspect(renew_before)?;
    let rows = || listing::rows(&seen.inventory, renew_before);
    let cause = seen.cause.as_deref();
    say(&match context.global.output {
        Output::Human => page(context, &seen, renew_before),
        Output::Json => envelope::wrap(
            "inspect",
            context.binary(),
            Some(&seen.inventory),
            false,
            Payload {
                profile: &seen.inventory.profile,
                scope: seen.inventory.scope,
                cause,
                certificates: rows(),
                key_pairs: &seen.inventory.key_pairs,
                findings: &seen.findings,
                live: seen.inventory.live.as_ref(),
            },
        ),
        Output::Html => html::inspection(&html::NodeView {
            inventory: &seen.inventory,
            rows: &rows(),
            findings: &seen.findings,
            cause,
            version: env!("CARGO_PKG_VERSION"),
        }),
        Output::Prometheus => prometheus::metrics(&seen.inventory, &seen.findings, renew_before),
    });
    // What is merely worth knowing needs nobody's attention.
    let attention = seen
        .findings
        .iter()
        .any(|finding| finding.severity != Severity::Info);
    Ok(if attention {
        Exit::Attention
    } else {
        Exit::Done
    })
}

/// What was seen, for people.
pub(super) fn page(context: &Context, seen: &Inspection, renew_before: i64) -> String {
    text::inspection(
        &seen.inventory,
        &listing::rows(&seen.inventory, renew_before),
        &seen.findings,
        seen.cause.as_deref(),
        &context.painter,
    )
}

/// What the JSON says beside its envelope.
#[derive(Serialize)]
struct Payload<'a> {
    profile: &'a str,
    scope: Scope,
    cause: Option<&'a str>,
    certificates: Vec<Row>,
    key_pairs: &'a [KeyPairState],
    findings: &'a [Finding],
    #[serde(skip_serializing_if = "Option::is_none")]
    live: Option<&'a Live>,
}
