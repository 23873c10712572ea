//! `csp-violation`: something that a Content Security Policy forbids was tried.
//!
//! Three shapes arrive here as one: the Reporting API's body, WebKit's bare object, and the
//! deprecated `csp-report` with hyphenated keys (or, from script shims, camelCase event keys).

use std::borrow::Cow;

use smallvec::smallvec;

use crate::kind::{Holds, Kind, member, no_more_attributes, policy, vocabulary};
use crate::metric::{Family, Label, Measure, Observation};
use crate::report::{Assessment, Class, Report};
use crate::value::{Object, Value};

/// `lookout_csp_violations_total`
pub static VIOLATIONS: Family = Family {
    name: "lookout_csp_violations_total",
    help: "Content Security Policy violations.",
    measure: Measure::Count,
    labels: &["site", "disposition", "directive", "blocked", "noise"],
    weight: 12,
};

/// The kind.
pub static KIND: Kind = Kind {
    token: "csp-violation",
    event_name: "browser.report.csp_violation",
    also: &["csp"],
    specification: "https://w3c.github.io/webappsec-csp/#reporting",
    disposition: Some("disposition"),
    members: &[
        member("documentURL", &["document-uri", "documentURI"], Holds::PageUrl, "csp.document_url"),
        member("referrer", &[], Holds::PageUrl, "csp.referrer"),
        member("blockedURL", &["blocked-uri", "blockedURI", "blocked"], Holds::Url, "csp.blocked_url"),
        member(
            "effectiveDirective",
            &["effective-directive", "directive"],
            Holds::Token,
            "csp.effective_directive",
        ),
        member("originalPolicy", &["original-policy", "policy"], Holds::Policy, "csp.original_policy"),
        member("sourceFile", &["source-file"], Holds::Url, "code.file.path"),
        member("sample", &["script-sample"], Holds::Sample, "csp.sample"),
        member("disposition", &[], Holds::Token, "csp.disposition"),
        member("statusCode", &["status-code"], Holds::Position, "http.response.status_code"),
        member("lineNumber", &["line-number"], Holds::Position, "code.line.number"),
        member("columnNumber", &["column-number"], Holds::Position, "code.column.number"),
        member("urlHash", &["url-hash"], Holds::Token, "csp.url_hash"),
        member("evalHash", &["eval-hash"], Holds::Token, "csp.eval_hash"),
    ],
    mend,
    assess,
    summary,
    attributes: no_more_attributes,
    families: &[&VIOLATIONS],
};

/// `violated-directive` stands in where there is no effective directive. Before CSP3 it carried the
/// directive with its source list, so only its first token counts.
fn mend(body: &mut Object<'_>) {
    const EFFECTIVE: [&str; 3] = ["effectiveDirective", "effective-directive", "directive"];
    const VIOLATED: [&str; 2] = ["violated-directive", "violatedDirective"];
    let violated = VIOLATED.into_iter().fold(None, |found, name| body.take(name).or(found));
    if EFFECTIVE.iter().all(|name| body.text(name).is_none())
        && let Some(violated) = violated
    {
        EFFECTIVE.iter().for_each(|name| drop(body.take(name)));
        body.0.push((Cow::Borrowed("effectiveDirective"), violated));
    }
    for (name, value) in &mut body.0 {
        if EFFECTIVE.contains(&&**name)
            && let Value::String(text) = value
        {
            first_token(text);
        }
    }
}

fn first_token(text: &mut Cow<'_, str>) {
    let token = text.split_ascii_whitespace().next().unwrap_or_default();
    if token.len() != text.len() || token.bytes().any(|byte| byte.is_ascii_uppercase()) {
        *text = Cow::Owned(token.to_ascii_lowercase());
    }
}

