//! Reading a body: bounded in bytes as sent and as inflated, before and whatever anything else says.

use std::io::{self, Read};
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use http_body_util::BodyExt;
use hyper::body::Body as _;

use crate::intake::body_pool::{BodyPool, PooledBody};
use crate::model::UploadOutcome;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ContentEncoding {
    Identity,
    Gzip,
}

/// Reads Content-Encoding, and Content-Type: an SMTP TLS report may be a gzip file by its type.
///
/// # Errors
/// `UnsupportedCoding` for anything but gzip and identity.
pub(super) fn content_encoding(headers: &HeaderMap) -> Result<ContentEncoding, UploadOutcome> {
    let by_type = match is_type(headers, "application/tlsrpt+gzip") {
        true => ContentEncoding::Gzip,
        false => ContentEncoding::Identity,
    };
    let Some(value) = headers.get(CONTENT_ENCODING) else { return Ok(by_type) };
    let value = value.to_str().unwrap_or_default().trim();
    match () {
        () if value.is_empty() || value.eq_ignore_ascii_case("identity") => Ok(by_type),
        () if value.eq_ignore_ascii_case("gzip") || value.eq_ignore_ascii_case("x-gzip") => {
            Ok(ContentEncoding::Gzip)
        }
        () => Err(UploadOutcome::UnsupportedEncoding),
    }
}

/// Whether Content-Type names this type, with or without parameters.
pub(super) fn is_type(headers: &HeaderMap, media_type: &str) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(media_type)
}

/// A whole body as it was sent. Most arrive in one frame, which is then not copied.
#[derive(Debug)]
pub(super) enum Sent {
    Frame(Bytes),
    Parts(PooledBody),
}

impl Sent {
    fn len(&self) -> usize {
        match self {
            Sent::Frame(data) => data.len(),
            Sent::Parts(pooled) => pooled.len(),
        }
    }

    fn join(&self) -> Bytes {
        match self {
            Sent::Frame(data) => data.clone(),
            Sent::Parts(pooled) => pooled.join(),
        }
    }

    /// How long it is once it is inflated: as its last four bytes have it, if it is gzip, which may be
    /// wrong, and at most what is possible.
    pub(super) fn expected_size(&self, content_encoding: ContentEncoding, limit: usize) -> usize {
        let number =
            |last: &mut dyn Iterator<Item = u8>| last.take(4).fold(0, |n, byte| n << 8 | usize::from(byte));
        let expected = match (content_encoding, self) {
            (ContentEncoding::Identity, _) => return self.len(),
            (ContentEncoding::Gzip, Sent::Frame(data)) => number(&mut data.iter().rev().copied()),
            (ContentEncoding::Gzip, Sent::Parts(pooled)) => number(&mut pooled.last_bytes()),
        };
        expected.min(self.max_size(content_encoding, limit))
    }

    /// The most that it may inflate to.
    pub(super) fn max_size(&self, content_encoding: ContentEncoding, limit: usize) -> usize {
        match content_encoding {
            ContentEncoding::Identity => self.len(),
            ContentEncoding::Gzip => max_inflated(self.len(), limit),
        }
    }

    /// The body in one piece, inflated. `None`: it is longer than `expected`, and may yet be within all
    /// limits.
    ///
    /// # Errors
    /// Returns an error if it does not inflate to what is taken.
    pub(super) fn open(
        &self,
        content_encoding: ContentEncoding,
        expected: usize,
        limit: usize,
    ) -> Result<Option<Bytes>, UploadOutcome> {
        match content_encoding {
            ContentEncoding::Identity => Ok(Some(self.join())),
            ContentEncoding::Gzip => gunzip(&self.join(), expected, limit),
        }
    }
}

