//! The environment's layer of settings. A variable of the daemon that has no effect is an error, so that
//! a misspelled name is found at the start.

use std::collections::BTreeMap;

use super::error::{ConfigError, Source, ValueError, suggest};
use super::sources::from_text;
use super::table::{self, CONFIG_VARIABLE, Otel, ResolvedSetting, Setting, TextFormat};
use super::yaml::SpannedValue;

/// Prefixes of the daemon's variables.
const PREFIXES: [&str; 2] = ["LOOKOUT_", "OTEL_"];

/// The daemon's variables that are not empty, sorted, so that messages do not depend on chance.
#[derive(Debug)]
pub(super) struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Keeps the daemon's variables.
    pub(super) fn new(variables: impl Iterator<Item = (String, String)>) -> Environment {
        let is_own = |name: &str| PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        Environment(variables.filter(|(name, value)| is_own(name) && !value.trim().is_empty()).collect())
    }

    /// Returns the file that the environment names.
    pub(super) fn config(&self) -> Option<&str> {
        self.0.get(CONFIG_VARIABLE).map(String::as_str)
    }

    /// Returns the overrides. `LOOKOUT_*` follows `OTEL_*`, so that it takes precedence.
    pub(super) fn overrides(&self) -> Result<Vec<ResolvedSetting>, ConfigError> {
        let known: Vec<String> = table::variables().collect();
        for (name, value) in &self.0 {
            reject_unknown(name, value, &known)?;
        }
        let mut overrides = Vec::new();
        for setting in table::all() {
            if let Some(otel) = setting.otel {
                overrides.extend(self.resolve(setting, otel.name(), |text| otel_node(setting, otel, text))?);
            }
            let parse = |text: &str| from_text(setting.text_format, text);
            overrides.extend(self.resolve(setting, &setting.variable(), parse)?);
        }
        Ok(overrides)
    }

    fn resolve(
        &self,
        setting: &'static Setting,
        name: &str,
        parse: impl Fn(&str) -> Result<SpannedValue, ValueError>,
    ) -> Result<Option<ResolvedSetting>, ConfigError> {
        let Some(text) = self.0.get(name) else { return Ok(None) };
        let source = Source::Environment(name.to_owned());
        let node = parse(text).map_err(|error| error.locate(setting.key, &source))?;
        Ok(Some(ResolvedSetting { setting, node, source }))
    }
}

fn otel_node(setting: &Setting, otel: Otel, text: &str) -> Result<SpannedValue, ValueError> {
    let text = text.trim();
    match otel {
        Otel::Plain(_) => from_text(setting.text_format, text),
        Otel::Milliseconds(_) if text.bytes().all(|b| b.is_ascii_digit()) => {
            from_text(TextFormat::Scalar, &format!("{text}ms"))
        }
        Otel::Milliseconds(_) => {
            Err(ValueError::expected("a number of milliseconds such as 10000", &SpannedValue::text(text)))
        }
    }
}

/// Returns an error if no setting has this variable.
fn reject_unknown(name: &str, value: &str, known: &[String]) -> Result<(), ConfigError> {
    let prefixed = PREFIXES.iter().find_map(|prefix| Some((prefix, name.strip_prefix(prefix)?)));
    let Some((prefix, rest)) = prefixed else { return Ok(()) };
    if known.iter().any(|known| known == name) || is_kubernetes_service_env(rest, value) {
        return Ok(());
    }
    let problem = match suggest(rest, known.iter().filter_map(|known| known.strip_prefix(prefix))) {
        Some(near) => format!("did you mean {prefix}{near}?"),
        None => "unset it for this process".to_owned(),
    };
    let message = format!("unknown variable; {problem} (lookoutd config prints all settings)");
    Err(ValueError::new(message).locate("", &Source::Environment(name.to_owned())))
}

/// Whether Kubernetes sets the variable for a service named `lookout-…` or `otel-…`.
fn is_kubernetes_service_env(rest: &str, value: &str) -> bool {
    let address = rest.ends_with("SERVICE_HOST") || rest.contains("SERVICE_PORT");
    let whole_port = rest.ends_with("PORT") && value.contains("://");
    let one_port = rest.contains("PORT_") && (rest.contains("_TCP") || rest.contains("_UDP"));
    address || whole_port || one_port
}
