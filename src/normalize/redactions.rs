//! Which rules removed something from a report. Found by a comparison of what was sent and what is left, so that
//! normalizing costs nothing more, and no value can get into the result.

use serde::Serialize;

use crate::kinds;
use crate::model::{Envelope, Report, UploadContext, Value};
use crate::normalize::fields::REQUEST_HEADERS;
use crate::normalize::limits::MAX_FIELDS;
use crate::normalize::unescape::{MAX_ESCAPES, unescape};

/// Most bytes of one member that are compared, and of all members.
const MAX_TEXT: usize = 16 * 1024;
const MAX_TEXTS: usize = 64 * 1024;

/// Something that was removed from an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Redaction {
    /// Where: a JSON Pointer into the event.
    pub pointer: String,
    /// `query`, `fragment`, `credentials`, `secret` (a token, a part of a path), `nonce`, `path_parameter`, `content`
    /// (of a `data:`, `blob:`, `file:` or similar URL), `request_headers`, or `truncated`.
    pub rule: &'static str,
}

/// The texts of a report as sent: the envelope's, and those of the body by member.
#[derive(Debug)]
pub struct SentTexts {
    envelope: [String; 2],
    body: Vec<(String, String)>,
}

impl SentTexts {
    /// Copies the texts, within limits.
    pub fn new(envelope: &Envelope<'_>, context: &UploadContext<'_>) -> SentTexts {
        let user_agent = envelope.user_agent.as_deref().or(context.user_agent);
        let mut left = MAX_TEXTS;
        let body = envelope.body.0.iter().take(MAX_FIELDS).map_while(|(name, value)| {
            let member = (bounded(Some(name)), texts(value));
            left = left.checked_sub(member.0.len() + member.1.len())?;
            Some(member)
        });
        SentTexts { envelope: [bounded(envelope.url.as_deref()), bounded(user_agent)], body: body.collect() }
    }

    /// Returns what was removed from the report that these texts became.
    pub fn redactions(&self, report: &Report<'_>) -> Vec<Redaction> {
        let mut found = Vec::new();
        let [url, user_agent] = &self.envelope;
        compare("/url", url, &report.url, &mut found);
        compare("/user_agent", user_agent, &report.user_agent, &mut found);
        let fields = kinds::field_index(report.kind);
        let mut unknown = String::new();
        for (name, sent) in &self.body {
            match fields.get(&**name) {
                Some((_, field)) => {
                    let shown = report.body.get(field.name).map(texts);
                    compare(&format!("/body/{}", field.name), sent, &shown.unwrap_or_default(), &mut found);
                }
                None if REQUEST_HEADERS.contains(&&**name) => {
                    found.push(Redaction { pointer: "/body".to_owned(), rule: "request_headers" });
                }
                None => unknown.extend([name, "\n", sent, "\n"]),
            }
        }
        compare("/lookout/unknown_members", &unknown, &report.unknown_members, &mut found);
        found.dedup();
        found
    }
}

fn bounded(text: Option<&str>) -> String {
    let text = text.unwrap_or_default();
    text[..text.floor_char_boundary(MAX_TEXT)].to_owned()
}

/// Returns all texts of a value, one in a line.
fn texts(value: &Value<'_>) -> String {
    fn collect(value: &Value<'_>, out: &mut String) {
        match value {
            _ if out.len() > MAX_TEXT => {}
            Value::String(text) => out.extend([&bounded(Some(text)), "\n"]),
            Value::Array(items) => items.iter().for_each(|item| collect(item, out)),
            Value::Object(object) => object.0.iter().for_each(|(name, value)| {
                out.extend([&bounded(Some(name)), "\n"]);
                collect(value, out);
            }),
            _ => {}
        }
    }
    let mut out = String::new();
    collect(value, &mut out);
    out.truncate(out.trim_end_matches('\n').len());
    out
}

fn compare(pointer: &str, sent: &str, shown: &str, found: &mut Vec<Redaction>) {
    if sent != shown {
        let rules = rules(&decoded(sent), &decoded(shown));
        found.extend(rules.into_iter().map(|rule| Redaction { pointer: pointer.to_owned(), rule }));
    }
}

fn decoded(text: &str) -> String {
    let mut text = text.to_owned();
    for _ in 0..MAX_ESCAPES {
        let Some(plain) = unescape(&text) else { break };
        text = plain;
    }
    text
}

/// Returns the rules that removed what `shown` lacks.
fn rules(sent: &str, shown: &str) -> Vec<&'static str> {
    let count = |text: &str, part: &str| text.matches(part).count();
    let is_truncated = count(shown, "…") > count(sent, "…");
    // What a limit cut off was not removed by another rule.
    let end = if is_truncated { sent.floor_char_boundary(shown.len()) } else { sent.len() };
    let sent = &sent[..end];
    let lower = sent.to_ascii_lowercase();
    let fewer = |part| count(sent, part) > count(shown, part);
    let more = |part| count(shown, part) > count(sent, part);
    let is_bare_scheme =
        !shown.contains([':', '\n', ' ']) && lower.trim_start().starts_with(&format!("{shown}:"));
    if !shown.is_empty() && (is_bare_scheme || shown.starts_with("blob:")) && shown.len() < sent.trim().len()
    {
        return vec!["content"];
    }
    let quotes_data = lower.contains("data:");
    let rules = [
        ("query", fewer("?") || (sent.contains('?') && fewer("="))),
        ("fragment", fewer("#")),
        ("credentials", fewer("@")),
        ("secret", more(":redacted")),
        ("nonce", lower.contains("nonce") && more("*")),
        ("path_parameter", fewer(";") && !quotes_data && sent.contains('/')),
        ("content", quotes_data && (fewer(",") || fewer(";"))),
        ("truncated", is_truncated),
    ];
    rules.into_iter().filter(|(_, applies)| *applies).map(|(rule, _)| rule).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_follows_from_what_is_missing() {
        for (sent, shown, expected) in [
            ("https://a.example/x", "https://a.example/x", &[][..]),
            ("https://a.example/x?t=1", "https://a.example/x", &["query"]),
            ("https://a.example/x?t=1", "https://a.example/x?t", &["query"]),
            ("https://u:p@a.example/x#f", "https://a.example/x", &["fragment", "credentials"]),
            ("https://a.example/reset/a81b", "https://a.example/reset/:redacted", &["secret"]),
            ("https://a.example/x;jsessionid=A/y", "https://a.example/x/y", &["path_parameter"]),
            ("data:text/html,what?#x", "data", &["content"]),
            ("FILE:///home/jane/x.js", "file", &["content"]),
            ("blob:https://site.test/9115", "blob:https://site.test", &["content"]),
            ("url(data:image/png;base64,iV)", "url(data:image/png)", &["content"]),
            ("script-src 'nonce-abc'", "script-src 'nonce-*'", &["nonce"]),
            ("HTTPS://A.example:443/", "https://a.example/", &[]),
            ("why? https://a.example/x%3Fq%3D1", "why? https://a.example/x", &["query"]),
            ("aaaaaaaaaaaaaaaa?b", "aaaaaa…", &["truncated"]),
            ("?token=1", "", &["query"]),
        ] {
            let mut found = Vec::new();
            compare("/x", sent, shown, &mut found);
            assert_eq!(found.iter().map(|it| it.rule).collect::<Vec<_>>(), expected, "{sent}");
        }
    }
}