/// Reads the whole body, at most `limit` bytes.
///
/// # Errors
/// `TooLarge` when it is longer or Content-Length says so; `Aborted` when the client goes away;
/// `Overloaded` when the pool has no block left for a body in parts.
pub(super) async fn read(
    headers: &HeaderMap,
    mut body: Body,
    limit: usize,
    pool: &Arc<BodyPool>,
) -> Result<Sent, UploadOutcome> {
    let content_length =
        headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let mut rejection =
        content_length.filter(|length| *length > limit as u64).map(|_| UploadOutcome::TooLarge);
    let mut pooled: Option<PooledBody> = None;
    while rejection.is_none()
        && let Some(frame) = body.frame().await
    {
        let Ok(data) = frame.map_err(|_| UploadOutcome::ClientDisconnected)?.into_data() else { continue };
        let len = pooled.as_ref().map_or(0, PooledBody::len);
        if len + data.len() > limit {
            rejection = Some(UploadOutcome::TooLarge);
        } else if len == 0 && body.is_end_stream() {
            return Ok(Sent::Frame(data));
        } else if !pooled.get_or_insert_with(|| pool.body()).push(&data) {
            rejection = Some(UploadOutcome::Overloaded);
        }
    }
    let Some(rejection) = rejection else { return Ok(pooled.map_or(Sent::Frame(Bytes::new()), Sent::Parts)) };
    drop(pooled);
    drain(headers, body).await;
    Err(rejection)
}

/// How much of a refused body is read nevertheless, in bytes.
const MAX_DRAIN_BYTES: usize = 16 << 20;

/// Reads a refused body to its end and forgets it: a client that is still sending would take the
/// closing of its connection for a failure of the network, never see the answer, and try again. One
/// that waits to be told whether to send is told nothing, and sees the answer.
pub(super) async fn drain(headers: &HeaderMap, mut body: Body) {
    let mut drained = 0;
    while !headers.contains_key(EXPECT)
        && drained < MAX_DRAIN_BYTES
        && let Some(Ok(frame)) = body.frame().await
    {
        drained += frame.data_ref().map_or(0, Bytes::len);
    }
}

/// Most bytes that a byte of a gzip body may inflate to. Batches of reports reach about 100.
const MAX_RATIO: usize = 200;

/// What any gzip body may inflate to.
const MIN_INFLATED: usize = 64 * 1024;

fn max_inflated(sent: usize, limit: usize) -> usize {
    sent.saturating_mul(MAX_RATIO).max(MIN_INFLATED).min(limit)
}

