//! Result of one attempt to send a request. Texts of collectors and of errors become one line of bounded length.

use std::borrow::Cow;
use std::error::Error;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint};
use serde::Deserialize;
use serde_json::Value;

use crate::model::{ExportStatus, escape_hidden};

/// Most characters kept of a text.
const MAX_CHARS: usize = 512;

/// Result of one attempt to send a request. A message is one bounded line.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // see the type
pub enum ExportResult {
    Accepted,
    /// The collector accepted all but `rejected` items. With `rejected` 0 the message is a warning.
    PartialSuccess {
        /// Items rejected, as the collector counts them.
        rejected: u64,
        message: String,
    },
    /// The request may succeed when it is sent again.
    Retryable {
        code: ExportStatus,
        /// Whether the collector may have accepted it nevertheless. Only then can a retry deliver it twice.
        maybe_delivered: bool,
        /// The shortest delay, as the collector requested it.
        after: Option<Duration>,
        message: String,
    },
    /// The request must not be sent again.
    Permanent {
        code: ExportStatus,
        message: String,
    },
}

impl ExportResult {
    /// Creates a retryable failure for which the collector requested no delay.
    pub(super) fn retryable(code: ExportStatus, maybe_delivered: bool, message: String) -> Self {
        ExportResult::Retryable { code, maybe_delivered, after: None, message }
    }

    /// Returns the label under which the attempt is counted.
    pub fn code(&self) -> ExportStatus {
        match self {
            ExportResult::Accepted | ExportResult::PartialSuccess { rejected: 0, .. } => ExportStatus::Ok,
            ExportResult::PartialSuccess { .. } => ExportStatus::PartialSuccess,
            ExportResult::Retryable { code, .. } | ExportResult::Permanent { code, .. } => *code,
        }
    }
}

/// Parses an `Export*ServiceResponse`; `None` if the message is none. One type serves all signals, because theirs
/// differ in names only. `allow_unknown`: whether it may have fields that OTLP does not define, or not yet.
pub(super) fn parse_response(message: &[u8], allow_unknown: bool) -> Option<ExportResult> {
    let response = ExportLogsServiceResponse::decode(message).ok()?;
    let is_known = response.encoded_len() == message.len();
    let partial = response.partial_success.unwrap_or_default();
    (is_known || allow_unknown).then(|| partial_success(partial.rejected_log_records, &partial.error_message))
}

/// Parses the beginning of a response that is longer than what was read of it: the number comes first.
pub(super) fn parse_beginning(mut message: &[u8]) -> Option<ExportResult> {
    let (1, WireType::LengthDelimited) = decode_key(&mut message).ok()? else { return None };
    let is_cut = decode_varint(&mut message).ok()? > message.len() as u64;
    let first = decode_key(&mut &*message).ok()?;
    let mut partial = ExportLogsPartialSuccess::default();
    // Fails where the rest is missing.
    drop(partial.merge(message));
    let is_partial = is_cut && matches!(first, (1, WireType::Varint) | (2, WireType::LengthDelimited));
    is_partial.then(|| partial_success(partial.rejected_log_records, &partial.error_message))
}

/// Parses a response in JSON, which some collectors send whatever the request is encoded in.
pub(super) fn parse_json(text: &[u8]) -> Option<ExportResult> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Response {
        partial_success: Option<PartialSuccess>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase", deny_unknown_fields)]
    struct PartialSuccess {
        #[serde(alias = "rejectedDataPoints", alias = "rejectedSpans")]
        rejected_log_records: Value,
        error_message: String,
    }
    let response: Response = serde_json::from_slice(text).ok()?;
    let partial = response.partial_success.unwrap_or_default();
    let rejected = partial.rejected_log_records;
    // Protobuf writes 64-bit integers as strings.
    let rejected = rejected.as_i64().or_else(|| rejected.as_str()?.parse().ok());
    Some(partial_success(rejected.unwrap_or(0), &partial.error_message))
}

/// Returns the result of a response with these fields of its `partial_success`, 0 and empty without one.
fn partial_success(rejected: i64, message: &str) -> ExportResult {
    let rejected = u64::try_from(rejected).unwrap_or(0);
    if rejected == 0 && message.is_empty() {
        return ExportResult::Accepted;
    }
    ExportResult::PartialSuccess { rejected, message: sanitize(message) }
}

