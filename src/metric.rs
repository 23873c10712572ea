//! What a report adds to the counters, as types: a family with its label names, label values that
//! are either closed or subject to the series budget, and the amount.
//!
//! A [`Label`] has no public constructor from arbitrary text other than [`Label::unbounded`], which the
//! registry admits only within the family's quota; everything else is a `&'static str` out of a
//! [`LabelValues`]. So no byte of a report can become an unbounded label by accident.

use std::fmt;

/// A metric family of the registry, as Prometheus and OTLP know it.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// The Prometheus name, `_total` and unit included.
    pub name: &'static str,
    /// One sentence for people.
    pub help: &'static str,
    /// What a series of it holds.
    pub metric_type: MetricType,
    /// Label names in order; a report family's first is always `site`.
    pub labels: &'static [&'static str],
    /// How large its share of `limits.series` is, relative to the other report families'. The daemon's
    /// own families have none: all their series exist from the start.
    pub weight: usize,
}

/// What a series holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricType {
    /// A count of reports.
    Counter,
    /// A sum of weights.
    FloatCounter,
    /// A distribution of durations in seconds.
    Histogram,
    /// A value that goes up and down; only the daemon's own metrics use it.
    Gauge,
}

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

/// The most labels a family has.
pub const MAX_LABELS: usize = 5;

/// One addition to one series. The site is not in it: the recorder finds it.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    /// Which family.
    pub family: &'static Family,
    /// The labels after `site`, in the family's order.
    pub labels: [Label<'a>; MAX_LABELS - 1],
    /// How much.
    pub amount: Increment,
    /// The host whose site it counts for, where that is not the report's own: one SMTP TLS report tells
    /// about several domains.
    pub host: Option<&'a str>,
}

/// How much an observation adds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Increment {
    /// So many, to a [`MetricType::Counter`].
    Count(u64),
    /// So much, to a [`MetricType::FloatCounter`]; finite and not negative.
    Sum(f64),
    /// One duration in seconds, to a [`MetricType::Histogram`].
    Duration(f64),
}

impl<'a> Observation<'a> {
    /// An observation with these labels after `site`.
    pub fn new<const N: usize>(
        family: &'static Family,
        labels: [Label<'a>; N],
        amount: Increment,
    ) -> Observation<'a> {
        const { assert!(N < MAX_LABELS, "more labels than MAX_LABELS") }
        debug_assert_eq!(family.labels.len(), N + 1, "{}", family.name);
        let mut all = [OTHER; MAX_LABELS - 1];
        all[..N].copy_from_slice(&labels);
        Observation { family, labels: all, amount, host: None }
    }

    /// One more report.
    pub fn increment<const N: usize>(family: &'static Family, labels: [Label<'a>; N]) -> Observation<'a> {
        Observation::new(family, labels, Increment::Count(1))
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
