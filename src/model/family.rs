//! Metric families of the registry, and so of Prometheus and OTLP.

/// A metric family.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// The Prometheus name, `_total` and unit included.
    pub name: &'static str,
    /// Its description: one sentence.
    pub help: &'static str,
    /// The type of its series.
    pub metric_type: MetricType,
    /// Label names in order; the first one of a report family is always `site`.
    pub labels: &'static [&'static str],
    /// Those of the labels, other than `site`, whose values come from reports as they are.
    pub unbounded: &'static [&'static str],
    /// Series of each configured site that exist from the start, beyond the quota, and never expire.
    pub pinned: usize,
    /// Its quota of `metrics.max_series`, relative to that of the other families.
    pub weight: usize,
}

impl Family {
    /// A counter without unbounded labels; each family overrides what it has.
    pub const COUNTER: Family = Family {
        name: "",
        help: "",
        metric_type: MetricType::Counter,
        labels: &[],
        unbounded: &[],
        pinned: 0,
        weight: 1,
    };

    /// Returns whether values of this label can become `other` when the quota is used up.
    pub fn is_unbounded(&self, label: &str) -> bool {
        label == "site" || self.unbounded.contains(&label)
    }
}

/// The type of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricType {
    /// A count of reports.
    Counter,
    /// A sum of weights.
    FloatCounter,
    /// A distribution of durations in seconds.
    Histogram,
}
