//! The list of all settings with their documentation, derived from the JSON Schema of [`Config`] and from its
//! default.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};

use super::error::join;
use super::format;
use super::settings::Config;
use super::yaml::{self, SpannedValue, Value};

/// The standard variables, and the setting that each sets. Those of destinations follow from the keys.
const OTEL_VARIABLES: [(&str, &str); 8] = [
    ("OTEL_SDK_DISABLED", "otlp.disabled"),
    ("OTEL_SERVICE_NAME", "service.name"),
    ("OTEL_RESOURCE_ATTRIBUTES", "service.resource_attributes"),
    ("OTEL_LOGS_EXPORTER", "otlp.logs.exporters"),
    ("OTEL_METRICS_EXPORTER", "otlp.metrics.exporters"),
    ("OTEL_TRACES_EXPORTER", "otlp.traces.exporter"),
    ("OTEL_METRIC_EXPORT_INTERVAL", "otlp.metrics.interval"),
    ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "otlp.metrics.temporality"),
];

/// The settings and sections that a reload applies, for all signals and for one. All others apply at the start only.
const RELOADABLE: [&str; 18] = [
    "log.level",
    "sites",
    "intake.paths",
    "intake.max_reports",
    "intake.max_in_flight",
    "intake.unknown_sites",
    "intake.query_attributes",
    "intake.retired",
    "intake.trusted_proxies",
    "intake.rate_limit",
    "privacy",
    "rules",
    "events",
    "admin.hosts",
    "admin.grafana",
    "admin.auth",
    "otlp.headers",
    "otlp.headers_file",
];

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// Dotted path in the file: `intake.max_body_bytes`.
    pub key: &'static str,
    /// Help text, on one line.
    pub comment: &'static str,
    /// The default as YAML, or the effect of no value as text.
    pub default: Result<&'static str, &'static str>,
    /// The `LOOKOUT_*` variable that sets it.
    pub variable: String,
    /// The standard variable that sets it too. The `LOOKOUT_*` variable takes precedence.
    pub otel: Option<&'static str>,
    pub(super) default_node: SpannedValue,
    /// The schema of its value.
    pub(super) schema: &'static Json,
}

impl Setting {
    fn new(key: &'static str, schema: &'static Json) -> Setting {
        let description = schema["description"].as_str().unwrap_or_default();
        let (comment, effect) = description.split_once(" Not set: ").unwrap_or((description, ""));
        let default_node = yaml::parse(&schema["default"].to_string()).unwrap_or_default();
        let default = match default_node.value {
            Value::Null => Err(effect.trim_end_matches('.')),
            _ => Ok(&*default_node.to_yaml(schema).leak()),
        };
        let variable = format!("LOOKOUT_{}", key.replace('.', "_").to_ascii_uppercase());
        Setting { key, comment, default, variable, otel: otel_variable(key), default_node, schema }
    }

    /// Returns the key of all signals that this one replaces for one signal.
    pub fn general(&self) -> Option<String> {
        general_key(self.key)
    }

    /// Whether a reload applies it.
    pub fn is_reloadable(&self) -> bool {
        let key = self.general().unwrap_or_else(|| self.key.to_owned());
        let rest = |section: &&str| key.strip_prefix(*section);
        RELOADABLE.iter().filter_map(rest).any(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

/// The generated schema. A start reads its copy, which takes a quarter of the time; a test compares both. Tests, and
/// what generates the copy, take the schema itself.
pub(super) static SCHEMA: LazyLock<Json> = LazyLock::new(|| {
    let copy = || serde_json::from_str(include_str!("../../docs/schema.json")).ok();
    (!cfg!(debug_assertions)).then(copy).flatten().unwrap_or_else(generate_schema)
});

fn generate_schema() -> Json {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<Config>().to_value();
    tidy(&mut schema, "", serde_json::to_value(Config::default()).ok().as_ref());
    add_null(&mut schema);
    schema["title"] = json!("Settings of lookoutd");
    schema
}

static SETTINGS: LazyLock<Vec<Setting>> = LazyLock::new(|| {
    // The order is that of the fields, which the schema does not keep.
    let defaults = serde_json::to_string(&Config::default()).unwrap_or_default();
    let mut settings = Vec::new();
    collect("", &defaults, &SCHEMA, &mut settings);
    settings
});

/// Returns every setting, grouped by section.
pub fn reference() -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter()
}

/// Returns the JSON Schema (2020-12) of the settings file, for editors.
pub fn json_schema() -> String {
    format!("{:#}\n", generate_schema())
}

pub(super) fn find(key: &str) -> Option<&'static Setting> {
    reference().find(|setting| setting.key == key)
}

/// Returns the keys directly below a section; none if the key is not a section.
pub(super) fn children(section: &str) -> Vec<&'static str> {
    let prefix = if section.is_empty() { String::new() } else { format!("{section}.") };
    let below = reference().filter_map(|setting| setting.key.strip_prefix(&*prefix));
    let mut names: Vec<_> = below.filter_map(|rest| rest.split('.').next()).collect();
    // Those of one section follow each other.
    names.dedup();
    names
}

