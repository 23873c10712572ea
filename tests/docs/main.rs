//! The README, which people copy from: its tables are generated, its samples are loaded, its names are looked
//! up, and its first report is posted to the real binary.
//!
//! `UPDATE_README=1 cargo test --test docs` rewrites the tables.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test may panic

mod daemon;
mod markdown;
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use lookoutd::config::{self, Flag, Flags};
use lookoutd::model::{LabelEnum, UploadOutcome};
use markdown::Fence;
use serde_json::Value;

/// Returns the path of a file of the repository.
fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Returns the README as it is.
fn readme() -> String {
    std::fs::read_to_string(path("README.md")).unwrap()
}

#[test]
fn tables_match_the_code() {
    let before = readme();
    let after = tables::ALL.iter().fold(before.clone(), |text, (name, table)| {
        markdown::with_section(&text, name, &table())
            .unwrap_or_else(|| panic!("README.md has no <!-- {name} --> … <!-- /{name} -->"))
    });
    if std::env::var_os("UPDATE_README").is_some() {
        std::fs::write(path("README.md"), after).unwrap();
        return;
    }
    let differing = before.lines().zip(after.lines()).find(|(before, after)| before != after);
    assert!(
        before == after,
        "README.md is not up to date; run: UPDATE_README=1 cargo test --test docs\n{differing:#?}"
    );
}

/// The table of responses is written by hand; its outcomes and statuses must be those of the code.
#[test]
fn responses_table_matches_the_outcomes() {
    let text = readme();
    let section = markdown::section(&text, "answers").unwrap();
    let mut written = BTreeSet::new();
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert!(written.insert((cells[1].trim_matches('`').to_owned(), cells[2].to_owned())), "{row}");
    }
    let outcome = |outcome: &UploadOutcome| (outcome.as_str().to_owned(), outcome.status().to_string());
    assert_eq!(written, UploadOutcome::ALL.iter().map(outcome).collect());
}

/// The first line of a YAML sample is the name of its file. Those of other programs are checked by the end-to-end
/// tests, with the program itself.
#[test]
fn settings_samples_load() {
    let mut loaded = 0;
    for Fence { text, .. } in markdown::fences(&readme()).iter().filter(|fence| fence.language == "yaml") {
        match text.lines().next().unwrap_or_default() {
            "# lookoutd.yaml" => {
                let file = tempfile::NamedTempFile::new().unwrap();
                std::fs::write(file.path(), text).unwrap();
                let flags = Flags { config: Some(file.path().to_owned()), settings: Vec::new() };
                config::load(&flags, std::iter::empty()).unwrap_or_else(|error| panic!("{error}\n{text}"));
                loaded += 1;
            }
            "# prometheus.yml" => {}
            first => panic!("a YAML sample starts with the name of its file, as a comment; found: {first}"),
        }
    }
    assert!(loaded > 0);
}

#[test]
fn exported_variables_load() {
    let mut loaded = 0;
    for Fence { text, .. } in markdown::fences(&readme()).iter().filter(|fence| fence.language == "sh") {
        let export = |line: &str| {
            let (name, value) = line.strip_prefix("export ")?.split_once('=')?;
            Some((name.to_owned(), value.trim_matches('\'').to_owned()))
        };
        let variables: BTreeMap<String, String> = text.lines().filter_map(export).collect();
        loaded += variables.len();
        config::load(&Flags::default(), variables.into_iter())
            .unwrap_or_else(|error| panic!("{error}\n{text}"));
    }
    assert!(loaded > 0);
}

#[test]
fn named_metrics_exist() {
    let text = readme();
    let mut known = BTreeSet::new();
    for family in tables::families() {
        if family.metric_type == "histogram" {
            known.extend(["bucket", "sum", "count"].map(|part| format!("{}_{part}", family.name)));
        }
        known.insert(family.name);
    }
    check_names(&text, &["lookout_", "process_"], &known);
}

