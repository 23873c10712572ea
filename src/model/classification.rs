//! The classification of a report: its site, its noise class and its browser.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

use crate::model::evaluation::Severity;
use crate::model::label::Label;

/// The classification of one report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the types are the documentation
pub struct Classification<'a> {
    pub site: Label<'a>,
    /// The index of that site in `sites`, if it is a configured one.
    pub configured: Option<usize>,
    /// The configured page of the site.
    pub page: Option<&'static str>,
    pub noise: Noise,
    /// The severity, if a rule sets it.
    pub severity: Option<Severity>,
    /// Whether a rule drops its event.
    pub drops_event: bool,
    /// The name of the rule that matched.
    pub rule: Option<&'a str>,
    pub browser: Browser,
}

/// Why a report is probably not about the site: the label `noise`. Earlier variants take precedence.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    IntoStaticStr,
    VariantArray,
    Deserialize,
    Serialize,
    JsonSchema,
)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Noise {
    /// No reason known.
    None,
    /// Browser add-ons.
    Extension,
    /// Antivirus, internet providers, toolbars, in-app browsers.
    Injected,
    /// Proxies and translators.
    Intermediary,
    /// Engine internals and known engine bugs.
    Browser,
    /// localhost, development and test hosts.
    Local,
    /// Bots and headless browsers.
    Bot,
}

/// The browser's family: the label `browser` and `user_agent.name`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
#[allow(missing_docs)] // the names are the documentation
pub enum Browser {
    /// Chrome and other browsers that identify as Chromium.
    Chrome,
    Edge,
    Firefox,
    Safari,
    Opera,
    Samsung,
    /// Any other browser, and reports without a user agent.
    Other,
}

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
