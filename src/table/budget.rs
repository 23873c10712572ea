//! Each family's share of `limits.series`, so that no family can use up another's.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::metric::{Family, MAX_LABELS, Measure};
use crate::table::own::Give;
use crate::table::series::{Number, cost};

/// One family's share, in samples.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) family: &'static Family,
    limit: usize,
    used: AtomicUsize,
    expired: AtomicU64,
    /// Observations whose label at this position became `other`; at the end, those that lost all.
    overflow: [AtomicU64; MAX_LABELS + 1],
}

/// Divides a number of samples among the families by their weights. One series of each is set aside
/// beyond its share: the reserve.
pub(super) fn divide(samples: usize, shares: &mut [Share]) {
    let reserves: usize = shares.iter().map(Share::cost).sum();
    let free = samples.saturating_sub(reserves);
    let weights: usize = shares.iter().map(|share| share.family.weight).sum();
    for share in shares {
        share.limit = free * share.family.weight / weights.max(1);
    }
}

impl Share {
    pub(super) fn empty(family: &'static Family) -> Share {
        let (used, expired) = (AtomicUsize::new(0), AtomicU64::new(0));
        Share { family, limit: 0, used, expired, overflow: Default::default() }
    }

    /// Samples of one series.
    pub(super) fn cost(&self) -> usize {
        cost(self.family)
    }

    /// Takes room for one more series, if there is any.
    pub(super) fn reserve(&self) -> bool {
        let more = |used: usize| Some(used + self.cost()).filter(|used| *used <= self.limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Gives back the room of a series that expired.
    pub(super) fn release(&self, was_reserve: bool) {
        if !was_reserve {
            self.used.fetch_sub(self.cost(), Ordering::Relaxed);
        }
        self.expired.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an observation that lost the label at this position.
    pub(super) fn overflow(&self, label: usize) {
        self.overflow[label].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self, give: Give<'_>) {
        let name = self.family.name;
        give(&SERIES, &[name], Number::Float(self.used.load(Ordering::Relaxed) as f64));
        give(&SERIES_LIMIT, &[name], Number::Float((self.limit + self.cost()) as f64));
        give(&SERIES_EXPIRED, &[name], Number::Count(self.expired.load(Ordering::Relaxed)));
        let names = self.family.labels.iter().copied().chain([ALL_LABELS]);
        for (label, count) in names.zip(&self.overflow) {
            if OPEN_LABELS.contains(&label) {
                give(&SERIES_OVERFLOW, &[name, label], Number::Count(count.load(Ordering::Relaxed)));
            }
        }
    }
}

/// The labels that can be open, in any family.
const OPEN_LABELS: [&str; 4] = ["site", "blocked", "id", ALL_LABELS];
/// An observation that not even its closed labels were left.
const ALL_LABELS: &str = "all";

/// The families of this file.
pub(super) static FAMILIES: [&Family; 4] = [&SERIES, &SERIES_LIMIT, &SERIES_EXPIRED, &SERIES_OVERFLOW];

static SERIES: Family = Family {
    name: "lookout_series",
    help: "Samples that the family holds now; a histogram counts with all its samples.",
    measure: Measure::Gauge,
    labels: &["family"],
    weight: 0,
};
static SERIES_LIMIT: Family = Family {
    name: "lookout_series_limit",
    help: "Samples that the family may hold: its share of limits.series.",
    measure: Measure::Gauge,
    labels: &["family"],
    weight: 0,
};
static SERIES_EXPIRED: Family = Family {
    name: "lookout_series_expired_total",
    help: "Series that went after limits.series_idle.",
    measure: Measure::Count,
    labels: &["family"],
    weight: 0,
};
static SERIES_OVERFLOW: Family = Family {
    name: "lookout_series_overflow_total",
    help: "Observations whose label became other because the family's share was used up; all: every label did.",
    measure: Measure::Count,
    labels: &["family", "label"],
    weight: 0,
};
