//! The baseline of `benches/load/run`: a minimal axum server that reads a body and responds. Results are ratios to
//! it, so that they are comparable between machines.
//!
//! It is also a collector that responds at once, for benchmarks of the OTLP exporters, over HTTP and gRPC on the
//! same port. The first line of its output is its address.

use std::convert::Infallible;
use std::error::Error;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http_body_util::{BodyExt, Full};

/// An empty message: not compressed, zero bytes long.
const EMPTY_GRPC_MESSAGE: &[u8] = &[0; 5];

async fn upload(body: Bytes) -> StatusCode {
    std::hint::black_box(&body);
    StatusCode::NO_CONTENT
}

async fn otlp_http(body: Bytes) -> StatusCode {
    std::hint::black_box(&body);
    StatusCode::OK
}

async fn otlp_grpc(body: Bytes) -> Response {
    std::hint::black_box(&body);
    let trailers = HeaderMap::from_iter([(
        header::HeaderName::from_static("grpc-status"),
        HeaderValue::from_static("0"),
    )]);
    let message = Full::new(Bytes::from_static(EMPTY_GRPC_MESSAGE));
    let body = message.with_trailers(std::future::ready(Some(Ok::<_, Infallible>(trailers))));
    ([(header::CONTENT_TYPE, "application/grpc")], Body::new(body)).into_response()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    #[allow(clippy::print_stdout)] // how the load script learns the port
    {
        println!("{}", listener.local_addr()?);
    }
    let grpc = "/opentelemetry.proto.collector";
    let app = Router::new()
        .route("/", post(upload))
        .route("/report", post(upload))
        .route("/v1/logs", post(otlp_http))
        .route("/v1/metrics", post(otlp_http))
        .route(&format!("{grpc}.logs.v1.LogsService/Export"), post(otlp_grpc))
        .route(&format!("{grpc}.metrics.v1.MetricsService/Export"), post(otlp_grpc));
    Ok(axum::serve(listener, app).await?)
}
