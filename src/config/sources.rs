//! The layers that settings come from, each turned into the same thing: overrides of
//! settings. What no setting answers to is refused here, with the name that was probably meant.

use std::path::Path;

use super::error::{ConfigError, Source, ValueError};
use super::table::{self, Setting, TextFormat};
use super::yaml::{self, SpannedValue, Value};
use super::{otlp, suggest};

/// A value for a setting.
#[derive(Debug)]
pub(super) struct Override {
    pub(super) setting: &'static Setting,
    pub(super) node: SpannedValue,
    pub(super) source: Source,
}

/// The file's overrides. A key without a value counts as not written.
pub(super) fn from_file(path: &Path, text: &str) -> Result<Vec<Override>, ConfigError> {
    let root = yaml::parse(text).map_err(|error| {
        let line = error.line.map(|line| format!(":{line}")).unwrap_or_default();
        ConfigError(format!("{}{line}: not valid YAML: {}", path.display(), error.message))
    })?;
    let mut overrides = Vec::new();
    let source = |line| Source::File(path.to_owned(), line);
    walk("", &root, &source, &mut overrides)?;
    Ok(overrides)
}

fn walk(
    section: &str,
    node: &SpannedValue,
    source: &impl Fn(usize) -> Source,
    overrides: &mut Vec<Override>,
) -> Result<(), ConfigError> {
    let entries = match &node.value {
        Value::Null => return Ok(()),
        Value::Map(entries) => entries,
        _ => {
            let name = if section.is_empty() { "settings" } else { section };
            return Err(ValueError::expected("a map", node).locate(name, &source(node.line)));
        }
    };
    for (key, value) in entries {
        let full = if section.is_empty() { key.text.clone() } else { format!("{section}.{}", key.text) };
        if key.text.contains('.') {
            let message = "unknown key: write the sections as nested maps, not with dots";
            return Err(ValueError::new(message).locate(&full, &source(key.line)));
        } else if let Some(setting) = table::find(&full) {
            if value.value != Value::Null {
                overrides.push(Override { setting, node: value.clone(), source: source(value.line) });
            }
        } else if table::is_section(&full) {
            walk(&full, value, source, overrides)?;
        } else {
            return Err(unknown(&full).locate(&full, &source(key.line)));
        }
    }
    Ok(())
}

/// The overrides of `--set KEY=VALUE` and of the flags that have a name of their own.
pub(super) fn from_flags(flags: &[super::Flag]) -> Result<Vec<Override>, ConfigError> {
    let assign = |flag: &super::Flag| {
        let source = Source::Flag(flag.name.clone());
        let setting = table::find(&flag.key).ok_or_else(|| unknown(&flag.key).locate(&flag.key, &source))?;
        let locate = |error: ValueError| error.locate(setting.key, &source);
        if flag.value.is_empty() {
            return Err(locate(ValueError::new("no value given")));
        }
        let node = from_text(setting.text_format, &flag.value).map_err(locate)?;
        Ok(Override { setting, node, source: source.clone() })
    };
    flags.iter().map(assign).collect()
}

/// A variable's or a flag's text as a node.
pub(super) fn from_text(text_format: TextFormat, text: &str) -> Result<SpannedValue, ValueError> {
    let trimmed = text.trim();
    match text_format {
        TextFormat::Scalar => Ok(SpannedValue::text(trimmed)),
        TextFormat::Records => yaml(trimmed),
        TextFormat::List if trimmed.starts_with('[') => yaml(trimmed),
        TextFormat::List => {
            let items = trimmed.split(',').map(str::trim).filter(|item| !item.is_empty());
            Ok(SpannedValue { line: 1, value: Value::List(items.map(SpannedValue::text).collect()) })
        }
        TextFormat::Map if trimmed.starts_with('{') => yaml(trimmed),
        TextFormat::Map => Ok(map(otlp::pairs(trimmed)?)),
    }
}

fn yaml(text: &str) -> Result<SpannedValue, ValueError> {
    yaml::parse(text).map_err(|error| ValueError::new(format!("not valid YAML: {}", error.message)))
}

fn map(pairs: Vec<(String, String)>) -> SpannedValue {
    let entry =
        |(name, value): (String, String)| (yaml::Key { line: 1, text: name }, SpannedValue::text(value));
    SpannedValue { line: 1, value: Value::Map(pairs.into_iter().map(entry).collect()) }
}

/// The error for a key that is in no table.
fn unknown(key: &str) -> ValueError {
    if table::is_section(key) {
        return ValueError::new(format!("this is a section; known in it are {}", children(key).join(", ")));
    }
    let (section, leaf) = key.rsplit_once('.').unwrap_or(("", key));
    let siblings = children(section);
    let near = suggest::suggest(leaf, siblings.iter().copied()).map(|leaf| match section {
        "" => leaf.to_owned(),
        section => format!("{section}.{leaf}"),
    });
    let elsewhere = || {
        let same_leaf = |setting: &&Setting| setting.key.rsplit('.').next() == Some(leaf);
        table::all().find(same_leaf).map(|setting| setting.key.to_owned())
    };
    ValueError::new(match near.or_else(elsewhere) {
        Some(known) => format!("unknown key; did you mean {known}?"),
        None if siblings.is_empty() => "unknown key; lookoutd config prints all there are".to_owned(),
        None => format!("unknown key; known here are {}", siblings.join(", ")),
    })
}

/// The names that stand directly in a section.
fn children(section: &str) -> Vec<&'static str> {
    let mut names = Vec::new();
    for setting in table::all() {
        let rest = match section {
            "" => Some(setting.key),
            section => setting.key.strip_prefix(section).and_then(|rest| rest.strip_prefix('.')),
        };
        let name = rest.map(|rest| rest.split('.').next().unwrap_or(rest));
        names.extend(name.filter(|name| !names.contains(name)));
    }
    names
}
