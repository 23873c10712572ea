//! The table of report kinds. One file per kind has everything about it: its report types, its
//! specification, its body's fields under every alias, its severity, its summary, and its metrics. A
//! new kind is a file and a line in [`ALL`].

mod coep;
mod connection_allowlist;
mod coop;
mod crash;
mod csp_hash;
pub(crate) mod csp_violation;
mod deprecation;
mod dip;
mod document_policy_violation;
mod expect_ct;
mod expect_staple;
mod hpkp;
mod integrity_violation;
mod intervention;
pub(crate) mod network_error;
mod other;
mod permissions_policy_violation;
mod potential_permissions_policy_violation;
mod smtp_tlsrpt;
mod support;
mod test;
#[cfg(test)]
mod testing;
mod waict_violation;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use crate::model::{Family, FieldSpec, LabelEnum, ReportKind, What};
pub use smtp_tlsrpt::first_domain;
pub use support::{CSP_DIRECTIVES, is_extension_scheme};

/// Every kind; the last one is for the types of no other.
pub static ALL: &[&ReportKind] = &[
    &csp_violation::KIND,
    &network_error::KIND,
    &csp_hash::KIND,
    &permissions_policy_violation::KIND,
    &potential_permissions_policy_violation::KIND,
    &document_policy_violation::KIND,
    &coep::KIND,
    &dip::KIND,
    &integrity_violation::KIND,
    &waict_violation::KIND,
    &connection_allowlist::KIND,
    &coop::KIND,
    &deprecation::KIND,
    &intervention::KIND,
    &crash::KIND,
    &hpkp::KIND,
    &expect_ct::KIND,
    &expect_staple::KIND,
    &smtp_tlsrpt::KIND,
    &test::KIND,
    &other::KIND,
];

/// The family in which every accepted report counts once.
pub static REPORTS: Family = Family {
    name: "lookout_reports_total",
    help: "Reports taken, of any kind.",
    labels: &["site", "kind", "browser"],
    // 21 kinds and 7 browsers for each site.
    weight: 8,
    ..Family::COUNTER
};

/// The family of the clients that something happened to.
pub static AFFECTED_CLIENTS: Family = Family {
    name: "lookout_affected_clients_total",
    help: "Clients, each counted once in 5 minutes for its site, what happened and its noise class.",
    labels: &["site", "what", "noise"],
    pinned: What::ALL.len(),
    weight: 4,
    ..Family::COUNTER
};

/// The family of what [`AFFECTED_CLIENTS`] lacks.
pub static AFFECTED_CLIENTS_OVERFLOW: Family = Family {
    name: "lookout_affected_clients_overflow_total",
    help: "Reports whose client is perhaps missing in lookout_affected_clients_total, because \
           findings.max_clients were counted.",
    labels: &["site"],
    pinned: 1,
    ..Family::COUNTER
};

/// The family of findings by the number of clients that they reached.
pub static NEW_FINDINGS: Family = Family {
    name: "lookout_new_findings_total",
    help: "Findings, younger than findings.new_for, that reached this number of clients.",
    labels: &["site", "kind", "disposition", "class", "noise", "clients"],
    weight: 6,
    ..Family::COUNTER
};

/// Returns every family that reports count into: those of all reports, then the kinds' own, each once.
pub fn families() -> impl Iterator<Item = &'static Family> {
    let own = ALL.iter().enumerate().flat_map(|(index, kind)| {
        // Kinds may share a family.
        let is_new = move |family: &&Family| !ALL[..index].iter().any(|kind| kind.families.contains(family));
        kind.families.iter().copied().filter(is_new)
    });
    [&REPORTS, &AFFECTED_CLIENTS, &AFFECTED_CLIENTS_OVERFLOW, &NEW_FINDINGS].into_iter().chain(own)
}

type NameMap<V> = HashMap<Cow<'static, str>, V, foldhash::fast::RandomState>;

/// A kind's fields by name and alias, and by each of these in snake case, with their index in
/// [`ReportKind::fields`].
pub type FieldIndex = NameMap<(usize, &'static FieldSpec)>;

/// Every kind and its fields, by each report type that names it.
static KINDS: LazyLock<NameMap<(&'static ReportKind, FieldIndex)>> = LazyLock::new(|| {
    let kinds = ALL.iter().flat_map(|kind| {
        let types = kind.aliases.iter().chain([&kind.name]);
        types.map(|name| (Cow::Borrowed(*name), (*kind, index_fields(kind))))
    });
    kinds.collect()
});

fn index_fields(kind: &'static ReportKind) -> FieldIndex {
    let fields = kind.fields.iter().enumerate();
    let names = fields.flat_map(|(index, field)| {
        field.aliases.iter().chain([&field.name]).map(move |name| (*name, (index, field)))
    });
    let in_snake_case = names.clone().map(|(name, field)| (Cow::Owned(snake_case(name)), field));
    // The declared names are last, so that they replace an equal one of another field.
    in_snake_case.chain(names.map(|(name, field)| (Cow::Borrowed(name), field))).collect()
}

/// Returns `document_url` for `documentURL` and `blocked_uri` for `blocked-uri`.
fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    let mut after_lowercase = false;
    for c in name.chars() {
        if c.is_ascii_uppercase() && after_lowercase {
            snake.push('_');
        }
        after_lowercase = !c.is_ascii_uppercase() && c != '-';
        snake.push(if c == '-' { '_' } else { c.to_ascii_lowercase() });
    }
    snake
}

/// Returns the kind that a report type names, `other` for an unknown one.
pub fn lookup(report_type: &str) -> &'static ReportKind {
    KINDS.get(report_type).map_or(&other::KIND, |(kind, _)| kind)
}

/// Returns a kind's fields by name and alias.
pub fn field_index(kind: &ReportKind) -> &'static FieldIndex {
    static NO_FIELDS: LazyLock<FieldIndex> = LazyLock::new(FieldIndex::default);
    KINDS.get(kind.name).map_or(&NO_FIELDS, |(_, fields)| fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_in_snake_case_is_the_same_field() {
        for (report_type, name, field) in [
            ("csp-violation", "document_uri", "documentURL"),
            ("csp-violation", "blocked_url", "blockedURL"),
            ("csp-violation", "script_sample", "sample"),
            ("csp-hash", "subresource_url", "subresourceURL"),
            ("coop", "initial_popup_url", "initialPopupURL"),
            ("permissions-policy-violation", "policy_id", "featureId"),
            ("crash", "is_top_level", "is_top_level"),
        ] {
            let found = field_index(lookup(report_type)).get(name);
            assert_eq!(found.map(|(_, found)| found.name), Some(field), "{report_type} {name}");
        }
    }
}
