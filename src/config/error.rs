//! What is wrong with a setting, and where: every refusal is one message that names the place, the
//! key, what was found and what would be valid.

use std::fmt;
use std::path::PathBuf;

use super::yaml::SpannedValue;

/// Why the settings were refused. Its `Display` is the whole message, on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(pub(super) String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// Where an effective value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// Nobody set it.
    Default,
    /// The YAML file; the line is that of the value.
    File(PathBuf, usize),
    /// This environment variable.
    Environment(String),
    /// This flag, as it is typed: `--listen`, `--set metrics.max_series`.
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

/// What is wrong with one value, before it is known where the value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ValueError {
    /// The line of the very item, where it is not the value's own.
    line: Option<usize>,
    /// The way from the setting to the item: `[2].hosts`.
    at: String,
    /// What is wrong, and what would be right.
    message: String,
}

impl ValueError {
    /// An error with this message.
    pub(super) fn new(message: impl Into<String>) -> ValueError {
        ValueError { line: None, at: String::new(), message: message.into() }
    }

    /// The usual error: `expected …, found …`.
    pub(super) fn expected(what: impl fmt::Display, node: &SpannedValue) -> ValueError {
        ValueError::new(format!("expected {what}, found {}", node.describe())).at_line(node.line)
    }

    /// Names the line, unless a nearer one was named already.
    pub(super) fn at_line(mut self, line: usize) -> ValueError {
        self.line.get_or_insert(line);
        self
    }

    /// Names the step that led to the item: `[2]` or `.hosts`.
    pub(super) fn in_path(mut self, step: impl fmt::Display) -> ValueError {
        self.at = format!("{step}{}", self.at);
        self
    }

    /// The whole message for a value of `key` that came from `source`.
    pub(super) fn locate(&self, key: &str, source: &Source) -> ConfigError {
        let ValueError { at, message, .. } = self;
        ConfigError(match source {
            Source::Default => format!("{key}{at}: {message}"),
            Source::File(path, line) => {
                format!("{}:{}: {key}{at}: {message}", path.display(), self.line.unwrap_or(*line))
            }
            Source::Environment(place) | Source::Flag(place) => format!("{place}{at}: {message}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_names_the_place_in_the_words_of_its_origin() {
        let error = ValueError::expected("a name", &SpannedValue::text("?")).in_path(".name").in_path("[2]");
        for (source, message) in [
            (Source::Default, "sites[2].name: expected a name, found \"?\""),
            (Source::File("l.yaml".into(), 9), "l.yaml:1: sites[2].name: expected a name, found \"?\""),
            (
                Source::Environment("LOOKOUT_SITES".into()),
                "LOOKOUT_SITES[2].name: expected a name, found \"?\"",
            ),
            (Source::Flag("--set sites".into()), "--set sites[2].name: expected a name, found \"?\""),
        ] {
            assert_eq!(error.locate("sites", &source).to_string(), message);
        }
    }
}
