//! HTTP transport to a collector: one hyper client per endpoint. Responses are read with a bound,
//! because a collector or a proxy is not trusted with the daemon's memory.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::read_limit::LimitedConnector;
use super::result::ExportResult;
use crate::export::otlp::error_message;
use crate::model::ExportStatus;

/// Largest response, in bytes. Responses are tiny; the rest of a longer one is not read.
pub(super) const MAX_RESPONSE_BYTES: usize = 64 << 10;
/// Time for which the peer may leave data unacknowledged. Without it, the HTTP/2 connection to a peer that
/// vanished would block every request on it for a quarter of an hour. HTTP/2 pings are no alternative,
/// because grpc-go, and so the OpenTelemetry Collector, closes connections that ping often.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(20);

/// Pool of connections to one endpoint.
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
        ExportResult::retryable(code, sent, error_message::error_chain(&error))
    })?;
    read_response(response).await.map_err(|error| {
        ExportResult::retryable(ExportStatus::ConnectionLost, true, error_message::error_chain(&error))
    })
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
