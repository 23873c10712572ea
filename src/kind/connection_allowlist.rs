//! `connection-allowlist`: a page opened a connection to where its allowlist does not reach.
//! Experimental; Chromium sends it.

use smallvec::smallvec;

use crate::kind::{Holds, Kind, member, no_more_attributes, nothing_to_mend, policy};
use crate::metric::{Family, Measure, Observation};
use crate::report::{Assessment, Class, Report};

/// `lookout_connection_allowlist_violations_total`
pub static VIOLATIONS: Family = Family {
    name: "lookout_connection_allowlist_violations_total",
    help: "Connections outside the connection allowlist.",
    measure: Measure::Count,
    labels: &["site", "disposition"],
    weight: 1,
};

/// The kind. `connection` is a URL, or `webrtc`.
pub static KIND: Kind = Kind {
    token: "connection-allowlist",
    event_name: "browser.report.connection_allowlist",
    also: &[],
    specification: "https://wicg.github.io/connection-allowlists/#reporting",
    disposition: Some("disposition"),
    members: &[
        member("url", &[], Holds::Url, "connection_allowlist.document_url"),
        member("connection", &[], Holds::Url, "connection_allowlist.connection"),
        member("allowlist", &[], Holds::Anything, "connection_allowlist.allowlist"),
        member("disposition", &[], Holds::Token, "connection_allowlist.disposition"),
    ],
    mend: nothing_to_mend,
    assess,
    summary,
    attributes: no_more_attributes,
    families: &[&VIOLATIONS],
};

fn assess<'r>(report: &'r Report<'_>, class: &Class<'_>) -> Assessment<'r> {
    let disposition = report.disposition();
    Assessment {
        severity: policy::severity(disposition, class.noise),
        observations: smallvec![Observation::one(&VIOLATIONS, [disposition.label()])],
    }
}

fn summary(report: &Report<'_>) -> String {
    let connection = report.body.text("connection").unwrap_or("an unnamed place");
    let what = format!("a connection to {connection}");
    policy::line(report, report.disposition(), "connection allowlist", &what)
}

#[cfg(test)]
mod tests {
    use crate::kind::testing::{captured, envelope, one};

    #[test]
    fn what_chromium_sends_is_told() {
        let told = &captured("chromium/584-ca-report-only-POST-connection-allowlist-x2")[0];
        assert_eq!((told.kind, told.severity), ("connection-allowlist", "WARN"));
        assert_eq!(told.counted, ["lookout_connection_allowlist_violations_total{disposition=\"report\"} 1"]);
        assert!(
            told.summary.starts_with("report-only connection allowlist would block a connection to https://")
        );
        assert!(told.attributes.contains_key("connection_allowlist.connection"));
    }

    #[test]
    fn the_specifications_body_is_told() {
        let body = r#"{"url":"https://shop.example/cart","connection":"webrtc","disposition":"enforce",
            "allowlist":["https://shop.example/*"]}"#;
        let told = one(&envelope("connection-allowlist", body));
        assert_eq!(told.severity, "ERROR");
        assert_eq!(
            told.summary,
            "enforced connection allowlist blocked a connection to webrtc on https://shop.example/cart"
        );
        let allowlist = told.attribute("connection_allowlist.allowlist");
        assert_eq!(allowlist, Some(r#"["https://shop.example/*"]"#));
    }
}
