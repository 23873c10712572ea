//! Lenient JSON values, borrowed from the upload where possible. Browsers send the same field with different types
//! (`200`, `200.0`, `"200"`, `null`), so a value is converted only when it is read as a type.

use std::borrow::Cow;
use std::cell::Cell;

use serde::{Serialize, Serializer};

/// A JSON value that borrows from its source text. Its tag takes a word, so that values are copied by words: a copy of
/// what was written in other pieces waits for them.
#[repr(u64)]
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(untagged)]
#[allow(missing_docs)] // the types are the documentation
pub enum Value<'a> {
    #[default]
    Null,
    Bool(bool),
    /// An integer that fits `i64`.
    Integer(i64),
    /// Any other number; always finite.
    Float(f64),
    String(Cow<'a, str>),
    Array(Vec<Value<'a>>),
    Object(Object<'a>),
}

/// A JSON object in source order. The last of several members of one name counts, as in `JSON.parse`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Object<'a>(pub Vec<(Cow<'a, str>, Value<'a>)>);

impl<'a> Value<'a> {
    /// Returns the text, if it is text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// Returns a finite number, also from text.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Integer(number) => Some(*number as f64),
            Value::Float(number) => Some(*number),
            Value::String(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
            _ => None,
        }
    }

    /// Returns an unsigned integer, also from `1.0` or `"1"`. The fraction of `3.7` is dropped.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Value::Integer(number) => u64::try_from(*number).ok(),
            // Above 2^53 a float no longer represents every integer.
            Value::Float(number) => {
                (0.0..=9_007_199_254_740_992.0).contains(number).then_some(*number as u64)
            }
            Value::String(text) => {
                let text = text.trim();
                text.parse().ok().or_else(|| Value::Float(text.parse().ok()?).as_u64())
            }
            _ => None,
        }
    }

    /// Returns a boolean, also from `"true"` or `"false"`.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(flag) => Some(*flag),
            Value::String(text) => text.trim().to_ascii_lowercase().parse().ok(),
            _ => None,
        }
    }

    /// Returns the object, if it is one.
    pub fn as_object(&self) -> Option<&Object<'a>> {
        match self {
            Value::Object(object) => Some(object),
            _ => None,
        }
    }

    /// Returns whether the value is `null` or empty text, both of which mean "unknown".
    pub fn is_null_or_empty(&self) -> bool {
        matches!(self, Value::Null) || matches!(self, Value::String(text) if text.is_empty())
    }
}

impl<'a> Object<'a> {
    /// Returns the member's value; the last one of several.
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Removes the member and returns its value; the last one of several.
    pub fn remove(&mut self, name: &str) -> Option<Value<'a>> {
        let at = self.0.iter().rposition(|(key, _)| key == name)?;
        Some(self.0.remove(at).1)
    }

    /// Returns the member's text, unless it is empty.
    pub fn get_str(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str().filter(|text| !text.is_empty())
    }

    /// Returns the member, if it is an object.
    pub fn get_object(&self, name: &str) -> Option<&Object<'a>> {
        self.get(name)?.as_object()
    }

    /// Returns the objects in the member, if it is an array.
    pub fn get_objects(&self, name: &str) -> impl Iterator<Item = &Object<'a>> {
        let items = match self.get(name) {
            Some(Value::Array(items)) => items.as_slice(),
            _ => &[],
        };
        items.iter().filter_map(Value::as_object)
    }

    /// Returns the member as an unsigned integer.
    pub fn get_u64(&self, name: &str) -> Option<u64> {
        self.get(name)?.as_u64()
    }
}

/// The remaining memory for values, charged before an allocation with a container's capacity, not its length.
#[derive(Debug, Clone)]
pub struct ValueBudget {
    bytes: Cell<usize>,
    values: Cell<usize>,
    exceeded: Cell<bool>,
    /// The members of the last report and of the last body, because those of one upload are alike.
    members: [Cell<usize>; 2],
}

impl ValueBudget {
    /// The largest number of values of one body at a time, the capacity of its containers included.
    pub const MAX_VALUES: usize = 65_536;
    /// The largest number of bytes for the values of one byte of JSON.
    pub const BYTES_PER_BYTE: usize = 4;
    /// The initial capacity of an array.
    pub const ITEMS: usize = 4;
    /// The initial capacity of the first report, and of the first body: that of a violation has about 12 members.
    const MEMBERS: usize = 6;
    const BODY_MEMBERS: usize = 12;
    /// Depth of containers whose content is kept: more than of any known field, and more than is shown.
    pub const MAX_DEPTH: u8 = 16;
    /// The budget of the shortest JSON, in bytes.
    pub const MIN_BYTES: usize = 32 * 1024;

