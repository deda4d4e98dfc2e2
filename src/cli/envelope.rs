//! The envelope around every JSON output: schema first, then tool, host, time, clock, whether anything changed.

use serde::Serialize;
use serde_json::{Value, json};

use crate::clock;
use crate::error::Failure;
use crate::inventory::Inventory;
use crate::pki::digest::Digest;
use crate::run::json as to_json;

/// Wraps a payload of the command `name`. The payload is an object; its fields follow those of the envelope.
pub(super) fn wrap(
    name: &str,
    binary: Option<Digest>,
    inventory: Option<&Inventory>,
    changed: bool,
    payload: impl Serialize,
) -> String {
    let at = inventory.map_or_else(clock::system_now, |inventory| inventory.at);
    let mut object = head(name, binary);
    let host = inventory
        .and_then(|i| i.node.name.as_ref())
        .map(|name| &name.value);
    object.insert("host".to_owned(), json!(host));
    object.insert("at".to_owned(), json!(at));
    object.insert("clock".to_owned(), inventory.map_or(Value::Null, clock_of));
    object.insert("changed".to_owned(), json!(changed));
    let mut text = Value::Object(object).to_string();
    // A payload may list ten thousand certificates: its text follows, instead of a tree of values in between.
    let payload = to_json(&payload);
    if let Some(fields) = payload.strip_prefix('{').filter(|fields| *fields != "}") {
        text.pop();
        text.push(',');
        text.push_str(fields);
    }
    text.push('\n');
    text
}

/// The one object of a failed command.
pub(super) fn failure(failure: &Failure) -> String {
    let at = clock::system_now();
    let hints: Vec<&String> = match failure.hints.as_slice() {
        // Each reason of a refusal brings its own.
        [] => failure
            .refusals
            .iter()
            .map(|refusal| &refusal.hint)
            .collect(),
        hints => hints.iter().collect(),
    };
    let mut object = head("error", None);
    object.insert("at".to_owned(), json!(at));
    object.insert("changed".to_owned(), json!(failure.changed));
    object.insert(
        "error".to_owned(),
        json!({
            "code": failure.exit.code(),
            "text": failure.text,
            "causes": failure.causes,
            "hints": hints,
            "refusals": failure.refusals,
        }),
    );
    format!("{}\n", Value::Object(object))
}

fn head(name: &str, binary: Option<Digest>) -> serde_json::Map<String, Value> {
    let mut object = serde_json::Map::new();
    object.insert("schema".to_owned(), json!(format!("rescue-kit/{name}/v1")));
    let tool = json!({ "version": env!("CARGO_PKG_VERSION"), "sha256": binary });
    object.insert("tool".to_owned(), tool);
    object
}

fn clock_of(inventory: &Inventory) -> Value {
    let verdict = match inventory.clock.judge(inventory.at) {
        Ok(()) => "plausible".to_owned(),
        Err(why) => why,
    };
    json!({
        "system": inventory.clock.system,
        "stated": inventory.clock.stated,
        "witnesses": inventory.clock.witnesses,
        "verdict": verdict,
    })
}
