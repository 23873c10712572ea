//! Finds kinds and members by their names: every report asks for one kind and a dozen members, and none
//! of that should cost more than a hash.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::kinds::{ALL, FieldSpec, ReportKind, other};

type Map<V> = HashMap<&'static str, V, foldhash::fast::RandomState>;

/// A kind's members by every spelling of their names, with their positions.
pub type FieldIndex = Map<(usize, &'static FieldSpec)>;

/// Kinds by every type that names them.
static KINDS: LazyLock<Map<(&'static ReportKind, FieldIndex)>> = LazyLock::new(|| {
    let types = |kind: &&'static ReportKind| {
        let kind = *kind;
        kind.aliases.iter().chain([&kind.name]).map(move |name| (*name, (kind, field_index(kind))))
    };
    ALL.iter().flat_map(types).collect()
});

fn field_index(kind: &'static ReportKind) -> FieldIndex {
    let fields = kind.fields.iter().enumerate();
    let field_index = fields.flat_map(|(at, field)| {
        field.aliases.iter().chain([&field.name]).map(move |name| (*name, (at, field)))
    });
    field_index.collect()
}

/// The kind that a report type names, and its members; `other` for what none does.
pub(super) fn find(report_type: &str) -> (&'static ReportKind, Option<&'static FieldIndex>) {
    KINDS.get(report_type).map_or((&other::KIND, None), |(kind, field_index)| (kind, Some(field_index)))
}
