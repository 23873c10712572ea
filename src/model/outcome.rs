//! Every end that an upload, a report or an event can meet, in one closed vocabulary: HTTP status,
//! log level and metric label all derive from the variants here, so that nothing can be dropped
//! without a name and no name can be spelled in two ways.

/// Declares a closed set of metric label values: the variants, their spelling, and `ALL` in order.
macro_rules! closed {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$vmeta:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$vmeta])* $variant),+ }

        impl $name {
            /// Every value, in the order in which it is declared.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// The label value.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text),+ }
            }
        }
    };
}
#[allow(unused_imports)]
pub(crate) use closed;

closed! {
    /// How an upload (one POST to intake) ended: `lookout_uploads_total{outcome}`.
    pub enum UploadOutcome {
        /// At least one report was taken: 204.
        Accepted = "accepted",
        /// The body is not JSON: 400.
        InvalidJson = "invalid_json",
        /// JSON that holds no report: 400.
        NoReports = "no_reports",
        /// Every report belongs to a site that is not configured, and those are rejected: 204.
        ReportsUnknownSite = "reports_unknown_site",
        /// The same for an Expect-CT report, for which RFC 9163 demands another answer: 400.
        ExpectCtHostMismatch = "expect_ct_host_mismatch",
        /// An Expect-CT report of a version that nobody has defined yet (RFC 9163): 501.
        ExpectCtUnknownVersion = "expect_ct_unknown_version",
        /// The body, or what it inflates to, is over `intake.max_body_bytes`: 413.
        TooLarge = "too_large",
        /// A gzip body that inflates to very many times its size: 413.
        InflateRatio = "inflate_ratio",
        /// A Content-Encoding other than gzip: 415.
        UnsupportedEncoding = "unsupported_encoding",
        /// A gzip body that does not inflate: 400.
        InvalidEncoding = "invalid_encoding",
        /// The body took longer than `intake.body_timeout`: 408.
        BodyTimeout = "body_timeout",
        /// The client went away before its body was complete.
        ClientDisconnected = "client_disconnected",
        /// More uploads in flight than `intake.max_in_flight`, or no memory for this one within
        /// `intake.max_in_flight_bytes`: 503.
        Overloaded = "overloaded",
        /// The client is over `intake.rate_limit`: 204.
        RateLimited = "rate_limited",
        /// A retired site or path: 410.
        Retired = "retired",
        /// `/report/{site}` with a name that is not configured: 404.
        UnknownSite = "unknown_site",
        /// A POST to a path that is not intake's: 404.
        UnknownPath = "unknown_path",
        /// A method that intake does not know: 405.
        MethodNotAllowed = "method_not_allowed",
    }
}

