//! One series: labels, value, time of creation and of the last update.

use jiff::Timestamp;

use crate::metrics::demand::Allocation;
use crate::metrics::sample::{SampleValue, saturating_sum};
use crate::model::{Family, Increment, Label, MetricType};

/// The character of the length 0: beyond those that the text format escapes, so that one search of many series finds
/// whether a label has any.
const LENGTH_0: u32 = b'\\' as u32 + 1;

/// One series of the registry, in one cache line.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Series {
    pub(super) family: &'static Family,
    /// Label values in the family's order, each after its length as a character (see [`LENGTH_0`]): one allocation,
    /// which is read and copied whole, because most of the cost of a scrape is the access to memory.
    pub(super) labels: Box<str>,
    pub(super) value: SampleValue,
    /// See [`Sample::id`](crate::metrics::Sample::id).
    pub(super) id: u64,
    /// Unix nanoseconds.
    pub(super) start_time: i64,
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
        // A length takes two bytes at most, but for a few labels.
        let mut text = String::with_capacity(labels.iter().map(|label| label.as_str().len() + 2).sum());
        for label in labels.iter().map(Label::as_str) {
            // Always a character, because texts are limited to a few KiB.
            text.extend(char::from_u32(LENGTH_0 + label.len() as u32));
            text.push_str(label);
        }
        let value = match family.metric_type {
            MetricType::Counter => SampleValue::Count(0),
            MetricType::FloatCounter => SampleValue::Float(0.0),
            MetricType::Histogram => SampleValue::Histogram(Box::default()),
        };
        Series {
            family,
            labels: text.into(),
            value,
            id,
            start_time: i64::try_from(start_time.as_nanosecond()).unwrap_or(0),
            last_update: 0,
            hits: 0,
            allocation,
        }
    }

    pub(super) fn matches(&self, family: &'static Family, labels: &[Label<'_>]) -> bool {
        std::ptr::eq(self.family, family) && self.labels().eq(labels.iter().map(Label::as_str))
    }

    pub(super) fn labels(&self) -> impl Iterator<Item = &str> {
        split(&self.labels)
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
}

/// Returns the label values of [`Series::labels`].
pub(super) fn split(mut text: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let first = text.chars().next()?;
        let length = (first as usize).checked_sub(LENGTH_0 as usize)?;
        let (label, rest) = text[first.len_utf8()..].split_at_checked(length)?;
        text = rest;
        Some(label)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::csp_violation::VIOLATIONS;

    #[test]
    fn labels_of_any_length_are_kept_and_add_no_character_that_is_escaped() {
        let now = Timestamp::UNIX_EPOCH;
        for length in (0..300).chain([2047, 2048, 4096, 8192]) {
            let text = "x".repeat(length);
            let labels = [text.as_str(), "", "a", &text, "", &text].map(Label::unbounded);
            let series = Series::new(&VIOLATIONS, &labels, now, 0, Allocation::Fallback);
            assert!(series.labels().eq(labels.iter().map(Label::as_str)), "{length}");
            assert!(!series.labels.contains(['\\', '"', '\n']), "{length}");
        }
    }
}
