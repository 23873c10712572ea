//! Random canaries in every place of every shape. Kinds and their members come from the table, shapes
//! and nested members from the corpus and the samples, so a new kind is covered without being named.

use lookoutd::kinds;
use lookoutd::model::ReportKind;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::canary::{self, Canary};
use super::{came_out, holds_url, spellings};
use crate::support::capture;

/// A canary as it may stand in a text: URLs that something quotes, references, nonces.
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

/// A canary where a URL belongs: there is nothing around it but blanks.
fn in_url() -> BoxedStrategy<Canary> {
    let around = prop::sample::select(vec!["{}", " {}\t", "\n{}"]);
    let urls = prop_oneof![4 => canary::nested(), 1 => canary::reference()];
    (urls, around).prop_map(|(url, around)| url.within(|text| around.replace("{}", text))).boxed()
}

fn check(body: &Value, canary: &Canary) -> Result<(), TestCaseError> {
    let output = came_out(&body.to_string());
    let found = canary.found_in(&output);
    prop_assert!(found.is_none(), "{} came out of\n{body}\nas\n{output}", found.unwrap_or_default());
    Ok(())
}

/// Every text and every name in a document, as pointers to its place.
fn places(value: &Value, path: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| {
            path.push(name.clone());
            places(value, path, found);
            path.pop();
        }),
        Value::Array(items) => items.iter().enumerate().for_each(|(at, value)| {
            path.push(at.to_string());
            places(value, path, found);
            path.pop();
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => found.push(path.clone()),
    }
}

/// The document with a text in one place, or with a name of one place changed.
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
    /// Every upload that was captured or written by hand, and all places in it.
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

/// Whether the place is one where a URL stands: some kind says so, or one stood there.
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

/// Every kind with every member that it knows, and one that it does not: those for URLs, or the others.
fn member(for_url: bool) -> BoxedStrategy<(&'static ReportKind, &'static str)> {
    let of = |kind: &'static ReportKind| spellings(kind).map(move |name| (kind, name));
    let all = kinds::ALL.iter().flat_map(|kind| of(kind));
    prop::sample::select(all.filter(|(kind, name)| holds_url(kind, name) == for_url).collect::<Vec<_>>())
        .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases()) })]

    #[test]
    fn no_member_of_any_kind_gives_a_url_away((kind, name) in member(true), url in in_url()) {
        let report = json!({ "type": kind.name, "url": url.text, "body": { name: url.text } });
        check(&report, &url)?;
    }

    #[test]
    fn no_text_of_any_kind_gives_away_what_it_quotes((kind, name) in member(false), text in in_text()) {
        let mut body = Map::new();
        body.insert(name.to_owned(), json!(text.text));
        body.insert(text.text.clone(), json!([text.text, { &text.text: &text.text }]));
        let report = json!({ "type": kind.name, "user_agent": text.text, "body": body });
        check(&report, &text)?;
    }

    #[test]
    fn nor_does_an_unknown_type_or_its_name(text in in_text()) {
        check(&json!({ "type": text.text, &text.text: 1, "body": { &text.text: { "a": [text.text] } } }), &text)?;
    }

    #[test]
    fn nor_does_any_place_in_any_shape_that_was_ever_seen(
        which in any::<prop::sample::Index>(), place in any::<prop::sample::Index>(), as_name: bool,
        url in in_url(), text in in_text(),
    ) {
        let (body, canary) = DOCUMENTS.with(|documents| {
            let (document, places) = which.get(documents);
            let place = place.get(places);
            let canary = if stands_for_url(document, place) { url } else { text };
            (planted(document.clone(), place, &canary.text, as_name), canary)
        });
        let output = super::whatever_came_out(&body.to_string());
        let found = canary.found_in(&output);
        prop_assert!(found.is_none(), "{} came out of\n{body}\nas\n{output}", found.unwrap_or_default());
    }
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(500)
}
