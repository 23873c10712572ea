//! A normalized report and its kind, in one file because each refers to the other.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use smallvec::smallvec;

use crate::model::classification::{Class, Classification, Noise, What};
use crate::model::envelope::Disposition;
use crate::model::evaluation::{Evaluation, Observations, Severity};
use crate::model::family::Family;
use crate::model::json::{Object, Value};
use crate::model::label::{ABSENT, Label, LabelEnum, LabelValues, OTHER};
use crate::model::observation::{Increment, MAX_LABELS, Observation};

/// One report in the Reporting API's generic shape, redacted and bounded.
#[derive(Debug, Clone, PartialEq)]
pub struct Report<'a> {
    /// The entry of the table of kinds that it belongs to.
    pub kind: &'static ReportKind,
    /// The report type as sent.
    pub report_type: Cow<'a, str>,
    /// Milliseconds between the event and receipt, 0 to 24 h.
    pub age: u64,
    /// The URL it is about, redacted; empty when unknown.
    pub url: Cow<'a, str>,
    /// The user agent; empty when unknown.
    pub user_agent: Cow<'a, str>,
    /// The fields under their specification's names, redacted and truncated. A known field whose value
    /// means "unknown" (null, empty, line 0) is absent.
    pub body: Object<'a>,
    /// Whether a URL, before its redaction, was a file in a browser's folder of extensions.
    pub in_extensions_folder: bool,
    /// The fields that the kind does not have, redacted and bounded: a JSON object, empty if there are none.
    /// As one text, so that a client does not determine the members of events.
    pub unknown_members: String,
    /// The texts of the identity, redacted as by default, if `privacy` keeps more of them in `body`.
    pub redacted: Object<'a>,
    /// Fields that were dropped because the body had too many.
    pub dropped_members: u32,
    /// When it was received.
    pub received: Timestamp,
    /// When it happened: received − age.
    pub occurred: Timestamp,
}

impl Report<'_> {
    /// Returns whether the policy was enforced, according to the kind's disposition field.
    pub fn disposition(&self) -> Disposition {
        match self.kind.disposition.and_then(|field| self.body.get(field)) {
            Some(Value::Bool(true)) => Disposition::Report,
            Some(Value::Bool(false)) => Disposition::Enforce,
            value => Disposition::parse(value.and_then(Value::as_str)),
        }
    }

    /// Evaluates the report by its kind. Noise is [`Severity::Info`], unless a rule sets the severity.
    pub fn evaluate(&self, classification: &Classification<'_>) -> Evaluation<'_> {
        let severity = classification.severity.unwrap_or_else(|| match classification.noise {
            Noise::None => (self.kind.severity)(self),
            _ => Severity::Info,
        });
        Evaluation { severity, observations: (self.kind.observe)(self, classification) }
    }

    /// Returns the observation that adds 1 to the kind's first family, if it has one.
    pub fn count(&self, classification: &Classification<'_>) -> Observations<'_> {
        let Some(family) = self.kind.families.first() else { return Observations::new() };
        debug_assert_eq!(family.labels.len(), self.kind.labels.len() + 1, "{}", family.name);
        let mut labels = [OTHER; MAX_LABELS - 1];
        for (label, source) in labels.iter_mut().zip(self.kind.labels) {
            *label = match source {
                LabelSource::Disposition => self.disposition().label(),
                LabelSource::Noise => classification.noise.label(),
                LabelSource::Page => classification.page.map_or(ABSENT, Label::bounded),
                LabelSource::OneOf(field, values) => values.label(self.body.get_str(field)),
                LabelSource::By(label) => label(self),
            };
        }
        smallvec![Observation { family, labels, amount: Increment::Count(1), host: None }]
    }
}

/// One kind of report.
pub struct ReportKind {
    /// The canonical report type: the label `kind`.
    pub name: &'static str,
    /// Further report types under which browsers send it.
    pub aliases: &'static [&'static str],
    /// The URL of the specification that defines it.
    pub specification: &'static str,
    /// The field that states whether a policy was enforced: a word, or a [`FieldType::Bool`] that is
    /// true for report-only. The endpoint's path or query may supply it to a report without one.
    pub disposition: Option<&'static str>,
    /// The body's fields in the specification and in the engines.
    pub fields: &'static [FieldSpec],
    /// The fields whose values make two of its reports the same problem, besides site and disposition.
    pub identity: &'static [&'static str],
    /// Returns what happened to the client.
    pub what: fn(&Report<'_>, Disposition) -> What,
    /// Returns what an attacker would gain.
    pub class: fn(&Report<'_>) -> Class,
    /// Upgrades old shapes of the body that renaming alone cannot.
    pub upgrade: fn(&mut Object<'_>),
    /// Returns the severity of a report that is not noise.
    pub severity: fn(&Report<'_>) -> Severity,
    /// Returns what a report adds to `families`.
    pub observe: for<'r> fn(&'r Report<'_>, &Classification<'_>) -> Observations<'r>,
    /// Returns a one-line description for people.
    pub summary: fn(&Report<'_>) -> String,
    /// Emits event attributes beyond those of [`FieldSpec::attribute`].
    pub attributes: fn(&Report<'_>, AttributeSink<'_>),
    /// What `attributes` emits.
    pub derived_attributes: &'static [DerivedAttribute],
    /// The kind's own metric families.
    pub families: &'static [&'static Family],
    /// Sources of the first family's labels, after `site`, for [`Report::count`].
    pub labels: &'static [LabelSource],
}

/// Source of a label.
pub enum LabelSource {
    /// The disposition.
    Disposition,
    /// The noise class.
    Noise,
    /// The configured page; absent if there is none.
    Page,
    /// The field, if its value is one of these.
    OneOf(&'static str, &'static LabelValues),
    /// The result of this function.
    By(for<'r> fn(&'r Report<'_>) -> Label<'r>),
}

impl ReportKind {
    /// A kind whose reports are of [`Severity::Info`] unless they have a disposition, and are counted in its only
    /// family; each entry overrides what it has.
    pub const DEFAULT: ReportKind = ReportKind {
        name: "",
        aliases: &[],
        specification: "",
        disposition: None,
        fields: &[],
        identity: &[],
        what: |report, disposition| match disposition {
            _ if report.kind.disposition.is_none() => What::Other,
            Disposition::Enforce => What::Enforced,
            Disposition::Report | Disposition::Unknown => What::ReportOnly,
        },
        class: |_| Class::Other,
        upgrade: |_| {},
        severity: |report| match report.disposition() {
            _ if report.kind.disposition.is_none() => Severity::Info,
            Disposition::Enforce => Severity::Error,
            Disposition::Report | Disposition::Unknown => Severity::Warn,
        },
        observe: |report, classification| report.count(classification),
        summary: |_| String::new(),
        attributes: |_, _| {},
        derived_attributes: &[],
        families: &[],
        labels: &[],
    };

    /// Returns the OTLP `EventName`, in ASCII.
    pub fn event_name(&self) -> impl Iterator<Item = u8> + Clone {
        let snake_case = self.name.bytes().map(|byte| if byte == b'-' { b'_' } else { byte });
        b"browser.report.".iter().copied().chain(snake_case)
    }

    /// Returns the field of this name or alias by a linear search; for a whole body use [`crate::kinds::field_index`].
    pub fn field(&self, name: &str) -> Option<&'static FieldSpec> {
        self.fields.iter().find(|field| field.name == name || field.aliases.contains(&name))
    }
}

impl fmt::Debug for ReportKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for ReportKind {
    fn eq(&self, other: &ReportKind) -> bool {
        self.name == other.name
    }
}

/// One field of a kind's body.
pub struct FieldSpec {
    /// Its name in the specification.
    pub name: &'static str,
    /// Other names under which browsers send it.
    pub aliases: &'static [&'static str],
    /// What it contains, which decides how it is normalized.
    pub field_type: FieldType,
    /// The event attribute that carries it. `None`: [`ReportKind::attributes`] emits it.
    pub attribute: Option<&'static str>,
}

