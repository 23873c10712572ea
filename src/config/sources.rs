//! The file's and the flags' layers of settings, as overrides of the table's defaults.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::error::{ConfigError, Source, ValueError, suggest};
use super::otlp;
use super::table::{self, ResolvedSetting, Setting, TextFormat};
use super::yaml::{self, Key, SpannedValue, Value};

/// Maximum file size, far above any real file, so that a wrong path cannot exhaust memory.
pub(super) const MAX_FILE_BYTES: u64 = 4 << 20;

/// The command line's part of the configuration.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// The YAML file. When absent, `LOOKOUT_CONFIG` may name one.
    pub config: Option<PathBuf>,
    /// Settings by flag. The last one of a key takes precedence.
    pub settings: Vec<Flag>,
}

/// A setting given by a flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// The flag's name in messages: `--listen`, `--set metrics.max_series`.
    pub name: String,
    /// The setting's key: `metrics.max_series`.
    pub key: String,
    /// The value's text, in the format of the setting's environment variable.
    pub value: String,
}

/// Returns the overrides of a file. A key without a value counts as absent.
pub(super) fn from_file(path: &Path) -> Result<Vec<ResolvedSetting>, ConfigError> {
    let text = read_file(path)?;
    let root = yaml::parse(&text).map_err(|error| ConfigError::Syntax(path.to_owned(), error))?;
    let mut overrides = Vec::new();
    collect("", &root, &|line| Source::File(path.to_owned(), line), &mut overrides)?;
    Ok(overrides)
}

fn read_file(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |error| ConfigError::Unreadable(path.to_owned(), error);
    let mut text = String::new();
    let file = File::open(path).map_err(unreadable)?;
    let bytes = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
    if bytes as u64 > MAX_FILE_BYTES {
        let message = format!("it is larger than {MAX_FILE_BYTES} bytes");
        return Err(unreadable(io::Error::new(io::ErrorKind::FileTooLarge, message)));
    }
    Ok(text)
}

/// Adds the settings of one section, and of those below it.
fn collect(
    section: &str,
    node: &SpannedValue,
    source: &impl Fn(usize) -> Source,
    overrides: &mut Vec<ResolvedSetting>,
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
                let source = source(value.line);
                overrides.push(ResolvedSetting { setting, node: value.clone(), source });
            }
        } else if table::is_section(&full) {
            collect(&full, value, source, overrides)?;
        } else {
            return Err(unknown_key(&full).locate(&full, &source(key.line)));
        }
    }
    Ok(())
}

/// Returns the overrides of `--set KEY=VALUE` and of the flags with a name of their own.
pub(super) fn from_flags(flags: &[Flag]) -> Result<Vec<ResolvedSetting>, ConfigError> {
    let resolve = |flag: &Flag| {
        let source = Source::Flag(flag.name.clone());
        let locate = |error: ValueError| error.locate(&flag.key, &source);
        let setting = table::find(&flag.key).ok_or_else(|| locate(unknown_key(&flag.key)))?;
        if flag.value.is_empty() {
            return Err(locate(ValueError::new("no value given")));
        }
        let node = from_text(setting.text_format, &flag.value).map_err(locate)?;
        Ok(ResolvedSetting { setting, node, source: source.clone() })
    };
    flags.iter().map(resolve).collect()
}

/// Parses a variable's or a flag's text.
pub(super) fn from_text(text_format: TextFormat, text: &str) -> Result<SpannedValue, ValueError> {
    let trimmed = text.trim();
    match text_format {
        TextFormat::Scalar => Ok(SpannedValue::text(trimmed)),
        TextFormat::List if !trimmed.starts_with('[') => {
            let items = trimmed.split(',').map(str::trim).filter(|item| !item.is_empty());
            Ok(SpannedValue { line: 1, value: Value::List(items.map(SpannedValue::text).collect()) })
        }
        TextFormat::Map if !trimmed.starts_with('{') => {
            let entry = |(name, value)| (Key { line: 1, text: name }, SpannedValue::text(value));
            let entries = otlp::pairs(trimmed)?.into_iter().map(entry).collect();
            Ok(SpannedValue { line: 1, value: Value::Map(entries) })
        }
        TextFormat::Records | TextFormat::List | TextFormat::Map => {
            yaml::parse(trimmed).map_err(|error| ValueError::new(error.to_string()))
        }
    }
}

/// Returns the error for a key that is no setting, with a suggestion.
fn unknown_key(key: &str) -> ValueError {
    if table::is_section(key) {
        return ValueError::new(format!("this is a section; its keys are {}", children(key).join(", ")));
    }
    let (section, leaf) = key.rsplit_once('.').unwrap_or(("", key));
    let siblings = children(section);
    let near = suggest(leaf, siblings.iter().copied()).map(|leaf| match section {
        "" => leaf.to_owned(),
        section => format!("{section}.{leaf}"),
    });
    let elsewhere = || {
        let same_leaf = |setting: &&Setting| setting.key.rsplit('.').next() == Some(leaf);
        table::all().find(same_leaf).map(|setting| setting.key.to_owned())
    };
    ValueError::new(match near.or_else(elsewhere) {
        Some(known) => format!("unknown key; did you mean {known}?"),
        None if siblings.is_empty() => "unknown key; lookoutd config prints all keys".to_owned(),
        None => format!("unknown key; the keys here are {}", siblings.join(", ")),
    })
}

/// Returns the keys directly below a section.
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
