//! Reads JSON as browsers write it, at three quarters of serde_json's cost: the end of a text is found eight bytes at a time,
//! and a value is stored as soon as it is read. What needs more care, such as a Unicode escape or a fraction, is left to
//! serde_json.

use std::borrow::Cow;

use memchr::memchr2;
use serde::Deserialize;
use serde_json::Number;
use serde_json::value::RawValue;

use crate::model::{Object, Value, ValueBudget};

/// Depth of containers in a report that is read here: as many as serde_json reads.
const MAX_DEPTH: u8 = 127;
/// Bytes of a document of which single items may be read apart, with a budget beside that of the others.
const MAX_APART: usize = 64 * 1024;
/// Bytes of a text that are searched without the start-up cost of [`memchr2`].
const SHORT: usize = 24;
/// Digits of an integer that certainly fits `i64`.
const MAX_DIGITS: usize = 18;

/// An item of a document.
pub(super) enum Item<'a> {
    Value(Value<'a>),
    /// Its JSON, to be repaired and read apart.
    Json(&'a str),
    /// It has too many values, also for a budget of its own.
    TooManyValues,
}

/// Reads the items of an array, or one object. Returns also the number of items after the first `max`. `None` if it is
/// invalid, in part or as a whole, or exceeds the budget.
pub(super) fn read(text: &str, max: usize) -> Option<(Vec<Item<'_>>, u64)> {
    let budget = ValueBudget::new(text.len());
    let mut reader = Reader::new(text, &budget);
    let mut items = Vec::new();
    let excess = if reader.next()? == b'[' {
        reader.items(&mut items, max, Reader::item).or_else(|| reader.only_item(&mut items))?
    } else {
        items.push(Item::Value(reader.value(0).filter(|item| item.as_object().is_some())?));
        0
    };
    reader.next().is_none().then_some((items, excess))
}

/// Returns the JSON of each item of an array, or of one value, and the number of items after the first `max`. `None` if it is
/// invalid as a whole.
pub(super) fn take_apart(text: &str, max: usize) -> Option<(Vec<&str>, u64)> {
    let budget = ValueBudget::new(text.len());
    let mut reader = Reader::new(text, &budget);
    let mut items = Vec::new();
    let excess = if reader.next()? == b'[' {
        reader.items(&mut items, max, Reader::skip)?
    } else {
        items.push(reader.skip()?);
        0
    };
    reader.next().is_none().then_some((items, excess))
}

/// Reads a value. `None` if it is invalid or exceeds the budget.
pub(super) fn value<'a>(text: &'a str, budget: &ValueBudget) -> Option<Value<'a>> {
    let mut reader = Reader::new(text, budget);
    reader.value(0).filter(|_| reader.next().is_none())
}

struct Reader<'a, 'b> {
    text: &'a str,
    /// Whether it has control characters. Between values browsers write none, and in a text they are invalid.
    has_controls: bool,
    /// The first byte that is not read.
    at: usize,
    budget: &'b ValueBudget,
}

impl<'a, 'b> Reader<'a, 'b> {
    fn new(text: &'a str, budget: &'b ValueBudget) -> Reader<'a, 'b> {
        let has_controls = text.bytes().fold(false, |found, byte| found | (byte < b' '));
        Reader { text, has_controls, at: 0, budget }
    }

    /// Returns the next byte that is no space, without reading it.
    #[inline]
    fn next(&mut self) -> Option<u8> {
        loop {
            match *self.text.as_bytes().get(self.at)? {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                byte => return Some(byte),
            }
        }
    }

    /// Reads the items of an array. Returns the number of those after the first `max`, which are only counted.
    fn items<T>(
        &mut self,
        items: &mut Vec<T>,
        max: usize,
        read: impl Fn(&mut Self) -> Option<T>,
    ) -> Option<u64> {
        let mut excess = 0;
        self.list(b']', |reader| {
            let item = read(reader)?;
            if items.len() < max {
                return reader.budget.push(items, ValueBudget::ITEMS, item);
            }
            excess += 1;
            Some(())
        })?;
        Some(excess)
    }

