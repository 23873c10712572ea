//! The walls of the house, read from the sources: stages know the types that flow and not each other,
//! async lives at the two ends, and every file says why it exists and stays readable in one sitting.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What the sources of a stage may name of the crate, beside the stage itself.
const FLOWING: [&str; 7] = ["json", "report", "metric", "outcome", "kinds", "clock", "config::settings"];

/// A module at the top of the crate, and all that it may name.
const WALLS: [(&str, &[&str]); 9] = [
    ("decode", &FLOWING),
    ("normalize", &FLOWING),
    ("classify", &FLOWING),
    ("encode", &FLOWING),
    ("metrics", &FLOWING),
    ("kinds", &["report", "metric", "json", "outcome"]),
    ("report", &["kinds", "metric", "outcome", "json"]),
    ("metric", &[]),
    ("json", &[]),
];

/// Where something may wait.
const ENDS: [&str; 7] = ["admin", "daemon", "export", "intake", "main", "probe", "signals"];

const MAX_LINES: usize = 400;

struct Source {
    /// Below `src`, such as `kinds/mod.rs`.
    name: String,
    text: String,
}

impl Source {
    /// The module at the top of the crate that it belongs to.
    fn top(&self) -> &str {
        let first = self.name.split('/').next().unwrap();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    fn is_test(&self) -> bool {
        let name = Path::new(&self.name).file_stem().unwrap().to_str().unwrap();
        matches!(name, "tests" | "testing") || name.ends_with("_tests") || self.name.contains("tests/")
    }

    /// What comes before the tests, without comments.
    fn code(&self) -> String {
        let code = self.text.split("\n#[cfg(test)]").next().unwrap();
        let without_comment = |line: &str| match line.trim_start().starts_with("//") {
            true => String::new(),
            false => line.to_owned() + "\n",
        };
        code.lines().map(without_comment).collect()
    }

    /// What it names of the crate: `config::settings`, and of any other module the first part.
    fn imports(&self) -> BTreeSet<String> {
        let code: String = self.code().split_whitespace().collect::<Vec<_>>().join(" ");
        let mut found = BTreeSet::new();
        for (at, _) in code.match_indices("crate::") {
            let path = &code[at + "crate::".len()..];
            match path.strip_prefix('{') {
                None => found.extend([module(path)]),
                Some(group) => found.extend(split_group(group).into_iter().map(module)),
            }
        }
        found
    }
}

fn module(path: &str) -> String {
    let path = path.trim();
    if path.starts_with("config::settings") {
        return "config::settings".to_owned();
    }
    path.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

/// The entries of `{a, b::{c, d}}` whose opening brace is gone.
fn split_group(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut entries) = (0, 0, Vec::new());
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                entries.push(&group[start..at]);
                start = at + 1;
                if character == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    entries.retain(|entry| !entry.trim().is_empty());
    entries
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let read = |path: PathBuf| Source {
        name: path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned(),
        text: std::fs::read_to_string(&path).unwrap(),
    };
    let sources: Vec<_> = rust_files(&root).into_iter().map(read).collect();
    assert!(sources.len() > 50, "the sources are missing");
    sources
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn no_stage_knows_another() {
    for (top, allowed) in WALLS {
        let members: Vec<_> = sources().into_iter().filter(|it| it.top() == top && !it.is_test()).collect();
        assert!(!members.is_empty(), "there is no {top}");
        for source in members {
            for import in source.imports() {
                let fine = import == top || allowed.contains(&import.as_str());
                assert!(fine, "src/{}: a file of {top} must not know {import}", source.name);
            }
        }
    }
}

/// `super::super` and, in a stage's `mod.rs`, `super` lead around the wall.
#[test]
fn no_stage_climbs_over_its_wall() {
    for source in sources().iter().filter(|it| !it.is_test()) {
        let Some((top, _)) = WALLS.iter().find(|(top, _)| source.top() == *top) else { continue };
        let is_root = source.name == format!("{top}.rs") || source.name == format!("{top}/mod.rs");
        let climbs = source.code().contains(if is_root { "super::" } else { "super::super::" });
        assert!(!climbs, "src/{}: names its neighbours by super", source.name);
    }
}

#[test]
fn only_the_ends_wait() {
    for source in sources().iter().filter(|it| !it.is_test() && !ENDS.contains(&it.top())) {
        let code = source.code();
        for library in ["tokio::", "axum::", "axum_server::", "hyper::", "hyper_util::", "async fn", ".await"]
        {
            assert!(!code.contains(library), "src/{}: {library} belongs to the two ends", source.name);
        }
    }
}

#[test]
fn every_file_says_why_it_exists() {
    for source in sources() {
        assert!(source.text.starts_with("//! "), "src/{} opens without a word", source.name);
    }
}

#[test]
fn every_file_can_be_read_in_one_sitting() {
    for source in sources() {
        let lines = match source.is_test() {
            true => source.text.lines().count(),
            false => source.text.split("\n#[cfg(test)]").next().unwrap().lines().count(),
        };
        assert!(lines <= MAX_LINES, "src/{}: {lines} lines", source.name);
    }
}

#[test]
fn nothing_is_called_utils() {
    for source in sources() {
        let name = source.name.to_ascii_lowercase();
        for word in ["util", "helper", "common", "misc"] {
            assert!(!name.contains(word), "src/{}: say what it is for", source.name);
        }
    }
}

/// `lib.rs` tells the path; a module that it does not name is not on the map.
#[test]
fn the_map_names_every_module() {
    let sources = sources();
    let map = &sources.iter().find(|source| source.name == "lib.rs").unwrap().text;
    for top in sources.iter().map(Source::top).filter(|top| !["lib", "main"].contains(top)) {
        assert!(map.contains(&format!("pub mod {top};")), "lib.rs does not know {top}");
    }
}

#[test]
fn a_broken_wall_is_seen() {
    let source = |text: &str| Source { name: "decode/x.rs".to_owned(), text: text.to_owned() };
    let imports = |text: &str| source(text).imports().into_iter().collect::<Vec<_>>();
    assert_eq!(imports("use crate::metrics::Registry;\n// crate::encode\n"), ["metrics"]);
    assert_eq!(imports("use crate::{json::Value, encode::{Event, otlp}};"), ["encode", "json"]);
    assert_eq!(
        imports("use crate::config::Privacy;\nfn f() { crate::daemon::run() }"),
        ["config::settings", "daemon"]
    );
    assert_eq!(imports("x\n#[cfg(test)]\nmod tests { use crate::metrics; }"), [""; 0]);
}
