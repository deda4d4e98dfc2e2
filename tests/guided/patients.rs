//! Patients that need another way than a renewal, or none.

use crate::guided::{answer, answer_some, expire, guide};
use crate::harness::Node;
use crate::means::{assert_judged, assert_same, runs};

/// The file of the cluster's CA's key.
const CA_KEY: &str = "/etc/kubernetes/pki/ca.key";

#[test]
fn a_node_that_is_well_needs_nothing() {
    let node = Node::real("p256", "fresh");
    let before = node.snapshot();
    let mut terminal = guide(&node);
    terminal.wait_for("nothing is broken");
    answer(&mut terminal, "1 quit, change nothing", "");
    terminal.wait_for("nothing was changed");
    assert_eq!(terminal.exit(), 0);
    assert_same(&before, &node.snapshot());
}

#[test]
fn a_node_that_is_well_can_be_renewed_all_the_same() {
    let node = Node::real("p256", "fresh");
    let mut terminal = guide(&node);
    answer(
        &mut terminal,
        "2 renew everything, although nothing is due",
        "2",
    );
    answer_some(&mut terminal, 1..5);
    terminal.wait_for("all are renewed (--all)");
    answer(&mut terminal, "Do it?", "2");
    assert_eq!(terminal.exit(), 0);
    assert_judged(&node);
    assert!(
        terminal.transcript().contains(" --all "),
        "{}",
        terminal.transcript()
    );
}

#[test]
fn expired_cas_are_renewed_with_their_own_keys() {
    let node = Node::real("p256", "fresh");
    expire(&node, &["-cas"]);
    let mut terminal = guide(&node);
    terminal.wait_for("in the way: RK0101 of ca, RK0101 of etcd-ca, RK0101 of front-proxy-ca");
    let way = "1 renew the expired CAs with their own keys, and what is due below";
    answer(&mut terminal, way, "2");
    terminal.wait_for("Do not do it if the key has leaked");
    answer(&mut terminal, way, "1");
    answer_some(&mut terminal, 1..5);
    terminal.wait_for("--ca=renew");
    answer(&mut terminal, "Do it?", "2");
    assert_eq!(terminal.exit(), 0);
    assert_judged(&node);
    node.run(&["verify"]).exits(0);
}

