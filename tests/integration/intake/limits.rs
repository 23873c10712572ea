//! Limits: uploads in flight, connections, uploads of one client, reports of one body.

use std::time::{Duration, Instant};

use super::check;
use crate::support::daemon::{Daemon, Setup};
use crate::support::http::{Connection, Request};
use crate::support::{REPORT, eventually};

/// Begins an upload that stays in flight, because its last byte is missing.
fn begin_upload(daemon: &Daemon) -> Connection {
    let mut connection = Connection::open(daemon.intake);
    let (head, body) = halves();
    connection.write(head.as_bytes()).unwrap();
    connection.write(&body.as_bytes()[..body.len() - 1]).unwrap();
    connection
}

fn halves() -> (String, &'static str) {
    let head =
        format!("POST /report HTTP/1.1\r\nhost: reports.test\r\ncontent-length: {}\r\n\r\n", REPORT.len());
    (head, REPORT)
}

#[test]
fn uploads_over_max_in_flight_get_503() {
    let daemon = Setup::yaml("intake: { max_in_flight: 1 }").start();
    let mut first = begin_upload(&daemon);
    daemon.until("lookout_uploads_in_flight", &[], 1.0);
    let rejected = Request::post("/report", REPORT).send(daemon.intake);
    check(&rejected, 503);
    assert!(rejected.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
    daemon.until("lookout_uploads_total", &[("outcome", "overloaded")], 1.0);
    first.write(b"]").unwrap();
    check(&first.answer(), 204);
    daemon.count(1);
    check(&daemon.post("/report", REPORT), 204);
}

#[test]
fn upload_of_a_disconnected_client_is_counted() {
    let daemon = Daemon::start();
    drop(begin_upload(&daemon));
    daemon.until("lookout_uploads_total", &[("outcome", "client_disconnected")], 1.0);
    daemon.until("lookout_uploads_in_flight", &[], 0.0);
}

#[test]
fn connections_over_the_limit_wait() {
    let daemon = Setup::yaml("intake: { max_connections: 1 }").start();
    let mut first = begin_upload(&daemon);
    daemon.until("lookout_connections", &[], 1.0);
    let mut second = begin_upload(&daemon);
    second.write(b"]").unwrap();
    assert!(second.is_silent_for(Duration::from_millis(300)), "it was served beside the first");
    assert_eq!(daemon.scrape().sum("lookout_connections", &[]), 1.0);
    first.write(b"]").unwrap();
    check(&first.answer(), 204);
    drop(first);
    check(&second.answer(), 204);
    daemon.count(2);
}

#[test]
fn uploads_over_the_rate_limit_get_204_and_are_counted() {
    let daemon = Setup::yaml("intake: { rate_limit: { per_second: 1, burst: 3 } }").start();
    let uploads = 10;
    for _ in 0..uploads {
        check(&Request::post("/report", REPORT).send(daemon.intake), 204);
    }
    let outcome = |outcome| daemon.scrape().sum("lookout_uploads_total", &[("outcome", outcome)]);
    let accepted = outcome("accepted");
    let dropped = outcome("rate_limited");
    assert_eq!(accepted + dropped, f64::from(uploads));
    assert!(accepted >= 3.0 && dropped > 0.0, "{accepted} accepted, {dropped} dropped");
    daemon.count(accepted as u64);
}

#[test]
fn forwarded_address_of_an_untrusted_peer_is_ignored() {
    let accepted = |settings: &str| {
        let daemon =
            Setup::yaml(&format!("intake: {{ rate_limit: {{ per_second: 1, burst: 1 }}{settings} }}"))
                .start();
        for client in 1..=5 {
            let request =
                Request::post("/report", REPORT).header("x-forwarded-for", &format!("203.0.113.{client}"));
            check(&request.send(daemon.intake), 204);
        }
        let accepted = daemon.scrape().sum("lookout_uploads_total", &[("outcome", "accepted")]);
        daemon.count(accepted as u64);
        accepted
    };
    assert_eq!(accepted(", trusted_proxies: [127.0.0.0/8]"), 5.0);
    assert!(accepted("") < 5.0);
}

#[test]
fn client_in_every_notation_is_the_same() {
    let notations = [
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-for", "203.0.113.9:4711"),
        ("x-forwarded-for", "::ffff:203.0.113.9"),
        ("x-forwarded-for", "[::ffff:cb00:7109]:443"),
        ("x-forwarded-for", "198.51.100.1, unknown, 203.0.113.9, 127.0.0.9"),
        ("forwarded", "for=203.0.113.9;proto=https"),
        ("forwarded", "for=198.51.100.1, For=\"203.0.113.9:80\";by=_proxy, for=\"127.0.0.9\""),
    ];
    let prefix = ["2001:db8::1", "[2001:db8::2]:443", "2001:db8:0:0:ffff::3", "2001:db8::4%eth0"];
    let daemon =
        Setup::yaml("intake: { trusted_proxies: [127.0.0.0/8], rate_limit: { per_second: 1, burst: 1 } }")
            .start();
    let begin = Instant::now();
    let clients = notations.into_iter().chain(prefix.map(|address| ("x-forwarded-for", address)));
    for (name, value) in clients {
        check(&Request::post("/report", REPORT).header(name, value).send(daemon.intake), 204);
    }
    let accepted = daemon.scrape().sum("lookout_uploads_total", &[("outcome", "accepted")]);
    daemon.count(accepted as u64);
    // The burst of two clients, and what their rate allowed in the meantime.
    let most = 2.0 * (1.0 + begin.elapsed().as_secs_f64());
    assert!((2.0..=most).contains(&accepted), "{accepted} accepted");
}

#[test]
fn reports_over_max_reports_are_rejected() {
    let daemon = Setup::yaml("intake: { max_reports: 3 }").start();
    let body = format!("[{}]", [&REPORT[1..REPORT.len() - 1]; 5].join(","));
    check(&daemon.post("/report", body), 204);
    daemon.until("lookout_reports_total", &[], 3.0);
    daemon.until("lookout_reports_rejected_total", &[("reason", "over_limit")], 2.0);
}

/// A body that arrives in one piece takes no memory of the pool, any other at least 16 KiB.
#[test]
fn bodies_over_max_in_flight_bytes_get_503() {
    let daemon = Setup::yaml("intake: { max_body_bytes: 64KiB, max_in_flight_bytes: 64KiB }").start();
    let large = format!("{REPORT}{}", " ".repeat(50 * 1024));
    let head = format!("POST /report HTTP/1.1\r\nhost: r\r\ncontent-length: {}\r\n\r\n", large.len());
    let is_rejected = || {
        let rejected = Request::post("/report", &large).chunked().send(daemon.intake).status == 503;
        daemon.count(u64::from(!rejected));
        rejected
    };
    // While the first upload still arrives, it may be the one that gets no memory.
    eventually("an upload that fills the body pool", || {
        let mut first = Connection::open(daemon.intake);
        first.write(format!("{head}{}", &large[..large.len() - 1]).as_bytes()).unwrap();
        if !(0..20).any(|_| is_rejected()) {
            return Err("the others are accepted".to_owned());
        }
        let overloaded = Request::post("/report", &large).send(daemon.intake);
        if overloaded.status == 204 {
            daemon.count(1);
            return Err("another one is accepted".to_owned());
        }
        check(&overloaded, 503);
        assert!(overloaded.header("retry-after").is_some());
        check(&daemon.post("/report", REPORT), 204);
        first.write(b" ").map_err(|error| error.to_string())?;
        let answer = first.answer();
        if answer.status == 503 {
            return Err("the first one is rejected".to_owned());
        }
        check(&answer, 204);
        daemon.count(1);
        Ok(())
    });
    check(&daemon.post("/report", &large), 204);
    assert!(daemon.scrape().sum("lookout_uploads_total", &[("outcome", "overloaded")]) >= 2.0);
}
