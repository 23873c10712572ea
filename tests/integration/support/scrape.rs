//! A strict parser of the scrape, because Prometheus rejects a whole scrape for one invalid line.

use std::collections::{BTreeMap, HashSet};

/// A parsed exposition.
#[derive(Debug)]
pub(crate) struct Scrape(Vec<Sample>);

/// A sample: one line of an exposition.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

impl Scrape {
    pub(crate) fn parse(text: &str) -> Scrape {
        let mut samples = Vec::new();
        let mut seen = HashSet::new();
        let mut families = HashSet::new();
        for line in text.lines() {
            if let Some(declared) = line.strip_prefix("# TYPE ") {
                assert!(families.insert(declared.to_owned()), "declared twice: {line}");
                continue;
            }
            if line.starts_with("# HELP ") {
                continue;
            }
            let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line:?}"));
            assert!(seen.insert(series.to_owned()), "the series is repeated: {line}");
            samples.push(sample(series, value).unwrap_or_else(|| panic!("not a sample: {line:?}")));
        }
        Scrape(samples)
    }

    pub(crate) fn samples(&self) -> &[Sample] {
        &self.0
    }

    /// Returns the sum over all series with this name and these labels; 0 if there are none.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.of(name, labels).map(|sample| sample.value).sum()
    }

    /// Returns the series with this name and these labels.
    pub(crate) fn of<'s>(&'s self, name: &str, labels: &[(&str, &str)]) -> impl Iterator<Item = &'s Sample> {
        let carries = |sample: &Sample| {
            sample.name == name && labels.iter().all(|(name, value)| sample.label(name) == *value)
        };
        self.0.iter().filter(move |sample| carries(sample)).collect::<Vec<_>>().into_iter()
    }
}

impl Sample {
    pub(crate) fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

fn sample(series: &str, value: &str) -> Option<Sample> {
    let (name, labels) = match series.split_once('{') {
        Some((name, rest)) => (name, parse_labels(rest.strip_suffix('}')?)?),
        None => (series, BTreeMap::new()),
    };
    let valid = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let value = value.parse().ok()?;
    (valid(name) && labels.keys().all(|name| valid(name))).then(|| Sample {
        name: name.into(),
        labels,
        value,
    })
}

/// Parses `a="b",c="d"` with the escapes of the text format.
fn parse_labels(mut rest: &str) -> Option<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"")?;
        let (value, after) = parse_value(after)?;
        labels.insert(name.to_owned(), value).is_none().then_some(())?;
        rest = match after.strip_prefix(',') {
            Some(more) => more,
            None => after.is_empty().then_some("")?,
        };
    }
    Some(labels)
}

/// Parses a value up to its closing quote. Returns it and the rest.
fn parse_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    loop {
        match characters.next()? {
            (at, '"') => return Some((value, &text[at + 1..])),
            (_, '\\') => value.push(match characters.next()?.1 {
                'n' => '\n',
                same @ ('\\' | '"') => same,
                _ => return None,
            }),
            (_, plain) => value.push(plain),
        }
    }
}
