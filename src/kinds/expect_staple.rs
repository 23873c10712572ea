//! `expect-staple`: a server did not staple the OCSP response that its site had promised, or stapled a
//! bad one. A draft that Chromium tried out; there is no RFC.

use smallvec::smallvec;

use crate::kinds::support::certificate;
use crate::kinds::{FieldSpec, FieldType, ReportKind, field};
use crate::model::{
    Classification, Evaluation, Family, LabelValues, MetricType, Noise, Observation, Report, Severity,
};

/// `lookout_expect_staple_violations_total`
pub static VIOLATIONS: Family = Family {
    name: "lookout_expect_staple_violations_total",
    help: "Expect-Staple violations.",
    metric_type: MetricType::Counter,
    labels: &["site", "response_status", "cert_status"],
    weight: 1,
};

static RESPONSE_STATUSES: LabelValues = LabelValues(&[
    "MISSING",
    "PROVIDED",
    "ERROR_RESPONSE",
    "BAD_PRODUCED_AT",
    "NO_MATCHING_RESPONSE",
    "INVALID_DATE",
    "PARSE_RESPONSE_ERROR",
    "PARSE_RESPONSE_DATA_ERROR",
]);

/// Only a response that was provided has one.
static CERT_STATUSES: LabelValues = LabelValues(&["GOOD", "REVOKED", "UNKNOWN"]);

/// The kind. The draft wraps the object, Chromium sent it flat.
pub static KIND: ReportKind = ReportKind {
    name: "expect-staple",
    event_name: "browser.report.expect_staple",
    aliases: &[],
    specification: "https://github.com/ScottHelme/draft-helme-expect-staple",
    disposition: None,
    fields: &[
        field("date-time", &[], FieldType::Token, "expect_staple.date_time"),
        field("hostname", &[], FieldType::Token, "server.address"),
        field("port", &[], FieldType::NonZeroInt, "server.port"),
        field("effective-expiration-date", &[], FieldType::Token, "expect_staple.effective_expiration_date"),
        field("response-status", &[], FieldType::Token, "expect_staple.response_status"),
        field("cert-status", &[], FieldType::Token, "expect_staple.cert_status"),
        field("ocsp-response", &[], FieldType::Message, "expect_staple.ocsp_response"),
        FieldSpec { name: certificate::FIELD, aliases: &[], field_type: FieldType::Any, attribute: None },
    ],
    upgrade: certificate::upgrade,
    evaluate,
    summary,
    attributes: certificate::attributes,
    families: &[&VIOLATIONS],
};

fn evaluate<'r>(report: &'r Report<'_>, class: &Classification<'_>) -> Evaluation<'r> {
    let response = RESPONSE_STATUSES.label(report.body.get_str("response-status"));
    let cert = CERT_STATUSES.label(report.body.get_str("cert-status"));
    Evaluation {
        severity: if class.noise == Noise::None { Severity::Warn } else { Severity::Info },
        observations: smallvec![Observation::increment(&VIOLATIONS, [response, cert])],
    }
}

fn summary(report: &Report<'_>) -> String {
    let body = &report.body;
    let (server, certificate) = (certificate::server(report), certificate::describe(report));
    let what = match (body.get_str("response-status"), body.get_str("cert-status")) {
        (Some("MISSING"), _) => "stapled no OCSP response".to_owned(),
        (Some("PROVIDED") | None, Some(status)) => {
            format!("stapled an OCSP response that calls its certificate {status}")
        }
        (status, _) => format!("stapled a bad OCSP response: {}", status.unwrap_or("of unknown status")),
    };
    format!("{server} {what}{certificate}")
}

#[cfg(test)]
mod tests {
    use crate::kinds::testing::{process, sample};

    #[test]
    fn the_sample_is_told() {
        let processed = process(&sample("expect-staple"));
        assert_eq!((processed.kind, processed.severity), ("expect-staple", "WARN"));
        assert_eq!(
            processed.counted,
            [
                "lookout_expect_staple_violations_total{response_status=\"PROVIDED\",cert_status=\"REVOKED\"} 1"
            ]
        );
        assert_eq!(
            processed.summary,
            "www.shop.example:443 stapled an OCSP response that calls its certificate REVOKED \
             (issued by CN=Example Issuing CA, expires 2031-05-01T00:00:00Z)"
        );
        assert_eq!(processed.attribute("expect_staple.response_status"), Some("PROVIDED"));
        assert_eq!(processed.attribute("expect_staple.ocsp_response"), Some("MIIBAQ=="));
        assert_eq!(processed.attribute("tls.server.subject"), Some("CN=www.shop.example"));
    }

    #[test]
    fn chromiums_flat_object_is_the_same() {
        for (status, told_as) in [
            ("MISSING", "stapled no OCSP response"),
            ("INVALID_DATE", "stapled a bad OCSP response: INVALID_DATE"),
        ] {
            let processed =
                process(&format!(r#"{{"hostname":"shop.example","port":443,"response-status":"{status}"}}"#));
            assert_eq!(processed.summary, format!("shop.example:443 {told_as}"));
            assert!(processed.counted[0].contains("cert_status=\"none\""));
        }
    }
}
