//! Scripted collector for the tests of this folder: OTLP/HTTP by hyper, OTLP/gRPC by the server of tonic, so
//! that the framing is checked by foreign code.

use std::convert::Infallible;
use std::io::Read;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use parking_lot::Mutex;
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tonic::Status;
use tonic::codec::CompressionEncoding;

use crate::config::{ClientTls, Compression, Endpoint, Protocol};

/// A received request.
pub(crate) struct ReceivedRequest {
    pub(crate) headers: HeaderMap,
    /// The message, inflated.
    pub(crate) message: Bytes,
}

/// Requests received so far.
#[derive(Clone, Default)]
pub(crate) struct ReceivedRequests(Arc<Mutex<Vec<ReceivedRequest>>>);

impl ReceivedRequests {
    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }

    pub(crate) fn header(&self, request: usize, name: &str) -> String {
        let seen = self.0.lock();
        seen[request].headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned()
    }

    pub(crate) fn decode<M: Message + Default>(&self, request: usize) -> M {
        M::decode(self.0.lock()[request].message.clone()).unwrap()
    }

    /// The records of all requests.
    pub(crate) fn records(&self) -> Vec<LogRecord> {
        (0..self.len()).flat_map(|request| records_of(self.decode(request))).collect()
    }

    /// Records a request and returns its number.
    fn record(&self, headers: HeaderMap, message: Bytes) -> usize {
        let mut seen = self.0.lock();
        seen.push(ReceivedRequest { headers, message });
        seen.len() - 1
    }
}

fn records_of(request: ExportLogsServiceRequest) -> Vec<LogRecord> {
    let scopes = request.resource_logs.into_iter().flat_map(|resource| resource.scope_logs);
    scopes.flat_map(|scope| scope.log_records).collect()
}

/// A running collector. It has its own port, and runs until the test ends.
pub(crate) struct FakeCollector {
    pub(crate) address: SocketAddr,
    pub(crate) log: ReceivedRequests,
    protocol: Protocol,
}

/// Reply of an HTTP collector to one request.
pub(crate) enum Reply {
    Answer(u16, &'static [(&'static str, &'static str)], Vec<u8>),
    /// A response whose connection is cut in the middle of the body.
    CutOff,
    Hang,
}

impl Reply {
    pub(crate) fn ok() -> Self {
        Reply::Answer(200, &[], Vec::new())
    }
}

/// Creates the response of a collector that rejects some records.
pub(crate) fn partial(rejected_log_records: i64, error_message: &str) -> ExportLogsServiceResponse {
    let error_message = error_message.to_owned();
    let partial_success = Some(ExportLogsPartialSuccess { rejected_log_records, error_message });
    ExportLogsServiceResponse { partial_success }
}

/// Starts an OTLP/HTTP collector (HTTP/1.1 and 2); the script has the number of each request.
pub(crate) async fn http(
    tls: Option<TlsAcceptor>,
    script: impl Fn(usize) -> Reply + Clone + Send + Sync + 'static,
) -> FakeCollector {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    http_at(listener, tls, script)
}

/// Starts an OTLP/HTTP collector on a bound port.
pub(crate) fn http_at(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    script: impl Fn(usize) -> Reply + Clone + Send + Sync + 'static,
) -> FakeCollector {
    http_with(listener, tls, move |number, _| script(number))
}

/// Starts an OTLP/HTTP collector whose script has the message too.
pub(crate) fn http_with(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    script: impl Fn(usize, &Bytes) -> Reply + Clone + Send + Sync + 'static,
) -> FakeCollector {
    let log = ReceivedRequests::default();
    let service_log = log.clone();
    let service =
        hyper::service::service_fn(move |request| answer(request, service_log.clone(), script.clone()));
    FakeCollector { address: serve(listener, tls, service), log, protocol: Protocol::HttpProtobuf }
}

async fn answer(
    request: Request<Incoming>,
    log: ReceivedRequests,
    script: impl Fn(usize, &Bytes) -> Reply,
) -> Result<Response<ScriptedBody>, Infallible> {
    let (head, body) = request.into_parts();
    #[allow(clippy::disallowed_methods)] // the test's own client sends it
    let Ok(body) = body.collect().await else { std::future::pending().await };
    let body = body.to_bytes();
    let message = if head.headers.get("content-encoding").is_some_and(|coding| coding == "gzip") {
        let mut inflated = Vec::new();
        GzDecoder::new(&body[..]).read_to_end(&mut inflated).unwrap();
        inflated.into()
    } else {
        body
    };
    let reply = script(log.record(head.headers, message.clone()), &message);
    Ok(match reply {
        Reply::Answer(status, headers, body) => {
            let mut response = Response::new(ScriptedBody { data: Some(body.into()), cut: false });
            *response.status_mut() = status.try_into().unwrap();
            for (name, value) in headers {
                response.headers_mut().insert(*name, value.parse().unwrap());
            }
            response
        }
        Reply::CutOff => Response::new(ScriptedBody { data: Some(Bytes::from_static(b"\x0a")), cut: true }),
        Reply::Hang => std::future::pending().await,
    })
}

struct ScriptedBody {
    data: Option<Bytes>,
    cut: bool,
}

impl Body for ScriptedBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        match self.data.take() {
            Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
            None if self.cut => Poll::Ready(Some(Err(std::io::Error::other("cut")))),
            None => Poll::Ready(None),
        }
    }
}