#[test]
fn named_variables_exist() {
    check_names(&readme(), &["LOOKOUT_", "OTEL_"], &config::variables().collect());
}

/// Checks that every word with one of these starts is known, or the start of a known one if `*` follows.
fn check_names(text: &str, starts: &[&str], known: &BTreeSet<String>) {
    let mut found = 0;
    for (at, word) in markdown::words(text) {
        if !starts.iter().any(|start| word.starts_with(start)) {
            continue;
        }
        let exists = if text[at + word.len()..].starts_with('*') {
            known.iter().any(|name| name.starts_with(word))
        } else {
            known.contains(word)
        };
        assert!(exists, "README.md names {word}, which does not exist");
        found += 1;
    }
    assert!(found > 0);
}

/// What looks like the key of a setting is a setting, a section, or a key that is rejected with a reason.
#[test]
fn named_settings_exist() {
    let is_section = |word: &str| config::reference().any(|setting| setting.key.starts_with(word));
    let text = readme();
    let spans = markdown::code_spans(&text);
    let keys = spans.iter().filter(|span| {
        let plain =
            |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        let (section, rest) = span.split_once('.').unwrap_or_default();
        // `service.*` are also names of resource attributes.
        section != "service" && rest.split('.').all(plain) && is_section(&format!("{section}."))
    });
    let mut found = 0;
    for key in keys {
        let flag = Flag { name: "--set".into(), key: (*key).to_owned(), value: "x".into() };
        let flags = Flags { config: None, settings: vec![flag] };
        let error = config::load(&flags, std::iter::empty()).err().map(|error| error.to_string());
        let error = error.unwrap_or_default();
        assert!(!error.contains("unknown key"), "README.md names {key}: {error}");
        found += 1;
    }
    assert!(found > 0);
}

/// So that a new crate is a visible change, because it is code of others.
#[test]
fn number_of_crates_is_up_to_date() {
    let text = readme();
    let fences = markdown::fences(&text);
    let counting = fences.iter().find(|fence| fence.text.starts_with("cargo tree ")).unwrap();
    let output = std::process::Command::new("sh")
        .args(["-c", &counting.text])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let counted = String::from_utf8(output.stdout).unwrap();
    assert!(counted.trim() != "0", "{}", String::from_utf8_lossy(&output.stderr));
    let written = text.split_once("is made of ").unwrap().1.split_once(" crates").unwrap().0;
    assert_eq!(written, counted.trim(), "the number of crates in README.md");
}

/// The example that new users try first. Its output is compared whole, except for times.
#[test]
fn first_report_results_in_the_output_shown() {
    let text = readme();
    let fences = markdown::fences(&text);
    let at = fences.iter().position(|fence| fence.text.contains("<<'EOF'")).unwrap();
    let (url, body) = markdown::curl(&fences[at].text);
    let [event, scrape, counters, ..] = &fences[at + 1..] else { panic!("no event, no counters") };
    assert_eq!((event.language, counters.language), ("json", "text"));

    let mut daemon = daemon::start();
    assert_eq!(daemon.post(url.trim_start_matches("127.0.0.1:8480"), body), 204);
    let printed = daemon.event();
    assert_eq!(without_times(&printed), without_times(&event.text), "now: {printed}");

    let (address, pattern) = scrape.text.trim().split_once(" | grep ").unwrap();
    assert_eq!(address, "curl -s 127.0.0.1:18480/metrics");
    let metrics = daemon.metrics();
    let lines: Vec<&str> = metrics.lines().filter(|line| line.contains(pattern)).collect();
    assert_eq!(lines, counters.text.lines().collect::<Vec<_>>());
}

fn without_times(event: &str) -> Value {
    let mut event: Value = serde_json::from_str(event).unwrap();
    for time in ["received", "occurred"] {
        event["lookout"].as_object_mut().unwrap().remove(time).unwrap();
    }
    event
}
