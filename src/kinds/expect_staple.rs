//! `expect-staple`: a server did not staple the OCSP response that its site required, or stapled a bad
//! one. A draft that Chromium tried; there is no RFC.

use crate::kinds::support::{
    CERTIFICATE, HOSTNAME, PORT, TRANSPORT, describe_certificate, field, one_of, server_name,
};
use crate::model::{Family, FieldType, LabelValues, Report, ReportKind};

#[rustfmt::skip]
static RESPONSE_STATUSES: LabelValues = LabelValues(&[
    "MISSING", "PROVIDED", "ERROR_RESPONSE", "BAD_PRODUCED_AT", "NO_MATCHING_RESPONSE", "INVALID_DATE",
    "PARSE_RESPONSE_ERROR", "PARSE_RESPONSE_DATA_ERROR",
]);

/// Present only if a response was provided.
static CERT_STATUSES: LabelValues = LabelValues(&["GOOD", "REVOKED", "UNKNOWN"]);

/// The draft wraps the object; Chromium sent it flat.
pub(super) static KIND: ReportKind = ReportKind {
    name: "expect-staple",
    specification: "https://github.com/ScottHelme/draft-helme-expect-staple",
    fields: &[
        field("date-time", FieldType::Token, "expect_staple.date_time"),
        HOSTNAME,
        PORT,
        field("effective-expiration-date", FieldType::Token, "expect_staple.effective_expiration_date"),
        field("response-status", FieldType::Token, "expect_staple.response_status"),
        field("cert-status", FieldType::Token, "expect_staple.cert_status"),
        field("ocsp-response", FieldType::Message, "expect_staple.ocsp_response"),
        CERTIFICATE,
    ],
    identity: &["hostname", "port", "response-status", "cert-status"],
    summary,
    families: &[&Family {
        name: "lookout_expect_staple_violations_total",
        help: "Expect-Staple violations.",
        labels: &["site", "response_status", "cert_status"],
        ..Family::COUNTER
    }],
    labels: &[one_of("response-status", &RESPONSE_STATUSES), one_of("cert-status", &CERT_STATUSES)],
    ..TRANSPORT
};

fn summary(report: &Report<'_>) -> String {
    let body = &report.body;
    let what = match (body.get_str("response-status"), body.get_str("cert-status")) {
        (Some("MISSING"), _) => "stapled no OCSP response".to_owned(),
        (Some("PROVIDED") | None, Some(status)) => {
            format!("stapled an OCSP response that calls its certificate {status}")
        }
        (status, _) => format!("stapled a bad OCSP response: {}", status.unwrap_or("of unknown status")),
    };
    format!("{} {what}{}", server_name(report), describe_certificate(report))
}

#[cfg(test)]
mod tests {
    use crate::kinds::testing::{process, sample};

    #[test]
    fn sample_is_evaluated() {
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
    fn flat_object_of_chromium_is_the_same_kind() {
        for (status, description) in [
            ("MISSING", "stapled no OCSP response"),
            ("INVALID_DATE", "stapled a bad OCSP response: INVALID_DATE"),
        ] {
            let processed =
                process(&format!(r#"{{"hostname":"shop.example","port":443,"response-status":"{status}"}}"#));
            assert_eq!(processed.summary, format!("shop.example:443 {description}"));
            assert!(processed.counted[0].contains("cert_status=\"none\""));
        }
    }
}
