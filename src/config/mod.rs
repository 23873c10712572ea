//! Configuration: flags take precedence over the environment, then the file, then defaults. Every source
//! writes through the same table of settings, so that each setting has one parser and one default.

mod env;
mod error;
mod format;
mod otlp;
mod partial;
mod print;
mod schema;
mod settings;
mod sites;
mod sources;
mod table;
#[cfg(test)]
mod tests;
mod validate;
mod value_schema;
mod values;
mod yaml;

use std::io::{self, Write};
use std::path::PathBuf;

use env::Environment;
pub use error::{ConfigError, Source, ValueError};
use partial::PartialConfig;
pub use schema::json_schema;
pub use settings::{
    Admin, Auth, ClientAddress, ClientTls, Compression, Config, Delivery, Endpoint, Events, Findings, Intake,
    Log, LogFormat, LogLevel, Logs, Metrics, MetricsConfig, Noise, NoiseField, NoiseRule, Otlp, PathSecrets,
    Privacy, Protocol, QueryPrivacy, RateLimit, Secret, SiteConfig, Spool, Temporality, TlsFiles,
    UnknownSites,
};
pub use sources::{Flag, Flags};
pub use table::variables;
use table::{DefaultValue, ResolvedSetting, Setting};
pub use yaml::SyntaxError;
use yaml::{SpannedValue, Value};

/// The configuration, with the source of every setting.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration in effect.
    pub config: Config,
    file: Option<PathBuf>,
    resolved: Vec<ResolvedSetting>,
}

impl Loaded {
    /// Writes every setting as YAML: help text, effective value, source and default. The output loads to
    /// the same configuration, except for secrets, which are masked.
    ///
    /// # Errors
    ///
    /// Returns an error if `out` does.
    pub fn write_yaml(&self, out: &mut dyn Write) -> io::Result<()> {
        print::write(&self.resolved, out)
    }

    /// Returns one line with the file and the number of settings per source.
    pub fn summary(&self) -> String {
        let count = |of: fn(&Source) -> bool| self.resolved.iter().filter(|e| of(&e.source)).count();
        let file = self.file.as_ref().map_or("no file".to_owned(), |path| path.display().to_string());
        format!(
            "settings from {file}: {}, environment: {}, flags: {}, defaults: {}",
            count(|source| matches!(source, Source::File(..))),
            count(|source| matches!(source, Source::Environment(_))),
            count(|source| matches!(source, Source::Flag(_))),
            count(|source| matches!(source, Source::Default)),
        )
    }
}

/// Merges flags, environment, file and defaults, and validates the result. Values that a higher layer
/// overrides are checked too. Of `environment` only `LOOKOUT_*` and `OTEL_*` are considered; empty
/// variables count as unset.
///
/// # Errors
///
/// Returns an error if the file cannot be read, or for the first unknown key, invalid value or conflict.
pub fn load(
    flags: &Flags,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Loaded, ConfigError> {
    let environment = Environment::new(environment);
    let file = flags.config.clone().or_else(|| environment.config().map(PathBuf::from));
    let mut layers = Vec::new();
    if let Some(path) = &file {
        layers.extend(sources::from_file(path)?);
    }
    layers.extend(environment.overrides()?);
    layers.extend(sources::from_flags(&flags.settings)?);
    let (config, resolved) = merge(layers)?;
    Ok(Loaded { config, file, resolved })
}

/// Returns the configuration without any source.
#[allow(clippy::expect_used)] // the only input is the table, all of which a test reads
pub fn defaults() -> Config {
    merge(Vec::new()).expect("every default is valid").0
}

/// Applies the defaults, then the overrides from the lowest layer to the highest.
fn merge(overrides: Vec<ResolvedSetting>) -> Result<(Config, Vec<ResolvedSetting>), ConfigError> {
    let mut partial = PartialConfig::empty();
    let mut resolved = Vec::new();
    for setting in table::all() {
        let entry = ResolvedSetting { setting, node: default_node(setting), source: Source::Default };
        if entry.node.value != Value::Null {
            apply(&mut partial, &entry)?;
        }
        resolved.push(entry);
    }
    for entry in overrides {
        apply(&mut partial, &entry)?;
        if let Some(lower) = resolved.iter_mut().find(|lower| lower.setting.key == entry.setting.key) {
            *lower = entry;
        }
    }
    let config = validate::validate(partial).map_err(|conflict| {
        let entry = resolved.iter().find(|entry| entry.setting.key == conflict.key);
        let source = entry.map_or(&Source::Default, |entry| &entry.source);
        ValueError::new(conflict.message).locate(&conflict.key, source)
    })?;
    Ok((config, resolved))
}

fn apply(partial: &mut PartialConfig, entry: &ResolvedSetting) -> Result<(), ConfigError> {
    (entry.setting.set)(partial, &entry.node).map_err(|error| error.locate(entry.setting.key, &entry.source))
}

/// Returns the default's node. Invalid YAML would be used as text; a test reads all defaults.
fn default_node(setting: &Setting) -> SpannedValue {
    match setting.default {
        DefaultValue::Yaml(yaml) => yaml::parse(yaml).unwrap_or_else(|_| SpannedValue::text(yaml)),
        DefaultValue::Unset(_) => SpannedValue { line: 1, value: Value::Null },
    }
}

/// Documentation of one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Dotted path in the file: `intake.max_body_bytes`.
    pub key: &'static str,
    /// The default as YAML, or the effect of no value as text.
    pub default: Result<&'static str, &'static str>,
    /// The `LOOKOUT_*` variable that sets it.
    pub variable: String,
    /// The standard variables that set it too.
    pub otel: Vec<&'static str>,
    /// Help text, on one line.
    pub comment: &'static str,
}

/// Returns the documentation of every setting, grouped by section.
pub fn reference() -> impl Iterator<Item = Reference> {
    table::all().map(|setting| Reference {
        key: setting.key,
        default: match setting.default {
            DefaultValue::Yaml(yaml) => Ok(yaml),
            DefaultValue::Unset(effect) => Err(effect),
        },
        variable: setting.variable(),
        otel: setting.otel.into_iter().map(table::Otel::name).collect(),
        comment: setting.comment,
    })
}
