//! What one report adds to one series.

use crate::model::family::Family;
use crate::model::label::{Label, OTHER};

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
