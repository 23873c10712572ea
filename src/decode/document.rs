//! A body as a sequence of JSON values: the items of a batch, or the one object there is.
//!
//! Nearly every body is read in one pass without copying. The few that this fails for are repaired
//! as text and taken apart item by item, so that one bad item costs only itself.

use std::borrow::Cow;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::decode::DecodeError;
use crate::model::{RejectReason, Value, ValueBudget, ValueSeed};

/// Items that a batch of them has room for at first.
const FIRST_ITEMS: usize = 4;

type ItemSink<'e> = &'e mut dyn FnMut(Result<Value<'_>, RejectReason>);

/// Hands every item to `each`; what is beyond `max` items is `OverLimit`.
pub(super) fn parse(body: &[u8], max: usize, each: ItemSink<'_>) -> Result<(), DecodeError> {
    // Checking the body's UTF-8 as a whole is faster than string by string.
    if let Ok(text) = std::str::from_utf8(body)
        && let Some(document) = Document::parse(text, max)
    {
        document.emit(each);
        return Ok(());
    }
    decode_items_individually(&repair(body), max, each)
}

/// The items of a body that was read in one pass.
struct Document<T> {
    items: Vec<T>,
    excess: u64,
}

impl<'a> Document<Value<'a>> {
    /// `None`: it is no plain valid JSON, or all items together exceed the budget of the body.
    fn parse(text: &'a str, max: usize) -> Option<Self> {
        let budget = ValueBudget::new(text.len());
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let read = DocumentVisitor { max, budget: &budget, item: ValueSeed::new(&budget) };
        let document = deserializer.deserialize_any(read).ok()?;
        deserializer.end().is_ok().then_some(document)
    }

    fn emit(self, each: ItemSink<'_>) {
        self.items.into_iter().for_each(|item| each(Ok(item)));
        (0..self.excess).for_each(|_| each(Err(RejectReason::OverLimit)));
    }
}

/// Reads an array of items, or one item, each with a seed.
struct DocumentVisitor<'b, S> {
    max: usize,
    budget: &'b ValueBudget,
    item: S,
}

impl<'de, S: DeserializeSeed<'de> + Copy> Visitor<'de> for DocumentVisitor<'_, S> {
    type Value = Document<S::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of reports, or one report")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut document = Document { items: Vec::new(), excess: 0 };
        while document.items.len() < self.max {
            match elements.next_element_seed(self.item)? {
                Some(item) => self.budget.push(&mut document.items, FIRST_ITEMS, item)?,
                None => return Ok(document),
            }
        }
        while elements.next_element::<IgnoredAny>()?.is_some() {
            document.excess += 1;
        }
        Ok(document)
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Self::Value, A::Error> {
        let item = self.item.deserialize(MapAccessDeserializer::new(members))?;
        Ok(Document { items: vec![item], excess: 0 })
    }
}

/// Reads the text of an item without a look into it.
#[derive(Clone, Copy)]
struct ReadRaw;

impl<'de> DeserializeSeed<'de> for ReadRaw {
    type Value = &'de RawValue;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<&'de RawValue, D::Error> {
        Deserialize::deserialize(deserializer)
    }
}

/// The slow way, for bodies that are not plain valid JSON, nest deeper than serde_json follows or exceed
/// the budget. `RawValue` skips over an item without recursion, whatever its depth. The values of one
/// item at a time are in memory.
fn decode_items_individually(text: &str, max: usize, each: ItemSink<'_>) -> Result<(), DecodeError> {
    let (items, excess) = match text.trim_start().as_bytes().first() {
        Some(b'[') => {
            let budget = ValueBudget::new(text.len());
            let mut deserializer = serde_json::Deserializer::from_str(text);
            let read = DocumentVisitor { max, budget: &budget, item: ReadRaw };
            let document = deserializer.deserialize_seq(read).map_err(|_| DecodeError::InvalidJson)?;
            deserializer.end().map_err(|_| DecodeError::InvalidJson)?;
            (document.items, document.excess)
        }
        _ => (vec![serde_json::from_str(text).map_err(|_| DecodeError::InvalidJson)?], 0),
    };
    for item in items {
        each(read_item(item.get()));
    }
    (0..excess).for_each(|_| each(Err(RejectReason::OverLimit)));
    Ok(())
}

fn read_item(text: &str) -> Result<Value<'_>, RejectReason> {
    let budget = ValueBudget::new(text.len());
    let item = ValueSeed::new(&budget).deserialize(&mut serde_json::Deserializer::from_str(text));
    item.map_err(|_| match budget.is_exceeded() {
        true => RejectReason::TooManyValues,
        false => RejectReason::Unparsable,
    })
}

/// Repairs what browsers and intermediaries are known to get wrong in otherwise good JSON: a byte order
/// mark, bytes that are not UTF-8, and escapes of half a surrogate pair (samples are cut after 40
/// UTF-16 units, emoji or not). What cannot be known becomes U+FFFD.
fn repair(body: &[u8]) -> Cow<'_, str> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let mut text =
        std::str::from_utf8(body).map_or_else(|_| Cow::Owned(replace_invalid(body)), Cow::Borrowed);
    replace_half_pairs(&mut text);
    text
}

/// U+FFFD for what is not UTF-8, and `?` once the text has grown by a quarter, because a replacement
/// is three times as long as the byte that it stands for.
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

/// Replaces escapes of half a surrogate pair by one of U+FFFD, which is as long.
fn replace_half_pairs(text: &mut Cow<'_, str>) {
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'\\', &text.as_bytes()[at..]) {
        let escape = at + found;
        // The escaped character is passed over whole, so that `\\ud800` stays text.
        at = (escape + 2).min(text.len());
        let Some(unit) = utf16_escape(text, escape) else { continue };
        at = escape + 6;
        if is_high(unit) && utf16_escape(text, at).is_some_and(is_low) {
            at += 6;
        } else if is_high(unit) || is_low(unit) {
            text.to_mut().replace_range(escape..at, "\\ufffd");
        }
    }
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
        assert_eq!(repair(br#""\ud83d""#), r#""\ufffd""#);
        assert_eq!(repair(br#""\ude00x""#), r#""\ufffdx""#);
        assert_eq!(repair(br#""\ud83d\ud83d\ude00""#), r#""\ufffd\ud83d\ude00""#);
        for fine in [r#""\ud83d\ude00""#, r#""\\ud83d""#, r#""\u00e9""#, "\"\\", "\"\\u12", "é\\"] {
            assert_eq!(repair(fine.as_bytes()), fine);
        }
    }

    #[test]
    fn a_byte_order_mark_and_invalid_utf_8_are_repaired() {
        assert_eq!(repair(b"\xef\xbb\xbf{}"), "{}");
        assert_eq!(repair(b"\"\xff\""), "\"\u{fffd}\"");
    }

    #[test]
    fn a_repaired_text_grows_by_a_quarter_at_most() {
        let text = replace_invalid(&[0xff; 100_000]);
        assert_eq!(text.chars().count(), 100_000);
        assert!(text.starts_with('\u{fffd}') && text.ends_with('?'));
        assert!((120_000..=126_024).contains(&text.len()), "{}", text.len());
        assert_eq!(text.capacity(), 126_024);
    }
}
