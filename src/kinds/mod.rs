//! The table of report kinds. One file per kind says all there is to know about it: its names on the
//! wire, its specification, its body's members under every spelling seen, how bad it is, what a
//! person should read, and what it adds to which counters. A new kind is a file and a line in [`ALL`].

pub mod coep;
pub mod connection_allowlist;
pub mod coop;
pub mod crash;
pub mod csp_hash;
pub mod csp_violation;
pub mod deprecation;
pub mod dip;
pub mod document_policy_violation;
pub mod expect_ct;
pub mod expect_staple;
pub mod hpkp;
pub mod integrity_violation;
pub mod intervention;
mod lookup;
pub mod network_error;
pub mod other;
pub mod permissions_policy_violation;
pub mod potential_permissions_policy_violation;
pub mod smtp_tlsrpt;
pub mod support;
#[cfg(test)]
mod testing;

use std::sync::LazyLock;

use crate::model::{Attribute, Classification, Evaluation, Family, MetricType, Object, Report};
pub use lookup::FieldIndex;

/// Every kind; the last one takes what no other does.
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
    &connection_allowlist::KIND,
    &coop::KIND,
    &deprecation::KIND,
    &intervention::KIND,
    &crash::KIND,
    &hpkp::KIND,
    &expect_ct::KIND,
    &expect_staple::KIND,
    &smtp_tlsrpt::KIND,
    &other::KIND,
];

/// `lookout_reports_total`: every report taken, once.
pub static REPORTS: Family = Family {
    name: "lookout_reports_total",
    help: "Reports taken, of any kind.",
    metric_type: MetricType::Counter,
    labels: &["site", "kind", "browser"],
    // Twenty kinds and seven browsers for each site.
    weight: 8,
};

/// Takes an attribute's name and value.
pub type AttributeSink<'g> = &'g mut dyn FnMut(&str, Attribute<'_>);

/// One kind of report.
pub struct ReportKind {
    /// The canonical type token: the label `kind`.
    pub name: &'static str,
    /// The OTLP `EventName`.
    pub event_name: &'static str,
    /// Further type tokens under which browsers send it.
    pub aliases: &'static [&'static str],
    /// The specification that defines it.
    pub specification: &'static str,
    /// The member that says whether a policy was enforced: a word, or a [`FieldType::Bool`] that is set when
    /// it only reports. The endpoint's path or query may supply it to a report that lacks it.
    pub disposition: Option<&'static str>,
    /// The body's members that the specification and the engines know.
    pub fields: &'static [FieldSpec],
    /// Mends what spelling alone cannot: members that stand in for others.
    pub upgrade: fn(&mut Object<'_>),
    /// How bad a report is, and what to count.
    pub evaluate: for<'r> fn(&'r Report<'_>, &Classification<'_>) -> Evaluation<'r>,
    /// The one line that a person reads.
    pub summary: fn(&Report<'_>) -> String,
    /// Event attributes beyond those that [`FieldSpec::attribute`] names.
    pub attributes: fn(&Report<'_>, AttributeSink<'_>),
    /// The kind's own metric families.
    pub families: &'static [&'static Family],
}

/// One member of a kind's body.
pub struct FieldSpec {
    /// Its name in the specification.
    pub name: &'static str,
    /// Other spellings seen on the wire.
    pub aliases: &'static [&'static str],
    /// What it holds, and so how it is cleaned.
    pub field_type: FieldType,
    /// The event attribute that carries it. `None`: the kind's `attributes` does.
    pub attribute: Option<&'static str>,
}

/// What a member holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldType {
    /// A URL, a bare scheme or a keyword that stands where a URL could.
    Url,
    /// Short text out of a set.
    Token,
    /// Source text: 256 characters.
    Sample,
    /// A sentence for people: 1 KiB.
    Message,
    /// The URL of the page, or of the one before it: redacted as all are. Neither a label nor a noise
    /// rule comes from it, since a report has a `url` of its own.
    PageUrl,
    /// A stack trace: 8 KiB.
    Stack,
    /// A policy: 8 KiB, nonces cut.
    Policy,
    /// A whole number whose 0 means "unknown": lines, columns, status codes.
    NonZeroInt,
    /// A whole number whose 0 is a value.
    Int,
    /// Any number.
    Number,
    /// Yes or no.
    Bool,
    /// Sums of the kind's own making that its counters come from: kept and cleaned as unknown members
    /// are.
    MetricSource,
    /// A line of the kind's own making, a list: kept and cleaned as unknown members are.
    Any,
}

impl FieldType {
    /// Whether a counter's label or a noise rule can come from it.
    pub fn is_metric_relevant(self) -> bool {
        !matches!(
            self,
            FieldType::PageUrl | FieldType::Policy | FieldType::Message | FieldType::Stack | FieldType::Any
        )
    }
}

/// Returns the kind that a report type names.
pub fn lookup(report_type: &str) -> &'static ReportKind {
    lookup::find(report_type).0
}

impl ReportKind {
    /// Its members by every spelling of their names.
    pub fn field_index(&self) -> &'static FieldIndex {
        static NONE: LazyLock<FieldIndex> = LazyLock::new(FieldIndex::default);
        lookup::find(self.name).1.unwrap_or(&NONE)
    }

    /// The entry for a member as a browser spelled it, and its position among the members.
    pub fn field(&self, spelled: &str) -> Option<(usize, &'static FieldSpec)> {
        self.field_index().get(spelled).copied()
    }
}

impl std::fmt::Debug for ReportKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for ReportKind {
    fn eq(&self, other: &ReportKind) -> bool {
        self.name == other.name
    }
}

/// For kinds whose members need no mending.
pub fn nothing_to_upgrade(_: &mut Object<'_>) {}

/// For kinds whose attributes all come from [`FieldSpec::attribute`].
pub fn no_more_attributes(_: &Report<'_>, _: &mut dyn FnMut(&str, Attribute<'_>)) {}

/// Shorthand for the tables of members.
pub(crate) const fn field(
    name: &'static str,
    aliases: &'static [&'static str],
    field_type: FieldType,
    attribute: &'static str,
) -> FieldSpec {
    FieldSpec { name, aliases, field_type, attribute: Some(attribute) }
}

/// The page that a report is about, as summaries name it.
pub(crate) fn page_of<'r>(report: &'r Report<'_>) -> &'r str {
    if report.url.is_empty() { "an unnamed page" } else { &report.url }
}

/// ` at https://shop.example/app.js:12`, for the end of a summary; empty where the source is unknown.
pub(crate) fn source_suffix(report: &Report<'_>) -> String {
    match (report.body.get_str("sourceFile"), report.body.get_u64("lineNumber")) {
        (Some(file), Some(line)) => format!(" at {file}:{line}"),
        (Some(file), None) => format!(" at {file}"),
        (None, _) => String::new(),
    }
}
