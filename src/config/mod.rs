//! Settings: flag > environment > file > default. All four write through the same table, so that
//! each setting is read by one function whatever it comes from, and is printed as it was read.

mod draft;
mod env;
mod error;
mod exports;
mod otlp;
mod print;
mod reference;
pub mod settings;
mod sites;
mod sources;
mod suggest;
mod table;
#[cfg(test)]
mod tests;
mod validate;
mod values;
mod yaml;

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use draft::PartialConfig;
use env::Environment;
pub use error::ConfigError;
use error::{Source, ValueError};
pub use reference::{Reference, reference, variables};
use settings::Config;
use sources::Override;
use table::{DefaultValue, Setting};
use yaml::{SpannedValue, Value};

/// Largest file that is read: far above any real one, so that a wrong path cannot fill the memory.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// What the command line says about settings.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// The YAML file; without it the one that `LOOKOUT_CONFIG` names, if any.
    pub config: Option<PathBuf>,
    /// Settings by flag. Of two for one key the later counts.
    pub settings: Vec<Flag>,
}

/// A setting given by a flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// The flag as messages call it: `--listen`, `--set metrics.max_series`.
    pub name: String,
    /// The setting's key: `metrics.max_series`.
    pub key: String,
    /// The value's text, as in the setting's environment variable.
    pub value: String,
}

/// The settings, and what is needed to tell where they came from.
#[derive(Debug)]
pub struct Loaded {
    /// The settings to run with.
    pub config: Config,
    file: Option<PathBuf>,
    resolved: Vec<ResolvedSetting>,
}

/// A setting's value in effect, as written.
#[derive(Debug)]
struct ResolvedSetting {
    setting: &'static Setting,
    node: SpannedValue,
    source: Source,
}

impl Loaded {
    /// Writes every setting as YAML: its comment, its effective value, its source and its default.
    /// Loading the output again gives the same settings, but for headers, whose values are masked.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn write_yaml(&self, out: &mut dyn Write) -> io::Result<()> {
        print::write(self, out)
    }

    /// One line that says what was read: the file, and how many settings came from where.
    pub fn summary(&self) -> String {
        let count = |of: fn(&Source) -> bool| self.resolved.iter().filter(|e| of(&e.source)).count();
        let file = self.file.as_ref().map_or("no file".to_owned(), |path| path.display().to_string());
        format!(
            "settings from {file}: {}, environment: {}, flags: {}, defaults: {}",
            count(|o| matches!(o, Source::File(..))),
            count(|o| matches!(o, Source::Environment(_))),
            count(|o| matches!(o, Source::Flag(_))),
            count(|o| matches!(o, Source::Default)),
        )
    }
}

/// Merges flags, environment, file and defaults, and checks the outcome. Every value given is
/// checked, also one that a higher layer overrides. Of `env` only `LOOKOUT_*` and `OTEL_*`
/// are looked at; empty variables count as unset.
///
/// # Errors
///
/// The first thing that is wrong, in one message.
pub fn load(
    flags: &Flags,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Loaded, ConfigError> {
    let environment = Environment::new(environment);
    let file = flags.config.clone().or_else(|| environment.config().map(PathBuf::from));
    let mut layers = Vec::new();
    if let Some(path) = &file {
        layers.extend(sources::from_file(path, &read_file(path)?)?);
    }
    layers.extend(environment.overrides()?);
    layers.extend(sources::from_flags(&flags.settings)?);
    let (config, resolved) = merge(layers)?;
    Ok(Loaded { config, file, resolved })
}

/// The settings that hold when nobody sets anything.
#[allow(clippy::expect_used)] // what goes in is the table alone, and a test reads all of it
pub fn defaults() -> Config {
    merge(Vec::new()).expect("every default is valid").0
}

fn read_file(path: &Path) -> Result<String, ConfigError> {
    let fail =
        |error: &dyn std::fmt::Display| ConfigError(format!("{}: cannot be read: {error}", path.display()));
    let mut text = String::new();
    let file = File::open(path).map_err(|error| fail(&error))?;
    let bytes = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(|error| fail(&error))?;
    if bytes as u64 > MAX_FILE_BYTES {
        return Err(fail(&format!("it is larger than {MAX_FILE_BYTES} bytes")));
    }
    Ok(text)
}

/// Applies the defaults, then the overrides from the lowest layer to the highest.
fn merge(overrides: Vec<Override>) -> Result<(Config, Vec<ResolvedSetting>), ConfigError> {
    let mut partial = PartialConfig::empty();
    let mut resolved = Vec::new();
    for setting in table::all() {
        let entry = ResolvedSetting { setting, node: default_node(setting), source: Source::Default };
        if entry.node.value != Value::Null {
            apply(&mut partial, &entry)?;
        }
        resolved.push(entry);
    }
    for Override { setting, node, source } in overrides {
        let entry = ResolvedSetting { setting, node, source };
        apply(&mut partial, &entry)?;
        if let Some(place) = resolved.iter_mut().find(|e| e.setting.key == entry.setting.key) {
            *place = entry;
        }
    }
    let config = validate::validate(partial).map_err(|conflict| {
        let entry = resolved.iter().find(|entry| entry.setting.key == conflict.key);
        conflict.error.locate(&conflict.key, entry.map_or(&Source::Default, |entry| &entry.source))
    })?;
    Ok((config, resolved))
}

fn apply(partial: &mut PartialConfig, entry: &ResolvedSetting) -> Result<(), ConfigError> {
    let locate = |error: ValueError| error.locate(entry.setting.key, &entry.source);
    (entry.setting.set)(partial, &entry.node).map_err(locate)
}

/// The default's node. That each is YAML a test makes sure of; what were not would be refused as the
/// text it is.
fn default_node(setting: &Setting) -> SpannedValue {
    match setting.default {
        DefaultValue::Yaml(yaml) => yaml::parse(yaml).unwrap_or_else(|_| SpannedValue::text(yaml)),
        DefaultValue::Unset(_) => SpannedValue { line: 1, value: Value::Null },
    }
}
