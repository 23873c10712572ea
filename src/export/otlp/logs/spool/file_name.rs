//! How the spool names its files: by the order in which their events came, which is the order in which
//! they are sent, and by how many events they hold, so that a start need not read them all.

use std::fmt;

/// The name of a file with one `ExportLogsServiceRequest`: `00000000000000000042-512.binpb`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileName {
    /// Its place in the order.
    pub(super) sequence: u64,
    /// The log records that it holds.
    pub(super) events: u64,
}

/// As Buf and protoc call a file with one binary message.
const SUFFIX: &str = ".binpb";
/// Far more than any spool has counted to, and far enough from the end that counting goes on from there.
const MAX_SEQUENCE: u64 = u64::MAX / 2;
/// Far more than a batch holds, and so few that sums of them do not overflow.
const MAX_EVENTS: u64 = 1 << 32;

impl FileName {
    /// Reads a name as `Display` writes it, and in no other spelling.
    pub(super) fn parse(text: &str) -> Option<FileName> {
        let (sequence, events) = text.strip_suffix(SUFFIX)?.split_once('-')?;
        let name = FileName { sequence: sequence.parse().ok()?, events: events.parse().ok()? };
        let is_sane = name.sequence <= MAX_SEQUENCE && name.events <= MAX_EVENTS;
        (is_sane && name.to_string() == text).then_some(name)
    }

    /// The name while the file is being written: hidden, and none that `parse` reads.
    pub(super) fn temporary(self) -> String {
        format!(".{self}.tmp")
    }

    /// Reads such a temporary name.
    pub(super) fn parse_temporary(text: &str) -> Option<FileName> {
        FileName::parse(text.strip_prefix('.')?.strip_suffix(".tmp")?)
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:020}-{}{SUFFIX}", self.sequence, self.events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_they_count_and_are_read_back() {
        let names =
            [(9, 512), (10, 1), (MAX_SEQUENCE, 0)].map(|(sequence, events)| FileName { sequence, events });
        let texts = names.map(|name| name.to_string());
        assert_eq!(texts[0], "00000000000000000009-512.binpb");
        assert!(texts.is_sorted());
        for (name, text) in names.into_iter().zip(texts) {
            assert_eq!(FileName::parse(&text), Some(name));
            assert_eq!(FileName::parse(&name.temporary()), None);
            assert_eq!(FileName::parse_temporary(&name.temporary()), Some(name));
        }
    }

    #[test]
    fn other_names_are_foreign() {
        for text in [
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
            assert_eq!(FileName::parse(text), None, "{text}");
        }
    }
}
