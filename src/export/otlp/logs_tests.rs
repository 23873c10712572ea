//! The sender against collectors that are slow, full, wrong or away: nothing is lost that no counter
//! shows, and the books balance whenever it is quiet.

use std::sync::atomic::{AtomicUsize, Ordering};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use tokio::net::TcpListener;

use super::*;
use crate::config::{self, Endpoint, Protocol};
use crate::export::otlp::logs::memory_queue::MAX_BATCH_BYTES;
use crate::export::otlp::testing::fake_collector::{self, Reply, partial, until};
use crate::model::{ExportStatus, LabelEnum, PendingState};

pub(super) const FAR: Duration = Duration::from_secs(60);

pub(super) struct Running {
    pub(super) logs: LogExporter,
    pub(super) self_metrics: Arc<SelfMetrics>,
    taken: AtomicUsize,
}

impl Running {
    pub(super) fn start(endpoint: &Endpoint, memory_bytes: usize) -> Self {
        Self::start_with(endpoint, memory_bytes, None)
    }

    pub(super) fn start_with(endpoint: &Endpoint, memory_bytes: usize, spool: Option<config::Spool>) -> Self {
        let self_metrics = Arc::new(SelfMetrics::default());
        let client = Client::new(endpoint, ExportSignal::Logs).unwrap();
        let encoder = LogRequestEncoder::new(&Resource::default());
        let delivery = Delivery { memory_bytes, shutdown_timeout: FAR, spool };
        let retry_policy =
            RetryPolicy { initial_backoff: Duration::from_millis(5), max_backoff: Duration::from_millis(20) };
        let logs =
            LogExporter::start_with(client, encoder, &delivery, Arc::clone(&self_metrics), retry_policy)
                .unwrap();
        Running { logs, self_metrics, taken: AtomicUsize::new(0) }
    }

    pub(super) fn push(&self, count: usize) {
        let (bytes, ends) = fake_collector::records(count);
        self.logs.queue().offer(&bytes, &ends);
        self.taken.fetch_add(count, Ordering::Relaxed);
    }

    /// One event that is as large as this.
    fn push_bytes(&self, record: &[u8]) {
        self.logs.queue().offer(record, &[record.len() as u32]);
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn outcome(&self, outcome: EventOutcome) -> u64 {
        self.self_metrics.events(ExporterId::Otlp, outcome)
    }

    pub(super) fn tries(&self, code: ExportStatus) -> u64 {
        self.self_metrics.export_requests(ExportSignal::Logs, code)
    }

    pub(super) async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        until(what, || condition(self)).await;
        self.balance();
    }

    pub(super) fn balance(&self) {
        balance(&self.self_metrics, self.taken.load(Ordering::Relaxed));
    }

    /// Shuts down; nothing may be pending then but on disk.
    pub(super) async fn shutdown(self, timeout: Duration) -> (ShutdownSummary, Arc<SelfMetrics>) {
        let remainder = self.logs.shutdown(Instant::now() + timeout).await;
        let spooled = self.self_metrics.pending(ExporterId::Otlp, PendingState::Spooled);
        assert_eq!(balance(&self.self_metrics, self.taken.load(Ordering::Relaxed)), spooled);
        (remainder, self.self_metrics)
    }

    /// Events pushed so far.
    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed) as u64
    }

    /// Bytes of memory that events hold.
    pub(super) fn held(&self) -> usize {
        self.logs.buffer.queue().bytes_in_use()
    }
}

/// Pushes until there is no room for more anywhere.
pub(super) async fn push_until_dropped(running: &Running) {
    running
        .until("no room", |running| {
            running.push(100);
            running.outcome(EventOutcome::DroppedQueueFull) > 100
        })
        .await;
}

/// Checks that what was taken has an outcome or is pending. Gives what is pending.
fn balance(self_metrics: &SelfMetrics, taken: usize) -> i64 {
    let outcomes: u64 =
        EventOutcome::ALL.iter().map(|outcome| self_metrics.events(ExporterId::Otlp, *outcome)).sum();
    let pending: i64 =
        PendingState::ALL.iter().map(|state| self_metrics.pending(ExporterId::Otlp, *state)).sum();
    assert_eq!(outcomes as i64 + pending, taken as i64);
    pending
}

