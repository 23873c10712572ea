//! Valid words in messages: all of them, or the nearest one.

use serde_json::Value as Json;

/// Returns the valid words, if the schema lists them.
pub(super) fn words(schema: &Json) -> Option<Vec<&str>> {
    if schema["type"] == "boolean" || schema["type"][0] == "boolean" {
        return Some(vec!["true", "false"]);
    }
    let one_of = schema["oneOf"].as_array().into_iter().flatten().map(|word| &word["const"]);
    let words = schema["enum"].as_array().into_iter().flatten().chain(one_of).filter_map(Json::as_str);
    Some(words.collect()).filter(|words: &Vec<&str>| !words.is_empty())
}

/// Returns `a, b or c`.
pub(super) fn one_of(words: &[&str]) -> String {
    match words.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, first)) => format!("{} or {last}", first.join(", ")),
        None => String::new(),
    }
}

/// Returns the known word nearest to a misspelled one, if one is near enough.
pub(super) fn suggest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    let max_distance = ((length / 4).max(1) + 1).min(length.saturating_sub(1));
    known
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= max_distance)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggest_returns_only_near_words() {
        let known = || ["hosts", "name", "events_per_second"].into_iter();
        assert_eq!(suggest("host", known()), Some("hosts"));
        assert_eq!(suggest("nmae", known()), Some("name"));
        assert_eq!(suggest("event_per_seconds", known()), Some("events_per_second"));
        assert_eq!(suggest("color", known()), None);
        assert_eq!(suggest("x", ["y", "z"].into_iter()), None);
        assert_eq!(suggest("", known()), None);
    }
}
