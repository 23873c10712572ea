//! The log exporter with a spool: an outage, a kill and a shutdown lose no event that the disk can hold.

use tempfile::TempDir;

use super::*;
use crate::model::SpoolOperation;

/// Small enough for a test to fill; a batch has an eighth of it.
const MEMORY: usize = 64 << 10;

fn spool(parent: &TempDir, max_bytes: u64) -> Option<config::Spool> {
    let directory = Some(parent.path().join("spool"));
    Some(config::Spool { directory, max_bytes: max_bytes as usize, after: Duration::from_secs(5) })
}

fn files(parent: &TempDir) -> usize {
    std::fs::read_dir(parent.path().join("spool")).unwrap().count()
}

impl Running {
    fn spooled(&self) -> i64 {
        self.self_metrics.pending(ExporterId::Otlp, PendingState::Spooled)
    }
}

#[tokio::test]
async fn outage_costs_no_event_that_the_spool_can_hold() {
    let parent = TempDir::new().unwrap();
    let address = fake_collector::unused_address().await;
    let endpoint = fake_collector::endpoint(address, Protocol::HttpProtobuf);
    let running = Running::start_with(&endpoint, MEMORY, spool(&parent, 64 << 20));
    let (bytes, _) = fake_collector::records(400);
    // Ten times what memory holds.
    for _ in 0..10 * MEMORY / bytes.len() {
        running.push(400);
        running.until("memory has space again", |r| r.held() < MEMORY / 2).await;
    }
    let taken = running.taken();
    assert_eq!(running.outcome(EventOutcome::DroppedQueueFull), 0);
    assert!(running.spooled() > taken as i64 / 2, "{}", running.spooled());

    let receiver = fake_collector::http_at(TcpListener::bind(address).await.unwrap(), None, |_| Reply::ok());
    running.until("delivered", |r| r.outcome(EventOutcome::Delivered) == taken).await;
    assert_eq!(receiver.log.records().len() as u64, taken);
    running.until("the spool is empty", |_| files(&parent) == 0).await;
    assert_eq!(running.shutdown(FAR).await.0, ShutdownSummary { dropped: 0, spooled: 0 });
}

#[tokio::test]
async fn full_spool_and_memory_drop_the_newest_events() {
    let parent = TempDir::new().unwrap();
    let endpoint = fake_collector::endpoint(fake_collector::unused_address().await, Protocol::HttpProtobuf);
    let running = Running::start_with(&endpoint, MEMORY, spool(&parent, MEMORY as u64));
    push_until_dropped(&running).await;
    let bytes = running.self_metrics.spool.bytes.get() as u64;
    assert!((1..=MEMORY as u64).contains(&bytes), "{bytes}");
    running.balance();
    let (summary, self_metrics) = running.shutdown(FAR).await;
    // Events in the spool stay there; those in memory did not fit.
    assert!(summary.spooled > 0 && summary.dropped > 0, "{summary:?}");
    assert_eq!(self_metrics.pending(ExporterId::Otlp, PendingState::Spooled) as u64, summary.spooled);
}

#[tokio::test]
async fn shutdown_spills_at_once_while_the_collector_is_down() {
    let parent = TempDir::new().unwrap();
    let address = fake_collector::unused_address().await;
    let endpoint = fake_collector::endpoint(address, Protocol::HttpProtobuf);
    let running = Running::start_with(&endpoint, 1 << 20, spool(&parent, 64 << 20));
    running.push(1300);
    let start = Instant::now();
    let (summary, _self_metrics) = running.shutdown(FAR).await;
    assert_eq!(summary, ShutdownSummary { dropped: 0, spooled: 1300 });
    assert!(start.elapsed() < FAR / 4, "{:?}", start.elapsed());
    assert_eq!(files(&parent), 3);

    let receiver = fake_collector::http_at(TcpListener::bind(address).await.unwrap(), None, |_| Reply::ok());
    let next = Running::start_with(&endpoint, 1 << 20, spool(&parent, 64 << 20));
    next.until("delivered", |r| {
        r.self_metrics.events(ExporterId::OtlpRecovered, EventOutcome::Delivered) == 1300
    })
    .await;
    assert_eq!(receiver.log.records().len(), 1300);
    next.until("the spool is empty", |_| files(&parent) == 0).await;
    assert_eq!(next.self_metrics.events(ExporterId::Otlp, EventOutcome::Delivered), 0);
}

#[tokio::test]
async fn shutdown_sends_to_a_working_collector() {
    let parent = TempDir::new().unwrap();
    let receiver = fake_collector::http(None, |_| Reply::ok()).await;
    let running = Running::start_with(&receiver.endpoint(), 1 << 20, spool(&parent, 64 << 20));
    running.push(1300);
    let (summary, self_metrics) = running.shutdown(FAR).await;
    assert_eq!(summary, ShutdownSummary { dropped: 0, spooled: 0 });
    assert_eq!(self_metrics.events(ExporterId::Otlp, EventOutcome::Delivered), 1300);
}

