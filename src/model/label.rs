//! Label values, bounded by their type.
//!
//! A [`Label`] has no public constructor from arbitrary text other than [`Label::unbounded`], which the registry
//! admits only within the family's quota. Everything else is a `&'static str` out of a [`LabelValues`], so no byte
//! of a report can become an unbounded label by accident.

use std::fmt;

/// One label value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Label<'a>(Repr<'a>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Repr<'a> {
    Bounded(&'static str),
    Unbounded(&'a str),
}

/// What an overflowed open label becomes, and what a vocabulary makes of a stranger.
pub const OTHER: Label<'static> = Label(Repr::Bounded("other"));

impl<'a> Label<'a> {
    /// A value of a closed set that the program itself declares.
    pub const fn bounded(value: &'static str) -> Label<'static> {
        Label(Repr::Bounded(value))
    }

    /// A value that came from outside; it becomes `other` where the series budget is used up.
    pub const fn unbounded(value: &'a str) -> Label<'a> {
        Label(Repr::Unbounded(value))
    }

    /// The text.
    pub const fn as_str(&self) -> &'a str {
        match self.0 {
            Repr::Bounded(text) => text,
            Repr::Unbounded(text) => text,
        }
    }

    /// The text, if the value is of a closed set.
    pub const fn as_bounded(&self) -> Option<&'static str> {
        match self.0 {
            Repr::Bounded(text) => Some(text),
            Repr::Unbounded(_) => None,
        }
    }

    /// Whether the series budget may turn the value into `other`.
    pub const fn is_unbounded(&self) -> bool {
        matches!(self.0, Repr::Unbounded(_))
    }
}

impl fmt::Debug for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

/// A closed set of label values. Anything else is `other`, absence is `none`.
#[derive(Debug)]
pub struct LabelValues(pub &'static [&'static str]);

impl LabelValues {
    /// The label for a value as a report carries it.
    pub fn label(&self, value: Option<&str>) -> Label<'static> {
        let Some(value) = value.filter(|value| !value.is_empty()) else { return Label::bounded("none") };
        self.0.iter().find(|known| **known == value).map_or(OTHER, |known| Label::bounded(known))
    }
}

/// Whose series an observation counts into: a configured site, a host where none are configured, or
/// nobody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SiteLabel<'a> {
    /// The label.
    pub label: Label<'a>,
    /// The site's position in the settings, if it is a configured one.
    pub configured: Option<usize>,
}

impl SiteLabel<'static> {
    /// No configured site, or no host that could be one.
    pub const UNKNOWN: SiteLabel<'static> = SiteLabel { label: Label::bounded("unknown"), configured: None };
}

impl<'a> SiteLabel<'a> {
    /// A host where no sites are configured.
    pub const fn host(host: &'a str) -> SiteLabel<'a> {
        SiteLabel { label: Label::unbounded(host), configured: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vocabulary_is_closed() {
        let phases = LabelValues(&["dns", "connection"]);
        assert_eq!(phases.label(Some("dns")).as_str(), "dns");
        assert_eq!(phases.label(Some("DNS\n")).as_str(), "other");
        assert_eq!(phases.label(Some("")).as_str(), "none");
        assert_eq!(phases.label(None).as_str(), "none");
    }
}