    /// Reads an item, or only its extent if it has to be read apart.
    fn item(&mut self) -> Option<Item<'a>> {
        let start = self.at;
        if let Some(value) = self.value(0) {
            return Some(Item::Value(value));
        }
        // Otherwise the values of one item at a time are in memory.
        if self.budget.is_exceeded() || self.text.len() > MAX_APART {
            return None;
        }
        self.at = start;
        self.skip().map(Item::Json)
    }

    /// Skips the only item of a document, which exceeds the budget of all.
    #[cold]
    fn only_item(&mut self, items: &mut Vec<Item<'a>>) -> Option<u64> {
        if !self.budget.is_exceeded() || !items.is_empty() {
            return None;
        }
        self.at = self.text.find('[')? + 1;
        self.skip()?;
        items.push(Item::TooManyValues);
        self.expect(b']').map(|()| 0)
    }

    /// Returns the JSON of the next value.
    fn skip(&mut self) -> Option<&'a str> {
        self.next()?;
        let mut deserializer = serde_json::Deserializer::from_str(&self.text[self.at..]);
        let json = <&RawValue>::deserialize(&mut deserializer).ok()?.get();
        self.at += json.len();
        Some(json)
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then(|| self.at += 1)
    }

    /// Adds to a container at this depth, unless that is too deep to be kept.
    #[inline(always)]
    fn push_within<T>(&self, depth: u8, container: &mut Vec<T>, first: usize, item: T) -> Option<()> {
        if depth < ValueBudget::MAX_DEPTH { self.budget.push(container, first, item) } else { Some(()) }
    }

    /// Reads what is separated by commas, between the bracket here and this one.
    #[inline]
    fn list(&mut self, end: u8, mut read: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.at += 1;
        if self.next()? == end {
            self.at += 1;
            return Some(());
        }
        loop {
            read(self)?;
            let next = self.next()?;
            self.at += 1;
            match next {
                b',' => {}
                next => return (next == end).then_some(()),
            }
        }
    }

    fn value(&mut self, depth: u8) -> Option<Value<'a>> {
        match self.next()? {
            b'"' => self.text().map(Value::String),
            b'{' if depth < MAX_DEPTH => self.object(depth).map(Value::Object),
            b'[' if depth < MAX_DEPTH => {
                let mut items = Vec::new();
                self.list(b']', |reader| {
                    let item = reader.value(depth + 1)?;
                    reader.push_within(depth, &mut items, ValueBudget::ITEMS, item)
                })?;
                Some(Value::Array(items))
            }
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.literal("true", Value::Bool(true)),
            b'f' => self.literal("false", Value::Bool(false)),
            b'n' => self.literal("null", Value::Null),
            _ => None,
        }
    }

    fn object(&mut self, depth: u8) -> Option<Object<'a>> {
        let first = self.budget.expected_members(depth);
        let mut members = Vec::new();
        self.list(b'}', |reader| {
            if reader.next()? != b'"' {
                return None;
            }
            let name = reader.text()?;
            reader.expect(b':')?;
            let value = match reader.next()? {
                b'"' => Value::String(reader.text()?),
                _ => reader.value(depth + 1)?,
            };
            reader.push_within(depth, &mut members, first, (name, value))
        })?;
        self.budget.expect_members(depth, members.len());
        Some(Object(members))
    }

    fn literal(&mut self, name: &str, value: Value<'a>) -> Option<Value<'a>> {
        self.text.as_bytes()[self.at..].starts_with(name.as_bytes()).then(|| {
            self.at += name.len();
            value
        })
    }

    fn number(&mut self) -> Option<Value<'a>> {
        let rest = &self.text.as_bytes()[self.at..];
        let mut digits = 0;
        let mut number = 0;
        while let Some(digit @ 0..=9) = rest.get(digits).map(|byte| byte.wrapping_sub(b'0'))
            && digits < MAX_DIGITS
        {
            number = number * 10 + i64::from(digit);
            digits += 1;
        }
        let ends = matches!(rest.get(digits), Some(b',' | b'}' | b']' | b' '));
        if ends && (digits == 1 || digits > 1 && rest[0] != b'0') {
            self.at += digits;
            return Some(Value::Integer(number));
        }
        let is_number = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
        let length = rest.iter().take_while(is_number).count();
        let number: Number = serde_json::from_str(self.text.get(self.at..self.at + length)?).ok()?;
        self.at += length;
        number.as_i64().map(Value::Integer).or_else(|| number.as_f64().map(Value::Float))
    }

    /// Reads the text that begins with the quote here.
    #[inline(always)]
    fn text(&mut self) -> Option<Cow<'a, str>> {
        let rest = self.text.get(self.at + 1..)?;
        let length = quote_or_escape(rest.as_bytes())?;
        let (text, end) = rest.split_at_checked(length)?;
        if !end.starts_with('"') {
            return self.escaped(self.at + 1 + length);
        }
        if self.has_controls && text.bytes().any(|byte| byte < b' ') {
            return None;
        }
        self.at += length + 2;
        Some(Cow::Borrowed(text))
    }

    /// Reads the text whose first escape is here. All but those of code units are read here.
    #[cold]
    fn escaped(&mut self, mut at: usize) -> Option<Cow<'a, str>> {
        let mut done = self.at + 1;
        let mut plain = String::with_capacity(2 * (at - done) + 32);
        let mut is_simple = true;
        while self.text.as_bytes()[at] == b'\\' {
            // The escaped character is skipped, so that it does not end the text.
            let escaped = at + 1;
            let control = match self.text.as_bytes().get(escaped) {
                Some(b'"' | b'\\' | b'/') => None,
                Some(b'n') => Some('\n'),
                Some(b't') => Some('\t'),
                Some(b'r') => Some('\r'),
                Some(b'b') => Some('\u{8}'),
                Some(b'f') => Some('\u{c}'),
                _ => {
                    is_simple = false;
                    None
                }
            };
            if is_simple {
                plain.push_str(&self.text[done..at]);
                plain.extend(control);
                done = escaped + usize::from(control.is_some());
            }
            at = escaped + 1;
            at += quote_or_escape(self.text.as_bytes().get(at..)?)?;
        }
        if is_simple {
            plain.push_str(&self.text[done..at]);
            let raw = &self.text[self.at..at];
            self.at = at + 1;
            let is_valid = !self.has_controls || raw.bytes().all(|byte| byte >= b' ');
            return is_valid.then_some(Cow::Owned(plain));
        }
        let text: String = serde_json::from_str(self.text.get(self.at..=at)?).ok()?;
        self.budget.charge(0, text.len())?;
        self.at = at + 1;
        Some(Cow::Owned(text))
    }
}

