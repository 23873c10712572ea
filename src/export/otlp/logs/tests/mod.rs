//! The log exporter against collectors that are slow, full, broken or down: no event is lost without being
//! counted, and the accounting balances at every moment of rest.

mod faults;
mod spool;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use tokio::net::TcpListener;

use super::*;
use crate::config::{self, Delivery, Endpoint, Protocol};
use crate::export::otlp::client::Client;
use crate::export::otlp::limits::{MAX_BATCH_AGE, MAX_BATCH_BYTES, MAX_IN_FLIGHT};
use crate::export::otlp::retry::RetryPolicy;
use crate::export::otlp::shutdown::ShutdownSummary;
use crate::export::otlp::testing::fake_collector::{self, Reply, partial, until};
use crate::metrics::SelfMetrics;
use crate::model::{
    EventOutcome, EventSink, ExportSignal, ExportStatus, ExporterId, LabelEnum, PendingState,
};

const FAR: Duration = Duration::from_secs(60);

struct Running {
    logs: LogExporter,
    self_metrics: Arc<SelfMetrics>,
    taken: AtomicUsize,
}

impl Running {
    fn start(endpoint: &Endpoint, memory_bytes: usize) -> Self {
        Self::start_with(endpoint, memory_bytes, None)
    }

    fn start_with(endpoint: &Endpoint, memory_bytes: usize, spool: Option<config::Spool>) -> Self {
        let self_metrics = Arc::new(SelfMetrics::default());
        let client = Client::new(endpoint, ExportSignal::Logs).unwrap();
        let encoder = LogRequestEncoder::new(&Resource::default());
        let delivery = Delivery { memory_bytes, shutdown_timeout: FAR, spool: spool.unwrap_or_default() };
        let retry_policy =
            RetryPolicy { initial_backoff: Duration::from_millis(5), max_backoff: Duration::from_millis(20) };
        let logs =
            LogExporter::start(client, encoder, &delivery, Arc::clone(&self_metrics), retry_policy).unwrap();
        Running { logs, self_metrics, taken: AtomicUsize::new(0) }
    }

    fn push(&self, count: usize) {
        let (bytes, ends) = fake_collector::records(count);
        self.logs.queue().push(&bytes, &ends);
        self.taken.fetch_add(count, Ordering::Relaxed);
    }

    /// Pushes one event.
    fn push_bytes(&self, record: &[u8]) {
        self.logs.queue().push(record, &[record.len() as u32]);
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    fn outcome(&self, outcome: EventOutcome) -> u64 {
        self.self_metrics.events(ExporterId::Otlp, outcome)
    }

    fn attempts(&self, code: ExportStatus) -> u64 {
        self.self_metrics.export_requests(ExportSignal::Logs, code)
    }

    async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        until(what, || condition(self)).await;
        self.balance();
    }

    fn balance(&self) {
        balance(&self.self_metrics, self.taken.load(Ordering::Relaxed));
    }

    /// Shuts down, and checks that only events on disk are pending then.
    async fn shutdown(self, timeout: Duration) -> (ShutdownSummary, Arc<SelfMetrics>) {
        let summary = self.logs.shutdown(Instant::now() + timeout).await;
        let spooled = self.self_metrics.pending(ExporterId::Otlp, PendingState::Spooled);
        assert_eq!(balance(&self.self_metrics, self.taken.load(Ordering::Relaxed)), spooled);
        (summary, self.self_metrics)
    }

    /// Events pushed so far.
    fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed) as u64
    }

    /// Bytes of memory that events use.
    fn held(&self) -> usize {
        self.logs.queue().bytes_in_use()
    }
}

/// Pushes until neither memory nor the spool can hold more.
async fn push_until_dropped(running: &Running) {
    running
        .until("all full", |running| {
            running.push(100);
            running.outcome(EventOutcome::DroppedQueueFull) > 100
        })
        .await;
}

