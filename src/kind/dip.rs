//! `dip`: a page with a document isolation policy loads something that did not agree to it. The same
//! check as an embedder policy's, made for one document.

use smallvec::smallvec;

use crate::kind::{Holds, Kind, member, no_more_attributes, nothing_to_mend, policy, vocabulary};
use crate::metric::{Family, Measure, Observation};
use crate::report::{Assessment, Class, Report};

/// `lookout_dip_violations_total`
pub static VIOLATIONS: Family = Family {
    name: "lookout_dip_violations_total",
    help: "Document isolation policy violations.",
    measure: Measure::Count,
    labels: &["site", "disposition", "destination"],
    weight: 1,
};

/// The kind.
pub static KIND: Kind = Kind {
    token: "dip",
    event_name: "browser.report.dip",
    also: &[],
    specification: "https://wicg.github.io/document-isolation-policy/#reporting",
    disposition: Some("disposition"),
    members: &[
        member("type", &[], Holds::Token, "dip.type"),
        member("blockedURL", &[], Holds::Url, "dip.blocked_url"),
        member("destination", &[], Holds::Token, "dip.destination"),
        member("disposition", &[], Holds::Token, "dip.disposition"),
    ],
    mend: nothing_to_mend,
    assess,
    summary,
    attributes: no_more_attributes,
    families: &[&VIOLATIONS],
};

fn assess<'r>(report: &'r Report<'_>, class: &Class<'_>) -> Assessment<'r> {
    let disposition = report.disposition();
    let destination = vocabulary::DESTINATIONS.label(report.body.text("destination"));
    Assessment {
        severity: policy::severity(disposition, class.noise),
        observations: smallvec![Observation::one(&VIOLATIONS, [disposition.label(), destination])],
    }
}

fn summary(report: &Report<'_>) -> String {
    let what = report.body.text("destination").unwrap_or("resource");
    let url = report.body.text("blockedURL").unwrap_or("of unnamed origin");
    policy::line(report, report.disposition(), "isolation policy", &format!("{what} {url}"))
}

#[cfg(test)]
mod tests {
    use crate::kind::testing::{captured, envelope, one};

    #[test]
    fn what_chromium_sends_is_told() {
        let told = &captured("chromium/845-dip-rt-POST-dip")[0];
        assert_eq!((told.kind, told.severity), ("dip", "ERROR"));
        assert_eq!(
            told.counted,
            ["lookout_dip_violations_total{disposition=\"enforce\",destination=\"image\"} 1"]
        );
        assert_eq!(
            told.summary,
            "enforced isolation policy blocked image https://cdn.test/s/i.png on \
             https://rt-339.site.test/p/dip-rt/index.html"
        );
        assert_eq!(told.attribute("dip.blocked_url"), Some("https://cdn.test/s/i.png"));
    }

    #[test]
    fn reporting_is_report() {
        let told = one(&envelope("dip", r#"{"type":"corp","disposition":"reporting","destination":""}"#));
        assert_eq!(told.severity, "WARN");
        assert!(told.counted[0].contains("{disposition=\"report\",destination=\"none\"}"), "{told:?}");
    }
}
