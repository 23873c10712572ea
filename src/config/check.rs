//! Checks a tree against the schema of the settings, and converts it to their types. All errors are found, each with its line, its path, what was
//! found and what would be valid.

use http::header::{HeaderName, HeaderValue};
use serde_json::{Value as Json, json};

use super::error::{Invalid, join};
use super::format;
use super::setting::{children, find, reference};
use super::words::{one_of, suggest, words};
use super::yaml::{Key, SpannedValue, Value};

/// Returns a node as JSON, in the types of the settings, and adds its errors. What is invalid becomes null.
pub(super) fn check(node: &mut SpannedValue, schema: &Json, path: &str, errors: &mut Vec<Invalid>) -> Json {
    // A value may be written without its list.
    if let [item, list, ..] = schema["anyOf"].as_array().map(Vec::as_slice).unwrap_or_default() {
        return match node.value {
            Value::List(_) => check(node, list, path, errors),
            _ => json!([check(node, item, path, errors)]),
        };
    }
    // The valid keys of a map with fixed ones.
    let known =
        schema["properties"].as_object().map(|all| all.keys().map(String::as_str).collect::<Vec<_>>());
    let expected = match (&mut node.value, known) {
        (Value::Map(entries), Some(known)) => {
            let mut object = serde_json::Map::new();
            for (key, child) in &mut *entries {
                let path = join(path, &key.text);
                match schema["properties"].get(&key.text) {
                    Some(_) if child.value == Value::Null => {}
                    Some(schema) => {
                        object.insert(key.text.clone(), check(child, schema, &path, errors));
                    }
                    None => {
                        errors.push(Invalid::new(key.line, &path, unknown_key(&path, &known)));
                        child.value = Value::Null;
                    }
                }
            }
            let mut is_complete = true;
            for name in schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str) {
                let entry = entries.iter().find(|(key, _)| key.text == name);
                is_complete &= entry.is_some_and(|(_, value)| value.value != Value::Null);
                if entry.is_none() {
                    errors.push(Invalid::new(node.line, path, format!("{name} is missing")));
                }
            }
            entries.retain(|(_, value)| value.value != Value::Null);
            // Without one of the required keys, valid or not, it counts as absent.
            if !is_complete {
                node.value = Value::Null;
            }
            return object.into();
        }
        (Value::Map(entries), None) if schema.get("propertyNames").is_some() => {
            let entry = |(key, child): &mut (Key, SpannedValue)| {
                // Without the query, because it may be a secret.
                let path = join(path, key.text.split('?').next().unwrap_or_default());
                if let Err(expected) = format::parse(&schema["propertyNames"], &key.text) {
                    errors.push(Invalid::new(key.line, &path, format!("expected {expected}")));
                }
                (key.text.clone(), check(child, &schema["additionalProperties"], &path, errors))
            };
            return entries.iter_mut().map(entry).filter(|(_, value)| !value.is_null()).collect();
        }
        (Value::Map(entries), None) if schema.get("additionalProperties").is_some() => {
            let (mut pairs, mut earlier, is_headers) =
                (Vec::new(), Vec::new(), schema["format"] == "headers");
            entries.retain(|(key, child)| {
                let text = pair_text(key, child, &earlier, is_headers);
                earlier.push(key.text.to_ascii_lowercase());
                let fail = |problem| errors.push(Invalid::new(key.line, &join(path, &key.text), problem));
                text.map(|text| pairs.push(json!([key.text, text]))).map_err(fail).is_ok()
            });
            return pairs.into();
        }
        (Value::List(items), None) if schema.get("items").is_some() => {
            let item = |(index, item)| check(item, &schema["items"], &format!("{path}[{index}]"), errors);
            return items.iter_mut().enumerate().map(item).filter(|item| !item.is_null()).collect();
        }
        (_, Some(known)) => format!("a map with {}", known.join(", ")),
        (_, None) if schema.get("propertyNames").is_some() => "a map of paths".to_owned(),
        (_, None) if schema.get("additionalProperties").is_some() => {
            // Without what was found, because it may be a secret.
            errors.push(Invalid::new(node.line, path, "expected a map of names and texts"));
            node.value = Value::Null;
            return Json::Null;
        }
        (_, None) if schema.get("items").is_some() => "a list".to_owned(),
        (value, None) => {
            let text = if let Value::Text(text) = value { text } else { "" };
            let parsed = match words(schema) {
                Some(words) => match words.iter().find(|word| word.eq_ignore_ascii_case(text)) {
                    Some(word) => Ok(word.parse().map_or_else(|_| json!(word), Json::Bool)),
                    None => Err(one_of(&words)),
                },
                None => format::parse(schema, text),
            };
            match parsed {
                Ok(parsed) => return parsed,
                Err(expected) => expected,
            }
        }
    };
    let is_secret =
        schema["writeOnly"] == true || matches!(&node.value, Value::Text(text) if text.contains('@'));
    let found = if is_secret { "something else".to_owned() } else { node.describe() };
    errors.push(Invalid::new(node.line, path, format!("expected {expected}, found {found}")));
    node.value = Value::Null;
    Json::Null
}

/// Returns the text of a header or an attribute, or what is wrong, without the value, because that may be a secret.
fn pair_text<'v>(
    key: &Key,
    value: &'v SpannedValue,
    earlier: &[String],
    is_header: bool,
) -> Result<&'v str, &'static str> {
    let Value::Text(text) = &value.value else { return Err("expected a text") };
    match &key.text {
        name if !is_header && name.is_empty() => Err("an attribute's name is empty"),
        _ if !is_header => Ok(text),
        name if HeaderName::from_bytes(name.as_bytes()).is_err() => Err("not a valid header name"),
        _ if HeaderValue::from_str(text).is_err() => {
            Err("a header's value must not contain control characters")
        }
        name if earlier.contains(&name.to_ascii_lowercase()) => Err("this header is set twice"),
        _ => Ok(text),
    }
}

/// Returns the message for a key that is no setting, with a suggestion. `known` are the keys beside it.
fn unknown_key(path: &str, known: &[&str]) -> String {
    if find(path).is_some() {
        return "unknown key: write the sections as nested maps, not with dots".to_owned();
    }
    if path == "noise" {
        return "noise.rules was replaced by rules; write rules: [{ blocked_url: \"*.addon.example\", noise: \
                extension }], with the former field as key of the pattern, and noise for class"
            .to_owned();
    }
    let (section, leaf) = path.rsplit_once('.').unwrap_or(("", path));
    let keys = children(section);
    // The keys of an entry of a list are no settings.
    let keys = if keys.is_empty() { known.to_vec() } else { keys };
    let near = suggest(leaf, keys.iter().copied()).map(|near| join(section, near));
    let mut all = reference().map(|setting| setting.key);
    let elsewhere = || all.find(|key| key.rsplit('.').next() == Some(leaf)).map(str::to_owned);
    match near.or_else(elsewhere) {
        Some(near) => format!("unknown key; did you mean {near}?"),
        None => format!("unknown key; the keys here are {}", keys.join(", ")),
    }
}
