//! Texts of collectors and errors, made fit for log lines: one line of bounded length.

use std::error::Error;

/// Most characters kept of a text.
const MAX_CHARS: usize = 512;

/// Returns the text as one line: control characters are escaped, a long one is truncated with `…`.
pub(crate) fn sanitize(text: &str) -> String {
    let mut line = String::with_capacity(text.len().min(MAX_CHARS));
    for (position, character) in text.trim().chars().enumerate() {
        if position == MAX_CHARS {
            line.push('…');
            break;
        }
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
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
        assert_eq!(sanitize(" a\nb\u{1b}[31m "), "a\\nb\\u{1b}[31m");
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
