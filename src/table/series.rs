//! One series: its labels, its value, its age. Closed label values are shared statics, so a series
//! pays only for the text that came from outside.

use jiff::Timestamp;

use crate::metric::{Amount, Family, Label, Measure};
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

/// One series of the table.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) family: &'static Family,
    pub(super) labels: Box<[Stored]>,
    held: Held,
    born: Timestamp,
    /// Uptime in seconds at its last addition.
    pub(super) touched: u32,
    /// Whether it is the family's reserve, which costs its share nothing.
    pub(super) reserved: bool,
}

/// How many samples of a scrape one series of the family is.
pub(super) fn cost(family: &Family) -> usize {
    match family.measure {
        Measure::Histogram => histogram::SAMPLES,
        Measure::Count | Measure::Sum | Measure::Gauge => 1,
    }
}

impl Series {
    pub(super) fn new(family: &'static Family, labels: &[Label<'_>], born: Timestamp) -> Series {
        let keep = |label: &Label<'_>| match label.as_closed() {
            Some(text) => Stored::Closed(text),
            None => Stored::Open(label.as_str().into()),
        };
        let held = match family.measure {
            Measure::Count | Measure::Gauge => Held::Count(0),
            Measure::Sum => Held::Sum(0.0),
            Measure::Histogram => Held::Histogram(Box::default()),
        };
        Series { family, labels: labels.iter().map(keep).collect(), held, born, touched: 0, reserved: false }
    }

    pub(super) fn is(&self, family: &'static Family, labels: &[Label<'_>]) -> bool {
        std::ptr::eq(self.family, family)
            && self.labels.iter().zip(labels).all(|(own, other)| own.as_str() == other.as_str())
    }

    pub(super) fn add(&mut self, amount: Amount, uptime: u32) {
        self.touched = uptime;
        match (&mut self.held, amount) {
            (Held::Count(count), Amount::Count(more)) => *count += more,
            (Held::Sum(sum), Amount::Sum(more)) => *sum += more,
            (Held::Histogram(histogram), Amount::Seconds(seconds)) => histogram.observe(seconds),
            _ => debug_assert!(false, "{} cannot hold {amount:?}", self.family.name),
        }
    }

    pub(super) fn reading(&self) -> Reading<'_> {
        let number = match &self.held {
            Held::Count(count) => Number::Count(*count),
            Held::Sum(sum) => Number::Float(*sum),
            Held::Histogram(histogram) => Number::Histogram((**histogram).clone()),
        };
        Reading::new(self.labels.iter().map(Stored::as_str), number, self.born)
    }
}

/// What a series says at one moment.
#[derive(Debug, Clone)]
pub struct Reading<'s> {
    /// The label values, in the order of the family's names.
    pub labels: smallvec::SmallVec<[&'s str; 5]>,
    /// The value.
    pub number: Number,
    /// When the series was born: OTLP's start time.
    pub born: Timestamp,
}

impl<'s> Reading<'s> {
    pub(super) fn new(
        labels: impl IntoIterator<Item = &'s str>,
        number: Number,
        born: Timestamp,
    ) -> Reading<'s> {
        Reading { labels: labels.into_iter().collect(), number, born }
    }
}

/// A series' value.
#[derive(Debug, Clone, PartialEq)]
pub enum Number {
    /// A whole number that only grows.
    Count(u64),
    /// A sum that only grows, or a gauge.
    Float(f64),
    /// A distribution of seconds.
    Histogram(Histogram),
}
