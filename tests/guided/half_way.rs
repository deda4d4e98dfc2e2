//! Runs that stopped half-way: the next start offers to finish them or to put everything back.

use crate::guided::{answer, answer_first, guide};
use crate::harness::Node;
use crate::means::{assert_judged, assert_same, leftovers};

/// A node whose run died after some of its replacements.
fn died() -> Node {
    let node = Node::real("p256", "expired");
    let fail = [("RESCUE_KIT_FAIL", "act:c07:forward=abort")];
    node.run_with(&["run", "--yes", "--operator", "A. Operator"], &fail)
        .exits(134);
    node
}

#[test]
fn a_run_that_died_is_finished() {
    let node = died();
    let mut terminal = guide(&node);
    terminal.wait_for("unfinished: the run");
    terminal.wait_for("of A. Operator, begun at");
    terminal.wait_for("of 20 places are replaced");
    answer(&mut terminal, "1 finish it", "1");
    terminal.wait_for("60 checks passed, 0 failed");
    assert_eq!(terminal.exit(), 0);
    assert_judged(&node);
    assert_eq!(leftovers(&node), Vec::<String>::new());
}

#[test]
fn a_run_that_died_is_put_back() {
    let node = Node::real("p256", "expired");
    let before = node.snapshot();
    let fail = [("RESCUE_KIT_FAIL", "act:c07:forward=abort")];
    node.run_with(&["run", "--yes"], &fail).exits(134);
    let mut terminal = guide(&node);
    answer(&mut terminal, "2 put everything back as it was before", "2");
    terminal.wait_for("everything is as it was before the run");
    assert_eq!(terminal.exit(), 0);
    assert_same(&before, &node.snapshot());
}

#[test]
fn a_run_that_died_may_be_left_as_it_is() {
    let node = died();
    let before = node.snapshot();
    let mut terminal = guide(&node);
    answer(&mut terminal, "3 show what is broken now", "3");
    terminal.wait_for("CERTIFICATE STATE EXPIRES");
    answer(&mut terminal, "4 quit, leave it as it is", "q");
    terminal.wait_for("left as it is; later: rescue-kit resume");
    assert_eq!(terminal.exit(), 4);
    let inspected = node.run(&["inspect"]).exits(3);
    inspected
        .prints("cause: the run ")
        .prints("  hint: rescue-kit resume ");
    assert_same(&before, &node.snapshot());
}

#[test]
fn a_line_that_drops_during_the_run_leaves_what_the_next_start_finishes() {
    let node = Node::real("rsa", "expired");
    let mut terminal = guide(&node);
    answer_first(&mut terminal, 6);
    // RSA keys take a while, so that the line drops in the middle of it.
    terminal.hang_up();
    let code = terminal.exit();
    assert!([0, 129].contains(&code), "{code}");
    let mut terminal = guide(&node);
    terminal.wait_for("choice [1]");
    if terminal.everything().contains("unfinished:") {
        answer(&mut terminal, "1 finish it", "1");
        assert_eq!(terminal.exit(), 0);
    } else if terminal.everything().contains("nothing is broken") {
        answer(&mut terminal, "1 quit", "1");
        assert_eq!(terminal.exit(), 0);
    } else {
        // It dropped before anything was staged, and nothing was changed.
        answer_first(&mut terminal, 6);
        assert_eq!(terminal.exit(), 0);
    }
    assert_judged(&node);
}
