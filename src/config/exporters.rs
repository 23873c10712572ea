//! The exporters that a signal can have.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Exporters of a signal: one, or a list.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub(super) struct Exporters<T>(pub(super) Vec<T>);

impl<T: JsonSchema> JsonSchema for Exporters<T> {
    fn schema_name() -> Cow<'static, str> {
        "exporters".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let item = T::json_schema(generator);
        json_schema!({"anyOf": [item, {"type": "array", "items": item, "minItems": 1}]})
    }
}

/// An exporter for events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum LogsExporter {
    Otlp,
    Console,
    None,
}

/// An exporter for metrics or traces. There is no console, because stdout has events only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum OtherExporter {
    Otlp,
    #[default]
    None,
}
