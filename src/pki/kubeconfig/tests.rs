//! Reading and splicing, case by case.

use super::*;

const OLD: &[u8] = b"old";
const NEW: &[u8] = b"-----BEGIN X-----\nnew";
const NEW64: &str = "LS0tLS1CRUdJTiBYLS0tLS0KbmV3";

/// As kubeadm writes it, with a comment and a second user.
const PLAIN: &str = "\
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: Y2E=
    server: https://10.0.0.1:6443 # the VIP
  name: kubernetes
contexts:
- context:
    cluster: kubernetes
    user: admin
  name: admin@kubernetes
current-context: admin@kubernetes
kind: Config
preferences: {}
users:
# 中文 comment
- name: admin
  user:
    client-certificate-data: b2xk
    client-key-data: b2xk
- name: other
  user:
    client-certificate-data: b2xk
    client-key-data: b2xk
";

fn parse(text: &str) -> Result<Kubeconfig, String> {
    Kubeconfig::parse(text.as_bytes()).map_err(|error| error.to_string())
}

fn said(text: &str) -> String {
    parse(text).err().unwrap()
}

fn edited(text: &str, edit: &Edit<'_>) -> Result<String, String> {
    let out = parse(text)?
        .splice(edit)
        .map_err(|error| error.to_string())?;
    Ok(String::from_utf8(out.to_vec()).unwrap())
}

const BOTH: Edit<'_> = Edit {
    cert: Some(NewMaterial::Embedded(NEW)),
    key: Some(NewMaterial::Embedded(NEW)),
    ca: None,
};

fn to_file() -> Edit<'static> {
    let path = Path::new("/var/lib/kubelet/pki/current.pem");
    let file = Some(NewMaterial::File(path));
    Edit {
        cert: file,
        key: file,
        ca: None,
    }
}

/// `text` with its first two `b2xk` replaced.
fn first_two(text: &str, with: &str) -> String {
    text.replacen("b2xk", with, 2)
}

#[test]
fn reads_the_current_context() {
    let config = parse(PLAIN).unwrap();
    assert_eq!(config.server.as_deref(), Some("https://10.0.0.1:6443"));
    assert_eq!(
        (config.user.as_str(), config.cluster.as_str()),
        ("admin", "kubernetes")
    );
    assert!(config.key == Material::Embedded(Zeroizing::new(OLD.to_vec())));
    assert!(matches!(config.bearer, Bearer::Absent) && !config.exec);
}

#[test]
fn changes_nothing_but_the_current_users_values() {
    let crlf = PLAIN.replace('\n', "\r\n");
    let single = PLAIN.replace("b2xk", "'b2xk'");
    let double = PLAIN.replace("b2xk", "\"b2xk\"");
    let marked = format!("\u{feff}{PLAIN}");
    let broken = PLAIN.replace("Y2E=", "\"Y2\\\n      E=\"");
    for text in [PLAIN, &crlf, &single, &double, &marked, &broken] {
        assert_eq!(
            edited(text, &BOTH).unwrap(),
            first_two(text, NEW64),
            "{text}"
        );
    }
}

#[test]
fn changes_nothing_if_nothing_is_new() {
    let same = Some(NewMaterial::Embedded(OLD));
    let edit = Edit {
        cert: same,
        key: same,
        ca: Some(NewMaterial::Embedded(b"ca")),
    };
    let block = PLAIN.replacen("b2xk", "|\n      b2xk", 1);
    assert_eq!(edited(&block, &edit).unwrap(), block);
}

