//! Bounds, order and accounting of the spool.

use opentelemetry_proto::tonic::resource::v1::Resource;
use tempfile::TempDir;

use super::*;
use crate::export::otlp::logs::log_request::LogRequestEncoder;
use crate::export::otlp::testing::fake_collector;
use crate::model::ExporterId;

struct Spooled {
    spool: Arc<Spool>,
    self_metrics: Arc<SelfMetrics>,
    first: u64,
}

fn open(parent: &TempDir, max_bytes: u64) -> Spooled {
    let self_metrics = Arc::new(SelfMetrics::default());
    let path = parent.path().join("spool");
    let (spool, first) = Spool::open(&path, max_bytes, Arc::clone(&self_metrics), Arc::default()).unwrap();
    Spooled { spool, self_metrics, first }
}

fn request(events: usize) -> Bytes {
    LogRequestEncoder::new(&Resource::default()).request(&fake_collector::records(events).0)
}

impl Spooled {
    /// Creates a batch as a worker holds it.
    fn batch(&self, sequence: u64, events: u64) -> Batch {
        let mut pending = PendingEvents::new(Arc::clone(&self.self_metrics), Arc::default());
        for _ in 0..events {
            pending.add(1);
        }
        pending.transition(PendingState::InFlight);
        Batch::new(sequence, pending, Instant::now(), Payload::Request(request(events as usize)))
    }

    /// Spills a batch and queues it. Returns whether it fit.
    async fn put(&self, sequence: u64, events: u64) -> bool {
        let mut batch = self.batch(sequence, events);
        let Payload::Request(request) = &batch.payload else { panic!() };
        let spilling = self.spool.spill(&batch, request.clone(), None);
        batch.set_spool_file(spilling.await.unwrap());
        let spilled = batch.file.is_some();
        if spilled {
            self.spool.enqueue(batch);
        }
        spilled
    }

    fn pending(&self, exporter: ExporterId) -> [i64; 3] {
        [PendingState::Queued, PendingState::InFlight, PendingState::Spooled]
            .map(|state| self.self_metrics.pending(exporter, state))
    }

    fn bytes(&self) -> u64 {
        self.self_metrics.spool.bytes.get() as u64
    }

    fn files(&self) -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(&self.spool.directory.path).unwrap().map(|it| it.unwrap().path());
        let mut files: Vec<_> = entries.filter(|path| path.is_file()).collect();
        files.sort();
        files
    }
}

#[tokio::test]
async fn spooled_batches_are_sent_oldest_first_and_deleted() {
    let parent = TempDir::new().unwrap();
    let it = open(&parent, 1 << 20);
    for sequence in [2, 1, 3] {
        assert!(it.put(sequence, sequence).await);
    }
    assert_eq!(it.pending(ExporterId::Otlp), [0, 0, 6]);
    let sizes: u64 = it.files().iter().map(|file| file.metadata().unwrap().len()).sum();
    assert_eq!(it.bytes(), sizes);
    for sequence in 1..=3 {
        let batch = it.spool.dequeue(Instant::now(), Order::Oldest).unwrap();
        let (mut batch, read) = it.spool.read(batch).await.unwrap().unwrap();
        assert_eq!((batch.sequence, read), (sequence, request(sequence as usize)));
        batch.pending.finalize(EventOutcome::Delivered, u64::MAX);
        it.spool.remove(batch.file.unwrap(), batch.spool_permit).await.unwrap();
    }
    assert!(it.spool.dequeue(Instant::now(), Order::Oldest).is_none());
    assert_eq!((it.bytes(), it.files().len(), it.pending(ExporterId::Otlp)), (0, 0, [0; 3]));
}

#[tokio::test]
async fn spill_beyond_the_limit_fails_until_a_file_is_deleted() {
    let parent = TempDir::new().unwrap();
    let size = request(8).len() as u64;
    let it = open(&parent, 2 * size + size / 2);
    assert_eq!((it.put(1, 8).await, it.put(2, 8).await, it.put(3, 8).await), (true, true, false));
    assert!(it.spool.is_failing());
    assert_eq!((it.bytes(), it.files().len()), (2 * size, 2));
    let batch = it.spool.dequeue(Instant::now(), Order::Oldest).unwrap();
    it.spool.remove(batch.file.unwrap(), batch.spool_permit).await.unwrap();
    assert!(it.put(4, 8).await, "there is space again");
    assert!(!it.spool.is_failing());
}

