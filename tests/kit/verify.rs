//! What `kit verify` says of a kit that is damaged, of another, or signed by somebody else.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use super::Bench;
use crate::harness::{BINARY, other, run};

#[test]
fn a_kit_of_the_running_binary_checks_itself_where_it_lies() {
    let bench = Bench::new();
    let (kit, key) = (bench.text("kit"), bench.text("key"));
    let built = run(
        &[
            "kit",
            "build",
            "--out",
            &kit,
            "--sign-key",
            &key,
            "--output",
            "json",
        ],
        &[],
    );
    let built = built.exits(0).json();
    assert_eq!(built["changed"], true);
    let binary = bench.path("kit/rescue-kit");
    assert_eq!(fs::read(&binary).unwrap(), fs::read(BINARY).unwrap());
    let ran = other(&binary, &["kit", "verify"], Path::new("/")).exits(0);
    let ran = ran.prints(&format!("signed by {}", built["signer"].as_str().unwrap()));
    ran.prints("the kit's own and proves no origin")
        .prints("this program is the kit's");
    // What was copied from the stick to the node checks the stick.
    let install = bench.path("kit/scripts/install.sh");
    let words = [install.to_str().unwrap(), &bench.text("bin")];
    let ran = other("sh", &words, Path::new("/")).exits(0);
    ran.prints("this program is the kit's")
        .prints(&format!("next    type: {}/rescue-kit", bench.text("bin")));
    assert_eq!(
        fs::metadata(bench.path("bin/rescue-kit")).unwrap().mode() & 0o777,
        0o755
    );
    let words = ["kit", "verify", &kit, "--signer", &bench.text("key.pub")];
    other(bench.path("bin/rescue-kit"), &words, Path::new("/"))
        .exits(0)
        .prints("that is the expected signer");
    let mut bytes = fs::read(&binary).unwrap();
    bytes[4096] ^= 1;
    fs::write(&binary, bytes).unwrap();
    let words = [install.to_str().unwrap(), &bench.text("bin")];
    other("sh", &words, Path::new("/"))
        .exits(1)
        .says("take another stick");
    other(
        bench.path("bin/rescue-kit"),
        &["kit", "verify", &kit],
        Path::new("/"),
    )
    .exits(3);
}

#[test]
fn what_is_damaged_missing_or_more_is_named() {
    let bench = Bench::new();
    let kit = bench.signed("kit");
    bench
        .verify("kit", &[])
        .exits(0)
        .prints("this program is another than the kit's");
    fs::write(kit.join("w1.csr"), "").unwrap();
    fs::create_dir(kit.join("System Volume Information")).unwrap();
    fs::write(kit.join("man/more.1"), "").unwrap();
    let ran = bench
        .verify("kit", &[])
        .exits(0)
        .prints("besides: System Volume Information/");
    ran.prints("besides: man/more.1").prints("besides: w1.csr");
    let mut page = fs::read(kit.join("runbook/ca.txt")).unwrap();
    page[100] ^= 1;
    fs::write(kit.join("runbook/ca.txt"), page).unwrap();
    fs::write(kit.join("rescue-kit.md"), "").unwrap();
    fs::remove_file(kit.join("profiles/kubeadm.toml")).unwrap();
    fs::rename(kit.join("README.txt"), kit.join("moved")).unwrap();
    symlink("moved", kit.join("README.txt")).unwrap();
    let found = bench.verify("kit", &["--output", "json"]).exits(3).json();
    assert_eq!(found["schema"], "rescue-kit/kit/v1");
    assert_eq!(found["intact"], false);
    let faults = found["faults"].as_array().unwrap();
    let name = |index: usize| faults[index]["name"].as_str().unwrap();
    assert_eq!(faults.len(), 4, "{faults:?}");
    assert_eq!(
        [name(0), name(1), name(2), name(3)],
        [
            "README.txt",
            "profiles/kubeadm.toml",
            "rescue-kit.md",
            "runbook/ca.txt"
        ]
    );
    assert_eq!(faults[1]["what"], "is missing");
    assert_eq!(
        faults[2]["what"],
        "is not what the list says; it has 0 bytes"
    );
    bench
        .verify("kit", &[])
        .exits(3)
        .prints("profiles/kubeadm.toml is missing");
    bench.verify("nothing", &[]).exits(5);
    fs::create_dir(bench.path("nothing")).unwrap();
    bench.verify("nothing", &[]).exits(3).says("holds no kit");
}

#[test]
fn only_the_named_key_proves_where_a_kit_is_from() {
    let bench = Bench::new();
    let kit = bench.signed("kit");
    bench.key("other");
    let pem = bench.text("kit/signer.pub");
    for good in [bench.text("key.pub"), pem] {
        let ran = bench.verify("kit", &["--signer", &good]).exits(0);
        ran.prints("that is the expected signer");
    }
    bench
        .verify("kit", &["--signer", &bench.text("other.pub")])
        .exits(3)
        .prints("that is NOT the expected signer");
    bench
        .verify("kit", &["--signer", &bench.text("program")])
        .exits(5)
        .says("has no key");
    // Whoever changes a file and its checksum cannot sign that.
    fs::write(kit.join("scripts/nodes.sh"), "rm -rf /\n").unwrap();
    let sums = other(
        "sh",
        &["-c", "cut -d' ' -f3- SHA256SUMS | xargs sha256sum"],
        &kit,
    )
    .exits(0)
    .stdout;
    fs::write(kit.join("SHA256SUMS"), sums).unwrap();
    other("sha256sum", &["--quiet", "-c", "SHA256SUMS"], &kit).exits(0);
    bench
        .verify("kit", &[])
        .exits(3)
        .prints("the signature does not fit SHA256SUMS");
    for name in [
        "SHA256SUMS.sig",
        "SHA256SUMS.sshsig",
        "allowed_signers",
        "signer.pub",
    ] {
        fs::remove_file(kit.join(name)).unwrap();
    }
    bench
        .verify("kit", &[])
        .exits(0)
        .prints("not signed: who changes a file");
    bench
        .verify("kit", &["--signer", &bench.text("key.pub")])
        .exits(3)
        .prints("SHA256SUMS is not signed");
}
