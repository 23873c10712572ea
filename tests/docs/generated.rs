//! The parts of documents that come from the code, or from what the end-to-end tests found.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use lookoutd::docs;
use lookoutd::kinds;
use lookoutd::model::{LabelEnum, UploadOutcome};
use serde_json::{Value, json};

use crate::{pages, path};

/// The golden file whose event is the example.
const EXAMPLE: &str = "tests/golden/chromium/1055-nel-refused-POST-network-error.json";

/// Page, name and content of a section.
type Section = (&'static str, &'static str, fn() -> String);

/// The sections that need files of the tests.
const SECTIONS: [Section; 2] =
    [("docs/standards.md", "browsers", browsers), ("docs/events.md", "example", example)];

/// Returns every generated file with the content that it should have.
fn expected() -> BTreeMap<PathBuf, String> {
    let mut files: BTreeMap<_, _> =
        docs::generate_pages(&path("docs")).unwrap_or_else(|error| panic!("{error}")).into_iter().collect();
    for (page, name, content) in SECTIONS {
        let text = files.entry(path(page)).or_insert_with(|| read(page));
        *text = docs::with_section(text, name, &content())
            .unwrap_or_else(|| panic!("{page} has no <!-- {name} --> … <!-- /{name} -->"));
    }
    files
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn generated_parts_match_the_code() {
    let update = std::env::var_os("UPDATE_DOCS").is_some();
    for (path, after) in expected() {
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        if update {
            std::fs::write(path, after).unwrap();
            continue;
        }
        let differing = before.lines().zip(after.lines()).find(|(before, after)| before != after);
        assert!(
            before == after,
            "{} is not up to date; run: UPDATE_DOCS=1 cargo test --test docs\n{differing:#?}",
            path.display()
        );
    }
}

/// A section whose comments stand in a second document would never be rewritten there. The pages on migration have
/// sections of their own.
#[test]
fn generated_sections_stand_in_one_document() {
    let mut found = BTreeMap::new();
    for page in pages::all().into_iter().filter(|page| !page.name.starts_with("docs/migration/")) {
        for name in
            ["kinds", "members", "events", "metrics", "values", "settings", "browsers", "example", "answers"]
        {
            if docs::section(&page.text, name).is_some() {
                let earlier = found.insert(name, page.name.clone());
                assert_eq!(earlier, None, "the section {name} stands in {} too", page.name);
            }
        }
    }
    assert_eq!(found.len(), 9, "{found:?}");
}

/// The command writes what the test compares with; everything except the sections that need files of the tests.
#[test]
fn docs_command_writes_the_pages() {
    let directory = tempfile::tempdir().unwrap();
    for page in pages::below(&["README.md", "docs"]) {
        let name = Path::new(&page.name).file_name().unwrap();
        std::fs::write(directory.path().join(name), page.text).unwrap();
    }
    let lookoutd = || std::process::Command::new(env!("CARGO_BIN_EXE_lookoutd"));
    assert!(lookoutd().arg("docs").arg(directory.path()).status().unwrap().success());
    for name in
        ["kinds.md", "events.md", "metrics.md", "configuration.md", "schema.json", "event.schema.json"]
    {
        let written = std::fs::read_to_string(directory.path().join(name)).unwrap();
        assert!(written == expected()[&path("docs").join(name)], "{name}");
    }
    let printed = lookoutd().args(["config", "--schema"]).output().unwrap();
    assert!(String::from_utf8(printed.stdout).unwrap() == expected()[&path("docs/schema.json")]);
}

/// The table of responses is written by hand; its outcomes and statuses must be those of the code.
#[test]
fn responses_table_matches_the_outcomes() {
    let text = read("docs/intake.md");
    let section = docs::section(&text, "answers").expect("docs/intake.md has no section answers");
    let mut written = BTreeSet::new();
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert!(written.insert((cells[1].trim_matches('`').to_owned(), cells[2].to_owned())), "{row}");
    }
    let outcome = |outcome: &UploadOutcome| (outcome.as_str().to_owned(), outcome.status().to_string());
    assert_eq!(written, UploadOutcome::ALL.iter().map(outcome).collect());
}

/// Returns what the end-to-end tests received from each engine, by kind (`tests/e2e/lib/status.py`).
fn browsers() -> String {
    let status: BTreeMap<String, Value> = serde_json::from_str(&read("tests/e2e/status.json")).unwrap();
    let heads = status.iter().map(|(engine, seen)| format!("{engine} {}", short(&seen["version"])));
    let head: Vec<String> = std::iter::once("kind".to_owned()).chain(heads).collect();
    let rows = kinds::ALL.iter().filter(|kind| kind.name != "other").map(|kind| {
        let ways = status.values().map(|seen| ways(&seen["received"][kind.name]));
        std::iter::once(format!("`{}`", kind.name)).chain(ways).collect()
    });
    docs::table(&head.iter().map(String::as_str).collect::<Vec<_>>(), rows)
}

/// Returns a version without its patch number.
fn short(version: &Value) -> String {
    version.as_str().unwrap().split('.').take(2).collect::<Vec<_>>().join(".")
}

/// Returns the headers by which a kind is sent.
fn ways(received: &Value) -> String {
    let ways = received.as_array().into_iter().flatten().map(|way| format!("`{}`", way.as_str().unwrap()));
    let ways: Vec<String> = ways.collect();
    if ways.is_empty() { "–".to_owned() } else { ways.join(", ") }
}

/// Returns the event of a golden file as it is on the console, and as a log record of OTLP/JSON.
fn example() -> String {
    let golden: Value = serde_json::from_str(&read(EXAMPLE)).unwrap();
    let record = &golden["otlp"][0];
    let (number, severity) = record["severity"].as_str().unwrap().split_once(' ').unwrap();
    let nanos = |time: &Value| {
        let time: jiff::Timestamp = time.as_str().unwrap().parse().unwrap();
        time.as_nanosecond().to_string()
    };
    let attributes = record["attributes"].as_object().unwrap().iter();
    let attributes: Vec<String> = attributes.map(|(key, value)| attribute(key, value)).collect();
    let fields = [
        ("timeUnixNano", json!(nanos(&record["time"]))),
        ("observedTimeUnixNano", json!(nanos(&record["observed_time"]))),
        ("severityNumber", json!(number.parse::<u8>().unwrap())),
        ("severityText", json!(severity)),
        ("eventName", record["event_name"].clone()),
        ("body", json!({"stringValue": record["body"]})),
    ];
    let fields: String = fields.iter().map(|(name, value)| format!("  \"{name}\": {value},\n")).collect();
    format!(
        "```json\n{:#}\n```\n\nThe same event as a `LogRecord`, in OTLP's JSON encoding:\n\n```json\n{{\n{fields}  \
         \"attributes\": [\n    {}\n  ]\n}}\n```\n",
        golden["console"][0],
        attributes.join(",\n    ")
    )
}

fn attribute(key: &str, value: &Value) -> String {
    let value = match value {
        Value::Number(number) if number.is_f64() => json!({"doubleValue": number}),
        Value::Number(number) => json!({"intValue": number.to_string()}),
        Value::Bool(flag) => json!({"boolValue": flag}),
        text => json!({"stringValue": text}),
    };
    json!({"key": key, "value": value}).to_string()
}