/// Checks that every pushed event has an outcome or is pending. Returns the pending ones.
fn balance(self_metrics: &SelfMetrics, taken: usize) -> i64 {
    let outcomes: u64 =
        EventOutcome::ALL.iter().map(|outcome| self_metrics.events(ExporterId::Otlp, *outcome)).sum();
    let pending: i64 =
        PendingState::ALL.iter().map(|state| self_metrics.pending(ExporterId::Otlp, *state)).sum();
    assert_eq!(outcomes as i64 + pending, taken as i64);
    pending
}

#[tokio::test]
async fn events_pushed_are_delivered_once() {
    let receiver = fake_collector::http(None, |_| Reply::ok()).await;
    let running = Running::start(&receiver.endpoint(), 1 << 20);
    running.push(600);
    running.push(500);
    running.until("all delivered", |r| r.outcome(EventOutcome::Delivered) == 1100).await;
    assert_eq!(receiver.log.records().len(), 1100);
    assert_eq!(running.attempts(ExportStatus::Ok), 3);
    assert_eq!(running.shutdown(FAR).await.0, ShutdownSummary { spooled: 0, dropped: 0 });
}

#[tokio::test]
async fn batch_rejected_in_part_is_counted_in_part() {
    let receiver =
        fake_collector::http(None, |_| Reply::Answer(200, &[], partial(2, "old").encode_to_vec())).await;
    let running = Running::start(&receiver.endpoint(), 1 << 20);
    running.push(512);
    running
        .until("all finalized", |r| {
            r.outcome(EventOutcome::Delivered) == 510 && r.outcome(EventOutcome::Rejected) == 2
        })
        .await;
    assert_eq!(running.attempts(ExportStatus::PartialSuccess), 1);
}

#[tokio::test]
async fn collector_that_rejects_more_than_it_got_is_bounded() {
    let receiver = fake_collector::grpc(None, |_| Some(Ok(partial(i64::MAX, "")))).await;
    let running = Running::start(&receiver.endpoint(), 1 << 20);
    running.push(512);
    running.until("all finalized", |r| r.outcome(EventOutcome::Rejected) == 512).await;
}

#[tokio::test]
async fn batch_rejected_is_not_sent_again() {
    let receiver = fake_collector::http(None, |_| Reply::Answer(400, &[], Vec::new())).await;
    let running = Running::start(&receiver.endpoint(), 1 << 20);
    running.push(512);
    running.until("rejected", |r| r.outcome(EventOutcome::Rejected) == 512).await;
    assert_eq!(running.logs.health().failing_since(), None);
    running.shutdown(FAR).await;
    assert_eq!(receiver.log.len(), 1);
}

#[tokio::test]
async fn credentials_rejected_make_the_exporter_unhealthy() {
    let receiver = fake_collector::http(None, |_| Reply::Answer(401, &[], Vec::new())).await;
    let running = Running::start(&receiver.endpoint(), 1 << 20);
    running.push(512);
    running.until("rejected", |r| r.outcome(EventOutcome::Rejected) == 512).await;
    assert!(running.logs.health().failing_since().is_some());
}

#[tokio::test]
async fn failure_of_every_kind_is_retried_without_loss() {
    let receiver = fake_collector::http(None, |number| match number {
        0 => Reply::Answer(503, &[], Vec::new()),
        1 => Reply::Answer(429, &[("retry-after", "0")], Vec::new()),
        2 => Reply::CutOff,
        3 => Reply::Hang,
        _ => Reply::ok(),
    })
    .await;
    let endpoint = Endpoint { timeout: Duration::from_millis(300), ..receiver.endpoint() };
    let running = Running::start(&endpoint, 1 << 20);
    running.push(512);
    running.until("delivered", |r| r.outcome(EventOutcome::Delivered) == 512).await;
    use ExportStatus::{ConnectionLost, Ok, ResourceExhausted, Timeout, Unavailable};
    for code in [Unavailable, ResourceExhausted, ConnectionLost, Timeout, Ok] {
        assert_eq!(running.attempts(code), 1, "{code:?}");
    }
    assert_eq!(receiver.log.len(), 5);
}