    /// Returns the budget of a JSON text of this length.
    pub fn new(json: usize) -> ValueBudget {
        let bytes = json.saturating_mul(Self::BYTES_PER_BYTE).saturating_add(Self::MIN_BYTES);
        let values = Cell::new(Self::MAX_VALUES);
        let members = [Self::MEMBERS, Self::BODY_MEMBERS].map(Cell::new);
        ValueBudget { bytes: Cell::new(bytes), values, exceeded: Cell::new(false), members }
    }

    /// Returns whether a charge failed.
    pub fn is_exceeded(&self) -> bool {
        self.exceeded.get()
    }

    /// Returns the initial capacity of an object at this depth.
    pub fn expected_members(&self, depth: u8) -> usize {
        self.members.get(usize::from(depth)).map_or(Self::ITEMS, Cell::get)
    }

    /// Expects about as many members of the next object at this depth.
    pub fn expect_members(&self, depth: u8, members: usize) {
        if let Some(expected) = self.members.get(usize::from(depth)).filter(|_| members > 0) {
            // Halves of each other, so that a container that grows from any of them ends with the same capacity. A single
            // one is a wrapper, or all that a small report has.
            expected.set(match members {
                1 => 1,
                0..=3 => Self::BODY_MEMBERS / 4,
                4..=6 => Self::MEMBERS,
                _ => Self::BODY_MEMBERS,
            });
        }
    }

    /// Charges for values and bytes. `None` if the budget does not suffice.
    pub fn charge(&self, values: usize, bytes: usize) -> Option<()> {
        let values = self.values.get().checked_sub(values);
        let (Some(values), Some(bytes)) = (values, self.bytes.get().checked_sub(bytes)) else {
            self.exceeded.set(true);
            return None;
        };
        self.values.set(values);
        self.bytes.set(bytes);
        Some(())
    }

    /// Adds to a container, and charges for its capacity: `first` items, then doubled each time. `None` if the budget does
    /// not suffice.
    #[inline(always)]
    pub fn push<T>(&self, container: &mut Vec<T>, first: usize, item: T) -> Option<()> {
        if container.len() == container.capacity() {
            self.grow(container, first)?;
        }
        container.push(item);
        Some(())
    }

    #[cold]
    fn grow<T>(&self, container: &mut Vec<T>, first: usize) -> Option<()> {
        // From a single one to three, so that it ends with the same capacity too.
        let more = if container.len() == 1 { 2 } else { container.len().max(first) };
        self.charge(more, more.saturating_mul(size_of::<T>()))?;
        container.reserve_exact(more);
        Some(())
    }
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fmt;

    use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

    use super::*;

