//! `hpkp`: a server's certificate chain held none of the keys that its site had pinned (RFC 7469).
//! No browser pins any more; old ones and other clients still report. Either the pins are wrong, and
//! users are locked out, or somebody sits between them and the site.

use smallvec::smallvec;

use crate::kinds::support::certificate;
use crate::kinds::{FieldSpec, FieldType, ReportKind, field};
use crate::model::{Classification, Evaluation, Family, MetricType, Noise, Observation, Report, Severity};

/// `lookout_hpkp_violations_total`
pub static VIOLATIONS: Family = Family {
    name: "lookout_hpkp_violations_total",
    help: "Key pinning violations.",
    metric_type: MetricType::Counter,
    labels: &["site"],
    weight: 1,
};

/// The kind. One flat object, its members hyphenated as the RFC spells them.
pub static KIND: ReportKind = ReportKind {
    name: "hpkp",
    event_name: "browser.report.hpkp",
    aliases: &[],
    specification: "https://www.rfc-editor.org/rfc/rfc7469#section-3",
    disposition: None,
    fields: &[
        field("date-time", &[], FieldType::Token, "hpkp.date_time"),
        field("hostname", &[], FieldType::Token, "server.address"),
        field("port", &[], FieldType::NonZeroInt, "server.port"),
        field("effective-expiration-date", &[], FieldType::Token, "hpkp.effective_expiration_date"),
        field("include-subdomains", &[], FieldType::Bool, "hpkp.include_subdomains"),
        field("noted-hostname", &[], FieldType::Token, "hpkp.noted_hostname"),
        field("known-pins", &[], FieldType::Any, "hpkp.known_pins"),
        FieldSpec { name: certificate::FIELD, aliases: &[], field_type: FieldType::Any, attribute: None },
    ],
    upgrade: certificate::upgrade,
    evaluate,
    summary,
    attributes: certificate::attributes,
    families: &[&VIOLATIONS],
};

fn evaluate<'r>(_: &'r Report<'_>, class: &Classification<'_>) -> Evaluation<'r> {
    Evaluation {
        severity: if class.noise == Noise::None { Severity::Error } else { Severity::Info },
        observations: smallvec![Observation::increment(&VIOLATIONS, [])],
    }
}

fn summary(report: &Report<'_>) -> String {
    let (server, certificate) = (certificate::server(report), certificate::describe(report));
    format!("certificate of {server} matches no pinned key{certificate}")
}

#[cfg(test)]
mod tests {
    use crate::kinds::testing::{DEFAULT, TestContext, envelope, process, process_in, sample};
    use crate::model::Noise;

    #[test]
    fn the_sample_is_told() {
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
    fn a_generic_envelope_of_2017_is_the_same_kind() {
        let body =
            r#"{"hostname":"shop.example","port":443,"known-pins":[],"served-certificate-chain":["x"]}"#;
        let processed = process(&envelope("hpkp", body));
        assert_eq!((processed.kind, processed.severity), ("hpkp", "ERROR"));
        assert_eq!(processed.summary, "certificate of shop.example:443 matches no pinned key");
        let noise = TestContext { noise: Noise::Local, ..DEFAULT };
        assert_eq!(process_in(&envelope("hpkp", body), &noise).severity, "INFO");
    }
}
