//! The README is what people copy from, so it is tested like code: its tables are generated, its
//! samples are loaded, its names are looked up, and its first report is posted to the real binary.
//!
//! `UPDATE_README=1 cargo test --test readme` writes the tables anew.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test is free to stop

mod daemon;
mod markdown;
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use lookoutd::config::{self, Flag, Flags};
use lookoutd::model::{LabelEnum, UploadOutcome};
use markdown::Fence;
use serde_json::Value;

/// A file of the repository.
fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The README as it was written.
fn readme() -> String {
    std::fs::read_to_string(path("README.md")).unwrap()
}

#[test]
fn tables_say_what_the_code_says() {
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
        "README.md is not up to date; run: UPDATE_README=1 cargo test --test readme\n{differing:#?}"
    );
}

/// The table of answers is written by hand, for its meanings; its outcomes and statuses are the code's.
#[test]
fn answers_are_complete() {
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

/// A YAML sample says in its first line which file it is. Those of other programs are checked by the
/// end-to-end tests, with the program itself.
#[test]
fn settings_files_load() {
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
fn exported_variables_are_accepted() {
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
fn metrics_exist() {
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
fn variables_exist() {
    check_names(&readme(), &["LOOKOUT_", "OTEL_"], &config::variables().collect());
}

/// Every word that starts so is one of these, or with a `*` behind it the beginning of one.
fn check_names(text: &str, starts: &[&str], known: &BTreeSet<String>) {
    let mut found = 0;
    for (at, word) in markdown::words(text) {
        if !starts.iter().any(|start| word.starts_with(start)) {
            continue;
        }
        let exists = match text[at + word.len()..].starts_with('*') {
            true => known.iter().any(|name| name.starts_with(word)),
            false => known.contains(word),
        };
        assert!(exists, "README.md names {word}, which does not exist");
        found += 1;
    }
    assert!(found > 0);
}

/// What looks like a setting's key in running text is one, or a section, or one that is refused with a
/// reason.
#[test]
fn keys_exist() {
    let is_section = |word: &str| config::reference().any(|setting| setting.key.starts_with(word));
    let text = readme();
    let spans = markdown::code_spans(&text);
    let keys = spans.iter().filter(|span| {
        let plain =
            |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        let (section, rest) = span.split_once('.').unwrap_or_default();
        // `service.*` are names of resource attributes first.
        section != "service" && rest.split('.').all(plain) && is_section(&format!("{section}."))
    });
    let mut found = 0;
    for key in keys {
        let flag = Flag { name: "--set".into(), key: (*key).to_owned(), value: "x".into() };
        let flags = Flags { config: None, settings: vec![flag] };
        let said = config::load(&flags, std::iter::empty()).err().map(|error| error.to_string());
        let said = said.unwrap_or_default();
        assert!(!said.contains("unknown key"), "README.md names {key}: {said}");
        found += 1;
    }
    assert!(found > 0);
}

/// Every crate is somebody else's code: a new one shows up as a number that somebody changes.
#[test]
fn the_crates_are_counted() {
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
    assert_eq!(written, counted.trim(), "README.md says how many crates there are in the binary");
}

/// The first thing that anybody tries. What it makes is compared whole, but for the times.
#[test]
fn the_first_report_is_answered_as_shown() {
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
