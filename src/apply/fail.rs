//! Failure points: how the tests make any step fail or the process die. Only in debug builds.

use crate::apply::ApplyError;
use crate::journal::Way;

/// Fails or aborts if `RESCUE_KIT_FAIL` names this point: `act:c03:forward=error`, `intent:c03:back=abort`; or, once, plays
/// somebody else who replaces a file: `outcome:stage:forward=move FROM TO`.
#[cfg(debug_assertions)]
#[expect(
    clippy::disallowed_methods,
    reason = "only tests set it, and only debug builds read it"
)]
pub(super) fn point(place: &str, step: &str, way: Way) -> Result<(), ApplyError> {
    let way = if way == Way::Forward {
        "forward"
    } else {
        "back"
    };
    let wanted = std::env::var("RESCUE_KIT_FAIL").unwrap_or_default();
    let Some((point, how)) = wanted.split_once('=') else {
        return Ok(());
    };
    if point != format!("{place}:{step}:{way}") {
        return Ok(());
    }
    if let Some((from, to)) = how
        .strip_prefix("move ")
        .and_then(|paths| paths.split_once(' '))
    {
        // The second time there is nothing left to be moved.
        std::fs::rename(from, to).unwrap_or_default();
        return Ok(());
    }
    match how {
        "abort" => std::process::abort(),
        _ => Err(ApplyError::Missing(format!(
            "(injected failure at {point})"
        ))),
    }
}

/// Release builds have no failure points.
#[cfg(not(debug_assertions))]
#[expect(clippy::unnecessary_wraps, reason = "the debug build's signature")]
pub(super) fn point(_: &str, _: &str, _: Way) -> Result<(), ApplyError> {
    Ok(())
}
