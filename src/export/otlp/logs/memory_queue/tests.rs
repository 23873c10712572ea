//! Bounds and accounting of the memory queue.

use std::time::Duration;

use super::*;

const SPILL_AFTER: Duration = Duration::from_secs(5);

fn queue(limit: usize) -> (MemoryQueue, Arc<SelfMetrics>) {
    queue_with(limit, Some(SPILL_AFTER))
}

fn queue_with(limit: usize, spill_after: Option<Duration>) -> (MemoryQueue, Arc<SelfMetrics>) {
    let self_metrics = Arc::new(SelfMetrics::default());
    let metrics = Arc::clone(&self_metrics);
    let mut delivery = crate::config::defaults().delivery;
    delivery.memory_bytes = limit;
    if let Some(after) = spill_after {
        delivery.spool.directory = Some("spool".into());
        delivery.spool.after = after;
    }
    (MemoryQueue::new(&delivery, MAX_BATCH_BYTES, 1, metrics, Arc::default()), self_metrics)
}

fn push(queue: &MemoryQueue, lengths: &[usize]) {
    let ends: Vec<u32> = lengths
        .iter()
        .scan(0, |end, len| {
            *end += *len as u32;
            Some(*end)
        })
        .collect();
    queue.push(&vec![7; lengths.iter().sum()], &ends);
}

fn memory(self_metrics: &SelfMetrics) -> i64 {
    self_metrics.pending(ExporterId::Otlp, PendingState::Queued)
}

fn outcome(self_metrics: &SelfMetrics, outcome: EventOutcome) -> u64 {
    self_metrics.events(ExporterId::Otlp, outcome)
}

/// Returns the batch that is ready at this moment.
fn ready_at(queue: &MemoryQueue, now: Instant) -> Option<Batch> {
    match queue.dequeue(now, Order::Oldest) {
        Next::Batch(batch) => Some(*batch),
        Next::Later(_) | Next::Closed => None,
    }
}

/// Returns the batch that is ready now, and the length of its records.
fn ready_now(queue: &MemoryQueue) -> (Batch, usize) {
    let batch = ready_at(queue, Instant::now()).expect("a closed batch");
    let Payload::Records(records) = &batch.payload else { panic!("{batch:?}") };
    let len = records.len();
    (batch, len)
}

#[test]
fn batch_is_closed_at_512_records() {
    let (queue, self_metrics) = queue(1 << 20);
    push(&queue, &[1; 513]);
    let (batch, len) = ready_now(&queue);
    assert_eq!((len, batch.pending.events()), (512, 512));
    assert_eq!(
        (memory(&self_metrics), self_metrics.pending(ExporterId::Otlp, PendingState::InFlight)),
        (1, 512)
    );
}

#[test]
fn batch_never_exceeds_its_bytes() {
    let (queue, _self_metrics) = queue(8 << 20);
    push(&queue, &[MAX_BATCH_BYTES - 10, 11, MAX_BATCH_BYTES]);
    for (sequence, expected) in [(1, MAX_BATCH_BYTES - 10), (2, 11), (3, MAX_BATCH_BYTES)] {
        let (batch, len) = ready_now(&queue);
        assert_eq!((batch.sequence, len), (sequence, expected));
    }
}

#[test]
fn lone_record_is_ready_after_a_second() {
    let (queue, _self_metrics) = queue(1 << 20);
    let start = Instant::now();
    push(&queue, &[5]);
    let Next::Later(Some(due)) = queue.dequeue(start, Order::Oldest) else {
        panic!("the batch waits for more")
    };
    assert!((start + MAX_BATCH_AGE..start + MAX_BATCH_AGE * 2).contains(&due));
    assert!(ready_at(&queue, due - Duration::from_millis(1)).is_none());
    assert_eq!(ready_at(&queue, due).unwrap().pending.events(), 1);
}

#[tokio::test]
async fn push_wakes_a_waiting_worker() {
    let (queue, _self_metrics) = queue(1 << 20);
    let wake = Arc::clone(&queue.wake);
    let woken = tokio::time::timeout(Duration::from_secs(20), wake.notified());
    let (woken, ()) = tokio::join!(woken, async { push(&queue, &[1]) });
    assert!(woken.is_ok());
}

