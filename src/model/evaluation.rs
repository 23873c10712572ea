//! The evaluation of a report by its kind.

use smallvec::{SmallVec, smallvec};

use crate::model::observation::Observation;

/// The evaluation of one report.
#[derive(Debug)]
pub struct Evaluation<'a> {
    /// The severity of its event.
    pub severity: Severity,
    /// What it adds to the kind's own families.
    pub observations: SmallVec<[Observation<'a>; 3]>,
}

impl<'a> Evaluation<'a> {
    /// Returns an evaluation with one observation.
    pub fn new(severity: Severity, observation: Observation<'a>) -> Evaluation<'a> {
        Evaluation { severity, observations: smallvec![observation] }
    }
}

/// OTLP severities that reports use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// No user was affected.
    Info,
    /// To be looked at in working hours.
    Warn,
    /// A user was affected.
    Error,
}

impl Severity {
    /// Returns `SeverityText`, which is also the console's `severity`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "INFO",
            Severity::Warn => "WARN",
            Severity::Error => "ERROR",
        }
    }

    /// Returns `SeverityNumber` of the OpenTelemetry log data model.
    pub const fn number(self) -> u8 {
        match self {
            Severity::Info => 9,
            Severity::Warn => 13,
            Severity::Error => 17,
        }
    }
}
