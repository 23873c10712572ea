//! Bytes to reports. The body is sniffed, since Content-Type says little (WebKit posts a bare
//! Reporting API object as `application/csp-report`), and each item of a batch stands alone: an
//! unreadable one is rejected with its reason, its neighbours are not.

mod document;
mod legacy;
mod reporting_api;

use crate::model::{Envelope, RejectReason, Value};

/// Why a body cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeError {
    /// It is not JSON, not even after the repair of what browsers get wrong.
    InvalidJson,
}

/// Hands each item of the body to `each`, in order, at most `max_reports` of them.
///
/// # Errors
/// [`DecodeError::InvalidJson`] when the body is not JSON, not even after mending what browsers get wrong (a byte
/// order mark, invalid UTF-8, half a surrogate pair). Nothing was handed over then.
pub fn decode(
    body: &[u8],
    max_reports: usize,
    mut each: impl FnMut(Result<Envelope<'_>, RejectReason>),
) -> Result<(), DecodeError> {
    document::parse(body, max_reports, &mut |item| each(item.and_then(envelope)))
}

/// Recognises the shape of one item.
fn envelope(item: Value<'_>) -> Result<Envelope<'_>, RejectReason> {
    let Value::Object(object) = item else { return Err(RejectReason::NotAnObject) };
    // The wrapper goes first: one WebKit puts `type` and `url` beside `csp-report`.
    match legacy::decode_legacy(object) {
        Ok(envelope) => envelope,
        Err(object) => reporting_api::parse(object),
    }
}

#[cfg(test)]
mod tests;
