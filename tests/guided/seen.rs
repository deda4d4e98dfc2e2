//! What a person sees of the guided rescue on a serial console, whole, by golden files.

use crate::cases::assert_golden;
use crate::guided::QUESTIONS;
use crate::pty::CONSOLE;
use crate::screens::stage::Stage;

/// A stage with the files of a rehearsal in `node`: rescued, or as they were before, and what else happened to them.
fn stage(what_happened: &[&str]) -> Stage {
    let stage = Stage::small();
    stage.prepare("rescue-kit drill --dir made --keep");
    for line in what_happened {
        stage.prepare(line);
    }
    stage.prepare("mv made/node node");
    stage
}

/// Everything has expired again.
const EXPIRED: &str = "rescue-kit --root made/node rollback --yes";
/// Nobody has looked at it.
const UNSEEN: &str = "rm -r made/node/var/lib/rescue-kit";

/// Answers questions about the node, and compares all that was seen.
fn as_golden(stage: &Stage, name: &str, answers: &[(&str, &str)]) {
    let shown = stage.asked("rescue-kit --root node", CONSOLE, &[], answers);
    assert_golden(&format!("screens/guided/{name}.txt"), &shown.text());
    assert_eq!(shown.too_long(), Vec::<String>::new());
}

#[test]
fn a_rescue_is_seen_as_in_its_golden_file() {
    as_golden(&stage(&[EXPIRED, UNSEEN]), "rescue", &QUESTIONS);
}

#[test]
fn a_node_that_is_well_is_seen_as_in_its_golden_file() {
    let quit = [("1 quit, change nothing", "1")];
    as_golden(&stage(&[UNSEEN]), "well", &quit);
}

#[test]
fn a_missing_key_is_seen_as_in_its_golden_file() {
    let answers = [
        ("1 have 7 certificates signed", "3"),
        ("1 have 7 certificates signed", "4"),
        ("1 have 7 certificates signed", "1"),
        ("or one that came back with their answers: folder [", "/tmp"),
        ("/tmp exists", "new"),
        ("an absolute path", "<"),
        ("1 have 7 certificates signed", "q"),
    ];
    let stage = stage(&[EXPIRED, UNSEEN, "rm made/node/etc/kubernetes/pki/ca.key"]);
    as_golden(&stage, "no-key", &answers);
}

#[test]
fn an_unfinished_run_is_seen_as_in_its_golden_file() {
    let die = "RESCUE_KIT_FAIL=act:c07:forward=abort rescue-kit run --root made/node --yes --operator 'A. Operator' || true";
    let answers = [("1 finish it", "1")];
    as_golden(&stage(&[EXPIRED, UNSEEN, die]), "unfinished", &answers);
}
