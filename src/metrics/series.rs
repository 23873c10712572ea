//! One series: its labels, its value, its age. Closed label values are shared statics, so a series
//! pays only for the text that came from outside.

use std::sync::Arc;

use jiff::Timestamp;
use smallvec::SmallVec;

use crate::metrics::histogram::{self, Histogram};
use crate::metrics::quota::Allocation;
use crate::model::{Family, Increment, Label, MAX_LABELS, MetricType};

/// A label value as the registry keeps it.
#[derive(Debug)]
pub(super) enum LabelValue {
    Bounded(&'static str),
    Unbounded(Box<str>),
}

impl LabelValue {
    pub(super) fn as_str(&self) -> &str {
        match self {
            LabelValue::Bounded(text) => text,
            LabelValue::Unbounded(text) => text,
        }
    }
}

/// What a series holds.
#[derive(Debug)]
enum Accumulator {
    Count(u64),
    Sum(f64),
    Histogram(Box<Histogram>),
}

/// One series of the registry: a cache line.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Series {
    pub(super) family: &'static Family,
    /// Shared with whoever reads the registry, so that reading holds no lock for long.
    labels: Arc<[LabelValue]>,
    accumulator: Accumulator,
    /// Unlike that of any other series, one with the same labels before it included.
    id: u64,
    /// Unix nanoseconds.
    start_time: i64,
    /// Uptime in seconds at its last addition.
    pub(super) last_update: u32,
    /// Additions of late: see [`Series::decay`].
    pub(super) hits: u8,
    pub(super) allocation: Allocation,
}

/// The most that is ever counted: OTLP's whole numbers are signed, and the scrape must say the same.
const MAX_COUNT: u64 = i64::MAX.unsigned_abs();

/// Both counts together: a report may say that it stands for any number.
pub(super) fn sum(count: u64, more: u64) -> u64 {
    count.saturating_add(more).min(MAX_COUNT)
}

/// How many samples of a scrape one series of the family is.
pub(super) fn samples_per_series(family: &Family) -> usize {
    match family.metric_type {
        MetricType::Histogram => histogram::SAMPLES,
        MetricType::Counter | MetricType::FloatCounter | MetricType::Gauge => 1,
    }
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
            MetricType::Counter | MetricType::Gauge => Accumulator::Count(0),
            MetricType::FloatCounter => Accumulator::Sum(0.0),
            MetricType::Histogram => Accumulator::Histogram(Box::default()),
        };
        let start_time = i64::try_from(start_time.as_nanosecond()).unwrap_or(0);
        Series {
            family,
            labels: labels.iter().map(label_value).collect(),
            accumulator,
            id,
            start_time,
            last_update: 0,
            hits: 0,
            allocation,
        }
    }

    pub(super) fn matches(&self, family: &'static Family, labels: &[Label<'_>]) -> bool {
        std::ptr::eq(self.family, family)
            && self.labels.iter().zip(labels).all(|(mine, other)| mine.as_str() == other.as_str())
    }

    /// The label values, in the family's order.
    pub(super) fn labels(&self) -> impl Iterator<Item = &str> {
        self.labels.iter().map(LabelValue::as_str)
    }

    /// See [`Sample::id`].
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn add(&mut self, amount: Increment, uptime: u32) {
        self.last_update = uptime;
        self.hits = self.hits.saturating_add(1);
        match (&mut self.accumulator, amount) {
            (Accumulator::Count(count), Increment::Count(more)) => *count = sum(*count, more),
            (Accumulator::Sum(sum), Increment::Sum(more)) => *sum += more,
            (Accumulator::Histogram(histogram), Increment::Duration(seconds)) => histogram.observe(seconds),
            _ => debug_assert!(false, "{} cannot hold {amount:?}", self.family.name),
        }
    }

    /// Forgets half of its additions.
    pub(super) fn decay(&mut self) {
        self.hits /= 2;
    }

    pub(super) fn value(&self) -> SampleValue {
        match &self.accumulator {
            Accumulator::Count(count) => SampleValue::Count(*count),
            Accumulator::Sum(sum) => SampleValue::Float(*sum),
            Accumulator::Histogram(histogram) => SampleValue::Histogram((**histogram).clone()),
        }
    }

    /// The series as it is now, to be read without a lock.
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

/// What a series says at one moment.
#[derive(Debug, Clone)]
pub struct Sample<'s> {
    /// The label values, in the order of the family's names.
    pub labels: SmallVec<[&'s str; MAX_LABELS]>,
    /// The value.
    pub value: SampleValue,
    /// When the series was born, in Unix nanoseconds: OTLP's start time.
    pub start_time: i64,
    /// Of one life of one series: one that went and came back has another.
    pub id: u64,
}

/// A series' value.
#[derive(Debug, Clone, PartialEq)]
pub enum SampleValue {
    /// A whole number that only grows, up to `i64::MAX`.
    Count(u64),
    /// A sum that only grows, or a gauge.
    Float(f64),
    /// A distribution of seconds.
    Histogram(Histogram),
}

impl SampleValue {
    /// The count or the sum; of a distribution, how many observations.
    pub fn total(&self) -> f64 {
        match self {
            SampleValue::Count(count) => *count as f64,
            SampleValue::Float(sum) => *sum,
            SampleValue::Histogram(histogram) => histogram.count() as f64,
        }
    }
}
