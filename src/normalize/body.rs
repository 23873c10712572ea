//! A body's members: under their specification's names, cleaned by what they hold, bounded in number
//! and size. What a kind does not know is kept within a budget.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::config::settings::Privacy;
use crate::kinds;
use crate::model::{Disposition, FieldType, LabelEnum, Object, ReportKind, Value};
use crate::normalize::unknown_fields::UnknownFieldSanitizer;
use crate::normalize::{Mode, text_redact, url_redact};

/// More members than this are dropped, and counted as dropped. An unknown type's are bounded by their
/// bytes.
const MAX_MEMBERS: usize = 128;

/// The members of a normalized report, and how many were dropped. They are cleaned where they stand.
pub(super) fn normalize_fields<'a>(
    kind: &ReportKind,
    mut raw: Object<'a>,
    privacy: Privacy,
    mode: Mode,
    urls: &mut url_redact::UrlRedactor<'a>,
) -> (Object<'a>, u32) {
    let keep_all = kind.fields.is_empty();
    let excess = if keep_all { 0 } else { raw.0.len().saturating_sub(MAX_MEMBERS) };
    raw.0.truncate(raw.0.len() - excess);
    (kind.upgrade)(&mut raw);
    let mut unknown = UnknownFieldSanitizer::new(keep_all, privacy);
    let (mut seen, mut repeated) = (0_u64, false);
    let field_index = kinds::field_index(kind);
    raw.0.retain_mut(|(name, value)| match field_index.get(&**name) {
        Some((_, field)) if mode == Mode::MetricsOnly && !field.field_type.is_metric_relevant() => false,
        Some(&(at, field)) => {
            *name = Cow::Borrowed(field.name);
            let says_something = clean(field.field_type, value, &mut unknown, urls);
            if says_something {
                repeated |= seen & (1 << at) != 0;
                seen |= 1 << at;
            }
            says_something
        }
        None if mode == Mode::MetricsOnly => false,
        None => {
            repeated = true;
            *name = unknown.name(std::mem::take(name));
            replace(value, |value| unknown.clean(value))
        }
    });
    if repeated {
        merge_repeated(&mut raw);
    }
    (raw, u32::try_from(excess).unwrap_or(u32::MAX).saturating_add(unknown.dropped))
}

/// Two spellings of one member, or one written twice: the last counts, in the place of the first. All
/// that are left say something.
fn merge_repeated(members: &mut Object<'_>) {
    let mut places: HashMap<_, usize, _> = HashMap::with_hasher(foldhash::quality::RandomState::default());
    let all = std::mem::take(&mut members.0);
    members.0.reserve(all.len());
    for (name, value) in all {
        match places.entry(name.clone()) {
            Entry::Occupied(place) => members.0[*place.get()].1 = value,
            Entry::Vacant(place) => {
                place.insert(members.0.len());
                members.0.push((name, value));
            }
        }
    }
}

/// Puts in the value's place what is made of it; says whether anything was.
fn replace<'a>(value: &mut Value<'a>, make: impl FnOnce(Value<'a>) -> Option<Value<'a>>) -> bool {
    match make(std::mem::take(value)) {
        None => false,
        Some(made) => {
            *value = made;
            true
        }
    }
}

/// The endpoint's disposition for a report that carries none.
pub(super) fn set_default_disposition(kind: &ReportKind, members: &mut Object<'_>, disposition: Disposition) {
    let Some(name) = kind.disposition else { return };
    if members.get_str(name).is_some() || matches!(members.get(name), Some(Value::Bool(_))) {
        return;
    }
    members.remove(name);
    let value = match kind.field(name) {
        Some(field) if field.field_type == FieldType::Bool => Value::Bool(disposition == Disposition::Report),
        _ => Value::String(Cow::Borrowed(disposition.as_str())),
    };
    members.0.push((Cow::Borrowed(name), value));
}

/// Cleans a member that the kind knows; says whether anything is known of it.
fn clean<'a>(
    field_type: FieldType,
    value: &mut Value<'a>,
    unknown: &mut UnknownFieldSanitizer,
    urls: &mut url_redact::UrlRedactor<'a>,
) -> bool {
    let number = |number: u64| i64::try_from(number).map_or(Value::Float(number as f64), Value::Integer);
    match (field_type, &mut *value) {
        (FieldType::NonZeroInt, value) => {
            replace(value, |value| value.as_u64().filter(|position| *position > 0).map(number))
        }
        (FieldType::Int, value) => replace(value, |value| value.as_u64().map(number)),
        (FieldType::Number, value) => replace(value, |value| value.as_f64().map(Value::Float)),
        (FieldType::Bool, value) if let Some(flag) = value.as_bool() => {
            *value = Value::Bool(flag);
            true
        }
        (FieldType::Bool | FieldType::MetricSource | FieldType::Any, value) => {
            replace(value, |value| unknown.clean(value).filter(|value| !value.is_null_or_empty()))
        }
        (_, Value::String(text)) => {
            let found = std::mem::take(text);
            *text = match field_type {
                FieldType::Url | FieldType::PageUrl => urls.redact(found),
                _ => text_redact::clean(found, field_type, unknown.privacy),
            };
            !text.is_empty()
        }
        // A text that is no text is kept as what it is, under the rules for strangers.
        (_, other) => replace(other, |other| unknown.clean(other)),
    }
}
