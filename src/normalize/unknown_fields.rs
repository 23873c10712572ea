//! Sanitizes fields that no kind describes, within a budget of bytes of JSON. An unknown field of a
//! known kind is truncated like a message; the body of an unknown type is limited by the budget alone.
//! Truncation is visible: a text or a list ends in `…`, an object in a field of that name.

use std::borrow::Cow;

use crate::config::Privacy;
use crate::model::{FieldType, Object, Value};
use crate::normalize::limits::MAX_UNKNOWN;
use crate::normalize::truncate::TRUNCATION_MARK;
use crate::normalize::{text_redact, url_redact};

/// Bytes of the quotes around a text and the comma after it.
const PUNCTUATION: usize = 3;

/// A sanitizer with a budget for all unknown fields of a body.
pub(super) struct UnknownFieldSanitizer {
    budget: usize,
    /// Whether texts may be as long as the budget allows.
    keep_all: bool,
    pub(super) privacy: Privacy,
    /// Fields dropped because the budget was used up.
    pub(super) dropped: u32,
}

impl UnknownFieldSanitizer {
    pub(super) fn new(keep_all: bool, privacy: Privacy) -> UnknownFieldSanitizer {
        // The body's own brackets, without a comma after its last field.
        UnknownFieldSanitizer { budget: MAX_UNKNOWN - 1, keep_all, privacy, dropped: 0 }
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
        Some(self.value(value))
    }

    /// Sanitizes a field's name. Without budget its value will be dropped, so it is returned as it is.
    pub(super) fn name<'a>(&mut self, name: Cow<'a, str>) -> Cow<'a, str> {
        match self.budget {
            0 => name,
            _ => self.text(name, FieldType::Token),
        }
    }

    fn value<'a>(&mut self, value: Value<'a>) -> Value<'a> {
        match value {
            Value::String(text) => Value::String(self.text(text, FieldType::Message)),
            Value::Array(items) => Value::Array(self.list(items)),
            Value::Object(object) => Value::Object(self.object(object)),
            scalar => {
                self.charge(serde_json::to_string(&scalar).map_or(0, |text| text.len() + 1));
                scalar
            }
        }
    }

    fn list<'a>(&mut self, items: Vec<Value<'a>>) -> Vec<Value<'a>> {
        self.brackets(items.is_empty());
        let mut kept = Vec::new();
        for item in items {
            if self.budget == 0 {
                kept.push(Value::String(Cow::Borrowed(TRUNCATION_MARK)));
                break;
            }
            // A null stays, because the position of the others counts.
            kept.push(self.value(item));
        }
        kept
    }

    fn object<'a>(&mut self, object: Object<'a>) -> Object<'a> {
        self.brackets(object.0.is_empty());
        let mut kept = Object::default();
        for (name, value) in object.0 {
            let name = self.name(name);
            if self.budget == 0 {
                kept.0.push((Cow::Borrowed(TRUNCATION_MARK), Value::String(Cow::Borrowed(TRUNCATION_MARK))));
                break;
            }
            kept.0.push((name, self.value(value)));
        }
        kept
    }

    fn text<'a>(&mut self, raw: Cow<'a, str>, field_type: FieldType) -> Cow<'a, str> {
        let text = match (is_url(&raw), self.keep_all) {
            (true, true) => url_redact::redact_complete(raw, self.privacy),
            (true, false) => url_redact::redact(raw, self.privacy),
            (false, true) => text_redact::redact(raw, self.privacy),
            (false, false) => text_redact::sanitize(raw, field_type, self.privacy),
        };
        let cost: usize = text.chars().map(json_len).sum();
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
    let in_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let quotes = |c: char| c.is_whitespace() || "\"`<>".contains(c);
    text.split_once("://")
        .is_some_and(|(scheme, rest)| scheme.bytes().all(in_scheme) && !rest.contains(quotes))
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeSeed;

    use super::*;
    use crate::model::{ValueBudget, ValueSeed};

    fn sanitized(json: &str) -> (String, u32) {
        let budget = ValueBudget::new(1 << 20);
        let value =
            ValueSeed::new(&budget).deserialize(&mut serde_json::Deserializer::from_str(json)).unwrap();
        let mut unknown = UnknownFieldSanitizer::new(true, crate::config::defaults().privacy);
        let sanitized = unknown.sanitize(value);
        (serde_json::to_string(&sanitized.unwrap()).unwrap(), unknown.dropped)
    }

    #[test]
    fn value_within_the_budget_is_unchanged() {
        let text = "wörd \\\" ".repeat(1500);
        let numbers = vec!["7"; 8000].join(",");
        let objects = vec![r#"{"":[null,-1.5,true,{}]}"#; 600].join(",");
        for json in [format!("\"{text}\""), format!("[{numbers}]"), format!("[{objects}]")] {
            assert!(json.len() < MAX_UNKNOWN && json.len() > MAX_UNKNOWN - 4096, "{}", json.len());
            assert_eq!(sanitized(&json).0, json);
        }
    }

    #[test]
    fn value_over_the_budget_is_truncated_visibly() {
        let control = "\\u0001".repeat(MAX_UNKNOWN);
        for (json, end) in [
            (format!("\"{control}\""), "…\""),
            (format!("[{}]", vec!["\"word\""; 4000].join(",")), "…\"]"),
            (format!("{{{}}}", vec!["\"a\":[7]"; 4000].join(",")), "\"…\":\"…\"}"),
        ] {
            let (text, _) = sanitized(&json);
            assert!(text.ends_with(end), "{}", &text[text.len() - 40..]);
            assert!((MAX_UNKNOWN - 64..=MAX_UNKNOWN + 64).contains(&text.len()), "{}", text.len());
        }
    }
}
