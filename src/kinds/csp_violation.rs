//! `csp-violation`: a page did something that its Content Security Policy forbids.
//!
//! Three shapes become one: the Reporting API's body, WebKit's bare object, and the deprecated
//! `csp-report` with hyphenated keys (or, from script shims, camelCase event keys). Scripts also send the
//! event itself, without a wrapper.

use std::borrow::Cow;

use opentelemetry_semantic_conventions::attribute::HTTP_RESPONSE_STATUS_CODE;

use crate::kinds::support::{
    COLUMN_NUMBER, CSP_DIRECTIVES, DISPOSITION, LINE_NUMBER, NOISE, PAGE, SOURCE_FILE, field,
    is_extension_scheme, one_of, policy_summary,
};
use crate::model::{Class, Family, FieldType, Label, LabelSource, Object, Report, ReportKind, Value};

pub(crate) static VIOLATIONS: Family = Family {
    name: "lookout_csp_violations_total",
    help: "Content Security Policy violations.",
    labels: &["site", "disposition", "directive", "blocked", "noise", "page"],
    unbounded: &["blocked"],
    weight: 12,
    ..Family::COUNTER
};

pub(crate) static KIND: ReportKind = ReportKind {
    name: "csp-violation",
    aliases: &["csp"],
    specification: "https://w3c.github.io/webappsec-csp/#reporting",
    disposition: Some("disposition"),
    fields: &[
        field("documentURL", FieldType::PageUrl, "csp.document_url")
            .aliases(&["document-uri", "documentURI"]),
        field("referrer", FieldType::PageUrl, "csp.referrer"),
        field("blockedURL", FieldType::Url, "csp.blocked_url").aliases(&[
            "blocked-uri",
            "blockedURI",
            "blocked",
        ]),
        field("effectiveDirective", FieldType::Token, "csp.effective_directive")
            .aliases(&["effective-directive", "directive"]),
        field("originalPolicy", FieldType::Policy, "csp.original_policy")
            .aliases(&["original-policy", "policy"]),
        SOURCE_FILE.aliases(&["source-file"]),
        field("sample", FieldType::Sample, "csp.sample").aliases(&["script-sample"]),
        field("disposition", FieldType::Token, "csp.disposition"),
        field("statusCode", FieldType::NonZeroInt, HTTP_RESPONSE_STATUS_CODE).aliases(&["status-code"]),
        LINE_NUMBER.aliases(&["line-number"]),
        COLUMN_NUMBER.aliases(&["column-number"]),
        field("urlHash", FieldType::Token, "csp.url_hash").aliases(&["url-hash"]),
        field("evalHash", FieldType::Token, "csp.eval_hash").aliases(&["eval-hash"]),
    ],
    identity: &["effectiveDirective", "blockedURL", "sourceFile", "sample"],
    class: |report| match report.body.get_str("effectiveDirective").unwrap_or_default() {
        "connect-src" | "form-action" | "prefetch-src" | "webrtc" => Class::Exfiltrates,
        "worker-src" | "object-src" | "frame-src" | "child-src" | "base-uri" => Class::Runs,
        directive if directive.starts_with("script-src") => Class::Runs,
        _ => Class::Other,
    },
    upgrade,
    summary,
    families: &[&VIOLATIONS],
    labels: &[DISPOSITION, one_of("effectiveDirective", &CSP_DIRECTIVES), BLOCKED, NOISE, PAGE],
    ..ReportKind::DEFAULT
};

/// Replaces a missing effective directive by `violated-directive`. Before CSP3 that held the directive
/// with its source list, so only the first token is kept.
fn upgrade(body: &mut Object<'_>) {
    let is_effective = |name: &str| {
        matches!(name, "effectiveDirective" | "effective-directive" | "effective_directive" | "directive")
    };
    let (mut violated, mut has_effective) = (None, false);
    body.0.retain_mut(|(name, value)| match &**name {
        "violated-directive" | "violatedDirective" | "violated_directive" => {
            violated = Some(std::mem::take(value));
            false
        }
        name if is_effective(name) => {
            has_effective |= value.as_str().is_some_and(|text| !text.is_empty());
            first_token(value);
            true
        }
        _ => true,
    });
    if let Some(mut violated) = violated
        && !has_effective
    {
        first_token(&mut violated);
        body.0.retain(|(name, _)| !is_effective(name));
        body.0.push((Cow::Borrowed("effectiveDirective"), violated));
    }
}