#[tokio::test]
async fn shutdown_spills_batches_whose_requests_hang() {
    let parent = TempDir::new().unwrap();
    let receiver = fake_collector::http(None, |_| Reply::Hang).await;
    let running = Running::start_with(&receiver.endpoint(), 1 << 20, spool(&parent, 64 << 20));
    running.push(3000);
    running.until("sent", |_| receiver.log.len() == MAX_IN_FLIGHT).await;
    let start = Instant::now();
    // A busy disk may take a second for a file.
    let (summary, _self_metrics) = running.shutdown(Duration::from_secs(6)).await;
    assert_eq!(summary, ShutdownSummary { dropped: 0, spooled: 3000 });
    assert!(start.elapsed() < Duration::from_secs(9));
}

#[tokio::test]
async fn batch_that_waited_for_seconds_is_on_disk_even_in_flight() {
    let parent = TempDir::new().unwrap();
    let receiver = fake_collector::http(None, |_| Reply::Hang).await;
    let running = Running::start_with(&receiver.endpoint(), 1 << 20, spool(&parent, 64 << 20));
    running.push(3000);
    running.until("all is on disk", |r| files(&parent) == 6 && r.spooled() == 3000 - 4 * 512).await;
    assert_eq!(running.self_metrics.pending(ExporterId::Otlp, PendingState::InFlight), 4 * 512);
    // As after a kill.
    let before = Arc::clone(&running.self_metrics);
    drop(running);
    fake_collector::until("the directory is free", || {
        before.pending(ExporterId::Otlp, PendingState::Spooled) == 3000
    })
    .await;
}

#[tokio::test]
async fn event_to_be_spilled_at_once_is_on_disk_before_it_is_sent() {
    let parent = TempDir::new().unwrap();
    let receiver = fake_collector::http(None, |_| Reply::Hang).await;
    let at_once = spool(&parent, 64 << 20).map(|spool| config::Spool { after: Duration::ZERO, ..spool });
    let running = Running::start_with(&receiver.endpoint(), 1 << 20, at_once);
    let start = Instant::now();
    running.push(1);
    running.until("on disk", |_| files(&parent) == 1).await;
    // A batch waits longer than that for more events.
    assert!(start.elapsed() < MAX_BATCH_AGE, "{:?}", start.elapsed());
    running.until("sent from the disk", |_| receiver.log.len() == 1).await;
}

#[tokio::test]
async fn batch_rejected_does_not_stay_on_disk() {
    let parent = TempDir::new().unwrap();
    let address = fake_collector::unused_address().await;
    let endpoint = fake_collector::endpoint(address, Protocol::HttpProtobuf);
    let running = Running::start_with(&endpoint, 1 << 20, spool(&parent, 64 << 20));
    running.push(700);
    drop(running.shutdown(FAR).await);
    let reply = |_| Reply::Answer(400, &[], Vec::new());
    let _receiver = fake_collector::http_at(TcpListener::bind(address).await.unwrap(), None, reply);
    let next = Running::start_with(&endpoint, 1 << 20, spool(&parent, 64 << 20));
    next.until("rejected", |r| {
        r.self_metrics.events(ExporterId::OtlpRecovered, EventOutcome::Rejected) == 700
    })
    .await;
    next.until("the spool is empty", |_| files(&parent) == 0).await;
}

#[tokio::test]
async fn spooled_events_whose_directory_is_replaced_are_dropped_at_shutdown() {
    let parent = TempDir::new().unwrap();
    // Collectors that hang take no batch of the spool while the directory is replaced.
    let receiver = fake_collector::http(None, |_| Reply::Hang).await;
    let running = Running::start_with(&receiver.endpoint(), 1 << 20, spool(&parent, 64 << 20));
    running.push(3000);
    running.until("spooled", |r| files(&parent) == 6 && r.spooled() == 3000 - 4 * 512).await;
    std::fs::rename(parent.path().join("spool"), parent.path().join("elsewhere")).unwrap();
    std::fs::write(parent.path().join("spool"), "").unwrap();
    let (summary, self_metrics) = running.shutdown(Duration::from_secs(2)).await;
    assert_eq!(summary, ShutdownSummary { dropped: 3000, spooled: 0 });
    assert_eq!(self_metrics.events(ExporterId::Otlp, EventOutcome::DroppedSpoolDamaged), 3000);
}

#[tokio::test]
async fn disk_that_fails_leaves_events_in_memory() {
    let parent = TempDir::new().unwrap();
    let address = fake_collector::unused_address().await;
    let endpoint = fake_collector::endpoint(address, Protocol::HttpProtobuf);
    let running = Running::start_with(&endpoint, MEMORY, spool(&parent, 64 << 20));
    // A file in place of the directory: nothing can be written, even by root.
    std::fs::remove_dir_all(parent.path().join("spool")).unwrap();
    std::fs::write(parent.path().join("spool"), "").unwrap();
    push_until_dropped(&running).await;
    assert!(running.self_metrics.spool.errors[SpoolOperation::Write].get() > 0);
    assert_eq!(running.spooled(), 0);
    let kept = running.taken() - running.outcome(EventOutcome::DroppedQueueFull);
    let _receiver = fake_collector::http_at(TcpListener::bind(address).await.unwrap(), None, |_| Reply::ok());
    running.until("events in memory", |r| r.outcome(EventOutcome::Delivered) == kept).await;
}
