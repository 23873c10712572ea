//! `crash`: a page's process died, or the browser killed it. What the user saw was a dead tab.

use smallvec::smallvec;

use crate::kind::{GiveAttribute, Holds, Kind, member, page};
use crate::metric::{Family, Measure, Observation, Vocabulary};
use crate::report::{Assessment, Attribute, Class, Noise, Report, Severity};
use crate::value::{Object, Value};

/// `lookout_crashes_total`
pub static CRASHES: Family = Family {
    name: "lookout_crashes_total",
    help: "Crashes of pages.",
    measure: Measure::Count,
    labels: &["site", "reason", "visibility"],
    weight: 1,
};

/// A plain crash gives no reason.
static REASONS: Vocabulary = Vocabulary(&["oom", "unresponsive"]);
static VISIBILITIES: Vocabulary = Vocabulary(&["visible", "hidden"]);

/// The kind. The specification itself spells the members in snake case.
pub static KIND: Kind = Kind {
    token: "crash",
    event_name: "browser.report.crash",
    also: &[],
    specification: "https://wicg.github.io/crash-reporting/",
    disposition: None,
    members: &[
        member("reason", &[], Holds::Token, "crash.reason"),
        member("stack", &[], Holds::Stack, "exception.stacktrace"),
        member("is_top_level", &[], Holds::Flag, "crash.is_top_level"),
        member("visibility_state", &[], Holds::Token, "crash.visibility_state"),
        member("crash_report_api", &[], Holds::Anything, "crash.crash_report_api"),
    ],
    mend,
    assess,
    summary,
    attributes,
    families: &[&CRASHES],
};

/// Chromium sends an empty `crash_report_api` where the page set nothing.
fn mend(body: &mut Object<'_>) {
    const PAGES_OWN: &str = "crash_report_api";
    if matches!(body.get(PAGES_OWN), Some(Value::Object(own)) if own.0.is_empty()) {
        body.take(PAGES_OWN);
    }
}

fn assess<'r>(report: &'r Report<'_>, class: &Class<'_>) -> Assessment<'r> {
    let reason = REASONS.label(report.body.text("reason"));
    let visibility = VISIBILITIES.label(report.body.text("visibility_state"));
    Assessment {
        severity: if class.noise == Noise::None { Severity::Error } else { Severity::Info },
        observations: smallvec![Observation::one(&CRASHES, [reason, visibility])],
    }
}

/// `visible page crashed, out of memory: https://shop.example/`
fn summary(report: &Report<'_>) -> String {
    let body = &report.body;
    let visibility = body.text("visibility_state").map(|state| format!("{state} ")).unwrap_or_default();
    let what = if body.get("is_top_level") == Some(&Value::Bool(false)) { "frame" } else { "page" };
    let how = match body.text("reason") {
        None => "crashed".to_owned(),
        Some("oom") => "crashed, out of memory".to_owned(),
        Some("unresponsive") => "was killed, unresponsive".to_owned(),
        Some(other) => format!("crashed, {other}"),
    };
    format!("{visibility}{what} {how}: {}", page(report))
}

fn attributes(report: &Report<'_>, give: GiveAttribute<'_>) {
    if let Some(reason) = report.body.text("reason") {
        give("error.type", Attribute::Text(reason));
    }
}

#[cfg(test)]
mod tests {
    use crate::kind::testing::{Given, PLAIN, captured, envelope, one, one_given};
    use crate::report::Noise;

    #[test]
    fn a_plain_crash_has_no_reason() {
        let told = &captured("chromium/643-crash-sigsegv-POST-crash")[0];
        assert_eq!((told.kind, told.severity), ("crash", "ERROR"));
        assert_eq!(told.counted, ["lookout_crashes_total{reason=\"none\",visibility=\"visible\"} 1"]);
        assert_eq!(told.summary, "visible page crashed: https://crash1.site.test/p/crash-sigsegv/index.html");
        assert_eq!(told.attribute("error.type"), None);
        assert_eq!(told.attribute("crash.crash_report_api"), None);
        assert_eq!(told.attribute("crash.is_top_level"), Some("true"));
    }

    #[test]
    fn out_of_memory_is_said_so() {
        let told = &captured("chromium/647-crash-oom-POST-crash")[0];
        assert_eq!(told.counted, ["lookout_crashes_total{reason=\"oom\",visibility=\"visible\"} 1"]);
        assert!(told.summary.starts_with("visible page crashed, out of memory: https://"));
        assert_eq!(told.attribute("error.type"), Some("oom"));
        assert_eq!(told.attribute("crash.reason"), Some("oom"));
    }

    #[test]
    fn an_unresponsive_frame_has_a_stack() {
        let body = r#"{"reason":"unresponsive","stack":"\n    at spin (https://shop.example/a.js?k=1:3:5)",
            "is_top_level":false,"visibility_state":"hidden","crash_report_api":{"cart":"3"}}"#;
        let told = one(&envelope("crash", body));
        assert_eq!(told.summary, "hidden frame was killed, unresponsive: https://shop.example/cart");
        assert_eq!(told.counted, ["lookout_crashes_total{reason=\"unresponsive\",visibility=\"hidden\"} 1"]);
        let stack = told.attribute("exception.stacktrace").unwrap();
        assert!(stack.contains("at spin (https://shop.example/a.js") && !stack.contains("k=1"), "{stack}");
        assert_eq!(told.attribute("crash.crash_report_api"), Some(r#"{"cart":"3"}"#));
        let noise = Given { noise: Noise::Bot, ..PLAIN };
        assert_eq!(one_given(&envelope("crash", body), &noise).severity, "INFO");
    }
}
