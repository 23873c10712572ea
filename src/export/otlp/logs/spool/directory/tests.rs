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

fn id(sequence: u64, events: u64) -> BatchId {
    BatchId { sequence, events }
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
    directory.write(id(7, 3), &request).unwrap();
    assert_eq!(names(&directory.path), ["00000000000000000007-3.binpb"]);
    let path = directory.path.join("00000000000000000007-3.binpb");
    assert_eq!((mode(&directory.path), mode(&path)), (0o700, 0o600));
    assert_eq!(fs::read(&path).unwrap(), request, "as a collector takes it");
    assert_eq!(directory.read(id(7, 3)).unwrap(), ReadResult::Request(request));
    directory.remove(id(7, 3)).unwrap();
    directory.remove(id(7, 3)).unwrap();
    assert_eq!(directory.read(id(7, 3)).unwrap(), ReadResult::Missing);
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
    directory.write(id(1, 5), &whole).unwrap();
    let put = |name: &str, bytes: &[u8]| fs::write(directory.path.join(name), bytes).unwrap();
    put("00000000000000000002-5.binpb", &whole[..whole.len() - 1]);
    put("00000000000000000003-2.binpb", b"");
    put(".00000000000000000004-5.binpb.tmp", &whole);
    put(".00000000000000000005-6.binpb.tmp", &whole[..9]);
    put("notes.txt", b"mine");
    fs::create_dir(directory.path.join("lost+found")).unwrap();

    let mut found = directory.recover().unwrap();
    found.sort_by_key(|found| format!("{found:?}"));
    let bytes = whole.len() as u64;
    let expected = [
        Found::Quarantined(QuarantineReason::Corrupt, 2),
        Found::Quarantined(QuarantineReason::Corrupt, 5),
        Found::Quarantined(QuarantineReason::Corrupt, 6),
        Found::Quarantined(QuarantineReason::Unrecognized, 0),
        Found::Request(SpoolFile { id: id(1, 5), bytes }),
        // Written and not yet renamed.
        Found::Request(SpoolFile { id: id(4, 5), bytes }),
    ];
    assert_eq!(found, expected);
    let left = ["00000000000000000001-5.binpb", "00000000000000000004-5.binpb", "lost+found", "quarantine"];
    assert_eq!(names(&directory.path), left);
    let quarantined = [
        ".00000000000000000005-6.binpb.tmp",
        "00000000000000000002-5.binpb",
        "00000000000000000003-2.binpb",
        "notes.txt",
    ];
    assert_eq!(names(&directory.path.join(QUARANTINE)), quarantined);
    assert_eq!(directory.read(id(4, 5)).unwrap(), ReadResult::Request(whole));
    assert_eq!(directory.recover().unwrap().len(), 2, "it is repaired");
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
    directory.write(id(1, 6), &request(5)).unwrap();
    assert_eq!(directory.read(id(1, 6)).unwrap(), ReadResult::Corrupt);
    assert_eq!(names(&directory.path.join(QUARANTINE)), ["00000000000000000001-6.binpb"]);
}

#[test]
fn directory_removed_meanwhile_is_created_and_locked_again() {
    let (_parent, directory) = open();
    directory.write(id(1, 5), &request(5)).unwrap();
    fs::remove_dir_all(&directory.path).unwrap();
    assert_eq!(directory.read(id(1, 5)).unwrap(), ReadResult::Missing);
    directory.remove(id(1, 5)).unwrap();
    directory.write(id(2, 5), &request(5)).unwrap();
    assert_eq!(names(&directory.path), ["00000000000000000002-5.binpb"]);
    assert!(Directory::open(&directory.path).is_err(), "it is locked");
}

#[test]
fn directory_locked_by_another_process_meanwhile_is_left_alone() {
    let (_parent, directory) = open();
    fs::remove_dir_all(&directory.path).unwrap();
    let other = Directory::open(&directory.path).unwrap();
    let error = directory.write(id(1, 5), &request(5)).unwrap_err();
    assert!(error.to_string().contains("another process uses it"), "{error}");
    assert_eq!(names(&other.path), [""; 0]);
}

#[test]
fn write_that_fails_leaves_no_file() {
    let (_parent, directory) = open();
    // A directory of that name: the last step fails.
    fs::create_dir(directory.path.join(file_name::format(id(1, 5)))).unwrap();
    assert!(directory.write(id(1, 5), &request(5)).is_err());
    assert_eq!(names(&directory.path), [file_name::format(id(1, 5))]);
}

#[test]
fn recover_moves_files_of_the_former_quarantine_folder() {
    let (_parent, directory) = open();
    for (folder, name, text) in [
        (QUARANTINE, "notes", "present"),
        (FORMER_QUARANTINE, "notes", "former"),
        (FORMER_QUARANTINE, "00000000000000000002-5.binpb", "corrupt"),
    ] {
        fs::create_dir_all(directory.path.join(folder)).unwrap();
        fs::write(directory.path.join(folder).join(name), text).unwrap();
    }
    assert_eq!(directory.recover().unwrap(), []);
    assert_eq!(names(&directory.path), [QUARANTINE]);
    let quarantined = directory.path.join(QUARANTINE);
    assert_eq!(names(&quarantined), ["00000000000000000002-5.binpb", "notes", "notes.1"]);
    assert_eq!(fs::read(quarantined.join("notes")).unwrap(), b"present");
    assert_eq!(fs::read(quarantined.join("notes.1")).unwrap(), b"former");
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
