//! Kubeconfigs are edited in place: only the base64 of the credential, and of a wrong CA, changes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::cases;
use crate::harness::Node;

const ADMIN: &str = "/etc/kubernetes/admin.conf";
const CREDENTIAL: [&str; 2] = ["client-certificate-data", "client-key-data"];

#[test]
fn only_the_credential_of_every_real_kubeconfig_changes() {
    cases::each(|case| {
        let old = cases::tree(case, "expired");
        let node = cases::rescued_once(case);
        for leaf in cases::leaves(case)
            .iter()
            .filter(|leaf| leaf.cert.starts_with("/etc/kubernetes/") && leaf.cert == leaf.key)
        {
            let before = std::fs::read(old.join(leaf.cert.trim_start_matches('/'))).unwrap();
            let changed = changed_values(&before, &node.read(leaf.cert), leaf.cert);
            assert_eq!(changed, CREDENTIAL, "{case}: {}", leaf.id);
        }
    });
}

#[test]
fn a_kubelet_conf_that_refers_to_files_stays_as_it_is() {
    let node = cases::rescued_once("p256");
    let before = std::fs::read(cases::tree("p256", "expired").join("etc/kubernetes/kubelet.conf"));
    assert_eq!(node.read("/etc/kubernetes/kubelet.conf"), before.unwrap());
}

#[test]
fn comments_stay() {
    let edit = |text: String| {
        let text = text.replace(
            "kind: Config\n",
            "kind: Config   # kind: what else\n\n# users:\n",
        );
        let text = text.replace(
            "    client-key-data:",
            "    # the key: secret\n    client-key-data:",
        );
        format!(
            "# made by hand, do not edit\n---\n{}# the end",
            comment_behind_values(&text)
        )
    };
    assert_eq!(edited_admin(edit), CREDENTIAL);
}

#[test]
fn quotes_stay() {
    let quoted = |text: String, quote: char| {
        let quote_value = |line: &str| match line.split_once("-data: ") {
            Some((field, value)) => format!("{field}-data: {quote}{value}{quote}\n"),
            None => format!("{line}\n"),
        };
        text.lines().map(quote_value).collect::<String>()
    };
    assert_eq!(edited_admin(|text| quoted(text, '"')), CREDENTIAL);
    assert_eq!(edited_admin(|text| quoted(text, '\'')), CREDENTIAL);
}

#[test]
fn the_order_of_keys_stays() {
    let swap = |text: String| {
        let mut lines: Vec<&str> = text.lines().collect();
        let cert = lines
            .iter()
            .position(|line| line.contains("client-certificate-data"))
            .unwrap();
        lines.swap(cert, cert + 1);
        let users = lines.iter().position(|line| *line == "users:").unwrap();
        lines.rotate_left(users);
        lines.join("\n") + "\n"
    };
    assert_eq!(
        edited_admin(swap),
        ["client-key-data", "client-certificate-data"]
    );
}

#[test]
fn crlf_and_byte_order_mark_and_a_missing_last_newline_stay() {
    assert_eq!(edited_admin(|text| text.replace('\n', "\r\n")), CREDENTIAL);
    assert_eq!(edited_admin(|text| format!("\u{feff}{text}")), CREDENTIAL);
    assert_eq!(edited_admin(|text| text.trim_end().to_owned()), CREDENTIAL);
}

#[test]
fn a_flow_mapping_on_one_line_stays_one() {
    let flow = |text: String| {
        let (head, user) = text.split_once("  user:\n").unwrap();
        let values: Vec<&str> = user.lines().map(str::trim).collect();
        format!("{head}  user: {{ {} }}\n", values.join(", "))
    };
    let node = admin_as(flow);
    let before = node.read(ADMIN);
    node.run(&["run", "--yes", "--only", "admin.conf"]).exits(0);
    judged_good(&node);
    let shape = |bytes: &[u8]| {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let word = |word: &str| {
            if word.len() > 300 {
                "DATA".to_owned()
            } else {
                word.to_owned()
            }
        };
        text.split(' ').map(word).collect::<Vec<_>>().join(" ")
    };
    // The CA's data are long words, too, but they are compared by the count of `DATA`.
    assert_eq!(shape(&node.read(ADMIN)), shape(&before));
    assert_ne!(node.read(ADMIN), before);
}

