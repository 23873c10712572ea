//! Checks a tree against the schema of the settings. All errors are found, each with its line, its path, what was
//! found and what would be valid.

use http::header::{HeaderName, HeaderValue};
use serde_json::Value as Json;

use super::error::{Invalid, join, one_of};
use super::format;
use super::yaml::{Key, SpannedValue, Value};

/// Returns the valid keys of a map with fixed ones.
pub(super) fn keys(schema: &Json) -> Option<Vec<&str>> {
    Some(schema.get("properties")?.as_object()?.keys().map(String::as_str).collect())
}

/// Returns the valid words, if the schema lists them.
pub(super) fn words(schema: &Json) -> Option<Vec<&str>> {
    if schema["type"] == "boolean" || schema["type"][0] == "boolean" {
        return Some(vec!["true", "false"]);
    }
    let one_of = schema["oneOf"].as_array().into_iter().flatten().map(|word| &word["const"]);
    let words = schema["enum"].as_array().into_iter().flatten().chain(one_of).filter_map(Json::as_str);
    Some(words.collect()).filter(|words: &Vec<&str>| !words.is_empty())
}

/// Adds the errors of a node. What is invalid becomes null.
pub(super) fn check(node: &mut SpannedValue, schema: &Json, path: &str, errors: &mut Vec<Invalid>) {
    // A value may be written without its list.
    if let [item, list, ..] = schema["anyOf"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let schema = if matches!(node.value, Value::List(_)) { list } else { item };
        return check(node, schema, path, errors);
    }
    let expected = match (&mut node.value, keys(schema)) {
        (Value::Map(entries), Some(known)) => {
            for (key, child) in &mut *entries {
                let path = join(path, &key.text);
                match schema["properties"].get(&key.text) {
                    Some(_) if child.value == Value::Null => {}
                    Some(schema) => check(child, schema, &path, errors),
                    None => {
                        let known = Some(known.iter().map(|key| (*key).to_owned()).collect());
                        errors.push(Invalid { known, ..Invalid::new(key.line, &path, "") });
                        child.value = Value::Null;
                    }
                }
            }
            check_required(node, schema, path, errors);
            return;
        }
        (Value::Map(entries), None) if schema.get("additionalProperties").is_some() => {
            let (mut earlier, is_headers) = (Vec::new(), schema["format"] == "headers");
            entries.retain(|(key, child)| {
                let problem = pair_error(key, child, &earlier, is_headers);
                let error = problem.map(|problem| Invalid::new(key.line, &join(path, &key.text), problem));
                earlier.push(key.text.to_ascii_lowercase());
                let is_valid = error.is_none();
                errors.extend(error);
                is_valid
            });
            return;
        }
        (Value::List(items), None) if schema.get("items").is_some() => {
            for (index, item) in items.iter_mut().enumerate() {
                check(item, &schema["items"], &format!("{path}[{index}]"), errors);
            }
            return;
        }
        (_, Some(known)) => format!("a map with {}", known.join(", ")),
        (_, None) if schema.get("additionalProperties").is_some() => {
            // Without what was found, because it may be a secret.
            errors.push(Invalid::new(node.line, path, "expected a map of names and texts"));
            node.value = Value::Null;
            return;
        }
        (_, None) if schema.get("items").is_some() => "a list".to_owned(),
        (value, None) => {
            let text = if let Value::Text(text) = value { text } else { "" };
            let expected = match words(schema) {
                Some(words) if words.iter().any(|word| word.eq_ignore_ascii_case(text)) => None,
                Some(words) => Some(one_of(&words)),
                None => format::expected(schema, text),
            };
            let Some(expected) = expected else { return };
            expected
        }
    };
    let is_secret =
        schema["writeOnly"] == true || matches!(&node.value, Value::Text(text) if text.contains('@'));
    let found = if is_secret { "something else".to_owned() } else { node.describe() };
    errors.push(Invalid::new(node.line, path, format!("expected {expected}, found {found}")));
    node.value = Value::Null;
}

/// Checks that a map has its required keys. Without one of them, valid or not, it becomes null.
fn check_required(node: &mut SpannedValue, schema: &Json, path: &str, errors: &mut Vec<Invalid>) {
    let Value::Map(entries) = &node.value else { return };
    let mut is_complete = true;
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str) {
        let entry = entries.iter().find(|(key, _)| key.text == name);
        is_complete &= entry.is_some_and(|(_, value)| value.value != Value::Null);
        if entry.is_none() {
            errors.push(Invalid::new(node.line, path, format!("{name} is missing")));
        }
    }
    if is_complete && let Value::Map(entries) = &mut node.value {
        entries.retain(|(_, value)| value.value != Value::Null);
    } else {
        node.value = Value::Null;
    }
}

/// Returns what is wrong with a header or an attribute. It contains no value, because that may be a secret.
fn pair_error(key: &Key, value: &SpannedValue, earlier: &[String], is_header: bool) -> Option<&'static str> {
    let Value::Text(text) = &value.value else { return Some("expected a text") };
    if !is_header {
        return key.text.is_empty().then_some("an attribute's name is empty");
    }
    if HeaderName::from_bytes(key.text.as_bytes()).is_err() {
        return Some("not a valid header name");
    }
    if HeaderValue::from_str(text).is_err() {
        return Some("a header's value must not contain control characters");
    }
    earlier.contains(&key.text.to_ascii_lowercase()).then_some("this header is set twice")
}
