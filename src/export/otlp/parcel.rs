//! A parcel is one request's worth of events: the same bytes at every try, in memory, on disk or both,
//! with their place in the books. Parcels wait on shelves, the oldest in front.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use crate::export::otlp::pending::Pending;
use crate::export::otlp::spool::File;

/// One request's worth of events.
#[derive(Debug)]
pub struct Parcel {
    /// Its place in the order in which events came; of the spool's files too.
    pub number: u64,
    /// The events' place in the books.
    pub pending: Pending,
    /// When its first event came, or when it was found on disk.
    pub since: Instant,
    /// The events.
    pub load: Load,
    /// Its file, if it is in the spool.
    pub file: Option<File>,
    /// How often it was sent in vain.
    pub tries: u32,
    /// Not to be sent before.
    pub ripe: Option<Instant>,
    /// Whether it was the collector that asked for that.
    pub asked: bool,
    /// Whether the spool could not hold it, were it empty.
    pub oversized: bool,
    /// While it is out of the spool to be sent: its turn there.
    pub turn: Option<OwnedSemaphorePermit>,
}

/// The events of a parcel.
#[derive(Debug)]
pub enum Load {
    /// Records, concatenated, each framed as `ScopeLogs.log_records`.
    Records(Vec<u8>),
    /// The whole request.
    Request(Bytes),
    /// The whole request, only on disk.
    OnDisk,
}

impl Parcel {
    /// A parcel that has not been tried.
    pub fn new(number: u64, pending: Pending, since: Instant, load: Load) -> Self {
        Parcel {
            number,
            pending,
            since,
            load,
            file: None,
            tries: 0,
            ripe: None,
            asked: false,
            oversized: false,
            turn: None,
        }
    }

    /// It is on disk as well, if there is a file.
    pub fn is_saved(&mut self, file: Option<File>) {
        if file.is_some() {
            self.file = file;
            self.pending.saved();
        }
    }

    fn key(&self) -> (u64, u64) {
        (self.number, self.pending.events())
    }

    fn is_ripe(&self, now: Instant) -> bool {
        self.ripe.is_none_or(|ripe| ripe <= now)
    }
}

/// Which of the parcels that may be sent goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    /// The oldest.
    Oldest,
    /// The one that was tried least, and of several the oldest. For a sender that has just failed: if the
    /// parcel was at fault and not the collector, another will get through.
    LeastTried,
}

/// Parcels that wait, the oldest in front. By number and events, as files are named: numbers alone may
/// come twice where somebody has put the files of two directories into one.
#[derive(Debug, Default)]
pub struct Shelf(BTreeMap<(u64, u64), Parcel>);

impl Shelf {
    /// Puts one to its place.
    pub fn put(&mut self, parcel: Parcel) {
        self.0.insert(parcel.key(), parcel);
    }

    /// One that may be sent now.
    pub fn take_ripe(&mut self, now: Instant, first: First) -> Option<Parcel> {
        let mut ripe = self.0.values().filter(|parcel| parcel.is_ripe(now));
        let key = match first {
            First::Oldest => ripe.next(),
            First::LeastTried => ripe.min_by_key(|parcel| (parcel.tries, parcel.number)),
        }?
        .key();
        self.0.remove(&key)
    }

    /// The oldest that the spool can hold, if it came at this moment or before, and whether or not it may
    /// be sent.
    pub fn take_to_save(&mut self, before: Option<Instant>) -> Option<Parcel> {
        let parcel = self.0.values().find(|parcel| !parcel.oversized)?;
        let key = before.is_none_or(|before| parcel.since <= before).then(|| parcel.key())?;
        self.0.remove(&key)
    }

    /// The oldest, whether it may be sent or not.
    pub fn take_first(&mut self) -> Option<Parcel> {
        self.0.pop_first().map(|(_, parcel)| parcel)
    }

    /// When the first may be sent, if none may be now. Parcels that were tried are few and in front.
    pub fn ripens(&self) -> Option<Instant> {
        self.0.values().map_while(|parcel| parcel.ripe).min()
    }

    /// Has all be sent as soon as possible but those for which the collector has asked for time.
    pub fn ripen(&mut self) {
        for parcel in self.0.values_mut().filter(|parcel| !parcel.asked) {
            parcel.ripe = None;
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Drops all.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::table::own::OwnMetrics;

    fn parcel(number: u64, since: Instant, ripe: Option<Instant>) -> Parcel {
        let pending = Pending::new(Arc::new(OwnMetrics::default()), Arc::default());
        Parcel { ripe, ..Parcel::new(number, pending, since, Load::OnDisk) }
    }

    fn number(parcel: Option<Parcel>) -> Option<u64> {
        parcel.map(|parcel| parcel.number)
    }

    #[test]
    fn the_oldest_that_is_ripe_goes_first() {
        let now = Instant::now();
        let later = now + Duration::from_secs(9);
        let mut shelf = Shelf::default();
        for (number, ripe) in [(3, None), (1, Some(later)), (2, Some(now)), (4, None)] {
            shelf.put(parcel(number, now, ripe));
        }
        let mut take = |now| number(shelf.take_ripe(now, First::Oldest));
        assert_eq!([take(now), take(now), take(now), take(now)], [Some(2), Some(3), Some(4), None]);
        assert_eq!(shelf.ripens(), Some(later));
        assert_eq!(number(shelf.take_ripe(later, First::Oldest)), Some(1));
        assert!(shelf.is_empty());
    }

    #[test]
    fn who_has_failed_gets_what_was_tried_least() {
        let now = Instant::now();
        let mut shelf = Shelf::default();
        for (number, tries) in [(1, 2), (2, 1), (3, 0), (4, 0), (5, 1)] {
            shelf.put(Parcel { tries, ..parcel(number, now, Some(now)) });
        }
        let mut take = || number(shelf.take_ripe(now, First::LeastTried));
        assert_eq!([take(), take(), take(), take()], [Some(3), Some(4), Some(2), Some(5)]);
    }

    #[test]
    fn only_who_was_asked_to_wait_still_waits_after_an_outage() {
        let (now, mut shelf) = (Instant::now(), Shelf::default());
        let later = now + Duration::from_secs(9);
        shelf.put(Parcel { asked: true, ..parcel(1, now, Some(later)) });
        shelf.put(parcel(2, now, Some(later)));
        shelf.ripen();
        assert_eq!(number(shelf.take_ripe(now, First::Oldest)), Some(2));
        assert_eq!(shelf.ripens(), Some(later));
    }

    #[test]
    fn the_oldest_is_taken_by_its_age_though_it_is_not_ripe() {
        let now = Instant::now();
        let mut shelf = Shelf::default();
        shelf.put(Parcel { oversized: true, ..parcel(1, now, None) });
        shelf.put(parcel(2, now, Some(now + Duration::from_secs(9))));
        assert_eq!(number(shelf.take_to_save(Some(now - Duration::from_secs(1)))), None);
        assert_eq!(number(shelf.take_to_save(Some(now))), Some(2));
        assert_eq!(number(shelf.take_to_save(None)), None, "what the disk cannot hold holds up nobody");
    }
}
