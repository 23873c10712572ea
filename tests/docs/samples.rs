//! Samples of settings: files, variables and an error message.

use std::collections::BTreeMap;

use lookoutd::config::{self, Flags};

use crate::markdown::{self, Fence};
use crate::pages::{self, Page};
use crate::path;

/// Returns the samples of lookoutd.yaml, each with its document. The first line of a YAML sample is the name of its
/// file. Those of other programs are checked by the end-to-end tests, with the program itself.
pub(crate) fn settings() -> Vec<(String, String)> {
    let mut samples = Vec::new();
    for Page { name, text } in pages::all() {
        for Fence { text, .. } in markdown::fences(&text).into_iter().filter(|fence| fence.language == "yaml")
        {
            let first = text.lines().next().unwrap_or_default();
            let file =
                first.strip_prefix("# ").filter(|file| file.ends_with(".yaml") || file.ends_with(".yml"));
            let file = file.unwrap_or_else(|| {
                panic!("{name}: a YAML sample starts with the name of its file, as a comment; found: {first}")
            });
            if file == "lookoutd.yaml" {
                samples.push((name.clone(), text));
            }
        }
    }
    assert!(!samples.is_empty());
    samples
}

#[test]
fn settings_samples_load() {
    for (page, text) in settings() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &text).unwrap();
        let flags = Flags { config: Some(file.path().to_owned()), settings: Vec::new() };
        config::load(&flags, std::iter::empty()).unwrap_or_else(|error| panic!("{page}: {error}\n{text}"));
    }
}

#[test]
fn exported_variables_load() {
    let mut loaded = 0;
    for Page { name, text } in pages::all() {
        for Fence { text, .. } in markdown::fences(&text).iter().filter(|fence| fence.language == "sh") {
            let export = |line: &str| {
                let (name, value) = line.strip_prefix("export ")?.split_once('=')?;
                Some((name.to_owned(), value.trim_matches('\'').to_owned()))
            };
            let variables: BTreeMap<String, String> = text.lines().filter_map(export).collect();
            loaded += variables.len();
            config::load(&Flags::default(), variables.into_iter())
                .unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
        }
    }
    assert!(loaded > 0);
}

/// The page on settings shows the message for a misspelled key of its first sample.
#[test]
fn misspelled_key_results_in_the_message_shown() {
    let text = std::fs::read_to_string(path("docs/configuration.md")).unwrap();
    let fences = markdown::fences(&text);
    let sample = fences.iter().find(|fence| fence.language == "yaml").unwrap();
    let shown = fences.iter().find(|fence| fence.language == "text").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let misspelled = sample.text.replace("unknown_sites", "unknown_site");
    std::fs::write(directory.path().join("lookoutd.yaml"), misspelled).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_lookoutd"))
        .args(["check", "--config", "lookoutd.yaml"])
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert_eq!(
        (output.status.code(), String::from_utf8(output.stderr).unwrap()),
        (Some(2), shown.text.clone())
    );
}