fn first_token(value: &mut Value<'_>) {
    let Value::String(text) = value else { return };
    let token = text.split_ascii_whitespace().next().unwrap_or_default();
    if token.len() != text.len() || token.bytes().any(|byte| byte.is_ascii_uppercase()) {
        *text = Cow::Owned(token.to_ascii_lowercase());
    }
}

/// `enforced script-src-elem blocked https://evil.example/x.js on https://shop.example/cart`
fn summary(report: &Report<'_>) -> String {
    let directive = report.body.get_str("effectiveDirective").unwrap_or("policy");
    let blocked = report.body.get_str("blockedURL").unwrap_or("something unnamed");
    policy_summary(report, directive, blocked)
}

/// The label `blocked` of a kind with `blockedURL`.
pub(super) const BLOCKED: LabelSource =
    LabelSource::By(|report| blocked_label(report.body.get_str("blockedURL")));

/// Returns the label `blocked`: a keyword, or the origin, which is unbounded.
pub(super) fn blocked_label(url: Option<&str>) -> Label<'_> {
    #[rustfmt::skip]
    const BLOCKED_KEYWORDS: [&str; 9] = [
        "inline", "eval", "wasm-eval", "trusted-types-policy", "trusted-types-sink", "self", "data", "blob",
        "webrtc",
    ];
    let Some(url) = url else { return Label::bounded("none") };
    if let Some(keyword) = BLOCKED_KEYWORDS.iter().find(|keyword| **keyword == url) {
        return Label::bounded(keyword);
    }
    let (scheme, rest) = url.split_once(':').unwrap_or((url, ""));
    match scheme {
        "http" | "https" | "ws" | "wss" => {
            origin(url, rest).map_or(Label::bounded("other-scheme"), Label::unbounded)
        }
        "data" => Label::bounded("data"),
        "blob" => Label::bounded("blob"),
        _ if is_extension_scheme(scheme) => Label::bounded("extension"),
        _ => Label::bounded("other-scheme"),
    }
}

/// Returns `scheme://host[:port]` of a normalized URL: a prefix, so that nothing is copied.
fn origin<'u>(url: &'u str, after_scheme: &str) -> Option<&'u str> {
    let authority = after_scheme.strip_prefix("//")?;
    let end = authority.find('/').unwrap_or(authority.len());
    let is_host_byte = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    let valid = end > 0 && end <= MAX_HOST && authority[..end].bytes().all(is_host_byte);
    valid.then(|| &url[..url.len() - authority.len() + end])
}

