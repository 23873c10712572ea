//! The directory against damage by disks, people and killed processes.

use std::os::unix::fs::PermissionsExt;

use opentelemetry_proto::tonic::resource::v1::Resource;
use tempfile::TempDir;

use super::*;
use crate::export::otlp::logs::log_request::LogRequestEncoder;
use crate::export::otlp::testing::fake_collector;

fn request(events: usize) -> Vec<u8> {
    LogRequestEncoder::new(&Resource::default()).request(&fake_collector::records(events).0).to_vec()
}

/// The file of a request with this sequence.
fn file(sequence: u64, request: &[u8]) -> SpoolFile {
    let Content { events, checksum, .. } = Content::of(request);
    SpoolFile { id: BatchId { sequence, events }, bytes: request.len() as u64, checksum }
}

impl Directory {
    fn put(&self, sequence: u64, request: &[u8]) -> SpoolFile {
        let file = file(sequence, request);
        self.write(file, request).unwrap();
        file
    }
}

/// The name of a request's file that states another number of events.
fn other_name(sequence: u64, request: &[u8]) -> String {
    let id = BatchId { sequence, events: 999_999_999 };
    file_name::format(SpoolFile { id, ..file(sequence, request) })
}

fn open() -> (TempDir, Directory) {
    let parent = TempDir::new().unwrap();
    let directory = Directory::open(&parent.path().join("a/spool")).unwrap();
    (parent, directory)
}

/// The names in a directory, sorted.
fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap();
    let mut names: Vec<_> = entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn request_written_is_read_back_by_its_owner_only() {
    let (_parent, directory) = open();
    let request = request(3);
    let file = directory.put(7, &request);
    let name = format!("00000000000000000007-3-{:08x}.binpb", crc32c::crc32c(&request));
    assert_eq!(names(&directory.path), [&*name]);
    let path = directory.path.join(name);
    assert_eq!((mode(&directory.path), mode(&path)), (0o700, 0o600));
    assert_eq!(fs::read(&path).unwrap(), request, "as a collector takes it");
    assert_eq!(directory.read(file).unwrap(), ReadResult::Request(request));
    directory.remove(file).unwrap();
    directory.remove(file).unwrap();
    assert_eq!(directory.read(file).unwrap(), ReadResult::Missing);
    assert_eq!(names(&directory.path), [""; 0]);
}

#[test]
fn directory_in_use_is_an_error() {
    let (_parent, directory) = open();
    let error = Directory::open(&directory.path).unwrap_err().to_string();
    let path = directory.path.clone();
    let expected = format!(
        "delivery.spool.directory: cannot use {} as the spool: another process uses it; give each process its \
         own directory",
        path.display()
    );
    assert_eq!(error, expected);
    drop(directory);
    assert!(Directory::open(&path).is_ok());
}

#[test]
fn directory_without_write_access_is_an_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Directory::open(&file.path().join("spool")).unwrap_err().to_string();
    assert!(error.contains("as the spool: Not a directory"), "{error}");
    // Nothing can be created there, not even by root.
    let error = Directory::open(Path::new("/proc/self")).unwrap_err().to_string();
    assert!(error.starts_with("delivery.spool.directory: cannot use /proc/self as the spool: "), "{error}");
}

#[test]
fn recover_quarantines_files_that_are_no_whole_requests() {
    let (_parent, directory) = open();
    let whole = request(5);
    let first = directory.put(1, &whole);
    let fourth = file(4, &whole);
    let partial = file_name::format_temporary(file(5, &whole));
    let put = |name: &str, bytes: &[u8]| fs::write(directory.path.join(name), bytes).unwrap();
    let (truncated, empty) = (file_name::format(file(2, &whole)), other_name(3, b""));
    put(&truncated, &whole[..whole.len() - 1]);
    put(&empty, b"");
    // Of a version whose names had no checksum.
    put("00000000000000000006-5.binpb", &whole);
    put(&file_name::format_temporary(fourth), &whole);
    put(&partial, &whole[..9]);
    put("notes.txt", b"mine");
    fs::create_dir(directory.path.join("lost+found")).unwrap();

    let mut found = directory.recover().unwrap();
    found.sort_by_key(|found| format!("{found:?}"));
    let expected = [
        // As many as they contain, whatever their names state.
        Found::Quarantined(QuarantineReason::Corrupt, 0),
        Found::Quarantined(QuarantineReason::Corrupt, 0),
        Found::Quarantined(QuarantineReason::Corrupt, 5),
        Found::Quarantined(QuarantineReason::Unrecognized, 0),
        Found::Quarantined(QuarantineReason::Unrecognized, 0),
        Found::Request(first),
        // Written and not yet renamed.
        Found::Request(fourth),
    ];
    assert_eq!(found, expected);
    let left = [&*file_name::format(first), &*file_name::format(fourth), "lost+found", "quarantine"];
    assert_eq!(names(&directory.path), left);
    let quarantined = [&*partial, &truncated, &empty, "00000000000000000006-5.binpb", "notes.txt"];
    assert_eq!(names(&directory.path.join(QUARANTINE)), quarantined);
    assert_eq!(directory.read(fourth).unwrap(), ReadResult::Request(whole));
    assert_eq!(directory.recover().unwrap().len(), 2, "it is repaired");
}