#[test]
fn keeps_json_json() {
    let minimal = r#"{"current-context":"c","contexts":[{"name":"c","context":{"cluster":"k","user":"u"}}],"clusters":[{"name":"k","cluster":{}}],"users":[{"name":"u","user":{"client-certificate-data":"b2xk","client-key-data":"b2xk"}}]}"#;
    assert_eq!(edited(minimal, &BOTH).unwrap(), first_two(minimal, NEW64));
    let value: serde_json::Value = serde_json::from_str(minimal).unwrap();
    let pretty = serde_json::to_string_pretty(&value).unwrap();
    for text in [pretty.replace("  ", "\t"), pretty] {
        let edit = Edit {
            ca: Some(NewMaterial::Embedded(NEW)),
            ..to_file()
        };
        let out = edited(&text, &edit).unwrap();
        let out: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(
            out["clusters"][0]["cluster"]["certificate-authority-data"],
            NEW64
        );
        assert_eq!(
            out["users"][0]["user"]["client-key"],
            "/var/lib/kubelet/pki/current.pem"
        );
    }
}

#[test]
fn replaces_block_scalars_by_plain_values() {
    let folded = PLAIN.replacen("b2xk", ">-\n      b2xk\n\n", 1);
    let literal = PLAIN.replacen("b2xk", "| # why\n      b2\n      xk", 2);
    let out = first_two(PLAIN, NEW64);
    assert_eq!(edited(&literal, &BOTH).unwrap(), out);
    let gap = out.replacen(&format!("{NEW64}\n"), &format!("{NEW64}\n\n\n"), 1);
    assert_eq!(edited(&folded, &BOTH).unwrap(), gap);
    let last = PLAIN
        .replace("current-context: admin", "current-context: other")
        .replace("admin@", "other@")
        .replace("user: admin", "user: other");
    let cut = last.rfind("b2xk").unwrap();
    let text = format!("{}|\r\n      b2xk", &last[..cut]);
    assert!(
        edited(&text, &BOTH)
            .unwrap()
            .ends_with(&format!("client-key-data: {NEW64}"))
    );
}

#[test]
fn changes_the_kind_by_renaming_the_key() {
    let files = edited(PLAIN, &to_file()).unwrap();
    assert!(files.contains("    client-key: /var/lib/kubelet/pki/current.pem\n- name: other\n"));
    assert_eq!(edited(&files, &BOTH).unwrap(), first_two(PLAIN, NEW64));
    let odd = Edit {
        key: Some(NewMaterial::File(Path::new("/a b: #'"))),
        ..Edit::default()
    };
    assert!(
        edited(PLAIN, &odd)
            .unwrap()
            .contains("client-key: \"/a b: #'\"\n")
    );
}

#[test]
fn inserts_what_was_absent() {
    let bare = PLAIN.replacen(
        "    client-certificate-data: b2xk\n    client-key-data: b2xk\n",
        "    token: t\n",
        1,
    );
    let expected = bare.replace(
        "    token: t\n",
        &format!(
            "    client-certificate-data: {NEW64}\n    client-key-data: {NEW64}\n    token: t\n"
        ),
    );
    assert_eq!(edited(&bare, &BOTH).unwrap(), expected);
    assert!(!matches!(parse(&bare).unwrap().bearer, Bearer::Absent));
    let crlf = bare.replace('\n', "\r\n");
    assert_eq!(
        edited(&crlf, &BOTH).unwrap(),
        expected.replace('\n', "\r\n")
    );
    let empty = PLAIN.replacen("client-key-data: b2xk", "client-key-data:", 1);
    assert_eq!(edited(&empty, &BOTH).unwrap(), first_two(PLAIN, NEW64));
    let no_value = PLAIN.replacen("client-key-data: b2xk", "client-key-data: \"\"", 1);
    assert!(
        edited(&no_value, &BOTH)
            .unwrap()
            .contains(&format!("client-key-data: \"{NEW64}\""))
    );
}

#[test]
fn inserts_before_a_key_that_is_renamed() {
    let lone = PLAIN.replacen("    client-key-data: b2xk\n", "", 1);
    let path = "/var/lib/kubelet/pki/current.pem";
    let lines = format!("    client-key: {path}\n    client-certificate: {path}\n- name: other");
    assert!(edited(&lone, &to_file()).unwrap().contains(&lines));
}

