//! `waict-violation`: a page under Web Application Integrity, Consistency and Transparency loads something that its
//! manifest does not contain, or the manifest itself cannot be used. Experimental: no browser sends it by default.

use crate::kinds::support::{
    DISPOSITION, NOISE, REPORT_ONLY, blocked_request_summary, disposition_to_flag, field, one_of,
};
use crate::model::{Family, FieldType, LabelValues, Report, ReportKind};

/// <https://github.com/waict-wg/waict-integrity-spec>
#[rustfmt::skip]
static REASONS: LabelValues = LabelValues(&[
    "manifest_unavailable", "invalid_manifest", "invalid_transparency_proof", "missing_from_manifest",
    "no_manifest_match", "wasm_hash_mismatch", "inline_violation",
]);

pub(super) static KIND: ReportKind = ReportKind {
    name: "waict-violation",
    specification: "https://github.com/waict-wg/waict-integrity-spec",
    disposition: Some(REPORT_ONLY),
    fields: &[
        field("documentURL", FieldType::PageUrl, "waict.document_url").aliases(&["documentURI"]),
        field("blockedURL", FieldType::Url, "waict.blocked_url"),
        field("destination", FieldType::Token, "waict.destination"),
        field(REPORT_ONLY, FieldType::Bool, "waict.report_only"),
        field("reason", FieldType::Token, "waict.reason"),
    ],
    identity: &["reason", "destination", "blockedURL"],
    upgrade: disposition_to_flag,
    summary,
    families: &[&Family {
        name: "lookout_waict_violations_total",
        help: "Violations of web application integrity (WAICT).",
        labels: &["site", "disposition", "reason", "noise"],
        ..Family::COUNTER
    }],
    labels: &[DISPOSITION, one_of("reason", &REASONS), NOISE],
    ..ReportKind::DEFAULT
};

/// `enforced WAICT blocked script https://cdn.example/x.js on https://shop.example/: no_manifest_match`
fn summary(report: &Report<'_>) -> String {
    let reason = report.body.get_str("reason").unwrap_or("for an unnamed reason");
    format!("{}: {reason}", blocked_request_summary(report, "WAICT"))
}

#[cfg(test)]
mod tests {
    use crate::kinds::testing::{DEFAULT, TestContext, envelope, process, process_in};
    use crate::model::Noise;

    #[test]
    fn reasons_of_the_specification_are_labels() {
        for (reason, label) in [
            ("\"manifest_unavailable\"", "manifest_unavailable"),
            ("\"invalid_manifest\"", "invalid_manifest"),
            ("\"invalid_transparency_proof\"", "invalid_transparency_proof"),
            ("\"missing_from_manifest\"", "missing_from_manifest"),
            ("\"no_manifest_match\"", "no_manifest_match"),
            ("\"wasm_hash_mismatch\"", "wasm_hash_mismatch"),
            ("\"inline_violation\"", "inline_violation"),
            ("\"untrusted\"", "other"),
            ("null", "none"),
        ] {
            let body = format!(r#"{{"reportOnly":true,"reason":{reason}}}"#);
            let processed = process(&envelope("waict-violation", &body));
            assert_eq!((processed.kind, processed.severity), ("waict-violation", "WARN"));
            let counted = format!(
                "lookout_waict_violations_total{{disposition=\"report\",reason=\"{label}\",noise=\"none\"}} 1"
            );
            assert_eq!(processed.counted, [counted]);
        }
    }

    #[test]
    fn enforced_violation_is_an_error_unless_it_is_noise() {
        let body = r#"{"documentURL":"https://shop.example/cart","blockedURL":"https://cdn.example/x.js?v=1",
            "destination":"script","reportOnly":false,"reason":"no_manifest_match"}"#;
        let processed = process(&envelope("waict-violation", body));
        assert_eq!(processed.severity, "ERROR");
        assert_eq!(
            processed.summary,
            "enforced WAICT blocked script https://cdn.example/x.js on https://shop.example/cart: \
             no_manifest_match"
        );
        assert_eq!(processed.attribute("waict.blocked_url"), Some("https://cdn.example/x.js"));
        assert_eq!(processed.attribute("waict.report_only"), Some("false"));
        let noise = TestContext { noise: Noise::Extension, ..DEFAULT };
        let processed = process_in(&envelope("waict-violation", body), &noise);
        assert_eq!(processed.severity, "INFO");
        assert!(processed.counted[0].contains("noise=\"extension\""), "{processed:?}");
    }
}
