//! `dip`: a page with a document isolation policy loads something that did not agree to it. The same
//! check as an embedder policy's, made for one document.

use smallvec::smallvec;

use crate::kinds::support::{label_values, policy};
use crate::kinds::{FieldType, ReportKind, field, no_more_attributes, nothing_to_upgrade};
use crate::model::{Classification, Evaluation, Family, MetricType, Observation, Report};

/// `lookout_dip_violations_total`
pub static VIOLATIONS: Family = Family {
    name: "lookout_dip_violations_total",
    help: "Document isolation policy violations.",
    metric_type: MetricType::Counter,
    labels: &["site", "disposition", "destination"],
    weight: 1,
};

/// The kind.
pub static KIND: ReportKind = ReportKind {
    name: "dip",
    event_name: "browser.report.dip",
    aliases: &[],
    specification: "https://wicg.github.io/document-isolation-policy/#reporting",
    disposition: Some("disposition"),
    fields: &[
        field("type", &[], FieldType::Token, "dip.type"),
        field("blockedURL", &[], FieldType::Url, "dip.blocked_url"),
        field("destination", &[], FieldType::Token, "dip.destination"),
        field("disposition", &[], FieldType::Token, "dip.disposition"),
    ],
    upgrade: nothing_to_upgrade,
    evaluate,
    summary,
    attributes: no_more_attributes,
    families: &[&VIOLATIONS],
};

fn evaluate<'r>(report: &'r Report<'_>, class: &Classification<'_>) -> Evaluation<'r> {
    let disposition = report.disposition();
    let destination = label_values::DESTINATIONS.label(report.body.get_str("destination"));
    Evaluation {
        severity: policy::severity(disposition, class.noise),
        observations: smallvec![Observation::increment(&VIOLATIONS, [disposition.label(), destination])],
    }
}

fn summary(report: &Report<'_>) -> String {
    let what = report.body.get_str("destination").unwrap_or("resource");
    let url = report.body.get_str("blockedURL").unwrap_or("of unnamed origin");
    policy::summary_line(report, report.disposition(), "isolation policy", &format!("{what} {url}"))
}

#[cfg(test)]
mod tests {
    use crate::kinds::testing::{captured, envelope, process};

    #[test]
    fn what_chromium_sends_is_told() {
        let processed = &captured("chromium/845-dip-rt-POST-dip")[0];
        assert_eq!((processed.kind, processed.severity), ("dip", "ERROR"));
        assert_eq!(
            processed.counted,
            ["lookout_dip_violations_total{disposition=\"enforce\",destination=\"image\"} 1"]
        );
        assert_eq!(
            processed.summary,
            "enforced isolation policy blocked image https://cdn.test/s/i.png on \
             https://rt-339.site.test/p/dip-rt/index.html"
        );
        assert_eq!(processed.attribute("dip.blocked_url"), Some("https://cdn.test/s/i.png"));
    }

    #[test]
    fn reporting_is_report() {
        let processed =
            process(&envelope("dip", r#"{"type":"corp","disposition":"reporting","destination":""}"#));
        assert_eq!(processed.severity, "WARN");
        assert!(
            processed.counted[0].contains("{disposition=\"report\",destination=\"none\"}"),
            "{processed:?}"
        );
    }
}
