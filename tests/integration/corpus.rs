//! The whole corpus through the real binary: every capture gets the response that its browser needs, none is
//! lost, and no query or fragment of a URL is in the output.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::capture::{self, Capture};
use crate::support::daemon::{Daemon, Setup};
use crate::support::http::{Answer, Request};

/// Returns the capture's request with its headers, to the canonical path.
fn request(capture: &Capture) -> Request {
    let method = ["POST", "GET", "OPTIONS"].into_iter().find(|known| *known == capture.method).unwrap();
    let mut request = if capture.is_post() {
        Request::post("/report", &capture.body)
    } else {
        Request::new(method, "/report")
    };
    // Written by the client.
    let own = ["host", "connection", "content-length", "transfer-encoding"];
    for (name, value) in &capture.headers {
        if !own.contains(&name.to_ascii_lowercase().as_str()) {
            request = request.header(name, value);
        }
    }
    request
}

fn items(capture: &Capture) -> Vec<Value> {
    match serde_json::from_str(&capture.body).unwrap() {
        Value::Array(items) => items,
        one => vec![one],
    }
}

#[test]
fn uploads_of_the_corpus_are_accepted_and_reveal_no_query() {
    let daemon = Daemon::start();
    let uploads = capture::uploads();
    let mut reports = 0;
    for capture in &uploads {
        let items = items(capture).len();
        let answer = daemon.send(&request(capture), items as u64);
        assert_eq!(answer.status, 204, "{}", capture.name);
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{}", capture.name);
        reports += items;
    }
    let scrape = daemon.settle();
    assert_eq!(scrape.sum("lookout_reports_rejected_total", &[]), 0.0);
    let metrics = daemon.get_admin("/metrics").text();
    let lines = daemon.stop();
    assert_eq!(lines.len(), reports);
    let output = lines.join("\n") + &metrics;
    assert!(!output.contains("token=secret"));
    for secret in uploads.iter().flat_map(queries_and_fragments).collect::<BTreeSet<_>>() {
        assert!(!output.contains(&secret), "{secret} is in the output");
    }
}

/// Returns `?…` and `#…` of every URL in a capture, to their end.
fn queries_and_fragments(capture: &Capture) -> Vec<String> {
    let mut texts = vec![capture.page_url.clone()];
    collect_texts(&Value::Array(items(capture)), &mut texts);
    let urls = texts.iter().filter(|text| text.contains("://") && !text.contains(char::is_whitespace));
    let mut found = Vec::new();
    for url in urls {
        found.extend(url.find('?').map(|at| url[at..].split('#').next().unwrap().to_owned()));
        found.extend(url.find('#').map(|at| url[at..].to_owned()));
    }
    // A short one could be in the output by chance.
    found.into_iter().filter(|secret| secret.len() > 2).collect()
}

fn collect_texts(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.clone()),
        Value::Array(items) => {
            for item in items {
                collect_texts(item, texts);
            }
        }
        Value::Object(members) => {
            for member in members.values() {
                collect_texts(member, texts);
            }
        }
        _ => {}
    }
}

#[test]
fn corpus_contains_queries_and_fragments() {
    let secrets: BTreeSet<_> = capture::uploads().iter().flat_map(queries_and_fragments).collect();
    assert!(secrets.iter().any(|secret| secret.contains("token=secret")), "{secrets:?}");
    assert!(secrets.iter().any(|secret| secret.starts_with('#')), "{secrets:?}");
}

#[test]
fn preflights_and_redirected_gets_of_the_corpus_are_answered() {
    let daemon = Daemon::start();
    let others: Vec<_> = capture::all().into_iter().filter(|capture| !capture.is_post()).collect();
    assert!(others.len() > 5, "the corpus has preflights and redirects");
    for capture in &others {
        let answer = daemon.send(&request(capture), 0);
        match capture.method.as_str() {
            "OPTIONS" => check_preflight(&answer),
            _ => {
                assert_eq!((answer.status, answer.header("allow")), (405, Some("POST, OPTIONS")));
            }
        }
    }
}

fn check_preflight(answer: &Answer) {
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    for (name, value) in [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", "POST"),
        ("access-control-allow-headers", "content-type"),
        ("access-control-max-age", "86400"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
}

/// The same uploads over OTLP with a collector that cannot be reached.
#[test]
fn events_without_a_collector_stay_pending() {
    let daemon = Setup::yaml("delivery: { shutdown_timeout: 500ms }")
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
        .start();
    for capture in capture::uploads().iter().step_by(20) {
        assert_eq!(daemon.send(&request(capture), items(capture).len() as u64).status, 204);
    }
    let scrape = daemon.settle();
    assert!(scrape.sum("lookout_events_pending", &[("exporter", "otlp")]) > 0.0);
    assert_eq!(scrape.sum("lookout_events_total", &[("exporter", "console")]), 0.0);
}
