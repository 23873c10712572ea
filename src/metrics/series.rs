//! One series: labels, value, time of creation and of the last update. Bounded label values are shared
//! statics, so that a series allocates only the text that came from reports.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use smallvec::SmallVec;

use crate::metrics::demand::Allocation;
use crate::metrics::sample::{Sample, SampleValue, saturating_sum};
use crate::model::{Family, Increment, Label, MetricType};

/// Label values in the family's order, shared with snapshots, so that reading the registry holds no lock for long.
type Labels = Arc<[Cow<'static, str>]>;

/// One series of the registry, in one cache line.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Series {
    pub(super) family: &'static Family,
    labels: Labels,
    pub(super) value: SampleValue,
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
            Some(text) => Cow::Borrowed(text),
            None => Cow::Owned(label.as_str().to_owned()),
        };
        let value = match family.metric_type {
            MetricType::Counter => SampleValue::Count(0),
            MetricType::FloatCounter => SampleValue::Float(0.0),
            MetricType::Histogram => SampleValue::Histogram(Box::default()),
        };
        Series {
            family,
            labels: labels.iter().map(label_value).collect(),
            value,
            id,
            start_time: i64::try_from(start_time.as_nanosecond()).unwrap_or(0),
            last_update: 0,
            hits: 0,
            allocation,
        }
    }

    pub(super) fn matches(&self, family: &'static Family, labels: &[Label<'_>]) -> bool {
        std::ptr::eq(self.family, family)
            && self.labels.iter().zip(labels).all(|(own, other)| own == other.as_str())
    }

    pub(super) fn labels(&self) -> impl Iterator<Item = &str> {
        self.labels.iter().map(AsRef::as_ref)
    }

    pub(super) fn add(&mut self, amount: Increment, uptime: u32) {
        self.last_update = uptime;
        self.hits = self.hits.saturating_add(1);
        match (&mut self.value, amount) {
            (SampleValue::Count(count), Increment::Count(more)) => *count = saturating_sum(*count, more),
            (SampleValue::Float(sum), Increment::Sum(more)) => *sum += more,
            (SampleValue::Histogram(histogram), Increment::Duration(seconds)) => histogram.observe(seconds),
            _ => debug_assert!(false, "{} cannot hold {amount:?}", self.family.name),
        }
    }

    /// Copies the series, to be read without a lock. The sample gets its labels then.
    pub(super) fn snapshot(&self) -> (&'static Family, Labels, Sample<'static>) {
        let Series { family, id, start_time, .. } = *self;
        let sample = Sample { labels: SmallVec::new(), value: self.value.clone(), start_time, id };
        (family, self.labels.clone(), sample)
    }
}