#[tokio::test]
async fn files_of_an_earlier_process_are_recovered_and_accounted_separately() {
    let parent = TempDir::new().unwrap();
    let before = open(&parent, 1 << 20);
    assert!(before.put(8, 3).await && before.put(9, 4).await);
    let size = before.bytes();
    std::fs::write(before.spool.directory.path.join("notes"), "").unwrap();
    let truncated = request(5).slice(..60);
    let lost = framing::Content::of(&truncated).events;
    assert!((1..5).contains(&lost), "{lost}");
    let name = "00000000000000000010-999999999-00000000.binpb";
    std::fs::write(before.spool.directory.path.join(name), truncated).unwrap();
    drop(before);

    let it = open(&parent, 1);
    assert_eq!((it.first, it.self_metrics.spool.recovered.get(), it.bytes()), (10, 7 + lost, size));
    assert_eq!(it.pending(ExporterId::OtlpRecovered), [0, 0, 7]);
    assert_eq!(it.self_metrics.events(ExporterId::OtlpRecovered, EventOutcome::DroppedSpoolDamaged), lost);
    assert_eq!(
        QuarantineReason::ALL.iter().map(|it_| it.self_metrics.spool.quarantined[*it_].get()).sum::<u64>(),
        2
    );
    let mut batch = it.spool.dequeue(Instant::now(), Order::Oldest).unwrap();
    assert_eq!((batch.sequence, it.pending(ExporterId::OtlpRecovered)), (8, [0, 3, 4]));
    batch.pending.finalize(EventOutcome::Delivered, u64::MAX);
    assert_eq!(it.self_metrics.events(ExporterId::OtlpRecovered, EventOutcome::Delivered), 3);
}

#[tokio::test]
async fn file_missing_or_corrupt_is_a_counted_loss() {
    let parent = TempDir::new().unwrap();
    let it = open(&parent, 1 << 20);
    for sequence in 1..=3 {
        assert!(it.put(sequence, 2).await);
    }
    let files = it.files();
    std::fs::remove_file(&files[0]).unwrap();
    std::fs::write(&files[1], request(3)).unwrap();
    for _ in 0..2 {
        let batch = it.spool.dequeue(Instant::now(), Order::Oldest).unwrap();
        assert!(it.spool.read(batch).await.unwrap().is_none());
    }
    assert_eq!(it.self_metrics.events(ExporterId::Otlp, EventOutcome::DroppedSpoolDamaged), 4);
    assert_eq!(it.self_metrics.spool.quarantined[QuarantineReason::Corrupt].get(), 1);
    assert_eq!((it.pending(ExporterId::Otlp), it.bytes()), ([0, 0, 2], files[2].metadata().unwrap().len()));
}

#[tokio::test]
async fn delete_that_fails_is_retried() {
    let parent = TempDir::new().unwrap();
    let it = open(&parent, 1 << 20);
    assert!(it.put(1, 2).await);
    let (file, size) = (&it.files()[0], it.bytes());
    // Not even root can remove a directory as a file.
    std::fs::remove_file(file).unwrap();
    std::fs::create_dir(file).unwrap();
    let batch = it.spool.dequeue(Instant::now(), Order::Oldest).unwrap();
    it.spool.remove(batch.file.unwrap(), batch.spool_permit).await.unwrap();
    assert_eq!((it.self_metrics.spool.errors[SpoolOperation::Remove].get(), it.bytes()), (1, size));
    it.spool.retry_pending_deletes().await;
    assert_eq!(it.self_metrics.spool.errors[SpoolOperation::Remove].get(), 2);
    std::fs::remove_dir(file).unwrap();
    it.spool.retry_pending_deletes().await;
    assert_eq!((it.self_metrics.spool.errors[SpoolOperation::Remove].get(), it.bytes()), (2, 0));
}

#[tokio::test]
async fn write_that_fails_reserves_no_space() {
    let parent = TempDir::new().unwrap();
    let it = open(&parent, 1 << 20);
    let checksum = framing::checksum(&request(2));
    let place = it.spool.directory.path.join(format!("00000000000000000001-2-{checksum:08x}.binpb"));
    std::fs::create_dir(&place).unwrap();
    assert!(!it.put(1, 2).await);
    assert_eq!(
        (it.self_metrics.spool.errors[SpoolOperation::Write].get(), it.bytes(), it.spool.is_failing()),
        (1, 0, true)
    );
    std::fs::remove_dir(&place).unwrap();
    assert!(it.put(1, 2).await);
    assert!(!it.spool.is_failing());
}

#[tokio::test]
async fn retry_of_deletes_stops_at_the_first_failure() {
    let parent = TempDir::new().unwrap();
    let it = open(&parent, 1 << 20);
    for sequence in 1..=20 {
        assert!(it.put(sequence, 2).await);
        let file = it.files().remove(0);
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        let batch = it.spool.dequeue(Instant::now(), Order::Oldest).unwrap();
        it.spool.remove(batch.file.unwrap(), batch.spool_permit).await.unwrap();
    }
    assert_eq!(it.self_metrics.spool.errors[SpoolOperation::Remove].get(), 20);
    it.spool.retry_pending_deletes().await;
    assert_eq!(it.self_metrics.spool.errors[SpoolOperation::Remove].get(), 21);
    // A file that cannot be deleted blocks no other: in the end only that one is left.
    let mut stuck: Vec<_> =
        std::fs::read_dir(&it.spool.directory.path).unwrap().map(|it| it.unwrap().path()).collect();
    for path in stuck.drain(1..) {
        std::fs::remove_dir(path).unwrap();
    }
    for _ in 0..20 {
        it.spool.retry_pending_deletes().await;
    }
    assert_eq!(it.bytes(), request(2).len() as u64);
}