/// Returns the message of a failure: its status, and details if there are any.
pub(super) fn failure_message(status: &str, details: &str) -> String {
    if details.is_empty() { status.to_owned() } else { sanitize(&format!("{status}: {details}")) }
}

/// Returns the text as one line: hidden characters are escaped, a long one is truncated with `…`.
pub(super) fn sanitize(text: &str) -> String {
    let text = text.trim();
    let end = text.char_indices().nth(MAX_CHARS).map(|(end, _)| end);
    let line = escape_hidden(Cow::Borrowed(&text[..end.unwrap_or(text.len())]), false);
    if end.is_some() { format!("{line}…") } else { line.into_owned() }
}

/// Returns an error and its causes as one bounded line. A cause that the text above it already
/// contains is left out, because libraries tend to repeat causes.
pub(super) fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    sanitize(&text)
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::metrics::v1::{
        ExportMetricsPartialSuccess, ExportMetricsServiceResponse,
    };

    use super::*;

    fn metrics_response(rejected_data_points: i64, error_message: &str) -> Vec<u8> {
        let error_message = error_message.to_owned();
        let partial_success = Some(ExportMetricsPartialSuccess { rejected_data_points, error_message });
        ExportMetricsServiceResponse { partial_success }.encode_to_vec()
    }

    #[test]
    fn response_of_any_signal_is_parsed() {
        let partial =
            |rejected, message: &str| ExportResult::PartialSuccess { rejected, message: message.to_owned() };
        let parse = |rejected, message| parse_response(&metrics_response(rejected, message), false);
        assert_eq!(parse(3, "too\nold"), Some(partial(3, "too\\u{A}old")));
        assert_eq!(parse(0, "slow down"), Some(partial(0, "slow down")));
        assert_eq!(parse(-1, "odd"), Some(partial(0, "odd")));
        assert_eq!(parse(0, ""), Some(ExportResult::Accepted));
        assert_eq!(parse_response(b"", false), Some(ExportResult::Accepted));
    }

    #[test]
    fn response_of_something_else_is_none() {
        for text in ["<html>", "OK", "ok\n", "\n", "1\n", "{}", "\u{1f}\u{8b}", "2xx", "123456789"] {
            assert_eq!(parse_response(text.as_bytes(), false), None, "{text:?}");
        }
        // As an unknown field of a fixed size.
        assert_eq!(parse_response(b"123456789", true), Some(ExportResult::Accepted));
    }

    #[test]
    fn response_that_is_too_long_has_its_number() {
        let long = metrics_response(3, &"x".repeat(100_000));
        let partial = ExportResult::PartialSuccess { rejected: 3, message: String::new() };
        assert_eq!(parse_beginning(&long[..64 << 10]), Some(partial));
        assert_eq!(
            parse_beginning(&metrics_response(0, &"x".repeat(9999))[..99]),
            Some(ExportResult::Accepted)
        );
        for text in ["<html>".repeat(9999), "\n".repeat(9999), String::new()] {
            assert_eq!(parse_beginning(text.as_bytes()), None);
        }
    }

    #[test]
    fn response_in_json_is_parsed() {
        let partial = |rejected| ExportResult::PartialSuccess { rejected, message: "no".to_owned() };
        let text = br#"{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"no"}}"#;
        assert_eq!(parse_json(text), Some(partial(2)));
        let text = br#"{"partialSuccess":{"rejectedDataPoints":3,"errorMessage":"no"}}"#;
        assert_eq!(parse_json(text), Some(partial(3)));
        for text in ["{}", r#"{"partialSuccess":null}"#, r#"{"partialSuccess":{}}"#] {
            assert_eq!(parse_json(text.as_bytes()), Some(ExportResult::Accepted), "{text}");
        }
        for text in [r#"{"status":"ok"}"#, "[]", r#"{"partialSuccess":{"a":1}}"#, "{"] {
            assert_eq!(parse_json(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn sanitized_text_is_one_bounded_line() {
        assert_eq!(sanitize(" a\nb\u{1b}[31m "), "a\\u{A}b\\u{1B}[31m");
        let long = sanitize(&"é".repeat(MAX_CHARS + 1));
        assert_eq!(long.chars().count(), MAX_CHARS + 1);
        assert!(long.ends_with("é…"));
    }

    #[test]
    fn error_chain_joins_causes_without_repetition() {
        let inner = std::io::Error::other("refused");
        let outer = std::io::Error::other(inner);
        assert_eq!(error_chain(&outer), "refused");
    }
}
