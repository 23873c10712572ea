//! The body of an upload: how it is read, and inflated, within limits on its size.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use http_body_util::BodyExt;
use hyper::body::Body;

use crate::decode::{gunzip_within, max_inflated};
use crate::intake::body_pool::{BodyPool, PooledBody};
use crate::model::UploadOutcome;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ContentEncoding {
    Identity,
    Gzip,
}

/// Returns the encoding by Content-Encoding, or by Content-Type: an SMTP TLS report may be a gzip file.
pub(super) fn content_encoding(headers: &HeaderMap) -> Result<ContentEncoding, UploadOutcome> {
    let gzip_by_type = is_type(headers, "application/tlsrpt+gzip");
    let by_type = if gzip_by_type { ContentEncoding::Gzip } else { ContentEncoding::Identity };
    let value = headers.get(CONTENT_ENCODING).map_or("", |value| value.to_str().unwrap_or_default().trim());
    if value.is_empty() || value.eq_ignore_ascii_case("identity") {
        Ok(by_type)
    } else if value.eq_ignore_ascii_case("gzip") || value.eq_ignore_ascii_case("x-gzip") {
        Ok(ContentEncoding::Gzip)
    } else {
        Err(UploadOutcome::UnsupportedEncoding)
    }
}

/// Returns whether Content-Type is this type, with or without parameters.
pub(super) fn is_type(headers: &HeaderMap, media_type: &str) -> bool {
    let value =
        headers.get(CONTENT_TYPE).and_then(|value| value.as_bytes().split_at_checked(media_type.len()));
    value.is_some_and(|(start, rest)| {
        start.eq_ignore_ascii_case(media_type.as_bytes())
            && matches!(rest.trim_ascii_start().first(), None | Some(b';'))
    })
}

/// A complete body as it was sent. Most arrive in one frame, which is not copied.
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

    /// Returns the expected inflated size: for gzip the one that its last four bytes state, maybe wrongly.
    pub(super) fn expected_size(&self, content_encoding: ContentEncoding, limit: usize) -> usize {
        let size =
            |last: &mut dyn Iterator<Item = u8>| last.take(4).fold(0, |n, byte| n << 8 | usize::from(byte));
        let expected = match (content_encoding, self) {
            (ContentEncoding::Identity, _) => return self.len(),
            (ContentEncoding::Gzip, Sent::Frame(data)) => size(&mut data.iter().rev().copied()),
            (ContentEncoding::Gzip, Sent::Parts(pooled)) => size(&mut pooled.last_bytes()),
        };
        expected.min(self.max_size(content_encoding, limit))
    }

    /// Returns the maximum inflated size.
    pub(super) fn max_size(&self, content_encoding: ContentEncoding, limit: usize) -> usize {
        match content_encoding {
            ContentEncoding::Identity => self.len(),
            ContentEncoding::Gzip => max_inflated(self.len(), limit),
        }
    }

    /// Returns the body in one piece, inflated within the limits; `None` if it is longer than `expected`.
    pub(super) fn open(
        &self,
        content_encoding: ContentEncoding,
        expected: usize,
        limit: usize,
    ) -> Result<Option<Bytes>, UploadOutcome> {
        match content_encoding {
            ContentEncoding::Identity => Ok(Some(self.join())),
            ContentEncoding::Gzip => gunzip_within(&self.join(), expected, limit),
        }
    }
}

/// Reads the whole body, at most `limit` bytes.
pub(super) async fn read(
    headers: &HeaderMap,
    body: &mut (impl Body<Data = Bytes> + Unpin),
    limit: usize,
    pool: &Arc<BodyPool>,
) -> Result<Sent, UploadOutcome> {
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limit as u64) {
        return Err(UploadOutcome::TooLarge);
    }
    let mut pooled: Option<PooledBody> = None;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| UploadOutcome::ClientDisconnected)?.into_data() else { continue };
        let len = pooled.as_ref().map_or(0, PooledBody::len);
        if len + data.len() > limit {
            return Err(UploadOutcome::TooLarge);
        } else if len == 0 && body.is_end_stream() {
            return Ok(Sent::Frame(data));
        } else if !pooled.get_or_insert_with(|| pool.body()).push(&data) {
            return Err(UploadOutcome::Overloaded);
        }
    }
    Ok(pooled.map_or(Sent::Frame(Bytes::new()), Sent::Parts))
}

/// Maximum number of bytes that are read of a rejected body.
const MAX_DRAIN_BYTES: usize = 16 << 20;

/// Reads a rejected body to its end, because a client that is still sending would take the closed connection
/// for a network failure and retry. A client that waits for `100 Continue` reads the response.
pub(super) async fn drain(headers: &HeaderMap, mut body: impl Body<Data = Bytes> + Unpin) {
    let mut drained = 0;
    while !headers.contains_key(EXPECT)
        && drained < MAX_DRAIN_BYTES
        && let Some(Ok(frame)) = body.frame().await
    {
        drained += frame.data_ref().map_or(0, Bytes::len);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use axum::body::Body;

    use super::*;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    /// Inflates like intake: with the size that the body states, then with the maximum.
    fn inflate(body: &[u8], limit: usize) -> Result<Bytes, UploadOutcome> {
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
    fn gzip_body_with_a_wrong_stated_size_is_inflated_or_invalid() {
        let content: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        for stated in [[0; 4], [0xff; 4]] {
            // The second member is empty, and states the size 0.
            let members = [gzip(&content), gzip(b"")].concat();
            assert_eq!(inflate(&members, 1 << 20).unwrap(), content);
            let mut wrong = gzip(&content);
            let end = wrong.len() - 4;
            wrong[end..].copy_from_slice(&stated);
            assert_eq!(inflate(&wrong, 1 << 20), Err(UploadOutcome::InvalidEncoding));
        }
    }

    #[test]
    fn content_encoding_of_a_mail_report_is_gzip_by_its_type() {
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
    async fn body_in_frames_is_joined() {
        let frames =
            ["[", "{}", "]"].map(|part| Ok::<_, std::io::Error>(http_body::Frame::data(Bytes::from(part))));
        let mut body = Body::new(http_body_util::StreamBody::new(futures_util::stream::iter(frames)));
        assert_eq!(
            read(&HeaderMap::new(), &mut body, 4, &Arc::new(BodyPool::new(4, 4))).await.unwrap().join(),
            "[{}]"
        );
    }

    #[tokio::test]
    async fn body_one_byte_over_the_limit_is_too_large() {
        let pool = Arc::new(BodyPool::new(1, 1));
        let read_with = async |limit| read(&HeaderMap::new(), &mut Body::from("12345"), limit, &pool).await;
        assert_eq!(read_with(4).await.unwrap_err(), UploadOutcome::TooLarge);
        assert_eq!(read_with(5).await.unwrap().join(), "12345");
    }
}
