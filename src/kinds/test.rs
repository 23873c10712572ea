//! `test`: a report that a test tool has the browser generate, so that the way of reports can be checked.

use crate::kinds::support::{field, page_of};
use crate::model::{FieldType, Report, ReportKind};

pub(super) static KIND: ReportKind = ReportKind {
    name: "test",
    specification: "https://w3c.github.io/reporting/#generate-test-report-command",
    fields: &[field("message", FieldType::Message, "test.message")],
    summary,
    ..ReportKind::DEFAULT
};

/// `test report of https://shop.example/: hello`
fn summary(report: &Report<'_>) -> String {
    let message = report.body.get_str("message").unwrap_or("without a message");
    format!("test report of {}: {message}", page_of(report))
}

#[cfg(test)]
mod tests {
    use crate::kinds::testing::{envelope, process};

    #[test]
    fn generated_report_is_information() {
        let processed = process(&envelope("test", r#"{"message":"hello"}"#));
        assert_eq!((processed.kind, processed.severity), ("test", "INFO"));
        assert_eq!(processed.counted, [""; 0]);
        assert_eq!(processed.summary, "test report of https://shop.example/cart: hello");
        assert_eq!(processed.attribute("test.message"), Some("hello"));
    }
}
