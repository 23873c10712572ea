//! Former faults of the spool and its workers, each as a test that fails without its fix.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::export::otlp::logs::batch::Order;
use crate::export::otlp::logs::buffer::Buffer;
use crate::model::SpoolOperation;

const MEMORY: usize = 1 << 20;
const SPILL_AFTER: Duration = Duration::from_secs(5);

fn spool(parent: &TempDir, max_bytes: u64) -> Option<config::Spool> {
    let directory = Some(parent.path().join("spool"));
    Some(config::Spool { directory, max_bytes: max_bytes as usize, after: SPILL_AFTER })
}

/// Creates a directory with these files, each a request of the given number of events, whose checksum its name gets.
fn left_behind(files: impl Iterator<Item = (String, usize)>) -> (TempDir, PathBuf) {
    let parent = TempDir::new().unwrap();
    let directory = parent.path().join("spool");
    fs::create_dir(&directory).unwrap();
    let encoder = LogRequestEncoder::new(&Resource::default());
    for (name, events) in files {
        let request = encoder.request(&fake_collector::records(events).0);
        let name = name.replace(".binpb", &format!("-{:08x}.binpb", crc32c::crc32c(&request)));
        fs::write(directory.join(name), request).unwrap();
    }
    (parent, directory)
}

/// On file systems that list a renamed file again (ext4 does, in a large directory).
#[tokio::test]
async fn temporary_file_renamed_at_start_is_found_once() {
    let (parent, _) = left_behind((1..=3000).map(|n| (format!(".{n:020}-1.binpb.tmp"), 1)));
    let receiver = fake_collector::http(None, |_| Reply::Hang).await;
    let running = Running::start_with(&receiver.endpoint(), MEMORY, spool(&parent, 64 << 20));
    assert_eq!(running.self_metrics.spool.recovered.get(), 3000);
}

#[tokio::test]
async fn files_of_the_same_sequence_are_all_sent() {
    let names = ["00000000000000000001-1.binpb", "00000000000000000001-2.binpb"];
    let (parent, _) = left_behind(names.into_iter().zip(1..).map(|(name, n)| (name.to_owned(), n)));
    let receiver = fake_collector::http(None, |_| Reply::ok()).await;
    let running = Running::start_with(&receiver.endpoint(), MEMORY, spool(&parent, 64 << 20));
    running
        .until("all", |r| r.self_metrics.events(ExporterId::OtlpRecovered, EventOutcome::Delivered) == 3)
        .await;
}

#[tokio::test]
async fn sequence_at_its_maximum_does_not_overflow() {
    let name = format!("{}-1.binpb", u64::MAX);
    let (parent, _) = left_behind(std::iter::once((name, 1)));
    let receiver = fake_collector::http(None, |_| Reply::ok()).await;
    let running = Running::start_with(&receiver.endpoint(), MEMORY, spool(&parent, 64 << 20));
    running.push(1300);
    running.until("delivered", |r| r.outcome(EventOutcome::Delivered) == 1300).await;
}

/// A wrong URL, whose server answers 200 with a page.
#[tokio::test]
async fn response_that_is_not_otlp_delivers_nothing_and_is_retried() {
    let page = |number| match number {
        0..5 => Reply::Answer(200, &[("content-type", "text/html")], b"<!doctype html>".to_vec()),
        _ => Reply::ok(),
    };
    let receiver = fake_collector::http(None, page).await;
    let running = Running::start(&receiver.endpoint(), MEMORY);
    running.push(3);
    running.until("retried", |r| r.attempts(ExportStatus::InvalidResponse) == 5).await;
    running.until("delivered", |r| r.outcome(EventOutcome::Delivered) == 3).await;
    assert_eq!((running.attempts(ExportStatus::Ok), receiver.log.records().len()), (1, 18));
}