/// Returns the position of the first quote or backslash.
#[inline(always)]
fn quote_or_escape(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // The high bit of each byte that is zero; only the lowest is exact.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & (ONES << 7);
    let mut at = 0;
    for chunk in bytes[..bytes.len().min(SHORT)].as_chunks().0 {
        let word = u64::from_le_bytes(*chunk);
        let found = zeros(word ^ (ONES * u64::from(b'"'))) | zeros(word ^ (ONES * u64::from(b'\\')));
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += size_of::<u64>();
    }
    memchr2(b'"', b'\\', &bytes[at..]).map(|found| at + found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::DeserializeSeed;

    use super::*;
    use crate::model::ValueSeed;

    /// What serde_json reads, and this reader.
    fn both(text: &str) -> (Option<Value<'_>>, Option<Value<'_>>) {
        let budget = ValueBudget::new(1 << 20);
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let value = ValueSeed::new(&budget).deserialize(&mut deserializer).ok();
        let read = read(text, usize::MAX);
        let is_array = text.trim_start().starts_with('[');
        let usual = |item| match item {
            Item::Value(value) => Some(value),
            Item::Json(_) | Item::TooManyValues => None,
        };
        let read = read.and_then(|(mut items, _)| match is_array {
            true => items.into_iter().map(usual).collect::<Option<_>>().map(Value::Array),
            false => usual(items.remove(0)),
        });
        (value.filter(|_| deserializer.end().is_ok()), read)
    }

    #[test]
    fn usual_json_is_read_like_serde_json_reads_it() {
        for value in [
            "0",
            "-0",
            "7",
            "-7",
            "200",
            "123456789012345678",
            "1234567890123456789",
            "18446744073709551615",
            "0.5",
            "1e3",
            "1E-3",
            "true",
            "false",
            "null",
            "\"\"",
            "\"x\"",
            "\"seven b\"",
            "\"eight by\"",
            "\"a text of more than twenty-four bytes\"",
            "\"\\n\"",
            "\"a \\\"quote\\\" in it\"",
            "\"\\\\\"",
            "\"\\ud83d\\ude00\"",
            "\"\u{e9}\u{1f600}\"",
            "{}",
            "[]",
            "[[],[{}]]",
            "{\"a\":{\"b\":[1 , 2]}}",
        ] {
            for text in [format!("{{\"a\":{value}}}"), format!("[{value}]"), format!(" [ {value} ,\t1\r\n] ")]
            {
                let (by_serde, read) = both(&text);
                assert!(by_serde.is_some(), "{text}");
                assert_eq!(read, by_serde, "{text}");
            }
        }
    }

    #[test]
    fn anything_else_is_not_read() {
        for text in [
            "",
            "1",
            "\"a\"",
            "[",
            "{",
            "[1",
            "[1,",
            "[1,]",
            "[,1]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "{1:1}",
            "[01]",
            "[-]",
            "[1.]",
            "[.5]",
            "[1e]",
            "[+1]",
            "[tru]",
            "[nul]",
            "[\"]",
            "[\"\\\"]",
            "[\"\\x\"]",
            "[\"\\ud83d\"]",
            "[1]1",
            "[1]]",
            "{}{}",
            "[\"a\tb\"]",
            "[\"a\nb\"]",
            "[\"a\\\"\tb\"]",
            "[1 2]",
            "[1\u{b}]",
        ] {
            assert_eq!(both(text).1, None, "{text}");
        }
        assert_eq!(both(&format!("{}{}", "[".repeat(129), "]".repeat(129))).1, None);
    }

    #[test]
    fn content_that_is_too_deep_to_be_shown_is_not_kept() {
        for [start, end, name] in [["[", "]", "Array("], [r#"{"a":"#, "}", "Object(["]] {
            for (depth, kept) in [(10, 10), (100, usize::from(ValueBudget::MAX_DEPTH))] {
                let text = format!(r#"{{"a":{}1{}}}"#, start.repeat(depth), end.repeat(depth));
                let (by_serde, read) = both(&text);
                assert_eq!(read, by_serde);
                let read = format!("{read:?}");
                assert_eq!(read.matches(name).count(), kept + usize::from(name == "Object(["), "{read}");
                assert_eq!(read.contains("Integer(1)"), depth == kept, "{read}");
            }
        }
    }

    #[test]
    fn depth_that_serde_json_reads_is_read() {
        for depth in 125..=129 {
            let text = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            let read = value(&text, &ValueBudget::new(0));
            assert_eq!((&read, read.is_some()), (&both(&text).0, depth <= 127), "{depth}");
        }
    }

    #[test]
    fn items_after_the_limit_are_counted() {
        let read = read("[1,2,3]", 2).map(|(items, excess)| (items.len(), excess));
        assert_eq!(read, Some((2, 1)));
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_what_serde_json_reads(
            text in r#"[\[\{]([\[\]\{\},: ]|"[a\\"/u0-9é😀]{0,30}"?|-?[0-9]{1,20}|[0-9.eE+-]{1,6}|true|false|null|\PC){0,20}[\]\}]"#
        ) {
            let (by_serde, read) = both(&text);
            if read.is_some() {
                prop_assert_eq!(read.as_ref(), by_serde.as_ref());
            }
            // An item alone may be of any type.
            prop_assert_eq!(value(&text, &ValueBudget::new(1 << 20)), by_serde);
        }
    }
}
