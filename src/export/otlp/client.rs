//! The one way to hand an encoded OTLP request to a collector, for both protocols and all signals:
//! what differs between OTLP/HTTP and OTLP/gRPC is how a request is packed and how an answer is
//! judged, and that is all that `http_protocol` and `grpc_protocol` hold. Retrying is the caller's business.
//!
//! <https://opentelemetry.io/docs/specs/otlp/>

use std::time::Duration;

use ::http::header::{HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use ::http::{Method, Request, Uri};
use bytes::Bytes;
use http_body_util::Full;

use crate::clock;
use crate::config::{Compression, Endpoint, Protocol};
use crate::model::{ExportSignal, ExportStatus};

mod grpc_protocol;
mod http_protocol;
mod response;
mod tls;
mod transport;

/// How one try of a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExportResult {
    /// The collector has all of it.
    Accepted,
    /// The collector has all but so many items, and refuses those for good. With `rejected` 0 the
    /// message is a warning.
    PartialSuccess {
        /// Items refused, as the collector counts them.
        rejected: u64,
        /// Why, in the collector's words: one bounded line.
        message: String,
    },
    /// It may succeed when it is sent again.
    Retryable {
        /// What went wrong.
        code: ExportStatus,
        /// Whether the collector may have taken it all the same. Only then can sending it again be
        /// sending it twice.
        maybe_delivered: bool,
        /// The least delay that the collector asked for.
        after: Option<Duration>,
        /// What went wrong in words: one bounded line.
        message: String,
    },
    /// It must not be sent again.
    Permanent {
        /// What went wrong.
        code: ExportStatus,
        /// What went wrong in words: one bounded line.
        message: String,
    },
}

impl ExportResult {
    /// The label under which the try is counted.
    pub fn code(&self) -> ExportStatus {
        match self {
            ExportResult::Accepted | ExportResult::PartialSuccess { rejected: 0, .. } => ExportStatus::Ok,
            ExportResult::PartialSuccess { .. } => ExportStatus::PartialSuccess,
            ExportResult::Retryable { code, .. } | ExportResult::Permanent { code, .. } => *code,
        }
    }
}

/// A client of one endpoint for one signal. It keeps its connections open between requests.
#[derive(Debug)]
pub struct Client {
    transport: transport::Transport,
    protocol: Protocol,
    uri: Uri,
    /// Every header of every request, the user's and the protocol's.
    headers: HeaderMap,
    gzip: bool,
    timeout: Duration,
}

impl Client {
    /// A client that sends this signal there. Reads the TLS files, and connects to nothing.
    ///
    /// # Errors
    ///
    /// One line that says what is wrong with the URL, a header or a file.
    pub fn new(endpoint: &Endpoint, signal: ExportSignal) -> Result<Self, String> {
        match signal {
            ExportSignal::Logs => Self::build(endpoint, grpc_protocol::LOGS),
            ExportSignal::Metrics => Self::build(endpoint, grpc_protocol::METRICS),
        }
    }

    /// A client that sends the daemon's own traces there; otherwise as `new`.
    ///
    /// # Errors
    ///
    /// As `new`.
    pub fn for_traces(endpoint: &Endpoint) -> Result<Self, String> {
        Self::build(endpoint, grpc_protocol::TRACES)
    }

    fn build(endpoint: &Endpoint, grpc_method: &str) -> Result<Self, String> {
        let (uri, https) = parse_url(&endpoint.url)?;
        let gzip = endpoint.compression == Compression::Gzip;
        let mut headers = user_headers(&endpoint.headers)?;
        headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(concat!(
            env!("CARGO_PKG_NAME"),
            "/",
            env!("CARGO_PKG_VERSION")
        )));
        let uri = match endpoint.protocol {
            Protocol::Grpc => {
                grpc_protocol::add_headers(&mut headers, gzip, endpoint.timeout);
                grpc_protocol::method_uri(&uri, grpc_method)?
            }
            Protocol::HttpProtobuf => {
                http_protocol::add_headers(&mut headers, gzip);
                uri
            }
        };
        let tls = tls::config(&endpoint.tls, https)?;
        let transport = transport::Transport::new(tls, endpoint.protocol == Protocol::Grpc);
        Ok(Client { transport, protocol: endpoint.protocol, uri, headers, gzip, timeout: endpoint.timeout })
    }

    /// Sends one encoded `Export{Logs,Metrics,Trace}ServiceRequest` once. Takes at most the
    /// endpoint's timeout. Must be called in a Tokio runtime; dropping the future cancels the request.
    pub async fn send(&self, request: Bytes) -> ExportResult {
        tokio::time::timeout(self.timeout, self.round_trip(request)).await.unwrap_or_else(|_| {
            ExportResult::Retryable {
                code: ExportStatus::Timeout,
                maybe_delivered: true,
                after: None,
                message: format!("no answer within {:?}", self.timeout),
            }
        })
    }

    async fn round_trip(&self, request: Bytes) -> ExportResult {
        let body = match self.protocol {
            Protocol::Grpc => grpc_protocol::encode_body(request, self.gzip),
            Protocol::HttpProtobuf => http_protocol::encode_body(request, self.gzip),
        };
        let mut call = Request::new(Full::new(body));
        *call.method_mut() = Method::POST;
        *call.uri_mut() = self.uri.clone();
        *call.headers_mut() = self.headers.clone();
        match self.transport.round_trip(call).await {
            Err(failure) => failure,
            Ok(response) => match self.protocol {
                Protocol::Grpc => grpc_protocol::classify_response(&response, clock::now()),
                Protocol::HttpProtobuf => http_protocol::classify_response(&response, clock::now()),
            },
        }
    }
}

/// The URL, and whether it is https.
fn parse_url(url: &str) -> Result<(Uri, bool), String> {
    let uri: Uri = url.parse().map_err(|error| format!("{url:?} is not a URL: {error}"))?;
    let authority = uri.authority().ok_or_else(|| format!("{url:?} has no host"))?;
    if authority.as_str().contains('@') {
        // Not repeated in the message: it holds a password.
        return Err("the URL holds a user; put credentials into a header instead".to_owned());
    }
    match uri.scheme_str() {
        Some("http") => Ok((uri, false)),
        Some("https") => Ok((uri, true)),
        _ => Err(format!("{url:?} must begin with http:// or https://")),
    }
}

/// Headers that a message's framing depends on, and that therefore nobody else may set.
const FORBIDDEN_HEADERS: [&str; 7] =
    ["content-length", "content-type", "content-encoding", "transfer-encoding", "connection", "te", "host"];

/// The user's headers. Their values may be secrets, so neither messages nor `Debug` show them.
fn user_headers(pairs: &[(String, String)]) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let parsed =
            HeaderName::try_from(name.as_str()).map_err(|_| format!("{name:?} is not a header's name"))?;
        if FORBIDDEN_HEADERS.contains(&parsed.as_str()) || parsed.as_str().starts_with("grpc-") {
            return Err(format!("the header {name:?} belongs to the protocol and cannot be set"));
        }
        let mut value = HeaderValue::try_from(value.as_str())
            .map_err(|_| format!("the value of the header {name:?} holds characters that a header cannot"))?;
        value.set_sensitive(true);
        headers.append(parsed, value);
    }
    Ok(headers)
}