/// Returns the general setting from which a signal's setting is inherited.
fn general_key(key: &str) -> Option<String> {
    let (signal, name) = key.strip_prefix("otlp.")?.split_once('.')?;
    let is_own = matches!(name, "diagnostics" | "exporter" | "exporters" | "interval" | "temporality");
    (!is_own && matches!(signal, "logs" | "metrics" | "traces")).then(|| format!("otlp.{name}"))
}

fn otel_variable(key: &str) -> Option<&'static str> {
    if let Some((variable, _)) = OTEL_VARIABLES.iter().find(|(_, path)| *path == key) {
        return Some(variable);
    }
    // Those of OpenTelemetry are none of files and of diagnostics.
    let is_ours = |name: &&str| name.ends_with("_file") || name.ends_with("diagnostics");
    let name = key.strip_prefix("otlp.").filter(|name| !is_ours(name))?;
    let name = name.replace('.', "_").to_ascii_uppercase();
    Some(format!("OTEL_EXPORTER_OTLP_{name}").leak())
}

/// Completes the schema of a key: a key without a value counts as absent, so that null is valid; a signal's settings
/// are inherited; defaults are written as in a file.
fn tidy(schema: &mut Json, key: &str, default: Option<&Json>) {
    let own_default = schema["default"].take();
    let printed = format::print(schema, default.unwrap_or(&own_default));
    let Json::Object(schema) = schema else { return };
    // An optional field has the schema of its value, or null.
    if schema.get("anyOf").is_some_and(|any| any[1] == json!({"type": "null"}))
        && let Some(Json::Object(mut value)) = schema.remove("anyOf").map(|mut any| any[0].take())
    {
        value.append(schema);
        *schema = value;
    }
    if let Some(Json::String(text)) = schema.get_mut("description") {
        *text = text.replace('\n', " ");
        if let Some(general) = general_key(key) {
            let comment = text.split(" Not set: ").next().unwrap_or_default();
            *text = format!("{comment} Not set: {general}.");
        }
    }
    schema.remove("default");
    if !printed.is_null() && !schema.contains_key("properties") {
        schema.insert("default".to_owned(), printed);
    }
    let required = schema.get("required").cloned().unwrap_or_default();
    if let Some(Json::Object(properties)) = schema.get_mut("properties") {
        for (name, property) in properties.iter_mut() {
            tidy(property, &join(key, name), default.and_then(|default| default.get(name)));
            if !required.as_array().is_some_and(|required| required.contains(&json!(name))) {
                add_null(property);
            } else if let Some(property) = property.as_object_mut() {
                property.remove("default");
            }
        }
    }
    for name in ["items", "additionalProperties"] {
        if let Some(schema) = schema.get_mut(name).filter(|schema| schema.get("properties").is_some()) {
            tidy(schema, "", None);
        }
    }
}

fn add_null(schema: &mut Json) {
    for (keyword, null) in [
        ("type", json!("null")),
        ("enum", Json::Null),
        ("anyOf", json!({"type": "null"})),
        ("oneOf", json!({"type": "null"})),
    ] {
        let Some(values) = schema.get_mut(keyword) else { continue };
        let mut all = match values.take() {
            Json::Array(all) => all,
            one => vec![one],
        };
        if !all.contains(&null) {
            all.push(null);
        }
        *values = all.into();
    }
}

/// Adds the settings of one section, and of those below it, in the order of the defaults, which are JSON.
fn collect(section: &str, defaults: &str, schema: &'static Json, settings: &mut Vec<Setting>) {
    let entries = serde_json::from_str::<BTreeMap<&str, &RawValue>>(defaults).unwrap_or_default();
    let mut entries: Vec<_> = entries.into_iter().collect();
    entries.sort_by_key(|(_, default)| default.get().as_ptr());
    for (name, default) in entries {
        let key = join(section, name);
        let property = &schema["properties"][name];
        if property.get("properties").is_some() {
            collect(&key, default.get(), property, settings);
        } else {
            settings.push(Setting::new(key.leak(), property));
        }
    }
}
