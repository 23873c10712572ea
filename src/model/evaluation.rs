//! The evaluation of a report by its kind.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use strum::{IntoStaticStr, VariantArray};

use crate::model::observation::Observation;

/// The evaluation of one report.
#[derive(Debug)]
pub struct Evaluation<'a> {
    /// The severity of its event.
    pub severity: Severity,
    /// What it adds to the kind's own families.
    pub observations: Observations<'a>,
}

/// The observations of one report.
pub type Observations<'a> = SmallVec<[Observation<'a>; 3]>;

/// OTLP severities that reports use. Their number is `SeverityNumber` of the OpenTelemetry log data model, their text
/// is `SeverityText`, and the console's `severity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "UPPERCASE")]
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// No user was affected.
    Info = 9,
    /// To be looked at in working hours.
    Warn = 13,
    /// A user was affected.
    Error = 17,
}
