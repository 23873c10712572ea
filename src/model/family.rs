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
    /// Its quota of `metrics.max_series`, relative to the other report families'. The daemon's own
    /// families have none, because all their series exist from the start.
    pub weight: usize,
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
    /// A value that can also decrease; only the daemon's own metrics use it.
    Gauge,
}
