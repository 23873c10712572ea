//! The list of kinds: what must hold for every kind.

use std::collections::HashSet;

use lookoutd::config;
use lookoutd::decode::decode;
use lookoutd::kinds;
use lookoutd::model::{
    Browser, Classification, FieldType, Label, MAX_LABELS, Noise, Report, ReportKind, Versions,
};
use lookoutd::normalize::{Mode, normalize};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;

use crate::support::capture;
use crate::support::in_process::{self, InProcess, context};

/// Calls `with` for every report of the corpus and the samples, normalized.
fn each_report(mut with: impl FnMut(&str, &Report<'_>)) {
    let config = config::defaults();
    for capture in capture::uploads() {
        decode(capture.body.as_bytes(), config.intake.max_reports, |item| {
            let report = normalize(item.unwrap(), &context(), config.privacy, Mode::Full);
            with(&capture.name, &report);
        })
        .unwrap();
    }
}

#[test]
fn kinds_have_unique_names_and_a_specification() {
    let mut names = HashSet::new();
    for kind in kinds::ALL {
        for name in std::iter::once(&kind.name).chain(kind.aliases) {
            assert!(names.insert(*name), "{name} is used twice");
        }
        assert!(kind.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{}", kind.name);
        let event_name: String = kind.event_name().map(char::from).collect();
        assert_eq!(event_name, format!("browser.report.{}", kind.name.replace(['-', '.'], "_")));
        assert!(kind.specification.starts_with("https://"), "{}", kind.name);
    }
    assert_eq!(kinds::ALL.last().unwrap().name, "other", "the last kind is for reports of no other kind");
}

#[test]
fn kinds_all_have_a_capture_or_sample() {
    let mut seen: HashSet<&str> = HashSet::new();
    each_report(|_, report| seen.extend([report.kind.name]));
    for kind in kinds::ALL {
        let token = kind.name;
        assert!(seen.contains(token), "no capture of {token}; write one to tests/samples/{token}.json");
    }
}

#[test]
fn fields_of_a_kind_have_unique_names_and_attributes() {
    for kind in kinds::ALL {
        let mut names = HashSet::new();
        assert!(kind.fields.len() <= 64, "{}: normalize has a bit for each", kind.name);
        for field in kind.fields {
            for name in std::iter::once(&field.name).chain(field.aliases) {
                assert!(names.insert(*name), "{}: {name} is used twice", kind.name);
            }
        }
        let attributes: Vec<_> = kind.fields.iter().filter_map(|field| field.attribute).collect();
        let unique: HashSet<_> = attributes.iter().collect();
        assert_eq!(unique.len(), attributes.len(), "{}: two fields share an attribute", kind.name);
    }
}

#[test]
fn fields_with_a_url_name_have_a_url_type() {
    for (kind, field) in kinds::ALL.iter().flat_map(|kind| kind.fields.iter().map(move |it| (kind, it))) {
        let name = field.name.to_ascii_lowercase();
        if name.ends_with("url") || name.ends_with("uri") || name == "referrer" || name == "sourcefile" {
            assert!(
                matches!(field.field_type, FieldType::Url | FieldType::PageUrl),
                "{}: {}",
                kind.name,
                field.name
            );
        }
    }
}

#[test]
fn families_have_unique_names_a_site_label_and_help() {
    for family in kinds::families() {
        assert!(family.name.starts_with("lookout_"), "{}", family.name);
        assert_eq!(family.labels[0], "site", "{}", family.name);
        assert!(family.labels.len() <= MAX_LABELS, "{}", family.name);
        assert!(family.weight > 0, "{} has no share of the series", family.name);
        assert!(family.help.ends_with('.'), "{}", family.name);
    }
    let names: HashSet<_> = kinds::families().map(|family| family.name).collect();
    assert_eq!(names.len(), kinds::families().count(), "two families of one name");
}

/// Only values of unbounded labels may come from a report.
#[test]
fn labels_with_unbounded_values_are_declared() {
    let class = Classification {
        site: Label::bounded("unknown"),
        configured: None,
        page: None,
        noise: Noise::None,
        severity: None,
        drops_event: false,
        rule: None,
        browser: Browser::Other,
        versions: Versions::default(),
    };
    each_report(|name, report| {
        for observation in report.evaluate(&class).observations {
            assert!(
                report.kind.families.contains(&observation.family),
                "{name}: {}",
                observation.family.name
            );
            for (label, value) in observation.family.labels[1..].iter().zip(&observation.labels) {
                assert!(
                    !value.is_unbounded() || observation.family.is_unbounded(label),
                    "{name}: {label}={value:?}"
                );
            }
        }
    });
}

/// The same with an invented value in every field.
#[test]
fn labels_of_invented_values_are_declared_unbounded() {
    for kind in kinds::ALL {
        let members: Vec<_> = kind.fields.iter().map(|it| format!("\"{}\":\"invented\"", it.name)).collect();
        let series = series_of(kind, &members.join(","));
        for line in series.iter().filter(|line| line.contains("\"invented\"")) {
            let mut unbounded = kinds::families()
                .flat_map(|family| family.labels.iter().filter(|label| family.is_unbounded(label)));
            let declared = unbounded.any(|label| line.contains(&format!("{label}=\"invented\"")));
            assert!(declared, "{}: {line}", kind.name);
        }
    }
}

fn series_of(kind: &ReportKind, members: &str) -> Vec<String> {
    let path = InProcess::default();
    let body = format!("{{\"type\":\"{}\",\"body\":{{{members}}}}}", kind.name);
    path.process(body.as_bytes(), &context());
    path.series()
}

/// Families about certificates and mail have no pages that a bot could visit, and a histogram would have a sample
/// for each bucket and class.
#[test]
fn noise_is_the_last_label_but_a_page_of_every_family_about_pages() {
    let without = [
        "lookout_reports_total",
        "lookout_network_request_duration_seconds",
        "lookout_hpkp_violations_total",
        "lookout_expect_ct_violations_total",
        "lookout_expect_staple_violations_total",
        "lookout_smtp_tls_sessions_total",
        "lookout_affected_clients_overflow_total",
        // It has the number of clients after the noise.
        "lookout_new_findings_total",
    ];
    let mut with_page = Vec::new();
    for family in kinds::families() {
        let labels = family.labels.strip_suffix(&["page"]).unwrap_or(family.labels);
        with_page.extend((labels != family.labels).then_some(family.name));
        let has_noise = labels.last() == Some(&"noise");
        assert_eq!(has_noise, !without.contains(&family.name), "{}", family.name);
    }
    let expected =
        ["lookout_csp_violations_total", "lookout_csp_hashes_total", "lookout_integrity_violations_total"];
    assert_eq!(with_page, expected);
}

#[test]
fn reports_of_a_bot_are_counted_as_noise() {
    let mut seen = HashSet::new();
    for kind in kinds::ALL {
        let path = InProcess::default();
        let agent = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
        let body = format!(
            r#"{{"type":"{}","user_agent":"{agent}","body":{{"type":"ok","elapsed_time":7}}}}"#,
            kind.name
        );
        path.process(body.as_bytes(), &context());
        for series in path.series() {
            let family = kinds::families().find(|family| series.starts_with(&format!("{}{{", family.name)));
            let family = family.unwrap();
            seen.insert(family.name);
            if family.labels.contains(&"noise") {
                assert!(series.contains("noise=\"bot\""), "{series}");
            }
        }
    }
    assert!(seen.contains("lookout_network_requests_estimated_total"), "{seen:?}");
    assert!(
        !seen.contains("lookout_network_request_duration_seconds"),
        "durations are of requests without noise"
    );
}

#[test]
fn versions_are_the_same_in_both_exports_and_absent_for_bots_and_programs() {
    let path = InProcess::default();
    let of = |agent: &str| {
        let body = format!(r#"{{"type":"novel","user_agent":"{agent}","body":{{}}}}"#);
        let processed = path.process(body.as_bytes(), &context());
        let line: serde_json::Value = serde_json::from_slice(&processed.console[0]).unwrap();
        let record = in_process::decode(&processed.otlp[0]);
        let members =
            [("browser_version", "user_agent.version"), ("os", "os.name"), ("os_version", "os.version")];
        members.map(|(member, name)| {
            let attribute = record.attributes.iter().find(|attribute| attribute.key == name);
            let value =
                attribute.map(|attribute| match attribute.value.clone().and_then(|value| value.value) {
                    Some(Any::StringValue(text)) => text,
                    other => panic!("{name}: {other:?}"),
                });
            assert_eq!(line["lookout"][member].as_str(), value.as_deref(), "{member} of {agent}");
            value.unwrap_or_default()
        })
    };
    let phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 CriOS/142.0.7444.46 Mobile";
    assert_eq!(of(phone), ["142.0.7444.46", "iOS", "18.5"]);
    assert_eq!(
        of("Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0"),
        ["153.0", "Linux", ""]
    );
    for agent in [
        "",
        "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X) Chrome/142.0.0.0 Mobile (compatible; Googlebot/2.1; +http://g/)",
        "okhttp/5 (Linux; Android 6.0.1) Chrome/142.0.0.0",
    ] {
        assert_eq!(of(agent), [""; 3], "{agent}");
    }
}

#[test]
fn summaries_of_every_report_have_one_line() {
    each_report(|name, report| {
        let summary = (report.kind.summary)(report);
        assert!(!summary.is_empty() && !summary.contains('\n'), "{name}: {summary:?}");
        assert!(!summary.contains("  ") && summary.trim() == summary, "{name}: {summary:?}");
    });
}
