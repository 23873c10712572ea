//! Faults of the spool and its workers that were once there, each as a test that fails without its fix.

use std::fs;
use std::path::{Path, PathBuf};

use opentelemetry_proto::tonic::resource::v1::Resource;
use tempfile::TempDir;

use super::tests::{FAR, Running};
use super::*;
use crate::config::{self, Protocol};
use crate::export::otlp::testing::fake_collector::{self, Reply};
use crate::model::SpoolOperation;

const MEMORY: usize = 1 << 20;

fn spool(parent: &TempDir, max_bytes: u64) -> Option<config::Spool> {
    Some(config::Spool { directory: parent.path().join("spool"), max_bytes })
}

/// A directory with these files, each a request of so many events.
fn left_behind(files: impl Iterator<Item = (String, usize)>) -> (TempDir, PathBuf) {
    let parent = TempDir::new().unwrap();
    let directory = parent.path().join("spool");
    fs::create_dir(&directory).unwrap();
    let encoder = LogRequestEncoder::new(&Resource::default());
    for (name, events) in files {
        fs::write(directory.join(name), encoder.request(&fake_collector::records(events).0)).unwrap();
    }
    (parent, directory)
}

/// On file systems that list a renamed file again (ext4 does, in a large directory).
#[tokio::test]
async fn a_file_that_is_adopted_is_found_once() {
    let (parent, _) = left_behind((1..=3000).map(|n| (format!(".{n:020}-1.binpb.tmp"), 1)));
    let receiver = fake_collector::http(None, |_| Reply::Hang).await;
    let running = Running::start_with(&receiver.endpoint(), MEMORY, spool(&parent, 64 << 20));
    assert_eq!(running.self_metrics.spool.recovered.get(), 3000);
}

#[tokio::test]
async fn files_of_one_number_hide_nothing() {
    let names = ["00000000000000000001-1.binpb", "00000000000000000001-2.binpb"];
    let (parent, _) = left_behind(names.into_iter().zip(1..).map(|(name, n)| (name.to_owned(), n)));
    let receiver = fake_collector::http(None, |_| Reply::ok()).await;
    let running = Running::start_with(&receiver.endpoint(), MEMORY, spool(&parent, 64 << 20));
    running
        .until("all", |r| r.self_metrics.events(ExporterId::OtlpRecovered, EventOutcome::Delivered) == 3)
        .await;
}

#[tokio::test]
async fn numbers_do_not_overflow() {
    let name = format!("{}-1.binpb", u64::MAX);
    let (parent, _) = left_behind(std::iter::once((name, 1)));
    let receiver = fake_collector::http(None, |_| Reply::ok()).await;
    let running = Running::start_with(&receiver.endpoint(), MEMORY, spool(&parent, 64 << 20));
    running.push(1300);
    running.until("delivered", |r| r.outcome(EventOutcome::Delivered) == 1300).await;
}

#[tokio::test]
async fn the_probe_follows_no_link() {
    let (parent, directory) = left_behind(std::iter::empty());
    let victim = parent.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    std::os::unix::fs::symlink(&victim, directory.join(".probe.tmp")).unwrap();
    let receiver = fake_collector::http(None, |_| Reply::ok()).await;
    let _running = Running::start_with(&receiver.endpoint(), MEMORY, spool(&parent, 64 << 20));
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
}

/// One upload that makes many batches, or batches faster than one worker takes them.
#[tokio::test]
async fn all_idle_senders_are_roused_for_several_parcels() {
    let parent = TempDir::new().unwrap();
    let receiver = fake_collector::http(None, |_| Reply::Hang).await;
    let running = Running::start_with(&receiver.endpoint(), MEMORY, spool(&parent, 64 << 20));
    tokio::time::sleep(Duration::from_millis(200)).await;
    running.push(2048);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(receiver.log.len(), MAX_IN_FLIGHT);
}

#[tokio::test]
async fn what_comes_back_to_memory_rouses_an_idle_sender() {
    let self_metrics = Arc::new(SelfMetrics::default());
    let delivery = Delivery { memory_bytes: MEMORY, shutdown_timeout: FAR, spool: None };
    let buffer = Arc::new(
        Buffer::open(&delivery, LogRequestEncoder::new(&Resource::default()), &self_metrics).unwrap(),
    );
    let (bytes, ends) = fake_collector::records(512);
    buffer.queue().offer(&bytes, &ends);
    // As the spill task takes it, and cannot save it.
    let batch = buffer.queue().take_for_spill(Instant::now() + SPILL_AFTER).unwrap();
    let sender = tokio::spawn({
        let buffer = Arc::clone(&buffer);
        async move { buffer.next(Order::Oldest).await }
    });
    // It consumes the wake-up of the push, finds nothing, and sleeps.
    tokio::time::sleep(Duration::from_millis(100)).await;
    buffer.queue().requeue(batch);
    let next = tokio::time::timeout(Duration::from_secs(3), sender).await;
    assert!(next.is_ok(), "the sender sleeps though a parcel may be sent");
}

