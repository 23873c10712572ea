//! One series: its labels, its value, its age. Closed label values are shared statics, so a series
//! pays only for the text that came from outside.

use std::sync::Arc;

use jiff::Timestamp;
use smallvec::SmallVec;

use crate::metric::{Amount, Family, Label, MAX_LABELS, Measure};
use crate::table::budget::Paid;
use crate::table::histogram::{self, Histogram};

/// A label value as the table keeps it.
#[derive(Debug)]
pub(super) enum Stored {
    Closed(&'static str),
    Open(Box<str>),
}

impl Stored {
    pub(super) fn as_str(&self) -> &str {
        match self {
            Stored::Closed(text) => text,
            Stored::Open(text) => text,
        }
    }
}

/// What a series holds.
#[derive(Debug)]
enum Held {
    Count(u64),
    Sum(f64),
    Histogram(Box<Histogram>),
}

/// One series of the table: a cache line.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Series {
    pub(super) family: &'static Family,
    /// Shared with whoever reads the table, so that reading holds no lock for long.
    labels: Arc<[Stored]>,
    held: Held,
    /// Unlike that of any other series, one with the same labels before it included.
    id: u64,
    /// Unix nanoseconds.
    born: i64,
    /// Uptime in seconds at its last addition.
    pub(super) touched: u32,
    /// Additions of late: see [`Series::cool`].
    pub(super) heat: u8,
    pub(super) paid: Paid,
}

/// The most that is ever counted: OTLP's whole numbers are signed, and the scrape must say the same.
const MOST: u64 = i64::MAX.unsigned_abs();

/// Both counts together: a report may say that it stands for any number.
pub(super) fn sum(count: u64, more: u64) -> u64 {
    count.saturating_add(more).min(MOST)
}

/// How many samples of a scrape one series of the family is.
pub(super) fn cost(family: &Family) -> usize {
    match family.measure {
        Measure::Histogram => histogram::SAMPLES,
        Measure::Count | Measure::Sum | Measure::Gauge => 1,
    }
}

impl Series {
    pub(super) fn new(
        family: &'static Family,
        labels: &[Label<'_>],
        born: Timestamp,
        id: u64,
        paid: Paid,
    ) -> Series {
        let keep = |label: &Label<'_>| match label.as_closed() {
            Some(text) => Stored::Closed(text),
            None => Stored::Open(label.as_str().into()),
        };
        let held = match family.measure {
            Measure::Count | Measure::Gauge => Held::Count(0),
            Measure::Sum => Held::Sum(0.0),
            Measure::Histogram => Held::Histogram(Box::default()),
        };
        let born = i64::try_from(born.as_nanosecond()).unwrap_or(0);
        Series {
            family,
            labels: labels.iter().map(keep).collect(),
            held,
            id,
            born,
            touched: 0,
            heat: 0,
            paid,
        }
    }

    pub(super) fn is(&self, family: &'static Family, labels: &[Label<'_>]) -> bool {
        std::ptr::eq(self.family, family)
            && self.labels.iter().zip(labels).all(|(own, other)| own.as_str() == other.as_str())
    }

    /// The label values, in the family's order.
    pub(super) fn labels(&self) -> impl Iterator<Item = &str> {
        self.labels.iter().map(Stored::as_str)
    }

    /// See [`Reading::id`].
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn add(&mut self, amount: Amount, uptime: u32) {
        self.touched = uptime;
        self.heat = self.heat.saturating_add(1);
        match (&mut self.held, amount) {
            (Held::Count(count), Amount::Count(more)) => *count = sum(*count, more),
            (Held::Sum(sum), Amount::Sum(more)) => *sum += more,
            (Held::Histogram(histogram), Amount::Seconds(seconds)) => histogram.observe(seconds),
            _ => debug_assert!(false, "{} cannot hold {amount:?}", self.family.name),
        }
    }

    /// Forgets half of its additions.
    pub(super) fn cool(&mut self) {
        self.heat /= 2;
    }

    pub(super) fn number(&self) -> Number {
        match &self.held {
            Held::Count(count) => Number::Count(*count),
            Held::Sum(sum) => Number::Float(*sum),
            Held::Histogram(histogram) => Number::Histogram((**histogram).clone()),
        }
    }

    /// The series as it is now, to be read without a lock.
    pub(super) fn copy(&self) -> Copied {
        let Series { family, id, born, .. } = *self;
        Copied { family, labels: self.labels.clone(), number: self.number(), id, born }
    }
}

/// A series at one moment.
#[derive(Debug)]
pub(super) struct Copied {
    pub(super) family: &'static Family,
    labels: Arc<[Stored]>,
    number: Number,
    id: u64,
    born: i64,
}

impl Copied {
    pub(super) fn reading(&self) -> Reading<'_> {
        let labels = self.labels.iter().map(Stored::as_str).collect();
        Reading { labels, number: self.number.clone(), born: self.born, id: self.id }
    }
}

/// What a series says at one moment.
#[derive(Debug, Clone)]
pub struct Reading<'s> {
    /// The label values, in the order of the family's names.
    pub labels: SmallVec<[&'s str; MAX_LABELS]>,
    /// The value.
    pub number: Number,
    /// When the series was born, in Unix nanoseconds: OTLP's start time.
    pub born: i64,
    /// Of one life of one series: one that went and came back has another.
    pub id: u64,
}

/// A series' value.
#[derive(Debug, Clone, PartialEq)]
pub enum Number {
    /// A whole number that only grows, up to `i64::MAX`.
    Count(u64),
    /// A sum that only grows, or a gauge.
    Float(f64),
    /// A distribution of seconds.
    Histogram(Histogram),
}

impl Number {
    /// The count or the sum; of a distribution, how many observations.
    pub fn counted(&self) -> f64 {
        match self {
            Number::Count(count) => *count as f64,
            Number::Float(sum) => *sum,
            Number::Histogram(histogram) => histogram.count() as f64,
        }
    }
}
