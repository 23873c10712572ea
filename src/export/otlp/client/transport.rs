//! Bytes to and from a collector: one hyper client per endpoint, and an exchange whose answer is read
//! with a bound, because a collector (or what sits in front of it) is not trusted with our memory.

use std::time::Duration;

use ::http::{HeaderMap, Request, Response, StatusCode};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::ExportResult;
use crate::export::otlp::error_message;
use crate::model::ExportStatus;

/// Most bytes of an answer that are read. Answers to exports are tiny; the rest of a longer one is
/// of no use.
const MAX_RESPONSE_BYTES: usize = 64 << 10;
/// How long the peer's kernel may leave data unacknowledged. A peer that vanished would otherwise keep
/// its HTTP/2 connection, and every request that is put on it, for a quarter of an hour. HTTP/2 pings
/// would tell as well, but grpc-go, and so the OpenTelemetry Collector, hangs up on who pings often.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(20);

/// A pool of connections.
#[derive(Debug)]
pub(super) struct Transport {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// An answer that has been read to its end, or up to the bound.
#[derive(Debug)]
pub(super) struct CollectorResponse {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Empty when the body was longer than the bound.
    pub(super) body: Bytes,
    /// Empty when there were none.
    pub(super) trailers: HeaderMap,
}

impl Transport {
    /// `http2_only`: no HTTP/1.1, and HTTP/2 without asking where there is no TLS, as gRPC wants it.
    pub(super) fn new(tls: rustls::ClientConfig, http2_only: bool) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(TCP_USER_TIMEOUT));
        #[cfg(target_os = "linux")]
        tcp.set_tcp_user_timeout(Some(TCP_USER_TIMEOUT));
        let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        let connector = if http2_only {
            builder.enable_http2().wrap_connector(tcp)
        } else {
            builder.enable_all_versions().wrap_connector(tcp)
        };
        let client = Client::builder(TokioExecutor::new())
            .http2_only(http2_only)
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .build(connector);
        Transport { client }
    }

    /// Sends a request and reads the answer. A failure is an attempt that may be repeated.
    pub(super) async fn round_trip(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<CollectorResponse, ExportResult> {
        let response = self.client.request(request).await.map_err(|error| {
            let sent = !error.is_connect();
            let code = if sent { ExportStatus::ConnectionLost } else { ExportStatus::Connect };
            ExportResult::Retryable {
                code,
                maybe_delivered: sent,
                after: None,
                message: error_message::error_chain(&error),
            }
        })?;
        read_response(response).await.map_err(|error| ExportResult::Retryable {
            code: ExportStatus::ConnectionLost,
            maybe_delivered: true,
            after: None,
            message: error_message::error_chain(&error),
        })
    }
}

async fn read_response(response: Response<Incoming>) -> Result<CollectorResponse, hyper::Error> {
    let (head, mut incoming) = response.into_parts();
    let (mut body, mut trailers) = (BytesMut::new(), HeaderMap::new());
    while let Some(frame) = incoming.frame().await {
        match frame?.into_data() {
            Ok(data) if body.len() + data.len() > MAX_RESPONSE_BYTES => {
                body.clear();
                break;
            }
            Ok(data) => body.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
    Ok(CollectorResponse { status: head.status, headers: head.headers, body: body.freeze(), trailers })
}
