//! `csp-hash`: which scripts a page really loads. A policy asks for it with `'report-sha256'` and its
//! siblings, usually to draw up an integrity or hash list; nothing was blocked and nothing is wrong.

use smallvec::smallvec;

use crate::kind::{Holds, Kind, member, no_more_attributes, nothing_to_mend, page, vocabulary};
use crate::metric::{Family, Measure, Observation};
use crate::report::{Assessment, Class, Report, Severity};

/// `lookout_csp_hashes_total`
pub static HASHES: Family = Family {
    name: "lookout_csp_hashes_total",
    help: "Script hashes that policies asked for.",
    measure: Measure::Count,
    labels: &["site", "destination"],
    weight: 1,
};

/// The kind. The specification's example spells the members in snake case, engines in camel case.
pub static KIND: Kind = Kind {
    token: "csp-hash",
    event_name: "browser.report.csp_hash",
    also: &[],
    specification: "https://w3c.github.io/webappsec-csp/#report-hash",
    disposition: None,
    members: &[
        member("documentURL", &["document_url"], Holds::PageUrl, "csp_hash.document_url"),
        member("subresourceURL", &["subresource_url"], Holds::Url, "csp_hash.subresource_url"),
        member("hash", &[], Holds::Token, "csp_hash.hash"),
        member("type", &[], Holds::Token, "csp_hash.type"),
        member("destination", &[], Holds::Token, "csp_hash.destination"),
    ],
    mend: nothing_to_mend,
    assess,
    summary,
    attributes: no_more_attributes,
    families: &[&HASHES],
};

fn assess<'r>(report: &'r Report<'_>, _: &Class<'_>) -> Assessment<'r> {
    let destination = vocabulary::DESTINATIONS.label(report.body.text("destination"));
    Assessment { severity: Severity::Info, observations: smallvec![Observation::one(&HASHES, [destination])] }
}

/// Engines leave the hash empty for what another origin sent without CORS.
fn summary(report: &Report<'_>) -> String {
    let body = &report.body;
    let what = body.text("destination").unwrap_or("resource");
    let url = body.text("subresourceURL").unwrap_or("of unnamed origin");
    let hash = body.text("hash").unwrap_or("not told");
    format!("hash of {what} {url} on {} is {hash}", page(report))
}

#[cfg(test)]
mod tests {
    use crate::kind::testing::{captured, envelope, one};

    #[test]
    fn camel_and_snake_case_are_the_same() {
        let camel = r#"{"documentURL":"https://shop.example/cart",
            "subresourceURL":"https://shop.example/m.js?v=1",
            "hash":"sha256-AAAA","type":"subresource","destination":"script"}"#;
        let snake = camel.replace("documentURL", "document_url").replace("subresourceURL", "subresource_url");
        for body in [camel, &snake] {
            let told = one(&envelope("csp-hash", body));
            assert_eq!((told.kind, told.severity), ("csp-hash", "INFO"));
            assert_eq!(told.counted, ["lookout_csp_hashes_total{destination=\"script\"} 1"]);
            assert_eq!(
                told.summary,
                "hash of script https://shop.example/m.js on https://shop.example/cart is sha256-AAAA"
            );
            assert_eq!(told.attribute("csp_hash.subresource_url"), Some("https://shop.example/m.js"));
            assert_eq!(told.attribute("csp_hash.hash"), Some("sha256-AAAA"));
            assert_eq!(told.body["documentURL"], "https://shop.example/cart");
        }
    }

    #[test]
    fn a_hash_may_be_kept_back() {
        let all = captured("chromium/500-csp-hash-sha256-to-POST-csp-hash-x3");
        assert_eq!(all.len(), 3);
        assert!(all.iter().any(|told| told.summary.ends_with("is not told")));
        assert!(all.iter().any(|told| told.attribute("csp_hash.hash").is_none()));
    }
}
