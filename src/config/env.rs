//! The environment's layer. A variable that is meant for the daemon and cannot be honoured stops the
//! start: silently ignored it would cost somebody an afternoon.

use std::collections::BTreeMap;

use super::error::{ConfigError, Source, ValueError};
use super::sources::{Override, from_text};
use super::suggest;
use super::table::{self, Otel, Setting, TextFormat};
use super::yaml::SpannedValue;

/// The variable that names the file, where `--config` does not.
pub(super) const CONFIG: &str = "LOOKOUT_CONFIG";

/// The variables that may concern the daemon; an empty one counts as unset.
#[derive(Debug)]
pub(super) struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Keeps what is the daemon's, in an order of its own, so that messages do not depend on chance.
    pub(super) fn new(variables: impl Iterator<Item = (String, String)>) -> Environment {
        let ours = |name: &str| name.starts_with("LOOKOUT_") || name.starts_with("OTEL_");
        Environment(variables.filter(|(name, value)| ours(name) && !value.trim().is_empty()).collect())
    }

    /// The file that the environment names.
    pub(super) fn config(&self) -> Option<&str> {
        self.0.get(CONFIG).map(String::as_str)
    }

    /// The overrides, `OTEL_*` before `LOOKOUT_*`, which go over them.
    pub(super) fn overrides(&self) -> Result<Vec<Override>, ConfigError> {
        self.0.iter().try_for_each(|(name, value)| reject_unknown(name, value))?;
        let mut overrides = Vec::new();
        for setting in table::all() {
            for otel in setting.otel {
                self.assign(setting, otel.name(), |text| otel_node(setting, otel, text), &mut overrides)?;
            }
            let name = setting.environment();
            self.assign(setting, &name, |text| from_text(setting.text_format, text), &mut overrides)?;
        }
        Ok(overrides)
    }

    fn assign(
        &self,
        setting: &'static Setting,
        name: &str,
        read: impl Fn(&str) -> Result<SpannedValue, ValueError>,
        overrides: &mut Vec<Override>,
    ) -> Result<(), ConfigError> {
        if let Some(text) = self.0.get(name) {
            let source = Source::Environment(name.to_owned());
            let node = read(text).map_err(|error| error.locate(setting.key, &source))?;
            overrides.push(Override { setting, node, source });
        }
        Ok(())
    }
}

fn otel_node(setting: &Setting, otel: &Otel, text: &str) -> Result<SpannedValue, ValueError> {
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

fn reject_unknown(name: &str, value: &str) -> Result<(), ConfigError> {
    let message = match (name.strip_prefix("OTEL_"), name.strip_prefix("LOOKOUT_")) {
        (Some(rest), _) if !is_kubernetes_service_env(rest, value) => reject_unknown_otel(rest),
        (_, Some(rest)) if !is_kubernetes_service_env(rest, value) => reject_unknown_lookout(name, rest),
        _ => None,
    };
    match message {
        Some(message) => Err(ValueError::new(message).locate("", &Source::Environment(name.to_owned()))),
        None => Ok(()),
    }
}

/// What is wrong with the name `OTEL_` and `rest`.
fn reject_unknown_otel(rest: &str) -> Option<String> {
    let names = table::all().flat_map(|setting| setting.otel.iter().map(Otel::name));
    let known: Vec<&str> = names.filter_map(|name| name.strip_prefix("OTEL_")).collect();
    if known.contains(&rest) {
        return None;
    }
    Some(match suggest::suggest(rest, known.into_iter()) {
        Some(near) => format!("lookoutd does not know this variable; did you mean OTEL_{near}?"),
        None => "lookoutd does not know this variable and cannot honour it; unset it for this process \
                 (lookoutd config prints the settings there are)"
            .to_owned(),
    })
}

/// What is wrong with the name `LOOKOUT_` and `rest`.
fn reject_unknown_lookout(name: &str, rest: &str) -> Option<String> {
    let mut names: Vec<String> = table::all().map(Setting::environment).collect();
    names.push(CONFIG.to_owned());
    if names.iter().any(|known| known == name) {
        return None;
    }
    let near = suggest::suggest(rest, names.iter().filter_map(|name| name.strip_prefix("LOOKOUT_")));
    let suggestion = near.map(|near| format!("; did you mean LOOKOUT_{near}?")).unwrap_or_default();
    Some(format!("unknown variable{suggestion} (lookoutd config prints the settings there are)"))
}

/// Kubernetes gives every container variables about the services around it; those of a service that
/// is called `lookout-…` or `otel-…` begin as ours do, and are nobody's setting.
fn is_kubernetes_service_env(rest: &str, value: &str) -> bool {
    let address = rest.ends_with("SERVICE_HOST") || rest.contains("SERVICE_PORT");
    let whole_port = rest.ends_with("PORT") && value.contains("://");
    let one_port = rest.contains("PORT_") && (rest.contains("_TCP") || rest.contains("_UDP"));
    address || whole_port || one_port
}
