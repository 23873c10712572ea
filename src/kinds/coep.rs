//! `coep`: a page with a cross-origin embedder policy embeds something that does not allow it. If the
//! policy is enforced, that frame, worker or resource is missing.

use crate::kinds::csp_violation::BLOCKED;
use crate::kinds::support::{DESTINATIONS, DISPOSITION, NOISE, field, one_of, policy_summary};
use crate::model::{Family, FieldType, LabelValues, Report, ReportKind};

/// What violated the policy: a response without Cross-Origin-Resource-Policy, a frame, a worker.
static TYPES: LabelValues = LabelValues(&["corp", "navigation", "worker initialization"]);

pub(super) static KIND: ReportKind = ReportKind {
    name: "coep",
    specification: "https://html.spec.whatwg.org/multipage/browsers.html#coep",
    disposition: Some("disposition"),
    fields: &[
        field("type", FieldType::Token, "coep.type"),
        field("blockedURL", FieldType::Url, "coep.blocked_url").aliases(&["blocked-url"]),
        field("destination", FieldType::Token, "coep.destination"),
        field("disposition", FieldType::Token, "coep.disposition"),
    ],
    identity: &["type", "destination", "blockedURL"],
    summary,
    families: &[&Family {
        name: "lookout_coep_violations_total",
        help: "Cross-origin embedder policy violations.",
        labels: &["site", "disposition", "violation", "destination", "blocked", "noise"],
        unbounded: &["blocked"],
        weight: 3,
        ..Family::COUNTER
    }],
    labels: &[DISPOSITION, one_of("type", &TYPES), one_of("destination", &DESTINATIONS), BLOCKED, NOISE],
    ..ReportKind::DEFAULT
};

/// `enforced embedder policy blocked image https://cdn.example/x.png on https://shop.example/`
fn summary(report: &Report<'_>) -> String {
    let body = &report.body;
    let what = match (body.get_str("type"), body.get_str("destination")) {
        (Some("navigation"), _) => "frame",
        (Some("worker initialization"), _) => "worker",
        (_, destination) => destination.unwrap_or("resource"),
    };
    let url = body.get_str("blockedURL").unwrap_or("of unnamed origin");
    policy_summary(report, "embedder policy", &format!("{what} {url}"))
}

#[cfg(test)]
mod tests {
    use crate::kinds::testing::captured;

    #[test]
    fn each_violation_type_of_chromium_has_a_summary_and_labels() {
        let processed = captured("chromium/525-coep-report-only-POST-coep-x5");
        let page = "https://site.test/p/coep-report-only/index.html";
        for (violation, destination, blocked, what) in [
            ("navigation", "none", "https://frames.test", "frame https://frames.test/s/frame.html"),
            ("corp", "image", "https://site.test", "image https://site.test/redir"),
            (
                "worker initialization",
                "none",
                "https://site.test",
                "worker https://site.test/p/coep-report-only/w.js",
            ),
        ] {
            let summary = format!("report-only embedder policy would block {what} on {page}");
            let processed = processed.iter().find(|processed| processed.summary == summary).expect(what);
            assert_eq!((processed.kind, processed.severity), ("coep", "WARN"));
            let counted = format!(
                "lookout_coep_violations_total{{disposition=\"report\",violation=\"{violation}\",\
                 destination=\"{destination}\",blocked=\"{blocked}\",noise=\"none\"}} 1"
            );
            assert_eq!(processed.counted, [counted]);
            assert_eq!(processed.attribute("coep.type"), Some(violation));
            assert_eq!(processed.attribute("coep.disposition"), Some("reporting"));
        }
    }

    #[test]
    fn webkit_envelope_destination_is_not_a_field() {
        let processed = &captured("webkit/569-coep-report-only-POST-coep")[0];
        assert_eq!(
            processed.attribute("coep.destination"),
            None,
            "the envelope's destination is an endpoint"
        );
        assert_eq!(processed.body["disposition"], "reporting");
    }

    #[test]
    fn destination_of_a_fetch_is_none() {
        let processed = &captured("chromium/1116-rtx-coepworker-POST-coep")[0];
        assert_eq!(processed.severity, "ERROR");
        assert!(processed.counted[0].contains("destination=\"none\""), "{processed:?}");
        assert!(processed.summary.contains("blocked resource https://cdn.test/s/data.json"), "{processed:?}");
    }
}
