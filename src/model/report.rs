//! The types that flow along the path: what decoding hands to normalizing, and what normalizing
//! hands to everything after it.

use std::borrow::Cow;

use jiff::Timestamp;

use crate::kinds::ReportKind;
use crate::model::json::{Object, Value};
use crate::model::label::Label;
use crate::model::observation::Observation;
use crate::model::outcome::closed;

/// One report as it was found in a body, before anything was cleaned.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope<'a> {
    /// The report type as sent, or the one that a legacy wrapper stands for; never empty.
    pub report_type: Cow<'a, str>,
    /// How long before its delivery it happened.
    pub age: Age<'a>,
    /// The URL it is about, when it says one.
    pub url: Option<Cow<'a, str>>,
    /// The user agent it names itself.
    pub user_agent: Option<Cow<'a, str>>,
    /// The body's members as sent.
    pub body: Object<'a>,
}

/// A report's own statement of when it happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Age<'a> {
    /// The Reporting API's `age`, whatever was found there.
    Milliseconds(Option<Value<'a>>),
    /// The `date-time` of the transport-security reports.
    At(Option<Cow<'a, str>>),
}

/// What an upload says about all its reports.
#[derive(Debug, Clone, Copy)]
pub struct UploadContext<'a> {
    /// When the upload was received.
    pub received: Timestamp,
    /// The same on the monotonic clock of series' ages: [`crate::clock::uptime_seconds`].
    pub uptime: u32,
    /// The upload's `User-Agent`, for reports that name none.
    pub user_agent: Option<&'a str>,
    /// The disposition that the endpoint's path or query supplies to reports that carry none.
    pub disposition: Option<Disposition>,
    /// The site that the path names.
    pub site: Option<&'a str>,
    /// Query parameters of the endpoint's URL that become `lookout.query.<name>`.
    pub query: &'a [(&'a str, Cow<'a, str>)],
    /// The client's address, as far as the settings let it be shown.
    pub client_address: Option<&'a str>,
}

closed! {
    /// Whether a policy was enforced: the label `disposition`.
    pub enum Disposition {
        /// It was.
        Enforce = "enforce",
        /// It only reports.
        Report = "report",
        /// Nobody said (legacy reports of Safari and of older browsers).
        Unknown = "unknown",
    }
}

impl Disposition {
    /// Parses any of the spellings that report types use.
    pub fn parse(text: Option<&str>) -> Disposition {
        match text {
            Some("enforce" | "enforced") => Disposition::Enforce,
            Some("report" | "reporting" | "report-only") => Disposition::Report,
            _ => Disposition::Unknown,
        }
    }

    /// The label.
    pub const fn label(self) -> Label<'static> {
        Label::bounded(self.as_str())
    }
}

/// One report in the Reporting API's generic shape, clean enough to leave the process.
#[derive(Debug, Clone, PartialEq)]
pub struct Report<'a> {
    /// Which entry of the table of kinds treats it.
    pub kind: &'static ReportKind,
    /// The report type as sent.
    pub report_type: Cow<'a, str>,
    /// Milliseconds between happening and receipt, 0 to 24 h.
    pub age: u64,
    /// The URL it is about, redacted; empty when unknown.
    pub url: Cow<'a, str>,
    /// The user agent; empty when unknown.
    pub user_agent: Cow<'a, str>,
    /// The members under their specification's names, redacted and capped. A known member whose
    /// value means "unknown" (null, empty, line 0) is absent.
    pub body: Object<'a>,
    /// Members that were cut away because the body held too many.
    pub dropped_members: u32,
    /// When it was received.
    pub received: Timestamp,
    /// When it happened: received − age.
    pub occurred: Timestamp,
}

impl Report<'_> {
    /// Whether the policy was enforced, by the member in which the kind says so.
    pub fn disposition(&self) -> Disposition {
        match self.kind.disposition.and_then(|member| self.body.get(member)) {
            Some(Value::Bool(true)) => Disposition::Report,
            Some(Value::Bool(false)) => Disposition::Enforce,
            said => Disposition::parse(said.and_then(Value::as_str)),
        }
    }
}

closed! {
    /// Why a report probably says nothing about the site: the label `noise`.
    pub enum Noise {
        /// No reason known.
        None = "none",
        /// Browser add-ons.
        Extension = "extension",
        /// Antivirus, internet providers, toolbars, in-app browsers.
        Injected = "injected",
        /// Proxies and translators.
        Intermediary = "intermediary",
        /// Engine internals and known engine bugs.
        Browser = "browser",
        /// localhost, development and test hosts.
        Local = "local",
        /// Bots and headless browsers.
        Bot = "bot",
    }
}

closed! {
    /// The browser's family: the label `browser` and `user_agent.name`.
    pub enum Browser {
        /// Chrome and what calls itself Chromium.
        Chrome = "chrome",
        /// Microsoft Edge.
        Edge = "edge",
        /// Firefox.
        Firefox = "firefox",
        /// Safari and WebKit.
        Safari = "safari",
        /// Opera.
        Opera = "opera",
        /// Samsung Internet.
        Samsung = "samsung",
        /// Anything else, and reports that name no user agent.
        Other = "other",
    }
}

/// What classifying found out about a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Classification<'a> {
    /// The site it belongs to.
    pub site: Label<'a>,
    /// Which entry of `sites` that is, when sites are configured.
    pub configured: Option<usize>,
    /// Whether it is noise.
    pub noise: Noise,
    /// The browser that sent it.
    pub browser: Browser,
}

/// OTLP severities that reports use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Nothing is broken for anybody.
    Info,
    /// Somebody should look at it in working hours.
    Warn,
    /// A user was hit.
    Error,
}

impl Severity {
    /// `SeverityText`, and the console's `severity`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "INFO",
            Severity::Warn => "WARN",
            Severity::Error => "ERROR",
        }
    }

    /// `SeverityNumber` of the OpenTelemetry log data model.
    pub const fn number(self) -> u8 {
        match self {
            Severity::Info => 9,
            Severity::Warn => 13,
            Severity::Error => 17,
        }
    }
}

/// What a kind makes of one of its reports.
#[derive(Debug)]
pub struct Evaluation<'a> {
    /// How bad it is.
    pub severity: Severity,
    /// What it adds to the kind's own families.
    pub observations: smallvec::SmallVec<[Observation<'a>; 3]>,
}

/// An attribute's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Attribute<'a> {
    /// Text.
    Text(&'a str),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// Yes or no.
    Bool(bool),
    /// A list or an object, to be written as JSON text.
    Json(&'a Value<'a>),
}
