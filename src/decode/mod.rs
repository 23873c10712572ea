//! Decodes a body into envelopes. The shape is detected in the JSON itself, because Content-Type is
//! unreliable: WebKit sends a bare Reporting API object as `application/csp-report`. An invalid item
//! is rejected alone, with its reason.

mod document;
mod gunzip;
mod legacy;
mod plain;
mod reporting_api;

pub use gunzip::{gunzip_within, max_inflated};

use crate::model::{Envelope, RejectReason, UploadOutcome, Value};

/// Decodes a body and passes each item to `emit`, in order. Items after the first `max_reports` are
/// rejected as [`RejectReason::OverLimit`].
///
/// # Errors
/// Returns [`UploadOutcome::InvalidJson`] if the body is not JSON, not even after the repair of defects that
/// browsers are known for (a byte order mark, invalid UTF-8, half a surrogate pair). `emit` is not called then.
pub fn decode(
    body: &[u8],
    max_reports: usize,
    mut emit: impl FnMut(Result<Envelope<'_>, RejectReason>),
) -> Result<(), UploadOutcome> {
    document::decode_items(body, max_reports, &mut |item| emit(item.and_then(envelope)))
}

fn envelope(item: Value<'_>) -> Result<Envelope<'_>, RejectReason> {
    let Value::Object(object) = item else { return Err(RejectReason::NotAnObject) };
    // The legacy wrapper decides, because one version of WebKit puts `type` and `url` beside it.
    legacy::decode_legacy(object).unwrap_or_else(reporting_api::decode_report)
}

#[cfg(test)]
mod tests;
