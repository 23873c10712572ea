//! `intervention`: the browser overruled a page: it unloaded a heavy ad, or made an event handler passive.

use crate::kinds::deprecation::id;
use crate::kinds::support::{COLUMN_NUMBER, LINE_NUMBER, NOISE, SOURCE_FILE, field, page_of, source_suffix};
use crate::model::{Family, FieldType, LabelSource, Report, ReportKind};

pub(super) static KIND: ReportKind = ReportKind {
    name: "intervention",
    specification: "https://wicg.github.io/intervention-reporting/",
    fields: &[
        field("id", FieldType::Token, "intervention.id"),
        field("message", FieldType::Message, "intervention.message"),
        SOURCE_FILE,
        LINE_NUMBER,
        COLUMN_NUMBER,
    ],
    identity: &["id", "sourceFile"],
    summary,
    families: &[&Family {
        name: "lookout_interventions_total",
        help: "Interventions of the browser.",
        labels: &["site", "id", "noise"],
        unbounded: &["id"],
        ..Family::COUNTER
    }],
    labels: &[LabelSource::By(id), NOISE],
    ..ReportKind::DEFAULT
};

/// `browser intervened (PreventDefaultPassive) on https://shop.example/ at …/i.js:12`
fn summary(report: &Report<'_>) -> String {
    let id = report.body.get_str("id").unwrap_or("unnamed");
    format!("browser intervened ({id}) on {}{}", page_of(report), source_suffix(report))
}

#[cfg(test)]
mod tests {
    use crate::kinds::testing::captured;

    #[test]
    fn report_of_chromium_is_evaluated() {
        let processed = &captured("chromium/837-intervention-passive-POST-intervention")[0];
        assert_eq!((processed.kind, processed.severity), ("intervention", "INFO"));
        assert_eq!(
            processed.counted,
            ["lookout_interventions_total{id=\"PreventDefaultPassive\",noise=\"none\"} 1"]
        );
        let page = "https://site.test/p/intervention-passive/index.html";
        assert_eq!(
            processed.summary,
            format!("browser intervened (PreventDefaultPassive) on {page} at {page}:1")
        );
        assert_eq!(processed.attribute("intervention.id"), Some("PreventDefaultPassive"));
        assert_eq!(processed.attribute("code.column.number"), Some("215"));
        assert!(
            processed.attribute("intervention.message").is_some_and(|text| text.starts_with("Unable to"))
        );
    }
}
