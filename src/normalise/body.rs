//! A body's members: under their specification's names, cleaned by what they hold, bounded in number
//! and size. What a kind does not know is kept within a budget.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::config::settings::Privacy;
use crate::kind::{Holds, Kind};
use crate::normalise::unknown::Unknown;
use crate::normalise::{Detail, text, url};
use crate::report::Disposition;
use crate::value::{Object, Value};

/// More members than this are dropped, and counted as dropped. An unknown type's are bounded by their
/// bytes.
const MAX_MEMBERS: usize = 128;

/// The members of a normalised report, and how many were dropped.
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
    let mut members = Object(Vec::with_capacity(raw.0.len().min(MAX_MEMBERS)));
    // Where there may be thousands of members they are not compared one by one.
    let mut names = HashSet::with_hasher(foldhash::quality::RandomState::default());
    let mut seen = 0_u64;
    for (name, value) in raw.0 {
        let known_member = kind.member(&name);
        let counted = known_member.is_some_and(|(_, member)| member.holds.can_count());
        if detail == Detail::Counters && !counted {
            continue;
        }
        let (name, value, repeated) = match known_member {
            Some((at, member)) => {
                let repeated = seen & (1 << at) != 0;
                let value = known(member.holds, value, &mut unknown, urls);
                seen |= u64::from(value.is_some()) << at;
                (Cow::Borrowed(member.name), value, repeated)
            }
            None => {
                let name = unknown.name(name);
                let value = unknown.clean(value);
                let repeated = match whole {
                    true => value.is_some() && !names.insert(name.clone()),
                    false => members.get(&name).is_some(),
                };
                (name, value, repeated)
            }
        };
        // Two spellings of one member, or one written twice: the last that says something counts.
        let earlier = repeated.then(|| members.0.iter_mut().find(|(known, _)| *known == name)).flatten();
        match (value, earlier) {
            (Some(value), Some(earlier)) => earlier.1 = value,
            (Some(value), None) => members.0.push((name, value)),
            (None, _) => {}
        }
    }
    (members, u32::try_from(excess).unwrap_or(u32::MAX).saturating_add(unknown.dropped))
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

/// A member that the kind knows; `None` when its value means that nothing is known.
fn known<'a>(
    holds: Holds,
    value: Value<'a>,
    unknown: &mut Unknown,
    urls: &mut url::Redactor<'a>,
) -> Option<Value<'a>> {
    let number = |number: u64| i64::try_from(number).map_or(Value::Float(number as f64), Value::Integer);
    match holds {
        Holds::Position => value.as_unsigned().filter(|position| *position > 0).map(number),
        Holds::Count => value.as_unsigned().map(number),
        Holds::Number => value.as_number().map(Value::Float),
        Holds::Flag if let Some(flag) = value.as_flag() => Some(Value::Bool(flag)),
        Holds::Flag | Holds::Counted | Holds::Anything => {
            unknown.clean(value).filter(|value| !value.is_blank())
        }
        _ => match value {
            Value::String(found) if holds == Holds::Url => {
                Some(Value::String(urls.redact(found))).filter(|value| !value.is_blank())
            }
            Value::String(found) => Some(Value::String(text::clean(found, holds, unknown.privacy)))
                .filter(|value| !value.is_blank()),
            // A text that is no text is kept as what it is, under the rules for strangers.
            other => unknown.clean(other),
        },
    }
}
