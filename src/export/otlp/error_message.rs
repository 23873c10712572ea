//! What a collector says is put into log lines, so it is made fit for them here: one line, of bounded
//! length, whatever was sent.

use std::error::Error;

/// Most characters kept of a message from outside.
const MAX_CHARS: usize = 512;

/// The text as one bounded line: control characters escaped, and what is too long cut with `…`.
pub fn sanitize(text: &str) -> String {
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

/// An error and its causes as one bounded line. Libraries tend to repeat a cause in the text above
/// it; what has been said is not said again.
pub fn error_chain(error: &dyn Error) -> String {
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
    fn control_characters_and_length_are_tamed() {
        assert_eq!(sanitize(" a\nb\u{1b}[31m "), "a\\nb\\u{1b}[31m");
        let long = sanitize(&"é".repeat(MAX_CHARS + 1));
        assert_eq!(long.chars().count(), MAX_CHARS + 1);
        assert!(long.ends_with("é…"));
    }

    #[test]
    fn causes_are_joined_without_repetition() {
        let inner = std::io::Error::other("refused");
        let outer = std::io::Error::other(inner);
        assert_eq!(error_chain(&outer), "refused");
    }
}
