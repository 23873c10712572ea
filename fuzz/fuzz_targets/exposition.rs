//! A strict parser of the Prometheus text format, to check that a scrape succeeds.
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>

use std::collections::HashSet;

/// A sample: its name, its labels in text form, its value.
pub struct Sample<'t> {
    name: &'t str,
    labels: &'t str,
    value: f64,
}

/// Parses a whole exposition.
pub fn parse(text: &str) -> Vec<Sample<'_>> {
    let lines = text.strip_suffix('\n').expect("a newline after the last line").split('\n');
    let samples: Vec<Sample<'_>> = lines.filter(|line| !is_comment(line)).map(sample).collect();
    let mut seen = HashSet::new();
    for Sample { name, labels, value } in &samples {
        assert!(seen.insert((name, labels)), "{name}{labels} is repeated");
        assert!(value.is_finite() && *value >= 0.0, "{name}{labels} is {value}");
    }
    samples
}

/// Returns the sum of all samples with this name.
pub fn sum(samples: &[Sample<'_>], name: &str) -> usize {
    samples.iter().filter(|sample| sample.name == name).map(|sample| sample.value as usize).sum()
}

fn is_comment(line: &str) -> bool {
    line.starts_with("# HELP ") || line.starts_with("# TYPE ")
}

fn sample(line: &str) -> Sample<'_> {
    let parse = || {
        let (name, rest) = split_name(line)?;
        let labels_end = rest.len() - after_labels(rest)?.len();
        let (labels, value) = rest.split_at(labels_end);
        Some(Sample { name, labels, value: value.strip_prefix(' ')?.parse().ok()? })
    };
    parse().unwrap_or_else(|| panic!("not a sample: {line:?}"))
}

/// Splits off a name.
fn split_name(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
    let (name, rest) = text.split_at(end);
    (!name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit())).then_some((name, rest))
}

/// Returns the text after `{name="value",...}`, or all of it if it has no brace at its start.
fn after_labels(text: &str) -> Option<&str> {
    let Some(mut rest) = text.strip_prefix('{') else { return Some(text) };
    loop {
        let (_, value) = split_name(rest)?;
        rest = after_value(value.strip_prefix("=\"")?)?;
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None => return rest.strip_prefix('}'),
        }
    }
}

/// Returns the text after a label value and its closing quote. Only `\\`, `\"` and `\n` are escapes.
fn after_value(mut text: &str) -> Option<&str> {
    loop {
        let special = text.find(['\\', '"'])?;
        let rest = &text[special..];
        match rest.as_bytes() {
            [b'"', ..] => return Some(&rest[1..]),
            [b'\\', b'\\' | b'"' | b'n', ..] => text = &rest[2..],
            _ => return None,
        }
    }
}
