//! What uploads take in memory, of the whole process and at its peak, whatever is in them.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::check;
use crate::support::REPORT;
use crate::support::daemon::{Daemon, Setup};
use crate::support::http::{Connection, Request};

/// Most that the process takes at default settings, beside what delivery holds.
const MAX_RSS_KIB: u64 = 64 * 1024;
const MAX_BODY: usize = 1 << 20;

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// A report of an unknown type as long as a body may be, full of this.
fn full_of(begin: &str, value: &str, separator: &str, end: &str) -> Vec<u8> {
    let (head, tail) = (format!(r#"[{{"type":"x","body":{{"a":{begin}"#), format!("{end}}}}}]"));
    let times = (MAX_BODY - head.len() - tail.len()) / (value.len() + separator.len());
    format!("{head}{}{tail}", vec![value; times].join(separator)).into_bytes()
}

/// Bodies that would take the most memory for their size.
fn hostile() -> Vec<(&'static str, Vec<u8>)> {
    let arrays =
        ["{}", "[]", "1", "\"\"", "null", "[1]", r#"{"":1}"#, r#"{"":{"":1}}"#, r#"{"a":[{}]}"#, r#""\t""#];
    let mut bodies: Vec<_> = arrays.map(|value| (value, full_of("[", value, ",", "]"))).into();
    bodies.push(("members", full_of("{", r#""":1"#, ",", "}")));
    bodies.push(("escaped text", full_of("\"", r"\t", "", "\"")));
    bodies.push(("text of URLs", full_of("\"", "a://b?c", " ", "\"")));
    bodies.push(("half pairs", full_of("\"", r"\ud800", "", "\"")));
    let mut invalid = full_of("\"", "x", "", "\"");
    invalid.iter_mut().skip(100).take(MAX_BODY - 200).for_each(|byte| *byte = 0xff);
    bodies.push(("no UTF-8", invalid));
    let depth = MAX_BODY / 2 - 40;
    let deep = format!(r#"[{{"type":"x","body":{{"a":{}{}}}}}]"#, "[".repeat(depth), "]".repeat(depth));
    bodies.push(("deep arrays", deep.into_bytes()));
    let deep = format!(
        r#"{{"type":"x","body":{}1{}}}"#,
        r#"{"a":"#.repeat(MAX_BODY / 6 - 10),
        "}".repeat(MAX_BODY / 6 - 10)
    );
    bodies.push(("deep objects", deep.into_bytes()));
    bodies.push(("numbers", format!("[{}1]", "1,".repeat(MAX_BODY / 2 - 2)).into_bytes()));
    let items = vec![r#"{"type":"x","body":{"a":1}}"#; MAX_BODY / 28].join(",");
    bodies.push(("reports", format!("[{items}]").into_bytes()));
    for (name, body) in &bodies {
        assert!(body.len() <= MAX_BODY && body.len() > MAX_BODY - 100, "{name}: {}", body.len());
    }
    bodies
}

/// Items of a body, by a reader that knows nothing of reports and follows any depth.
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

/// Every body as it is, and with gzip.
fn uploads() -> Vec<Upload> {
    // A member that holds nothing but a comment keeps the ratio within its bound, and states a wrong size.
    let comment =
        [&[0x1f, 0x8b, 8, 0x10, 0, 0, 0, 0, 0, 255], &[b'x'; MAX_BODY / 190][..], &[0, 3, 0], &[0; 8]];
    let both = |(name, body): (_, Vec<u8>)| {
        let (items, compressed) = (items(&body), [gzip(&body), comment.concat()].concat());
        let upload = |body, gzip| Upload { name, body, gzip, items };
        [upload(body, false), upload(compressed, true)]
    };
    hostile().into_iter().flat_map(both).collect()
}

/// Sends every upload so many times, from so many connections at once.
fn send_all(daemon: &Daemon, connections: usize, uploads: &[Upload], times: usize) {
    let next = AtomicUsize::new(0);
    let send = || {
        while let Some(turn) =
            Some(next.fetch_add(1, Ordering::Relaxed)).filter(|n| *n < uploads.len() * times)
        {
            let Upload { name, body, gzip, items } = &uploads[turn % uploads.len()];
            let request = Request::post("/report", body);
            let request = if *gzip { request.header("content-encoding", "gzip") } else { request };
            let answer = daemon.send(&request, *items);
            assert!(matches!(answer.status, 204 | 400 | 408 | 503), "{name}: {answer:?}");
        }
    };
    std::thread::scope(|scope| (0..connections).for_each(|_| drop(scope.spawn(send))));
}

#[test]
fn no_mix_of_bodies_takes_more_memory_than_uploads_may() {
    // Those that find no memory are told sooner than by default, which spares time.
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

#[test]
fn a_body_that_inflates_to_very_many_times_its_size_is_not_taken() {
    let daemon = Daemon::start();
    let body = gzip(&full_of("[", "{}", ",", "]"));
    assert!(body.len() < 4096, "{}", body.len());
    check(&Request::post("/report", &body).header("content-encoding", "gzip").send(daemon.intake), 413);
    daemon.until("lookout_uploads_total", &[("outcome", "inflate_ratio")], 1.0);
    // The connection stays usable, since the body was read.
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
