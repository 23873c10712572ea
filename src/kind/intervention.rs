//! `intervention`: the browser refused to do what a page asked, for its user's good: a heavy ad
//! unloaded, a blocking event handler overruled.

use smallvec::smallvec;

use crate::kind::{Holds, Kind, deprecation, member, no_more_attributes, nothing_to_mend, page, source};
use crate::metric::{Family, Measure, Observation};
use crate::report::{Assessment, Class, Report, Severity};

/// `lookout_interventions_total`
pub static INTERVENTIONS: Family = Family {
    name: "lookout_interventions_total",
    help: "Interventions of the browser.",
    measure: Measure::Count,
    labels: &["site", "id"],
    weight: 1,
};

/// The kind.
pub static KIND: Kind = Kind {
    token: "intervention",
    event_name: "browser.report.intervention",
    also: &[],
    specification: "https://wicg.github.io/intervention-reporting/",
    disposition: None,
    members: &[
        member("id", &[], Holds::Token, "intervention.id"),
        member("message", &[], Holds::Message, "intervention.message"),
        member("sourceFile", &[], Holds::Url, "code.file.path"),
        member("lineNumber", &[], Holds::Position, "code.line.number"),
        member("columnNumber", &[], Holds::Position, "code.column.number"),
    ],
    mend: nothing_to_mend,
    assess,
    summary,
    attributes: no_more_attributes,
    families: &[&INTERVENTIONS],
};

fn assess<'r>(report: &'r Report<'_>, _: &Class<'_>) -> Assessment<'r> {
    Assessment {
        severity: Severity::Info,
        observations: smallvec![Observation::one(&INTERVENTIONS, [deprecation::id(report)])],
    }
}

/// `browser intervened (PreventDefaultPassive) on https://shop.example/ at …/i.js:12`
fn summary(report: &Report<'_>) -> String {
    let id = report.body.text("id").unwrap_or("unnamed");
    format!("browser intervened ({id}) on {}{}", page(report), source(report))
}

#[cfg(test)]
mod tests {
    use crate::kind::testing::captured;

    #[test]
    fn what_chromium_sends_is_told() {
        let told = &captured("chromium/837-intervention-passive-POST-intervention")[0];
        assert_eq!((told.kind, told.severity), ("intervention", "INFO"));
        assert_eq!(told.counted, ["lookout_interventions_total{id=\"PreventDefaultPassive\"} 1"]);
        let page = "https://site.test/p/intervention-passive/index.html";
        assert_eq!(told.summary, format!("browser intervened (PreventDefaultPassive) on {page} at {page}:1"));
        assert_eq!(told.attribute("intervention.id"), Some("PreventDefaultPassive"));
        assert_eq!(told.attribute("code.column.number"), Some("215"));
        assert!(told.attribute("intervention.message").is_some_and(|text| text.starts_with("Unable to")));
    }
}
