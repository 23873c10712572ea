//! How uploads, reported items, events and export requests end. HTTP statuses, log levels and metric
//! labels all derive from these variants, so that no outcome is uncounted and none is spelled in two
//! ways.

use strum::{IntoStaticStr, VariantArray};

/// How an upload (one POST to intake) ended: `lookout_uploads_total{outcome}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum UploadOutcome {
    /// At least one report was accepted: 204.
    Accepted,
    /// The body is not JSON: 400.
    InvalidJson,
    /// JSON without a report: 400.
    NoReports,
    /// Every report belongs to a site that is not configured, and those are rejected, or lacks its site's key: 204.
    ReportsUnknownSite,
    /// The same for an Expect-CT report, for which RFC 9163 requires another status: 400.
    ExpectCtHostMismatch,
    /// An Expect-CT report of an undefined version (RFC 9163): 501.
    ExpectCtUnknownVersion,
    /// The body, or what it inflates to, is over `intake.max_body_bytes`: 413.
    TooLarge,
    /// A gzip body whose inflated size exceeds the permitted ratio: 413.
    InflateRatio,
    /// A Content-Encoding other than gzip: 415.
    UnsupportedEncoding,
    /// A gzip body that does not inflate: 400.
    InvalidEncoding,
    /// The body took longer than `intake.body_timeout`: 408.
    BodyTimeout,
    /// The client disconnected before its body was complete.
    ClientDisconnected,
    /// More uploads in flight than `intake.max_in_flight`, or no memory for this one within
    /// `intake.max_in_flight_bytes`: 503.
    Overloaded,
    /// The client is over `intake.rate_limit`: 204.
    RateLimited,
    /// A retired site or path: 410.
    Retired,
    /// `/report/{site}` with a name that is not configured: 404.
    UnknownSite,
    /// A POST to a path that intake does not serve: 404.
    UnknownPath,
    /// HTTP/1.1 without exactly one Host header, or two over another version: 400.
    InvalidHost,
    /// A method that the path does not allow: 405.
    MethodNotAllowed,
    /// The site in the path has keys, and its key is missing or wrong: 404, as for `UnknownSite`.
    BadKey,
}

impl UploadOutcome {
    /// Returns the HTTP status of the response.
    pub const fn status(self) -> u16 {
        match self {
            UploadOutcome::Accepted | UploadOutcome::ReportsUnknownSite | UploadOutcome::RateLimited => 204,
            UploadOutcome::InvalidJson
            | UploadOutcome::NoReports
            | UploadOutcome::ExpectCtHostMismatch
            | UploadOutcome::InvalidEncoding
            | UploadOutcome::InvalidHost
            | UploadOutcome::ClientDisconnected => 400,
            UploadOutcome::UnknownSite | UploadOutcome::UnknownPath | UploadOutcome::BadKey => 404,
            UploadOutcome::MethodNotAllowed => 405,
            UploadOutcome::BodyTimeout => 408,
            UploadOutcome::Retired => 410,
            UploadOutcome::TooLarge | UploadOutcome::InflateRatio => 413,
            UploadOutcome::UnsupportedEncoding => 415,
            UploadOutcome::ExpectCtUnknownVersion => 501,
            UploadOutcome::Overloaded => 503,
        }
    }
}

/// Why a connection was closed without a response: `lookout_connection_errors_total{reason}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum ConnectionError {
    /// It could not be accepted, as without a free file descriptor.
    Accept,
    /// Its TLS handshake failed.
    Handshake,
    /// A trusted proxy sent no PROXY protocol header.
    ProxyProtocol,
    /// Its client has `intake.max_connections_per_client` already.
    ClientLimit,
    /// It was the longest idle of `intake.max_connections`, and another one needed its place.
    Evicted,
}

/// Whose certificate it is: `lookout_tls_reload_failures_total{listener}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
#[allow(missing_docs)] // the names are the documentation
pub enum CertificateOwner {
    Intake,
    Admin,
    OtlpLogsClient,
    OtlpMetricsClient,
    OtlpTracesClient,
}

/// Why one item of a body was rejected: `lookout_reports_rejected_total{reason}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum RejectReason {
    /// The item is not a JSON object.
    NotAnObject,
    /// The item is nested too deeply, or has a number out of range.
    Unparsable,
    /// The item exceeds its memory budget for values.
    TooManyValues,
    /// An object without a `type` or a legacy wrapper.
    MissingType,
    /// The report's `body` is neither an object nor null.
    InvalidBody,
    /// An Expect-CT report without the host or the port that it is about.
    MissingHost,
    /// An item beyond `intake.max_reports`, or beyond what an upload of this size may have.
    OverLimit,
    /// The report belongs to no configured site, and `intake.unknown_sites` is `reject`.
    UnknownSite,
    /// The report belongs, by its host, to a site with keys, and the upload has none of them.
    BadKey,
}

