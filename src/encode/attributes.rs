//! The attributes of an event.

use opentelemetry_semantic_conventions::attribute::{
    CLIENT_ADDRESS, OS_NAME, OS_VERSION, URL_DOMAIN, URL_FULL, USER_AGENT_NAME, USER_AGENT_ORIGINAL,
    USER_AGENT_VERSION,
};

use crate::model::{Attribute, AttributeSink, Event, FieldSpec, LabelEnum, Report, Value, host_and_port};

/// Emits the event's attributes, in a stable order.
pub fn attributes(event: &Event<'_>, emit: AttributeSink<'_>) {
    let Event { report, classification, finding, query, client_address, sample_rate, .. } = event;
    emit("lookout.site", Attribute::Text(classification.site.as_str()));
    emit("browser.report.type", Attribute::Text(&report.report_type));
    let mut emit_unless_empty = |name: &str, text: &str| {
        if !text.is_empty() {
            emit(name, Attribute::Text(text));
        }
    };
    emit_unless_empty(URL_FULL, &report.url);
    emit_unless_empty(URL_DOMAIN, host_and_port(&report.url).0);
    emit_unless_empty(USER_AGENT_ORIGINAL, &report.user_agent);
    emit_unless_empty(USER_AGENT_VERSION, classification.versions.browser.as_str());
    emit_unless_empty(OS_NAME, classification.versions.os);
    emit_unless_empty(OS_VERSION, classification.versions.os_version.as_str());
    emit_unless_empty(CLIENT_ADDRESS, client_address.unwrap_or_default());
    emit(USER_AGENT_NAME, Attribute::Text(classification.browser.as_str()));
    emit("lookout.noise", Attribute::Text(classification.noise.as_str()));
    for (name, value) in [("lookout.page", classification.page), ("lookout.rule", classification.rule)] {
        if let Some(text) = value {
            emit(name, Attribute::Text(text));
        }
    }
    emit("lookout.fingerprint", Attribute::Text(finding.fingerprint.encode(&mut [0; 16])));
    if event.is_new {
        emit("lookout.new", Attribute::Bool(true));
    }
    if let Some(rate) = sample_rate {
        emit("lookout.sample_rate", Attribute::Float(*rate));
    }
    for (name, value) in *query {
        emit(&format!("lookout.query.{name}"), Attribute::Text(value));
    }
    emit_body(report, emit);
    (report.kind.attributes)(report, emit);
}

fn emit_body(report: &Report<'_>, emit: AttributeSink<'_>) {
    // Names are those of the fields themselves but for a default, so that most are equal without a comparison.
    let is_own = |field: &&FieldSpec, name: &str| std::ptr::eq(field.name, name);
    for (name, value) in &report.body.0 {
        let attribute = match value {
            Value::Null => continue,
            Value::String(text) if text.is_empty() => continue,
            Value::String(text) => Attribute::Text(text),
            Value::Integer(number) => Attribute::Integer(*number),
            Value::Float(number) => Attribute::Float(*number),
            Value::Bool(flag) => Attribute::Bool(*flag),
            Value::Array(_) | Value::Object(_) => Attribute::Json(value),
        };
        let field =
            report.kind.fields.iter().find(|field| is_own(field, name)).or_else(|| report.kind.field(name));
        if let Some(name) = field.and_then(|field| field.attribute) {
            emit(name, attribute);
        }
    }
    if !report.unknown_members.is_empty() {
        emit("browser.report.body", Attribute::Text(&report.unknown_members));
    }
}
