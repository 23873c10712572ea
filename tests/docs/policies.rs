//! Examples that people paste: one that enforces a policy breaks a site whose pages violate it, so it must be labeled.

use std::fs;
use std::path::{Path, PathBuf};

/// Headers that block something, unless `-Report-Only` follows.
const POLICIES: &[&str] = &[
    "content-security-policy",
    "permissions-policy",
    "document-policy",
    "cross-origin-opener-policy",
    "cross-origin-embedder-policy",
    "document-isolation-policy",
    "integrity-policy",
    "connection-allowlist",
];
/// Has its mode in its value.
const WAICT: &str = "integrity-policy-waict-v1";
/// The only document policy that restricts nothing.
const UNRESTRICTING: &str = "include-js-call-stacks-in-crash-reports";
/// Documents and examples; folders with everything in them.
const ROOTS: &[&str] =
    &["README.md", "CONTRIBUTING.md", "SECURITY.md", "docs", "deploy", "dashboards/README.md", "packaging"];
/// What marks an enforcing example: enforce, enforces, enforced, enforcing.
const LABEL: &str = "enforc";

#[test]
fn enforcing_examples_are_labeled() {
    let mut examples = Examples::default();
    for file in ROOTS.iter().flat_map(|name| files(&crate::path(name))) {
        // Images and archives have no examples.
        let Ok(text) = fs::read_to_string(&file) else { continue };
        let found = if file.extension().is_some_and(|extension| extension == "md") {
            in_markdown(&text)
        } else {
            in_file(&text)
        };
        examples.labeled += found.labeled;
        let place = |(line, text): &(usize, String)| (*line, format!("{}:{line}: {text}", file.display()));
        examples.unlabeled.extend(found.unlabeled.iter().map(place));
    }
    let unlabeled: Vec<String> = examples.unlabeled.into_iter().map(|(_, place)| place).collect();
    assert!(
        unlabeled.is_empty(),
        "these lines enforce a policy: use -Report-Only, or write that they enforce it in a comment of the block \
         or in the sentence before it\n{}",
        unlabeled.join("\n")
    );
    // Five policies for each of three web servers, and one in docs/standards.md.
    assert!(examples.labeled >= 16, "only {} labeled examples were found", examples.labeled);
}

#[test]
fn examples_are_told_apart() {
    let markdown =
        |before: &str, fence: &str| in_markdown(&format!("# Title\n\n{before}\n\n```http\n{fence}\n```\n"));
    for enforcing in [
        "Content-Security-Policy: default-src 'self'",
        "add_header Permissions-Policy \"geolocation=()\" always;",
        "Header always set Cross-Origin-Opener-Policy same-origin",
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'self'\">",
        "{\"key\": \"Integrity-Policy\", \"value\": \"blocked-destinations=(script)\"}",
        "connection-allowlist: (response-origin)",
        "Document-Policy: sync-xhr=?0",
        "Integrity-Policy-WAICT-v1: max-age=0, mode=enforce, manifest=\"/m\"",
    ] {
        assert_eq!(markdown("Paste this:", enforcing).unlabeled.len(), 1, "{enforcing}");
        assert_eq!(markdown("It enforces less. Paste this:", enforcing).unlabeled.len(), 1, "{enforcing}");
        assert_eq!(markdown("Paste it. This enforces the policy:", enforcing).labeled, 1, "{enforcing}");
        assert_eq!(markdown("Paste this:", &format!("# Enforced.\n{enforcing}")).labeled, 1, "{enforcing}");
        assert_eq!(in_file(&format!("# Headers.\n\n#{enforcing}")).unlabeled.len(), 1, "{enforcing}");
        assert_eq!(in_file(&format!("# Enforces:\nx\n{enforcing}")).unlabeled.len(), 1, "{enforcing}");
        assert_eq!(in_file(&format!("# Enforces:\n#{enforcing}")).unlabeled, [], "{enforcing}");
    }
    let both = "Content-Security-Policy-Report-Only: a\nContent-Security-Policy: b";
    assert_eq!(in_file(both).unlabeled, [(2, "Content-Security-Policy: b".to_owned())]);
    for harmless in [
        "Content-Security-Policy-Report-Only: default-src 'self'",
        "Document-Policy: include-js-call-stacks-in-crash-reports",
        "Integrity-Policy-WAICT-v1: max-age=0, mode=report, manifest=\"/m\"",
        "{\"type\":\"connection-allowlist\",\"body\":{}}",
        "# The Content-Security-Policy of a site",
        "curl -sI https://shop.example | grep -i content-security-policy",
    ] {
        assert_eq!(markdown("Paste this:", harmless), Examples::default(), "{harmless}");
        assert_eq!(in_file(harmless), Examples::default(), "{harmless}");
    }
}