#[tokio::test]
async fn failure_over_grpc_is_retried_without_loss() {
    let receiver = fake_collector::grpc(None, |number| {
        Some(match number {
            0 => Err(tonic::Status::unavailable("")),
            1 => Err(tonic::Status::aborted("")),
            _ => Ok(ExportLogsServiceResponse::default()),
        })
    })
    .await;
    let running = Running::start(&receiver.endpoint(), 1 << 20);
    running.push(512);
    running.until("delivered", |r| r.outcome(EventOutcome::Delivered) == 512).await;
    assert_eq!((running.attempts(ExportStatus::Unavailable), running.attempts(ExportStatus::Other)), (1, 1));
}

#[tokio::test]
async fn outage_costs_only_events_beyond_memory() {
    let address = fake_collector::unused_address().await;
    let (bytes, _) = fake_collector::records(512);
    let running = Running::start(&fake_collector::endpoint(address, Protocol::HttpProtobuf), 3 * bytes.len());
    for _ in 0..4 {
        running.push(512);
    }
    running.until("attempts", |r| r.attempts(ExportStatus::Connect) >= 6).await;
    assert_eq!(running.outcome(EventOutcome::DroppedQueueFull), 512);
    assert!(running.logs.health().failing_since().is_some());
    let receiver = fake_collector::http_at(TcpListener::bind(address).await.unwrap(), None, |_| Reply::ok());
    running.until("delivered", |r| r.outcome(EventOutcome::Delivered) == 3 * 512).await;
    assert_eq!(running.logs.health().failing_since(), None);
    assert_eq!(receiver.log.records().len(), 3 * 512);
    running.push(512);
    running.until("memory is free again", |r| r.outcome(EventOutcome::Delivered) == 4 * 512).await;
}

#[tokio::test]
async fn batches_that_always_fail_block_no_other() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // Each such batch is too large for a proxy, say, and there are more of them than workers.
    let receiver = fake_collector::http_with(listener, None, |_, message| {
        if message.len() > 100_000 { Reply::Answer(503, &[], Vec::new()) } else { Reply::ok() }
    });
    let running = Running::start(&receiver.endpoint(), 32 << 20);
    for _ in 0..2 * MAX_IN_FLIGHT {
        running.push_bytes(&vec![0; MAX_BATCH_BYTES]);
        running.push(512);
    }
    let good = 2 * MAX_IN_FLIGHT as u64 * 512;
    running.until("the others", |r| r.outcome(EventOutcome::Delivered) == good).await;
    assert!(running.attempts(ExportStatus::Unavailable) >= 2 * MAX_IN_FLIGHT as u64);
}

#[tokio::test]
async fn requests_in_flight_are_at_most_four() {
    let receiver = fake_collector::grpc(None, |_| None).await;
    let running = Running::start(&receiver.endpoint(), 1 << 20);
    for _ in 0..6 {
        running.push(512);
    }
    until("four requests", || receiver.log.len() == MAX_IN_FLIGHT).await;
    running.balance();
    assert_eq!(running.self_metrics.pending(ExporterId::Otlp, PendingState::InFlight), 4 * 512);
    assert_eq!(running.self_metrics.pending(ExporterId::Otlp, PendingState::Queued), 2 * 512);
    let start = Instant::now();
    let (summary, _self_metrics) = running.shutdown(Duration::from_millis(100)).await;
    assert_eq!(summary, ShutdownSummary { spooled: 0, dropped: 6 * 512 });
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(receiver.log.len(), MAX_IN_FLIGHT);
}

#[tokio::test]
async fn shutdown_sends_an_open_batch_at_once() {
    let receiver = fake_collector::http(None, |_| Reply::ok()).await;
    let running = Running::start(&receiver.endpoint(), 1 << 20);
    running.push(3);
    let start = Instant::now();
    let (summary, self_metrics) = running.shutdown(FAR).await;
    assert!(start.elapsed() < MAX_BATCH_AGE);
    assert_eq!((summary.dropped, self_metrics.events(ExporterId::Otlp, EventOutcome::Delivered)), (0, 3));
}

