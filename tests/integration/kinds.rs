//! The table of kinds as a whole: what is true of every entry, so that the next one cannot forget it.

use std::collections::HashSet;

use lookoutd::config;
use lookoutd::decode::decode;
use lookoutd::kind::{self, Holds, Kind};
use lookoutd::metric::MAX_LABELS;
use lookoutd::normalise::{Detail, normalise};
use lookoutd::report::{Browser, Class, Noise, Report};
use lookoutd::table::report_families;

use crate::support::capture;
use crate::support::in_process::context;

/// Labels whose values may come from outside, under the series budget.
const OPEN: [&str; 3] = ["site", "blocked", "id"];

/// Hands over every report of the corpus and the samples, normalised.
fn each_report(mut with: impl FnMut(&str, &Report<'_>)) {
    for capture in capture::uploads() {
        decode(capture.body.as_bytes(), 256, |item| {
            let report = normalise(item.unwrap(), &context(), config::defaults().privacy, Detail::Event);
            with(&capture.name, &report);
        })
        .unwrap();
    }
}

#[test]
fn every_kind_has_a_name_of_its_own_and_a_specification() {
    let mut names = HashSet::new();
    for kind in kind::ALL {
        for name in std::iter::once(&kind.token).chain(kind.also) {
            assert!(names.insert(*name), "{name} stands twice");
        }
        assert!(kind.token.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{}", kind.token);
        assert_eq!(kind.event_name, format!("browser.report.{}", kind.token.replace(['-', '.'], "_")));
        assert!(kind.specification.starts_with("https://"), "{}", kind.token);
    }
    assert_eq!(kind::ALL.last().unwrap().token, "other", "what no kind takes is the last one's");
}

#[test]
fn every_kind_has_been_seen() {
    let mut seen: HashSet<&str> = HashSet::new();
    each_report(|_, report| seen.extend([report.kind.token]));
    for kind in kind::ALL {
        let token = kind.token;
        assert!(seen.contains(token), "no capture of {token}; write one to tests/samples/{token}.json");
    }
}

#[test]
fn members_are_spelled_once() {
    for kind in kind::ALL {
        let mut spellings = HashSet::new();
        assert!(kind.members.len() <= 64, "{}: normalise keeps a bit for each", kind.token);
        for member in kind.members {
            for name in std::iter::once(&member.name).chain(member.also) {
                assert!(spellings.insert(*name), "{}: {name} stands twice", kind.token);
            }
        }
        let attributes: Vec<_> = kind.members.iter().filter_map(|member| member.attribute).collect();
        let unique: HashSet<_> = attributes.iter().collect();
        assert_eq!(unique.len(), attributes.len(), "{}: two members share an attribute", kind.token);
    }
}

#[test]
fn a_member_that_holds_a_url_says_so() {
    for (kind, member) in kind::ALL.iter().flat_map(|kind| kind.members.iter().map(move |it| (kind, it))) {
        let name = member.name.to_ascii_lowercase();
        if name.ends_with("url") || name.ends_with("uri") || name == "referrer" || name == "sourcefile" {
            assert!(matches!(member.holds, Holds::Url | Holds::PageUrl), "{}: {}", kind.token, member.name);
        }
    }
}

#[test]
fn families_are_well_named_and_belong_to_one_place() {
    for family in report_families() {
        assert!(family.name.starts_with("lookout_"), "{}", family.name);
        assert_eq!(family.labels[0], "site", "{}", family.name);
        assert!(family.labels.len() <= MAX_LABELS, "{}", family.name);
        assert!(family.weight > 0, "{} has no share of the series", family.name);
        assert!(family.help.ends_with('.'), "{}", family.name);
    }
    let names: HashSet<_> = report_families().map(|family| family.name).collect();
    assert_eq!(names.len(), report_families().count(), "two families of one name");
}

/// What each kind makes of each report: only labels that the budget knows may come from outside.
#[test]
fn labels_are_closed_but_for_the_three_that_are_not() {
    let class = Class {
        site: lookoutd::metric::Label::closed("unknown"),
        configured: None,
        noise: Noise::None,
        browser: Browser::Other,
    };
    each_report(|name, report| {
        for observation in (report.kind.assess)(report, &class).observations {
            assert!(
                report.kind.families.contains(&observation.family),
                "{name}: {}",
                observation.family.name
            );
            for (label, value) in observation.family.labels[1..].iter().zip(&observation.labels) {
                assert!(!value.is_open() || OPEN.contains(label), "{name}: {label}={value:?}");
            }
        }
    });
}

/// The same with strangers' values in every member.
#[test]
fn a_strangers_word_is_no_label() {
    for kind in kind::ALL {
        let members: Vec<_> = kind.members.iter().map(|it| format!("\"{}\":\"stranger\"", it.name)).collect();
        let series = series_of(kind, &members.join(","));
        for line in series.iter().filter(|line| line.contains("\"stranger\"")) {
            let open = OPEN.iter().any(|label| line.contains(&format!("{label}=\"stranger\"")));
            assert!(open, "{}: {line}", kind.token);
        }
    }
}

fn series_of(kind: &Kind, members: &str) -> Vec<String> {
    let path = crate::support::in_process::InProcess::default();
    let body = format!("{{\"type\":\"{}\",\"body\":{{{members}}}}}", kind.token);
    path.take(body.as_bytes(), &context());
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
