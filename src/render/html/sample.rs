//! One rescue as values, for the tests of every view. What comes from files is hostile.

use std::collections::BTreeMap;

use crate::crypto::{self, Signer};
use crate::facts::{Fact, Facts};
use crate::finding::{Code, Finding, Severity};
use crate::inventory::{
    AuthorityState, ClockFacts, CredentialState, Found, FoundKind, Inventory, KeyFacts, Node,
    Placement, Scope,
};
use crate::issue::{self, Authority};
use crate::journal::{self, Begin, Body, Evidence, Issued, Record, Verdict, Way};
use crate::pki::cert::Cert;
use crate::pki::csr::Usage;
use crate::pki::digest::Digest;
use crate::pki::key::{KeyAlgorithm, KeyForm, PrivateKey};
use crate::pki::name::{Attribute, Name};
use crate::pki::utc::Utc;
use crate::place::{FileTime, Meta, Observed, Place, Version};
use crate::plan::step::{
    Commit, KeyPlan, MetaPlan, Origin, Phases, Recipe, Remaining, Slot, Source, Stage,
};
use crate::plan::{self, Plan, Purpose};
use crate::verification::{Check, Outcome, Verification};

use super::ReportView;

/// Markup and quotes as an attacker would write them.
pub(crate) const HOSTILE: &str = "<script>alert('x')</script>\"&\u{1b}[31m\u{202e}";

/// When everything is judged.
pub(crate) fn now() -> Utc {
    Utc::parse("2026-11-22T08:15:43Z").unwrap()
}

/// A rescue of one certificate.
pub(crate) struct Sample {
    pub(crate) begin: Begin,
    pub(crate) records: Vec<Record>,
    pub(crate) plan: Plan,
    pub(crate) before: Inventory,
    pub(crate) after: Inventory,
    pub(crate) findings: Vec<Finding>,
    pub(crate) verification: Verification,
}

impl Sample {
    /// Makes one, with new keys.
    pub(crate) fn new() -> Self {
        let (authority, key) = authority();
        let old = leaf(&authority, now().plus(-400 * Utc::DAY));
        let new = leaf(&authority, now());
        let before = inventory(&authority, &key, &old);
        let after = inventory(&authority, &key, &new);
        let plan = plan(&before, &old);
        let begin = begin(&plan);
        let records = records(&begin, &new, &old);
        let check = |name: &str, outcome| Check {
            name: name.to_owned(),
            subject: "apiserver".to_owned(),
            outcome,
        };
        let served = Outcome::Unchecked("can only be seen on the running node".to_owned());
        let checks = vec![check("pair", Outcome::Pass), check("served", served)];
        let verification = Verification {
            scope: Scope::Files,
            at: now(),
            checks,
        };
        let findings = vec![Finding {
            code: Code::Expired,
            severity: Severity::Critical,
            subject: "apiserver".to_owned(),
            text: format!("apiserver expired; has no certificate, only EC PRIVATE KEY {HOSTILE}"),
            hint: "rescue-kit plan".to_owned(),
        }];
        Self {
            begin,
            records,
            plan,
            before,
            after,
            findings,
            verification,
        }
    }

    /// The view of the finished run.
    pub(crate) fn view(&self) -> ReportView<'_> {
        ReportView {
            begin: &self.begin,
            records: &self.records,
            plan: &self.plan,
            before: &self.before,
            after: Some(&self.after),
            findings: &self.findings,
            cause: Some("apiserver expired 35 days ago"),
            verification: Some(&self.verification),
            left: &[],
        }
    }
}

fn key() -> PrivateKey {
    crypto::generate(&KeyAlgorithm::EcdsaP256, KeyForm::Sec1).unwrap()
}

fn name(cn: &str) -> Name {
    Name::build(&[(Attribute::CommonName, cn.to_owned())]).unwrap()
}

