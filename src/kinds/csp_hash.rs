//! `csp-hash`: the hash of a script that a page loaded. A policy requests it with `'report-sha256'` and
//! its siblings, usually to compile a list of integrity hashes; nothing was blocked.

use crate::kinds::support::{DESTINATIONS, NOISE, PAGE, field, one_of, page_of};
use crate::model::{Family, FieldType, Report, ReportKind};

pub(super) static KIND: ReportKind = ReportKind {
    name: "csp-hash",
    specification: "https://w3c.github.io/webappsec-csp/#report-hash",
    fields: &[
        field("documentURL", FieldType::PageUrl, "csp_hash.document_url"),
        field("subresourceURL", FieldType::Url, "csp_hash.subresource_url"),
        field("hash", FieldType::Token, "csp_hash.hash"),
        field("type", FieldType::Token, "csp_hash.type"),
        field("destination", FieldType::Token, "csp_hash.destination"),
    ],
    identity: &["destination", "subresourceURL"],
    summary,
    families: &[&Family {
        name: "lookout_csp_hashes_total",
        help: "Script hashes that policies asked for.",
        labels: &["site", "destination", "noise", "page"],
        ..Family::COUNTER
    }],
    labels: &[one_of("destination", &DESTINATIONS), NOISE, PAGE],
    ..ReportKind::DEFAULT
};

/// `hash of script https://shop.example/m.js on https://shop.example/cart is sha256-AAAA`. Engines
/// leave the hash empty for a response of another origin without CORS.
fn summary(report: &Report<'_>) -> String {
    let body = &report.body;
    let what = body.get_str("destination").unwrap_or("resource");
    let url = body.get_str("subresourceURL").unwrap_or("of unnamed origin");
    let hash = body.get_str("hash").unwrap_or("not told");
    format!("hash of {what} {url} on {} is {hash}", page_of(report))
}

#[cfg(test)]
mod tests {
    use crate::kinds::testing::{captured, envelope, process};

    #[test]
    fn fields_in_camel_and_snake_case_are_equal() {
        let camel = r#"{"documentURL":"https://shop.example/cart",
            "subresourceURL":"https://shop.example/m.js?v=1",
            "hash":"sha256-AAAA","type":"subresource","destination":"script"}"#;
        let snake = camel.replace("documentURL", "document_url").replace("subresourceURL", "subresource_url");
        for body in [camel, &snake] {
            let processed = process(&envelope("csp-hash", body));
            assert_eq!((processed.kind, processed.severity), ("csp-hash", "INFO"));
            assert_eq!(
                processed.counted,
                ["lookout_csp_hashes_total{destination=\"script\",noise=\"none\"} 1"]
            );
            assert_eq!(
                processed.summary,
                "hash of script https://shop.example/m.js on https://shop.example/cart is sha256-AAAA"
            );
            assert_eq!(processed.attribute("csp_hash.subresource_url"), Some("https://shop.example/m.js"));
            assert_eq!(processed.attribute("csp_hash.hash"), Some("sha256-AAAA"));
            assert_eq!(processed.body["documentURL"], "https://shop.example/cart");
        }
    }

    #[test]
    fn summary_without_a_hash_says_so() {
        let all = captured("chromium/500-csp-hash-sha256-to-POST-csp-hash-x3");
        assert_eq!(all.len(), 3);
        assert!(all.iter().any(|processed| processed.summary.ends_with("is not told")));
        assert!(all.iter().any(|processed| processed.attribute("csp_hash.hash").is_none()));
    }
}
