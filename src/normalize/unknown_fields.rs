//! What no table describes: kept, cleaned, and bounded by the bytes of JSON that it takes. Members of a
//! known kind that its table lacks are cut like messages; an unknown type's body has no limit but the
//! budget. What is cut shows it: a text ends in `…`, so does a list, and an object has a member of that
//! name.

use std::borrow::Cow;

use crate::config::settings::Privacy;
use crate::model::FieldType;
use crate::model::{Object, Value};
use crate::normalize::{text_redact, url_redact};

/// What all members together that the kind does not know may take, in bytes of JSON.
const MAX_UNKNOWN: usize = 16 * 1024;
/// Quotes around a text and the comma behind it.
const PUNCTUATION: usize = 3;
/// Stands where something was cut off.
const TRUNCATION_MARK: &str = "…";

/// Cleans within a budget.
pub(super) struct UnknownFieldSanitizer {
    budget: usize,
    /// Whether texts may be as long as the budget.
    keep_all: bool,
    pub(super) privacy: Privacy,
    /// Members that found the budget used up.
    pub(super) dropped: u32,
}

impl UnknownFieldSanitizer {
    pub(super) fn new(keep_all: bool, privacy: Privacy) -> UnknownFieldSanitizer {
        // The body's own brackets, without a comma behind its last member.
        UnknownFieldSanitizer { budget: MAX_UNKNOWN - 1, keep_all, privacy, dropped: 0 }
    }

    /// A member's value; `None` where nothing is known or nothing is left.
    pub(super) fn clean<'a>(&mut self, value: Value<'a>) -> Option<Value<'a>> {
        if matches!(value, Value::Null) {
            return None;
        }
        if self.budget == 0 {
            self.dropped = self.dropped.saturating_add(1);
            return None;
        }
        Some(self.value(value))
    }

    /// A member's name. It costs nothing where there is nothing to name.
    pub(super) fn name<'a>(&mut self, name: Cow<'a, str>) -> Cow<'a, str> {
        match self.budget {
            0 => name,
            _ => self.text(name, FieldType::Token),
        }
    }

    fn value<'a>(&mut self, value: Value<'a>) -> Value<'a> {
        match value {
            Value::String(found) => Value::String(self.text(found, FieldType::Message)),
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
            // A null keeps its place.
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

    fn text<'a>(&mut self, found: Cow<'a, str>, field_type: FieldType) -> Cow<'a, str> {
        let cleaned = match (is_url(&found), self.keep_all) {
            (true, true) => url_redact::redact_complete(found, self.privacy),
            (true, false) => url_redact::redact(found, self.privacy),
            (false, true) => text_redact::redact(found, self.privacy),
            (false, false) => text_redact::clean(found, field_type, self.privacy),
        };
        let cost: usize = cleaned.chars().map(json_len).sum();
        if cost + PUNCTUATION <= self.budget {
            self.charge(cost + PUNCTUATION);
            return cleaned;
        }
        let room = self.budget.saturating_sub(PUNCTUATION + TRUNCATION_MARK.len());
        self.budget = 0;
        Cow::Owned(truncate_to_json_len(&cleaned, room).to_owned() + TRUNCATION_MARK)
    }

    /// Brackets and the comma behind; the last element paid for one that it does not have.
    fn brackets(&mut self, empty: bool) {
        self.charge(if empty { PUNCTUATION } else { PUNCTUATION - 1 });
    }

    fn charge(&mut self, bytes: usize) {
        self.budget = self.budget.saturating_sub(bytes);
    }
}

/// The longest beginning that takes no more than so many bytes of JSON.
fn truncate_to_json_len(text: &str, room: usize) -> &str {
    let mut used = 0;
    let end = text.char_indices().find(|(_, c)| {
        used += json_len(*c);
        used > room
    });
    &text[..end.map_or(text.len(), |(at, _)| at)]
}

/// Bytes that a character takes in JSON.
fn json_len(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        _ => c.len_utf8(),
    }
}

/// Whether a text is a URL as a whole: it starts with a scheme and quotes nothing. Code such as
/// `fetch('https://…')` does, and is searched for URLs instead.
fn is_url(text: &str) -> bool {
    let in_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let quotes = |c: char| c.is_whitespace() || "\"`<>".contains(c);
    text.split_once("://")
        .is_some_and(|(scheme, rest)| scheme.bytes().all(in_scheme) && !rest.contains(quotes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(json: &str) -> (String, u32) {
        let value = crate::model::json::tests::read(json);
        let mut unknown = UnknownFieldSanitizer::new(true, crate::config::defaults().privacy);
        let cleaned = unknown.clean(value);
        (serde_json::to_string(&cleaned.unwrap()).unwrap(), unknown.dropped)
    }

    #[test]
    fn what_fits_is_whole() {
        let text = "wörd \\\" ".repeat(1500);
        let numbers = vec!["7"; 8000].join(",");
        let objects = vec![r#"{"":[null,-1.5,true,{}]}"#; 600].join(",");
        for json in [format!("\"{text}\""), format!("[{numbers}]"), format!("[{objects}]")] {
            assert!(json.len() < MAX_UNKNOWN && json.len() > MAX_UNKNOWN - 4096, "{}", json.len());
            assert_eq!(cleaned(&json).0, json);
        }
    }

    #[test]
    fn what_does_not_fit_is_cut_visibly() {
        let control = "\\u0001".repeat(MAX_UNKNOWN);
        for (json, end) in [
            (format!("\"{control}\""), "…\""),
            (format!("[{}]", vec!["\"word\""; 4000].join(",")), "…\"]"),
            (format!("{{{}}}", vec!["\"a\":[7]"; 4000].join(",")), "\"…\":\"…\"}"),
        ] {
            let (text, _) = cleaned(&json);
            assert!(text.ends_with(end), "{}", &text[text.len() - 40..]);
            assert!((MAX_UNKNOWN - 64..=MAX_UNKNOWN + 64).contains(&text.len()), "{}", text.len());
        }
    }
}
