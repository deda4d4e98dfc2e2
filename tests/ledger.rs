//! `audit export`: the ledger of a run and of its rollback, in all three formats.

use crate::cases::{assert_golden, redacted};
use crate::harness::Node;

/// What changes from run to run: serial numbers, names of runs, times.
const VARYING: [&str; 4] = [
    "hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh",
    "99999999T999999Z-hhhhhh",
    "9999-99-99T99:99:99Z",
    "9999-99-99 99:99:99",
];

#[test]
fn a_run_updates_and_its_rollback_revokes_in_csv() {
    assert_golden("ledger-p256.csv", &exported("csv"));
}

#[test]
fn a_run_updates_and_its_rollback_revokes_in_json() {
    assert_golden("ledger-p256.json", &exported("json"));
}

#[test]
fn a_run_updates_and_its_rollback_revokes_in_sql() {
    assert_golden("ledger-p256.sql", &exported("sql"));
}

#[test]
fn the_ledger_names_the_certificates_and_their_last_day() {
    let node = rolled_forth_and_back();
    let ledger = node
        .run(&["audit", "export", "--format", "json"])
        .exits(0)
        .json();
    let rows = ledger.as_array().unwrap();
    assert_eq!(rows.len(), 24);
    for (update, revoke) in rows[..12].iter().zip(rows[12..].iter().rev()) {
        for field in ["cert_name", "serial", "expire_date", "run"] {
            assert_eq!(update[field], revoke[field], "{field}");
        }
        assert!(update["created_at"].as_str() <= revoke["created_at"].as_str());
        assert!(update["expire_date"].as_str() > update["created_at"].as_str());
    }
}

#[test]
fn whoever_rolled_back_is_named_for_what_was_revoked() {
    let node = rolled_forth_and_back();
    let ledger = node
        .run(&["audit", "export", "--format", "json"])
        .exits(0)
        .json();
    let by = |action: &str| {
        let rows = ledger
            .as_array()
            .unwrap()
            .iter()
            .filter(|row| row["action"] == action);
        let mut names: Vec<&str> = rows.map(|row| row["operator"].as_str().unwrap()).collect();
        names.dedup();
        names
    };
    assert_eq!(by("UPDATE"), ["Jane Doe"]);
    assert_eq!(by("REVOKE"), ["O'Hara, \"Bob\""]);
}

#[test]
fn what_was_missing_is_created() {
    let node = Node::real("p256", "expired");
    node.remove("/etc/kubernetes/pki/apiserver.crt");
    node.remove("/etc/kubernetes/pki/apiserver.key");
    node.run(&["run", "--yes"]).exits(0);
    let ledger = node
        .run(&["audit", "export", "--format", "json"])
        .exits(0)
        .json();
    for row in ledger.as_array().unwrap() {
        let action = if row["cert_name"] == "apiserver" {
            "CREATE"
        } else {
            "UPDATE"
        };
        assert_eq!(row["action"], action, "{}", row["cert_name"]);
    }
}

#[test]
fn the_ledger_outlives_the_undo_data() {
    let node = rolled_forth_and_back();
    let before = node.run(&["audit", "export"]).exits(0).stdout;
    node.run(&["runs", "prune", "--keep", "0", "--yes"])
        .exits(0);
    assert_eq!(node.run(&["audit", "export"]).exits(0).stdout, before);
}

fn rolled_forth_and_back() -> Node {
    let node = Node::real("p256", "expired");
    node.run_with(&["run", "--yes"], &[("RESCUE_KIT_OPERATOR", "Jane Doe")])
        .exits(0);
    node.run(&["rollback", "--yes", "--operator", "O'Hara, \"Bob\""])
        .exits(0);
    node
}

fn exported(format: &str) -> String {
    let node = rolled_forth_and_back();
    let text = node
        .run(&["audit", "export", "--format", format])
        .exits(0)
        .stdout;
    redacted(&text, &VARYING)
}