#[test]
fn without_the_cas_key_requests_are_written_or_the_rest_is_renewed() {
    let node = Node::real("p256", "expired");
    node.remove(CA_KEY);
    let folder = node.root.with_file_name("requests");
    let mut terminal = guide(&node);
    terminal.wait_for("in the way: RK0104 of ca");
    answer(
        &mut terminal,
        "1 have 7 certificates signed where the CA's key is",
        "1",
    );
    answer(
        &mut terminal,
        "or one that came back with their answers: folder [",
        folder.to_str().unwrap(),
    );
    terminal.wait_for("$ rescue-kit csr generate --out=");
    terminal.wait_for("request(s) in");
    assert_eq!(terminal.exit(), 0);
    assert!(folder.join("manifest.json").exists());
    assert!(folder.join("apiserver.csr").exists() && !folder.join("etcd-server.csr").exists());
    let keys = crate::harness::lab().join("trees/p256/expired/etc/kubernetes/pki");
    let (cert, key) = (keys.join("ca.crt"), keys.join("ca.key"));
    let sign = [
        "csr",
        "sign",
        folder.to_str().unwrap(),
        "--ca-cert",
        cert.to_str().unwrap(),
        "--ca-key",
        key.to_str().unwrap(),
    ];
    let mut terminal = guide(&node);
    answer(
        &mut terminal,
        "2 renew the rest, leave out 7 certificates",
        "2",
    );
    answer_some(&mut terminal, 1..5);
    answer(&mut terminal, "Do it?", "2");
    assert_eq!(terminal.exit(), 0);
    let said = node.run(&["inspect"]).exits(3).stdout;
    let state = |id: &str| {
        let line = said.lines().find(|line| line.starts_with(id)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    assert_eq!(
        (state("etcd-server"), state("apiserver ")),
        ("ok".to_owned(), "expired".to_owned())
    );
    crate::harness::run(&sign, &[]).exits(0);
    let mut terminal = guide(&node);
    answer(&mut terminal, "1 have 7 certificates signed", "1");
    let folder = folder.to_str().unwrap();
    terminal.wait_for("requested at");
    answer(&mut terminal, "with their answers: folder [", folder);
    answer_some(&mut terminal, 1..3);
    terminal.wait_for("$ rescue-kit csr install");
    answer(&mut terminal, "Apply this plan?", "2");
    assert_eq!(terminal.exit(), 0, "{}", terminal.everything());
    assert_judged(&node);
}

#[test]
fn a_folder_that_exists_is_not_written_to() {
    let node = Node::real("p256", "expired");
    node.remove(CA_KEY);
    let mut terminal = guide(&node);
    answer(&mut terminal, "1 have 7 certificates signed", "1");
    answer(
        &mut terminal,
        "or one that came back with their answers: folder [",
        "/tmp",
    );
    answer(
        &mut terminal,
        "not that: /tmp exists, and holds no requests",
        "<",
    );
    answer(&mut terminal, "1 have 7 certificates signed", "q");
    assert_eq!(terminal.exit(), 4);
}

#[test]
fn a_clock_that_is_wrong_leaves_no_way_but_to_set_it() {
    let node = Node::real("p256", "expired");
    let root = node.root.to_str().unwrap();
    let words = [
        crate::harness::BINARY,
        "--root",
        root,
        "--now",
        "2020-01-01T00:00:00Z",
    ];
    let mut terminal = crate::pty::Terminal::start(crate::pty::CONSOLE, &words, &[]);
    terminal.wait_for("in the way: critical RK0001");
    terminal.wait_for("hint: set the clock, or state the true time: --now RFC3339");
    answer(&mut terminal, "1 explain the first finding (RK0001)", "4");
    assert_eq!(terminal.exit(), 4);
    assert_eq!(runs(&node), Vec::<String>::new());
}

#[test]
fn answers_and_what_other_cas_sign_here_are_one_run() {
    let node = Node::real("p256", "expired");
    let key = node.root.with_file_name("ca.key");
    std::fs::rename(node.path(CA_KEY), &key).unwrap();
    let folder = node.root.with_file_name("requests");
    let folder = folder.to_str().unwrap();
    let question = "or one that came back with their answers: folder [";
    let mut terminal = guide(&node);
    answer(&mut terminal, "1 have 7 certificates signed", "1");
    answer(&mut terminal, question, folder);
    assert_eq!(terminal.exit(), 0);
    let cert = node.path("/etc/kubernetes/pki/ca.crt");
    let ca = [
        "--ca-cert",
        cert.to_str().unwrap(),
        "--ca-key",
        key.to_str().unwrap(),
    ];
    crate::harness::run(&[&["csr", "sign", folder][..], &ca].concat(), &[]).exits(0);
    let mut terminal = guide(&node);
    // Another way, taken back, leaves nothing of itself.
    answer(&mut terminal, "1 have 7 certificates signed", "2");
    answer(&mut terminal, "operator [", "<");
    answer(&mut terminal, "1 have 7 certificates signed", "1");
    answer(&mut terminal, question, folder);
    answer(&mut terminal, "operator [", "A. Operator");
    answer(&mut terminal, "ticket that allows it [none]", "<");
    answer(&mut terminal, "operator [A. Operator]", "");
    answer(&mut terminal, "ticket that allows it [none]", "CHG-7");
    terminal.wait_for("--with-due");
    answer(&mut terminal, "Apply this plan?", "2");
    assert_eq!(terminal.exit(), 0, "{}", terminal.everything());
    assert_judged(&node);
    assert_eq!(runs(&node).len(), 1);
    let journal = std::fs::read_to_string(node.newest_run().join("journal.jsonl")).unwrap();
    let begin: serde_json::Value = serde_json::from_str(journal.lines().next().unwrap()).unwrap();
    assert_eq!(begin["body"]["begin"]["ticket"], "CHG-7");
    node.run(&["verify"]).exits(0);
}
