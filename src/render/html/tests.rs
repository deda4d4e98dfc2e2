use super::sample::{HOSTILE, Sample, now};
use super::*;
use crate::journal::{Evidence, Way};
use crate::place::Observed;

/// Every element that a page of ours has, so that one that came from a file would be seen.
const ELEMENTS: [&str; 42] = [
    "a",
    "body",
    "caption",
    "code",
    "dd",
    "desc",
    "div",
    "dl",
    "dt",
    "figcaption",
    "figure",
    "footer",
    "g",
    "h1",
    "h2",
    "head",
    "header",
    "html",
    "li",
    "line",
    "main",
    "meta",
    "nav",
    "ol",
    "p",
    "pre",
    "rect",
    "section",
    "span",
    "style",
    "svg",
    "table",
    "tbody",
    "td",
    "text",
    "th",
    "thead",
    "time",
    "title",
    "tr",
    "ul",
    "!DOCTYPE",
];

/// The names of the elements that are opened and closed, in order.
fn tags(page: &str) -> Vec<(bool, String)> {
    let tags = page.split('<').skip(1).map(|rest| {
        let inside = rest.split('>').next().unwrap();
        let closes = inside.starts_with('/');
        let name = inside
            .trim_start_matches('/')
            .split([' ', '\n'])
            .next()
            .unwrap();
        (closes, name.to_owned())
    });
    tags.collect()
}

/// The report of a run, and the page of the node before it.
fn pages() -> [String; 2] {
    let sample = Sample::new();
    let rows = crate::listing::rows(&sample.before, 0);
    let seen = NodeView {
        inventory: &sample.before,
        rows: &rows,
        findings: &sample.findings,
        cause: Some("apiserver expired 35 days ago"),
        version: "0.0.0",
    };
    [report(&sample.view()), inspection(&seen)]
}

#[test]
fn nothing_from_outside_becomes_markup() {
    for page in pages() {
        for (_, name) in tags(&page) {
            assert!(ELEMENTS.contains(&name.as_str()), "<{name}>");
        }
        assert!(!page.contains(HOSTILE));
        assert!(page.contains(
            "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot;&amp;\u{fffd}[31m\u{fffd}"
        ));
        assert!(!page.contains("PRIVATE KEY"));
    }
    assert!(pages()[0].contains("OPS-1 X"));
}

#[test]
fn every_element_is_closed_in_order() {
    for page in pages() {
        let mut open: Vec<String> = Vec::new();
        for (closes, name) in tags(&page) {
            if closes {
                assert_eq!(open.pop(), Some(name));
            } else if name != "meta" && name != "!DOCTYPE" {
                open.push(name);
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }
}

#[test]
fn the_page_depends_on_its_view_alone_and_links_to_nothing_outside() {
    let sample = Sample::new();
    assert_eq!(report(&sample.view()), report(&sample.view()));
    for page in pages() {
        let links = page.matches(" href=\"").count();
        assert_eq!(links, page.matches(" href=\"#").count());
        assert!(!page.contains("src=") && !page.contains("url(") && !page.contains("@import"));
        let ids = page.split(" id=\"").skip(1);
        for id in ids.map(|rest| rest.split('"').next().unwrap()) {
            assert_eq!(page.matches(&format!(" id=\"{id}\"")).count(), 1, "{id}");
        }
    }
}

#[test]
fn it_tells_what_was_done_and_what_is_left() {
    let sample = Sample::new();
    let page = report(&sample.view());
    let serial = |inventory: &Inventory| inventory.credentials[0].cert().unwrap().serial_hex();
    for text in [
        "<h1>Certificate rescue of cp1</h1>",
        "Done. Certificates issued: 1; places replaced: 2.",
        &serial(&sample.before),
        &serial(&sample.after),
        "read back and compared: 49 files in backup.tar.gz",
        "its end was cut to that of its CA",
        "\u{2212}35 → 365",
        "Checks that passed: 1; failed: 0; could not be made: 1.",
        "systemctl restart kubelet &amp;&amp; true",
        "c02: done: replace /etc/kubernetes/pki/apiserver.crt",
        "63 ms",
        "sha256sum -c SHA256SUMS",
    ] {
        assert!(page.contains(text), "{text}");
    }
}

#[test]
fn a_run_that_failed_was_undone_or_has_no_end_says_so() {
    let mut sample = Sample::new();
    sample.records.truncate(6);
    let failed = Body::Outcome {
        step: "c01".to_owned(),
        way: Way::Forward,
        result: Err("no space left on device".to_owned()),
    };
    push(&mut sample, failed);
    let view = ReportView {
        after: None,
        verification: None,
        ..sample.view()
    };
    let page = report(&view);
    assert!(page.contains("Unfinished: step c01 failed: no space left on device."));
    assert!(page.contains("rescue-kit rollback") && page.contains(">failed</span>"));
    push(
        &mut sample,
        Body::Resume {
            goal: Way::Back,
            operator: None,
        },
    );
    let back = Ok(Evidence::Placed(Observed::Absent));
    push(
        &mut sample,
        Body::Outcome {
            step: "c01".to_owned(),
            way: Way::Back,
            result: back,
        },
    );
    push(&mut sample, Body::End(Verdict::RolledBack));
    let page = report(&sample.view());
    assert!(page.contains("Rolled back: every file is as it was before."));
    assert!(page.contains(">put back</span>") && page.contains("ms in 2 processes"));
    sample.records.clear();
    assert!(report(&sample.view()).contains("Unfinished: the journal has no end."));
}

fn push(sample: &mut Sample, body: Body) {
    let seq = sample.records.len() as u64;
    let mut record = sample.records[0].clone();
    (record.seq, record.at, record.body) = (seq, now(), body);
    record.elapsed_ms = if matches!(record.body, Body::Resume { .. }) {
        0
    } else {
        5 * seq
    };
    sample.records.push(record);
}
