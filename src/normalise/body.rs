//! A body's members: under their specification's names, cleaned by what they hold, bounded in number
//! and size. What a kind does not know is kept within a budget.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::config::settings::Privacy;
use crate::kind::{Holds, Kind};
use crate::normalise::unknown::Unknown;
use crate::normalise::{Detail, text, url};
use crate::report::Disposition;
use crate::value::{Object, Value};

/// More members than this are dropped, and counted as dropped. An unknown type's are bounded by their
/// bytes.
const MAX_MEMBERS: usize = 128;

/// The members of a normalised report, and how many were dropped. They are cleaned where they stand.
pub(super) fn members<'a>(
    kind: &Kind,
    mut raw: Object<'a>,
    privacy: Privacy,
    detail: Detail,
    urls: &mut url::Redactor<'a>,
) -> (Object<'a>, u32) {
    let whole = kind.members.is_empty();
    let excess = if whole { 0 } else { raw.0.len().saturating_sub(MAX_MEMBERS) };
    raw.0.truncate(raw.0.len() - excess);
    (kind.mend)(&mut raw);
    let mut unknown = Unknown::new(whole, privacy);
    let (mut seen, mut repeated) = (0_u64, false);
    let spellings = kind.spellings();
    raw.0.retain_mut(|(name, value)| match spellings.get(&**name) {
        Some((_, member)) if detail == Detail::Counters && !member.holds.can_count() => false,
        Some(&(at, member)) => {
            *name = Cow::Borrowed(member.name);
            let says_something = clean(member.holds, value, &mut unknown, urls);
            if says_something {
                repeated |= seen & (1 << at) != 0;
                seen |= 1 << at;
            }
            says_something
        }
        None if detail == Detail::Counters => false,
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
pub(super) fn supply_disposition(kind: &Kind, members: &mut Object<'_>, disposition: Disposition) {
    let Some(name) = kind.disposition else { return };
    if members.text(name).is_some() || matches!(members.get(name), Some(Value::Bool(_))) {
        return;
    }
    members.take(name);
    let value = match kind.member(name) {
        Some((_, member)) if member.holds == Holds::Flag => Value::Bool(disposition == Disposition::Report),
        _ => Value::String(Cow::Borrowed(disposition.as_str())),
    };
    members.0.push((Cow::Borrowed(name), value));
}

/// Cleans a member that the kind knows; says whether anything is known of it.
fn clean<'a>(
    holds: Holds,
    value: &mut Value<'a>,
    unknown: &mut Unknown,
    urls: &mut url::Redactor<'a>,
) -> bool {
    let number = |number: u64| i64::try_from(number).map_or(Value::Float(number as f64), Value::Integer);
    match (holds, &mut *value) {
        (Holds::Position, value) => {
            replace(value, |value| value.as_unsigned().filter(|position| *position > 0).map(number))
        }
        (Holds::Count, value) => replace(value, |value| value.as_unsigned().map(number)),
        (Holds::Number, value) => replace(value, |value| value.as_number().map(Value::Float)),
        (Holds::Flag, value) if let Some(flag) = value.as_flag() => {
            *value = Value::Bool(flag);
            true
        }
        (Holds::Flag | Holds::Counted | Holds::Anything, value) => {
            replace(value, |value| unknown.clean(value).filter(|value| !value.is_blank()))
        }
        (_, Value::String(text)) => {
            let found = std::mem::take(text);
            *text = match holds {
                Holds::Url | Holds::PageUrl => urls.redact(found),
                _ => text::clean(found, holds, unknown.privacy),
            };
            !text.is_empty()
        }
        // A text that is no text is kept as what it is, under the rules for strangers.
        (_, other) => replace(other, |other| unknown.clean(other)),
    }
}