fn assess<'r>(report: &'r Report<'_>, class: &Class<'_>) -> Assessment<'r> {
    let body = &report.body;
    let disposition = report.disposition();
    let directive = vocabulary::CSP_DIRECTIVES.label(body.text("effectiveDirective"));
    let labels = [
        disposition.label(),
        directive,
        blocked(body.text("blockedURL")),
        Label::closed(class.noise.as_str()),
    ];
    Assessment {
        severity: policy::severity(disposition, class.noise),
        observations: smallvec![Observation::one(&VIOLATIONS, labels)],
    }
}

/// `enforced script-src-elem blocked https://evil.example/x.js on https://shop.example/cart`
fn summary(report: &Report<'_>) -> String {
    let directive = report.body.text("effectiveDirective").unwrap_or("policy");
    let blocked = report.body.text("blockedURL").unwrap_or("something unnamed");
    policy::line(report, report.disposition(), directive, blocked)
}

/// The label `blocked`: a keyword, or the origin under the series budget.
pub(super) fn blocked(url: Option<&str>) -> Label<'_> {
    const KEYWORDS: [&str; 8] =
        ["inline", "eval", "wasm-eval", "trusted-types-policy", "trusted-types-sink", "self", "data", "blob"];
    let Some(url) = url else { return Label::closed("none") };
    if let Some(keyword) = KEYWORDS.iter().find(|keyword| **keyword == url) {
        return Label::closed(keyword);
    }
    let (scheme, rest) = url.split_once(':').unwrap_or((url, ""));
    match scheme {
        "http" | "https" | "ws" | "wss" => {
            origin(url, rest).map_or(Label::closed("other-scheme"), Label::open)
        }
        "data" => Label::closed("data"),
        "blob" => Label::closed("blob"),
        _ if vocabulary::is_extension_scheme(scheme) => Label::closed("extension"),
        _ => Label::closed("other-scheme"),
    }
}

/// `scheme://host[:port]` of a normalised URL: a prefix of it, so nothing is copied.
fn origin<'u>(url: &'u str, after_scheme: &str) -> Option<&'u str> {
    let authority = after_scheme.strip_prefix("//")?;
    let end = authority.find('/').unwrap_or(authority.len());
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    let valid = end > 0 && end <= MAX_HOST && authority[..end].bytes().all(plain);
    valid.then(|| &url[..url.len() - authority.len() + end])
}

/// The longest authority that DNS allows, with a port.
const MAX_HOST: usize = 253 + ":65535".len();

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::testing::{envelope, one};

    #[test]
    fn blocked_is_a_keyword_or_an_origin() {
        for (url, label) in [
            (None, "none"),
            (Some("inline"), "inline"),
            (Some("data"), "data"),
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
            assert_eq!(blocked(url).as_str(), label, "{url:?}");
        }
    }

    #[test]
    fn only_origins_are_subject_to_the_budget() {
        assert!(blocked(Some("https://evil.example/")).is_open());
        assert!(!blocked(Some("gopher://evil.example/")).is_open());
    }

    #[test]
    fn the_draft_of_2017_is_the_same_kind() {
        let body = r#"{"blocked":"https://evil.example/x.js?k=1","directive":"script-src",
            "policy":"script-src 'self'",
            "disposition":"enforce"}"#;
        let told = one(&envelope("csp", body));
        assert_eq!((told.kind, told.severity), ("csp-violation", "ERROR"));
        assert_eq!(
            told.summary,
            "enforced script-src blocked https://evil.example/x.js on https://shop.example/cart"
        );
        assert_eq!(told.body["originalPolicy"], "script-src 'self'");
        assert_eq!(told.attribute("browser.report.type"), Some("csp"));
    }

    #[test]
    fn the_violated_directive_stands_in() {
        let mut body = Object(vec![
            ("violated-directive".into(), Value::String("Script-Src 'self' https://x.example".into())),
            ("effective-directive".into(), Value::String("".into())),
        ]);
        mend(&mut body);
        assert_eq!(body.text("effectiveDirective"), Some("script-src"));
        assert_eq!(body.0.len(), 1);
    }
}
