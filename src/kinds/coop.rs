//! `coop`: a cross-origin opener policy separated, or would separate, a page from a window that it
//! opened or that opened it. This breaks sign-in and payment popups.
//!
//! Two shapes are about navigations (to and from the page), six about accesses between the windows.
//! Before 2021 Chromium sent navigations under hyphenated keys.

use std::borrow::Cow;

use crate::kinds::support::{
    COLUMN_NUMBER, DISPOSITION, LINE_NUMBER, NOISE, SOURCE_FILE, field, one_of, page_of, policy_summary,
    source_suffix,
};
use crate::model::{Disposition, Family, FieldType, LabelValues, Object, Report, ReportKind, Value};

/// The body's types; the last two are those of older Chromium.
#[rustfmt::skip]
static TYPES: LabelValues = LabelValues(&[
    "navigation-to-response", "navigation-from-response", "access-from-coop-page-to-opener",
    "access-from-coop-page-to-openee", "access-from-coop-page-to-other",
    "access-to-coop-page-from-opener", "access-to-coop-page-from-openee",
    "access-to-coop-page-from-other", "navigation-to-document", "navigation-from-document",
]);

/// <https://html.spec.whatwg.org/multipage/browsers.html#cross-origin-opener-policy-value>
#[rustfmt::skip]
static POLICIES: LabelValues = LabelValues(&[
    "unsafe-none", "same-origin", "same-origin-allow-popups", "same-origin-plus-coep",
    "noopener-allow-popups", "restrict-properties", "restrict-properties-plus-coep",
]);

pub(super) static KIND: ReportKind = ReportKind {
    name: "coop",
    // Observers in Chromium receive accesses under this type.
    aliases: &["coop-access-violation"],
    specification: "https://html.spec.whatwg.org/multipage/browsers.html#coop-reporting",
    disposition: Some("disposition"),
    fields: &[
        field("type", FieldType::Token, "coop.type").aliases(&["violation-type"]),
        field("disposition", FieldType::Token, "coop.disposition"),
        field("effectivePolicy", FieldType::Token, "coop.effective_policy").aliases(&["effective-policy"]),
        field("documentURL", FieldType::PageUrl, "coop.document_url").aliases(&["document-uri"]),
        field("previousResponseURL", FieldType::Url, "coop.previous_response_url"),
        field("nextResponseURL", FieldType::Url, "coop.next_response_url"),
        field("referrer", FieldType::PageUrl, "coop.referrer"),
        field("property", FieldType::Token, "coop.property"),
        field("openerURL", FieldType::Url, "coop.opener_url"),
        field("openeeURL", FieldType::Url, "coop.openee_url"),
        field("initialPopupURL", FieldType::Url, "coop.initial_popup_url"),
        field("otherDocumentURL", FieldType::Url, "coop.other_document_url"),
        SOURCE_FILE,
        LINE_NUMBER,
        COLUMN_NUMBER,
    ],
    identity: &["type", "effectivePolicy", "property", "sourceFile"],
    upgrade,
    summary,
    families: &[&Family {
        name: "lookout_coop_violations_total",
        help: "Cross-origin opener policy violations.",
        labels: &["site", "disposition", "violation", "policy", "noise"],
        ..Family::COUNTER
    }],
    labels: &[DISPOSITION, one_of("type", &TYPES), one_of("effectivePolicy", &POLICIES), NOISE],
    ..ReportKind::DEFAULT
};

/// Upgrades the names of older Chromium: `navigate-from-document` for `navigation-from-response`, and
/// `navigation-uri` for the page before or after, depending on the type.
fn upgrade(body: &mut Object<'_>) {
    for (name, value) in &mut body.0 {
        let renamed = match value.as_str() {
            Some("navigate-to-document") => "navigation-to-response",
            Some("navigate-from-document") => "navigation-from-response",
            _ => continue,
        };
        if matches!(&**name, "type" | "violation-type") {
            *value = Value::String(Cow::Borrowed(renamed));
        }
    }
    let Some(url) = body.remove("navigation-uri") else { return };
    let violation = body.get_str("violation-type").or_else(|| body.get_str("type"));
    let name = match violation {
        Some("navigation-from-document" | "navigation-from-response") => "nextResponseURL",
        _ => "previousResponseURL",
    };
    body.0.push((Cow::Borrowed(name), url));
}

/// `report-only opener policy same-origin would block postMessage to the page from its opener on …`
fn summary(report: &Report<'_>) -> String {
    let body = &report.body;
    let opener_policy =
        format!("opener policy {}", body.get_str("effectivePolicy").unwrap_or("of unnamed value"));
    let violation = body.get_str("type").unwrap_or_default();
    if violation.starts_with("navigation-") {
        return navigation(report, violation, &opener_policy);
    }
    policy_summary(report, &opener_policy, &access(report, violation)) + &source_suffix(report)
}

/// Describes a navigation. It was not blocked: the page lost its `window.opener`, and its opener lost the page.
fn navigation(report: &Report<'_>, violation: &str, opener_policy: &str) -> String {
    let verb = match report.disposition() {
        Disposition::Enforce => "enforced",
        Disposition::Report => "report-only",
        Disposition::Unknown => "possible",
    };
    let (direction, other) = if violation.starts_with("navigation-from") {
        ("after", "nextResponseURL")
    } else {
        ("before", "previousResponseURL")
    };
    // Engines omit URLs of other origins.
    let other = report.body.get_str(other).unwrap_or("of another origin");
    format!("{verb} {opener_policy} parts {} from the page {direction} it, {other}", page_of(report))
}

