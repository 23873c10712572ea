//! A small blocking HTTP/1.1 client that can also misbehave: send half a request, drip, or state a wrong length.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::DEADLINE;

/// A request with `Connection: close`.
pub(crate) struct Request {
    method: &'static str,
    target: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    chunked: bool,
}

impl Request {
    pub(crate) fn new(method: &'static str, target: &str) -> Request {
        Request { method, target: target.to_owned(), headers: Vec::new(), body: None, chunked: false }
    }

    pub(crate) fn post(target: &str, body: impl AsRef<[u8]>) -> Request {
        let mut request = Request::new("POST", target);
        request.body = Some(body.as_ref().to_vec());
        request
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Request {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends the body in chunks, without a length.
    pub(crate) fn chunked(mut self) -> Request {
        self.chunked = true;
        self
    }

    /// Returns the bytes of the head, and those of the body.
    fn bytes(&self) -> (Vec<u8>, Vec<u8>) {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        if !self.headers.iter().any(|(name, _)| name == "host") {
            head += "host: localhost\r\n";
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        let body = self.body.clone().unwrap_or_default();
        head += match (&self.body, self.chunked) {
            (None, _) => String::new(),
            (Some(_), true) => "transfer-encoding: chunked\r\n".to_owned(),
            (Some(body), false) => format!("content-length: {}\r\n", body.len()),
        }
        .as_str();
        head += "connection: close\r\n\r\n";
        (head.into_bytes(), if self.chunked { in_chunks(&body) } else { body })
    }

    /// Sends the request over a new connection.
    pub(crate) fn send(&self, to: SocketAddr) -> Answer {
        let mut connection = Connection::open(to);
        let (head, body) = self.bytes();
        connection.write(&head).expect("the head can be sent");
        // Fails if the daemon has rejected the request; the response follows.
        drop(connection.write(&body));
        connection.answer()
    }
}

fn in_chunks(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in body.chunks(8192) {
        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

/// A connection that a test writes to by hand.
pub(crate) struct Connection(BufReader<TcpStream>);

impl Connection {
    pub(crate) fn open(to: SocketAddr) -> Connection {
        Connection::of(TcpStream::connect_timeout(&to, DEADLINE).expect("the daemon accepts"))
    }

    pub(crate) fn of(stream: TcpStream) -> Connection {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Connection(BufReader::new(stream))
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    /// Shuts down a direction of the connection, if the daemon has not closed it.
    pub(crate) fn shutdown(&self, how: Shutdown) {
        drop(self.0.get_ref().shutdown(how));
    }

    /// Reads to the end, which must not be a response with success.
    pub(crate) fn ends_without_success(&mut self, sent: &[u8]) {
        let mut received = Vec::new();
        match self.0.read_to_end(&mut received) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("no end: {error}"),
            _ => assert!(!received.starts_with(b"HTTP/1.1 2"), "{:?}", String::from_utf8_lossy(sent)),
        }
    }

    /// Returns the response; fails if there is none.
    pub(crate) fn answer(&mut self) -> Answer {
        self.answer_or_close().expect("an answer rather than a closed connection")
    }

    /// Returns the response; `None` if the daemon closed the connection without one.
    pub(crate) fn answer_or_close(&mut self) -> Option<Answer> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(0) => return None,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
            read => read.expect("an answer in time"),
        };
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status line: {line:?}"));
        let headers = self.headers();
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length = length.map_or(0, |(_, length)| length.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).expect("a whole body");
        Some(Answer { status, headers, body })
    }

    /// Returns what is received up to a line with this text, or up to the end.
    pub(crate) fn until(&mut self, text: &str) -> String {
        let mut received = String::new();
        let mut line = 0;
        while !received[line..].contains(text) {
            line = received.len();
            if self.0.read_line(&mut received).expect("a line in time") == 0 {
                break;
            }
        }
        received
    }

    /// Returns the status of a response that ends with its head and with the connection.
    pub(crate) fn head_to_the_end(&mut self) -> u16 {
        let mut response = String::new();
        self.0.read_to_string(&mut response).expect("the end of the connection");
        assert!(response.ends_with("\r\n\r\n"), "{response:?}");
        response.split(' ').nth(1).unwrap().parse().unwrap()
    }

    fn headers(&mut self) -> Vec<(String, String)> {
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).expect("a whole head");
            let Some((name, value)) = line.trim_end().split_once(':') else { return headers };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// Returns whether nothing is received within this time.
    pub(crate) fn is_silent_for(&mut self, time: Duration) -> bool {
        self.0.get_ref().set_read_timeout(Some(time)).unwrap();
        let read = self.0.fill_buf().map(<[u8]>::len);
        self.0.get_ref().set_read_timeout(Some(DEADLINE)).unwrap();
        matches!(read, Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }
}

/// A response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("an answer in UTF-8")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}
