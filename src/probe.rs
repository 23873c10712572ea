//! `lookoutd health`: sends a health or readiness probe to the daemon with the same settings, because a
//! container without a shell has no other HTTP client.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::config::{Config, ListenAddress};
use crate::http_client::{Request, Response};

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
#[allow(missing_docs)] // the messages describe the variants
pub enum ProbeError {
    #[error("admin_listen has port 0, so where the daemon listens cannot be known; give it a port")]
    UnknownPort,
    #[error("no answer from {0}: {1}; does a lookoutd with these settings run here?")]
    NoResponse(String, io::Error),
    #[error("{0} answers {1}: {text}", text = .2.trim_end())]
    Status(String, String, String),
}

/// Sends a probe to the daemon that listens on `admin_listen`.
///
/// # Errors
/// Returns an error if the response is not 200.
pub fn run(config: &Config, probe: Probe) -> Result<(), ProbeError> {
    let path: &str = probe.into();
    let url = format!("{}{path}", admin_url(config).ok_or(ProbeError::UnknownPort)?);
    let shown =
        config.admin_listen.path().map_or(url.clone(), |socket| format!("unix:{}{path}", socket.display()));
    let (socket, own) = (config.admin_listen.path(), config.admin.tls.files());
    let own = own.as_ref();
    let request =
        Request { method: "GET", url: &url, socket, headers: &[], body: "", ca: None, own, timeout: TIMEOUT };
    let read = |response: Response| Ok((response.status.clone(), response.text(MAX_RESPONSE_BYTES)?));
    match request.send().and_then(read) {
        Ok((status, _)) if status.starts_with("200 ") => Ok(()),
        Ok((status, text)) => Err(ProbeError::Status(shown, status, text)),
        Err(error) => Err(ProbeError::NoResponse(shown, error)),
    }
}

/// Returns the URL of the daemon's admin; `None` if its port is unknown.
pub fn admin_url(config: &Config) -> Option<String> {
    let scheme = if config.admin.tls.files().is_some() { "https" } else { "http" };
    match config.admin_listen {
        ListenAddress::Unix(_) => Some(format!("{scheme}://localhost")),
        ListenAddress::Tcp(address) => {
            (address.port() != 0).then(|| format!("{scheme}://{}", loopback_if_unspecified(address)))
        }
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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
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
        (run(&listening(address), probe).map_err(|error| error.to_string()), admin.join().unwrap())
    }

    fn listening(address: SocketAddr) -> Config {
        Config { admin_listen: ListenAddress::Tcp(address), ..Config::default() }
    }

    #[test]
    fn response_other_than_200_fails() {
        let ok = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nready\n";
        assert_eq!(run_against(ok, Probe::Ready), (Ok(()), "GET /-/ready HTTP/1.0".to_owned()));
        assert_eq!(run_against(ok, Probe::Healthy).1, "GET /-/healthy HTTP/1.0");
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
        let message = run(&listening(address), Probe::Healthy).unwrap_err().to_string();
        assert!(message.contains("refused") && message.contains("does a lookoutd"), "{message}");
        let message =
            run(&listening("127.0.0.1:0".parse().unwrap()), Probe::Healthy).unwrap_err().to_string();
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
