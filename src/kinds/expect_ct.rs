//! `expect-ct`: a server's certificate lacks the proofs of Certificate Transparency that its site
//! required (RFC 9163). Chrome 61 to 106 sent these.

use opentelemetry_semantic_conventions::attribute::URL_SCHEME;

use crate::kinds::support::{
    CERTIFICATE, DISPOSITION, HOSTNAME, PORT, TRANSPORT, describe_certificate, field, server_name,
};
use crate::model::{Family, FieldType, Observations, Report, ReportKind, Severity, Value};

/// Chrome sent no `failure-mode`, so the endpoint's URL may supply it.
pub(super) static KIND: ReportKind = ReportKind {
    name: "expect-ct",
    specification: "https://www.rfc-editor.org/rfc/rfc9163#section-3",
    disposition: Some("failure-mode"),
    fields: &[
        field("date-time", FieldType::Token, "expect_ct.date_time"),
        HOSTNAME,
        PORT,
        field("scheme", FieldType::Token, URL_SCHEME),
        field("effective-expiration-date", FieldType::Token, "expect_ct.effective_expiration_date"),
        field("scts", FieldType::Any, "expect_ct.scts"),
        field("failure-mode", FieldType::Token, "expect_ct.failure_mode"),
        field("test-report", FieldType::Bool, "expect_ct.test_report"),
        CERTIFICATE,
    ],
    severity: |report| if is_test(report) { Severity::Info } else { Severity::Warn },
    observe: |report, classification| {
        if is_test(report) { Observations::new() } else { report.count(classification) }
    },
    summary,
    families: &[&Family {
        name: "lookout_expect_ct_violations_total",
        help: "Expect-CT violations.",
        labels: &["site", "disposition"],
        ..Family::COUNTER
    }],
    labels: &[DISPOSITION],
    ..TRANSPORT
};

/// Returns whether it is a test report, which counts as a report but not as a violation.
fn is_test(report: &Report<'_>) -> bool {
    report.body.get("test-report") == Some(&Value::Bool(true))
}

fn summary(report: &Report<'_>) -> String {
    let server = server_name(report);
    let certificate = describe_certificate(report);
    let test = if is_test(report) { "test report: " } else { "" };
    format!("{test}certificate of {server} lacks proof of Certificate Transparency{certificate}")
}

#[cfg(test)]
mod tests {
    use crate::kinds::testing::{DEFAULT, TestContext, process, process_in, sample};
    use crate::model::{Disposition, Noise};

    #[test]
    fn sample_is_evaluated() {
        let processed = process(&sample("expect-ct"));
        assert_eq!((processed.kind, processed.severity), ("expect-ct", "WARN"));
        assert_eq!(processed.counted, ["lookout_expect_ct_violations_total{disposition=\"enforce\"} 1"]);
        assert_eq!(
            processed.summary,
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
            assert_eq!(processed.attribute(name), Some(value), "{name}");
        }
        assert!(
            processed.attribute("expect_ct.scts").is_some_and(|scts| scts.contains("\"status\":\"invalid\""))
        );
        assert!(!processed.body.to_string().contains("BEGIN CERTIFICATE"));
    }

    fn report(rest: &str) -> String {
        format!(r#"{{"expect-ct-report":{{"hostname":"shop.example","port":443{rest}}}}}"#)
    }

    #[test]
    fn failure_mode_is_the_disposition() {
        let counted = |body: &str, disposition| {
            process_in(body, &TestContext { disposition, ..DEFAULT }).counted.remove(0)
        };
        let report_only = report(r#","failure-mode":"report-only""#);
        assert!(counted(&report_only, Some(Disposition::Enforce)).contains("\"report\""));
        assert!(counted(&report(""), None).contains("\"unknown\""));
        assert!(counted(&report(""), Some(Disposition::Report)).contains("\"report\""));
        let noise = TestContext { noise: Noise::Local, ..DEFAULT };
        assert_eq!(process_in(&report(""), &noise).severity, "INFO");
    }

    #[test]
    fn test_report_is_no_violation() {
        for flag in ["true", "\"true\""] {
            let processed = process(&report(&format!(r#","test-report":{flag}"#)));
            assert_eq!(processed.severity, "INFO");
            assert!(processed.counted.is_empty());
            assert!(processed.summary.starts_with("test report: certificate of shop.example:443"));
            assert_eq!(processed.attribute("expect_ct.test_report"), Some("true"));
        }
    }
}
