//! Whatever fails or dies, and whenever: what worked goes on working, files are old or new, and the way out is one command.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::control_plane::{BINARY, ControlPlane};
use crate::expired::{assert_nothing_to_do, expire_due};

/// What works, as others see it.
fn working(lab: &ControlPlane) -> BTreeSet<String> {
    let mut works: BTreeSet<String> = lab.containers("cp1").into_keys().collect();
    let mut note = |what: &str, code: i32| {
        if code == 0 {
            works.insert(what.to_owned());
        }
    };
    note(
        "readyz",
        lab.kubectl("cp1", &["get", "--raw", "/readyz"]).code,
    );
    let write = ["annotate", "node", "cp1", "--overwrite", "lab/write=1"];
    note("write", lab.kubectl("cp1", &write).code);
    note("member", lab.etcdctl("cp1", &["endpoint", "health"]).code);
    note(
        "kubelet",
        lab.exec("cp1", &["systemctl", "is-active", "kubelet"]).code,
    );
    for port in ["2379", "6443", "10250", "10257", "10259"] {
        note(port, i32::from(!lab.listens("cp1", port)));
    }
    works
}

/// The id of the first step of a plan that does this to this process.
fn step(plan: &serde_json::Value, who: &str, act: &str) -> String {
    let phases = &plan["plan"]["phases"];
    let mut steps = phases["converge"].as_array().unwrap().iter();
    let is = |step: &&serde_json::Value| {
        let does = &step["act"];
        step["who"] == who && (does == act || does.get(act).is_some())
    };
    let found = steps
        .find(is)
        .unwrap_or_else(|| panic!("{who} {act}: {plan:#}"));
    found["id"].as_str().unwrap().to_owned()
}

/// Asserts that nothing that worked before is broken now. A controller that lost its lease on a busy machine is started
/// again by the kubelet within a minute.
#[track_caller]
fn assert_no_worse(before: &BTreeSet<String>, lab: &ControlPlane, after: &str) {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let now = working(lab);
        let lost: Vec<_> = before.difference(&now).collect();
        if lost.is_empty() {
            return;
        }
        assert!(Instant::now() < end, "{lost:?} do not work after {after}");
    }
}

/// The files are those before the run.
#[track_caller]
fn assert_old(before: &BTreeMap<String, String>, lab: &ControlPlane) {
    let now = lab.listing("cp1");
    let paths = before.keys().chain(now.keys());
    let differ: BTreeSet<_> = paths
        .filter(|path| before.get(*path) != now.get(*path))
        .collect();
    assert!(differ.is_empty(), "{differ:#?}");
}

#[test]
fn n_a_cluster_that_works_goes_on_working_whatever_fails() {
    let lab = ControlPlane::one();
    expire_due(&lab);
    let (files, works) = (lab.listing("cp1"), working(&lab));
    let (_, plan) = lab.json("cp1", &["plan"]);
    for (point, code) in [
        ("act:h01:forward".to_owned(), 6),
        ("act:c05:forward".to_owned(), 6),
        (
            format!("act:{}:forward", step(&plan, "kube-scheduler", "stop")),
            6,
        ),
        (format!("act:{}:forward", step(&plan, "node", "settle")), 7),
    ] {
        let failed = lab.faulty("cp1", &format!("{point}=error"), &["run", "--yes"]);
        assert_eq!(failed.code, code, "{point}: {failed:?}");
        assert_no_worse(&works, &lab, &point);
        if code == 7 {
            lab.kit("cp1", &["rollback", "--yes"]).ok();
            assert_no_worse(&works, &lab, &point);
        }
        assert_old(&files, &lab);
    }
    for point in [
        "intent:h01:forward".to_owned(),
        "act:c05:forward".to_owned(),
        format!("act:{}:forward", step(&plan, "kubelet", "start")),
    ] {
        let died = lab.faulty("cp1", &format!("{point}=abort"), &["run", "--yes"]);
        assert!(![0, 5, 6, 7].contains(&died.code), "{point}: {died:?}");
        lab.kit("cp1", &["rollback", "--yes"]).ok();
        assert_no_worse(&works, &lab, &point);
        assert_old(&files, &lab);
    }
    let point = format!("intent:{}:forward=abort", step(&plan, "kubelet", "start"));
    lab.faulty("cp1", &point, &["run", "--yes"]);
    lab.kit("cp1", &["resume", "--yes"]).ok();
    lab.assert_recovered("cp1");
    assert_nothing_to_do(&lab, "cp1");
}

