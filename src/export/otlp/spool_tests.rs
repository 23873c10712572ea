//! The spool's bounds, its order and its books.

use opentelemetry_proto::tonic::resource::v1::Resource;
use tempfile::TempDir;

use super::*;
use crate::export::otlp::frame::Frame;
use crate::export::otlp::receiver;
use crate::outcome::Exporter;

struct Spooled {
    spool: Arc<Spool>,
    own: Arc<OwnMetrics>,
    first: u64,
}

fn open(parent: &TempDir, max_bytes: u64) -> Spooled {
    let own = Arc::new(OwnMetrics::default());
    let settings = settings::Spool { directory: parent.path().join("spool"), max_bytes };
    let (spool, first) = Spool::open(&settings, Arc::clone(&own), Arc::default()).unwrap();
    Spooled { spool: Arc::new(spool), own, first }
}

fn request(events: usize) -> Bytes {
    Frame::new(&Resource::default()).request(&receiver::records(events).0)
}

impl Spooled {
    /// A parcel as a sender holds it.
    fn parcel(&self, number: u64, events: u64) -> Parcel {
        let mut pending = Pending::new(Arc::clone(&self.own), Arc::default());
        (0..events).for_each(|_| pending.add(1));
        pending.move_to(Place::InFlight);
        Parcel::new(number, pending, Instant::now(), Load::Request(request(events as usize)))
    }

    /// Saves one and puts it on the shelf; gives whether there was room.
    async fn put(&self, number: u64, events: u64) -> bool {
        let mut parcel = self.parcel(number, events);
        let Load::Request(request) = &parcel.load else { panic!() };
        let saving = self.spool.save(&parcel, request.clone());
        parcel.is_saved(saving.await.unwrap());
        let saved = parcel.file.is_some();
        if saved {
            self.spool.shelve(parcel);
        }
        saved
    }

    fn pending(&self, exporter: Exporter) -> [i64; 3] {
        [Place::Memory, Place::InFlight, Place::Spool].map(|place| self.own.pending(exporter, place))
    }

    fn bytes(&self) -> u64 {
        self.own.spool.bytes.load(Ordering::Relaxed)
    }

    fn files(&self) -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(self.spool.path()).unwrap().map(|it| it.unwrap().path());
        let mut files: Vec<_> = entries.filter(|path| path.is_file()).collect();
        files.sort();
        files
    }
}

#[tokio::test]
async fn parcels_go_out_oldest_first_and_their_files_with_them() {
    let parent = TempDir::new().unwrap();
    let it = open(&parent, 1 << 20);
    for number in [2, 1, 3] {
        assert!(it.put(number, number).await);
    }
    assert_eq!(it.pending(Exporter::Otlp), [0, 0, 6]);
    let sizes: u64 = it.files().iter().map(|file| file.metadata().unwrap().len()).sum();
    assert_eq!(it.bytes(), sizes);
    for number in 1..=3 {
        let parcel = it.spool.take(Instant::now(), First::Oldest).unwrap();
        let (mut parcel, read) = it.spool.read(parcel).await.unwrap().unwrap();
        assert_eq!((parcel.number, read), (number, request(number as usize)));
        parcel.pending.settle(Fate::Delivered, u64::MAX);
        it.spool.remove(parcel.file.unwrap(), parcel.turn).await.unwrap();
    }
    assert!(it.spool.take(Instant::now(), First::Oldest).is_none());
    assert_eq!((it.bytes(), it.files().len(), it.pending(Exporter::Otlp)), (0, 0, [0; 3]));
}

#[tokio::test]
async fn it_takes_no_more_than_its_bytes() {
    let parent = TempDir::new().unwrap();
    let size = request(8).len() as u64;
    let it = open(&parent, 2 * size + size / 2);
    assert_eq!((it.put(1, 8).await, it.put(2, 8).await, it.put(3, 8).await), (true, true, false));
    assert!(it.spool.refuses());
    assert_eq!((it.bytes(), it.files().len()), (2 * size, 2));
    let parcel = it.spool.take(Instant::now(), First::Oldest).unwrap();
    it.spool.remove(parcel.file.unwrap(), parcel.turn).await.unwrap();
    assert!(it.put(4, 8).await, "there is room again");
    assert!(!it.spool.refuses());
}

