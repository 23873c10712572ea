//! Serde's `Deserializer` over a tree that is checked already. Texts become what the fields are: numbers and sizes,
//! durations, words in any case.

use serde::de::value::{Error, MapDeserializer, SeqDeserializer, StrDeserializer, U64Deserializer};
use serde::de::{DeserializeOwned, Deserializer, Error as _, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::format::{bytes, milliseconds};
use super::yaml::{Key, SpannedValue, Value};

/// Deserializes a tree.
///
/// # Errors
///
/// Returns an error if a field reads something else than its schema has.
pub(super) fn from_tree<T: DeserializeOwned>(root: &SpannedValue) -> Result<T, Error> {
    T::deserialize(root)
}

impl SpannedValue {
    fn as_text(&self) -> &str {
        if let Value::Text(text) = &self.value { text } else { "" }
    }
}

impl<'de> IntoDeserializer<'de> for &'de SpannedValue {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for &'de SpannedValue {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let pair = |(key, value): &'de (Key, SpannedValue)| (key.text.as_str(), value);
        match &self.value {
            Value::Null => visitor.visit_unit(),
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::List(items) => {
                let items = items.iter().filter(|item| item.value != Value::Null);
                visitor.visit_seq(SeqDeserializer::new(items))
            }
            Value::Map(entries) => visitor.visit_map(MapDeserializer::new(entries.iter().map(pair))),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_bool(self.as_text().eq_ignore_ascii_case("true"))
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let number = bytes(self.as_text()).ok_or_else(|| Error::custom("not a number"))?;
        visitor.visit_u64(number as u64)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_u64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_f64(self.as_text().parse().map_err(Error::custom)?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.value == Value::Null { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    /// A text counts as a list of it, a map as a list of pairs.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.value {
            Value::Text(_) => visitor.visit_seq(SeqDeserializer::new([self].into_iter())),
            Value::Map(entries) => {
                let pair = |(key, value): &'de (Key, SpannedValue)| (key.text.as_str(), value);
                MapDeserializer::new(entries.iter().map(pair)).deserialize_seq(visitor)
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name != "Duration" {
            return self.deserialize_any(visitor);
        }
        let ms = milliseconds(self.as_text()).unwrap_or_default();
        let parts: [U64Deserializer<Error>; 2] =
            [ms / 1000, ms % 1000 * 1_000_000].map(u64::into_deserializer);
        visitor.visit_seq(SeqDeserializer::new(parts.into_iter()))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let word = words.iter().find(|word| word.eq_ignore_ascii_case(self.as_text()));
        let word: StrDeserializer<'_, Error> = word.copied().unwrap_or_default().into_deserializer();
        visitor.visit_enum(word)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u128 f32 char str string bytes byte_buf unit unit_struct tuple tuple_struct map
        identifier ignored_any
    }
}