#[tokio::test]
async fn events_are_delivered_once() {
    let receiver = fake_collector::http(None, |_| Reply::ok()).await;
    let running = Running::start(&receiver.endpoint(), 1 << 20);
    running.push(600);
    running.push(500);
    running.until("all delivered", |r| r.outcome(EventOutcome::Delivered) == 1100).await;
    assert_eq!(receiver.log.records().len(), 1100);
    assert_eq!(running.tries(ExportStatus::Ok), 3);
    assert_eq!(running.shutdown(FAR).await.0, ShutdownSummary { spooled: 0, dropped: 0 });
}

#[tokio::test]
async fn what_is_refused_in_part_is_counted_in_part() {
    let receiver =
        fake_collector::http(None, |_| Reply::Answer(200, &[], partial(2, "old").encode_to_vec())).await;
    let running = Running::start(&receiver.endpoint(), 1 << 20);
    running.push(512);
    running
        .until("settled", |r| {
            r.outcome(EventOutcome::Delivered) == 510 && r.outcome(EventOutcome::Rejected) == 2
        })
        .await;
    assert_eq!(running.tries(ExportStatus::PartialSuccess), 1);
}

#[tokio::test]
async fn a_collector_cannot_refuse_more_than_it_got() {
    let receiver = fake_collector::grpc(None, |_| Some(Ok(partial(i64::MAX, "")))).await;
    let running = Running::start(&receiver.endpoint(), 1 << 20);
    running.push(512);
    running.until("settled", |r| r.outcome(EventOutcome::Rejected) == 512).await;
}

#[tokio::test]
async fn what_is_refused_is_not_sent_again() {
    let receiver = fake_collector::http(None, |_| Reply::Answer(400, &[], Vec::new())).await;
    let running = Running::start(&receiver.endpoint(), 1 << 20);
    running.push(512);
    running.until("refused", |r| r.outcome(EventOutcome::Rejected) == 512).await;
    assert_eq!(running.logs.health().failing_since(), None);
    running.shutdown(FAR).await;
    assert_eq!(receiver.log.len(), 1);
}

#[tokio::test]
async fn a_refusal_of_the_daemon_itself_makes_it_unready() {
    let receiver = fake_collector::http(None, |_| Reply::Answer(401, &[], Vec::new())).await;
    let running = Running::start(&receiver.endpoint(), 1 << 20);
    running.push(512);
    running.until("refused", |r| r.outcome(EventOutcome::Rejected) == 512).await;
    assert!(running.logs.health().failing_since().is_some());
}

#[tokio::test]
async fn trouble_of_every_kind_passes_without_loss() {
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
        assert_eq!(running.tries(code), 1, "{code:?}");
    }
    assert_eq!(receiver.log.len(), 5);
}

#[tokio::test]
async fn trouble_over_grpc_passes_without_loss() {
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
    assert_eq!((running.tries(ExportStatus::Unavailable), running.tries(ExportStatus::Other)), (1, 1));
}

#[tokio::test]
async fn an_outage_costs_only_what_memory_cannot_hold() {
    let address = fake_collector::unused_address().await;
    let (bytes, _) = fake_collector::records(512);
    let running = Running::start(&fake_collector::endpoint(address, Protocol::HttpProtobuf), 3 * bytes.len());
    for _ in 0..4 {
        running.push(512);
    }
    running.until("tried", |r| r.tries(ExportStatus::Connect) >= 6).await;
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
async fn parcels_that_always_fail_hold_up_no_other() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // Such a batch is one that a proxy finds too large, say, and more of them than there are workers.
    let receiver = fake_collector::http_with(listener, None, |_, message| match message.len() > 100_000 {
        true => Reply::Answer(503, &[], Vec::new()),
        false => Reply::ok(),
    });
    let running = Running::start(&receiver.endpoint(), 32 << 20);
    for _ in 0..2 * MAX_IN_FLIGHT {
        running.push_bytes(&vec![0; MAX_BATCH_BYTES]);
        running.push(512);
    }
    let good = 2 * MAX_IN_FLIGHT as u64 * 512;
    running.until("the others", |r| r.outcome(EventOutcome::Delivered) == good).await;
    assert!(running.tries(ExportStatus::Unavailable) >= 2 * MAX_IN_FLIGHT as u64);
}

#[tokio::test]
async fn at_most_four_requests_are_in_flight() {
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
    let (remainder, _own) = running.shutdown(Duration::from_millis(100)).await;
    assert_eq!(remainder, ShutdownSummary { spooled: 0, dropped: 6 * 512 });
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(receiver.log.len(), MAX_IN_FLIGHT);
}