fn access(report: &Report<'_>, violation: &str) -> String {
    let property = report.body.get_str("property").unwrap_or("an unnamed property");
    match violation {
        "access-from-coop-page-to-opener" => format!("{property} of its opener"),
        "access-from-coop-page-to-openee" => format!("{property} of a window it opened"),
        "access-from-coop-page-to-other" => format!("{property} of another window"),
        "access-to-coop-page-from-opener" => format!("{property} from its opener"),
        "access-to-coop-page-from-openee" => format!("{property} from a window it opened"),
        "access-to-coop-page-from-other" => format!("{property} from another window"),
        _ => format!("an access to {property}"),
    }
}

#[cfg(test)]
mod tests {
    use crate::kinds::testing::{captured, envelope, process};

    fn counted(disposition: &str, violation: &str) -> Vec<String> {
        vec![format!(
            "lookout_coop_violations_total{{disposition=\"{disposition}\",violation=\"{violation}\",\
             policy=\"same-origin\",noise=\"none\"}} 1"
        )]
    }

    #[test]
    fn navigations_of_chromium_are_evaluated() {
        let to = &captured("chromium/532-coop-enforce-to-POST-coop")[0];
        assert_eq!((to.kind, to.severity), ("coop", "ERROR"));
        assert_eq!(to.counted, counted("enforce", "navigation-to-response"));
        assert_eq!(
            to.summary,
            "enforced opener policy same-origin parts https://site.test/p/coop-enforce-to/popup.html \
             from the page before it, https://site.test/p/coop-enforce-to/index.html"
        );
        let from = &captured("chromium/540-coop-enforce-from-POST-coop")[0];
        assert_eq!(from.counted, counted("enforce", "navigation-from-response"));
        assert_eq!(
            from.attribute("coop.next_response_url"),
            Some("https://frames.test/p/coop-enforce-from/popup.html")
        );
        let report_only = &captured("chromium/534-coop-ro-popup-POST-coop")[0];
        assert_eq!(report_only.severity, "WARN");
        assert!(report_only.summary.ends_with("the page before it, of another origin"), "{report_only:?}");
    }

    #[test]
    fn accesses_of_all_six_shapes_have_a_summary() {
        for (violation, description, member) in [
            ("access-from-coop-page-to-opener", "of its opener", "openerURL"),
            ("access-from-coop-page-to-openee", "of a window it opened", "openeeURL"),
            ("access-from-coop-page-to-other", "of another window", "otherDocumentURL"),
            ("access-to-coop-page-from-opener", "from its opener", "openerURL"),
            ("access-to-coop-page-from-openee", "from a window it opened", "openeeURL"),
            ("access-to-coop-page-from-other", "from another window", "otherDocumentURL"),
        ] {
            let body = format!(
                r#"{{"type":"{violation}","disposition":"reporting","effectivePolicy":"same-origin",
                    "property":"postMessage","{member}":"https://pay.example/p?t=1","initialPopupURL":"",
                    "sourceFile":"https://shop.example/a.js","lineNumber":7,"columnNumber":1}}"#
            );
            let processed = process(&envelope("coop", &body));
            assert_eq!(processed.severity, "WARN");
            assert_eq!(processed.counted, counted("report", violation));
            let line = format!(
                "report-only opener policy same-origin would block postMessage {description} on \
                 https://shop.example/cart at https://shop.example/a.js:7"
            );
            assert_eq!(processed.summary, line);
            assert_eq!(processed.body[member], "https://pay.example/p");
            assert_eq!(processed.attribute("coop.property"), Some("postMessage"));
        }
    }

    #[test]
    fn type_of_observers_is_the_same_kind() {
        let body = r#"{"type":"access-from-coop-page-to-opener","disposition":"enforce",
            "effectivePolicy":"same-origin","property":"postMessage"}"#;
        let processed = process(&envelope("coop-access-violation", body));
        assert_eq!((processed.kind, processed.severity), ("coop", "ERROR"));
        assert_eq!(processed.counted, counted("enforce", "access-from-coop-page-to-opener"));
    }

    #[test]
    fn upgrade_of_hyphenated_keys_gives_current_fields() {
        for (violation, member) in [
            ("navigation-to-document", "previousResponseURL"),
            ("navigation-from-document", "nextResponseURL"),
        ] {
            let body = format!(
                r#"{{"disposition":"enforce","document-uri":"https://shop.example/cart","referrer":"",
                    "navigation-uri":"https://pay.example/p","effective-policy":"same-origin",
                    "violation-type":"{violation}"}}"#
            );
            let processed = process(&envelope("coop", &body));
            assert_eq!(processed.counted, counted("enforce", violation));
            assert_eq!(processed.body[member], "https://pay.example/p");
            assert_eq!(processed.attribute("coop.document_url"), Some("https://shop.example/cart"));
            assert_eq!(processed.attribute("coop.type"), Some(violation));
        }
    }
}
