//! The evaluation of a report by its kind.

use smallvec::{SmallVec, smallvec};
use strum::{IntoStaticStr, VariantArray};

use crate::model::family::Family;
use crate::model::label::Label;
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
    /// Returns an evaluation that adds 1 to the series with these labels after `site`.
    pub fn new<const N: usize>(
        severity: Severity,
        family: &'static Family,
        labels: [Label<'a>; N],
    ) -> Evaluation<'a> {
        Evaluation { severity, observations: smallvec![Observation::increment(family, labels)] }
    }
}

/// OTLP severities that reports use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "UPPERCASE")]
pub enum Severity {
    /// No user was affected.
    Info = 9,
    /// To be looked at in working hours.
    Warn = 13,
    /// A user was affected.
    Error = 17,
}

impl Severity {
    /// Returns `SeverityText`, which is also the console's `severity`.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Returns `SeverityNumber` of the OpenTelemetry log data model.
    pub const fn number(self) -> u8 {
        self as u8
    }
}
