//! Decodes a body as a sequence of JSON values: the items of an array, or one object.
//!
//! # Design
//! Nearly every body is read in one pass without copying. All others are repaired as
//! text and read item by item, so that an invalid item does not affect the others. Values are charged to
//! a [`ValueBudget`] before they are stored, because JSON such as `[[],[],…]` takes many times its length
//! in memory. Item by item each has its own budget, because only one item is in memory at a time.

use std::borrow::Cow;

use crate::decode::plain::{self, Item};
use crate::model::{RejectReason, UploadOutcome, Value, ValueBudget};

type ItemSink<'e> = &'e mut dyn FnMut(Result<Value<'_>, RejectReason>);

/// Passes every item to `emit`; items after the first `max` are [`RejectReason::OverLimit`].
pub(super) fn decode_items(body: &[u8], max: usize, emit: ItemSink<'_>) -> Result<(), UploadOutcome> {
    // Validating the UTF-8 of the whole body is faster than string by string.
    let text = std::str::from_utf8(body).ok();
    let excess = if let Some((items, excess)) = text.and_then(|text| plain::read(text, max)) {
        for item in items {
            match item {
                Item::Value(value) => emit(Ok(value)),
                Item::Json(json) => emit(decode_item(&repair(json.as_bytes()))),
                Item::TooManyValues => emit(Err(RejectReason::TooManyValues)),
            }
        }
        excess
    } else {
        // It is invalid in part, or exceeds the budget.
        let text = repair(body);
        let (items, excess) = plain::take_apart(&text, max).ok_or(UploadOutcome::InvalidJson)?;
        items.into_iter().for_each(|item| emit(decode_item(item)));
        excess
    };
    (0..excess).for_each(|_| emit(Err(RejectReason::OverLimit)));
    Ok(())
}

fn decode_item(text: &str) -> Result<Value<'_>, RejectReason> {
    let budget = ValueBudget::new(text.len());
    let reason = || if budget.is_exceeded() { RejectReason::TooManyValues } else { RejectReason::Unparsable };
    plain::value(text, &budget).ok_or_else(reason)
}

/// Repairs known defects of otherwise valid JSON: a byte order mark, bytes that are not UTF-8, and escapes of half a
/// surrogate pair (browsers truncate samples after 40 UTF-16 units, even within a pair). What is lost becomes U+FFFD.
fn repair(body: &[u8]) -> Cow<'_, str> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let mut text =
        std::str::from_utf8(body).map_or_else(|_| Cow::Owned(replace_invalid(body)), Cow::Borrowed);
    replace_half_pairs(&mut text);
    text
}

/// Replaces bytes that are not UTF-8 by U+FFFD, and by `?` once the text has grown by a quarter,
/// because U+FFFD is three times as long as the byte.
fn replace_invalid(body: &[u8]) -> String {
    let mut growth = body.len() / 4 + 1024;
    let mut text = String::with_capacity(body.len() + growth);
    for chunk in body.utf8_chunks() {
        text.push_str(chunk.valid());
        match (chunk.invalid().len(), growth.checked_sub(2)) {
            (0, _) => {}
            (_, Some(left)) => {
                growth = left;
                text.push(char::REPLACEMENT_CHARACTER);
            }
            (_, None) => text.push('?'),
        }
    }
    text
}

/// Replaces escapes of half a surrogate pair by the escape of U+FFFD, which has the same length.
fn replace_half_pairs(text: &mut Cow<'_, str>) {
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'\\', &text.as_bytes()[at..]) {
        let escape = at + found;
        // The escaped character is skipped as well, so that `\\ud800` stays text.
        at = (escape + 2).min(text.len());
        let Some(unit) = utf16_escape(text, escape) else { continue };
        at = escape + 6;
        let is_low = |unit: u16| (0xdc00..0xe000).contains(&unit);
        if (0xd800..0xdc00).contains(&unit) && utf16_escape(text, at).is_some_and(is_low) {
            at += 6;
        } else if (0xd800..0xe000).contains(&unit) {
            text.to_mut().replace_range(escape..at, "\\ufffd");
        }
    }
}

/// Returns the UTF-16 unit of the escape `\uXXXX` that starts at this position.
fn utf16_escape(text: &str, at: usize) -> Option<u16> {
    let digits = text.as_bytes().get(at..at + 6)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repair_with_lone_surrogate_replaces_it() {
        assert_eq!(repair(br#""\ud83d""#), r#""\ufffd""#);
        assert_eq!(repair(br#""\ude00x""#), r#""\ufffdx""#);
        assert_eq!(repair(br#""\ud83d\ud83d\ude00""#), r#""\ufffd\ud83d\ude00""#);
        for fine in [r#""\ud83d\ude00""#, r#""\\ud83d""#, r#""\u00e9""#, "\"\\", "\"\\u12", "é\\"] {
            assert_eq!(repair(fine.as_bytes()), fine);
        }
    }

    #[test]
    fn repair_with_byte_order_mark_or_invalid_utf8_yields_valid_text() {
        assert_eq!(repair(b"\xef\xbb\xbf{}"), "{}");
        assert_eq!(repair(b"\"\xff\""), "\"\u{fffd}\"");
    }

    #[test]
    fn replacement_of_invalid_utf8_grows_text_by_a_quarter_at_most() {
        let text = replace_invalid(&[0xff; 100_000]);
        assert_eq!(text.chars().count(), 100_000);
        assert!(text.starts_with('\u{fffd}') && text.ends_with('?'));
        assert!((120_000..=126_024).contains(&text.len()), "{}", text.len());
        assert_eq!(text.capacity(), 126_024);
    }
}
