//! The table of kinds as a whole: what is true of every entry, so that the next one cannot forget it.

use std::collections::HashSet;

use lookoutd::config;
use lookoutd::decode::decode;
use lookoutd::kinds;
use lookoutd::model::{Browser, Classification, FieldType, MAX_LABELS, Noise, Report, ReportKind};
use lookoutd::normalize::{Mode, normalize};

use crate::support::capture;
use crate::support::in_process::context;

/// Hands over every report of the corpus and the samples, normalized.
fn each_report(mut with: impl FnMut(&str, &Report<'_>)) {
    for capture in capture::uploads() {
        decode(capture.body.as_bytes(), 256, |item| {
            let report = normalize(item.unwrap(), &context(), config::defaults().privacy, Mode::Full);
            with(&capture.name, &report);
        })
        .unwrap();
    }
}

#[test]
fn every_kind_has_a_name_of_its_own_and_a_specification() {
    let mut names = HashSet::new();
    for kind in kinds::ALL {
        for name in std::iter::once(&kind.name).chain(kind.aliases) {
            assert!(names.insert(*name), "{name} stands twice");
        }
        assert!(kind.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{}", kind.name);
        assert_eq!(kind.event_name, format!("browser.report.{}", kind.name.replace(['-', '.'], "_")));
        assert!(kind.specification.starts_with("https://"), "{}", kind.name);
    }
    assert_eq!(kinds::ALL.last().unwrap().name, "other", "what no kind takes is the last one's");
}

#[test]
fn every_kind_has_been_seen() {
    let mut seen: HashSet<&str> = HashSet::new();
    each_report(|_, report| seen.extend([report.kind.name]));
    for kind in kinds::ALL {
        let token = kind.name;
        assert!(seen.contains(token), "no capture of {token}; write one to tests/samples/{token}.json");
    }
}

#[test]
fn members_are_spelled_once() {
    for kind in kinds::ALL {
        let mut spellings = HashSet::new();
        assert!(kind.fields.len() <= 64, "{}: normalize keeps a bit for each", kind.name);
        for field in kind.fields {
            for name in std::iter::once(&field.name).chain(field.aliases) {
                assert!(spellings.insert(*name), "{}: {name} stands twice", kind.name);
            }
        }
        let attributes: Vec<_> = kind.fields.iter().filter_map(|field| field.attribute).collect();
        let unique: HashSet<_> = attributes.iter().collect();
        assert_eq!(unique.len(), attributes.len(), "{}: two members share an attribute", kind.name);
    }
}

#[test]
fn a_member_that_holds_a_url_says_so() {
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
fn families_are_well_named_and_belong_to_one_place() {
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

/// What each kind makes of each report: only labels that the budget knows may come from outside.
#[test]
fn labels_are_closed_but_for_the_three_that_are_not() {
    let class = Classification {
        site: lookoutd::model::Label::bounded("unknown"),
        configured: None,
        noise: Noise::None,
        browser: Browser::Other,
    };
    each_report(|name, report| {
        for observation in (report.kind.evaluate)(report, &class).observations {
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

/// The same with strangers' values in every member.
#[test]
fn a_strangers_word_is_no_label() {
    for kind in kinds::ALL {
        let members: Vec<_> = kind.fields.iter().map(|it| format!("\"{}\":\"stranger\"", it.name)).collect();
        let series = series_of(kind, &members.join(","));
        for line in series.iter().filter(|line| line.contains("\"stranger\"")) {
            let mut open = kinds::families()
                .flat_map(|family| family.labels.iter().filter(|label| family.is_unbounded(label)));
            let open = open.any(|label| line.contains(&format!("{label}=\"stranger\"")));
            assert!(open, "{}: {line}", kind.name);
        }
    }
}

fn series_of(kind: &ReportKind, members: &str) -> Vec<String> {
    let path = crate::support::in_process::InProcess::default();
    let body = format!("{{\"type\":\"{}\",\"body\":{{{members}}}}}", kind.name);
    path.process(body.as_bytes(), &context());
    path.series()
}

#[test]
fn every_report_has_a_summary_of_one_line() {
    each_report(|name, report| {
        let summary = (report.kind.summary)(report);
        assert!(!summary.is_empty() && !summary.contains('\n'), "{name}: {summary:?}");
        assert!(!summary.contains("  ") && summary.trim() == summary, "{name}: {summary:?}");
    });
}