#[test]
fn recover_of_a_file_with_a_flipped_bit_quarantines_it() {
    let (_parent, directory) = open();
    let whole = request(5);
    let name = file_name::format(directory.put(1, &whole));
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        fs::write(directory.path.join(&name), damaged).unwrap();
        let found = directory.recover().unwrap();
        assert!(matches!(found[..], [Found::Quarantined(QuarantineReason::Corrupt, _)]), "{bit}: {found:?}");
        fs::remove_file(directory.path.join(QUARANTINE).join(&name)).unwrap();
    }
}

#[test]
fn recover_counts_events_from_the_content_and_corrects_the_name() {
    let (_parent, directory) = open();
    let whole = request(5);
    for name in [other_name(1, &whole), format!(".{}.tmp", other_name(2, &whole))] {
        fs::write(directory.path.join(name), &whole).unwrap();
    }
    let mut found = directory.recover().unwrap();
    found.sort_by_key(|found| format!("{found:?}"));
    let files = [1, 2].map(|sequence| file(sequence, &whole));
    assert_eq!(found, files.map(Found::Request));
    assert_eq!(names(&directory.path), files.map(file_name::format));
}

#[test]
fn recover_of_a_copy_loses_no_event() {
    let (_parent, directory) = open();
    let whole = request(5);
    let original = directory.put(1, &whole);
    fs::write(directory.path.join(other_name(1, &whole)), &whole).unwrap();
    let partial = file_name::format_temporary(original);
    fs::write(directory.path.join(&partial), &whole[..whole.len() / 2]).unwrap();
    let mut found = directory.recover().unwrap();
    found.sort_by_key(|found| format!("{found:?}"));
    let copy = || Found::Quarantined(QuarantineReason::Corrupt, 0);
    assert_eq!(found, [copy(), copy(), Found::Request(original)]);
}

#[test]
fn quarantine_overwrites_no_file() {
    let (_parent, directory) = open();
    for text in ["first", "second", "third"] {
        fs::write(directory.path.join("notes"), text).unwrap();
        directory.recover().unwrap();
    }
    let quarantined = directory.path.join(QUARANTINE);
    assert_eq!(names(&quarantined), ["notes", "notes.1", "notes.2"]);
    assert_eq!(fs::read(quarantined.join("notes.2")).unwrap(), b"third");
}

#[test]
fn read_of_a_damaged_file_is_corrupt() {
    let (_parent, directory) = open();
    let mut request = request(5);
    let file = directory.put(1, &request);
    // The middle of a text, which leaves the framing valid.
    let middle = request.len() / 2;
    request[middle] ^= 1;
    fs::write(directory.file_path(file), request).unwrap();
    assert_eq!(directory.read(file).unwrap(), ReadResult::Corrupt);
    assert_eq!(names(&directory.path.join(QUARANTINE)), [file_name::format(file)]);
}

#[test]
fn directory_removed_meanwhile_is_created_and_locked_again() {
    let (_parent, directory) = open();
    let first = directory.put(1, &request(5));
    fs::remove_dir_all(&directory.path).unwrap();
    assert_eq!(directory.read(first).unwrap(), ReadResult::Missing);
    directory.remove(first).unwrap();
    let second = directory.put(2, &request(5));
    assert_eq!(names(&directory.path), [file_name::format(second)]);
    assert!(Directory::open(&directory.path).is_err(), "it is locked");
}

#[test]
fn directory_locked_by_another_process_meanwhile_is_left_alone() {
    let (_parent, directory) = open();
    fs::remove_dir_all(&directory.path).unwrap();
    let other = Directory::open(&directory.path).unwrap();
    let error = directory.write(file(1, &request(5)), &request(5)).unwrap_err();
    assert!(error.to_string().contains("another process uses it"), "{error}");
    assert_eq!(names(&other.path), [""; 0]);
}

#[test]
fn write_that_fails_leaves_no_file() {
    let (_parent, directory) = open();
    // A directory of that name: the last step fails.
    let file = file(1, &request(5));
    fs::create_dir(directory.file_path(file)).unwrap();
    assert!(directory.write(file, &request(5)).is_err());
    assert_eq!(names(&directory.path), [file_name::format(file)]);
}

#[test]
fn recover_leaves_the_former_quarantine_folder() {
    let (_parent, directory) = open();
    fs::create_dir(directory.path.join("set-aside")).unwrap();
    assert_eq!(directory.recover().unwrap(), []);
    assert_eq!(names(&directory.path), ["set-aside"]);
}

#[test]
fn recover_of_a_directory_with_an_unknown_folder_is_an_error() {
    let (_parent, directory) = open();
    fs::create_dir(directory.path.join("conf.d")).unwrap();
    fs::write(directory.path.join("passwd"), "").unwrap();
    let error = directory.recover().unwrap_err().to_string();
    assert!(error.contains("it contains the directory \"conf.d\""), "{error}");
    assert_eq!(names(&directory.path), ["conf.d", "passwd"]);
}
