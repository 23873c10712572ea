//! One report as a log event, before any exporter encodes it.

use std::borrow::Cow;

use crate::model::report::{Attribute, Classification, Report, Severity};

/// Takes encoded events. Called once for an upload, and more often for a large one; never waits.
pub trait EventSink: Send + Sync {
    /// `ends[i]` is where the i-th event ends in `events`.
    fn push(&self, events: &[u8], ends: &[u32]);
}

/// Everything there is to say about one report.
#[derive(Debug, Clone, Copy)]
pub struct Event<'e> {
    /// The normalized report.
    pub report: &'e Report<'e>,
    /// Its classification.
    pub class: Classification<'e>,
    /// How bad it is.
    pub severity: Severity,
    /// One line for a person.
    pub summary: &'e str,
    /// Attributes that the endpoint's query supplied.
    pub query: &'e [(&'e str, Cow<'e, str>)],
    /// The client's address, as far as it may be shown.
    pub client_address: Option<&'e str>,
}

impl Event<'_> {
    /// The event's attributes, in a stable order.
    pub fn attributes(&self, emit: &mut dyn FnMut(&str, Attribute<'_>)) {
        let report = self.report;
        emit("lookout.site", Attribute::Text(self.class.site.as_str()));
        emit("browser.report.type", Attribute::Text(&report.report_type));
        let mut known = |name: &str, text: &str| {
            if !text.is_empty() {
                emit(name, Attribute::Text(text));
            }
        };
        known("url.full", &report.url);
        known("url.domain", crate::model::host_and_port(&report.url).0);
        known("user_agent.original", &report.user_agent);
        known("client.address", self.client_address.unwrap_or_default());
        emit("user_agent.name", Attribute::Text(self.class.browser.as_str()));
        emit("lookout.noise", Attribute::Text(self.class.noise.as_str()));
        for (name, value) in self.query {
            emit(&format!("lookout.query.{name}"), Attribute::Text(value));
        }
        self.body_attributes(emit);
        (report.kind.attributes)(report, emit);
    }

    fn body_attributes(&self, emit: &mut dyn FnMut(&str, Attribute<'_>)) {
        use crate::model::json::Value;
        for (name, value) in &self.report.body.0 {
            let attribute = match value {
                Value::Null => continue,
                Value::String(text) if text.is_empty() => continue,
                Value::String(text) => Attribute::Text(text),
                Value::Integer(number) => Attribute::Integer(*number),
                Value::Float(number) => Attribute::Float(*number),
                Value::Bool(flag) => Attribute::Bool(*flag),
                Value::Array(_) | Value::Object(_) => Attribute::Json(value),
            };
            match self.report.kind.field(name).map(|(_, field)| field.attribute) {
                Some(Some(known)) => emit(known, attribute),
                Some(None) => {}
                None => emit(&format!("browser.report.body.{name}"), attribute),
            }
        }
    }
}