#[test]
fn events_in_every_state_count_against_the_limit() {
    let (queue, self_metrics) = queue(1000);
    push(&queue, &[400, 400, 400, 150]);
    assert_eq!((memory(&self_metrics), outcome(&self_metrics, EventOutcome::DroppedQueueFull)), (3, 1));
    queue.close();
    let (batch, _) = ready_now(&queue);
    push(&queue, &[1]);
    assert_eq!(outcome(&self_metrics, EventOutcome::DroppedShutdown), 1);
    assert_eq!(queue.bytes_in_use.load(Ordering::Relaxed), 950);
    drop(batch);
    assert_eq!(queue.bytes_in_use.load(Ordering::Relaxed), 0);
    assert!(matches!(queue.dequeue(Instant::now(), Order::Oldest), Next::Closed));
    assert_eq!(memory(&self_metrics) + self_metrics.pending(ExporterId::Otlp, PendingState::InFlight), 0);
    assert_eq!(outcome(&self_metrics, EventOutcome::DroppedShutdown), 4);
}

#[test]
fn requeued_batch_is_first_when_it_is_ready() {
    let (queue, self_metrics) = queue(1 << 20);
    push(&queue, &[1; 1024]);
    let (mut first, _) = ready_now(&queue);
    let later = Instant::now() + Duration::from_secs(60);
    first.not_before = Some(later);
    queue.requeue(first);
    assert_eq!(
        (memory(&self_metrics), self_metrics.pending(ExporterId::Otlp, PendingState::InFlight)),
        (1024, 0)
    );
    assert_eq!(ready_now(&queue).0.sequence, 2);
    let Next::Later(Some(due)) = queue.dequeue(Instant::now(), Order::Oldest) else {
        panic!("it is not ready")
    };
    assert_eq!((due, ready_at(&queue, later).unwrap().sequence), (later, 1));
}

#[test]
fn batch_is_spilled_only_after_spill_after() {
    let (queue, _self_metrics) = queue(1 << 20);
    let start = Instant::now();
    push(&queue, &[1; 513]);
    assert!(queue.take_for_spill(start + SPILL_AFTER - Duration::from_millis(1)).is_none());
    let late = Instant::now() + SPILL_AFTER;
    let spilled = [queue.take_for_spill(late), queue.take_for_spill(late), queue.take_for_spill(late)];
    assert_eq!(spilled.map(|batch| batch.map(|it| it.pending.events())), [Some(512), Some(1), None]);
}

#[tokio::test]
async fn event_to_be_spilled_at_once_wakes_the_spill_task() {
    let (queue, _self_metrics) = queue_with(1 << 20, Some(Duration::ZERO));
    for sequence in 1..=2 {
        push(&queue, &[1]);
        tokio::time::timeout(Duration::from_secs(20), queue.pressure.notified())
            .await
            .expect("the notification");
        assert_eq!(queue.take_for_spill(Instant::now()).unwrap().sequence, sequence);
    }
    let (without_spool, _self_metrics) = queue_with(1 << 20, None);
    push(&without_spool, &[1; 513]);
    assert!(without_spool.take_for_spill(Instant::now() + SPILL_AFTER).is_none());
}

#[tokio::test]
async fn batch_is_spilled_at_once_under_pressure() {
    let (queue, _self_metrics) = queue(4000);
    push(&queue, &[1; 512]);
    push(&queue, &[1; 400]);
    assert!(queue.take_for_spill(Instant::now()).is_none(), "a quarter of the memory may wait");
    push(&queue, &[1; 700]);
    tokio::time::timeout(Duration::from_secs(20), queue.pressure.notified()).await.expect("the notification");
    assert_eq!(queue.take_for_spill(Instant::now()).unwrap().sequence, 1);
    assert_eq!(queue.take_for_spill(Instant::now()).unwrap().sequence, 2, "the open batch is another");
    assert!(queue.take_for_spill(Instant::now()).is_none());
}

#[test]
fn record_too_large_is_not_counted_as_queue_full() {
    let (small, self_metrics) = queue(100);
    push(&small, &[101, 100]);
    assert_eq!((outcome(&self_metrics, EventOutcome::DroppedTooLarge), memory(&self_metrics)), (1, 1));
    let (large, self_metrics) = queue(8 << 20);
    push(&large, &[MAX_BATCH_BYTES + 1]);
    assert_eq!((outcome(&self_metrics, EventOutcome::DroppedTooLarge), memory(&self_metrics)), (1, 0));
}

#[test]
fn offset_out_of_range_is_counted_as_too_large() {
    let (queue, self_metrics) = queue(100);
    queue.push(&[1; 4], &[2, 9, 3]);
    assert_eq!((memory(&self_metrics), outcome(&self_metrics, EventOutcome::DroppedTooLarge)), (1, 2));
}

#[test]
fn drop_of_the_queue_finalizes_its_events() {
    let (queue, self_metrics) = queue(1 << 20);
    push(&queue, &[1; 600]);
    drop(queue);
    assert_eq!((memory(&self_metrics), outcome(&self_metrics, EventOutcome::DroppedShutdown)), (0, 600));
}
