//! `coep`: a page with a cross-origin embedder policy embeds something that did not agree to it. When
//! the policy is enforced, that frame, worker or resource is missing.

use smallvec::smallvec;

use crate::kind::{Holds, Kind, member, no_more_attributes, nothing_to_mend, policy, vocabulary};
use crate::metric::{Family, Measure, Observation, Vocabulary};
use crate::report::{Assessment, Class, Report};

/// `lookout_coep_violations_total`
pub static VIOLATIONS: Family = Family {
    name: "lookout_coep_violations_total",
    help: "Cross-origin embedder policy violations.",
    measure: Measure::Count,
    labels: &["site", "disposition", "violation", "destination"],
    weight: 2,
};

/// What violated the policy: a response without Cross-Origin-Resource-Policy, a frame, a worker.
static TYPES: Vocabulary = Vocabulary(&["corp", "navigation", "worker initialization"]);

/// The kind.
pub static KIND: Kind = Kind {
    token: "coep",
    event_name: "browser.report.coep",
    also: &[],
    specification: "https://html.spec.whatwg.org/multipage/browsers.html#coep",
    disposition: Some("disposition"),
    members: &[
        member("type", &[], Holds::Token, "coep.type"),
        member("blockedURL", &["blocked-url"], Holds::Url, "coep.blocked_url"),
        member("destination", &[], Holds::Token, "coep.destination"),
        member("disposition", &[], Holds::Token, "coep.disposition"),
    ],
    mend: nothing_to_mend,
    assess,
    summary,
    attributes: no_more_attributes,
    families: &[&VIOLATIONS],
};

fn assess<'r>(report: &'r Report<'_>, class: &Class<'_>) -> Assessment<'r> {
    let body = &report.body;
    let disposition = report.disposition();
    let violation = TYPES.label(body.text("type"));
    let destination = vocabulary::DESTINATIONS.label(body.text("destination"));
    let labels = [disposition.label(), violation, destination];
    Assessment {
        severity: policy::severity(disposition, class.noise),
        observations: smallvec![Observation::one(&VIOLATIONS, labels)],
    }
}

/// `enforced embedder policy blocked image https://cdn.example/x.png on https://shop.example/`
fn summary(report: &Report<'_>) -> String {
    let body = &report.body;
    let what = match (body.text("type"), body.text("destination")) {
        (Some("navigation"), _) => "frame",
        (Some("worker initialization"), _) => "worker",
        (_, destination) => destination.unwrap_or("resource"),
    };
    let url = body.text("blockedURL").unwrap_or("of unnamed origin");
    policy::line(report, report.disposition(), "embedder policy", &format!("{what} {url}"))
}

#[cfg(test)]
mod tests {
    use crate::kind::testing::captured;

    #[test]
    fn each_type_of_violation_is_told() {
        let told = captured("chromium/525-coep-report-only-POST-coep-x5");
        let page = "https://site.test/p/coep-report-only/index.html";
        for (violation, destination, what) in [
            ("navigation", "none", "frame https://frames.test/s/frame.html"),
            ("corp", "image", "image https://site.test/redir"),
            ("worker initialization", "none", "worker https://site.test/p/coep-report-only/w.js"),
        ] {
            let summary = format!("report-only embedder policy would block {what} on {page}");
            let told = told.iter().find(|told| told.summary == summary).expect(what);
            assert_eq!((told.kind, told.severity), ("coep", "WARN"));
            let counted = format!(
                "lookout_coep_violations_total{{disposition=\"report\",violation=\"{violation}\",\
                 destination=\"{destination}\"}} 1"
            );
            assert_eq!(told.counted, [counted]);
            assert_eq!(told.attribute("coep.type"), Some(violation));
            assert_eq!(told.attribute("coep.disposition"), Some("reporting"));
        }
    }

    #[test]
    fn webkits_envelope_does_not_get_into_the_body() {
        let told = &captured("webkit/569-coep-report-only-POST-coep")[0];
        assert_eq!(told.attribute("coep.destination"), None, "the envelope's destination is an endpoint");
        assert_eq!(told.body["disposition"], "reporting");
    }

    #[test]
    fn a_fetch_has_no_destination() {
        let told = &captured("chromium/1116-rtx-coepworker-POST-coep")[0];
        assert_eq!(told.severity, "ERROR");
        assert!(told.counted[0].contains("destination=\"none\""), "{told:?}");
        assert!(told.summary.contains("blocked resource https://cdn.test/s/data.json"), "{told:?}");
    }
}
