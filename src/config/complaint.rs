//! What is wrong with a setting, and where: every refusal is one message that names the place, the
//! key, what was found and what would be valid.

use std::fmt;
use std::path::PathBuf;

use super::node::Node;

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
pub(super) enum Origin {
    /// Nobody set it.
    Default,
    /// The YAML file; the line is that of the value.
    File(PathBuf, usize),
    /// This environment variable.
    Environment(String),
    /// This flag, as it is typed: `--listen`, `--set limits.series`.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(path, line) => write!(f, "{}:{line}", path.display()),
            Origin::Environment(name) => write!(f, "environment {name}"),
            Origin::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// What is wrong with one value, before it is known where the value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Complaint {
    /// The line of the very item, where it is not the value's own.
    line: Option<usize>,
    /// The way from the setting to the item: `[2].hosts`.
    at: String,
    /// What is wrong, and what would be right.
    message: String,
}

impl Complaint {
    /// A complaint in its own words.
    pub(super) fn new(message: impl Into<String>) -> Complaint {
        Complaint { line: None, at: String::new(), message: message.into() }
    }

    /// The usual complaint: `expected …, found …`.
    pub(super) fn expected(what: impl fmt::Display, node: &Node) -> Complaint {
        Complaint::new(format!("expected {what}, found {}", node.found())).on(node.line)
    }

    /// Names the line, unless a nearer one was named already.
    pub(super) fn on(mut self, line: usize) -> Complaint {
        self.line.get_or_insert(line);
        self
    }

    /// Names the step that led to the item: `[2]` or `.hosts`.
    pub(super) fn under(mut self, step: impl fmt::Display) -> Complaint {
        self.at = format!("{step}{}", self.at);
        self
    }

    /// The whole message for a value of `key` that came from `origin`.
    pub(super) fn about(&self, key: &str, origin: &Origin) -> ConfigError {
        let Complaint { at, message, .. } = self;
        ConfigError(match origin {
            Origin::Default => format!("{key}{at}: {message}"),
            Origin::File(path, line) => {
                format!("{}:{}: {key}{at}: {message}", path.display(), self.line.unwrap_or(*line))
            }
            Origin::Environment(place) | Origin::Flag(place) => format!("{place}{at}: {message}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_names_the_place_in_the_words_of_its_origin() {
        let complaint = Complaint::expected("a name", &Node::text("?")).under(".name").under("[2]");
        for (origin, message) in [
            (Origin::Default, "sites[2].name: expected a name, found \"?\""),
            (Origin::File("l.yaml".into(), 9), "l.yaml:1: sites[2].name: expected a name, found \"?\""),
            (
                Origin::Environment("LOOKOUT_SITES".into()),
                "LOOKOUT_SITES[2].name: expected a name, found \"?\"",
            ),
            (Origin::Flag("--set sites".into()), "--set sites[2].name: expected a name, found \"?\""),
        ] {
            assert_eq!(complaint.about("sites", &origin).to_string(), message);
        }
    }
}
