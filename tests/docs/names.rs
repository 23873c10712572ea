//! Names in the documents: metrics, variables and settings exist.

use std::collections::BTreeSet;

use lookoutd::config::{self, Flag, Flags};
use lookoutd::docs;

use crate::pages::{self, Page};
use crate::{markdown, path};

#[test]
fn named_metrics_exist() {
    let mut known = BTreeSet::new();
    for family in docs::families() {
        if family.metric_type == "histogram" {
            known.extend(["bucket", "sum", "count"].map(|part| format!("{}_{part}", family.name)));
        }
        known.insert(family.name);
    }
    check_names(&["lookout_", "process_"], &known);
}

#[test]
fn named_variables_exist() {
    let of_sdk = pages::all().into_iter().flat_map(|page| {
        let words = markdown::words(&page.text).map(|(_, word)| word.to_owned());
        words.filter(|word| is_read_by_sdk(word)).collect::<Vec<_>>()
    });
    check_names(&["LOOKOUT_", "OTEL_"], &config::variables().chain(of_sdk).collect());
}

/// Whether lookoutd does not warn of this variable while the SDK exports traces and diagnostics.
fn is_read_by_sdk(word: &str) -> bool {
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318"),
        ("OTEL_TRACES_EXPORTER", "otlp"),
        ("LOOKOUT_OTLP_LOGS_DIAGNOSTICS", "true"),
        (word, "5"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    word.starts_with("OTEL_")
        && config::load(&Flags::default(), variables.into_iter())
            .is_ok_and(|loaded| loaded.config.warnings.is_empty())
}

/// Checks that every word with one of these starts is known, or the start of a known one if `*` follows.
fn check_names(starts: &[&str], known: &BTreeSet<String>) {
    let mut found = 0;
    let mut unknown = Vec::new();
    for Page { name: page, text } in pages::all() {
        for (at, word) in markdown::words(&text) {
            if !starts.iter().any(|start| word.starts_with(start)) {
                continue;
            }
            let exists = if text[at + word.len()..].starts_with('*') {
                known.iter().any(|name| name.starts_with(word))
            } else {
                known.contains(word)
            };
            if !exists {
                unknown.push(format!("{page} names {word}"));
            }
            found += 1;
        }
    }
    assert!(found > 0);
    assert!(unknown.is_empty(), "these do not exist:\n{}", unknown.join("\n"));
}

/// What looks like the key of a setting is a setting, a section, or a key that is rejected with a reason.
#[test]
fn named_settings_exist() {
    let is_section = |word: &str| config::reference().any(|setting| setting.key.starts_with(word));
    let is_key = |span: &str| {
        let plain =
            |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        let (section, rest) = span.split_once('.').unwrap_or_default();
        // `service.*` are also names of resource attributes, and a file may be named after a section.
        section != "service"
            && rest.split('.').all(plain)
            && is_section(&format!("{section}."))
            && !["yml", "yaml", "md", "json"].iter().any(|extension| rest.ends_with(extension))
    };
    let mut found = 0;
    let mut unknown = Vec::new();
    for Page { name: page, text } in pages::all() {
        for key in markdown::code_spans(&text).into_iter().filter(|span| is_key(span)) {
            let flag = Flag { name: "--set".into(), key: key.to_owned(), value: "x".into() };
            let flags = Flags { config: None, settings: vec![flag] };
            let error = config::load(&flags, std::iter::empty()).err().map(|error| error.to_string());
            let error = error.unwrap_or_default();
            if error.contains("unknown key") {
                unknown.push(format!("{page} names {key}: {error}"));
            }
            found += 1;
        }
    }
    assert!(found > 0);
    assert!(unknown.is_empty(), "{}", unknown.join("\n"));
}

/// So that a new crate is a visible change, because it is code of others.
#[test]
fn number_of_crates_is_up_to_date() {
    let text = std::fs::read_to_string(path("CONTRIBUTING.md")).unwrap();
    let fences = markdown::fences(&text);
    let counting = fences.iter().find(|fence| fence.text.starts_with("cargo tree ")).unwrap();
    let output = std::process::Command::new("sh")
        .args(["-c", &counting.text])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let counted = String::from_utf8(output.stdout).unwrap();
    assert!(counted.trim() != "0", "{}", String::from_utf8_lossy(&output.stderr));
    let written = text.split_once("binary is made of ").unwrap().1.split_once(" crates").unwrap().0;
    assert_eq!(written, counted.trim(), "the number of crates in CONTRIBUTING.md");
}
