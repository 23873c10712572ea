//! The PROXY protocol of load balancers that forward bytes: the header is read from trusted peers only.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use proxy_header::{ProxiedAddress, ProxyHeader};
use serde_json::Value;

use crate::support::daemon::{Daemon, Setup};
use crate::support::http::{Answer, Connection};
use crate::support::{REPORT, eventually};

fn daemon(trusted: &str, more: &str) -> Daemon {
    Setup::yaml(&format!(
        "privacy: {{ client_address: full }}\n\
         intake: {{ proxy_protocol: true, trusted_proxies: [{trusted}], head_timeout: 500ms{more} }}"
    ))
    .start()
}

fn proxy_header(client: &str) -> Vec<u8> {
    let client = SocketAddr::new(client.parse().unwrap(), 40_000);
    let to = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 443);
    let to = if client.is_ipv6() { SocketAddr::new("::1".parse().unwrap(), 443) } else { to };
    let mut bytes = Vec::new();
    ProxyHeader::with_address(ProxiedAddress::stream(client, to)).encode_v2(&mut bytes).unwrap();
    bytes
}

/// Posts a report after these bytes. Returns `None` if the daemon closes the connection without a response.
fn post_after(daemon: &Daemon, first: &[u8], headers: &str) -> Option<Answer> {
    let mut connection = Connection::open(daemon.intake);
    let head = format!(
        "POST /report HTTP/1.1\r\nhost: reports.test\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n",
        REPORT.len()
    );
    drop(connection.write(&[first, head.as_bytes(), REPORT.as_bytes()].concat()));
    connection.answer_or_close()
}

/// Returns the client addresses in the events.
fn clients(daemon: Daemon) -> Vec<String> {
    let address = |line: &String| {
        let event: Value = serde_json::from_str(line).unwrap();
        event["lookout"]["client_address"].as_str().unwrap().to_owned()
    };
    daemon.stop().iter().map(address).collect()
}

#[test]
fn client_address_is_taken_from_the_header() {
    let daemon = daemon("127.0.0.0/8, 10.0.0.0/8", "");
    for (client, headers) in [
        ("203.0.113.9", ""),
        ("2001:db8::9", ""),
        // A further trusted proxy in between.
        ("10.0.0.7", "x-forwarded-for: 198.51.100.4\r\n"),
        // A header that the client sent.
        ("203.0.113.10", "x-forwarded-for: 198.51.100.4\r\n"),
    ] {
        assert_eq!(post_after(&daemon, &proxy_header(client), headers).unwrap().status, 204, "{client}");
        daemon.count(1);
    }
    let local = [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[0x20, 0, 0, 0]].concat();
    assert_eq!(post_after(&daemon, &local, "").unwrap().status, 204);
    daemon.count(1);
    let expected = ["203.0.113.9", "2001:db8::9", "198.51.100.4", "203.0.113.10", "127.0.0.1"];
    assert_eq!(clients(daemon), expected);
}

#[test]
fn rate_limit_applies_to_the_client_of_the_header() {
    let daemon = daemon("127.0.0.0/8", ", rate_limit: { per_second: 1, burst: 1 }");
    for client in ["203.0.113.1", "203.0.113.2", "203.0.113.1"] {
        assert_eq!(post_after(&daemon, &proxy_header(client), "").unwrap().status, 204);
    }
    let scrape = daemon.scrape();
    assert_eq!(scrape.sum("lookout_uploads_total", &[("outcome", "accepted")]), 2.0);
    assert_eq!(scrape.sum("lookout_uploads_total", &[("outcome", "rate_limited")]), 1.0);
    daemon.count(2);
}

#[test]
fn connection_limit_applies_to_the_client_of_the_header() {
    let daemon = daemon("127.0.0.0/8", ", max_connections_per_client: 1");
    let mut open = Connection::open(daemon.intake);
    open.write(&[&proxy_header("203.0.113.1"), b"POST /report HTTP/1.1\r\n".as_slice()].concat()).unwrap();
    daemon.until("lookout_connections", &[], 1.0);
    eventually("the header is read", || {
        let closed = post_after(&daemon, &proxy_header("203.0.113.1"), "").is_none();
        if closed {
            Ok(())
        } else {
            daemon.count(1);
            Err("it is answered".to_owned())
        }
    });
    daemon.until("lookout_connection_errors_total", &[("reason", "client_limit")], 1.0);
    assert_eq!(post_after(&daemon, &proxy_header("203.0.113.2"), "").unwrap().status, 204);
    daemon.count(1);
}

#[test]
fn trusted_peer_without_a_header_is_closed() {
    let daemon = daemon("127.0.0.0/8", "");
    for first in
        [b"".as_slice(), b"PROXY TCP4 203.0.113.9 127.0.0.1 40000 443\r\n", b"\r\n\r\n\0\r\nQUIT\nxxxx"]
    {
        assert!(post_after(&daemon, first, "").is_none());
    }
    let mut silent = Connection::open(daemon.intake);
    silent.ends_without_success(b"");
    assert_eq!(daemon.scrape().sum("lookout_reports_total", &[]), 0.0);
}

#[test]
fn header_of_an_untrusted_peer_is_rejected() {
    let daemon = daemon("10.0.0.0/8", "");
    let answer = post_after(&daemon, &proxy_header("203.0.113.9"), "");
    assert!(answer.is_none_or(|answer| answer.status == 400));
    assert_eq!(post_after(&daemon, b"", "").unwrap().status, 204);
    daemon.count(1);
    assert_eq!(clients(daemon), ["127.0.0.1"]);
}
