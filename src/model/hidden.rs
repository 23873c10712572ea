//! Characters that change how the text around them is displayed: controls, line separators and bidirectional
//! controls. Escaped, a text is one line in every terminal and log viewer, and reads as it was sent.

use std::borrow::Cow;
use std::fmt::Write;

/// Returns whether a character is a control, a line separator or a bidirectional control.
pub fn is_hidden(c: char) -> bool {
    let is_separator_or_bidi = matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    is_separator_or_bidi || c.is_control()
}

/// Writes hidden characters as `\u{202E}`; with `keep_lines`, not line feeds and tabs. A text without any is not copied.
pub fn escape_hidden(text: Cow<'_, str>, keep_lines: bool) -> Cow<'_, str> {
    if !may_hide(text.as_bytes()) {
        return text;
    }
    let escapes = |c: char| is_hidden(c) && !(keep_lines && matches!(c, '\n' | '\t'));
    let Some(first) = text.find(escapes) else { return text };
    let mut out = String::with_capacity(text.len() + 16);
    out.push_str(&text[..first]);
    for c in text[first..].chars() {
        if escapes(c) {
            // Writing to a `String` cannot fail.
            _ = write!(out, "\\u{{{:X}}}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Returns whether a text has a byte that hidden characters start with.
fn may_hide(bytes: &[u8]) -> bool {
    has_byte(bytes, |byte| (byte < b' ') | (byte == 0x7f) | (byte == 0xc2) | (byte == 0xd8) | (byte == 0xe2))
}

/// Returns whether any byte is such a one. Without branches within a chunk, so that the compiler vectorizes it.
pub fn has_byte(bytes: &[u8], is: impl Fn(u8) -> bool) -> bool {
    let has = |chunk: &[u8; 16]| chunk.iter().fold(false, |found, byte| found | is(*byte));
    match bytes.last_chunk() {
        Some(last) => bytes.as_chunks().0.iter().any(has) || has(last),
        None => bytes.iter().any(|byte| is(*byte)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_are_escaped() {
        for (text, escaped) in [
            ("a\rb\nc\td", "a\\u{D}b\\u{A}c\\u{9}d"),
            ("\u{1b}[31m\u{7f}\u{85}\u{9b}", "\\u{1B}[31m\\u{7F}\\u{85}\\u{9B}"),
            ("a\u{2028}b\u{2029}\u{202e}gpj.exe\u{2066}", "a\\u{2028}b\\u{2029}\\u{202E}gpj.exe\\u{2066}"),
            ("\u{61c}\u{200e}\u{200f}", "\\u{61C}\\u{200E}\\u{200F}"),
            ("é – “…” 日本\u{a0}👩\u{200d}💻", "é – “…” 日本\u{a0}👩\u{200d}💻"),
        ] {
            assert_eq!(escape_hidden(text.into(), false), escaped, "{text:?}");
        }
        assert_eq!(escape_hidden("a\n\tb\r\n".into(), true), "a\n\tb\\u{D}\n");
    }

    /// The scan for first bytes misses none.
    #[test]
    fn every_hidden_character_is_found() {
        for c in ('\0'..=char::MAX).filter(|c| is_hidden(*c)) {
            let text = format!("{}{c}", "x".repeat(100));
            assert!(matches!(escape_hidden(Cow::Borrowed(&text), false), Cow::Owned(_)), "{c:?}");
        }
    }

    #[test]
    fn text_without_hidden_characters_is_not_copied() {
        for text in ["plain", "", "é – …", "line\nline"] {
            assert!(matches!(escape_hidden(Cow::Borrowed(text), true), Cow::Borrowed(_)), "{text}");
        }
    }
}
