//! Metric families: name, labels and type, as Prometheus and OTLP have them.

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
    /// How large its share of `metrics.max_series` is, relative to the other report families'. The daemon's
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
