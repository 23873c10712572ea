//! `lookoutd health`: asks the daemon that runs with the same settings how it is. A container without a
//! shell has no other program to ask with.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// All that an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Far above what admin answers.
const MAX_RESPONSE_BYTES: usize = 4096;

/// Which of admin's two questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// `/-/healthy`: does the process run?
    Healthy,
    /// `/-/ready`: does intake accept, and does no export fail for too long?
    Ready,
}

impl Probe {
    fn path(self) -> &'static str {
        match self {
            Probe::Healthy => "/-/healthy",
            Probe::Ready => "/-/ready",
        }
    }
}

/// Asks the daemon whose `admin_listen` this is. `Err` says what stands against a yes: for a person.
pub fn run(admin_listen: SocketAddr, probe: Probe) -> Result<(), String> {
    if admin_listen.port() == 0 {
        return Err("admin_listen has port 0, so where the daemon listens cannot be known; \
                    give it a port"
            .to_owned());
    }
    let (address, path) = (loopback_if_unspecified(admin_listen), probe.path());
    let no_answer = |error: &dyn std::fmt::Display| {
        format!(
            "no answer from http://{address}{path}: {error}; does a lookoutd with these settings run here?"
        )
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    let answer = runtime.block_on(async { tokio::time::timeout(TIMEOUT, get(address, path)).await });
    match answer {
        Ok(Ok((StatusCode::OK, _))) => Ok(()),
        Ok(Ok((status, text))) => {
            Err(format!("http://{address}{path} answers {status}: {}", text.trim_end()))
        }
        Ok(Err(error)) => Err(no_answer(&error)),
        Err(_) => Err(no_answer(&format_args!("nothing within {} s", TIMEOUT.as_secs()))),
    }
}

/// An unspecified address is no place to connect to everywhere: this machine's own stands for it.
fn loopback_if_unspecified(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

#[allow(clippy::disallowed_methods)] // bounded by Limited
async fn get(address: SocketAddr, path: &str) -> io::Result<(StatusCode, String)> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // It ends with the runtime at the latest, and what ends it early the answer tells.
    tokio::spawn(connection);
    let request = Request::get(path).header(HOST, address.to_string()).body(Empty::<Bytes>::new());
    let request = request.map_err(io::Error::other)?;
    let (head, body) = sender.send_request(request).await.map_err(io::Error::other)?.into_parts();
    let body = Limited::new(body, MAX_RESPONSE_BYTES).collect().await.map_err(io::Error::other)?;
    Ok((head.status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// What `daemon` says of an admin that gives this answer, and the request line that it got.
    fn asked(answer: &'static str, probe: Probe) -> (Result<(), String>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let admin = std::thread::spawn(move || {
            let (mut stream, mut head) = (listener.accept().unwrap().0, [0; 1024]);
            let read = stream.read(&mut head).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&head[..read]).lines().next().unwrap().to_owned()
        });
        (run(address, probe), admin.join().unwrap())
    }

    #[test]
    fn only_200_is_a_yes() {
        let yes = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nready\n";
        assert_eq!(asked(yes, Probe::Ready), (Ok(()), "GET /-/ready HTTP/1.1".to_owned()));
        assert_eq!(asked(yes, Probe::Healthy).1, "GET /-/healthy HTTP/1.1");
        let no = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 10\r\n\r\nnot ready\n";
        let message = asked(no, Probe::Ready).0.unwrap_err();
        assert!(message.ends_with("/-/ready answers 503 Service Unavailable: not ready"), "{message}");
        let message = asked("220 mail.example ESMTP\r\n", Probe::Healthy).0.unwrap_err();
        assert!(message.starts_with("no answer from http://127.0.0.1:"), "{message}");
    }

    #[test]
    fn nobody_there_is_a_no() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let message = run(address, Probe::Healthy).unwrap_err();
        assert!(message.contains("refused") && message.contains("does a lookoutd"), "{message}");
        let message = run("127.0.0.1:0".parse().unwrap(), Probe::Healthy).unwrap_err();
        assert!(message.contains("port 0"), "{message}");
    }

    #[test]
    fn everywhere_is_asked_for_here() {
        for (listen, asked) in
            [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("10.0.0.5:1", "10.0.0.5:1")]
        {
            assert_eq!(loopback_if_unspecified(listen.parse().unwrap()).to_string(), asked);
        }
    }
}
