//! HTTP transport to a collector: one hyper client per endpoint. Responses are read with a bound, and all bytes
//! with a limit per second, because a collector or a proxy is not trusted with the daemon's memory and CPU.
//! Without the limit, interim responses, HTTP/2 frames or TLS records without end would cost most of a core.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};
use tower_service::Service;

use super::result::{ExportResult, error_chain};
use crate::model::ExportStatus;

/// Largest response, in bytes. Responses are tiny; the rest of a longer one is not read.
pub(super) const MAX_RESPONSE_BYTES: usize = 64 << 10;
/// Time for which the peer may leave data unacknowledged. Without it, the HTTP/2 connection to a peer that
/// vanished would block every request on it for a quarter of an hour. HTTP/2 pings are no alternative,
/// because grpc-go, and so the OpenTelemetry Collector, closes connections that ping often.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(20);

/// Bytes of a connection that may be read per second, and at once after a pause.
const BYTES_PER_SECOND: u32 = 256 << 10;
const BURST_BYTES: u32 = 1 << 20;

pub(super) type HttpClient = Client<HttpsConnector<LimitedConnector>, Full<Bytes>>;

/// Response that has been read to its end, or up to the bound.
#[derive(Debug)]
pub(super) struct CollectorResponse {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Whether the body was longer than the bound.
    pub(super) truncated: bool,
    pub(super) trailers: HeaderMap,
}

/// Creates a pool. With `http2_only`, which gRPC requires, it uses HTTP/2 without negotiation.
pub(super) fn http_client(tls: rustls::ClientConfig, http2_only: bool) -> HttpClient {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(TCP_USER_TIMEOUT));
    #[cfg(target_os = "linux")]
    tcp.set_tcp_user_timeout(Some(TCP_USER_TIMEOUT));
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    let builder = if http2_only { builder.enable_http2() } else { builder.enable_all_versions() };
    Client::builder(TokioExecutor::new())
        .http2_only(http2_only)
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .build(builder.wrap_connector(LimitedConnector(tcp)))
}

/// Sends a request and reads the response. Every error is a retryable [`ExportResult`].
pub(super) async fn round_trip(
    client: &HttpClient,
    request: Request<Full<Bytes>>,
) -> Result<CollectorResponse, ExportResult> {
    let response = client.request(request).await.map_err(|error| {
        let sent = !error.is_connect();
        let code = if sent { ExportStatus::ConnectionLost } else { ExportStatus::Connect };
        ExportResult::retryable(code, sent, error_chain(&error))
    })?;
    read_response(response)
        .await
        .map_err(|error| ExportResult::retryable(ExportStatus::ConnectionLost, true, error_chain(&error)))
}

async fn read_response(response: Response<Incoming>) -> Result<CollectorResponse, hyper::Error> {
    let (head, mut incoming) = response.into_parts();
    let mut body = BytesMut::new();
    let mut truncated = false;
    let mut trailers = HeaderMap::new();
    while let Some(frame) = incoming.frame().await {
        match frame?.into_data() {
            Ok(data) if body.len() + data.len() > MAX_RESPONSE_BYTES => {
                body.extend_from_slice(&data[..MAX_RESPONSE_BYTES - body.len()]);
                truncated = true;
                break;
            }
            Ok(data) => body.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
    let body = body.freeze();
    Ok(CollectorResponse { status: head.status, headers: head.headers, body, truncated, trailers })
}

#[derive(Debug, Clone)]
pub(super) struct LimitedConnector(HttpConnector);

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
