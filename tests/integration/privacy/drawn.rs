//! Random canaries everywhere in a report. Kinds and their fields are those of the crate, formats and nested
//! members those of the corpus and the samples, so that a new kind is covered without being named.

use lookoutd::kinds;
use lookoutd::model::ReportKind;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::canary::{self, Canary};
use super::{field_names, holds_url, output_of};
use crate::support::capture;

/// A canary in a text: quoted URLs, references, nonces.
fn in_text() -> BoxedStrategy<Canary> {
    let quoted = |urls: BoxedStrategy<Canary>| {
        (urls, canary::around()).prop_map(|(url, around)| url.within(|text| around.replace("{}", text)))
    };
    let escaped = (canary::url(), canary::around())
        .prop_map(|(url, around)| url.within(|text| around.replace("{}", &text.replace('/', "\\/"))));
    prop_oneof![
        4 => quoted(canary::nested().boxed()),
        2 => quoted(canary::reference().boxed()),
        1 => escaped,
        1 => canary::nonce(),
    ]
    .boxed()
}

/// A canary in the place of a URL, with nothing around it but blanks.
fn in_url() -> BoxedStrategy<Canary> {
    let around = prop::sample::select(vec!["{}", " {}\t", "\n{}"]);
    let urls = prop_oneof![4 => canary::nested(), 1 => canary::reference()];
    (urls, around).prop_map(|(url, around)| url.within(|text| around.replace("{}", text))).boxed()
}

fn check(body: &Value, canary: &Canary) -> Result<(), TestCaseError> {
    let output = output_of(&body.to_string());
    let found = canary.found_in(&output);
    prop_assert!(found.is_none(), "{} of\n{body}\nis in\n{output}", found.unwrap_or_default());
    Ok(())
}

/// Collects the paths of every value and every name in a document.
fn places(value: &Value, path: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                path.push(name.clone());
                places(value, path, found);
                path.pop();
            }
        }
        Value::Array(items) => {
            for (at, value) in items.iter().enumerate() {
                path.push(at.to_string());
                places(value, path, found);
                path.pop();
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => found.push(path.clone()),
    }
}

/// Returns the document with a text in one place, or as a name there.
fn planted(mut document: Value, place: &[String], text: &str, as_name: bool) -> Value {
    let (last, above) = place.split_last().unwrap();
    let parent = above.iter().fold(&mut document, |value, step| step_into(value, step));
    match parent {
        Value::Object(members) if as_name => _ = members.insert(text.to_owned(), json!({ text: [text] })),
        parent => *step_into(parent, last) = json!(text),
    }
    document
}

fn step_into<'v>(value: &'v mut Value, step: &str) -> &'v mut Value {
    match value {
        Value::Array(items) => &mut items[step.parse::<usize>().unwrap()],
        other => &mut other[step],
    }
}

thread_local! {
    /// Every capture and sample, and all places in it.
    static DOCUMENTS: Vec<(Value, Vec<Vec<String>>)> = capture::uploads()
        .iter()
        .map(|upload| serde_json::from_str(&upload.body).unwrap())
        .filter(|document: &Value| document.is_object() || document.is_array())
        .map(|document| {
            let mut found = Vec::new();
            places(&document, &mut Vec::new(), &mut found);
            (document, found)
        })
        .collect();
}

/// Returns whether the place is for a URL: by the type of a field, or by its value in the capture.
fn stands_for_url(document: &Value, place: &[String]) -> bool {
    let value = place.iter().fold(document, |value, step| match value {
        Value::Array(items) => &items[step.parse::<usize>().unwrap()],
        other => &other[step.as_str()],
    });
    let name = place.last().map(String::as_str).unwrap_or_default();
    name == "url"
        || kinds::ALL.iter().any(|kind| holds_url(kind, name))
        || value.as_str().is_some_and(|text| text.starts_with("http") && !text.contains(' '))
}

/// Every kind with every field, and an unknown one: those for URLs, or the others.
fn member(for_url: bool) -> BoxedStrategy<(&'static ReportKind, &'static str)> {
    let of = |kind: &'static ReportKind| field_names(kind).map(move |name| (kind, name));
    let all = kinds::ALL.iter().flat_map(|kind| of(kind));
    prop::sample::select(all.filter(|(kind, name)| holds_url(kind, name) == for_url).collect::<Vec<_>>())
        .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases()) })]

    #[test]
    fn random_secrets_in_url_fields_are_redacted((kind, name) in member(true), url in in_url()) {
        let report = json!({ "type": kind.name, "url": url.text, "body": { name: url.text } });
        check(&report, &url)?;
    }

    #[test]
    fn random_secrets_in_text_fields_are_redacted((kind, name) in member(false), text in in_text()) {
        let mut body = Map::new();
        body.insert(name.to_owned(), json!(text.text));
        body.insert(text.text.clone(), json!([text.text, { &text.text: &text.text }]));
        let report = json!({ "type": kind.name, "user_agent": text.text, "body": body });
        check(&report, &text)?;
    }

    #[test]
    fn random_secrets_in_unknown_types_are_redacted(text in in_text()) {
        check(&json!({ "type": text.text, &text.text: 1, "body": { &text.text: { "a": [text.text] } } }), &text)?;
    }

    #[test]
    fn random_secrets_anywhere_in_captures_are_redacted(
        which in any::<prop::sample::Index>(), place in any::<prop::sample::Index>(), as_name: bool,
        url in in_url(), text in in_text(),
    ) {
        let (body, canary) = DOCUMENTS.with(|documents| {
            let (document, places) = which.get(documents);
            let place = place.get(places);
            let canary = if stands_for_url(document, place) { url } else { text };
            (planted(document.clone(), place, &canary.text, as_name), canary)
        });
        let output = super::any_output_of(&body.to_string());
        let found = canary.found_in(&output);
        prop_assert!(found.is_none(), "{} of\n{body}\nis in\n{output}", found.unwrap_or_default());
    }
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(500)
}
