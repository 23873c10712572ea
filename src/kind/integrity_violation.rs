//! `integrity-violation`: an integrity policy found a script or style without integrity metadata. When
//! the policy is enforced, it was not loaded.

use smallvec::smallvec;

use crate::kind::{
    Holds, Kind, csp_violation, member, no_more_attributes, nothing_to_mend, policy, vocabulary,
};
use crate::metric::{Family, Measure, Observation};
use crate::report::{Assessment, Class, Disposition, Report};
use crate::value::Value;

/// `lookout_integrity_violations_total`
pub static VIOLATIONS: Family = Family {
    name: "lookout_integrity_violations_total",
    help: "Integrity policy violations.",
    measure: Measure::Count,
    labels: &["site", "disposition", "destination", "blocked"],
    weight: 2,
};

/// The kind. A flag stands where others have a disposition, so the endpoint's path supplies none.
pub static KIND: Kind = Kind {
    token: "integrity-violation",
    event_name: "browser.report.integrity_violation",
    also: &[],
    specification: "https://w3c.github.io/webappsec-subresource-integrity/#report-violations",
    disposition: None,
    members: &[
        member("documentURL", &[], Holds::Url, "integrity.document_url"),
        member("blockedURL", &[], Holds::Url, "integrity.blocked_url"),
        member("destination", &[], Holds::Token, "integrity.destination"),
        member("reportOnly", &[], Holds::Counted, "integrity.report_only"),
    ],
    mend: nothing_to_mend,
    assess,
    summary,
    attributes: no_more_attributes,
    families: &[&VIOLATIONS],
};

fn disposition(report: &Report<'_>) -> Disposition {
    match report.body.get("reportOnly") {
        Some(Value::Bool(true)) => Disposition::Report,
        Some(Value::Bool(false)) => Disposition::Enforce,
        _ => Disposition::Unknown,
    }
}

fn assess<'r>(report: &'r Report<'_>, class: &Class<'_>) -> Assessment<'r> {
    let body = &report.body;
    let disposition = disposition(report);
    let destination = vocabulary::DESTINATIONS.label(body.text("destination"));
    let blocked = csp_violation::blocked(body.text("blockedURL"));
    let labels = [disposition.label(), destination, blocked];
    Assessment {
        severity: policy::severity(disposition, class.noise),
        observations: smallvec![Observation::one(&VIOLATIONS, labels)],
    }
}

fn summary(report: &Report<'_>) -> String {
    let what = report.body.text("destination").unwrap_or("resource");
    let url = report.body.text("blockedURL").unwrap_or("of unnamed origin");
    policy::line(report, disposition(report), "integrity policy", &format!("{what} {url}"))
}

#[cfg(test)]
mod tests {
    use crate::kind::testing::{captured, envelope, one};

    #[test]
    fn three_engines_send_the_same() {
        for (name, page, script) in [
            ("chromium/574-ip-enforce-POST-integrity-violation-x7", "site.test", "https://cdn.test/s/a.js"),
            ("firefox/595-ip-enforce-POST-integrity-violation", "site.test", "https://site.test/s/a.js"),
            ("webkit/581-ip-enforce-POST-integrity-violation", "site.test", "https://site.test/s/a.js"),
        ] {
            let summary = format!(
                "enforced integrity policy blocked script {script} on https://{page}/p/ip-enforce/index.html"
            );
            let told = captured(name);
            let told = told.iter().find(|told| told.summary == summary).expect(name);
            assert_eq!((told.kind, told.severity), ("integrity-violation", "ERROR"));
            let counted = format!(
                "lookout_integrity_violations_total{{disposition=\"enforce\",destination=\"script\",\
                 blocked=\"{}\"}} 1",
                script.trim_end_matches("/s/a.js")
            );
            assert_eq!(told.counted, [counted]);
            assert_eq!(told.attribute("integrity.blocked_url"), Some(script));
            assert_eq!(told.attribute("integrity.report_only"), Some("false"));
        }
    }

    #[test]
    fn the_flag_is_the_disposition() {
        for (flag, disposition, severity) in
            [("true", "report", "WARN"), ("false", "enforce", "ERROR"), ("null", "unknown", "WARN")]
        {
            let told = one(&envelope("integrity-violation", &format!(r#"{{"reportOnly":{flag}}}"#)));
            assert_eq!(told.severity, severity);
            let labels = format!("{{disposition=\"{disposition}\",destination=\"none\",blocked=\"none\"}}");
            assert!(told.counted[0].contains(&labels), "{told:?}");
        }
    }
}
