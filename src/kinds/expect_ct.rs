//! `expect-ct`: a server's certificate lacks the proofs of Certificate Transparency that its site
//! required (RFC 9163). Chrome 61 to 106 sent these.

use opentelemetry_semantic_conventions::attribute::URL_SCHEME;
use smallvec::SmallVec;

use crate::kinds::support::{
    CERTIFICATE, CERTIFICATE_ATTRIBUTES, HOSTNAME, PORT, certificate_attributes, describe_certificate, field,
    replace_chains, server_name, severity_unless_noise,
};
use crate::model::{
    Classification, Evaluation, Family, FieldType, LabelEnum, Report, ReportKind, Severity, Value,
};

static VIOLATIONS: Family = Family {
    name: "lookout_expect_ct_violations_total",
    help: "Expect-CT violations.",
    labels: &["site", "disposition"],
    ..Family::COUNTER
};

/// Chrome sent no `failure-mode`, so the endpoint's URL may supply it.
pub(super) static KIND: ReportKind = ReportKind {
    name: "expect-ct",
    event_name: "browser.report.expect_ct",
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
    identity: &["hostname", "port"],
    upgrade: replace_chains,
    evaluate,
    summary,
    attributes: certificate_attributes,
    derived_attributes: CERTIFICATE_ATTRIBUTES,
    families: &[&VIOLATIONS],
    ..ReportKind::DEFAULT
};

/// Returns whether it is a test report, which counts as a report but not as a violation.
fn is_test(report: &Report<'_>) -> bool {
    report.body.get("test-report") == Some(&Value::Bool(true))
}

fn evaluate<'r>(report: &'r Report<'_>, classification: &Classification<'_>) -> Evaluation<'r> {
    if is_test(report) {
        return Evaluation { severity: Severity::Info, observations: SmallVec::new() };
    }
    let disposition = report.disposition().label();
    let severity = severity_unless_noise(Severity::Warn, classification.noise);
    Evaluation::new(severity, &VIOLATIONS, [disposition])
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
