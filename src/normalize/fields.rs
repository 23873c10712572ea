//! Normalizes the fields of a body: renamed to their specification's names, sanitized by their type,
//! bounded in number and size. Fields that the kind does not have are set apart, as one text.

use std::borrow::Cow;

use crate::config::Privacy;
use crate::kinds;
use crate::model::{Disposition, FieldSpec, FieldType, LabelEnum, Object, ReportKind, Value};
use crate::normalize::limits::{MAX_FIELDS, MAX_NESTED};
use crate::normalize::nested::{NestedSanitizer, merge_repeated, unknown_members};
use crate::normalize::text_redact;
use crate::normalize::url_redactor::UrlRedactor;

/// How much of a report is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// All of it, because it becomes an event.
    Full,
    /// The input of counters and rules. Policies, messages, stacks and unknown fields are dropped unread.
    MetricsOnly,
}

/// The headers of the page's own request, which Firefox 4 to 13 sent. Dropped, because they contain cookies.
pub(super) const REQUEST_HEADERS: [&str; 3] = ["request-headers", "request_headers", "requestHeaders"];

pub(super) struct Normalized<'a> {
    pub(super) body: Object<'a>,
    /// The fields that the kind does not have, as JSON; empty if there are none.
    pub(super) unknown: String,
    /// See [`crate::model::Report::redacted`].
    pub(super) redacted: Object<'a>,
    pub(super) dropped: u32,
}

/// Normalizes the fields of a body. If the site comes from the referrer, that is kept in every mode.
pub(super) fn normalize_fields<'a>(
    kind: &ReportKind,
    mut body: Object<'a>,
    privacy: Privacy,
    mode: Mode,
    keeps_referrer: bool,
    urls: &mut UrlRedactor<'a>,
) -> Normalized<'a> {
    let excess = if kind.fields.is_empty() { 0 } else { body.0.len().saturating_sub(MAX_FIELDS) };
    body.0.truncate(body.0.len() - excess);
    (kind.upgrade)(&mut body);
    if body.0.is_empty() {
        return Normalized { body, unknown: String::new(), redacted: Object::default(), dropped: 0 };
    }
    let drops = |field: &FieldSpec| {
        mode == Mode::MetricsOnly
            && !field.field_type.is_metric_relevant()
            && !(keeps_referrer && field.name == "referrer")
    };
    let mut nested = NestedSanitizer::new(MAX_NESTED, privacy);
    let mut unknown = Object::default();
    let mut redacted = Object::default();
    let strictest = Privacy { client_address: privacy.client_address, ..Privacy::default() };
    let keeps_private = privacy != strictest;
    let mut seen = 0_u64;
    let mut repeated = false;
    let field_index = kinds::field_index(kind);
    body.0.retain_mut(|(name, value)| match field_index.get(&**name) {
        Some((_, field)) if drops(field) => false,
        Some(&(at, field)) => {
            *name = Cow::Borrowed(field.name);
            if keeps_private
                && kind.identity.contains(&field.name)
                && let Value::String(text) = &*value
            {
                let text = text_redact::sanitize(text.clone(), field.field_type, strictest);
                redacted.0.push((name.clone(), Value::String(text)));
            }
            let kept = sanitize(field.field_type, value, &mut nested, urls);
            if kept {
                repeated |= seen & (1 << at) != 0;
                seen |= 1 << at;
            }
            kept
        }
        None if mode == Mode::MetricsOnly || REQUEST_HEADERS.contains(&&**name) => false,
        None => {
            unknown.0.push((std::mem::take(name), std::mem::take(value)));
            false
        }
    });
    if repeated {
        merge_repeated(&mut body);
    }
    let (unknown, dropped) = unknown_members(unknown, privacy);
    let dropped = dropped.saturating_add(nested.dropped);
    let dropped = dropped.saturating_add(u32::try_from(excess).unwrap_or(u32::MAX));
    Normalized { body, unknown, redacted, dropped }
}

/// Replaces a value by the result of `make`; returns whether there was a result.
fn replace<'a>(value: &mut Value<'a>, make: impl FnOnce(Value<'a>) -> Option<Value<'a>>) -> bool {
    let made = make(std::mem::take(value));
    let kept = made.is_some();
    *value = made.unwrap_or_default();
    kept
}

/// Adds the endpoint's disposition to a report that has none.
pub(super) fn set_default_disposition(kind: &ReportKind, body: &mut Object<'_>, disposition: Disposition) {
    let Some(name) = kind.disposition else { return };
    if body.get_str(name).is_some() || matches!(body.get(name), Some(Value::Bool(_))) {
        return;
    }
    body.remove(name);
    let value = match kind.field(name) {
        Some(field) if field.field_type == FieldType::Bool => Value::Bool(disposition == Disposition::Report),
        _ => Value::String(Cow::Borrowed(disposition.as_str())),
    };
    body.0.push((Cow::Borrowed(name), value));
}

/// Sanitizes a known field; returns whether it has a value.
fn sanitize<'a>(
    field_type: FieldType,
    value: &mut Value<'a>,
    nested: &mut NestedSanitizer,
    urls: &mut UrlRedactor<'a>,
) -> bool {
    let number = |number: u64| i64::try_from(number).map_or(Value::Float(number as f64), Value::Integer);
    match (field_type, &mut *value) {
        (FieldType::NonZeroInt, value) => {
            replace(value, |value| value.as_u64().filter(|position| *position > 0).map(number))
        }
        (FieldType::Int, value) => replace(value, |value| value.as_u64().map(number)),
        (FieldType::Number, value) => replace(value, |value| value.as_f64().map(Value::Float)),
        (FieldType::Bool, value) => replace(value, |value| value.as_bool().map(Value::Bool)),
        (FieldType::MetricSource | FieldType::Any, value) => {
            replace(value, |value| nested.sanitize(value).filter(|value| !value.is_null_or_empty()))
        }
        (_, Value::String(text)) => {
            let raw = std::mem::take(text);
            *text = match field_type {
                FieldType::Url | FieldType::PageUrl => urls.redact(raw),
                _ => text_redact::sanitize(raw, field_type, nested.privacy),
            };
            !text.is_empty()
        }
        // A text is a text or absent, so that a client does not determine the types of events.
        (_, _) => false,
    }
}