/// Reply of a gRPC collector to one request; `None` hangs.
type GrpcReply = Option<Result<ExportLogsServiceResponse, Status>>;

/// Starts an OTLP/gRPC collector of logs.
pub(crate) async fn grpc(
    tls: Option<TlsAcceptor>,
    script: impl Fn(usize) -> GrpcReply + Send + Sync + 'static,
) -> FakeCollector {
    let log = ReceivedRequests::default();
    let service = LogsServiceServer::new(Scripted { log: log.clone(), script })
        .accept_compressed(CompressionEncoding::Gzip);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    FakeCollector {
        address: serve(listener, tls, TowerToHyperService::new(service)),
        log,
        protocol: Protocol::Grpc,
    }
}

struct Scripted<F> {
    log: ReceivedRequests,
    script: F,
}

#[tonic::async_trait]
impl<F: Fn(usize) -> GrpcReply + Send + Sync + 'static> LogsService for Scripted<F> {
    async fn export(
        &self,
        request: tonic::Request<ExportLogsServiceRequest>,
    ) -> Result<tonic::Response<ExportLogsServiceResponse>, Status> {
        let headers = request.metadata().clone().into_headers();
        let number = self.log.record(headers, request.into_inner().encode_to_vec().into());
        match (self.script)(number) {
            Some(reply) => reply.map(tonic::Response::new),
            None => std::future::pending().await,
        }
    }
}

/// Accepts connections for a service until the test ends.
pub(crate) fn serve<S, B>(listener: TcpListener, tls: Option<TlsAcceptor>, service: S) -> SocketAddr
where
    S: hyper::service::Service<Request<Incoming>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let (tls, service) = (tls.clone(), service.clone());
            tokio::spawn(async move {
                match tls {
                    None => connection(tcp, service).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(tcp).await {
                            connection(stream, service).await;
                        }
                    }
                }
            });
        }
    });
    address
}

async fn connection<S, B>(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, service: S)
where
    S: hyper::service::Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    // A connection that a test cuts is no failure.
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

impl FakeCollector {
    /// Returns the endpoint: without compression, and with a timeout that tests never wait for.
    pub(crate) fn endpoint(&self) -> Endpoint {
        endpoint(self.address, self.protocol)
    }
}

/// Returns the endpoint of a collector at this address.
pub(crate) fn endpoint(address: SocketAddr, protocol: Protocol) -> Endpoint {
    let path = if protocol == Protocol::Grpc { "" } else { "/v1/logs" };
    Endpoint {
        url: format!("http://{address}{path}"),
        protocol,
        headers: Vec::new(),
        headers_file: None,
        compression: Compression::None,
        timeout: Duration::from_secs(30),
        tls: ClientTls::default(),
    }
}

/// Returns an address without a listener.
pub(crate) async fn unused_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// Encodes records like intake: framed and concatenated, with the offset at which each ends.
pub(crate) fn records(count: usize) -> (Vec<u8>, Vec<u32>) {
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    for number in 0..count {
        let record = LogRecord { event_name: format!("event-{number}"), ..LogRecord::default() };
        prost::encoding::message::encode(2, &record, &mut bytes);
        ends.push(bytes.len() as u32);
    }
    (bytes, ends)
}

/// Waits for a condition, and fails if it does not become true.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "timed out: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
