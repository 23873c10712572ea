//! Configuration errors. Each names the source, the key, what was found and what would be valid.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::yaml::{SpannedValue, SyntaxError};

/// Reason why the configuration cannot be loaded. `Display` writes one line.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read, or is too large.
    #[error("{}: cannot be read: {error}", .0.display(), error = .1)]
    Unreadable(PathBuf, io::Error),
    /// The file is not YAML.
    #[error("{}{}: {error}", .0.display(), line_suffix(.1.line), error = .1)]
    Syntax(PathBuf, SyntaxError),
    /// A key or a value is invalid. The key is a setting's or an unknown one, the source is the value's.
    #[error("{}{}: {error}", location(.0, .1, .2.line), .2.at, error = .2)]
    Setting(String, Source, ValueError),
}

fn line_suffix(line: Option<usize>) -> String {
    line.map(|line| format!(":{line}")).unwrap_or_default()
}

fn location(key: &str, from: &Source, line: Option<usize>) -> String {
    match from {
        Source::Default => key.to_owned(),
        Source::File(path, own) => format!("{}:{}: {key}", path.display(), line.unwrap_or(*own)),
        Source::Environment(name) | Source::Flag(name) => name.clone(),
    }
}

/// Source of an effective value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// No source sets it.
    Default,
    /// The YAML file, and the value's line in it.
    File(PathBuf, usize),
    /// An environment variable.
    Environment(String),
    /// A flag as typed: `--listen`, `--set metrics.max_series`.
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => f.write_str("default"),
            Source::File(path, line) => write!(f, "{}:{line}", path.display()),
            Source::Environment(name) => write!(f, "environment {name}"),
            Source::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// Problem of one value, independent of its source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ValueError {
    /// Line of the invalid item, if it differs from the value's line.
    line: Option<usize>,
    /// Path from the setting to the invalid item: `[2].hosts`.
    at: String,
    /// What is wrong, and what would be valid.
    message: String,
}

impl ValueError {
    /// Creates an error with this message.
    pub(super) fn new(message: impl Into<String>) -> ValueError {
        ValueError { line: None, at: String::new(), message: message.into() }
    }

    /// Creates the usual error: `expected …, found …`.
    pub(super) fn expected(what: impl fmt::Display, node: &SpannedValue) -> ValueError {
        ValueError::new(format!("expected {what}, found {}", node.describe())).at_line(node.line)
    }

    /// Sets the line, unless an inner call has set one.
    pub(super) fn at_line(mut self, line: usize) -> ValueError {
        self.line.get_or_insert(line);
        self
    }

    /// Prepends a step to the path: `[2]` or `.hosts`.
    pub(super) fn in_path(mut self, step: impl fmt::Display) -> ValueError {
        self.at = format!("{step}{}", self.at);
        self
    }

    /// Adds the key and the source.
    pub(super) fn locate(self, key: &str, from: &Source) -> ConfigError {
        ConfigError::Setting(key.to_owned(), from.clone(), self)
    }
}

/// Conflict between two settings, to be solved at `key`.
#[derive(Debug)]
pub(super) struct ConflictError {
    /// The setting that the message is about.
    pub(super) key: String,
    /// What is wrong, and what would be valid.
    pub(super) message: String,
}

impl ConflictError {
    /// Creates a conflict to be solved at `key`.
    pub(super) fn at(key: impl Into<String>, message: impl Into<String>) -> ConflictError {
        ConflictError { key: key.into(), message: message.into() }
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
    fn config_error_of_each_source_names_its_location() {
        let error = ValueError::expected("a name", &SpannedValue::text("?")).in_path(".name").in_path("[2]");
        for (from, message) in [
            (Source::Default, "sites[2].name: expected a name, found \"?\""),
            (Source::File("l.yaml".into(), 9), "l.yaml:1: sites[2].name: expected a name, found \"?\""),
            (
                Source::Environment("LOOKOUT_SITES".into()),
                "LOOKOUT_SITES[2].name: expected a name, found \"?\"",
            ),
            (Source::Flag("--set sites".into()), "--set sites[2].name: expected a name, found \"?\""),
        ] {
            assert_eq!(error.clone().locate("sites", &from).to_string(), message);
        }
    }

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
