//! `deprecation`: a page uses a feature that browsers will remove. Nothing is broken yet.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::kinds::support::{COLUMN_NUMBER, LINE_NUMBER, NOISE, SOURCE_FILE, field, page_of, source_suffix};
use crate::model::{Family, FieldType, Label, LabelSource, OTHER, Object, Report, ReportKind, Value};

/// `anticipatedRemoval` is Unix milliseconds in Chromium, a date in the specification and WebKit, absent in Firefox.
pub(super) static KIND: ReportKind = ReportKind {
    name: "deprecation",
    specification: "https://wicg.github.io/deprecation-reporting/",
    fields: &[
        field("id", FieldType::Token, "deprecation.id"),
        field("anticipatedRemoval", FieldType::Token, "deprecation.anticipated_removal"),
        field("message", FieldType::Message, "deprecation.message"),
        SOURCE_FILE,
        LINE_NUMBER,
        COLUMN_NUMBER,
    ],
    identity: &["id", "sourceFile"],
    upgrade,
    summary,
    families: &[&Family {
        name: "lookout_deprecations_total",
        help: "Uses of deprecated features.",
        labels: &["site", "id", "noise"],
        unbounded: &["id"],
        weight: 2,
        ..Family::COUNTER
    }],
    labels: &[LabelSource::By(id), NOISE],
    ..ReportKind::DEFAULT
};

/// Converts the removal date to RFC 3339. Text that cannot be parsed is kept.
fn upgrade(body: &mut Object<'_>) {
    const FIELD: &str = "anticipatedRemoval";
    let removal = [FIELD, "anticipated_removal"].into_iter().find_map(|name| body.remove(name));
    let Some(removal) = removal else { return };
    let removal = match parse_removal_date(&removal) {
        Some(time) => Value::String(Cow::Owned(time.to_string())),
        // 0 means "unknown", and so does a number outside the range of time.
        None if removal.as_f64().is_some() => return,
        None => removal,
    };
    body.0.push((Cow::Borrowed(FIELD), removal));
}

fn parse_removal_date(removal: &Value<'_>) -> Option<Timestamp> {
    if let Some(milliseconds) = removal.as_f64() {
        // The cast saturates, and a saturated number is out of range.
        return Timestamp::from_millisecond(milliseconds as i64).ok().filter(|_| milliseconds > 0.0);
    }
    let text = removal.as_str()?;
    let midnight = |date: Date| Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp());
    text.parse().ok().or_else(|| midnight(text.parse().ok()?))
}

/// Returns the label `id`: unbounded, because every release of a browser has new ones, but only for identifiers.
pub(super) fn id<'r>(report: &'r Report<'_>) -> Label<'r> {
    let Some(id) = report.body.get_str("id") else { return Label::bounded("none") };
    let is_identifier_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if id.len() <= 100 && id.bytes().all(is_identifier_byte) { Label::unbounded(id) } else { OTHER }
}

/// `deprecated UnloadHandler used on https://shop.example/ at …/i.js:12, to be removed 2026-01-01T00:00:00Z`
fn summary(report: &Report<'_>) -> String {
    let id = report.body.get_str("id").unwrap_or("feature of unnamed id");
    let mut line = format!("deprecated {id} used on {}{}", page_of(report), source_suffix(report));
    if let Some(removal) = report.body.get_str("anticipatedRemoval") {
        line += &format!(", to be removed {removal}");
    }
    line
}

#[cfg(test)]
mod tests {
    use crate::kinds::testing::{captured, envelope, process};

    #[test]
    fn removal_date_of_each_engine_becomes_rfc_3339() {
        let removal = |value: &str| {
            let processed =
                process(&envelope("deprecation", &format!(r#"{{"id":"x","anticipatedRemoval":{value}}}"#)));
            processed.attribute("deprecation.anticipated_removal").map(str::to_owned)
        };
        for value in [
            "1767225600000",
            "1767225600000.0",
            "\"1767225600000\"",
            "\"2026-01-01\"",
            "\"2026-01-01T00:00:00.000Z\"",
            "\"2026-01-01T01:00:00+01:00\"",
        ] {
            assert_eq!(removal(value).as_deref(), Some("2026-01-01T00:00:00Z"), "{value}");
        }
        let snake_case = process(&envelope("deprecation", r#"{"anticipated_removal":1767225600000}"#));
        assert_eq!(snake_case.attribute("deprecation.anticipated_removal"), Some("2026-01-01T00:00:00Z"));
        for unknown in ["null", "0", "\"\"", "-1", "1e300"] {
            assert_eq!(removal(unknown), None, "{unknown}");
        }
        assert_eq!(removal("\"soon\"").as_deref(), Some("soon"));
    }

    #[test]
    fn reports_of_two_engines_are_evaluated() {
        let chromium = &captured("chromium/522-deprecation-frame-POST-deprecation")[0];
        assert_eq!((chromium.kind, chromium.severity), ("deprecation", "INFO"));
        let counted = "lookout_deprecations_total{id=\"CrossOriginWindowAlert\",noise=\"none\"} 1";
        assert_eq!(chromium.counted, [counted]);
        assert_eq!(
            chromium.summary,
            "deprecated CrossOriginWindowAlert used on https://frames.test/p/deprecation-frame/child.html \
             at https://frames.test/p/deprecation-frame/child.html:1"
        );
        let firefox = captured("firefox/625-ff-deprecation-POST-deprecation-x17");
        assert_eq!(firefox.len(), 17);
        assert!(
            firefox
                .iter()
                .any(|processed| processed.attribute("deprecation.id") == Some("ElementSetCapture"))
        );
    }

    #[test]
    fn id_that_is_no_identifier_is_other() {
        for (id, label) in
            [("\"Fledge\"", "Fledge"), ("\"a b\"", "other"), ("null", "none"), ("\"{}\"", "other")]
        {
            let processed = process(&envelope("deprecation", &format!("{{\"id\":{id}}}")));
            assert_eq!(
                processed.counted,
                [format!("lookout_deprecations_total{{id=\"{label}\",noise=\"none\"}} 1")]
            );
        }
        let long = format!("{{\"id\":\"{}\"}}", "a".repeat(101));
        assert!(process(&envelope("deprecation", &long)).counted[0].contains("id=\"other\""));
    }
}
