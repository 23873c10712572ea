//! An envelope to a report that may leave the process: members under their specification's names,
//! every URL redacted, every text capped, the moment it happened. Doing it twice changes nothing.

mod body;
mod secret;
mod text_redact;
mod timestamp;
mod unknown_fields;
mod url_redact;
mod word_scanner;

use std::borrow::Cow;

use crate::config::settings::Privacy;
use crate::kinds;
use crate::model::{Envelope, FieldType, Object, Report, ReportKind, UploadContext, Value, server_url};

/// Caps, in bytes; what is cut ends in `…`.
const MAX_URL: usize = 2048;
const MAX_POLICY: usize = 8192;
const MAX_MESSAGE: usize = 1024;
const MAX_STACK: usize = 8192;
/// In characters, since engines cut samples by characters too.
const MAX_SAMPLE: usize = 256;
/// User agents, types and other tokens.
const MAX_TOKEN: usize = 512;

/// A text of the endpoint's own URL, cleaned like a report's tokens.
pub fn attribute(text: Cow<'_, str>, privacy: Privacy) -> Cow<'_, str> {
    let text = match text.contains(|c: char| c.is_control()) {
        true => Cow::Owned(text.replace(|c: char| c.is_control(), " ")),
        false => text,
    };
    text_redact::clean(text, FieldType::Token, privacy)
}

/// How much of a report anybody will look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// All of it: it becomes an event.
    Full,
    /// What counters and noise rules look at. Policies, messages, stacks and strangers are left out
    /// rather than cleaned for nobody.
    MetricsOnly,
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
    let mut urls = url_redact::UrlRedactor::new(privacy);
    let mut url = envelope.url.map(|url| urls.redact(url)).unwrap_or_default();
    if url.is_empty() {
        // WebKit leaves out a URL that it could not parse; the document's is the same. Looked for in the
        // raw body: a kind that does not know this member loses it where only counters are kept.
        let own = document_url(kind, &envelope.body);
        url = own.map(|url| urls.redact(url)).unwrap_or_default();
    }
    let (mut members, dropped_members) =
        body::normalize_fields(kind, envelope.body, privacy, mode, &mut urls);
    if let Some(disposition) = context.disposition {
        body::set_default_disposition(kind, &mut members, disposition);
    }
    if url.is_empty() && kind.field("hostname").is_some() {
        url = server_url(&members).map(|url| urls.redact(Cow::Owned(url))).unwrap_or_default();
    }
    Report {
        kind,
        report_type: match text_redact::clean(envelope.report_type, FieldType::Token, privacy) {
            // `?token=1` and its like: nothing that could be shown was left of it.
            nothing if nothing.is_empty() => Cow::Borrowed(kind.name),
            report_type => report_type,
        },
        age,
        url,
        user_agent: user_agent(envelope.user_agent, context, privacy),
        body: members,
        dropped_members,
        received: context.received,
        occurred,
    }
}

/// The URL that a body says it is about. `uri` and `url_redact` mean something else to kinds that do not know
/// them.
fn document_url<'a>(kind: &ReportKind, body: &Object<'a>) -> Option<Cow<'a, str>> {
    const NAMES: [&str; 3] = ["documentURL", "uri", "url"];
    let means_it =
        |name: &str| name == NAMES[0] || kind.field(name).is_some_and(|known| NAMES.contains(&known.name));
    body.0.iter().rev().find_map(|(name, value)| match value {
        Value::String(text) if !text.is_empty() && means_it(name) => Some(text.clone()),
        _ => None,
    })
}

fn user_agent<'a>(own: Option<Cow<'a, str>>, context: &UploadContext<'a>, privacy: Privacy) -> Cow<'a, str> {
    let agent = own.unwrap_or(Cow::Borrowed(context.user_agent.unwrap_or_default()));
    text_redact::clean(agent, FieldType::Token, privacy)
}

#[cfg(test)]
mod tests;
