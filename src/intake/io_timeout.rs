//! Timeouts on a connection's socket, below HTTP and TLS: for an idle connection, even over HTTP/2 with a client that
//! answers pings, for the head of a later request, and for a client that reads no responses.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use crate::intake::connection_limit::ConnectionPermit;
use crate::intake::limits::ServerLimits;
use crate::intake::socket::Stream;

/// Consecutive reads after which the connection yields to the others of its thread.
const READ_BUDGET: u8 = 4;

pub(super) struct TimeoutStream {
    stream: Box<dyn Stream>,
    permit: Arc<ConnectionPermit>,
    idle_timeout: Duration,
    head_timeout: Duration,
    write_timeout: Duration,
    /// Wakes the task when the connection may have expired.
    timer: Pin<Box<Sleep>>,
    /// The first read after the connection became idle, with which over HTTP/1.1 the head of a request begins.
    first_read: Option<Instant>,
    /// Set while a write waits.
    write_timer: Option<Pin<Box<Sleep>>>,
    reads: u8,
    /// Whether a write is activity, as that of a long response is. Over HTTP/2, the answer to a ping would be too.
    writes_count: bool,
}

impl TimeoutStream {
    pub(super) fn new(stream: Box<dyn Stream>, permit: Arc<ConnectionPermit>, limits: &ServerLimits) -> Self {
        TimeoutStream {
            stream,
            permit,
            idle_timeout: limits.idle_timeout,
            head_timeout: limits.head_timeout,
            write_timeout: limits.body_timeout,
            timer: Box::pin(sleep(limits.idle_timeout)),
            first_read: None,
            write_timer: None,
            reads: 0,
            writes_count: !limits.http2,
        }
    }

    /// Returns whether the connection is evicted or has expired. If not, its task is woken later.
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> bool {
        if self.permit.poll_evicted(cx) {
            return true;
        }
        loop {
            let now = Instant::now();
            let end = match (self.permit.idle_since(), self.first_read) {
                (None, _) => now + self.idle_timeout,
                (Some(idle), Some(read)) if read > idle && !self.permit.is_http2() => {
                    read + self.head_timeout
                }
                (Some(idle), _) => idle + self.idle_timeout,
            };
            if end <= now {
                return true;
            }
            if self.timer.is_elapsed() || self.timer.deadline() > end {
                self.timer.as_mut().reset(end);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return false;
            }
        }
    }

    /// Returns the result of a write, or an error if the client read nothing, or only a little, for too long.
    fn check(&mut self, cx: &mut Context<'_>, write: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if write.is_ready() {
            self.write_timer = None;
            if self.writes_count {
                self.permit.touch();
            }
            // A connection that is written to is not read from, and must be evicted all the same.
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
            let idle = self.permit.idle_since();
            if self.first_read.is_none_or(|first| idle.is_some_and(|idle| first <= idle)) {
                self.first_read = Some(Instant::now());
            }
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
