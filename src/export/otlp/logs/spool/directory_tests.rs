//! The directory against what disks, people and kills do to it.

use std::os::unix::fs::PermissionsExt;

use opentelemetry_proto::tonic::resource::v1::Resource;
use tempfile::TempDir;

use super::*;
use crate::export::otlp::log_request::LogRequestEncoder;
use crate::export::otlp::testing::fake_collector;

fn request(events: usize) -> Vec<u8> {
    LogRequestEncoder::new(&Resource::default()).request(&fake_collector::records(events).0).to_vec()
}

fn name(sequence: u64, events: u64) -> FileName {
    FileName { sequence, events }
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
fn what_is_written_is_read_back_and_only_the_owner_can() {
    let (_parent, directory) = open();
    let request = request(3);
    directory.write(name(7, 3), &request).unwrap();
    assert_eq!(names(&directory.path), ["00000000000000000007-3.binpb"]);
    let path = directory.path.join("00000000000000000007-3.binpb");
    assert_eq!((mode(&directory.path), mode(&path)), (0o700, 0o600));
    assert_eq!(fs::read(&path).unwrap(), request, "as a collector takes it");
    assert_eq!(directory.read(name(7, 3)).unwrap(), ReadResult::Request(request));
    directory.remove(name(7, 3)).unwrap();
    directory.remove(name(7, 3)).unwrap();
    assert_eq!(directory.read(name(7, 3)).unwrap(), ReadResult::Missing);
    assert_eq!(names(&directory.path), [""; 0]);
}

#[test]
fn only_one_process_has_it() {
    let (_parent, directory) = open();
    let refused = Directory::open(&directory.path).unwrap_err();
    let path = directory.path.display();
    assert_eq!(
        refused,
        format!(
            "delivery.spool.directory: cannot use {path} as the spool: another process spools there; give \
             each process a directory of its own"
        )
    );
    let path = directory.path.clone();
    drop(directory);
    assert!(Directory::open(&path).is_ok());
}

#[test]
fn a_place_where_nothing_can_be_written_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let refused = Directory::open(&file.path().join("spool")).unwrap_err();
    assert!(refused.contains("as the spool: Not a directory"), "{refused}");
    // Nothing can be created there, not even by root.
    let refused = Directory::open(Path::new("/proc/self")).unwrap_err();
    assert!(
        refused.starts_with("delivery.spool.directory: cannot use /proc/self as the spool: "),
        "{refused}"
    );
}

#[test]
fn what_is_no_whole_request_is_set_aside_when_it_is_opened() {
    let (_parent, directory) = open();
    let whole = request(5);
    directory.write(name(1, 5), &whole).unwrap();
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
        Found::Request(name(1, 5), bytes),
        // It was written and not yet renamed.
        Found::Request(name(4, 5), bytes),
        Found::Quarantined(QuarantineReason::Unrecognized, 0),
        Found::Quarantined(QuarantineReason::Corrupt, 2),
        Found::Quarantined(QuarantineReason::Corrupt, 5),
        Found::Quarantined(QuarantineReason::Corrupt, 6),
    ];
    assert_eq!(found, expected);
    let left = ["00000000000000000001-5.binpb", "00000000000000000004-5.binpb", "lost+found", "quarantine"];
    assert_eq!(names(&directory.path), left);
    let aside = [
        ".00000000000000000005-6.binpb.tmp",
        "00000000000000000002-5.binpb",
        "00000000000000000003-2.binpb",
        "notes.txt",
    ];
    assert_eq!(names(&directory.path.join(QUARANTINE)), aside);
    assert_eq!(directory.read(name(4, 5)).unwrap(), ReadResult::Request(whole));
    assert_eq!(directory.recover().unwrap().len(), 2, "it is healed");
}

#[test]
fn nothing_that_was_set_aside_is_overwritten() {
    let (_parent, directory) = open();
    for text in ["first", "second", "third"] {
        fs::write(directory.path.join("notes"), text).unwrap();
        directory.recover().unwrap();
    }
    let aside = directory.path.join(QUARANTINE);
    assert_eq!(names(&aside), ["notes", "notes.1", "notes.2"]);
    assert_eq!(fs::read(aside.join("notes.2")).unwrap(), b"third");
}

#[test]
fn damage_inside_a_file_shows_when_it_is_read() {
    let (_parent, directory) = open();
    directory.write(name(1, 6), &request(5)).unwrap();
    assert_eq!(directory.read(name(1, 6)).unwrap(), ReadResult::Corrupt);
    assert_eq!(names(&directory.path.join(QUARANTINE)), ["00000000000000000001-6.binpb"]);
}

#[test]
fn a_directory_that_was_removed_is_made_anew_and_taken_again() {
    let (_parent, directory) = open();
    directory.write(name(1, 5), &request(5)).unwrap();
    fs::remove_dir_all(&directory.path).unwrap();
    assert_eq!(directory.read(name(1, 5)).unwrap(), ReadResult::Missing);
    directory.remove(name(1, 5)).unwrap();
    directory.write(name(2, 5), &request(5)).unwrap();
    assert_eq!(names(&directory.path), ["00000000000000000002-5.binpb"]);
    assert!(Directory::open(&directory.path).is_err(), "it is locked");
}

#[test]
fn a_directory_that_somebody_else_took_meanwhile_is_left_to_them() {
    let (_parent, directory) = open();
    fs::remove_dir_all(&directory.path).unwrap();
    let other = Directory::open(&directory.path).unwrap();
    let refused = directory.write(name(1, 5), &request(5)).unwrap_err();
    assert!(refused.to_string().contains("another process spools there"), "{refused}");
    assert_eq!(names(&other.path), [""; 0]);
}

#[test]
fn a_write_that_fails_leaves_nothing_behind() {
    let (_parent, directory) = open();
    // A directory of that name: the last step fails.
    fs::create_dir(directory.path.join(name(1, 5).to_string())).unwrap();
    assert!(directory.write(name(1, 5), &request(5)).is_err());
    assert_eq!(names(&directory.path), [name(1, 5).to_string()]);
}
