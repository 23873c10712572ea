//! JSON Schemas of single values. They describe a file as editors read it, with YAML's types, and admit null
//! wherever a key without a value counts as absent.

use std::ops::RangeInclusive;

use serde::Serialize;
use serde_json::{Value as Json, json};

/// Returns the schema of a text.
pub(super) fn text_schema(pattern: &str) -> Json {
    json!({"type": ["string", "null"], "pattern": pattern})
}

/// Returns the schema of one of these words.
pub(super) fn word_schema<'w>(words: impl IntoIterator<Item = &'w str>) -> Json {
    let words = words.into_iter().map(Json::from).chain([Json::Null]);
    json!({"enum": words.collect::<Vec<_>>()})
}

/// Returns the schema of a whole number.
pub(super) fn number_schema<T: Serialize>(bounds: &RangeInclusive<T>) -> Json {
    json!({"type": ["integer", "null"], "minimum": bounds.start(), "maximum": bounds.end()})
}

/// Returns the schema of a list.
pub(super) fn list_schema(item: Json) -> Json {
    json!({"type": ["array", "null"], "items": item})
}

/// Returns the schema of a map with any names and texts.
pub(super) fn map_schema() -> Json {
    json!({"type": ["object", "null"], "additionalProperties": {"type": "string"}})
}
