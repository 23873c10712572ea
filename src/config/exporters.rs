//! The exporters that a signal can have.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
