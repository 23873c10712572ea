//! The description of the API, by OpenAPI 3.1.

use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Value, json};

use crate::admin::api::answer::List;
use crate::admin::api::events::DetailedEvent;
use crate::admin::api::findings::FindingItem;
use crate::admin::api::status::Status;
use crate::kinds;
use crate::model::{LabelEnum, Noise};
use crate::policy::{MIN_CLIENTS, Policy};
use crate::recent::Rejection;

/// Path, parameters, summary, and what the answer has.
type Operation = (&'static str, &'static [&'static str], &'static str, fn(&mut SchemaGenerator) -> Value);

#[rustfmt::skip]
const OPERATIONS: &[Operation] = &[
    ("/api/v1/status", &[], "Whether the daemon works, and what it does.", schema::<Status>),
    ("/api/v1/events", &["site", "kind", "noise", "limit", "detail"], "The last events, newest first; with \
        `Accept: text/event-stream` those to come.", |generator| {
        let detailed = schema::<List<DetailedEvent>>(generator);
        json!({"anyOf": [detailed, {"type": "object", "properties": {
            "items": {"type": "array", "items": {"$ref": "event.schema.json"}}}}]})
    }),
    ("/api/v1/rejected", &["limit"], "The last rejected uploads and reports, newest first.", schema::<List<Rejection>>),
    ("/api/v1/findings", &["site", "kind", "noise", "new", "sort", "limit"], "The findings, sorted descending.",
        schema::<List<FindingItem>>),
    ("/api/v1/findings/{fingerprint}", &["fingerprint"], "One finding.", schema::<FindingItem>),
    ("/api/v1/policy", &["site", "min_clients"], "The policy that follows from a site's findings.", schema::<Policy>),
];

fn schema<T: schemars::JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

fn parameter(name: &str) -> Value {
    let words = |words: Vec<&str>| json!({"type": "string", "enum": words});
    let (meaning, schema) = match name {
        "site" => ("Value of the label site.", json!({"type": "string"})),
        "kind" => ("Value of the label kind.", words(kinds::ALL.iter().map(|kind| kind.name).collect())),
        "noise" => {
            ("Value of the label noise.", words(Noise::ALL.iter().map(|noise| noise.as_str()).collect()))
        }
        "limit" => (
            "Most items. A stream begins with that number of past events, and without it with none.",
            json!({"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}),
        ),
        "detail" => ("Adds how each event came about.", json!({"type": "boolean", "default": false})),
        "new" => ("Only those younger than findings.new_for, or only others.", json!({"type": "boolean"})),
        "sort" => ("What decides the order.", words(vec!["count", "clients", "first", "last"])),
        "min_clients" => (
            "Clients that have to report a source.",
            json!({"type": "integer", "minimum": 1, "default": MIN_CLIENTS}),
        ),
        _ => ("The fingerprint.", json!({"type": "string", "pattern": "^[0-9a-f]{16}$"})),
    };
    let place = if name == "fingerprint" { "path" } else { "query" };
    json!({"name": name, "in": place, "required": place == "path", "description": meaning, "schema": schema})
}

/// Returns the description as JSON.
pub fn openapi() -> String {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.for_serialize().into_generator();
    let mut paths = json!({});
    for (path, parameters, summary, schema) in OPERATIONS {
        let problem =
            |meaning: &str| json!({"description": meaning, "content": {"application/problem+json": {}}});
        paths[path] = json!({"get": {
            "summary": summary,
            "parameters": parameters.iter().map(|name| parameter(name)).collect::<Vec<_>>(),
            "responses": {
                "200": {"description": "The answer.", "content": {"application/json": {"schema": schema(&mut generator)}}},
                "400": problem("An unknown or invalid parameter."),
                "401": {"description": "The credentials of admin.auth are required."},
                "403": {"description": "The host name is not in admin.hosts."},
                "404": problem("There is no such thing, or admin.page is off."),
                "503": problem("Too many concurrent requests, or readers of the stream."),
            },
        }});
    }
    let document = json!({
        "openapi": "3.1.0",
        "info": {"title": "API of lookoutd", "version": env!("CARGO_PKG_VERSION")},
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic"},
            },
        },
        "security": [{}, {"bearer": []}, {"basic": []}],
    });
    format!("{document:#}\n")
}
