//! `crash`: a page's process crashed, or the browser killed it. The user saw a dead tab.

use opentelemetry_semantic_conventions::attribute::{ERROR_TYPE, EXCEPTION_STACKTRACE};

use crate::kinds::support::{NOISE, derived, field, one_of, page_of};
use crate::model::{
    Attribute, AttributeSink, Family, FieldType, LabelValues, Object, Report, ReportKind, Severity, Value,
    What,
};

/// Reasons; a plain crash has none.
static REASONS: LabelValues = LabelValues(&["oom", "unresponsive"]);
static VISIBILITIES: LabelValues = LabelValues(&["visible", "hidden"]);

pub(super) static KIND: ReportKind = ReportKind {
    name: "crash",
    specification: "https://wicg.github.io/crash-reporting/",
    fields: &[
        field("reason", FieldType::Token, "crash.reason"),
        field("stack", FieldType::Stack, EXCEPTION_STACKTRACE),
        field("is_top_level", FieldType::Bool, "crash.is_top_level"),
        field("visibility_state", FieldType::Token, "crash.visibility_state"),
        field("crash_report_api", FieldType::Any, "crash.crash_report_api"),
    ],
    identity: &["reason"],
    severity: |_| Severity::Error,
    what: |_, _| What::Crash,
    upgrade,
    summary,
    attributes,
    derived_attributes: &[derived(ERROR_TYPE, FieldType::Token, "`reason`")],
    families: &[&Family {
        name: "lookout_crashes_total",
        help: "Crashes of pages.",
        labels: &["site", "reason", "visibility", "noise"],
        ..Family::COUNTER
    }],
    labels: &[one_of("reason", &REASONS), one_of("visibility_state", &VISIBILITIES), NOISE],
    ..ReportKind::DEFAULT
};

/// Removes the empty `crash_report_api` that Chromium sends if the page set nothing.
fn upgrade(body: &mut Object<'_>) {
    const CRASH_REPORT_API: &str = "crash_report_api";
    if matches!(body.get(CRASH_REPORT_API), Some(Value::Object(own)) if own.0.is_empty()) {
        body.remove(CRASH_REPORT_API);
    }
}

/// `visible page crashed, out of memory: https://shop.example/`
fn summary(report: &Report<'_>) -> String {
    let body = &report.body;
    let visibility = body.get_str("visibility_state").map(|state| format!("{state} ")).unwrap_or_default();
    let what = if body.get("is_top_level") == Some(&Value::Bool(false)) { "frame" } else { "page" };
    let how = match body.get_str("reason") {
        None => "crashed".to_owned(),
        Some("oom") => "crashed, out of memory".to_owned(),
        Some("unresponsive") => "was killed, unresponsive".to_owned(),
        Some(other) => format!("crashed, {other}"),
    };
    format!("{visibility}{what} {how}: {}", page_of(report))
}

fn attributes(report: &Report<'_>, emit: AttributeSink<'_>) {
    if let Some(reason) = report.body.get_str("reason") {
        emit(ERROR_TYPE, Attribute::Text(reason));
    }
}

#[cfg(test)]
mod tests {
    use crate::kinds::testing::{DEFAULT, TestContext, captured, envelope, process, process_in};
    use crate::model::Noise;

    #[test]
    fn plain_crash_has_no_reason() {
        let processed = &captured("chromium/643-crash-sigsegv-POST-crash")[0];
        assert_eq!((processed.kind, processed.severity), ("crash", "ERROR"));
        assert_eq!(
            processed.counted,
            ["lookout_crashes_total{reason=\"none\",visibility=\"visible\",noise=\"none\"} 1"]
        );
        assert_eq!(
            processed.summary,
            "visible page crashed: https://crash1.site.test/p/crash-sigsegv/index.html"
        );
        assert_eq!(processed.attribute("error.type"), None);
        assert_eq!(processed.attribute("crash.crash_report_api"), None);
        assert_eq!(processed.attribute("crash.is_top_level"), Some("true"));
    }

    #[test]
    fn crash_out_of_memory_has_reason_oom() {
        let processed = &captured("chromium/647-crash-oom-POST-crash")[0];
        assert_eq!(
            processed.counted,
            ["lookout_crashes_total{reason=\"oom\",visibility=\"visible\",noise=\"none\"} 1"]
        );
        assert!(processed.summary.starts_with("visible page crashed, out of memory: https://"));
        assert_eq!(processed.attribute("error.type"), Some("oom"));
        assert_eq!(processed.attribute("crash.reason"), Some("oom"));
    }

    #[test]
    fn crash_of_an_unresponsive_frame_has_a_stack() {
        let body = r#"{"reason":"unresponsive","stack":"\n    at spin (https://shop.example/a.js?k=1:3:5)",
            "is_top_level":false,"visibility_state":"hidden","crash_report_api":{"cart":"3"}}"#;
        let processed = process(&envelope("crash", body));
        assert_eq!(processed.summary, "hidden frame was killed, unresponsive: https://shop.example/cart");
        assert_eq!(
            processed.counted,
            ["lookout_crashes_total{reason=\"unresponsive\",visibility=\"hidden\",noise=\"none\"} 1"]
        );
        let stack = processed.attribute("exception.stacktrace").unwrap();
        assert!(stack.contains("at spin (https://shop.example/a.js") && !stack.contains("k=1"), "{stack}");
        assert_eq!(processed.attribute("crash.crash_report_api"), Some(r#"{"cart":"3"}"#));
        let noise = TestContext { noise: Noise::Bot, ..DEFAULT };
        assert_eq!(process_in(&envelope("crash", body), &noise).severity, "INFO");
    }
}
