//! A body as a sequence of JSON values: the items of a batch, or the one object there is.
//!
//! Nearly every body is read in one pass without copying. The few that this fails for are mended as
//! text and taken apart item by item, so that one bad item costs only itself.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::decode::NotJson;
use crate::outcome::Rejection;
use crate::value::{ReadValue, Value};

type Each<'e> = &'e mut dyn FnMut(Result<Value<'_>, Rejection>);

/// Hands every item to `each`; what is beyond `max` items is `Excess`.
pub(super) fn read(body: &[u8], max: usize, each: Each<'_>) -> Result<(), NotJson> {
    // Checking the body's UTF-8 as a whole is faster than string by string.
    if let Ok(text) = std::str::from_utf8(body)
        && let Some(document) = Document::read(text, max)
    {
        document.hand_over(each);
        return Ok(());
    }
    read_item_by_item(&mend(body), max, each)
}

/// The items of a body that was read in one pass.
struct Document<'a> {
    items: Vec<Value<'a>>,
    excess: u64,
}

impl<'a> Document<'a> {
    fn read(text: &'a str, max: usize) -> Option<Document<'a>> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let document = deserializer.deserialize_any(ReadDocument { max }).ok()?;
        deserializer.end().is_ok().then_some(document)
    }

    fn hand_over(self, each: Each<'_>) {
        self.items.into_iter().for_each(|item| each(Ok(item)));
        (0..self.excess).for_each(|_| each(Err(Rejection::Excess)));
    }
}

struct ReadDocument {
    max: usize,
}

impl<'de> Visitor<'de> for ReadDocument {
    type Value = Document<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of reports, or one report")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Document<'de>, A::Error> {
        let mut document = Document { items: Vec::new(), excess: 0 };
        while document.items.len() < self.max {
            match elements.next_element_seed(ReadValue)? {
                Some(item) => document.items.push(item),
                None => return Ok(document),
            }
        }
        while elements.next_element::<IgnoredAny>()?.is_some() {
            document.excess += 1;
        }
        Ok(document)
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Document<'de>, A::Error> {
        Ok(Document { items: vec![ReadValue.visit_map(members)?], excess: 0 })
    }
}

/// The slow way, for bodies that are not plain valid JSON or nest deeper than serde_json follows.
/// `RawValue` skips over an item without recursion, whatever its depth.
fn read_item_by_item(text: &str, max: usize, each: Each<'_>) -> Result<(), NotJson> {
    let items: Vec<&RawValue> = match text.trim_start().as_bytes().first() {
        Some(b'[') => serde_json::from_str(text).map_err(|_| NotJson)?,
        _ => vec![serde_json::from_str(text).map_err(|_| NotJson)?],
    };
    for (position, item) in items.into_iter().enumerate() {
        if position >= max {
            each(Err(Rejection::Excess));
            continue;
        }
        let mut deserializer = serde_json::Deserializer::from_str(item.get());
        each(ReadValue.deserialize(&mut deserializer).map_err(|_| Rejection::Unreadable));
    }
    Ok(())
}

/// Mends what browsers and intermediaries are known to get wrong in otherwise good JSON: a byte order
/// mark, bytes that are not UTF-8, and escapes of half a surrogate pair (samples are cut after 40
/// UTF-16 units, emoji or not). What cannot be known becomes U+FFFD.
fn mend(body: &[u8]) -> Cow<'_, str> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    match String::from_utf8_lossy(body) {
        Cow::Borrowed(text) => mend_surrogates(text),
        Cow::Owned(text) => Cow::Owned(mend_surrogates(&text).into_owned()),
    }
}

fn mend_surrogates(text: &str) -> Cow<'_, str> {
    let mut mended = String::new();
    let (mut done, mut at) = (0, 0);
    while let Some(found) = memchr::memchr(b'\\', &text.as_bytes()[at..]) {
        let escape = at + found;
        // The escaped character is passed over whole, so that `\\ud800` stays text.
        at = (escape + 2).min(text.len());
        let Some(unit) = utf16_escape(text, escape) else { continue };
        at = escape + 6;
        if is_high(unit) && utf16_escape(text, at).is_some_and(is_low) {
            at += 6;
        } else if is_high(unit) || is_low(unit) {
            mended.push_str(&text[done..escape]);
            mended.push_str("\\ufffd");
            done = at;
        }
    }
    if done == 0 {
        return Cow::Borrowed(text);
    }
    mended.push_str(&text[done..]);
    Cow::Owned(mended)
}

/// The UTF-16 unit of an escape `\uXXXX` that starts there.
fn utf16_escape(text: &str, at: usize) -> Option<u16> {
    let digits = text.as_bytes().get(at..at + 6)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn is_high(unit: u16) -> bool {
    (0xd800..0xdc00).contains(&unit)
}

fn is_low(unit: u16) -> bool {
    (0xdc00..0xe000).contains(&unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lone_surrogates_are_replaced() {
        assert_eq!(mend_surrogates(r#""\ud83d""#), r#""\ufffd""#);
        assert_eq!(mend_surrogates(r#""\ude00x""#), r#""\ufffdx""#);
        assert_eq!(mend_surrogates(r#""\ud83d\ud83d\ude00""#), r#""\ufffd\ud83d\ude00""#);
        for fine in [r#""\ud83d\ude00""#, r#""\\ud83d""#, r#""\u00e9""#, "\"\\", "\"\\u12", "é\\"] {
            assert_eq!(mend_surrogates(fine), fine);
        }
    }

    #[test]
    fn a_byte_order_mark_and_invalid_utf_8_are_mended() {
        assert_eq!(mend(b"\xef\xbb\xbf{}"), "{}");
        assert_eq!(mend(b"\"\xff\""), "\"\u{fffd}\"");
    }
}
