//! Timeouts on a connection's socket, below HTTP and TLS: for an idle connection, even over HTTP/2 with a client that
//! answers pings, for the head of a later request, and for a client that reads no responses.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

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
    limits: ServerLimits,
    /// Wakes the task when the connection may have expired.
    timer: Pin<Box<Sleep>>,
    /// Whether the timer wakes the task that the permit knows.
    is_armed: bool,
    /// Since when the connection was idle at the last read. If it still is, the head of a request is incomplete.
    idle_at_read: Option<Instant>,
    /// When such a head was found incomplete.
    head_began: Option<Instant>,
    /// Set while a write waits.
    write_timer: Option<Pin<Box<Sleep>>>,
    reads: u8,
}

impl TimeoutStream {
    pub(super) fn new(stream: Box<dyn Stream>, permit: Arc<ConnectionPermit>, limits: ServerLimits) -> Self {
        TimeoutStream {
            stream,
            permit,
            timer: Box::pin(sleep(limits.idle_timeout)),
            limits,
            is_armed: false,
            idle_at_read: None,
            head_began: None,
            write_timer: None,
            reads: 0,
        }
    }

    /// Returns whether the connection is evicted or has expired. If not, its task is woken later.
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> bool {
        let same_task = self.permit.register(cx);
        if self.permit.is_evicted() {
            return true;
        }
        let idle = self.permit.idle_since();
        let reads_head = idle.is_some() && idle == self.idle_at_read && !self.permit.is_http2();
        if !reads_head {
            self.head_began = None;
            // Activity only makes the end later, so that the time is not read for every request.
            if same_task && self.is_armed && !self.timer.is_elapsed() {
                return false;
            }
        }
        loop {
            let now = Instant::now();
            let end = match idle {
                None => now + self.limits.idle_timeout,
                Some(_) if reads_head => *self.head_began.get_or_insert(now) + self.limits.head_timeout,
                Some(idle) => idle + self.limits.idle_timeout,
            };
            if end <= now {
                return true;
            }
            if self.timer.is_elapsed() || self.timer.deadline() > end {
                self.timer.as_mut().reset(end);
            }
            self.is_armed = self.timer.as_mut().poll(cx).is_pending();
            if self.is_armed {
                return false;
            }
        }
    }

    /// Returns the result of a write, or an error if the client read nothing, or only a little, for too long.
    fn check(&mut self, cx: &mut Context<'_>, write: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if write.is_ready() {
            self.write_timer = None;
            // A write is activity, as that of a long response is. Over HTTP/2, the answer to a ping would be too.
            if !self.limits.http2 {
                self.permit.touch();
            }
            // A connection that is written to is not read from, and must be evicted all the same.
            self.is_armed &= self.permit.register(cx);
            return if self.permit.is_evicted() { timeout_error() } else { write };
        }
        let write_timer = self.write_timer.get_or_insert_with(|| Box::pin(sleep(self.limits.body_timeout)));
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
            self.idle_at_read = self.permit.idle_since();
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
