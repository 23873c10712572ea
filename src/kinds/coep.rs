//! `coep`: a page with a cross-origin embedder policy embeds something that did not agree to it. When
//! the policy is enforced, that frame, worker or resource is missing.

use smallvec::smallvec;

use crate::kinds::support::{label_values, policy};
use crate::kinds::{FieldType, ReportKind, field, no_more_attributes, nothing_to_upgrade};
use crate::model::{Classification, Evaluation, Family, LabelValues, MetricType, Observation, Report};

/// `lookout_coep_violations_total`
pub static VIOLATIONS: Family = Family {
    name: "lookout_coep_violations_total",
    help: "Cross-origin embedder policy violations.",
    metric_type: MetricType::Counter,
    labels: &["site", "disposition", "violation", "destination"],
    weight: 2,
};

/// What violated the policy: a response without Cross-Origin-Resource-Policy, a frame, a worker.
static TYPES: LabelValues = LabelValues(&["corp", "navigation", "worker initialization"]);

/// The kind.
pub static KIND: ReportKind = ReportKind {
    name: "coep",
    event_name: "browser.report.coep",
    aliases: &[],
    specification: "https://html.spec.whatwg.org/multipage/browsers.html#coep",
    disposition: Some("disposition"),
    fields: &[
        field("type", &[], FieldType::Token, "coep.type"),
        field("blockedURL", &["blocked-url"], FieldType::Url, "coep.blocked_url"),
        field("destination", &[], FieldType::Token, "coep.destination"),
        field("disposition", &[], FieldType::Token, "coep.disposition"),
    ],
    upgrade: nothing_to_upgrade,
    evaluate,
    summary,
    attributes: no_more_attributes,
    families: &[&VIOLATIONS],
};

fn evaluate<'r>(report: &'r Report<'_>, class: &Classification<'_>) -> Evaluation<'r> {
    let body = &report.body;
    let disposition = report.disposition();
    let violation = TYPES.label(body.get_str("type"));
    let destination = label_values::DESTINATIONS.label(body.get_str("destination"));
    let labels = [disposition.label(), violation, destination];
    Evaluation {
        severity: policy::severity(disposition, class.noise),
        observations: smallvec![Observation::increment(&VIOLATIONS, labels)],
    }
}

/// `enforced embedder policy blocked image https://cdn.example/x.png on https://shop.example/`
fn summary(report: &Report<'_>) -> String {
    let body = &report.body;
    let what = match (body.get_str("type"), body.get_str("destination")) {
        (Some("navigation"), _) => "frame",
        (Some("worker initialization"), _) => "worker",
        (_, destination) => destination.unwrap_or("resource"),
    };
    let url = body.get_str("blockedURL").unwrap_or("of unnamed origin");
    policy::summary_line(report, report.disposition(), "embedder policy", &format!("{what} {url}"))
}

#[cfg(test)]
mod tests {
    use crate::kinds::testing::captured;

    #[test]
    fn each_type_of_violation_is_told() {
        let processed = captured("chromium/525-coep-report-only-POST-coep-x5");
        let page = "https://site.test/p/coep-report-only/index.html";
        for (violation, destination, what) in [
            ("navigation", "none", "frame https://frames.test/s/frame.html"),
            ("corp", "image", "image https://site.test/redir"),
            ("worker initialization", "none", "worker https://site.test/p/coep-report-only/w.js"),
        ] {
            let summary = format!("report-only embedder policy would block {what} on {page}");
            let processed = processed.iter().find(|processed| processed.summary == summary).expect(what);
            assert_eq!((processed.kind, processed.severity), ("coep", "WARN"));
            let counted = format!(
                "lookout_coep_violations_total{{disposition=\"report\",violation=\"{violation}\",\
                 destination=\"{destination}\"}} 1"
            );
            assert_eq!(processed.counted, [counted]);
            assert_eq!(processed.attribute("coep.type"), Some(violation));
            assert_eq!(processed.attribute("coep.disposition"), Some("reporting"));
        }
    }

    #[test]
    fn webkits_envelope_does_not_get_into_the_body() {
        let processed = &captured("webkit/569-coep-report-only-POST-coep")[0];
        assert_eq!(
            processed.attribute("coep.destination"),
            None,
            "the envelope's destination is an endpoint"
        );
        assert_eq!(processed.body["disposition"], "reporting");
    }

    #[test]
    fn a_fetch_has_no_destination() {
        let processed = &captured("chromium/1116-rtx-coepworker-POST-coep")[0];
        assert_eq!(processed.severity, "ERROR");
        assert!(processed.counted[0].contains("destination=\"none\""), "{processed:?}");
        assert!(processed.summary.contains("blocked resource https://cdn.test/s/data.json"), "{processed:?}");
    }
}
