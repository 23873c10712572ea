//! Golden files: outputs that a person reviews as a diff when they change.
//!
//! `UPDATE_GOLDEN=1 cargo test --test integration golden` rewrites them.

mod captures;
mod refusals;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::capture;

const SWITCH: &str = "UPDATE_GOLDEN";

/// Compares the files below `tests/golden` in one of `folders` with these texts, by file; rewrites them if the
/// switch is set.
fn check(folders: &[&str], texts: Vec<(PathBuf, String)>) {
    let update = std::env::var_os(SWITCH).is_some();
    let expected: BTreeSet<PathBuf> = texts.iter().map(|(path, _)| path.clone()).collect();
    let mut differing: Vec<String> =
        texts.iter().filter_map(|(path, text)| check_file(path, text, update)).collect();
    let existing = folders.iter().flat_map(|folder| capture::files_below(&path(folder)));
    for stale in existing.filter(|path| !expected.contains(path)) {
        if update {
            std::fs::remove_file(&stale).unwrap();
        } else {
            differing.push(format!("{}: no output has this name", relative(&stale)));
        }
    }
    let first = differing.iter().take(5).cloned().collect::<Vec<_>>().join("\n");
    assert!(
        differing.is_empty(),
        "{} golden files differ; to accept: {SWITCH}=1 cargo test --test integration golden\n{first}",
        differing.len()
    );
}

/// Returns a path below `tests/golden`.
fn path(name: &str) -> PathBuf {
    capture::tests_path("golden").join(name)
}

fn relative(path: &Path) -> String {
    path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().display().to_string()
}

/// Returns how one golden file differs, if it does.
fn check_file(path: &Path, text: &str, update: bool) -> Option<String> {
    if update {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        return None;
    }
    match std::fs::read_to_string(path) {
        Err(error) => Some(format!("{}: {error}", relative(path))),
        Ok(golden) if golden == text => None,
        Ok(golden) => Some(format!("{} (- golden, + now)\n{}", relative(path), diff(&golden, text))),
    }
}

/// Returns indented JSON with members in the order of their names, so that their order in the process does not
/// matter.
fn pretty(value: Value) -> String {
    format!("{:#}\n", sorted(value))
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.into_iter().collect();
            members.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(members.into_iter().map(|(name, value)| (name, sorted(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        scalar => scalar,
    }
}

/// Returns the lines that differ, along a longest common subsequence.
fn diff(old: &str, new: &str) -> String {
    let old: Vec<_> = old.lines().collect();
    let new: Vec<_> = new.lines().collect();
    let mut common = vec![vec![0_usize; new.len() + 1]; old.len() + 1];
    for (i, old_line) in old.iter().enumerate().rev() {
        for (j, new_line) in new.iter().enumerate().rev() {
            common[i][j] = if old_line == new_line {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let mut i = 0;
    let mut j = 0;
    let mut out = String::new();
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            i += 1;
            j += 1;
        } else if j == new.len() || (i < old.len() && common[i + 1][j] >= common[i][j + 1]) {
            out += &format!("  {:>4} - {}\n", i + 1, old[i]);
            i += 1;
        } else {
            out += &format!("  {:>4} + {}\n", j + 1, new[j]);
            j += 1;
        }
    }
    out
}

#[test]
fn diff_lists_the_lines_that_differ() {
    assert_eq!(diff("a\nb\nc\n", "a\nx\nc\nd\n"), "     2 - b\n     2 + x\n     4 + d\n");
}
