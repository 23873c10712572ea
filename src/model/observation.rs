//! What a report adds to a series.

use crate::model::family::Family;
use crate::model::label::{Label, OTHER};

/// The most labels a family has.
pub const MAX_LABELS: usize = 6;

/// One addition to one series, without its site.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)] // the types are the documentation
pub struct Observation<'a> {
    pub family: &'static Family,
    /// The labels after `site`, in the family's order.
    pub labels: [Label<'a>; MAX_LABELS - 1],
    pub amount: Increment,
    /// The host whose site it counts for, if not the report's own: one SMTP TLS report covers several domains.
    pub host: Option<&'a str>,
}

/// The amount that an observation adds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Increment {
    /// A number of reports, for a [`MetricType::Counter`].
    Count(u64),
    /// The weight of a sampled report, for a [`MetricType::FloatCounter`]; finite and not negative. What counts
    /// is at most `1 / min_sampling_fraction` of the site.
    Sum(f64),
    /// A duration in seconds, for a [`MetricType::Histogram`].
    Duration(f64),
}

impl<'a> Observation<'a> {
    /// Returns an observation with these labels after `site`.
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

    /// Returns an observation that adds 1.
    pub fn increment<const N: usize>(family: &'static Family, labels: [Label<'a>; N]) -> Observation<'a> {
        Observation::new(family, labels, Increment::Count(1))
    }
}
