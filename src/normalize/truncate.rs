//! Truncates texts visibly.

use std::borrow::Cow;

/// Stands where something was cut off.
pub(super) const TRUNCATION_MARK: &str = "…";

/// Truncates a text to at most `max` bytes; a truncated text ends in [`TRUNCATION_MARK`].
pub(super) fn truncate(text: Cow<'_, str>, max: usize) -> Cow<'_, str> {
    if text.len() <= max {
        return text;
    }
    let end = text.floor_char_boundary(max - TRUNCATION_MARK.len());
    Cow::Owned([&text[..end], TRUNCATION_MARK].concat())
}

/// Truncates a text to at most `max` characters, in the same way.
pub(super) fn truncate_chars(text: Cow<'_, str>, max: usize) -> Cow<'_, str> {
    if text.len() <= max {
        return text;
    }
    match text.char_indices().nth(max - 1) {
        Some((end, last)) if end + last.len_utf8() < text.len() => {
            Cow::Owned([&text[..end], TRUNCATION_MARK].concat())
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_over_the_limit_ends_in_an_ellipsis() {
        assert_eq!(truncate("aé".into(), 3), "aé");
        assert_eq!(truncate("aéé".into(), 4), "a…");
        assert_eq!(truncate_chars("éé".into(), 2), "éé");
        assert_eq!(truncate_chars("ééé".into(), 2), "é…");
    }
}