#[test]
fn n_a_dead_node_comes_back_by_one_more_command() {
    let lab = ControlPlane::one();
    lab.lab("expire", &[]);
    lab.lab("power-cycle", &[]);
    let files = lab.listing("cp1");
    let (_, plan) = lab.json("cp1", &["plan"]);
    let failed = lab.faulty("cp1", "act:c05:forward=error", &["run", "--yes"]);
    failed.exits(6);
    assert_old(&files, &lab);
    lab.faulty("cp1", "act:c05:forward=abort", &["run", "--yes"]);
    lab.kit("cp1", &["rollback", "--yes"]).ok();
    assert_old(&files, &lab);
    // The API server works by then, so that going back would take it away again.
    let point = format!(
        "act:{}:forward=error",
        step(&plan, "kube-scheduler", "prove")
    );
    lab.faulty("cp1", &point, &["run", "--yes"]).exits(7);
    lab.kubectl("cp1", &["get", "--raw", "/readyz"]).ok();
    lab.kit("cp1", &["resume", "--yes"]).ok();
    lab.assert_recovered("cp1");
    assert_nothing_to_do(&lab, "cp1");
}

#[test]
fn a_deadline_ends_a_run_safely() {
    let lab = ControlPlane::one();
    expire_due(&lab);
    let (files, works) = (lab.listing("cp1"), working(&lab));
    let late = lab.kit("cp1", &["run", "--yes", "--deadline", "0s"]);
    assert!(matches!(late.code, 5 | 6), "{late:?}");
    assert_old(&files, &lab);
    assert_no_worse(&works, &lab, "a deadline that has passed");
    // How far a second reaches depends on the machine; the outcome is one of two, and both are safe.
    let late = lab.kit("cp1", &["run", "--yes", "--deadline", "1s"]);
    assert_no_worse(&works, &lab, "the deadline");
    if late.code == 7 {
        assert!(late.stderr.contains("the deadline has passed before"));
        lab.kit("cp1", &["resume", "--yes"]).ok();
    } else {
        assert!(matches!(late.code, 5 | 6), "{late:?}");
        assert_old(&files, &lab);
        lab.rescue("cp1");
    }
    lab.assert_recovered("cp1");
}

/// What ends while it is watched, and is started again, is watched anew: that is no failure of the rescue.
#[test]
fn a_process_that_dies_once_more_is_watched_anew() {
    let lab = ControlPlane::one();
    lab.lab("expire", &[]);
    let line = format!(
        "{BINARY} run --yes >/tmp/said 2>&1 & pid=$!
         until grep -qs 'lease kube-scheduler is held' /var/lib/rescue-kit/runs/*/journal.jsonl; do kill -0 $pid; done
         pkill -x kube-scheduler; code=0; wait $pid || code=$?; echo $code; cat /tmp/said"
    );
    let said = lab.shell("cp1", &line);
    assert_eq!(said.lines().next(), Some("0"), "{said}");
    lab.assert_recovered("cp1");
    assert_nothing_to_do(&lab, "cp1");
}

#[test]
fn an_interrupted_convergence_is_resumed() {
    let lab = ControlPlane::one();
    lab.lab("expire", &[]);
    // As if somebody typed Ctrl-C as soon as the kubelet was started again.
    let line = format!(
        "set -m; {BINARY} run --yes --progress json >/dev/null 2>/tmp/said & pid=$!
         until grep -q kube-apiserver /tmp/said; do kill -0 $pid; done
         kill -INT $pid; code=0; wait $pid || code=$?; echo $code; cat /tmp/said"
    );
    let said = lab.shell("cp1", &line);
    assert_eq!(said.lines().next(), Some("130"), "{said}");
    assert!(said.contains("rescue-kit resume"), "{said}");
    lab.kit("cp1", &["resume", "--yes"]).ok();
    lab.assert_recovered("cp1");
    assert_nothing_to_do(&lab, "cp1");
}
