//! `deprecation`: a page uses something that browsers will take away. Nothing is broken yet.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use smallvec::smallvec;

use crate::kind::{Holds, Kind, member, no_more_attributes, page, source};
use crate::metric::{Family, Label, Measure, OTHER, Observation};
use crate::report::{Assessment, Class, Report, Severity};
use crate::value::{Object, Value};

/// `lookout_deprecations_total`
pub static DEPRECATIONS: Family = Family {
    name: "lookout_deprecations_total",
    help: "Uses of deprecated features.",
    measure: Measure::Count,
    labels: &["site", "id"],
    weight: 2,
};

/// The kind. `anticipatedRemoval` is milliseconds since 1970 in Chromium, a date in the specification
/// and in WebKit, and absent in Firefox.
pub static KIND: Kind = Kind {
    token: "deprecation",
    event_name: "browser.report.deprecation",
    also: &[],
    specification: "https://wicg.github.io/deprecation-reporting/",
    disposition: None,
    members: &[
        member("id", &[], Holds::Token, "deprecation.id"),
        member("anticipatedRemoval", &[], Holds::Token, "deprecation.anticipated_removal"),
        member("message", &[], Holds::Message, "deprecation.message"),
        member("sourceFile", &[], Holds::Url, "code.file.path"),
        member("lineNumber", &[], Holds::Position, "code.line.number"),
        member("columnNumber", &[], Holds::Position, "code.column.number"),
    ],
    mend,
    assess,
    summary,
    attributes: no_more_attributes,
    families: &[&DEPRECATIONS],
};

/// Whatever says when the feature goes becomes RFC 3339 text. What cannot be read stays as it is.
fn mend(body: &mut Object<'_>) {
    const MEMBER: &str = "anticipatedRemoval";
    let Some(removal) = body.take(MEMBER) else { return };
    let removal = match moment(&removal) {
        Some(moment) => Value::String(Cow::Owned(moment.to_string())),
        // 0 is the same unknown as null, and so is a number that is no moment.
        None if removal.as_number().is_some() => return,
        None => removal,
    };
    body.0.push((Cow::Borrowed(MEMBER), removal));
}

fn moment(removal: &Value<'_>) -> Option<Timestamp> {
    if let Some(milliseconds) = removal.as_number() {
        // The cast saturates, and what is out of range is no moment.
        return Timestamp::from_millisecond(milliseconds as i64).ok().filter(|_| milliseconds > 0.0);
    }
    let text = removal.as_str()?;
    let midnight = |date: Date| Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp());
    text.parse().ok().or_else(|| midnight(text.parse().ok()?))
}

/// The label `id`: open, since each release of a browser knows others, but never anything that is not
/// shaped like an identifier.
pub(super) fn id<'r>(report: &'r Report<'_>) -> Label<'r> {
    let Some(id) = report.body.text("id") else { return Label::closed("none") };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if id.len() <= 100 && id.bytes().all(plain) { Label::open(id) } else { OTHER }
}

fn assess<'r>(report: &'r Report<'_>, _: &Class<'_>) -> Assessment<'r> {
    Assessment {
        severity: Severity::Info,
        observations: smallvec![Observation::one(&DEPRECATIONS, [id(report)])],
    }
}

/// `deprecated UnloadHandler used on https://shop.example/ at …/i.js:12, to be removed 2026-01-01T00:00:00Z`
fn summary(report: &Report<'_>) -> String {
    let id = report.body.text("id").unwrap_or("feature of unnamed id");
    let mut line = format!("deprecated {id} used on {}{}", page(report), source(report));
    if let Some(removal) = report.body.text("anticipatedRemoval") {
        line += &format!(", to be removed {removal}");
    }
    line
}

#[cfg(test)]
mod tests {
    use crate::kind::testing::{captured, envelope, one};

    #[test]
    fn each_engines_date_is_rfc_3339() {
        let removal = |value: &str| {
            let told =
                one(&envelope("deprecation", &format!(r#"{{"id":"x","anticipatedRemoval":{value}}}"#)));
            told.attribute("deprecation.anticipated_removal").map(str::to_owned)
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
        for unknown in ["null", "0", "\"\"", "-1", "1e300"] {
            assert_eq!(removal(unknown), None, "{unknown}");
        }
        assert_eq!(removal("\"soon\"").as_deref(), Some("soon"));
    }

    #[test]
    fn captures_of_two_engines_are_told() {
        let chromium = &captured("chromium/522-deprecation-frame-POST-deprecation")[0];
        assert_eq!((chromium.kind, chromium.severity), ("deprecation", "INFO"));
        assert_eq!(chromium.counted, ["lookout_deprecations_total{id=\"CrossOriginWindowAlert\"} 1"]);
        assert_eq!(
            chromium.summary,
            "deprecated CrossOriginWindowAlert used on https://frames.test/p/deprecation-frame/child.html \
             at https://frames.test/p/deprecation-frame/child.html:1"
        );
        let firefox = captured("firefox/625-ff-deprecation-POST-deprecation-x17");
        assert_eq!(firefox.len(), 17);
        assert!(firefox.iter().any(|told| told.attribute("deprecation.id") == Some("ElementSetCapture")));
    }

    #[test]
    fn only_an_identifier_is_a_label() {
        for (id, label) in
            [("\"Fledge\"", "Fledge"), ("\"a b\"", "other"), ("null", "none"), ("\"{}\"", "other")]
        {
            let told = one(&envelope("deprecation", &format!("{{\"id\":{id}}}")));
            assert_eq!(told.counted, [format!("lookout_deprecations_total{{id=\"{label}\"}} 1")]);
        }
        let long = format!("{{\"id\":\"{}\"}}", "a".repeat(101));
        assert!(one(&envelope("deprecation", &long)).counted[0].contains("id=\"other\""));
    }
}
