//! Ambiguous requests over HTTP/1.1: contradictory lengths, endless heads and chunks, and bytes that are not
//! HTTP. Each has one interpretation and one result.

use std::net::Shutdown;

use super::check;
use crate::support::REPORT;
use crate::support::daemon::Daemon;
use crate::support::http::{Answer, Connection};

fn request(headers: &str, body: &str) -> String {
    format!("POST /report HTTP/1.1\r\nhost: reports.test\r\n{headers}\r\n\r\n{body}")
}

fn whole() -> String {
    request(&format!("content-length: {}", REPORT.len()), REPORT)
}

/// Returns every response until the daemon closes the connection.
fn answers(daemon: &Daemon, bytes: &[u8]) -> Vec<Answer> {
    let mut connection = Connection::open(daemon.intake);
    // The daemon may close the connection before it has read everything.
    drop(connection.write(bytes));
    connection.shutdown(Shutdown::Write);
    std::iter::from_fn(|| connection.answer_or_close()).collect()
}

fn statuses(daemon: &Daemon, bytes: &[u8]) -> Vec<u16> {
    answers(daemon, bytes).iter().map(|answer| answer.status).collect()
}

#[test]
fn pipelined_uploads_are_answered_in_order() {
    let daemon = Daemon::start();
    let bad = request("content-length: 2", "{}");
    let last = whole().replace("host", "connection: close\r\nhost");
    let mut connection = Connection::open(daemon.intake);
    connection.write((whole() + &bad + &last).as_bytes()).unwrap();
    for status in [204, 400, 204] {
        check(&connection.answer(), status);
    }
    assert!(connection.answer_or_close().is_none());
    daemon.count(3);
}

/// A proxy may have used the other length, so that what follows may be the rest of one request.
#[test]
fn connection_after_two_lengths_is_closed() {
    let daemon = Daemon::start();
    let chunks = format!("{:x}\r\n{REPORT}\r\n0\r\n\r\n", REPORT.len());
    let length = format!("content-length: {}", chunks.len());
    let chunked = "transfer-encoding: chunked";
    for lengths in [format!("{length}\r\n{chunked}"), format!("{chunked}\r\n{length}"), chunked.to_owned()] {
        let answers = answers(&daemon, (request(&lengths, &chunks) + &whole()).as_bytes());
        assert_eq!(answers.len(), 1, "{lengths}");
        check(&answers[0], 204);
        assert_eq!(answers[0].header("connection"), Some("close"));
        daemon.count(1);
    }
    daemon.until("lookout_reports_total", &[], 3.0);
}

#[test]
fn invalid_lengths_get_400() {
    let daemon = Daemon::start();
    for headers in [
        "content-length: 5\r\ncontent-length: 6",
        "content-length: 5, 6",
        "content-length: +5",
        "content-length: -1",
        "content-length: 0x5",
        "content-length: 99999999999999999999",
        "transfer-encoding: gzip",
        "transfer-encoding: chunked, gzip",
        "transfer-encoding: xchunked",
        "transfer-encoding : chunked",
        "content-length: 5\r\n transfer-encoding: chunked",
        "x: a\rtransfer-encoding: chunked",
    ] {
        let found = statuses(&daemon, (request(headers, "12345") + &whole()).as_bytes());
        assert_eq!(found, [400], "{headers}");
    }
    let old = whole().replace("HTTP/1.1\r\n", "HTTP/1.0\r\ntransfer-encoding: chunked\r\n");
    assert_eq!(statuses(&daemon, old.as_bytes()), [400]);
    assert_eq!(daemon.scrape().sum("lookout_reports_total", &[]), 0.0);
}

#[test]
fn body_shorter_than_its_length_counts_as_disconnected() {
    let daemon = Daemon::start();
    let short = request(&format!("content-length: {}", REPORT.len() + 1), REPORT);
    for answer in answers(&daemon, short.as_bytes()) {
        check(&answer, 400);
    }
    daemon.until("lookout_uploads_total", &[("outcome", "client_disconnected")], 1.0);
}

#[test]
fn bytes_after_the_body_are_another_request() {
    let daemon = Daemon::start();
    assert_eq!(statuses(&daemon, (whole() + "]]]\r\n\r\n").as_bytes()), [204, 400]);
    daemon.count(1);
}

