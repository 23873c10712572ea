//! Names of the spool's files. They sort in the order of sending, and contain the number of events,
//! so that the start need not read every file.

use crate::export::otlp::logs::batch::BatchId;

/// Suffix of a file with one binary message, as Buf and protoc use it.
const SUFFIX: &str = ".binpb";
/// Largest sequence: far beyond any real one, and far enough from overflow to continue after it.
const MAX_SEQUENCE: u64 = u64::MAX / 2;
/// Largest number of events: far beyond that of any batch, and small enough to sum without overflow.
const MAX_EVENTS: u64 = 1 << 32;

/// Formats the name of a batch's file: `00000000000000000042-512.binpb`.
pub(super) fn format(id: BatchId) -> String {
    format!("{:020}-{}{SUFFIX}", id.sequence, id.events)
}

/// Parses a name, in the spelling of [`format`] only.
pub(super) fn parse(name: &str) -> Option<BatchId> {
    let (sequence, events) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    let id = BatchId { sequence: sequence.parse().ok()?, events: events.parse().ok()? };
    (id.sequence <= MAX_SEQUENCE && id.events <= MAX_EVENTS && format(id) == name).then_some(id)
}

/// Formats the name while the file is being written: hidden, and rejected by [`parse`].
pub(super) fn format_temporary(id: BatchId) -> String {
    format!(".{}.tmp", format(id))
}

pub(super) fn parse_temporary(name: &str) -> Option<BatchId> {
    parse(name.strip_prefix('.')?.strip_suffix(".tmp")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_by_sequence_and_are_parsed() {
        let ids =
            [(9, 512), (10, 1), (MAX_SEQUENCE, 0)].map(|(sequence, events)| BatchId { sequence, events });
        let names = ids.map(format);
        assert_eq!(names[0], "00000000000000000009-512.binpb");
        assert!(names.is_sorted());
        for (id, name) in ids.into_iter().zip(names) {
            assert_eq!(parse(&name), Some(id));
            assert_eq!(parse(&format_temporary(id)), None);
            assert_eq!(parse_temporary(&format_temporary(id)), Some(id));
        }
    }

    #[test]
    fn name_in_another_spelling_is_unrecognized() {
        for name in [
            "",
            "9-512.binpb",
            "00000000000000000009-512.binpb.bak",
            "00000000000000000009-+5.binpb",
            "00000000000000000009-05.binpb",
            "00000000000000000009.binpb",
            "99999999999999999999-1.binpb",
            "18446744073709551615-1.binpb",
            "00000000000000000009-18446744073709551615.binpb",
            "README",
        ] {
            assert_eq!(parse(name), None, "{name}");
        }
    }
}