#[tokio::test]
async fn shutdown_sends_what_is_there_without_waiting_for_more() {
    let receiver = fake_collector::http(None, |_| Reply::ok()).await;
    let running = Running::start(&receiver.endpoint(), 1 << 20);
    running.push(3);
    let start = Instant::now();
    let (remainder, self_metrics) = running.shutdown(FAR).await;
    assert!(start.elapsed() < crate::export::otlp::logs::memory_queue::MAX_BATCH_AGE);
    assert_eq!((remainder.dropped, self_metrics.events(ExporterId::Otlp, EventOutcome::Delivered)), (0, 3));
}

#[tokio::test]
async fn shutdown_ends_a_long_wait_and_tries_again() {
    let receiver = fake_collector::http(None, |number| match number {
        0 => Reply::Answer(503, &[("retry-after", "250")], Vec::new()),
        1 => Reply::Answer(503, &[], Vec::new()),
        _ => Reply::ok(),
    })
    .await;
    let running = Running::start(&receiver.endpoint(), 1 << 20);
    running.push(512);
    running.until("tried", |r| r.tries(ExportStatus::Unavailable) == 1).await;
    let (remainder, self_metrics) = running.shutdown(FAR).await;
    assert_eq!((remainder.dropped, self_metrics.events(ExporterId::Otlp, EventOutcome::Delivered)), (0, 512));
    assert_eq!(receiver.log.len(), 3);
}

#[tokio::test]
async fn shutdown_gives_up_at_the_deadline() {
    let endpoint = fake_collector::endpoint(fake_collector::unused_address().await, Protocol::Grpc);
    let running = Running::start(&endpoint, 1 << 20);
    running.push(1000);
    let start = Instant::now();
    let (remainder, _own) = running.shutdown(Duration::from_millis(300)).await;
    assert_eq!(remainder, ShutdownSummary { spooled: 0, dropped: 1000 });
    assert!((Duration::from_millis(300)..Duration::from_secs(5)).contains(&start.elapsed()));
}

#[tokio::test]
async fn an_owner_that_vanishes_leaves_balanced_books() {
    let endpoint = fake_collector::endpoint(fake_collector::unused_address().await, Protocol::HttpProtobuf);
    let running = Running::start(&endpoint, 1 << 20);
    running.push(600);
    let self_metrics = Arc::clone(&running.self_metrics);
    drop(running);
    until("settled", || self_metrics.events(ExporterId::Otlp, EventOutcome::DroppedShutdown) == 600).await;
    assert_eq!(balance(&self_metrics, 600), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_books_balance_under_load_and_trouble() {
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
            threads.spawn(move || (0..2000).for_each(|upload| running.push((upload + thread) % 7)));
        }
    });
    let (remainder, self_metrics) = running.shutdown(FAR).await;
    assert_eq!(remainder.dropped, 0);
    let outcome = |outcome| self_metrics.events(ExporterId::Otlp, outcome);
    assert!(outcome(EventOutcome::Delivered) > 0 && outcome(EventOutcome::Rejected) > 0);
    // The receiver saw each event at least once, and again for every try that it did not answer well.
    assert!(
        receiver.log.records().len() as u64
            >= outcome(EventOutcome::Delivered) + outcome(EventOutcome::Rejected)
    );
}

/// Collects the lines that are logged on this thread.
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
async fn a_refusal_is_logged_once_with_its_reason() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    // While there is only one subscriber, tracing asks the thread that first meets a line's callsite,
    // which may be another test's, whether anybody listens. With two it asks the subscribers.
    let _second = tracing::Dispatch::new(tracing_subscriber::fmt().with_writer(std::io::sink).finish());
    let _guard = tracing::subscriber::set_default(subscriber);
    let headers = &[("content-type", "text/plain")];
    let receiver =
        fake_collector::http(None, move |_| Reply::Answer(400, headers, b"no\x1b[1m".to_vec())).await;
    let running = Running::start(&receiver.endpoint(), 1 << 20);
    running.push(3 * 512);
    running.until("refused", |r| r.outcome(EventOutcome::Rejected) == 3 * 512).await;
    let logged = String::from_utf8(lines.0.lock().clone()).unwrap();
    assert_eq!(logged.matches("the collector refuses events for good").count(), 1, "{logged}");
    assert!(logged.contains("events=512") && logged.contains("HTTP 400 Bad Request: no"), "{logged}");
    assert!(logged.contains("code=\"invalid_argument\"") && !logged.contains('\x1b'), "{logged}");
}
