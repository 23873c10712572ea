//! The JSON Schemas: what lookoutd writes and accepts is valid, what it never writes or rejects is not.

use std::collections::BTreeSet;

use boon::{Compiler, SchemaIndex, Schemas};
use lookoutd::config::{self, Flags};
use lookoutd::docs;
use lookoutd::kinds;
use lookoutd::model::FieldType;
use serde_json::{Value, json};

use crate::{path, samples};

/// A schema of the folder `docs`.
struct Schema {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Schema {
    /// Reads the file, and checks it against the meta-schema.
    fn read(name: &str) -> Schema {
        let mut schemas = Schemas::new();
        let index = Compiler::new()
            .compile(path("docs").join(name).to_str().unwrap(), &mut schemas)
            .unwrap_or_else(|error| panic!("{name}: {error:#}"));
        Schema { schemas, index }
    }

    /// Returns the errors of a value; nothing if it is valid.
    fn errors(&self, value: &Value) -> String {
        self.schemas.validate(value, self.index).err().map(|error| format!("{error:#}")).unwrap_or_default()
    }
}

/// Returns each golden file of an upload.
fn goldens() -> Vec<(String, Value)> {
    let mut goldens = Vec::new();
    for folder in ["chromium", "firefox", "webkit", "samples"] {
        for entry in std::fs::read_dir(path("tests/golden").join(folder)).unwrap() {
            let file = entry.unwrap().path();
            let golden = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
            goldens.push((file.display().to_string(), golden));
        }
    }
    assert!(goldens.len() > 300);
    goldens
}

#[test]
fn golden_events_are_valid() {
    let schema = Schema::read("event.schema.json");
    let mut seen = BTreeSet::new();
    for (file, golden) in goldens() {
        for event in golden["console"].as_array().unwrap() {
            assert_eq!(schema.errors(event), "", "{file}");
            seen.insert(event["lookout"]["kind"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(seen, kinds::ALL.iter().map(|kind| kind.name.to_owned()).collect());
}

#[test]
fn events_with_a_wrong_member_are_invalid() {
    let schema = Schema::read("event.schema.json");
    let file = path("tests/golden/chromium/1055-nel-refused-POST-network-error.json");
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let event = &golden["console"][0];
    assert_eq!(schema.errors(event), "");
    for (pointer, value) in [
        ("/age", json!(-1)),
        ("/age", json!("0")),
        ("/type", json!("csp-violation")),
        ("/url", Value::Null),
        ("/body", json!([])),
        ("/body/phase", json!(7)),
        ("/body/elapsed_time", json!(1.5)),
        ("/body/sampling_fraction", json!("1.0")),
        ("/lookout/kind", json!("nel")),
        ("/lookout/noise", json!("some")),
        ("/lookout/severity", json!("warn")),
        ("/lookout/received", json!("2026-11-22 13:15:04")),
        ("/lookout", json!({})),
    ] {
        let mut wrong = event.clone();
        *wrong.pointer_mut(pointer).unwrap() = value;
        assert_ne!(schema.errors(&wrong), "", "{pointer}");
    }
    for object in ["", "/body", "/lookout"] {
        let mut wrong = event.clone();
        wrong.pointer_mut(object).unwrap()["unknown"] = json!("x");
        assert_ne!(schema.errors(&wrong), "", "unknown in {object}");
    }
    let mut further = event.clone();
    further["lookout"]["unknown_members"] = json!("{\"new_member\":{\"a\":1}}");
    (further["lookout"]["count"], further["lookout"]["sample_rate"]) = (json!(3), json!(0.1));
    assert_eq!(schema.errors(&further), "");
}

/// The tables of attributes are complete, and their types are those of the records.
#[test]
fn golden_attributes_are_documented() {
    let page = std::fs::read_to_string(path("docs/events.md")).unwrap();
    let common = docs::section(&page, "members").unwrap();
    for (file, golden) in goldens() {
        let events = golden["console"].as_array().unwrap().iter().zip(golden["otlp"].as_array().unwrap());
        for (event, record) in events {
            let name = event["lookout"]["kind"].as_str().unwrap();
            let kind = kinds::ALL.iter().find(|kind| kind.name == name).unwrap();
            for (attribute, value) in record["attributes"].as_object().unwrap() {
                if common.contains(&format!("`{attribute}`")) {
                    continue;
                }
                let of_field = kind.fields.iter().find(|field| field.attribute == Some(attribute));
                let derived = kind.derived_attributes.iter().find(|derived| derived.name == attribute);
                let field_type =
                    of_field.map(|field| field.field_type).or(derived.map(|derived| derived.field_type));
                let field_type =
                    field_type.unwrap_or_else(|| panic!("{file}: {attribute} is not documented"));
                let matches = match field_type {
                    FieldType::Int | FieldType::NonZeroInt => value.is_i64(),
                    FieldType::Number => value.is_f64(),
                    FieldType::Bool => value.is_boolean(),
                    _ => value.is_string(),
                };
                assert!(matches, "{file}: {attribute} is no {field_type:?}: {value}");
            }
        }
    }
}

/// Reads YAML 1.2, in which `off` is a text, as editors do.
fn yaml(text: &str) -> Value {
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn settings_samples_and_printed_settings_are_valid() {
    let schema = Schema::read("schema.json");
    for (page, sample) in samples::settings() {
        assert_eq!(schema.errors(&yaml(&sample)), "", "{page}:\n{sample}");
    }
    for file in ["deploy/compose/lookoutd.yaml", "deploy/kubernetes/base/lookoutd.yaml"] {
        assert_eq!(schema.errors(&yaml(&std::fs::read_to_string(path(file)).unwrap())), "", "{file}");
    }
    let mut printed = Vec::new();
    config::load(&Flags::default(), std::iter::empty()).unwrap().write_yaml(&mut printed).unwrap();
    assert_eq!(schema.errors(&yaml(&String::from_utf8(printed).unwrap())), "");
}

/// Each file is rejected by the schema exactly if lookoutd rejects it.
#[test]
fn schema_and_loader_agree() {
    let schema = Schema::read("schema.json");
    for (sample, valid) in [
        ("log: { level: debug }", true),
        ("log: { level: loud }", false),
        ("log: { levle: debug }", false),
        ("log: debug", false),
        ("log:", true),
        ("unknown: 1", false),
        ("listen: '[::1]:0'", true),
        ("listen: here", false),
        ("listen: 8480", false),
        ("sites: [{ name: a, hosts: ['*.a.example', '[::1]'], events_per_second: 5 }]", true),
        ("sites: [{ name: a, host: [a.example] }]", false),
        ("sites: [{ hosts: [a.example] }]", false),
        ("sites: [{ name: other }]", false),
        ("sites: [{ name: a, hosts: ['https://a.example'] }]", false),
        ("sites: [{ name: a, events_per_second: 0 }]", false),
        ("sites: [{ name: a, min_sampling_fraction: 0.05 }]", true),
        ("sites: [{ name: a, min_sampling_fraction: 1 }]", true),
        ("sites: [{ name: a, min_sampling_fraction: 0 }]", false),
        ("sites: [{ name: a, min_sampling_fraction: 5% }]", false),
        ("sites: a", false),
        ("intake: { max_body_bytes: 64KiB }", true),
        ("intake: { max_body_bytes: 65536 }", true),
        ("intake: { max_body_bytes: 64kib }", false),
        ("intake: { max_body_bytes: -1 }", false),
        ("intake: { max_reports: 0 }", false),
        ("intake: { max_reports: many }", false),
        ("intake: { max_reports: 1.5 }", false),
        ("intake: { head_timeout: 1h30m }", true),
        ("intake: { head_timeout: 10 }", false),
        ("intake: { head_timeout: soon }", false),
        ("intake: { proxy_protocol: perhaps }", false),
        ("intake: { trusted_proxies: [10.0.0.0/8, '::1'] }", true),
        ("intake: { trusted_proxies: 10.0.0.0/8 }", false),
        ("intake: { retired: [/csp] }", true),
        ("intake: { retired: [a/b] }", false),
        ("intake: { query_attributes: ['a b'] }", false),
        ("sites: [{ name: a, pages: [{ name: checkout, paths: ['/checkout/*'] }] }]", true),
        ("sites: [{ name: a, pages: [{ name: checkout, paths: [checkout] }] }]", false),
        ("sites: [{ name: a, pages: [{ name: checkout }] }]", false),
        ("rules: [{ sample: 'x*', noise: bot }]", true),
        (
            "rules: [{ sample: ['x*', '!y'], kind: 'csp*', directive: font-src, severity: warn, event: drop }]",
            true,
        ),
        ("rules: [{ browser: ['chrome<120', 'firefox >= 115', '!safari'], noise: none }]", true),
        ("rules: [{ browser: brave, noise: none }]", false),
        ("rules: [{ browser: 'chrome~5', noise: none }]", false),
        ("rules: [{ kind: csp, noise: bot }]", false),
        ("rules: [{ directive: '!fnt-src', noise: bot }]", false),
        ("rules: [{ url: x, noise: bot }]", false),
        ("rules: [{ sample: '!', noise: bot }]", false),
        ("rules: [{ sample: x, noise: bad }]", false),
        ("rules: [{ sample: x, event: keep }]", false),
        ("events: { max_per_second: off, max_unknown_per_second: 5 }", true),
        ("events: { max_per_second: 0 }", false),
        ("events: { max_per_second: many }", false),
        ("metrics: { max_series: 999 }", false),
        ("delivery: { spool: { directory: /x, max_bytes: 2GiB } }", true),
        ("delivery: { spool: { dir: /x } }", false),
        ("delivery: { spool: { directory: /x, after: 0 } }", true),
        ("delivery: { spool: { directory: /x, after: 0s } }", true),
        ("delivery: { spool: { directory: /x, after: 500ms } }", true),
        ("delivery: { spool: { directory: /x, after: 5 } }", false),
        ("admin: { hosts: [lookoutd.example, '*.corp.example'] }", true),
        ("admin: { hosts: lookoutd.example }", false),
        ("admin: { hosts: ['lookoutd.example:18480'] }", false),
        ("admin: { unready_after: off }", true),
        ("admin: { unready_after: 5m }", true),
        ("admin: { unready_after: never }", false),
        ("otlp: { endpoint: 'http://127.0.0.1:4318', protocol: grpc }", true),
        ("otlp: { endpoint: 'ftp://127.0.0.1' }", false),
        ("otlp: { protocol: http/json }", false),
        ("otlp: { headers: { authorization: x } }", true),
        ("otlp: { headers: [x] }", false),
        ("otlp: { logs: { exporters: console } }", true),
        ("otlp: { logs: { exporters: [otlp, console] } }", true),
        ("otlp: { logs: { exporters: [] } }", false),
        ("otlp: { metrics: { exporters: console } }", false),
        ("otlp: { metrics: { temporality: delta } }", true),
        ("otlp: { metrics: { temporality: sometimes } }", false),
        ("otlp: { traces: { exporter: otlp } }", true),
        ("otlp: { traces: { exporter: console } }", false),
    ] {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), sample).unwrap();
        let flags = Flags { config: Some(file.path().to_owned()), settings: Vec::new() };
        let loaded = config::load(&flags, std::iter::empty()).map(drop).map_err(|error| error.to_string());
        assert_eq!(loaded.is_ok(), valid, "{sample}: {loaded:?}");
        let errors = schema.errors(&yaml(sample));
        assert_eq!(errors.is_empty(), valid, "{sample}: {errors}");
    }
}

#[test]
fn every_setting_is_in_the_schema_with_its_default() {
    let schema: Value = serde_json::from_str(&config::json_schema()).unwrap();
    for setting in config::reference() {
        let pointer = format!("/properties/{}", setting.key.replace('.', "/properties/"));
        let property = schema.pointer(&pointer).unwrap_or_else(|| panic!("{} is missing", setting.key));
        assert!(property["description"].as_str().unwrap().starts_with(setting.comment), "{}", setting.key);
        assert_eq!(property.get("default").is_some(), setting.default.is_ok(), "{}", setting.key);
    }
}
