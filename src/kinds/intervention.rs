//! `intervention`: the browser refused to do what a page asked, for its user's good: a heavy ad
//! unloaded, a blocking event handler overruled.

use smallvec::smallvec;

use crate::kinds::{
    FieldType, ReportKind, deprecation, field, no_more_attributes, nothing_to_upgrade, page_of, source_suffix,
};
use crate::model::{Classification, Evaluation, Family, MetricType, Observation, Report, Severity};

/// `lookout_interventions_total`
pub static INTERVENTIONS: Family = Family {
    name: "lookout_interventions_total",
    help: "Interventions of the browser.",
    metric_type: MetricType::Counter,
    labels: &["site", "id"],
    weight: 1,
};

/// The kind.
pub static KIND: ReportKind = ReportKind {
    name: "intervention",
    event_name: "browser.report.intervention",
    aliases: &[],
    specification: "https://wicg.github.io/intervention-reporting/",
    disposition: None,
    fields: &[
        field("id", &[], FieldType::Token, "intervention.id"),
        field("message", &[], FieldType::Message, "intervention.message"),
        field("sourceFile", &[], FieldType::Url, "code.file.path"),
        field("lineNumber", &[], FieldType::NonZeroInt, "code.line.number"),
        field("columnNumber", &[], FieldType::NonZeroInt, "code.column.number"),
    ],
    upgrade: nothing_to_upgrade,
    evaluate,
    summary,
    attributes: no_more_attributes,
    families: &[&INTERVENTIONS],
};

fn evaluate<'r>(report: &'r Report<'_>, _: &Classification<'_>) -> Evaluation<'r> {
    Evaluation {
        severity: Severity::Info,
        observations: smallvec![Observation::increment(&INTERVENTIONS, [deprecation::id(report)])],
    }
}

/// `browser intervened (PreventDefaultPassive) on https://shop.example/ at …/i.js:12`
fn summary(report: &Report<'_>) -> String {
    let id = report.body.get_str("id").unwrap_or("unnamed");
    format!("browser intervened ({id}) on {}{}", page_of(report), source_suffix(report))
}

#[cfg(test)]
mod tests {
    use crate::kinds::testing::captured;

    #[test]
    fn what_chromium_sends_is_told() {
        let processed = &captured("chromium/837-intervention-passive-POST-intervention")[0];
        assert_eq!((processed.kind, processed.severity), ("intervention", "INFO"));
        assert_eq!(processed.counted, ["lookout_interventions_total{id=\"PreventDefaultPassive\"} 1"]);
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
