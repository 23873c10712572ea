//! `hpkp`: a server's certificate chain held none of the keys that its site had pinned (RFC 7469).
//! No browser pins any more; old ones and other clients still report. Either the pins are wrong, and
//! users are locked out, or somebody sits between them and the site.

use smallvec::smallvec;

use crate::kind::{Holds, Kind, Member, certificate, member};
use crate::metric::{Family, Measure, Observation};
use crate::report::{Assessment, Class, Noise, Report, Severity};

/// `lookout_hpkp_violations_total`
pub static VIOLATIONS: Family = Family {
    name: "lookout_hpkp_violations_total",
    help: "Key pinning violations.",
    measure: Measure::Count,
    labels: &["site"],
    weight: 1,
};

/// The kind. One flat object, its members hyphenated as the RFC spells them.
pub static KIND: Kind = Kind {
    token: "hpkp",
    event_name: "browser.report.hpkp",
    also: &[],
    specification: "https://www.rfc-editor.org/rfc/rfc7469#section-3",
    disposition: None,
    members: &[
        member("date-time", &[], Holds::Token, "hpkp.date_time"),
        member("hostname", &[], Holds::Token, "server.address"),
        member("port", &[], Holds::Position, "server.port"),
        member("effective-expiration-date", &[], Holds::Token, "hpkp.effective_expiration_date"),
        member("include-subdomains", &[], Holds::Flag, "hpkp.include_subdomains"),
        member("noted-hostname", &[], Holds::Token, "hpkp.noted_hostname"),
        member("known-pins", &[], Holds::Anything, "hpkp.known_pins"),
        Member { name: certificate::MEMBER, also: &[], holds: Holds::Anything, attribute: None },
    ],
    mend: certificate::mend,
    assess,
    summary,
    attributes: certificate::attributes,
    families: &[&VIOLATIONS],
};

fn assess<'r>(_: &'r Report<'_>, class: &Class<'_>) -> Assessment<'r> {
    Assessment {
        severity: if class.noise == Noise::None { Severity::Error } else { Severity::Info },
        observations: smallvec![Observation::one(&VIOLATIONS, [])],
    }
}

fn summary(report: &Report<'_>) -> String {
    let (server, certificate) = (certificate::server(report), certificate::told(report));
    format!("certificate of {server} matches no pinned key{certificate}")
}

#[cfg(test)]
mod tests {
    use crate::kind::testing::{Given, PLAIN, envelope, one, one_given, sample};
    use crate::report::Noise;

    #[test]
    fn the_sample_is_told() {
        let told = one(&sample("hpkp"));
        assert_eq!((told.kind, told.severity), ("hpkp", "ERROR"));
        assert_eq!(told.counted, ["lookout_hpkp_violations_total{} 1"]);
        assert_eq!(
            told.summary,
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
            assert_eq!(told.attribute(name), Some(value), "{name}");
        }
        assert!(told.attribute("hpkp.known_pins").is_some_and(|pins| pins.starts_with("[\"pin-sha256=")));
        assert!(!told.body.to_string().contains("BEGIN CERTIFICATE"));
    }

    #[test]
    fn a_generic_envelope_of_2017_is_the_same_kind() {
        let body =
            r#"{"hostname":"shop.example","port":443,"known-pins":[],"served-certificate-chain":["x"]}"#;
        let told = one(&envelope("hpkp", body));
        assert_eq!((told.kind, told.severity), ("hpkp", "ERROR"));
        assert_eq!(told.summary, "certificate of shop.example:443 matches no pinned key");
        let noise = Given { noise: Noise::Local, ..PLAIN };
        assert_eq!(one_given(&envelope("hpkp", body), &noise).severity, "INFO");
    }
}
