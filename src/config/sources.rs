//! The sources of settings, from the lowest to the highest: defaults, the file, the environment, flags. Each is
//! checked alone, so that a value that a higher one overrides is checked too, and all errors are found at once.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use serde_json::json;

use super::check::check;
use super::error::{ConfigError, Conflict, Invalid, Source, join};
use super::setting::{SCHEMA, Setting, find, reference};
use super::settings::Config;
use super::validate::validate;
use super::words::{suggest, words};
use super::yaml::{self, Key, SpannedValue, Value};

/// Maximum file size, far above any real file, so that a wrong path cannot exhaust memory.
pub(super) const MAX_FILE_BYTES: u64 = 4 << 20;

/// The variable that names the file, if `--config` does not.
pub(super) const CONFIG_VARIABLE: &str = "LOOKOUT_CONFIG";

/// Values of standard variables that OpenTelemetry defines and lookoutd does not support, with a part of the
/// setting's key. Other unknown values have no effect, as its specification requires.
const UNSUPPORTED: [(&str, &str); 5] = [
    ("protocol", "http/json"),
    ("exporter", "console"),
    ("exporter", "prometheus"),
    ("exporter", "zipkin"),
    ("exporter", "logging"),
];

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

/// Returns the name of every environment variable in use.
pub fn variables() -> impl Iterator<Item = String> {
    let own = reference().map(|setting| setting.variable.clone());
    let otel = reference().filter_map(|setting| setting.otel.map(str::to_owned));
    own.chain(otel).chain([CONFIG_VARIABLE.to_owned()])
}

/// A setting's value, as written by one source.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) setting: &'static Setting,
    pub(super) node: SpannedValue,
    pub(super) source: Source,
}

impl Resolved {
    /// Returns the value as the configuration has it. It was checked when it was added.
    pub(super) fn value(&self) -> serde_json::Value {
        check(&mut self.node.clone(), self.setting.schema, self.setting.key, &mut Vec::new())
    }

    /// Returns an error of this setting.
    pub(super) fn error(&self, message: String) -> ConfigError {
        Invalid::new(self.node.line, self.setting.key, message).locate(self.setting.key, &self.source)
    }
}

/// What the sources set so far.
#[derive(Default)]
pub(super) struct Layers {
    pub(super) resolved: Vec<Resolved>,
    pub(super) errors: Vec<ConfigError>,
    warnings: Vec<String>,
    /// Variables of OpenTelemetry that are no settings, each with its value and what a warning has of it.
    unknown: Vec<(String, String, String)>,
    /// Paths of invalid values.
    invalid: Vec<String>,
}

impl Layers {
    /// Starts with the defaults.
    pub(super) fn new() -> Layers {
        let node = |setting: &Setting| setting.default_node.clone();
        let resolve = |setting| Resolved { setting, node: node(setting), source: Source::Default };
        let resolved = reference().map(resolve).collect();
        Layers { resolved, ..Layers::default() }
    }

    /// Adds a file. A key without a value counts as absent.
    pub(super) fn add_file(&mut self, path: &Path) {
        let file = path.display().to_string();
        let (line, message) = match read_file(path).map(|text| yaml::parse(&text)) {
            Ok(Ok(root)) => return self.add("", root, &|line| Source::File(file.clone(), line)),
            Ok(Err(error)) => (error.line, error.to_string()),
            Err(error) => (None, format!("cannot be read: {error}")),
        };
        self.errors.push(ConfigError::of_file(&file, line, message));
    }

    /// Adds the variables of the daemon, sorted. `LOOKOUT_*` follows `OTEL_*`, so that it takes precedence.
    pub(super) fn add_environment(&mut self, variables: &BTreeMap<String, String>) {
        let (own, otel): (Vec<_>, Vec<_>) =
            variables.iter().partition(|(name, _)| name.starts_with("LOOKOUT_"));
        for (name, value) in otel.into_iter().chain(own) {
            let is_otel = name.starts_with("OTEL_");
            let setting = reference().find(|setting| setting.variable == *name || setting.otel == Some(name));
            if let Some(setting) = setting {
                self.add_text(setting, value.trim(), Source::Environment(name.clone()), is_otel);
            } else if name != CONFIG_VARIABLE && !is_kubernetes_service(name, value) {
                let (prefix, rest) = name.split_at(name.find('_').map_or(0, |end| end + 1));
                let known: Vec<String> = self::variables().collect();
                let near = suggest(rest, known.iter().filter_map(|known| known.strip_prefix(prefix)));
                let near = near.or((rest == "NOISE_RULES").then_some("RULES"));
                let near = near.map(|near| format!("did you mean {prefix}{near}?"));
                if is_otel {
                    let text = near.map_or_else(|| name.clone(), |near| format!("{name} ({near})"));
                    self.unknown.push((name.clone(), value.clone(), text));
                } else {
                    let advice = near.unwrap_or_else(|| "unset it for this process".to_owned());
                    let message = format!("unknown variable; {advice} (lookoutd config prints all settings)");
                    self.errors.push(ConfigError::of_key(name, message));
                }
            }
        }
    }

