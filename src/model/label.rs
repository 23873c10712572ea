//! Label values, bounded by their type.
//!
//! The only public constructor of a [`Label`] from arbitrary text is [`Label::unbounded`], which the
//! registry admits only within the family's quota. Every other label is a `&'static str`, so that no
//! byte of a report becomes a label by accident.

use strum::VariantArray;

/// One label value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label<'a> {
    text: &'a str,
    is_unbounded: bool,
}

/// The label of an unbounded value beyond the quota, and of a value that is not in its [`LabelValues`].
pub const OTHER: Label<'static> = Label::bounded("other");

/// A label that the series does not have: no export writes it.
pub const ABSENT: Label<'static> = Label::bounded("");

impl<'a> Label<'a> {
    /// A value of a set that the program itself declares.
    pub const fn bounded(value: &'static str) -> Label<'static> {
        Label { text: value, is_unbounded: false }
    }

    /// A value that came from outside; it becomes `other` when the family's quota is used up.
    pub const fn unbounded(value: &'a str) -> Label<'a> {
        Label { text: value, is_unbounded: true }
    }

    /// Returns the text.
    pub const fn as_str(&self) -> &'a str {
        self.text
    }

    /// Returns whether the value may become `other` when the family's quota is used up.
    pub const fn is_unbounded(&self) -> bool {
        self.is_unbounded
    }
}

/// The values of a bounded label. Anything else is `other`, absence is `none`.
#[derive(Debug)]
pub struct LabelValues(pub &'static [&'static str]);

impl LabelValues {
    /// Returns the label of a value as sent.
    pub fn label(&self, value: Option<&str>) -> Label<'static> {
        let Some(value) = value.filter(|value| !value.is_empty()) else { return Label::bounded("none") };
        self.0.iter().find(|known| **known == value).map_or(OTHER, |known| Label::bounded(known))
    }
}

/// An enum whose variants are the values of a bounded label.
pub trait LabelEnum: Copy + VariantArray + Into<&'static str> {
    /// Every value, in declaration order.
    const ALL: &'static [Self] = Self::VARIANTS;

    /// Returns the label's text.
    fn as_str(self) -> &'static str {
        self.into()
    }

    /// Returns the label.
    fn label(self) -> Label<'static> {
        Label::bounded(self.into())
    }
}

impl<T: Copy + VariantArray + Into<&'static str>> LabelEnum for T {}

/// The site of an observation: a configured one, a host if none are configured, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SiteLabel<'a> {
    /// The label.
    pub label: Label<'a>,
    /// The site's id (see [`Names`](crate::model::Names)), if it is a configured one.
    pub configured: Option<usize>,
}

impl SiteLabel<'static> {
    /// No configured site, or no host that could be one.
    pub const UNKNOWN: SiteLabel<'static> = SiteLabel { label: Label::bounded("unknown"), configured: None };
}

impl<'a> SiteLabel<'a> {
    /// A host, for a daemon without configured sites.
    pub const fn host(host: &'a str) -> SiteLabel<'a> {
        SiteLabel { label: Label::unbounded(host), configured: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_of_an_unlisted_value_is_other() {
        let phases = LabelValues(&["dns", "connection"]);
        assert_eq!(phases.label(Some("dns")).as_str(), "dns");
        assert_eq!(phases.label(Some("DNS\n")).as_str(), "other");
        assert_eq!(phases.label(Some("")).as_str(), "none");
        assert_eq!(phases.label(None).as_str(), "none");
    }
}
