//! `expect-staple`: a server did not staple the OCSP response that its site had promised, or stapled a
//! bad one. A draft that Chromium tried out; there is no RFC.

use smallvec::smallvec;

use crate::kind::{Holds, Kind, Member, certificate, member};
use crate::metric::{Family, Measure, Observation, Vocabulary};
use crate::report::{Assessment, Class, Noise, Report, Severity};

/// `lookout_expect_staple_violations_total`
pub static VIOLATIONS: Family = Family {
    name: "lookout_expect_staple_violations_total",
    help: "Expect-Staple violations.",
    measure: Measure::Count,
    labels: &["site", "response_status", "cert_status"],
    weight: 1,
};

static RESPONSE_STATUSES: Vocabulary = Vocabulary(&[
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
static CERT_STATUSES: Vocabulary = Vocabulary(&["GOOD", "REVOKED", "UNKNOWN"]);

/// The kind. The draft wraps the object, Chromium sent it flat.
pub static KIND: Kind = Kind {
    token: "expect-staple",
    event_name: "browser.report.expect_staple",
    also: &[],
    specification: "https://github.com/ScottHelme/draft-helme-expect-staple",
    disposition: None,
    members: &[
        member("date-time", &[], Holds::Token, "expect_staple.date_time"),
        member("hostname", &[], Holds::Token, "server.address"),
        member("port", &[], Holds::Position, "server.port"),
        member("effective-expiration-date", &[], Holds::Token, "expect_staple.effective_expiration_date"),
        member("response-status", &[], Holds::Token, "expect_staple.response_status"),
        member("cert-status", &[], Holds::Token, "expect_staple.cert_status"),
        member("ocsp-response", &[], Holds::Message, "expect_staple.ocsp_response"),
        Member { name: certificate::MEMBER, also: &[], holds: Holds::Anything, attribute: None },
    ],
    mend: certificate::mend,
    assess,
    summary,
    attributes: certificate::attributes,
    families: &[&VIOLATIONS],
};

fn assess<'r>(report: &'r Report<'_>, class: &Class<'_>) -> Assessment<'r> {
    let response = RESPONSE_STATUSES.label(report.body.text("response-status"));
    let cert = CERT_STATUSES.label(report.body.text("cert-status"));
    Assessment {
        severity: if class.noise == Noise::None { Severity::Warn } else { Severity::Info },
        observations: smallvec![Observation::one(&VIOLATIONS, [response, cert])],
    }
}

fn summary(report: &Report<'_>) -> String {
    let body = &report.body;
    let (server, certificate) = (certificate::server(report), certificate::told(report));
    let what = match (body.text("response-status"), body.text("cert-status")) {
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
    use crate::kind::testing::{one, sample};

    #[test]
    fn the_sample_is_told() {
        let told = one(&sample("expect-staple"));
        assert_eq!((told.kind, told.severity), ("expect-staple", "WARN"));
        assert_eq!(
            told.counted,
            [
                "lookout_expect_staple_violations_total{response_status=\"PROVIDED\",cert_status=\"REVOKED\"} 1"
            ]
        );
        assert_eq!(
            told.summary,
            "www.shop.example:443 stapled an OCSP response that calls its certificate REVOKED \
             (issued by CN=Example Issuing CA, expires 2031-05-01T00:00:00Z)"
        );
        assert_eq!(told.attribute("expect_staple.response_status"), Some("PROVIDED"));
        assert_eq!(told.attribute("expect_staple.ocsp_response"), Some("MIIBAQ=="));
        assert_eq!(told.attribute("tls.server.subject"), Some("CN=www.shop.example"));
    }

    #[test]
    fn chromiums_flat_object_is_the_same() {
        for (status, told_as) in [
            ("MISSING", "stapled no OCSP response"),
            ("INVALID_DATE", "stapled a bad OCSP response: INVALID_DATE"),
        ] {
            let told =
                one(&format!(r#"{{"hostname":"shop.example","port":443,"response-status":"{status}"}}"#));
            assert_eq!(told.summary, format!("shop.example:443 {told_as}"));
            assert!(told.counted[0].contains("cert_status=\"none\""));
        }
    }
}
