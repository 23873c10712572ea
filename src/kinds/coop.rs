//! `coop`: a cross-origin opener policy cut, or would cut, the tie between a page and a window that it
//! opened or that opened it. Sign-in and payment popups break that way.
//!
//! Two shapes tell of navigations (to and from the page), six of accesses across the tie. Before 2021
//! Chromium sent navigations under hyphenated keys.

use std::borrow::Cow;

use smallvec::smallvec;

use crate::kinds::support::policy;
use crate::kinds::{FieldType, ReportKind, field, no_more_attributes, page_of, source_suffix};
use crate::model::{
    Classification, Disposition, Evaluation, Family, LabelValues, MetricType, Object, Observation, Report,
    Value,
};

/// `lookout_coop_violations_total`
pub static VIOLATIONS: Family = Family {
    name: "lookout_coop_violations_total",
    help: "Cross-origin opener policy violations.",
    metric_type: MetricType::Counter,
    labels: &["site", "disposition", "violation", "policy"],
    weight: 1,
};

/// The body's types, the two of older Chromium at the end.
static TYPES: LabelValues = LabelValues(&[
    "navigation-to-response",
    "navigation-from-response",
    "access-from-coop-page-to-opener",
    "access-from-coop-page-to-openee",
    "access-from-coop-page-to-other",
    "access-to-coop-page-from-opener",
    "access-to-coop-page-from-openee",
    "access-to-coop-page-from-other",
    "navigation-to-document",
    "navigation-from-document",
]);

/// <https://html.spec.whatwg.org/multipage/browsers.html#cross-origin-opener-policy-value>
static POLICIES: LabelValues = LabelValues(&[
    "unsafe-none",
    "same-origin",
    "same-origin-allow-popups",
    "same-origin-plus-coep",
    "noopener-allow-popups",
    "restrict-properties",
    "restrict-properties-plus-coep",
]);

/// The kind.
pub static KIND: ReportKind = ReportKind {
    name: "coop",
    event_name: "browser.report.coop",
    aliases: &[],
    specification: "https://html.spec.whatwg.org/multipage/browsers.html#coop-reporting",
    disposition: Some("disposition"),
    fields: &[
        field("type", &["violation-type"], FieldType::Token, "coop.type"),
        field("disposition", &[], FieldType::Token, "coop.disposition"),
        field("effectivePolicy", &["effective-policy"], FieldType::Token, "coop.effective_policy"),
        field("documentURL", &["document-uri"], FieldType::PageUrl, "coop.document_url"),
        field("previousResponseURL", &[], FieldType::Url, "coop.previous_response_url"),
        field("nextResponseURL", &[], FieldType::Url, "coop.next_response_url"),
        field("referrer", &[], FieldType::PageUrl, "coop.referrer"),
        field("property", &[], FieldType::Token, "coop.property"),
        field("openerURL", &[], FieldType::Url, "coop.opener_url"),
        field("openeeURL", &[], FieldType::Url, "coop.openee_url"),
        field("initialPopupURL", &[], FieldType::Url, "coop.initial_popup_url"),
        field("otherDocumentURL", &[], FieldType::Url, "coop.other_document_url"),
        field("sourceFile", &[], FieldType::Url, "code.file.path"),
        field("lineNumber", &[], FieldType::NonZeroInt, "code.line.number"),
        field("columnNumber", &[], FieldType::NonZeroInt, "code.column.number"),
    ],
    upgrade,
    evaluate,
    summary,
    attributes: no_more_attributes,
    families: &[&VIOLATIONS],
};

/// Older Chromium had names of its own: `navigate-from-document` for `navigation-from-response`, and
/// `navigation-uri` for the page before or after, as the type says.
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

fn evaluate<'r>(report: &'r Report<'_>, class: &Classification<'_>) -> Evaluation<'r> {
    let body = &report.body;
    let disposition = report.disposition();
    let violation = TYPES.label(body.get_str("type"));
    let labels = [disposition.label(), violation, POLICIES.label(body.get_str("effectivePolicy"))];
    Evaluation {
        severity: policy::severity(disposition, class.noise),
        observations: smallvec![Observation::increment(&VIOLATIONS, labels)],
    }
}

/// `report-only opener policy same-origin would block postMessage to the page from its opener on …`
fn summary(report: &Report<'_>) -> String {
    let body = &report.body;
    let opener_policy =
        format!("opener policy {}", body.get_str("effectivePolicy").unwrap_or("of unnamed value"));
    match body.get_str("type").unwrap_or_default() {
        violation if violation.starts_with("navigation-") => navigation(report, violation, &opener_policy),
        violation => {
            let access = access(report, violation);
            policy::summary_line(report, report.disposition(), &opener_policy, &access)
                + &source_suffix(report)
        }
    }
}

/// A navigation was not blocked: the page lost its window.opener, and its opener lost it.
fn navigation(report: &Report<'_>, violation: &str, opener_policy: &str) -> String {
    let verb = match report.disposition() {
        Disposition::Enforce => "enforced",
        Disposition::Report => "report-only",
        Disposition::Unknown => "possible",
    };
    let (direction, other) = match violation.starts_with("navigation-from") {
        true => ("after", "nextResponseURL"),
        false => ("before", "previousResponseURL"),
    };
    // Engines leave out URLs of other origins.
    let other = report.body.get_str(other).unwrap_or("of another origin");
    format!("{verb} {opener_policy} parts {} from the page {direction} it, {other}", page_of(report))
}

/// What crossed the tie, and which way.
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
             policy=\"same-origin\"}} 1"
        )]
    }

    #[test]
    fn navigations_of_chromium_are_told() {
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
        let rehearsal = &captured("chromium/534-coop-ro-popup-POST-coop")[0];
        assert_eq!(rehearsal.severity, "WARN");
        assert!(rehearsal.summary.ends_with("the page before it, of another origin"), "{rehearsal:?}");
    }

    #[test]
    fn accesses_in_all_six_shapes_are_told() {
        for (violation, told_as, member) in [
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
                "report-only opener policy same-origin would block postMessage {told_as} on \
                 https://shop.example/cart at https://shop.example/a.js:7"
            );
            assert_eq!(processed.summary, line);
            assert_eq!(processed.body[member], "https://pay.example/p");
            assert_eq!(processed.attribute("coop.property"), Some("postMessage"));
        }
    }

    #[test]
    fn the_old_keys_are_mended() {
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
