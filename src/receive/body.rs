//! Reading a body: bounded in bytes as sent and as inflated, before and whatever anything else says.

use std::io::Read;

use axum::body::Body;
use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use http_body_util::BodyExt;
use hyper::body::Body as _;

use crate::outcome::Upload;
use crate::receive::room::Room;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Identity,
    Gzip,
}

/// Reads Content-Encoding, and Content-Type: an SMTP TLS report may be a gzip file by its type.
///
/// # Errors
/// `UnsupportedCoding` for anything but gzip and identity.
pub(super) fn coding(headers: &HeaderMap) -> Result<Coding, Upload> {
    let by_type = match is_type(headers, "application/tlsrpt+gzip") {
        true => Coding::Gzip,
        false => Coding::Identity,
    };
    let Some(value) = headers.get(CONTENT_ENCODING) else { return Ok(by_type) };
    let value = value.to_str().unwrap_or_default().trim();
    match () {
        () if value.is_empty() || value.eq_ignore_ascii_case("identity") => Ok(by_type),
        () if value.eq_ignore_ascii_case("gzip") || value.eq_ignore_ascii_case("x-gzip") => Ok(Coding::Gzip),
        () => Err(Upload::UnsupportedCoding),
    }
}

/// Whether Content-Type names this type, with or without parameters.
pub(super) fn is_type(headers: &HeaderMap, media_type: &str) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(media_type)
}

/// Reads the whole body, at most `limit` bytes. Most arrive in one frame, which is then not copied.
///
/// # Errors
/// `TooLarge` when it is longer or Content-Length says so; `Aborted` when the client goes away;
/// `Overloaded` when there is no room for a body in parts.
pub(super) async fn read(
    headers: &HeaderMap,
    mut body: Body,
    limit: usize,
    room: &Room,
) -> Result<Bytes, Upload> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let mut refused = announced.filter(|length| *length > limit as u64).map(|_| Upload::TooLarge);
    let mut parts = room.body();
    while refused.is_none()
        && let Some(frame) = body.frame().await
    {
        let Ok(data) = frame.map_err(|_| Upload::Aborted)?.into_data() else { continue };
        if parts.len() + data.len() > limit {
            refused = Some(Upload::TooLarge);
        } else if parts.len() == 0 && body.is_end_stream() {
            return Ok(data);
        } else if !parts.push(&data) {
            refused = Some(Upload::Overloaded);
        }
    }
    let Some(refused) = refused else { return Ok(parts.join()) };
    drop(parts);
    discard(headers, body).await;
    Err(refused)
}

/// How much of a refused body is read nevertheless, in bytes.
const MAX_DISCARDED: usize = 16 << 20;

/// Reads a refused body to its end and forgets it: a client that is still sending would take the
/// closing of its connection for a failure of the network, never see the answer, and try again. One
/// that waits to be told whether to send is told nothing, and sees the answer.
pub(super) async fn discard(headers: &HeaderMap, mut body: Body) {
    let mut discarded = 0;
    while !headers.contains_key(EXPECT)
        && discarded < MAX_DISCARDED
        && let Some(Ok(frame)) = body.frame().await
    {
        discarded += frame.data_ref().map_or(0, Bytes::len);
    }
}

/// Inflates a gzip body to at most `limit` bytes.
///
/// # Errors
/// `TooLarge` when it inflates to more, `BrokenCoding` when it is no gzip or ends early.
pub fn inflate(body: &[u8], limit: usize) -> Result<Bytes, Upload> {
    let mut inflated = Vec::new();
    let over_limit = limit as u64 + 1;
    match MultiGzDecoder::new(body).take(over_limit).read_to_end(&mut inflated) {
        Ok(bytes) if bytes > limit => Err(Upload::TooLarge),
        Ok(_) => Ok(inflated.into()),
        Err(_) => Err(Upload::BrokenCoding),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_bomb_is_stopped_at_the_limit() {
        let bomb = gzip(&vec![b' '; 20 << 20]);
        assert!(bomb.len() < 1 << 20, "the bomb itself is within the limit");
        assert_eq!(inflate(&bomb, 1 << 20), Err(Upload::TooLarge));
        assert_eq!(inflate(&gzip(&[b' '; 100]), 100).unwrap().len(), 100);
    }

    #[test]
    fn what_is_no_gzip_is_broken() {
        assert_eq!(inflate(b"[]", 100), Err(Upload::BrokenCoding));
        let whole = gzip(b"[{\"type\":\"x\"}]");
        assert_eq!(inflate(&whole[..whole.len() - 4], 100), Err(Upload::BrokenCoding));
    }

    #[test]
    fn a_mail_report_is_gzip_by_type() {
        let coding = |content_type: &str, encoding: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
            if let Some(encoding) = encoding {
                headers.insert(CONTENT_ENCODING, encoding.parse().unwrap());
            }
            coding(&headers)
        };
        for encoding in [None, Some("identity"), Some("gzip")] {
            assert_eq!(coding("Application/TLSRPT+gzip; charset=utf-8", encoding), Ok(Coding::Gzip));
        }
        assert_eq!(coding("application/tlsrpt+gzip", Some("br")), Err(Upload::UnsupportedCoding));
        assert_eq!(coding("application/tlsrpt+json", None), Ok(Coding::Identity));
    }

    #[tokio::test]
    async fn frames_become_one_piece() {
        let frames =
            ["[", "{}", "]"].map(|part| Ok::<_, std::io::Error>(http_body::Frame::data(Bytes::from(part))));
        let body = Body::new(http_body_util::StreamBody::new(futures_util::stream::iter(frames)));
        assert_eq!(read(&HeaderMap::new(), body, 4, &Room::new(4, 4)).await.unwrap(), "[{}]");
    }

    #[tokio::test]
    async fn one_byte_over_the_limit_is_too_large() {
        let room = Room::new(1, 1);
        let read_with = async |limit| read(&HeaderMap::new(), Body::from("12345"), limit, &room).await;
        assert_eq!(read_with(4).await, Err(Upload::TooLarge));
        assert_eq!(read_with(5).await.unwrap(), "12345");
    }
}
