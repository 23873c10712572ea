//! Slow clients, by accident or in order to occupy a connection.

use std::time::{Duration, Instant};

use super::check;
use crate::support::daemon::Setup;
use crate::support::http::{Answer, Connection};
use crate::support::{DEADLINE, REPORT};

/// Interval of the bytes of a dripping client: short enough to avoid any idle timeout.
const DRIP: Duration = Duration::from_millis(100);

/// Sends byte after byte until the daemon responds. Returns `None` if it closes the connection.
fn drip(connection: &mut Connection, bytes: &[u8]) -> Option<Answer> {
    let end = Instant::now() + DEADLINE;
    for byte in bytes.iter().cycle() {
        assert!(Instant::now() < end, "the daemon never times out");
        if connection.write(&[*byte]).is_err() || !connection.is_silent_for(DRIP) {
            break;
        }
    }
    connection.answer_or_close()
}

#[test]
fn dripping_body_gets_408() {
    let daemon = Setup::yaml("intake: { body_timeout: 1s }").start();
    for head in ["content-length: 100000", "transfer-encoding: chunked"] {
        let mut connection = Connection::open(daemon.intake);
        connection.write(format!("POST /report HTTP/1.1\r\nhost: r\r\n{head}\r\n\r\n").as_bytes()).unwrap();
        let answer = drip(&mut connection, b"1\r\n \r\n").expect("an answer");
        check(&answer, 408);
        assert_eq!(answer.header("connection"), Some("close"));
    }
    daemon.until("lookout_uploads_total", &[("outcome", "body_timeout")], 2.0);
}

#[test]
fn dripping_head_is_closed() {
    let daemon = Setup::yaml("intake: { head_timeout: 1s }").start();
    let mut connection = Connection::open(daemon.intake);
    connection.write(b"POST /report HTTP/1.1\r\nhost: r\r\nx-long: ").unwrap();
    let answer = drip(&mut connection, b"a");
    assert!(answer.is_none_or(|answer| answer.status == 408));
    daemon.until("lookout_connections", &[], 0.0);
}

#[test]
fn silent_connection_is_closed() {
    let daemon = Setup::yaml("intake: { head_timeout: 1s }").start();
    let mut connection = Connection::open(daemon.intake);
    assert!(connection.answer_or_close().is_none_or(|answer| answer.status == 408));
    daemon.until("lookout_connections", &[], 0.0);
}

#[test]
fn second_dripping_head_is_closed() {
    let daemon = Setup::yaml("intake: { head_timeout: 1s }").start();
    let mut connection = Connection::open(daemon.intake);
    let head = format!("POST /report HTTP/1.1\r\nhost: r\r\ncontent-length: {}\r\n\r\n", REPORT.len());
    connection.write(format!("{head}{REPORT}").as_bytes()).unwrap();
    check(&connection.answer(), 204);
    daemon.count(1);
    connection.write(b"POST /report HTTP/1.1\r\nx-long: ").unwrap();
    let answer = drip(&mut connection, b"a");
    assert!(answer.is_none_or(|answer| answer.status == 408));
}

#[test]
fn client_that_reads_no_responses_is_closed() {
    let daemon = Setup::yaml("intake: { head_timeout: 1s, body_timeout: 1s }").start();
    let mut connection = Connection::open(daemon.intake);
    let uploads = "POST /report HTTP/1.1\r\nhost: r\r\ncontent-length: 0\r\n\r\n".repeat(1000);
    let end = Instant::now() + 3 * DEADLINE;
    // The daemon goes on until the responses fill the buffers of the system.
    while connection.write(uploads.as_bytes()).is_ok() {
        assert!(Instant::now() < end, "the daemon never times out");
    }
    daemon.until("lookout_connections", &[], 0.0);
}
