//! Configuration errors. Each names the source, the key, what was found and what would be valid.

use std::fmt::{self, Display};

use serde::Serialize;

use super::settings::Config;

/// Everything for which the configuration cannot be loaded, one line each; and what the valid settings are.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ConfigError::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ConfigErrors(pub Vec<ConfigError>, pub Box<Config>);

/// Reason why the configuration cannot be loaded: where, and what would be valid. `Display` writes one line.
#[derive(Debug, thiserror::Error, Serialize)]
pub struct ConfigError {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    /// The setting, or the variable or flag that sets it.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    message: String,
}

impl ConfigError {
    pub(super) fn of_file(file: &str, line: Option<usize>, message: String) -> ConfigError {
        ConfigError { file: Some(file.to_owned()), line, key: None, message }
    }

    pub(super) fn of_key(key: &str, message: String) -> ConfigError {
        ConfigError { file: None, line: None, key: Some(key.to_owned()), message }
    }
}

impl Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.line.map(|line| format!(":{line}")).unwrap_or_default();
        if let Some(file) = &self.file {
            write!(f, "{file}{line}: ")?;
        }
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// Source of an effective value.
#[derive(Debug, Clone, PartialEq, Eq, strum::Display)]
#[allow(missing_docs)] // the names are the documentation
pub enum Source {
    #[strum(to_string = "default")]
    Default,
    /// The YAML file, and the value's line in it.
    #[strum(to_string = "{0}:{1}")]
    File(String, usize),
    #[strum(to_string = "environment {0}")]
    Environment(String),
    /// A flag as typed: `--listen`, `--set metrics.max_series`.
    #[strum(to_string = "flag {0}")]
    Flag(String),
}

/// An invalid node, independent of its source.
#[derive(Debug)]
pub(super) struct Invalid {
    pub(super) line: usize,
    /// Its path: `sites[2].hosts`.
    pub(super) path: String,
    /// What is wrong, and what would be valid.
    pub(super) message: String,
}

impl Invalid {
    pub(super) fn new(line: usize, path: &str, message: impl Into<String>) -> Invalid {
        Invalid { line, path: path.to_owned(), message: message.into() }
    }

    /// Adds the source. `key` is the setting's, if the source sets only one.
    pub(super) fn locate(self, key: &str, source: &Source) -> ConfigError {
        let below_key = self.path.strip_prefix(key).unwrap_or_default();
        match source {
            Source::Default => ConfigError::of_key(&self.path, self.message),
            Source::File(file, _) => {
                let path = if self.path.is_empty() { "settings".to_owned() } else { self.path };
                ConfigError { key: Some(path), ..ConfigError::of_file(file, Some(self.line), self.message) }
            }
            Source::Environment(name) | Source::Flag(name) => {
                ConfigError::of_key(&format!("{name}{below_key}"), self.message)
            }
        }
    }
}

/// Returns the path of a key.
pub(super) fn join(section: &str, key: &str) -> String {
    let is_plain = |key: &str| key.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    match section {
        _ if key.is_empty() || !is_plain(key) => format!("{section}[{key:?}]"),
        "" => key.to_owned(),
        section => format!("{section}.{key}"),
    }
}

/// Conflict between settings, to be solved at `key`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Conflict {
    /// The setting that the message is about.
    pub(super) key: String,
    /// The item of the setting's list, and the path in it: `.name`.
    pub(super) item: Option<(usize, &'static str)>,
    /// Prefix of the settings it depends on. If one of them is invalid, there may be no conflict.
    pub(super) other: &'static str,
    pub(super) message: String,
    /// Whether the settings can be used all the same.
    pub(super) is_warning: bool,
}

impl Conflict {
    /// Creates a conflict to be solved at `key`, which depends on settings that start with `other`.
    pub(super) fn new(key: impl Into<String>, other: &'static str, message: impl Into<String>) -> Conflict {
        Conflict { key: key.into(), item: None, other, message: message.into(), is_warning: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_error_of_each_source_names_its_location() {
        for (source, message) in [
            (Source::Default, "sites[2].name: expected a name, found \"?\""),
            (Source::File("l.yaml".into(), 9), "l.yaml:1: sites[2].name: expected a name, found \"?\""),
            (
                Source::Environment("LOOKOUT_SITES".into()),
                "LOOKOUT_SITES[2].name: expected a name, found \"?\"",
            ),
            (Source::Flag("--set sites".into()), "--set sites[2].name: expected a name, found \"?\""),
        ] {
            let error = Invalid::new(1, "sites[2].name", "expected a name, found \"?\"");
            assert_eq!(error.locate("sites", &source).to_string(), message);
        }
    }
}