    /// Adds `--set KEY=VALUE` and the flags with a name of their own.
    pub(super) fn add_flags(&mut self, flags: &[Flag]) {
        for Flag { name, key, value } in flags {
            let source = Source::Flag(name.clone());
            match find(key) {
                Some(_) if value.is_empty() => {
                    self.errors.push(ConfigError::of_key(name, "no value given".to_owned()));
                }
                Some(setting) => self.add_text(setting, value.trim(), source, false),
                None => self.add(key, SpannedValue::text(value), &|_| source.clone()),
            }
        }
    }

    /// Adds the text of a variable or a flag.
    fn add_text(&mut self, setting: &Setting, text: &str, source: Source, is_otel: bool) {
        let is_period = is_otel && (setting.key.ends_with("timeout") || setting.key.ends_with("interval"));
        let is_choice = words(setting.schema).is_some() || setting.schema.get("anyOf").is_some();
        let mut unsupported = UNSUPPORTED.iter().filter(|(part, _)| setting.key.contains(part));
        let has_word = |word: &str| text.split(',').any(|of| of.trim().eq_ignore_ascii_case(word));
        let node = if !is_period {
            parse_text(setting, text)
        } else if text.bytes().all(|b| b.is_ascii_digit()) {
            Ok(SpannedValue::text(format!("{text}ms")))
        } else {
            Err(format!("expected a number of milliseconds such as 10000, found {text:?}"))
        };
        let node = match node {
            Ok(node) => node,
            Err(message) => {
                self.invalid.push(setting.key.to_owned());
                return self.errors.push(Invalid::new(1, setting.key, message).locate(setting.key, &source));
            }
        };
        if is_otel && is_choice && !unsupported.any(|(_, word)| has_word(word)) {
            let mut errors = Vec::new();
            check(&mut node.clone(), setting.schema, setting.key, &mut errors);
            if let Some(error) = errors.pop() {
                let warning = format!("{}; it is ignored", error.locate(setting.key, &source));
                return self.warnings.push(warning);
            }
        }
        self.add(setting.key, node, &|_| source.clone());
    }

    /// Adds what a source sets below a key, unless it is invalid.
    fn add(&mut self, key: &str, node: SpannedValue, source: &dyn Fn(usize) -> Source) {
        let section = |node: SpannedValue, name: &str| {
            let (line, text) = (node.line, name.to_owned());
            SpannedValue { line, value: Value::Map(vec![(Key { line, text }, node)]) }
        };
        let mut root = if key.is_empty() { node } else { key.rsplit('.').fold(node, section) };
        let mut errors = Vec::new();
        if root.value != Value::Null {
            check(&mut root, &SCHEMA, "", &mut errors);
        }
        for error in errors {
            self.invalid.push(error.path.clone());
            self.errors.push(error.locate(key, &source(1)));
        }
        self.resolve("", root, source);
    }

    fn resolve(&mut self, section: &str, node: SpannedValue, source: &dyn Fn(usize) -> Source) {
        let Value::Map(entries) = node.value else { return };
        for (key, node) in entries.into_iter().filter(|(_, node)| node.value != Value::Null) {
            let key = join(section, &key.text);
            match self.resolved.iter_mut().find(|resolved| resolved.setting.key == key) {
                Some(resolved) => (resolved.source, resolved.node) = (source(node.line), node),
                None => self.resolve(&key, node, source),
            }
        }
    }

    /// Returns the configuration. If there is an error, there are some in `errors`.
    pub(super) fn merge(&mut self) -> Config {
        let mut root = json!({});
        for resolved in self.resolved.iter().filter(|it| it.node.value != Value::Null) {
            let value = resolved.setting.key.split('.').fold(&mut root, |section, name| &mut section[name]);
            *value = resolved.value();
        }
        let mut config: Config = serde_json::from_value(root).unwrap_or_else(|error| {
            // What is invalid was left out. The schema has accepted the rest.
            self.errors.push(ConfigError::of_key("settings", error.to_string()));
            Config::default()
        });
        config.warnings = std::mem::take(&mut self.warnings);
        for conflict in validate(&mut config) {
            let is_warning = conflict.is_warning;
            match self.locate(conflict) {
                Some(warning) if is_warning => config.warnings.push(warning.to_string()),
                error => self.errors.extend(error),
            }
        }
        self.unknown.retain(|(name, value, _)| !config.otlp.is_read_by_sdk(name, value));
        if !self.unknown.is_empty() {
            let names: Vec<_> = self.unknown.iter().map(|(_, _, text)| &**text).collect();
            config.warnings.push(format!("ignoring variables that are no settings: {}", names.join(", ")));
        }
        config
    }

