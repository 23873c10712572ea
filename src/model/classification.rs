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
    /// What that browser states about versions.
    pub versions: Versions,
}

/// What a user agent states about its browser's version and its system, as far as that is known and true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Versions {
    /// The browser's version.
    pub browser: Version,
    /// The operating system, under the name that ua-parser has for it; empty if unknown.
    pub os: &'static str,
    /// The operating system's version.
    pub os_version: Version,
}

/// A version of numbers and dots; empty if unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Version {
    text: [u8; 23],
    len: usize,
}

impl Version {
    /// Parses the version at the start of a text. Empty if there is none, or a longer one than 23 bytes.
    pub fn parse(text: &str) -> Version {
        let len = text.bytes().take_while(|byte| byte.is_ascii_digit() || b"._".contains(byte)).count();
        let stated = text[..len].trim_end_matches(['.', '_']);
        let mut version = Version { len: stated.len(), ..Version::default() };
        for (to, byte) in version.text.iter_mut().zip(stated.bytes()) {
            *to = if byte == b'_' { b'.' } else { byte };
        }
        if version.major().is_some() { version } else { Version::default() }
    }

    /// Returns the version's text.
    pub fn as_str(&self) -> &str {
        self.text.get(..self.len).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default()
    }

    /// Returns the first number.
    pub fn major(&self) -> Option<u32> {
        self.as_str().split('.').next()?.parse().ok()
    }
}

/// Why a report is probably not about the site: the label `noise`. Earlier variants take precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
#[derive(Deserialize, Serialize, JsonSchema)]
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
