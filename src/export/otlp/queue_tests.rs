//! The queue's bounds, and its books.

use super::*;
use crate::outcome::Place;

fn queue(limit: usize) -> (Queue, Arc<OwnMetrics>) {
    let own = Arc::new(OwnMetrics::default());
    (Queue::new(limit, Arc::clone(&own)), own)
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

/// A batch that must be there without waiting.
async fn at_once(queue: &Queue) -> Batch {
    tokio::time::timeout(MAX_BATCH_AGE / 2, queue.next()).await.expect("a sealed batch").unwrap()
}

#[tokio::test]
async fn a_batch_is_sealed_at_512_records() {
    let (queue, own) = queue(1 << 20);
    push(&queue, &[1; 513]);
    let batch = at_once(&queue).await;
    assert_eq!((batch.records.len(), batch.pending.events()), (512, 512));
    assert_eq!((memory(&own), own.pending(Exporter::Otlp, Place::InFlight)), (1, 512));
}

#[tokio::test]
async fn a_batch_never_exceeds_its_bytes() {
    let (queue, _own) = queue(8 << 20);
    push(&queue, &[MAX_BATCH_BYTES - 10, 11, MAX_BATCH_BYTES]);
    assert_eq!(at_once(&queue).await.records.len(), MAX_BATCH_BYTES - 10);
    assert_eq!(at_once(&queue).await.records.len(), 11);
    assert_eq!(at_once(&queue).await.records.len(), MAX_BATCH_BYTES);
}

#[tokio::test]
async fn a_lone_record_leaves_after_a_second() {
    let (queue, _own) = queue(1 << 20);
    let start = Instant::now();
    push(&queue, &[5]);
    let batch = queue.next().await.unwrap();
    assert!(start.elapsed() >= MAX_BATCH_AGE);
    assert_eq!(batch.pending.events(), 1);
}

#[tokio::test]
async fn a_waiting_taker_is_woken() {
    let (queue, _own) = queue(1 << 20);
    let (batch, ()) = tokio::join!(at_once(&queue), async { push(&queue, &[1; 512]) });
    assert_eq!(batch.pending.events(), 512);
}

#[tokio::test]
async fn everything_pending_counts_against_the_limit() {
    let (queue, own) = queue(1000);
    push(&queue, &[400, 400, 400, 150]);
    assert_eq!((memory(&own), fate(&own, Fate::DroppedQueueFull)), (3, 1));
    queue.close();
    let batch = queue.next().await.unwrap();
    push(&queue, &[1]);
    assert_eq!(fate(&own, Fate::DroppedShutdown), 1);
    assert_eq!(queue.held.load(Ordering::Relaxed), 950);
    drop(batch);
    assert_eq!(queue.held.load(Ordering::Relaxed), 0);
    assert!(queue.next().await.is_none());
    assert_eq!(memory(&own) + own.pending(Exporter::Otlp, Place::InFlight), 0);
    assert_eq!(fate(&own, Fate::DroppedShutdown), 4);
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
