//! The JSON Schema of the settings file, for editors.

use serde_json::{Map, Value as Json, json};

use super::table::{self, DefaultValue, Setting};

/// Returns the JSON Schema (2020-12) of the settings file, derived from the table of settings.
pub fn json_schema() -> String {
    let mut root = Map::new();
    for setting in table::all() {
        insert(&mut root, setting.key, setting);
    }
    let mut document = section(root);
    document["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    document["title"] = json!("Settings of lookoutd");
    format!("{document:#}\n")
}

/// Adds a setting below the sections of its key.
fn insert(properties: &mut Map<String, Json>, key: &str, setting: &Setting) {
    let Some((name, rest)) = key.split_once('.') else {
        properties.insert(key.to_owned(), property(setting));
        return;
    };
    let inner = properties.entry(name).or_insert_with(|| section(Map::new()));
    if let Json::Object(inner) = &mut inner["properties"] {
        insert(inner, rest, setting);
    }
}

fn section(properties: Map<String, Json>) -> Json {
    json!({"type": ["object", "null"], "properties": properties, "additionalProperties": false})
}

fn property(setting: &Setting) -> Json {
    let mut property = (setting.schema)();
    property["description"] = json!(match setting.default {
        DefaultValue::Yaml(_) => setting.comment.to_owned(),
        DefaultValue::Unset(effect) => format!("{} Not set: {effect}.", setting.comment),
    });
    if let DefaultValue::Yaml(yaml) = setting.default {
        // Numbers, booleans and empty lists are JSON too; other defaults are texts.
        property["default"] = serde_json::from_str(yaml).unwrap_or_else(|_| json!(yaml));
    }
    property
}
