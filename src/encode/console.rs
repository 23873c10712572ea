//! The event as one JSON line: the normalized report, and under `lookout` what lookoutd adds to it.

use std::collections::BTreeMap;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::model::{Event, LabelEnum};

/// Appends the event's line, newline included.
pub fn write_json_line(event: &Event<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    // JSON cannot be written to memory only if a key is not text, which does not occur.
    if serde_json::to_writer(&mut *out, &Line(event)).is_err() {
        out.truncate(start);
    }
    out.push(b'\n');
}

struct Line<'l, 'e>(&'l Event<'e>);

impl Serialize for Line<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let report = self.0.report;
        let mut line = serializer.serialize_map(None)?;
        line.serialize_entry("age", &report.age)?;
        line.serialize_entry("type", &report.report_type)?;
        line.serialize_entry("url", &report.url)?;
        line.serialize_entry("user_agent", &report.user_agent)?;
        line.serialize_entry("body", &report.body)?;
        line.serialize_entry("lookout", &LookoutFields(self.0))?;
        line.end()
    }
}

struct LookoutFields<'l, 'e>(&'l Event<'e>);

impl Serialize for LookoutFields<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Event { report, classification, finding, is_new, severity, summary, query, client_address } =
            self.0;
        let mut fields = serializer.serialize_map(None)?;
        fields.serialize_entry("received", &format_args!("{:.3}", report.received))?;
        fields.serialize_entry("occurred", &format_args!("{:.3}", report.occurred))?;
        fields.serialize_entry("kind", report.kind.name)?;
        fields.serialize_entry("site", classification.site.as_str())?;
        fields.serialize_entry("severity", severity.as_str())?;
        fields.serialize_entry("summary", summary)?;
        fields.serialize_entry("noise", classification.noise.as_str())?;
        fields.serialize_entry("browser", classification.browser.as_str())?;
        fields.serialize_entry("fingerprint", finding.fingerprint.encode(&mut [0; 16]))?;
        if *is_new {
            fields.serialize_entry("new", &true)?;
        }
        if let Some(address) = client_address {
            fields.serialize_entry("client_address", address)?;
        }
        if !query.is_empty() {
            let query: BTreeMap<_, _> = query.iter().map(|(name, value)| (name, value)).collect();
            fields.serialize_entry("query", &query)?;
        }
        if !report.unknown_members.is_empty() {
            fields.serialize_entry("unknown_members", &report.unknown_members)?;
        }
        if report.dropped_members > 0 {
            fields.serialize_entry("dropped_members", &report.dropped_members)?;
        }
        fields.end()
    }
}
