//! The PROXY protocol, version 2: a header with the client's address that a load balancer for TCP sends
//! first. With `intake.proxy_protocol`, connections from `intake.trusted_proxies` must begin with it.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use axum_server::accept::Accept;
use proxy_header::{Error, ParseConfig, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::intake::client_ip::PeerAddr;
use crate::intake::client_limit::ClientLimiter;
use crate::intake::connection::ConnectionService;
use crate::intake::io_timeout::TimeoutStream;
use crate::intake::limits::ServerLimits;
use crate::intake::socket::Stream;

/// Bytes of the fixed part, which ends with the length of the rest.
const FIXED_HEADER_BYTES: usize = 16;
/// Maximum length of a header. The specification requires 536; additions of vendors are longer.
const MAX_HEADER_BYTES: usize = 4096;

/// Acceptor that reads the header of connections from trusted proxies, and applies the timeouts.
#[derive(Debug, Clone)]
pub(super) struct ProxyProtocolAcceptor {
    pub(super) limits: ServerLimits,
    pub(super) clients: Arc<ClientLimiter>,
}

impl Accept<Box<dyn Stream>, ConnectionService> for ProxyProtocolAcceptor {
    type Stream = TimeoutStream;
    type Service = ConnectionService;
    type Future = Pin<Box<dyn Future<Output = io::Result<(TimeoutStream, ConnectionService)>> + Send>>;

    fn accept(&self, mut stream: Box<dyn Stream>, mut service: ConnectionService) -> Self::Future {
        let ProxyProtocolAcceptor { limits, clients } = self.clone();
        Box::pin(async move {
            if limits.proxy_protocol && service.peer.is_proxy(&limits.trusted_proxies.load()) {
                let client = tokio::time::timeout(limits.head_timeout, read_header(&mut stream)).await;
                let client = client.unwrap_or(Err(ProxyProtocolError::Timeout)).map_err(io::Error::other)?;
                service.peer = client.map_or(service.peer, |client| PeerAddr(Some(client)));
                *service.permit.client.lock() = clients.acquire(service.peer).map_err(io::Error::other)?;
            }
            Ok((TimeoutStream::new(stream, service.permit.clone(), limits), service))
        })
    }
}

/// Reads the header and nothing after it. `None`: the connection is the proxy's own, as for health checks.
async fn read_header(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<IpAddr>, ProxyProtocolError> {
    let config = ParseConfig { include_tlvs: false, allow_v1: false, allow_v2: true };
    let mut header = vec![0; FIXED_HEADER_BYTES];
    stream.read_exact(&mut header).await?;
    if !matches!(ProxyHeader::parse(&header, config), Ok(_) | Err(Error::BufferTooShort)) {
        return Err(ProxyProtocolError::Invalid);
    }
    let rest = u16::from_be_bytes([header[FIXED_HEADER_BYTES - 2], header[FIXED_HEADER_BYTES - 1]]);
    let len = FIXED_HEADER_BYTES + usize::from(rest);
    if len > MAX_HEADER_BYTES {
        return Err(ProxyProtocolError::Invalid);
    }
    header.resize(len, 0);
    stream.read_exact(&mut header[FIXED_HEADER_BYTES..]).await?;
    let (header, _) = ProxyHeader::parse(&header, config).map_err(|_| ProxyProtocolError::Invalid)?;
    Ok(header.proxied_address().map(|address| address.source.ip()))
}

/// Why a connection from a trusted proxy has no valid header.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProxyProtocolError {
    #[error("it began with something else")]
    Invalid,
    #[error("no complete header arrived in time")]
    Timeout,
    #[error("no complete header could be read: {0}")]
    Io(#[from] io::Error),
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use proxy_header::ProxiedAddress;

    use super::*;

    const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

    async fn read(bytes: &[u8]) -> (Result<Option<IpAddr>, io::ErrorKind>, Vec<u8>) {
        let mut rest = bytes;
        let source = read_header(&mut rest).await.map_err(|error| match error {
            ProxyProtocolError::Invalid => io::ErrorKind::InvalidData,
            ProxyProtocolError::Timeout => io::ErrorKind::TimedOut,
            ProxyProtocolError::Io(error) => error.kind(),
        });
        (source, rest.to_vec())
    }

    fn header(command_and_family: [u8; 2], rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &command_and_family, &length, rest].concat()
    }

    /// Encodes a header with another implementation.
    fn encode(source: &str) -> Vec<u8> {
        let source: SocketAddr = source.parse().unwrap();
        let mut bytes = Vec::new();
        let address = ProxiedAddress::stream(source, SocketAddr::new(source.ip(), 443));
        ProxyHeader::with_address(address).encode_v2(&mut bytes).unwrap();
        bytes
    }

    #[tokio::test]
    async fn header_with_a_source_names_the_client_and_leaves_what_follows() {
        for (source, client) in [("192.0.2.7:5000", "192.0.2.7"), ("[2001:db8::7]:5000", "2001:db8::7")] {
            let bytes = [encode(source), b"POST /report".to_vec()].concat();
            assert_eq!(read(&bytes).await, (Ok(Some(client.parse().unwrap())), b"POST /report".to_vec()));
        }
    }

    #[tokio::test]
    async fn header_with_additions_is_read_to_its_end() {
        let mut address = vec![192, 0, 2, 7, 10, 0, 0, 1, 0, 80, 1, 187];
        address.extend([0xEA, 0, 2, 1, 2]);
        let bytes = [header([0x21, 0x11], &address), b"GET".to_vec()].concat();
        assert_eq!(read(&bytes).await, (Ok(Some([192, 0, 2, 7].into())), b"GET".to_vec()));
    }

    #[tokio::test]
    async fn header_of_the_proxys_own_connection_names_no_client() {
        assert_eq!(read(&header([0x20, 0], &[])).await, (Ok(None), vec![]));
        assert_eq!(read(&header([0x20, 0x11], &[9; 12])).await.0, Ok(None));
        assert_eq!(read(&header([0x21, 0], &[])).await.0, Ok(None));
    }

    #[tokio::test]
    async fn header_that_is_invalid_or_incomplete_is_an_error() {
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