#[test]
fn another_user_and_another_context_stay_untouched() {
    let more = |text: String| {
        let user = text[text.find("- name: kubernetes-admin\n").unwrap()..].to_owned();
        let other = user.replace("kubernetes-admin", "somebody-else");
        let token = "- name: robot\n  user:\n    token: abc.def\n";
        let context = "contexts:\n- context:\n    cluster: kubernetes\n    user: somebody-else\n  name: other\n";
        let text = text.replace("contexts:\n", context);
        text.replace("users:\n", &format!("users:\n{other}{token}"))
    };
    // `changed_values` sees four credential lines, of which the first two, somebody else's, stay.
    assert_eq!(edited_admin(more), CREDENTIAL);
}

#[test]
fn a_foreign_ca_is_replaced_and_one_in_another_form_is_not() {
    let foreign = STANDARD.encode(cases::pem(
        &cases::tree("p384", "expired"),
        "/etc/kubernetes/pki/ca.crt",
        "",
    ));
    let changed = edited_admin(|text| with_ca(&text, &foreign));
    assert_eq!(
        changed,
        ["certificate-authority-data", CREDENTIAL[0], CREDENTIAL[1]]
    );
    let own = cases::pem(
        &cases::tree("p256", "expired"),
        "/etc/kubernetes/pki/ca.crt",
        "",
    );
    let other_form = format!(
        "# ours\r\n{}",
        String::from_utf8(own).unwrap().replace('\n', "\r\n")
    );
    let changed = edited_admin(|text| with_ca(&text, &STANDARD.encode(&other_form)));
    assert_eq!(changed, CREDENTIAL);
}

/// The p256 case with another admin.conf.
fn admin_as(edit: impl FnOnce(String) -> String) -> Node {
    let node = Node::real("p256", "expired");
    let text = String::from_utf8(node.read(ADMIN)).unwrap();
    node.write(ADMIN, edit(text));
    node
}

/// Rescues an admin.conf that somebody edited; returns the fields whose values differ.
#[track_caller]
fn edited_admin(edit: impl FnOnce(String) -> String) -> Vec<String> {
    let node = admin_as(edit);
    let before = node.read(ADMIN);
    node.run(&["run", "--yes", "--only", "admin.conf"]).exits(0);
    judged_good(&node);
    changed_values(&before, &node.read(ADMIN), ADMIN)
}

/// What client-go makes of it.
#[track_caller]
fn judged_good(node: &Node) {
    let ca = node.path("/etc/kubernetes/pki/ca.crt");
    let file = node.path(ADMIN);
    cases::judge(&[
        "kubeconfig",
        file.to_str().unwrap(),
        "-ca",
        ca.to_str().unwrap(),
    ])
    .exits(0);
}

fn with_ca(text: &str, data: &str) -> String {
    let replace = |line: &str| match line.split_once("certificate-authority-data: ") {
        Some((indent, _)) => format!("{indent}certificate-authority-data: {data}\n"),
        None => format!("{line}\n"),
    };
    text.lines().map(replace).collect()
}

fn comment_behind_values(text: &str) -> String {
    let with_comment = |line: &str| {
        let comment = if line.contains("-data:") {
            " # keep: 'me\""
        } else {
            ""
        };
        format!("{line}{comment}\n")
    };
    text.lines().map(with_comment).collect()
}

/// The fields whose base64 differs, line by line; anything else that differs is a failure.
#[track_caller]
fn changed_values(before: &[u8], after: &[u8], name: &str) -> Vec<String> {
    let lines = |bytes: &[u8]| -> Vec<String> {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        text.split_inclusive('\n').map(str::to_owned).collect()
    };
    let (before, after) = (lines(before), lines(after));
    assert_eq!(
        before.len(),
        after.len(),
        "{name} has another number of lines"
    );
    let mut changed = Vec::new();
    for (old, new) in before.iter().zip(&after).filter(|(old, new)| old != new) {
        let (old, new) = (around_value(old), around_value(new));
        assert_eq!(old, new, "{name}");
        changed.push(
            old[0]
                .trim()
                .trim_end_matches([':', ' ', '"', '\''])
                .to_owned(),
        );
    }
    changed
}

/// What stands before and behind the base64 on a line.
fn around_value(line: &str) -> [&str; 2] {
    let start = line
        .find("-data: ")
        .map_or(line.len(), |at| at + "-data: ".len());
    let start = start + line[start..].len() - line[start..].trim_start_matches(['"', '\'']).len();
    let base64 = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
    let end = start
        + line[start..]
            .find(|c| !base64(c))
            .unwrap_or(line.len() - start);
    [&line[..start], &line[end..]]
}
