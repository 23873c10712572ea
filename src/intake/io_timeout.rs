//! Timeouts on a connection's socket, below HTTP and TLS: for an HTTP/2 connection without requests whose
//! client answers pings, and for a client that reads no responses. Neither would ever release its permit.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use crate::intake::connection_limit::ConnectionPermit;
use crate::intake::limits::ServerLimits;

/// Consecutive reads after which the connection yields to the others of its thread.
const READ_BUDGET: u8 = 4;

pub(super) struct TimeoutStream {
    stream: TcpStream,
    permit: Arc<ConnectionPermit>,
    idle_timeout: Duration,
    write_timeout: Duration,
    idle: Pin<Box<Sleep>>,
    /// Set while a write waits.
    write_timer: Option<Pin<Box<Sleep>>>,
    reads: u8,
    /// Whether a write is activity, as that of a long response is. Over HTTP/2, the answer to a ping would be too.
    writes_count: bool,
}

impl TimeoutStream {
    pub(super) fn new(stream: TcpStream, permit: Arc<ConnectionPermit>, limits: &ServerLimits) -> Self {
        // Otherwise a response over TLS waits 40 ms for an acknowledgement. Fails on a closed connection.
        let _ = stream.set_nodelay(true);
        // A request ends within the time of its body, so that this leaves an idle connection that of a head.
        let idle_timeout = limits.head_timeout + limits.body_timeout;
        TimeoutStream {
            stream,
            permit,
            idle_timeout,
            write_timeout: limits.body_timeout,
            idle: Box::pin(sleep(idle_timeout)),
            write_timer: None,
            reads: 0,
            writes_count: !limits.http2,
        }
    }

    /// Returns whether the connection is evicted or has been idle for too long. If not, its task is woken later.
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> bool {
        if self.permit.poll_evicted(cx) {
            return true;
        }
        while self.idle.as_mut().poll(cx).is_ready() {
            let end = self.permit.last_request() + self.idle_timeout;
            if end <= Instant::now() {
                return true;
            }
            self.idle.as_mut().reset(end);
        }
        false
    }

    /// Returns the result of a write, or an error if the client read nothing, or only a little, for too long.
    fn check(&mut self, cx: &mut Context<'_>, write: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if write.is_ready() {
            self.write_timer = None;
            if self.writes_count {
                self.permit.begin_request();
            }
            // A connection with requests in flight is not read from, and must be evicted all the same.
            return if self.permit.poll_evicted(cx) { timeout_error() } else { write };
        }
        let write_timer = self.write_timer.get_or_insert_with(|| Box::pin(sleep(self.write_timeout)));
        let expired = write_timer.as_mut().poll(cx).is_ready() || self.poll_expired(cx);
        if expired { timeout_error() } else { Poll::Pending }
    }
}

fn timeout_error<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
}

impl AsyncRead for TimeoutStream {
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

impl AsyncWrite for TimeoutStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.check(cx, write)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.check(cx, write)
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
