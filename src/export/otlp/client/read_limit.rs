//! Limit on the bytes per second that are read of a collector. Responses are tiny; without the limit, a peer that
//! sends interim responses, HTTP/2 frames or TLS records without end would cost most of a core.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};
use tower_service::Service;

/// Bytes of a connection that may be read per second, and at once after a pause.
const BYTES_PER_SECOND: u32 = 256 << 10;
const BURST_BYTES: u32 = 1 << 20;

/// Connector whose connections have the limit.
#[derive(Debug, Clone)]
pub(super) struct LimitedConnector(pub(super) HttpConnector);

impl Service<Uri> for LimitedConnector {
    type Response = TokioIo<LimitedStream<TcpStream>>;
    type Error = <HttpConnector as Service<Uri>>::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.0.call(uri);
        Box::pin(async move { Ok(TokioIo::new(LimitedStream::new(connecting.await?.into_inner()))) })
    }
}

#[derive(Debug)]
pub(super) struct LimitedStream<S> {
    stream: S,
    /// When the bytes read so far are within [`BYTES_PER_SECOND`].
    within_rate_at: Instant,
    /// Set while reading pauses.
    pause: Option<Pin<Box<Sleep>>>,
}

impl<S> LimitedStream<S> {
    fn new(stream: S) -> Self {
        LimitedStream { stream, within_rate_at: Instant::now(), pause: None }
    }

    fn record(&mut self, bytes: usize) {
        let now = Instant::now();
        let time = |bytes: u32| Duration::from_secs(1) * bytes / BYTES_PER_SECOND;
        self.within_rate_at = self.within_rate_at.max(now) + time(u32::try_from(bytes).unwrap_or(u32::MAX));
        if self.within_rate_at > now + time(BURST_BYTES) {
            self.pause = Some(Box::pin(sleep_until(self.within_rate_at - time(BURST_BYTES))));
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for LimitedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.record(buf.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for LimitedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl<S: Connection> Connection for LimitedStream<S> {
    fn connected(&self) -> Connected {
        self.stream.connected()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, repeat};

    use super::*;

    /// Reads what arrives within this time.
    async fn read_for(stream: &mut LimitedStream<tokio::io::Repeat>, time: Duration) -> usize {
        let mut buffer = vec![0; 8 << 10];
        let end = Instant::now() + time;
        let mut total = 0;
        while let Ok(read) = tokio::time::timeout_at(end, stream.read(&mut buffer)).await {
            total += read.unwrap();
        }
        total
    }

    #[tokio::test]
    async fn endless_stream_is_read_at_the_rate_after_a_burst() {
        let mut stream = LimitedStream::new(repeat(b' '));
        let begin = Instant::now();
        let read = read_for(&mut stream, Duration::from_millis(500)).await;
        let allowed = f64::from(BURST_BYTES) + f64::from(BYTES_PER_SECOND) * begin.elapsed().as_secs_f64();
        assert!(read >= BURST_BYTES as usize, "{read}");
        assert!((read as f64) < allowed + 16384.0, "{read} of {allowed}");
    }
}