/// Inflates a gzip body, and takes no more memory than `expected` bytes and gzip's own. `None`: it is
/// longer than expected, and may yet be within all limits.
///
/// # Errors
/// `TooLarge` when it inflates to more than `limit` bytes, `InflateRatio` when it inflates to too many
/// times its size, `BrokenCoding` when it is no gzip or ends early.
pub fn gunzip(body: &[u8], expected: usize, limit: usize) -> Result<Option<Bytes>, UploadOutcome> {
    let broken = |_: io::Error| UploadOutcome::InvalidEncoding;
    let most = max_inflated(body.len(), limit);
    let pool = expected.min(most);
    let mut inflated = Vec::with_capacity(pool + 1);
    let mut decoder = MultiGzDecoder::new(body);
    decoder.by_ref().take(pool as u64 + 1).read_to_end(&mut inflated).map_err(broken)?;
    if inflated.len() <= pool {
        return Ok(Some(inflated.into()));
    }
    if pool < most {
        return Ok(None);
    }
    let rest = io::copy(&mut decoder.take((limit - pool) as u64), &mut io::sink()).map_err(broken)?;
    match inflated.len() as u64 + rest > limit as u64 {
        true => Err(UploadOutcome::TooLarge),
        false => Err(UploadOutcome::InflateRatio),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    /// As intake does it: with the size that the body states, then with the most.
    fn gunzip(body: &[u8], limit: usize) -> Result<Bytes, UploadOutcome> {
        let sent = Sent::Frame(Bytes::copy_from_slice(body));
        for size in
            [sent.expected_size(ContentEncoding::Gzip, limit), sent.max_size(ContentEncoding::Gzip, limit)]
        {
            if let Some(inflated) = sent.open(ContentEncoding::Gzip, size, limit)? {
                return Ok(inflated);
            }
        }
        panic!("neither taken nor rejected");
    }

    #[test]
    fn a_bomb_is_stopped_at_the_limit() {
        let bomb = gzip(&vec![b' '; 20 << 20]);
        assert!(bomb.len() < 1 << 20, "the bomb itself is within the limit");
        assert_eq!(gunzip(&bomb, 1 << 20), Err(UploadOutcome::TooLarge));
        assert_eq!(gunzip(&gzip(&[b' '; 100]), 100).unwrap().len(), 100);
    }

    #[test]
    fn a_body_that_inflates_to_very_many_times_its_size_is_rejected_as_that() {
        let limit = 1 << 20;
        let bomb = gzip(&vec![b' '; limit]);
        assert!(bomb.len() * MAX_RATIO < limit);
        assert_eq!(gunzip(&bomb, limit), Err(UploadOutcome::InflateRatio));
        assert_eq!(
            gunzip(&gzip(&vec![b' '; limit + 1]), limit),
            Err(UploadOutcome::TooLarge),
            "the limit comes first"
        );
        assert_eq!(gunzip(&bomb[..bomb.len() - 1], limit), Err(UploadOutcome::InvalidEncoding));
        assert_eq!(gunzip(&gzip(&[b' '; MIN_INFLATED]), limit).unwrap().len(), MIN_INFLATED);
    }

    #[test]
    fn a_body_may_state_a_wrong_size() {
        let content: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        for stated in [[0; 4], [0xff; 4]] {
            // The second member is empty, but for the size that it states.
            let members = [gzip(&content), gzip(b"")].concat();
            assert_eq!(gunzip(&members, 1 << 20).unwrap(), content);
            let mut wrong = gzip(&content);
            let end = wrong.len() - 4;
            wrong[end..].copy_from_slice(&stated);
            assert_eq!(gunzip(&wrong, 1 << 20), Err(UploadOutcome::InvalidEncoding));
        }
    }

    #[test]
    fn what_is_no_gzip_is_broken() {
        assert_eq!(gunzip(b"[]", 100), Err(UploadOutcome::InvalidEncoding));
        let whole = gzip(b"[{\"type\":\"x\"}]");
        assert_eq!(gunzip(&whole[..whole.len() - 4], 100), Err(UploadOutcome::InvalidEncoding));
    }

    #[test]
    fn a_mail_report_is_gzip_by_type() {
        let content_encoding = |content_type: &str, encoding: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
            if let Some(encoding) = encoding {
                headers.insert(CONTENT_ENCODING, encoding.parse().unwrap());
            }
            content_encoding(&headers)
        };
        for encoding in [None, Some("identity"), Some("gzip")] {
            assert_eq!(
                content_encoding("Application/TLSRPT+gzip; charset=utf-8", encoding),
                Ok(ContentEncoding::Gzip)
            );
        }
        assert_eq!(
            content_encoding("application/tlsrpt+gzip", Some("br")),
            Err(UploadOutcome::UnsupportedEncoding)
        );
        assert_eq!(content_encoding("application/tlsrpt+json", None), Ok(ContentEncoding::Identity));
    }

    #[tokio::test]
    async fn frames_become_one_piece() {
        let frames =
            ["[", "{}", "]"].map(|part| Ok::<_, std::io::Error>(http_body::Frame::data(Bytes::from(part))));
        let body = Body::new(http_body_util::StreamBody::new(futures_util::stream::iter(frames)));
        assert_eq!(
            read(&HeaderMap::new(), body, 4, &Arc::new(BodyPool::new(4, 4))).await.unwrap().join(),
            "[{}]"
        );
    }

    #[tokio::test]
    async fn one_byte_over_the_limit_is_too_large() {
        let pool = Arc::new(BodyPool::new(1, 1));
        let read_with = async |limit| read(&HeaderMap::new(), Body::from("12345"), limit, &pool).await;
        assert_eq!(read_with(4).await.unwrap_err(), UploadOutcome::TooLarge);
        assert_eq!(read_with(5).await.unwrap().join(), "12345");
    }
}