#[test]
fn expect_100_continue_is_answered_before_the_body() {
    let daemon = Daemon::start();
    let ask = |length: usize| request(&format!("expect: 100-continue\r\ncontent-length: {length}"), "");
    let mut connection = Connection::open(daemon.intake);
    connection.write(ask(REPORT.len()).as_bytes()).unwrap();
    assert_eq!(connection.answer().status, 100);
    connection.write(REPORT.as_bytes()).unwrap();
    check(&connection.answer(), 204);
    daemon.count(1);
    // Rejected before the body.
    let mut connection = Connection::open(daemon.intake);
    connection.write(ask(2 << 20).as_bytes()).unwrap();
    check(&connection.answer(), 413);
}

#[test]
fn heads_over_the_limit_get_431() {
    let daemon = Daemon::start();
    let long = "a".repeat(20_000);
    for (head, status) in [
        (request(&format!("x: {long}"), ""), 431),
        (request(&"x: a\r\n".repeat(200), ""), 431),
        (whole().replace("/report", &format!("/report?{long}")), 431),
    ] {
        let found = statuses(&daemon, head.as_bytes());
        assert_eq!(found, [status], "{}", &head[..40]);
    }
}

#[test]
fn chunks_with_much_overhead_are_rejected() {
    let daemon = Daemon::start();
    let long = "a".repeat(20_000);
    let many = "a: b\r\n".repeat(200);
    for (headers, body) in [
        ("transfer-encoding: chunked", format!("1;{long}\r\n[\r\n0\r\n\r\n")),
        ("transfer-encoding: chunked", format!("{}1\r\n[\r\n0\r\n\r\n", "1;aaaa\r\n[\r\n".repeat(5000))),
        ("transfer-encoding: chunked", format!("1\r\n[\r\n0\r\nx: {long}\r\n\r\n")),
        ("transfer-encoding: chunked", format!("1\r\n[\r\n0\r\n{many}\r\n")),
        ("transfer-encoding: chunked", "fffffffffffffffff\r\n".to_owned()),
        ("transfer-encoding: chunked", "1\n[\n0\n\n".to_owned()),
    ] {
        let found = statuses(&daemon, (request(headers, &body) + &whole()).as_bytes());
        assert!(found.len() <= 1 && found.iter().all(|status| *status == 400), "{found:?}");
    }
    daemon.until("lookout_uploads_total", &[("outcome", "client_disconnected")], 6.0);
    daemon.until("lookout_uploads_total", &[], 6.0);
}

#[test]
fn http_1_1_without_exactly_one_host_gets_400() {
    let daemon = Daemon::start();
    let answer = |line: &str, hosts: &str| {
        let mut connection = Connection::open(daemon.intake);
        let length = REPORT.len();
        let request = format!("{line}\r\n{hosts}content-length: {length}\r\n\r\n{REPORT}");
        connection.write(request.as_bytes()).unwrap();
        connection.answer().status
    };
    for hosts in ["", "host: a\r\nhost: a\r\n", "host: a\r\nHost: b\r\n"] {
        assert_eq!(answer("POST /report HTTP/1.1", hosts), 400, "{hosts:?}");
        assert_eq!(answer("GET / HTTP/1.1", hosts), 400, "{hosts:?}");
    }
    assert_eq!(answer("POST /report HTTP/1.0", "host: a\r\nhost: a\r\n"), 400);
    daemon.until("lookout_uploads_total", &[("outcome", "invalid_host")], 4.0);
    for (line, hosts) in [("POST /report HTTP/1.1", "host:\r\n"), ("POST /report HTTP/1.0", "")] {
        assert_eq!(answer(line, hosts), 204, "{line}");
        daemon.count(1);
    }
}

#[test]
fn bytes_that_are_not_http_end_the_connection() {
    let daemon = Daemon::start();
    let client_hello = [&b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"[..], &[7; 500]].concat();
    for bytes in [
        b"GET /\r\n\r\n".as_slice(),
        b"\r\n\r\n\r\n\r\nPOST",
        b"POST /report\0 HTTP/1.1\r\n\r\n",
        b"POST /report HTTP/2.0\r\n\r\n",
        b"POST /report HTTP/1.1\r\nx\xff: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        &client_hello,
        &[0xff; 5000],
    ] {
        let mut connection = Connection::open(daemon.intake);
        drop(connection.write(bytes));
        connection.shutdown(Shutdown::Write);
        connection.ends_without_success(bytes);
    }
    assert_eq!(daemon.scrape().sum("lookout_uploads_total", &[]), 0.0);
    daemon.until("lookout_connections", &[], 0.0);
}
