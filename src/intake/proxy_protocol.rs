//! The PROXY protocol, version 2: what a load balancer that passes bytes on, not HTTP, says before the
//! first of them about where they come from. Believed from `intake.trusted_proxies` only, which then
//! must say it; whoever else says it sends no HTTP.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum_server::accept::Accept;
use ipnet::IpNet;
use proxy_header::{Error, ParseConfig, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;

use crate::intake::client_ip::is_trusted;
use crate::intake::io_timeout::{ConnectionTimeouts, TimeoutStream};
use crate::intake::server::{ConnectionService, PeerAddr};

/// Bytes up to the length of the rest.
const FIXED_HEADER_BYTES: usize = 16;
/// The longest header that is read. What the specification asks for is 536; vendors' additions are longer.
const MAX_HEADER_BYTES: usize = 4096;

/// Acceptor that reads the header of connections from trusted proxies.
#[derive(Debug, Clone)]
pub(super) struct ProxyProtocolAcceptor {
    /// `None`: nobody.
    pub(super) proxies: Option<Arc<[IpNet]>>,
    pub(super) timeout: Duration,
    /// Begins to watch what comes after.
    pub(super) timeouts: ConnectionTimeouts,
}

impl Accept<TcpStream, ConnectionService> for ProxyProtocolAcceptor {
    type Stream = TimeoutStream<TcpStream>;
    type Service = ConnectionService;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, ConnectionService)>> + Send>>;

    fn accept(&self, mut stream: TcpStream, mut service: ConnectionService) -> Self::Future {
        let ProxyProtocolAcceptor { proxies, timeout, timeouts } = self.clone();
        Box::pin(async move {
            if let (Some(proxies), Some(PeerAddr(peer))) = (proxies, service.peer)
                && is_trusted(peer.to_canonical(), &proxies)
            {
                let source = tokio::time::timeout(timeout, read_header(&mut stream)).await;
                let source = source.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
                let client = source.map_err(|error| io::Error::other(ProxyProtocolError(error)))?;
                service.peer = Some(PeerAddr(client.unwrap_or(peer)));
            }
            timeouts.accept(stream, service).await
        })
    }
}

/// Reads the header, and not a byte more. `None`: the proxy speaks for itself, as when it asks how we are.
///
/// # Errors
/// When there is none, or none of version 2.
async fn read_header(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<IpAddr>> {
    let config = ParseConfig { include_tlvs: false, allow_v1: false, allow_v2: true };
    let mut header = vec![0; FIXED_HEADER_BYTES];
    stream.read_exact(&mut header).await?;
    // The rest is waited for only when this is the beginning of a header.
    if !matches!(ProxyHeader::parse(&header, config), Ok(_) | Err(Error::BufferTooShort)) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let rest =
        usize::from(u16::from_be_bytes([header[FIXED_HEADER_BYTES - 2], header[FIXED_HEADER_BYTES - 1]]));
    if FIXED_HEADER_BYTES + rest > MAX_HEADER_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    header.resize(FIXED_HEADER_BYTES + rest, 0);
    stream.read_exact(&mut header[FIXED_HEADER_BYTES..]).await?;
    match ProxyHeader::parse(&header, config) {
        Ok((header, _)) => Ok(header.proxied_address().map(|address| address.source.ip())),
        Err(_) => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// A connection from a trusted proxy that does not begin with a valid header.
#[derive(Debug)]
pub(super) struct ProxyProtocolError(io::Error);

impl std::error::Error for ProxyProtocolError {}

impl fmt::Display for ProxyProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.kind() {
            io::ErrorKind::InvalidData => f.write_str("something else came instead"),
            io::ErrorKind::UnexpectedEof => f.write_str("closed before its end"),
            io::ErrorKind::TimedOut => f.write_str("none came in time"),
            _ => self.0.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use proxy_header::ProxiedAddress;

    use super::*;

    const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

    async fn read(bytes: &[u8]) -> (Result<Option<IpAddr>, io::ErrorKind>, Vec<u8>) {
        let mut rest = bytes;
        let source = read_header(&mut rest).await.map_err(|error| error.kind());
        (source, rest.to_vec())
    }

    fn header(command_and_family: [u8; 2], rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &command_and_family, &length, rest].concat()
    }

    /// As another implementation writes it.
    fn written(source: &str) -> Vec<u8> {
        let source: SocketAddr = source.parse().unwrap();
        let mut bytes = Vec::new();
        let address = ProxiedAddress::stream(source, SocketAddr::new(source.ip(), 443));
        ProxyHeader::with_address(address).encode_v2(&mut bytes).unwrap();
        bytes
    }

    #[tokio::test]
    async fn the_source_is_the_client_and_what_follows_stays() {
        for (source, client) in [("192.0.2.7:5000", "192.0.2.7"), ("[2001:db8::7]:5000", "2001:db8::7")] {
            let bytes = [written(source), b"POST /report".to_vec()].concat();
            assert_eq!(read(&bytes).await, (Ok(Some(client.parse().unwrap())), b"POST /report".to_vec()));
        }
    }

    #[tokio::test]
    async fn additions_are_passed_over() {
        let mut address = vec![192, 0, 2, 7, 10, 0, 0, 1, 0, 80, 1, 187];
        address.extend([0xEA, 0, 2, 1, 2]);
        let bytes = [header([0x21, 0x11], &address), b"GET".to_vec()].concat();
        assert_eq!(read(&bytes).await, (Ok(Some([192, 0, 2, 7].into())), b"GET".to_vec()));
    }

    #[tokio::test]
    async fn a_proxy_may_speak_for_itself() {
        assert_eq!(read(&header([0x20, 0], &[])).await, (Ok(None), vec![]));
        assert_eq!(read(&header([0x20, 0x11], &[9; 12])).await.0, Ok(None));
        assert_eq!(read(&header([0x21, 0], &[])).await.0, Ok(None));
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        let invalid = Err(io::ErrorKind::InvalidData);
        assert_eq!(read(b"POST /report HTTP/1.1\r\n").await.0, invalid);
        assert_eq!(read(b"PROXY TCP4 192.0.2.7 10.0.0.1 80 443\r\n").await.0, invalid);
        assert_eq!(read(&header([0x31, 0x11], &[9; 12])).await.0, invalid);
        assert_eq!(read(&header([0x21, 0x11], &[9; 11])).await.0, invalid);
        assert_eq!(read(&header([0x21, 0x11], &[9; MAX_HEADER_BYTES])).await.0, invalid);
        let cut = Err(io::ErrorKind::UnexpectedEof);
        assert_eq!(read(SIGNATURE).await.0, cut);
        assert_eq!(read(&header([0x21, 0x11], &[9; 12])[..20]).await.0, cut);
    }
}
