//! Configuration: flags take precedence over the environment, then the file, then defaults. A setting is a field
//! of a struct in `settings`; its doc comment is its help text, and its default is the struct's. Everything else
//! is derived: the key, the variables, the documentation, the JSON Schema.

mod check;
mod endpoint_url;
mod error;
mod exports;
mod format;
mod listen_address;
mod otlp;
mod pattern;
mod print;
mod rules;
mod setting;
mod settings;
mod sources;
#[cfg(test)]
mod tests;
mod validate;
mod words;
mod yaml;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;

pub use error::{ConfigError, ConfigErrors, Source};
pub use exports::{ClientTls, Compression, Endpoint, Logs, Metrics, Otlp, Protocol, Temporality};
pub use format::{INTAKE_PATHS, is_key_byte};
pub use listen_address::ListenAddress;
pub(crate) use pattern::{Condition, Field, Pattern};
pub use setting::{Setting, json_schema, reference};
pub use settings::{
    Admin, Auth, ClientAddress, Config, Delivery, EventAction, Events, Findings, Intake, Log, LogFormat,
    LogLevel, MetricsConfig, Page, PageConfig, PathConfig, PathSecrets, Privacy, QueryPrivacy, RateLimit,
    Rule, Secret, SiteConfig, Spool, Tls, TlsFiles, UnknownSites,
};
use sources::{CONFIG_VARIABLE, Layers, Resolved};
pub use sources::{Flag, Flags, parse_pairs, variables};

/// The configuration, with the source of every setting.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration in effect.
    pub config: Config,
    flags: Flags,
    environment: BTreeMap<String, String>,
    file: Option<PathBuf>,
    resolved: Vec<Resolved>,
}

impl Loaded {
    /// Loads the same sources again.
    ///
    /// # Errors
    ///
    /// Returns what [`load`] does, or every setting that has changed and applies at the start only.
    pub fn reload(&self) -> Result<Loaded, Vec<ConfigError>> {
        let new = load(&self.flags, self.environment.clone().into_iter()).map_err(|errors| errors.0)?;
        let mut refused = Vec::new();
        for (old, new) in self.resolved.iter().zip(&new.resolved) {
            if !old.setting.is_reloadable() && old.value() != new.value() {
                let in_effect = old.node.to_yaml(old.setting.schema);
                let message = format!("is applied at the start only: restart lookoutd, or keep {in_effect}");
                refused.push(new.error(message));
            }
        }
        if refused.is_empty() { Ok(new) } else { Err(refused) }
    }

    /// Returns the error of a line that begins with a key.
    pub fn error(&self, line: &str) -> ConfigError {
        let (key, message) = line.split_once(": ").unwrap_or(("settings", line));
        let resolved = self.resolved.iter().find(|resolved| resolved.setting.key == key);
        let of_key = || ConfigError::of_key(key, message.to_owned());
        resolved.map(|it| it.error(message.to_owned())).unwrap_or_else(of_key)
    }

    /// Returns the settings file, and the files that reloadable settings name.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> {
        let is_file = |it: &&Resolved| it.setting.is_reloadable() && it.setting.schema["format"] == "path";
        let named = self.resolved.iter().filter(is_file).filter_map(|it| Some(it.value().as_str()?.into()));
        self.file.clone().into_iter().chain(named)
    }

    /// Writes every setting as YAML: help text, effective value, source and default. The output loads to
    /// the same configuration, except for secrets, which are
    /// comments.
    ///
    /// # Errors
    ///
    /// Returns an error if `out` does.
    pub fn write_yaml(&self, out: &mut dyn Write) -> io::Result<()> {
        print::write(&self.resolved, out)
    }

    /// Returns each setting that a source sets: its key, its value as YAML, and the source. Secrets are masked.
    pub fn changed(&self) -> impl Iterator<Item = (&'static str, String, String)> {
        let changed = self.resolved.iter().filter(|resolved| resolved.source != Source::Default);
        changed.map(|it| (it.setting.key, it.node.to_yaml(it.setting.schema), it.source.to_string()))
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
/// Returns every unknown key, invalid value and conflict, or that the file cannot be read.
pub fn load(
    flags: &Flags,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Loaded, ConfigErrors> {
    let is_own = |name: &str| name.starts_with("LOOKOUT_") || name.starts_with("OTEL_");
    let environment: BTreeMap<String, String> =
        environment.filter(|(name, value)| is_own(name) && !value.trim().is_empty()).collect();
    let file = flags.config.clone().or_else(|| environment.get(CONFIG_VARIABLE).map(PathBuf::from));
    let mut layers = Layers::new();
    if let Some(path) = &file {
        layers.add_file(path);
    }
    layers.add_environment(&environment);
    layers.add_flags(&flags.settings);
    let config = layers.merge();
    let Layers { resolved, errors, .. } = layers;
    if errors.is_empty() {
        Ok(Loaded { config, flags: flags.clone(), environment, file, resolved })
    } else {
        Err(ConfigErrors(errors, Box::new(config)))
    }
}

/// Returns the configuration without any source.
pub fn defaults() -> Config {
    Layers::new().merge()
}
