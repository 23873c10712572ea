//! Inflation of a gzip body within limits: on its size, on its memory, and on its ratio.

use std::io::{self, Read};

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;

use crate::model::UploadOutcome;

/// Maximum ratio of the inflated to the compressed size. Batches of reports reach about 100.
const MAX_RATIO: usize = 200;

/// Size to which any gzip body may inflate, in bytes.
const MIN_INFLATED: usize = 64 * 1024;

/// Returns the maximum size to which a gzip body of `sent` bytes may inflate.
pub fn max_inflated(sent: usize, limit: usize) -> usize {
    sent.saturating_mul(MAX_RATIO).max(MIN_INFLATED).min(limit)
}

/// Inflates a gzip body, with no more memory than `expected` bytes and the decoder's own. `None`: it is
/// longer than expected, and may still be within all limits.
///
/// # Errors
/// Returns an error if the body is invalid, inflates to more than `limit` bytes, or has too high a ratio.
pub fn gunzip_within(body: &[u8], expected: usize, limit: usize) -> Result<Option<Bytes>, UploadOutcome> {
    let invalid = |_: io::Error| UploadOutcome::InvalidEncoding;
    let max = max_inflated(body.len(), limit);
    let expected = expected.min(max);
    let mut inflated = Vec::with_capacity(expected + 1);
    let mut decoder = MultiGzDecoder::new(body);
    decoder.by_ref().take(expected as u64 + 1).read_to_end(&mut inflated).map_err(invalid)?;
    if inflated.len() <= expected {
        return Ok(Some(inflated.into()));
    }
    if expected < max {
        return Ok(None);
    }
    let rest = io::copy(&mut decoder.take((limit - expected) as u64), &mut io::sink()).map_err(invalid)?;
    let too_large = inflated.len() as u64 + rest > limit as u64;
    Err(if too_large { UploadOutcome::TooLarge } else { UploadOutcome::InflateRatio })
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

    fn inflate(body: &[u8], limit: usize) -> Result<Bytes, UploadOutcome> {
        gunzip_within(body, limit, limit).map(|inflated| inflated.expect("all that is expected is inflated"))
    }

    #[test]
    fn gunzip_of_a_bomb_stops_at_the_limit() {
        let bomb = gzip(&vec![b' '; 20 << 20]);
        assert!(bomb.len() < 1 << 20, "the bomb itself is within the limit");
        assert_eq!(inflate(&bomb, 1 << 20), Err(UploadOutcome::TooLarge));
        assert_eq!(inflate(&gzip(&[b' '; 100]), 100).unwrap().len(), 100);
    }

    #[test]
    fn gunzip_above_the_ratio_is_an_error_of_its_own() {
        let limit = 1 << 20;
        let bomb = gzip(&vec![b' '; limit]);
        assert!(bomb.len() * MAX_RATIO < limit);
        assert_eq!(inflate(&bomb, limit), Err(UploadOutcome::InflateRatio));
        let larger = gzip(&vec![b' '; limit + 1]);
        assert_eq!(inflate(&larger, limit), Err(UploadOutcome::TooLarge), "the limit comes first");
        assert_eq!(inflate(&bomb[..bomb.len() - 1], limit), Err(UploadOutcome::InvalidEncoding));
        assert_eq!(inflate(&gzip(&[b' '; MIN_INFLATED]), limit).unwrap().len(), MIN_INFLATED);
    }

    #[test]
    fn gunzip_of_more_than_expected_returns_none() {
        let body = gzip(&[b' '; 1000]);
        assert_eq!(gunzip_within(&body, 999, 1 << 20), Ok(None));
        assert_eq!(gunzip_within(&body, 1000, 1 << 20).unwrap().unwrap().len(), 1000);
    }

    #[test]
    fn gunzip_of_no_or_incomplete_gzip_is_an_error() {
        assert_eq!(inflate(b"[]", 100), Err(UploadOutcome::InvalidEncoding));
        let whole = gzip(b"[{\"type\":\"x\"}]");
        assert_eq!(inflate(&whole[..whole.len() - 4], 100), Err(UploadOutcome::InvalidEncoding));
    }
}
