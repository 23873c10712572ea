//! The real binary, on ports that the system chooses, with requests over plain sockets.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};

/// A running lookoutd, which ends with the test.
pub(crate) struct Daemon {
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// Stays open, so that writing log lines cannot fail.
    stderr: BufReader<ChildStderr>,
    intake: String,
    admin: String,
}

/// Returns the binary under test: that of `LOOKOUTD_BINARY`, else the one that cargo built with the tests.
pub(crate) fn binary() -> OsString {
    std::env::var_os("LOOKOUTD_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_lookoutd").into())
}

/// Starts lookoutd with default settings.
pub(crate) fn start() -> Daemon {
    let mut command = Command::new(binary());
    command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]).env_clear();
    start_by(&mut command).unwrap()
}

/// Starts lookoutd by a command that becomes lookoutd, and waits for the addresses of its listeners.
///
/// # Errors
///
/// Returns what was written to stderr if the process ends instead.
pub(crate) fn start_by(command: &mut Command) -> Result<Daemon, String> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let mut daemon = Daemon { child, stdout, stderr, intake: String::new(), admin: String::new() };
    let mut written = String::new();
    loop {
        let before = written.len();
        if daemon.stderr.read_line(&mut written).unwrap() == 0 {
            return Err(written);
        }
        let line = &written[before..];
        if let (Some(intake), Some(admin)) = (address(line, "intake="), address(line, "admin=")) {
            (daemon.intake, daemon.admin) = (intake, admin);
            return Ok(daemon);
        }
    }
}

/// Returns an address of the startup line, without its scheme.
fn address(line: &str, name: &str) -> Option<String> {
    let url = line.split_whitespace().find_map(|word| word.strip_prefix(name))?;
    Some(url.split_once("://")?.1.to_owned())
}

impl Daemon {
    /// Address of the intake listener.
    pub(crate) fn intake(&self) -> &str {
        &self.intake
    }

    /// Address of the admin listener.
    pub(crate) fn admin(&self) -> &str {
        &self.admin
    }

    /// Posts a body. Returns the status of the response.
    pub(crate) fn post(&self, path: &str, body: &str) -> u16 {
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nContent-Type: application/reports+json\r\nContent-Length: {length}"
        );
        let answer = exchange(&self.intake, &head, body);
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// Returns the next line on stdout.
    pub(crate) fn event(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line
    }

    /// Returns the response to a scrape, with its head.
    pub(crate) fn metrics(&self) -> String {
        exchange(&self.admin, "GET /metrics HTTP/1.1", "")
    }
}

fn exchange(address: &str, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let mut answer = String::new();
    let host = format!("Host: {address}\r\nConnection: close");
    write!(stream, "{head}\r\n{host}\r\n\r\n{body}").unwrap();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Fails if it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
