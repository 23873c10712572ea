//! The event: its members on the console, where each one stands in an OTLP log record, and its JSON Schema.

use serde_json::{Map, Value as Json, json};

use crate::docs::markdown::{code, codes, table};
use crate::kinds;
use crate::model::{Browser, FieldSpec, FieldType, LabelEnum, Noise, ReportKind, Severity};

/// A member that the event of every kind can have.
struct Member {
    /// Its path on the console.
    path: &'static str,
    /// Fields and attributes of the log record that carry it.
    otlp: &'static [&'static str],
    /// Its JSON Schema.
    schema: fn() -> Json,
    /// Whether every event has it.
    required: bool,
    /// In Markdown.
    /// In Markdown.
    meaning: &'static str,
}

const fn member(
    path: &'static str,
    otlp: &'static [&'static str],
    schema: fn() -> Json,
    meaning: &'static str,
) -> Member {
    Member { path, otlp, schema, required: true, meaning }
}

const fn optional(member: Member) -> Member {
    Member { required: false, ..member }
}

static MEMBERS: &[Member] = &[
    member("age", &[], count, "Milliseconds between the event and its receipt, as sent; at most 24 h."),
    member("type", &["browser.report.type"], text, "The report type as sent."),
    member(
        "url",
        &["url.full", "url.domain"],
        text,
        "The page or the request; empty if unknown. `url.domain` is its host.",
    ),
    member("user_agent", &["user_agent.original"], text, "The user agent; empty if unknown."),
    member("body", &[], || json!({"type": "object"}), "The members of the kind, see below."),
    member("lookout.received", &["ObservedTimestamp"], time, "When lookoutd received the report."),
    member("lookout.occurred", &["Timestamp"], time, "When the event occurred: `received` minus `age`."),
    member(
        "lookout.kind",
        &["EventName"],
        || words(kinds::ALL.iter().map(|kind| kind.name)),
        "The kind. `EventName` is `browser.report.` and the kind's name in snake case.",
    ),
    member(
        "lookout.site",
        &["lookout.site"],
        text,
        "The configured site, `unknown`, or without configured sites a host.",
    ),
    member(
        "lookout.severity",
        &["SeverityText", "SeverityNumber"],
        || words(Severity::ALL.iter().map(|severity| severity.as_str())),
        "`INFO` (9), `WARN` (13) or `ERROR` (17).",
    ),
    member("lookout.summary", &["Body"], text, "One line for people."),
    member(
        "lookout.noise",
        &["lookout.noise"],
        || words(Noise::ALL.iter().map(|noise| noise.as_str())),
        "The noise class; `none` for what concerns the site.",
    ),
    member(
        "lookout.browser",
        &["user_agent.name"],
        || words(Browser::ALL.iter().map(|browser| browser.as_str())),
        "The browser, from the user agent.",
    ),
    optional(member(
        "lookout.client_address",
        &["client.address"],
        text,
        "The client's address, if `privacy.client_address` permits.",
    )),
    optional(member(
        "lookout.query",
        &["lookout.query.<name>"],
        || json!({"type": "object", "additionalProperties": {"type": "string"}}),
        "Query parameters of the endpoint's URL that `intake.query_attributes` names.",
    )),
    optional(member(
        "lookout.dropped_members",
        &["DroppedAttributesCount"],
        count,
        "Members of the body that exceeded its limits.",
    )),
];

fn text() -> Json {
    json!({"type": "string"})
}

fn count() -> Json {
    json!({"type": "integer", "minimum": 0})
}

fn time() -> Json {
    json!({"type": "string", "format": "date-time", "pattern": "^[0-9-]{10}T[0-9:]{8}\\.[0-9]{3}Z$"})
}

fn words<'w>(words: impl Iterator<Item = &'w str>) -> Json {
    json!({"type": "string", "enum": words.collect::<Vec<_>>()})
}

/// Returns the table of the members that every kind has.
pub(super) fn members() -> String {
    let row = |member: &Member| {
        let schema = (member.schema)();
        let json_type = schema["type"].as_str().unwrap_or_default().to_owned();
        vec![code(member.path), json_type, codes(member.otlp.iter().copied()), member.meaning.to_owned()]
    };
    table(&["console", "type", "OTLP", "meaning"], MEMBERS.iter().map(row))
}