    /// Adds the source to a conflict, unless it follows from an error.
    fn locate(&self, conflict: Conflict) -> Option<ConfigError> {
        let Conflict { key, item, other, message, .. } = conflict;
        let is_other = |path: &String| !other.is_empty() && path.starts_with(other);
        let resolved = self.resolved.iter().find(|resolved| resolved.setting.key == key)?;
        let mut error = Invalid::new(resolved.node.line, &key, message);
        if let (Some((item, at)), Value::List(items)) = (item, &resolved.node.value) {
            let mut valid = items.iter().enumerate().filter(|(_, node)| node.value != Value::Null);
            let (index, node) = valid.nth(item)?;
            (error.line, error.path) = (node.line, format!("{key}[{index}]{at}"));
            if let Value::Map(entries) = &node.value
                && let Some((key, _)) = entries.iter().find(|(key, _)| Some(&*key.text) == at.get(1..))
            {
                error.line = key.line;
            }
        }
        (!self.invalid.iter().any(is_other)).then(|| error.locate(&key, &resolved.source))
    }
}

fn read_file(path: &Path) -> io::Result<String> {
    let text = io::read_to_string(File::open(path)?.take(MAX_FILE_BYTES + 1))?;
    if text.len() as u64 > MAX_FILE_BYTES {
        let message = format!("it is larger than {MAX_FILE_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(text)
}

fn parse_text(setting: &Setting, text: &str) -> Result<SpannedValue, String> {
    let has = |keyword: &str| setting.schema.get(keyword).is_some();
    // A value that may be written without its list is one of any of two.
    let (is_list, is_map) = (has("items") || has("anyOf"), has("additionalProperties"));
    let has_records = setting.schema["items"].get("properties").is_some();
    match text.chars().next() {
        _ if !is_list && !is_map => Ok(SpannedValue::text(text)),
        start if is_list && !has_records && start != Some('[') => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Ok(SpannedValue { line: 1, value: Value::List(items.map(SpannedValue::text).collect()) })
        }
        start if is_map && start != Some('{') => {
            let pairs = parse_pairs(text)?.into_iter();
            let entry = |(name, value)| (Key { line: 1, text: name }, SpannedValue::text(value));
            Ok(SpannedValue { line: 1, value: Value::Map(pairs.map(entry).collect()) })
        }
        _ => yaml::parse(text).map_err(|error| error.to_string()),
    }
}

/// Parses the format of `OTEL_EXPORTER_OTLP_HEADERS` and `OTEL_RESOURCE_ATTRIBUTES`: `a=b,c=d` with
/// percent-encoded values. The last value of a name takes precedence, as in the SDKs.
///
/// # Errors
/// Returns an error, without the text, if it has another format.
pub fn parse_pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for (index, entry) in text.split(',').map(str::trim).enumerate().filter(|(_, entry)| !entry.is_empty()) {
        // The message does not contain the entry, because it may be a secret.
        let fail = |message| format!("entry {}: {message}", index + 1);
        let (name, value) = entry.split_once('=').ok_or_else(|| fail("expected NAME=VALUE"))?;
        let name = percent_decoded(name.trim()).filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| fail("the name is empty or not percent-encoded UTF-8"))?;
        let value = percent_decoded(value.trim());
        let value = value.ok_or_else(|| fail("the value is not percent-encoded UTF-8 (a % is %25)"))?;
        match pairs.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => pairs.push((name, value)),
        }
    }
    Ok(pairs)
}

/// Returns the decoded text, unless an escape is incomplete or the result is not UTF-8.
fn percent_decoded(text: &str) -> Option<String> {
    let is_escape = |rest: &str| rest.len() >= 2 && rest.bytes().take(2).all(|b| b.is_ascii_hexdigit());
    let decoded = percent_decode_str(text).decode_utf8().ok()?;
    text.split('%').skip(1).all(is_escape).then(|| decoded.into_owned())
}

/// Whether Kubernetes sets the variable for a service named `lookout-…` or `otel-…`.
fn is_kubernetes_service(name: &str, value: &str) -> bool {
    let address = name.ends_with("SERVICE_HOST") || name.contains("SERVICE_PORT");
    let whole_port = name.ends_with("PORT") && value.contains("://");
    let one_port = name.contains("PORT_") && (name.contains("_TCP") || name.contains("_UDP"));
    address || whole_port || one_port
}
