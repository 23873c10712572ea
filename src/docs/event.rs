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
    otlp: Texts,
    schema: fn() -> Json,
    /// In Markdown.
    meaning: &'static str,
    required: bool,
}

const LOOKOUT: &str = "lookout.";

type Texts = &'static [&'static str];

const fn always(path: &'static str, otlp: Texts, schema: fn() -> Json, meaning: &'static str) -> Member {
    Member { path, otlp, schema, meaning, required: true }
}

const fn sometimes(path: &'static str, otlp: Texts, schema: fn() -> Json, meaning: &'static str) -> Member {
    Member { required: false, ..always(path, otlp, schema, meaning) }
}

#[rustfmt::skip]
static MEMBERS: &[Member] = &[
    always("age", &[], count, "Milliseconds between the event and its receipt, as sent; at most 24 h."),
    always("type", &["browser.report.type"], text, "The report type as sent."),
    always("url", &["url.full", "url.domain"], text,
        "The page or the request; empty if unknown. `url.domain` is its host."),
    always("user_agent", &["user_agent.original"], text, "The user agent; empty if unknown."),
    always("body", &[], || json!({"type": "object"}), "The members of the kind, see below."),
    always("lookout", &[], || json!({"type": "object"}), "What lookoutd derived."),
    always("lookout.received", &["ObservedTimestamp"], time, "When lookoutd received the report."),
    always("lookout.occurred", &["Timestamp"], time, "When the event occurred: `received` minus `age`."),
    always("lookout.kind", &["EventName"], || words(kinds::ALL.iter().map(|kind| kind.name)),
        "The kind. `EventName` is `browser.report.` and the kind's name in snake case."),
    always("lookout.site", &["lookout.site"], text,
        "The configured site, `unknown`, or without configured sites a host."),
    sometimes("lookout.page", &["lookout.page"], text,
        "The first page of [`sites[].pages`](rules.md#pages) whose path matches; absent if none does."),
    always("lookout.severity", &["SeverityText", "SeverityNumber"], values::<Severity>,
        "`INFO` (9), `WARN` (13) or `ERROR` (17)."),
    always("lookout.summary", &["Body"], text, "One line for people."),
    always("lookout.noise", &["lookout.noise"], values::<Noise>,
        "The noise class; `none` for what concerns the site."),
    sometimes("lookout.rule", &["lookout.rule"], text,
        "The [rule](rules.md) that matched: its name, `rules[N]`, or `builtin:` and a name; absent if none did."),
    always("lookout.browser", &["user_agent.name"], values::<Browser>, "The browser, from the user agent."),
    sometimes("lookout.browser_version", &["user_agent.version"], version,
        "Its version, from the user agent; absent for bots and the browser `other`."),
    sometimes("lookout.os", &["os.name"], text, "The operating system, as ua-parser names it; absent for bots."),
    sometimes("lookout.os_version", &["os.version"], version,
        "Its version. Absent where browsers send the same one on each system, see [versions](#versions)."),
    always("lookout.fingerprint", &["lookout.fingerprint"], || json!({"type": "string", "pattern": "^[0-9a-f]{16}$"}),
        "The same for all reports of one problem, see [fingerprints](#fingerprints)."),
    sometimes("lookout.new", &["lookout.new"], || json!({"const": true, "type": "boolean"}),
        "Whether the event made a [finding](metrics.md#clients-and-findings); absent if not."),
    sometimes("lookout.sample_rate", &["lookout.sample_rate"], || json!({"type": "number", "exclusiveMinimum": 0, "maximum": 1}),
        "The probability with which the event was kept, if its [kind is sampled](#fewer-events)."),
    sometimes("lookout.count", &["lookout.count"], || json!({"type": "integer", "minimum": 1}),
        "Number of reports that the event stands for, if they were [folded](#fewer-events)."),
    sometimes("lookout.client_address", &["client.address"], text,
        "The client's address, if `privacy.client_address` permits."),
    sometimes("lookout.query", &["lookout.query.<name>"], || json!({"type": "object", "additionalProperties": text()}),
        "Query parameters of the endpoint's URL that `intake.query_attributes` names."),
    sometimes("lookout.unknown_members", &["browser.report.body"], || json!({"type": "string", "maxLength": 4096}),
        "The members that the kind does not have, and all of an unknown type's, as compact JSON: at most 32 and 4 KiB, \
         the rest replaced by `…`."),
    sometimes("lookout.dropped_members", &["DroppedAttributesCount"], count,
        "Number of members of the body that were dropped, because it exceeded its limits."),
];

