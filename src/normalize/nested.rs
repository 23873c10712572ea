//! Sanitizes lists and objects, within a budget of bytes of JSON. Texts in them are truncated like messages.
//! Truncation is visible: a text or a list ends in `…`, an object in a field of that name.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use crate::config::Privacy;
use crate::model::{FieldType, Object, Value, has_byte};
use crate::normalize::limits::{MAX_UNKNOWN, MAX_UNKNOWN_FIELDS};
use crate::normalize::truncate::TRUNCATION_MARK;
use crate::normalize::{text_redact, url_redact};

/// Bytes of the quotes around a text and the comma after it.
const PUNCTUATION: usize = 3;
/// Bytes reserved for what may exceed the budget: a number, and the mark of a truncation.
const RESERVE: usize = 64;
/// Lists and objects within one another that are shown.
const MAX_DEPTH: usize = 10;

/// A sanitizer with a budget for all values of a body that it is used for.
pub(super) struct NestedSanitizer {
    budget: usize,
    /// Whether a truncation is marked already.
    marked: bool,
    pub(super) privacy: Privacy,
    /// Fields dropped because the budget was used up.
    pub(super) dropped: u32,
}

/// Returns the fields that a kind does not have as JSON, and the number of dropped ones.
pub(super) fn unknown_members(mut fields: Object<'_>, privacy: Privacy) -> (String, u32) {
    fields.0.retain(|(_, value)| !matches!(value, Value::Null));
    if fields.0.is_empty() {
        return (String::new(), 0);
    }
    let all = fields.0.len();
    let mut kept = NestedSanitizer::new(MAX_UNKNOWN, privacy).members(fields, MAX_UNKNOWN_FIELDS, 0);
    let marks = usize::from(kept.0.last().is_some_and(|(name, _)| name == TRUNCATION_MARK));
    let dropped = u32::try_from(all + marks - kept.0.len()).unwrap_or(u32::MAX);
    merge_repeated(&mut kept);
    // JSON is written to memory without errors.
    (serde_json::to_string(&kept).unwrap_or_default(), dropped)
}

impl NestedSanitizer {
    pub(super) fn new(budget: usize, privacy: Privacy) -> NestedSanitizer {
        NestedSanitizer { budget: budget - RESERVE, marked: false, privacy, dropped: 0 }
    }