#[tokio::test]
async fn shutdown_ends_a_long_delay_and_retries() {
    let receiver = fake_collector::http(None, |number| match number {
        0 => Reply::Answer(503, &[("retry-after", "250")], Vec::new()),
        1 => Reply::Answer(503, &[], Vec::new()),
        _ => Reply::ok(),
    })
    .await;
    let running = Running::start(&receiver.endpoint(), 1 << 20);
    running.push(512);
    running.until("attempts", |r| r.attempts(ExportStatus::Unavailable) == 1).await;
    let (summary, self_metrics) = running.shutdown(FAR).await;
    assert_eq!((summary.dropped, self_metrics.events(ExporterId::Otlp, EventOutcome::Delivered)), (0, 512));
    assert_eq!(receiver.log.len(), 3);
}

#[tokio::test]
async fn shutdown_ends_at_the_deadline() {
    let endpoint = fake_collector::endpoint(fake_collector::unused_address().await, Protocol::Grpc);
    let running = Running::start(&endpoint, 1 << 20);
    running.push(1000);
    let start = Instant::now();
    let (summary, _self_metrics) = running.shutdown(Duration::from_millis(300)).await;
    assert_eq!(summary, ShutdownSummary { spooled: 0, dropped: 1000 });
    assert!((Duration::from_millis(300)..Duration::from_secs(5)).contains(&start.elapsed()));
}

#[tokio::test]
async fn exporter_dropped_without_shutdown_finalizes_its_events() {
    let endpoint = fake_collector::endpoint(fake_collector::unused_address().await, Protocol::HttpProtobuf);
    let running = Running::start(&endpoint, 1 << 20);
    running.push(600);
    let self_metrics = Arc::clone(&running.self_metrics);
    drop(running);
    until("all finalized", || self_metrics.events(ExporterId::Otlp, EventOutcome::DroppedShutdown) == 600)
        .await;
    assert_eq!(balance(&self_metrics, 600), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounting_balances_under_load_and_failures() {
    let receiver = fake_collector::http(None, |number| match number % 5 {
        0 => Reply::Answer(503, &[], Vec::new()),
        1 => Reply::Answer(400, &[], Vec::new()),
        2 => Reply::Answer(200, &[], partial(3, "old").encode_to_vec()),
        3 => Reply::CutOff,
        _ => Reply::ok(),
    })
    .await;
    let running = Running::start(&receiver.endpoint(), 40_000);
    std::thread::scope(|threads| {
        for thread in 0..3 {
            let running = &running;
            threads.spawn(move || {
                for upload in 0..2000 {
                    running.push((upload + thread) % 7);
                }
            });
        }
    });
    let (summary, self_metrics) = running.shutdown(FAR).await;
    assert_eq!(summary.dropped, 0);
    let outcome = |outcome| self_metrics.events(ExporterId::Otlp, outcome);
    assert!(outcome(EventOutcome::Delivered) > 0 && outcome(EventOutcome::Rejected) > 0);
    // The collector received each event at least once, and again for every failed attempt.
    assert!(
        receiver.log.records().len() as u64
            >= outcome(EventOutcome::Delivered) + outcome(EventOutcome::Rejected)
    );
}

/// Writer that collects the lines logged on this thread.
#[derive(Clone, Default)]
struct Lines(Arc<parking_lot::Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn rejection_is_logged_once_with_its_reason() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    // With only one subscriber, tracing caches the interest of the thread that first meets a callsite, which
    // may be another test's. With two it checks the subscribers.
    let _second = tracing::Dispatch::new(tracing_subscriber::fmt().with_writer(std::io::sink).finish());
    let _guard = tracing::subscriber::set_default(subscriber);
    let headers = &[("content-type", "text/plain")];
    let receiver =
        fake_collector::http(None, move |_| Reply::Answer(400, headers, b"no\x1b[1m".to_vec())).await;
    let running = Running::start(&receiver.endpoint(), 1 << 20);
    running.push(3 * 512);
    running.until("rejected", |r| r.outcome(EventOutcome::Rejected) == 3 * 512).await;
    let logged = String::from_utf8(lines.0.lock().clone()).unwrap();
    assert_eq!(logged.matches("the collector rejects events permanently").count(), 1, "{logged}");
    assert!(logged.contains("events=512") && logged.contains("HTTP 400 Bad Request: no"), "{logged}");
    assert!(logged.contains("code=\"invalid_argument\"") && !logged.contains('\x1b'), "{logged}");
}
