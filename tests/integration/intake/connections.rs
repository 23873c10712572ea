//! Connections between requests: how long an idle one stays open, and which one makes room for another.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::check;
use crate::support::daemon::{Daemon, Setup};
use crate::support::http::Connection;
use crate::support::{REPORT, eventually};

/// Returns an upload that leaves the connection open, without its last byte.
fn unfinished() -> String {
    let length = REPORT.len();
    let head = format!("POST /report HTTP/1.1\r\nhost: r\r\ncontent-length: {length}\r\n\r\n");
    format!("{head}{}", &REPORT[..length - 1])
}

fn upload(daemon: &Daemon, connection: &mut Connection) {
    connection.write(format!("{}]", unfinished()).as_bytes()).unwrap();
    check(&connection.answer(), 204);
    daemon.count(1);
}

fn idle(daemon: &Daemon) -> Connection {
    let mut connection = Connection::open(daemon.intake);
    upload(daemon, &mut connection);
    connection
}

#[test]
fn idle_connection_is_closed_after_its_timeout_and_not_that_of_a_head() {
    let daemon = Setup::yaml("intake: { head_timeout: 200ms, idle_timeout: 2s }").start();
    let mut connection = idle(&daemon);
    assert!(connection.is_silent_for(Duration::from_secs(1)), "closed after head_timeout");
    upload(&daemon, &mut connection);
    let begin = Instant::now();
    assert!(connection.answer_or_close().is_none());
    let open = begin.elapsed();
    assert!(open > Duration::from_millis(1900) && open < Duration::from_secs(10), "closed after {open:?}");
}

#[test]
fn later_head_has_its_own_timeout() {
    let daemon = Setup::yaml("intake: { head_timeout: 500ms, idle_timeout: 5m }").start();
    let mut connection = idle(&daemon);
    connection.write(b"POST /report HT").unwrap();
    let begin = Instant::now();
    assert!(connection.answer_or_close().is_none());
    assert!(begin.elapsed() > Duration::from_millis(400), "closed after {:?}", begin.elapsed());
}

#[test]
fn upload_that_takes_longer_than_the_idle_timeout_is_answered() {
    let daemon = Setup::yaml("intake: { idle_timeout: 200ms }").start();
    let mut connection = Connection::open(daemon.intake);
    connection.write(unfinished().as_bytes()).unwrap();
    assert!(connection.is_silent_for(Duration::from_secs(1)));
    connection.write(b"]").unwrap();
    check(&connection.answer(), 204);
    daemon.count(1);
}

#[test]
fn new_connection_evicts_the_longest_idle_and_none_with_an_upload() {
    let daemon = Setup::yaml("intake: { max_connections: 3 }").start();
    let mut busy = Connection::open(daemon.intake);
    busy.write(unfinished().as_bytes()).unwrap();
    daemon.until("lookout_uploads_in_flight", &[], 1.0);
    let (mut first, mut second) = (idle(&daemon), idle(&daemon));
    // So that the second has been idle for longer.
    upload(&daemon, &mut first);
    let mut third = idle(&daemon);
    assert!(second.answer_or_close().is_none(), "the longest idle is open");
    upload(&daemon, &mut first);
    upload(&daemon, &mut third);
    busy.write(b"]").unwrap();
    check(&busy.answer(), 204);
    daemon.count(1);
}

#[test]
fn connection_at_the_limit_is_accepted_once_another_becomes_idle() {
    let daemon = Setup::yaml("intake: { max_connections: 1 }").start();
    let mut busy = Connection::open(daemon.intake);
    busy.write(unfinished().as_bytes()).unwrap();
    daemon.until("lookout_uploads_in_flight", &[], 1.0);
    let mut waiting = Connection::open(daemon.intake);
    waiting.write(format!("{}]", unfinished()).as_bytes()).unwrap();
    assert!(waiting.is_silent_for(Duration::from_millis(300)), "it was served beside the first");
    busy.write(b"]").unwrap();
    check(&busy.answer(), 204);
    check(&waiting.answer(), 204);
    daemon.count(2);
}

#[test]
fn thousands_of_connections_in_turn_leave_no_entries() {
    let daemon = Setup::yaml("intake: { max_connections: 4 }").start();
    for _ in 0..500 {
        drop(Connection::open(daemon.intake));
    }
    eventually("connections", || {
        let open = daemon.scrape().sum("lookout_connections", &[]);
        if open == 0.0 { Ok(()) } else { Err(format!("{open} are open")) }
    });
    idle(&daemon);
}

/// Connects from another address of loopback, which is another client.
fn connect_from(address: &str, to: SocketAddr) -> Connection {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(address.parse().unwrap()).unwrap();
        socket.connect(to).await.unwrap().into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    Connection::of(stream)
}

/// Returns how many connections were closed for this reason.
fn closed(daemon: &Daemon, reason: &str) -> f64 {
    daemon.scrape().sum("lookout_connection_errors_total", &[("reason", reason)])
}

#[test]
fn connection_over_the_limit_of_its_client_is_closed_at_accept() {
    let daemon = Setup::yaml("intake: { max_connections: 3, max_connections_per_client: 2 }").start();
    let (mut first, mut second) = (idle(&daemon), idle(&daemon));
    for _ in 0..3 {
        assert!(Connection::open(daemon.intake).answer_or_close().is_none(), "it is open");
    }
    assert_eq!(closed(&daemon, "client_limit"), 3.0);
    let mut other = connect_from("127.0.0.2:0", daemon.intake);
    upload(&daemon, &mut other);
    drop(other);
    upload(&daemon, &mut first);
    drop(second);
    eventually("a free connection", || {
        let open = daemon.scrape().sum("lookout_connections", &[]);
        if open == 1.0 { Ok(()) } else { Err(format!("{open} are open")) }
    });
    second = idle(&daemon);
    upload(&daemon, &mut second);
    assert_eq!(closed(&daemon, "evicted"), 0.0);
}

#[test]
fn trusted_proxy_has_no_limit_of_its_own() {
    let settings = "max_connections: 9, max_connections_per_client: 1, trusted_proxies: [127.0.0.0/8]";
    let daemon = Setup::yaml(&format!("intake: {{ {settings} }}")).start();
    let mut open: Vec<Connection> = (0..5).map(|_| idle(&daemon)).collect();
    open.iter_mut().for_each(|connection| upload(&daemon, connection));
    assert_eq!(closed(&daemon, "client_limit"), 0.0);
}