#[tokio::test]
async fn a_parcel_that_does_not_fit_keeps_no_other_from_the_disk() {
    let parent = TempDir::new().unwrap();
    let endpoint = fake_collector::endpoint(fake_collector::unused_address().await, Protocol::HttpProtobuf);
    let running = Running::start_with(&endpoint, MEMORY, spool(&parent, 64 << 10));
    running.logs.queue().offer(&vec![0; 100_000], &[100_000]);
    running.logs.queue().offer(&fake_collector::records(100).0, &fake_collector::records(100).1);
    let shutdown = running.logs.shutdown(Instant::now() + FAR).await;
    assert_eq!(shutdown, ShutdownSummary { dropped: 1, spooled: 100 });
}

#[tokio::test]
async fn a_disk_that_cannot_be_read_is_left_alone_for_a_while() {
    let (parent, directory) = left_behind((1..=500).map(|n| (format!("{n:020}-1.binpb"), 1)));
    let endpoint = fake_collector::endpoint(fake_collector::unused_address().await, Protocol::HttpProtobuf);
    let running = Running::start_with(&endpoint, MEMORY, spool(&parent, 64 << 20));
    // Not even root can read a directory as a file.
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let errors = running.self_metrics.spool.errors[SpoolOperation::Read].get();
    assert!((1..50).contains(&errors), "{errors}");
}

/// Whoever opens a pipe to read it waits for one who writes. Made before the start, which sets it aside, and
/// put in a file's place afterwards.
fn pipe(directory: &Path, name: &str) {
    let made = std::process::Command::new("mkfifo").arg(directory.join(name)).status().unwrap();
    assert!(made.success());
}

/// Lets go who waits at this pipe, or the test would not end.
fn let_go(pipe: &Path) {
    drop(fs::OpenOptions::new().read(true).write(true).open(pipe).unwrap());
}

/// Waits until as many events are in flight, and stay there.
async fn until_stuck(running: &Running, events: i64) {
    let since = parking_lot::Mutex::new(Instant::now());
    running
        .until("stuck", |r| {
            if r.self_metrics.pending(ExporterId::OtlpRecovered, PendingState::InFlight) != events {
                *since.lock() = Instant::now();
            }
            since.lock().elapsed() > Duration::from_millis(200)
        })
        .await;
}

#[tokio::test]
async fn a_sender_that_hangs_over_one_file_leaves_time_to_save_the_rest() {
    let name = "00000000000000000001-1.binpb";
    let (parent, directory) = left_behind(std::iter::once((name.to_owned(), 1)));
    let endpoint = fake_collector::endpoint(fake_collector::unused_address().await, Protocol::HttpProtobuf);
    pipe(&directory, "pipe");
    let running = Running::start_with(&endpoint, MEMORY, spool(&parent, 64 << 20));
    fs::rename(directory.join("quarantine/pipe"), directory.join(name)).unwrap();
    until_stuck(&running, 1).await;
    running.push(100);
    let remainder = running.logs.shutdown(Instant::now() + Duration::from_secs(2)).await;
    let_go(&directory.join(name));
    assert_eq!(remainder, ShutdownSummary { dropped: 0, spooled: 101 });
}

#[tokio::test]
async fn a_disk_that_hangs_leaves_a_sender_to_what_is_in_memory() {
    let names: Vec<_> = (1..=5).map(|number| format!("{number:020}-1.binpb")).collect();
    let (parent, directory) = left_behind(names.iter().map(|name| (name.clone(), 1)));
    let address = fake_collector::unused_address().await;
    let endpoint = fake_collector::endpoint(address, Protocol::HttpProtobuf);
    (0..names.len()).for_each(|number| pipe(&directory, &format!("pipe{number}")));
    let running = Running::start_with(&endpoint, 1 << 20, spool(&parent, 64 << 20));
    for (number, name) in names.iter().enumerate() {
        fs::rename(directory.join(format!("quarantine/pipe{number}")), directory.join(name)).unwrap();
    }
    until_stuck(&running, MAX_IN_FLIGHT as i64 - 1).await;
    let _receiver =
        fake_collector::http_at(tokio::net::TcpListener::bind(address).await.unwrap(), None, |_| Reply::ok());
    running.push(1300);
    running.until("delivered", |r| r.outcome(EventOutcome::Delivered) == 1300).await;
    // Those that are let go make way for the next two.
    running
        .until("let go", |r| {
            names.iter().map(|name| directory.join(name)).filter(|it| it.exists()).for_each(|it| let_go(&it));
            r.self_metrics.events(ExporterId::OtlpRecovered, EventOutcome::DroppedSpoolDamaged) == 5
        })
        .await;
}
