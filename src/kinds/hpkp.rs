//! `hpkp`: a server's certificate chain has none of the keys that its site pinned (RFC 7469). No
//! current browser pins, but old ones and other clients still report. Either the pins are wrong, and
//! users are locked out, or their connections are intercepted.

use crate::kinds::support::{
    CERTIFICATE, HOSTNAME, PORT, TRANSPORT, describe_certificate, field, server_name,
};
use crate::model::{Family, FieldType, Report, ReportKind, Severity};

/// One flat object with hyphenated fields, as in the RFC.
pub(super) static KIND: ReportKind = ReportKind {
    name: "hpkp",
    specification: "https://www.rfc-editor.org/rfc/rfc7469#section-3",
    fields: &[
        field("date-time", FieldType::Token, "hpkp.date_time"),
        HOSTNAME,
        PORT,
        field("effective-expiration-date", FieldType::Token, "hpkp.effective_expiration_date"),
        field("include-subdomains", FieldType::Bool, "hpkp.include_subdomains"),
        field("noted-hostname", FieldType::Token, "hpkp.noted_hostname"),
        field("known-pins", FieldType::Any, "hpkp.known_pins"),
        CERTIFICATE,
    ],
    severity: |_| Severity::Error,
    summary,
    families: &[&Family {
        name: "lookout_hpkp_violations_total",
        help: "Key pinning violations.",
        labels: &["site"],
        ..Family::COUNTER
    }],
    ..TRANSPORT
};

fn summary(report: &Report<'_>) -> String {
    let server = server_name(report);
    format!("certificate of {server} matches no pinned key{}", describe_certificate(report))
}

#[cfg(test)]
mod tests {
    use crate::kinds::testing::{DEFAULT, TestContext, envelope, process, process_in, sample};
    use crate::model::Noise;

    #[test]
    fn sample_is_evaluated() {
        let processed = process(&sample("hpkp"));
        assert_eq!((processed.kind, processed.severity), ("hpkp", "ERROR"));
        assert_eq!(processed.counted, ["lookout_hpkp_violations_total{} 1"]);
        assert_eq!(
            processed.summary,
            "certificate of www.shop.example:443 matches no pinned key \
             (issued by CN=Example Issuing CA, expires 2031-05-01T00:00:00Z)"
        );
        for (name, value) in [
            ("url.full", "https://www.shop.example/"),
            ("server.address", "www.shop.example"),
            ("server.port", "443"),
            ("hpkp.date_time", "2014-04-06T13:00:50Z"),
            ("hpkp.effective_expiration_date", "2014-05-01T12:40:50Z"),
            ("hpkp.include_subdomains", "false"),
            ("hpkp.noted_hostname", "shop.example"),
            ("tls.server.subject", "CN=www.shop.example"),
            ("tls.server.issuer", "CN=Example Issuing CA"),
            ("tls.server.not_after", "2031-05-01T00:00:00Z"),
        ] {
            assert_eq!(processed.attribute(name), Some(value), "{name}");
        }
        assert!(
            processed.attribute("hpkp.known_pins").is_some_and(|pins| pins.starts_with("[\"pin-sha256="))
        );
        assert!(!processed.body.to_string().contains("BEGIN CERTIFICATE"));
    }

    #[test]
    fn envelope_of_the_2017_draft_is_the_same_kind() {
        let body =
            r#"{"hostname":"shop.example","port":443,"known-pins":[],"served-certificate-chain":["x"]}"#;
        let processed = process(&envelope("hpkp", body));
        assert_eq!((processed.kind, processed.severity), ("hpkp", "ERROR"));
        assert_eq!(processed.summary, "certificate of shop.example:443 matches no pinned key");
        let noise = TestContext { noise: Noise::Local, ..DEFAULT };
        assert_eq!(process_in(&envelope("hpkp", body), &noise).severity, "INFO");
    }
}