#[tokio::test]
async fn what_an_earlier_process_left_is_found_with_books_of_its_own() {
    let parent = TempDir::new().unwrap();
    let before = open(&parent, 1 << 20);
    assert!(before.put(8, 3).await && before.put(9, 4).await);
    let size = before.bytes();
    std::fs::write(before.spool.path().join("notes"), "").unwrap();
    std::fs::write(before.spool.path().join("00000000000000000010-5.binpb"), "torn").unwrap();
    drop(before);

    let it = open(&parent, 1);
    assert_eq!((it.first, it.own.spool.recovered(), it.bytes()), (10, 12, size));
    assert_eq!(it.pending(Exporter::OtlpRecovered), [0, 0, 7]);
    assert_eq!(it.own.events(Exporter::OtlpRecovered, Fate::DroppedSpoolDamaged), 5);
    assert_eq!(SetAside::ALL.iter().map(|it_| it.own.spool.files_set_aside(*it_)).sum::<u64>(), 2);
    let mut parcel = it.spool.take(Instant::now(), First::Oldest).unwrap();
    assert_eq!((parcel.number, it.pending(Exporter::OtlpRecovered)), (8, [0, 3, 4]));
    parcel.pending.settle(Fate::Delivered, u64::MAX);
    assert_eq!(it.own.events(Exporter::OtlpRecovered, Fate::Delivered), 3);
}

#[tokio::test]
async fn a_file_that_vanished_or_was_damaged_is_a_counted_loss() {
    let parent = TempDir::new().unwrap();
    let it = open(&parent, 1 << 20);
    for number in 1..=3 {
        assert!(it.put(number, 2).await);
    }
    let files = it.files();
    std::fs::remove_file(&files[0]).unwrap();
    std::fs::write(&files[1], request(3)).unwrap();
    for _ in 0..2 {
        let parcel = it.spool.take(Instant::now(), First::Oldest).unwrap();
        assert!(it.spool.read(parcel).await.unwrap().is_none());
    }
    assert_eq!(it.own.events(Exporter::Otlp, Fate::DroppedSpoolDamaged), 4);
    assert_eq!(it.own.spool.files_set_aside(SetAside::Torn), 1);
    assert_eq!((it.pending(Exporter::Otlp), it.bytes()), ([0, 0, 2], files[2].metadata().unwrap().len()));
}

#[tokio::test]
async fn what_cannot_be_removed_is_tried_again() {
    let parent = TempDir::new().unwrap();
    let it = open(&parent, 1 << 20);
    assert!(it.put(1, 2).await);
    let (file, size) = (&it.files()[0], it.bytes());
    // Not even root can remove a directory as a file.
    std::fs::remove_file(file).unwrap();
    std::fs::create_dir(file).unwrap();
    let parcel = it.spool.take(Instant::now(), First::Oldest).unwrap();
    it.spool.remove(parcel.file.unwrap(), parcel.turn).await.unwrap();
    assert_eq!((it.own.spool.errors(SpoolOperation::Remove), it.bytes()), (1, size));
    it.spool.remove_leftovers().await;
    assert_eq!(it.own.spool.errors(SpoolOperation::Remove), 2);
    std::fs::remove_dir(file).unwrap();
    it.spool.remove_leftovers().await;
    assert_eq!((it.own.spool.errors(SpoolOperation::Remove), it.bytes()), (2, 0));
}

#[tokio::test]
async fn a_disk_that_refuses_costs_no_room() {
    let parent = TempDir::new().unwrap();
    let it = open(&parent, 1 << 20);
    let place = it.spool.path().join("00000000000000000001-2.binpb");
    std::fs::create_dir(&place).unwrap();
    assert!(!it.put(1, 2).await);
    assert_eq!((it.own.spool.errors(SpoolOperation::Write), it.bytes(), it.spool.refuses()), (1, 0, true));
    std::fs::remove_dir(&place).unwrap();
    assert!(it.put(1, 2).await);
    assert!(!it.spool.refuses());
}

#[tokio::test]
async fn a_disk_that_removes_nothing_is_not_asked_about_every_file_each_time() {
    let parent = TempDir::new().unwrap();
    let it = open(&parent, 1 << 20);
    for number in 1..=20 {
        assert!(it.put(number, 2).await);
        let file = it.files().remove(0);
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        let parcel = it.spool.take(Instant::now(), First::Oldest).unwrap();
        it.spool.remove(parcel.file.unwrap(), parcel.turn).await.unwrap();
    }
    assert_eq!(it.own.spool.errors(SpoolOperation::Remove), 20);
    it.spool.remove_leftovers().await;
    assert_eq!(it.own.spool.errors(SpoolOperation::Remove), 21);
    // One that cannot be removed keeps no other: in the end only that one is left.
    let mut stuck: Vec<_> =
        std::fs::read_dir(it.spool.path()).unwrap().map(|it| it.unwrap().path()).collect();
    stuck.drain(1..).for_each(|path| std::fs::remove_dir(path).unwrap());
    for _ in 0..20 {
        it.spool.remove_leftovers().await;
    }
    assert_eq!(it.bytes(), request(2).len() as u64);
}
