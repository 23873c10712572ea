//! HTTP/2 frame by frame, in ways that no library sends.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::daemon::{Daemon, Setup};
use crate::support::{DEADLINE, REPORT};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// `:method` POST, `:scheme` http, `:path` /report, `:authority`.
const REQUEST: &[u8] = b"\x83\x86\x04\x07/report\x01\x0creports.test";

/// The same to another path.
fn request_to(path: &str) -> Vec<u8> {
    [b"\x83\x86\x04", &[path.len() as u8][..], path.as_bytes(), b"\x01\x0creports.test"].concat()
}

fn upload(stream: u32) -> Vec<u8> {
    let head = frame(HEADERS, END_HEADERS, stream, REQUEST);
    [head, frame(DATA, END_STREAM, stream, REPORT.as_bytes())].concat()
}

/// A connection after the preface.
struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

/// Result of a read.
enum Next {
    Frame { kind: u8, flags: u8, payload: Vec<u8> },
    Nothing,
    End,
}

impl Connection {
    fn open(daemon: &Daemon) -> Connection {
        let stream = TcpStream::connect(daemon.intake).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let mut connection = Connection { stream, received: Vec::new() };
        connection.send(&[PREFACE, &frame(SETTINGS, 0, 0, b"")].concat());
        connection
    }

    /// Sends bytes; fails if the connection was closed before.
    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the connection is open");
    }

    /// Returns the next frame, if it arrives within the read timeout.
    fn read(&mut self) -> Next {
        loop {
            if let [a, b, c, kind, flags, ..] = self.received[..] {
                let end = 9 + u32::from_be_bytes([0, a, b, c]) as usize;
                if self.received.len() >= end {
                    let payload = self.received.drain(..end).skip(9).collect();
                    return Next::Frame { kind, flags, payload };
                }
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Next::End,
                Ok(read) => self.received.extend_from_slice(&buffer[..read]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Next::Nothing;
                }
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Next::End,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Reads frames until one is of this kind. Returns its payload.
    fn until(&mut self, expected: u8) -> Vec<u8> {
        let end = Instant::now() + DEADLINE;
        while Instant::now() < end {
            match self.read() {
                Next::Frame { kind, payload, .. } if kind == expected => return payload,
                Next::End => panic!("the connection ended"),
                _ => {}
            }
        }
        panic!("no frame of kind {expected}");
    }

    /// Responds to pings until the connection ends. Returns the time until then.
    fn idle(&mut self) -> Duration {
        let begin = Instant::now();
        while begin.elapsed() < DEADLINE {
            match self.read() {
                Next::Frame { kind: PING, flags: 0, payload } => self.send(&frame(PING, ACK, 0, &payload)),
                Next::End => return begin.elapsed(),
                _ => {}
            }
        }
        panic!("an idle connection is never closed");
    }
}

#[test]
fn idle_connection_is_closed_after_its_timeout() {
    let daemon = Setup::yaml("intake: { idle_timeout: 1s }").start();
    let mut connection = Connection::open(&daemon);
    // Requests keep it open for longer.
    for request in 0..8 {
        connection.send(&upload(2 * request + 1));
        connection.until(HEADERS);
        daemon.count(1);
        let pause = Instant::now() + Duration::from_millis(250);
        while Instant::now() < pause {
            assert!(!matches!(connection.read(), Next::End), "closed after {request} requests");
        }
    }
    let idle = connection.idle();
    assert!(idle > Duration::from_millis(500) && idle < Duration::from_secs(9), "closed after {idle:?}");
    daemon.until("lookout_connections", &[], 0.0);
}

#[test]
fn endless_head_of_a_second_request_is_closed() {
    let daemon = Setup::yaml("intake: { idle_timeout: 1s }").start();
    let mut connection = Connection::open(&daemon);
    connection.send(&upload(1));
    connection.until(HEADERS);
    daemon.count(1);
    connection.send(&frame(HEADERS, 0, 3, REQUEST));
    let idle = connection.idle();
    assert!(idle < Duration::from_secs(10), "closed only after {idle:?}");
    daemon.until("lookout_connections", &[], 0.0);
}

/// The HTTP/2 library logs a warning for some frames.
#[test]
fn frames_of_a_client_are_not_logged() {
    let daemon = Daemon::start();
    let mut connection = Connection::open(&daemon);
    for _ in 0..100 {
        connection.send(&frame(PING, ACK, 0, b"\x1b[31mred"));
    }
    connection.send(&upload(1));
    connection.until(HEADERS);
    daemon.count(1);
    let reset = |stream| {
        [frame(HEADERS, END_HEADERS, stream, REQUEST), frame(RESET, 0, stream, &[0, 0, 0, 8])].concat()
    };
    // The daemon closes the connection before the last frame.
    drop(connection.stream.write_all(&(0..500).flat_map(|n| reset(2 * n + 3)).collect::<Vec<_>>()));
    connection.idle();
    assert_eq!(daemon.stderr.all().len(), 1, "{:?}", daemon.stderr.all());
}

/// The status of a response is its first field, by its index in the static table.
#[test]
fn key_of_a_site_is_in_the_path_or_in_the_query() {
    const NO_CONTENT: u8 = 0x89;
    const NOT_FOUND: u8 = 0x8d;
    let daemon = Setup::yaml("sites: [{ name: shop, keys: [apple-tree] }]").start();
    let mut connection = Connection::open(&daemon);
    let targets = [
        ("/report/shop/apple-tree", NO_CONTENT),
        ("/report/shop?key=apple-tree", NO_CONTENT),
        ("/report/shop/wrong-key", NOT_FOUND),
        ("/report/shop", NOT_FOUND),
    ];
    for (number, (target, status)) in targets.into_iter().enumerate() {
        let stream = 2 * number as u32 + 1;
        let head = frame(HEADERS, END_HEADERS, stream, &request_to(target));
        connection.send(&[head, frame(DATA, END_STREAM, stream, REPORT.as_bytes())].concat());
        assert_eq!(connection.until(HEADERS)[0], status, "{target}");
    }
    daemon.count(2);
}
