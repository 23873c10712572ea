//! Links between documents, and their anchors.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::pages::{self, Page};
use crate::{markdown, path};

/// Every relative link leads to a file of the repository, and every anchor to a heading.
#[test]
fn links_resolve() {
    let pages =
        pages::below(&["README.md", "CONTRIBUTING.md", "SECURITY.md", "docs", "deploy", "dashboards"]);
    let anchors: BTreeMap<&str, BTreeSet<String>> =
        pages.iter().map(|page| (page.name.as_str(), markdown::anchors(&page.text))).collect();
    let mut checked = 0;
    let mut broken = Vec::new();
    for Page { name, text } in &pages {
        for link in markdown::links(text).into_iter().filter(|link| !is_external(link)) {
            checked += 1;
            let (file, anchor) =
                link.split_once('#').map_or((&*link, None), |(file, anchor)| (file, Some(anchor)));
            let target = if file.is_empty() { name.clone() } else { resolve(name, file) };
            if !path(&target).exists() {
                broken.push(format!("{name}: {link}: no file {target}"));
            } else if let Some(anchor) = anchor
                && !anchors.get(&*target).is_some_and(|known| known.contains(anchor))
            {
                broken.push(format!("{name}: {link}: no heading #{anchor} in {target}"));
            }
        }
    }
    assert!(checked > 0);
    assert!(broken.is_empty(), "{} broken links:\n{}", broken.len(), broken.join("\n"));
}

fn is_external(link: &str) -> bool {
    ["https://", "http://", "mailto:"].iter().any(|scheme| link.starts_with(scheme))
}

/// Returns the path that a link in this document names.
fn resolve(page: &str, link: &str) -> String {
    let mut parts: Vec<&str> = Path::new(page).parent().unwrap().to_str().unwrap().split('/').collect();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.retain(|part| !part.is_empty());
    parts.join("/")
}

#[test]
fn links_and_anchors_are_found() {
    let text = "# A `b` (c)\n\n## Two-words\n## Two-words\n[a](x.md#y) `[no](z)`\n```sh\n# no\n[no](z)\n```\n![i](p.png \"t\")\n";
    assert_eq!(markdown::links(text), ["x.md#y", "p.png"]);
    let anchors: Vec<String> = markdown::anchors(text).into_iter().collect();
    assert_eq!(anchors, ["a-b-c", "two-words", "two-words-1"]);
    assert_eq!(resolve("docs/migration/a.md", "../../README.md"), "README.md");
}
