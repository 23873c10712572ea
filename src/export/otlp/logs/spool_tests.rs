//! The workers with a spool: an outage, a kill and a shutdown lose nothing that the disk can hold.

use tempfile::TempDir;

use super::tests::{FAR, Running, push_until_dropped};
use super::*;
use crate::config::{self, Protocol};
use crate::export::otlp::testing::fake_collector::{self, Reply};
use crate::model::SpoolOperation;

/// Small enough that a test can fill it: batches of an eighth of it.
const MEMORY: usize = 64 << 10;

fn spool(parent: &TempDir, max_bytes: u64) -> Option<config::Spool> {
    Some(config::Spool { directory: parent.path().join("spool"), max_bytes })
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
async fn an_outage_costs_nothing_that_the_spool_can_hold() {
    let parent = TempDir::new().unwrap();
    let address = fake_collector::unused_address().await;
    let endpoint = fake_collector::endpoint(address, Protocol::HttpProtobuf);
    let running = Running::start_with(&endpoint, MEMORY, spool(&parent, 64 << 20));
    let (bytes, _) = fake_collector::records(400);
    // Ten times what memory holds.
    for _ in 0..10 * MEMORY / bytes.len() {
        running.push(400);
        running.until("memory has room again", |r| r.held() < MEMORY / 2).await;
    }
    let taken = running.taken();
    assert_eq!(running.outcome(EventOutcome::DroppedQueueFull), 0);
    assert!(running.spooled() > taken as i64 / 2, "{}", running.spooled());

    let receiver =
        fake_collector::http_at(tokio::net::TcpListener::bind(address).await.unwrap(), None, |_| Reply::ok());
    running.until("delivered", |r| r.outcome(EventOutcome::Delivered) == taken).await;
    assert_eq!(receiver.log.records().len() as u64, taken);
    running.until("the spool is empty", |_| files(&parent) == 0).await;
    assert_eq!(running.shutdown(FAR).await.0, ShutdownSummary { dropped: 0, spooled: 0 });
}

#[tokio::test]
async fn a_full_spool_and_full_memory_drop_what_is_newest() {
    let parent = TempDir::new().unwrap();
    let endpoint = fake_collector::endpoint(fake_collector::unused_address().await, Protocol::HttpProtobuf);
    let running = Running::start_with(&endpoint, MEMORY, spool(&parent, MEMORY as u64));
    push_until_dropped(&running).await;
    let bytes = running.self_metrics.spool.bytes.get() as u64;
    assert!((1..=MEMORY as u64).contains(&bytes), "{bytes}");
    running.balance();
    let (remainder, self_metrics) = running.shutdown(FAR).await;
    // What is in the spool stays there; memory's part had no room in it.
    assert!(remainder.spooled > 0 && remainder.dropped > 0, "{remainder:?}");
    assert_eq!(self_metrics.pending(ExporterId::Otlp, PendingState::Spooled) as u64, remainder.spooled);
}

#[tokio::test]
async fn shutdown_writes_down_at_once_what_a_collector_that_is_down_does_not_take() {
    let parent = TempDir::new().unwrap();
    let address = fake_collector::unused_address().await;
    let endpoint = fake_collector::endpoint(address, Protocol::HttpProtobuf);
    let running = Running::start_with(&endpoint, 1 << 20, spool(&parent, 64 << 20));
    running.push(1300);
    let start = Instant::now();
    let (remainder, _own) = running.shutdown(FAR).await;
    assert_eq!(remainder, ShutdownSummary { dropped: 0, spooled: 1300 });
    assert!(start.elapsed() < FAR / 4, "{:?}", start.elapsed());
    assert_eq!(files(&parent), 3);

    let receiver =
        fake_collector::http_at(tokio::net::TcpListener::bind(address).await.unwrap(), None, |_| Reply::ok());
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
async fn shutdown_sends_to_a_collector_that_works() {
    let parent = TempDir::new().unwrap();
    let receiver = fake_collector::http(None, |_| Reply::ok()).await;
    let running = Running::start_with(&receiver.endpoint(), 1 << 20, spool(&parent, 64 << 20));
    running.push(1300);
    let (remainder, self_metrics) = running.shutdown(FAR).await;
    assert_eq!(remainder, ShutdownSummary { dropped: 0, spooled: 0 });
    assert_eq!(self_metrics.events(ExporterId::Otlp, EventOutcome::Delivered), 1300);
}

#[tokio::test]
async fn shutdown_leaves_time_to_write_down_what_hangs() {
    let parent = TempDir::new().unwrap();
    let receiver = fake_collector::http(None, |_| Reply::Hang).await;
    let running = Running::start_with(&receiver.endpoint(), 1 << 20, spool(&parent, 64 << 20));
    running.push(3000);
    running.until("sent", |_| receiver.log.len() == MAX_IN_FLIGHT).await;
    let start = Instant::now();
    let (remainder, _own) = running.shutdown(Duration::from_secs(2)).await;
    assert_eq!(remainder, ShutdownSummary { dropped: 0, spooled: 3000 });
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn what_has_waited_for_seconds_is_on_disk_also_on_its_way() {
    let parent = TempDir::new().unwrap();
    let receiver = fake_collector::http(None, |_| Reply::Hang).await;
    let running = Running::start_with(&receiver.endpoint(), 1 << 20, spool(&parent, 64 << 20));
    running.push(3000);
    running.until("all is on disk", |r| files(&parent) == 6 && r.spooled() == 3000 - 4 * 512).await;
    assert_eq!(running.self_metrics.pending(ExporterId::Otlp, PendingState::InFlight), 4 * 512);
    // As a kill would find it.
    let before = Arc::clone(&running.self_metrics);
    drop(running);
    fake_collector::until("the directory is free", || {
        before.pending(ExporterId::Otlp, PendingState::Spooled) == 3000
    })
    .await;
}

#[tokio::test]
async fn what_is_refused_for_good_does_not_stay_on_disk() {
    let parent = TempDir::new().unwrap();
    let address = fake_collector::unused_address().await;
    let endpoint = fake_collector::endpoint(address, Protocol::HttpProtobuf);
    let running = Running::start_with(&endpoint, 1 << 20, spool(&parent, 64 << 20));
    running.push(700);
    drop(running.shutdown(FAR).await);
    let reply = |_| Reply::Answer(400, &[], Vec::new());
    let _receiver =
        fake_collector::http_at(tokio::net::TcpListener::bind(address).await.unwrap(), None, reply);
    let next = Running::start_with(&endpoint, 1 << 20, spool(&parent, 64 << 20));
    next.until("refused", |r| {
        r.self_metrics.events(ExporterId::OtlpRecovered, EventOutcome::Rejected) == 700
    })
    .await;
    next.until("the spool is empty", |_| files(&parent) == 0).await;
}

#[tokio::test]
async fn a_disk_that_refuses_leaves_events_in_memory() {
    let parent = TempDir::new().unwrap();
    let address = fake_collector::unused_address().await;
    let endpoint = fake_collector::endpoint(address, Protocol::HttpProtobuf);
    let running = Running::start_with(&endpoint, MEMORY, spool(&parent, 64 << 20));
    // Where the directory was, a file: nothing can be written, whoever asks.
    std::fs::remove_dir_all(parent.path().join("spool")).unwrap();
    std::fs::write(parent.path().join("spool"), "").unwrap();
    push_until_dropped(&running).await;
    assert!(running.self_metrics.spool.errors[SpoolOperation::Write].get() > 0);
    assert_eq!(running.spooled(), 0);
    let kept = running.taken() - running.outcome(EventOutcome::DroppedQueueFull);
    let _receiver =
        fake_collector::http_at(tokio::net::TcpListener::bind(address).await.unwrap(), None, |_| Reply::ok());
    running.until("what memory held", |r| r.outcome(EventOutcome::Delivered) == kept).await;
}
