//! A collector that does as it is told, for the tests of this directory: OTLP/HTTP by hyper, OTLP/gRPC by
//! tonic's own server, so that our framing is read by somebody else.

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

/// A request as it was received.
pub(in crate::export::otlp) struct ReceivedRequest {
    pub(in crate::export::otlp) headers: HeaderMap,
    /// The message, inflated.
    pub(in crate::export::otlp) message: Bytes,
}

/// What the receiver has seen so far.
#[derive(Clone, Default)]
pub(in crate::export::otlp) struct ReceivedRequests(Arc<Mutex<Vec<ReceivedRequest>>>);

impl ReceivedRequests {
    pub(in crate::export::otlp) fn len(&self) -> usize {
        self.0.lock().len()
    }

    pub(in crate::export::otlp) fn header(&self, request: usize, name: &str) -> String {
        let seen = self.0.lock();
        seen[request].headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned()
    }

    pub(in crate::export::otlp) fn decode<M: Message + Default>(&self, request: usize) -> M {
        M::decode(self.0.lock()[request].message.clone()).unwrap()
    }

    /// The records of all requests.
    pub(in crate::export::otlp) fn records(&self) -> Vec<LogRecord> {
        (0..self.len()).flat_map(|request| records_of(self.decode(request))).collect()
    }

    /// Notes a request and gives its number.
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

/// A running receiver; its port is its own, and it runs as long as the test's runtime.
pub(in crate::export::otlp) struct FakeCollector {
    pub(in crate::export::otlp) address: SocketAddr,
    pub(in crate::export::otlp) log: ReceivedRequests,
    protocol: Protocol,
}

/// What an HTTP receiver answers to its n-th request.
pub(in crate::export::otlp) enum Reply {
    Answer(u16, &'static [(&'static str, &'static str)], Vec<u8>),
    /// A head that promises more than the body holds when the connection is cut.
    CutOff,
    Hang,
}

impl Reply {
    pub(in crate::export::otlp) fn ok() -> Self {
        Reply::Answer(200, &[], Vec::new())
    }
}

/// The answer of a collector that refuses some records.
pub(in crate::export::otlp) fn partial(
    rejected_log_records: i64,
    error_message: &str,
) -> ExportLogsServiceResponse {
    let error_message = error_message.to_owned();
    let partial_success = Some(ExportLogsPartialSuccess { rejected_log_records, error_message });
    ExportLogsServiceResponse { partial_success }
}

/// An OTLP/HTTP receiver (HTTP/1.1 and 2).
pub(in crate::export::otlp) async fn http(
    tls: Option<TlsAcceptor>,
    script: impl Fn(usize) -> Reply + Clone + Send + Sync + 'static,
) -> FakeCollector {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    http_at(listener, tls, script)
}

/// The same on a port that is already bound.
pub(in crate::export::otlp) fn http_at(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    script: impl Fn(usize) -> Reply + Clone + Send + Sync + 'static,
) -> FakeCollector {
    http_with(listener, tls, move |number, _| script(number))
}

/// The same with a script that reads the message too.
pub(in crate::export::otlp) fn http_with(
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

/// What a gRPC receiver answers to its n-th request; `None` hangs.
type GrpcReply = Option<Result<ExportLogsServiceResponse, Status>>;

/// An OTLP/gRPC receiver of logs.
pub(in crate::export::otlp) async fn grpc(
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

/// Accepts connections for a service, for as long as the test's runtime runs.
pub(in crate::export::otlp) fn serve<S, B>(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    service: S,
) -> SocketAddr
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
    // A connection that a test cuts is no failure of the test's.
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

impl FakeCollector {
    /// How to reach it: no compression, a timeout that tests never wait for.
    pub(in crate::export::otlp) fn endpoint(&self) -> Endpoint {
        endpoint(self.address, self.protocol)
    }
}

/// How to reach a receiver at this address.
pub(in crate::export::otlp) fn endpoint(address: SocketAddr, protocol: Protocol) -> Endpoint {
    let path = if protocol == Protocol::Grpc { "" } else { "/v1/logs" };
    Endpoint {
        url: format!("http://{address}{path}"),
        protocol,
        headers: Vec::new(),
        compression: Compression::None,
        timeout: Duration::from_secs(30),
        tls: ClientTls::default(),
    }
}

/// An address where nobody listens.
pub(in crate::export::otlp) async fn unused_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// Records as intake encodes them: framed, concatenated, and where each ends.
pub(in crate::export::otlp) fn records(count: usize) -> (Vec<u8>, Vec<u32>) {
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    for number in 0..count {
        let record = LogRecord { event_name: format!("event-{number}"), ..LogRecord::default() };
        prost::encoding::message::encode(2, &record, &mut bytes);
        ends.push(bytes.len() as u32);
    }
    (bytes, ends)
}

/// Waits for a condition, and fails when it does not come true.
pub(in crate::export::otlp) async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