impl FieldSpec {
    /// The same field with these aliases.
    pub const fn aliases(self, aliases: &'static [&'static str]) -> FieldSpec {
        FieldSpec { aliases, ..self }
    }
}

/// An event attribute that [`ReportKind::attributes`] emits.
#[allow(missing_docs)] // the names are the documentation
pub struct DerivedAttribute {
    pub name: &'static str,
    pub field_type: FieldType,
    /// What it is derived from, in Markdown.
    pub source: &'static str,
}

/// The content of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldType {
    /// A URL, a bare scheme, or a keyword in the place of a URL.
    Url,
    /// Short text out of a set.
    Token,
    /// Source text: 256 characters.
    Sample,
    /// A sentence for people: 1 KiB.
    Message,
    /// The URL of the page, or of its referrer: redacted like all URLs. Neither a label nor a noise signal comes from
    /// it, because a report has a `url` of its own; only a frame without an address is of its referrer's site.
    PageUrl,
    /// A stack trace: 8 KiB.
    Stack,
    /// A policy: 8 KiB, without nonces.
    Policy,
    /// An integer whose 0 means "unknown": lines, columns, status codes.
    NonZeroInt,
    /// An integer whose 0 is a value.
    Int,
    /// Any number.
    Number,
    /// A boolean.
    Bool,
    /// Sums that the kind's `upgrade` computes and its metrics come from; within the budget of nested values.
    MetricSource,
    /// Anything else, such as a list; within the budget of nested values.
    Any,
}

impl FieldType {
    /// Returns whether a metric's label or a noise signal can come from it.
    pub fn is_metric_relevant(self) -> bool {
        !matches!(
            self,
            FieldType::PageUrl | FieldType::Policy | FieldType::Message | FieldType::Stack | FieldType::Any
        )
    }
}

/// A callback that receives an attribute's name and value.
pub type AttributeSink<'g> = &'g mut dyn FnMut(&str, Attribute<'_>);

/// An attribute's value.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs)] // the types are the documentation
pub enum Attribute<'a> {
    Text(&'a str),
    Integer(i64),
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// A list or an object, to be written as JSON text.
    Json(&'a Value<'a>),
}
