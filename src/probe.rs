//! `lookoutd health`: sends a health or readiness probe to the daemon with the same settings, because a
//! container without a shell has no other HTTP client.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// Maximum time of the connect, and of each read.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum size of a response, far above those of admin.
const MAX_RESPONSE_BYTES: u64 = 4096;

/// Probe endpoint of admin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
pub enum Probe {
    /// The process runs.
    #[strum(serialize = "/-/healthy")]
    Healthy,
    /// Intake accepts, and no export has failed for too long.
    #[strum(serialize = "/-/ready")]
    Ready,
}

/// Why a probe failed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The port of the daemon is unknown.
    #[error("admin_listen has port 0, so where the daemon listens cannot be known; give it a port")]
    UnknownPort,
    /// No HTTP response was received from this URL.
    #[error("no answer from {0}: {1}; does a lookoutd with these settings run here?")]
    NoResponse(String, io::Error),
    /// The response from this URL is not 200 but has this status and body.
    #[error("{0} answers {1}: {text}", text = .2.trim_end())]
    Status(String, String, String),
}

/// Sends a probe to the daemon that listens on `admin_listen`.
///
/// # Errors
/// Returns an error if the response is not 200.
pub fn run(admin_listen: SocketAddr, probe: Probe) -> Result<(), ProbeError> {
    if admin_listen.port() == 0 {
        return Err(ProbeError::UnknownPort);
    }
    let address = loopback_if_unspecified(admin_listen);
    let path = probe.into();
    let url = format!("http://{address}{path}");
    match get(address, path) {
        Ok((status, _)) if status.starts_with("200 ") => Ok(()),
        Ok((status, text)) => Err(ProbeError::Status(url, status, text)),
        Err(error) => Err(ProbeError::NoResponse(url, error)),
    }
}

/// Returns the loopback address for an unspecified one, which not every system can connect to.
fn loopback_if_unspecified(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// Returns the status line without its version, and the body.
fn get(address: SocketAddr, path: &str) -> io::Result<(String, String)> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut response = Vec::new();
    stream.take(MAX_RESPONSE_BYTES).read_to_end(&mut response).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    })?;
    let response = String::from_utf8_lossy(&response);
    let http = response.strip_prefix("HTTP/1.1 ").and_then(|response| response.split_once("\r\n"));
    let (status, rest) = http.ok_or_else(|| io::Error::other("the response is not HTTP"))?;
    let body = rest.split_once("\r\n\r\n").unwrap_or_default().1;
    Ok((status.to_owned(), body.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Returns the result of a probe of an admin with this response, and the request line that admin received.
    fn run_against(response: &'static str, probe: Probe) -> (Result<(), String>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let admin = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 1024];
            let read = stream.read(&mut head).unwrap();
            stream.write_all(response.as_bytes()).unwrap();
            String::from_utf8_lossy(&head[..read]).lines().next().unwrap().to_owned()
        });
        (run(address, probe).map_err(|error| error.to_string()), admin.join().unwrap())
    }

    #[test]
    fn response_other_than_200_fails() {
        let ok = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nready\n";
        assert_eq!(run_against(ok, Probe::Ready), (Ok(()), "GET /-/ready HTTP/1.1".to_owned()));
        assert_eq!(run_against(ok, Probe::Healthy).1, "GET /-/healthy HTTP/1.1");
        let not_ready = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 10\r\n\r\nnot ready\n";
        let message = run_against(not_ready, Probe::Ready).0.unwrap_err();
        assert!(message.ends_with("/-/ready answers 503 Service Unavailable: not ready"), "{message}");
        let message = run_against("220 mail.example ESMTP\r\n", Probe::Healthy).0.unwrap_err();
        assert!(message.starts_with("no answer from http://127.0.0.1:"), "{message}");
    }

    #[test]
    fn unreachable_daemon_fails() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let message = run(address, Probe::Healthy).unwrap_err().to_string();
        assert!(message.contains("refused") && message.contains("does a lookoutd"), "{message}");
        let message = run("127.0.0.1:0".parse().unwrap(), Probe::Healthy).unwrap_err().to_string();
        assert!(message.contains("port 0"), "{message}");
    }

    #[test]
    fn unspecified_address_becomes_loopback() {
        for (listen, address) in
            [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("10.0.0.5:1", "10.0.0.5:1")]
        {
            assert_eq!(loopback_if_unspecified(listen.parse().unwrap()).to_string(), address);
        }
    }
}