#[test]
fn silences_embedded_data_where_a_file_is_wanted() {
    let both = PLAIN.replacen(
        "    client-key-data",
        "    client-key: /old\n    client-key-data",
        1,
    );
    assert!(parse(&both).unwrap().key == Material::Embedded(Zeroizing::new(OLD.to_vec())));
    let out = edited(&both, &to_file()).unwrap();
    assert!(
        out.contains(
            "    client-key: /var/lib/kubelet/pki/current.pem\n    client-key-data: \"\"\n"
        )
    );
}

#[test]
fn refuses_what_others_share() {
    let anchored = PLAIN
        .replacen("  user:\n    client-certificate-data: b2xk", "  user: &u\n    client-certificate-data: b2xk", 1)
        .replace("- name: other\n  user:\n    client-certificate-data: b2xk\n    client-key-data: b2xk\n", "- name: other\n  user: *u\n");
    let shared = "cannot be changed: its user is shared by a YAML alias";
    assert_eq!(edited(&anchored, &BOTH).unwrap_err(), shared);
    let swapped = anchored.replace("    user: admin\n", "    user: other\n");
    assert_eq!(edited(&swapped, &BOTH).unwrap_err(), shared);
    let lent = PLAIN.replacen("b2xk", "&k b2xk", 1).replacen(
        "client-key-data: b2xk",
        "client-key-data: *k",
        1,
    );
    assert_eq!(edited(&lent, &BOTH).unwrap_err(), shared);
    let borrowed = PLAIN
        .replace("kind: Config", "kind: Config\nextensions: &k b2xk")
        .replacen("client-key-data: b2xk", "client-key-data: *k", 1);
    let out = edited(&borrowed, &BOTH).unwrap();
    assert!(
        out.contains("extensions: &k b2xk") && out.contains(&format!("client-key-data: {NEW64}"))
    );
}

#[test]
fn says_what_is_wrong_without_quoting_values() {
    assert_eq!(
        Kubeconfig::parse(b"\xff").err(),
        Some(KubeconfigError::NotUtf8)
    );
    assert_eq!(
        Kubeconfig::parse(&vec![b' '; LIMIT + 1]).err(),
        Some(KubeconfigError::TooLarge)
    );
    assert!(said("").contains("document"));
    assert_eq!(said("kind: Config\n"), "has no current-context");
    assert_eq!(
        said(&PLAIN.replace("- name: admin", "- name: \"admi\\e\"")),
        "has no user named `admin`"
    );
    let twice = PLAIN.replace("- name: other", "- name: admin");
    assert_eq!(
        said(&twice),
        "has more than one user named `admin`, which is ambiguous"
    );
    let duplicate = PLAIN.replace("kind: Config", "kind: Config\nkind: Config");
    assert!(
        said(&duplicate).contains("line 14") && said(&duplicate).contains("duplicate"),
        "{}",
        said(&duplicate)
    );
    assert!(said(&PLAIN.replace("kind: Config", "<<: {a: b}")).contains("merge"));
    assert!(said(&format!("{PLAIN}---\na: b\n")).contains("multiple"));
    assert_eq!(
        said(&PLAIN.replace("b2xk", "b2x!")),
        "has broken base64 in client-certificate-data"
    );
    let unfinished = said(&PLAIN.replace("client-key-data: b2xk", "client-key-data: [c2VjcmV0"));
    assert!(
        !unfinished.contains("c2VjcmV0") && !unfinished.contains('\n'),
        "{unfinished}"
    );
}

#[test]
fn stops_alias_bombs_and_deep_nesting() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let below = format!("*a{}", level - 1);
        let line = format!("a{level}: &a{level} [{}]\n", [below.as_str(); 9].join(", "));
        bomb.push_str(&line);
    }
    assert!(said(&bomb).contains("expands beyond"), "{}", said(&bomb));
    assert!(said(&"[".repeat(100_000)).contains("line"));
    let deep: Vec<String> = (0..2000).map(|depth| " ".repeat(depth) + "a:").collect();
    for deep in [deep.join("\n"), "- ".repeat(1_000_000)] {
        assert!(
            said(&deep).contains("nests or expands beyond"),
            "{}",
            said(&deep)
        );
    }
}