fn text() -> Json {
    json!({"type": "string"})
}

fn count() -> Json {
    json!({"type": "integer", "minimum": 0})
}

fn version() -> Json {
    json!({"type": "string", "maxLength": 23, "pattern": "^[0-9][0-9.]*$"})
}

fn time() -> Json {
    json!({"type": "string", "format": "date-time", "pattern": "^[0-9-]{10}T[0-9:]{8}\\.[0-9]{3}Z$"})
}

fn words<'w>(words: impl Iterator<Item = &'w str>) -> Json {
    json!({"type": "string", "enum": words.collect::<Vec<_>>()})
}

fn values<T: LabelEnum>() -> Json {
    words(T::ALL.iter().map(|value| value.as_str()))
}

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
    let (schema, otlp_type) = types(field.field_type);
    let json_type = schema["type"].as_str().unwrap_or("any");
    let otlp_type = if field.attribute.is_some() { otlp_type } else { "–" };
    vec![code(field.name), json_type.to_owned(), codes(field.attribute), otlp_type.to_owned()]
}

/// Returns the schema of a field, and the type of its attribute.
fn types(field_type: FieldType) -> (Json, &'static str) {
    match field_type {
        FieldType::NonZeroInt => (json!({"type": "integer", "minimum": 1}), "int"),
        FieldType::Int => (count(), "int"),
        FieldType::Number => (json!({"type": "number"}), "double"),
        FieldType::Bool => (json!({"type": "boolean"}), "bool"),
        FieldType::MetricSource | FieldType::Any => (json!({}), "string; a list or an object as JSON"),
        _ => (text(), "string"),
    }
}

pub(super) fn schema() -> String {
    let (lookout, report): (Vec<&Member>, Vec<&Member>) =
        MEMBERS.iter().partition(|member| member.path.starts_with(LOOKOUT));
    let mut schema = object(&report);
    schema["properties"]["lookout"] = object(&lookout);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Event of lookoutd");
    schema["description"] =
        json!("A line of the console export: a report, and what lookoutd derived from it.");
    schema["allOf"] = kinds::ALL.iter().map(|kind| variant(kind)).collect();
    schema["$defs"] = kinds::ALL.iter().map(|kind| (kind.name, body(kind))).collect();
    format!("{schema:#}\n")
}

fn object(members: &[&Member]) -> Json {
    let name = |member: &Member| member.path.trim_start_matches(LOOKOUT).to_owned();
    let property = |member: &&Member| {
        let mut schema = (member.schema)();
        schema["description"] = json!(member.meaning.replace('`', ""));
        (name(member), schema)
    };
    let required = members.iter().filter(|member| member.required).map(|member| name(member));
    json!({
        "type": "object",
        "properties": members.iter().map(property).collect::<Map<_, _>>(),
        "required": required.collect::<Vec<_>>(),
        "additionalProperties": false,
    })
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

/// Returns the schema of a kind's body. Members that the kind does not declare are in `lookout.unknown_members`.
fn body(kind: &ReportKind) -> Json {
    let property = |field: &FieldSpec| (field.name.to_owned(), types(field.field_type).0);
    json!({
        "type": "object",
        "properties": kind.fields.iter().map(property).collect::<Map<_, _>>(),
        "additionalProperties": false,
    })
}
