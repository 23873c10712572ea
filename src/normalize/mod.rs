//! Turns an envelope into a report that may leave the process: fields have the names of their
//! specification, URLs and texts are redacted and truncated, and the time of the event is computed.
//! Normalizing a report again changes nothing.

mod fields;
mod limits;
mod nested;
mod redactions;
mod secret;
mod text_redact;
mod timestamp;
mod truncate;
mod unescape;
mod url_redact;
mod url_redactor;
mod word_scanner;

use std::borrow::Cow;

use crate::config::Privacy;
use crate::kinds;
use crate::model::{
    Envelope, FieldType, Object, Report, ReportKind, UploadContext, Value, has_no_address, server_url,
};

pub use fields::Mode;
pub use redactions::{Redaction, SentTexts};

/// Normalizes a text from the endpoint's own URL like a report's tokens.
pub fn attribute(text: Cow<'_, str>, privacy: Privacy) -> Cow<'_, str> {
    text_redact::sanitize(text, FieldType::Token, privacy)
}

/// Returns the first 256 characters of a text without secrets, whatever `privacy` allows in events.
pub fn text(text: &str) -> Cow<'_, str> {
    text_redact::sanitize(Cow::Borrowed(text), FieldType::Sample, Privacy::default())
}

/// Returns the path of a URL without secrets, whatever `privacy` allows in events.
pub fn path(path: &str) -> Cow<'_, str> {
    url_redact::redact(Cow::Borrowed(path), Privacy::default())
}

/// Normalizes one report.
pub fn normalize<'a>(
    envelope: Envelope<'a>,
    context: &UploadContext<'a>,
    privacy: Privacy,
    mode: Mode,
) -> Report<'a> {
    let kind = kinds::lookup(&envelope.report_type);
    let (age, occurred) = timestamp::occurred(&envelope.age, context.received);
    let mut urls = url_redactor::UrlRedactor::new(privacy);
    let mut url = envelope.url.map(|url| urls.redact(url)).unwrap_or_default();
    if url.is_empty() {
        // WebKit omits a URL that it cannot parse. The document's URL is read from the raw body, because
        // `Mode::MetricsOnly` drops it if it is not a field of the kind.
        url = document_url(kind, &envelope.body).map(|url| urls.redact(url)).unwrap_or_default();
    }
    let fields::Normalized { mut body, unknown, redacted, dropped } =
        fields::normalize_fields(kind, envelope.body, privacy, mode, has_no_address(&url), &mut urls);
    if let Some(disposition) = context.disposition {
        fields::set_default_disposition(kind, &mut body, disposition);
    }
    if url.is_empty() && !body.0.is_empty() && kind.field("hostname").is_some() {
        url = server_url(&body).map(|url| urls.redact(Cow::Owned(url))).unwrap_or_default();
    }
    // A type is never a URL, and identifies a report of an unknown kind.
    let mut report_type = match envelope.report_type {
        known if known == kind.name => known,
        other => text_redact::sanitize(other, FieldType::Token, Privacy::default()),
    };
    if report_type.is_empty() {
        // Nothing is left of a type such as `?token=1`.
        report_type = Cow::Borrowed(kind.name);
    }
    let user_agent = envelope.user_agent.or(context.user_agent.map(Cow::Borrowed)).unwrap_or_default();
    Report {
        kind,
        report_type,
        age,
        url,
        user_agent: text_redact::sanitize(user_agent, FieldType::Token, privacy),
        body,
        in_extensions_folder: urls.in_extensions_folder,
        unknown_members: unknown,
        redacted,
        dropped_members: dropped,
        received: context.received,
        occurred,
    }
}

/// Returns the document's URL from a raw body. `uri` and `url` count only if they are fields of the
/// kind, because in other kinds they have another meaning.
fn document_url<'a>(kind: &ReportKind, body: &Object<'a>) -> Option<Cow<'a, str>> {
    const NAMES: [&str; 3] = ["documentURL", "uri", "url"];
    if body.0.is_empty() {
        return None;
    }
    let fields = kinds::field_index(kind);
    let is_document = |name: &str| {
        name == NAMES[0] || fields.get(name).is_some_and(|(_, field)| NAMES.contains(&field.name))
    };
    body.0.iter().rev().find_map(|(name, value)| match value {
        Value::String(text) if !text.is_empty() && is_document(name) => Some(text.clone()),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
