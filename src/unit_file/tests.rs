use super::*;

fn flags(texts: &[&str], files: &[&str]) -> Vec<String> {
    let texts: Vec<&[u8]> = texts.iter().map(|text| text.as_bytes()).collect();
    let files: Vec<&[u8]> = files.iter().map(|text| text.as_bytes()).collect();
    let flags = Service::read("etcd", &texts).flags(&files, "cp1.example");
    let flags = flags.into_iter();
    flags
        .map(|(name, value)| format!("{name}={value}"))
        .collect()
}

#[test]
fn joins_continued_lines_around_comments() {
    let unit = "[Unit]\nExecStart=/no\n[Service]\nExecStart=/usr/bin/etcd \\\n  --name=cp1 \\\n# not this\n; nor this\n  --v 2 \\\n\n--last\n";
    assert_eq!(flags(&[unit], &[]), ["name=cp1", "v=2"]);
}

#[test]
fn takes_the_command_behind_any_prefix() {
    for prefix in ["-", "@", "+", "!!", "-@"] {
        let unit = format!("[Service]\nExecStart = {prefix}/usr/bin/etcd --a=b\n");
        assert_eq!(flags(&[&unit], &[]), ["a=b"], "{prefix}");
    }
    let literal = "[Service]\nEnvironment=A=b\nExecStart=:/usr/bin/etcd --a=${A}\n";
    assert_eq!(flags(&[literal], &[]), ["a=${A}"]);
}

#[test]
fn a_drop_in_replaces_or_resets_the_command() {
    let unit = "[Service]\nEnvironment=A=1 B=2\nExecStart=/usr/bin/etcd --a=${A}\n";
    let over =
        "[Service]\nExecStart=\nExecStart=/usr/bin/etcd --b=${B} --a=${A}\nEnvironment=A=3\n";
    assert_eq!(flags(&[unit, over], &[]), ["b=2", "a=3"]);
    let gone = "[Service]\nExecStart=\nEnvironment=\n";
    assert_eq!(flags(&[unit, gone], &[]), Vec::<String>::new());
}

#[test]
fn quotes_and_escapes_are_taken_as_systemd_takes_them() {
    let unit = "[Service]\nExecStart=\"/usr/bin/etcd\" '--a=b c' --d=\"e f\" --g=h\\x20i\\sj \"--k=l\\\"m\" --n='$x'\n";
    assert_eq!(
        flags(&[unit], &[]),
        ["a=b c", "d=e f", "g=h i j", "k=l\"m", "n=$x"]
    );
}

#[test]
fn variables_come_from_files_before_the_unit() {
    let unit = "[Service]\nEnvironment=\"A=from the unit\" B=b\nEnvironmentFile=-/etc/x\nExecStart=/x --a=${A} $ARGS $NONE --b=${B}${NONE}$$\n";
    let file = "# c\nA='from the file'\nARGS=\"--one=1 --two \\\n  --three=3\"\n";
    assert_eq!(
        flags(&[unit], &[file]),
        ["a=from the file", "one=1", "two=true", "three=3", "b=b$"]
    );
    assert_eq!(
        Service::read("x", &[unit.as_bytes()]).environment_files,
        ["/etc/x"]
    );
}

#[test]
fn etcd_takes_flags_from_its_environment() {
    let unit = "[Service]\nExecStart=/opt/etcd/bin/etcd --name=cp1\n";
    let file = "ETCD_NAME=other\nETCD_CERT_FILE=/etc/ssl/etcd/member.pem\nPATH=/bin\n";
    assert_eq!(
        flags(&[unit], &[file]),
        ["name=cp1", "cert-file=/etc/ssl/etcd/member.pem"]
    );
}

#[test]
fn relative_paths_are_those_of_the_working_directory() {
    let unit = "[Service]\nWorkingDirectory=-/var/lib/kubernetes/\nExecStart=/x --kubeconfig=./a.kubeconfig --tls-cert-file b.pem --range=10.0.0.0/8 --etcd-servers=https://e:1 --kubeconfig=/c\n";
    assert_eq!(
        flags(&[unit], &[]),
        [
            "kubeconfig=/var/lib/kubernetes/a.kubeconfig",
            "tls-cert-file=/var/lib/kubernetes/b.pem",
            "range=10.0.0.0/8",
            "etcd-servers=https://e:1",
            "kubeconfig=/c"
        ]
    );
}

#[test]
fn looks_into_a_shell_that_only_starts_the_program() {
    let unit = "[Service]\nEnvironment=ARGS=--b=2\nExecStart=/bin/bash -ec 'exec /usr/bin/etcd --a=1 $ARGS --c=${ARGS}'\n";
    assert_eq!(flags(&[unit], &[]), ["a=1", "b=2", "c=--b=2"]);
}

#[test]
fn specifiers_are_filled_in() {
    let unit = "[Service]\nExecStart=/x --a=%n --b=%N --c=%H --d=%l --e=100%% --f=%i --g=%\n";
    let expected = [
        "a=etcd.service",
        "b=etcd",
        "c=cp1.example",
        "d=cp1",
        "e=100%",
        "f=%i",
        "g=%",
    ];
    assert_eq!(flags(&[unit], &[]), expected);
}

#[test]
fn reads_the_command_line_of_a_process() {
    let service = Service::read("kubelet", &[]);
    let flags = service.running(b"/usr/bin/kubelet\0--config=/a\0--v\x002\0");
    assert_eq!(
        flags,
        [
            ("config".to_owned(), "/a".to_owned()),
            ("v".to_owned(), "2".to_owned())
        ]
    );
}

#[test]
fn hostile_text_is_read_to_its_end_and_costs_little() {
    let long = format!("[Service]\nExecStart=/x {}\n", "--a ".repeat(1 << 20));
    assert!(flags(&[&long], &[]).len() < MAX_WORDS);
    for text in [
        "\\",
        "[Service",
        "[Service]\nExecStart=\\",
        "[Service]\nExecStart=\"",
        "[Service]\nExecStart='\\x",
        "[Service]\nExecStart=${",
        "[Service]\nExecStart=/x $",
        "[Service]\nExecStart=@-:",
        "[Service]\n=\n==\nExecStart",
        "[Service]\nEnvironment=A=$A${A}\nExecStart=/x $A ${A}",
        "\u{feff}[Service]\r\nExecStart=/x\r\n",
    ] {
        flags(&[text], &[text]);
    }
    let binary: Vec<u8> = (0..=255).collect();
    Service::read("x", &[&binary]).flags(&[&binary], "");
}