/// The longest authority that DNS allows, with a port.
const MAX_HOST: usize = 253 + ":65535".len();

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{envelope, process};

    #[test]
    fn blocked_label_is_a_keyword_or_an_origin() {
        for (url, label) in [
            (None, "none"),
            (Some("inline"), "inline"),
            (Some("data"), "data"),
            (Some("webrtc"), "webrtc"),
            (Some("blob:https://a.example"), "blob"),
            (Some("moz-extension"), "extension"),
            (Some("chrome-extension://abc/x.js"), "extension"),
            (Some("about"), "other-scheme"),
            (Some("null"), "other-scheme"),
            (Some("https://evil.example/x.js"), "https://evil.example"),
            (Some("wss://live.example:8443/socket"), "wss://live.example:8443"),
            (Some("https://[2001:db8::1]:8443"), "https://[2001:db8::1]:8443"),
            (Some("https:///x"), "other-scheme"),
            (Some("https://ev\"il/x"), "other-scheme"),
        ] {
            assert_eq!(blocked_label(url).as_str(), label, "{url:?}");
        }
    }

    #[test]
    fn blocked_label_is_unbounded_only_for_origins() {
        assert!(blocked_label(Some("https://evil.example/")).is_unbounded());
        assert!(!blocked_label(Some("gopher://evil.example/")).is_unbounded());
    }

    #[test]
    fn body_of_the_2017_draft_is_the_same_kind() {
        let body = r#"{"blocked":"https://evil.example/x.js?k=1","directive":"script-src",
            "policy":"script-src 'self'",
            "disposition":"enforce"}"#;
        let processed = process(&envelope("csp", body));
        assert_eq!((processed.kind, processed.severity), ("csp-violation", "ERROR"));
        assert_eq!(
            processed.summary,
            "enforced script-src blocked https://evil.example/x.js on https://shop.example/cart"
        );
        assert_eq!(processed.body["originalPolicy"], "script-src 'self'");
        assert_eq!(processed.attribute("browser.report.type"), Some("csp"));
    }

    const COUNTED: &str = "lookout_csp_violations_total{disposition=\"report\",directive=\"script-src-elem\",\
        blocked=\"https://cdn.example\",noise=\"none\"} 1";

    #[test]
    fn legacy_report_in_snake_case_is_read() {
        let processed = process(
            r#"{"csp-report":{"effective_directive":"script-src-elem",
                "blocked_uri":"https://cdn.example/a.js","document_uri":"https://shop.example/x",
                "violated_directive":"script-src-elem","disposition":"report","line_number":3,
                "script_sample":"a()","original_policy":"script-src 'self'"}}"#,
        );
        assert_eq!(processed.counted, [COUNTED]);
        assert_eq!(processed.attribute("url.domain"), Some("shop.example"));
        let names: Vec<_> = processed.body.as_object().unwrap().keys().map(String::as_str).collect();
        for name in [
            "blockedURL",
            "disposition",
            "documentURL",
            "effectiveDirective",
            "lineNumber",
            "originalPolicy",
            "sample",
        ] {
            assert!(names.contains(&name), "{name}: {names:?}");
        }
        assert_eq!(names.len(), 7, "{names:?}");
    }

    #[test]
    fn event_without_a_wrapper_is_read() {
        for directive in ["violatedDirective", "effectiveDirective", "violated_directive"] {
            for event_type in ["", r#""type":"securitypolicyviolation","#] {
                let processed = process(&format!(
                    r#"{{{event_type}"blockedURI":"https://cdn.example/a.js","disposition":"report",
                        "documentURI":"https://shop.example/","{directive}":"script-src-elem"}}"#
                ));
                assert_eq!(
                    (processed.kind, &*processed.counted),
                    ("csp-violation", &[COUNTED.to_owned()][..])
                );
                assert_eq!(processed.attribute("url.domain"), Some("shop.example"));
                assert!(processed.body.get("type").is_none(), "{processed:?}");
            }
        }
    }

    /// Firefox 4 to 13 sent the request of the document instead of its URL.
    #[test]
    fn request_line_is_the_document_and_request_headers_are_dropped() {
        for spelling in ["request-headers", "request_headers", "requestHeaders"] {
            let processed = process(&format!(
                r#"{{"csp-report":{{"request":"GET https://shop.example/csp?id=7 HTTP/1.1",
                    "{spelling}":"Host: shop.example\nCookie: session=abc\n",
                    "blocked-uri":"http://cdn.example/","violated-directive":"default-src https:"}}}}"#
            ));
            assert_eq!(processed.attribute("url.full"), Some("https://shop.example/csp"));
            assert_eq!(processed.body["documentURL"], "https://shop.example/csp");
            let event = format!("{processed:?}");
            assert!(
                !event.contains("Cookie") && !event.contains("abc") && !event.contains("id=7"),
                "{event}"
            );
        }
    }

    #[test]
    fn upgrade_without_effective_directive_uses_the_violated_one() {
        let mut body = Object(vec![
            ("violated-directive".into(), Value::String("Script-Src 'self' https://x.example".into())),
            ("effective-directive".into(), Value::String("".into())),
        ]);
        upgrade(&mut body);
        assert_eq!(body.get_str("effectiveDirective"), Some("script-src"));
        assert_eq!(body.0.len(), 1);
    }
}
