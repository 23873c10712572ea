//! A report as decoded, and the properties of its upload.

use std::borrow::Cow;

use jiff::Timestamp;
use ring::digest::Digest;
use strum::{IntoStaticStr, VariantArray};

use crate::model::client::ClientKey;
use crate::model::json::{Object, Value};

/// One report as decoded from a body, before normalization.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope<'a> {
    /// The report type as sent, or the one that a legacy wrapper stands for; never empty.
    pub report_type: Cow<'a, str>,
    /// The time between the event and its delivery.
    pub age: Age<'a>,
    /// The URL it is about, if present.
    pub url: Option<Cow<'a, str>>,
    /// The report's own user agent, if present.
    pub user_agent: Option<Cow<'a, str>>,
    /// The body's fields as sent.
    pub body: Object<'a>,
}

/// A report's own statement of when it happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Age<'a> {
    /// The Reporting API's `age`, of any JSON type.
    Milliseconds(Option<Value<'a>>),
    /// The `date-time` of the transport-security reports.
    At(Option<Cow<'a, str>>),
}

/// The properties that all reports of an upload share.
#[derive(Debug, Clone, Copy)]
pub struct UploadContext<'a> {
    /// When the upload was received.
    pub received: Timestamp,
    /// The same on the monotonic clock of series' ages: [`crate::clock::uptime_seconds`].
    pub uptime: u32,
    /// The upload's `User-Agent`, for reports without one.
    pub user_agent: Option<&'a str>,
    /// The disposition in the endpoint's path or query, for reports without one.
    pub disposition: Option<Disposition>,
    /// The site of the endpoint's path.
    pub site: Option<&'a str>,
    /// SHA-256 of the key in the endpoint's URL, if any site has keys.
    pub key: Option<Digest>,
    /// Query parameters of the endpoint's URL that become `lookout.query.<name>`.
    pub query: &'a [(&'a str, Cow<'a, str>)],
    /// The client. Nothing of it may leave the process.
    pub client: ClientKey,
    /// The client's address, as far as `privacy.client_address` permits.
    pub client_address: Option<&'a str>,
    /// The span of the upload, if it is traced.
    pub span: Option<SpanIds>,
}

/// A span, as log records name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanIds {
    /// The trace.
    pub trace_id: [u8; 16],
    /// The span.
    pub span_id: [u8; 8],
    /// The flags of the W3C's trace context; 1 is sampled.
    pub flags: u8,
}

/// Whether a policy was enforced: the label `disposition`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Disposition {
    /// Enforced.
    Enforce,
    /// Report-only.
    Report,
    /// Not stated (legacy reports of Safari and of older browsers).
    Unknown,
}

impl Disposition {
    /// Parses a disposition, whose words differ by report type.
    pub fn parse(text: Option<&str>) -> Disposition {
        match text {
            Some("enforce" | "enforced") => Disposition::Enforce,
            Some("report" | "reporting" | "report-only") => Disposition::Report,
            _ => Disposition::Unknown,
        }
    }
}
