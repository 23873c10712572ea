//! Memory of uploads: the peak of the whole process, under hostile bodies.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

use lookoutd::config;

use super::check;
use crate::support::REPORT;
use crate::support::daemon::{Daemon, Setup};
use crate::support::http::{Connection, Request};

/// Maximum of the process at default settings, without the memory of delivery.
const MAX_RSS_KIB: u64 = 64 * 1024;

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// Returns a report of an unknown type that fills a body of maximum size with a repeated value.
fn full_of(begin: &str, value: &str, separator: &str, end: &str) -> Vec<u8> {
    let max_body = config::defaults().intake.max_body_bytes;
    let head = format!(r#"[{{"type":"x","body":{{"a":{begin}"#);
    let tail = format!("{end}}}}}]");
    let times = (max_body - head.len() - tail.len()) / (value.len() + separator.len());
    format!("{head}{}{tail}", vec![value; times].join(separator)).into_bytes()
}

/// Returns bodies that take the most memory for their size.
fn hostile() -> Vec<(&'static str, Vec<u8>)> {
    let max_body = config::defaults().intake.max_body_bytes;
    let arrays =
        ["{}", "[]", "1", "\"\"", "null", "[1]", r#"{"":1}"#, r#"{"":{"":1}}"#, r#"{"a":[{}]}"#, r#""\t""#];
    let mut bodies: Vec<_> = arrays.map(|value| (value, full_of("[", value, ",", "]"))).into();
    bodies.push(("members", full_of("{", r#""":1"#, ",", "}")));
    bodies.push(("escaped text", full_of("\"", r"\t", "", "\"")));
    bodies.push(("text of URLs", full_of("\"", "a://b?c", " ", "\"")));
    bodies.push(("half pairs", full_of("\"", r"\ud800", "", "\"")));
    let mut invalid = full_of("\"", "x", "", "\"");
    invalid[100..max_body - 100].fill(0xff);
    bodies.push(("no UTF-8", invalid));
    let depth = max_body / 2 - 40;
    let deep = format!(r#"[{{"type":"x","body":{{"a":{}{}}}}}]"#, "[".repeat(depth), "]".repeat(depth));
    bodies.push(("deep arrays", deep.into_bytes()));
    let deep = format!(
        r#"{{"type":"x","body":{}1{}}}"#,
        r#"{"a":"#.repeat(max_body / 6 - 10),
        "}".repeat(max_body / 6 - 10)
    );
    bodies.push(("deep objects", deep.into_bytes()));
    bodies.push(("numbers", format!("[{}1]", "1,".repeat(max_body / 2 - 2)).into_bytes()));
    let items = vec![r#"{"type":"x","body":{"a":1}}"#; max_body / 28].join(",");
    bodies.push(("reports", format!("[{items}]").into_bytes()));
    bodies.push(("known reports", distinct_reports(0)));
    for (name, body) in &bodies {
        assert!(body.len() <= max_body && body.len() > max_body - 100, "{name}: {}", body.len());
    }
    bodies
}

/// Returns a full body of distinct reports with long texts: each becomes an event and series.
fn distinct_reports(number: usize) -> Vec<u8> {
    let max_body = config::defaults().intake.max_body_bytes;
    let policy = "x".repeat(max_body / 256 - 500);
    let sample = "a".repeat(200);
    let item = |at: usize| {
        let host = format!("{at}.of-{number}.example");
        format!(
            r#"{{"type":"csp-violation","url":"https://{host}/","body":{{"blockedURL":"https://b.{host}/",
            "effectiveDirective":"script-src","sample":"{sample}","originalPolicy":"{policy}"}}}}"#
        )
    };
    let mut body = format!("[{}]", (0..256).map(item).collect::<Vec<_>>().join(",")).into_bytes();
    assert!(body.len() < max_body, "{}", body.len());
    body.resize(max_body, b' ');
    body
}

/// Returns the number of items, by a parser without limits of depth.
fn items(body: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(body);
    match serde_json::from_str::<Vec<&serde_json::value::RawValue>>(&text) {
        Ok(items) => items.len() as u64,
        Err(_) => 1,
    }
}

/// An upload, and the items of its body.
struct Upload {
    name: &'static str,
    body: Vec<u8>,
    gzip: bool,
    items: u64,
}

/// Returns every body as it is, and with gzip.
fn uploads() -> Vec<Upload> {
    let max_body = config::defaults().intake.max_body_bytes;
    // A gzip member with a long comment keeps the ratio within its limit, and states a wrong size.
    let comment =
        [&[0x1f, 0x8b, 8, 0x10, 0, 0, 0, 0, 0, 255][..], &vec![b'x'; max_body / 190], &[0, 3, 0], &[0; 8]];
    let both = |(name, body): (_, Vec<u8>)| {
        let items = items(&body);
        let compressed = [gzip(&body), comment.concat()].concat();
        let upload = |body, gzip| Upload { name, body, gzip, items };
        [upload(body, false), upload(compressed, true)]
    };
    hostile().into_iter().flat_map(both).collect()
}

/// Sends every upload `times` times, over concurrent connections.
fn send_all(daemon: &Daemon, connections: usize, uploads: &[Upload], times: usize) {
    let next = AtomicUsize::new(0);
    let send = || {
        while let Some(index) =
            Some(next.fetch_add(1, Ordering::Relaxed)).filter(|n| *n < uploads.len() * times)
        {
            let Upload { name, body, gzip, items } = &uploads[index % uploads.len()];
            let request = Request::post("/report", body);
            let request = if *gzip { request.header("content-encoding", "gzip") } else { request };
            let answer = daemon.send(&request, *items);
            assert!(matches!(answer.status, 204 | 400 | 408 | 503), "{name}: {answer:?}");
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(send);
        }
    });
}

#[test]
fn hostile_bodies_stay_within_the_memory_limit() {
    // Uploads that wait for memory time out sooner than by default, so that the test is short.
    let daemon = Setup::yaml("intake: { body_timeout: 5s }").start();
    let uploads = uploads();
    for (connections, times) in [(2, 1), (8, 1), (64, 3)] {
        send_all(&daemon, connections, &uploads, times);
    }
    check(&daemon.post("/report", REPORT), 204);
    let scrape = daemon.settle();
    for outcome in ["accepted", "no_reports"] {
        assert!(scrape.sum("lookout_uploads_total", &[("outcome", outcome)]) > 0.0, "{outcome}");
    }
    assert_eq!(scrape.sum("lookout_uploads_total", &[("outcome", "invalid_encoding")]), 0.0);
    assert!(scrape.sum("lookout_reports_rejected_total", &[("reason", "too_many_values")]) > 0.0);
    let peak = daemon.peak_rss_kib();
    assert!(peak <= MAX_RSS_KIB, "{peak} KiB at the peak");
}

/// Events wait for a reader of stdout, while hostile bodies are decoded.
#[test]
fn hostile_bodies_with_an_unread_stdout_stay_within_the_memory_limit() {
    let yaml = "{ intake: { body_timeout: 5s }, delivery: { shutdown_timeout: 1s } }";
    let (mut daemon, stalled) = Setup::yaml(yaml).start_unread(true);
    let known = (0..40).map(distinct_reports);
    let known: Vec<_> =
        known.map(|body| Upload { name: "known reports", body, gzip: false, items: 256 }).collect();
    // Two at a time, so that all have memory to arrive.
    send_all(&daemon, 2, &known, 1);
    send_all(&daemon, 64, &uploads(), 1);
    let dropped = &[("exporter", "console"), ("outcome", "dropped_queue_full")];
    assert!(daemon.scrape().sum("lookout_events_total", dropped) > 0.0);
    // As much as waits may be in flight to a reader that is slow.
    let in_flight = config::defaults().delivery.memory_bytes as u64 / 8 / 1024;
    let peak = daemon.peak_rss_kib() + in_flight;
    assert!(peak <= MAX_RSS_KIB, "{peak} KiB at the peak");
    daemon.signal("TERM");
    assert_eq!(daemon.wait(), Some(0));
    drop(stalled);
    daemon.leave();
}

#[test]
fn gzip_bomb_gets_413() {
    let daemon = Daemon::start();
    let body = gzip(&full_of("[", "{}", ",", "]"));
    assert!(body.len() < 4096, "{}", body.len());
    check(&Request::post("/report", &body).header("content-encoding", "gzip").send(daemon.intake), 413);
    daemon.until("lookout_uploads_total", &[("outcome", "inflate_ratio")], 1.0);
    // The connection stays usable, because the body was read.
    let mut connection = Connection::open(daemon.intake);
    let head = format!(
        "POST /report HTTP/1.1\r\nhost: r\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    for _ in 0..2 {
        connection.write(&[head.as_bytes(), &body].concat()).unwrap();
        check(&connection.answer(), 413);
    }
}
