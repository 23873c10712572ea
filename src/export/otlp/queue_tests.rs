//! The queue's bounds, and its books.

use super::*;
use crate::outcome::Place;

fn queue(limit: usize) -> (Queue, Arc<OwnMetrics>) {
    let own = Arc::new(OwnMetrics::default());
    (Queue::new(limit, MAX_BATCH_BYTES, 1, Arc::clone(&own), Arc::default()), own)
}

fn push(queue: &Queue, lengths: &[usize]) {
    let ends: Vec<u32> = lengths
        .iter()
        .scan(0, |end, len| {
            *end += *len as u32;
            Some(*end)
        })
        .collect();
    queue.push(&vec![7; lengths.iter().sum()], &ends);
}

fn memory(own: &OwnMetrics) -> i64 {
    own.pending(Exporter::Otlp, Place::Memory)
}

fn fate(own: &OwnMetrics, fate: Fate) -> u64 {
    own.events(Exporter::Otlp, fate)
}

/// The parcel that may be sent at this moment.
fn at(queue: &Queue, now: Instant) -> Option<Parcel> {
    match queue.take(now, First::Oldest) {
        Taken::Parcel(parcel) => Some(*parcel),
        Taken::Later(_) | Taken::Over => None,
    }
}

/// The same, now, and there must be one. The length of its records is given too.
fn at_once(queue: &Queue) -> (Parcel, usize) {
    let parcel = at(queue, Instant::now()).expect("a parcel that is closed");
    let Load::Records(records) = &parcel.load else { panic!("{parcel:?}") };
    let len = records.len();
    (parcel, len)
}

#[test]
fn a_parcel_is_closed_at_512_records() {
    let (queue, own) = queue(1 << 20);
    push(&queue, &[1; 513]);
    let (parcel, len) = at_once(&queue);
    assert_eq!((len, parcel.pending.events()), (512, 512));
    assert_eq!((memory(&own), own.pending(Exporter::Otlp, Place::InFlight)), (1, 512));
}

#[test]
fn a_parcel_never_exceeds_its_bytes() {
    let (queue, _own) = queue(8 << 20);
    push(&queue, &[MAX_BATCH_BYTES - 10, 11, MAX_BATCH_BYTES]);
    for (number, expected) in [(1, MAX_BATCH_BYTES - 10), (2, 11), (3, MAX_BATCH_BYTES)] {
        let (parcel, len) = at_once(&queue);
        assert_eq!((parcel.number, len), (number, expected));
    }
}

#[test]
fn a_lone_record_leaves_after_a_second() {
    let (queue, _own) = queue(1 << 20);
    let start = Instant::now();
    push(&queue, &[5]);
    let Taken::Later(Some(due)) = queue.take(start, First::Oldest) else { panic!("it waits for more") };
    assert!((start + MAX_BATCH_AGE..start + MAX_BATCH_AGE * 2).contains(&due));
    assert!(at(&queue, due - Duration::from_millis(1)).is_none());
    assert_eq!(at(&queue, due).unwrap().pending.events(), 1);
}

#[tokio::test]
async fn a_waiting_sender_is_woken() {
    let (queue, _own) = queue(1 << 20);
    let wake = Arc::clone(&queue.wake);
    let woken = tokio::time::timeout(Duration::from_secs(20), wake.notified());
    let (woken, ()) = tokio::join!(woken, async { push(&queue, &[1]) });
    assert!(woken.is_ok());
}

#[test]
fn everything_pending_counts_against_the_limit() {
    let (queue, own) = queue(1000);
    push(&queue, &[400, 400, 400, 150]);
    assert_eq!((memory(&own), fate(&own, Fate::DroppedQueueFull)), (3, 1));
    queue.close();
    let (parcel, _) = at_once(&queue);
    push(&queue, &[1]);
    assert_eq!(fate(&own, Fate::DroppedShutdown), 1);
    assert_eq!(queue.held.load(Ordering::Relaxed), 950);
    drop(parcel);
    assert_eq!(queue.held.load(Ordering::Relaxed), 0);
    assert!(matches!(queue.take(Instant::now(), First::Oldest), Taken::Over));
    assert_eq!(memory(&own) + own.pending(Exporter::Otlp, Place::InFlight), 0);
    assert_eq!(fate(&own, Fate::DroppedShutdown), 4);
}

#[test]
fn what_comes_back_goes_first_when_it_is_ripe() {
    let (queue, own) = queue(1 << 20);
    push(&queue, &[1; 1024]);
    let (mut first, _) = at_once(&queue);
    let later = Instant::now() + Duration::from_secs(60);
    first.ripe = Some(later);
    queue.put_back(first);
    assert_eq!((memory(&own), own.pending(Exporter::Otlp, Place::InFlight)), (1024, 0));
    assert_eq!(at_once(&queue).0.number, 2);
    let Taken::Later(Some(due)) = queue.take(Instant::now(), First::Oldest) else { panic!("it is not ripe") };
    assert_eq!((due, at(&queue, later).unwrap().number), (later, 1));
}

#[test]
fn only_what_has_waited_long_is_overdue() {
    let (queue, _own) = queue(1 << 20);
    let start = Instant::now();
    push(&queue, &[1; 513]);
    assert!(queue.take_overdue(start + SAVE_AFTER - Duration::from_millis(1)).is_none());
    let late = Instant::now() + SAVE_AFTER;
    let overdue = [queue.take_overdue(late), queue.take_overdue(late), queue.take_overdue(late)];
    assert_eq!(overdue.map(|parcel| parcel.map(|it| it.pending.events())), [Some(512), Some(1), None]);
}

#[tokio::test]
async fn what_memory_has_no_room_for_is_overdue_at_once() {
    let (queue, _own) = queue(4000);
    push(&queue, &[1; 512]);
    push(&queue, &[1; 400]);
    assert!(queue.take_overdue(Instant::now()).is_none(), "a quarter of the memory may wait");
    push(&queue, &[1; 700]);
    tokio::time::timeout(Duration::from_secs(20), queue.until_short()).await.expect("to be told");
    assert_eq!(queue.take_overdue(Instant::now()).unwrap().number, 1);
    assert_eq!(queue.take_overdue(Instant::now()).unwrap().number, 2, "the one being filled is another");
    assert!(queue.take_overdue(Instant::now()).is_none());
}

#[test]
fn too_large_is_not_queue_full() {
    let (small, own) = queue(100);
    push(&small, &[101, 100]);
    assert_eq!((fate(&own, Fate::DroppedTooLarge), memory(&own)), (1, 1));
    let (large, own) = queue(8 << 20);
    push(&large, &[MAX_BATCH_BYTES + 1]);
    assert_eq!((fate(&own, Fate::DroppedTooLarge), memory(&own)), (1, 0));
}

#[test]
fn offsets_that_point_nowhere_are_counted() {
    let (queue, own) = queue(100);
    queue.push(&[1; 4], &[2, 9, 3]);
    assert_eq!((memory(&own), fate(&own, Fate::DroppedTooLarge)), (1, 2));
}

#[test]
fn a_queue_that_is_dropped_leaves_balanced_books() {
    let (queue, own) = queue(1 << 20);
    push(&queue, &[1; 600]);
    drop(queue);
    assert_eq!((memory(&own), fate(&own, Fate::DroppedShutdown)), (0, 600));
}
