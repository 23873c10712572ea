//! Connections on which nothing happens, seen where they meet the socket: below HTTP and below TLS.
//! hyper bounds the time of a request's head over HTTP/1.1 only, and `upload` that of its body. What
//! is left is an HTTP/2 connection without a request, kept open by answering pings, and a client that
//! reads no answers. Both would never release their permit.

use std::future::{Ready, ready};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum_server::accept::Accept;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use crate::intake::connection_limit::ConnectionPermit;
use crate::intake::server::ConnectionService;

/// Reads in a row after which the other connections of the thread have their turn.
const READ_BUDGET: u8 = 4;

/// How long a connection may go without what should happen on it. Also what begins to watch.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConnectionTimeouts {
    /// Without a new request.
    pub(super) idle: Duration,
    /// Without the client's taking a byte of what waits for it.
    pub(super) write: Duration,
}

impl Accept<TcpStream, ConnectionService> for ConnectionTimeouts {
    type Stream = TimeoutStream<TcpStream>;
    type Service = ConnectionService;
    type Future = Ready<io::Result<(Self::Stream, ConnectionService)>>;

    fn accept(&self, stream: TcpStream, service: ConnectionService) -> Self::Future {
        // Without it, an answer over TLS waits for the client's acknowledgement of what came before, which
        // takes 40 ms. Only a connection that is gone already refuses.
        let _ = stream.set_nodelay(true);
        ready(Ok((TimeoutStream::new(stream, service.permit.clone(), *self), service)))
    }
}

/// A socket with timeouts.
pub(super) struct TimeoutStream<S> {
    stream: S,
    permit: Arc<ConnectionPermit>,
    timeouts: ConnectionTimeouts,
    idle: Pin<Box<Sleep>>,
    /// There while a write waits.
    write_timer: Option<Pin<Box<Sleep>>>,
    reads: u8,
}

impl<S> TimeoutStream<S> {
    fn new(stream: S, permit: Arc<ConnectionPermit>, timeouts: ConnectionTimeouts) -> Self {
        let idle = Box::pin(sleep(timeouts.idle));
        TimeoutStream { stream, permit, timeouts, idle, write_timer: None, reads: 0 }
    }

    /// Returns whether the connection ends: evicted, or without a request for too long. If not,
    /// the task is woken when that may be so.
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> bool {
        if self.permit.poll_evicted(cx) {
            return true;
        }
        while self.idle.as_mut().poll(cx).is_ready() {
            let end = self.permit.last_request() + self.timeouts.idle;
            if end <= Instant::now() {
                return true;
            }
            self.idle.as_mut().reset(end);
        }
        false
    }

    /// What became of a write, unless nothing was taken for too long, or a little now and then for too long.
    fn written(&mut self, cx: &mut Context<'_>, write: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if write.is_ready() {
            self.write_timer = None;
            // A client with requests in hand is not read from, and must not stay for that.
            return if self.permit.poll_evicted(cx) { timeout_error() } else { write };
        }
        let write_timer = self.write_timer.get_or_insert_with(|| Box::pin(sleep(self.timeouts.write)));
        if write_timer.as_mut().poll(cx).is_ready() || self.poll_expired(cx) {
            return timeout_error();
        }
        Poll::Pending
    }
}

fn timeout_error<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
}

impl<S: AsyncRead + Unpin> AsyncRead for TimeoutStream<S> {
    /// An idle connection reads as if the client had closed it.
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.reads == READ_BUDGET {
            self.reads = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if read.is_ready() {
            self.reads += 1;
            return read;
        }
        self.reads = 0;
        if self.poll_expired(cx) { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TimeoutStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(cx, write)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.written(cx, write)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
