//! Texts of collectors and errors, made fit for log lines: one line of bounded length.

use std::borrow::Cow;
use std::error::Error;

use crate::model::escape_hidden;

/// Most characters kept of a text.
const MAX_CHARS: usize = 512;

/// Returns the text as one line: hidden characters are escaped, a long one is truncated with `…`.
pub(crate) fn sanitize(text: &str) -> String {
    let text = text.trim();
    let end = text.char_indices().nth(MAX_CHARS).map(|(end, _)| end);
    let line = escape_hidden(Cow::Borrowed(&text[..end.unwrap_or(text.len())]), false);
    if end.is_some() { format!("{line}…") } else { line.into_owned() }
}

/// Returns an error and its causes as one bounded line. A cause that the text above it already
/// contains is left out, because libraries tend to repeat causes.
pub(crate) fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    sanitize(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sanitized_text_is_one_bounded_line() {
        assert_eq!(sanitize(" a\nb\u{1b}[31m "), "a\\u{A}b\\u{1B}[31m");
        let long = sanitize(&"é".repeat(MAX_CHARS + 1));
        assert_eq!(long.chars().count(), MAX_CHARS + 1);
        assert!(long.ends_with("é…"));
    }

    #[test]
    fn error_chain_joins_causes_without_repetition() {
        let inner = std::io::Error::other("refused");
        let outer = std::io::Error::other(inner);
        assert_eq!(error_chain(&outer), "refused");
    }
}