/// Lines that enforce a policy.
#[derive(Debug, Default, PartialEq)]
struct Examples {
    labeled: usize,
    /// Line number and text of those without a label.
    unlabeled: Vec<(usize, String)>,
}

impl Examples {
    fn add(&mut self, line: usize, text: &str, is_labeled: bool) {
        if is_labeled {
            self.labeled += 1;
        } else {
            self.unlabeled.push((line, text.trim().to_owned()));
        }
    }
}

/// Returns the examples in the fences of a document. The label is in the sentence before the fence, or in a comment.
fn in_markdown(text: &str) -> Examples {
    let mut examples = Examples::default();
    let (mut prose, mut is_fence, mut is_labeled) = (String::new(), false, false);
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            is_fence = !is_fence;
            is_labeled = is_fence && last_sentence(&prose).contains(LABEL);
            prose.clear();
        } else if is_fence {
            let line_enforces = enforces(line);
            is_labeled |= !line_enforces && is_label(line);
            if line_enforces {
                examples.add(index + 1, line, is_labeled);
            }
        } else if line.starts_with('#') {
            prose.clear();
        } else if !line.starts_with("<!--") {
            prose += &line.to_lowercase();
            prose.push(' ');
        }
    }
    examples
}

/// Returns the examples in a configuration file, active or commented out. The label is in the comment above the line.
fn in_file(text: &str) -> Examples {
    let mut examples = Examples::default();
    let mut above = "";
    for (index, line) in text.lines().enumerate() {
        if enforces(line) {
            examples.add(index + 1, line, !enforces(above) && is_label(above));
        }
        above = line;
    }
    examples
}

fn is_label(line: &str) -> bool {
    comment(line).is_some_and(|text| text.to_lowercase().contains(LABEL))
}

fn last_sentence(prose: &str) -> &str {
    let prose = prose.trim_end();
    prose.rfind(". ").map_or(prose, |at| &prose[at + 1..])
}

/// Returns what follows the comment sign.
fn comment(line: &str) -> Option<&str> {
    ["#", "//", "<!--"].iter().find_map(|sign| line.trim_start().strip_prefix(sign))
}

/// Returns whether the line sets a header that blocks something.
fn enforces(line: &str) -> bool {
    let lower = line.to_ascii_lowercase();
    let is_prose = comment(line).is_some_and(|text| text.starts_with([' ', '\t']));
    let is_set = |name: &str| {
        lower.match_indices(name).any(|(at, _)| {
            let (before, after) = (&lower[..at], &lower[at + name.len()..]);
            let is_word = !before.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '-');
            // In prose, another word follows the name. `#Header …` is no prose, but a line that is commented out.
            let has_value = match after.trim_start().chars().next() {
                Some(':' | '"' | '\'' | '`' | '=') => true,
                Some(_) => after.starts_with([' ', '\t']) && !is_prose,
                None => false,
            };
            // Also the name of a report's kind, which is quoted.
            let is_kind = line[at..].starts_with("connection-allowlist") && before.ends_with(['"', '/']);
            is_word && has_value && !is_kind && !(name == "document-policy" && after.contains(UNRESTRICTING))
        })
    };
    POLICIES.iter().any(|name| is_set(name)) || is_set(WAICT) && lower.contains("mode=enforce")
}

/// Returns the files of a folder, at any depth, or the file itself.
fn files(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else { return vec![path.to_owned()] };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().flat_map(|path| files(path)).collect()
}
