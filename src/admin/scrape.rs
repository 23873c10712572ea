//! The Prometheus scrape: encoded off the serving thread, and limited in number.

use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clock;
use crate::export::{ScrapeFormat, encode_scrape};
use crate::metrics::Registry;

/// Maximum number of concurrent scrapes, from their encoding to the last byte that is sent: each takes
/// megabytes, and slow clients must not fill the memory with them.
const MAX_CONCURRENT_SCRAPES: usize = 4;

/// The scrape endpoint.
pub struct Scrape {
    registry: Arc<Registry>,
    /// When the last one began.
    pub(super) last: Arc<Mutex<Option<Timestamp>>>,
    permits: Arc<Semaphore>,
}

impl Scrape {
    /// Creates the endpoint of this registry.
    pub fn new(registry: Arc<Registry>) -> Scrape {
        let permits = Arc::new(Semaphore::new(MAX_CONCURRENT_SCRAPES));
        Scrape { registry, last: Arc::default(), permits }
    }

    pub(super) async fn response(&self, headers: HeaderMap) -> Response {
        // A request that waited for a permit would hold its connection, which then could not be evicted.
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            let problem = "too many concurrent scrapes; retry later\n";
            return (StatusCode::SERVICE_UNAVAILABLE, problem).into_response();
        };
        *self.last.lock() = Some(clock::now());
        let (format, gzip) = (accepted_format(&headers), accepts_gzip(&headers));
        let registry = self.registry.clone();
        // Encoding thousands of series takes long, and would block the thread that answers probes.
        let encode = move || {
            let parts = encode_scrape(&registry, format, gzip)?;
            let length: usize = parts.iter().map(Vec::len).sum();
            let content_type = HeaderValue::from_static(format.content_type());
            let headers = [(CONTENT_TYPE, content_type), (CONTENT_LENGTH, length.into())];
            let encoding = gzip.then_some([(CONTENT_ENCODING, "gzip")]);
            let permit = Arc::new(permit);
            let part = move |text| io::Result::Ok(HeldBody::bytes(text, permit.clone()));
            let body = Body::from_stream(stream::iter(parts.into_iter().map(part)));
            io::Result::Ok((headers, encoding, body).into_response())
        };
        let encoded = tokio::task::spawn_blocking(encode).await;
        encoded.unwrap_or_else(|error| Err(io::Error::other(error))).unwrap_or_else(|error| {
            let problem = format!("cannot encode the metrics: {error}\n");
            (StatusCode::INTERNAL_SERVER_ERROR, problem).into_response()
        })
    }
}

/// A part of a body; the permit of all is held until the last byte is sent.
pub(super) struct HeldBody {
    text: Vec<u8>,
    _permit: Arc<OwnedSemaphorePermit>,
}

impl HeldBody {
    pub(super) fn bytes(text: Vec<u8>, permit: Arc<OwnedSemaphorePermit>) -> Bytes {
        Bytes::from_owner(HeldBody { text, _permit: permit })
    }
}

impl AsRef<[u8]> for HeldBody {
    fn as_ref(&self) -> &[u8] {
        &self.text
    }
}

/// Returns the format with the highest weight in `Accept`, on a tie protobuf; text if it names none of the two.
fn accepted_format(headers: &HeaderMap) -> ScrapeFormat {
    let mut best = (0.0, ScrapeFormat::Text);
    for (range, mut parameters, weight) in accepted(headers, ACCEPT) {
        let format = match &*range.to_ascii_lowercase() {
            "application/vnd.google.protobuf" => ScrapeFormat::Protobuf,
            "text/plain" | "text/*" | "*/*" => ScrapeFormat::Text,
            _ => continue,
        };
        let ours =
            parameters.all(|(name, value)| match (&*name.to_ascii_lowercase(), value.trim_matches('"')) {
                ("version", version) => version == "0.0.4",
                ("proto", message) => message == "io.prometheus.client.MetricFamily",
                ("encoding", encoding) => encoding == "delimited",
                _ => true,
            });
        if ours && weight > 0.0 && (weight, format) > best {
            best = (weight, format);
        }
    }
    best.1
}

/// Returns whether `Accept-Encoding` names gzip without `q=0`.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    accepted(headers, ACCEPT_ENCODING)
        .any(|(name, _, weight)| (name.eq_ignore_ascii_case("gzip") || name == "*") && weight > 0.0)
}

/// Returns the elements of a header such as `Accept`, each with its parameters and its weight.
fn accepted(
    headers: &HeaderMap,
    name: HeaderName,
) -> impl Iterator<Item = (&str, impl Iterator<Item = (&str, &str)>, f32)> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|element| {
        let mut parts = element.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let parameters = parts.filter_map(|part| part.split_once('='));
        let q = parameters.clone().find(|(name, _)| name.eq_ignore_ascii_case("q"));
        let weight = q.and_then(|(_, q)| q.parse().ok()).filter(|q| (0.0..=1.0).contains(q));
        (name, parameters, weight.unwrap_or(1.0))
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn accepts_gzip_follows_accept_encoding() {
        let accepts = |value: &'static str| {
            accepts_gzip(&HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(value))]))
        };
        assert!(accepts("gzip") && accepts("br, gzip;q=0.5") && accepts("*"));
        assert!(!accepts("br") && !accepts("gzip;q=0") && !accepts_gzip(&HeaderMap::new()));
    }
}