/// Returns a table for each kind: the members of its body, and the attributes that carry them.
pub(super) fn attributes() -> String {
    let tables = kinds::ALL.iter().filter(|kind| !kind.fields.is_empty()).map(|kind| {
        let of_fields = kind.fields.iter().map(field_row);
        let derived = kind.derived_attributes.iter().map(|attribute| {
            let otlp_type = types(attribute.field_type).1.to_owned();
            vec![attribute.source.to_owned(), "–".to_owned(), code(attribute.name), otlp_type]
        });
        let head = ["member of `body`, or source", "JSON type", "OTLP attribute", "OTLP type"];
        format!("### `{}`\n\n{}", kind.name, table(&head, of_fields.chain(derived)))
    });
    tables.collect::<Vec<_>>().join("\n")
}

fn field_row(field: &FieldSpec) -> Vec<String> {
    let (json_type, otlp_type) = types(field.field_type);
    let otlp_type = if field.attribute.is_some() { otlp_type } else { "–" };
    vec![
        code(field.name),
        json_type.unwrap_or("any").to_owned(),
        codes(field.attribute),
        otlp_type.to_owned(),
    ]
}

/// Returns the JSON type of a field, if it has only one, and the type of its attribute.
fn types(field_type: FieldType) -> (Option<&'static str>, &'static str) {
    match field_type {
        FieldType::Url
        | FieldType::PageUrl
        | FieldType::Token
        | FieldType::Sample
        | FieldType::Message
        | FieldType::Stack
        | FieldType::Policy => (Some("string"), "string"),
        FieldType::NonZeroInt | FieldType::Int => (Some("integer"), "int"),
        FieldType::Number => (Some("number"), "double"),
        FieldType::Bool => (Some("boolean"), "bool"),
        FieldType::MetricSource | FieldType::Any => (None, "string; a list or an object as JSON"),
    }
}

/// Returns the JSON Schema of the event on the console.
pub(super) fn schema() -> String {
    let mut lookout = Map::new();
    let mut lookout_required = Vec::new();
    let mut report = Map::new();
    let mut report_required = vec!["lookout"];
    for member in MEMBERS {
        let mut schema = (member.schema)();
        schema["description"] = json!(member.meaning.replace('`', ""));
        let (properties, required, name) = match member.path.strip_prefix("lookout.") {
            Some(name) => (&mut lookout, &mut lookout_required, name),
            None => (&mut report, &mut report_required, member.path),
        };
        properties.insert(name.to_owned(), schema);
        if member.required {
            required.push(name);
        }
    }
    report.insert("lookout".to_owned(), object(lookout, lookout_required));
    let mut schema = object(report, report_required);
    let definitions: Map<String, Json> =
        kinds::ALL.iter().map(|kind| (kind.name.to_owned(), body(kind))).collect();
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Event of lookoutd");
    schema["description"] = json!(
        "One line of the console export: a report as the Reporting API defines it, and what lookoutd derived from it."
    );
    schema["allOf"] = kinds::ALL.iter().map(|kind| variant(kind)).collect();
    schema["$defs"] = definitions.into();
    format!("{schema:#}\n")
}

fn object(properties: Map<String, Json>, required: Vec<&str>) -> Json {
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

/// Returns the rule for the events of one kind.
fn variant(kind: &ReportKind) -> Json {
    let mut properties = json!({"body": {"$ref": format!("#/$defs/{}", kind.name)}});
    if !kind.fields.is_empty() {
        properties["type"] = words(kind.aliases.iter().copied().chain([kind.name]));
    }
    json!({
        "if": {"properties": {"lookout": {"properties": {"kind": {"const": kind.name}}}}},
        "then": {"properties": properties},
    })
}

/// Returns the schema of a kind's body. Members that the kind does not declare are kept, so any are allowed.
fn body(kind: &ReportKind) -> Json {
    let property = |field: &FieldSpec| {
        let schema = match (field.field_type, types(field.field_type).0) {
            (_, None) => json!({}),
            (FieldType::NonZeroInt, Some(name)) => json!({"type": name, "minimum": 1}),
            (FieldType::Int, Some(name)) => json!({"type": name, "minimum": 0}),
            (_, Some(name)) => json!({"type": name}),
        };
        (field.name.to_owned(), schema)
    };
    json!({"type": "object", "properties": kind.fields.iter().map(property).collect::<Map<_, _>>()})
}
