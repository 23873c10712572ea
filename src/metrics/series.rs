//! One series: labels, value, time of creation and of the last update. Bounded label values are shared
//! statics, so that a series allocates only the text that came from reports.

use std::sync::Arc;

use jiff::Timestamp;

use crate::metrics::allocation::Allocation;
use crate::metrics::histogram::Histogram;
use crate::metrics::sample::{Sample, SampleValue, saturating_sum};
use crate::model::{Family, Increment, Label, MetricType};

/// A label value as the registry stores it.
#[derive(Debug)]
enum LabelValue {
    Bounded(&'static str),
    Unbounded(Box<str>),
}

impl LabelValue {
    fn as_str(&self) -> &str {
        match self {
            LabelValue::Bounded(text) => text,
            LabelValue::Unbounded(text) => text,
        }
    }
}

/// The value, by the family's type.
#[derive(Debug)]
enum Accumulator {
    Count(u64),
    Sum(f64),
    Histogram(Box<Histogram>),
}

/// One series of the registry, in one cache line.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Series {
    pub(super) family: &'static Family,
    /// Shared with snapshots, so that reading the registry holds no lock for long.
    labels: Arc<[LabelValue]>,
    accumulator: Accumulator,
    /// See [`Sample::id`].
    pub(super) id: u64,
    /// Unix nanoseconds.
    start_time: i64,
    /// Uptime in seconds at the last addition.
    pub(super) last_update: u32,
    /// Recent additions, halved by each expiry.
    pub(super) hits: u8,
    pub(super) allocation: Allocation,
}

impl Series {
    pub(super) fn new(
        family: &'static Family,
        labels: &[Label<'_>],
        start_time: Timestamp,
        id: u64,
        allocation: Allocation,
    ) -> Series {
        let label_value = |label: &Label<'_>| match label.as_bounded() {
            Some(text) => LabelValue::Bounded(text),
            None => LabelValue::Unbounded(label.as_str().into()),
        };
        let accumulator = match family.metric_type {
            MetricType::Counter => Accumulator::Count(0),
            MetricType::FloatCounter => Accumulator::Sum(0.0),
            MetricType::Histogram => Accumulator::Histogram(Box::default()),
        };
        Series {
            family,
            labels: labels.iter().map(label_value).collect(),
            accumulator,
            id,
            start_time: i64::try_from(start_time.as_nanosecond()).unwrap_or(0),
            last_update: 0,
            hits: 0,
            allocation,
        }
    }

    pub(super) fn matches(&self, family: &'static Family, labels: &[Label<'_>]) -> bool {
        std::ptr::eq(self.family, family)
            && self.labels.iter().zip(labels).all(|(own, other)| own.as_str() == other.as_str())
    }

    /// Returns the label values, in the family's order.
    pub(super) fn labels(&self) -> impl Iterator<Item = &str> {
        self.labels.iter().map(LabelValue::as_str)
    }

    pub(super) fn add(&mut self, amount: Increment, uptime: u32) {
        self.last_update = uptime;
        self.hits = self.hits.saturating_add(1);
        match (&mut self.accumulator, amount) {
            (Accumulator::Count(count), Increment::Count(more)) => *count = saturating_sum(*count, more),
            (Accumulator::Sum(sum), Increment::Sum(more)) => *sum += more,
            (Accumulator::Histogram(histogram), Increment::Duration(seconds)) => histogram.observe(seconds),
            _ => debug_assert!(false, "{} cannot hold {amount:?}", self.family.name),
        }
    }

    pub(super) fn value(&self) -> SampleValue {
        match &self.accumulator {
            Accumulator::Count(count) => SampleValue::Count(*count),
            Accumulator::Sum(sum) => SampleValue::Float(*sum),
            Accumulator::Histogram(histogram) => SampleValue::Histogram((**histogram).clone()),
        }
    }

    /// Copies the series, to be read without a lock.
    pub(super) fn snapshot(&self) -> SeriesSnapshot {
        let Series { family, id, start_time, .. } = *self;
        SeriesSnapshot { family, labels: self.labels.clone(), value: self.value(), id, start_time }
    }
}

/// A series at one moment.
#[derive(Debug)]
pub(super) struct SeriesSnapshot {
    pub(super) family: &'static Family,
    labels: Arc<[LabelValue]>,
    value: SampleValue,
    id: u64,
    start_time: i64,
}

impl SeriesSnapshot {
    pub(super) fn sample(&self) -> Sample<'_> {
        let labels = self.labels.iter().map(LabelValue::as_str).collect();
        Sample { labels, value: self.value.clone(), start_time: self.start_time, id: self.id }
    }
}
