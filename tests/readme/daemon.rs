//! The real binary, on ports that the system picks, spoken to over plain sockets.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};

/// A running lookoutd; it ends with the test.
pub(crate) struct Daemon {
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// Kept open, so that writing diagnostics cannot fail.
    _stderr: BufReader<ChildStderr>,
    intake: String,
    admin: String,
}

/// Starts lookoutd with nothing but its defaults.
pub(crate) fn start() -> Daemon {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lookoutd"))
        .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .env_clear()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut first = String::new();
    stderr.read_line(&mut first).unwrap();
    let address = |name: &str| {
        let word = first.split_whitespace().find_map(|word| word.strip_prefix(name));
        word.unwrap_or_else(|| panic!("no {name} in {first}")).to_owned()
    };
    let (intake, admin) = (address("intake=http://"), address("admin=http://"));
    Daemon { child, stdout, _stderr: stderr, intake, admin }
}

impl Daemon {
    /// Posts a body; gives the answer's status.
    pub(crate) fn post(&self, path: &str, body: &str) -> u16 {
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nContent-Type: application/reports+json\r\nContent-Length: {length}"
        );
        let answer = exchange(&self.intake, &head, body);
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// The next line on stdout.
    pub(crate) fn event(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line
    }

    /// What a scrape gives, its head included.
    pub(crate) fn metrics(&self) -> String {
        exchange(&self.admin, "GET /metrics HTTP/1.1", "")
    }
}

fn exchange(address: &str, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let (mut answer, host) = (String::new(), format!("Host: {address}\r\nConnection: close"));
    write!(stream, "{head}\r\n{host}\r\n\r\n{body}").unwrap();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to end.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