#[tokio::test]
async fn probe_at_a_link_does_not_follow_it() {
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
async fn idle_workers_are_all_woken_for_several_batches() {
    let parent = TempDir::new().unwrap();
    let receiver = fake_collector::http(None, |_| Reply::Hang).await;
    let running = Running::start_with(&receiver.endpoint(), MEMORY, spool(&parent, 64 << 20));
    tokio::time::sleep(Duration::from_millis(200)).await;
    running.push(2048);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(receiver.log.len(), MAX_IN_FLIGHT);
}

#[tokio::test]
async fn batch_requeued_in_memory_wakes_an_idle_worker() {
    let self_metrics = Arc::new(SelfMetrics::default());
    let parent = TempDir::new().unwrap();
    let spool = spool(&parent, 64 << 20);
    let delivery = Delivery { memory_bytes: MEMORY, shutdown_timeout: FAR, spool: spool.unwrap() };
    let buffer = Arc::new(
        Buffer::open(&delivery, LogRequestEncoder::new(&Resource::default()), &self_metrics).unwrap(),
    );
    let (bytes, ends) = fake_collector::records(512);
    buffer.queue.push(&bytes, &ends);
    // Like the spill task when the disk fails.
    let batch = buffer.queue.take_for_spill(Instant::now() + SPILL_AFTER).unwrap();
    let worker = tokio::spawn({
        let buffer = Arc::clone(&buffer);
        async move { buffer.next(Order::Oldest).await }
    });
    // The worker consumes the notification of the push, finds nothing, and sleeps.
    tokio::time::sleep(Duration::from_millis(100)).await;
    buffer.queue.requeue(batch);
    let next = tokio::time::timeout(Duration::from_secs(3), worker).await;
    assert!(next.is_ok(), "the worker sleeps although a batch is ready");
}

#[tokio::test]
async fn batch_larger_than_the_spool_blocks_no_other() {
    let parent = TempDir::new().unwrap();
    let endpoint = fake_collector::endpoint(fake_collector::unused_address().await, Protocol::HttpProtobuf);
    let running = Running::start_with(&endpoint, MEMORY, spool(&parent, 64 << 10));
    running.logs.queue().push(&vec![0; 100_000], &[100_000]);
    running.logs.queue().push(&fake_collector::records(100).0, &fake_collector::records(100).1);
    let shutdown = running.logs.shutdown(Instant::now() + FAR).await;
    assert_eq!(shutdown, ShutdownSummary { dropped: 1, spooled: 100 });
}

#[tokio::test]
async fn disk_that_cannot_be_read_is_read_again_only_after_a_pause() {
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

/// Returns the files of a directory.
fn files_in(directory: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.is_file()).collect()
}

/// Creates a pipe, which blocks its reader until it is opened for writing. Created before the start, which
/// quarantines it, and moved to a file's place afterwards.
fn pipe(directory: &Path, name: &str) {
    let made = std::process::Command::new("mkfifo").arg(directory.join(name)).status().unwrap();
    assert!(made.success());
}

/// Releases the reader of a pipe, without which the test would not end.
fn release_reader(pipe: &Path) {
    drop(fs::OpenOptions::new().read(true).write(true).open(pipe).unwrap());
}

/// Waits until this number of events is in flight and stays there.
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
async fn worker_that_hangs_over_one_file_leaves_time_to_spill_the_rest() {
    let name = "00000000000000000001-1.binpb".to_owned();
    let (parent, directory) = left_behind(std::iter::once((name, 1)));
    let endpoint = fake_collector::endpoint(fake_collector::unused_address().await, Protocol::HttpProtobuf);
    pipe(&directory, "pipe");
    let running = Running::start_with(&endpoint, MEMORY, spool(&parent, 64 << 20));
    let file = files_in(&directory).remove(0);
    fs::rename(directory.join("quarantine/pipe"), &file).unwrap();
    until_stuck(&running, 1).await;
    running.push(100);
    // A busy disk may take a second for a file.
    let summary = running.logs.shutdown(Instant::now() + Duration::from_secs(6)).await;
    release_reader(&file);
    assert_eq!(summary, ShutdownSummary { dropped: 0, spooled: 101 });
}

#[tokio::test]
async fn disk_that_hangs_leaves_a_worker_for_memory() {
    let (parent, directory) = left_behind((1..=5).map(|number| (format!("{number:020}-1.binpb"), 1)));
    let address = fake_collector::unused_address().await;
    let endpoint = fake_collector::endpoint(address, Protocol::HttpProtobuf);
    for number in 0..5 {
        pipe(&directory, &format!("pipe{number}"));
    }
    let running = Running::start_with(&endpoint, 1 << 20, spool(&parent, 64 << 20));
    let files = files_in(&directory);
    assert_eq!(files.len(), 5);
    for (number, file) in files.iter().enumerate() {
        fs::rename(directory.join(format!("quarantine/pipe{number}")), file).unwrap();
    }
    until_stuck(&running, MAX_IN_FLIGHT as i64 - 1).await;
    let _receiver = fake_collector::http_at(TcpListener::bind(address).await.unwrap(), None, |_| Reply::ok());
    running.push(1300);
    running.until("delivered", |r| r.outcome(EventOutcome::Delivered) == 1300).await;
    // The released workers read the next two.
    running
        .until("released", |r| {
            for pipe in files.iter().filter(|pipe| pipe.exists()) {
                release_reader(pipe);
            }
            r.self_metrics.events(ExporterId::OtlpRecovered, EventOutcome::DroppedSpoolDamaged) == 5
        })
        .await;
}