    /// Sanitizes a field's value; `None` for `null` and once the budget is used up.
    pub(super) fn sanitize<'a>(&mut self, value: Value<'a>) -> Option<Value<'a>> {
        if matches!(value, Value::Null) {
            return None;
        }
        if self.budget == 0 {
            self.dropped = self.dropped.saturating_add(1);
            return None;
        }
        self.marked = false;
        Some(self.value(value, 0))
    }

    /// Sanitizes a value within `depth` lists and objects.
    fn value<'a>(&mut self, value: Value<'a>, depth: usize) -> Value<'a> {
        match value {
            Value::String(text) => Value::String(self.text(text, FieldType::Message)),
            Value::Array(_) | Value::Object(_) if depth == MAX_DEPTH => {
                Value::String(self.text(Cow::Borrowed(TRUNCATION_MARK), FieldType::Message))
            }
            Value::Array(items) => Value::Array(self.list(items, depth + 1)),
            Value::Object(object) => {
                self.brackets(object.0.is_empty());
                let mut kept = self.members(object, usize::MAX, depth + 1);
                merge_repeated(&mut kept);
                Value::Object(kept)
            }
            scalar => {
                self.charge(serde_json::to_string(&scalar).map_or(0, |text| text.len() + 1));
                scalar
            }
        }
    }

    fn list<'a>(&mut self, items: Vec<Value<'a>>, depth: usize) -> Vec<Value<'a>> {
        self.brackets(items.is_empty());
        let mut kept = Vec::with_capacity(items.len().min(MAX_UNKNOWN_FIELDS));
        for item in items {
            if self.budget == 0 {
                if !std::mem::replace(&mut self.marked, true) {
                    kept.push(Value::String(Cow::Borrowed(TRUNCATION_MARK)));
                }
                break;
            }
            // A null stays, because the position of the others counts.
            kept.push(self.value(item, depth));
        }
        kept
    }

    /// Sanitizes the members of an object, and marks it as truncated if it has more than `max`.
    fn members<'a>(&mut self, object: Object<'a>, max: usize, depth: usize) -> Object<'a> {
        let all = object.0.len();
        let mut kept = Object(Vec::with_capacity(all.min(MAX_UNKNOWN_FIELDS)));
        for (name, value) in object.0 {
            // The last place is for the mark if there are more.
            let is_full = all > max && kept.0.len() + 1 >= max;
            let name = self.text(name, FieldType::Token);
            if is_full || self.budget == 0 {
                // Unless something in it is marked.
                if !std::mem::replace(&mut self.marked, true) {
                    let mark = Cow::Borrowed(TRUNCATION_MARK);
                    kept.0.push((mark.clone(), Value::String(mark)));
                }
                break;
            }
            kept.0.push((name, self.value(value, depth)));
        }
        kept
    }

    fn text<'a>(&mut self, raw: Cow<'a, str>, field_type: FieldType) -> Cow<'a, str> {
        if self.budget == 0 {
            return raw;
        }
        let text = if is_url(&raw) {
            url_redact::redact(raw, self.privacy)
        } else {
            text_redact::sanitize(raw, field_type, self.privacy)
        };
        let is_plain = !has_byte(text.as_bytes(), |byte| (byte < b' ') | (byte == b'"') | (byte == b'\\'));
        let cost = if is_plain { text.len() } else { text.chars().map(json_len).sum() };
        if cost + PUNCTUATION <= self.budget {
            self.charge(cost + PUNCTUATION);
            return text;
        }
        let room = self.budget.saturating_sub(PUNCTUATION + TRUNCATION_MARK.len());
        self.budget = 0;
        Cow::Owned(truncate_to_json_len(&text, room).to_owned() + TRUNCATION_MARK)
    }

    /// Charges brackets and a comma. The comma that the last element was charged for does not exist.
    fn brackets(&mut self, empty: bool) {
        self.charge(if empty { PUNCTUATION } else { PUNCTUATION - 1 });
    }

    fn charge(&mut self, bytes: usize) {
        self.budget = self.budget.saturating_sub(bytes);
    }
}

/// Merges fields of the same name: the last value counts, in the position of the first.
pub(super) fn merge_repeated(body: &mut Object<'_>) {
    if body.0.len() < 2 {
        return;
    }
    let hasher = foldhash::quality::RandomState::default();
    let mut names = HashSet::with_capacity_and_hasher(body.0.len(), hasher.clone());
    if body.0.iter().all(|(name, _)| names.insert(&**name)) {
        return;
    }
    let mut positions: HashMap<_, usize, _> = HashMap::with_hasher(hasher);
    let all = std::mem::take(&mut body.0);
    body.0.reserve(all.len());
    for (name, value) in all {
        match positions.entry(name.clone()) {
            Entry::Occupied(position) => body.0[*position.get()].1 = value,
            Entry::Vacant(position) => {
                position.insert(body.0.len());
                body.0.push((name, value));
            }
        }
    }
}

/// Returns the longest prefix of at most `room` bytes of JSON.
fn truncate_to_json_len(text: &str, room: usize) -> &str {
    let mut used = 0;
    let end = text.char_indices().find(|(_, c)| {
        used += json_len(*c);
        used > room
    });
    &text[..end.map_or(text.len(), |(at, _)| at)]
}

fn json_len(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        _ => c.len_utf8(),
    }
}

/// Returns whether a text is a URL as a whole: a scheme, and neither blanks nor quotes. Other texts,
/// such as `fetch('https://…')`, are searched for URLs.
fn is_url(text: &str) -> bool {
    let in_scheme = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let quotes = |c: char| c.is_whitespace() || "\"`<>".contains(c);
    let has_colon = text.bytes().any(|byte| byte == b':');
    let split = if has_colon { text.split_once("://") } else { None };
    split.is_some_and(|(scheme, rest)| scheme.bytes().all(in_scheme) && !rest.contains(quotes))
}

#[cfg(test)]
mod tests;