fn authority() -> (Authority, PrivateKey) {
    let (key, begin) = (key(), now().plus(-400 * Utc::DAY));
    let end = begin.plus(3650 * Utc::DAY);
    let cert = issue::new_authority(&name("kubernetes"), &key, begin, end, None).unwrap();
    (Authority::load(cert, Vec::new(), &key).unwrap(), key)
}

fn leaf(authority: &Authority, begin: Utc) -> Cert {
    let usages = [Usage::DigitalSignature, Usage::ServerAuth];
    let template = issue::prototype(&name("kube-apiserver"), &usages, &[]).unwrap();
    let spki = Signer::load(&key()).unwrap().spki().to_vec();
    let end = begin.plus(365 * Utc::DAY);
    issue::reissue(&template, authority, &spki, begin, end, None, &[]).unwrap()
}

fn inventory(authority: &Authority, key: &PrivateKey, leaf: &Cert) -> Inventory {
    let facts = |public: &[u8], key: &PrivateKey| KeyFacts {
        algorithm: KeyAlgorithm::EcdsaP256,
        form: key.form(),
        public: Digest::of(public),
    };
    let pki = |file: &str| format!("/etc/kubernetes/pki/{file}").into();
    let credential = CredentialState {
        shares: None,
        id: "apiserver".to_owned(),
        signer: "ca".to_owned(),
        placement: Placement::Pair {
            cert: pki("apiserver.crt"),
            key: pki("apiserver.key"),
        },
        chain: Observed::Present(vec![leaf.clone()]),
        key: Observed::Present(facts(leaf.public_bits(), key)),
        signed: Observed::Present(true),
        anchor: None,
        wanted: Vec::new(),
        unresolved: Vec::new(),
        advised: Vec::new(),
        kubeconfig: None,
        taken: Vec::new(),
        optional: false,
        external: false,
    };
    Inventory {
        profile: "kubeadm".to_owned(),
        node: Node {
            name: Some(Fact {
                value: "cp1".to_owned(),
                why: "etc/hostname".to_owned(),
            }),
            id: Digest::of(b"node"),
        },
        scope: Scope::Files,
        at: now(),
        clock: ClockFacts {
            system: now(),
            stated: None,
            witnesses: Vec::new(),
            hardware: None,
        },
        facts: Facts::default(),
        objects: BTreeMap::new(),
        owner: None,
        authorities: vec![AuthorityState {
            copies: Vec::new(),
            aliases: Vec::new(),
            id: "ca".to_owned(),
            cert_path: pki("ca.crt"),
            key_path: pki("ca.key"),
            chain: Observed::Present(vec![authority.cert.clone()]),
            key: Observed::Present(facts(authority.cert.public_bits(), key)),
            external: false,
        }],
        credentials: vec![credential],
        key_pairs: Vec::new(),
        live: None,
        found: vec![Found {
            path: format!("/etc/kubernetes/\\\"\n{HOSTILE}.crt").into(),
            kind: FoundKind::Certificate,
            chain: Observed::Unknown("is empty".to_owned()),
            meta: None,
        }],
    }
}

fn version(content: &[u8]) -> Observed<Version> {
    let at = FileTime {
        seconds: 0,
        nanos: 0,
    };
    let meta = Meta {
        mode: 0o644,
        uid: 0,
        gid: 0,
        label: None,
        atime: at,
        mtime: at,
    };
    let (sha256, size) = (Digest::of(content), content.len() as u64);
    Observed::Present(Version {
        sha256,
        size,
        link: None,
        directory: false,
        meta,
    })
}

