//! Finds the word of a running text that a byte belongs to, and whether that word is a path.

/// The word around a byte. Positions must go from left to right. No byte is read more than twice, and
/// words in between are not read at all, because policies are long.
#[derive(Default)]
pub(super) struct WordScanner {
    seen: usize,
    pub(super) start: usize,
    /// Where the part before the first slash begins, after bytes that no host and no path begins with.
    head: usize,
    has_slash: bool,
    /// Whether that part has a dot, and whether it has anything else.
    dotted: bool,
    named: bool,
}

impl WordScanner {
    /// Returns the word of the byte at `at`, as far as that byte.
    pub(super) fn word_at(&mut self, bytes: &[u8], at: usize) -> &WordScanner {
        let unseen = bytes.get(self.seen..at).unwrap_or_default();
        if let Some(end) = unseen.iter().rposition(ends_url) {
            let start = self.seen + end + 1;
            *self = WordScanner { seen: start, start, head: start, ..WordScanner::default() };
        }
        for (position, byte) in bytes.iter().enumerate().take(at).skip(self.seen) {
            self.advance(position, *byte);
        }
        self.seen = at;
        self
    }

    fn advance(&mut self, at: usize, byte: u8) {
        match byte {
            _ if self.has_slash => {}
            b'/' => self.has_slash = true,
            b'.' => self.dotted = true,
            // A port.
            b':' if self.dotted && self.named => {}
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' | b'%' => self.named = true,
            _ => *self = WordScanner { start: self.start, head: at + 1, ..WordScanner::default() },
        }
    }

    /// Returns whether a slash at `at` is the first one of a path: `/a`, `../a`, `cdn.example/a`. Words
    /// such as `text/html` and hashes in base64 have no dot before it.
    pub(super) fn path_begins_at(&self, at: usize) -> bool {
        !self.has_slash && (self.dotted || self.head == at)
    }

    /// Returns whether nothing stands before that slash.
    pub(super) fn is_empty_before(&self, at: usize) -> bool {
        self.head == at
    }

    /// Returns whether the word is a path, and its first slash was read.
    pub(super) fn is_path(&self) -> bool {
        self.is_rooted_path() || (self.has_slash && self.dotted)
    }

    /// Returns whether the word is such a path, and begins with its slash or with dots.
    pub(super) fn is_rooted_path(&self) -> bool {
        self.has_slash && !self.named
    }
}

pub(super) const fn byte_set(bytes: &[u8]) -> [bool; 256] {
    let mut set = [false; 256];
    let mut at = 0;
    while at < bytes.len() {
        set[bytes[at] as usize] = true;
        at += 1;
    }
    set
}

pub(super) fn ends_url(byte: &u8) -> bool {
    matches!(
        byte,
        0..=b' ' | 0x7f | b'"' | b'\'' | b'`' | b'<' | b'>' | b'(' | b')' | b'{' | b'}' | b'|' | b',' | b';'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn word_is_a_path_if_it_begins_with_a_slash_dots_or_a_host() {
        for (text, path, rooted) in [
            ("/a", true, true),
            ("see /a", true, true),
            ("../a", true, true),
            ("fetch('/a", true, true),
            ("src=/a", true, true),
            ("\\/a", true, true),
            ("cdn.example/a", true, false),
            ("cdn.example:8443/a", true, false),
            ("f@cdn.example/a", true, false),
            ("text/html", false, false),
            ("sha256-ab/cd", false, false),
            ("a/b.c/d", false, false),
        ] {
            let mut scanner = WordScanner::default();
            let word = scanner.word_at(text.as_bytes(), text.len());
            assert_eq!((word.is_path(), word.is_rooted_path()), (path, rooted), "{text}");
            let slash = text.find('/').unwrap();
            let mut scanner = WordScanner::default();
            assert_eq!(scanner.word_at(text.as_bytes(), slash).path_begins_at(slash), path, "{text}");
        }
    }
}
