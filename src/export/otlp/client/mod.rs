//! Client that sends encoded OTLP requests to a collector, for both protocols and all signals.
//! OTLP/HTTP and OTLP/gRPC differ in how a request is encoded and how a response is classified
//! (`http_protocol`, `grpc_protocol`). The caller retries.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::uri::Scheme;
use http::{Method, Request, Uri};
use http_body_util::Full;
use hyper_rustls::ConfigBuilderExt;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use tokio::task::spawn_blocking;

use crate::clock;
use crate::config::{ClientTls, Compression, Endpoint, Protocol, parse_pairs};
use crate::model::{ExportSignal, ExportStatus};
use crate::tls_files::{TlsFileError, load_certificates, load_identity, load_roots};

mod grpc_protocol;
mod http_protocol;
mod result;
mod transport;

pub use result::ExportResult;
use transport::HttpClient;

/// Error of [`Client::new`], for an endpoint that validation has accepted. No text contains a header's value.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages describe the variants
pub enum ClientError {
    #[error("the URL or a header is invalid: {0}")]
    Http(#[from] http::Error),
    #[error("the header {0:?} belongs to the protocol and cannot be set")]
    ForbiddenHeader(String),
    #[error("headers_file: {}: {problem}", .0.display(), problem = .1)]
    HeadersFile(PathBuf, String),
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    #[error("the system's root certificates cannot be read: {0}")]
    NativeRoots(#[from] std::io::Error),
    #[error(transparent)]
    File(#[from] TlsFileError),
}

/// The headers of every request, which a reload replaces.
#[derive(Debug)]
pub struct Headers {
    /// Those of the settings and of the protocol.
    configured: HeaderMap,
    /// Those of the file, which take precedence.
    of_file: HeaderMap,
    file: Option<PathBuf>,
}

/// Client of one endpoint for one signal. It keeps its connections open between requests.
#[derive(Debug)]
pub struct Client {
    http: HttpClient,
    protocol: Protocol,
    uri: Uri,
    /// The headers of every request.
    pub headers: Arc<ArcSwap<Headers>>,
    gzip: bool,
    timeout: Duration,
}

impl Client {
    /// Creates a client for this signal, or for the daemon's traces. Reads the TLS files, and does not connect yet.
    ///
    /// # Errors
    /// Returns an error if the URL, a header or a file cannot be used.
    pub fn new(endpoint: &Endpoint, signal: impl Into<Option<ExportSignal>>) -> Result<Self, ClientError> {
        let grpc_method = match signal.into() {
            Some(ExportSignal::Logs) => grpc_protocol::LOGS,
            Some(ExportSignal::Metrics) => grpc_protocol::METRICS,
            None => grpc_protocol::TRACES,
        };
        let base: Uri = endpoint.url.parse().map_err(http::Error::from)?;
        let https = base.scheme() == Some(&Scheme::HTTPS);
        let gzip = endpoint.compression == Compression::Gzip;
        let mut configured = user_headers(&endpoint.headers)?;
        configured.entry(USER_AGENT).or_insert(HeaderValue::from_static(CLIENT_USER_AGENT));
        let uri = match endpoint.protocol {
            Protocol::Grpc => {
                grpc_protocol::add_headers(&mut configured, gzip, endpoint.timeout);
                grpc_protocol::method_uri(&base, grpc_method).map_err(http::Error::from)?
            }
            Protocol::HttpProtobuf => {
                http_protocol::add_headers(&mut configured, gzip);
                base
            }
        };
        let file = endpoint.headers_file.clone();
        let of_file = file.as_deref().map(read_headers).transpose()?.unwrap_or_default();
        let tls = tls_config(&endpoint.tls, https)?;
        let http = transport::http_client(tls, endpoint.protocol == Protocol::Grpc);
        let headers = Arc::new(ArcSwap::from_pointee(Headers { configured, of_file, file }));
        Ok(Client { http, protocol: endpoint.protocol, uri, headers, gzip, timeout: endpoint.timeout })
    }

    /// Sends one encoded `Export{Logs,Metrics,Trace}ServiceRequest` once, and again if the collector rejects the
    /// credentials and their file has others. Takes at most the endpoint's timeout each time. Must be called in a
    /// Tokio runtime; dropping the future cancels the request.
    pub async fn send(&self, request: Bytes) -> ExportResult {
        loop {
            let result = self.send_once(request.clone()).await;
            let current = self.headers.load_full();
            let (Some(file), ExportResult::Permanent { code: code @ ExportStatus::Unauthenticated, message }) =
                (current.file.clone(), &result)
            else {
                return result;
            };
            let reason = match spawn_blocking(move || read_headers(&file)).await {
                Ok(Ok(of_file)) if of_file != current.of_file => {
                    let (configured, file) = (current.configured.clone(), current.file.clone());
                    // Unless a reload has replaced them meanwhile.
                    self.headers.compare_and_swap(&current, Arc::new(Headers { configured, of_file, file }));
                    continue;
                }
                Ok(Err(error)) => format!("{message}; {error}"),
                _ => message.clone(),
            };
            // The file may get the new credentials later.
            return ExportResult::retryable(*code, false, reason);
        }
    }

    async fn send_once(&self, request: Bytes) -> ExportResult {
        tokio::time::timeout(self.timeout, self.round_trip(request)).await.unwrap_or_else(|_| {
            let message = format!("no response within {:?}", self.timeout);
            ExportResult::retryable(ExportStatus::Timeout, true, message)
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
        let headers = self.headers.load();
        *call.headers_mut() = headers.configured.clone();
        // Replaces what has the same name.
        call.headers_mut().extend(headers.of_file.clone());
        match transport::round_trip(&self.http, call).await {
            Err(failure) => failure,
            Ok(response) => match self.protocol {
                Protocol::Grpc => grpc_protocol::classify_response(&response, clock::now()),
                Protocol::HttpProtobuf => http_protocol::classify_response(&response, clock::now()),
            },
        }
    }
}

/// Builds the configuration from the files. The system's roots are loaded only for `https`, and only if no
/// file replaces them, because a container without any is fine as long as none is needed.
fn tls_config(tls: &ClientTls, https: bool) -> Result<ClientConfig, ClientError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?;
    let builder = match &tls.certificate {
        Some(path) => builder.with_root_certificates(load_roots(path)?),
        None if https => builder.with_native_roots()?,
        None => builder.with_root_certificates(RootCertStore::empty()),
    };
    match (&tls.client_certificate, &tls.client_key) {
        (Some(certificate), Some(key)) => {
            let identity = load_identity(load_certificates(certificate)?, certificate, key)?;
            Ok(builder.with_client_cert_resolver(identity))
        }
        _ => Ok(builder.with_no_client_auth()),
    }
}

const CLIENT_USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// Headers that cannot be configured, because the framing of a message depends on them.
const FORBIDDEN_HEADERS: [&str; 7] =
    ["content-length", "content-type", "content-encoding", "transfer-encoding", "connection", "te", "host"];

/// Parses the configured headers. Neither errors nor `Debug` contain values, which may be secrets.
fn user_headers(pairs: &[(String, String)]) -> Result<HeaderMap, ClientError> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name: HeaderName = name.parse().map_err(http::Error::from)?;
        if FORBIDDEN_HEADERS.contains(&name.as_str()) || name.as_str().starts_with("grpc-") {
            return Err(ClientError::ForbiddenHeader(name.to_string()));
        }
        let mut value: HeaderValue = value.parse().map_err(http::Error::from)?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

/// Reads a file of headers. Neither errors nor `Debug` contain anything of it.
fn read_headers(file: &Path) -> Result<HeaderMap, ClientError> {
    let unusable = |problem| ClientError::HeadersFile(file.to_owned(), problem);
    let text = std::fs::read_to_string(file).map_err(|error| unusable(format!("cannot be read: {error}")))?;
    let mut headers = HeaderMap::new();
    for (index, line) in text.lines().map(str::trim).enumerate() {
        let pairs = match line.split_once([':', '=']) {
            _ if line.is_empty() || line.starts_with('#') => continue,
            Some((name, value)) if line[name.len()..].starts_with(':') => {
                Some(vec![(name.trim().to_owned(), value.trim().to_owned())])
            }
            _ => parse_pairs(line).ok(),
        };
        // A token alone may end in `=`, too.
        let pairs = pairs.filter(|pairs| !pairs.iter().any(|(_, value)| value.trim_matches('=').is_empty()));
        let parsed = pairs.and_then(|pairs| user_headers(&pairs).ok());
        let problem = "is no header that can be set: expected Name: value or name=value";
        headers.extend(parsed.ok_or_else(|| unusable(format!("line {} {problem}", index + 1)))?);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests;
