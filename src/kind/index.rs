//! Finds kinds and members by their names: every report asks for one kind and a dozen members, and none
//! of that should cost more than a hash.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::kind::{ALL, Kind, Member, other};

type Map<V> = HashMap<&'static str, V, foldhash::fast::RandomState>;

/// A kind's members by every spelling of their names, with their positions.
pub type Spellings = Map<(usize, &'static Member)>;

/// Kinds by every type that names them.
static KINDS: LazyLock<Map<(&'static Kind, Spellings)>> = LazyLock::new(|| {
    let types = |kind: &&'static Kind| {
        let kind = *kind;
        kind.also.iter().chain([&kind.token]).map(move |name| (*name, (kind, spellings(kind))))
    };
    ALL.iter().flat_map(types).collect()
});

fn spellings(kind: &'static Kind) -> Spellings {
    let members = kind.members.iter().enumerate();
    let spellings = members.flat_map(|(at, member)| {
        member.also.iter().chain([&member.name]).map(move |name| (*name, (at, member)))
    });
    spellings.collect()
}

/// The kind that a report type names, and its members; `other` for what none does.
pub(super) fn find(report_type: &str) -> (&'static Kind, Option<&'static Spellings>) {
    KINDS.get(report_type).map_or((&other::KIND, None), |(kind, spellings)| (kind, Some(spellings)))
}