/// Where events go: `lookout_events_total{exporter}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum ExporterId {
    /// JSON lines on stdout.
    Console,
    /// OTLP logs: the events of this process.
    Otlp,
    /// OTLP logs: events of an earlier process, found in the spool. They are counted separately, because
    /// this process did not count their reports.
    OtlpRecovered,
}

/// How an event ended at one exporter: `lookout_events_total{outcome}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum EventOutcome {
    /// The receiver accepted it.
    Delivered,
    /// The receiver rejected it permanently.
    Rejected,
    /// The queue was full, and so was the spool, if one is configured.
    DroppedQueueFull,
    /// The event alone exceeds the limit of the queue or of a request.
    DroppedTooLarge,
    /// It was still pending when `delivery.shutdown_timeout` had elapsed.
    DroppedShutdown,
    /// Its spool file disappeared or was damaged.
    DroppedSpoolDamaged,
    /// Over a limit of events per second: the site's `events_per_second`, `events.max_per_second` or
    /// `events.max_unknown_per_second`. Its metrics are exact all the same.
    Capped,
    /// A rule drops it. Its metrics are exact all the same.
    Filtered,
    /// Left out by `sites[].sample`.
    Sampled,
    /// Counted in `lookout.count` of the event that waits for the end of its window: `events.fold`.
    Folded,
}

/// Where events wait: `lookout_events_pending{state}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum PendingState {
    /// In the queue.
    Queued,
    /// In a request that was sent and not yet answered.
    InFlight,
    /// On disk, and in no request.
    Spooled,
    /// Until the end of the window in which it stands for all reports of its fingerprint but the first.
    Folding,
}

/// Why a file of the spool's directory was quarantined: `lookout_spool_quarantined_files_total{reason}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum QuarantineReason {
    /// Its name is not one of a spool file.
    Unrecognized,
    /// Its content is not the complete request that its name describes.
    Corrupt,
}

/// The spool operation that failed: `lookout_spool_errors_total{operation}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum SpoolOperation {
    /// Writing a request: the disk is full, read-only, broken or gone.
    Write,
    /// Reading one back.
    Read,
    /// Removing one that was delivered.
    Remove,
}

/// What is exported: `lookout_export_requests_total{signal}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum ExportSignal {
    /// Events.
    Logs,
    /// Series of the registry.
    Metrics,
}

/// How one attempt of an export request ended: `lookout_export_requests_total{code}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum ExportStatus {
    /// Accepted completely.
    Ok,
    /// Accepted in part.
    PartialSuccess,
    /// The connection could not be established.
    Connect,
    /// No response within the timeout.
    Timeout,
    /// The connection closed before the response was complete, or the response was malformed.
    ConnectionLost,
    /// A success by its HTTP status, but no OTLP response: most likely of another service, at a wrong URL.
    InvalidResponse,
    /// The request is at fault: HTTP 400, gRPC INVALID_ARGUMENT and similar.
    InvalidArgument,
    /// HTTP 401, gRPC UNAUTHENTICATED.
    Unauthenticated,
    /// HTTP 403, gRPC PERMISSION_DENIED.
    PermissionDenied,
    /// HTTP 404, gRPC UNIMPLEMENTED.
    Unimplemented,
    /// HTTP 413.
    TooLarge,
    /// HTTP 429, gRPC RESOURCE_EXHAUSTED.
    ResourceExhausted,
    /// HTTP 502, 503, 504, gRPC UNAVAILABLE.
    Unavailable,
    /// HTTP 500, gRPC INTERNAL.
    Internal,
    /// Any other response.
    Other,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::model::LabelEnum;

    fn assert_unique_snake_case<T: LabelEnum>() {
        let mut seen = BTreeSet::new();
        for value in T::ALL.iter().map(|value| value.as_str()) {
            assert!(value.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{value}");
            assert!(seen.insert(value), "{value} twice");
        }
        assert!(!seen.is_empty());
    }

    #[test]
    fn label_values_of_every_outcome_are_unique_and_snake_case() {
        assert_unique_snake_case::<UploadOutcome>();
        assert_unique_snake_case::<ConnectionError>();
        assert_unique_snake_case::<RejectReason>();
        assert_unique_snake_case::<ExporterId>();
        assert_unique_snake_case::<EventOutcome>();
        assert_unique_snake_case::<PendingState>();
        assert_unique_snake_case::<QuarantineReason>();
        assert_unique_snake_case::<SpoolOperation>();
        assert_unique_snake_case::<ExportSignal>();
        assert_unique_snake_case::<ExportStatus>();
    }
}