impl UploadOutcome {
    /// The HTTP status that tells the client.
    pub const fn status(self) -> u16 {
        match self {
            UploadOutcome::Accepted | UploadOutcome::ReportsUnknownSite | UploadOutcome::RateLimited => 204,
            UploadOutcome::InvalidJson | UploadOutcome::NoReports | UploadOutcome::ExpectCtHostMismatch => {
                400
            }
            UploadOutcome::InvalidEncoding | UploadOutcome::ClientDisconnected => 400,
            UploadOutcome::UnknownSite | UploadOutcome::UnknownPath => 404,
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

closed! {
    /// Why one item of a body was not taken: `lookout_reports_rejected_total{reason}`.
    pub enum RejectReason {
        /// The item is not a JSON object.
        NotAnObject = "not_an_object",
        /// The item is JSON that cannot be read: nested too deeply, or a number out of range.
        Unparsable = "unparsable",
        /// The item holds more values than it may take memory for.
        TooManyValues = "too_many_values",
        /// An object that is no report of any known shape: no `type`, no legacy wrapper.
        MissingType = "missing_type",
        /// The report's `body` is neither an object nor null.
        InvalidBody = "invalid_body",
        /// An Expect-CT report that does not name the host and the port it is about.
        MissingHost = "missing_host",
        /// One item more than `intake.max_reports`.
        OverLimit = "over_limit",
        /// The report belongs to no configured site, and `intake.unknown_sites` is `reject`.
        UnknownSite = "unknown_site",
    }
}

closed! {
    /// Where events go: `lookout_events_total{exporter}`.
    pub enum ExporterId {
        /// JSON lines on stdout.
        Console = "console",
        /// OTLP logs: the events of this process.
        Otlp = "otlp",
        /// OTLP logs: events of an earlier process, found in the spool. They are not among the reports
        /// that this process counts, so its books are kept without them, and theirs apart.
        OtlpRecovered = "otlp_recovered",
    }
}

closed! {
    /// How an event ended at one exporter: `lookout_events_total{outcome}`.
    pub enum EventOutcome {
        /// The receiver has it.
        Delivered = "delivered",
        /// The receiver refused it for good.
        Rejected = "rejected",
        /// The queue was full, and the spool, if there is one, could not take more either.
        DroppedQueueFull = "dropped_queue_full",
        /// One event alone is larger than the queue or a request may be.
        DroppedTooLarge = "dropped_too_large",
        /// It was still pending when `delivery.shutdown_timeout` had passed.
        DroppedShutdown = "dropped_shutdown",
        /// It was in the spool, and its file vanished or was damaged.
        DroppedSpoolDamaged = "dropped_spool_damaged",
        /// Over the site's `events_per_second`; its counters are exact all the same.
        Capped = "capped",
    }
}

closed! {
    /// Where events wait: `lookout_events_pending{state}`.
    pub enum PendingState {
        /// In the queue.
        Queued = "queued",
        /// In a request that is on its way.
        InFlight = "in_flight",
        /// On disk, and in no request at the moment.
        Spooled = "spooled",
    }
}

closed! {
    /// Why a file of the spool's directory was quarantined: `lookout_spool_quarantined_files_total{reason}`.
    pub enum QuarantineReason {
        /// Its name is none of the spool's.
        Unrecognized = "unrecognized",
        /// It is not, or not whole, the request that its name says it is.
        Corrupt = "corrupt",
    }
}

closed! {
    /// What the disk refused: `lookout_spool_errors_total{operation}`.
    pub enum SpoolOperation {
        /// Writing a request: the disk is full, read-only, broken or gone.
        Write = "write",
        /// Reading one back.
        Read = "read",
        /// Removing one that was delivered.
        Remove = "remove",
    }
}

closed! {
    /// What is exported: `lookout_export_requests_total{signal}`.
    pub enum ExportSignal {
        /// Events.
        Logs = "logs",
        /// Counters.
        Metrics = "metrics",
    }
}

closed! {
    /// How one try of an export request ended: `lookout_export_requests_total{code}`.
    pub enum ExportStatus {
        /// Taken whole.
        Ok = "ok",
        /// Taken in part.
        PartialSuccess = "partial_success",
        /// The connection could not be made.
        Connect = "connect",
        /// No answer within the timeout.
        Timeout = "timeout",
        /// The connection ended before the answer was complete, or the answer made no sense.
        ConnectionLost = "connection_lost",
        /// The request is at fault: HTTP 400, gRPC INVALID_ARGUMENT and their like.
        InvalidArgument = "invalid_argument",
        /// HTTP 401, gRPC UNAUTHENTICATED.
        Unauthenticated = "unauthenticated",
        /// HTTP 403, gRPC PERMISSION_DENIED.
        PermissionDenied = "permission_denied",
        /// HTTP 404, gRPC UNIMPLEMENTED.
        Unimplemented = "unimplemented",
        /// HTTP 413.
        TooLarge = "too_large",
        /// HTTP 429, gRPC RESOURCE_EXHAUSTED.
        ResourceExhausted = "resource_exhausted",
        /// HTTP 502, 503, 504, gRPC UNAVAILABLE.
        Unavailable = "unavailable",
        /// HTTP 500, gRPC INTERNAL.
        Internal = "internal",
        /// Any other answer.
        Other = "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_are_unique_and_snake_case() {
        fn check(values: Vec<&str>) {
            let mut seen = std::collections::BTreeSet::new();
            for value in values {
                assert!(value.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{value}");
                assert!(seen.insert(value), "{value} twice");
            }
        }
        check(UploadOutcome::ALL.iter().map(|v| v.as_str()).collect());
        check(RejectReason::ALL.iter().map(|v| v.as_str()).collect());
        check(ExporterId::ALL.iter().map(|v| v.as_str()).collect());
        check(EventOutcome::ALL.iter().map(|v| v.as_str()).collect());
        check(PendingState::ALL.iter().map(|v| v.as_str()).collect());
        check(QuarantineReason::ALL.iter().map(|v| v.as_str()).collect());
        check(SpoolOperation::ALL.iter().map(|v| v.as_str()).collect());
        check(ExportSignal::ALL.iter().map(|v| v.as_str()).collect());
        check(ExportStatus::ALL.iter().map(|v| v.as_str()).collect());
    }
}