fn plan(before: &Inventory, old: &Cert) -> Plan {
    let stage = Stage {
        id: "s01".to_owned(),
        credential: "apiserver".to_owned(),
        recipe: Recipe {
            issuer: "ca".to_owned(),
            origin: Origin::Old(Box::new(old.clone())),
            given: Vec::new(),
            add: Vec::new(),
            names: Vec::new(),
            key: KeyPlan::New {
                algorithm: KeyAlgorithm::EcdsaP256,
                form: KeyForm::Sec1,
            },
            not_before: now(),
            not_after: now().plus(365 * Utc::DAY),
            capped: true,
            chain: false,
        },
        why: vec!["expired 35 days ago (2026-10-18)".to_owned()],
    };
    let commit = |id: &str, file: &str| Commit {
        id: id.to_owned(),
        credential: "apiserver".to_owned(),
        at: Place::File(format!("/etc/kubernetes/pki/{file}").into()),
        expect: version(b"old"),
        parts: vec![(Slot::Cert, Source::Staged("s01".to_owned()))],
        meta: MetaPlan::Keep,
        why: "new certificate".to_owned(),
    };
    Plan {
        format: plan::FORMAT,
        purpose: Purpose::Rescue,
        profile: "kubeadm".to_owned(),
        node: before.node.clone(),
        inventory: Digest::of(b"inventory"),
        at: now(),
        phases: Phases {
            hold: Vec::new(),
            stage: vec![stage],
            commit: vec![
                commit("c01", "apiserver.key"),
                commit("c02", "apiserver.crt"),
            ],
            converge: Vec::new(),
        },
        directories: BTreeMap::new(),
        downtime_seconds: 0,
        remaining: vec![Remaining {
            consumer: "kubelet".to_owned(),
            command: Some("systemctl restart kubelet && true".to_owned()),
            why: "reads kubelet.conf only when it starts".to_owned(),
        }],
    }
}

fn begin(plan: &Plan) -> Begin {
    Begin {
        run: "20261122T081543Z-1f2e3d".to_owned(),
        plan: Digest::of(&plan.to_json()),
        version: "0.1.0".to_owned(),
        binary: None,
        operator: HOSTILE.to_owned(),
        ticket: Some("OPS-1\nX".to_owned()),
        reason: None,
        command: vec!["rescue-kit".to_owned(), "run".to_owned()],
        directories: BTreeMap::new(),
        baseline: Vec::new(),
        made: Vec::new(),
    }
}

fn records(begin: &Begin, new: &Cert, old: &Cert) -> Vec<Record> {
    let issued = Issued {
        credential: "apiserver".to_owned(),
        subject: new.subject.to_string(),
        issuer: new.issuer.to_string(),
        serial: new.serial_hex(),
        not_before: new.not_before,
        not_after: new.not_after,
        key: new.key.clone(),
        public: Digest::of(new.public_bits()),
        sha256: new.sha256(),
        replaces: Some(old.sha256()),
    };
    let intent = |step: &str, before| Body::Intent {
        step: step.to_owned(),
        way: Way::Forward,
        before,
        temp: String::new(),
    };
    let done = |step: &str, evidence| Body::Outcome {
        step: step.to_owned(),
        way: Way::Forward,
        result: Ok(evidence),
    };
    let contents = ["c01", "c02"].map(|id| (id.to_owned(), Some(Digest::of(b"new"))));
    let backup = Body::Backup {
        path: "backup.tar.gz".to_owned(),
        sha256: Digest::of(b"b"),
        files: 49,
    };
    let bodies = vec![
        Body::Begin(Box::new(begin.clone())),
        backup,
        intent("s01", Observed::Absent),
        done("s01", Evidence::Issued(Box::new(issued))),
        Body::Staged {
            contents: contents.into(),
        },
        intent("c01", version(b"old")),
        done("c01", Evidence::Placed(version(b"new"))),
        intent("c02", version(b"old")),
        done("c02", Evidence::Placed(version(b"new"))),
        Body::End(Verdict::Done),
    ];
    let numbered = (0u64..).zip(bodies).map(|(seq, body)| Record {
        format: journal::FORMAT,
        seq,
        prev: Digest::of(b""),
        at: now(),
        elapsed_ms: 10 + seq * 7,
        body,
    });
    numbered.collect()
}
