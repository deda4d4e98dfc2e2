//! The guided rescue on real nodes, through a terminal: a node that is dead, and one that is due and works.

use crate::control_plane::{BINARY, ControlPlane, LAB};
use crate::expired::{assert_nothing_to_do, in_days};
use crate::pty::{CONSOLE, Key, Terminal};

/// Starts the guided rescue in a node.
pub(crate) fn guide(lab: &ControlPlane, node: &str) -> Terminal {
    Terminal::start(
        CONSOLE,
        &[LAB, "exec", &lab.name(), node, "--", BINARY],
        &[],
    )
}

/// Answers each question when it is asked.
pub(crate) fn answer(terminal: &mut Terminal, answers: &[(&str, &str)]) {
    for (question, line) in answers {
        terminal.wait_for_prompt(question, "(< back, q quit):");
        terminal.type_text(line);
        terminal.press(Key::Enter);
    }
}

/// What is asked after the way out was chosen, and answered with as little as possible.
const REST: [(&str, &str); 5] = [
    ("operator [", "A. Operator"),
    ("ticket that allows it", ""),
    ("another directory choice [1]", ""),
    ("names to add", ""),
    ("Do it?", "2"),
];

#[test]
fn a_dead_node_comes_back_although_the_line_drops_half_way() {
    let lab = ControlPlane::one();
    lab.lab("expire", &[]);
    lab.lab("power-cycle", &[]);
    lab.assert_down("cp1");
    let mut terminal = guide(&lab, "cp1");
    terminal.wait_for("the kubelet exits at start, so no static pod runs");
    answer(
        &mut terminal,
        &[("renew what is due with the CAs that are here", "1")],
    );
    answer(&mut terminal, &REST);
    terminal.wait_for("certificates issued");
    terminal.wait_for("places replaced");
    terminal.wait_for("start kubelet:");
    terminal.hang_up();
    assert_eq!(terminal.exit(), 129);
    let mut terminal = guide(&lab, "cp1");
    terminal.wait_for("of A. Operator, begun at");
    answer(&mut terminal, &[("1 finish it", "1")]);
    assert_eq!(terminal.exit(), 0, "{}", terminal.everything());
    let seen = terminal.everything();
    for what in ["apiserver on", "etcd-server on", "etcd-peer on"] {
        let row = seen.lines().find(|line| line.starts_with(what));
        assert!(
            row.is_some_and(|row| row.ends_with("serves its file")),
            "{what}:\n{seen}"
        );
    }
    assert!(seen.contains("next   nothing on this node"), "{seen}");
    lab.assert_recovered("cp1");
    assert_nothing_to_do(&lab, "cp1");
}

#[test]
fn a_node_that_works_is_renewed_without_an_outage() {
    let lab = ControlPlane::one();
    lab.lab("expire", &["--", "-not-after", &in_days(20)]);
    let before = lab.sandboxes("cp1");
    let mut terminal = guide(&lab, "cp1");
    terminal.wait_for("nothing is broken yet");
    let way = "renew what is due with the CAs that are here (about 0 s without the API server;";
    answer(&mut terminal, &[(way, "1")]);
    answer(&mut terminal, &REST);
    assert_eq!(terminal.exit(), 0, "{}", terminal.everything());
    let seen = terminal.everything();
    assert!(seen.contains(" s without the API server\n\n"), "{seen}");
    lab.assert_untouched("cp1", &before, &["etcd", "kube-apiserver"]);
    assert!(seen.contains(" 0 failed,"), "{seen}");
    lab.assert_recovered("cp1");
    assert_nothing_to_do(&lab, "cp1");
}
