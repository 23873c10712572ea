//! `expect-ct`: a server's certificate came without the proofs of Certificate Transparency that its
//! site had promised (RFC 9163). Chrome 61 to 106 sent these.

use smallvec::{SmallVec, smallvec};

use crate::kind::{Holds, Kind, Member, certificate, member};
use crate::metric::{Family, Measure, Observation};
use crate::report::{Assessment, Class, Noise, Report, Severity};
use crate::value::Value;

/// `lookout_expect_ct_violations_total`
pub static VIOLATIONS: Family = Family {
    name: "lookout_expect_ct_violations_total",
    help: "Expect-CT violations.",
    measure: Measure::Count,
    labels: &["site", "disposition"],
    weight: 1,
};

/// The kind. Chrome sent no `failure-mode`, so the endpoint's URL may say what it is.
pub static KIND: Kind = Kind {
    token: "expect-ct",
    event_name: "browser.report.expect_ct",
    also: &[],
    specification: "https://www.rfc-editor.org/rfc/rfc9163#section-3",
    disposition: Some("failure-mode"),
    members: &[
        member("date-time", &[], Holds::Token, "expect_ct.date_time"),
        member("hostname", &[], Holds::Token, "server.address"),
        member("port", &[], Holds::Position, "server.port"),
        member("scheme", &[], Holds::Token, "url.scheme"),
        member("effective-expiration-date", &[], Holds::Token, "expect_ct.effective_expiration_date"),
        member("scts", &[], Holds::Anything, "expect_ct.scts"),
        member("failure-mode", &[], Holds::Token, "expect_ct.failure_mode"),
        member("test-report", &[], Holds::Flag, "expect_ct.test_report"),
        Member { name: certificate::MEMBER, also: &[], holds: Holds::Anything, attribute: None },
    ],
    mend: certificate::mend,
    assess,
    summary,
    attributes: certificate::attributes,
    families: &[&VIOLATIONS],
};

/// A test report tries out the way to us. It counts as a report but not as a violation.
fn is_test(report: &Report<'_>) -> bool {
    report.body.get("test-report") == Some(&Value::Bool(true))
}

fn assess<'r>(report: &'r Report<'_>, class: &Class<'_>) -> Assessment<'r> {
    if is_test(report) {
        return Assessment { severity: Severity::Info, observations: SmallVec::new() };
    }
    let disposition = report.disposition().label();
    Assessment {
        severity: if class.noise == Noise::None { Severity::Warn } else { Severity::Info },
        observations: smallvec![Observation::one(&VIOLATIONS, [disposition])],
    }
}

fn summary(report: &Report<'_>) -> String {
    let (server, certificate) = (certificate::server(report), certificate::told(report));
    let test = if is_test(report) { "test report: " } else { "" };
    format!("{test}certificate of {server} lacks proof of Certificate Transparency{certificate}")
}

#[cfg(test)]
mod tests {
    use crate::kind::testing::{Given, PLAIN, one, one_given, sample};
    use crate::report::{Disposition, Noise};

    #[test]
    fn the_sample_is_told() {
        let told = one(&sample("expect-ct"));
        assert_eq!((told.kind, told.severity), ("expect-ct", "WARN"));
        assert_eq!(told.counted, ["lookout_expect_ct_violations_total{disposition=\"enforce\"} 1"]);
        assert_eq!(
            told.summary,
            "certificate of www.shop.example:8443 lacks proof of Certificate Transparency \
             (issued by CN=Example Issuing CA, expires 2031-05-01T00:00:00Z)"
        );
        for (name, value) in [
            ("url.full", "https://www.shop.example:8443/"),
            ("server.address", "www.shop.example"),
            ("server.port", "8443"),
            ("expect_ct.failure_mode", "enforce"),
            ("tls.server.subject", "CN=www.shop.example"),
        ] {
            assert_eq!(told.attribute(name), Some(value), "{name}");
        }
        assert!(told.attribute("expect_ct.scts").is_some_and(|scts| scts.contains("\"status\":\"invalid\"")));
        assert!(!told.body.to_string().contains("BEGIN CERTIFICATE"));
    }

    fn report(rest: &str) -> String {
        format!(r#"{{"expect-ct-report":{{"hostname":"shop.example","port":443{rest}}}}}"#)
    }

    #[test]
    fn the_failure_mode_is_the_disposition() {
        let counted =
            |body: &str, disposition| one_given(body, &Given { disposition, ..PLAIN }).counted.remove(0);
        let report_only = report(r#","failure-mode":"report-only""#);
        assert!(counted(&report_only, Some(Disposition::Enforce)).contains("\"report\""));
        assert!(counted(&report(""), None).contains("\"unknown\""));
        assert!(counted(&report(""), Some(Disposition::Report)).contains("\"report\""));
        let noise = Given { noise: Noise::Local, ..PLAIN };
        assert_eq!(one_given(&report(""), &noise).severity, "INFO");
    }

    #[test]
    fn a_test_report_is_no_violation() {
        for flag in ["true", "\"true\""] {
            let told = one(&report(&format!(r#","test-report":{flag}"#)));
            assert_eq!(told.severity, "INFO");
            assert!(told.counted.is_empty());
            assert!(told.summary.starts_with("test report: certificate of shop.example:443"));
            assert_eq!(told.attribute("expect_ct.test_report"), Some("true"));
        }
    }
}
