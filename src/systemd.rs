//! The service manager: sockets that it passes, and notifications that it receives.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use listenfd::ListenFd;

use crate::intake::Listener;

/// Sockets that the service manager passes.
#[derive(Debug, Default)]
pub struct Sockets {
    /// The socket of intake.
    pub intake: Option<Listener>,
    /// The socket of admin, which is named `admin`.
    pub admin: Option<Listener>,
}

impl Sockets {
    /// Takes the sockets of `LISTEN_FDS`. Only while no other thread uses the environment.
    ///
    /// # Errors
    /// Returns an error if one is no stream socket, or there are two for one listener.
    pub fn take() -> io::Result<Sockets> {
        let (mut sockets, mut passed) = (Sockets::default(), ListenFd::from_env());
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        for (index, name) in (0..passed.len()).zip(names.split(':').chain(std::iter::repeat(""))) {
            let socket = match passed.take_tcp_listener(index) {
                Ok(socket) => socket.map(Listener::try_from),
                Err(_) => passed.take_unix_listener(index)?.map(Listener::try_from),
            };
            let listener = if name == "admin" { &mut sockets.admin } else { &mut sockets.intake };
            if listener.is_some() {
                return Err(io::Error::other("two are for one listener; that of admin is named admin"));
            }
            *listener = socket.transpose()?;
        }
        Ok(sockets)
    }
}

/// Sends a state, such as `READY=1`, to the service manager, if it is waiting for one.
pub fn notify(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&path, state) {
        tracing::warn!(%error, state, "the service manager could not be notified");
    }
}

/// Notifies the service manager of a reload, which ends with `READY=1`.
pub fn notify_reloading() {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    notify(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.tv_sec * 1_000_000 + now.tv_nsec / 1000));
}

fn send(path: &OsStr, state: &str) -> io::Result<()> {
    let address = match path.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(path)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
}
