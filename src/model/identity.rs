//! What makes two reports the same problem, and how that problem counts among the alerts.

use strum::{IntoStaticStr, VariantArray};

use crate::model::envelope::Disposition;

/// What happened to the client: the label `what`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum What {
    /// An enforced policy was violated.
    Enforced,
    /// A report-only policy was violated, or one of unknown disposition.
    ReportOnly,
    /// A request failed.
    Network,
    /// A request succeeded.
    NetworkOk,
    /// A page crashed.
    Crash,
    /// Anything else.
    Other,
}

impl What {
    /// Returns what a policy of this disposition did.
    pub fn of_policy(disposition: Disposition) -> What {
        match disposition {
            Disposition::Enforce => What::Enforced,
            Disposition::Report | Disposition::Unknown => What::ReportOnly,
        }
    }
}

/// What an attacker would gain from the violated directive: the label `class`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Class {
    /// Code runs in the page.
    Runs,
    /// Data leaves the page.
    Exfiltrates,
    /// Neither, or not a directive.
    Other,
}

/// A value that tells one problem of a kind from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// A field as it is.
    Text(&'static str),
    /// The origin and the path of a URL, or a keyword in its place.
    Url(&'static str),
    /// The same of a script or a style. A page is none, because the page takes no part.
    Source(&'static str),
    /// The start of source text, unless the first field has a URL.
    SampleOf(&'static str, &'static str),
    /// The texts and the names of members in a list or an object; no numbers.
    Names(&'static str),
    /// The host of the report's URL.
    ServerHost,
    /// The report type as sent.
    ReportType,
}

impl Identity {
    /// Returns whether this field of the body is read.
    pub fn reads(self, field: &str) -> bool {
        match self {
            Identity::Text(name) | Identity::Url(name) | Identity::Source(name) | Identity::Names(name) => {
                name == field
            }
            Identity::SampleOf(url, name) => url == field || name == field,
            Identity::ServerHost | Identity::ReportType => false,
        }
    }
}
