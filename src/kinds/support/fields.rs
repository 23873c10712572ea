//! Declarations of body fields and labels, and those that several kinds have.

use opentelemetry_semantic_conventions::attribute::{CODE_COLUMN_NUMBER, CODE_FILE_PATH, CODE_LINE_NUMBER};

use crate::model::{DerivedAttribute, FieldSpec, FieldType, LabelSource, LabelValues};

/// A field that the event carries under `attribute`.
pub(crate) const fn field(name: &'static str, field_type: FieldType, attribute: &'static str) -> FieldSpec {
    FieldSpec { name, aliases: &[], field_type, attribute: Some(attribute) }
}

/// A field that only the kind's own `attributes` may emit.
pub(crate) const fn unmapped(name: &'static str, field_type: FieldType) -> FieldSpec {
    FieldSpec { name, aliases: &[], field_type, attribute: None }
}

/// An attribute that the kind's own `attributes` emits.
pub(crate) const fn derived(
    name: &'static str,
    field_type: FieldType,
    source: &'static str,
) -> DerivedAttribute {
    DerivedAttribute { name, field_type, source }
}

pub(crate) const fn one_of(field: &'static str, values: &'static LabelValues) -> LabelSource {
    LabelSource::OneOf(field, values)
}

pub(crate) const DISPOSITION: LabelSource = LabelSource::Disposition;
pub(crate) const NOISE: LabelSource = LabelSource::Noise;
pub(crate) const PAGE: LabelSource = LabelSource::Page;

pub(crate) const SOURCE_FILE: FieldSpec = field("sourceFile", FieldType::Url, CODE_FILE_PATH);
pub(crate) const LINE_NUMBER: FieldSpec = field("lineNumber", FieldType::NonZeroInt, CODE_LINE_NUMBER);
pub(crate) const COLUMN_NUMBER: FieldSpec = field("columnNumber", FieldType::NonZeroInt, CODE_COLUMN_NUMBER);
