//! Names of the spool's files. They sort in the order of sending, and contain the checksum of the content. The
//! number of events is in them for people only: events are counted from the content.

use crate::export::otlp::logs::batch::{BatchId, SpoolFile};

/// Suffix of a file with one binary message, as Buf and protoc use it.
const SUFFIX: &str = ".binpb";
/// Largest sequence: far beyond any real one, and far enough from overflow to continue after it.
const MAX_SEQUENCE: u64 = u64::MAX / 2;

/// Formats the name of a batch's file, with its CRC-32C: `00000000000000000042-512-9ae1f03c.binpb`.
pub(super) fn format(file: SpoolFile) -> String {
    format!("{:020}-{}-{:08x}{SUFFIX}", file.id.sequence, file.id.events, file.checksum)
}

/// Parses sequence and checksum of a name, in the spelling of [`format`] only.
pub(super) fn parse(name: &str) -> Option<(u64, u32)> {
    let mut parts = name.strip_suffix(SUFFIX)?.split('-');
    let id = BatchId { sequence: parts.next()?.parse().ok()?, events: parts.next()?.parse().ok()? };
    let checksum = u32::from_str_radix(parts.next()?, 16).ok()?;
    let is_name = format(SpoolFile { id, bytes: 0, checksum }) == name;
    (id.sequence <= MAX_SEQUENCE && is_name).then_some((id.sequence, checksum))
}

/// Formats the name while the file is being written: hidden, and rejected by [`parse`].
pub(super) fn format_temporary(file: SpoolFile) -> String {
    format!(".{}.tmp", format(file))
}

/// Returns the name that a file would have got once it was written.
pub(super) fn strip_temporary(name: &str) -> Option<&str> {
    name.strip_prefix('.')?.strip_suffix(".tmp")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_by_sequence_and_are_parsed() {
        let files =
            [(9, 512, 0), (10, 1, 7), (MAX_SEQUENCE, 0, u32::MAX)].map(|(sequence, events, checksum)| {
                SpoolFile { id: BatchId { sequence, events }, bytes: 0, checksum }
            });
        let names = files.map(format);
        assert_eq!(names[0], "00000000000000000009-512-00000000.binpb");
        assert!(names.is_sorted());
        for (file, name) in files.into_iter().zip(names) {
            assert_eq!(parse(&name), Some((file.id.sequence, file.checksum)));
            assert_eq!(parse(&format_temporary(file)), None);
            assert_eq!(strip_temporary(&format_temporary(file)), Some(&*name));
        }
    }

    #[test]
    fn name_in_another_spelling_is_unrecognized() {
        for name in [
            "",
            "9-512.binpb",
            "00000000000000000009-512.binpb",
            "00000000000000000009-512.binpb.bak",
            "00000000000000000009-+5.binpb",
            "00000000000000000009-05.binpb",
            "00000000000000000009.binpb",
            "99999999999999999999-1.binpb",
            "18446744073709551615-1.binpb",
            "00000000000000000009-512-.binpb",
            "00000000000000000009-512-1.binpb",
            "00000000000000000009-512-0000000A.binpb",
            "00000000000000000009-512-100000000.binpb",
            "00000000000000000009-512-00000000-0.binpb",
            "README",
        ] {
            assert_eq!(parse(name), None, "{name}");
        }
    }
}
