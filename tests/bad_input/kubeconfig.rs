//! Kubeconfigs that mean several things, or try to exhaust whoever reads them.

use crate::harness::Node;
use crate::means::refused;

const CONF: &str = "/etc/kubernetes/scheduler.conf";

fn text(node: &Node) -> String {
    String::from_utf8(node.read(CONF)).unwrap()
}

/// Asserts that the kubeconfig is refused, in words that are no YAML library's own.
fn is_refused(node: &Node, why: &str) {
    let ran = refused(
        node,
        &["run", "--yes"],
        5,
        &format!("scheduler.conf ({CONF}) {why}"),
    )
    .says(&format!(
        "mend or move {CONF} away, or leave it out: --skip scheduler.conf"
    ));
    for jargon in ["DuplicateKeyPolicy", "Options", "{", "breached"] {
        assert!(
            !ran.stderr.contains(jargon),
            "`{jargon}` in:\n{}",
            ran.stderr
        );
    }
}

#[test]
fn a_duplicate_key_is_refused_with_its_line() {
    let node = Node::real("p256", "expired");
    let twice = format!("{}kind: Config\n", text(&node));
    let line = twice.lines().count();
    node.write(CONF, twice);
    is_refused(
        &node,
        &format!("is not a valid kubeconfig: line {line}: duplicate mapping key"),
    );
}

#[test]
fn an_alias_bomb_is_refused_quickly() {
    let node = Node::real("p256", "expired");
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    let mut last = 'a';
    for name in 'b'..='l' {
        let refs = format!("*{last}, ").repeat(9);
        let line = format!("{name}: &{name} [{}]\n", refs.trim_end_matches(", "));
        bomb.push_str(&line);
        last = name;
    }
    node.write(CONF, bomb + &text(&node));
    is_refused(&node, "is not a valid kubeconfig: line");
}

#[test]
fn two_users_of_one_name_are_refused() {
    let node = Node::real("p256", "expired");
    let old = text(&node);
    let users = old.split_once("users:\n").unwrap().1.to_owned();
    node.write(CONF, old + &users);
    is_refused(
        &node,
        "has more than one user named `system:kube-scheduler`, which is ambiguous",
    );
}

#[test]
fn two_contexts_of_one_name_are_refused() {
    let node = Node::real("p256", "expired");
    let old = text(&node);
    let (head, rest) = old.split_once("contexts:\n").unwrap();
    let (contexts, tail) = rest.split_once("current-context").unwrap();
    node.write(
        CONF,
        format!("{head}contexts:\n{contexts}{contexts}current-context{tail}"),
    );
    is_refused(
        &node,
        "has more than one context named `system:kube-scheduler@kubernetes`, which is ambiguous",
    );
}

#[test]
fn a_current_context_that_is_not_there_is_refused() {
    let node = Node::real("p256", "expired");
    let old = text(&node);
    let new = old.replace(
        "current-context: system:kube-scheduler@kubernetes",
        "current-context: gone",
    );
    assert_ne!(new, old);
    node.write(CONF, new);
    is_refused(&node, "has no context named `gone`");
}

#[test]
fn two_documents_in_one_file_are_refused() {
    let node = Node::real("p256", "expired");
    let twice = format!("{0}---\n{0}", text(&node));
    node.write(CONF, twice);
    is_refused(&node, "is not a valid kubeconfig");
}