    /// Has serde_json read a [`Value`] within a budget: what this crate's reader is compared with.
    #[derive(Debug, Clone, Copy)]
    pub(crate) struct ValueSeed<'b> {
        budget: &'b ValueBudget,
        depth: u8,
    }

    impl<'b> ValueSeed<'b> {
        /// Returns the seed of one item of a body.
        pub(crate) fn new(budget: &'b ValueBudget) -> ValueSeed<'b> {
            ValueSeed { budget, depth: 0 }
        }

        fn inner(self) -> ValueSeed<'b> {
            ValueSeed { depth: self.depth.saturating_add(1), ..self }
        }
    }

    impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
        type Value = Value<'de>;

        fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value<'de>, D::Error> {
            deserializer.deserialize_any(self)
        }
    }

    impl<'de> Visitor<'de> for ValueSeed<'_> {
        type Value = Value<'de>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON value")
        }

        fn visit_unit<E: Error>(self) -> Result<Value<'de>, E> {
            Ok(Value::Null)
        }

        fn visit_bool<E: Error>(self, value: bool) -> Result<Value<'de>, E> {
            Ok(Value::Bool(value))
        }

        fn visit_u64<E: Error>(self, value: u64) -> Result<Value<'de>, E> {
            Ok(i64::try_from(value).map_or(Value::Float(value as f64), Value::Integer))
        }

        fn visit_i64<E: Error>(self, value: i64) -> Result<Value<'de>, E> {
            Ok(Value::Integer(value))
        }

        fn visit_f64<E: Error>(self, value: f64) -> Result<Value<'de>, E> {
            Ok(Value::Float(value))
        }

        fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Value<'de>, E> {
            Ok(Value::String(Cow::Borrowed(value)))
        }

        fn visit_str<E: Error>(self, value: &str) -> Result<Value<'de>, E> {
            self.budget.charge(0, value.len()).ok_or_else(too_many)?;
            Ok(Value::String(Cow::Owned(value.to_owned())))
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value<'de>, A::Error> {
            let mut array = Vec::new();
            while let Some(item) = items.next_element_seed(self.inner())? {
                if self.depth < ValueBudget::MAX_DEPTH {
                    self.budget.push(&mut array, ValueBudget::ITEMS, item).ok_or_else(too_many)?;
                }
            }
            Ok(Value::Array(array))
        }

        fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value<'de>, A::Error> {
            let first = self.budget.expected_members(self.depth);
            let mut object = Vec::new();
            while let Some(name) = members.next_key_seed(self.inner())? {
                let Value::String(name) = name else { return Err(Error::custom("a name that is not text")) };
                let value = members.next_value_seed(self.inner())?;
                if self.depth < ValueBudget::MAX_DEPTH {
                    self.budget.push(&mut object, first, (name, value)).ok_or_else(too_many)?;
                }
            }
            self.budget.expect_members(self.depth, object.len());
            Ok(Value::Object(Object(object)))
        }
    }

    fn too_many<E: Error>() -> E {
        E::custom("too many values")
    }

    pub(crate) fn read(text: &str) -> Value<'_> {
        read_within(text, &ValueBudget::new(1 << 20)).unwrap()
    }

    fn read_within<'a>(text: &'a str, budget: &ValueBudget) -> serde_json::Result<Value<'a>> {
        ValueSeed::new(budget).deserialize(&mut serde_json::Deserializer::from_str(text))
    }

    #[test]
    fn budget_limits_bytes_by_the_text_and_the_number_of_values() {
        let many = |value: &str, times: usize| format!("[{}]", vec![value; times].join(","));
        for (value, times) in [("{}", 349_400), ("[]", 349_400), ("1", 524_000), ("\"\"", 349_400)] {
            let text = many(value, times);
            let budget = ValueBudget::new(1 << 20);
            assert!(read_within(&text, &budget).is_err() && budget.is_exceeded(), "{value}");
        }
        for nested in ["{\"\":{", "{\"\":["] {
            let value = format!("{nested}{}", ["]}", "}}"][usize::from(nested.ends_with('{'))]);
            let budget = ValueBudget::new(0);
            assert!(read_within(&many(&value, 20_000), &budget).is_err() && budget.is_exceeded(), "{value}");
        }
        let plain = format!("\"{}\"", "x".repeat(1 << 20));
        let escaped = format!("\"{}\"", "\\t".repeat(40_000));
        assert!(read_within(&plain, &ValueBudget::new(0)).is_ok(), "nothing is copied");
        assert!(read_within(&escaped, &ValueBudget::new(0)).is_err(), "a copy is charged");
        assert!(read_within(&escaped, &ValueBudget::new(escaped.len())).is_ok());
        // The budget of bytes alone would admit these.
        assert!(read_within(&many("1", 65_537), &ValueBudget::new(4 << 20)).is_err());
        assert!(read_within(&many("1", 65_536), &ValueBudget::new(4 << 20)).is_ok());
    }

    #[test]
    fn option_of_a_value_takes_no_more_memory() {
        assert_eq!(size_of::<Option<Value<'_>>>(), size_of::<Value<'_>>());
    }

    #[test]
    fn budget_of_empty_and_scalar_values_is_not_charged() {
        let budget = ValueBudget::new(0);
        for text in ["{}", "[]", "\"\"", "7"] {
            read_within(text, &budget).unwrap();
        }
        assert_eq!(budget.bytes.get(), ValueBudget::MIN_BYTES);
    }

    #[test]
    fn as_u64_of_floats_and_text_is_the_integer() {
        for text in ["7", "7.0", "7.9", "\"7\"", "\" 7 \"", "\"7.0\"", "\"7.9\""] {
            assert_eq!(read(text).as_u64(), Some(7), "{text}");
        }
        for text in ["-1226665688", "-0.5", "\"-0.5\"", "\"seven\"", "null", "[7]", "1e300", "\"NaN\""] {
            assert_eq!(read(text).as_u64(), None, "{text}");
        }
    }

    #[test]
    fn as_bool_of_text_is_the_boolean() {
        for (text, flag) in [
            ("true", Some(true)),
            ("\"True\"", Some(true)),
            ("\"false\"", Some(false)),
            ("\"yes\"", None),
            ("1", None),
            ("null", None),
        ] {
            assert_eq!(read(text).as_bool(), flag, "{text}");
        }
    }

    #[test]
    fn get_of_a_repeated_member_returns_the_last() {
        let Value::Object(object) = read(r#"{"a":1,"a":2}"#) else { panic!() };
        assert_eq!(object.get_u64("a"), Some(2));
    }

    #[test]
    fn string_without_escapes_is_borrowed() {
        let Value::String(text) = read("\"plain\"") else { panic!() };
        assert!(matches!(text, Cow::Borrowed(_)));
    }

    #[test]
    fn value_serializes_to_the_text_it_was_read_from() {
        let text = r#"{"a":[1,-2,0.5,true,null,"x\n"],"b":{}}"#;
        assert_eq!(serde_json::to_string(&read(text)).unwrap(), text);
    }
}
