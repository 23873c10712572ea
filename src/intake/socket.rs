//! Listening sockets, of TCP or Unix, and their connections.

use std::fs::Permissions;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum_server::{AddrListener, Address};
use rustix::net::sockopt::set_ipv6_v6only;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpSocket;

use crate::config::ListenAddress;
use crate::intake::client_ip::PeerAddr;

/// Maximum number of connections that wait for accept, if `net.core.somaxconn` allows it. A flood fills the
/// standard library's 128 within milliseconds, and a client without a place retries after a second.
const BACKLOG: u32 = 4096;
/// Connections that a thread may have beyond 5/4 of the average before it pauses, and how long it does before each
/// accept: long enough for another thread to wake, too short for a client to notice if all others are blocked. Not
/// less, because two threads that are half busy wake more often than one that is busy.
const MAX_AHEAD: usize = 2;
const AHEAD_PAUSE: Duration = Duration::from_millis(1);

/// A listening socket.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    /// Where it listens.
    pub address: ListenAddress,
    /// The file of a Unix socket that was created here.
    pub(super) file: Option<PathBuf>,
}

impl Listener {
    /// Listens on the address. Only in a runtime.
    ///
    /// # Errors
    /// Returns an error if the address cannot be used.
    pub fn bind(address: &ListenAddress) -> io::Result<Listener> {
        match address {
            ListenAddress::Unix(path) => {
                Ok(Listener { file: Some(path.clone()), ..Listener::try_from(bind_unix(path)?)? })
            }
            ListenAddress::Tcp(address) => match bind_tcp(*address) {
                // The system has no IPv6.
                Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && !is_about_port(&error) => {
                    bind_tcp((Ipv4Addr::UNSPECIFIED, address.port()).into())?.try_into()
                }
                listener => listener?.try_into(),
            },
        }
    }

    pub(super) fn try_clone(&self) -> io::Result<Listener> {
        let (address, file) = (self.address.clone(), self.file.clone());
        Ok(Listener { socket: self.socket.try_clone()?, address, file })
    }

    pub(super) fn into_async(self, share: Share) -> io::Result<AsyncListener> {
        let socket = match self.address {
            ListenAddress::Tcp(_) => Socket::Tcp(TcpListener::from(self.socket).try_into()?),
            ListenAddress::Unix(_) => Socket::Unix(UnixListener::from(self.socket).try_into()?),
        };
        Ok(AsyncListener { socket, share })
    }
}

/// The open connections of one thread, and of all that accept from the same listener: references to a token each.
#[derive(Clone)]
pub(super) struct Share {
    pub(super) own: Arc<()>,
    all: Arc<[Arc<()>]>,
}

impl Share {
    /// Returns the share of each of this number of threads.
    pub(super) fn of(threads: usize) -> Vec<Share> {
        let all: Arc<[Arc<()>]> = (0..threads).map(|_| Arc::default()).collect();
        all.iter().map(|own| Share { own: own.clone(), all: all.clone() }).collect()
    }

    fn is_ahead(&self) -> bool {
        let all: usize = self.all.iter().map(Arc::strong_count).sum();
        Arc::strong_count(&self.own) > all * 5 / 4 / self.all.len() + MAX_AHEAD
    }
}

impl TryFrom<TcpListener> for Listener {
    type Error = io::Error;

    fn try_from(socket: TcpListener) -> io::Result<Listener> {
        socket.set_nonblocking(true)?;
        let address = ListenAddress::Tcp(socket.local_addr()?);
        Ok(Listener { socket: socket.into(), address, file: None })
    }
}

impl TryFrom<UnixListener> for Listener {
    type Error = io::Error;

    fn try_from(socket: UnixListener) -> io::Result<Listener> {
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?.as_pathname().map(Path::to_owned);
        let address = ListenAddress::Unix(address.unwrap_or_default());
        Ok(Listener { socket: socket.into(), address, file: None })
    }
}

fn is_about_port(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied)
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if address.ip() == Ipv6Addr::UNSPECIFIED {
        set_ipv6_v6only(&socket, false)?;
    }
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    // Left by a process that was killed.
    if is_socket
        && UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// The stream of a connection.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A listening socket of a runtime.
pub struct AsyncListener {
    socket: Socket,
    share: Share,
}

enum Socket {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl Address for PeerAddr {
    type Stream = Box<dyn Stream>;
    type Listener = AsyncListener;
}

impl AddrListener<Box<dyn Stream>, PeerAddr> for AsyncListener {
    async fn bind_to(_: PeerAddr) -> io::Result<AsyncListener> {
        Err(io::ErrorKind::Unsupported.into())
    }

    async fn accept_stream(&self) -> io::Result<(Box<dyn Stream>, PeerAddr)> {
        // Otherwise the first thread to wake accepts all connections that a proxy opens at once, and the others idle.
        if self.share.is_ahead() {
            tokio::time::sleep(AHEAD_PAUSE).await;
        }
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Otherwise a response over TLS waits 40 ms for an acknowledgement. Fails on a closed connection.
                let _ = stream.set_nodelay(true);
                Ok((Box::new(stream), PeerAddr(Some(peer.ip()))))
            }
            Socket::Unix(listener) => Ok((Box::new(listener.accept().await?.0), PeerAddr(None))),
        }
    }

    fn get_local_addr(&self) -> io::Result<PeerAddr> {
        Ok(PeerAddr(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns how many of 40 connections the first of two threads accepts, both of which wait for them, if it has
    /// `open` connections and the other none.
    async fn accepted_with(open: usize) -> usize {
        let shares = Share::of(2);
        let _open = vec![shares[0].own.clone(); open];
        let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap()).unwrap();
        let [first, second] =
            [0, 1].map(|at| listener.try_clone().unwrap().into_async(shares[at].clone()).unwrap());
        let mut by_first = 0;
        for _ in 0..40 {
            let ListenAddress::Tcp(address) = listener.address else { panic!("{}", listener.address) };
            let client = std::net::TcpStream::connect(address).unwrap();
            by_first += tokio::select! {
                biased;
                accepted = first.accept_stream() => accepted.map(|_| 1).unwrap(),
                accepted = second.accept_stream() => accepted.map(|_| 0).unwrap(),
            };
            drop(client);
        }
        by_first
    }

    #[tokio::test]
    async fn thread_with_more_connections_than_others_accepts_after_them() {
        // Each is decided by what is ready first, so a test that is interrupted for a millisecond may see a few others.
        assert!(accepted_with(10).await < 10);
        assert!(accepted_with(4).await > 30);
    }
}
